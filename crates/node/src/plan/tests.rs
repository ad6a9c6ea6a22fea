//! The planner, case by case and over thousands of generated pods.

use std::net::{IpAddr, Ipv4Addr};

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::{
    probes::Kind,
    state::{Begin, Blocked, Ended, Unhealthy, find},
};

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
    container.begin(
        Begin { attempt, image: String::new(), size: Default::default(), hook: false, started: true, ready: true },
        at(now),
    );
}

fn end(view: &mut View, name: &str, code: i32, now: i64) {
    let container = view.containers.get_mut(name).unwrap();
    let State::Running { since } = container.state else { panic!("{name} does not run") };
    container.end(exit(container.attempt.unwrap(), code, since.as_second(), now));
}

fn start(name: &str) -> Action {
    Action::Start(name.to_owned())
}

fn stop(name: &str, message: &str, turn: bool) -> Action {
    Action::Stop { name: name.to_owned(), message: message.to_owned(), grace: None, turn }
}

#[test]
fn a_pod_gets_its_sandbox_then_init_containers_in_order_then_its_containers() {
    let spec = spec(json!({"initContainers": [{"name": "one"}, {"name": "side", "restartPolicy": "Always"}],
        "containers": [{"name": "main"}]}));
    let mut view = View::default();
    assert_eq!(plan(&spec, false, &view, at(0)).actions, [Action::RunSandbox]);
    view.sandbox = Some(IP);
    assert_eq!(plan(&spec, false, &view, at(0)).actions, [start("one")]);
    begin(&mut view, "one", 0);
    assert!(plan(&spec, false, &view, at(0)).actions.is_empty());
    end(&mut view, "one", 0, 1);
    assert_eq!(plan(&spec, false, &view, at(1)).actions, [start("side")]);
    begin(&mut view, "side", 1);
    view.containers.get_mut("side").unwrap().started = false;
    assert!(plan(&spec, false, &view, at(1)).actions.is_empty());
    view.containers.get_mut("side").unwrap().started = true;
    let last = plan(&spec, false, &view, at(1));
    assert_eq!((last.actions, last.initialized), (vec![start("main")], true));
}

#[test]
fn a_post_start_hook_holds_back_the_containers_behind_it() {
    let hook = json!({"postStart": {"sleep": {"seconds": 1}}});
    let spec = spec(json!({"containers": [{"name": "a"}, {"name": "b", "lifecycle": hook}, {"name": "c"}]}));
    let mut view = View { sandbox: Some(IP), ..View::default() };
    assert_eq!(plan(&spec, false, &view, at(0)).actions, [start("a"), start("b")]);
    begin(&mut view, "a", 0);
    begin(&mut view, "b", 0);
    view.containers.get_mut("b").unwrap().hook = true;
    assert!(plan(&spec, false, &view, at(0)).actions.is_empty());
    view.containers.get_mut("b").unwrap().hook = false;
    assert_eq!(plan(&spec, false, &view, at(1)).actions, [start("c")]);
}

#[test]
fn restarts_wait_ten_seconds_doubling_to_five_minutes_until_a_run_of_ten_minutes() {
    let spec = spec(json!({"containers": [{"name": "main"}]}));
    let mut view = View { sandbox: Some(IP), ..View::default() };
    let (mut now, mut waits) = (0, Vec::new());
    for _ in 0..8 {
        begin(&mut view, "main", now);
        end(&mut view, "main", 1, now + 1);
        let next = plan(&spec, false, &view, at(now + 1));
        let due = next.wake.map_or(now + 1, Timestamp::as_second);
        waits.push(due - now - 1);
        assert_eq!(plan(&spec, false, &view, at(due)).actions, [start("main")]);
        now = due;
    }
    assert_eq!(waits, [0, 10, 20, 40, 80, 160, 300, 300]);
    begin(&mut view, "main", now);
    end(&mut view, "main", 1, now + 600);
    assert_eq!(plan(&spec, false, &view, at(now + 600)).actions, [start("main")]);
}

#[test]
fn an_image_that_is_missing_is_waited_for_and_said_to_be_after_a_while() {
    let spec = spec(json!({"containers": [{"name": "main"}]}));
    let mut view = View { sandbox: Some(IP), ..View::default() };
    let blocked =
        Blocked { reason: "ErrImagePull".into(), message: String::new(), until: at(10), backs_off: Some(at(5)) };
    view.containers.entry("main".to_owned()).or_default().blocked = Some(blocked);
    assert_eq!(plan(&spec, false, &view, at(1)).wake, Some(at(5)));
    assert_eq!(plan(&spec, false, &view, at(5)).actions, [Action::AwaitImage("main".to_owned())]);
    view.containers.get_mut("main").unwrap().blocked.as_mut().unwrap().backs_off = None;
    assert_eq!(plan(&spec, false, &view, at(5)).wake, Some(at(10)));
    assert_eq!(plan(&spec, false, &view, at(10)).actions, [start("main")]);
}

