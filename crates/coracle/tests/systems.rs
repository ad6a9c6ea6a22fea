//! The systems in `systems/`: what they are made of is accepted here, fits the official schemas, and does what each README says.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a failed step of a test is its failure")]

use std::{
    collections::BTreeSet,
    env, fs,
    io::Write,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use serde_json::Value;
use testkit::{Coracle, Settings, find};

const CORACLE: &str = env!("CARGO_BIN_EXE_coracle");

fn folder(path: impl AsRef<Path>) -> Vec<PathBuf> {
    let mut paths: Vec<_> = fs::read_dir(path).into_iter().flatten().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths
}

fn systems() -> Vec<PathBuf> {
    let systems = folder(Path::new(env!("CARGO_MANIFEST_DIR")).join("../../systems"));
    assert!(systems.len() > 1, "{systems:?}");
    systems
}

/// What can be applied of a system.
fn kustomizations(system: &Path) -> Vec<PathBuf> {
    let mut all = folder(system.join("overlays"));
    all.extend(["argocd", "monitoring"].map(|name| system.join(name)).into_iter().filter(|path| path.is_dir()));
    assert!(all.contains(&system.join("overlays/dev")), "{all:?}");
    all
}

fn readme(system: &Path) -> String {
    fs::read_to_string(system.join("README.md")).unwrap()
}

#[test]
fn nothing_of_a_system_is_refused_and_its_readme_names_every_kind_that_has_no_effect_yet() {
    for system in systems() {
        let (readme, mut waiting) = (readme(&system), BTreeSet::new());
        for path in kustomizations(&system) {
            let output = Command::new(CORACLE).args(["check", "--output", "json", "-k"]).arg(&path).output().unwrap();
            assert!(output.status.success(), "{}: {output:?}", path.display());
            let found: Value = serde_json::from_slice(&output.stdout).unwrap();
            assert_eq!(found["refused"], 0, "{}: {found}", path.display());
            let findings = found["findings"].as_array().unwrap();
            waiting.extend(findings.iter().map(|finding| finding["object"]["kind"].as_str().unwrap().to_owned()));
        }
        let unnamed: Vec<_> = waiting.iter().filter(|kind| !readme.contains(kind.as_str())).collect();
        assert!(unnamed.is_empty(), "{}: the README does not say that these wait: {unnamed:?}", system.display());
    }
}

/// What a kustomization builds.
fn built(path: &Path) -> Vec<u8> {
    let output = Command::new(CORACLE).args(["build", "-k"]).arg(path).output().unwrap();
    assert!(output.status.success(), "{}: {output:?}", path.display());
    output.stdout
}

#[test]
fn no_workload_names_a_number_of_pods_that_an_autoscaler_decides() {
    let mut scaled = 0;
    for path in systems().iter().flat_map(|system| kustomizations(system)) {
        let objects = objects(&path);
        for autoscaler in objects.iter().filter(|object| object["kind"] == "HorizontalPodAutoscaler") {
            let target = &autoscaler["spec"]["scaleTargetRef"];
            let is_target = |object: &&Value| {
                ["kind", "apiVersion"].iter().all(|field| object[*field] == target[*field])
                    && object["metadata"]["name"] == target["name"]
                    && object["metadata"]["namespace"] == autoscaler["metadata"]["namespace"]
            };
            let workload = objects.iter().find(is_target);
            let workload = workload.unwrap_or_else(|| panic!("{}: there is no {target}", path.display()));
            // Applied again, a number takes the pods away that the autoscaler has added. Without one, its least number is reached.
            assert_eq!(workload["spec"].get("replicas"), None, "{}: {target}", path.display());
            scaled += 1;
        }
    }
    assert!(scaled > 0);
}

/// The objects that a kustomization builds.
fn objects(path: &Path) -> Vec<Value> {
    serde_saphyr::from_multiple(&String::from_utf8(built(path)).unwrap()).unwrap()
}

/// The paths of a Service's HTTPRoutes, or of its Ingresses, each with how it is matched.
fn paths(objects: &[Value], kind: &str, service: &str) -> BTreeSet<(String, String)> {
    let list = |value: &Value, name: &str| value[name].as_array().cloned().unwrap_or_default();
    let text = |value: &Value| value.as_str().unwrap_or_default().replace("PathPrefix", "Prefix");
    let mut paths = BTreeSet::new();
    for object in objects.iter().filter(|object| object["kind"] == kind) {
        for rule in list(&object["spec"], "rules") {
            if list(&rule, "backendRefs").iter().any(|backend| backend["name"] == service) {
                let matches = list(&rule, "matches");
                paths.extend(matches.iter().map(|m| (text(&m["path"]["type"]), text(&m["path"]["value"]))));
            }
            let ingress = list(&rule["http"], "paths");
            let its = ingress.iter().filter(|path| path["backend"]["service"]["name"] == service);
            paths.extend(its.map(|path| (text(&path["pathType"]), text(&path["path"]))));
        }
    }
    paths
}

#[test]
fn an_ingress_lets_in_what_the_route_does_and_no_more() {
    let mut compared = 0;
    for path in systems().iter().flat_map(|system| kustomizations(system)) {
        let objects = objects(&path);
        for service in objects.iter().filter(|object| object["kind"] == "Service") {
            let name = service["metadata"]["name"].as_str().unwrap();
            let ingress = paths(&objects, "Ingress", name);
            if !ingress.is_empty() {
                assert_eq!(ingress, paths(&objects, "HTTPRoute", name), "{}: {name}", path.display());
                compared += 1;
            }
        }
    }
    assert!(compared > 0);
}

#[test]
fn a_redis_that_evicts_nothing_refuses_writes_before_it_is_killed_for_its_memory() {
    let mut bounded = 0;
    for path in systems().iter().flat_map(|system| kustomizations(system)) {
        for object in objects(&path) {
            for container in object["spec"]["template"]["spec"]["containers"].as_array().into_iter().flatten() {
                let args: Vec<_> =
                    container["args"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
                if !args.contains(&"noeviction") {
                    continue;
                }
                let bound =
                    args.iter().skip_while(|arg| **arg != "--maxmemory").nth(1).and_then(|arg| arg.strip_suffix("mb"));
                let limit =
                    container["resources"]["limits"]["memory"].as_str().and_then(|limit| limit.strip_suffix("Mi"));
                let [bound, limit] =
                    [bound, limit].map(|mebibytes| mebibytes.map(|number| number.parse::<u64>().unwrap()));
                assert!(bound.is_some() && bound < limit, "{}: {bound:?} of {limit:?}", path.display());
                bounded += 1;
            }
        }
    }
    assert!(bounded > 0);
}

/// The program that has the official schemas, beside the Python that `CORACLE_PYTHON` names or on PATH.
fn validator() -> Option<PathBuf> {
    let beside = |python| PathBuf::from(python).with_file_name("kubernetes-validate");
    env::var_os("CORACLE_PYTHON").map(beside).filter(|path| path.exists()).or_else(|| find("kubernetes-validate"))
}

#[test]
fn every_object_of_a_system_fits_the_official_schemas() {
    let Some(validator) = validator() else {
        return eprintln!("skipped: there is no kubernetes-validate on this machine");
    };
    for path in systems().iter().flat_map(|system| kustomizations(system)) {
        let mut file = tempfile::Builder::new().suffix(".yaml").tempfile().unwrap();
        file.write_all(&built(&path)).unwrap();
        let arguments = ["-k", "1.33", "--strict", "--no-warn"];
        let checked = Command::new(&validator).args(arguments).arg(file.path()).output().unwrap();
        let said = String::from_utf8_lossy(&checked.stdout).into_owned() + &String::from_utf8_lossy(&checked.stderr);
        assert!(checked.status.success() && !said.contains("ERROR"), "{}: {said}", path.display());
    }
}

#[test]
fn prometheus_understands_its_configuration_and_rules() {
    let promtool = env::var_os("CORACLE_PROMTOOL").map(PathBuf::from).or_else(|| find("promtool"));
    let Some(promtool) = promtool else { return eprintln!("skipped: there is no promtool on this machine") };
    let monitoring = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../systems/hello/monitoring");
    // The credentials that it names are only there in a pod.
    for (what, file) in [(&["config", "--syntax-only"][..], "prometheus.yml"), (&["rules"], "alerts.yml")] {
        let checked = Command::new(&promtool).arg("check").args(what).arg(monitoring.join(file)).output().unwrap();
        assert!(checked.status.success(), "{checked:?}");
    }
}

/// The commands of a README's blocks of `console`, without those that start something or need a cluster.
fn commands(readme: &str) -> String {
    let mut script = String::new();
    let mut inside = false;
    for line in readme.lines() {
        if line.starts_with("```") {
            inside = line == "```console";
        } else if let Some(command) = line.strip_prefix("$ ").filter(|_| inside) {
            let asks = command.contains("curl ");
            script += &if asks { format!("{command}\n") } else { String::new() };
        }
    }
    script
}

#[test]
fn the_requests_of_each_readme_work_as_pasted() {
    let Some(shell) = find("bash").filter(|_| find("curl").is_some() && find("jq").is_some()) else {
        return eprintln!("skipped: this machine has not all of bash, curl and jq");
    };
    for system in systems() {
        let script = commands(&readme(&system));
        assert!(!script.is_empty(), "{} shows no request", system.display());
        let mut settings = Settings::new(CORACLE);
        settings.arguments = vec!["-k".to_owned(), system.join("overlays/dev").display().to_string()];
        let coracle = Coracle::start(settings).unwrap();
        let gateway = coracle.gateway(80).unwrap().port();
        let script = script.replace(":8080", &format!(":{gateway}"));
        // What is pasted must not fail, and answers that say so are failures.
        let script = format!(
            "set -euo pipefail\ncurl() {{ command curl --fail-with-body --silent --show-error \"$@\"; }}\n{script}"
        );
        let mut command = Command::new(&shell);
        command.arg("-c").arg(&script).stdin(Stdio::null()).env("no_proxy", "*");
        let output = command.output().unwrap();
        let said = [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat();
        assert!(output.status.success(), "{}: {script}\n{said}", system.display());
    }
}
