//! Users, their tokens and their API keys.

use std::sync::Arc;

use axum::{
    extract::State,
    http::StatusCode,
    response::{IntoResponse, Response},
};
use garde::Validate;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use service::{
    audit::{self, Audit, Outcome},
    config::Secret,
    extract::{ClientAddress, Json, Path},
    problem::{Answer, Problem},
    throttle::network,
};
use utoipa::ToSchema;
use uuid::Uuid;

use crate::{
    App,
    access::{self, Caller, Claims},
    store::{ApiKey, Role, User},
};

/// A name and a password.
#[derive(Clone, Deserialize, Validate, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Credentials {
    /// The user's name: 3 to 32 small letters, digits and `._-`.
    #[garde(length(chars, min = 3, max = 32), pattern(r"^[a-z0-9._-]+$"))]
    #[schema(min_length = 3, max_length = 32, pattern = "^[a-z0-9._-]+$")]
    pub username: String,
    /// The password.
    #[garde(length(chars, min = 8, max = 128))]
    #[schema(min_length = 8, max_length = 128)]
    pub password: String,
}

/// A login.
#[derive(Debug, Serialize, ToSchema)]
pub struct Token {
    /// To be sent as `Authorization: Bearer …`.
    pub access_token: String,
    /// `Bearer`.
    pub token_type: &'static str,
    /// For how many seconds it is good.
    pub expires_in: u64,
}

/// Counts an attempt to log in or register: so many from an address, and so many for a name. The address comes first: whoever has
/// tried too often does not use up what there is for a name as well, and keep its owner out.
async fn count(app: &App, username: &str, address: std::net::IpAddr) -> Answer<()> {
    for key in [format!("address:{}", network(address)), format!("name:{username}")] {
        app.logins.count(key).await.map_err(Problem::too_many)?;
    }
    Ok(())
}

fn record(actor: &str, action: &str, object: &str, outcome: Outcome, address: std::net::IpAddr) {
    audit::record(&Audit { actor, action, object, outcome, reason: None, client: Some(address) });
}

/// Adds a user.
#[utoipa::path(
    post, path = "/auth/register", tag = "auth", request_body = Credentials,
    responses(
        (status = 201, description = "There is such a user now", body = User),
        (status = 409, description = "The name is taken", body = Problem, content_type = "application/problem+json"),
        (status = 429, description = "Too many attempts", body = Problem, content_type = "application/problem+json"),
    ),
)]
pub async fn register(
    State(app): State<Arc<App>>,
    ClientAddress(address): ClientAddress,
    Json(new): Json<Credentials>,
) -> Answer<Response> {
    count(&app, &new.username, address).await?;
    // Known before the costly part; the database has the last word.
    if app.store.user_named(&new.username).await?.is_some() {
        return Err(Problem::conflict("there is one of this name already"));
    }
    let hash = app.passwords.hash(&new.password).await?;
    let user = app.store.add_user(&new.username, &hash, Role::User).await?;
    record(&format!("user:{}", user.id), "user.register", &user.username, Outcome::Allowed, address);
    Ok((StatusCode::CREATED, Json(user)).into_response())
}

/// Logs a user in.
#[utoipa::path(
    post, path = "/auth/login", tag = "auth", request_body = Credentials,
    responses(
        (status = 200, description = "A token", body = Token),
        (status = 401, description = "The name or the password is wrong", body = Problem, content_type = "application/problem+json"),
        (status = 429, description = "Too many attempts", body = Problem, content_type = "application/problem+json"),
    ),
)]
pub async fn login(
    State(app): State<Arc<App>>,
    ClientAddress(address): ClientAddress,
    Json(credentials): Json<Credentials>,
) -> Answer<Json<Token>> {
    count(&app, &credentials.username, address).await?;
    let user = app.store.user_named(&credentials.username).await?;
    let good =
        app.passwords.verify(&credentials.password, user.as_ref().map(|user| user.password_hash.as_str())).await?;
    let Some(user) = user.filter(|_| good) else {
        record("anonymous", "user.login", &credentials.username, Outcome::Denied, address);
        return Err(Problem::unauthorized("the name or the password is wrong"));
    };
    app.logins.forget(&format!("name:{}", user.username)).await;
    record(&format!("user:{}", user.id), "user.login", &user.username, Outcome::Allowed, address);
    let claims = Claims { sub: user.id, name: user.username, role: user.role };
    let access_token = app.tokens.sign(&claims, Timestamp::now(), app.token_life).map_err(Problem::internal)?;
    Ok(Json(Token { access_token, token_type: "Bearer", expires_in: app.token_life.as_secs() }))
}