#[test]
fn an_unhealthy_or_changed_run_is_stopped_with_upstreams_words() {
    for (policy, message) in [
        ("Always", "Container main failed liveness probe, will be restarted"),
        ("Never", "Container main failed liveness probe"),
    ] {
        let spec = spec(json!({"restartPolicy": policy, "containers": [{"name": "main"}]}));
        let mut view = View { sandbox: Some(IP), ..View::default() };
        begin(&mut view, "main", 0);
        let unhealthy = Unhealthy { trouble: Trouble::Probe(Kind::Liveness), grace: None };
        view.containers.get_mut("main").unwrap().unhealthy = Some(unhealthy);
        assert_eq!(plan(&spec, false, &view, at(1)).actions, [stop("main", message, true)]);
    }
    let spec = spec(json!({"containers": [{"name": "main", "image": "new"}]}));
    let mut view = View { sandbox: Some(IP), ..View::default() };
    begin(&mut view, "main", 0);
    let message = "Container main definition changed, will be restarted";
    assert_eq!(plan(&spec, false, &view, at(1)).actions, [stop("main", message, true)]);
}

#[test]
fn a_sidecar_is_told_to_end_at_once_but_its_turn_comes_when_nobody_needs_it() {
    let spec = spec(
        json!({"initContainers": [{"name": "s1", "restartPolicy": "Always"}, {"name": "s2", "restartPolicy": "Always"}],
        "containers": [{"name": "main"}]}),
    );
    let mut view = View { sandbox: Some(IP), initialized: true, ..View::default() };
    for name in ["s1", "s2", "main"] {
        begin(&mut view, name, 0);
    }
    let said = |name: &str| format!("Stopping container {name}");
    let first = plan(&spec, true, &view, at(1));
    let all = [("main", true), ("s2", false), ("s1", false)].map(|(name, turn)| stop(name, &said(name), turn));
    assert_eq!(first.actions, all);
    view.containers.values_mut().for_each(|container| container.stopping = true);
    view.containers.get_mut("main").unwrap().turn = true;
    assert!(plan(&spec, true, &view, at(2)).actions.is_empty());
    end(&mut view, "main", 143, 3);
    assert_eq!(plan(&spec, true, &view, at(3)).actions, [Action::Turn("s2".to_owned())]);
    end(&mut view, "s2", 143, 4);
    assert_eq!(plan(&spec, true, &view, at(4)).actions, [Action::Turn("s1".to_owned())]);
    end(&mut view, "s1", 143, 5);
    assert_eq!(plan(&spec, true, &view, at(5)).actions, [Action::RemoveSandbox]);
}

#[test]
fn a_finished_job_stops_its_sidecars_and_succeeds() {
    let spec =
        spec(json!({"restartPolicy": "OnFailure", "initContainers": [{"name": "side", "restartPolicy": "Always"}],
        "containers": [{"name": "main"}]}));
    let mut view = View { sandbox: Some(IP), initialized: true, ..View::default() };
    begin(&mut view, "side", 0);
    begin(&mut view, "main", 0);
    end(&mut view, "main", 0, 1);
    let stopping = plan(&spec, false, &view, at(1));
    assert_eq!(stopping.ending, Some(Ending::Succeeded));
    assert_eq!(stopping.actions, [stop("side", "Stopping container side", true)]);
    end(&mut view, "side", 143, 2);
    assert_eq!(plan(&spec, false, &view, at(2)).actions, [Action::RemoveSandbox]);
}

#[test]
fn a_failed_init_container_fails_a_pod_that_never_restarts_and_is_tried_again_otherwise() {
    for (policy, ending) in [("Never", Some(Ending::Failed)), ("OnFailure", None), ("Always", None)] {
        let spec =
            spec(json!({"restartPolicy": policy, "initContainers": [{"name": "i"}], "containers": [{"name": "main"}]}));
        let mut view = View { sandbox: Some(IP), ..View::default() };
        begin(&mut view, "i", 0);
        end(&mut view, "i", 1, 1);
        let next = plan(&spec, false, &view, at(1));
        assert_eq!(next.ending, ending);
        let then = if ending.is_some() { Action::RemoveSandbox } else { start("i") };
        assert_eq!(next.actions, [then]);
    }
}

/// Something that happens to a generated pod.
#[derive(Clone, Debug)]
enum Event {
    /// Whatever runs under this number (modulo what there is) ends with this code.
    Ends(usize, i32),
    /// Time passes.
    Seconds(i64),
    /// The startup probe of a container passes.
    Starts(usize),
}

