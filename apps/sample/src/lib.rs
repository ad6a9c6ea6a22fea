//! The `sample` reference service: a cache, a database, users with tokens, API keys and roles, and endpoints that only some may call.

pub mod access;
mod cache;
mod config;
mod http;
mod passwords;
mod store;

use std::{sync::Arc, time::Duration};

use service::{
    Program, Service, StartError,
    config::Secret,
    jwt::Tokens,
    throttle::{Shared, Throttle},
};

pub use crate::config::Config;
use crate::{
    cache::Cache,
    passwords::Passwords,
    store::{Role, Store, StoreError},
};

/// Addresses and names whose requests are counted.
const COUNTED: usize = 10_000;

/// What handlers share.
pub struct App {
    store: Store,
    cache: Cache,
    tokens: Tokens,
    token_life: Duration,
    passwords: Passwords,
    requests: Throttle<String>,
    logins: Shared<String>,
}

/// The service: connects to its database, brings the schema up to date, and makes the first admin if there is to be one.
///
/// # Errors
/// The database does not answer, or something in the configuration cannot be used.
pub async fn service(config: &Config) -> Result<Service, StartError> {
    let store = Store::open(config.database.expose(), config.connections).await?;
    let redis = config.redis.as_ref().map(|url| service::redis::connection(url, cache::TIME)).transpose();
    let redis = redis.map_err(|e| StartError::new("REDIS_URL", e))?;
    let keys = config.jwt_keys.clone().unwrap_or_else(|| {
        tracing::warn!("JWT_KEYS is not set: tokens are good until this process ends, and in no other replica");
        Secret::new(format!("start:{}", secret()))
    });
    let minute = Duration::from_secs(60);
    let app = Arc::new(App {
        store,
        cache: redis.clone().map_or_else(Cache::memory, Cache::Redis),
        tokens: Tokens::new(&keys, "sample", "sample").map_err(|e| StartError::new("JWT_KEYS", e))?,
        token_life: config.token_life,
        passwords: Passwords::new(config.cost).map_err(|e| StartError::new("BCRYPT_COST", e))?,
        requests: Throttle::new(config.requests, minute, COUNTED),
        logins: Shared::new("sample:logins", config.logins, minute, COUNTED, redis),
    });
    if let Some((name, password)) = &config.admin {
        first_admin(&app, name, password).await?;
    }
    let service = Service::new("sample", env!("CARGO_PKG_VERSION")).description(
        "A cache, a database, users with tokens, API keys and roles, and endpoints that only some may call.",
    );
    let (database, cache) = (Arc::clone(&app), Arc::clone(&app));
    Ok(service
        .check("database", move || {
            let app = Arc::clone(&database);
            async move { app.store.ping().await.map_err(|e| e.to_string()) }
        })
        .watch("cache", move || {
            let app = Arc::clone(&cache);
            async move { app.cache.ping().await.map_err(|e| e.to_string()) }
        })
        .routes(http::routes(app)))
}

/// Makes the admin that the configuration names, unless there is a user of that name.
async fn first_admin(app: &App, name: &str, password: &Secret) -> Result<(), StartError> {
    if app.store.user_named(name).await?.is_some() {
        return Ok(());
    }
    let hash = app.passwords.hash(password.expose()).await?;
    match app.store.add_user(name, &hash, Role::Admin).await {
        // Another replica was faster.
        Ok(_) | Err(StoreError::Exists(_)) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// A secret that nobody can guess, of 64 hexadecimal digits.
fn secret() -> String {
    let both = [uuid::Uuid::new_v4(), uuid::Uuid::new_v4(), uuid::Uuid::new_v4()];
    let bytes: Vec<u8> = both.iter().flat_map(|id| id.into_bytes()).collect();
    passwords::hex(&<sha2::Sha256 as sha2::Digest>::digest(bytes))
}

/// The whole program, on port 8080 if `PORT` does not say otherwise.
///
/// # Errors
/// Says what in the environment is wrong, or why it cannot listen.
pub fn run() -> std::io::Result<()> {
    Program::new("sample").port(8080).run(async |env, _| {
        let config = Config::from_env(env)?;
        service(&config).await
    })
}
