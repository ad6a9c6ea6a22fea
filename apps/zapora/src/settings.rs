//! What the environment says: one variable each, all read at start, all mistakes told at once.

use std::{path::PathBuf, time::Duration};

use jiff::SignedDuration;
use lettre::message::Mailbox;
use service::{Env, config::Secret};
use uuid::Uuid;

use crate::{
    auth::{guard::Rates, password, tokens::Tokens},
    http::fields::{Email, NewPassword},
    images::{S3, pixels},
    jobs::{Limits, Mail, Payments},
    store::{Dialect, StoreSettings},
};

/// Where pictures are kept.
#[derive(Clone, Debug)]
pub enum ImageStore {
    /// In a folder.
    Folder(PathBuf),
    /// In a bucket of an S3-like store.
    S3(S3),
}

/// The first admin.
#[derive(Clone, Debug)]
pub struct FirstAdmin {
    /// `ADMIN_EMAIL`.
    pub email: String,
    /// `ADMIN_PASSWORD` or `ADMIN_PASSWORD_FILE`.
    pub password: Secret,
}

/// Everything that the HTTP side needs to know.
#[derive(Clone, Debug)]
pub struct HttpSettings {
    /// `JWT_KEYS` (`id:secret,…`, the first signs) and `ACCESS_TOKEN_SECONDS`.
    pub tokens: Tokens,
    /// `SESSION_SECONDS`: how long a session can be prolonged.
    pub session_lifetime: SignedDuration,
    /// `BCRYPT_COST`.
    pub bcrypt_cost: u32,
    /// `LOGIN_TRIES_PER_ACCOUNT`, `LOGIN_TRIES_PER_ADDRESS`, `REGISTRATIONS_PER_ADDRESS`.
    pub rates: Rates,
    /// `MENU_CACHE_SECONDS`.
    pub menu_cache: Duration,
    /// `IMAGES_S3_BUCKET` and its like, or `IMAGES_DIR`.
    pub images: ImageStore,
    /// `IMAGE_MAX_BYTES`, `IMAGE_MAX_PIXELS`.
    pub image_limits: pixels::Limits,
    /// `ADMIN_EMAIL` and its password.
    pub admin: Option<FirstAdmin>,
    /// `SEED_DEMO`: whether an empty menu is filled with something to order.
    pub seed_demo: bool,
}

/// `DATA_DIR`: where everything is that nobody put elsewhere; `data` in the current folder unless it is said.
pub fn data_dir(env: &mut Env<'_>) -> PathBuf {
    env.or("DATA_DIR", PathBuf::from("data"))
}

impl HttpSettings {
    /// Reads them. `dialect` is the database's: with PostgreSQL there may be several replicas, which need common keys.
    pub fn read(env: &mut Env<'_>, dialect: Dialect) -> Option<Self> {
        let cost = env.or("BCRYPT_COST", password::COST);
        if !password::COSTS.contains(&cost) {
            env.refuse(
                "BCRYPT_COST",
                format!("{cost} is not from {} to {}", password::COSTS.start(), password::COSTS.end()),
            );
        }
        let rates = Rates::default();
        let limits = pixels::Limits::default();
        let lifetime = env.seconds("SESSION_SECONDS", Duration::from_secs(30 * 86_400));
        Some(Self {
            session_lifetime: SignedDuration::try_from(lifetime).unwrap_or(SignedDuration::MAX),
            bcrypt_cost: cost,
            rates: Rates {
                account: env.or("LOGIN_TRIES_PER_ACCOUNT", rates.account),
                address: env.or("LOGIN_TRIES_PER_ADDRESS", rates.address),
                registrations: env.or("REGISTRATIONS_PER_ADDRESS", rates.registrations),
            },
            menu_cache: env.seconds("MENU_CACHE_SECONDS", Duration::from_secs(10)),
            images: images(env),
            image_limits: pixels::Limits {
                bytes: env.or("IMAGE_MAX_BYTES", limits.bytes),
                pixels: env.or("IMAGE_MAX_PIXELS", limits.pixels),
                ..limits
            },
            admin: admin(env),
            seed_demo: env.or("SEED_DEMO", false),
            tokens: tokens(env, dialect)?,
        })
    }
}

fn tokens(env: &mut Env<'_>, dialect: Dialect) -> Option<Tokens> {
    let lifetime = env.seconds("ACCESS_TOKEN_SECONDS", Duration::from_secs(900));
    let keys = match dialect {
        Dialect::Postgres => env.required_secret("JWT_KEYS")?,
        Dialect::Sqlite => env.secret("JWT_KEYS").unwrap_or_else(|| {
            tracing::warn!("JWT_KEYS is not set: access tokens are signed with a key that ends with this process");
            Secret::new(format!("once:{}{}", Uuid::new_v4().simple(), Uuid::new_v4().simple()))
        }),
    };
    Tokens::new(&keys, lifetime).map_err(|why| env.refuse("JWT_KEYS", why)).ok()
}

fn images(env: &mut Env<'_>) -> ImageStore {
    let folder = data_dir(env).join("images");
    let Some(bucket) = env.optional::<String>("IMAGES_S3_BUCKET") else {
        return ImageStore::Folder(env.or("IMAGES_DIR", folder));
    };
    let (id, secret) = (env.optional::<String>("IMAGES_S3_ACCESS_KEY"), env.secret("IMAGES_S3_SECRET_KEY"));
    if id.is_some() != secret.is_some() {
        env.refuse("IMAGES_S3_ACCESS_KEY", "is set without IMAGES_S3_SECRET_KEY, or the other way round");
    }
    ImageStore::S3(S3 {
        endpoint: env.optional("IMAGES_S3_ENDPOINT"),
        bucket,
        region: env.or("IMAGES_S3_REGION", "us-east-1".to_owned()),
        key: id.zip(secret),
    })
}

