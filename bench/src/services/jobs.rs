//! The queue: jobs through Redis alone, and all the way from the outbox through Redis and a worker to their end in PostgreSQL.

use std::{
    collections::HashMap,
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, ensure};
use service::config::Secret;
use testkit::databases::{Postgres, Redis};
use tokio::task::JoinSet;
use zapora::{
    queue::{self, Queue, RedisSettings},
    store::jobs::BATCH,
};

use super::sides::Side;
use crate::machine;

/// How long all jobs may take.
const PATIENCE: Duration = Duration::from_secs(120);
/// Who takes jobs from the queue alone, and how many at once.
const TAKERS: usize = 4;

/// What became of jobs.
pub struct Outcome {
    /// Jobs a second.
    pub rate: f64,
    /// Jobs that never came.
    pub lost: u64,
    /// Jobs that came once more than they should have.
    pub doubled: u64,
}

/// Puts jobs into zapora's queue in Redis, takes and settles them.
///
/// # Errors
/// Redis is at fault.
pub fn queue_alone(redis: &Redis, jobs: u64) -> anyhow::Result<Outcome> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    runtime.block_on(async {
        let settings = RedisSettings { key: "bench:jobs".to_owned(), ..RedisSettings::default() };
        let queue = Arc::new(queue::Redis::new(&Secret::new(redis.url()), settings)?);
        let began = Instant::now();
        let mut takers = JoinSet::new();
        for _ in 0..TAKERS {
            takers.spawn(take_all(queue.clone()));
        }
        let ids: Vec<String> = (0..jobs).map(|number| number.to_string()).collect();
        for batch in ids.chunks(BATCH) {
            queue.push(batch).await?;
        }
        let mut taken: HashMap<String, u64> = HashMap::new();
        for _ in 0..TAKERS {
            // One at a time, because a taker may take several at once.
            queue.push(&[STOP.to_owned()]).await?;
            for job in takers.join_next().await.context("a taker is missing")??? {
                *taken.entry(job).or_default() += 1;
            }
        }
        let rate = jobs as f64 / began.elapsed().as_secs_f64();
        let lost = jobs.saturating_sub(taken.len() as u64);
        Ok(Outcome { rate, lost, doubled: taken.values().map(|times| times - 1).sum() })
    })
}

const STOP: &str = "stop";

async fn take_all(queue: Arc<queue::Redis>) -> anyhow::Result<Vec<String>> {
    let mut all = Vec::new();
    loop {
        let taken = queue.take(128).await?;
        queue.settle(&taken).await?;
        let last = taken.iter().any(|delivery| delivery.job == STOP);
        all.extend(taken.into_iter().map(|delivery| delivery.job).filter(|job| job != STOP));
        if last {
            return Ok(all);
        }
    }
}

/// Writes jobs into the outbox of a zapora that runs, and waits until all are done: how many a second between the first and the last
/// that was, and the CPU time that the service used for each. They are of the kind that needs nothing done (voiding a payment that
/// the built-in provider never took), so that it is the way that is measured.
///
/// # Errors
/// They are not done in time.
pub fn through_the_outbox(side: &Side, postgres: &Postgres, jobs: u64) -> anyhow::Result<(Outcome, Duration)> {
    let payload = r#"{"kind": "void_payment", "order": "none"}"#;
    let before = machine::cpu(&side.processes())?;
    postgres.query(&format!(
        "INSERT INTO jobs (id, kind, payload, state, run_at, created_at, updated_at) \
         SELECT 'bench-' || n, 'void_payment', '{payload}', 'ready', 0, 0, 0 FROM generate_series(1, {jobs}) AS n"
    ))?;
    let began = Instant::now();
    // Whoever waits is not to keep PostgreSQL busy: the first that is found will do.
    while postgres.query("SELECT 1 FROM jobs WHERE state = 'ready' AND id LIKE 'bench-%' LIMIT 1")? == "1" {
        ensure!(began.elapsed() < PATIENCE, "jobs are still to be done after {PATIENCE:?}");
        thread::sleep(Duration::from_millis(250));
    }
    let used = machine::cpu(&side.processes())? - before;
    // A job that was begun twice was delivered twice.
    let counted = postgres.query(
        "SELECT count(*) FILTER (WHERE state = 'done'), sum(attempts), max(updated_at) - min(updated_at) \
         FROM jobs WHERE id LIKE 'bench-%'",
    )?;
    postgres.query("DELETE FROM jobs WHERE id LIKE 'bench-%'")?;
    let figures: Result<Vec<u64>, _> = counted.split('|').map(str::parse).collect();
    let [done, attempts, micros] = figures?[..] else { anyhow::bail!("PostgreSQL counts {counted:?}") };
    let rate = jobs as f64 / (micros as f64 / 1e6);
    let outcome = Outcome { rate, lost: jobs - done, doubled: attempts.saturating_sub(jobs) };
    Ok((outcome, used / u32::try_from(jobs).unwrap_or(u32::MAX)))
}
