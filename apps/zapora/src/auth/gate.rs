//! The gate before every route: reads the token, asks the session, and lets through whom the table of [`super::access`] names.

use axum::{
    extract::{FromRequestParts, MatchedPath, Request, State},
    http::{HeaderMap, HeaderValue, Method, StatusCode, header, request::Parts},
    middleware::Next,
    response::{IntoResponse, Response},
};
use jiff::Timestamp;
use service::problem::Problem;

use super::{
    Principal,
    access::{self, Role, Verdict, Who},
    tokens::Claims,
};
use crate::{audit::Entry, http::App};

/// Lets a request through, with its [`Principal`], or answers 401, 403, 405 or 503.
pub async fn gate(State(app): State<App>, mut request: Request, next: Next) -> Response {
    let matched = request.extensions().get::<MatchedPath>().cloned();
    let template = matched.as_ref().map_or("", MatchedPath::as_str);
    let Some(who) = access::who(request.method(), template) else {
        return unknown(request.method(), template).into_response();
    };
    if who == Who::Anyone {
        // Nothing here depends on who asks: a stale token in a browser must not close the menu.
        return next.run(request).await;
    }
    match admit(&app, who, request.headers(), Timestamp::now()).await {
        Ok(principal) => {
            request.extensions_mut().insert(principal);
            next.run(request).await
        }
        Err(problem) => {
            let status = problem.status();
            if matches!(status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN) {
                app.metrics().refused.with_label_values(&[status.as_str()]).inc();
                let (what, why) = (format!("{} {template}", request.method()), problem.to_string());
                Entry::new("request.admit", &what).denied(&why).log();
            }
            problem.into_response()
        }
    }
}

/// A method that the route does not have; or a route that the table does not, which is a mistake, and closed.
fn unknown(method: &Method, template: &str) -> Problem {
    let mut allowed: Vec<&str> =
        access::TABLE.iter().filter(|(_, path, _)| *path == template).map(|(m, ..)| m.as_str()).collect();
    if allowed.is_empty() {
        tracing::error!(%method, template, "a route is not in the table of who may use it");
        return Problem::forbidden("nobody may use this route");
    }
    if allowed.contains(&"GET") {
        allowed.push("HEAD");
    }
    let problem = Problem::of(StatusCode::METHOD_NOT_ALLOWED).detail(format!("{method} cannot be done here"));
    match HeaderValue::from_str(&allowed.join(", ")) {
        Ok(value) => problem.header(header::ALLOW, value),
        Err(_) => problem,
    }
}

async fn admit(app: &App, who: Who, headers: &HeaderMap, now: Timestamp) -> Result<Principal, Problem> {
    let claims = app.tokens().verify(bearer(headers)?, now).map_err(|why| refuse(&why.to_string()))?;
    let principal = alive(app, claims, who, now).await?;
    match who.verdict(Some(principal.role)) {
        Verdict::Allowed => Ok(principal),
        Verdict::SignIn => Err(refuse("sign in first")),
        Verdict::Forbidden => {
            Err(Problem::forbidden(format!("this is not for the role {:?}", principal.role.as_str())))
        }
    }
}

/// The token of the one `Authorization: Bearer` header.
fn bearer(headers: &HeaderMap) -> Result<&str, Problem> {
    let mut values = headers.get_all(header::AUTHORIZATION).iter();
    let Some(value) = values.next() else {
        return Err(Problem::unauthorized("sign in first: there is no Authorization header"));
    };
    if values.next().is_some() {
        return Err(refuse("there is more than one Authorization header"));
    }
    let text = value.to_str().map_err(|_| refuse("the Authorization header is not text"))?;
    match text.split_once(' ') {
        Some((scheme, token)) if scheme.eq_ignore_ascii_case("bearer") && !token.trim().is_empty() => Ok(token.trim()),
        _ => Err(refuse("the Authorization header must be: Bearer <token>")),
    }
}

/// 401 as RFC 6750 has it for a token that is there and does not do.
fn refuse(why: &str) -> Problem {
    Problem::unauthorized(why.to_owned())
        .header(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer error=\"invalid_token\""))
}

/// The principal of valid claims whose session has not ended.
///
/// When sessions cannot be looked at, a customer's token counts by itself for the minutes that it is valid: food can be ordered
/// while Redis restarts. What takes staff waits.
async fn alive(app: &App, claims: Claims, who: Who, now: Timestamp) -> Result<Principal, Problem> {
    let principal = Principal { user: claims.sub, role: claims.role, session: claims.sid };
    match app.sessions().user_of(&principal.session, now).await {
        Ok(Some(user)) if user == principal.user => Ok(principal),
        Ok(_) => Err(refuse("the session has ended; sign in again")),
        Err(error) if principal.role == Role::Customer && matches!(who, Who::SignedIn | Who::Owner) => {
            tracing::warn!(%error, "a session cannot be looked at; its token counts");
            app.metrics().unchecked_sessions.inc();
            Ok(principal)
        }
        Err(error) => {
            tracing::error!(%error, "a session cannot be looked at");
            Err(Problem::unavailable("sessions cannot be checked now"))
        }
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Principal {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let known = parts.extensions.get::<Self>().cloned();
        known.ok_or_else(|| Problem::unauthorized("sign in first"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(values: &[&str]) -> HeaderMap {
        values.iter().map(|value| (header::AUTHORIZATION, HeaderValue::from_str(value).unwrap())).collect()
    }

    #[test]
    fn one_bearer_token_is_taken_and_nothing_else() {
        assert_eq!(bearer(&headers(&["bearer  abc"])).unwrap(), "abc");
        for bad in [&[][..], &["Basic abc"], &["Bearer "], &["Bearer"], &["Bearer a", "Bearer b"]] {
            assert_eq!(bearer(&headers(bad)).unwrap_err().status(), StatusCode::UNAUTHORIZED, "{bad:?}");
        }
    }

    #[test]
    fn a_method_that_a_route_has_not_names_those_it_has() {
        let problem = unknown(&Method::PUT, "/menus").into_response();
        assert_eq!(problem.status(), StatusCode::METHOD_NOT_ALLOWED);
        assert_eq!(problem.headers()[header::ALLOW], "GET, POST, HEAD");
        assert_eq!(unknown(&Method::GET, "/nowhere").status(), StatusCode::FORBIDDEN);
    }
}
