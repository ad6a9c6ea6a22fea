//! Answers that many ask for, kept ready: in this process, and in Redis too where there is one, so that replicas share them.
//!
//! A generation counts the changes of what answers are made from. It is part of every key, so one increment forgets all of them,
//! and an answer that was being made while something changed is never found afterwards. With Redis the generation is shared, and
//! this process looks at it once in [`SHARED_FRESH`]; without, a change made by another replica shows after the time to live.
//! When Redis does not answer, answers are made from the database as if there were none.

use std::{
    collections::{HashMap, VecDeque},
    sync::{
        Arc, Mutex, PoisonError, Weak,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use bytes::Bytes;
use redis::aio::ConnectionManager;
use service::metrics::register;
use sha2::{Digest, Sha256};

/// How long an answer is given without asking Redis whether something has changed.
pub const SHARED_FRESH: Duration = Duration::from_secs(1);
/// How long Redis may take before it is passed by.
const PATIENCE: Duration = Duration::from_millis(100);
/// The most answers held in this process; the oldest goes when another comes.
const ENTRIES: usize = 512;
/// The most bytes of answers held in this process: some sixty pages of the menu. What nobody asks for twice within the time to live
/// is not worth more of the process's memory, and with Redis it is held there.
const BYTES: usize = 1 << 20;
const GENERATION: &str = "zapora:cache:generation";

/// An answer: its body and the entity tag of that.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The body.
    pub body: Bytes,
    /// A strong entity tag, with its quotes: the beginning of the SHA-256 of the body.
    pub etag: String,
}

impl Answer {
    /// An answer with this body.
    pub fn new(body: impl Into<Vec<u8>>) -> Self {
        // Whoever writes a body into a vector leaves up to as much room again behind it, which would be held and not counted.
        let body = Bytes::from(body.into().into_boxed_slice());
        let digest = Sha256::digest(&body);
        let etag = format!("\"{}\"", crate::hex(digest.get(..16).unwrap_or(&digest)));
        Self { body, etag }
    }
}

struct Held {
    answer: Answer,
    generation: u64,
    at: Instant,
}

#[derive(Default)]
struct Local {
    held: HashMap<String, Held>,
    /// The keys of `held`, the oldest answer's first.
    order: VecDeque<String>,
    bytes: usize,
    /// A task lets go of answers when their time is over.
    tended: bool,
}

impl Local {
    /// Holds an answer, and lets go of those that nobody is given any more because they are older than `fresh`, and of the oldest
    /// beyond the bounds.
    fn insert(&mut self, key: &str, held: Held, fresh: Duration) {
        let now = held.at;
        self.bytes += held.answer.body.len();
        if let Some(old) = self.held.insert(key.to_owned(), held) {
            self.bytes = self.bytes.saturating_sub(old.answer.body.len());
            self.order.retain(|other| other != key);
        }
        self.order.push_back(key.to_owned());
        self.let_go(now, fresh);
    }

    /// Lets go of what is older than `fresh`, and of the oldest beyond the bounds.
    fn let_go(&mut self, now: Instant, fresh: Duration) {
        while self.held.len() > ENTRIES || self.bytes > BYTES || self.oldest().is_some_and(|at| now - at >= fresh) {
            let Some(oldest) = self.order.pop_front() else { break };
            if let Some(old) = self.held.remove(&oldest) {
                self.bytes = self.bytes.saturating_sub(old.answer.body.len());
            }
        }
        if self.held.is_empty() {
            // What a table and a queue have room for, they keep.
            (self.held, self.order) = Default::default();
        }
    }

    /// When the oldest answer was made.
    fn oldest(&self) -> Option<Instant> {
        Some(self.held.get(self.order.front()?)?.at)
    }
}

/// A cache of answers. Clones share it.
#[derive(Clone)]
pub struct Cache(Arc<Shared>);

struct Shared {
    local: Mutex<Local>,
    /// Who is making an answer: others who want the same wait for it.
    making: Mutex<HashMap<String, Arc<tokio::sync::Mutex<()>>>>,
    /// Changes that this process has made or heard of.
    generation: AtomicU64,
    redis: Option<ConnectionManager>,
    /// For how long this process gives an answer.
    fresh: Duration,
    /// For how long Redis does.
    kept: Duration,
    found: prometheus::IntCounterVec,
}

impl Cache {
    /// A cache whose answers live for `fresh` at most in this process (with Redis: for [`SHARED_FRESH`], if that is less).
    /// Its hits and misses are counted in `registry`.
    ///
    /// # Errors
    /// When the registry has counters of that name already.
    pub fn new(
        redis: Option<ConnectionManager>,
        fresh: Duration,
        registry: &prometheus::Registry,
    ) -> Result<Self, prometheus::Error> {
        let lookups = prometheus::Opts::new("cache_lookups_total", "Lookups of answers by where they were found");
        let found = register(registry, prometheus::IntCounterVec::new(lookups, &["found"])?)?;
        Ok(Self(Arc::new(Shared {
            local: Mutex::default(),
            making: Mutex::default(),
            generation: AtomicU64::new(0),
            fresh: if redis.is_some() { fresh.min(SHARED_FRESH) } else { fresh },
            kept: fresh,
            redis,
            found,
        })))
    }

    /// The answer for `key`: one that is held, or else made by `make`, which runs once however many ask for the same at once.
    ///
    /// # Errors
    /// Those of `make`, to the one for whom it ran; whoever waited runs it again.
    pub async fn get<E>(&self, key: &str, make: impl AsyncFnOnce() -> Result<Answer, E>) -> Result<Answer, E> {
        if let Some(answer) = self.held(key) {
            self.count("process");
            return Ok(answer);
        }
        let turn = Turn::take(&self.0, key);
        let _alone = turn.lock.lock().await;
        if let Some(answer) = self.held(key) {
            self.count("process");
            return Ok(answer);
        }
        self.fetch(key, make).await
    }

    /// Forgets all answers, here and (with Redis) for every replica.
    pub async fn forget(&self) {
        self.0.generation.fetch_add(1, Ordering::AcqRel);
        let Some(mut redis) = self.0.redis.clone() else { return };
        let mut command = redis::cmd("INCR");
        command.arg(GENERATION);
        let bump = command.query_async::<u64>(&mut redis);
        match tokio::time::timeout(PATIENCE, bump).await {
            Ok(Ok(_)) => {}
            Ok(Err(error)) => tracing::warn!(%error, "other replicas do not know that cached answers are stale"),
            Err(_) => tracing::warn!("other replicas do not know that cached answers are stale: Redis takes too long"),
        }
    }

    fn held(&self, key: &str) -> Option<Answer> {
        let local = lock(&self.0.local);
        let held = local.held.get(key)?;
        let current = held.generation == self.0.generation.load(Ordering::Acquire);
        (current && held.at.elapsed() < self.0.fresh).then(|| held.answer.clone())
    }

    async fn fetch<E>(&self, key: &str, make: impl AsyncFnOnce() -> Result<Answer, E>) -> Result<Answer, E> {
        // Both are read before the answer is made: if something changes meanwhile, nobody will look for it under these.
        let generation = self.0.generation.load(Ordering::Acquire);
        let shared = self.shared_key(key).await;
        if let Some(name) = &shared
            && let Some(answer) = self.shared(name).await
        {
            self.count("redis");
            self.hold(key, &answer, generation);
            return Ok(answer);
        }
        let answer = make().await?;
        self.count("nowhere");
        self.hold(key, &answer, generation);
        if let (Some(name), Some(mut redis)) = (shared, self.0.redis.clone()) {
            let mut command = redis::cmd("SET");
            command.arg(name).arg(answer.body.as_ref()).arg("PX").arg(self.0.kept.as_millis().max(1) as u64);
            // Not kept is only not kept.
            let _ = tokio::time::timeout(PATIENCE, command.query_async::<()>(&mut redis)).await;
        }
        Ok(answer)
    }

    fn hold(&self, key: &str, answer: &Answer, generation: u64) {
        let held = Held { answer: answer.clone(), generation, at: Instant::now() };
        let mut local = lock(&self.0.local);
        local.insert(key, held, self.0.fresh);
        if !local.held.is_empty() && !std::mem::replace(&mut local.tended, true) {
            tokio::spawn(tend(Arc::downgrade(&self.0), self.0.fresh));
        }
    }

    /// The name of `key` in Redis in today's generation; none without Redis, or when it does not answer in time.
    async fn shared_key(&self, key: &str) -> Option<String> {
        let generation = self.ask::<Option<u64>>(GENERATION).await?.unwrap_or_default();
        Some(format!("zapora:cache:{generation}:{}", crate::hex(&Sha256::digest(key))))
    }

    async fn shared(&self, name: &str) -> Option<Answer> {
        self.ask::<Option<Vec<u8>>>(name).await?.map(Answer::new)
    }

    async fn ask<T: redis::FromRedisValue>(&self, name: &str) -> Option<T> {
        let mut redis = self.0.redis.clone()?;
        let mut command = redis::cmd("GET");
        command.arg(name);
        tokio::time::timeout(PATIENCE, command.query_async(&mut redis)).await.ok()?.ok()
    }

    fn count(&self, found: &str) {
        self.0.found.with_label_values(&[found]).inc();
    }
}

/// Lets go of answers when their time is over, until there are none: what the last requests asked for would be held until somebody
/// asks for something else, however long that takes.
async fn tend(cache: Weak<Shared>, fresh: Duration) {
    loop {
        tokio::time::sleep(fresh).await;
        let Some(cache) = cache.upgrade() else { return };
        let mut local = lock(&cache.local);
        local.let_go(Instant::now(), fresh);
        if local.held.is_empty() {
            local.tended = false;
            return;
        }
    }
}

/// A place among those who want the same answer.
struct Turn<'a> {
    shared: &'a Shared,
    key: &'a str,
    lock: Arc<tokio::sync::Mutex<()>>,
}

