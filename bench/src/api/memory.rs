//! What objects take of the server's memory, and how soon a server that has them answers.

use futures::{StreamExt, TryStreamExt};
use tempfile::TempDir;

use super::server::{MAPS, Server, ask, config_map};
use crate::machine;

/// Starts, of which the median is said.
const STARTS: usize = 5;
/// Bytes of each object, about.
const BYTES: usize = 2_000;
/// Creates at once.
const TOGETHER: usize = 64;

/// Measures and prints.
pub async fn run(objects: usize) -> anyhow::Result<()> {
    let dir = TempDir::new()?;
    let server = Server::start(dir.path()).await?;
    let empty = mebibytes(&server)?;
    let client = &server.client;
    let made = futures::stream::iter(0..objects).map(|number| async move {
        ask(client, "POST", MAPS, Some(&config_map(&format!("object-{number}"), BYTES - 300))).await
    });
    made.buffer_unordered(TOGETHER).try_for_each(|_| async { Ok(()) }).await?;
    let after = mebibytes(&server)?;
    stop(server)?;
    let mut starts = Vec::new();
    let mut fresh = 0.0;
    for _ in 0..STARTS {
        let server = Server::start(dir.path()).await?;
        starts.push(server.started.as_secs_f64() * 1e3);
        fresh = mebibytes(&server)?;
        stop(server)?;
    }
    println!("empty server (PSS)        {empty:>9.1} MiB");
    println!("{objects} objects just made  {after:>9.1} MiB");
    println!("the same after a restart  {fresh:>9.1} MiB (wanted: 60 MB)");
    println!("start to the first answer {:>9.0} ms (median of {STARTS}; wanted: 1000)", machine::median(starts));
    Ok(())
}

fn mebibytes(server: &Server) -> anyhow::Result<f64> {
    Ok(machine::pss(server.process.pid())? as f64 / 1024.0)
}

fn stop(mut server: Server) -> anyhow::Result<()> {
    server.process.stop("KILL")
}
