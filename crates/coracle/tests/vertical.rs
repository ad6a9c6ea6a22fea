//! Vertical scaling under a whole Coracle with the native runtime: pods resized in place, over a crash too, autoscalers that do it, and
//! what is said of containers that run out of memory.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a failed step of a test is its failure")]

use std::{
    fs,
    path::{Path, PathBuf},
};

use testkit::{Coracle, Kubectl, Settings, apart};

const PODS: &str = r#"
apiVersion: v1
kind: Pod
metadata: {name: web}
spec:
  containers:
  - name: web
    image: hello
    resources: {requests: {cpu: 100m, memory: 64Mi}, limits: {cpu: 500m, memory: 128Mi}}
---
apiVersion: v1
kind: Pod
metadata: {name: again}
spec:
  containers:
  - name: again
    image: hello
    resizePolicy: [{resourceName: memory, restartPolicy: RestartContainer}]
    resources: {requests: {memory: 64Mi}, limits: {memory: 128Mi}}
---
apiVersion: v1
kind: Pod
metadata: {name: eater}
spec:
  restartPolicy: Never
  containers: [{name: eater, image: tools, command: [tail, /dev/zero], resources: {limits: {memory: 16Mi}}}]
"#;

const SCALED: &str = r#"
apiVersion: apps/v1
kind: Deployment
metadata: {name: shop}
spec:
  selector: {matchLabels: {app: shop}}
  template:
    metadata: {labels: {app: shop}}
    spec:
      containers:
      - name: shop
        image: hello
        resources: {requests: {cpu: 10m, memory: 64Mi}, limits: {memory: 128Mi}}
---
apiVersion: autoscaling.k8s.io/v1
kind: VerticalPodAutoscaler
metadata: {name: shop}
spec:
  targetRef: {apiVersion: apps/v1, kind: Deployment, name: shop}
  updatePolicy: {updateMode: InPlaceOrRecreate}
  resourcePolicy: {containerPolicies: [{containerName: '*', maxAllowed: {memory: 300Mi}}]}
"#;

/// A Coracle in namespaces of the test's own, and a kubectl for it; `None`, with a message, where there is none.
fn start(arguments: &[&str]) -> Option<(Coracle, Kubectl)> {
    let mut settings = Settings::new(env!("CARGO_BIN_EXE_coracle"));
    let always = ["--runtime", "native", "--image", "tools=/bin/sh"];
    settings.arguments = always.iter().chain(arguments).map(|argument| (*argument).to_owned()).collect();
    let coracle = Coracle::start(settings).unwrap();
    let kubectl = Kubectl::version("1.33", &coracle.kubeconfig());
    if kubectl.is_none() {
        eprintln!("skipped: there is no kubectl 1.33 on this machine");
    }
    kubectl.map(|kubectl| (coracle, kubectl))
}

