//! Pools of connections: how many, how long to wait for one, and what each is told when it is made.

use std::{path::Path, str::FromStr, time::Duration};

use sqlx::{AnyPool, ConnectOptions, Connection, any::AnyConnectOptions, any::AnyPoolOptions};

use super::{Dialect, Result, StoreError, StoreSettings, replica::Servers};

/// A connection that has been idle for longer is asked for a sign of life before it is used: its server may have gone.
const PROBE_AFTER: Duration = Duration::from_secs(1);

/// Connects to what the settings name. With SQLite one connection writes and the others read; in memory, one does both.
pub async fn servers(settings: &StoreSettings) -> Result<(Dialect, Servers)> {
    sqlx::any::install_default_drivers();
    let failed = |source| StoreError::new("open the database", source);
    let dialect = dialect(&settings.url).map_err(failed)?;
    let servers = match dialect {
        Dialect::Postgres => {
            let primary = postgres(&settings.url, settings).map_err(failed)?;
            let replica =
                settings.replica_url.as_deref().map(|url| postgres(url, settings)).transpose().map_err(failed)?;
            let servers = Servers::replicated(primary, replica, settings);
            // Which of the two leads may have changed since the settings were written.
            servers.look_now().await;
            servers
        }
        Dialect::Sqlite => {
            make_room(&settings.url).map_err(|e| failed(sqlx::Error::Configuration(e.into())))?;
            let writer = sqlite(&settings.url, 1, settings).map_err(failed)?;
            // The writer makes the file and sets its journal mode before a reader looks.
            drop(writer.acquire().await.map_err(failed)?);
            let in_memory = settings.url.contains(":memory:") || settings.url.contains("mode=memory");
            let readers = if in_memory {
                None
            } else {
                Some(sqlite(&settings.url, settings.connections, settings).map_err(failed)?)
            };
            Servers::single(writer, readers)
        }
    };
    Ok((dialect, servers))
}

/// Which database a URL names.
pub fn dialect(url: &str) -> std::result::Result<Dialect, sqlx::Error> {
    match url.split(':').next() {
        Some("postgres" | "postgresql") => Ok(Dialect::Postgres),
        Some("sqlite") => Ok(Dialect::Sqlite),
        _ => Err(sqlx::Error::Configuration("a database's URL begins with postgres:// or sqlite:".into())),
    }
}

/// Makes the folder that an SQLite file is to be in.
fn make_room(url: &str) -> std::io::Result<()> {
    let path = url.trim_start_matches("sqlite://").trim_start_matches("sqlite:").split('?').next().unwrap_or_default();
    match Path::new(path).parent() {
        Some(folder) if !path.starts_with(":memory:") && !folder.as_os_str().is_empty() => {
            std::fs::create_dir_all(folder)
        }
        _ => Ok(()),
    }
}

fn pool(connections: u32, settings: &StoreSettings) -> AnyPoolOptions {
    AnyPoolOptions::new()
        .max_connections(connections.max(1))
        .acquire_timeout(settings.acquire_timeout)
        .test_before_acquire(false)
        .before_acquire(|connection, about| {
            Box::pin(async move {
                if about.idle_for > PROBE_AFTER {
                    connection.ping().await?;
                }
                Ok(true)
            })
        })
}

fn options(url: &str) -> std::result::Result<AnyConnectOptions, sqlx::Error> {
    Ok(AnyConnectOptions::from_str(url)?.disable_statement_logging())
}

/// The pool for the work, and one of a single connection that only asks how the server is.
fn postgres(url: &str, settings: &StoreSettings) -> std::result::Result<[AnyPool; 2], sqlx::Error> {
    let limit = settings.timeout.as_millis();
    let setup = format!(
        "SET statement_timeout = {limit}; SET lock_timeout = {limit}; \
         SET idle_in_transaction_session_timeout = {limit}; SET TimeZone = 'UTC'"
    );
    let work = pool(settings.connections, settings).after_connect(move |connection, _| {
        let setup = setup.clone();
        Box::pin(async move { sqlx::raw_sql(sqlx::AssertSqlSafe(setup)).execute(connection).await.map(|_| ()) })
    });
    let options = options(url)?;
    Ok([work.connect_lazy_with(options.clone()), pool(1, settings).connect_lazy_with(options)])
}

fn sqlite(url: &str, connections: u32, settings: &StoreSettings) -> std::result::Result<AnyPool, sqlx::Error> {
    let busy = settings.timeout.as_millis();
    // FULL: a committed order survives the loss of power, not only of the process.
    let setup = format!(
        "PRAGMA busy_timeout = {busy}; PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA foreign_keys = ON"
    );
    let pool = pool(connections, settings)
        // There is one connection that writes, so waiting for it is waiting for whoever writes now: that takes as long as their
        // disk does, and is no sign of a database that is away. The time of one operation bounds it all the same.
        .acquire_timeout(settings.timeout.max(settings.acquire_timeout))
        // An SQLite in memory is gone with its connection.
        .idle_timeout(None)
        .max_lifetime(None)
        .after_connect(move |connection, _| {
            let setup = setup.clone();
            Box::pin(async move { sqlx::raw_sql(sqlx::AssertSqlSafe(setup)).execute(connection).await.map(|_| ()) })
        });
    Ok(pool.connect_lazy_with(options(url)?))
}
