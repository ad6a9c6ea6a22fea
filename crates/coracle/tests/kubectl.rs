//! The real kubectl against a running Coracle: what people type, and what a crash leaves behind.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a failed step of a test is its failure")]

use std::net::TcpStream;

use testkit::{Coracle, Kubectl, Settings};

const WEB: &str = "
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  replicas: 2
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      containers: [{name: web, image: web:1, ports: [{name: http, containerPort: 8000}]}]
---
apiVersion: v1
kind: Service
metadata: {name: web}
spec:
  selector: {app: web}
  ports: [{name: http, port: 80, targetPort: http}]
";

fn coracle() -> Coracle {
    Coracle::start(Settings::new(env!("CARGO_BIN_EXE_coracle"))).unwrap()
}

/// Runs `test` with each kubectl there is.
fn with_each_kubectl(test: impl Fn(&Kubectl, &Coracle)) {
    testkit::with_each_kubectl(env!("CARGO_BIN_EXE_coracle"), test).unwrap();
}

#[test]
fn a_deployment_is_applied_changed_scaled_and_deleted_with_all_that_it_owns() {
    with_each_kubectl(|kubectl, _| {
        assert!(kubectl.send("apply", WEB).unwrap().contains("deployment.apps/web created"));
        kubectl.wait("deployment/web --for=jsonpath={.status.replicas}=2").unwrap();
        let pods = kubectl.run("get pods -l app=web -o name").unwrap();
        assert_eq!(pods.lines().count(), 2, "{pods}");

        assert!(kubectl.send("apply", WEB).unwrap().contains("deployment.apps/web unchanged"));
        kubectl.run("scale deployment/web --replicas=3").unwrap();
        kubectl.wait("deployment/web --for=jsonpath={.status.replicas}=3").unwrap();
        kubectl.run("set env deployment/web A=b").unwrap();
        kubectl.wait("deployment/web --for=jsonpath={.status.updatedReplicas}=1").unwrap();
        let history = kubectl.run("rollout history deployment/web").unwrap();
        assert!(history.contains("\n1 ") && history.contains("\n2 "), "{history}");
        kubectl.run("rollout undo deployment/web").unwrap();
        kubectl.run("patch deployment/web -p {\"spec\":{\"minReadySeconds\":1}}").unwrap();
        kubectl.run("label deployment/web team=a").unwrap();
        assert_eq!(kubectl.run("get deployment web -o jsonpath={.metadata.labels.team}").unwrap(), "a");
        assert!(kubectl.run("describe deployment web").unwrap().contains("ScalingReplicaSet"));

        kubectl.run("delete deployment web").unwrap();
        kubectl.wait("pods -l app=web --for=delete").unwrap();
        kubectl.wait("replicasets -l app=web --for=delete").unwrap();
    });
}

#[test]
fn typed_commands_work_whatever_the_encoding_of_their_bodies() {
    with_each_kubectl(|kubectl, _| {
        kubectl.run("create namespace team").unwrap();
        kubectl.run("-n team create configmap settings --from-literal=a=b").unwrap();
        kubectl.run("-n team create secret generic key --from-literal=a=b").unwrap();
        kubectl.run("-n team create deployment web --image=web:1 --replicas=1 --port=8000").unwrap();
        kubectl.run("-n team expose deployment web --port=80 --target-port=8000").unwrap();
        assert_eq!(kubectl.run("-n team get cm settings -o jsonpath={.data.a}").unwrap(), "b");
        assert_eq!(kubectl.run("-n team get secret key -o jsonpath={.data.a}").unwrap(), "Yg==");
        assert_eq!(kubectl.run("-n team get service web -o jsonpath={.spec.ports[0].targetPort}").unwrap(), "8000");
        kubectl
            .wait("-n team endpointslices -l kubernetes.io/service-name=web --for=jsonpath={.addressType}=IPv4")
            .unwrap();
        kubectl.run("delete namespace team").unwrap();
        let gone = kubectl.run("get namespace team").unwrap_err();
        assert!(gone.contains("namespaces \"team\" not found"), "{gone}");
    });
}

#[test]
fn mistakes_are_refused_in_upstreams_words() {
    with_each_kubectl(|kubectl, _| {
        let missing = kubectl.run("get deployment nope").unwrap_err();
        assert!(missing.contains("deployments.apps \"nope\" not found"), "{missing}");
        let manifest = WEB.replace("matchLabels: {app: web}", "matchLabels: {app: other}");
        let wrong = kubectl.send("apply", &manifest).unwrap_err();
        assert!(wrong.contains("`selector` does not match template `labels`"), "{wrong}");
    });
}

