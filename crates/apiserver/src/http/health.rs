//! `/livez`, `/readyz` and `/healthz`: named checks, as upstream answers them.

use http::{HeaderValue, Response, StatusCode, header};

use super::{Answer, Handler, full};

/// What is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Check {
    /// It answers.
    Ping,
    /// The store: whether its writer is there, and for readiness whether writes can be made durable.
    Store,
    /// It is not about to end.
    Shutdown,
}

/// The checks of each path, under upstream's names: the store is where upstream has etcd.
const CHECKS: &[(&str, &[(&str, Check)])] = &[
    ("livez", &[("ping", Check::Ping), ("etcd", Check::Store)]),
    ("healthz", &[("ping", Check::Ping), ("etcd", Check::Store)]),
    (
        "readyz",
        &[
            ("ping", Check::Ping),
            ("etcd", Check::Store),
            ("etcd-readiness", Check::Store),
            ("shutdown", Check::Shutdown),
        ],
    ),
];

/// Where the checks are asked for, together and one by one.
pub(super) fn paths() -> impl Iterator<Item = String> {
    CHECKS.iter().flat_map(|(base, checks)| {
        let each = checks.iter().map(move |(name, _)| format!("/{base}/{name}"));
        std::iter::once(format!("/{base}")).chain(each)
    })
}

/// The answer to a health request; `None` if the path is none.
pub(super) async fn answer(handler: &Handler, path: &str, query: Option<&str>) -> Option<Answer> {
    let (base, one) =
        path.trim_matches('/').split_once('/').map_or((path.trim_matches('/'), None), |(base, one)| (base, Some(one)));
    let (base, checks) = CHECKS.iter().find(|(name, _)| *name == base)?;
    if let Some(one) = one {
        let (_, check) = checks.iter().find(|(name, _)| *name == one)?;
        return Some(match run(handler, base, *check).await {
            Ok(()) => text(StatusCode::OK, "ok".to_owned()),
            Err(why) => text(StatusCode::INTERNAL_SERVER_ERROR, format!("internal server error: {why}\n")),
        });
    }
    let parameters = || query.unwrap_or_default().split('&').map(|pair| pair.split_once('=').unwrap_or((pair, "")));
    let verbose = parameters().any(|(name, _)| name == "verbose");
    let mut excluded: Vec<&str> = parameters().filter(|(name, _)| *name == "exclude").map(|(_, value)| value).collect();
    let (mut said, mut failed) = (String::new(), Vec::new());
    for (name, check) in *checks {
        if excluded.contains(name) {
            excluded.retain(|excluded| excluded != name);
            said.push_str(&format!("[+]{name} excluded: ok\n"));
        } else if let Err(why) = run(handler, base, *check).await {
            // Whoever asks has not said who they are: the reason is for the log.
            said.push_str(&format!("[-]{name} failed: reason withheld\n"));
            failed.push(format!("{name}: {why}"));
        } else {
            said.push_str(&format!("[+]{name} ok\n"));
        }
    }
    if !excluded.is_empty() {
        said.push_str(&format!("warn: some health checks cannot be excluded: no matches for {}\n", quoted(&excluded)));
    }
    if !failed.is_empty() {
        tracing::warn!("{base} failed: {}", failed.join(", "));
        return Some(text(StatusCode::INTERNAL_SERVER_ERROR, format!("{said}{base} check failed\n")));
    }
    let passed = if verbose { format!("{said}{base} check passed\n") } else { "ok".to_owned() };
    Some(text(StatusCode::OK, passed))
}

async fn run(handler: &Handler, base: &str, check: Check) -> Result<(), String> {
    match check {
        Check::Ping => Ok(()),
        // A restart makes no room on a disk: who lives with a full one is alive, but not ready.
        Check::Store if base == "livez" && !handler.registry.store().is_closed() => Ok(()),
        Check::Store => handler.registry.store().check().await.map_err(|error| error.to_string()),
        Check::Shutdown if handler.ending.is_cancelled() => Err("process is shutting down".to_owned()),
        Check::Shutdown => Ok(()),
    }
}

fn quoted(names: &[&str]) -> String {
    names.iter().map(|name| format!("{name:?}")).collect::<Vec<_>>().join(", ")
}

fn text(status: StatusCode, text: String) -> Answer {
    let mut response = Response::new(full(text));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache, private"));
    response
}
