//! What pods and the node use, as `kubectl top` and `kubectl get` show it, and as the kubelet's own endpoint tells it: with pods that
//! burn CPU and hold memory, on each runtime.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a failed step of a test is its failure")]

use std::time::{Duration, Instant};

use testkit::{ALL_KUBECTL_VERSIONS, Coracle, Kubectl, Settings, apart};

/// `burner` works for about half of the time; `holder` holds 48 MB and does nothing; `two` has one of each.
const PODS: &str = r#"
apiVersion: v1
kind: Pod
metadata: {name: burner, labels: {kind: busy}}
spec:
  terminationGracePeriodSeconds: 0
  containers: [{name: burner, image: tools, command: [bash, -c, BURN]}]
---
apiVersion: v1
kind: Pod
metadata: {name: holder, labels: {kind: idle}}
spec:
  terminationGracePeriodSeconds: 0
  containers: [{name: holder, image: tools, command: [bash, -c, HOLD]}]
---
apiVersion: v1
kind: Namespace
metadata: {name: other}
---
apiVersion: v1
kind: Pod
metadata: {name: two, namespace: other, labels: {kind: busy}}
spec:
  terminationGracePeriodSeconds: 0
  containers:
  - {name: burner, image: tools, command: [bash, -c, BURN]}
  - {name: holder, image: tools, command: [bash, -c, HOLD]}
"#;

/// A tenth of a second after each piece of work.
const BURN: &str = r#""while :; do for ((i = 0; i < 30000; i++)); do :; done; sleep 0.1; done""#;
const HOLD: &str = r#""held=$(head -c 48000000 /dev/zero | tr '\\0' x); sleep infinity & wait""#;

/// A line of `kubectl top pods` without its namespace: the names in front, millicores and MiB.
#[derive(Debug, PartialEq)]
struct Line {
    names: Vec<String>,
    millicores: u64,
    mebibytes: u64,
}

/// The lines below the head.
fn lines(text: &str) -> Vec<Line> {
    let line = |line: &str| {
        let mut words: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
        let mebibytes = words.pop()?.strip_suffix("Mi")?.parse().ok()?;
        let millicores = words.pop()?.strip_suffix('m')?.parse().ok()?;
        Some(Line { names: words, millicores, mebibytes })
    };
    text.lines().filter_map(line).collect()
}

fn names(lines: &[Line]) -> Vec<String> {
    lines.iter().map(|line| line.names.join("/")).collect()
}

/// Asks until the answer is as it should be; a machine with much to do may need a while.
fn until<T: std::fmt::Debug>(ask: impl Fn() -> T, good: impl Fn(&T) -> bool) -> T {
    let begun = Instant::now();
    loop {
        let answer = ask();
        if good(&answer) {
            return answer;
        }
        assert!(begun.elapsed() < Duration::from_secs(60), "{answer:?}");
    }
}

fn start(runtime: &str) -> Coracle {
    let mut settings = Settings::new(env!("CARGO_BIN_EXE_coracle"));
    settings.arguments = ["--runtime", runtime, "--image", "tools=/bin/sh"].map(str::to_owned).into();
    Coracle::start(settings).unwrap()
}

