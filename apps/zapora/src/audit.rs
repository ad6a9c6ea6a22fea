//! Who did what to what: on the audit stream always, and in the database for what admins may look up later.

use std::net::IpAddr;

use jiff::Timestamp;
use service::audit::{Audit, Outcome};
use sqlx::{Row, any::AnyRow};

use crate::store::{Reader, Result, Store, micros, new_id, sql::Sql, timestamp};

/// An entry that is being written.
#[derive(Clone, Copy, Debug)]
pub struct Entry<'a>(Audit<'a>);

impl<'a> Entry<'a> {
    /// Somebody did `action` (as `noun.verb`) to `object`.
    pub fn new(action: &'a str, object: &'a str) -> Self {
        Self(Audit { actor: "anonymous", action, object, outcome: Outcome::Allowed, reason: None, client: None })
    }

    /// It was this account.
    #[must_use]
    pub fn by(mut self, actor: &'a str) -> Self {
        self.0.actor = actor;
        self
    }

    /// From this address.
    #[must_use]
    pub fn from(mut self, client: IpAddr) -> Self {
        self.0.client = Some(client);
        self
    }

    /// What else a reader needs to know.
    #[must_use]
    pub fn because(mut self, reason: &'a str) -> Self {
        self.0.reason = Some(reason);
        self
    }

    /// It was refused, for this reason.
    #[must_use]
    pub fn denied(mut self, reason: &'a str) -> Self {
        self.0.outcome = Outcome::Denied;
        self.because(reason)
    }

    /// On the stream only: what strangers can cause in any number does not fill the database.
    pub fn log(&self) {
        service::audit::record(&self.0);
    }

    /// On the stream and in the database. What the database does not take is logged as an error, and is on the stream all the same:
    /// the deed itself has been done.
    pub async fn keep(&self, store: &Store) {
        self.log();
        let Audit { actor, action, object, outcome, reason, .. } = self.0;
        let outcome = match outcome {
            Outcome::Allowed => "allowed",
            Outcome::Denied => "denied",
            Outcome::Failed => "failed",
        };
        let kept = store
            .bounded("keep an audit entry", async {
                let sql = "INSERT INTO audit_log (id, at, actor, action, object, outcome, detail) VALUES ($1, $2, $3, $4, $5, $6, $7)";
                let query = sqlx::query(sql)
                    .bind(new_id())
                    .bind(micros(Timestamp::now()))
                    .bind(actor)
                    .bind(action)
                    .bind(object)
                    .bind(outcome)
                    .bind(reason.unwrap_or_default());
                query.execute(&mut *store.writing().await?).await.map(drop)
            })
            .await;
        if let Err(error) = kept {
            tracing::error!(%error, action, object, "an audit entry is on the stream only");
        }
    }
}

/// An entry as it was kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kept {
    /// Its id, a UUIDv7.
    pub id: String,
    /// When it was.
    pub at: Timestamp,
    /// Who did it.
    pub actor: String,
    /// What was done.
    pub action: String,
    /// To what.
    pub object: String,
    /// `allowed`, `denied` or `failed`.
    pub outcome: String,
    /// What else is known; may be empty.
    pub detail: String,
}

fn kept(row: &AnyRow) -> std::result::Result<Kept, sqlx::Error> {
    Ok(Kept {
        id: row.try_get("id")?,
        at: timestamp(row.try_get("at")?),
        actor: row.try_get("actor")?,
        action: row.try_get("action")?,
        object: row.try_get("object")?,
        outcome: row.try_get("outcome")?,
        detail: row.try_get("detail")?,
    })
}

/// Entries, the newest first, of one account if `actor` is given, before the entry `before` if that is.
///
/// # Errors
/// The database's.
pub async fn list(store: &Store, actor: Option<&str>, before: Option<&str>, limit: i64) -> Result<Vec<Kept>> {
    store
        .bounded("list audit entries", async {
            let mut sql = Sql::new("SELECT id, at, actor, action, object, outcome, detail FROM audit_log WHERE 1 = 1");
            if let Some(actor) = actor {
                sql.push(" AND actor = ").bind(actor.to_owned());
            }
            if let Some(before) = before {
                sql.push(" AND id < ").bind(before.to_owned());
            }
            sql.push(" ORDER BY id DESC LIMIT ").bind(limit);
            let rows = sql.query()?.fetch_all(&mut *store.reading(Reader::Newest).await?).await?;
            rows.iter().map(kept).collect()
        })
        .await
}
