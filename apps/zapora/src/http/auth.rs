//! `/auth`: accounts are made, sessions begin, go on and end.

use axum::{
    extract::State,
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Response},
};
use garde::Validate;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use service::{
    extract::{ClientAddress, Json, Query},
    problem::{Answer, Problem},
};
use utoipa::ToSchema;

use super::{
    App,
    account::Account,
    answers::value,
    fields::{Email, Name, NewPassword, Password},
};
use crate::{
    audit::Entry,
    auth::{
        Principal,
        access::Role,
        password::Checked,
        sessions::{Prolonged, Refresh},
    },
    store::{
        StoreError,
        users::{self, NewUser, User},
    },
};

/// What makes an account.
#[derive(Deserialize, Validate, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Registration {
    /// The address; no two accounts have the same.
    #[garde(dive)]
    email: Email,
    /// What to call you.
    #[garde(dive)]
    name: Name,
    /// The password.
    #[garde(dive)]
    password: NewPassword,
}

/// Who signs in.
#[derive(Deserialize, Validate, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Login {
    /// The account's address.
    #[garde(dive)]
    email: Email,
    /// Its password.
    #[garde(dive)]
    password: Password,
}

/// A refresh token.
#[derive(Deserialize, Validate, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RefreshRequest {
    /// The token of the last login or refresh.
    #[garde(length(chars, min = 1, max = 200))]
    #[schema(min_length = 1, max_length = 200)]
    refresh_token: String,
}

/// Which sessions to end.
#[derive(Deserialize, Validate, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct LogoutQuery {
    /// Whether to end all sessions of the account, and not only this one.
    #[garde(skip)]
    #[serde(default)]
    #[param(default = false)]
    everywhere: bool,
}

/// What a session goes by.
#[derive(Serialize, ToSchema)]
pub struct TokenPair {
    /// Goes into `Authorization: Bearer …`.
    access_token: String,
    /// Always `Bearer`.
    #[schema(examples("Bearer"))]
    token_type: &'static str,
    /// For how many seconds the access token is valid.
    expires_in: u64,
    /// Gets the next pair from `/auth/refresh`, once.
    refresh_token: String,
}

/// Makes an account. It is a customer's; admins appoint staff.
#[utoipa::path(
    post, path = "/auth/register", tag = "auth", request_body = Registration,
    responses(
        (status = 201, description = "The account", body = Account, headers(("Location" = String, description = "`/me`"))),
        (status = 409, description = "There is an account with this address", body = Problem, content_type = "application/problem+json"),
        (status = 429, description = "Too many from this address", body = Problem, content_type = "application/problem+json"),
    )
)]
pub async fn register(
    State(app): State<App>,
    ClientAddress(address): ClientAddress,
    Json(new): Json<Registration>,
) -> Answer<Response> {
    let (email, now) = (new.email.folded(), Timestamp::now());
    app.guard().registering(address).await?;
    app.first_admin().done(&email).await?;
    let password_hash = app.passwords().hash(new.password.reveal()).await?;
    let new = NewUser { email: &email, name: &new.name.0, password_hash: &password_hash, role: Role::Customer };
    let user = match users::create(app.store(), new, now).await {
        Err(StoreError::Exists { .. }) => {
            Entry::new("account.create", &email).from(address).denied("the address is taken").log();
            return Err(Problem::conflict("there is an account with this address"));
        }
        made => made?,
    };
    Entry::new("account.create", &user.id).by(&user.id).from(address).keep(app.store()).await;
    app.metrics().registrations.inc();
    app.metrics().count_users(app.store()).await;
    Ok((StatusCode::CREATED, [(header::LOCATION, value("/me"))], Json(Account::of(&user))).into_response())
}