/// Everything that a kubectl shows.
fn shows(kubectl: &Kubectl) {
    let top = |arguments: &str| kubectl.run(&format!("top {arguments}")).unwrap_or_else(|error| error);
    // The first figures are of the time in which the programs began.
    let good = |all: &Vec<Line>| {
        let [burner, holder, two] = all.as_slice() else { return false };
        let memory = burner.mebibytes < 40 && (40..400).contains(&holder.mebibytes) && two.mebibytes >= 40;
        memory && burner.millicores >= 20 && burner.millicores > 2 * holder.millicores && two.millicores >= 20
    };
    let all = until(|| lines(&top("pods -A --no-headers")), good);
    assert_eq!(names(&all), ["default/burner", "default/holder", "other/two"]);
    assert!(top("pods").starts_with("NAME "), "{}", top("pods"));
    assert_eq!(names(&lines(&top("pod holder"))), ["holder"]);
    assert_eq!(names(&lines(&top("pods -A -l kind=busy"))), ["default/burner", "other/two"]);
    let containers = lines(&top("pods -n other --containers"));
    assert_eq!(names(&containers), ["two/burner", "two/holder"]);
    assert!(containers[0].mebibytes < containers[1].mebibytes, "{containers:?}");
    assert_eq!(names(&lines(&top("pods --sort-by=cpu --no-headers"))), ["burner", "holder"]);
    assert_eq!(names(&lines(&top("pods --sort-by=memory --no-headers"))), ["holder", "burner"]);
    if kubectl.minor() >= 28 {
        let sum = top("pods --sum");
        assert!(sum.trim_end().ends_with("Mi") && sum.contains("____"), "{sum}");
    }
    let nodes = top("nodes --no-headers");
    let words: Vec<_> = nodes.split_whitespace().collect();
    assert_eq!((words[0], words.len()), ("coracle", 5), "{nodes}");
    assert!(words[1].ends_with('m') && words[2].ends_with('%') && words[4].ends_with('%'), "{nodes}");
    let missing = kubectl.run("top pod missing").unwrap_err();
    assert!(missing.contains("not found"), "{missing}");
    gets(kubectl);
}

/// The objects themselves.
fn gets(kubectl: &Kubectl) {
    let table = kubectl.run("get pods.metrics.k8s.io -A").unwrap();
    let head: Vec<_> = table.lines().next().unwrap().split_whitespace().collect();
    assert_eq!(head, ["NAMESPACE", "NAME", "CPU", "MEMORY", "WINDOW"], "{table}");
    let path = "{.containers[0].name}:{.metadata.labels.kind}";
    let holder = kubectl.run(&format!("get pods.metrics.k8s.io holder -o jsonpath={path}")).unwrap();
    assert_eq!(holder, "holder:idle");
    let node = kubectl.run("get nodes.metrics.k8s.io -l kubernetes.io/os=linux -o name").unwrap();
    assert_eq!(node.trim(), "nodemetrics.metrics.k8s.io/coracle");
    let resources = kubectl.run("api-resources --api-group=metrics.k8s.io -o name").unwrap();
    assert_eq!(resources, "nodes.metrics.k8s.io\npods.metrics.k8s.io\n");
    let service = kubectl.run("get apiservices v1beta1.metrics.k8s.io --no-headers").unwrap();
    assert_eq!(service.split_whitespace().take(3).collect::<Vec<_>>(), ["v1beta1.metrics.k8s.io", "Local", "True"]);
    let text = kubectl.run("get --raw /api/v1/nodes/coracle/proxy/metrics/resource").unwrap();
    let line = "container_memory_working_set_bytes{container=\"holder\",namespace=\"default\",pod=\"holder\"} ";
    let found = text.lines().find_map(|found| found.strip_prefix(line)).unwrap_or_else(|| panic!("{text}"));
    assert!(found.split(' ').next().unwrap().parse::<u64>().unwrap() > 40 << 20, "{found}");
    let summary = kubectl.run("get --raw /api/v1/nodes/coracle/proxy/stats/summary").unwrap();
    assert!(summary.contains("\"nodeName\":\"coracle\"") && summary.contains("\"name\":\"two\""), "{summary}");
}

fn with_all(coracle: &Coracle, test: impl Fn(&Kubectl)) {
    for version in ALL_KUBECTL_VERSIONS {
        match Kubectl::version(version, &coracle.kubeconfig()) {
            Some(kubectl) => {
                let pods = PODS.replace("BURN", BURN).replace("HOLD", HOLD);
                kubectl.send("apply", &pods).unwrap();
                kubectl.wait("pod/burner pod/holder --for=condition=Ready").unwrap();
                kubectl.wait("-n other pod/two --for=condition=Ready").unwrap();
                test(&kubectl);
            }
            None => eprintln!("skipped: there is no kubectl {version} on this machine"),
        }
    }
}

#[test]
fn every_kubectl_shows_what_plain_processes_use() {
    with_all(&start("loopback"), shows);
}

#[test]
fn every_kubectl_shows_what_isolated_pods_use() {
    apart(|| with_all(&start("native"), shows));
}
