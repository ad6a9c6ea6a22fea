//! The cache: in this process by default, or Redis, which all replicas share. Values have a time to live; a full one forgets the value
//! whose time is up first.

use std::{
    collections::{BTreeSet, HashMap},
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use redis::{AsyncCommands, aio::ConnectionManager};

/// Keys that a cache in the process holds.
const KEYS: usize = 10_000;
/// Bytes of their values, together.
const BYTES: usize = 16 << 20;
/// How long Redis may take.
pub const TIME: Duration = Duration::from_secs(1);
/// Before this service's keys in Redis.
const PREFIX: &str = "sample:cache:";

/// Redis does not answer, or not as it should.
#[derive(Debug, thiserror::Error)]
#[error("the cache is not available")]
pub struct CacheError(#[from] redis::RedisError);

/// A value and how long it still lives.
pub type Found = Option<(String, Duration)>;

/// The cache.
pub enum Cache {
    /// In this process.
    Memory(Mutex<Memory>),
    /// In Redis, which need not be there yet.
    Redis(ConnectionManager),
}

impl Cache {
    /// A cache in this process.
    pub fn memory() -> Self {
        Self::Memory(Mutex::default())
    }

    /// Where it is, in a word.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Memory(_) => "memory",
            Self::Redis(_) => "redis",
        }
    }

    /// The value of `key`.
    ///
    /// # Errors
    /// Redis does not answer.
    pub async fn get(&self, key: &str) -> Result<Found, CacheError> {
        match self {
            Self::Memory(memory) => Ok(lock(memory).get(key, Instant::now())),
            Self::Redis(redis) => {
                let key = format!("{PREFIX}{key}");
                let both = redis::pipe().atomic().get(&key).pttl(&key).query_async(&mut redis.clone()).await?;
                let (value, millis): (Option<String>, i64) = both;
                Ok(value.zip(u64::try_from(millis).ok()).map(|(value, millis)| (value, Duration::from_millis(millis))))
            }
        }
    }

    /// Gives `key` a value for so long; `false` if it had none.
    ///
    /// # Errors
    /// Redis does not answer.
    pub async fn set(&self, key: &str, value: &str, life: Duration) -> Result<bool, CacheError> {
        match self {
            Self::Memory(memory) => Ok(lock(memory).set(key, value, life, Instant::now())),
            Self::Redis(redis) => {
                let key = format!("{PREFIX}{key}");
                let mut both = redis::pipe();
                both.atomic().exists(&key).set_ex(&key, value, life.as_secs());
                let (before, ()): (bool, ()) = both.query_async(&mut redis.clone()).await?;
                Ok(before)
            }
        }
    }

    /// Forgets `key`; `false` if it had no value.
    ///
    /// # Errors
    /// Redis does not answer.
    pub async fn delete(&self, key: &str) -> Result<bool, CacheError> {
        match self {
            Self::Memory(memory) => Ok(lock(memory).delete(key, Instant::now())),
            Self::Redis(redis) => Ok(redis.clone().del::<_, usize>(format!("{PREFIX}{key}")).await? > 0),
        }
    }

    /// Whether it answers.
    ///
    /// # Errors
    /// It does not.
    pub async fn ping(&self) -> Result<(), CacheError> {
        match self {
            Self::Memory(_) => Ok(()),
            Self::Redis(redis) => Ok(redis.clone().ping::<()>().await?),
        }
    }
}

fn lock(memory: &Mutex<Memory>) -> std::sync::MutexGuard<'_, Memory> {
    memory.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A cache in the process; the time is a parameter.
#[derive(Debug, Default)]
pub struct Memory {
    values: HashMap<String, (String, Instant)>,
    ends: BTreeSet<(Instant, String)>,
    bytes: usize,
}

impl Memory {
    fn get(&mut self, key: &str, now: Instant) -> Found {
        self.forget(now);
        self.values.get(key).map(|(value, end)| (value.clone(), end.saturating_duration_since(now)))
    }

    fn set(&mut self, key: &str, value: &str, life: Duration, now: Instant) -> bool {
        let before = self.delete(key, now);
        let end = now + life;
        self.values.insert(key.to_owned(), (value.to_owned(), end));
        self.ends.insert((end, key.to_owned()));
        self.bytes += key.len() + value.len();
        while self.values.len() > KEYS || self.bytes > BYTES {
            let Some((_, first)) = self.ends.first().cloned() else { break };
            self.remove(&first);
        }
        before
    }

    fn delete(&mut self, key: &str, now: Instant) -> bool {
        self.forget(now);
        self.remove(key)
    }

    fn remove(&mut self, key: &str) -> bool {
        let Some((value, end)) = self.values.remove(key) else { return false };
        self.ends.remove(&(end, key.to_owned()));
        self.bytes -= key.len() + value.len();
        true
    }

    /// Forgets what has had its time.
    fn forget(&mut self, now: Instant) {
        while let Some((end, key)) = self.ends.first().cloned() {
            if end > now {
                break;
            }
            self.remove(&key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);

    #[test]
    fn a_value_is_there_until_its_time_is_up() {
        let (mut memory, now) = (Memory::default(), Instant::now());
        assert!(!memory.set("a", "1", MINUTE, now));
        assert!(memory.set("a", "2", MINUTE, now));
        assert_eq!(memory.get("a", now + MINUTE / 2), Some(("2".to_owned(), MINUTE / 2)));
        assert_eq!(memory.get("a", now + MINUTE), None);
        assert_eq!((memory.bytes, memory.ends.len()), (0, 0));
    }

    #[test]
    fn a_full_cache_forgets_what_would_end_first() {
        let (mut memory, now) = (Memory::default(), Instant::now());
        memory.set("short", "1", MINUTE, now);
        for n in 0..KEYS {
            memory.set(&n.to_string(), "1", 2 * MINUTE, now);
        }
        assert_eq!(memory.get("short", now), None);
        assert!(memory.get("0", now).is_some());
        memory.set("large", &"x".repeat(BYTES - 100), 3 * MINUTE, now);
        assert!(memory.bytes <= BYTES && memory.get("large", now).is_some());
    }
}