impl<'a> Turn<'a> {
    fn take(shared: &'a Shared, key: &'a str) -> Self {
        let lock = Arc::clone(lock(&shared.making).entry(key.to_owned()).or_default());
        Self { shared, key, lock }
    }
}

impl Drop for Turn<'_> {
    /// The last who wanted it, or who went away before it came, forgets the key: then the table and this hold the only two
    /// references.
    fn drop(&mut self) {
        let mut making = lock(&self.shared.making);
        if Arc::strong_count(&self.lock) <= 2 {
            making.remove(self.key);
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use super::*;

    fn cache(fresh: Duration) -> Cache {
        Cache::new(None, fresh, &prometheus::Registry::new()).unwrap()
    }

    async fn ask(cache: &Cache, key: &str, made: &AtomicU64) -> Answer {
        let make = async || {
            tokio::task::yield_now().await;
            Ok::<_, Infallible>(Answer::new(made.fetch_add(1, Ordering::Relaxed).to_string()))
        };
        cache.get(key, make).await.unwrap()
    }

    #[tokio::test]
    async fn many_who_ask_at_once_cost_one_answer() {
        let (cache, made) = (cache(Duration::from_secs(60)), AtomicU64::new(0));
        let all = (0..20).map(|_| ask(&cache, "a", &made));
        for answer in futures_of(all).await {
            assert_eq!(answer.body, "0");
        }
        assert!(lock(&cache.0.making).is_empty());
    }

    async fn futures_of<F: Future>(all: impl Iterator<Item = F>) -> Vec<F::Output> {
        let mut all: Vec<_> = all.map(Box::pin).collect();
        let mut done = Vec::new();
        std::future::poll_fn(|cx| {
            all.retain_mut(|one| match one.as_mut().poll(cx) {
                std::task::Poll::Ready(out) => {
                    done.push(out);
                    false
                }
                std::task::Poll::Pending => true,
            });
            if all.is_empty() { std::task::Poll::Ready(()) } else { std::task::Poll::Pending }
        })
        .await;
        done
    }

    #[tokio::test]
    async fn a_change_forgets_and_so_does_time() {
        let (kept, made) = (cache(Duration::from_secs(60)), AtomicU64::new(0));
        let first = ask(&kept, "a", &made).await;
        assert_eq!(ask(&kept, "a", &made).await, first);
        kept.forget().await;
        assert_ne!(ask(&kept, "a", &made).await.etag, first.etag);
        let brief = cache(Duration::ZERO);
        assert_ne!(ask(&brief, "a", &made).await, ask(&brief, "a", &made).await);
    }

    #[tokio::test]
    async fn what_was_made_while_something_changed_is_not_found_later() {
        let cache = cache(Duration::from_secs(60));
        let during = cache.clone();
        let stale = cache
            .get("a", async || {
                during.forget().await;
                Ok::<_, Infallible>(Answer::new("old"))
            })
            .await
            .unwrap();
        let next = cache.get("a", async || Ok::<_, Infallible>(Answer::new("new"))).await.unwrap();
        assert_eq!((&stale.body[..], &next.body[..]), (&b"old"[..], &b"new"[..]));
    }

    #[tokio::test]
    async fn it_holds_so_many_answers_and_no_more() {
        let (cache, made) = (cache(Duration::from_secs(60)), AtomicU64::new(0));
        for key in 0..ENTRIES + 10 {
            ask(&cache, &key.to_string(), &made).await;
        }
        let local = lock(&cache.0.local);
        assert_eq!((local.held.len(), local.order.len()), (ENTRIES, ENTRIES));
    }

    #[test]
    fn an_answer_has_no_more_room_than_its_body_needs() {
        let mut body = Vec::with_capacity(32 << 10);
        body.extend_from_slice(&[b'x'; 17 << 10]);
        let body = Answer::new(body).body.try_into_mut().unwrap();
        assert_eq!((body.len(), body.capacity()), (17 << 10, 17 << 10));
    }

    #[tokio::test]
    async fn an_answer_is_let_go_when_its_time_is_over_and_no_other_comes() {
        let (cache, made) = (cache(Duration::from_millis(20)), AtomicU64::new(0));
        for round in 0..2 {
            ask(&cache, "a", &made).await;
            let empty = async {
                while !lock(&cache.0.local).held.is_empty() {
                    tokio::task::yield_now().await;
                }
            };
            assert!(tokio::time::timeout(Duration::from_secs(60), empty).await.is_ok(), "it is held, in round {round}");
        }
    }

    fn held(bytes: usize, at: Instant) -> Held {
        Held { answer: Answer::new(vec![b'x'; bytes]), generation: 0, at }
    }

    #[test]
    fn an_answer_that_nobody_is_given_any_more_is_let_go_when_another_comes() {
        let (mut local, start, fresh) = (Local::default(), Instant::now(), Duration::from_secs(1));
        let at = |millis| start + Duration::from_millis(millis);
        local.insert("hot", held(10, at(0)), fresh);
        local.insert("cold", held(10, at(100)), fresh);
        local.insert("hot", held(20, at(900)), fresh);
        assert_eq!((local.held.len(), local.bytes), (2, 30));
        local.insert("other", held(10, at(1200)), fresh);
        assert!(!local.held.contains_key("cold"), "it is older than it may be given");
        assert!(local.held.contains_key("hot"), "it was made again");
        assert_eq!((local.order.len(), local.bytes), (2, 30));
    }

    #[test]
    fn it_holds_so_many_bytes_and_no_more() {
        let (mut local, now) = (Local::default(), Instant::now());
        for key in 0..20 {
            local.insert(&key.to_string(), held(BYTES / 8, now), Duration::from_secs(1));
        }
        assert_eq!((local.held.len(), local.bytes), (8, BYTES));
        local.insert("vast", held(BYTES + 1, now), Duration::from_secs(1));
        assert_eq!(
            (local.held.len(), local.order.len(), local.bytes),
            (0, 0, 0),
            "what is larger than all is not held"
        );
    }
}
