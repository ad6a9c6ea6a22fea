//! Jobs: how they stand, what came of them, and taking them back.

use axum::{
    extract::State,
    http::{HeaderValue, header},
    response::{IntoResponse, Response},
};
use garde::Validate;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use service::{
    extract::{Json, Path, Query},
    problem::{Answer, Problem},
};
use utoipa::ToSchema;
use uuid::Uuid;

use super::{App, written};
use crate::{
    jobs::{Changed, Job, JobsError, State as JobState},
    keys::Caller,
};

/// A long task.
#[derive(Debug, Serialize, ToSchema)]
pub struct JobView {
    /// Its name.
    pub id: Uuid,
    /// Where it stands.
    pub state: JobState,
    /// How many facts are to be decided.
    pub items: usize,
    /// How many times it was begun.
    pub attempts: u32,
    /// When it was accepted.
    #[schema(value_type = String, format = DateTime)]
    pub created_at: Timestamp,
    /// When its state changed last.
    #[schema(value_type = String, format = DateTime)]
    pub updated_at: Timestamp,
    /// When it is tried next; null unless it waits.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub next_attempt_at: Option<Timestamp>,
    /// What went wrong last.
    pub error: Option<String>,
    /// Where its result is; null while there is none.
    pub result: Option<String>,
    /// The trace of the request that made it.
    pub trace_id: Option<String>,
}

impl From<Job> for JobView {
    fn from(job: Job) -> Self {
        Self {
            id: job.id,
            state: job.state,
            items: job.items,
            attempts: job.attempts,
            created_at: job.created_at,
            updated_at: job.updated_at,
            next_attempt_at: (job.state == JobState::Queued).then_some(job.due_at),
            error: job.error,
            result: (job.state == JobState::Succeeded).then(|| format!("/v1/jobs/{}/result", job.id)),
            trace_id: job.trace_id,
        }
    }
}

/// Some jobs.
#[derive(Debug, Serialize, ToSchema)]
pub struct JobList {
    /// The newest first.
    pub jobs: Vec<JobView>,
    /// What to give as `before` for the next ones; null if there are no more.
    pub next: Option<Uuid>,
}

/// Which jobs.
#[derive(Clone, Copy, Debug, Deserialize, Validate, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct Which {
    /// Only those that stand so; `failed` are the dead letters.
    #[garde(skip)]
    #[param(inline)]
    state: Option<JobState>,
    /// Only those made before this one.
    #[garde(skip)]
    before: Option<Uuid>,
    /// How many at most; 100 if nobody says.
    #[garde(inner(range(min = 1, max = 1000)))]
    #[param(minimum = 1, maximum = 1000)]
    limit: Option<usize>,
}

/// The caller's jobs. A page is what there is at one moment. Whoever follows `next` to its end is shown each job that stands so all the
/// while once: what begins or ends to stand so meanwhile may be among them or not, and what is made meanwhile is not, as a rule.
#[utoipa::path(
    get, path = "/v1/jobs", tag = "jobs", params(Which),
    responses(
        (status = 200, description = "The newest first", body = JobList),
        (status = 503, description = "Jobs are not available", body = Problem, content_type = "application/problem+json"),
    ),
)]
pub async fn list(State(app): State<App>, Caller(owner): Caller, Query(which): Query<Which>) -> Answer<Json<JobList>> {
    let limit = which.limit.unwrap_or(100);
    let mut jobs = app.queue.list(&owner, which.state, which.before, limit + 1).await?;
    let more = jobs.len() > limit;
    jobs.truncate(limit);
    let next = jobs.last().map(|job| job.id).filter(|_| more);
    Ok(Json(JobList { jobs: jobs.into_iter().map(JobView::from).collect(), next }))
}

fn missing() -> Problem {
    Problem::not_found("there is no such job, or it is over and was forgotten")
}

/// How a job stands.
#[utoipa::path(
    get, path = "/v1/jobs/{id}", tag = "jobs", params(("id" = Uuid, Path)),
    responses(
        (status = 200, description = "How it stands; `Retry-After` says when to look again", body = JobView),
        (status = 404, description = "There is no such job", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "Jobs are not available", body = Problem, content_type = "application/problem+json"),
    ),
)]
pub async fn status(State(app): State<App>, Caller(owner): Caller, Path(id): Path<Uuid>) -> Answer<Response> {
    let job = app.queue.get(&owner, id).await?.ok_or_else(missing)?;
    let is_final = job.state.is_final();
    let mut response = Json(JobView::from(job)).into_response();
    if !is_final {
        response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
    }
    Ok(response)
}

/// What came of a job: a decision, or `{"decisions": […]}` of a batch.
#[utoipa::path(
    get, path = "/v1/jobs/{id}/result", tag = "jobs", params(("id" = Uuid, Path)),
    responses(
        (status = 200, description = "The result", body = Object),
        (status = 404, description = "There is no such job", body = Problem, content_type = "application/problem+json"),
        (status = 409, description = "The job has no result, or none yet", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "Jobs are not available", body = Problem, content_type = "application/problem+json"),
    ),
)]
pub async fn result(State(app): State<App>, Caller(owner): Caller, Path(id): Path<Uuid>) -> Answer<Response> {
    let job = app.queue.get(&owner, id).await?.ok_or_else(missing)?;
    if job.state != JobState::Succeeded {
        return Err(standing(job));
    }
    let result = app.queue.result(id).await?;
    result.map(written).ok_or_else(missing)
}

/// Takes a job back. One that a worker is at is stopped; what it did by then has no effect.
#[utoipa::path(
    delete, path = "/v1/jobs/{id}", tag = "jobs", params(("id" = Uuid, Path)),
    responses(
        (status = 200, description = "It is taken back", body = JobView),
        (status = 404, description = "There is no such job", body = Problem, content_type = "application/problem+json"),
        (status = 409, description = "It is over already", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "Jobs are not available", body = Problem, content_type = "application/problem+json"),
    ),
)]
pub async fn cancel(State(app): State<App>, Caller(owner): Caller, Path(id): Path<Uuid>) -> Answer<Json<JobView>> {
    changed(app.queue.cancel(&owner, id).await)
}

/// Has a dead letter tried again, as if it were new.
#[utoipa::path(
    post, path = "/v1/jobs/{id}/retry", tag = "jobs", params(("id" = Uuid, Path)),
    responses(
        (status = 200, description = "It waits again", body = JobView),
        (status = 404, description = "There is no such job", body = Problem, content_type = "application/problem+json"),
        (status = 409, description = "It is no dead letter", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "Jobs are not available", body = Problem, content_type = "application/problem+json"),
    ),
)]
pub async fn retry(State(app): State<App>, Caller(owner): Caller, Path(id): Path<Uuid>) -> Answer<Json<JobView>> {
    changed(app.queue.revive(&owner, id).await)
}

fn changed(change: Result<Changed, JobsError>) -> Answer<Json<JobView>> {
    match change? {
        None => Err(missing()),
        Some(Ok(job)) => Ok(Json(JobView::from(job))),
        Some(Err(job)) => Err(standing(job)),
    }
}

/// Why something cannot be done with a job that stands so.
fn standing(job: Job) -> Problem {
    let state = job.state.name();
    let problem = Problem::conflict(format!("the job is {state}")).with("state", state);
    match job.error {
        Some(error) => problem.with("error", error),
        None => problem,
    }
}