/// Begins a session.
#[utoipa::path(
    post, path = "/auth/login", tag = "auth", request_body = Login,
    responses(
        (status = 200, description = "The session's tokens", body = TokenPair),
        (status = 401, description = "There is no such account, or it has another password", body = Problem, content_type = "application/problem+json"),
        (status = 429, description = "Too many have failed", body = Problem, content_type = "application/problem+json"),
    )
)]
pub async fn login(
    State(app): State<App>,
    ClientAddress(address): ClientAddress,
    headers: HeaderMap,
    Json(login): Json<Login>,
) -> Answer<Response> {
    let email = login.email.folded();
    let refused = |reason: &'static str| {
        app.metrics().login_failures.with_label_values(&[reason]).inc();
        Entry::new("session.begin", &email).from(address).denied(reason).log();
    };
    app.guard().trying(&email, address).await.inspect_err(|_| refused("throttled"))?;
    app.first_admin().done(&email).await?;
    let (user, hash) = users::by_email(app.store(), &email).await?.unzip();
    let checked = app.passwords().check(login.password.reveal(), hash.clone()).await?;
    let reason = match (&user, checked) {
        (None, _) => "unknown",
        (Some(_), Checked::Wrong) => "password",
        (Some(user), _) if user.disabled => "disabled",
        _ => "",
    };
    let Some(user) = user.filter(|_| reason.is_empty()) else {
        refused(reason);
        return Err(wrong());
    };
    app.guard().succeeded(&email).await;
    let now = Timestamp::now();
    let mut hash = hash.unwrap_or_default();
    if checked == Checked::Stale {
        let new = app.passwords().hash(login.password.reveal()).await?;
        if users::set_password(app.store(), &user.id, &hash, &new, now).await? {
            hash = new;
        }
    }
    let agent = headers.get(header::USER_AGENT).and_then(|v| v.to_str().ok()).unwrap_or_default();
    let client = format!("{} {address}", agent.get(..200).unwrap_or(agent));
    let refresh = app.sessions().begin(&user.id, &client, app.session_end(now), now).await?;
    let Some(user) = still(&app, &user.id, &hash, login.password.reveal()).await? else {
        app.sessions().end(&refresh.session, now).await?;
        refused("changed");
        return Err(wrong());
    };
    Entry::new("session.begin", &refresh.session).by(&user.id).from(address).keep(app.store()).await;
    app.metrics().logins.inc();
    pair(&app, &user, &refresh, now)
}

fn wrong() -> Problem {
    Problem::unauthorized("there is no such account, or it has another password")
}

/// The account as it is once its session has begun, if the password still opens it; `hash` is what that was checked against.
///
/// A check takes a moment, in which the account may have got another password or role, or been closed. What does that ends all
/// sessions, but of this one it did not know yet. Whatever comes from now on does.
async fn still(app: &App, id: &str, hash: &str, password: &str) -> Answer<Option<User>> {
    let Some((user, current)) = users::with_hash(app.store(), id).await? else { return Ok(None) };
    // It may be the hash of the same password, made anew by another login.
    let right = current == hash || app.passwords().check(password, Some(current)).await? != Checked::Wrong;
    Ok(Some(user).filter(|user| right && !user.disabled))
}

fn pair(app: &App, user: &User, refresh: &Refresh, now: Timestamp) -> Answer<Response> {
    let access_token = app.tokens().issue(&user.id, user.role, &refresh.session, now).map_err(Problem::internal)?;
    let pair = TokenPair {
        access_token,
        token_type: "Bearer",
        expires_in: app.tokens().lifetime.as_secs(),
        refresh_token: refresh.reveal(),
    };
    // Tokens are nobody else's business (RFC 6749 section 5.1).
    Ok(([(header::CACHE_CONTROL, value("no-store"))], Json(pair)).into_response())
}

/// Goes on with a session: a refresh token is used once, and gets the next. One that comes twice ends the session, for somebody
/// has a copy.
#[utoipa::path(
    post, path = "/auth/refresh", tag = "auth", request_body = RefreshRequest,
    responses(
        (status = 200, description = "The session's next tokens", body = TokenPair),
        (status = 401, description = "The token is not, or no longer, good", body = Problem, content_type = "application/problem+json"),
    )
)]
pub async fn refresh(State(app): State<App>, Json(request): Json<RefreshRequest>) -> Answer<Response> {
    let now = Timestamp::now();
    let no = || Problem::unauthorized("the refresh token is not good, or no longer; sign in again");
    let used = Refresh::parse(&request.refresh_token).ok_or_else(no)?;
    match app.sessions().prolong(&used, now).await? {
        // The newest: a role that was taken away must not come back from a replica that is behind.
        Prolonged::Done { user, next } => match users::with_hash(app.store(), &user).await? {
            Some((user, _)) if !user.disabled => pair(&app, &user, &next, now),
            _ => {
                app.sessions().end(&used.session, now).await?;
                Err(no())
            }
        },
        Prolonged::Reused { user } => {
            app.metrics().reuses.inc();
            tracing::warn!(session = used.session, user, "a refresh token came twice; its session has ended");
            let entry = Entry::new("session.end", &used.session).by(&user);
            entry.denied("its refresh token came twice").keep(app.store()).await;
            Err(no())
        }
        Prolonged::Unknown => Err(no()),
    }
}

/// Ends this session, or all of the account's. Its tokens are worth nothing from now on.
#[utoipa::path(
    post, path = "/auth/logout", tag = "auth", params(LogoutQuery),
    responses((status = 204, description = "The session has ended"))
)]
pub async fn logout(State(app): State<App>, me: Principal, Query(query): Query<LogoutQuery>) -> Answer<StatusCode> {
    let now = Timestamp::now();
    match query.everywhere {
        true => app.sessions().end_all(&me.user, None, now).await?,
        false => app.sessions().end(&me.session, now).await?,
    }
    let what = if query.everywhere { "all" } else { me.session.as_str() };
    Entry::new("session.end", what).by(&me.user).keep(app.store()).await;
    Ok(StatusCode::NO_CONTENT)
}
