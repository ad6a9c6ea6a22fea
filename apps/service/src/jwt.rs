//! Tokens that a service signs and later trusts: JWT (RFC 7519) with HMAC-SHA-256 and nothing else, with keys that can be rotated.

use std::time::Duration;

use jiff::Timestamp;
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation, decode, decode_header, encode};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::{Map, Value};

use crate::config::Secret;

/// Clocks may differ by this much.
const LEEWAY: i64 = 30;
/// Bytes that a key must have: those of a digest (RFC 7518, 3.2).
const KEY_BYTES: usize = 32;
/// Bytes that a token may have.
const TOKEN_BYTES: usize = 8 * 1024;

/// Signs and verifies tokens of one issuer for one audience.
///
/// The first key signs, all verify. Each token names its key (`kid`), and is verified with no other, so with several replicas a new key is
/// put last until all of them know it, then in front, and the old one is taken away once its last token has expired.
///
/// ```
/// # use service::{config::Secret, jwt::Tokens};
/// # use std::time::Duration;
/// #[derive(serde::Serialize, serde::Deserialize)]
/// struct Claims {
///     sub: String,
///     role: String,
/// }
///
/// let keys = Secret::new("2026b:an-utterly-secret-key-of-32-bytes!,2026a:the-one-before-it-also-32-bytes!!");
/// let tokens = Tokens::new(&keys, "https://id.example", "shop")?;
/// let now = jiff::Timestamp::now();
/// let token = tokens.sign(&Claims { sub: "ann".to_owned(), role: "cook".to_owned() }, now, Duration::from_secs(900))?;
/// assert_eq!(tokens.verify::<Claims>(&token, now)?.role, "cook");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Tokens {
    keys: Vec<Key>,
    issuer: String,
    audience: String,
}

struct Key {
    id: String,
    sign: EncodingKey,
    verify: DecodingKey,
}

/// Why there are no keys to sign with.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeysError {
    /// A key is not written as `id:secret`.
    #[error("key number {0} is not written as `id:secret`, with an id of letters, digits, `-`, `_` and `.`")]
    Malformed(usize),
    /// A key is too short to be safe.
    #[error("the secret of the key {0:?} has fewer than {KEY_BYTES} bytes")]
    Short(String),
    /// Two keys have one id.
    #[error("two keys have the id {0:?}")]
    Twice(String),
}

/// Why a token is not trusted, or cannot be made. What it says is fit for a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// It is not a token of this issuer's: malformed, forged, signed with another algorithm or key.
    #[error("the token is not valid")]
    Invalid,
    /// It is past its time.
    #[error("the token has expired")]
    Expired,
    /// Its time has not come.
    #[error("the token is not valid yet")]
    Early,
    /// It is for somebody else, or its claims are not those expected.
    #[error("the token is not meant for this use")]
    Claims,
    /// The claims are not a JSON object.
    #[error("the token could not be made")]
    Unsignable,
}

#[derive(Deserialize)]
struct Times {
    exp: i64,
    #[serde(default)]
    nbf: Option<i64>,
    #[serde(default)]
    iat: Option<i64>,
}

