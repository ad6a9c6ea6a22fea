//! Nothing that people do to a running system costs a request: constant load, and every change that must not be noticed.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a failed step of a test is its failure")]

use std::{fmt::Write as _, process::Command};

use testkit::{
    Coracle, Kubectl, Load, processes,
    systems::{GATEWAY, HELLO, route},
};

/// The route, with something in it that changes.
fn changing_route(version: u32) -> String {
    let set = format!("{{set: [{{name: x-version, value: '{version}'}}]}}");
    let filter = format!("{{type: ResponseHeaderModifier, responseHeaderModifier: {set}}}");
    route(&format!("{{filters: [{filter}], backendRefs: [{{name: hello, port: 80}}]}}"))
}

/// Does something under load; no request may fail, from before it began until long after it was done.
fn under_load(disturb: impl Fn(&Kubectl, &Coracle)) {
    let manifests = [GATEWAY, HELLO, &changing_route(0)].concat();
    let coracle = Coracle::serving(env!("CARGO_BIN_EXE_coracle"), &manifests).unwrap();
    let Some(kubectl) = Kubectl::any(&coracle.kubeconfig()) else {
        return eprintln!("skipped: there is no kubectl on this machine");
    };
    let load = Load::start(coracle.gateway(80).unwrap(), 4);
    wait_for(&load, 100);
    disturb(&kubectl, &coracle);
    wait_for(&load, 1000);
    let requests = load.requests();
    let failures = load.finish();
    let summary = failures.iter().take(10).fold(String::new(), |mut all, failure| {
        writeln!(all, "{failure}").unwrap();
        all
    });
    assert!(failures.is_empty(), "{} of {requests} requests failed:\n{summary}", failures.len());
}

/// Waits for so many more requests.
fn wait_for(load: &Load, more: u64) {
    let until = load.requests() + more;
    while load.requests() < until {
        std::thread::yield_now();
    }
}

#[test]
fn three_restarts_in_a_row() {
    under_load(|kubectl, _| {
        for _ in 0..3 {
            restart(kubectl);
            kubectl.run("rollout status deployment/hello --timeout=120s").unwrap();
        }
    });
}

/// Restarts the rollout. kubectl refuses a second restart within a second, which is longer than the first one takes.
fn restart(kubectl: &Kubectl) {
    while let Err(error) = kubectl.run("rollout restart deployment/hello") {
        assert!(error.contains("within the past second"), "{error}");
    }
}

#[test]
fn scaling_up_and_down() {
    under_load(|kubectl, _| {
        for replicas in [1, 5, 2] {
            kubectl.run(&format!("scale deployment/hello --replicas={replicas}")).unwrap();
            kubectl.run("rollout status deployment/hello --timeout=120s").unwrap();
            let wanted = format!("--for=jsonpath={{.status.replicas}}={replicas}");
            kubectl.run(&format!("wait deployment/hello --timeout=120s {wanted}")).unwrap();
        }
    });
}

#[test]
fn deleting_a_pod() {
    under_load(|kubectl, _| {
        let pods = kubectl.run("get pods -l app=hello -o name").unwrap();
        kubectl.run(&format!("delete {}", pods.lines().next().unwrap())).unwrap();
        kubectl.run("rollout status deployment/hello --timeout=120s").unwrap();
    });
}

#[test]
fn killing_the_process_of_a_pod() {
    under_load(|kubectl, coracle| {
        let shim = coracle.shims().first().copied().unwrap();
        let arguments = std::fs::read_to_string(format!("/proc/{shim}/cmdline")).unwrap();
        let pods =
            kubectl.run("get pods --no-headers -o custom-columns=NAME:.metadata.name,UID:.metadata.uid").unwrap();
        let mut pods = pods.lines().filter_map(|line| line.split_once(' '));
        let (pod, _) = pods.find(|(_, uid)| arguments.contains(uid.trim())).unwrap();
        let victim = processes::tree(shim).last().copied().unwrap();
        assert!(Command::new("kill").args(["-s", "KILL", &victim.to_string()]).status().unwrap().success());
        let restarted = "--for=jsonpath={.status.containerStatuses[0].restartCount}=1";
        kubectl.run(&format!("wait pod/{pod} {restarted} --timeout=120s")).unwrap();
        kubectl.run(&format!("wait pod/{pod} --for=condition=Ready --timeout=120s")).unwrap();
    });
}

#[test]
fn changing_the_route_all_the_time() {
    under_load(|kubectl, _| {
        for version in 1..30 {
            kubectl.send("apply", &changing_route(version)).unwrap();
        }
    });
}