/// Who the caller is.
#[utoipa::path(
    get, path = "/auth/me", tag = "auth",
    responses((status = 200, description = "The user", body = User)),
)]
pub async fn me(State(app): State<Arc<App>>, caller: Caller) -> Answer<Json<User>> {
    let user = app.store.user(&caller.user_id).await?;
    user.map(Json).ok_or_else(|| Problem::unauthorized("the user of this token is gone"))
}

/// What a key is to be called.
#[derive(Clone, Debug, Deserialize, Validate, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewKey {
    /// What its owner calls it.
    #[garde(length(chars, min = 1, max = 100))]
    #[schema(min_length = 1, max_length = 100)]
    pub name: String,
}

/// A new key.
#[derive(Debug, Serialize, ToSchema)]
pub struct MadeKey {
    /// To be sent as `X-API-Key`. It is shown this once.
    #[schema(value_type = String)]
    pub key: ShownOnce,
    /// What is known of it.
    #[serde(flatten)]
    pub about: ApiKey,
}

/// A secret on its way to whom it belongs.
#[derive(Debug)]
pub struct ShownOnce(Secret);

impl Serialize for ShownOnce {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.0.expose())
    }
}

/// Some keys.
#[derive(Debug, Serialize, ToSchema)]
pub struct Keys {
    /// The newest first.
    pub api_keys: Vec<ApiKey>,
}

/// The caller's API keys.
#[utoipa::path(
    get, path = "/auth/api-keys", tag = "auth",
    responses((status = 200, description = "The keys, 200 at most, without what is secret of them", body = Keys)),
)]
pub async fn list_keys(State(app): State<Arc<App>>, caller: Caller) -> Answer<Json<Keys>> {
    Ok(Json(Keys { api_keys: app.store.api_keys(&caller.user_id).await? }))
}

/// Makes an API key, which may do what the caller may except manage keys.
#[utoipa::path(
    post, path = "/auth/api-keys", tag = "auth", request_body = NewKey,
    responses(
        (status = 201, description = "The key", body = MadeKey),
        (status = 409, description = "The caller has as many as there may be", body = Problem, content_type = "application/problem+json"),
    ),
)]
pub async fn make_key(
    State(app): State<Arc<App>>,
    ClientAddress(address): ClientAddress,
    caller: Caller,
    Json(new): Json<NewKey>,
) -> Answer<Response> {
    let key = format!("sk_{}", crate::secret());
    let about = app.store.add_api_key(&caller.user_id, &new.name, &access::digest(&key)).await?;
    record(&format!("user:{}", caller.user_id), "api_key.make", &about.id, Outcome::Allowed, address);
    Ok((StatusCode::CREATED, Json(MadeKey { key: ShownOnce(Secret::new(key)), about })).into_response())
}

/// Revokes an API key of the caller's.
#[utoipa::path(
    delete, path = "/auth/api-keys/{id}", tag = "auth", params(("id" = Uuid, Path)),
    responses(
        (status = 204, description = "It is good for nothing now"),
        (status = 404, description = "The caller has no such key", body = Problem, content_type = "application/problem+json"),
    ),
)]
pub async fn revoke_key(
    State(app): State<Arc<App>>,
    ClientAddress(address): ClientAddress,
    caller: Caller,
    Path(id): Path<Uuid>,
) -> Answer<StatusCode> {
    let id = id.to_string();
    if !app.store.revoke_api_key(&caller.user_id, &id).await? {
        return Err(Problem::not_found("there is no such key, or it was revoked before"));
    }
    record(&format!("user:{}", caller.user_id), "api_key.revoke", &id, Outcome::Allowed, address);
    Ok(StatusCode::NO_CONTENT)
}
