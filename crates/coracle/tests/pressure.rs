//! A machine that is full: important pods take the room of others, and when memory runs short pods go in the kubelet's order.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a failed step of a test is its failure")]

use nix::mount::{MsFlags, mount};
use testkit::{
    Coracle, Kubectl, Load, Settings,
    systems::{GATEWAY, HELLO, route},
};

/// A Coracle with these settings, and a kubectl for it; `None`, and says so, without one.
fn world(arguments: &[&str]) -> Option<(Coracle, Kubectl)> {
    let mut settings = Settings::new(env!("CARGO_BIN_EXE_coracle"));
    settings.arguments = ["--image", "tools=/bin/sh"].iter().chain(arguments).map(|text| (*text).to_owned()).collect();
    let coracle = Coracle::start(settings).unwrap();
    let kubectl = Kubectl::any(&coracle.kubeconfig());
    if kubectl.is_none() {
        eprintln!("skipped: there is no kubectl on this machine");
    }
    Some((coracle, kubectl?))
}

/// A pod that does nothing, with these lines of flow-style YAML in its spec and its container.
fn pod(name: &str, spec: &str, resources: &str) -> String {
    format!(
        "---
apiVersion: v1
kind: Pod
metadata: {{name: {name}}}
spec:
  terminationGracePeriodSeconds: 1
  {spec}
  containers: [{{name: c, image: tools, command: [sleep, '1000'], resources: {{{resources}}}}}]
"
    )
}

fn class(name: &str, value: i32, extra: &str) -> String {
    format!(
        "---\napiVersion: scheduling.k8s.io/v1\nkind: PriorityClass\nmetadata: {{name: {name}}}\nvalue: {value}\n{extra}\n"
    )
}

fn value(kubectl: &Kubectl, object: &str, path: &str) -> String {
    kubectl.run(&format!("get {object} -o jsonpath={{{path}}}")).unwrap()
}

/// The messages of an object's events with this reason.
fn events(kubectl: &Kubectl, name: &str, reason: &str) -> String {
    let fields = format!("--field-selector involvedObject.name={name},reason={reason}");
    kubectl.run(&format!("get events {fields} -o jsonpath={{.items[*].message}}")).unwrap()
}

#[test]
fn an_important_pod_takes_the_room_of_the_least_important_one() {
    let Some((_coracle, kubectl)) = world(&[]) else { return };
    let cores: u32 = value(&kubectl, "node/coracle", ".status.allocatable.cpu").parse().unwrap();
    let cpu = |percent: u32| format!("requests: {{cpu: {}m}}", cores * percent * 10);
    let classes = [class("high", 1000, ""), class("low", -5, ""), class("meek", 1000, "preemptionPolicy: Never")];
    kubectl.send("apply", &classes.concat()).unwrap();
    let filled = [pod("plain", "", &cpu(40)), pod("low", "priorityClassName: low", &cpu(40))];
    kubectl.send("apply", &filled.concat()).unwrap();
    kubectl.wait("pod/plain pod/low --for=condition=Ready").unwrap();
    // One that takes no room from others waits, and says why.
    kubectl.send("apply", &pod("meek", "priorityClassName: meek", &cpu(30))).unwrap();
    kubectl.wait("pod/meek --for=condition=PodScheduled=False").unwrap();
    let why = "0/1 nodes are available: 1 Insufficient cpu. preemption: not eligible due to preemptionPolicy=Never.";
    assert_eq!(value(&kubectl, "pod/meek", ".status.conditions[?(@.type==\"PodScheduled\")].message"), why);
    kubectl.run("delete pod meek --wait=false").unwrap();
    kubectl.send("apply", &pod("high", "priorityClassName: high", &cpu(30))).unwrap();
    kubectl.wait("pod/high --for=condition=Ready").unwrap();
    let uid = value(&kubectl, "pod/high", ".metadata.uid");
    assert_eq!(events(&kubectl, "low", "Preempted"), format!("Preempted by pod {uid} on node coracle"));
    assert!(events(&kubectl, "high", "FailedScheduling").starts_with("0/1 nodes are available: 1 Insufficient cpu."));
    assert_eq!(value(&kubectl, "pod/high", ".status.nominatedNodeName"), "coracle");
    kubectl.until("pods -o jsonpath={.items[*].metadata.name}", "high plain").unwrap();
    // A class that is not there is refused, and so is a second default.
    let refused = kubectl.send("apply", &pod("p", "priorityClassName: none", "")).unwrap_err();
    assert!(refused.contains("no PriorityClass with name none was found"), "{refused}");
    let twice = [class("a", 1, "globalDefault: true"), class("b", 2, "globalDefault: true")].concat();
    let refused = kubectl.send("apply", &twice).unwrap_err();
    assert!(refused.contains("PriorityClass a is already marked as default"), "{refused}");
}

