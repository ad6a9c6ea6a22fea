//! The tasks around one run of a container: the wait for its end, its probes, its hooks, and its graceful stop.

use std::{iter::successors, net::IpAddr, sync::Arc, time::Duration};

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Container, LifecycleHandler, Pod, Probe};
use tokio::{
    sync::{mpsc, watch},
    time::{Instant, MissedTickBehavior},
};

use crate::{
    Context,
    probes::{Counter, Failed, Kind, Target, seconds},
    runtime::{ContainerId, Exit, RuntimeError},
    worker::Message,
};

/// How soon the machine is asked again after it failed to answer.
pub const RETRY: Duration = Duration::from_secs(5);
/// The longest a postStart hook may take: nothing else limits it but the end of its container.
const HOOK_LIMIT: Duration = Duration::from_secs(24 * 60 * 60);
/// What a container gets to end in although its preStop hook used the whole grace period (kubelet's minimum).
pub const LEAST: Duration = Duration::from_secs(2);

/// How soon a probe is repeated, in between, while its container comes up.
const EARLY: Duration = Duration::from_millis(20);

/// How a run is to be stopped; it may change while that goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Order {
    /// When the grace period is over; `None` for no grace at all.
    pub deadline: Option<Instant>,
    /// Whether it is its turn.
    pub turn: bool,
}

/// One run of a container, and what its tasks share.
#[derive(Clone)]
pub struct Run {
    /// The node.
    pub ctx: Arc<Context>,
    /// The pod as it was when the task began.
    pub pod: Arc<Pod>,
    /// The container as specified.
    pub container: Arc<Container>,
    /// Which run.
    pub id: ContainerId,
    /// The pod's address.
    pub ip: IpAddr,
    /// Where its worker listens.
    pub sender: mpsc::Sender<Message>,
}

impl Run {
    /// Waits for the run's end and tells it.
    pub async fn ended(self) {
        let exit = loop {
            match self.ctx.runtime.wait(&self.id).await {
                Ok(exit) => break exit,
                Err(RuntimeError::NotFound(_)) => {
                    let finished_at = self.ctx.clock.now();
                    break Exit { code: 137, signal: None, oom_killed: false, finished_at };
                }
                Err(error) => tracing::warn!("wait for container {}: {error}", self.id.name),
            }
            tokio::time::sleep(RETRY).await;
        };
        self.tell(Message::Ended(self.id.clone(), exit)).await;
    }

    async fn tell(&self, message: Message) {
        // A worker that is gone needs to know nothing.
        let _ = self.sender.send(message).await;
    }

