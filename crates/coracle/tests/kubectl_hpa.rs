//! Autoscalers as `kubectl get`, `get -w` and `describe` show them, compared with what is committed under `shapes/`. With `BLESS=1`
//! those files are written anew: look at the change.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a failed step of a test is its failure")]

use std::{
    fmt::Write as _,
    fs,
    io::{BufRead, BufReader},
    path::Path,
    process::Stdio,
};

use testkit::{Coracle, KUBECTL_VERSIONS, Kubectl, Settings, systems::HELLO};

/// `steady` is where it wants to be, `used` has figures of pods, `apart` what nobody measures, and `missing` no target.
const AUTOSCALERS: &str = r#"---
apiVersion: autoscaling/v2
kind: HorizontalPodAutoscaler
metadata: {name: steady, labels: {tier: web}}
spec:
  scaleTargetRef: {apiVersion: apps/v1, kind: Deployment, name: hello}
  minReplicas: 3
  maxReplicas: 5
  metrics:
  - type: Object
    object:
      describedObject: {apiVersion: v1, kind: Service, name: hello}
      metric: {name: http_requests_per_second}
      target: {type: AverageValue, averageValue: "1"}
  behavior:
    scaleUp: {stabilizationWindowSeconds: 0, selectPolicy: Max, policies: [{type: Percent, value: 100, periodSeconds: 15}]}
    scaleDown: {stabilizationWindowSeconds: 0, policies: [{type: Percent, value: 25, periodSeconds: 60}]}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: used}
spec:
  selector: {matchLabels: {app: used}}
  template:
    metadata: {labels: {app: used}}
    spec:
      containers:
      - name: main
        image: tools
        command: [sleep, infinity]
        resources: {requests: {cpu: 100m, memory: 64Mi}}
---
apiVersion: autoscaling/v2
kind: HorizontalPodAutoscaler
metadata: {name: used}
spec:
  scaleTargetRef: {apiVersion: apps/v1, kind: Deployment, name: used}
  maxReplicas: 2
  metrics:
  - {type: Resource, resource: {name: memory, target: {type: AverageValue, averageValue: 1Gi}}}
  - {type: Resource, resource: {name: cpu, target: {type: Utilization, averageUtilization: 80}}}
  - {type: ContainerResource, containerResource: {name: cpu, container: main, target: {type: Utilization, averageUtilization: 90}}}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: apart}
spec:
  selector: {matchLabels: {app: apart}}
  template:
    metadata: {labels: {app: apart}}
    spec: {containers: [{name: main, image: tools, command: [sleep, infinity]}]}
---
apiVersion: autoscaling/v2
kind: HorizontalPodAutoscaler
metadata: {name: apart}
spec:
  scaleTargetRef: {apiVersion: apps/v1, kind: Deployment, name: apart}
  maxReplicas: 2
  metrics:
  - type: External
    external: {metric: {name: queue_length, selector: {matchLabels: {queue: orders}}}, target: {type: AverageValue, averageValue: "30"}}
---
apiVersion: autoscaling/v2
kind: HorizontalPodAutoscaler
metadata: {name: missing}
spec:
  scaleTargetRef: {apiVersion: apps/v1, kind: Deployment, name: missing}
  minReplicas: 2
  maxReplicas: 4
  metrics:
  - {type: Resource, resource: {name: cpu, target: {type: AverageValue, averageValue: 500m}}}
"#;

const NAMES: [&str; 4] = ["apart", "missing", "steady", "used"];

fn is_time(word: &str) -> bool {
    word.ends_with(['s', 'm', 'h']) && word.starts_with(|first: char| first.is_ascii_digit())
}

/// A word that is another one in each run: a measured figure before its target, or a time.
fn steady_word(line: &str, word: &str, next: Option<&str>, may_be_time: bool) -> String {
    // `1% (1m) / 80%` of a description, `cpu: 1%/80%` of a table.
    let is_figure =
        (line.contains("resource ") || line.contains("cpu:")) && word.starts_with(|c: char| c.is_ascii_digit());
    match (word.split_once('/'), next) {
        (Some((_, target)), _) if is_figure => format!("#/{target}"),
        (None, Some(next)) if is_figure && (next == "/" || next.starts_with('(')) => "#".to_owned(),
        (_, Some("/")) if word.starts_with('(') => "(#)".to_owned(),
        _ if may_be_time && is_time(word) => "TIME".to_owned(),
        _ => word.to_owned(),
    }
}