/// As much memory is to be free as no machine has, so that it always runs short.
const NEVER_ENOUGH: [&str; 2] = ["--eviction-hard", "memory.available<99.9%"];

#[test]
fn when_memory_runs_short_the_node_says_so_and_pods_are_evicted() {
    let Some((_coracle, kubectl)) = world(&NEVER_ENOUGH) else { return };
    kubectl.wait("node/coracle --for=condition=MemoryPressure").unwrap();
    kubectl.until("node/coracle -o jsonpath={.spec.taints[*].key}", "node.kubernetes.io/memory-pressure").unwrap();
    let told = "events --field-selector involvedObject.name=coracle,reason=NodeHasInsufficientMemory -o jsonpath={.items[*].message}";
    kubectl.until(told, "Node coracle status is now: NodeHasInsufficientMemory").unwrap();
    // What promised nothing is kept out; what did is taken in, and has to go all the same.
    let critical = "priorityClassName: system-node-critical";
    let pods = [pod("nothing", "", ""), pod("some", "", "requests: {memory: 1Ki}"), pod("needed", critical, "")];
    kubectl.send("apply", &pods.concat()).unwrap();
    kubectl.until("pod/some -o jsonpath={.status.phase}/{.status.reason}", "Failed/Evicted").unwrap();
    let message = value(&kubectl, "pod/some", ".status.message");
    assert!(message.starts_with("The node was low on resource: memory. Threshold quantity: "), "{message}");
    assert!(
        message.contains(" Container c was using ") && message.contains(", request is 1Ki, has larger"),
        "{message}"
    );
    let told = "events --field-selector involvedObject.name=some,reason=Evicted -o jsonpath={.items[*].message}";
    kubectl.until(told, &message).unwrap();
    let target = ".status.conditions[?(@.type==\"DisruptionTarget\")].reason";
    assert_eq!(value(&kubectl, "pod/some", target), "TerminationByKubelet");
    let why = value(&kubectl, "pod/nothing", ".status.conditions[?(@.type==\"PodScheduled\")].message");
    assert!(
        why.starts_with(
            "0/1 nodes are available: 1 node(s) had untolerated taint {node.kubernetes.io/memory-pressure: }."
        ),
        "{why}"
    );
    assert_eq!(value(&kubectl, "pod/needed", ".status.phase"), "Pending", "it tolerates no taint either");
    // Whoever chooses the node itself is refused by the node.
    kubectl.send("apply", &pod("bound", "nodeName: coracle", "")).unwrap();
    kubectl.until("pod/bound -o jsonpath={.status.phase}/{.status.reason}", "Failed/Evicted").unwrap();
    let message = value(&kubectl, "pod/bound", ".status.message");
    assert_eq!(message, "Pod was rejected: The node had condition: [MemoryPressure]. ");
    let row = kubectl.run("get pod bound --no-headers").unwrap();
    assert!(row.contains(" 0/1 ") && row.contains(" Evicted "), "{row}");
    kubectl.run("delete pods --all").unwrap();
}

#[test]
fn a_machine_short_of_processes_takes_no_pods_in_and_evicts_the_least_important() {
    let Some((_coracle, kubectl)) = world(&["--eviction-hard", "pid.available<99.99%"]) else { return };
    kubectl.wait("node/coracle --for=condition=PIDPressure").unwrap();
    kubectl.until("node/coracle -o jsonpath={.spec.taints[*].key}", "node.kubernetes.io/pid-pressure").unwrap();
    kubectl.send("apply", &pod("bound", "nodeName: coracle", "requests: {memory: 1Ki}")).unwrap();
    kubectl.until("pod/bound -o jsonpath={.status.phase}/{.status.reason}", "Failed/Evicted").unwrap();
    let message = value(&kubectl, "pod/bound", ".status.message");
    assert_eq!(message, "Pod was rejected: The node had condition: [PIDPressure]. ");
}

/// Writes 40 MiB into a volume, or as much as there is room for.
const FILLER: &str = "---
apiVersion: v1
kind: Pod
metadata: {name: filler}
spec:
  terminationGracePeriodSeconds: 1
  volumes: [{name: room, emptyDir: {}}]
  containers:
  - name: c
    image: tools
    command: [sh, -c, 'head -c 41943040 /dev/zero > /room/file; sleep 1000']
    volumeMounts: [{name: room, mountPath: /room}]
