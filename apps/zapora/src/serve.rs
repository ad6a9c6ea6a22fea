//! The service put together: settings, what it depends on, routes, background work.

use std::{path::Path, sync::Arc, time::Duration};

use redis::aio::ConnectionManager;
use service::{Env, Service, StartError, config::Secret};

use crate::{
    auth::{guard::Guard, password::Passwords, sessions::Sessions},
    cache::Cache,
    http::{App, Parts, metrics::Metrics, router},
    images::{self, Images},
    jobs::{Background, JobMetrics, Tools},
    queue::{self, RedisSettings},
    seed,
    settings::{self, HttpSettings, ImageStore, JobSettings},
    store::{Store, connect},
};

/// The whole service, as the environment has it.
///
/// # Errors
/// What is wrong with the environment, or what cannot be reached that must be there at start: the database.
pub async fn service(env: &mut Env<'_>) -> Result<Service, StartError> {
    let database = settings::database(env);
    let dialect = connect::dialect(&database.url).map_err(|why| env.refuse("DATABASE_URL", why)).ok();
    let url = settings::redis(env);
    let jobs = JobSettings::read(env);
    let http = dialect.and_then(|dialect| HttpSettings::read(env, dialect));
    let (http, jobs) = env.done(|| http.zip(jobs))?;
    let store = Store::open(&database).await.map_err(|e| StartError::new("open the database", e))?;
    let service = Service::new("zapora", env!("CARGO_PKG_VERSION"))
        .description("A restaurant takes orders: menus, orders, payment, kitchen, staff.")
        // A form around the largest picture.
        .body_limit(http.image_limits.bytes as u64 + (64 << 10));
    let redis = url
        .as_ref()
        .map(|url| service::redis::connection(url, Duration::from_secs(2)))
        .transpose()
        .map_err(|e| StartError::new("use REDIS_URL", e))?;
    if let Some(redis) = &redis {
        // A customer's next request may reach another replica of the service, which must know that they have just written.
        store.servers().share_writers(redis.clone());
    }
    let seeding = |error| StartError::new("look for the first admin", error);
    let (maker, making) = seed::Maker::new(&store, http.admin.as_ref()).await.map_err(seeding)?;
    let app = app(&http, store.clone(), redis, making, &service)?;
    store.count_orders_in(&service.registry())?;
    if http.seed_demo {
        seed::demo(&store).await.map_err(|e| StartError::new("fill the menu", e))?;
    }
    let background = background(jobs, store, url.as_ref(), &service)?;
    let service = checks(service, &app).routes(router(&app)).worker("jobs", move |stop| background.run(stop));
    // What a start need not wait for.
    Ok(service.worker("first admin", move |stop| async move {
        if let Some(maker) = maker {
            maker.run(app.store().clone(), app.passwords().clone(), stop).await;
        }
        app.metrics().recount_users(app.store()).await;
    }))
}

fn background(
    settings: JobSettings,
    store: Store,
    redis: Option<&Secret>,
    service: &Service,
) -> Result<Background, StartError> {
    let JobSettings { payments, mail, mail_from, limits } = settings;
    let settings = RedisSettings { visibility: limits.lease, ..RedisSettings::default() };
    let shared = redis.map(|url| queue::Redis::new(url, settings)).transpose();
    Ok(Background {
        tools: Tools { store, payments, mail, mail_from },
        shared: shared.map_err(|e| StartError::new("use REDIS_URL", e))?.map(Arc::new),
        limits,
        metrics: JobMetrics::new(&service.registry())?,
    })
}

/// What all handlers share.
///
/// # Errors
/// When the images have no place, or a metric has a name that is taken.
pub fn app(
    settings: &HttpSettings,
    store: Store,
    redis: Option<ConnectionManager>,
    first_admin: seed::Making,
    service: &Service,
) -> Result<App, StartError> {
    let registry = service.registry();
    Ok(App::new(Parts {
        passwords: Passwords::new(settings.bcrypt_cost),
        sessions: redis.clone().map_or_else(|| Sessions::Database(store.clone()), Sessions::Redis),
        tokens: settings.tokens.clone(),
        guard: Guard::new(settings.rates, redis.as_ref()),
        cache: Cache::new(redis, settings.menu_cache, &registry)?,
        images: images(settings).map_err(|e| StartError::new("open the image store", e))?,
        metrics: Metrics::new(&registry)?,
        session_lifetime: settings.session_lifetime,
        first_admin,
        store,
    }))
}

fn images(settings: &HttpSettings) -> Result<Images, images::Error> {
    match &settings.images {
        ImageStore::Folder(folder) => Images::folder(Path::new(folder), settings.image_limits),
        ImageStore::S3(s3) => Images::s3(s3, settings.image_limits),
    }
}

/// What `/ready` asks. Without the pictures' store the service does less, but it does its work, and all replicas have the same store:
/// were they not ready for it, nobody could order. Redis is not even asked, for everything but signing in goes on without it.
fn checks(service: Service, app: &App) -> Service {
    let (database, pictures) = (app.clone(), app.clone());
    service
        .check("database", move || {
            let app = database.clone();
            async move { app.store().ping().await.map_err(|error| error.to_string()) }
        })
        .watch("images", move || {
            let app = pictures.clone();
            async move { app.images().check().await.map_err(|error| error.to_string()) }
        })
}