impl Tokens {
    /// Keys as in `id:secret,id:secret`, the first of which signs. Secrets contain no comma and have at least 32 bytes.
    ///
    /// # Errors
    /// The keys are not written so, too short, or two have one id. The message shows no secret.
    pub fn new(keys: &Secret, issuer: impl Into<String>, audience: impl Into<String>) -> Result<Self, KeysError> {
        let mut known: Vec<Key> = Vec::new();
        for (number, key) in keys.expose().split(',').enumerate() {
            let (id, secret) = key.trim().split_once(':').ok_or(KeysError::Malformed(number + 1))?;
            if id.is_empty() || !id.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b)) {
                return Err(KeysError::Malformed(number + 1));
            }
            if secret.len() < KEY_BYTES {
                return Err(KeysError::Short(id.to_owned()));
            }
            if known.iter().any(|key| key.id == id) {
                return Err(KeysError::Twice(id.to_owned()));
            }
            let secret = secret.as_bytes();
            known.push(Key {
                id: id.to_owned(),
                sign: EncodingKey::from_secret(secret),
                verify: DecodingKey::from_secret(secret),
            });
        }
        Ok(Self { keys: known, issuer: issuer.into(), audience: audience.into() })
    }

    /// A token with these claims that is valid from `now` and for `lifetime`. `iss`, `aud`, `iat`, `nbf` and `exp` are added.
    ///
    /// # Errors
    /// The claims are not a JSON object.
    pub fn sign(&self, claims: &impl Serialize, now: Timestamp, lifetime: Duration) -> Result<String, TokenError> {
        let Ok(Value::Object(mut claims)) = serde_json::to_value(claims) else { return Err(TokenError::Unsignable) };
        let key = self.keys.first().ok_or(TokenError::Unsignable)?;
        let lifetime = i64::try_from(lifetime.as_secs()).map_err(|_| TokenError::Unsignable)?;
        let issued = now.as_second();
        let own: [(&str, Value); 5] = [
            ("iss", self.issuer.as_str().into()),
            ("aud", self.audience.as_str().into()),
            ("iat", issued.into()),
            ("nbf", issued.into()),
            ("exp", issued.saturating_add(lifetime).into()),
        ];
        claims.extend(own.map(|(name, value)| (name.to_owned(), value)));
        let header = Header { kid: Some(key.id.clone()), ..Header::new(Algorithm::HS256) };
        encode(&header, &claims, &key.sign).map_err(|_| TokenError::Unsignable)
    }

    /// The claims of a token of this issuer, for this audience, whose time it is at `now` (give or take 30 s).
    ///
    /// # Errors
    /// Why it is not trusted.
    pub fn verify<C: DeserializeOwned>(&self, token: &str, now: Timestamp) -> Result<C, TokenError> {
        if token.len() > TOKEN_BYTES {
            return Err(TokenError::Invalid);
        }
        let header = decode_header(token).map_err(|_| TokenError::Invalid)?;
        if header.crit.is_some() {
            // Extensions that must be understood (RFC 7515, 4.1.11): none is.
            return Err(TokenError::Invalid);
        }
        let key = header.kid.and_then(|id| self.keys.iter().find(|key| key.id == id)).ok_or(TokenError::Invalid)?;
        let claims =
            decode::<Map<String, Value>>(token, &key.verify, &self.validation()).map_err(|e| match e.kind() {
                jsonwebtoken::errors::ErrorKind::InvalidIssuer | jsonwebtoken::errors::ErrorKind::InvalidAudience => {
                    TokenError::Claims
                }
                _ => TokenError::Invalid,
            })?;
        let claims = Value::Object(claims.claims);
        let times = Times::deserialize(&claims).map_err(|_| TokenError::Invalid)?;
        let now = now.as_second();
        if now >= times.exp.saturating_add(LEEWAY) {
            return Err(TokenError::Expired);
        }
        if [times.nbf, times.iat].into_iter().flatten().any(|from| from > now.saturating_add(LEEWAY)) {
            return Err(TokenError::Early);
        }
        serde_json::from_value(claims).map_err(|_| TokenError::Claims)
    }

    fn validation(&self) -> Validation {
        let mut rules = Validation::new(Algorithm::HS256);
        rules.set_required_spec_claims(&["exp", "iss", "aud"]);
        rules.set_issuer(&[&self.issuer]);
        rules.set_audience(&[&self.audience]);
        // The time is a parameter here.
        rules.validate_exp = false;
        rules.validate_nbf = false;
        rules
    }
}

impl std::fmt::Debug for Tokens {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let ids: Vec<&str> = self.keys.iter().map(|key| key.id.as_str()).collect();
        f.debug_struct("Tokens")
            .field("keys", &ids)
            .field("issuer", &self.issuer)
            .field("audience", &self.audience)
            .finish()
    }
}

#[cfg(test)]
mod tests;
