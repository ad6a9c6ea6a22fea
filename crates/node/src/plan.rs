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
            if !(view.initialized || seen.running() && seen.started) {
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

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, Ipv4Addr};

    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;
    use crate::state::Ended;

    const IP: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

    fn spec(value: Value) -> PodSpec {
        serde_json::from_value(value).unwrap()
    }

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(seconds).unwrap()
    }

    fn exit(attempt: u32, code: i32, start: i64, end: i64) -> Ended {
        let (started_at, finished_at) = (at(start), at(end));
        Ended { attempt, code, signal: None, reason: String::new(), message: None, started_at, finished_at }
    }

    fn begin(view: &mut View, name: &str, now: i64) {
        let container = view.containers.entry(name.to_owned()).or_default();
        let attempt = container.attempt.map_or(0, |n| n + 1);
        container.begin(attempt, at(now), true, true);
    }

    fn end(view: &mut View, name: &str, code: i32, start: i64, now: i64) {
        let container = view.containers.get_mut(name).unwrap();
        container.end(exit(container.attempt.unwrap(), code, start, now));
    }

    fn start(name: &str) -> Action {
        Action::Start(name.to_owned())
    }

    #[test]
    fn a_pod_gets_its_sandbox_then_init_containers_in_order_then_its_containers() {
        let spec = spec(
            json!({"initContainers": [{"name": "one"}, {"name": "side", "restartPolicy": "Always"}], "containers": [{"name": "main"}]}),
        );
        let mut view = View::default();
        assert_eq!(plan(&spec, false, &view, at(0)).actions, [Action::RunSandbox]);
        view.sandbox = Some(IP);
        assert_eq!(plan(&spec, false, &view, at(0)).actions, [start("one")]);
        begin(&mut view, "one", 0);
        assert!(plan(&spec, false, &view, at(0)).actions.is_empty());
        end(&mut view, "one", 0, 0, 1);
        assert_eq!(plan(&spec, false, &view, at(1)).actions, [start("side")]);
        begin(&mut view, "side", 1);
        view.containers.get_mut("side").unwrap().started = false;
        assert!(plan(&spec, false, &view, at(1)).actions.is_empty());
        view.containers.get_mut("side").unwrap().started = true;
        let last = plan(&spec, false, &view, at(1));
        assert_eq!((last.actions, last.initialized), (vec![start("main")], true));
    }

    #[test]
    fn restarts_wait_ten_seconds_doubling_to_five_minutes_until_a_run_of_ten_minutes() {
        let spec = spec(json!({"containers": [{"name": "main"}]}));
        let mut view = View { sandbox: Some(IP), ..View::default() };
        let (mut now, mut waits) = (0, Vec::new());
        for _ in 0..8 {
            begin(&mut view, "main", now);
            end(&mut view, "main", 1, now, now + 1);
            let next = plan(&spec, false, &view, at(now + 1));
            let due = next.wake.map_or(now + 1, Timestamp::as_second);
            waits.push(due - now - 1);
            assert_eq!(plan(&spec, false, &view, at(due)).actions, [start("main")]);
            now = due;
        }
        assert_eq!(waits, [0, 10, 20, 40, 80, 160, 300, 300]);
        begin(&mut view, "main", now);
        end(&mut view, "main", 1, now, now + 600);
        assert_eq!(plan(&spec, false, &view, at(now + 600)).actions, [start("main")]);
    }

    #[test]
    fn a_finished_job_stops_its_sidecars_and_succeeds() {
        let spec =
            spec(json!({"restartPolicy": "OnFailure", "initContainers": [{"name": "side", "restartPolicy": "Always"}],
            "containers": [{"name": "main"}]}));
        let mut view = View { sandbox: Some(IP), initialized: true, ..View::default() };
        begin(&mut view, "side", 0);
        begin(&mut view, "main", 0);
        end(&mut view, "main", 0, 0, 1);
        let stopping = plan(&spec, false, &view, at(1));
        assert_eq!(stopping.ending, Some(Ending::Succeeded));
        assert!(matches!(stopping.actions.as_slice(), [Action::Stop { name, .. }] if name == "side"));
        end(&mut view, "side", 143, 0, 2);
        assert_eq!(plan(&spec, false, &view, at(2)).actions, [Action::RemoveSandbox]);
    }

    proptest! {
        #[test]
        fn a_deleted_pod_always_ends_with_nothing_left(
            codes in proptest::collection::vec(proptest::option::of(0..2_i32), 4),
            running in proptest::collection::vec(any::<bool>(), 4),
            policy in prop_oneof![Just("Always"), Just("OnFailure"), Just("Never")],
            initialized in any::<bool>(),
        ) {
            let spec = spec(json!({"restartPolicy": policy, "initContainers": [{"name": "0"}, {"name": "1", "restartPolicy": "Always"}],
                "containers": [{"name": "2"}, {"name": "3"}]}));
            let mut view = View { sandbox: Some(IP), initialized, ..View::default() };
            for (index, (code, running)) in codes.iter().zip(&running).enumerate() {
                let name = index.to_string();
                if *running || code.is_some() {
                    begin(&mut view, &name, 0);
                }
                if let (Some(code), false) = (code, running) {
                    end(&mut view, &name, *code, 0, 1);
                }
            }
            for _ in 0..10 {
                let next = plan(&spec, true, &view, at(2));
                if next.gone {
                    break;
                }
                for action in next.actions {
                    match action {
                        Action::Stop { name, .. } => end(&mut view, &name, 143, 0, 2),
                        Action::RemoveSandbox => {
                            prop_assert!(!view.any_running());
                            view.sandbox = None;
                        }
                        other => prop_assert!(false, "{other:?} while the pod is deleted"),
                    }
                }
            }
            prop_assert!(plan(&spec, true, &view, at(3)).gone);
        }
    }
}
