//! The workers: what is due goes from the outbox into a queue, and what comes out of it is done.

use std::{sync::Arc, time::Duration};

use jiff::Timestamp;
use prometheus::{HistogramVec, IntCounterVec, IntGaugeVec, Registry};
use tokio::{task::JoinSet, time::Instant};
use tokio_util::sync::CancellationToken;

use super::{JobError, Task, Tools, schedule};
use crate::{
    queue::{Delivery, Local, Queue, Redis},
    store::{
        Result as StoreResult, Store,
        jobs::{BATCH, Job},
    },
};

/// How many jobs a worker takes at once.
const TAKE: usize = 32;
/// How long to wait after the database or the queue did not answer.
const PAUSE: Duration = Duration::from_secs(1);
/// The longest pause after the database or the queue did not answer again and again.
const LONG_PAUSE: Duration = Duration::from_secs(10);
/// The longest time between two looks into the outbox: another replica may have died with jobs.
const LOOK: Duration = Duration::from_secs(5);
/// How long to wait for more jobs after one was written, so that under load they are moved many at once.
const GATHER: Duration = Duration::from_millis(5);

/// Bounds of the work.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// How many workers each queue has; each does up to 32 jobs at once.
    pub workers: usize,
    /// How long one attempt may take.
    pub attempt: Duration,
    /// After how long a job that was handed to a queue or begun, and neither failed nor done, shows again.
    pub lease: Duration,
    /// How many attempts are made before a job is given up.
    pub attempts: i64,
}

impl Default for Limits {
    fn default() -> Self {
        Self { workers: 2, attempt: Duration::from_secs(30), lease: Duration::from_secs(60), attempts: 12 }
    }
}

/// How long to wait after a failed attempt (the first is 1): twice as long each time from one second to ten minutes, of which
/// `random` (from 0 to 1) decides the second half, so that what failed together is not tried again together.
pub fn retry_after(attempts: i64, random: f64) -> Duration {
    let exponent = u32::try_from(attempts.saturating_sub(1).clamp(0, 20)).unwrap_or(0);
    let full = Duration::from_secs(2_u64.saturating_pow(exponent).min(600));
    full.mul_f64(0.5 + random.clamp(0.0, 1.0) / 2.0)
}

/// What the metrics say about jobs.
#[derive(Clone, Debug)]
pub struct JobMetrics {
    attempts: IntCounterVec,
    duration: HistogramVec,
    waiting: IntGaugeVec,
}

impl JobMetrics {
    /// Registers them.
    ///
    /// # Errors
    /// Metrics of these names exist already.
    pub fn new(registry: &Registry) -> prometheus::Result<Self> {
        let attempts = prometheus::opts!(
            "zapora_job_attempts_total",
            "Attempts at jobs, by kind and outcome (done, failed, dead)."
        );
        let duration = prometheus::histogram_opts!("zapora_job_duration_seconds", "How long attempts took, by kind.");
        let waiting = prometheus::opts!("zapora_jobs", "Jobs in the outbox, by state (ready, dead).");
        let metrics = Self {
            attempts: IntCounterVec::new(attempts, &["kind", "outcome"])?,
            duration: HistogramVec::new(duration, &["kind"])?,
            waiting: IntGaugeVec::new(waiting, &["state"])?,
        };
        registry.register(Box::new(metrics.attempts.clone()))?;
        registry.register(Box::new(metrics.duration.clone()))?;
        registry.register(Box::new(metrics.waiting.clone()))?;
        Ok(metrics)
    }
}

/// Everything that goes on besides answering requests.
#[derive(Clone, Debug)]
pub struct Background {
    /// What jobs work with.
    pub tools: Tools,
    /// The queue that replicas share, if there is one.
    pub shared: Option<Arc<Redis>>,
    /// Bounds of the work.
    pub limits: Limits,
    /// Where it is counted.
    pub metrics: JobMetrics,
}

