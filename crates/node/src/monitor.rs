//! The tasks around one run of a container: its probes, its hooks, and its graceful end.

use std::{net::IpAddr, sync::Arc, time::Duration};

use futures::future::join;
use k8s_openapi::api::core::v1::{Container, LifecycleHandler, Pod, Probe};
use tokio::{
    sync::mpsc,
    time::{Instant, MissedTickBehavior},
};

use crate::{
    Context,
    probes::{Counter, Kind, Target, seconds},
    runtime::ContainerId,
    worker::Message,
};

/// The longest a postStart hook may take.
pub const HOOK_LIMIT: Duration = Duration::from_secs(600);
/// What a container gets after its preStop hook used the whole grace period.
const LEAST: Duration = Duration::from_secs(2);

/// Probes a run until the task is dropped: first the startup probe, then liveness and readiness.
pub async fn run(
    ctx: Arc<Context>,
    pod: Arc<Pod>,
    container: Container,
    id: ContainerId,
    ip: IpAddr,
    started: bool,
    sender: mpsc::Sender<Message>,
) {
    let watch = Watch { ctx: &ctx, pod: &pod, container: &container, id: &id, ip, sender: &sender };
    if let (Some(probe), false) = (&container.startup_probe, started) {
        watch.probe(Kind::Startup, probe).await;
    }
    let liveness = async {
        if let Some(probe) = &container.liveness_probe {
            watch.probe(Kind::Liveness, probe).await;
        }
    };
    let readiness = async {
        if let Some(probe) = &container.readiness_probe {
            watch.probe(Kind::Readiness, probe).await;
        }
    };
    join(liveness, readiness).await;
}

struct Watch<'a> {
    ctx: &'a Context,
    pod: &'a Pod,
    container: &'a Container,
    id: &'a ContainerId,
    ip: IpAddr,
    sender: &'a mpsc::Sender<Message>,
}

impl Watch<'_> {
    /// Probes periodically; a startup probe ends with its first verdict.
    async fn probe(&self, kind: Kind, probe: &Probe) {
        let period = seconds(probe.period_seconds, 10).max(Duration::from_secs(1));
        let timeout = seconds(probe.timeout_seconds, 1).max(Duration::from_secs(1));
        let target =
            Target { container: self.container, id: self.id, ip: self.ip, runtime: self.ctx.runtime.as_ref(), timeout };
        let mut counter = Counter::new(probe);
        let mut ticks = tokio::time::interval_at(Instant::now() + seconds(probe.initial_delay_seconds, 0), period);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut said = None;
        loop {
            ticks.tick().await;
            let result = target.probe(probe).await;
            let text = result.as_ref().err().cloned().unwrap_or_default();
            if result.is_err() {
                let message = format!("{} probe failed: {text}", kind.name());
                self.ctx.events.pod(self.pod, Some(&self.id.name), "Warning", "Unhealthy", &message).await;
            }
            let Some(verdict) = counter.count(result.is_ok()) else { continue };
            if said != Some(verdict) {
                said = Some(verdict);
                let grace = probe.termination_grace_period_seconds;
                let message = Message::Probed(self.id.clone(), kind, verdict, text, grace);
                if self.sender.send(message).await.is_err() {
                    return;
                }
            }
            if kind == Kind::Startup {
                return;
            }
        }
    }
}

/// Runs a postStart or preStop hook.
///
/// # Errors
/// Says why it failed or that it took too long.
pub async fn hook(
    ctx: &Context,
    container: &Container,
    id: &ContainerId,
    ip: IpAddr,
    hook: &LifecycleHandler,
    limit: Duration,
) -> Result<(), String> {
    let target = Target { container, id, ip, runtime: ctx.runtime.as_ref(), timeout: limit };
    if let Some(exec) = &hook.exec {
        target.exec(exec).await
    } else if let Some(http) = &hook.http_get {
        target.http(http).await
    } else if let Some(sleep) = &hook.sleep {
        tokio::time::sleep(Duration::from_secs(sleep.seconds.try_into().unwrap_or(0)).min(limit)).await;
        Ok(())
    } else {
        Err("a tcpSocket hook has no effect".to_owned())
    }
}

/// Ends a run: preStop, SIGTERM, and SIGKILL when the grace period is over.
pub async fn stop(ctx: &Context, container: &Container, id: &ContainerId, ip: IpAddr, grace: Duration) {
    let begun = Instant::now();
    if let Some(pre_stop) = container.lifecycle.as_ref().and_then(|l| l.pre_stop.as_ref()).filter(|_| !grace.is_zero())
    {
        let result = tokio::time::timeout(grace, hook(ctx, container, id, ip, pre_stop, grace)).await;
        if let Ok(Err(error)) = result {
            tracing::warn!("preStop hook of container {}: {error}", id.name);
        }
    }
    let left = grace.saturating_sub(begun.elapsed()).max(if grace.is_zero() { Duration::ZERO } else { LEAST });
    if let Err(error) = ctx.runtime.signal(id, libc::SIGTERM).await {
        tracing::warn!("SIGTERM to container {}: {error}", id.name);
    }
    if tokio::time::timeout(left, ctx.runtime.wait(id)).await.is_err()
        && let Err(error) = ctx.runtime.kill(id).await
    {
        tracing::warn!("SIGKILL to container {}: {error}", id.name);
    }
}
