//! `kubectl logs` against a running Coracle, from the API server through the node to the container's own output.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a failed step of a test is its failure")]

use std::{
    fs,
    io::{BufRead, BufReader, Read, Write},
    path::Path,
    process::{Child, Stdio},
};

use testkit::{Coracle, Kubectl, with_every_kubectl};

/// Pods that write what the tests read. `DIR` is a directory in which they meet the test.
const PODS: &str = r#"
apiVersion: v1
kind: Pod
metadata: {name: talker, labels: {app: talker}}
spec:
  terminationGracePeriodSeconds: 0
  containers:
  - {name: main, image: hello, command: [sh, -c, "for i in 1 2 3 4 5; do echo line $i; done; exec sleep 1000"]}
  - {name: side, image: hello, command: [sh, -c, "echo beside >&2; exec sleep 1000"]}
---
apiVersion: v1
kind: Pod
metadata: {name: crasher}
spec:
  terminationGracePeriodSeconds: 0
  containers: [{name: c, image: hello, command: [sh, -c, "if mkdir DIR/once; then echo first; exit 1; fi 2>&-; echo second; exec sleep 1000"]}]
---
apiVersion: v1
kind: Pod
metadata: {name: follower}
spec:
  restartPolicy: Never
  containers: [{name: c, image: hello, command: [sh, -c, "echo ready; while ! [ -e DIR/go ]; do sleep 0.05; done; echo more"]}]
---
apiVersion: v1
kind: Pod
metadata: {name: waiter}
spec:
  containers: [{name: c, image: nothing-of-this-name}]
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      terminationGracePeriodSeconds: 0
      containers: [{name: web, image: hello, command: [sh, -c, "echo deployed; exec sleep 1000"]}]
"#;

#[test]
fn logs_are_shown_cut_followed_and_refused_as_kubectl_users_expect() {
    let tried = with_every_kubectl(env!("CARGO_BIN_EXE_coracle"), |kubectl, coracle| {
        let dir = tempfile::tempdir().unwrap();
        apply(kubectl, dir.path());
        shows(kubectl);
        refuses(kubectl);
        follows(kubectl, coracle, dir.path());
    });
    tried.unwrap();
}

fn apply(kubectl: &Kubectl, dir: &Path) {
    let mut file = tempfile::Builder::new().suffix(".yaml").tempfile().unwrap();
    file.write_all(PODS.replace("DIR", dir.to_str().unwrap()).as_bytes()).unwrap();
    kubectl.run(&format!("apply -f {}", file.path().display())).unwrap();
    for ready in [
        "pod/talker --for=condition=Ready",
        "pod/crasher --for=condition=Ready",
        "deployment/web --for=condition=Available",
    ] {
        kubectl.run(&format!("wait --timeout=60s {ready}")).unwrap();
    }
}

/// What `kubectl logs` with these arguments prints, once that is what is wanted: a program that has just started may not have
/// written everything yet.
fn shown(kubectl: &Kubectl, arguments: &str, is_wanted: impl Fn(&str) -> bool) -> String {
    for _ in 0..600 {
        let text = kubectl.run(&format!("logs {arguments}")).unwrap();
        if is_wanted(&text) {
            return text;
        }
        std::thread::yield_now();
    }
    panic!("kubectl logs {arguments} never showed what was wanted");
}

fn shows(kubectl: &Kubectl) {
    // The older ones leave it to the server to choose a container, which chooses none of several.
    let talker = if kubectl.minor() < 21 { "talker -c main" } else { "talker" };
    let of_talker = |flag: &str| kubectl.run(&format!("logs {talker} {flag}")).unwrap();
    let all = shown(kubectl, talker, |text| text.lines().count() == 5);
    assert!(all.starts_with("line 1\nline 2\n"), "{all}");
    assert_eq!(shown(kubectl, "talker -c side", |text| !text.is_empty()), "beside\n");
    assert_eq!(of_talker("--tail=2").lines().count(), 2);
    assert_eq!(of_talker("--tail=0"), "");
    assert_eq!(of_talker("--limit-bytes=4"), "line");
    assert_eq!(of_talker("--since=1h"), all);
    assert_eq!(of_talker("--since-time=2020-01-01T00:00:00+01:00"), all);
    let timed = of_talker("--timestamps");
    let first = timed.lines().next().unwrap();
    assert!(first.ends_with("Z line 1") && first.starts_with("20"), "{first}");
    let selected = kubectl.run("logs -l app=talker --all-containers --prefix").unwrap();
    assert!(
        selected.contains("[pod/talker/side] beside") && selected.contains("[pod/talker/main] line 5"),
        "{selected}"
    );
    assert_eq!(shown(kubectl, "deploy/web", |text| !text.is_empty()), "deployed\n");
    assert_eq!(shown(kubectl, "crasher", |text| !text.is_empty()), "second\n");
    assert_eq!(kubectl.run("logs crasher --previous").unwrap(), "first\n");
}

fn refuses(kubectl: &Kubectl) {
    for (arguments, words) in [
        ("nope", "pods \"nope\" not found"),
        ("talker -c nope", "container nope is not valid for pod talker"),
        ("talker -c main --previous", "previous terminated container \"main\" in pod \"talker\" not found"),
        ("waiter", "container \"c\" in pod \"waiter\" is waiting to start"),
    ] {
        let error = kubectl.run(&format!("logs {arguments}")).unwrap_err();
        assert!(error.contains(words), "{arguments}: {error}");
    }
}

fn follow(kubectl: &Kubectl) -> (Child, BufReader<impl Read + use<>>) {
    let mut child = kubectl.command("logs -f follower").stdout(Stdio::piped()).spawn().unwrap();
    let mut output = BufReader::new(child.stdout.take().unwrap());
    let mut line = String::new();
    output.read_line(&mut line).unwrap();
    assert_eq!(line, "ready\n");
    (child, output)
}

fn follows(kubectl: &Kubectl, coracle: &Coracle, dir: &Path) {
    kubectl.run("wait --timeout=60s pod/follower --for=condition=Ready").unwrap();
    let (mut leaves, _output) = follow(kubectl);
    assert_eq!(followers(coracle), 1);
    leaves.kill().unwrap();
    leaves.wait().unwrap();
    while followers(coracle) > 0 {
        std::thread::yield_now();
    }

    let (mut stays, mut output) = follow(kubectl);
    fs::write(dir.join("go"), "").unwrap();
    let mut rest = String::new();
    output.read_to_string(&mut rest).unwrap();
    assert_eq!(rest, "more\n", "it ends when the container has ended");
    assert!(stays.wait().unwrap().success());
    kubectl.until("pod/follower -o jsonpath={.status.phase}", "Succeeded").unwrap();
    assert_eq!(kubectl.run("logs follower").unwrap(), "ready\nmore\n", "the log outlives the container");
}

/// How many logs Coracle follows now: each takes one of the kernel's change queues.
fn followers(coracle: &Coracle) -> usize {
    let entries = fs::read_dir(format!("/proc/{}/fd", coracle.pid())).unwrap().flatten();
    let targets = entries.filter_map(|entry| fs::read_link(entry.path()).ok());
    targets.filter(|target| target.to_string_lossy().contains("inotify")).count()
}
