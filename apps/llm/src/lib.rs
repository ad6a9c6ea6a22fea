//! The `llm` reference service: chat completions, in a shape of its own and in OpenAI's, whole or as server-sent events. They come from
//! any OpenAI-compatible endpoint, or by default from a small model in the binary ([`model`]), and every answer names its model.

pub mod answer;
pub mod ask;
pub mod config;
pub mod desk;
mod http;
pub mod metrics;
pub mod model;
pub mod trace;
pub mod upstream;

use std::sync::Arc;

use service::{Program, Service, StartError};

use crate::{config::Config, desk::Source};

/// The service, answering from `source`.
///
/// # Errors
/// One of its metrics has a name that the kit uses.
pub fn service(config: &Config, source: Source) -> Result<Service, StartError> {
    let service = Service::new("llm", env!("CARGO_PKG_VERSION")).description(
        "Chat completions, from any OpenAI-compatible endpoint or from a small model of the service's own.",
    );
    let metrics = metrics::Metrics::new(&service.registry()).map_err(|e| StartError::new("metrics", e))?;
    let desk = desk::Desk::new(config, source, metrics);
    let time = config.longest();
    Ok(http::CHATS.iter().fold(service.routes(http::routes(desk)), |service, route| service.request_time(route, time)))
}

/// The whole program, on port 8081 if `PORT` does not say otherwise.
///
/// # Errors
/// Says what in the environment is wrong, or why it cannot listen.
pub fn run() -> std::io::Result<()> {
    Program::new("llm").port(8081).run(async |env, _| {
        let config = Config::from_env(env)?;
        let source = match config.upstream.clone() {
            Some(upstream) => Source::Upstream(Box::new(
                upstream::Upstream::new(upstream).map_err(|e| StartError::new("LLM_BASE_URL", e))?,
            )),
            None => Source::BuiltIn(Arc::new(model::built_in())),
        };
        service(&config, source)
    })
}

/// Any number.
fn random() -> u64 {
    fastrand::u64(..)
}
