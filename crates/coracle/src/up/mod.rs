//! `coracle up`: start, apply, show progress until what was applied is ready, print the addresses, then notable events.

mod events;
mod progress;
pub mod report;
pub mod service;

use std::path::PathBuf;

use anyhow::Context;
use serde_json::Value;
use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    task::JoinSet,
};

use crate::{
    apply,
    cli::Up,
    config::{Config, Machine},
    handover::{self, Entrance, Predecessor, Successor},
    platform::{Platform, Pods},
};
use report::Report;

/// Runs until Ctrl-C or SIGTERM.
///
/// # Errors
/// When the settings or manifests are wrong (said before anything starts), or when a part cannot start.
pub fn run(flags: Up) -> anyhow::Result<()> {
    let config = Config::load(&flags, &Machine::current())?;
    let objects = read(&flags.kustomize, &flags.filename)?;
    let report = Report::new(flags.output);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .context("start the runtime")?;
    runtime.block_on(serve(config, objects, flags.replace, report))
}

/// Everything the manifests hold, in the order in which it is applied. Read before anything starts, so that a mistake in a
/// file costs nothing.
///
/// # Errors
/// Names the file and what is wrong with it.
pub fn read(kustomizations: &[PathBuf], files: &[PathBuf]) -> anyhow::Result<Vec<Value>> {
    let mut objects = Vec::new();
    for folder in kustomizations {
        objects.extend(manifests::build(folder)?.into_iter().map(|object| object.value));
    }
    for file in files {
        objects.extend(manifests::load(file)?.into_iter().map(|object| object.value));
    }
    Ok(apply::in_order(objects))
}

/// Serves until it is told to end or another process takes over.
async fn serve(config: Config, mut objects: Vec<Value>, replace: bool, report: Report) -> anyhow::Result<()> {
    let mut signals = Signals::listen()?;
    service::replace_at_signal()?;
    let taken = if replace { handover::take_over(&config.data_dir).await? } else { None };
    let (mut inherited, mut predecessor) = taken.map_or_else(Default::default, |(left, old)| (left, Some(old)));
    // Proxies whose sockets have been handed on, but not to another process.
    let mut retiring = JoinSet::new();
    loop {
        let (platform, mut tasks) = Platform::start(&config, inherited).await?;
        let entrance = Entrance::open(platform.data_dir());
        let entrance = entrance.inspect_err(|e| tracing::warn!("nothing can take over from this process: {e:#}")).ok();
        let work = work(&platform, &objects, predecessor.take(), &report);
        let ending = tokio::select! {
            result = work => Ending::Here(result, Pods::Stop),
            error = tasks.failed() => Ending::Here(Err(error), Pods::Keep),
            ending = signals.ending() => ending,
            successor = successor(entrance.as_ref()) => Ending::HandOver(successor),
        };
        let successor = match ending {
            Ending::Here(result, pods) => {
                report.stopping();
                let end = async {
                    tasks.stop().await;
                    platform.end(pods).await;
                    retiring.join_all().await;
                };
                tokio::select! {
                    () = end => {}
                    // Who presses Ctrl-C again does not want to wait for requests and pods.
                    _ = signals.interrupt.recv() => {}
                }
                report.stopped(&config.data_dir);
                return result;
            }
            Ending::HandOver(successor) => successor,
        };
        report.handing_over(successor.pid());
        drop(entrance);
        // A successor that is gone is noticed below.
        _ = successor.stopping().await;
        platform.released().await;
        tasks.stop().await;
        let (old, left) = platform.release().await?;
        match successor.give(&left).await {
            Ok(()) => {
                old.end().await;
                retiring.join_all().await;
                report.handed_over(successor.pid());
                return Ok(());
            }
            Err(error) => {
                report.taken_back(successor.pid(), &error);
                retiring.spawn(old.end());
                // They have been applied.
                (inherited, objects) = (left, Vec::new());
            }
        }
    }
}

/// How serving ends.
enum Ending {
    /// This process stops.
    Here(anyhow::Result<()>, Pods),
    /// Another one takes over.
    HandOver(Successor),
}

struct Signals {
    interrupt: Signal,
    terminate: Signal,
}

impl Signals {
    fn listen() -> anyhow::Result<Self> {
        Ok(Self {
            interrupt: signal(SignalKind::interrupt()).context("listen for Ctrl-C")?,
            terminate: signal(SignalKind::terminate()).context("listen for SIGTERM")?,
        })
    }

    /// An administrator who presses Ctrl-C wants everything to end; a service manager that sends SIGTERM usually starts the
    /// next version at once, and the pods serve on meanwhile.
    async fn ending(&mut self) -> Ending {
        tokio::select! {
            _ = self.interrupt.recv() => Ending::Here(Ok(()), Pods::Stop),
            _ = self.terminate.recv() => Ending::Here(Ok(()), Pods::Keep),
        }
    }
}

async fn successor(entrance: Option<&Entrance>) -> Successor {
    match entrance {
        Some(entrance) => entrance.successor().await,
        None => std::future::pending().await,
    }
}

/// Applies, waits, and then tells what happens, for as long as it is asked to.
async fn work(
    platform: &Platform,
    objects: &[Value],
    predecessor: Option<Predecessor>,
    report: &Report,
) -> anyhow::Result<()> {
    report.started(platform);
    if let Some(predecessor) = predecessor {
        platform.serves().await;
        platform.settled().await;
        if let Err(error) = predecessor.serving().await {
            tracing::warn!("the process that was replaced ended before it was told to: {error:#}");
        }
    }
    service::say_ready();
    let targets = apply_all(platform, objects, report).await?;
    progress::until_ready(platform.client("coracle:up"), &targets, report).await?;
    platform.settled().await;
    report.ready(platform);
    events::follow(platform.client("coracle:up"), report).await
}

async fn apply_all(platform: &Platform, objects: &[Value], report: &Report) -> anyhow::Result<Vec<apply::Target>> {
    let client = platform.client("coracle:up");
    let mut targets = Vec::with_capacity(objects.len());
    for object in objects {
        let applied = apply::apply(&client, object).await?;
        report.applied(&applied);
        targets.push(applied.target);
    }
    Ok(targets)
}
