//! A job and what can become of it: pure, the time is a parameter.

use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

/// Where a job stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// It waits for a worker, or for its next attempt.
    Queued,
    /// A worker is at it.
    Running,
    /// Its result is there.
    Succeeded,
    /// It was tried often enough, or cannot succeed: a dead letter, until somebody has it tried again.
    Failed,
    /// Somebody took it back.
    Cancelled,
}

impl State {
    /// As records, metrics and logs have it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Running => "running",
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
        }
    }

    /// Whether nothing more comes by itself.
    pub fn is_final(self) -> bool {
        matches!(self, Self::Succeeded | Self::Failed | Self::Cancelled)
    }
}

/// A long task, without what it is about and what came of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Job {
    /// Its name, in the order of creation.
    pub id: Uuid,
    /// Where it stands.
    pub state: State,
    /// The API key that it belongs to; empty where none is asked for.
    pub owner: String,
    /// How many facts are to be decided.
    pub items: usize,
    /// How many times it was begun.
    pub attempts: u32,
    /// When it was accepted.
    pub created_at: Timestamp,
    /// When its state changed last.
    pub updated_at: Timestamp,
    /// Not to be begun before.
    pub due_at: Timestamp,
    /// What went wrong last.
    pub error: Option<String>,
    /// The client's `Idempotency-Key`, and a digest of what it was sent with.
    pub key: Option<(String, String)>,
    /// The trace of the request that made it.
    pub trace_id: Option<String>,
}

/// How one attempt ended.
#[derive(Clone, Debug, PartialEq)]
pub enum Outcome {
    /// It is done.
    Done,
    /// It failed in a way that may pass.
    Again(String),
    /// It failed, and would fail again.
    Hopeless(String),
    /// The service is stopping; the attempt does not count.
    Interrupted,
}

/// How often and how soon jobs are tried.
#[derive(Clone, Copy, Debug)]
pub struct Retries {
    /// Attempts in all.
    pub attempts: u32,
    /// Before the second; doubled each time.
    pub first: Duration,
    /// The longest wait.
    pub longest: Duration,
}

impl Retries {
    /// How long to wait after so many attempts; `random` is any number. Half is waited for sure, the other half is drawn.
    pub fn wait(&self, attempts: u32, random: u64) -> Duration {
        let ceiling = self.first.saturating_mul(1 << attempts.saturating_sub(1).min(20)).min(self.longest);
        ceiling / 2 + (ceiling / 2).mul_f64((random % 1024) as f64 / 1024.0)
    }
}

impl Job {
    /// The job with an attempt begun.
    pub fn begun(&self, now: Timestamp) -> Self {
        Self { state: State::Running, attempts: self.attempts + 1, updated_at: now, error: None, ..self.clone() }
    }

    /// The job after an attempt.
    pub fn after(&self, outcome: Outcome, retries: &Retries, random: u64, now: Timestamp) -> Self {
        let next = Self { updated_at: now, ..self.clone() };
        match outcome {
            Outcome::Done => Self { state: State::Succeeded, ..next },
            Outcome::Again(error) if self.attempts < retries.attempts => Self {
                state: State::Queued,
                error: Some(error),
                due_at: now.checked_add(retries.wait(self.attempts, random)).unwrap_or(now),
                ..next
            },
            Outcome::Again(error) | Outcome::Hopeless(error) => {
                Self { state: State::Failed, error: Some(error), ..next }
            }
            Outcome::Interrupted => {
                Self { state: State::Queued, attempts: self.attempts.saturating_sub(1), due_at: now, ..next }
            }
        }
    }

    /// The job as it is found when whoever was at it is gone (the last start of the service, or in Redis a worker whose lease is over):
    /// it waits again, and a job that has been begun as often as it may (it may be what ends the service) is a dead letter.
    pub fn found(&self, retries: &Retries, now: Timestamp) -> Self {
        if self.state != State::Running {
            return self.clone();
        }
        let error = "the service ended while it ran".to_owned();
        self.after(Outcome::Again(error), retries, 0, now)
    }

    /// The job taken back; `None` if it is over already.
    pub fn cancelled(&self, now: Timestamp) -> Option<Self> {
        (!self.state.is_final()).then(|| Self { state: State::Cancelled, updated_at: now, ..self.clone() })
    }

    /// The dead letter to be tried afresh; `None` if it is none.
    pub fn revived(&self, now: Timestamp) -> Option<Self> {
        (self.state == State::Failed).then(|| Self {
            state: State::Queued,
            attempts: 0,
            updated_at: now,
            due_at: now,
            ..self.clone()
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RETRIES: Retries = Retries { attempts: 3, first: Duration::from_secs(1), longest: Duration::from_secs(60) };

    fn now() -> Timestamp {
        "2026-01-02T03:04:05Z".parse().unwrap()
    }

    fn job() -> Job {
        Job {
            id: Uuid::nil(),
            state: State::Queued,
            owner: String::new(),
            items: 1,
            attempts: 0,
            created_at: now(),
            updated_at: now(),
            due_at: now(),
            error: None,
            key: None,
            trace_id: None,
        }
    }

    #[test]
    fn a_job_that_keeps_failing_is_tried_later_each_time_and_then_dead() {
        let mut job = job();
        let mut waits = Vec::new();
        for _ in 0..2 {
            job = job.begun(now()).after(Outcome::Again("no".to_owned()), &RETRIES, 0, now());
            assert_eq!(job.state, State::Queued);
            waits.push(job.due_at.duration_since(now()).as_millis());
        }
        assert_eq!(waits, [500, 1000]);
        job = job.begun(now()).after(Outcome::Again("no".to_owned()), &RETRIES, 0, now());
        assert_eq!((job.state, job.error.as_deref()), (State::Failed, Some("no")));
        let revived = job.revived(now()).unwrap();
        assert_eq!((revived.state, revived.attempts), (State::Queued, 0));
    }

    #[test]
    fn what_cannot_succeed_is_dead_at_once() {
        assert_eq!(
            job().begun(now()).after(Outcome::Hopeless("no".to_owned()), &RETRIES, 0, now()).state,
            State::Failed
        );
    }

    #[test]
    fn a_job_that_ends_the_service_each_time_is_dead_in_the_end() {
        let mut job = job();
        for _ in 0..3 {
            assert_eq!(job.state, State::Queued);
            job = job.begun(now()).found(&RETRIES, now());
        }
        assert_eq!(job.state, State::Failed);
    }

    #[test]
    fn an_interruption_is_no_attempt() {
        let job = job().begun(now()).after(Outcome::Interrupted, &RETRIES, 0, now());
        assert_eq!((job.state, job.attempts), (State::Queued, 0));
    }

    #[test]
    fn only_what_is_not_over_can_be_taken_back() {
        assert!(job().cancelled(now()).is_some() && job().begun(now()).cancelled(now()).is_some());
        assert!(job().cancelled(now()).unwrap().cancelled(now()).is_none());
        assert!(job().revived(now()).is_none());
    }

    #[test]
    fn waits_have_a_longest() {
        assert!(RETRIES.wait(500, u64::MAX) <= RETRIES.longest);
    }
}
