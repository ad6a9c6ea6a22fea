//! One task per pod: it wakes on a changed pod, a changed source, a message from the machine or a timer, looks again, and
//! carries out what the planner says (`act`). What the tasks around its containers tell is taken in by `listen`, and what there
//! is to say is written by `report`.

mod act;
mod leave;
mod listen;
mod report;
mod resize;

use std::{collections::HashMap, sync::Arc, time::Duration};

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Pod, PodSpec};
use kube::ResourceExt;
use tokio::sync::{mpsc, watch};
use tokio_util::{sync::CancellationToken, task::AbortOnDropHandle};

use crate::{
    Context,
    monitor::{Order, RETRY, Run},
    plan::plan,
    probes::Kind,
    recover,
    resize::{Resize, recovered},
    runtime::{ContainerId, ContainerStatus, Exit, SandboxStatus},
    state::{View, find_any},
    status::Failure,
};
use leave::Leaving;
use report::Report;

/// Messages that may wait; a task that has more to tell waits itself.
const WAITING: usize = 64;

/// What the tasks around a container tell its pod's worker.
#[derive(Debug)]
pub enum Message {
    /// A run has ended.
    Ended(ContainerId, Exit),
    /// A probe reached a verdict.
    Probed {
        /// The run.
        id: ContainerId,
        /// Which probe.
        kind: Kind,
        /// The verdict.
        ok: bool,
        /// The probe's own grace period in seconds.
        grace: Option<i64>,
    },
    /// The postStart hook is done.
    Hooked(ContainerId, Result<(), String>),
    /// The pod is to end for good.
    Fail(Failure),
}

/// What a previous Coracle left running of a pod.
pub type Found = (SandboxStatus, Vec<ContainerStatus>);

/// The tasks around one run; they end with it.
#[derive(Default)]
struct Tasks {
    /// The wait for its end, its hooks and its stop.
    whole: Vec<AbortOnDropHandle<()>>,
    /// The probes that may end it; none any more once it is being stopped.
    health: Vec<AbortOnDropHandle<()>>,
    /// The readiness probe, which goes on while the run is being stopped.
    readiness: Option<AbortOnDropHandle<()>>,
    /// How it is being stopped.
    order: Option<watch::Sender<Order>>,
}

/// A pod's worker.
pub struct Worker {
    ctx: Arc<Context>,
    pod: Arc<Pod>,
    view: View,
    messages: mpsc::Receiver<Message>,
    sender: mpsc::Sender<Message>,
    tasks: HashMap<String, Tasks>,
    report: Report,
    /// Something could not be written to the API and is to be tried again.
    retry: bool,
    /// Something failed on the machine: nothing more is tried before this time.
    held: Option<Timestamp>,
    /// Why it is to end for good, if it is.
    failure: Option<Failure>,
    leaving: Leaving,
    resize: Resize,
}

impl Worker {
    /// A worker for a pod, taking over what was found on the machine. The latest status is told to `told`.
    pub fn new(
        ctx: Arc<Context>,
        pod: Arc<Pod>,
        found: Option<Found>,
        told: watch::Sender<Option<Arc<k8s_openapi::api::core::v1::PodStatus>>>,
    ) -> Self {
        let (sender, messages) = mpsc::channel(WAITING);
        let view = recover::view(&pod, found.as_ref(), |id, since, exit| {
            let container = pod.spec.as_ref().and_then(|spec| find_any(spec, &id.name));
            crate::start::ended(&ctx, &pod, container.as_deref(), id, since, exit.clone())
        });
        let failure = Failure::begun(&pod).filter(|_| !recover::is_terminal(&pod));
        let resize = Resize { allocated: recovered(&pod), ..Resize::default() };
        let mut worker = Self {
            ctx,
            pod,
            view,
            messages,
            sender,
            tasks: HashMap::new(),
            report: Report::new(told),
            retry: false,
            held: None,
            failure,
            leaving: Leaving::default(),
            resize,
        };
        let runs = found.into_iter().flat_map(|(_, runs)| runs);
        for run in runs.filter(|run| run.exit.is_none()) {
            worker.watch_run(&run.id);
            worker.watch_health(&run.id.name);
        }
        worker
    }

    /// Where it is told something.
    pub fn sender(&self) -> mpsc::Sender<Message> {
        self.sender.clone()
    }

    /// As it is, but the pod has failed before it began.
    pub fn refused(self, failure: Option<Failure>) -> Self {
        Self { failure: failure.or(self.failure), ..self }
    }

