//! Sessions: what a login begins and a logout ends, in the database or, where there is one, in Redis.
//!
//! A session has one refresh token at a time; using it puts another in its place. Whoever comes with one that is not (no longer)
//! the session's has a copy of what somebody else holds, and as nobody can tell the thief from the owner, the session ends.

use std::{future::Future, sync::LazyLock, time::Duration};

use jiff::Timestamp;
use redis::{RedisError, Script, aio::ConnectionManager};
use sha2::{Digest, Sha256};
use uuid::Uuid;

use crate::store::{self, Store, StoreError, sessions::NewSession};

/// How many sessions one account may have; the oldest ends when another begins.
pub const MOST: i64 = 20;
/// How long Redis may take.
const PATIENCE: Duration = Duration::from_secs(2);

/// Why nothing is known of a session.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The database is at fault.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Redis is at fault.
    #[error("sessions in Redis: {0}")]
    Redis(#[from] RedisError),
    /// Redis takes longer than `PATIENCE`.
    #[error("sessions in Redis: no answer within {PATIENCE:?}")]
    Slow,
}

/// A refresh token: the session's id and 244 random bits.
#[derive(Clone, PartialEq, Eq)]
pub struct Refresh {
    /// The session's id.
    pub session: String,
    secret: String,
}

impl Refresh {
    fn new(session: String) -> Self {
        Self { session, secret: format!("{}{}", Uuid::new_v4().simple(), Uuid::new_v4().simple()) }
    }

    /// Reads a token. `None` if it has not the form of one.
    pub fn parse(text: &str) -> Option<Self> {
        let (session, secret) = text.split_once('.')?;
        let hex = secret.len() == 64 && secret.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        let known = session.len() == 36 && Uuid::try_parse(session).is_ok();
        (hex && known).then(|| Self { session: session.to_owned(), secret: secret.to_owned() })
    }

    /// The token as its owner gets it. (There is no `Display`, so that no log gets it.)
    pub fn reveal(&self) -> String {
        format!("{}.{}", self.session, self.secret)
    }

    fn digest(&self) -> String {
        crate::hex(&Sha256::digest(&self.secret))
    }
}

/// What came of using a refresh token.
#[derive(Clone, PartialEq, Eq)]
pub enum Prolonged {
    /// This takes its place.
    Done {
        /// Whose session it is.
        user: String,
        /// The next token.
        next: Refresh,
    },
    /// It had been used before; the session has ended.
    Reused {
        /// Whose session it was.
        user: String,
    },
    /// There is no such session, or it has ended.
    Unknown,
}

/// Where sessions are kept. Clones share it.
#[derive(Clone)]
pub enum Sessions {
    /// In the database.
    Database(Store),
    /// In Redis, which forgets them by itself when they expire.
    Redis(ConnectionManager),
}

impl Sessions {
    /// Begins a session that ends at `expires_at` at the latest.
    ///
    /// # Errors
    /// When it could not be kept.
    pub async fn begin(
        &self,
        user: &str,
        client: &str,
        expires_at: Timestamp,
        now: Timestamp,
    ) -> Result<Refresh, Error> {
        let first = Refresh::new(store::new_id());
        let new = NewSession { id: &first.session, user, client, refresh: &first.digest(), expires_at };
        match self {
            Self::Database(store) => store::sessions::begin(store, new, MOST, now).await?,
            Self::Redis(redis) => patiently(begin(redis.clone(), new, now)).await?,
        }
        Ok(first)
    }

    /// Whose session this is, if it is still on.
    ///
    /// # Errors
    /// When that cannot be known now.
    pub async fn user_of(&self, id: &str, now: Timestamp) -> Result<Option<String>, Error> {
        match self {
            Self::Database(store) => Ok(store::sessions::user_of(store, id, now).await?),
            Self::Redis(redis) => {
                let mut redis = redis.clone();
                patiently(async move { redis::cmd("HGET").arg(key(id)).arg("user").query_async(&mut redis).await })
                    .await
            }
        }
    }

