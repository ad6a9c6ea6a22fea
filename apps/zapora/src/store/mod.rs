//! What is kept: one set of queries for PostgreSQL and SQLite.
//!
//! The queries are written once, over sqlx's `Any`, rather than generically over two drivers: `$1` placeholders, `ON CONFLICT`,
//! `RETURNING` and partial indexes mean the same in both, and the schema uses only text and 64-bit integers, which `Any` carries
//! without loss. Where the two differ (how a transaction begins, how a writer skips what another has locked) [`Dialect`] says so.
//!
//! Rules for whoever adds a query: go through [`Store::bounded`], so that a database that hangs is an error in time; write in
//! [`Store::begin`]'s transaction or on [`Store::writing`]; read on [`Store::reading`], saying for whom; cast what `SUM` gives to
//! BIGINT, because PostgreSQL widens it; sort ids before locking rows, so that two transactions cannot wait for each other; and
//! never ask for a second connection while holding one, because an SQLite in memory has only one.

use std::{future::Future, sync::Arc, time::Duration};

use sqlx::{Any, AnyPool, Transaction, pool::PoolConnection};

use self::replica::Servers;

pub mod connect;
pub mod effects;
mod error;
pub mod items;
pub mod jobs;
pub mod menu;
mod migrate;
pub mod orders;
pub mod replica;
pub mod rules;
pub mod sessions;
pub mod sql;
mod stock;
pub mod users;

pub use self::error::StoreError;

/// What a store answers.
pub type Result<T> = std::result::Result<T, StoreError>;

/// Where the two databases differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    /// Many writers, row locks.
    Postgres,
    /// One writer at a time, which takes its lock when the transaction begins.
    Sqlite,
}

impl Dialect {
    /// The clause with which a writer passes over rows that another writer holds. SQLite has one writer, and needs none.
    pub fn skip_locked(self) -> &'static str {
        match self {
            Self::Postgres => "FOR UPDATE SKIP LOCKED",
            Self::Sqlite => "",
        }
    }

    /// The clause with which a writer keeps others from changing what it has read, until its transaction ends. SQLite has one writer,
    /// and needs none.
    pub fn locked(self) -> &'static str {
        match self {
            // As an update of anything but a key would: others may go on referring to the row.
            Self::Postgres => "FOR NO KEY UPDATE",
            Self::Sqlite => "",
        }
    }
}

/// How to reach the database.
#[derive(Clone, Debug)]
pub struct StoreSettings {
    /// `postgres://…` or `sqlite:…`.
    pub url: String,
    /// A streaming replica of a PostgreSQL primary, to read from.
    pub replica_url: Option<String>,
    /// How far behind the primary a replica may be that is read from.
    pub replica_max_lag: Duration,
    /// Promote the replica when the primary has been away for this long; `None` leaves that to whoever operates the database.
    pub promote_after: Option<Duration>,
    /// The most connections to each server.
    pub connections: u32,
    /// How long to wait for a connection to PostgreSQL. (SQLite has one that writes: `timeout` bounds the wait for it.)
    pub acquire_timeout: Duration,
    /// How long one operation may take in all.
    pub timeout: Duration,
    /// How long to wait at start for a database that is not there yet.
    pub patience: Duration,
}

impl StoreSettings {
    /// The defaults, for the database at `url`.
    pub fn new(url: impl Into<String>) -> Self {
        Self {
            url: url.into(),
            replica_url: None,
            replica_max_lag: Duration::from_secs(5),
            promote_after: None,
            connections: 10,
            acquire_timeout: Duration::from_secs(2),
            timeout: Duration::from_secs(5),
            patience: Duration::from_secs(30),
        }
    }
}

/// Who reads, which decides how fresh the answer must be.
#[derive(Clone, Copy, Debug)]
pub enum Reader<'a> {
    /// Anyone: what is at most `replica_max_lag` old will do.
    Anyone,
    /// This user (or session): their own writes must be seen.
    Writer(&'a str),
    /// The newest there is, from where it is written.
    Newest,
}

/// The database; a clone is the same one.
#[derive(Clone, Debug)]
pub struct Store {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    dialect: Dialect,
    servers: Servers,
    timeout: Duration,
    enqueued: tokio::sync::Notify,
    rules: rules::Cache,
    counts: std::sync::OnceLock<orders::Counts>,
}

impl Store {
    /// Connects, and brings the schema up to date. Several replicas of the service may do this at once. A database that does not
    /// answer yet is waited for: service and database are often started together.
    ///
    /// # Errors
    /// The URL cannot be used, the database does not answer in time, or a migration fails; nothing is half migrated then.
    pub async fn open(settings: &StoreSettings) -> Result<Self> {
        let started = tokio::time::Instant::now();
        loop {
            match Self::open_now(settings).await {
                Err(error @ StoreError::Unavailable { .. }) if started.elapsed() < settings.patience => {
                    tracing::warn!(error = crate::jobs::chain(&error), "waiting for the database");
                    tokio::time::sleep(Duration::from_millis(500)).await;
                }
                opened => return opened,
            }
        }
    }

    async fn open_now(settings: &StoreSettings) -> Result<Self> {
        let (dialect, servers) = connect::servers(settings).await?;
        let store = Self {
            inner: Arc::new(Inner {
                dialect,
                servers,
                timeout: settings.timeout,
                enqueued: tokio::sync::Notify::new(),
                counts: std::sync::OnceLock::new(),
                rules: rules::Cache::default(),
            }),
        };
        migrate::run(&store).await?;
        Ok(store)
    }

