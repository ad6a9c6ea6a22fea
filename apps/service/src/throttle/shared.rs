//! Limits by key that all replicas of a service share through Redis.

use std::{
    fmt::Display,
    hash::Hash,
    sync::LazyLock,
    time::{Duration, Instant},
};

use redis::{RedisError, Script, aio::ConnectionManager};

use super::{Throttle, Window};

/// How long Redis may take: whoever logs in waits for it.
const PATIENCE: Duration = Duration::from_millis(500);

static COUNT: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("count.lua")));

/// A [`Throttle`] whose events are counted in Redis, if there is one: what one replica counts, all have counted. Without it, N replicas
/// would let through N times as many.
///
/// An event is counted and its key made to expire in one step, by Redis' clock. While Redis is away or slow each replica goes by what it
/// has counted itself, before and since: nobody is locked out for that, and nobody is let through without a limit.
pub struct Shared<K> {
    own: Throttle<K>,
    redis: Option<ConnectionManager>,
    /// Before the keys in Redis.
    prefix: String,
    limit: u32,
    part: Duration,
}

impl<K: Eq + Hash + Clone + Display> Shared<K> {
    /// At most `limit` events (at least one) in any `window` for each key. `name` tells these limits from others in the same Redis, as in
    /// `sample:logins`; `most_keys` bounds what this process remembers. Without `redis` it is a limit of this process alone.
    pub fn new(name: &str, limit: u32, window: Duration, most_keys: usize, redis: Option<ConnectionManager>) -> Self {
        let own = Throttle::new(limit, window, most_keys);
        let (limit, part) = (own.limit, own.part);
        Self { own, redis, prefix: format!("{name}:"), limit, part }
    }

    /// Counts an event of `key`, if it is within the limit.
    ///
    /// # Errors
    /// It is not, and was not counted: how long to wait until the next may be.
    pub async fn count(&self, key: K) -> Result<(), Duration> {
        let Some(redis) = &self.redis else { return self.own.count(key, Instant::now()) };
        let mut count = COUNT.key(self.place(&key));
        count.arg(self.limit).arg(u64::try_from(self.part.as_micros()).unwrap_or(u64::MAX)).arg(Window::RING);
        match patiently(count.invoke_async::<u64>(&mut redis.clone())).await {
            Ok(0) => {
                // For when Redis is away. It may know of events there that others have forgotten here.
                let _ = self.own.count(key, Instant::now());
                Ok(())
            }
            Ok(wait) => Err(Duration::from_micros(wait)),
            Err(error) => {
                tracing::warn!(%error, "a limit cannot be shared through Redis; this process goes by its own count");
                self.own.count(key, Instant::now())
            }
        }
    }

    /// Forgets the events of `key`, as after a login that succeeded. If Redis is away it forgets them when their time is up.
    pub async fn forget(&self, key: &K) {
        self.own.forget(key);
        let Some(redis) = &self.redis else { return };
        let mut forget = redis::cmd("DEL");
        forget.arg(self.place(key));
        if let Err(error) = patiently(forget.query_async::<()>(&mut redis.clone())).await {
            tracing::warn!(%error, "what a limit has counted cannot be forgotten in Redis");
        }
    }

    fn place(&self, key: &K) -> String {
        format!("{}{key}", self.prefix)
    }
}

async fn patiently<T>(work: impl Future<Output = Result<T, RedisError>>) -> Result<T, String> {
    match tokio::time::timeout(PATIENCE, work).await {
        Ok(outcome) => outcome.map_err(|error| error.to_string()),
        Err(_) => Err(format!("no answer within {PATIENCE:?}")),
    }
}
