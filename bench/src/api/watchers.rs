//! What it costs to tell many watchers of one resource what changes, and what becomes of one that does not read.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::{Context, ensure};
use futures::{AsyncBufReadExt, AsyncReadExt, StreamExt, future};
use http::Request;
use kube::Client;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::time::{MissedTickBehavior, interval, sleep, timeout};

use super::server::{MAPS, Server, ask, config_map};
use crate::machine;

/// How long the last events may take to arrive.
const PATIENCE: Duration = Duration::from_secs(30);
/// Objects that are changed in turn.
const OBJECTS: u32 = 10;

/// Measures and prints.
pub async fn run(watchers: usize, rate: u32, seconds: u32) -> anyhow::Result<()> {
    let dir = TempDir::new()?;
    let server = Server::start(dir.path()).await?;
    for number in 0..OBJECTS {
        ask(&server.client, "POST", MAPS, Some(&config_map(&format!("changed-{number}"), 100))).await?;
    }
    let pid = server.process.pid();
    let before = machine::pss(pid)?;
    let seen: Vec<Arc<AtomicU64>> = (0..watchers).map(|_| Arc::default()).collect();
    let mut tasks = Vec::new();
    for count in &seen {
        // A client each: a connection each.
        let client = server.another_client().await?;
        let reading = watch(&client).await?;
        tasks.push(tokio::spawn(read(reading, count.clone())));
    }
    let writes = u64::from(rate * seconds);
    // One more, which looks at the clock, and one which never reads.
    let sent: Clocks = Arc::default();
    let timing = watch(&server.another_client().await?).await?;
    let timing = tokio::spawn(time(timing, sent.clone(), writes));
    let stuck = watch(&server.another_client().await?).await?;
    let waiting = machine::pss(pid)?;
    let (cpu, start) = (machine::cpu(&[pid])?, Instant::now());
    write(&server.client, rate, writes, &sent).await?;
    let took = start.elapsed();
    let used = machine::cpu(&[pid])? - cpu;
    let busy = machine::pss(pid)?;
    let wanted = writes + u64::from(OBJECTS);
    let all = || seen.iter().all(|count| count.load(Ordering::Relaxed) >= wanted);
    let arrived = timeout(PATIENCE, async {
        while !all() {
            sleep(Duration::from_millis(20)).await;
        }
    });
    let _ = arrived.await;
    let events: u64 = seen.iter().map(|count| count.load(Ordering::Relaxed)).sum();
    drop(stuck);
    tasks.iter().for_each(tokio::task::JoinHandle::abort);
    let events_wanted = wanted * watchers as u64;
    println!("{watchers} watchers, {rate} writes/s for {seconds} s (took {:.1} s)", took.as_secs_f64());
    println!("events that arrived       {events:>9} of {events_wanted}");
    println!(
        "CPU of the server         {:>9.1} % of a core (wanted: 25)",
        used.as_secs_f64() * 100.0 / took.as_secs_f64()
    );
    println!(
        "memory (PSS)              {:>9.1} MiB; with the watchers {:.1}, while writing {:.1}",
        mib(before),
        mib(waiting),
        mib(busy)
    );
    let mut delays = timeout(PATIENCE, timing).await.context("wait for the last event")???;
    delays.sort_unstable();
    let at = |part: usize| delays.get(delays.len() * part / 100).map_or(0, Duration::as_millis);
    println!("from a write's start to the event: median {} ms, 99 % {} ms", at(50), at(99));
    ensure!(events == events_wanted, "events were lost or doubled");
    Ok(())
}

fn mib(kib: u64) -> f64 {
    kib as f64 / 1024.0
}

async fn watch(client: &Client) -> anyhow::Result<impl futures::AsyncBufRead + Send + Unpin + use<>> {
    let request = Request::get(format!("{MAPS}?watch=true")).body(Vec::new())?;
    client.request_stream(request).await.context("watch")
}

/// When each write began.
type Clocks = Arc<Mutex<Vec<Instant>>>;

/// How long the events of so many writes took, each from its write's start.
async fn time(from: impl futures::AsyncBufRead + Unpin, sent: Clocks, writes: u64) -> anyhow::Result<Vec<Duration>> {
    let (mut lines, mut delays) = (from.lines(), Vec::new());
    while delays.len() as u64 != writes {
        let line = lines.next().await.context("the watch ended")??;
        let event: Value = serde_json::from_str(&line).context("an event")?;
        let Some(number) = event.pointer("/object/data/number").and_then(Value::as_str) else { continue };
        let sent = sent.lock().unwrap_or_else(PoisonError::into_inner).get(number.parse::<usize>()?).copied();
        delays.extend(sent.map(|sent| sent.elapsed()));
    }
    Ok(delays)
}

/// Counts events: each ends a line.
async fn read(mut from: impl futures::AsyncRead + Unpin, count: Arc<AtomicU64>) {
    let mut buffer = vec![0; 16 * 1024];
    while let Ok(read @ 1..) = from.read(&mut buffer).await {
        let lines = buffer.iter().take(read).filter(|byte| **byte == b'\n').count();
        count.fetch_add(lines as u64, Ordering::Relaxed);
    }
}

/// So many changes a second, whether or not the last one is answered.
async fn write(client: &Client, rate: u32, writes: u64, sent: &Clocks) -> anyhow::Result<()> {
    let mut turns = interval(Duration::from_secs(1) / rate);
    turns.set_missed_tick_behavior(MissedTickBehavior::Burst);
    let mut answers = Vec::new();
    for number in 0..writes {
        turns.tick().await;
        sent.lock().unwrap_or_else(PoisonError::into_inner).push(Instant::now());
        let client = client.clone();
        answers.push(tokio::spawn(async move {
            let object = config_map(&format!("changed-{}", number % u64::from(OBJECTS)), 100);
            let mut object = object;
            object["data"]["number"] = json!(number.to_string());
            ask(&client, "PUT", &format!("{MAPS}/changed-{}", number % u64::from(OBJECTS)), Some(&object)).await
        }));
    }
    for answer in future::join_all(answers).await {
        answer??;
    }
    Ok(())
}