";

#[test]
fn a_pod_that_fills_the_disk_is_evicted_and_its_room_is_there_again() {
    testkit::apart(|| {
        let disk = tempfile::tempdir().unwrap();
        mount(Some("tmpfs"), disk.path(), Some("tmpfs"), MsFlags::empty(), Some("size=64m")).unwrap();
        let mut settings = Settings::new(env!("CARGO_BIN_EXE_coracle"));
        settings.disk = Some(disk.path().to_owned());
        let limits = ["--eviction-hard", "nodefs.available<40%", "--eviction-pressure-transition-period", "1s"];
        let arguments = [["--runtime", "native", "--image", "tools=/bin/sh"].as_slice(), &limits].concat();
        settings.arguments = arguments.into_iter().map(str::to_owned).collect();
        let coracle = Coracle::start(settings).unwrap();
        let Some(kubectl) = Kubectl::any(&coracle.kubeconfig()) else {
            return eprintln!("skipped: there is no kubectl on this machine");
        };
        let pressure = "node/coracle -o jsonpath={.status.conditions[?(@.type==\"DiskPressure\")].status}";
        kubectl.until(pressure, "False").unwrap();
        kubectl.send("apply", &pod("modest", "", "")).unwrap();
        kubectl.wait("pod/modest --for=condition=Ready").unwrap();
        kubectl.send("apply", FILLER).unwrap();
        kubectl.until("pod/filler -o jsonpath={.status.phase}/{.status.reason}", "Failed/Evicted").unwrap();
        let message = value(&kubectl, "pod/filler", ".status.message");
        assert!(
            message.starts_with("The node was low on resource: ephemeral-storage. Threshold quantity: "),
            "{message}"
        );
        // What it wrote went with it: nobody else has to go, and pods are let in again.
        kubectl.until(pressure, "False").unwrap();
        let modest = ".status.phase}/{.status.containerStatuses[0].restartCount";
        assert_eq!(value(&kubectl, "pod/modest", modest), "Running/0");
        kubectl.send("apply", &pod("next", "", "")).unwrap();
        kubectl.wait("pod/next --for=condition=Ready").unwrap();
        kubectl.run("delete pods --all").unwrap();
    });
}

/// Takes all the memory that it gets, again and again.
const FLOOD: &str = "---
apiVersion: apps/v1
kind: Deployment
metadata: {name: flood}
spec:
  replicas: 2
  selector: {matchLabels: {app: flood}}
  template:
    metadata: {labels: {app: flood}}
    spec:
      terminationGracePeriodSeconds: 0
      containers: [{name: c, image: tools, command: [tail, /dev/zero], resources: {requests: {memory: 1Mi}, limits: {memory: 24Mi}}}]
";

#[test]
fn a_flood_of_memory_ends_who_makes_it_and_costs_the_others_no_request() {
    testkit::apart(|| {
        let file = tempfile::Builder::new().suffix(".yaml").tempfile().unwrap();
        std::fs::write(file.path(), [GATEWAY, HELLO, &route("{backendRefs: [{name: hello, port: 80}]}")].concat())
            .unwrap();
        let mut settings = Settings::new(env!("CARGO_BIN_EXE_coracle"));
        let manifests = file.path().to_str().unwrap();
        settings.arguments =
            ["--runtime", "native", "--image", "tools=/bin/sh", "-f", manifests].map(str::to_owned).into();
        let coracle = Coracle::start(settings).unwrap();
        let Some(kubectl) = Kubectl::any(&coracle.kubeconfig()) else {
            return eprintln!("skipped: there is no kubectl on this machine");
        };
        let load = Load::start(coracle.gateway(80).unwrap(), 2);
        kubectl.send("apply", FLOOD).unwrap();
        let ended = "pods -l app=flood -o jsonpath={.items[*].status.containerStatuses[0].lastState.terminated.reason}";
        kubectl.until(ended, "OOMKilled OOMKilled").unwrap();
        let failures = load.finish();
        assert!(failures.is_empty(), "{failures:?}");
        let restarts = "{.items[*].status.containerStatuses[0].restartCount}";
        assert_eq!(kubectl.run(&format!("get pods -l app=hello -o jsonpath={restarts}")).unwrap(), "0 0 0");
        kubectl.run("delete deployments --all").unwrap();
    });
}