    fn target(&self, timeout: Duration) -> Target<'_> {
        Target { container: &self.container, id: &self.id, ip: self.ip, runtime: self.ctx.runtime.as_ref(), timeout }
    }

    fn probe_of(&self, kind: Kind) -> Option<&Probe> {
        match kind {
            Kind::Startup => self.container.startup_probe.as_ref(),
            Kind::Liveness => self.container.liveness_probe.as_ref(),
            Kind::Readiness => self.container.readiness_probe.as_ref(),
        }
    }

    /// Probes periodically. A startup probe ends with its first verdict, a liveness probe when it has failed. An answer that says
    /// neither yes nor no does not count.
    ///
    /// The kubelet's first question comes somewhere in the first period after the initial delay, wherever its ticker stands. Here
    /// a failure counts at the end of that period at the earliest, so that a container has `failureThreshold` whole periods; but
    /// startup and readiness are asked at its beginning and at growing distances until the first success, which counts at once: a
    /// container that comes up quickly does not wait for the period.
    pub async fn probe(self, kind: Kind, since: Timestamp) {
        let Some(probe) = self.probe_of(kind) else { return };
        let period = seconds(probe.period_seconds, 10).max(Duration::from_secs(1));
        let target = self.target(seconds(probe.timeout_seconds, 1).max(Duration::from_secs(1)));
        let comes_up = kind != Kind::Liveness;
        let mut ticks = tokio::time::interval_at(Instant::now() + self.until_first(probe, kind, since), period);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let early = successors(Some(EARLY), |pause| pause.checked_mul(2));
        let mut early = early.take_while(|pause| comes_up && *pause < period).fuse();
        let (mut up, mut pause, mut first) = (false, None, comes_up);
        let (mut counter, mut said) = (Counter::new(probe), None);
        loop {
            let regular = tokio::select! {
                _ = ticks.tick() => !std::mem::take(&mut first),
                () = tokio::time::sleep(pause.unwrap_or_default()), if pause.is_some() => false,
            };
            let answer = target.probe(probe).await;
            up |= answer.is_ok();
            pause = if up { None } else { early.next() };
            let ok = match answer {
                Ok(()) => true,
                Err(_) if !regular => continue,
                Err(failed) => {
                    self.unhealthy(kind, &failed);
                    if matches!(failed, Failed::Unknown(_)) {
                        continue;
                    }
                    false
                }
            };
            let Some(verdict) = counter.count(ok) else { continue };
            if said != Some(verdict) {
                said = Some(verdict);
                let grace = probe.termination_grace_period_seconds;
                self.tell(Message::Probed { id: self.id.clone(), kind, ok: verdict, grace }).await;
            }
            if kind == Kind::Startup || (kind == Kind::Liveness && !verdict) {
                return;
            }
        }
    }

    /// How long until a probe is asked for the first time.
    fn until_first(&self, probe: &Probe, kind: Kind, since: Timestamp) -> Duration {
        let delay = match (kind, seconds(probe.initial_delay_seconds, 0)) {
            (Kind::Liveness, Duration::ZERO) => seconds(probe.period_seconds, 10),
            (_, delay) => delay,
        };
        let age = Duration::try_from(self.ctx.clock.now().duration_since(since)).unwrap_or_default();
        delay.saturating_sub(age)
    }

    fn unhealthy(&self, kind: Kind, failed: &Failed) {
        let how = match failed {
            Failed::Unhealthy(_) => "failed",
            Failed::Unknown(_) => "errored and resulted in unknown state",
        };
        let message = format!("{} probe {how}: {failed}", kind.name());
        self.ctx.events.warning(&self.pod, Some(&self.id.name), "Unhealthy", message);
    }

    /// Runs the postStart hook and tells how it went.
    pub async fn post_start(self) {
        let hook = self.container.lifecycle.as_ref().and_then(|lifecycle| lifecycle.post_start.as_ref());
        let result = match hook {
            Some(hook) => self.hook(hook, HOOK_LIMIT).await,
            None => Ok(()),
        };
        self.tell(Message::Hooked(self.id.clone(), result)).await;
    }

    async fn hook(&self, hook: &LifecycleHandler, limit: Duration) -> Result<(), String> {
        let target = self.target(limit);
        if let Some(exec) = &hook.exec {
            target.exec(exec).await.map_err(|failed| failed.to_string())
        } else if let Some(http) = &hook.http_get {
            target.call(http).await
        } else if let Some(sleep) = &hook.sleep {
            tokio::time::sleep(Duration::from_secs(sleep.seconds.try_into().unwrap_or(0))).await;
            Ok(())
        } else {
            Err("the hook names nothing that can be run (tcpSocket never could)".to_owned())
        }
    }

    /// Ends a run: its preStop hook, SIGTERM when it is its turn, and SIGKILL when the grace period is over.
    pub async fn stop(self, mut orders: watch::Receiver<Order>) {
        let grace = orders.borrow().deadline.is_some();
        if grace {
            self.pre_stop(&mut orders).await;
            let over = deadline(orders.clone());
            tokio::select! {
                // A worker that is gone takes its tasks along.
                _ = orders.wait_for(|order| order.turn) => {}
                () = over => {}
            }
        }
        if let Err(error) = self.ctx.runtime.signal(&self.id, libc::SIGTERM).await {
            tracing::warn!("SIGTERM to container {}: {error}", self.id.name);
        }
        if grace {
            let least = tokio::time::sleep(LEAST);
            tokio::join!(deadline(orders), least);
        }
        // The run's end ends this task too: until then it is tried again.
        loop {
            if let Err(error) = self.ctx.runtime.kill(&self.id).await {
                tracing::warn!("SIGKILL to container {}: {error}", self.id.name);
            }
            tokio::time::sleep(RETRY).await;
        }
    }

    async fn pre_stop(&self, orders: &mut watch::Receiver<Order>) {
        let Some(hook) = self.container.lifecycle.as_ref().and_then(|lifecycle| lifecycle.pre_stop.as_ref()) else {
            return;
        };
        let left = orders.borrow().deadline.map(|at| at.saturating_duration_since(Instant::now())).unwrap_or_default();
        let failure = tokio::select! {
            result = self.hook(hook, left) => result.err(),
            () = deadline(orders.clone()) => Some("it was not done within the grace period".to_owned()),
        };
        if let Some(failure) = failure {
            let message = format!("PreStopHook failed: {failure}");
            self.ctx.events.warning(&self.pod, Some(&self.id.name), "FailedPreStopHook", message);
        }
    }
}

/// Resolves at the deadline, wherever it moves.
async fn deadline(mut orders: watch::Receiver<Order>) {
    loop {
        let Some(at) = orders.borrow_and_update().deadline else { return };
        tokio::select! {
            () = tokio::time::sleep_until(at) => return,
            changed = orders.changed() => if changed.is_err() {
                return tokio::time::sleep_until(at).await;
            }
        }
    }
}