    /// Uses a refresh token. Of several who use the same at once, one succeeds, and then the session ends.
    ///
    /// # Errors
    /// When that cannot be known or kept now; the token is then as it was, unless the answer was lost after the deed.
    pub async fn prolong(&self, used: &Refresh, now: Timestamp) -> Result<Prolonged, Error> {
        let Some(user) = self.user_of(&used.session, now).await? else { return Ok(Prolonged::Unknown) };
        let next = Refresh::new(used.session.clone());
        let (old, new) = (used.digest(), next.digest());
        let rotated = match self {
            Self::Database(store) => store::sessions::rotate(store, &used.session, &old, &new, now).await?,
            Self::Redis(redis) => {
                let mut redis = redis.clone();
                let script = Script::new(
                    "if redis.call('HGET', KEYS[1], 'refresh') == ARGV[1] then \
                     redis.call('HSET', KEYS[1], 'refresh', ARGV[2]) return 1 end return 0",
                );
                let id = key(&used.session);
                patiently(async move { script.key(id).arg(old).arg(new).invoke_async(&mut redis).await }).await?
            }
        };
        if rotated {
            return Ok(Prolonged::Done { user, next });
        }
        self.end(&used.session, now).await?;
        Ok(Prolonged::Reused { user })
    }

    /// Ends a session, if it is still on.
    ///
    /// # Errors
    /// When it could not be ended.
    pub async fn end(&self, id: &str, now: Timestamp) -> Result<(), Error> {
        match self {
            Self::Database(store) => Ok(store::sessions::end(store, id, now).await?),
            Self::Redis(redis) => {
                let mut redis = redis.clone();
                patiently(async move { redis::cmd("DEL").arg(key(id)).query_async(&mut redis).await }).await
            }
        }
    }

    /// Ends all sessions of a user but `except`.
    ///
    /// # Errors
    /// When they could not be ended; some may have been.
    pub async fn end_all(&self, user: &str, except: Option<&str>, now: Timestamp) -> Result<(), Error> {
        match self {
            Self::Database(store) => Ok(store::sessions::end_all(store, user, except, now).await?),
            Self::Redis(redis) => {
                let mut redis = redis.clone();
                patiently(async move {
                    let all = all_of(user);
                    let ids: Vec<String> =
                        redis::cmd("ZRANGE").arg(&all).arg(0).arg(-1).query_async(&mut redis).await?;
                    for id in ids.iter().filter(|id| Some(id.as_str()) != except) {
                        redis::cmd("DEL").arg(key(id)).query_async::<()>(&mut redis).await?;
                        redis::cmd("ZREM").arg(&all).arg(id).query_async::<()>(&mut redis).await?;
                    }
                    Ok(())
                })
                .await
            }
        }
    }
}

fn key(id: &str) -> String {
    format!("zapora:session:{id}")
}

/// The ids of a user's sessions, by when they began.
fn all_of(user: &str) -> String {
    format!("zapora:sessions-of:{user}")
}

async fn begin(mut redis: ConnectionManager, new: NewSession<'_>, now: Timestamp) -> Result<(), RedisError> {
    /// Keeps the session, puts it on its user's list, and ends those that are too many on it.
    static BEGIN: LazyLock<Script> = LazyLock::new(|| {
        Script::new(
            "redis.call('HSET', KEYS[1], 'user', ARGV[1], 'refresh', ARGV[2], 'client', ARGV[3]) \
             redis.call('EXPIREAT', KEYS[1], ARGV[4]) \
             redis.call('ZADD', KEYS[2], ARGV[5], ARGV[6]) \
             redis.call('EXPIREAT', KEYS[2], ARGV[4]) \
             for _, id in ipairs(redis.call('ZRANGE', KEYS[2], 0, ARGV[7])) do redis.call('DEL', ARGV[8] .. id) end \
             redis.call('ZREMRANGEBYRANK', KEYS[2], 0, ARGV[7])",
        )
    });
    let mut call = BEGIN.key(key(new.id));
    call.key(all_of(new.user));
    call.arg(new.user).arg(new.refresh).arg(new.client).arg(new.expires_at.as_second());
    call.arg(now.as_microsecond()).arg(new.id).arg(-1 - MOST).arg(key(""));
    call.invoke_async(&mut redis).await
}

async fn patiently<T>(work: impl Future<Output = Result<T, RedisError>>) -> Result<T, Error> {
    match tokio::time::timeout(PATIENCE, work).await {
        Ok(outcome) => Ok(outcome?),
        Err(_) => Err(Error::Slow),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_read_back_and_nothing_else_is() {
        let token = Refresh::new(store::new_id());
        assert!(Refresh::parse(&token.reveal()) == Some(token.clone()));
        for bad in ["", ".", "a.b", &token.secret, &token.reveal().to_uppercase(), &format!("{}\n", token.reveal())] {
            assert!(Refresh::parse(bad).is_none(), "{bad:?}");
        }
    }
}
