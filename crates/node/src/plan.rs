//! The pod lifecycle as a pure function: from the spec, what is wanted and what is, to the next actions.

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Container as Spec, PodSpec};

use crate::state::{Container, State, View, init, is_sidecar};

/// What to do next. Actions are idempotent and may be carried out in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Make the pod's sandbox; nothing else can happen before.
    RunSandbox,
    /// Start the next run of a container.
    Start(String),
    /// Stop a run gracefully.
    Stop {
        /// The container.
        name: String,
        /// The text of the `Killing` event.
        message: String,
        /// A grace period in seconds instead of the pod's.
        grace: Option<i64>,
    },
    /// Take the sandbox away: nothing runs in it any more.
    RemoveSandbox,
}

/// How a pod that will not run again ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// Every container succeeded.
    Succeeded,
    /// At least one failed.
    Failed,
}

/// The next actions, and what follows from the picture.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// What to do now.
    pub actions: Vec<Action>,
    /// When to plan again although nothing happened.
    pub wake: Option<Timestamp>,
    /// Set when no container will be started any more.
    pub ending: Option<Ending>,
    /// Whether all init containers have been passed.
    pub initialized: bool,
    /// Whether nothing of the pod is left on the machine.
    pub gone: bool,
}

/// Plans the next step of a pod; `stop` says that it must end (deleted, or past its deadline).
pub fn plan(spec: &PodSpec, stop: bool, view: &View, now: Timestamp) -> Plan {
    let mut plan = Plan { initialized: view.initialized, ..Plan::default() };
    plan.ending = ending(spec, view);
    if stop || plan.ending.is_some() {
        if stop && plan.ending.is_none() {
            plan.ending = Some(Ending::Failed);
        }
        wind_down(spec, view, &mut plan);
        return plan;
    }
    if view.sandbox.is_none() {
        plan.actions.push(Action::RunSandbox);
        return plan;
    }
    let policy = spec.restart_policy.as_deref().unwrap_or("Always");
    if initialize(spec, policy, view, now, &mut plan) {
        plan.initialized = true;
        for container in &spec.containers {
            keep(container, policy, &view.container(&container.name), now, &mut plan);
        }
    }
    plan
}

/// Works through the init containers; true when the containers proper may start.
fn initialize(spec: &PodSpec, policy: &str, view: &View, now: Timestamp, plan: &mut Plan) -> bool {
    for container in init(spec) {
        let seen = view.container(&container.name);
        if is_sidecar(container) {
            keep(container, "Always", &seen, now, plan);
            if !view.initialized && !(seen.running() && seen.started) {
                return false;
            }
        } else if !view.initialized {
            match &seen.state {
                State::Ended(ended) if ended.code == 0 => {}
                // An init container runs until it has succeeded.
                _ => {
                    let policy = if policy == "Never" { "Never" } else { "OnFailure" };
                    keep(container, policy, &seen, now, plan);
                    return false;
                }
            }
        }
    }
    true
}

/// Starts, restarts or stops one container as its policy says.
fn keep(container: &Spec, policy: &str, seen: &Container, now: Timestamp, plan: &mut Plan) {
    if seen.running() {
        if let (Some(unhealthy), false) = (&seen.unhealthy, seen.stopping) {
            plan.actions.push(Action::Stop {
                name: container.name.clone(),
                message: unhealthy.message.clone(),
                grace: unhealthy.grace,
            });
        }
        return;
    }
    if !restarts(policy, seen) {
        return;
    }
    match seen.due().filter(|due| *due > now) {
        Some(due) => plan.wake = Some(plan.wake.map_or(due, |wake| wake.min(due))),
        None => plan.actions.push(Action::Start(container.name.clone())),
    }
}

/// Whether a container that does not run is to be started.
pub fn restarts(policy: &str, seen: &Container) -> bool {
    match (&seen.state, policy) {
        (State::Running { .. }, _) => false,
        (State::Never, _) | (_, "Always") => true,
        (State::Ended(ended), "OnFailure") => ended.code != 0,
        _ => false,
    }
}

/// How the pod ended, when no container will run again by its restart policy.
fn ending(spec: &PodSpec, view: &View) -> Option<Ending> {
    let policy = spec.restart_policy.as_deref().unwrap_or("Always");
    let failed = |c: &Spec| view.container(&c.name).ended().is_some_and(|e| e.code != 0);
    if policy == "Never" && !view.initialized && init(spec).iter().any(|c| !is_sidecar(c) && failed(c)) {
        return Some(Ending::Failed);
    }
    let over = |c: &Spec| view.container(&c.name).ended().is_some() && !restarts(policy, &view.container(&c.name));
    if spec.containers.is_empty() || !spec.containers.iter().all(over) {
        return None;
    }
    Some(if spec.containers.iter().any(failed) { Ending::Failed } else { Ending::Succeeded })
}

/// Stops what runs: first the containers proper, then the sidecars in reverse order, then the sandbox.
fn wind_down(spec: &PodSpec, view: &View, plan: &mut Plan) {
    let stop = |c: &Spec| {
        let seen = view.container(&c.name);
        let message = format!("Stopping container {}", c.name);
        (seen.running() && !seen.stopping).then(|| Action::Stop { name: c.name.clone(), message, grace: None })
    };
    let running = |c: &&Spec| view.container(&c.name).running();
    if spec.containers.iter().any(|c| running(&c)) {
        plan.actions.extend(spec.containers.iter().filter_map(stop));
    } else if let Some(last) = init(spec).iter().rev().find(running) {
        plan.actions.extend(stop(last));
    } else if view.sandbox.is_some() {
        plan.actions.push(Action::RemoveSandbox);
    } else {
        plan.gone = true;
    }
}
