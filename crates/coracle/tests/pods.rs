//! The life of pods and who owns them, through the real kubectl: init containers, sidecars, hooks, probes, crash loops, what is
//! missing, adoption and release.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a failed step of a test is its failure")]

use testkit::{Coracle, Kubectl};

fn with_each_kubectl(test: impl Fn(&Kubectl, &Coracle)) {
    testkit::with_each_kubectl(env!("CARGO_BIN_EXE_coracle"), test).unwrap();
}

fn value(kubectl: &Kubectl, object: &str, path: &str) -> String {
    kubectl.run(&format!("get {object} -o jsonpath={{{path}}}")).unwrap()
}

/// The messages of a pod's events with this reason.
fn events(kubectl: &Kubectl, pod: &str, reason: &str) -> String {
    let fields = format!("--field-selector involvedObject.name={pod},reason={reason}");
    kubectl.run(&format!("get events {fields} -o jsonpath={{.items[*].message}}")).unwrap()
}

const FULL: &str = r#"
apiVersion: v1
kind: Pod
metadata: {name: full}
spec:
  terminationGracePeriodSeconds: 1
  initContainers:
    - {name: first, image: hello, command: [sh, -c, "echo first is done"]}
    - name: side
      image: hello
      restartPolicy: Always
      command: [sleep, "1000"]
      startupProbe: {exec: {command: ["true"]}}
  containers:
    - name: main
      image: hello
      command: [sh, -c, "echo $GREETING from $NAME; exec sleep 1000"]
      env:
        - {name: NAME, valueFrom: {fieldRef: {fieldPath: metadata.name}}}
        - {name: GREETING, value: "hello $(NAME)"}
      lifecycle: {postStart: {exec: {command: ["true"]}}}
      readinessProbe: {exec: {command: ["true"]}}
"#;

#[test]
fn a_pod_goes_through_init_containers_sidecars_hooks_and_probes() {
    with_each_kubectl(|kubectl, _| {
        kubectl.send("apply", FULL).unwrap();
        kubectl.wait("pod/full --for=condition=Ready").unwrap();
        let row = kubectl.run("get pod full --no-headers").unwrap();
        assert!(row.contains(" 2/2 ") && row.contains(" Running "), "{row}");
        assert_eq!(kubectl.run("logs full -c first").unwrap(), "first is done\n");
        assert_eq!(kubectl.run("logs full -c main").unwrap(), "hello full from full\n");
        let inits = value(kubectl, "pod/full", ".status.initContainerStatuses[*].state.terminated.reason");
        assert_eq!(inits, "Completed");
        kubectl.run("delete pod full").unwrap();
        let said = events(kubectl, "full", "Killing");
        assert!(said.contains("Stopping container main") && said.contains("Stopping container side"), "{said}");
    });
}

const BROKEN: &str = r#"
apiVersion: v1
kind: Pod
metadata: {name: crashes}
spec: {containers: [{name: c, image: hello, command: [sh, -c, "echo it broke; exit 3"], terminationMessagePolicy: FallbackToLogsOnError}]}
---
apiVersion: v1
kind: Pod
metadata: {name: nobody}
spec: {containers: [{name: c, image: registry.example/nobody:1}]}
---
apiVersion: v1
kind: Pod
metadata: {name: waits}
spec: {containers: [{name: c, image: hello, command: [sleep, "1000"], envFrom: [{configMapRef: {name: late}}]}]}
---
apiVersion: v1
kind: Pod
metadata: {name: claims}
spec:
  containers: [{name: c, image: hello}]
  volumes: [{name: v, persistentVolumeClaim: {claimName: c}}]
"#;

#[test]
fn what_is_wrong_with_a_pod_is_said_where_people_look() {
    with_each_kubectl(|kubectl, _| {
        kubectl.send("apply", BROKEN).unwrap();
        let waiting = |pod: &str, reason: &str| {
            let path = "{.status.containerStatuses[0].state.waiting.reason}";
            kubectl.wait(&format!("pod/{pod} --for=jsonpath={path}={reason}")).unwrap();
        };
        waiting("crashes", "CrashLoopBackOff");
        let last = ".status.containerStatuses[0].lastState.terminated";
        assert_eq!(value(kubectl, "pod/crashes", &format!("{last}.exitCode")), "3");
        assert_eq!(value(kubectl, "pod/crashes", &format!("{last}.message")), "it broke\n");
        assert_eq!(kubectl.run("logs crashes --previous").unwrap(), "it broke\n");
        waiting("nobody", "ErrImagePull");
        assert!(events(kubectl, "nobody", "Failed").contains("--image registry.example/nobody:1=PATH"));
        waiting("nobody", "ImagePullBackOff");
        waiting("waits", "CreateContainerConfigError");
        assert!(events(kubectl, "waits", "Failed").contains("configmap \"late\" not found"));
        kubectl.run("create configmap late --from-literal=A=b").unwrap();
        kubectl.wait("pod/waits --for=condition=Ready").unwrap();
        let mount = events(kubectl, "claims", "FailedMount");
        assert!(mount.contains("volumes of the type persistentVolumeClaim are not supported here"), "{mount}");
        kubectl.run("delete pods --all --grace-period=1").unwrap();
    });
}

const RECREATED: &str = r#"
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  replicas: 2
  strategy: {type: Recreate}
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      terminationGracePeriodSeconds: 1
      containers: [{name: web, image: hello, command: [sleep, "1000"]}]
"#;

#[test]
fn what_is_orphaned_is_adopted_and_what_no_longer_matches_is_let_go() {
    with_each_kubectl(|kubectl, _| {
        let owner = |object: &str| value(kubectl, object, ".metadata.ownerReferences[*].name");
        let rolled_out = || kubectl.run("rollout status deploy/web --timeout=60s").unwrap();
        kubectl.send("apply", RECREATED).unwrap();
        rolled_out();
        let set = kubectl.run("get rs -o name").unwrap();
        let set = set.trim();
        let pods = kubectl.run("get pods -o name").unwrap();
        kubectl.run("delete deploy web --cascade=orphan").unwrap();
        assert_eq!(owner(set), "");
        kubectl.send("apply", RECREATED).unwrap();
        rolled_out();
        assert_eq!(owner(set), "web");
        assert_eq!(kubectl.run("get pods -o name").unwrap(), pods, "the same pods serve the new Deployment");

        // A pod that leaves the selector is replaced; when it comes back there is one too many.
        let pod = pods.lines().next().unwrap();
        kubectl.run(&format!("label {pod} app=free --overwrite")).unwrap();
        kubectl.wait(&format!("{set} --for=jsonpath={{.status.readyReplicas}}=2")).unwrap();
        assert_eq!(kubectl.run("get pods -o name").unwrap().lines().count(), 3);
        assert_eq!(owner(pod), "");
        kubectl.run(&format!("label {pod} app=web --overwrite")).unwrap();
        kubectl.wait(&format!("{pod} --for=jsonpath={{.metadata.ownerReferences[0].kind}}=ReplicaSet")).unwrap();

        // A Deployment that recreates makes nothing new before everything old is gone.
        kubectl.run("rollout restart deploy/web").unwrap();
        rolled_out();
        assert_eq!(value(kubectl, "pods", ".items[*].metadata.ownerReferences[*].name").matches("web-").count(), 2);
        assert!(!kubectl.run("get pods -o name").unwrap().contains(pod));
    });
}
