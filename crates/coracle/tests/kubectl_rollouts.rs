//! The real kubectl with running pods: rollouts, scale, wait, watch, run, drain, delete.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a failed step of a test is its failure")]

use std::{
    io::{BufRead, BufReader},
    process::Stdio,
};

use testkit::{Coracle, Kubectl};

fn with_each_kubectl(test: impl Fn(&Kubectl, &Coracle)) {
    testkit::with_each_kubectl(env!("CARGO_BIN_EXE_coracle"), test).unwrap();
}

const SLEEPER: &str = r#"
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  replicas: 2
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      terminationGracePeriodSeconds: 0
      containers: [{name: web, image: hello, command: [sleep, "1000"]}]
"#;

fn rolled_out(kubectl: &Kubectl) {
    let said = kubectl.run("rollout status deploy/web --timeout=60s").unwrap();
    assert!(said.contains("deployment \"web\" successfully rolled out"), "{said}");
}

fn value(kubectl: &Kubectl, object: &str, path: &str) -> String {
    kubectl.run(&format!("get {object} -o jsonpath={{{path}}}")).unwrap()
}

#[test]
fn a_rollout_is_followed_restarted_paused_and_undone() {
    with_each_kubectl(|kubectl, _| {
        kubectl.send("apply", SLEEPER).unwrap();
        rolled_out(kubectl);
        let first = kubectl.run("get pods -o name").unwrap();
        kubectl.run("rollout restart deploy/web").unwrap();
        rolled_out(kubectl);
        kubectl.wait(&format!("--for=delete {}", first.replace('\n', " "))).unwrap();
        assert!(kubectl.run("get deploy web").unwrap().contains("2/2     2            2 "));

        kubectl.run("rollout pause deploy/web").unwrap();
        assert!(kubectl.run("rollout pause deploy/web").unwrap_err().contains("is already paused"));
        kubectl.run("set env deploy/web A=b").unwrap();
        assert!(kubectl.run("rollout undo deploy/web").unwrap_err().contains("paused deployment"));
        kubectl.run("rollout resume deploy/web").unwrap();
        rolled_out(kubectl);
        assert_eq!(value(kubectl, "deploy/web", ".spec.template.spec.containers[0].env[0].name"), "A");

        let history = kubectl.run("rollout history deploy/web").unwrap();
        assert_eq!(history.lines().filter(|line| line.ends_with("<none>")).count(), 3, "{history}");
        let third = kubectl.run("rollout history deploy/web --revision=3").unwrap();
        assert!(third.contains("A:\tb") && third.contains("pod-template-hash="), "{third}");
        kubectl.run("rollout undo deploy/web --to-revision=1").unwrap();
        rolled_out(kubectl);
        assert_eq!(value(kubectl, "deploy/web", ".metadata.annotations.deployment\\.kubernetes\\.io/revision"), "4");
        let sets = value(kubectl, "rs", ".items[?(@.spec.replicas==0)].status");
        assert!(!sets.contains("readyReplicas"), "a count that is nothing is not there: {sets}");
    });
}

#[test]
fn scale_sets_the_replicas_and_checks_what_it_is_told_to() {
    with_each_kubectl(|kubectl, _| {
        kubectl.send("apply", SLEEPER).unwrap();
        kubectl.run("expose deploy/web --port=80 --target-port=80").unwrap();
        kubectl.run("scale deploy/web --replicas=3").unwrap();
        kubectl.wait("deploy/web --for=jsonpath={.status.readyReplicas}=3").unwrap();
        let slices = "endpointslices -l kubernetes.io/service-name=web";
        kubectl.wait(&format!("{slices} --for=jsonpath={{.endpoints[2].conditions.ready}}=true")).unwrap();
        // Endpoints follow the slices; older clients describe a Service by them.
        kubectl.wait("endpoints web --for=jsonpath={.subsets[0].addresses[2].targetRef.kind}=Pod").unwrap();
        let described = kubectl.run("describe service web").unwrap();
        let endpoints = described.lines().find(|line| line.starts_with("Endpoints:")).unwrap();
        assert_eq!(endpoints.matches(":80").count(), 3, "{described}");
        assert!(kubectl.run("get endpoints web").unwrap().contains(":80,"));
        let refused = kubectl.run("scale deploy/web --current-replicas=9 --replicas=1").unwrap_err();
        assert!(refused.contains("Expected replicas to be 9, was 3"), "{refused}");
        kubectl.run("scale deploy/web --current-replicas=3 --replicas=0").unwrap();
        kubectl.wait("pods -l app=web --for=delete").unwrap();
        assert_eq!(
            kubectl.run("get deploy web --subresource=scale -o jsonpath={.status.selector}").unwrap(),
            "app=web"
        );
    });
}

