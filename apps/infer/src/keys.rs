//! API keys: who they belong to, and which route asks for one. Only digests of keys are configured, so that reading the configuration
//! gives nobody a key.

use std::{fmt, str::FromStr, sync::Arc};

use axum::{
    extract::{FromRequestParts, MatchedPath, Request, State},
    http::{HeaderMap, Method, header, request::Parts},
    middleware::Next,
    response::Response,
};
use service::{
    audit::{self, Audit, Outcome},
    problem::{Answer, Problem},
};
use sha2::{Digest, Sha256};

/// Who may call a route.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Everybody.
    Public,
    /// Whoever has a key, if keys are configured.
    Key,
}

/// Every route of the service and who may call it; a route that is not here is nobody's.
pub const ACCESS: &[(&str, &str, Access)] = &[
    ("POST", "/v1/infer", Access::Key),
    ("POST", "/v1/batches", Access::Key),
    ("GET", "/v1/jobs", Access::Key),
    ("GET", "/v1/jobs/{id}", Access::Key),
    ("DELETE", "/v1/jobs/{id}", Access::Key),
    ("GET", "/v1/jobs/{id}/result", Access::Key),
    ("POST", "/v1/jobs/{id}/retry", Access::Key),
    ("GET", "/v1/ruleset", Access::Public),
    ("GET", "/v1/ruleset/schema", Access::Public),
];

/// Who may call this; `None` for what is not in the table. `HEAD` is `GET` without a body.
pub fn access(method: &Method, path: &str) -> Option<Access> {
    let method = if method == Method::HEAD { "GET" } else { method.as_str() };
    ACCESS.iter().find(|(m, p, _)| *m == method && *p == path).map(|(.., access)| *access)
}

/// The keys, as in `API_KEYS=name:<sha256 in hex>,…`; none means that no key is asked for.
#[derive(Clone, Default)]
pub struct Keys(Vec<(String, [u8; 32])>);

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.0.iter().map(|(name, _)| name)).finish()
    }
}

impl FromStr for Keys {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut keys: Vec<(String, [u8; 32])> = Vec::new();
        for (n, entry) in text.split(',').enumerate() {
            let (name, digest) =
                entry.trim().split_once(':').ok_or(format!("key {} is not written as name:sha256", n + 1))?;
            let plain = !name.is_empty()
                && name.len() <= 64
                && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b));
            if !plain || keys.iter().any(|(known, _)| known == name) {
                return Err(format!(
                    "the name of key {} is taken already, or is not 1 to 64 letters, digits, `-`, `_` and `.`",
                    n + 1
                ));
            }
            keys.push((name.to_owned(), digest_of(digest).ok_or(format!("key {name} is not 64 hexadecimal digits"))?));
        }
        Ok(Self(keys))
    }
}

fn digest_of(hex: &str) -> Option<[u8; 32]> {
    let mut digest = [0; 32];
    if hex.len() != 64 || !hex.is_ascii() {
        return None;
    }
    for (at, byte) in digest.iter_mut().enumerate() {
        *byte = u8::from_str_radix(hex.get(2 * at..2 * at + 2)?, 16).ok()?;
    }
    Some(digest)
}

impl Keys {
    /// Whether keys are asked for.
    pub fn are_asked_for(&self) -> bool {
        !self.0.is_empty()
    }

    /// The name of the key that these headers carry, in `X-API-Key` or as a bearer token.
    fn owner(&self, headers: &HeaderMap) -> Option<&str> {
        let bearer = |value: &str| {
            let (scheme, token) = value.split_once(' ')?;
            scheme.eq_ignore_ascii_case("bearer").then(|| token.trim().to_owned())
        };
        let text = |name: header::HeaderName| headers.get(name).and_then(|value| value.to_str().ok());
        let key = text(header::HeaderName::from_static("x-api-key")).map(str::to_owned);
        let key = key.or_else(|| text(header::AUTHORIZATION).and_then(bearer))?;
        let digest: [u8; 32] = Sha256::digest(key.as_bytes()).into();
        // All keys are looked at, and all of each: how long it takes tells nothing.
        let mut owner = None;
        for (name, known) in &self.0 {
            let difference = known.iter().zip(digest).fold(0, |sum, (a, b)| sum | (a ^ b));
            if difference == 0 {
                owner = Some(name.as_str());
            }
        }
        owner
    }
}

/// The name of the key that a request came with; empty where none is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller(pub Arc<str>);

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

/// Lets a request in if the table does.
pub async fn guard(
    State(keys): State<Arc<Keys>>,
    path: MatchedPath,
    mut request: Request,
    next: Next,
) -> Answer<Response> {
    let owner = match access(request.method(), path.as_str()) {
        Some(Access::Public) => "",
        Some(Access::Key) if !keys.are_asked_for() => "",
        Some(Access::Key) => match keys.owner(request.headers()) {
            Some(owner) => owner,
            None => {
                audit::record(&Audit {
                    actor: "anonymous",
                    action: "api_key.check",
                    object: path.as_str(),
                    outcome: Outcome::Denied,
                    reason: Some("no known key"),
                    client: None,
                });
                return Err(Problem::unauthorized("a known API key is needed, as X-API-Key or as a bearer token"));
            }
        },
        None => return Err(Problem::forbidden("nobody may call this")),
    };
    request.extensions_mut().insert(Caller(owner.into()));
    Ok(next.run(request).await)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// SHA-256 of `secret`.
    const SECRET: &str = "2bb80d537b1da3e38bd30361aa855686bde0eacd7162fef6a25fe97bf527a25b";

    #[test]
    fn a_key_is_known_by_its_digest_in_either_header() {
        let keys: Keys = format!("other:{},ann:{SECRET}", "0".repeat(64)).parse().unwrap();
        let with =
            |name: &'static str, value: &str| HeaderMap::from_iter([(name.parse().unwrap(), value.parse().unwrap())]);
        assert_eq!(keys.owner(&with("x-api-key", "secret")), Some("ann"));
        assert_eq!(keys.owner(&with("authorization", "bearer secret")), Some("ann"));
        for (name, value) in
            [("x-api-key", "secret2"), ("x-api-key", SECRET), ("authorization", "Basic secret"), ("x-other", "secret")]
        {
            assert_eq!(keys.owner(&with(name, value)), None, "{name}: {value}");
        }
    }

    #[test]
    fn keys_that_are_not_written_well_are_refused() {
        for text in [
            "ann",
            "ann:12",
            &format!("ann:{SECRET},ann:{SECRET}"),
            &format!("a b:{SECRET}"),
            &format!("ann:{}", "ä".repeat(32)),
        ] {
            assert!(text.parse::<Keys>().is_err(), "{text}");
        }
        assert!(!format!("{:?}", format!("ann:{SECRET}").parse::<Keys>()).contains(SECRET));
    }

    #[test]
    fn a_route_that_is_not_in_the_table_is_nobodys() {
        assert_eq!(access(&Method::HEAD, "/v1/ruleset"), Some(Access::Public));
        assert_eq!(access(&Method::PUT, "/v1/infer"), None);
    }
}
