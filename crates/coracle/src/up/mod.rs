//! `coracle up`: start, apply, show progress until what was applied is ready, print the addresses, then notable events.

mod events;
mod progress;
mod report;

use std::path::PathBuf;

use anyhow::Context;
use serde_json::Value;
use tokio::signal::unix::{SignalKind, signal};

use crate::{
    apply,
    cli::Up,
    config::{Config, Machine},
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
    runtime.block_on(serve(config, objects, report))
}

/// Everything the manifests hold, in the order in which it is applied. Read before anything starts, so that a mistake in a
/// file costs nothing.
fn read(kustomizations: &[PathBuf], files: &[PathBuf]) -> anyhow::Result<Vec<Value>> {
    let mut objects = Vec::new();
    for folder in kustomizations {
        objects.extend(manifests::build(folder)?.into_iter().map(|object| object.value));
    }
    for file in files {
        objects.extend(manifests::load(file)?.into_iter().map(|object| object.value));
    }
    Ok(apply::in_order(objects))
}

async fn serve(config: Config, objects: Vec<Value>, report: Report) -> anyhow::Result<()> {
    let mut interrupt = signal(SignalKind::interrupt()).context("listen for Ctrl-C")?;
    let mut terminate = signal(SignalKind::terminate()).context("listen for SIGTERM")?;
    let (platform, mut tasks) = Platform::start(&config).await?;
    let work = async {
        report.started(&platform);
        let targets = apply_all(&platform, &objects, &report).await?;
        progress::until_ready(platform.client("coracle:up"), &targets, &report).await?;
        platform.settled().await;
        report.ready(&platform);
        events::follow(platform.client("coracle:up"), &report).await
    };
    // An administrator who presses Ctrl-C wants everything to end; a service manager that sends SIGTERM usually starts the next
    // version at once, and the pods serve on meanwhile.
    let (result, pods) = tokio::select! {
        result = work => (result, Pods::Stop),
        error = tasks.failed() => (Err(error), Pods::Keep),
        _ = interrupt.recv() => (Ok(()), Pods::Stop),
        _ = terminate.recv() => (Ok(()), Pods::Keep),
    };
    report.stopping();
    let end = async {
        tasks.stop().await;
        platform.end(pods).await;
    };
    tokio::select! {
        () = end => report.stopped(&config.data_dir),
        // Who presses Ctrl-C again does not want to wait for requests and pods.
        _ = interrupt.recv() => report.stopped(&config.data_dir),
    }
    result
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