#[test]
fn deletion_takes_what_is_owned_or_leaves_it() {
    with_each_kubectl(|kubectl, _| {
        kubectl.send("apply", SLEEPER).unwrap();
        rolled_out(kubectl);
        kubectl.run("delete deploy web --cascade=orphan").unwrap();
        assert_eq!(value(kubectl, "rs -l app=web", ".items[*].metadata.ownerReferences"), "");
        kubectl.run("delete rs --all").unwrap();
        kubectl.send("apply", SLEEPER).unwrap();
        rolled_out(kubectl);
        kubectl.run("delete deploy web --cascade=foreground").unwrap();
        assert_eq!(kubectl.run("get rs,pods -o name").unwrap(), "", "what is owned goes first");

        for name in ["a", "b", "c"] {
            kubectl.run(&format!("create configmap {name} --from-literal=x=y")).unwrap();
        }
        kubectl.run("label cm a b group=one").unwrap();
        assert_eq!(kubectl.run("delete cm -l group=one -o name").unwrap(), "configmap/a\nconfigmap/b\n");
        kubectl.run("delete cm --all").unwrap();
        kubectl.run("delete cm c --ignore-not-found").unwrap();
        assert!(kubectl.run("delete cm c").unwrap_err().contains("configmaps \"c\" not found"));
    });
}

#[test]
fn an_object_with_a_finalizer_waits_for_it() {
    with_each_kubectl(|kubectl, _| {
        kubectl.run("create configmap held --from-literal=x=y").unwrap();
        let finalizers =
            |list: &str| format!("patch cm held --type=merge -p {{\"metadata\":{{\"finalizers\":{list}}}}}");
        kubectl.run(&finalizers("[\"example.com/hold\"]")).unwrap();
        kubectl.run("delete cm held --wait=false").unwrap();
        assert!(
            kubectl.run("delete cm held --timeout=1s").unwrap_err().contains("timed out waiting for the condition")
        );
        assert_ne!(value(kubectl, "cm/held", ".metadata.deletionTimestamp"), "");
        kubectl.run(&finalizers("null")).unwrap();
        assert!(kubectl.run("get cm held").unwrap_err().contains("not found"));
    });
}

#[test]
fn a_watch_prints_each_change_as_a_row() {
    with_each_kubectl(|kubectl, _| {
        kubectl.run("create configmap first --from-literal=a=b").unwrap();
        let watch = "get cm --field-selector=metadata.name!=kube-root-ca.crt -w --output-watch-events --no-headers";
        let mut child = kubectl.command(watch).stdout(Stdio::piped()).spawn().unwrap();
        let mut rows = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut next = || rows.next().unwrap().unwrap().split_whitespace().take(3).collect::<Vec<_>>().join(" ");
        assert_eq!(next(), "ADDED first 1");
        kubectl.run("create configmap second --from-literal=a=b --from-literal=c=d").unwrap();
        assert_eq!(next(), "ADDED second 2");
        kubectl.run("patch cm second -p {\"data\":{\"c\":null}}").unwrap();
        assert_eq!(next(), "MODIFIED second 1");
        kubectl.run("delete cm first").unwrap();
        assert_eq!(next(), "DELETED first 1");
        child.kill().unwrap();
        child.wait().unwrap();
    });
}

#[test]
fn a_watch_with_a_selector_sees_objects_enter_and_leave_it() {
    with_each_kubectl(|kubectl, _| {
        kubectl.run("create configmap one --from-literal=a=b").unwrap();
        let watch = "get cm -l in=yes -w --output-watch-events --no-headers";
        let mut child = kubectl.command(watch).stdout(Stdio::piped()).spawn().unwrap();
        let mut rows = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut next = || rows.next().unwrap().unwrap().split_whitespace().take(2).collect::<Vec<_>>().join(" ");
        kubectl.run("create configmap witness --from-literal=a=b").unwrap();
        kubectl.run("label cm one in=yes").unwrap();
        assert_eq!(next(), "ADDED one");
        kubectl.run("label cm one in=no --overwrite").unwrap();
        assert_eq!(next(), "DELETED one");
        child.kill().unwrap();
        child.wait().unwrap();
    });
}

#[test]
fn a_pod_is_run_described_drained_and_not_placed_on_a_cordoned_node() {
    with_each_kubectl(|kubectl, _| {
        kubectl.run("run one --image=hello --restart=Never --command -- false").unwrap();
        kubectl.wait("pod/one --for=jsonpath={.status.phase}=Failed").unwrap();
        kubectl.run("run two --image=hello --command -- sleep 1000").unwrap();
        kubectl.wait("pod/two --for=condition=Ready").unwrap();
        let rows = kubectl.run("get pods --no-headers").unwrap();
        let row = |name: &str| rows.lines().find(|row| row.starts_with(name)).unwrap().to_owned();
        assert!(row("one").contains("0/1   Error ") && row("two").contains("1/1   Running "), "{rows}");
        let described = kubectl.run("describe pod one").unwrap();
        for part in ["Reason:       Error", "Exit Code:    1", "coracle/", "Service Account:  default", "Scheduled"] {
            assert!(described.contains(part), "{part}: {described}");
        }
        let node = value(kubectl, "nodes", ".items[0].metadata.name");
        kubectl.run(&format!("cordon {node}")).unwrap();
        assert!(kubectl.run("get nodes").unwrap().contains("Ready,SchedulingDisabled"));
        kubectl.run("run three --image=hello --command -- sleep 1000").unwrap();
        kubectl.wait("pod/three --for=condition=PodScheduled=false").unwrap();
        let said = kubectl.run(&format!("drain {node} --force --ignore-daemonsets --timeout=60s -v=6")).unwrap();
        assert!(said.contains("pod/two evicted"), "{said}");
        kubectl.run(&format!("uncordon {node}")).unwrap();
        kubectl.wait("pod/three --for=condition=Ready").unwrap();
        kubectl.run("delete pods --all --force").unwrap();
    });
}
