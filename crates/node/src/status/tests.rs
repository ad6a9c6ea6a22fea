//! Statuses of pods in every state, in the kubelet's words.

use serde_json::{Value, json};

use super::*;
use crate::{
    plan::plan,
    runtime::{ContainerId, Exit},
    start::from_exit,
    state::{Begin, Container, is_sidecar},
};

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

fn ip() -> IpAddr {
    IpAddr::from([127, 0, 0, 1])
}

fn pod(spec: &Value) -> Pod {
    serde_json::from_value(json!({"metadata": {"name": "p", "namespace": "n", "uid": "u"}, "spec": spec})).unwrap()
}

fn run(container: &mut Container, attempt: u32, second: i64) {
    container.begin(
        Begin { attempt, image: "hello".into(), size: Default::default(), hook: false, started: true, ready: true },
        at(second),
    );
}

fn end(container: &mut Container, code: i32, second: i64) {
    let attempt = container.attempt.unwrap();
    let id = ContainerId { pod_uid: "u".to_owned(), name: "a".to_owned(), attempt };
    let exit = Exit { code, signal: None, oom_killed: false, finished_at: at(second) };
    container.end(from_exit(&id, at(second - 1), &exit, None));
}

fn shown(pod: &Pod, view: &View, stop: bool, now: i64) -> Value {
    let plan = plan(pod.spec.as_ref().unwrap(), stop, view, at(now));
    let resize = Resize::default();
    let facts = Facts { view, plan: &plan, resize: &resize, host_ip: ip(), failure: None, now: at(now) };
    serde_json::to_value(build(pod, facts)).unwrap()
}

fn condition<'a>(status: &'a Value, type_: &str) -> &'a Value {
    status["conditions"].as_array().unwrap().iter().find(|c| c["type"] == type_).unwrap()
}

#[test]
fn a_crashing_container_waits_with_upstreams_message_and_a_running_one_is_ready() {
    let pod = pod(&json!({"containers": [{"name": "a", "image": "hello"}]}));
    let mut view = View { sandbox: Some(ip()), ..View::default() };
    let pending = shown(&pod, &view, false, 0);
    assert_eq!(pending["phase"], "Pending");
    assert_eq!(pending["containerStatuses"][0]["state"]["waiting"]["reason"], "ContainerCreating");
    let mut container = Container::default();
    run(&mut container, 0, 0);
    end(&mut container, 3, 1);
    run(&mut container, 1, 1);
    view.containers.insert("a".to_owned(), container.clone());
    let running = shown(&pod, &view, false, 1);
    assert_eq!((&running["phase"], &condition(&running, "Ready")["status"]), (&json!("Running"), &json!("True")));
    end(&mut container, 3, 2);
    view.containers.insert("a".to_owned(), container);
    let crashing = shown(&pod, &view, false, 3);
    let waiting = &crashing["containerStatuses"][0]["state"]["waiting"];
    assert_eq!(waiting["reason"], "CrashLoopBackOff");
    assert_eq!(waiting["message"], "back-off 10s restarting failed container=a pod=p_n(u)");
    assert_eq!(crashing["containerStatuses"][0]["lastState"]["terminated"]["exitCode"], 3);
    assert_eq!(condition(&crashing, "Ready")["reason"], "ContainersNotReady");
    assert_eq!(crashing["phase"], "Running");
}

#[test]
fn a_pod_that_is_deleted_succeeded_only_if_every_container_ended_with_0() {
    let pod = pod(&json!({"containers": [{"name": "a", "image": "hello"}, {"name": "b", "image": "hello"}]}));
    for (codes, phase) in [([0, 0], "Succeeded"), ([0, 143], "Failed")] {
        let mut view = View { sandbox: None, initialized: true, ..View::default() };
        for (name, code) in ["a", "b"].into_iter().zip(codes) {
            let container = view.containers.entry(name.to_owned()).or_default();
            run(container, 0, 0);
            end(container, code, 5);
        }
        assert_eq!(shown(&pod, &view, true, 5)["phase"], phase);
    }
    let never = shown(&pod, &View::default(), true, 5);
    assert_eq!(never["phase"], "Failed");
    assert_eq!(never["containerStatuses"][0]["state"]["terminated"]["reason"], "ContainerStatusUnknown");
}

#[test]
fn a_sidecar_counts_for_readiness_and_for_initialization() {
    let pod = pod(&json!({"initContainers": [{"name": "side", "image": "hello", "restartPolicy": "Always"}],
        "containers": [{"name": "a", "image": "hello"}]}));
    assert!(is_sidecar(&pod.spec.as_ref().unwrap().init_containers.as_ref().unwrap()[0]));
    let mut view = View { sandbox: Some(ip()), ..View::default() };
    run(view.containers.entry("side".to_owned()).or_default(), 0, 0);
    view.containers.get_mut("side").unwrap().started = false;
    let starting = shown(&pod, &view, false, 0);
    assert_eq!(condition(&starting, "Initialized")["message"], "containers with incomplete status: [side]");
    assert_eq!(starting["phase"], "Pending");
    let side = view.containers.get_mut("side").unwrap();
    (side.started, side.ready) = (true, false);
    run(view.containers.entry("a".to_owned()).or_default(), 0, 0);
    let unready = shown(&pod, &view, false, 0);
    assert_eq!(unready["phase"], "Running");
    assert_eq!(condition(&unready, "ContainersReady")["message"], "containers with unready status: [side]");
}

#[test]
fn readiness_gates_are_named_whether_missing_or_false() {
    let mut pod = pod(&json!({"containers": [{"name": "a", "image": "hello"}],
        "readinessGates": [{"conditionType": "x/one"}, {"conditionType": "x/two"}]}));
    let mut view = View { sandbox: Some(ip()), ..View::default() };
    run(view.containers.entry("a".to_owned()).or_default(), 0, 0);
    pod.status = serde_json::from_value(json!({"conditions": [{"type": "x/two", "status": "False"}]})).unwrap();
    let status = shown(&pod, &view, false, 0);
    let ready = condition(&status, "Ready");
    assert_eq!((&ready["status"], &ready["reason"]), (&json!("False"), &json!("ReadinessGatesNotReady")));
    assert_eq!(
        ready["message"],
        "corresponding condition of pod readiness gate \"x/one\" does not exist., \
         the status of pod readiness gate \"x/two\" is not \"True\", but False"
    );
    assert_eq!(condition(&status, "ContainersReady")["status"], "True");
    assert_eq!(condition(&status, "x/two")["status"], "False");
}

#[test]
fn a_container_counts_as_running_once_its_post_start_hook_is_done() {
    let pod = pod(&json!({"containers": [{"name": "a", "image": "hello"}]}));
    let mut view = View { sandbox: Some(ip()), ..View::default() };
    let container = view.containers.entry("a".to_owned()).or_default();
    run(container, 0, 0);
    container.hook = true;
    let status = shown(&pod, &view, false, 0);
    assert_eq!(status["phase"], "Pending");
    assert_eq!(status["containerStatuses"][0]["state"]["waiting"]["reason"], "ContainerCreating");
    assert_eq!(status["containerStatuses"][0]["started"], false);
}
