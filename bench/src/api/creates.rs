//! How many durable creates a second many clients of one process get.

use std::time::{Duration, Instant};

use tempfile::TempDir;

use super::server::{MAPS, ask, config_map, open};

/// How long they create.
const LASTS: Duration = Duration::from_secs(5);

/// Measures and prints.
pub async fn run(clients: usize) -> anyhow::Result<()> {
    let dir = TempDir::new()?;
    let server = open(dir.path()).await?;
    let start = Instant::now();
    let mut tasks = Vec::new();
    for own in 0..clients {
        let client = server.client(&format!("bench-{own}"));
        tasks.push(tokio::spawn(async move {
            let mut made = 0u64;
            while start.elapsed() < LASTS {
                ask(&client, "POST", MAPS, Some(&config_map(&format!("c{own}-{made}"), 200))).await?;
                made += 1;
            }
            Ok::<_, anyhow::Error>(made)
        }));
    }
    let mut made = 0;
    for task in tasks {
        made += task.await??;
    }
    let rate = made as f64 / start.elapsed().as_secs_f64();
    println!("durable creates           {rate:>9.0} a second from {clients} clients in one process (wanted: 10000)");
    Ok(())
}
