//! Jobs in Redis (7 or newer, or Valkey), where all replicas of the service have the same ones: any of them takes, does, tells, retries
//! and cancels any job.
//!
//! Redis is the only place where these jobs are, so it has to keep them: with `appendonly yes`, a job that was accepted outlives Redis'
//! process, and with `appendfsync always` its machine. What a job becomes is decided by [`Job`], and written only if the job still is
//! what the decision was made on. A worker has a job for the time of a lease, which it prolongs; a job whose worker is gone is found
//! when its lease is over, by whoever asks for work next, as a start finds what the last one left. News (a job is due, a job was taken
//! back) go round as messages; one that is lost costs a little time only, because workers look for themselves too.

mod scripts;

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use futures::StreamExt;
use jiff::Timestamp;
use redis::{Client, ScriptInvocation, aio::ConnectionManager};
use service::config::Secret;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use self::scripts::{ACCEPT, CHANGE, KEEP, LIST, Said, TAKE};
use super::{
    gauges::Gauges,
    job::{Job, Outcome, Retries, State},
    queue::{Accepted, Bounds, Changed, JobsError},
};

/// How long Redis may take to answer.
const RESPONSE: Duration = Duration::from_secs(2);
/// The longest time between two looks for work: news may be lost.
const LOOK: Duration = Duration::from_secs(5);
/// How long to wait after Redis did not answer; twice as long each time up to the longest.
const PAUSE: Duration = Duration::from_millis(100);
const LONG_PAUSE: Duration = Duration::from_secs(2);
/// The channel of news.
const NEWS: &str = "infer:news";

/// The jobs in Redis.
pub struct Shared {
    commands: ConnectionManager,
    /// For the connection that listens.
    client: Client,
    retries: Retries,
    bounds: Bounds,
    lease: Duration,
    gauges: Gauges,
    wake: Notify,
    /// The jobs that workers of this process are at.
    running: Mutex<HashMap<Uuid, CancellationToken>>,
}

impl Shared {
    /// The jobs in the Redis at `url`, which need not be there yet. A worker that says nothing for `lease` has lost its job.
    ///
    /// # Errors
    /// The address cannot be used.
    pub fn new(
        url: &Secret,
        retries: Retries,
        bounds: Bounds,
        lease: Duration,
        gauges: Gauges,
    ) -> redis::RedisResult<Arc<Self>> {
        let (client, commands) = (Client::open(url.expose())?, service::redis::connection(url, RESPONSE)?);
        let (wake, running) = (Notify::new(), Mutex::default());
        Ok(Arc::new(Self { commands, client, retries, bounds, lease, gauges, wake, running }))
    }

    fn running(&self) -> MutexGuard<'_, HashMap<Uuid, CancellationToken>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Runs a script, and tells the metrics what it says of all jobs.
    async fn ask(&self, script: &ScriptInvocation<'_>) -> Result<Said, JobsError> {
        let said: Result<Said, _> = script.invoke_async(&mut self.commands.clone()).await;
        self.gauges.answers(said.is_ok());
        if let Ok(said) = &said {
            self.gauges.tell(said.waiting, said.running);
        }
        Ok(said?)
    }

    /// As [`super::Queue::accept`].
    ///
    /// # Errors
    /// Redis does not answer, or is full.
    pub async fn accept(&self, job: Job, input: Vec<u8>) -> Result<Accepted, JobsError> {
        let key = job.key.as_ref().map_or("", |(key, _)| key);
        let mut accept = ACCEPT.prepare_invoke();
        accept.arg(job.id.to_string()).arg(serde_json::to_vec(&job)?).arg(input).arg(&job.owner).arg(key);
        accept.arg(job.due_at.as_microsecond()).arg(self.bounds.queued).arg(self.bounds.kept);
        accept.arg(micros(self.bounds.retention));
        let said = self.ask(&accept).await?;
        Ok(match said.verdict.as_str() {
            "known" => {
                let known: Job = serde_json::from_slice(&said.detail)?;
                if known.key == job.key { Accepted::Known(known) } else { Accepted::Mismatch }
            }
            "full" => Accepted::Full,
            _ => Accepted::New(job),
        })
    }

    async fn field(&self, id: Uuid, name: &str) -> Result<Option<Vec<u8>>, JobsError> {
        let mut get = redis::cmd("HGET");
        get.arg(format!("infer:job:{id}")).arg(name);
        Ok(get.query_async(&mut self.commands.clone()).await?)
    }

    /// The record of the owner's job, as it is written and as it is read.
    async fn record(&self, owner: &str, id: Uuid) -> Result<Option<(Vec<u8>, Job)>, JobsError> {
        let Some(record) = self.field(id, "job").await? else { return Ok(None) };
        let job: Job = serde_json::from_slice(&record)?;
        Ok((job.owner == owner).then_some((record, job)))
    }

