//! One task per pod: it wakes on a changed pod, a changed source, a message from the machine or a timer, looks again, and
//! carries out what the planner says.

use std::{collections::HashMap, sync::Arc, time::Duration};

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Pod, PodSpec, PodStatus};
use kube::{
    Api, ResourceExt,
    api::{DeleteParams, Patch, PatchParams, Preconditions},
};
use serde_json::json;
use tokio::sync::{mpsc, watch};
use tokio_util::{sync::CancellationToken, task::AbortOnDropHandle};

use crate::{
    Context, monitor,
    plan::{Action, Plan, plan},
    probes::Kind,
    runtime::{ContainerId, ContainerStatus, Exit, SandboxSpec, SandboxStatus},
    start,
    state::{Ended, State, Unhealthy, View, find},
    status, volumes,
};

/// How soon something that failed on the machine or at the API is tried again.
const RETRY: Duration = Duration::from_secs(5);

/// What the tasks around a container tell its pod's worker.
#[derive(Debug)]
pub enum Message {
    /// A run has ended.
    Ended(ContainerId, Exit),
    /// A probe reached a verdict.
    Probed(ContainerId, Kind, bool, String, Option<i64>),
    /// The postStart hook failed.
    HookFailed(ContainerId, String),
}

/// What a previous Coracle left running of a pod.
pub type Found = (SandboxStatus, Vec<ContainerStatus>);

/// A pod's worker.
pub struct Worker {
    ctx: Arc<Context>,
    pod: Arc<Pod>,
    view: View,
    messages: mpsc::Receiver<Message>,
    sender: mpsc::Sender<Message>,
    /// The tasks around each run, ended with it.
    tasks: HashMap<String, Vec<AbortOnDropHandle<()>>>,
    written: Option<serde_json::Value>,
    last: Option<PodStatus>,
    /// Tells the node's endpoint the latest status.
    told: watch::Sender<Option<Arc<PodStatus>>>,
    retry: bool,
    expired: bool,
}

impl Worker {
    /// A worker for a pod, taking over what was found on the machine.
    pub fn new(
        ctx: Arc<Context>,
        pod: Arc<Pod>,
        found: Option<Found>,
        told: watch::Sender<Option<Arc<PodStatus>>>,
    ) -> Self {
        let (sender, messages) = mpsc::channel(64);
        let view = crate::recover::view(&pod, found.as_ref());
        let mut worker = Self {
            ctx,
            pod,
            view,
            messages,
            sender,
            tasks: HashMap::new(),
            written: None,
            last: None,
            told,
            retry: false,
            expired: false,
        };
        let running: Vec<ContainerId> =
            found.into_iter().flat_map(|(_, c)| c).filter(|c| c.exit.is_none()).map(|c| c.id).collect();
        for id in running {
            worker.watch_run(id);
        }
        worker
    }

