//! Whether the service lives (`/health`), whether it can do its work (`/ready`, with what it depends on by name), and what it is
//! (`/info`).

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use axum::{
    Extension,
    response::{IntoResponse, Response},
};
use futures::future::{BoxFuture, join_all};
use serde::Serialize;
use tokio::{sync::Mutex, time::Instant};
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::{extract::Json, metrics, problem::Problem};

/// How long a check may take before it counts as failed.
const CHECK: Duration = Duration::from_secs(2);
/// How long the outcome of the checks is used again: whoever asks for `/ready` in a loop does not load the database.
const FRESH: Duration = Duration::from_millis(500);

/// A check of something that the service depends on.
#[derive(Clone)]
pub(crate) struct Check {
    pub(crate) name: &'static str,
    /// Whether the service can do nothing without it.
    pub(crate) required: bool,
    pub(crate) ask: Ask,
}

/// How a check is done.
pub(crate) type Ask = Arc<dyn Fn() -> BoxFuture<'static, Result<(), String>> + Send + Sync>;

/// What `/ready` goes by.
pub(crate) struct Health {
    name: &'static str,
    version: &'static str,
    started: (jiff::Timestamp, Instant),
    checks: Vec<Check>,
    last: Mutex<Option<(Instant, BTreeMap<&'static str, CheckResult>)>>,
    draining: AtomicBool,
    registry: prometheus::Registry,
}

impl Health {
    pub(crate) fn new(
        name: &'static str,
        version: &'static str,
        checks: Vec<Check>,
        registry: prometheus::Registry,
    ) -> Self {
        let started = (jiff::Timestamp::now(), Instant::now());
        Self { name, version, started, checks, last: Mutex::new(None), draining: AtomicBool::new(false), registry }
    }

    /// From now on the service is not ready, as it is about to end.
    pub(crate) fn drain(&self) {
        self.draining.store(true, Ordering::Relaxed);
    }

    pub(crate) fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Relaxed)
    }

    /// Runs all checks at once, or uses what they said a moment ago.
    async fn results(&self) -> BTreeMap<&'static str, CheckResult> {
        let mut last = self.last.lock().await;
        if let Some((when, results)) = &*last
            && when.elapsed() < FRESH
        {
            return results.clone();
        }
        let before = last.take().map(|(_, results)| results).unwrap_or_default();
        let results =
            join_all(self.checks.iter().map(|check| async move { (check.name, run(&check.ask).await) })).await;
        for (name, (result, why)) in &results {
            let was = before.get(name).map(|b| b.status);
            match (was, result.status) {
                (Some(CheckStatus::Failed), CheckStatus::Ok) => tracing::info!(check = name, "a dependency is back"),
                (None | Some(CheckStatus::Ok), CheckStatus::Failed) => {
                    tracing::warn!(check = name, error = why, "a dependency is unavailable");
                }
                _ => {}
            }
        }
        let results: BTreeMap<_, _> = results.into_iter().map(|(name, (result, _))| (name, result)).collect();
        *last = Some((Instant::now(), results.clone()));
        results
    }
}

async fn run(ask: &Ask) -> (CheckResult, String) {
    let started = Instant::now();
    let outcome = tokio::time::timeout(CHECK, ask()).await.unwrap_or_else(|_| Err(format!("no answer in {CHECK:?}")));
    let milliseconds = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
    match outcome {
        Ok(()) => (CheckResult { status: CheckStatus::Ok, milliseconds }, String::new()),
        Err(why) => (CheckResult { status: CheckStatus::Failed, milliseconds }, why),
    }
}

/// That the service lives.
#[derive(Debug, Serialize, ToSchema)]
struct Alive {
    /// Always `ok`.
    #[schema(examples("ok"))]
    status: &'static str,
}

/// That the service can do its work.
#[derive(Debug, Serialize, ToSchema)]
struct Ready {
    /// Always `ready`; a service that is not ready answers with a problem.
    #[schema(examples("ready"))]
    status: &'static str,
    /// What it depends on, by name.
    checks: BTreeMap<&'static str, CheckResult>,
}

/// How a check went. Why it failed is in the log, as it may tell of names and addresses inside.
#[derive(Clone, Copy, Debug, Serialize, ToSchema)]
struct CheckResult {
    status: CheckStatus,
    /// How long it took.
    milliseconds: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
enum CheckStatus {
    Ok,
    Failed,
}

/// What the service is.
#[derive(Debug, Serialize, ToSchema)]
struct Info {
    /// Its name.
    service: &'static str,
    /// Its version.
    version: &'static str,
    /// When it started (RFC 3339, UTC).
    #[schema(format = DateTime)]
    started: String,
    /// For how many seconds it has run.
    uptime_seconds: u64,
}

/// Liveness: the process answers. It depends on nothing else, so that a failing database restarts no pods.
#[utoipa::path(get, path = "/health", tag = "operations", responses((status = 200, description = "It lives", body = Alive)))]
async fn health() -> Json<Alive> {
    Json(Alive { status: "ok" })
}

/// Readiness: everything that the service cannot do without answers, and it is not about to end. What it can do without is among the
/// checks, and may have failed.
#[utoipa::path(get, path = "/ready", tag = "operations", responses(
    (status = 200, description = "It can do its work", body = Ready),
    (status = 503, description = "It cannot; the member `checks` says because of what", body = Problem, content_type = "application/problem+json"),
))]
async fn ready(Extension(health): Extension<Arc<Health>>) -> Result<Json<Ready>, Problem> {
    if health.is_draining() {
        return Err(Problem::unavailable("the service is about to end").with("checks", ()));
    }
    let checks = health.results().await;
    let required = |name: &str| health.checks.iter().any(|check| check.name == name && check.required);
    let failed = checks.iter().filter(|(name, c)| c.status == CheckStatus::Failed && required(name));
    let failed: Vec<&str> = failed.map(|(name, _)| *name).collect();
    if failed.is_empty() {
        return Ok(Json(Ready { status: "ready", checks }));
    }
    Err(Problem::unavailable(format!("unavailable: {}", failed.join(", "))).with("checks", &checks))
}

/// What runs here, and since when.
#[utoipa::path(get, path = "/info", tag = "operations", responses((status = 200, description = "What runs here", body = Info)))]
async fn info(Extension(health): Extension<Arc<Health>>) -> Json<Info> {
    let (started, since) = health.started;
    Json(Info {
        service: health.name,
        version: health.version,
        started: format!("{started:.3}"),
        uptime_seconds: since.elapsed().as_secs(),
    })
}

/// Metrics in Prometheus' text format.
#[utoipa::path(get, path = "/metrics", tag = "operations", responses(
    (status = 200, description = "All metrics", body = String, content_type = "text/plain; version=0.0.4; charset=utf-8"),
))]
async fn exposition(Extension(health): Extension<Arc<Health>>) -> Response {
    metrics::exposition(&health.registry).into_response()
}

/// The routes of this module.
pub(crate) fn router(health: Arc<Health>) -> OpenApiRouter {
    let router = OpenApiRouter::new().routes(routes!(self::health)).routes(routes!(ready)).routes(routes!(info));
    router.routes(routes!(exposition)).layer(Extension(health))
}

/// Whether probes and scrapers ask for this route: they are answered even under overload, and not logged while all is well.
pub(crate) fn is_operational(route: &str) -> bool {
    matches!(route, "/health" | "/ready" | "/metrics")
}
