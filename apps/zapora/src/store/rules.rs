//! The rules in force.

use std::sync::{Arc, Mutex, PoisonError};

use sqlx::Row;
use tokio::time::{Duration, Instant};

use super::{Reader, Result, Store, StoreError, micros};
use crate::engine::Rules;

/// How long rules are used before the database is asked whether there are newer ones: a change made through another replica of the
/// service takes effect here within this time.
const FRESH: Duration = Duration::from_secs(2);

/// Rules and the number of the change that made them; 0 is the built-in ones.
#[derive(Clone, Debug)]
pub struct InForce {
    /// The rules.
    pub rules: Arc<Rules>,
    /// Rises with each change.
    pub version: i64,
}

/// The rules as last read.
#[derive(Debug, Default)]
pub(super) struct Cache(Mutex<Option<(Instant, InForce)>>);

impl Cache {
    fn set(&self, in_force: Option<InForce>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = in_force.map(|in_force| (Instant::now(), in_force));
    }

    fn get(&self) -> Option<(Instant, InForce)> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Store {
    /// The rules in force: those of the database, or the built-in ones where none were ever set.
    ///
    /// # Errors
    /// The database's.
    pub async fn rules(&self) -> Result<InForce> {
        let cached = self.rules_cache().get();
        if let Some((read, in_force)) = &cached
            && read.elapsed() < FRESH
        {
            return Ok(in_force.clone());
        }
        let row = self
            .bounded("read the rules", async {
                let mut connection = self.reading(Reader::Newest).await?;
                let row = sqlx::query("SELECT document, version FROM rules WHERE id = 1")
                    .fetch_optional(&mut *connection)
                    .await?;
                row.map(|row| Ok((row.try_get::<String, _>("document")?, row.try_get::<i64, _>("version")?)))
                    .transpose()
            })
            .await?;
        let version = row.as_ref().map_or(0, |(_, version)| *version);
        let in_force = match (cached, row) {
            (Some((_, known)), _) if known.version == version => known,
            (_, None) => InForce { rules: Arc::default(), version },
            (_, Some((document, version))) => {
                let rules = Rules::parse(&document).map_err(|e| StoreError::Failed {
                    operation: "read the rules",
                    source: sqlx::Error::Decode(Box::new(e)),
                })?;
                InForce { rules: Arc::new(rules), version }
            }
        };
        self.rules_cache().set(Some(in_force.clone()));
        Ok(in_force)
    }

    /// Replaces the rules, which [`Rules::check`] has found good, if their version is still `expected`; otherwise `None`.
    ///
    /// # Errors
    /// The database's.
    pub async fn set_rules(&self, rules: &Rules, expected: i64, by: &str, now: jiff::Timestamp) -> Result<Option<i64>> {
        let version = self
            .bounded("set the rules", async {
                let document = serde_json::to_string(rules).map_err(|e| sqlx::Error::Encode(Box::new(e)))?;
                let mut connection = self.writing().await?;
                let row = sqlx::query(
                    "INSERT INTO rules (id, document, version, updated_at, updated_by) \
                     SELECT 1, $1, $2 + 1, $3, $4 WHERE $2 = COALESCE((SELECT version FROM rules WHERE id = 1), 0) \
                     ON CONFLICT (id) DO UPDATE SET document = excluded.document, version = excluded.version, \
                     updated_at = excluded.updated_at, updated_by = excluded.updated_by WHERE rules.version = $2 RETURNING version",
                )
                .bind(document)
                .bind(expected)
                .bind(micros(now))
                .bind(by)
                .fetch_optional(&mut *connection)
                .await?;
                row.map(|row| row.try_get("version")).transpose()
            })
            .await?;
        self.rules_cache().set(None);
        Ok(version)
    }
}
