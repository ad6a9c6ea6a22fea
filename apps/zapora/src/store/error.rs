//! What can go wrong with the database, sorted by what the caller can do about it.

use sqlx::error::ErrorKind;

/// Why an operation on the database failed.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The database does not answer now; the same may work later. Whether a write took place is not known.
    #[error("cannot {operation}: the database is not available")]
    Unavailable {
        /// What was being done.
        operation: &'static str,
        /// What the database or the network said; nothing when time was up.
        #[source]
        source: Option<sqlx::Error>,
    },
    /// Something of that name exists already.
    #[error("cannot {operation}: it exists already ({constraint})")]
    Exists {
        /// What was being done.
        operation: &'static str,
        /// The constraint that says so.
        constraint: String,
    },
    /// What it refers to is not there.
    #[error("cannot {operation}: what it refers to does not exist ({constraint})")]
    Dangling {
        /// What was being done.
        operation: &'static str,
        /// The constraint that says so.
        constraint: String,
    },
    /// Anything else; a mistake in this program or in its configuration.
    #[error("cannot {operation}")]
    Failed {
        /// What was being done.
        operation: &'static str,
        /// What the database said.
        #[source]
        source: sqlx::Error,
    },
}

impl StoreError {
    /// Sorts an error of the database.
    pub(crate) fn new(operation: &'static str, source: sqlx::Error) -> Self {
        if is_passing(&source) {
            return Self::Unavailable { operation, source: Some(source) };
        }
        let sqlx::Error::Database(error) = &source else { return Self::Failed { operation, source } };
        let constraint = || error.constraint().unwrap_or_else(|| error.message()).to_owned();
        match error.kind() {
            ErrorKind::UniqueViolation => Self::Exists { operation, constraint: constraint() },
            ErrorKind::ForeignKeyViolation => Self::Dangling { operation, constraint: constraint() },
            _ => Self::Failed { operation, source },
        }
    }
}

/// Whether two transactions were in each other's way, so that the same transaction, tried at once, is likely to succeed.
pub(crate) fn is_collision(error: &sqlx::Error) -> bool {
    matches!(error, sqlx::Error::Database(e) if matches!(e.code().as_deref(), Some("40001" | "40P01")))
}

/// Whether an error says that the database is away, full, read-only or in the middle of something.
fn is_passing(error: &sqlx::Error) -> bool {
    match error {
        sqlx::Error::Io(_)
        | sqlx::Error::Tls(_)
        | sqlx::Error::Protocol(_)
        | sqlx::Error::PoolTimedOut
        | sqlx::Error::PoolClosed
        | sqlx::Error::WorkerCrashed => true,
        sqlx::Error::Database(error) => match error.code().as_deref() {
            // PostgreSQL: connection exceptions, resources, read-only (a standby), cancelled or timed out, shutting down,
            // starting up, deadlock or serialization failure that retries did not cure.
            Some(code) if code.len() == 5 => {
                ["08", "53", "57"].iter().any(|class| code.starts_with(class))
                    || ["25006", "40001", "40P01", "55P03", "25P03"].contains(&code)
            }
            // SQLite: busy and locked, in all their variants (the low byte is the kind), full and I/O error.
            Some(code) => code.parse::<i64>().is_ok_and(|code| matches!(code & 0xff, 5 | 6 | 10 | 13)),
            None => false,
        },
        _ => false,
    }
}
