//! Node-pressure eviction, as the kubelet does it: when the machine runs short of memory or disk space, the node says so, takes no
//! pods in that promised nothing, and one pod after the other has to go until there is enough again.

mod look;
mod plan;
mod rank;
mod settings;
#[cfg(test)]
mod tests;

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use k8s_openapi::api::core::v1::{Pod, PodStatus};
use kube::ResourceExt;
use objects::quota::is_best_effort;
use tokio::{
    sync::watch,
    time::{Instant, sleep, timeout},
};
use tokio_util::sync::CancellationToken;

pub use plan::{Reading, Readings};
pub use settings::{Amount, Given, HARD, Invalid, Options, Pressure, Signal, Threshold};

use crate::{Context, runtime::ContainerId, status::Failure, worker::Message};
use plan::{Manager, Shortage, Verdict};
use rank::Candidate;

/// How often is looked, unless the kernel says that it is time (the kubelet's interval).
const INTERVAL: Duration = Duration::from_secs(10);
/// How long an evicted pod is waited for before the next one has to go (the kubelet's).
const CLEANUP: Duration = Duration::from_secs(30);

/// What the node lacks.
pub(crate) type Pressures = BTreeSet<Pressure>;

/// Reads what the machine has left. It may block for a moment.
pub(crate) type Look = Arc<dyn Fn() -> Readings + Send + Sync>;

/// A look at this machine.
pub(crate) fn look(data_dir: std::path::PathBuf) -> Look {
    Arc::new(move || look::read(&data_dir))
}

