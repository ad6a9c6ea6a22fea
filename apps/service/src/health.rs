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
use tokio::{
    sync::{Mutex, OwnedMutexGuard},
    time::Instant,
};
use tracing::Instrument;
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::{extract::Json, metrics, problem::Problem};

/// How long a check may take before it counts as failed.
const CHECK: Duration = Duration::from_secs(2);
/// The same for what the service can do without. A probe that says nothing else waits one second (Kubernetes' `timeoutSeconds`), and
/// what hangs is not to hold back the answer until nobody waits for it: the service would be as unready as if it needed it.
const WATCHED: Duration = Duration::from_millis(700);
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

/// What the checks said last, and when.
type Last = Option<(Instant, BTreeMap<&'static str, CheckResult>)>;

/// What `/ready` goes by.
pub(crate) struct Health {
    name: &'static str,
    version: &'static str,
    started: (jiff::Timestamp, Instant),
    checks: Vec<Check>,
    last: Arc<Mutex<Last>>,
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
        Self { name, version, started, checks, last: Arc::default(), draining: AtomicBool::new(false), registry }
    }

    /// From now on the service is not ready, as it is about to end.
    pub(crate) fn drain(&self) {
        self.draining.store(true, Ordering::Relaxed);
    }

    pub(crate) fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Relaxed)
    }

    /// Runs all checks at once, or uses what they said a moment ago.
    async fn results(self: &Arc<Self>) -> BTreeMap<&'static str, CheckResult> {
        let last = Arc::clone(&self.last).lock_owned().await;
        if let Some((when, results)) = &*last
            && when.elapsed() < FRESH
        {
            return results.clone();
        }
        // On its own: a probe that waits less than the checks take would end them each time, and nobody would ever say why they fail.
        match tokio::spawn(Arc::clone(self).look(last).in_current_span()).await {
            Ok(results) => results,
            Err(error) => match error.try_into_panic() {
                Ok(panic) => std::panic::resume_unwind(panic),
                // The runtime ends, and the asker with it.
                Err(_) => BTreeMap::new(),
            },
        }
    }

    /// Runs all checks at once; whoever asks meanwhile waits for `last`.
    async fn look(self: Arc<Self>, mut last: OwnedMutexGuard<Last>) -> BTreeMap<&'static str, CheckResult> {
        let before = last.take().map(|(_, results)| results).unwrap_or_default();
        let results = join_all(self.checks.iter().map(|check| async move { (check.name, run(check).await) })).await;
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

async fn run(check: &Check) -> (CheckResult, String) {
    let (started, patience) = (Instant::now(), if check.required { CHECK } else { WATCHED });
    let outcome = tokio::time::timeout(patience, (check.ask)()).await;
    let outcome = outcome.unwrap_or_else(|_| Err(format!("no answer in {patience:?}")));
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

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;

    use futures::FutureExt;
    use tokio::sync::{Notify, Semaphore};

    use super::*;

    #[tokio::test]
    async fn checks_come_to_their_end_though_nobody_waits_for_them_any_more() {
        let (begun, gate) = (Arc::new(Notify::new()), Arc::new(Semaphore::new(0)));
        let done = Arc::new(AtomicUsize::new(0));
        let (begins, waits, counts) = (Arc::clone(&begun), Arc::clone(&gate), Arc::clone(&done));
        let ask: Ask = Arc::new(move || {
            begins.notify_one();
            let (gate, done) = (Arc::clone(&waits), Arc::clone(&counts));
            Box::pin(async move {
                let _passed = gate.acquire().await;
                done.fetch_add(1, Ordering::Relaxed);
                Err("it is down".to_owned())
            })
        });
        let checks = vec![Check { name: "database", required: true, ask }];
        let health = Arc::new(Health::new("tested", "1.2.3", checks, prometheus::Registry::new()));
        let asked = Arc::clone(&health);
        let probe = tokio::spawn(async move { asked.results().await });
        begun.notified().await;
        probe.abort();
        assert!(probe.await.is_err(), "the probe went away");
        let mut next = std::pin::pin!(health.results());
        assert!(next.as_mut().now_or_never().is_none());
        gate.add_permits(1);
        assert_eq!(next.await["database"].status, CheckStatus::Failed);
        assert_eq!(done.load(Ordering::Relaxed), 1);
        assert!(begun.notified().now_or_never().is_none(), "what the first has found is the answer to the next");
    }
}