#[test]
fn a_pod_that_no_node_can_take_says_why_it_waits() {
    with_each_kubectl(|kubectl, _| {
        let manifest = "apiVersion: v1\nkind: Pod\nmetadata: {name: p}\nspec: {nodeSelector: {disk: ssd}, containers: [{name: c, image: i}]}\n";
        kubectl.send("apply", manifest).unwrap();
        kubectl.wait("pod/p --for=condition=PodScheduled=false").unwrap();
        assert!(kubectl.run("describe pod p").unwrap().contains("didn't match Pod's node affinity/selector"));
        kubectl.run("delete pod p").unwrap();
    });
}

const GATED: &str = "apiVersion: v1
kind: Pod
metadata: {name: gated}
spec:
  schedulingGates: [{name: example.com/a}, {name: example.com/b}]
  affinity: {nodeAffinity: {requiredDuringSchedulingIgnoredDuringExecution: {nodeSelectorTerms: [
    {matchExpressions: [{key: kubernetes.io/os, operator: In, values: [linux]}]}]}}}
  containers: [{name: c, image: hello}]
";

#[test]
fn a_pod_with_gates_waits_until_the_last_of_them_is_taken_away() {
    with_each_kubectl(|kubectl, _| {
        let said = kubectl.send("apply", GATED).unwrap();
        assert!(!said.contains("Warning"), "{said}");
        assert!(kubectl.run("get pod gated --no-headers").unwrap().contains("SchedulingGated"));
        let condition = "get pod gated -o jsonpath={.status.conditions[*].reason}/{.status.conditions[*].message}";
        let why = "SchedulingGated/Scheduling is blocked due to non-empty scheduling gates";
        assert_eq!(kubectl.run(condition).unwrap(), why);
        let gates = |list: &str| {
            kubectl.run(&format!("patch pod gated --type merge -p {{\"spec\":{{\"schedulingGates\":{list}}}}}"))
        };
        let more = gates("[{\"name\":\"example.com/c\"}]").unwrap_err();
        assert!(more.contains("only deletion is allowed, but found new scheduling gate 'example.com/c'"), "{more}");
        gates("[{\"name\":\"example.com/b\"}]").unwrap();
        assert_eq!(kubectl.run(condition).unwrap(), why, "one is left");
        gates("null").unwrap();
        kubectl.wait("pod/gated --for=condition=Ready").unwrap();
        kubectl.run("delete pod gated --now").unwrap();
    });
}

#[test]
fn a_pod_serves_outlives_a_crash_and_ends_with_coracle() {
    let mut coracle = coracle();
    let Some(kubectl) = Kubectl::version("1.33", &coracle.kubeconfig()) else {
        return eprintln!("skipped: there is no kubectl 1.33 on this machine");
    };
    let system = concat!(env!("CARGO_MANIFEST_DIR"), "/../../systems/hello/overlays/dev");
    kubectl.run(&format!("apply -k {system}")).unwrap();
    kubectl.wait("-n dev deployment/hello --for=condition=Available").unwrap();
    let address = kubectl.run("-n dev get pod -l app=hello -o jsonpath={.items[0].status.podIP}").unwrap();
    assert!(get(&address).contains("Hello World"));

    coracle.kill().unwrap();
    assert!(get(&address).contains("Hello World"), "the pod serves on without Coracle");
    coracle.start_again().unwrap();
    kubectl.wait("-n dev deployment/hello --for=condition=Available").unwrap();
    let restarts = "-n dev get pod -l app=hello -o jsonpath={.items[*].status.containerStatuses[0].restartCount}";
    assert_eq!(kubectl.run(restarts).unwrap(), "0", "the pod was taken back as it was");
    assert!(get(&address).contains("Hello World"));

    coracle.stop("INT").unwrap();
    assert!(TcpStream::connect((address.as_str(), 8000)).is_err(), "Ctrl-C ends the pods too");
}

/// The answer of the hello service at an address.
fn get(address: &str) -> String {
    testkit::get((address, 8000), "/").unwrap()
}

#[test]
fn everything_is_there_after_a_crash() {
    let mut coracle = coracle();
    let Some(kubectl) = Kubectl::version("1.33", &coracle.kubeconfig()) else {
        return eprintln!("skipped: there is no kubectl 1.33 on this machine");
    };
    for name in ["one", "two"] {
        kubectl.run(&format!("create configmap {name} --from-literal=a={name}")).unwrap();
        coracle.kill().unwrap();
        coracle.start_again().unwrap();
    }
    for name in ["one", "two"] {
        assert_eq!(kubectl.run(&format!("get cm {name} -o jsonpath={{.data.a}}")).unwrap(), name);
    }
}