    /// Runs until the pod is gone from the API, or Coracle stops (the pod then runs on).
    pub async fn run(mut self, mut pods: watch::Receiver<Option<Arc<Pod>>>, stop: CancellationToken) {
        let (mut sources, mut endpoints) = self.ctx.sources.changes();
        let mut room = self.ctx.ledger.changes();
        loop {
            let wake = self.step().await;
            let timer = async {
                match wake {
                    Some(pause) => tokio::time::sleep(pause).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = stop.cancelled() => return,
                changed = pods.changed() => if changed.is_err() { return },
                Ok(()) = sources.changed() => self.refresh(),
                Ok(()) = endpoints.changed(), if self.ends() => {}
                Ok(()) = room.changed(), if self.waits_for_room() => {}
                Some(message) = self.messages.recv() => self.take(message),
                () = timer => {}
            }
            let current = pods.borrow_and_update().clone();
            match current {
                Some(pod) => self.adopt(pod),
                None => return self.purge().await,
            }
        }
    }

    /// One round: plan, act, write the status; gives the pause until the next.
    async fn step(&mut self) -> Option<Duration> {
        self.retry = false;
        let spec = self.admit();
        loop {
            let now = self.ctx.clock.now();
            self.actuate(&spec, now).await;
            let deleted = self.is_deleted();
            let terminal = self.view.sandbox.is_none() && recover::is_terminal(&self.pod);
            let stop = deleted || terminal || self.failure.is_some();
            let mut plan = plan(&spec, stop, &self.view, now);
            let deadline = self.deadline(&spec).filter(|_| plan.ending.is_none());
            if deadline.is_some_and(|at| at <= now) {
                let failure = Failure::deadline();
                self.ctx.events.normal(&self.pod, None, &failure.reason, failure.message.clone());
                self.failure = Some(failure);
                plan = crate::plan::plan(&spec, true, &self.view, now);
            }
            self.view.initialized = plan.initialized;
            if plan.ending.is_some() && !self.view.any_running() {
                self.ctx.ledger.release(&self.pod.uid().unwrap_or_default());
            }
            if !terminal {
                self.write_status(&plan, now).await;
            }
            if plan.gone && deleted {
                self.delete().await;
            }
            let held = self.held.filter(|at| *at > now).or_else(|| self.leaves(now));
            if plan.actions.is_empty() || held.is_some() {
                let pause = |at: Timestamp| Duration::try_from(at.duration_since(now)).unwrap_or_default();
                let waits = deadline.filter(|_| self.failure.is_none());
                let due = [plan.wake, held, waits, self.resize.again];
                let due = due.into_iter().flatten().min().map(pause);
                return if self.retry { Some(due.map_or(RETRY, |pause| pause.min(RETRY))) } else { due };
            }
            for action in &plan.actions {
                self.act(&spec, action).await;
            }
        }
    }

    fn is_deleted(&self) -> bool {
        self.pod.metadata.deletion_timestamp.is_some()
    }

    /// Whether it is to end: it is deleted, or it has failed as a whole.
    fn ends(&self) -> bool {
        self.is_deleted() || self.failure.is_some()
    }

    /// When `activeDeadlineSeconds` runs out.
    fn deadline(&self, spec: &PodSpec) -> Option<Timestamp> {
        let start = self.pod.status.as_ref()?.start_time.as_ref()?.0;
        start.checked_add(jiff::SignedDuration::from_secs(spec.active_deadline_seconds?)).ok()
    }

    /// The id of a container's latest run.
    fn latest(&self, name: &str) -> ContainerId {
        let attempt = self.view.containers.get(name).and_then(|container| container.attempt).unwrap_or(0);
        ContainerId { pod_uid: self.pod.uid().unwrap_or_default(), name: name.to_owned(), attempt }
    }

    /// What the tasks around a run share; `None` if the container is not in the pod, or the pod has no address.
    fn around(&self, id: &ContainerId) -> Option<Run> {
        let container = self.pod.spec.as_ref().and_then(|spec| find_any(spec, &id.name))?;
        Some(Run {
            ctx: self.ctx.clone(),
            pod: self.pod.clone(),
            container: Arc::new(container.into_owned()),
            id: id.clone(),
            ip: self.view.sandbox?,
            sender: self.sender.clone(),
        })
    }
}

fn spawn(task: impl Future<Output = ()> + Send + 'static) -> AbortOnDropHandle<()> {
    AbortOnDropHandle::new(tokio::spawn(task))
}

#[cfg(test)]
mod tests;
