//! The queue, wherever it is: of this process, or in Redis, where all replicas of the service have the same one.

use std::{sync::Arc, time::Duration};

use redis::RedisError;
use service::problem::Problem;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::{
    disk::DiskError,
    job::{Job, Outcome, State},
    local::Local,
    shared::Shared,
};

/// How many jobs there may be, and for how long.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// Jobs that are not over.
    pub queued: usize,
    /// Jobs in all; the oldest that are over are forgotten beyond it.
    pub kept: usize,
    /// How long a job that is over is kept.
    pub retention: Duration,
}

/// What became of a new job.
#[derive(Clone, Debug, PartialEq)]
pub enum Accepted {
    /// It is in the queue.
    New(Job),
    /// A job was made with this idempotency key and the same content before.
    Known(Job),
    /// A job was made with this idempotency key and another content.
    Mismatch,
    /// There are as many jobs as there may be.
    Full,
}

/// Why jobs cannot be had or changed.
#[derive(Debug, thiserror::Error)]
pub enum JobsError {
    /// The disk of this process.
    #[error(transparent)]
    Disk(#[from] Box<DiskError>),
    /// Redis does not answer, or has no room.
    #[error("the jobs in Redis: {0}")]
    Redis(#[from] RedisError),
    /// Redis holds what this version does not understand.
    #[error("a job in Redis: {0}")]
    Record(#[from] serde_json::Error),
}

impl From<JobsError> for Problem {
    fn from(error: JobsError) -> Self {
        match error {
            JobsError::Redis(error) => {
                tracing::warn!(%error, "Redis does not do what it is asked");
                Self::unavailable("jobs are not available at the moment").retry_after(Duration::from_secs(5))
            }
            JobsError::Disk(error) => Self::internal(*error),
            JobsError::Record(error) => Self::internal(error),
        }
    }
}

/// A changed job; `None` if there is none, `Some(Err)` with it if the change does not apply.
pub type Changed = Option<Result<Job, Job>>;

/// The queue; a clone is the same one.
#[derive(Clone)]
pub enum Queue {
    /// Of this process.
    Local(Arc<Local>),
    /// In Redis.
    Shared(Arc<Shared>),
}

impl Queue {
    /// Takes a new job, which is about `input`.
    ///
    /// # Errors
    /// It cannot be written; it may have been all the same, which only an idempotency key tells.
    pub async fn accept(&self, job: Job, input: Vec<u8>) -> Result<Accepted, JobsError> {
        match self {
            Self::Local(jobs) => Ok(jobs.accept(job, input).await?),
            Self::Shared(jobs) => jobs.accept(job, input).await,
        }
    }

    /// The job, if `owner` has one of this name.
    ///
    /// # Errors
    /// Redis does not answer.
    pub async fn get(&self, owner: &str, id: Uuid) -> Result<Option<Job>, JobsError> {
        match self {
            Self::Local(jobs) => Ok(jobs.get(owner, id)),
            Self::Shared(jobs) => jobs.get(owner, id).await,
        }
    }

    /// `owner`'s jobs in this state (or all) as they are at one moment, the newest first, `most` at most, those before `before`. Fewer
    /// than `most` are all that there are.
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
        match self {
            Self::Local(jobs) => Ok(jobs.list(owner, state, before, most)),
            Self::Shared(jobs) => jobs.list(owner, state, before, most).await,
        }
    }

    /// What came of the job.
    ///
    /// # Errors
    /// It cannot be read.
    pub async fn result(&self, id: Uuid) -> Result<Option<Vec<u8>>, JobsError> {
        match self {
            Self::Local(jobs) => Ok(jobs.result(id).await?),
            Self::Shared(jobs) => jobs.result(id).await,
        }
    }

    /// What the job is about.
    ///
    /// # Errors
    /// It cannot be read.
    pub async fn input(&self, id: Uuid) -> Result<Option<Vec<u8>>, JobsError> {
        match self {
            Self::Local(jobs) => Ok(jobs.input(id).await?),
            Self::Shared(jobs) => jobs.input(id).await,
        }
    }

    /// Takes the owner's job back; see [`Job::cancelled`].
    ///
    /// # Errors
    /// It cannot be written.
    pub async fn cancel(&self, owner: &str, id: Uuid) -> Result<Changed, JobsError> {
        match self {
            Self::Local(jobs) => Ok(jobs.cancel(owner, id).await?),
            Self::Shared(jobs) => jobs.cancel(owner, id).await,
        }
    }

    /// Has the owner's dead letter tried again; see [`Job::revived`].
    ///
    /// # Errors
    /// It cannot be written.
    pub async fn revive(&self, owner: &str, id: Uuid) -> Result<Changed, JobsError> {
        match self {
            Self::Local(jobs) => Ok(jobs.revive(owner, id).await?),
            Self::Shared(jobs) => jobs.revive(owner, id).await,
        }
    }

    /// Begins the next job when there is one; the token is cancelled when somebody takes the job back. `None` once `stop` is told.
    ///
    /// # Errors
    /// The disk failed, or Redis does not answer.
    pub async fn next(&self, stop: &CancellationToken) -> Result<Option<(Job, CancellationToken)>, JobsError> {
        match self {
            Self::Local(jobs) => Ok(jobs.next(stop).await?),
            Self::Shared(jobs) => jobs.next(stop).await,
        }
    }

    /// Says again and again that somebody is at `job`, and cancels `taken_back` once it is no longer for them to do. Runs until it is
    /// dropped, for as long as the attempt does.
    pub async fn hold(&self, job: &Job, taken_back: &CancellationToken) {
        match self {
            // Nobody else could do it: what this process began and did not end is found when it starts again.
            Self::Local(_) => std::future::pending().await,
            Self::Shared(jobs) => jobs.hold(job, taken_back).await,
        }
    }

    /// Ends an attempt at `job`, with its result if it is done. An attempt at a job that was taken back meanwhile changes nothing.
    /// Redis is asked until it answers, or `stop` is told.
    ///
    /// # Errors
    /// It cannot be written. Then the job is found running: by the next start, or in Redis by whoever looks when its lease is over.
    pub async fn finish(
        &self,
        job: &Job,
        outcome: Outcome,
        result: Option<Vec<u8>>,
        stop: &CancellationToken,
    ) -> Result<Option<Job>, JobsError> {
        match self {
            Self::Local(jobs) => Ok(jobs.finish(job, outcome, result).await?),
            Self::Shared(jobs) => jobs.finish(job, outcome, result, stop).await,
        }
    }
}
