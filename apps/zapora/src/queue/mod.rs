//! How jobs get from the outbox to workers: within this process, or through Redis to whichever replica has time.
//!
//! A queue carries ids, at least once. It may lose them (Redis may be killed and forget), because the outbox shows a job again that is
//! not done in time; so a queue is there to be quick, and the database to be sure.

use std::future::Future;

mod local;
mod redis;

pub use self::{
    local::Local,
    redis::{Redis, RedisSettings},
};

/// A job that came out of a queue and is not settled yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delivery {
    /// The job's id.
    pub job: String,
    /// What the queue itself knows this delivery by.
    pub receipt: String,
}

/// Why a queue did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum QueueError {
    /// It holds as much as it may.
    #[error("the queue is full")]
    Full,
    /// It does not answer.
    #[error("the queue does not answer")]
    Unavailable(#[source] ::redis::RedisError),
}

/// A queue of jobs.
pub trait Queue: Send + Sync {
    /// Adds jobs: all of them, or an error, after which some may be in the queue.
    ///
    /// # Errors
    /// It is full or away.
    fn push(&self, jobs: &[String]) -> impl Future<Output = Result<(), QueueError>> + Send;

    /// Waits for jobs and takes up to `most`. May come back with none. What is taken and not settled is delivered again, to anyone.
    ///
    /// # Errors
    /// It is away.
    fn take(&self, most: usize) -> impl Future<Output = Result<Vec<Delivery>, QueueError>> + Send;

    /// These deliveries need not be made again.
    ///
    /// # Errors
    /// It is away; then they may be made again.
    fn settle(&self, deliveries: &[Delivery]) -> impl Future<Output = Result<(), QueueError>> + Send;
}
