//! Access tokens: JWTs (HS256) that say for some minutes who their bearer is.

use std::{sync::Arc, time::Duration};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use service::{
    config::Secret,
    jwt::{self, KeysError, TokenError},
};

use super::access::Role;

/// Who issues the tokens (`iss`).
pub const ISSUER: &str = "zapora";
/// For whom they are (`aud`).
pub const AUDIENCE: &str = "zapora";

/// What an access token says, beside `iss`, `aud`, `iat`, `nbf` and `exp`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claims {
    /// Whose it is: an account's id.
    pub sub: String,
    /// Its session's id.
    pub sid: String,
    /// What its bearer may do.
    pub role: Role,
}

/// Issues and checks access tokens. Clones share the keys.
#[derive(Clone, Debug)]
pub struct Tokens {
    keys: Arc<jwt::Tokens>,
    /// For how long a token is valid.
    pub lifetime: Duration,
}

impl Tokens {
    /// With these keys (`id:secret,…`), of which the first signs.
    ///
    /// # Errors
    /// What is wrong with the keys.
    pub fn new(keys: &Secret, lifetime: Duration) -> Result<Self, KeysError> {
        Ok(Self { keys: Arc::new(jwt::Tokens::new(keys, ISSUER, AUDIENCE)?), lifetime })
    }

    /// A token for a session.
    ///
    /// # Errors
    /// When it cannot be signed.
    pub fn issue(&self, user: &str, role: Role, session: &str, now: Timestamp) -> Result<String, TokenError> {
        self.keys.sign(&Claims { sub: user.to_owned(), sid: session.to_owned(), role }, now, self.lifetime)
    }

    /// What a token says, if one of the keys signed it and its time is now.
    ///
    /// # Errors
    /// Why it does not count.
    pub fn verify(&self, token: &str, now: Timestamp) -> Result<Claims, TokenError> {
        self.keys.verify(token, now)
    }
}
