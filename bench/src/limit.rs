//! As many connections as are allowed, and more: those who are served go on, the others wait and have their turn.

use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::{Context, ensure};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use tokio::{sync::watch, task::JoinSet};

use crate::{
    machine,
    soak::{Endpoints, Exchange, Framed, Link, Site, World, ask, dial},
};

/// How many.
#[derive(Debug, clap::Args)]
pub struct Options {
    /// Connections that are allowed.
    #[arg(long, default_value_t = 10_000)]
    connections: usize,
    /// Connections beyond these.
    #[arg(long, default_value_t = 1_000)]
    more: usize,
}

/// What clients that are served do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Hold,
    /// Ask once more.
    Again,
    Leave,
}

#[derive(Default)]
struct Counts {
    served: AtomicUsize,
    again: AtomicUsize,
}

/// KiB of memory that a connection may cost, with its share of the connections to endpoints that a crowd has needed.
const MOST: f64 = 8.0;

/// Measures and prints.
///
/// # Errors
/// It does not hold: what.
pub fn run(program: &Path, options: &Options) -> anyhow::Result<()> {
    let &Options { connections, more } = options;
    let (_, most) = getrlimit(Resource::RLIMIT_NOFILE)?;
    setrlimit(Resource::RLIMIT_NOFILE, most, most).context("raise the limit of open files")?;
    let needed = connections + more + 1_000;
    ensure!(most as usize >= needed, "this needs {needed} open files, and {most} are allowed (ulimit -Hn)");
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let endpoints = runtime.block_on(Endpoints::start())?;
    let allowed = connections.to_string();
    let mut site = Site::open(program, &endpoints, &["--max-connections", &allowed])?;
    runtime.block_on(measure(&site.world, site.process.pid(), options))?;
    site.process.stop("TERM")
}

async fn measure(world: &Arc<World>, pid: u32, &Options { connections, more }: &Options) -> anyhow::Result<()> {
    let before = machine::pss(pid)?;
    let (counts, (phase, phases)) = (Arc::<Counts>::default(), watch::channel(Phase::Hold));
    let mut clients = JoinSet::new();
    for number in 0..connections + more {
        clients.spawn(client(world.clone(), counts.clone(), phases.clone()));
        if number % 100 == 0 {
            // No faster than the kernel's queue is emptied.
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
    settled(&counts.served).await;
    let served = counts.served.load(Ordering::SeqCst);
    let each = (machine::pss(pid)?.saturating_sub(before)) as f64 / served as f64;
    println!("{served} of {} connections are served, {each:.2} KiB each; {more} wait", connections + more);
    ensure!(served == connections, "{connections} should be");
    ensure!(each <= MOST, "a connection may cost {MOST} KiB");
    phase.send(Phase::Again)?;
    settled(&counts.again).await;
    let again = counts.again.load(Ordering::SeqCst);
    println!("{again} of them are served once more while the others wait");
    ensure!(again == connections, "all of them should be");
    let start = Instant::now();
    phase.send(Phase::Leave)?;
    while let Some(ended) = clients.join_next().await {
        ended??;
    }
    println!("they leave, and the {more} that have waited are served within {:.2} s", start.elapsed().as_secs_f64());
    ensure!(counts.served.load(Ordering::SeqCst) == connections + more, "somebody was not served");
    Ok(())
}

/// Connects, asks, and does what the phase says.
async fn client(world: Arc<World>, counts: Arc<Counts>, mut phases: watch::Receiver<Phase>) -> anyhow::Result<()> {
    let mut link = Link::new(dial(world.http).await.context("connect")?);
    let exchange = || Exchange { up: 0, down: 100, framed: Framed::Length, ..Exchange::random(1) };
    ask(&mut link, "/right", &exchange(), Duration::ZERO).await.context("the first request")?;
    counts.served.fetch_add(1, Ordering::SeqCst);
    loop {
        let phase = *phases.borrow_and_update();
        match phase {
            Phase::Hold => {}
            Phase::Again => {
                ask(&mut link, "/right", &exchange(), Duration::ZERO).await.context("the second request")?;
                counts.again.fetch_add(1, Ordering::SeqCst);
            }
            Phase::Leave => return Ok(()),
        }
        phases.changed().await?;
    }
}

/// Waits until a count has not changed for two seconds.
async fn settled(count: &AtomicUsize) {
    let (mut last, mut since) = (0, Instant::now());
    while since.elapsed() < Duration::from_secs(2) || last == 0 {
        tokio::time::sleep(Duration::from_millis(100)).await;
        let now = count.load(Ordering::SeqCst);
        if now != last {
            (last, since) = (now, Instant::now());
        }
    }
}