fn events() -> impl Strategy<Value = Vec<Event>> {
    let event = prop_oneof![
        (0..6_usize, prop_oneof![Just(0), Just(0), Just(1)]).prop_map(|(n, code)| Event::Ends(n, code)),
        (1..400_i64).prop_map(Event::Seconds),
        (0..6_usize).prop_map(Event::Starts),
    ];
    prop::collection::vec(event, 1..60)
}

fn pods() -> impl Strategy<Value = PodSpec> {
    let inits = prop::collection::vec(any::<bool>(), 0..4);
    let policy = prop_oneof![Just("Always"), Just("OnFailure"), Just("Never")];
    (inits, 1..3_usize, policy).prop_map(|(inits, mains, policy)| {
        let init = |(at, sidecar): (usize, &bool)| match sidecar {
            true => json!({"name": format!("i{at}"), "restartPolicy": "Always", "startupProbe": {}}),
            false => json!({"name": format!("i{at}")}),
        };
        let inits: Vec<Value> = inits.iter().enumerate().map(init).collect();
        let mains: Vec<Value> = (0..mains).map(|at| json!({"name": format!("m{at}")})).collect();
        spec(json!({"restartPolicy": policy, "initContainers": inits, "containers": mains}))
    })
}

/// What must hold whenever a container is started.
fn may_start(spec: &PodSpec, view: &View, name: &str, now: i64) -> Result<(), TestCaseError> {
    let (container, seen) = (find(spec, name).unwrap(), view.container(name));
    prop_assert!(view.sandbox.is_some(), "{name} has no sandbox");
    prop_assert!(!seen.running(), "{name} runs already");
    prop_assert!(seen.due().is_none_or(|due| due <= at(now)), "{name} must wait");
    if policy(spec, container) == "Never" {
        prop_assert_eq!(seen.attempt, None, "{} was started before", name);
    }
    let before = init(spec).iter().take_while(|c| c.name != name);
    for earlier in before.filter(|_| !view.initialized) {
        let earlier_seen = view.container(&earlier.name);
        let passed = if is_sidecar(earlier) {
            earlier_seen.up()
        } else {
            earlier_seen.ended().is_some_and(|ended| ended.code == 0)
        };
        prop_assert!(passed, "{name} is started before {} is through", earlier.name);
    }
    Ok(())
}

/// Carries a plan out on a machine where everything works at once.
fn carry_out(spec: &PodSpec, view: &mut View, stopped: bool, now: i64) -> Result<Plan, TestCaseError> {
    for _ in 0..50 {
        let next = plan(spec, stopped, view, at(now));
        view.initialized = next.initialized;
        if next.actions.is_empty() {
            return Ok(next);
        }
        for action in &next.actions {
            match action {
                Action::RunSandbox => view.sandbox = Some(IP),
                Action::Start(name) => {
                    prop_assert!(!stopped && next.ending.is_none(), "{name} is started in a pod that ends");
                    may_start(spec, view, name, now)?;
                    begin(view, name, now);
                    let probed = find(spec, name).unwrap().startup_probe.is_some();
                    view.containers.get_mut(name).unwrap().started = !probed;
                }
                Action::Stop { name, turn: true, .. } | Action::Turn(name) => end(view, name, 143, now),
                Action::Stop { name, .. } => view.containers.get_mut(name).unwrap().stopping = true,
                Action::RemoveSandbox => {
                    prop_assert!(!view.any_running());
                    view.sandbox = None;
                }
                Action::AwaitImage(name) => prop_assert!(false, "{name} has its image"),
            }
        }
        if next.ending.is_some() && view.sandbox.is_none() {
            return Ok(plan(spec, stopped, view, at(now)));
        }
    }
    Err(TestCaseError::fail("the plan never settles"))
}

proptest! {
    #[test]
    fn whatever_happens_order_and_back_off_hold_and_a_deleted_pod_leaves_nothing(spec in pods(), events in events()) {
        let (mut view, mut now) = (View::default(), 0);
        for event in events {
            let settled = carry_out(&spec, &mut view, false, now)?;
            if settled.ending.is_some() {
                break;
            }
            let names: Vec<String> = view.containers.iter().filter(|(_, c)| c.running()).map(|(n, _)| n.clone()).collect();
            prop_assert!(!names.is_empty() || settled.wake.is_some(), "nothing runs and nothing is waited for");
            let pick = |n: usize| names.get(n % names.len().max(1));
            match event {
                Event::Ends(n, code) => if let Some(name) = pick(n) { end(&mut view, name, code, now) },
                Event::Seconds(seconds) => now += seconds,
                Event::Starts(n) => if let Some(name) = pick(n) { view.containers.get_mut(name).unwrap().started = true },
            }
        }
        let over = carry_out(&spec, &mut view, true, now)?;
        prop_assert!(over.gone && over.ending.is_some());
        prop_assert!(!view.any_running() && view.sandbox.is_none());
    }
}
