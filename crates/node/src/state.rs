//! What is known about a pod's containers: the one picture that the planner reads and the status is built from.

use std::{borrow::Cow, collections::BTreeMap, net::IpAddr, time::Duration};

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Container as Spec, PodSpec, ResourceRequirements};

use crate::probes::Kind;

/// The longest pause between restarts.
const LONGEST: Duration = Duration::from_secs(300);
/// A run of this length ends a series of crashes.
const HEALTHY: i64 = 600;

/// How one run ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ended {
    /// The attempt that ended.
    pub attempt: u32,
    /// The exit code.
    pub code: i32,
    /// The signal that ended it, if one did.
    pub signal: Option<i32>,
    /// `Completed`, `Error`, `OOMKilled`, `StartError`, …
    pub reason: String,
    /// The termination message.
    pub message: Option<String>,
    /// When the run began.
    pub started_at: Timestamp,
    /// When it ended.
    pub finished_at: Timestamp,
}

/// Where a container is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum State {
    /// Not started in this sandbox.
    #[default]
    Never,
    /// It runs.
    Running {
        /// When the run began.
        since: Timestamp,
    },
    /// Its latest run ended.
    Ended(Ended),
}

/// Why a container cannot be started now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Blocked {
    /// `ErrImagePull`, `CreateContainerConfigError`, …
    pub reason: String,
    /// What is missing.
    pub message: String,
    /// When to try again.
    pub until: Timestamp,
    /// When the state begins to say `ImagePullBackOff`; only for images.
    pub backs_off: Option<Timestamp>,
}

/// Why a run must be ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// This probe failed for good.
    Probe(Kind),
    /// The postStart hook failed.
    Hook,
}

/// A run that must be ended, and how.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unhealthy {
    /// What is wrong.
    pub trouble: Trouble,
    /// The probe's own grace period in seconds.
    pub grace: Option<i64>,
}

/// One container of a pod.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Container {
    /// The latest attempt; its number is the restart count.
    pub attempt: Option<u32>,
    /// The image of the latest attempt.
    pub image: Option<String>,
    /// What the latest attempt may use, as it was started or was given since; `None` if that is not known.
    pub size: Option<ResourceRequirements>,
    /// Where it is.
    pub state: State,
    /// How the run before the latest one ended.
    pub last: Option<Ended>,
    /// Restarts in a row without a long run between them.
    pub series: u32,
    /// Whether the postStart hook is still at work.
    pub hook: bool,
    /// Whether the startup probe (if any) has passed.
    pub started: bool,
    /// Whether the readiness probe (if any) passes.
    pub ready: bool,
    /// Whether it is being stopped.
    pub stopping: bool,
    /// Whether it is its turn to be stopped: a sidecar waits until nobody needs it.
    pub turn: bool,
    /// Set when the run must be ended.
    pub unhealthy: Option<Unhealthy>,
    /// Set when the last attempt to start it failed before there was a run.
    pub blocked: Option<Blocked>,
    /// Tries in a row that found no image.
    pub pulls: u32,
}

/// What a run begins with.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Begin {
    /// Which attempt it is.
    pub attempt: u32,
    /// The image it runs.
    pub image: String,
    /// What it may use.
    pub size: ResourceRequirements,
    /// Whether there is a postStart hook.
    pub hook: bool,
    /// Whether there is no startup probe.
    pub started: bool,
    /// Whether there is no readiness probe.
    pub ready: bool,
}

impl Container {
    /// Whether it runs.
    pub fn running(&self) -> bool {
        matches!(self.state, State::Running { .. })
    }

    /// Whether it runs and has come up: its postStart hook is done and its startup probe has passed.
    pub fn up(&self) -> bool {
        self.running() && self.started && !self.hook
    }

    /// How the latest run ended, if it did.
    pub fn ended(&self) -> Option<&Ended> {
        match &self.state {
            State::Ended(ended) => Some(ended),
            _ => None,
        }
    }

    /// The pause before the next restart, counted from the end of the last run: none, then 10 s doubling up to 5 minutes;
    /// a run of 10 minutes starts the series again.
    pub fn back_off(&self) -> Duration {
        let long = self.ended().is_some_and(|e| e.finished_at.duration_since(e.started_at).as_secs() >= HEALTHY);
        if long { Duration::ZERO } else { delay(self.series) }
    }

