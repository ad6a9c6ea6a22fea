//! The database: one set of queries for SQLite and PostgreSQL, over sqlx's `Any`, with text and 64-bit integers only, which it carries
//! without loss.

mod api_keys;
mod items;
mod users;

use std::{str::FromStr, time::Duration};

use jiff::Timestamp;
use service::problem::Problem;
use sqlx::{AnyPool, ConnectOptions, any::AnyConnectOptions, any::AnyPoolOptions, error::ErrorKind};

pub use api_keys::ApiKey;
pub use items::Item;
pub use users::{Role, User};

/// How long one operation may take.
const TIME: Duration = Duration::from_secs(5);
/// API keys that one user may have.
const KEYS: i64 = 100;
/// The schema's versions, forward only. One that has been released is never changed.
const MIGRATIONS: &[(i64, &str)] = &[(1, include_str!("first.sql"))];
/// The key of PostgreSQL's advisory lock: "sample" in ASCII.
const LOCK: i64 = 0x7361_6d70_6c65;

/// Why the database did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// It does not answer now.
    #[error("cannot {0}: the database is not available")]
    Unavailable(&'static str, #[source] Option<sqlx::Error>),
    /// There is such a thing already.
    #[error("cannot {0}: it exists already")]
    Exists(&'static str),
    /// Whose it is to be is not there.
    #[error("cannot {0}: whose it is to be is not there")]
    Orphan(&'static str),
    /// There are as many as there may be.
    #[error("cannot {0}: there are too many")]
    TooMany(&'static str),
    /// Anything else.
    #[error("cannot {0}")]
    Failed(&'static str, #[source] sqlx::Error),
}

impl StoreError {
    fn new(operation: &'static str, error: sqlx::Error) -> Self {
        match &error {
            sqlx::Error::Io(_) | sqlx::Error::Tls(_) | sqlx::Error::PoolTimedOut | sqlx::Error::PoolClosed => {
                Self::Unavailable(operation, Some(error))
            }
            sqlx::Error::Database(said) if said.kind() == ErrorKind::UniqueViolation => Self::Exists(operation),
            sqlx::Error::Database(said) if said.kind() == ErrorKind::ForeignKeyViolation => Self::Orphan(operation),
            // PostgreSQL: connection, resources, shutting down or starting up, a standby.
            sqlx::Error::Database(said)
                if said.code().is_some_and(|code| {
                    code.len() == 5
                        && (["08", "53", "57"].iter().any(|class| code.starts_with(class)) || code == "25006")
                }) =>
            {
                Self::Unavailable(operation, Some(error))
            }
            _ => Self::Failed(operation, error),
        }
    }
}

impl From<StoreError> for Problem {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Unavailable(operation, source) => {
                tracing::warn!(operation, error = source.map(tracing::field::display), "the database is not available");
                Self::unavailable("the database is not available")
            }
            StoreError::Exists(_) => Self::conflict("there is one of this name already"),
            // A token outlives its user in one case: the database in memory was started anew.
            StoreError::Orphan(_) => Self::unauthorized("the user of this token is gone"),
            StoreError::TooMany(_) => Self::conflict("there are as many as there may be"),
            StoreError::Failed(..) => Self::internal(error),
        }
    }
}

/// What the database answers.
pub type Result<T> = std::result::Result<T, StoreError>;

/// The database; a clone is the same one.
#[derive(Clone, Debug)]
pub struct Store {
    pool: AnyPool,
    postgres: bool,
}

impl Store {
    /// Connects to `postgres://…` or `sqlite:…` and brings the schema up to date. Several replicas may do this at once.
    ///
    /// # Errors
    /// The address cannot be used, the database does not answer, or a migration fails; nothing is half migrated then.
    pub async fn open(url: &str, connections: u32) -> Result<Self> {
        sqlx::any::install_default_drivers();
        let failed = |error| StoreError::new("open the database", error);
        let postgres = url.starts_with("postgres://") || url.starts_with("postgresql://");
        if !postgres && !url.starts_with("sqlite:") {
            return Err(failed(sqlx::Error::Configuration(
                "a database's address begins with postgres:// or sqlite:".into(),
            )));
        }
        // A file that is not there yet is made.
        let made = !postgres && !url.contains('?') && !url.contains(":memory:");
        let url = if made { format!("{url}?mode=rwc") } else { url.to_owned() };
        let options = AnyConnectOptions::from_str(&url).map_err(failed)?.disable_statement_logging();
        let pool = AnyPoolOptions::new()
            // SQLite has one writer, and one in memory is gone with its only connection.
            .max_connections(if postgres { connections } else { 1 })
            .acquire_timeout(TIME)
            .after_connect(move |connection, _| {
                let setup = if postgres {
                    "SET statement_timeout = 5000; SET TimeZone = 'UTC'"
                } else {
                    "PRAGMA busy_timeout = 5000; PRAGMA journal_mode = WAL; PRAGMA foreign_keys = ON"
                };
                Box::pin(async move { sqlx::raw_sql(setup).execute(connection).await.map(|_| ()) })
            });
        let pool = if postgres { pool } else { pool.idle_timeout(None).max_lifetime(None) };
        let store = Self { pool: pool.connect_lazy_with(options), postgres };
        store.migrate().await.map_err(|error| StoreError::new("migrate the database", error))?;
        Ok(store)
    }

    async fn migrate(&self) -> std::result::Result<(), sqlx::Error> {
        let mut transaction = match self.postgres {
            true => self.pool.begin().await?,
            false => self.pool.begin_with("BEGIN IMMEDIATE").await?,
        };
        if self.postgres {
            sqlx::raw_sql("SET LOCAL statement_timeout = 0").execute(&mut *transaction).await?;
            sqlx::query("SELECT pg_advisory_xact_lock($1)").bind(LOCK).execute(&mut *transaction).await?;
        }
        let versions =
            "CREATE TABLE IF NOT EXISTS schema_versions (version BIGINT PRIMARY KEY, applied_at BIGINT NOT NULL)";
        sqlx::raw_sql(versions).execute(&mut *transaction).await?;
        let newest = "SELECT COALESCE(MAX(version), 0) FROM schema_versions";
        let current: i64 = sqlx::query_scalar(newest).fetch_one(&mut *transaction).await?;
        for (version, text) in MIGRATIONS.iter().filter(|(version, _)| *version > current) {
            sqlx::raw_sql(*text).execute(&mut *transaction).await?;
            sqlx::query("INSERT INTO schema_versions (version, applied_at) VALUES ($1, $2)")
                .bind(version)
                .bind(now().as_microsecond())
                .execute(&mut *transaction)
                .await?;
            tracing::info!(version, "migrated the database");
        }
        transaction.commit().await
    }

    /// Does `work` within the time that an operation may take, and names it in the error.
    async fn bounded<T>(
        &self,
        operation: &'static str,
        work: impl Future<Output = std::result::Result<T, sqlx::Error>>,
    ) -> Result<T> {
        match tokio::time::timeout(TIME, work).await {
            Ok(outcome) => outcome.map_err(|error| StoreError::new(operation, error)),
            Err(_) => Err(StoreError::Unavailable(operation, None)),
        }
    }

    /// Whether the database answers.
    ///
    /// # Errors
    /// It does not.
    pub async fn ping(&self) -> Result<()> {
        self.bounded("ask the database for a sign of life", async {
            sqlx::query("SELECT 1").execute(&self.pool).await.map(|_| ())
        })
        .await
    }
}

/// The time, as exactly as the database keeps it.
fn now() -> Timestamp {
    time(Timestamp::now().as_microsecond())
}

/// The time that the database keeps as microseconds; what no calendar reaches becomes 1970.
fn time(micros: i64) -> Timestamp {
    Timestamp::from_microsecond(micros).unwrap_or(Timestamp::UNIX_EPOCH)
}