    /// Runs until the pod is gone from the API, or Coracle stops (the pod then runs on).
    pub async fn run(mut self, mut pods: watch::Receiver<Option<Arc<Pod>>>, stop: CancellationToken) {
        let mut sources = self.ctx.sources.changes();
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
                Ok(()) = sources.changed() => self.refresh_volumes(),
                Some(message) = self.messages.recv() => self.take(message).await,
                () = timer => {}
            }
            let current = pods.borrow_and_update().clone();
            match current {
                Some(pod) => self.adopt(pod),
                None => return self.purge().await,
            }
        }
    }

    /// Takes a newer object over. The watch may lag behind what was written here, so of its status only the conditions of
    /// others count.
    fn adopt(&mut self, pod: Arc<Pod>) {
        self.pod = pod;
        let Some(last) = &self.last else { return };
        let mut status = last.clone();
        let theirs = self.pod.status.iter().flat_map(|s| s.conditions.iter().flatten());
        let theirs: Vec<_> = theirs.filter(|c| !status::is_ours(&c.type_)).cloned().collect();
        let conditions = status.conditions.get_or_insert_default();
        conditions.retain(|c| status::is_ours(&c.type_));
        conditions.extend(theirs);
        Arc::make_mut(&mut self.pod).status = Some(status);
    }

    /// One round: plan, act, write the status; gives the pause until the next.
    async fn step(&mut self) -> Option<Duration> {
        self.retry = false;
        let spec = self.pod.spec.clone().unwrap_or_default();
        loop {
            let now = Timestamp::now();
            let deleted = self.pod.metadata.deletion_timestamp.is_some();
            let terminal = self.view.sandbox.is_none() && crate::recover::is_terminal(&self.pod);
            self.expired |= expires(&self.pod, &spec).is_some_and(|at| at <= now);
            let plan = plan(&spec, deleted || terminal || self.expired, &self.view, now);
            self.view.initialized = plan.initialized;
            if deleted {
                // Endpoints stop naming the pod before its processes are told to end.
                self.view.containers.values_mut().for_each(|c| c.ready = false);
            }
            if !terminal {
                self.write_status(&plan, now).await;
            }
            if plan.gone && deleted {
                self.delete().await;
            }
            if plan.actions.is_empty() || self.retry {
                let due = [plan.wake, expires(&self.pod, &spec).filter(|_| !self.expired && plan.ending.is_none())];
                let wake = due.into_iter().flatten().min();
                let wake = wake.map(|at| Duration::try_from(at.duration_since(now)).unwrap_or_default());
                return if self.retry { Some(wake.map_or(RETRY, |w| w.min(RETRY))) } else { wake };
            }
            for action in &plan.actions {
                self.act(&spec, action).await;
            }
        }
    }

    async fn act(&mut self, spec: &PodSpec, action: &Action) {
        match action {
            Action::RunSandbox => self.run_sandbox(spec).await,
            Action::Start(name) => self.start(spec, name).await,
            Action::Stop { name, message, grace } => self.stop_container(spec, name, message, *grace).await,
            Action::RemoveSandbox => match self.ctx.runtime.remove_sandbox(&self.pod.uid().unwrap_or_default()).await {
                Ok(()) => self.view.sandbox = None,
                Err(error) => self.failed("FailedKillPod", &format!("error killing pod: {error}")).await,
            },
        }
    }

    async fn failed(&mut self, reason: &str, message: &str) {
        self.retry = true;
        self.ctx.events.pod(&self.pod, None, "Warning", reason, message).await;
    }

    async fn run_sandbox(&mut self, spec: &PodSpec) {
        let volumes = volumes::prepare(&self.pod, &self.ctx.volumes_dir(&self.pod), &self.ctx.sources);
        match volumes {
            Ok(warnings) => {
                for warning in warnings {
                    self.ctx.events.pod(&self.pod, None, "Warning", "NotHonoured", &warning).await;
                }
            }
            Err(error) => return self.failed("FailedMount", &format!("MountVolume.SetUp failed: {error}")).await,
        }
        let mounted = |c: &k8s_openapi::api::core::v1::Container| c.volume_mounts.iter().flatten().next().is_some();
        if !self.ctx.runtime.features().mounts && crate::state::init(spec).iter().chain(&spec.containers).any(mounted) {
            let runtime = self.ctx.runtime.name();
            let message =
                format!("the {runtime} runtime cannot mount volumes; they are linked at their paths where possible");
            self.ctx.events.pod(&self.pod, None, "Warning", "NotHonoured", &message).await;
        }
        let sandbox = sandbox_spec(&self.ctx, &self.pod, spec);
        match self.ctx.runtime.run_sandbox(&sandbox).await {
            Ok(status) => self.view.sandbox = Some(status.ip),
            Err(error) => {
                let message = format!("Failed to create pod sandbox: {error}");
                self.failed("FailedCreatePodSandBox", &message).await;
            }
        }
    }

    async fn start(&mut self, spec: &PodSpec, name: &str) {
        let (Some(container), Some(ip)) = (find(spec, name).cloned(), self.view.sandbox) else { return };
        let seen = self.view.container(name);
        let attempt = seen.attempt.map_or(0, |n| n.saturating_add(1));
        let id = ContainerId { pod_uid: self.pod.uid().unwrap_or_default(), name: name.to_owned(), attempt };
        let ctx = self.ctx.clone();
        let prepared = match start::prepare(&ctx, &self.pod, &container, id.clone(), ip) {
            Ok(prepared) => prepared,
            Err(blocked) => {
                ctx.events
                    .pod(&self.pod, Some(name), "Warning", "Failed", &format!("Error: {}", blocked.message))
                    .await;
                self.view.containers.entry(name.to_owned()).or_default().blocked = Some(blocked);
                return;
            }
        };
        let image = container.image.as_deref().unwrap_or_default();
        let event = |reason, message: String| {
            let (ctx, pod) = (ctx.clone(), self.pod.clone());
            async move { ctx.events.pod(&pod, Some(name), "Normal", reason, &message).await }
        };
        event("Pulled", format!("Container image {image:?} already present on machine")).await;
        let result = ctx.runtime.start(&prepared).await;
        event("Created", format!("Created container: {name}")).await;
        let entry = self.view.containers.entry(name.to_owned()).or_default();
        match result {
            Ok(status) => {
                let startup = container.startup_probe.is_some();
                let ready = container.readiness_probe.is_none();
                entry.begin(attempt, status.started_at, !startup, ready);
                event("Started", format!("Started container {name}")).await;
                self.watch_run(id.clone());
                self.post_start(&container, id.clone());
                self.forget(id).await;
            }
            Err(error) => {
                let now = Timestamp::now();
                entry.begin(attempt, now, false, false);
                let (reason, message) = ("StartError".to_owned(), Some(error.to_string()));
                entry.end(Ended {
                    attempt,
                    code: 128,
                    signal: None,
                    reason,
                    message,
                    started_at: now,
                    finished_at: now,
                });
                ctx.events.pod(&self.pod, Some(name), "Warning", "Failed", &format!("Error: {error}")).await;
            }
        }
    }

    /// Forgets the run before this one, and the log of the one before that.
    async fn forget(&self, mut id: ContainerId) {
        let logs = self.ctx.logs_dir(&self.pod).join(&id.name);
        if let Some(older) = id.attempt.checked_sub(2) {
            for file in crate::logs::files(&logs.join(format!("{older}.log"))) {
                // It is gone already when that run never started.
                let _ = std::fs::remove_file(file);
            }
        }
        let Some(before) = id.attempt.checked_sub(1) else { return };
        id.attempt = before;
        if let Err(error) = self.ctx.runtime.remove(&id).await {
            tracing::debug!("forget run {before} of container {}: {error}", id.name);
        }
    }

    /// Starts the tasks that wait for the run's end and probe it.
    fn watch_run(&mut self, id: ContainerId) {
        let (runtime, sender) = (self.ctx.runtime.clone(), self.sender.clone());
        let run = id.clone();
        let waiter = tokio::spawn(async move {
            loop {
                match runtime.wait(&run).await {
                    Ok(exit) => return drop(sender.send(Message::Ended(run, exit)).await),
                    Err(crate::runtime::RuntimeError::NotFound(_)) => {
                        let exit = Exit { code: 137, signal: None, oom_killed: false, finished_at: Timestamp::now() };
                        return drop(sender.send(Message::Ended(run, exit)).await);
                    }
                    Err(error) => tracing::warn!("wait for container {}: {error}", run.name),
                }
                tokio::time::sleep(RETRY).await;
            }
        });
        let mut tasks = vec![AbortOnDropHandle::new(waiter)];
        let container = self.pod.spec.as_ref().and_then(|spec| find(spec, &id.name)).cloned();
        if let (Some(container), Some(ip)) = (container, self.view.sandbox) {
            let started = self.view.container(&id.name).started;
            let probing = monitor::run(
                self.ctx.clone(),
                self.pod.clone(),
                container,
                id.clone(),
                ip,
                started,
                self.sender.clone(),
            );
            tasks.push(AbortOnDropHandle::new(tokio::spawn(probing)));
        }
        self.tasks.insert(id.name, tasks);
    }

    fn post_start(&mut self, container: &k8s_openapi::api::core::v1::Container, id: ContainerId) {
        let Some(hook) = container.lifecycle.as_ref().and_then(|l| l.post_start.clone()) else { return };
        let Some(ip) = self.view.sandbox else { return };
        let (ctx, container, sender) = (self.ctx.clone(), container.clone(), self.sender.clone());
        let name = id.name.clone();
        let task = tokio::spawn(async move {
            if let Err(error) = monitor::hook(&ctx, &container, &id, ip, &hook, monitor::HOOK_LIMIT).await {
                drop(sender.send(Message::HookFailed(id, error)).await);
            }
        });
        self.tasks.entry(name).or_default().push(AbortOnDropHandle::new(task));
    }

    async fn stop_container(&mut self, spec: &PodSpec, name: &str, message: &str, grace: Option<i64>) {
        let (Some(container), Some(ip)) = (find(spec, name).cloned(), self.view.sandbox) else { return };
        let Some(entry) = self.view.containers.get_mut(name) else { return };
        (entry.stopping, entry.ready) = (true, false);
        let id = ContainerId {
            pod_uid: self.pod.uid().unwrap_or_default(),
            name: name.to_owned(),
            attempt: entry.attempt.unwrap_or(0),
        };
        let of_pod =
            self.pod.metadata.deletion_grace_period_seconds.or(spec.termination_grace_period_seconds).unwrap_or(30);
        let grace = Duration::from_secs(grace.unwrap_or(of_pod).try_into().unwrap_or(0));
        self.ctx.events.pod(&self.pod, Some(name), "Normal", "Killing", message).await;
        let ctx = self.ctx.clone();
        let task = tokio::spawn(async move { monitor::stop(&ctx, &container, &id, ip, grace).await });
        self.tasks.entry(name.to_owned()).or_default().push(AbortOnDropHandle::new(task));
    }

    async fn take(&mut self, message: Message) {
        let (id, text) = match &message {
            Message::Ended(id, _) => (id.clone(), String::new()),
            Message::Probed(id, _, _, text, _) | Message::HookFailed(id, text) => (id.clone(), text.clone()),
        };
        let Some(entry) = self.view.containers.get_mut(&id.name) else { return };
        let State::Running { since } = entry.state else { return };
        if entry.attempt != Some(id.attempt) {
            return;
        }
        match message {
            Message::Ended(id, exit) => {
                self.tasks.remove(&id.name);
                let container = self.pod.spec.as_ref().and_then(|spec| find(spec, &id.name));
                let ended = start::ended(&self.ctx, &self.pod, container, &id, since, exit);
                entry.end(ended);
                self.note_back_off(&id.name).await;
            }
            Message::Probed(_, Kind::Startup, true, ..) => entry.started = true,
            Message::Probed(_, Kind::Readiness, ok, ..) => entry.ready = ok,
            Message::Probed(_, Kind::Liveness, true, ..) => {}
            Message::Probed(_, kind, false, _, grace) => {
                let message =
                    format!("Container {} failed {} probe, will be restarted", id.name, kind.name().to_lowercase());
                entry.unhealthy = Some(Unhealthy { message, grace });
            }
            Message::HookFailed(..) => {
                entry.unhealthy = Some(Unhealthy { message: "FailedPostStartHook".to_owned(), grace: None });
                self.ctx.events.pod(&self.pod, Some(&id.name), "Warning", "FailedPostStartHook", &text).await;
            }
        }
    }

    async fn note_back_off(&mut self, name: &str) {
        let seen = self.view.container(name);
        let deleted = self.pod.metadata.deletion_timestamp.is_some();
        let policy = self.pod.spec.as_ref().and_then(|s| s.restart_policy.as_deref()).unwrap_or("Always");
        if deleted || seen.back_off().is_zero() || !crate::plan::restarts(policy, &seen) {
            return;
        }
        if let Some(container) = self.pod.spec.as_ref().and_then(|spec| find(spec, name)) {
            let message = status::back_off_message(&self.pod, container, &seen);
            let message = message.replacen("back-off", "Back-off", 1);
            let message = message.split_once(' ').map_or(message.clone(), |(head, tail)| {
                let tail = tail.split_once(' ').map_or(tail, |(_, tail)| tail);
                format!("{head} {}", tail.replacen("container=", "container ", 1).replacen("pod=", "in pod ", 1))
            });
            self.ctx.events.pod(&self.pod, Some(name), "Warning", "BackOff", &message).await;
        }
    }

    fn refresh_volumes(&mut self) {
        // What a container waits for may be there now.
        for container in self.view.containers.values_mut().filter(|c| c.blocked.is_some()) {
            if let Some(blocked) = &mut container.blocked {
                blocked.until = Timestamp::now();
            }
        }
        if self.view.sandbox.is_none() || self.pod.metadata.deletion_timestamp.is_some() {
            return;
        }
        if let Err(error) = volumes::prepare(&self.pod, &self.ctx.volumes_dir(&self.pod), &self.ctx.sources) {
            tracing::warn!("volumes of pod {}: {error}", self.pod.name_any());
        }
    }

    async fn write_status(&mut self, plan: &Plan, now: Timestamp) {
        let deleted = self.pod.metadata.deletion_timestamp.is_some();
        let failure = (self.expired && !deleted)
            .then_some(("DeadlineExceeded", "Pod was active on the node longer than the specified deadline"));
        let facts = status::Facts { view: &self.view, plan, host_ip: self.ctx.internal_ip, failure, now };
        let status = status::build(&self.pod, facts);
        let Ok(value) = serde_json::to_value(&status) else { return };
        if self.written.as_ref() == Some(&value) {
            return;
        }
        self.told.send_replace(Some(Arc::new(status.clone())));
        let api: Api<Pod> = Api::namespaced(self.ctx.client.clone(), &self.pod.namespace().unwrap_or_default());
        let patch = json!({"metadata": {"uid": self.pod.uid()}, "status": value});
        match api.patch_status(&self.pod.name_any(), &PatchParams::default(), &Patch::Merge(patch)).await {
            Ok(_) => {
                // Times of conditions carry over from what was written, whether or not the watch has shown it yet.
                Arc::make_mut(&mut self.pod).status = Some(status.clone());
                self.last = Some(status);
                self.written = Some(value);
            }
            Err(kube::Error::Api(status)) if status.code == 404 => {}
            Err(error) => {
                self.retry = true;
                tracing::warn!("status of pod {}: {error}", self.pod.name_any());
            }
        }
    }

    async fn delete(&mut self) {
        let api: Api<Pod> = Api::namespaced(self.ctx.client.clone(), &self.pod.namespace().unwrap_or_default());
        let preconditions = Some(Preconditions { uid: self.pod.uid(), ..Preconditions::default() });
        let params = DeleteParams { preconditions, ..DeleteParams::default().grace_period(0) };
        match api.delete(&self.pod.name_any(), &params).await {
            Ok(_) => {}
            Err(kube::Error::Api(status)) if status.code == 404 || status.code == 409 => {}
            Err(error) => {
                self.retry = true;
                tracing::warn!("delete pod {}: {error}", self.pod.name_any());
            }
        }
    }

    /// The object is gone: whatever is left of the pod goes too.
    async fn purge(mut self) {
        self.tasks.clear();
        let uid = self.pod.uid().unwrap_or_default();
        while let Err(error) = self.ctx.runtime.remove_sandbox(&uid).await {
            tracing::warn!("remove pod {}: {error}", self.pod.name_any());
            tokio::time::sleep(RETRY).await;
        }
        for dir in [self.ctx.volumes_dir(&self.pod), self.ctx.logs_dir(&self.pod)] {
            volumes::remove(&dir);
        }
    }
}

/// When `activeDeadlineSeconds` runs out.
fn expires(pod: &Pod, spec: &PodSpec) -> Option<Timestamp> {
    let start = pod.status.as_ref()?.start_time.as_ref()?.0;
    start.checked_add(jiff::SignedDuration::from_secs(spec.active_deadline_seconds?)).ok()
}

fn sandbox_spec(ctx: &Context, pod: &Pod, spec: &PodSpec) -> SandboxSpec {
    let namespace = pod.namespace().unwrap_or_default();
    let aliases = spec.host_aliases.as_deref().unwrap_or_default();
    let aliases =
        aliases.iter().map(|a| format!("{}\t{}\n", a.ip, a.hostnames.as_deref().unwrap_or_default().join("\t")));
    SandboxSpec {
        pod_uid: pod.uid().unwrap_or_default(),
        name: pod.name_any(),
        hostname: start::hostname(pod),
        resolv_conf: start::resolv_conf(ctx.dns.as_ref(), spec, &namespace),
        host_aliases: aliases.collect(),
        host_network: spec.host_network.unwrap_or(false),
        share_processes: spec.share_process_namespace.unwrap_or(false),
        namespace,
    }
}
