//! Programs that people have against a running Coracle: the official clients for Python and JavaScript, Prometheus' discovery, and
//! Helm. What is not on this machine is skipped.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a failed step of a test is its failure")]

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
};

use testkit::{Coracle, Kubectl, Settings, find};

fn scripts() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients")
}

/// A Python that has the client: the one that `CORACLE_PYTHON` names, or the one on PATH.
fn python() -> Option<PathBuf> {
    let python = env::var_os("CORACLE_PYTHON").map(PathBuf::from).or_else(|| find("python3"))?;
    let has = Command::new(&python).args(["-c", "import kubernetes"]).output().ok()?;
    has.status.success().then_some(python)
}

/// A Node, if the packages are installed.
fn node() -> Option<PathBuf> {
    let installed = scripts().join("node_modules/@kubernetes/client-node").is_dir();
    find("node").filter(|_| installed)
}

/// Runs a script of the folder; what it says if it fails.
fn run(program: &Path, script: &str, coracle: &Coracle) {
    let script = scripts().join(script);
    let output = Command::new(program).arg(script).env("KUBECONFIG", coracle.kubeconfig()).output().unwrap();
    let said = [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat();
    assert!(output.status.success(), "{said}");
}

/// A pod that serves HTTP and writes to its log.
const POD: &str = "
apiVersion: v1
kind: Pod
metadata: {name: one, labels: {app: web}}
spec:
  terminationGracePeriodSeconds: 0
  containers:
  - name: one
    image: hello
    command: [sh, -c, 'echo first; echo second; exec python3 -m http.server --bind $IP 8080']
    env: [{name: IP, valueFrom: {fieldRef: {fieldPath: status.podIP}}}]
    readinessProbe: {httpGet: {port: 8080}, periodSeconds: 1}
";

fn with_pod(test: impl FnOnce(&Coracle)) {
    test(&Coracle::serving(env!("CARGO_BIN_EXE_coracle"), POD).unwrap());
}

fn coracle() -> Coracle {
    Coracle::start(Settings::new(env!("CARGO_BIN_EXE_coracle"))).unwrap()
}

#[test]
fn the_python_client_works_on_objects() {
    match python() {
        Some(python) => run(&python, "objects.py", &coracle()),
        None => eprintln!("skipped: there is no Python with the package kubernetes"),
    }
}

#[test]
fn the_python_client_reads_logs_runs_commands_and_forwards_ports() {
    match python() {
        Some(python) => with_pod(|coracle| run(&python, "streams.py", coracle)),
        None => eprintln!("skipped: there is no Python with the package kubernetes"),
    }
}

#[test]
fn the_javascript_client_works_on_objects() {
    match node() {
        Some(node) => run(&node, "objects.mjs", &coracle()),
        None => eprintln!("skipped: there is no Node with the package @kubernetes/client-node"),
    }
}

#[test]
fn the_javascript_client_reads_logs_runs_commands_and_forwards_ports() {
    match node() {
        Some(node) => with_pod(|coracle| run(&node, "streams.mjs", coracle)),
        None => eprintln!("skipped: there is no Node with the package @kubernetes/client-node"),
    }
}

const OBSERVED: &str = "
apiVersion: v1
kind: Service
metadata: {name: web, labels: {app: web}}
spec: {selector: {app: web}, ports: [{name: http, port: 80, targetPort: 8080}]}
---
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: {name: web}
spec: {rules: [{host: web.example, http: {paths: [{path: /, pathType: Prefix, backend: {service: {name: web, port: {number: 80}}}}]}}]}
";

#[test]
fn prometheus_discovers_nodes_pods_services_endpoints_and_ingresses() {
    let promtool = env::var_os("CORACLE_PROMTOOL").map(PathBuf::from).or_else(|| find("promtool"));
    let Some(promtool) = promtool else { return eprintln!("skipped: there is no promtool on this machine") };
    let coracle = Coracle::serving(env!("CARGO_BIN_EXE_coracle"), &format!("{POD}---{OBSERVED}")).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let text = fs::read_to_string(scripts().join("prometheus.yml")).unwrap();
    let config = folder.path().join("prometheus.yml");
    fs::write(&config, text.replace("KUBECONFIG", coracle.kubeconfig().to_str().unwrap())).unwrap();
    if let Some(kubectl) = Kubectl::any(&coracle.kubeconfig()) {
        kubectl.wait("endpoints/web --for=jsonpath={.subsets[0].addresses[0].targetRef.name}=one").unwrap();
    }
    for (role, expected) in [
        ("node", "__meta_kubernetes_node_name"),
        ("pod", "\"__meta_kubernetes_pod_name\": \"one\""),
        ("service", "\"__meta_kubernetes_service_name\": \"web\""),
        ("endpoints", "\"__meta_kubernetes_endpoints_name\": \"web\""),
        ("endpointslice", "\"__meta_kubernetes_endpointslice_name\": \"web-"),
        ("ingress", "\"__meta_kubernetes_ingress_host\": \"web.example\""),
    ] {
        let output = Command::new(&promtool)
            .args(["check", "service-discovery", "--timeout=10s"])
            .arg(&config)
            .arg(role)
            .output()
            .unwrap();
        let said = [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat();
        assert!(said.contains(expected), "{role}: {said}");
    }
}

/// One of Helm's programs, with a home of its own.
struct Helm<'a> {
    program: PathBuf,
    home: &'a Path,
    coracle: &'a Coracle,
}

impl Helm<'_> {
    /// Runs it; what it prints, if it succeeds.
    fn run(&self, arguments: &[&str]) -> Result<String, String> {
        let mut command = Command::new(&self.program);
        for place in ["HELM_CACHE_HOME", "HELM_CONFIG_HOME", "HELM_DATA_HOME", "HOME"] {
            command.env(place, self.home);
        }
        let output = command.args(arguments).env("KUBECONFIG", self.coracle.kubeconfig()).output().unwrap();
        let [said, wrong] = [&output.stdout, &output.stderr].map(|bytes| String::from_utf8_lossy(bytes).into_owned());
        if output.status.success() { Ok(said) } else { Err(wrong) }
    }
}

