//! What admins do: appoint, look after what failed, read the books, and set the rules.

use axum::{
    extract::State,
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Response},
};
use garde::Validate;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use service::{
    extract::{Json, Path, Query},
    problem::{Answer, Problem},
};
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

use super::{
    App,
    account::Account,
    answers::{IfMatch, stale, tag_of, time, value},
    fields::{Limit, Search},
    items::conditional,
};
use crate::{
    audit::{self, Entry},
    auth::{Principal, access::Role},
    engine::Rules,
    store::users::{self, Appointed, Listing},
};

/// Which accounts to list.
#[derive(Deserialize, Validate, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct UsersQuery {
    /// Only those with this role.
    #[garde(skip)]
    #[param(inline)]
    role: Option<Role>,
    /// Only those whose address contains this.
    #[garde(dive)]
    #[param(inline)]
    email: Option<Search>,
    /// Only those made after the one with this id: `next` of the page before.
    #[garde(skip)]
    after: Option<Uuid>,
    /// At most so many.
    #[garde(dive)]
    #[serde(default)]
    #[param(inline)]
    limit: Limit,
}

/// A page of accounts.
#[derive(Serialize, ToSchema)]
pub struct Accounts {
    /// The accounts, the oldest first.
    users: Vec<Account>,
    /// What to send as `after` for the next page; none if this is the last.
    #[schema(format = Uuid)]
    next: Option<String>,
}

/// What an account may do from now on.
#[derive(Deserialize, Validate, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Appointment {
    /// Its role.
    #[garde(skip)]
    #[schema(inline)]
    role: Option<Role>,
    /// Whether it may not sign in.
    #[garde(skip)]
    disabled: Option<bool>,
}

/// Accounts, the oldest first.
#[utoipa::path(
    get, path = "/admin/users", tag = "admin", params(UsersQuery),
    responses((status = 200, description = "A page of accounts", body = Accounts))
)]
pub async fn list_users(State(app): State<App>, Query(query): Query<UsersQuery>) -> Answer<Json<Accounts>> {
    let limit = usize::try_from(query.limit.0).unwrap_or(usize::MAX);
    let listing = Listing {
        role: query.role,
        email: query.email.map(|part| part.0.to_ascii_lowercase()),
        after: query.after.map(|id| id.to_string()),
        limit: query.limit.0 + 1,
    };
    let users = users::list(app.store(), &listing).await?;
    let next = if users.len() > limit { users.get(limit - 1).map(|user| user.id.clone()) } else { None };
    Ok(Json(Accounts { users: users.iter().take(limit).map(Account::of).collect(), next }))
}

fn nobody() -> Problem {
    Problem::not_found("there is no such account")
}

/// One account.
#[utoipa::path(
    get, path = "/admin/users/{id}", tag = "admin", params(("id" = Uuid, Path, description = "The account's id")),
    responses(
        (status = 200, description = "The account", body = Account),
        (status = 404, description = "There is no such account", body = Problem, content_type = "application/problem+json"),
    )
)]
pub async fn show_user(State(app): State<App>, Path(id): Path<Uuid>) -> Answer<Json<Account>> {
    let user = users::by_id(app.store(), &id.to_string()).await?.ok_or_else(nobody)?;
    Ok(Json(Account::of(&user)))
}

/// Sets what an account may do. Its sessions end, also if it is that already: it signs in again as what it is now.
///
/// Who says of themselves what they are already keeps the session in which they say it.
#[utoipa::path(
    patch, path = "/admin/users/{id}", tag = "admin", request_body = Appointment,
    params(("id" = Uuid, Path, description = "The account's id")),
    responses(
        (status = 200, description = "The account as it is now", body = Account),
        (status = 404, description = "There is no such account", body = Problem, content_type = "application/problem+json"),
        (status = 409, description = "It is the last admin", body = Problem, content_type = "application/problem+json"),
    )
)]
pub async fn appoint(
    State(app): State<App>,
    me: Principal,
    Path(id): Path<Uuid>,
    Json(appointment): Json<Appointment>,
) -> Answer<Json<Account>> {
    let (id, now) = (id.to_string(), Timestamp::now());
    let entry = Entry::new("account.appoint", &id).by(&me.user);
    let user = match users::appoint(app.store(), &id, appointment.role, appointment.disabled, now).await? {
        Appointed::Done(user) => user,
        Appointed::Nobody => return Err(nobody()),
        Appointed::LastAdmin => {
            entry.denied("it is the last admin").keep(app.store()).await;
            return Err(Problem::conflict("this is the last admin who can sign in; appoint another first"));
        }
    };
    if appointment.role.is_some() || appointment.disabled.is_some() {
        // Whatever it was before: had they not ended the last time, because Redis was away, they would live on. Who remains what they
        // are by their own word goes on.
        let same = id == me.user && user.role == me.role && !user.disabled;
        app.sessions().end_all(&id, same.then_some(me.session.as_str()), now).await?;
    }
    let what = format!("{}{}", user.role.as_str(), if user.disabled { ", disabled" } else { "" });
    entry.because(&what).keep(app.store()).await;
    Ok(Json(Account::of(&user)))
}