    /// Counts orders in this registry from now on. Only the first that is given counts.
    ///
    /// # Errors
    /// It has counters of such names already.
    pub fn count_orders_in(&self, registry: &prometheus::Registry) -> prometheus::Result<()> {
        // It is only set twice by a mistake that registering finds.
        let _ = self.inner.counts.set(orders::Counts::new(registry)?);
        Ok(())
    }

    fn counts(&self) -> Option<&orders::Counts> {
        self.inner.counts.get()
    }

    /// Which database it is.
    pub fn dialect(&self) -> Dialect {
        self.inner.dialect
    }

    /// The servers behind it, and how fresh each is.
    pub fn servers(&self) -> &Servers {
        &self.inner.servers
    }

    /// Told whenever a job was written here, so that nobody has to poll for it.
    pub fn enqueued(&self) -> &tokio::sync::Notify {
        &self.inner.enqueued
    }

    /// Does `work` within the time that one operation may take, and names it in the error.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] when time is up or the connection is lost, or what `work` says.
    pub async fn bounded<T>(
        &self,
        operation: &'static str,
        work: impl Future<Output = std::result::Result<T, sqlx::Error>>,
    ) -> Result<T> {
        let outcome = match tokio::time::timeout(self.inner.timeout, work).await {
            Ok(outcome) => outcome.map_err(|source| StoreError::new(operation, source)),
            Err(_) => Err(StoreError::Unavailable { operation, source: None }),
        };
        if matches!(outcome, Err(StoreError::Unavailable { .. })) {
            self.inner.servers.look();
        }
        outcome
    }

    /// [`Store::bounded`], and once more, twice, when two transactions were in each other's way.
    ///
    /// # Errors
    /// As [`Store::bounded`].
    pub async fn retried<T, W>(&self, operation: &'static str, work: impl Fn() -> W) -> Result<T>
    where
        W: Future<Output = std::result::Result<T, sqlx::Error>>,
    {
        let attempts = async {
            for _ in 0..2 {
                match work().await {
                    Err(error) if error::is_collision(&error) => {}
                    outcome => return outcome,
                }
            }
            work().await
        };
        self.bounded(operation, attempts).await
    }

    /// A connection to read on. Held for one operation, never across another request for a connection.
    ///
    /// # Errors
    /// None is free in time.
    pub async fn reading(&self, reader: Reader<'_>) -> std::result::Result<PoolConnection<Any>, sqlx::Error> {
        self.inner.servers.to_read(reader).await.acquire().await
    }

    /// A connection to write a single statement on.
    ///
    /// # Errors
    /// None is free in time.
    pub async fn writing(&self) -> std::result::Result<PoolConnection<Any>, sqlx::Error> {
        self.leader().acquire().await
    }

    /// A transaction to write in; it is rolled back unless committed.
    ///
    /// # Errors
    /// No connection is free in time, or the database refuses.
    pub async fn begin(&self) -> std::result::Result<Transaction<'static, Any>, sqlx::Error> {
        match self.inner.dialect {
            Dialect::Postgres => self.leader().begin().await,
            // A transaction that reads first and then wants to write cannot wait for another writer, only fail.
            Dialect::Sqlite => self.leader().begin_with("BEGIN IMMEDIATE").await,
        }
    }

    /// Remembers that `writer` has just written, so that they read what they wrote.
    pub async fn wrote(&self, writer: &str) {
        self.inner.servers.wrote(writer).await;
    }

    /// Whether the database answers; for the readiness check. With the primary away a replica does that can be read from: a service
    /// that counted as not ready then would take the reads that go on there from its clients.
    ///
    /// # Errors
    /// It does not.
    pub async fn ping(&self) -> Result<()> {
        self.bounded("ask the database for a sign of life", async {
            let mut connection = match self.inner.servers.reads_without_primary() {
                true => self.reading(Reader::Anyone).await?,
                false => self.writing().await?,
            };
            sqlx::query("SELECT 1").execute(&mut *connection).await.map(|_| ())
        })
        .await
    }

    /// Closes every connection; what is under way is finished first.
    pub async fn close(&self) {
        self.inner.servers.close().await;
    }

    fn rules_cache(&self) -> &rules::Cache {
        &self.inner.rules
    }

    fn leader(&self) -> &AnyPool {
        self.inner.servers.to_write()
    }
}

/// Microseconds since 1970, as the database keeps times.
pub fn micros(at: jiff::Timestamp) -> i64 {
    at.as_microsecond()
}

/// The time that [`micros`] was made from; what no calendar reaches becomes 1970.
pub fn timestamp(micros: i64) -> jiff::Timestamp {
    jiff::Timestamp::from_microsecond(micros).unwrap_or(jiff::Timestamp::UNIX_EPOCH)
}

/// A new id: a UUIDv7, which sorts by the time it was made.
pub fn new_id() -> String {
    uuid::Uuid::now_v7().to_string()
}

/// `$first, $first+1, …`: placeholders for a list of `count`.
pub fn placeholders(first: usize, count: usize) -> String {
    let mut text = String::with_capacity(count * 5);
    for number in first..first + count {
        if number > first {
            text.push_str(", ");
        }
        text.push('$');
        text.push_str(&number.to_string());
    }
    text
}
