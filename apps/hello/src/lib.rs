//! The `hello` reference service: `GET /` answers a greeting with the time. It knows nothing of Coracle: it runs alone, in a
//! container, or on any cluster. It is the smallest service on the shared kit, and shows what the kit gives to each.

use service::{Service, extract::Json};
use utoipa_axum::{router::OpenApiRouter, routes};

/// The greeting.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, utoipa::ToSchema)]
pub struct Greeting {
    /// Always `ok`.
    #[schema(examples("ok"))]
    pub status: &'static str,
    /// Always `Hello World`.
    #[schema(examples("Hello World"))]
    pub message: &'static str,
    /// When it was made (RFC 3339, UTC).
    #[schema(format = DateTime)]
    pub timestamp: String,
}

impl Greeting {
    /// The greeting at `now`.
    pub fn at(now: jiff::Timestamp) -> Self {
        Self { status: "ok", message: "Hello World", timestamp: now.to_string() }
    }
}

/// Greets the world.
#[utoipa::path(get, path = "/", responses((status = 200, description = "A greeting", body = Greeting)))]
async fn greet() -> Json<Greeting> {
    Json(Greeting::at(jiff::Timestamp::now()))
}

/// The service: one route beside those that the kit gives.
pub fn service() -> Service {
    Service::new("hello", env!("CARGO_PKG_VERSION"))
        .description("Greets the world.")
        .routes(OpenApiRouter::new().routes(routes!(greet)))
}

/// The whole program: settings from the environment, then it serves until SIGTERM or SIGINT, and drains.
///
/// # Errors
/// Says what in the environment is wrong, or why it cannot listen.
pub fn run() -> std::io::Result<()> {
    service::run("hello", async |_env, _start| Ok(service()))
}
