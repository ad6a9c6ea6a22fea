//! The outbox: what is still to be done, and what could not be.
//!
//! A job is written in the transaction that needs it and is ready until it is done or dead. [`Store::claim_jobs`] hides a job for a
//! while and hands its id to a queue; should the queue lose it, it shows again. So a job is done at least once, and what a job
//! does must have one effect however often it is done.
//!
//! A claim is good for one beginning. A queue may deliver a job twice, and under a backlog it will: what has waited in it for longer
//! than it was hidden is claimed again. Were each delivery a beginning, a job would be done by two workers at once, and one that was
//! put off would be tried again before its time, until its attempts are used up within moments of a provider's failing. `hidden_until`
//! tells: a claim sets it, and whoever begins the job or puts it off sets it to 0 and says in `run_at` when it is due next.

use std::time::Duration;

use jiff::Timestamp;
use sqlx::{Any, AssertSqlSafe, FromRow, Row, Transaction, any::AnyRow};

use super::{Reader, Result, Store, micros, new_id, placeholders, sql::Sql, timestamp};
use crate::jobs::Task;

/// The most jobs that one statement speaks of.
pub const BATCH: usize = 256;

/// The most rows that are forgotten at once.
const FORGOTTEN: i64 = 1000;

/// When a job is due or shows again, as the index `jobs_due` has it, to the letter.
const DUE: &str = "(CASE WHEN run_at > hidden_until THEN run_at ELSE hidden_until END)";

/// A job that a worker is to do now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Job {
    /// A UUIDv7.
    pub id: String,
    /// What it is, for metrics and logs.
    pub kind: String,
    /// A [`Task`] as JSON.
    pub payload: String,
    /// How often it was begun since it was written or last requeued, this time included.
    pub attempts: i64,
    /// How often it was begun before it was last requeued.
    pub earlier: i64,
}

/// A job that failed for good.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeadJob {
    /// A UUIDv7.
    pub id: String,
    /// What it is.
    pub kind: String,
    /// A [`Task`] as JSON.
    pub payload: String,
    /// How often it was tried in all.
    pub attempts: i64,
    /// Why the last attempt failed.
    pub last_error: String,
    /// When it was written.
    pub created_at: Timestamp,
    /// When it was given up.
    pub updated_at: Timestamp,
}

impl FromRow<'_, AnyRow> for Job {
    fn from_row(row: &AnyRow) -> std::result::Result<Self, sqlx::Error> {
        Ok(Self {
            id: row.try_get("id")?,
            kind: row.try_get("kind")?,
            payload: row.try_get("payload")?,
            attempts: row.try_get("attempts")?,
            earlier: row.try_get("earlier_attempts")?,
        })
    }
}

impl FromRow<'_, AnyRow> for DeadJob {
    fn from_row(row: &AnyRow) -> std::result::Result<Self, sqlx::Error> {
        Ok(Self {
            id: row.try_get("id")?,
            kind: row.try_get("kind")?,
            payload: row.try_get("payload")?,
            attempts: row.try_get("attempts")?,
            last_error: row.try_get::<Option<String>, _>("last_error")?.unwrap_or_default(),
            created_at: timestamp(row.try_get("created_at")?),
            updated_at: timestamp(row.try_get("updated_at")?),
        })
    }
}

/// Writes jobs in the transaction that needs them done.
pub(crate) async fn enqueue(
    transaction: &mut Transaction<'_, Any>,
    tasks: &[Task],
    now: Timestamp,
) -> std::result::Result<(), sqlx::Error> {
    for task in tasks {
        let payload = serde_json::to_string(task).map_err(|e| sqlx::Error::Encode(Box::new(e)))?;
        sqlx::query(
            "INSERT INTO jobs (id, kind, once, payload, state, run_at, created_at, updated_at) \
             VALUES ($1, $2, $3, $4, 'ready', $5, $5, $5) ON CONFLICT (once) DO NOTHING",
        )
        .bind(new_id())
        .bind(task.kind())
        .bind(task.once())
        .bind(payload)
        .bind(micros(now))
        .execute(&mut **transaction)
        .await?;
    }
    Ok(())
}

/// A statement over a list of ids, which begin at `$first`.
fn over(ids: &[String], first: usize, text: impl Fn(&str) -> String) -> AssertSqlSafe<String> {
    AssertSqlSafe(text(&placeholders(first, ids.len())))
}