impl Background {
    /// Works until `stop`, and then finishes what was begun.
    pub async fn run(self, stop: CancellationToken) {
        let (this, local) = (Arc::new(self), Arc::new(Local::new(BATCH)));
        let mut tasks = JoinSet::new();
        let store = this.tools.store.clone();
        {
            let (store, stop) = (store.clone(), stop.clone());
            tasks.spawn(async move { store.servers().watch(stop).await });
        }
        tasks.spawn(schedule::run(store, stop.clone()));
        tasks.spawn(this.clone().relay(local.clone(), stop.clone()));
        for _ in 0..this.limits.workers.max(1) {
            tasks.spawn(this.clone().work(local.clone(), stop.clone()));
            if let Some(shared) = this.shared.clone() {
                tasks.spawn(this.clone().work(shared, stop.clone()));
            }
        }
        while let Some(ended) = tasks.join_next().await {
            if let Err(error) = ended {
                // One part that panics leaves the others at work, and its jobs to the outbox.
                tracing::error!(%error, "a part of the background work broke off");
            }
        }
        if let Some(shared) = &this.shared {
            // Its name on a list is all that stays behind.
            let _ = shared.leave().await;
        }
    }

    /// Moves what is due from the outbox into a queue.
    async fn relay(self: Arc<Self>, local: Arc<Local>, stop: CancellationToken) {
        let (store, mut counted) = (&self.tools.store, Instant::now());
        while !stop.is_cancelled() {
            let outcome = async {
                let jobs = store.claim_jobs(BATCH, self.limits.lease, Timestamp::now()).await?;
                if jobs.is_empty() { self.count().await.map(Err) } else { Ok(Ok(jobs)) }
            };
            let wait = match outcome.await {
                Ok(Ok(jobs)) => {
                    tokio::select! {
                        () = self.hand_over(&jobs, &local) => {}
                        () = stop.cancelled() => return,
                    }
                    // Under load there is always something to do, and dead letters are to be seen then above all.
                    if counted.elapsed() >= LOOK && self.count().await.is_ok() {
                        counted = Instant::now();
                    }
                    if jobs.len() == BATCH {
                        continue;
                    }
                    // Nothing else was due; whoever writes a job says so.
                    PAUSE
                }
                Ok(Err(wait)) => wait,
                Err(error) => {
                    tracing::warn!(error = super::chain(&error), "cannot look into the outbox");
                    PAUSE
                }
            };
            tokio::select! {
                () = stop.cancelled() => return,
                () = store.enqueued().notified() => tokio::time::sleep(GATHER).await,
                () = tokio::time::sleep(wait) => {}
            }
        }
    }

    /// Counts what waits, and says how long the outbox has nothing to offer.
    async fn count(&self) -> StoreResult<Duration> {
        let store = &self.tools.store;
        let (ready, dead) = store.count_jobs().await?;
        for (state, count) in [("ready", ready), ("dead", dead)] {
            self.metrics.waiting.with_label_values(&[state]).set(count);
        }
        let next = store.next_job_at().await?.map(|at| at.duration_since(Timestamp::now()));
        Ok(next.map_or(LOOK, |next| Duration::try_from(next).unwrap_or(Duration::ZERO)).min(LOOK))
    }

    /// Into the shared queue; while that is away or full, into this process' own.
    async fn hand_over(&self, jobs: &[String], local: &Local) {
        if let Some(shared) = &self.shared {
            match shared.push(jobs).await {
                Ok(()) => return,
                Err(error) => {
                    tracing::warn!(
                        error = super::chain(&error),
                        "the shared queue takes no jobs: they are done in this process"
                    );
                }
            }
        }
        // It fails only when nobody works any more; the outbox shows the jobs again.
        let _ = local.push(jobs).await;
    }