/// Watches over the machine until told to stop. What the node lacks is told to `told`.
pub(crate) async fn run(
    ctx: Arc<Context>,
    options: Options,
    look: Look,
    told: watch::Sender<Pressures>,
    stop: CancellationToken,
) {
    if options.thresholds.is_empty() {
        return;
    }
    let alarm = options.thresholds.iter().any(|t| t.signal == Signal::Memory).then(look::Alarm::set).flatten();
    let mut manager = Manager::new(options);
    loop {
        let verdict = manager.judge(&look(), Instant::now());
        tell(&ctx, &told, &verdict);
        let evicted = match &verdict.shortage {
            Some(shortage) => stop.run_until_cancelled(evict(&ctx, manager.options(), shortage)).await,
            None => Some(false),
        };
        match evicted {
            // What it gave back is seen at once.
            Some(true) => continue,
            Some(false) => {}
            None => return,
        }
        let rings = async {
            match &alarm {
                Some(alarm) => alarm.rings().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = stop.cancelled() => return,
            () = sleep(INTERVAL) => {}
            () = rings => {}
        }
    }
}

/// Says what the node lacks now, and what no more.
fn tell(ctx: &Context, told: &watch::Sender<Pressures>, verdict: &Verdict) {
    let before = told.borrow().clone();
    if let Some(shortage) = &verdict.shortage {
        let message = format!("Attempting to reclaim {}", shortage.threshold.signal.resource());
        ctx.events.node_warning("EvictionThresholdMet", message);
    }
    if before == verdict.pressures {
        return;
    }
    for pressure in [Pressure::Memory, Pressure::Disk, Pressure::Processes] {
        let (was, is) = (before.contains(&pressure), verdict.pressures.contains(&pressure));
        let reason = match (pressure, is) {
            _ if was == is => continue,
            (Pressure::Memory, true) => "NodeHasInsufficientMemory",
            (Pressure::Memory, false) => "NodeHasSufficientMemory",
            (Pressure::Disk, true) => "NodeHasDiskPressure",
            (Pressure::Disk, false) => "NodeHasNoDiskPressure",
            (Pressure::Processes, true) => "NodeHasInsufficientPID",
            (Pressure::Processes, false) => "NodeHasSufficientPID",
        };
        ctx.events.node_normal(reason, format!("Node {} status is now: {reason}", ctx.name));
    }
    told.send_replace(verdict.pressures.clone());
}

/// Tells the first pod that may be evicted to go, and waits until it has; whether there was one.
async fn evict(ctx: &Arc<Context>, options: &Options, shortage: &Shortage) -> bool {
    let signal = shortage.threshold.signal;
    for candidate in rank::rank(candidates(ctx, signal).await, signal) {
        let message = rank::message(&candidate, shortage);
        let own = candidate.pod.spec.as_ref().and_then(|spec| spec.termination_grace_period_seconds);
        let grace = Some(shortage.grace(options, own));
        let since = ctx.clock.now();
        let failure = Failure { reason: "Evicted".to_owned(), message: message.clone(), grace, disrupts: Some(since) };
        let known = {
            let pods = ctx.pods.lock().await;
            let known = pods.get(&candidate.pod.uid().unwrap_or_default());
            known.map(|known| (known.sender.clone(), known.status.clone()))
        };
        let Some((sender, mut status)) = known else { continue };
        if sender.send(Message::Fail(failure)).await.is_err() {
            continue;
        }
        tracing::warn!(
            "pod {}/{} is evicted: {message}",
            candidate.pod.namespace().unwrap_or_default(),
            candidate.pod.name_any()
        );
        ctx.events.warning(&candidate.pod, None, "Evicted", message);
        let (volumes, files) =
            (ctx.volumes_dir(&candidate.pod), ctx.runtime.files(&candidate.pod.uid().unwrap_or_default()));
        // With what it wrote: or else the next pod would have to go for what this one gives back in a moment.
        let over = |status: &Option<Arc<PodStatus>>| {
            status.as_ref().is_some_and(|status| matches!(status.phase.as_deref(), Some("Failed" | "Succeeded")))
                && !volumes.exists()
                && !files.as_ref().is_some_and(|files| files.exists())
        };
        // Its worker ends when it is deleted meanwhile; one that hangs keeps nobody from being looked at again.
        let _ = timeout(CLEANUP, status.wait_for(over)).await;
        return true;
    }
    false
}

/// The pods that run, and what they use of what is short.
async fn candidates(ctx: &Arc<Context>, signal: Signal) -> Vec<Candidate> {
    let pods = ctx.figures.memory().await;
    let going = {
        let known = ctx.pods.lock().await;
        let goes = |pod: &Pod| {
            let known = pod.uid().and_then(|uid| known.get(&uid)?.status.borrow().clone());
            known.is_some_and(|status| status.reason.as_deref() == Some("Evicted"))
        };
        pods.iter().map(|(pod, _)| goes(pod)).collect::<Vec<bool>>()
    };
    let pods = pods.into_iter().zip(going).filter(|(_, goes)| !goes).map(|(pod, _)| pod);
    let all: Vec<Candidate> = pods
        .map(|(pod, containers)| {
            let used = containers.iter().fold(0_u64, |sum, (_, used)| sum.saturating_add(*used));
            Candidate { pod, used, containers }
        })
        .collect();
    let ctx = ctx.clone();
    let counted = match signal {
        Signal::Memory => return all,
        Signal::Processes => {
            let runs = ctx.figures.containers().await;
            tokio::task::spawn_blocking(move || of_processes(&ctx, all, &runs))
        }
        _ => tokio::task::spawn_blocking(move || all.iter().map(|pod| on_disk(&ctx, pod, signal)).collect()),
    };
    // A panic there means that nobody is known to use any.
    counted.await.unwrap_or_default()
}

/// What a pod uses of the disk: its volumes, its logs and what its containers wrote.
fn on_disk(ctx: &Context, candidate: &Candidate, signal: Signal) -> Candidate {
    let count = |path: &std::path::Path| {
        let (bytes, entries) = look::disk_usage(path);
        if signal.is_bytes() { bytes } else { entries }
    };
    let pod = &candidate.pod;
    let logs = ctx.logs_dir(pod);
    let containers = candidate.containers.iter().map(|(name, _)| (name.clone(), count(&logs.join(name)))).collect();
    let files = ctx.runtime.files(&pod.uid().unwrap_or_default());
    let dirs = [Some(logs), Some(ctx.volumes_dir(pod)), files];
    let used = dirs.iter().flatten().fold(0_u64, |sum, dir| sum.saturating_add(count(dir)));
    Candidate { pod: pod.clone(), used, containers }
}

/// How many processes and threads each pod has, given the containers that run.
fn of_processes(ctx: &Context, mut all: Vec<Candidate>, runs: &[ContainerId]) -> Vec<Candidate> {
    let counts = ctx.runtime.processes(runs);
    for candidate in &mut all {
        let is_its = |run: &ContainerId| candidate.pod.metadata.uid.as_ref() == Some(&run.pod_uid);
        let its = runs.iter().zip(&counts).filter(|(run, _)| is_its(run));
        (candidate.used, candidate.containers) = (its.map(|(_, count)| count).sum(), Vec::new());
    }
    all
}

/// Why a pod that has not begun is not taken in while the node lacks something, if it is not.
pub(crate) fn refusal(pod: &Pod, pressures: &Pressures) -> Option<Failure> {
    let spec = pod.spec.as_ref()?;
    let tolerates = spec.tolerations.iter().flatten().any(|t| {
        let key = t.key.as_deref().unwrap_or_default();
        (key.is_empty() && t.operator.as_deref() == Some("Exists") || key == "node.kubernetes.io/memory-pressure")
            && t.effect.as_deref().is_none_or(|effect| effect.is_empty() || effect == "NoSchedule")
    });
    let why = plan::refuses(pressures, rank::is_critical(pod), is_best_effort(spec), tolerates)?;
    let message = format!("Pod was rejected: {why}");
    Some(Failure { reason: "Evicted".to_owned(), message, grace: None, disrupts: None })
}