    /// As [`super::Queue::get`].
    ///
    /// # Errors
    /// Redis does not answer.
    pub async fn get(&self, owner: &str, id: Uuid) -> Result<Option<Job>, JobsError> {
        Ok(self.record(owner, id).await?.map(|(_, job)| job))
    }

    /// As [`super::Queue::list`].
    ///
    /// # Errors
    /// Redis does not answer.
    pub async fn list(
        &self,
        owner: &str,
        state: Option<State>,
        before: Option<Uuid>,
        most: usize,
    ) -> Result<Vec<Job>, JobsError> {
        // In one step: names first and records then would leave out what changes in between, and take a page that is short for the last.
        let mut list = LIST.prepare_invoke();
        list.arg(owner).arg(state.map_or("", State::name));
        list.arg(before.map_or_else(|| "+".to_owned(), |before| format!("({before}"))).arg(most);
        let records: Vec<Vec<u8>> = list.invoke_async(&mut self.commands.clone()).await?;
        Ok(records.iter().map(|record| serde_json::from_slice(record)).collect::<Result<_, _>>()?)
    }

    /// As [`super::Queue::result`].
    ///
    /// # Errors
    /// Redis does not answer.
    pub async fn result(&self, id: Uuid) -> Result<Option<Vec<u8>>, JobsError> {
        self.field(id, "result").await
    }

    /// As [`super::Queue::input`].
    ///
    /// # Errors
    /// Redis does not answer.
    pub async fn input(&self, id: Uuid) -> Result<Option<Vec<u8>>, JobsError> {
        self.field(id, "input").await
    }

    /// Writes `next` over the record `before`; `false` if the job is not that any more. Asking again for what was done is no change.
    async fn write(&self, before: &[u8], next: &Job, result: Option<&[u8]>) -> Result<bool, JobsError> {
        let mut change = CHANGE.prepare_invoke();
        change.arg(next.id.to_string()).arg(before).arg(serde_json::to_vec(next)?).arg(next.state.name());
        change.arg(match next.state {
            State::Queued => next.due_at.as_microsecond(),
            State::Running => micros(self.lease),
            State::Succeeded | State::Failed | State::Cancelled => next.updated_at.as_microsecond(),
        });
        if let Some(result) = result {
            change.arg(result);
        }
        Ok(self.ask(&change).await?.verdict == "done")
    }

    /// As [`Shared::write`], again and again while Redis is away, until `stop`: what a worker has done is not to be lost for that.
    async fn insist(
        &self,
        before: &[u8],
        next: &Job,
        result: Option<&[u8]>,
        stop: &CancellationToken,
    ) -> Result<bool, JobsError> {
        let mut pause = PAUSE;
        loop {
            match self.write(before, next, result).await {
                Err(JobsError::Redis(error)) if !stop.is_cancelled() => {
                    tracing::warn!(job = %next.id, %error, "what became of a job cannot be written yet");
                }
                written => return written,
            }
            tokio::select! {
                // Once more, and that was it.
                () = stop.cancelled() => {}
                () = tokio::time::sleep(pause) => {}
            }
            pause = (pause * 2).min(LONG_PAUSE);
        }
    }

    async fn change(
        &self,
        owner: &str,
        id: Uuid,
        next: impl Fn(&Job, Timestamp) -> Option<Job>,
    ) -> Result<Changed, JobsError> {
        loop {
            let Some((record, job)) = self.record(owner, id).await? else { return Ok(None) };
            let Some(next) = next(&job, Timestamp::now()) else { return Ok(Some(Err(job))) };
            // If somebody else changed it meanwhile, it is looked at again; each change is one step nearer to its end.
            if self.write(&record, &next, None).await? {
                return Ok(Some(Ok(next)));
            }
        }
    }

    /// As [`super::Queue::cancel`].
    ///
    /// # Errors
    /// Redis does not answer.
    pub async fn cancel(&self, owner: &str, id: Uuid) -> Result<Changed, JobsError> {
        self.change(owner, id, Job::cancelled).await
    }

    /// As [`super::Queue::revive`].
    ///
    /// # Errors
    /// Redis does not answer.
    pub async fn revive(&self, owner: &str, id: Uuid) -> Result<Changed, JobsError> {
        self.change(owner, id, Job::revived).await
    }

