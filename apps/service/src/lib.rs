//! What the reference services share, and what a service of your own can start from: configuration, logs, metrics, traces, health,
//! bounds, drain, problems, OpenAPI. `docs/services.md` explains it from the beginning.
//!
//! ```no_run
//! use service::{Service, extract::{Json, Path}, problem::Answer};
//! use utoipa_axum::{router::OpenApiRouter, routes};
//!
//! /// Greets somebody.
//! #[utoipa::path(get, path = "/greetings/{name}", params(("name" = String, Path)), responses((status = 200, body = String)))]
//! async fn greet(Path(name): Path<String>) -> Answer<Json<String>> {
//!     Ok(Json(format!("Hello {name}")))
//! }
//!
//! fn main() -> std::io::Result<()> {
//!     service::run("greeter", async |_env, _start| {
//!         Ok(Service::new("greeter", "0.1.0").routes(OpenApiRouter::new().routes(routes!(greet))))
//!     })
//! }
//! ```

pub mod audit;
mod body;
pub mod config;
mod export;
pub mod extract;
mod finish;
mod health;
pub mod jwt;
pub mod log;
mod memory;
pub mod metrics;
pub mod number;
mod observe;
mod openapi;
mod paced;
pub mod problem;
mod record;
#[cfg(feature = "redis")]
pub mod redis;
mod serve;
mod service;
mod settings;
mod start;
pub mod throttle;
pub mod trace;

pub use config::Env;
pub use finish::to_the_end;
pub use service::Service;
pub use settings::{Limits, Settings};
pub use start::{Program, Start, StartError, run};