fn admin(env: &mut Env<'_>) -> Option<FirstAdmin> {
    let (email, password) = (env.optional::<String>("ADMIN_EMAIL"), env.secret("ADMIN_PASSWORD"));
    if email.is_some() != password.is_some() {
        env.refuse("ADMIN_EMAIL", "is set without ADMIN_PASSWORD, or the other way round");
    }
    // An account that nobody can sign in to would be the only admin.
    let address = email.as_deref().and_then(Email::parse);
    if email.is_some() && address.is_none() {
        env.refuse("ADMIN_EMAIL", "is not an address to sign in with, such as admin@example.com");
    }
    let password = password.filter(|password| {
        let fits = NewPassword::fits(password.expose());
        if !fits {
            env.refuse("ADMIN_PASSWORD", "does not have 8 to 128 characters, none of them U+0000");
        }
        fits
    });
    Some(FirstAdmin { email: address?.folded(), password: password? })
}

/// The database's settings: `DATABASE_URL` (an SQLite file in the data folder unless it is said), `DATABASE_REPLICA_URL`,
/// `DATABASE_REPLICA_MAX_LAG_SECONDS`, `DATABASE_PROMOTE_AFTER_SECONDS`, `DATABASE_CONNECTIONS`, `DATABASE_TIMEOUT_SECONDS`. The
/// URLs are secrets, for they may hold passwords.
pub fn database(env: &mut Env<'_>) -> StoreSettings {
    let file = data_dir(env).join("zapora.db");
    let url = env.secret("DATABASE_URL").unwrap_or_else(|| Secret::new(format!("sqlite:{}?mode=rwc", file.display())));
    let own = StoreSettings::new(url.expose());
    let promote = env.seconds("DATABASE_PROMOTE_AFTER_SECONDS", Duration::MAX);
    StoreSettings {
        replica_url: env.secret("DATABASE_REPLICA_URL").map(|url| url.expose().to_owned()),
        replica_max_lag: env.seconds("DATABASE_REPLICA_MAX_LAG_SECONDS", own.replica_max_lag),
        promote_after: (promote != Duration::MAX).then_some(promote),
        connections: env.or("DATABASE_CONNECTIONS", own.connections),
        timeout: env.seconds("DATABASE_TIMEOUT_SECONDS", own.timeout),
        ..own
    }
}

/// What jobs need to reach.
#[derive(Clone, Debug)]
pub struct JobSettings {
    /// `PAYMENT_URL` and `PAYMENT_TOKEN`: the provider; without it every payment is approved.
    pub payments: Payments,
    /// `SMTP_URL` or `MAIL_DIR`; without them e-mail is only logged.
    pub mail: Mail,
    /// `MAIL_FROM`.
    pub mail_from: Mailbox,
    /// `JOB_WORKERS`, `JOB_ATTEMPTS`, `JOB_TIMEOUT_SECONDS` and `JOB_LEASE_SECONDS`.
    pub limits: Limits,
}

impl JobSettings {
    /// Reads them.
    pub fn read(env: &mut Env<'_>) -> Option<Self> {
        let own = Limits::default();
        let limits = Limits {
            workers: env.within("JOB_WORKERS", own.workers, 1..=64),
            attempts: env.within("JOB_ATTEMPTS", own.attempts, 1..=1_000),
            attempt: env.seconds("JOB_TIMEOUT_SECONDS", own.attempt),
            lease: env.seconds("JOB_LEASE_SECONDS", own.lease),
        };
        if limits.lease <= limits.attempt {
            env.refuse(
                "JOB_LEASE_SECONDS",
                "must be more than JOB_TIMEOUT_SECONDS, or jobs that are being done are begun again",
            );
        }
        let (payments, mail) = (payments(env), mail(env));
        let from: String = env.or("MAIL_FROM", "Zapora <orders@zapora.example>".to_owned());
        let from = from.parse().map_err(|why| env.refuse("MAIL_FROM", format!("{why:?}"))).ok();
        Some(Self { payments: payments?, mail: mail?, mail_from: from?, limits })
    }
}

fn payments(env: &mut Env<'_>) -> Option<Payments> {
    let token = env.secret("PAYMENT_TOKEN").map(|token| token.expose().to_owned());
    match env.optional::<reqwest::Url>("PAYMENT_URL") {
        None => Some(Payments::BuiltIn),
        Some(url) if !matches!(url.scheme(), "http" | "https") => {
            env.refuse("PAYMENT_URL", "is not an http or https address");
            None
        }
        Some(url) => Payments::http(url.as_str(), token).map_err(|why| env.refuse("PAYMENT_URL", why)).ok(),
    }
}

fn mail(env: &mut Env<'_>) -> Option<Mail> {
    match (env.secret("SMTP_URL"), env.optional("MAIL_DIR")) {
        (Some(url), None) => Mail::smtp(url.expose()).map_err(|_| env.refuse("SMTP_URL", "it cannot be used")).ok(),
        (None, Some(folder)) => Some(Mail::Folder(folder)),
        (None, None) => Some(Mail::Log),
        (Some(_), Some(_)) => {
            env.refuse("SMTP_URL", "MAIL_DIR is set too; set one of them");
            None
        }
    }
}

/// `REDIS_URL`: for sessions, the cache, the queue of jobs and the count of logins, and for nothing that cannot be lost.
pub fn redis(env: &mut Env<'_>) -> Option<Secret> {
    service::redis::url(env, "REDIS_URL")
}