    /// When the next start may be tried.
    pub fn due(&self) -> Option<Timestamp> {
        let blocked = self.blocked.as_ref().map(|b| b.until);
        let ended = self.ended().map(|e| e.finished_at.saturating_add(self.back_off()).unwrap_or(e.finished_at));
        blocked.max(ended)
    }

    /// Notes that a run has begun.
    pub fn begin(&mut self, begin: Begin, since: Timestamp) {
        if let State::Ended(ended) = std::mem::take(&mut self.state) {
            let long = ended.finished_at.duration_since(ended.started_at).as_secs() >= HEALTHY;
            self.series = if long { 1 } else { self.series.saturating_add(1) };
            self.last = Some(ended);
        }
        let Begin { attempt, image, size, hook, started, ready } = begin;
        *self = Self {
            attempt: Some(attempt),
            image: Some(image),
            size: Some(size),
            state: State::Running { since },
            hook,
            started,
            ready,
            last: self.last.take(),
            series: self.series,
            ..Self::default()
        };
    }

    /// Notes that the latest run has ended.
    pub fn end(&mut self, ended: Ended) {
        self.state = State::Ended(ended);
        (self.hook, self.started, self.ready, self.stopping, self.turn) = (false, false, false, false, false);
        self.unhealthy = None;
    }
}

/// The pause that goes with a series of failures.
pub fn delay(series: u32) -> Duration {
    match series {
        0 => Duration::ZERO,
        n => Duration::from_secs(10).saturating_mul(1 << (n - 1).min(10)).min(LONGEST),
    }
}

/// A pod as the node sees it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct View {
    /// The sandbox's address, while there is one.
    pub sandbox: Option<IpAddr>,
    /// Whether every init container has been passed in this sandbox.
    pub initialized: bool,
    /// The containers by name, init containers too.
    pub containers: BTreeMap<String, Container>,
}

impl View {
    /// The container, or one that was never started.
    pub fn container(&self, name: &str) -> Container {
        self.containers.get(name).cloned().unwrap_or_default()
    }

    /// Whether anything runs.
    pub fn any_running(&self) -> bool {
        self.containers.values().any(Container::running)
    }
}

/// Whether this init container is a sidecar (`restartPolicy: Always`).
pub fn is_sidecar(container: &Spec) -> bool {
    container.restart_policy.as_deref() == Some("Always")
}

/// The pod's init containers.
pub fn init(spec: &PodSpec) -> &[Spec] {
    spec.init_containers.as_deref().unwrap_or_default()
}

/// The pod's ephemeral containers, as containers like any other.
pub fn ephemeral(spec: &PodSpec) -> Vec<Spec> {
    let all = spec.ephemeral_containers.iter().flatten();
    // An ephemeral container has a container's fields, and one more.
    all.filter_map(|one| serde_json::from_value(serde_json::to_value(one).ok()?).ok()).collect()
}

/// Whether this is the name of an ephemeral container.
pub fn is_ephemeral(spec: &PodSpec, name: &str) -> bool {
    spec.ephemeral_containers.iter().flatten().any(|one| one.name == name)
}

/// The policy that holds for a container: a sidecar always runs, another init container until it has succeeded, an ephemeral one
/// once.
pub fn policy<'a>(spec: &'a PodSpec, container: &Spec) -> &'a str {
    let policy = spec.restart_policy.as_deref().unwrap_or("Always");
    let is_init = init(spec).iter().any(|c| c.name == container.name);
    match policy {
        _ if is_ephemeral(spec, &container.name) => "Never",
        _ if is_init && is_sidecar(container) => "Always",
        "Never" => "Never",
        _ if is_init => "OnFailure",
        policy => policy,
    }
}

/// A container of the pod by its name, ephemeral ones apart.
pub fn find<'a>(spec: &'a PodSpec, name: &str) -> Option<&'a Spec> {
    init(spec).iter().chain(&spec.containers).find(|c| c.name == name)
}

/// Any container of the pod by its name.
pub fn find_any<'a>(spec: &'a PodSpec, name: &str) -> Option<Cow<'a, Spec>> {
    let ephemeral = || ephemeral(spec).into_iter().find(|c| c.name == name).map(Cow::Owned);
    find(spec, name).map(Cow::Borrowed).or_else(ephemeral)
}