/// What jobs of known ids must still be. Said so, the index of all that is ready does not offer itself, which PostgreSQL takes for
/// small as long as it has no statistics of a backlog, and would read through for every batch.
const OPEN: &str = "state NOT IN ('done', 'dead')";

/// How the statements over many jobs are run: planned each time, not kept prepared. PostgreSQL goes on using a plan that it made when
/// the table was empty, and reads all of it for every batch when there are fifty thousand; and lists of every length would push
/// all other statements out of what a connection keeps.
const KEPT: bool = false;

impl Store {
    /// Writes jobs that no other change needs. One that may exist once only is left as it is.
    ///
    /// # Errors
    /// The database's.
    pub async fn enqueue(&self, tasks: &[Task], now: Timestamp) -> Result<()> {
        self.retried("write a job", || async move {
            let mut transaction = self.begin().await?;
            enqueue(&mut transaction, tasks, now).await?;
            transaction.commit().await
        })
        .await?;
        self.enqueued().notify_one();
        Ok(())
    }

    /// Takes up to `most` (at most [`BATCH`]) jobs that are due, oldest first, and hides them for `hide`: their ids.
    ///
    /// # Errors
    /// The database's.
    pub async fn claim_jobs(&self, most: usize, hide: Duration, now: Timestamp) -> Result<Vec<String>> {
        let text = format!(
            "UPDATE jobs SET hidden_until = $1 WHERE id IN (SELECT id FROM jobs WHERE state = 'ready' AND {DUE} <= $2 \
             ORDER BY {DUE}, id LIMIT $3 {}) RETURNING id",
            self.dialect().skip_locked()
        );
        self.bounded("claim jobs", async {
            let mut connection = self.writing().await?;
            let rows = sqlx::query(AssertSqlSafe(text))
                .persistent(KEPT)
                .bind(micros(now).saturating_add(hide.as_micros() as i64))
                .bind(micros(now))
                .bind(most.min(BATCH) as i64)
                .fetch_all(&mut *connection)
                .await?;
            rows.iter().map(|row| row.try_get("id")).collect()
        })
        .await
    }

    /// When the next job is due or shows again; `None` when there is none.
    ///
    /// # Errors
    /// The database's.
    pub async fn next_job_at(&self) -> Result<Option<Timestamp>> {
        self.bounded("look for the next job", async {
            let mut connection = self.reading(Reader::Newest).await?;
            let text = format!("SELECT MIN({DUE}) AS at FROM jobs WHERE state = 'ready'");
            let row = sqlx::query(AssertSqlSafe(text)).fetch_one(&mut *connection).await?;
            Ok(row.try_get::<Option<i64>, _>("at")?.map(timestamp))
        })
        .await
    }

    /// Counts an attempt at each of these jobs and hides it for `lease`: those that are still to be done, and were claimed since they
    /// were last begun or put off.
    ///
    /// # Errors
    /// The database's.
    pub async fn begin_jobs(&self, ids: &[String], lease: Duration, now: Timestamp) -> Result<Vec<Job>> {
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        self.retried("begin jobs", || async move {
            let mut connection = self.writing().await?;
            let text = over(ids, 2, |list| {
                format!(
                    "UPDATE jobs SET attempts = attempts + 1, run_at = $1, hidden_until = 0 \
                     WHERE {OPEN} AND hidden_until > 0 AND id IN ({list}) RETURNING id, kind, payload, attempts, earlier_attempts"
                )
            });
            let mut query =
                sqlx::query_as(text).persistent(KEPT).bind(micros(now).saturating_add(lease.as_micros() as i64));
            for id in ids {
                query = query.bind(id.clone());
            }
            query.fetch_all(&mut *connection).await
        })
        .await
    }

    /// These jobs are done.
    ///
    /// # Errors
    /// The database's.
    pub async fn finish_jobs(&self, ids: &[String], now: Timestamp) -> Result<()> {
        if ids.is_empty() {
            return Ok(());
        }
        self.retried("finish jobs", || async move {
            let mut connection = self.writing().await?;
            let text = over(ids, 2, |list| {
                format!("UPDATE jobs SET state = 'done', updated_at = $1 WHERE {OPEN} AND id IN ({list})")
            });
            let mut query = sqlx::query(text).persistent(KEPT).bind(micros(now));
            for id in ids {
                query = query.bind(id.clone());
            }
            query.execute(&mut *connection).await.map(|_| ())
        })
        .await
    }

