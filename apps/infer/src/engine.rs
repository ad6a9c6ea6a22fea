//! Deciding: facts completed from sources, rules asked, and long tasks worked off.

use std::{sync::Arc, time::Duration};

use prometheus::{Histogram, HistogramOpts, IntCounterVec, Opts, Registry};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use service::metrics::register;
use tokio_util::sync::CancellationToken;

use crate::{
    jobs::{Job, Outcome, Queue},
    rules::{Decision, Exhausted, Ruleset},
    sources::{Sources, Unavailable},
};

/// What a job is about.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Task {
    /// Whether the result is a list.
    pub batch: bool,
    /// Whether every rule tried is told.
    pub explain: bool,
    /// The facts to decide on.
    pub facts: Vec<Value>,
}

/// Why there is no decision.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Undecided {
    /// It may work later.
    #[error(transparent)]
    Unavailable(#[from] Unavailable),
    /// It will not.
    #[error(transparent)]
    Exhausted(#[from] Exhausted),
}

/// Decides.
pub struct Engine {
    /// By these rules.
    pub rules: Ruleset,
    sources: Sources,
    metrics: Metrics,
}

struct Metrics {
    decisions: IntCounterVec,
    matches: IntCounterVec,
    seconds: Histogram,
    jobs: IntCounterVec,
}

impl Metrics {
    fn new(registry: &Registry) -> prometheus::Result<Self> {
        let decisions = Opts::new("infer_decisions_total", "Decisions asked for, by what came of them");
        let matches = Opts::new("infer_rule_matches_total", "How often each rule matched");
        let seconds = HistogramOpts::new("infer_decision_seconds", "Time of one decision, with its sources")
            .buckets(vec![0.0001, 0.0005, 0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0]);
        let jobs = Opts::new("infer_jobs_total", "Attempts at jobs, by what became of the job");
        Ok(Self {
            decisions: register(registry, IntCounterVec::new(decisions, &["outcome"])?)?,
            matches: register(registry, IntCounterVec::new(matches, &["rule"])?)?,
            seconds: register(registry, Histogram::with_opts(seconds)?)?,
            jobs: register(registry, IntCounterVec::new(jobs, &["state"])?)?,
        })
    }
}

impl Engine {
    /// An engine for these rules.
    ///
    /// # Errors
    /// TLS cannot be set up, or a metric's name is taken.
    pub fn new(rules: Ruleset, registry: &Registry) -> Result<Self, service::StartError> {
        let sources = Sources::new(rules.sources.clone())?;
        Ok(Self { rules, sources, metrics: Metrics::new(registry)? })
    }

    /// Decides on facts that have passed the rules' schema.
    ///
    /// # Errors
    /// There is no decision.
    pub async fn decide(&self, facts: Value, explain: bool) -> Result<Decision, Undecided> {
        let timer = self.metrics.seconds.start_timer();
        let decided = async { Ok(self.rules.decide(&self.sources.complete(facts).await?, explain)?) }.await;
        timer.observe_duration();
        let outcome = match &decided {
            Ok(_) => "decided",
            Err(Undecided::Unavailable(_)) => "unavailable",
            Err(Undecided::Exhausted(_)) => "exhausted",
        };
        self.metrics.decisions.with_label_values(&[outcome]).inc();
        if let Ok(decision) = &decided {
            for rule in &decision.matched {
                self.metrics.matches.with_label_values(&[&rule.id]).inc();
            }
        }
        decided
    }

    async fn work(&self, queue: &Queue, job: &Job) -> (Outcome, Option<Vec<u8>>) {
        let task: Task = match queue.input(job.id).await {
            Err(e) => return (Outcome::Again(e.to_string()), None),
            Ok(bytes) => match serde_json::from_slice(&bytes.unwrap_or_default()) {
                Ok(task) => task,
                Err(e) => return (Outcome::Hopeless(format!("what it is about cannot be read: {e}")), None),
            },
        };
        let mut decisions = Vec::new();
        for facts in task.facts {
            // A restart may have brought other rules than those that the facts were checked against.
            if let Some((at, why)) = self.rules.check(&facts, 1).into_iter().next() {
                return (Outcome::Hopeless(format!("facts{at}: {why}")), None);
            }
            match self.decide(facts, task.explain).await {
                Ok(decision) => decisions.push(decision),
                Err(Undecided::Unavailable(e)) => return (Outcome::Again(e.to_string()), None),
                Err(Undecided::Exhausted(e)) => return (Outcome::Hopeless(e.to_string()), None),
            }
            // One thread serves everybody.
            tokio::task::yield_now().await;
        }
        let result = if task.batch {
            serde_json::to_vec(&serde_json::json!({"decisions": decisions}))
        } else {
            serde_json::to_vec(&decisions.pop())
        };
        match result {
            Ok(bytes) => (Outcome::Done, Some(bytes)),
            Err(e) => (Outcome::Hopeless(e.to_string()), None),
        }
    }
}

/// Works off the queue until it is told to stop; a job that is not done then waits for another replica, or the next start.
pub async fn work(engine: Arc<Engine>, queue: Queue, stop: CancellationToken) {
    loop {
        let (job, taken_back) = match queue.next(&stop).await {
            Ok(Some(next)) => next,
            Ok(None) => return,
            Err(error) => {
                tracing::warn!(%error, "the next job cannot be begun");
                tokio::select! {
                    () = stop.cancelled() => return,
                    () = tokio::time::sleep(Duration::from_secs(1)) => continue,
                }
            }
        };
        let (outcome, result) = tokio::select! {
            done = engine.work(&queue, &job) => done,
            () = queue.hold(&job, &taken_back) => (Outcome::Interrupted, None),
            () = taken_back.cancelled() => (Outcome::Interrupted, None),
            () = stop.cancelled() => (Outcome::Interrupted, None),
        };
        match queue.finish(&job, outcome, result, &stop).await {
            Ok(Some(job)) => {
                engine.metrics.jobs.with_label_values(&[job.state.name()]).inc();
                tracing::info!(job = %job.id, state = job.state.name(), attempts = job.attempts, error = job.error, trace_id = job.trace_id, "an attempt at a job is over");
            }
            Ok(None) => tracing::info!(job = %job.id, "a job was taken back"),
            Err(error) => tracing::error!(job = %job.id, %error, "what became of a job cannot be written"),
        }
    }
}
