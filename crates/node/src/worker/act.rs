//! Carrying out what the planner says.

use std::time::Duration;

use k8s_openapi::api::core::v1::{Pod, PodSpec};
use kube::ResourceExt;
use tokio::{sync::watch, time::Instant};

use super::{Tasks, Worker, spawn};
use crate::{
    Context,
    monitor::{Order, RETRY},
    plan::{Action, has_post_start},
    resolver,
    runtime::{ContainerId, ContainerSpec, RuntimeError, SandboxSpec, native},
    start,
    state::{Begin, Blocked, Ended, delay, find_any},
    unhonoured, volumes,
};

impl Worker {
    pub(super) async fn act(&mut self, spec: &PodSpec, action: &Action) {
        match action {
            Action::RunSandbox => self.run_sandbox(spec).await,
            Action::Start(name) => self.start(spec, name).await,
            Action::AwaitImage(name) => self.await_image(spec, name),
            Action::Stop { name, message, grace, turn } => self.stop(spec, name, message, *grace, *turn),
            Action::Turn(name) => {
                if let Some(container) = self.view.containers.get_mut(name) {
                    container.turn = true;
                }
                if let Some(order) = self.tasks.get(name).and_then(|tasks| tasks.order.as_ref()) {
                    order.send_modify(|order| order.turn = true);
                }
            }
            Action::RemoveSandbox => match self.ctx.runtime.remove_sandbox(&self.pod.uid().unwrap_or_default()).await {
                Ok(()) => {
                    self.view.sandbox = None;
                    self.clear().await;
                }
                Err(error) => self.failed("FailedKillPod", &format!("error killing pod: {error}")),
            },
        }
    }

    fn failed(&mut self, reason: &str, message: &str) {
        self.held = self.ctx.clock.now().checked_add(RETRY).ok();
        self.ctx.events.warning(&self.pod, None, reason, message);
    }

    async fn run_sandbox(&mut self, spec: &PodSpec) {
        let events = &self.ctx.events;
        if self.view.containers.values().any(|container| container.attempt.is_some()) {
            events.normal(&self.pod, None, "SandboxChanged", "Pod sandbox changed, it will be killed and re-created.");
        }
        match volumes::prepare(&self.pod, &self.ctx.volumes_dir(&self.pod), &self.ctx.sources, self.ctx.clock.now()) {
            Ok(mut warnings) => {
                warnings.extend(unhonoured::by_node(spec, self.ctx.runtime.name(), self.ctx.runtime.features()));
                for warning in warnings {
                    events.warning(&self.pod, None, "NotHonoured", warning);
                }
            }
            Err(error) => return self.failed("FailedMount", &error),
        }
        let made = match sandbox_spec(&self.ctx, &self.pod, spec) {
            Ok(sandbox) => self.ctx.runtime.run_sandbox(&sandbox).await.map_err(|error| error.to_string()),
            Err(error) => Err(error),
        };
        match made {
            Ok(status) => self.view.sandbox = Some(status.ip),
            Err(error) => self.failed("FailedCreatePodSandBox", &format!("Failed to create pod sandbox: {error}")),
        }
    }

    async fn start(&mut self, spec: &PodSpec, name: &str) {
        let (Some(container), Some(ip)) = (find_any(spec, name), self.view.sandbox) else { return };
        let attempt = self.view.container(name).attempt.map_or(0, |n| n.saturating_add(1));
        let id = ContainerId { attempt, ..self.latest(name) };
        let image = container.image.clone().unwrap_or_default();
        let prepared = start::prepare(&self.ctx, &self.pod, &container, id.clone(), ip);
        let prepared = match prepared.and_then(|prepared| self.among(spec, name, prepared)) {
            Ok(prepared) => prepared,
            Err(blocked) => return self.blocked(name, &image, blocked),
        };
        let (ctx, pod) = (self.ctx.clone(), self.pod.clone());
        let normal = |reason, message: String| ctx.events.normal(&pod, Some(name), reason, message);
        normal("Pulled", format!("Container image {image:?} already present on machine"));
        let result = ctx.runtime.start(&prepared).await;
        let begin = Begin {
            attempt,
            image,
            size: container.resources.clone().unwrap_or_default(),
            hook: has_post_start(&container),
            started: container.startup_probe.is_none(),
            ready: container.readiness_probe.is_none(),
        };
        match result {
            Ok(status) => {
                normal("Created", format!("Created container: {name}"));
                normal("Started", format!("Started container {name}"));
                self.view.containers.entry(name.to_owned()).or_default().begin(begin, status.started_at);
                self.watch_run(&id);
                self.watch_health(name);
                self.forget(id).await;
            }
            Err(error) => self.not_started(name, begin, &error),
        }
    }

    /// Puts an ephemeral container among the processes of its target, where the runtime separates them at all.
    fn among(&self, spec: &PodSpec, name: &str, mut prepared: ContainerSpec) -> Result<ContainerSpec, Blocked> {
        let Some(ephemeral) = spec.ephemeral_containers.iter().flatten().find(|one| one.name == name) else {
            return Ok(prepared);
        };
        let (runtime, features) = (self.ctx.runtime.name(), self.ctx.runtime.features());
        for warning in unhonoured::by_ephemeral(ephemeral, runtime, features) {
            self.ctx.events.warning(&self.pod, Some(name), "NotHonoured", warning);
        }
        let target =
            ephemeral.target_container_name.as_deref().filter(|target| !target.is_empty() && features.isolation);
        if let Some(target) = target {
            if !self.view.container(target).running() {
                let message = format!("unable to find target container {target}");
                return Err(start::config_error(&self.ctx, message));
            }
            prepared.processes_of = Some(self.latest(target));
        }
        Ok(prepared)
    }