/// The text without what is another one in each run: measured figures, times, events; and without the widths of columns, which
/// follow from that.
fn steady(text: &str) -> String {
    let mut steady = String::new();
    for line in text.lines().take_while(|line| !line.starts_with("Events:")) {
        let words: Vec<&str> = line.split_whitespace().collect();
        let indent = line.len() - line.trim_start().len();
        let word = |(at, word): (usize, &&str)| {
            let is_last = at + 1 == words.len();
            steady_word(line, word, words.get(at + 1).copied(), is_last && !line.contains(" / "))
        };
        let shown = if words[0] == "CreationTimestamp:" { 1 } else { words.len() };
        let words: Vec<String> = words.iter().enumerate().map(word).take(shown).collect();
        writeln!(steady, "{:indent$}{}", "", words.join(" ")).unwrap();
    }
    steady
}

fn compare(name: &str, text: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/shapes").join(name);
    if std::env::var_os("BLESS").is_some() {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, text).unwrap();
    }
    let committed = fs::read_to_string(&path).unwrap_or_default();
    assert!(committed == text, "{name}: BLESS=1 rewrites it; it should be\n{committed}and is\n{text}");
}

/// A watch shows a row, and another one when something changes.
fn watched(kubectl: &Kubectl) -> String {
    let mut command = kubectl.command("get hpa steady --watch --request-timeout=60s");
    let mut watch = command.stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(watch.stdout.take().unwrap()).lines().map_while(Result::ok);
    let mut rows: Vec<String> = lines.by_ref().take(2).collect();
    kubectl.run("patch hpa steady -p {\"spec\":{\"maxReplicas\":6}}").unwrap();
    // A change of the status may come in between.
    rows.extend(lines.find(|line| line.split_whitespace().any(|word| word == "6")));
    watch.kill().unwrap();
    watch.wait().unwrap();
    kubectl.run("patch hpa steady -p {\"spec\":{\"maxReplicas\":5}}").unwrap();
    steady(&(rows.join("\n") + "\n"))
}

#[test]
fn kubectl_shows_autoscalers_as_it_shows_a_clusters() {
    let mut settings = Settings::new(env!("CARGO_BIN_EXE_coracle"));
    let arguments = ["--image", "tools=/bin/sh", "--horizontal-pod-autoscaler-sync-period=1s"];
    settings.arguments = arguments.map(str::to_owned).to_vec();
    let coracle = Coracle::start(settings).unwrap();
    let Some(any) = Kubectl::any(&coracle.kubeconfig()) else {
        return eprintln!("skipped: there is no kubectl on this machine");
    };
    any.send("apply", &[HELLO, AUTOSCALERS].concat()).unwrap();
    for name in ["steady", "used"] {
        any.wait(&format!("hpa/{name} --for=condition=ScalingActive")).unwrap();
    }
    let last = "{.status.currentMetrics[*].containerResource.current.averageUtilization}";
    while any.run(&format!("get hpa used -o jsonpath={last}")).unwrap().is_empty() {}
    any.wait("hpa/apart --for=condition=ScalingActive=false").unwrap();
    any.wait("hpa/missing --for=condition=AbleToScale=false").unwrap();
    any.wait("hpa/used --for=jsonpath={.status.currentReplicas}=1").unwrap();
    for version in KUBECTL_VERSIONS {
        let Some(kubectl) = Kubectl::version(version, &coracle.kubeconfig()) else {
            eprintln!("skipped: there is no kubectl {version} on this machine");
            continue;
        };
        let mut text = format!("$ kubectl get hpa\n{}", steady(&kubectl.run("get hpa").unwrap()));
        write!(text, "$ kubectl get hpa -o wide\n{}", steady(&kubectl.run("get hpa -o wide").unwrap())).unwrap();
        write!(text, "$ kubectl get hpa steady -w\n{}", watched(&kubectl)).unwrap();
        for name in NAMES {
            let described = kubectl.run(&format!("describe hpa {name}")).unwrap();
            write!(text, "$ kubectl describe hpa {name}\n{}", steady(&described)).unwrap();
            let event = "FailedGetScale";
            assert_eq!(described.contains(event), name == "missing", "{described}");
            assert!(described.contains("\n  Type     Reason") || described.contains("Events:"), "{described}");
        }
        compare(&format!("hpa-{version}.txt"), &text);
    }
}