    /// Does what comes out of a queue.
    async fn work<Q: Queue + 'static>(self: Arc<Self>, queue: Arc<Q>, stop: CancellationToken) {
        let mut pause = PAUSE;
        loop {
            let taken = tokio::select! {
                biased;
                () = stop.cancelled() => return,
                taken = queue.take(TAKE) => taken,
            };
            let outcome = match taken {
                Ok(deliveries) => self.clone().batch(queue.as_ref(), deliveries).await,
                Err(error) => Err(super::chain(&error)),
            };
            let Err(error) = outcome else {
                pause = PAUSE;
                continue;
            };
            tracing::warn!(error, "jobs are held up");
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(pause) => {}
            }
            pause = (pause * 2).min(LONG_PAUSE);
        }
    }

    /// Does a batch and settles it. What cannot be written down is not settled, and comes again.
    async fn batch<Q: Queue>(self: Arc<Self>, queue: &Q, deliveries: Vec<Delivery>) -> Result<(), String> {
        let store = self.tools.store.clone();
        let chain = |error: crate::store::StoreError| super::chain(&error);
        let ids: Vec<String> = deliveries.iter().map(|delivery| delivery.job.clone()).collect();
        let jobs = store.begin_jobs(&ids, self.limits.lease, Timestamp::now()).await.map_err(chain)?;
        let mut attempts = JoinSet::new();
        for job in jobs {
            attempts.spawn(self.clone().attempt(job));
        }
        let (mut done, mut unwritten) = (Vec::new(), None);
        while let Some(ended) = attempts.join_next().await {
            match ended {
                Ok(Ok(id)) => done.push(id),
                Ok(Err((job, error))) => {
                    if let Err(error) = self.put_off(&store, &job, &error).await {
                        unwritten = Some(chain(error));
                    }
                }
                // A panic: its attempt is counted, and its lease brings it back, as often as there may be attempts.
                Err(error) => tracing::error!(%error, "a job broke off"),
            }
        }
        store.finish_jobs(&done, Timestamp::now()).await.map_err(chain)?;
        if let Some(error) = unwritten {
            return Err(error);
        }
        queue.settle(&deliveries).await.map_err(|error| super::chain(&error))
    }

    /// One attempt: the id of the job if it is done.
    async fn attempt(self: Arc<Self>, job: Job) -> Result<String, (Job, JobError)> {
        let timer = self.metrics.duration.with_label_values(&[&job.kind]).start_timer();
        let attempt = async {
            if job.attempts > self.limits.attempts {
                // The last attempt neither succeeded nor failed: it ended its worker, and would end the next one.
                return Err(JobError::Never(format!("{} attempts at it broke off or failed", job.attempts - 1)));
            }
            let task: Task = serde_json::from_str(&job.payload)
                // A newer release of the service may have written it, and may do it.
                .map_err(|e| JobError::Later(format!("this release does not know the job: {e}")))?;
            // An attempt of an earlier series may have had its effect as well.
            self.tools.run(&job.id, &task, job.earlier + job.attempts, Timestamp::now()).await
        };
        let outcome = tokio::time::timeout(self.limits.attempt, attempt).await;
        timer.observe_duration();
        match outcome {
            Ok(Ok(())) => {
                self.metrics.attempts.with_label_values(&[job.kind.as_str(), "done"]).inc();
                Ok(job.id)
            }
            Ok(Err(error)) => Err((job, error)),
            Err(_) => Err((job, JobError::Later(format!("it took longer than {:?}", self.limits.attempt)))),
        }
    }

    async fn put_off(&self, store: &Store, job: &Job, error: &JobError) -> StoreResult<()> {
        let now = Timestamp::now();
        let again = match error {
            JobError::Later(_) if job.attempts < self.limits.attempts => {
                let wait = retry_after(job.attempts, fastrand::f64());
                now.checked_add(jiff::SignedDuration::try_from(wait).unwrap_or_default()).ok()
            }
            _ => None,
        };
        let outcome = if again.is_some() { "failed" } else { "dead" };
        self.metrics.attempts.with_label_values(&[job.kind.as_str(), outcome]).inc();
        let (id, kind, attempts, error) = (&job.id, &job.kind, job.attempts, error.to_string());
        tracing::warn!(job = id, kind, attempts, error, outcome, "an attempt at a job failed");
        // The database refuses what is no text, and nobody reads a page.
        let error: String = error.chars().filter(|c| *c != '\0').take(500).collect();
        store.fail_job(&job.id, &error, again, now).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_wait_is_twice_the_last_up_to_ten_minutes_and_half_of_it_is_chance() {
        for (attempts, least, most) in
            [(1, 0.5, 1.0), (2, 1.0, 2.0), (5, 8.0, 16.0), (11, 300.0, 600.0), (1000, 300.0, 600.0)]
        {
            assert_eq!(retry_after(attempts, 0.0).as_secs_f64(), least, "{attempts}");
            assert_eq!(retry_after(attempts, 1.0).as_secs_f64(), most, "{attempts}");
        }
    }
}