/// The releases of Helm that there are here: those that variables name, or the one on PATH.
fn helms() -> Vec<PathBuf> {
    let named: Vec<PathBuf> =
        ["CORACLE_HELM_3", "CORACLE_HELM_4"].into_iter().filter_map(env::var_os).map(PathBuf::from).collect();
    if named.is_empty() { find("helm").into_iter().collect() } else { named }
}

fn goes_through_the_life_of_a_release(helm: &Helm<'_>, kubectl: &Kubectl) {
    let chart = scripts().join("chart").display().to_string();
    let value = |object: &str, path: &str| kubectl.run(&format!("get {object} -o jsonpath={path}")).unwrap();
    let revisions = || helm.run(&["history", "web", "-o", "json"]).unwrap().matches("\"revision\":").count();
    helm.run(&["install", "web", &chart, "--wait", "--timeout", "60s"]).unwrap();
    assert_eq!(value("configmap/web", "{.data.greeting}{.data.namespace}"), "hellodefault");
    assert!(value("configmap/web", "{.data.kubernetes}").starts_with("v1."));
    assert_eq!(value("deployment/web", "{.status.readyReplicas}"), "1");
    let twice = helm.run(&["install", "web", &chart]).unwrap_err();
    assert!(twice.contains("cannot re-use a name that is still in use") || twice.contains("cannot reuse"), "{twice}");
    let refused = helm.run(&["upgrade", "web", &chart, "--set", "port=99999"]).unwrap_err();
    assert!(refused.contains("must be between 1 and 65535"), "{refused}");
    helm.run(&["upgrade", "web", &chart, "--set", "greeting=bye,replicas=2", "--wait", "--timeout", "60s"]).unwrap();
    assert_eq!(value("configmap/web", "{.data.greeting}"), "bye");
    assert_eq!(value("deployment/web", "{.status.readyReplicas}"), "2");
    helm.run(&["rollback", "web", "1", "--wait", "--timeout", "60s"]).unwrap();
    assert_eq!(value("configmap/web", "{.data.greeting}"), "hello");
    assert_eq!((value("deployment/web", "{.spec.replicas}"), revisions()), ("1".to_owned(), 4));
    let listed = helm.run(&["list", "-o", "json"]).unwrap();
    assert!(listed.contains("\"status\":\"deployed\""), "{listed}");
    // A Secret holds a mebibyte, of which a release of this makes about a half.
    let mut state = 1_u64;
    let letter = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        char::from(b'a' + u8::try_from((state >> 33) % 26).unwrap())
    };
    let letters: String = std::iter::repeat_with(letter).take(400_000).collect();
    let values = helm.home.join("values.yaml");
    fs::write(&values, format!("filler: {letters}\n")).unwrap();
    helm.run(&["upgrade", "web", &chart, "-f", values.to_str().unwrap()]).unwrap();
    fs::write(&values, format!("filler: {letters}\nunused: {letters}{letters}{letters}{letters}{letters}\n")).unwrap();
    let large = helm.run(&["upgrade", "web", &chart, "-f", values.to_str().unwrap()]).unwrap_err();
    assert!(large.contains("Too long") || large.contains("too large"), "{large}");
    helm.run(&["uninstall", "web", "--wait"]).unwrap();
    let left = kubectl.run("get configmaps,deployments,secrets -o name").unwrap();
    assert!(!left.contains("web"), "{left}");
}

#[test]
fn helm_installs_upgrades_rolls_back_and_uninstalls() {
    let helms = helms();
    let coracle = Coracle::start(Settings::new(env!("CARGO_BIN_EXE_coracle"))).unwrap();
    let Some(kubectl) = Kubectl::any(&coracle.kubeconfig()).filter(|_| !helms.is_empty()) else {
        return eprintln!("skipped: there is no helm on this machine, or no kubectl");
    };
    for program in helms {
        let home = tempfile::tempdir().unwrap();
        goes_through_the_life_of_a_release(&Helm { program, home: home.path(), coracle: &coracle }, &kubectl);
    }
}
