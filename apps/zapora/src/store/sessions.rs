//! Sessions and the refresh tokens that prolong them.

use jiff::Timestamp;
use sqlx::Row;

use super::{Reader, Result, Store, micros};

/// A session that begins.
#[derive(Clone, Copy, Debug)]
pub struct NewSession<'a> {
    /// Its id.
    pub id: &'a str,
    /// Whose it is.
    pub user: &'a str,
    /// By what its owner may recognise it.
    pub client: &'a str,
    /// The SHA-256 of its first refresh token.
    pub refresh: &'a str,
    /// When it ends, however often it is prolonged.
    pub expires_at: Timestamp,
}

/// Begins a session, and ends the oldest of its user's when that makes more than `most`. What has expired of that user's is
/// deleted, so that the tables do not grow with every login.
///
/// # Errors
/// The database's.
pub async fn begin(store: &Store, new: NewSession<'_>, most: i64, now: Timestamp) -> Result<()> {
    store
        .bounded("begin a session", async {
            let mut transaction = store.begin().await?;
            let gone = "SELECT id FROM sessions WHERE user_id = $1 AND (expires_at <= $2 OR revoked_at IS NOT NULL OR id NOT IN \
                        (SELECT id FROM sessions WHERE user_id = $1 ORDER BY created_at DESC, id DESC LIMIT $3))";
            let gone: Vec<String> = sqlx::query(gone)
                .bind(new.user)
                .bind(micros(now))
                .bind(most - 1)
                .fetch_all(&mut *transaction)
                .await?
                .iter()
                .map(|row| row.try_get("id"))
                .collect::<std::result::Result<_, _>>()?;
            for id in gone {
                sqlx::query("DELETE FROM refresh_tokens WHERE session_id = $1").bind(&id).execute(&mut *transaction).await?;
                sqlx::query("DELETE FROM sessions WHERE id = $1").bind(&id).execute(&mut *transaction).await?;
            }
            let sql = "INSERT INTO sessions (id, user_id, client, created_at, expires_at) VALUES ($1, $2, $3, $4, $5)";
            sqlx::query(sql)
                .bind(new.id)
                .bind(new.user)
                .bind(new.client)
                .bind(micros(now))
                .bind(micros(new.expires_at))
                .execute(&mut *transaction)
                .await?;
            let sql = "INSERT INTO refresh_tokens (hash, session_id, issued_at, expires_at) VALUES ($1, $2, $3, $4)";
            sqlx::query(sql)
                .bind(new.refresh)
                .bind(new.id)
                .bind(micros(now))
                .bind(micros(new.expires_at))
                .execute(&mut *transaction)
                .await?;
            transaction.commit().await
        })
        .await
}

/// Whose session this is, if it is still on.
///
/// # Errors
/// The database's.
pub async fn user_of(store: &Store, id: &str, now: Timestamp) -> Result<Option<String>> {
    store
        .bounded("find a session", async {
            let sql = "SELECT user_id FROM sessions WHERE id = $1 AND revoked_at IS NULL AND expires_at > $2";
            // The newest: a session that was ended must not live on in a replica.
            let query = sqlx::query(sql).bind(id).bind(micros(now));
            let row = query.fetch_optional(&mut *store.reading(Reader::Newest).await?).await?;
            row.map(|row| row.try_get("user_id")).transpose()
        })
        .await
}

/// Puts `new` in the place of the refresh token `old`, if that is the session's current one. Of several who try with the same,
/// one succeeds.
///
/// # Errors
/// The database's.
pub async fn rotate(store: &Store, id: &str, old: &str, new: &str, now: Timestamp) -> Result<bool> {
    store
        .bounded("prolong a session", async {
            let sql = "UPDATE refresh_tokens SET hash = $1, issued_at = $2 WHERE session_id = $3 AND hash = $4 AND expires_at > $2 \
                       AND EXISTS (SELECT 1 FROM sessions WHERE id = $3 AND revoked_at IS NULL)";
            let query = sqlx::query(sql).bind(new).bind(micros(now)).bind(id).bind(old);
            Ok(query.execute(&mut *store.writing().await?).await?.rows_affected() == 1)
        })
        .await
}

/// Ends a session. Ending one that has ended changes nothing.
///
/// # Errors
/// The database's.
pub async fn end(store: &Store, id: &str, now: Timestamp) -> Result<()> {
    store
        .bounded("end a session", async {
            let query = sqlx::query("UPDATE sessions SET revoked_at = $2 WHERE id = $1 AND revoked_at IS NULL");
            query.bind(id).bind(micros(now)).execute(&mut *store.writing().await?).await.map(drop)
        })
        .await
}

/// Ends all sessions of a user but `except`.
///
/// # Errors
/// The database's.
pub async fn end_all(store: &Store, user: &str, except: Option<&str>, now: Timestamp) -> Result<()> {
    store
        .bounded("end the sessions of a user", async {
            let sql = "UPDATE sessions SET revoked_at = $3 WHERE user_id = $1 AND id <> $2 AND revoked_at IS NULL";
            let query = sqlx::query(sql).bind(user).bind(except.unwrap_or_default()).bind(micros(now));
            query.execute(&mut *store.writing().await?).await.map(drop)
        })
        .await
}
