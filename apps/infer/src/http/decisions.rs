//! Decisions, and what they are made by.

use std::sync::Arc;

use axum::{
    extract::State,
    http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use garde::Validate;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use service::{
    extract::Json,
    problem::{Answer, FieldError, Problem},
};
use sha2::{Digest, Sha256};
use utoipa::ToSchema;
use uuid::Uuid;

use super::{App, Free, facts, jobs::JobView, list_of_facts, place};
use crate::{
    engine::{Task, Undecided},
    jobs::{Accepted, Job, State as JobState},
    keys::Caller,
    rules::{Decision, RuleSummary},
};

/// Broken rules of the schema that one problem lists.
const LISTED: usize = 32;
/// The header by which a client says that two requests are one.
const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");

/// When the answer is to come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// With the response.
    #[default]
    Sync,
    /// As the result of a job.
    Async,
}

/// Facts to decide on.
#[derive(Clone, Debug, Serialize, Deserialize, Validate, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct InferRequest {
    /// As the schema of the rules has them (`GET /v1/ruleset/schema`).
    #[garde(skip)]
    #[schema(schema_with = facts)]
    pub facts: Map<String, Value>,
    /// When the answer is to come; the header `Prefer: respond-async` says `async` too.
    #[garde(skip)]
    #[serde(default)]
    pub mode: Mode,
    /// Whether every rule tried is to be told with its tests.
    #[garde(skip)]
    #[serde(default)]
    pub explain: bool,
}

/// Many facts to decide on, each for itself.
#[derive(Clone, Debug, Serialize, Deserialize, Validate, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct BatchRequest {
    /// Each as the schema of the rules has them (`GET /v1/ruleset/schema`).
    #[garde(length(min = 1, max = 1000))]
    #[schema(schema_with = list_of_facts)]
    pub facts: Vec<Map<String, Value>>,
}

/// Decides on facts.
///
/// As a job if the body says `"mode": "async"` or the header `Prefer: respond-async` (RFC 7240): the answer is 202 with the address of
/// the job then. With an `Idempotency-Key`, asking again for the same job answers with the job that there is; it means nothing without
/// a job, as a decision changes nothing.
#[utoipa::path(
    post, path = "/v1/infer", tag = "decisions", request_body = InferRequest,
    params(
        ("Prefer" = Option<String>, Header, description = "`respond-async` asks for a job"),
        ("Idempotency-Key" = Option<String>, Header, description = "1 to 128 visible ASCII characters", min_length = 1, max_length = 128, pattern = "^[!-~]+$"),
    ),
    responses(
        (status = 200, description = "The decision", body = Decision),
        (status = 202, description = "A job that will decide", body = JobView, headers(
            ("Location" = String, description = "The job's address"),
            ("Retry-After" = u64, description = "When to look again, in seconds"))),
        (status = 422, description = "The facts break the schema, or would take too much work", body = Problem, content_type = "application/problem+json"),
        (status = 409, description = "The idempotency key was used for another request", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "A source does not answer, or there are too many jobs or no place for them", body = Problem, content_type = "application/problem+json"),
    ),
)]
pub async fn infer(
    State(app): State<App>,
    Caller(owner): Caller,
    headers: HeaderMap,
    Json(request): Json<InferRequest>,
) -> Answer<Response> {
    let preferred = prefers_async(&headers);
    let digest = digest("infer", &request);
    let facts = Value::Object(request.facts);
    check(&app, std::slice::from_ref(&facts), |_| "facts".to_owned())?;
    if request.mode == Mode::Async || preferred {
        let task = Task { batch: false, explain: request.explain, facts: vec![facts] };
        let mut response = enqueue(&app, &owner, &headers, task, digest).await?;
        if preferred {
            let applied = HeaderValue::from_static("respond-async");
            response.headers_mut().insert(HeaderName::from_static("preference-applied"), applied);
        }
        return Ok(response);
    }
    idempotency_key(&headers)?;
    match app.engine.decide(facts, request.explain).await {
        Ok(decision) => Ok(Json(decision).into_response()),
        Err(Undecided::Unavailable(error)) => {
            tracing::warn!(%error, "no decision without a source");
            Err(Problem::unavailable(format!("the source {} does not answer", error.name)))
        }
        Err(Undecided::Exhausted(error)) => Err(Problem::unprocessable([FieldError::new("facts", error.to_string())])),
    }
}

/// Decides on many facts, as a job.
#[utoipa::path(
    post, path = "/v1/batches", tag = "decisions", request_body = BatchRequest,
    params(("Idempotency-Key" = Option<String>, Header, description = "1 to 128 visible ASCII characters", min_length = 1, max_length = 128, pattern = "^[!-~]+$")),
    responses(
        (status = 202, description = "A job that will decide; its result is `{\"decisions\": […]}`, in the order of the facts", body = JobView, headers(
            ("Location" = String, description = "The job's address"),
            ("Retry-After" = u64, description = "When to look again, in seconds"))),
        (status = 422, description = "Facts break the schema", body = Problem, content_type = "application/problem+json"),
        (status = 409, description = "The idempotency key was used for another request", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "There are too many jobs, or no place for them", body = Problem, content_type = "application/problem+json"),
    ),
)]
pub async fn batch(
    State(app): State<App>,
    Caller(owner): Caller,
    headers: HeaderMap,
    Json(request): Json<BatchRequest>,
) -> Answer<Response> {
    let digest = digest("batch", &request);
    let facts: Vec<_> = request.facts.into_iter().map(Value::Object).collect();
    check(&app, &facts, |n| format!("facts[{n}]"))?;
    enqueue(&app, &owner, &headers, Task { batch: true, explain: false, facts }, digest).await
}

