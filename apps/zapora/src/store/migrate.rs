//! The schema's versions, forward only. All that are missing are applied in one transaction under one lock, so that several
//! replicas of the service may start at once and a migration that fails leaves nothing behind.

use sqlx::{Any, AssertSqlSafe, Row, Transaction};

use super::{Dialect, Result, Store, StoreError};

/// Number, name and text of each migration. One that has been released is never changed.
const MIGRATIONS: &[(i64, &str, &str)] = &[
    (1, "first", include_str!("migrations/0001_first.sql")),
    (2, "jobs_due", include_str!("migrations/0002_jobs_due.sql")),
    (3, "taken", include_str!("migrations/0003_taken.sql")),
    (4, "earlier_attempts", include_str!("migrations/0004_earlier_attempts.sql")),
];

/// The key of PostgreSQL's advisory lock: "zapora" in ASCII.
const LOCK: i64 = 0x7a61_706f_7261;

/// Brings the schema up to the newest version.
pub async fn run(store: &Store) -> Result<()> {
    // Outside the bound of one operation: another replica may be migrating, and a large table takes its time.
    apply(store, MIGRATIONS).await.map_err(|source| StoreError::new("migrate the database", source))
}

async fn apply(
    store: &Store,
    migrations: &[(i64, &'static str, &'static str)],
) -> std::result::Result<(), sqlx::Error> {
    let mut transaction = store.begin().await?;
    let current = current(&mut transaction, store.dialect()).await?;
    let newest = migrations.last().map_or(0, |(version, ..)| *version);
    if current > newest {
        // A newer release of the service has been here: expand-and-contract migrations keep the older one working.
        tracing::warn!(current, newest, "the database's schema is newer than this program");
    }
    for (version, name, text) in migrations.iter().filter(|(version, ..)| *version > current) {
        // All of it is this program's own text.
        let now = super::micros(jiff::Timestamp::now());
        let text = format!(
            "{text}\nINSERT INTO schema_versions (version, name, applied_at) VALUES ({version}, '{name}', {now})"
        );
        sqlx::raw_sql(AssertSqlSafe(text)).execute(&mut *transaction).await?;
        tracing::info!(version, name, "migrated the database");
    }
    transaction.commit().await
}

/// The newest version that has been applied. Asked in one message, because a service that starts waits for every answer: until
/// then no other replica migrates (two sessions that create the same table at once collide even with IF NOT EXISTS, so the lock
/// comes first), and the table of versions is there.
async fn current(transaction: &mut Transaction<'_, Any>, dialect: Dialect) -> std::result::Result<i64, sqlx::Error> {
    let alone = match dialect {
        // A table that is there already is no news for the log. The lock is cast because `Any` knows no type `void`.
        Dialect::Postgres => format!(
            "SET LOCAL statement_timeout = 0; SET LOCAL lock_timeout = 0; SET LOCAL client_min_messages = warning; \
             SELECT CAST(pg_advisory_xact_lock({LOCK}) AS TEXT) AS locked;"
        ),
        Dialect::Sqlite => String::new(),
    };
    let text = format!(
        "{alone} CREATE TABLE IF NOT EXISTS schema_versions \
         (version BIGINT PRIMARY KEY, name TEXT NOT NULL, applied_at BIGINT NOT NULL); \
         SELECT COALESCE(MAX(version), 0) AS version FROM schema_versions"
    );
    let rows = sqlx::raw_sql(AssertSqlSafe(text)).fetch_all(&mut **transaction).await?;
    rows.last().ok_or(sqlx::Error::RowNotFound)?.try_get("version")
}
