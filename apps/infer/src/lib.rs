//! The `infer` reference service: decisions by rules that are data, explained; at once, or as jobs with an address.

mod config;
mod engine;
mod http;
pub mod jobs;
pub mod keys;
pub mod rules;
mod sources;

use std::sync::Arc;

use service::{Program, Service, StartError};

pub use crate::config::Config;
use crate::{
    engine::Engine,
    jobs::{Gauges, Local, Queue, Shared},
    rules::Ruleset,
};

/// The service, deciding by `rules`.
///
/// # Errors
/// The jobs' database cannot be opened, the address of Redis cannot be used, or a metric's name is taken.
pub fn service(config: &Config, rules: Ruleset) -> Result<Service, StartError> {
    let mut service = Service::new("infer", env!("CARGO_PKG_VERSION"))
        .description("Decisions by rules that are data, explained; at once, or as jobs with an address.");
    let engine = Arc::new(Engine::new(rules, &service.registry())?);
    let gauges = Gauges::new(&service.registry())?;
    let queue = match &config.redis {
        None => Local::open(config.directory.as_deref(), config.retries, config.bounds, gauges)
            .map(Queue::Local)
            .map_err(|e| StartError::new("DATA_DIR", e.to_string()))?,
        Some(url) => Shared::new(url, config.retries, config.bounds, config.lease, gauges)
            .map(Queue::Shared)
            .map_err(|e| StartError::new("REDIS_URL", e))?,
    };
    if let Queue::Shared(jobs) = &queue {
        let jobs = Arc::clone(jobs);
        service = service.worker("news of jobs", |stop| jobs.listen(stop));
    }
    for _ in 0..config.workers {
        let (engine, queue) = (Arc::clone(&engine), queue.clone());
        service = service.worker("jobs", |stop| engine::work(engine, queue, stop));
    }
    Ok(service.routes(http::routes(engine, queue, config.keys.clone())))
}

/// The whole program, on port 8000 if `PORT` does not say otherwise.
///
/// # Errors
/// Says what in the environment or in the rules is wrong, or why it cannot listen.
pub fn run() -> std::io::Result<()> {
    Program::new("infer").run(async |env, _| {
        let (config, rules) = Config::from_env(env)?;
        service(&config, rules)
    })
}
