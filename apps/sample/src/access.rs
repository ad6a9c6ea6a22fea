//! Who may call what: one table, and the layer that holds everybody to it.

use std::{sync::Arc, time::Instant};

use axum::{
    extract::{FromRequestParts, MatchedPath, Request, State},
    http::{HeaderMap, Method, header, request::Parts},
    middleware::Next,
    response::Response,
};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use service::{
    audit::{self, Audit, Outcome},
    extract::ClientAddress,
    problem::{Answer, Problem},
    throttle::network,
};
use sha2::{Digest, Sha256};

use crate::{App, passwords::hex, store::Role};

/// Who may call a route.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Everybody.
    Public,
    /// A user, by token or by API key.
    Caller,
    /// A user, by token.
    User,
    /// An admin, by token.
    Admin,
    /// A user, by API key.
    ApiKey,
}

/// Every route of the service and who may call it; a route that is not here is nobody's.
pub const ACCESS: &[(&str, &str, Access)] = &[
    ("GET", "/", Access::Public),
    ("POST", "/auth/register", Access::Public),
    ("POST", "/auth/login", Access::Public),
    ("GET", "/auth/me", Access::User),
    ("GET", "/auth/api-keys", Access::User),
    ("POST", "/auth/api-keys", Access::User),
    ("DELETE", "/auth/api-keys/{id}", Access::User),
    ("GET", "/cache/{key}", Access::Caller),
    ("PUT", "/cache/{key}", Access::Caller),
    ("DELETE", "/cache/{key}", Access::Caller),
    ("GET", "/items", Access::Public),
    ("POST", "/items", Access::Caller),
    ("GET", "/items/{id}", Access::Public),
    ("PUT", "/items/{id}", Access::Caller),
    ("DELETE", "/items/{id}", Access::Caller),
    ("GET", "/protected/user", Access::User),
    ("GET", "/protected/admin", Access::Admin),
    ("GET", "/protected/api-key", Access::ApiKey),
    ("GET", "/admin/users", Access::Admin),
    ("PUT", "/admin/users/{id}/role", Access::Admin),
];

/// Who may call this; `None` for what is not in the table. `HEAD` is `GET` without a body.
pub fn access(method: &Method, path: &str) -> Option<Access> {
    let method = if method == Method::HEAD { "GET" } else { method.as_str() };
    ACCESS.iter().find(|(m, p, _)| *m == method && *p == path).map(|(.., access)| *access)
}

/// What a token says of its user. A role that is given or taken counts from the next login on.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Claims {
    /// The user's id.
    pub sub: String,
    /// The user's name.
    pub name: String,
    /// What the user may do.
    pub role: Role,
}

/// Who is calling.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller {
    /// The user's id.
    pub user_id: String,
    /// The user's name.
    pub username: String,
    /// What the user may do.
    pub role: Role,
    /// The API key's id, if it is by one.
    pub key_id: Option<String>,
}

impl<S: Send + Sync> FromRequestParts<S> for Caller {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        parts
            .extensions
            .get()
            .cloned()
            .ok_or_else(|| Problem::internal("a request was not let in by the table of routes"))
    }
}

/// Lets a request in if the table does, and if there were not too many from where it comes.
pub async fn guard(
    State(app): State<Arc<App>>,
    ClientAddress(address): ClientAddress,
    path: MatchedPath,
    mut request: Request,
    next: Next,
) -> Answer<Response> {
    app.requests.count(network(address).to_string(), Instant::now()).map_err(Problem::too_many)?;
    let Some(access) = access(request.method(), path.as_str()) else {
        return Err(Problem::forbidden("nobody may call this"));
    };
    if access == Access::Public {
        return Ok(next.run(request).await);
    }
    let denied = |actor: &str, reason: &str| {
        audit::record(&Audit {
            actor,
            action: "route.call",
            object: path.as_str(),
            outcome: Outcome::Denied,
            reason: Some(reason),
            client: Some(address),
        });
    };
    let caller =
        identify(&app, request.headers()).await.inspect_err(|problem| denied("anonymous", &problem.to_string()))?;
    if let Some(reason) = refusal(access, &caller) {
        denied(&format!("user:{}", caller.user_id), reason);
        return Err(Problem::forbidden(reason));
    }
    request.extensions_mut().insert(caller);
    Ok(next.run(request).await)
}

/// Why this caller is not let in; `None` lets them in.
fn refusal(access: Access, caller: &Caller) -> Option<&'static str> {
    match access {
        Access::Public | Access::Caller => None,
        Access::User if caller.key_id.is_none() => None,
        Access::Admin if caller.key_id.is_none() && caller.role == Role::Admin => None,
        Access::ApiKey if caller.key_id.is_some() => None,
        Access::User => Some("this takes a login, not an API key"),
        Access::Admin => Some("this takes the login of an admin"),
        Access::ApiKey => Some("this takes an API key"),
    }
}

/// Who these headers are from: a bearer token, or an API key in `X-API-Key`.
async fn identify(app: &App, headers: &HeaderMap) -> Answer<Caller> {
    let text = |name: header::HeaderName| headers.get(name).and_then(|value| value.to_str().ok());
    if let Some(key) = text(header::HeaderName::from_static("x-api-key")) {
        let owner = app.store.api_key_owner(&digest(key)).await?;
        let owner = owner.ok_or_else(|| Problem::unauthorized("the API key is not known, or was revoked"))?;
        return Ok(Caller {
            user_id: owner.user_id,
            username: owner.username,
            role: owner.role,
            key_id: Some(owner.key_id),
        });
    }
    let bearer = text(header::AUTHORIZATION).and_then(|value| {
        let (scheme, token) = value.split_once(' ')?;
        scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
    });
    let token = bearer.ok_or_else(|| Problem::unauthorized("this takes a bearer token, or an API key in X-API-Key"))?;
    let claims =
        app.tokens.verify::<Claims>(token, Timestamp::now()).map_err(|e| Problem::unauthorized(e.to_string()))?;
    Ok(Caller { user_id: claims.sub, username: claims.name, role: claims.role, key_id: None })
}

/// An API key's digest, as the database keeps it.
pub fn digest(key: &str) -> String {
    hex(&Sha256::digest(key.as_bytes()))
}