/// Which of a list that is given from its end.
#[derive(Deserialize, Validate, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct Backwards {
    /// Only what is older than this: `next` of the page before.
    #[garde(skip)]
    before: Option<Uuid>,
    /// At most so many.
    #[garde(dive)]
    #[serde(default)]
    #[param(inline)]
    limit: Limit,
}

/// A job that failed for good.
#[derive(Serialize, ToSchema)]
pub struct DeadLetter {
    /// Its id.
    #[schema(format = Uuid)]
    id: String,
    /// What it is.
    kind: String,
    /// What it was to do.
    payload: serde_json::Value,
    /// How often it was tried.
    attempts: i64,
    /// Why the last attempt failed.
    last_error: String,
    /// When it was written.
    #[schema(format = DateTime)]
    created_at: String,
    /// When it was given up.
    #[schema(format = DateTime)]
    updated_at: String,
}

/// Jobs that failed for good.
#[derive(Serialize, ToSchema)]
pub struct DeadLetters {
    /// The jobs, the newest first.
    dead_letters: Vec<DeadLetter>,
    /// What to send as `before` for the next page; none if this is the last.
    #[schema(format = Uuid)]
    next: Option<String>,
}

/// Jobs that failed for good, the newest first.
#[utoipa::path(
    get, path = "/admin/dead-letters", tag = "admin", params(Backwards),
    responses((status = 200, description = "A page of jobs", body = DeadLetters))
)]
pub async fn dead_letters(State(app): State<App>, Query(query): Query<Backwards>) -> Answer<Json<DeadLetters>> {
    let limit = usize::try_from(query.limit.0).unwrap_or(usize::MAX);
    let before = query.before.map(|id| id.to_string());
    let jobs = app.store().dead_jobs(before.as_deref(), query.limit.0 + 1).await?;
    let next = if jobs.len() > limit { jobs.get(limit - 1).map(|job| job.id.clone()) } else { None };
    let dead_letters = jobs.into_iter().take(limit).map(|job| DeadLetter {
        id: job.id,
        kind: job.kind,
        payload: serde_json::from_str(&job.payload).unwrap_or_default(),
        attempts: job.attempts,
        last_error: job.last_error,
        created_at: time(job.created_at),
        updated_at: time(job.updated_at),
    });
    Ok(Json(DeadLetters { dead_letters: dead_letters.collect(), next }))
}

/// Gives a job that failed for good another series of attempts.
#[utoipa::path(
    post, path = "/admin/dead-letters/{id}/requeue", tag = "admin", params(("id" = Uuid, Path, description = "The job's id")),
    responses(
        (status = 202, description = "It will be tried again"),
        (status = 404, description = "There is no such dead job", body = Problem, content_type = "application/problem+json"),
    )
)]
pub async fn requeue(State(app): State<App>, me: Principal, Path(id): Path<Uuid>) -> Answer<StatusCode> {
    let id = id.to_string();
    if !app.store().requeue_job(&id, Timestamp::now()).await? {
        return Err(Problem::not_found("there is no such dead job"));
    }
    Entry::new("job.requeue", &id).by(&me.user).keep(app.store()).await;
    Ok(StatusCode::ACCEPTED)
}

/// Which reports to list.
#[derive(Deserialize, Validate, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct ReportsQuery {
    /// Only those of days before this one.
    #[garde(skip)]
    #[param(value_type = Option<String>, format = Date)]
    before: Option<String>,
    /// At most so many.
    #[garde(dive)]
    #[serde(default)]
    #[param(inline)]
    limit: Limit,
}

/// The report of a day.
#[derive(Serialize, ToSchema)]
pub struct Report {
    /// The day, where the restaurant is.
    #[schema(format = Date)]
    day: String,
    /// Orders that did not come to nothing.
    orders: i64,
    /// What they came to.
    revenue_cents: i64,
    /// The same by state, and the items that were ordered most.
    details: serde_json::Value,
}

/// The reports of days.
#[derive(Serialize, ToSchema)]
pub struct Reports {
    /// The reports, the newest first.
    reports: Vec<Report>,
}

/// The reports of the days that are over, the newest first.
#[utoipa::path(
    get, path = "/admin/reports", tag = "admin", params(ReportsQuery),
    responses((status = 200, description = "Reports", body = Reports))
)]
pub async fn reports(State(app): State<App>, Query(query): Query<ReportsQuery>) -> Answer<Json<Reports>> {
    let before = match query.before {
        Some(day) => Some(
            day.parse::<jiff::civil::Date>()
                .map_err(|_| Problem::bad_request("before: not a day, as in 2026-03-14"))?,
        ),
        None => None,
    };
    let before = before.map(|day| day.to_string());
    let reports = app.store().daily_reports(before.as_deref(), query.limit.0).await?.into_iter().map(|report| Report {
        day: report.day,
        orders: report.orders,
        revenue_cents: report.revenue_cents,
        details: serde_json::from_str(&report.report).unwrap_or_default(),
    });
    Ok(Json(Reports { reports: reports.collect() }))
}