/// The rules, as far as those who ask have to know them.
#[derive(Debug, Serialize, ToSchema)]
pub struct RulesetView {
    /// The set's name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// What it decides.
    pub description: String,
    /// What it puts out, with the values before any rule.
    #[schema(value_type = Object)]
    pub outputs: Map<String, Value>,
    /// The rules, in the order in which they are tried.
    pub rules: Vec<RuleSummary>,
}

/// The rules that decide.
#[utoipa::path(get, path = "/v1/ruleset", tag = "rules", responses((status = 200, description = "The rules", body = RulesetView)))]
pub async fn ruleset(State(app): State<App>) -> Json<RulesetView> {
    let rules = &app.engine.rules;
    Json(RulesetView {
        name: rules.name.clone(),
        version: rules.version.clone(),
        description: rules.description.clone(),
        outputs: rules.outputs().clone(),
        rules: rules.rules().cloned().collect(),
    })
}

/// The JSON Schema of facts.
#[utoipa::path(
    get, path = "/v1/ruleset/schema", tag = "rules",
    responses((status = 200, description = "A JSON Schema (2020-12 if it does not say otherwise)", body = Object)),
)]
pub async fn schema(State(app): State<App>) -> Free {
    axum::Json(app.engine.rules.input.clone())
}

fn check(app: &App, facts: &[Value], field: impl Fn(usize) -> String) -> Answer<()> {
    let mut broken = Vec::new();
    for (n, facts) in facts.iter().enumerate() {
        let left = LISTED - broken.len();
        if left == 0 {
            break;
        }
        let found = app.engine.rules.check(facts, left);
        broken.extend(found.into_iter().map(|(at, why)| FieldError::new(place(&field(n), &at), why)));
    }
    if broken.is_empty() { Ok(()) } else { Err(Problem::unprocessable(broken)) }
}

/// Whether the client prefers a job (RFC 7240; preferences that are not known are passed over, as it says).
fn prefers_async(headers: &HeaderMap) -> bool {
    let values = headers.get_all("prefer").iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).any(|preference| {
        let name = preference.split([';', '=']).next().unwrap_or_default();
        name.trim().eq_ignore_ascii_case("respond-async")
    })
}

fn idempotency_key(headers: &HeaderMap) -> Answer<Option<String>> {
    let Some(value) = headers.get(IDEMPOTENCY_KEY) else { return Ok(None) };
    let key = value.to_str().unwrap_or_default();
    if !(1..=128).contains(&key.len()) || !key.bytes().all(|b| b.is_ascii_graphic()) {
        return Err(Problem::bad_request("Idempotency-Key must be 1 to 128 visible ASCII characters"));
    }
    Ok(Some(key.to_owned()))
}

/// What tells two requests apart.
fn digest(kind: &str, request: &impl Serialize) -> String {
    let json = serde_json::to_vec(request).unwrap_or_default();
    Sha256::new().chain_update(kind).chain_update(json).finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}

async fn enqueue(app: &App, owner: &Arc<str>, headers: &HeaderMap, task: Task, digest: String) -> Answer<Response> {
    let now = Timestamp::now();
    let job = Job {
        id: Uuid::now_v7(),
        state: JobState::Queued,
        owner: owner.to_string(),
        items: task.facts.len(),
        attempts: 0,
        created_at: now,
        updated_at: now,
        due_at: now,
        error: None,
        key: idempotency_key(headers)?.map(|key| (key, digest)),
        trace_id: service::trace::current().map(|context| format!("{:032x}", context.trace_id)),
    };
    let input = serde_json::to_vec(&task).map_err(Problem::internal)?;
    let accepted = app.queue.accept(job, input).await?;
    let job = match accepted {
        Accepted::New(job) | Accepted::Known(job) => job,
        Accepted::Mismatch => {
            return Err(Problem::conflict("the Idempotency-Key was used for another request"));
        }
        Accepted::Full => {
            let after = std::time::Duration::from_secs(5);
            return Err(Problem::unavailable("there are as many jobs as there may be").retry_after(after));
        }
    };
    let location = HeaderValue::try_from(format!("/v1/jobs/{}", job.id)).map_err(Problem::internal)?;
    let headers = [(header::LOCATION, location), (header::RETRY_AFTER, HeaderValue::from_static("1"))];
    Ok((StatusCode::ACCEPTED, headers, Json(JobView::from(job))).into_response())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_preference_is_found_among_others() {
        let prefers = |value: &str| {
            prefers_async(&HeaderMap::from_iter([(HeaderName::from_static("prefer"), value.parse().unwrap())]))
        };
        assert!(prefers("respond-async") && prefers("wait=10, Respond-Async; foo") && prefers("x=1,respond-async"));
        assert!(!prefers("wait=respond-async") && !prefers(""));
    }

    #[test]
    fn an_idempotency_key_is_visible_ascii() {
        let key = |value: &[u8]| {
            idempotency_key(&HeaderMap::from_iter([(IDEMPOTENCY_KEY, HeaderValue::from_bytes(value).unwrap())]))
                .map_err(|p| p.status())
        };
        assert_eq!(key(b"order-1!").unwrap().as_deref(), Some("order-1!"));
        for bad in [&b""[..], b"a b", b"\xff", &[b'a'; 129]] {
            assert_eq!(key(bad), Err(StatusCode::BAD_REQUEST), "{bad:?}");
        }
    }
}