/// `kubectl patch --subresource resize` of a pod's only container.
fn resize(kubectl: &Kubectl, pod: &str, resources: &str) -> Result<(), String> {
    let patch = format!(r#"{{"spec":{{"containers":[{{"name":"{pod}","resources":{resources}}}]}}}}"#);
    let mut command = kubectl.command(&format!("patch pod {pod} --subresource resize --patch"));
    let output = command.arg(patch).output().unwrap();
    if output.status.success() { Ok(()) } else { Err(String::from_utf8_lossy(&output.stderr).into_owned()) }
}

/// The memory limit that the kernel has for the latest run of a pod's only container, in either version of cgroups.
fn kernels_limit(kubectl: &Kubectl, pod: &str) -> String {
    let read = |path: &str| kubectl.run(&format!("get pod {pod} -o jsonpath={path}")).unwrap();
    let restarts = read("{.status.containerStatuses[0].restartCount}");
    let group = format!("{}.{pod}.{restarts}", read("{.metadata.uid}"));
    let roots: [&Path; 3] = ["/sys/fs/cgroup/memory", "/sys/fs/cgroup", "/sys/fs/cgroup/unified"].map(Path::new);
    let of = |root: &Path| -> Option<PathBuf> {
        let coracles = fs::read_dir(root).ok()?.flatten().map(|entry| entry.path().join(&group));
        let files = coracles.flat_map(|dir| ["memory.limit_in_bytes", "memory.max"].map(|file| dir.join(file)));
        files.into_iter().find(|file| file.exists())
    };
    let file = roots.into_iter().find_map(of).unwrap_or_else(|| panic!("there is no group {group}"));
    fs::read_to_string(file).unwrap().trim().to_owned()
}

#[test]
fn the_sizes_of_plain_processes_count_and_are_said_not_to_be_enforced() {
    let coracle = Coracle::start(Settings::new(env!("CARGO_BIN_EXE_coracle"))).unwrap();
    let Some(kubectl) = Kubectl::version("1.33", &coracle.kubeconfig()) else {
        return eprintln!("skipped: there is no kubectl 1.33 on this machine");
    };
    let pods = PODS.split("---").next().unwrap();
    kubectl.send("apply", pods).unwrap();
    kubectl.run("wait --timeout=60s pod/web --for=condition=Ready").unwrap();
    resize(&kubectl, "web", r#"{"requests":{"cpu":"200m"}}"#).unwrap();
    let requested = "-o jsonpath={.status.containerStatuses[0].resources.requests.cpu}";
    kubectl.until(&format!("pod web {requested}"), "200m").unwrap();
    let said = "the loopback runtime limits nothing: the new sizes of web count for scheduling and are not enforced";
    kubectl
        .until("events --field-selector=reason=ResizeCompleted -o jsonpath={.items[*].involvedObject.name}", "web")
        .unwrap();
    let told = kubectl.run("get events --field-selector=reason=NotHonoured -o jsonpath={.items[*].message}").unwrap();
    assert!(told.contains(said), "{told}");
}

const LIMIT: &str = "-o jsonpath={.status.containerStatuses[0].resources.limits.memory}";

#[test]
fn pods_are_resized_in_place_also_when_coracle_is_killed_meanwhile() {
    apart(|| {
        let Some((mut coracle, kubectl)) = start(&[]) else { return };
        kubectl.send("apply", PODS).unwrap();
        kubectl.run("wait --timeout=60s pod/web pod/again --for=condition=Ready").unwrap();
        assert_eq!(kernels_limit(&kubectl, "web"), (128 << 20).to_string());

        resize(&kubectl, "web", r#"{"requests":{"memory":"128Mi"},"limits":{"memory":"256Mi","cpu":"1"}}"#).unwrap();
        kubectl.until(&format!("pod web {LIMIT}"), "256Mi").unwrap();
        assert_eq!(kernels_limit(&kubectl, "web"), (256 << 20).to_string());
        let allocated = "-o jsonpath={.status.containerStatuses[0].allocatedResources.memory}";
        assert_eq!(kubectl.run(&format!("get pod web {allocated}")).unwrap(), "128Mi");
        let generation = "-o jsonpath={.metadata.generation},{.status.observedGeneration}";
        assert_eq!(kubectl.run(&format!("get pod web {generation}")).unwrap(), "2,2");

        let refused = resize(&kubectl, "web", r#"{"limits":{"memory":"128Mi"}}"#).unwrap_err();
        assert!(
            refused.contains("memory limits cannot be decreased unless resizePolicy is RestartContainer"),
            "{refused}"
        );

        resize(&kubectl, "again", r#"{"limits":{"memory":"96Mi"}}"#).unwrap();
        kubectl.until("pod again -o jsonpath={.status.containerStatuses[0].restartCount}", "1").unwrap();
        kubectl.until(&format!("pod again {LIMIT}"), "96Mi").unwrap();
        assert_eq!(kernels_limit(&kubectl, "again"), (96 << 20).to_string());

        resize(&kubectl, "web", r#"{"requests":{"cpu":"5000"},"limits":{"cpu":"5000"}}"#).unwrap();
        let pending = "-o jsonpath={.status.conditions[?(@.type==\"PodResizePending\")].reason}";
        kubectl.until(&format!("pod web {pending}"), "Infeasible").unwrap();

        // Whatever of it was done before the end, the next one does the rest.
        resize(&kubectl, "web", r#"{"requests":{"cpu":"50m"},"limits":{"cpu":"500m","memory":"512Mi"}}"#).unwrap();
        coracle.kill().unwrap();
        coracle.start_again().unwrap();
        kubectl.until(&format!("pod web {LIMIT}"), "512Mi").unwrap();
        assert_eq!(kernels_limit(&kubectl, "web"), (512 << 20).to_string());
        assert_eq!(kubectl.run(&format!("get pod web {pending}")).unwrap(), "");
        let restarts = "-o jsonpath={.status.containerStatuses[0].restartCount}";
        assert_eq!(kubectl.run(&format!("get pod web {restarts}")).unwrap(), "0");

        kubectl
            .until(
                "events --field-selector=reason=OOMKilled,type=Warning -o jsonpath={.items[*].involvedObject.name}",
                "eater",
            )
            .unwrap();
        let said = kubectl.run("get events --field-selector=reason=OOMKilled -o jsonpath={.items[0].message}").unwrap();
        assert!(said.contains("used all of its limit of 16Mi; recommended: a memory limit of 116Mi"), "{said}");
        coracle.stop("INT").unwrap();
    });
}

#[test]
fn an_autoscaler_resizes_pods_in_place_and_remembers_over_a_restart() {
    apart(|| {
        let Some((mut coracle, kubectl)) = start(&["--recommender-interval", "1s"]) else { return };
        kubectl.send("apply", SCALED).unwrap();
        kubectl
            .until(
                "vpa shop -o jsonpath={.status.conditions[0].type}={.status.conditions[0].status}",
                "RecommendationProvided=True",
            )
            .unwrap();
        let table = kubectl.run("get vpa").unwrap();
        let heading: Vec<&str> = table.lines().next().unwrap().split_whitespace().collect();
        assert_eq!(heading, ["NAME", "MODE", "CPU", "MEM", "PROVIDED", "AGE"]);
        assert!(table.contains("InPlaceOrRecreate") && table.contains("262144k"), "{table}");

        // In place: the same pod, not started again, with twice its request as its limit still.
        let pod = kubectl.run("get pods -l app=shop -o jsonpath={.items[0].metadata.name}").unwrap();
        let status = "{.items[0].status.containerStatuses[0]";
        kubectl.until(&format!("pods -l app=shop -o jsonpath={status}.resources.limits.memory}}"), "524288k").unwrap();
        let same = format!("get pods -l app=shop -o jsonpath={{.items[0].metadata.name}},{status}.restartCount}}");
        assert_eq!(kubectl.run(&same).unwrap(), format!("{pod},0"));
        kubectl
            .until(
                "events --field-selector=reason=InPlaceResizedByVPA -o jsonpath={.items[*].involvedObject.name}",
                &pod,
            )
            .unwrap();

        // What was learnt is in an object, and a new pod begins with it.
        kubectl.until("vpacheckpoint -o jsonpath={.items[*].metadata.name}", "shop-shop").unwrap();
        coracle.kill().unwrap();
        coracle.start_again().unwrap();
        kubectl.run(&format!("delete pod {pod}")).unwrap();
        kubectl
            .until("pods -l app=shop -o jsonpath={.items[*].spec.containers[0].resources.requests.memory}", "262144k")
            .unwrap();
        let said = kubectl.run("get pods -l app=shop -o jsonpath={.items[0].metadata.annotations.vpaUpdates}").unwrap();
        assert!(said.starts_with("Pod resources updated by shop: container 0: "), "{said}");
        coracle.stop("INT").unwrap();
    });
}