    /// An attempt failed: it is tried again at `again`, or given up.
    ///
    /// # Errors
    /// The database's.
    pub async fn fail_job(&self, id: &str, error: &str, again: Option<Timestamp>, now: Timestamp) -> Result<()> {
        self.bounded("put a failed job off", async {
            let mut connection = self.writing().await?;
            sqlx::query(
                "UPDATE jobs SET state = $1, last_error = $2, run_at = $3, hidden_until = 0, updated_at = $4 \
                 WHERE id = $5 AND state = 'ready'",
            )
            .bind(if again.is_some() { "ready" } else { "dead" })
            .bind(error)
            .bind(micros(again.unwrap_or(now)))
            .bind(micros(now))
            .bind(id)
            .execute(&mut *connection)
            .await
            .map(|_| ())
        })
        .await
    }

    /// Jobs that were given up, newest first, older than the one of the id `before`.
    ///
    /// # Errors
    /// The database's.
    pub async fn dead_jobs(&self, before: Option<&str>, limit: i64) -> Result<Vec<DeadJob>> {
        self.bounded("list dead jobs", async {
            let mut connection = self.reading(Reader::Newest).await?;
            let mut sql = Sql::new(
                "SELECT id, kind, payload, attempts + earlier_attempts AS attempts, last_error, created_at, updated_at FROM jobs \
                 WHERE state = 'dead'",
            );
            if let Some(before) = before {
                sql.push(" AND id < ").bind(before.to_owned());
            }
            sql.push(" ORDER BY id DESC LIMIT ").bind(limit);
            sql.query()?.fetch_all(&mut *connection).await?.iter().map(DeadJob::from_row).collect()
        })
        .await
    }

    /// Gives a dead job another series of attempts, as many and as far apart as the first; false when there is no such dead job. It
    /// stays known how often it was tried before.
    ///
    /// # Errors
    /// The database's.
    pub async fn requeue_job(&self, id: &str, now: Timestamp) -> Result<bool> {
        let requeued = self
            .bounded("requeue a dead job", async {
                let mut connection = self.writing().await?;
                sqlx::query(
                    "UPDATE jobs SET state = 'ready', earlier_attempts = earlier_attempts + attempts, attempts = 0, run_at = $1, \
                     hidden_until = 0, updated_at = $1 WHERE id = $2 AND state = 'dead'",
                )
                .bind(micros(now))
                .bind(id)
                .execute(&mut *connection)
                .await
            })
            .await?
            .rows_affected();
        self.enqueued().notify_one();
        Ok(requeued == 1)
    }

    /// How many jobs are in each state: ready, dead.
    ///
    /// # Errors
    /// The database's.
    pub async fn count_jobs(&self) -> Result<(i64, i64)> {
        self.bounded("count jobs", async {
            let mut connection = self.reading(Reader::Newest).await?;
            let row = sqlx::query(
                "SELECT (SELECT COUNT(*) FROM jobs WHERE state = 'ready') AS ready, \
                 (SELECT COUNT(*) FROM jobs WHERE state = 'dead') AS dead",
            )
            .fetch_one(&mut *connection)
            .await?;
            Ok((row.try_get("ready")?, row.try_get("dead")?))
        })
        .await
    }

    /// Forgets done jobs and idempotency keys from before these moments.
    ///
    /// # Errors
    /// The database's.
    pub async fn forget_before(&self, jobs: Timestamp, keys: Timestamp) -> Result<()> {
        for (text, before) in [
            (
                "DELETE FROM jobs WHERE id IN (SELECT id FROM jobs WHERE state = 'done' AND updated_at < $1 LIMIT $2)",
                jobs,
            ),
            (
                "DELETE FROM idempotency_keys WHERE (user_id, key) IN \
                 (SELECT user_id, key FROM idempotency_keys WHERE created_at < $1 LIMIT $2)",
                keys,
            ),
        ] {
            // Some at a time: all at once may take longer than a statement may and never succeed, and keeps writers waiting meanwhile.
            loop {
                let gone = self.bounded("forget what is old", async {
                    let mut connection = self.writing().await?;
                    let query = sqlx::query(text).bind(micros(before)).bind(FORGOTTEN);
                    query.execute(&mut *connection).await.map(|done| done.rows_affected())
                });
                if gone.await? < FORGOTTEN.unsigned_abs() {
                    break;
                }
            }
        }
        Ok(())
    }
}