    /// A run that never was counts as one that failed, as with a container runtime.
    fn not_started(&mut self, name: &str, begin: Begin, error: &RuntimeError) {
        self.ctx.events.warning(&self.pod, Some(name), "Failed", format!("Error: {error}"));
        let (now, attempt) = (self.ctx.clock.now(), begin.attempt);
        let entry = self.view.containers.entry(name.to_owned()).or_default();
        entry.begin(begin, now);
        entry.end(Ended {
            attempt,
            code: 128,
            signal: None,
            reason: "StartError".to_owned(),
            message: Some(error.to_string()),
            started_at: now,
            finished_at: now,
        });
        self.note_back_off(name);
    }

    /// A container that cannot be started yet.
    fn blocked(&mut self, name: &str, image: &str, mut blocked: Blocked) {
        let warning = |reason, message: String| self.ctx.events.warning(&self.pod, Some(name), reason, message);
        let entry = self.view.containers.entry(name.to_owned()).or_default();
        match blocked.reason.as_str() {
            "ErrImagePull" => {
                entry.pulls = entry.pulls.saturating_add(1);
                let now = self.ctx.clock.now();
                blocked.until = now.saturating_add(delay(entry.pulls)).unwrap_or(now);
                warning("Failed", format!("Failed to pull image {image:?}: {}", blocked.message));
                warning("Failed", "Error: ErrImagePull".to_owned());
            }
            "ErrImageNeverPull" => {
                warning("ErrImageNeverPull", blocked.message.clone());
                warning("Failed", "Error: ErrImageNeverPull".to_owned());
            }
            _ => warning("Failed", format!("Error: {}", blocked.message)),
        }
        entry.blocked = Some(blocked);
    }

    fn await_image(&mut self, spec: &PodSpec, name: &str) {
        let image = find_any(spec, name).and_then(|container| container.image.clone()).unwrap_or_default();
        let message = format!("Back-off pulling image {image:?}");
        let blocked = self.view.containers.get_mut(name).and_then(|container| container.blocked.as_mut());
        if let Some(blocked) = blocked {
            blocked.backs_off = None;
            blocked.message = format!("{message}: ErrImagePull: {}", blocked.message);
            blocked.reason = "ImagePullBackOff".to_owned();
        }
        self.ctx.events.normal(&self.pod, Some(name), "BackOff", message);
        self.ctx.events.warning(&self.pod, Some(name), "Failed", "Error: ImagePullBackOff");
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

    /// Starts the tasks that wait for the run's end and run its postStart hook.
    pub(super) fn watch_run(&mut self, id: &ContainerId) {
        let Some(run) = self.around(id) else { return };
        let mut tasks = Tasks { whole: vec![spawn(run.clone().ended())], ..Tasks::default() };
        if self.view.container(&id.name).hook {
            tasks.whole.push(spawn(run.post_start()));
        }
        self.tasks.insert(id.name.clone(), tasks);
    }

    fn stop(&mut self, spec: &PodSpec, name: &str, message: &str, grace: Option<i64>, turn: bool) {
        let id = self.latest(name);
        let (Some(run), Some(entry)) = (self.around(&id), self.view.containers.get_mut(name)) else { return };
        (entry.stopping, entry.turn) = (true, turn);
        self.ctx.events.normal(&self.pod, Some(name), "Killing", message);
        let of_pod = self.pod.metadata.deletion_grace_period_seconds.or(spec.termination_grace_period_seconds);
        let grace = grace.or(self.failure.as_ref().and_then(|failure| failure.grace));
        let (orders, receiver) = watch::channel(Order { deadline: after(grace.or(of_pod).unwrap_or(30)), turn });
        let tasks = self.tasks.entry(name.to_owned()).or_default();
        tasks.health.clear();
        tasks.order = Some(orders);
        tasks.whole.push(spawn(run.stop(receiver)));
    }

    /// A deletion may shorten the grace period of what is being stopped already, never lengthen it.
    pub(super) fn shorten(&self, grace: i64) {
        for order in self.tasks.values().filter_map(|tasks| tasks.order.as_ref()) {
            order.send_if_modified(|order| {
                let sooner = after(grace).filter(|at| order.deadline.is_some_and(|set| *at < set));
                order.deadline = sooner.or(order.deadline);
                sooner.is_some()
            });
        }
    }
}

/// When a grace period that begins now is over; `None` if it is none.
fn after(seconds: i64) -> Option<Instant> {
    let seconds = u64::try_from(seconds).ok().filter(|seconds| *seconds > 0)?;
    Instant::now().checked_add(Duration::from_secs(seconds))
}

fn sandbox_spec(ctx: &Context, pod: &Pod, spec: &PodSpec) -> Result<SandboxSpec, String> {
    let namespace = pod.namespace().unwrap_or_default();
    let aliases = spec.host_aliases.as_deref().unwrap_or_default();
    let aliases =
        aliases.iter().map(|a| format!("{}\t{}\n", a.ip, a.hostnames.as_deref().unwrap_or_default().join("\t")));
    let start::Names { hostname, fqdn } = start::names(pod, ctx.dns.as_ref())?;
    Ok(SandboxSpec {
        pod_uid: pod.uid().unwrap_or_default(),
        name: pod.name_any(),
        hostname,
        fqdn,
        resolv_conf: resolver::resolv_conf(ctx.dns.as_ref(), spec, &namespace, &native::resolv_conf()),
        host_aliases: aliases.collect(),
        host_network: spec.host_network.unwrap_or(false),
        share_processes: spec.share_process_namespace.unwrap_or(false),
        namespace,
    })
}
