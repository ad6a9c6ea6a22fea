//! The pod lifecycle as a pure function: from the spec, what is wanted and what is, to the next actions.

#[cfg(test)]
mod tests;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Container as Spec, PodSpec};

use crate::{
    resize::{self, Step},
    state::{Container, State, Trouble, View, ephemeral, init, is_sidecar, policy},
};

/// What to do next. Actions are idempotent and may be carried out in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Make the pod's sandbox; nothing else can happen before.
    RunSandbox,
    /// Start the next run of a container.
    Start(String),
    /// Say that a container waits for its image.
    AwaitImage(String),
    /// Stop a run gracefully: its preStop hook, then SIGTERM.
    Stop {
        /// The container.
        name: String,
        /// The text of the `Killing` event.
        message: String,
        /// A grace period in seconds instead of the pod's.
        grace: Option<i64>,
        /// Whether SIGTERM may follow the hook; otherwise it waits for its turn (or the end of the grace period).
        turn: bool,
    },
    /// The turn of a run that is being stopped has come.
    Turn(String),
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

impl Plan {
    fn wake_at(&mut self, at: Timestamp) {
        self.wake = Some(self.wake.map_or(at, |wake| wake.min(at)));
    }
}

/// Plans the next step of a pod; `stop` says that it must end (deleted, or past its deadline).
pub fn plan(spec: &PodSpec, stop: bool, view: &View, now: Timestamp) -> Plan {
    let mut plan = Plan { initialized: view.initialized, ..Plan::default() };
    plan.ending = ending(spec, stop, view);
    if plan.ending.is_some() {
        wind_down(spec, view, &mut plan);
        return plan;
    }
    if view.sandbox.is_none() {
        plan.actions.push(Action::RunSandbox);
        return plan;
    }
    if initialize(spec, view, now, &mut plan) {
        plan.initialized = true;
        for container in &spec.containers {
            if keep(spec, container, view, now, &mut plan) {
                break;
            }
        }
    }
    // They are looked in with, so they wait for nothing.
    for container in &ephemeral(spec) {
        keep(spec, container, view, now, &mut plan);
    }
    plan
}

/// Works through the init containers; true when the containers proper may start.
fn initialize(spec: &PodSpec, view: &View, now: Timestamp, plan: &mut Plan) -> bool {
    for container in init(spec) {
        let seen = view.container(&container.name);
        if is_sidecar(container) {
            let busy = keep(spec, container, view, now, plan);
            if busy || !(view.initialized || seen.up()) {
                return false;
            }
        } else if !view.initialized && seen.ended().is_none_or(|ended| ended.code != 0) {
            keep(spec, container, view, now, plan);
            return false;
        }
    }
    true
}

/// Starts, restarts or stops one container as its policy says; true while its postStart hook holds back those behind it.
fn keep(spec: &PodSpec, container: &Spec, view: &View, now: Timestamp, plan: &mut Plan) -> bool {
    let (seen, policy) = (view.container(&container.name), policy(spec, container));
    if seen.running() {
        let stop = (!seen.stopping).then(|| trouble(container, policy, &seen)).flatten();
        plan.actions.extend(stop);
        return seen.hook;
    }
    if !restarts(policy, &seen) {
        return false;
    }
    if let Some(at) = seen.blocked.as_ref().and_then(|blocked| blocked.backs_off) {
        if at <= now {
            plan.actions.push(Action::AwaitImage(container.name.clone()));
        } else {
            plan.wake_at(at);
        }
    }
    if let Some(due) = seen.due().filter(|due| *due > now) {
        plan.wake_at(due);
        return false;
    }
    plan.actions.push(Action::Start(container.name.clone()));
    has_post_start(container)
}

/// Whether a container has a postStart hook.
pub fn has_post_start(container: &Spec) -> bool {
    container.lifecycle.as_ref().is_some_and(|lifecycle| lifecycle.post_start.is_some())
}

/// Ends a run that is unhealthy, or that is not what the spec says now.
fn trouble(container: &Spec, policy: &str, seen: &Container) -> Option<Action> {
    let name = container.name.clone();
    let stop = |message, grace| Some(Action::Stop { name: name.clone(), message, grace, turn: true });
    if let Some(unhealthy) = seen.unhealthy {
        let message = match unhealthy.trouble {
            Trouble::Hook => "FailedPostStartHook".to_owned(),
            Trouble::Probe(kind) => {
                let then = if policy == "Never" { "" } else { ", will be restarted" };
                format!("Container {name} failed {} probe{then}", kind.name().to_lowercase())
            }
        };
        return stop(message, unhealthy.grace);
    }
    if policy != "Never" && resize::step(container, seen) == Some(Step::Restart) {
        return stop(format!("Container {name} resize requires restart"), None);
    }
    let changed = seen.image.is_some() && seen.image.as_deref() != Some(container.image.as_deref().unwrap_or_default());
    if changed && policy != "Never" {
        return stop(format!("Container {name} definition changed, will be restarted"), None);
    }
    None
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

/// How the pod ended, when no container will run again: by its restart policy, or because it must stop.
fn ending(spec: &PodSpec, stop: bool, view: &View) -> Option<Ending> {
    let failed = |c: &Spec| view.container(&c.name).ended().is_some_and(|e| e.code != 0);
    let over = |c: &Spec| {
        let seen = view.container(&c.name);
        seen.ended().is_some() && (stop || !restarts(policy(spec, c), &seen))
    };
    let init_failed = init(spec).iter().any(|c| !is_sidecar(c) && policy(spec, c) == "Never" && failed(c));
    if !view.initialized && init_failed {
        return Some(Ending::Failed);
    }
    if spec.containers.is_empty() || !spec.containers.iter().all(over) {
        return stop.then_some(Ending::Failed);
    }
    Some(if spec.containers.iter().any(failed) { Ending::Failed } else { Ending::Succeeded })
}

/// Stops what runs: all at once, but a sidecar's SIGTERM waits for the containers proper and for the sidecars after it. Then
/// the sandbox goes.
fn wind_down(spec: &PodSpec, view: &View, plan: &mut Plan) {
    let mut needed = spec.containers.iter().any(|c| view.container(&c.name).running());
    for container in spec.containers.iter().chain(&ephemeral(spec)).chain(init(spec).iter().rev()) {
        let seen = view.container(&container.name);
        if !seen.running() {
            continue;
        }
        let sidecar = init(spec).iter().any(|c| c.name == container.name) && is_sidecar(container);
        let (name, turn) = (container.name.clone(), !sidecar || !needed);
        if !seen.stopping {
            let message = format!("Stopping container {name}");
            plan.actions.push(Action::Stop { name, message, grace: None, turn });
        } else if turn && !seen.turn {
            plan.actions.push(Action::Turn(name));
        }
        needed |= sidecar;
    }
    if !view.any_running() {
        if view.sandbox.is_some() {
            plan.actions.push(Action::RemoveSandbox);
        } else {
            plan.gone = true;
        }
    }
}