/// Which audit entries to list.
#[derive(Deserialize, Validate, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct AuditQuery {
    /// Only those of the account with this id.
    #[garde(skip)]
    actor: Option<Uuid>,
    /// Only those older than the one with this id: `next` of the page before.
    #[garde(skip)]
    before: Option<Uuid>,
    /// At most so many.
    #[garde(dive)]
    #[serde(default)]
    #[param(inline)]
    limit: Limit,
}

/// Who did what to what.
#[derive(Serialize, ToSchema)]
pub struct AuditEntry {
    /// The entry's id.
    #[schema(format = Uuid)]
    id: String,
    /// When it was.
    #[schema(format = DateTime)]
    at: String,
    /// An account's id, or `system`.
    actor: String,
    /// What was done.
    action: String,
    /// To what.
    object: String,
    /// `allowed`, `denied` or `failed`.
    outcome: String,
    /// What else is known.
    detail: String,
}

/// A page of audit entries.
#[derive(Serialize, ToSchema)]
pub struct AuditLog {
    /// The entries, the newest first.
    entries: Vec<AuditEntry>,
    /// What to send as `before` for the next page; none if this is the last.
    #[schema(format = Uuid)]
    next: Option<String>,
}

/// Who did what to what, the newest first.
#[utoipa::path(
    get, path = "/admin/audit", tag = "admin", params(AuditQuery),
    responses((status = 200, description = "A page of entries", body = AuditLog))
)]
pub async fn audit(State(app): State<App>, Query(query): Query<AuditQuery>) -> Answer<Json<AuditLog>> {
    let limit = usize::try_from(query.limit.0).unwrap_or(usize::MAX);
    let [actor, before] = [query.actor, query.before].map(|id| id.map(|id| id.to_string()));
    let kept = audit::list(app.store(), actor.as_deref(), before.as_deref(), query.limit.0 + 1).await?;
    let next = if kept.len() > limit { kept.get(limit - 1).map(|entry| entry.id.clone()) } else { None };
    let entries = kept.into_iter().take(limit).map(|entry| AuditEntry {
        id: entry.id,
        at: time(entry.at),
        actor: entry.actor,
        action: entry.action,
        object: entry.object,
        outcome: entry.outcome,
        detail: entry.detail,
    });
    Ok(Json(AuditLog { entries: entries.collect(), next }))
}

/// A document of rules that can be used.
#[derive(Deserialize, Validate, ToSchema)]
#[garde(transparent)]
#[serde(transparent)]
#[schema(value_type = Rules)]
pub struct GoodRules(#[garde(custom(good))] Rules);

fn good(rules: &Rules, _: &()) -> garde::Result {
    rules.check().map_err(|why| garde::Error::new(why.to_string()))
}

/// The rules in force: opening hours, taxes, discounts, limits.
#[utoipa::path(
    get, path = "/admin/rules", tag = "admin",
    responses((status = 200, description = "The rules", body = Rules, headers(("ETag" = String, description = "For If-Match"))))
)]
pub async fn rules(State(app): State<App>, headers: HeaderMap) -> Answer<Response> {
    let in_force = app.store().rules().await?;
    Ok(conditional(&headers, &tag_of(in_force.version, false), "no-cache", || Json(&*in_force.rules).into_response()))
}

/// Replaces the rules, if they are still as the client has seen them. Orders that are placed from now on follow the new ones.
#[utoipa::path(
    put, path = "/admin/rules", tag = "admin", request_body = Rules,
    params(("If-Match" = String, Header, description = "The ETag of the rules that are to be replaced")),
    responses(
        (status = 204, description = "They are in force", headers(("ETag" = String, description = "Of the new rules"))),
        (status = 412, description = "They have changed since", body = Problem, content_type = "application/problem+json"),
        (status = 428, description = "There is no If-Match", body = Problem, content_type = "application/problem+json"),
    )
)]
pub async fn set_rules(
    State(app): State<App>,
    me: Principal,
    IfMatch(version): IfMatch,
    Json(GoodRules(rules)): Json<GoodRules>,
) -> Answer<Response> {
    let version = app.store().set_rules(&rules, version, &me.user, Timestamp::now()).await?.ok_or_else(stale)?;
    app.cache().forget().await;
    Entry::new("rules.set", &version.to_string()).by(&me.user).keep(app.store()).await;
    Ok((StatusCode::NO_CONTENT, [(header::ETAG, value(&tag_of(version, false)))]).into_response())
}