    /// As [`super::Queue::next`].
    ///
    /// # Errors
    /// Redis does not answer.
    pub async fn next(&self, stop: &CancellationToken) -> Result<Option<(Job, CancellationToken)>, JobsError> {
        while !stop.is_cancelled() {
            let mut take = TAKE.prepare_invoke();
            let said = self.ask(take.arg(micros(self.lease))).await?;
            if said.verdict == "job" {
                // Another worker may take the one after it.
                self.wake.notify_one();
                match self.begin(&said.detail, stop).await? {
                    Some(begun) => return Ok(Some(begun)),
                    None => continue,
                }
            }
            let wait = std::str::from_utf8(&said.detail).ok().and_then(|micros| micros.parse().ok());
            tokio::select! {
                () = stop.cancelled() => {}
                () = self.wake.notified() => {}
                () = tokio::time::sleep(wait.map_or(LOOK, Duration::from_micros).min(LOOK)) => {}
            }
        }
        Ok(None)
    }

    /// Begins the job that Redis has handed out; `None` if there is nothing to begin after all.
    async fn begin(
        &self,
        record: &[u8],
        stop: &CancellationToken,
    ) -> Result<Option<(Job, CancellationToken)>, JobsError> {
        let (job, now) = (serde_json::from_slice::<Job>(record)?, Timestamp::now());
        if job.state != State::Queued {
            // Its worker is gone: it waits for another attempt, or has had them all.
            let found = job.found(&self.retries, now);
            tracing::warn!(job = %job.id, attempts = job.attempts, "the worker that was at a job is gone");
            self.insist(record, &found, None, stop).await?;
            return Ok(None);
        }
        let (begun, token) = (job.begun(now), CancellationToken::new());
        // Before it is begun, for whoever takes it back may be quick.
        self.running().insert(job.id, token.clone());
        match self.insist(record, &begun, None, stop).await {
            Ok(true) => Ok(Some((begun, token))),
            written => {
                self.running().remove(&job.id);
                written.map(|_| None)
            }
        }
    }

    /// As [`super::Queue::hold`].
    pub async fn hold(&self, job: &Job, taken_back: &CancellationToken) {
        let Ok(record) = serde_json::to_vec(job) else { return std::future::pending().await };
        loop {
            tokio::time::sleep(self.lease / 3).await;
            let mut keep = KEEP.prepare_invoke();
            keep.arg(job.id.to_string()).arg(record.as_slice()).arg(micros(self.lease));
            // While Redis is away the attempt goes on: what comes of it counts if nobody else has begun another by then.
            if self.ask(&keep).await.is_ok_and(|said| said.verdict != "done") {
                taken_back.cancel();
            }
        }
    }

    /// As [`super::Queue::finish`].
    ///
    /// # Errors
    /// Redis does not answer, and `stop` was told.
    pub async fn finish(
        &self,
        job: &Job,
        outcome: Outcome,
        result: Option<Vec<u8>>,
        stop: &CancellationToken,
    ) -> Result<Option<Job>, JobsError> {
        self.running().remove(&job.id);
        let next = job.after(outcome, &self.retries, fastrand::u64(..), Timestamp::now());
        // As it was written when the attempt began.
        let written = self.insist(&serde_json::to_vec(job)?, &next, result.as_deref(), stop).await?;
        Ok(written.then_some(next))
    }

    /// Listens to the news of all replicas, until `stop`.
    pub async fn listen(self: Arc<Self>, stop: CancellationToken) {
        let mut pause = PAUSE;
        while !stop.is_cancelled() {
            let heard = tokio::select! {
                () = stop.cancelled() => return,
                heard = self.hear(&mut pause) => heard,
            };
            if let Err(error) = heard {
                tracing::debug!(%error, "news of jobs cannot be heard");
            }
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(pause) => {}
            }
            pause = (pause * 2).min(LONG_PAUSE);
        }
    }

    /// Listens until the connection is lost.
    async fn hear(&self, pause: &mut Duration) -> redis::RedisResult<()> {
        let connect = async {
            let mut ear = self.client.get_async_pubsub().await?;
            ear.subscribe(NEWS).await.map(|()| ear)
        };
        let late = |_| redis::RedisError::from(std::io::Error::from(std::io::ErrorKind::TimedOut));
        let ear = tokio::time::timeout(RESPONSE, connect).await.map_err(late)??;
        *pause = PAUSE;
        // There may have been news before this listened.
        self.wake.notify_one();
        let mut news = ear.into_on_message();
        while let Some(message) = news.next().await {
            let message: String = message.get_payload()?;
            match message.strip_prefix("stop ").map(str::parse::<Uuid>) {
                Some(id) => {
                    if let Some(token) = id.ok().and_then(|id| self.running().remove(&id)) {
                        token.cancel();
                    }
                }
                None => self.wake.notify_one(),
            }
        }
        Ok(())
    }
}

fn micros(span: Duration) -> i64 {
    i64::try_from(span.as_micros()).unwrap_or(i64::MAX)
}
