//! Every built-in kind through the API, in process: what objects become (`kinds/*.yaml` and the `*.json` beside them), and what
//! is said of mistakes (`validation/*.yaml`, re-expressed from upstream's tables of cases). With `UPDATE_GOLDEN=1` the JSON is
//! written instead of compared.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a failed step of a test is its failure")]

use std::{
    fs,
    path::{Path, PathBuf},
};

use apiserver::{ApiServer, Options};
use http::Request;
use kube::Client;
use objects::{kinds, patch::merge_patch};
use serde_json::{Value, json};

struct Api {
    client: Client,
    _dir: tempfile::TempDir,
}

impl Api {
    async fn open() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let options =
            Options { data_dir: dir.path().to_owned(), service_cidr: "10.43.0.0/16".to_owned(), names: Vec::new() };
        Self { client: ApiServer::open(options).await.unwrap().client("tester"), _dir: dir }
    }

    async fn ask(&self, method: &str, path: &str, body: &Value) -> (u16, Value) {
        let bytes = if body.is_null() { Vec::new() } else { body.to_string().into_bytes() };
        let request = Request::builder().method(method).uri(path).header("content-type", "application/json");
        let answer = self.client.send(request.body(kube::client::Body::from(bytes)).unwrap()).await.unwrap();
        let status = answer.status().as_u16();
        let bytes = answer.into_body().collect_bytes().await.unwrap();
        (status, serde_json::from_slice(&bytes).unwrap_or_default())
    }
}

/// The path of an object's collection.
fn collection(object: &Value) -> String {
    let api_version = object["apiVersion"].as_str().unwrap();
    let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
    let name = object["kind"].as_str().unwrap();
    let kind = kinds::by_kind(group, version, name).unwrap_or_else(|| panic!("{api_version} {name}"));
    let root = if group.is_empty() { format!("/api/{version}") } else { format!("/apis/{group}/{version}") };
    let scope = if kind.namespaced { "/namespaces/default" } else { "" };
    format!("{root}{scope}/{}", kind.plural)
}

fn files(directory: &str) -> Vec<PathBuf> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests").join(directory);
    let mut all: Vec<PathBuf> = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()).collect();
    all.retain(|path| path.extension().is_some_and(|extension| extension == "yaml"));
    all.sort();
    all
}

fn yaml(path: &Path) -> Value {
    serde_saphyr::from_str(&fs::read_to_string(path).unwrap()).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

/// An object without what differs from run to run.
fn steady(mut object: Value) -> Value {
    let uid = object["metadata"]["uid"].as_str().unwrap_or("none").to_owned();
    let text = object.to_string().replace(&uid, "UID");
    object = serde_json::from_str(&text).unwrap();
    let metadata = object["metadata"].as_object_mut().unwrap();
    for field in ["uid", "creationTimestamp", "resourceVersion", "managedFields"] {
        metadata.remove(field);
    }
    object
}

#[tokio::test]
async fn manifests_become_what_upstream_makes_of_them() {
    let api = Api::open().await;
    let mut seen = Vec::new();
    for path in files("kinds") {
        let object = yaml(&path);
        let (status, made) = api.ask("POST", &format!("{}?fieldValidation=Strict", collection(&object)), &object).await;
        assert_eq!(status, 201, "{}: {made}", path.display());
        let made = steady(made);
        let golden = path.with_extension("json");
        if std::env::var_os("UPDATE_GOLDEN").is_some() {
            fs::write(&golden, serde_json::to_string_pretty(&made).unwrap() + "\n").unwrap();
        }
        let expected: Value = serde_json::from_str(&fs::read_to_string(&golden).unwrap()).unwrap();
        assert_eq!(made, expected, "{}", path.display());
        // The same again changes nothing: what is stored is its own canonical form.
        let one = format!("{}/{}", collection(&object), object["metadata"]["name"].as_str().unwrap());
        let (_, stored) = api.ask("GET", &one, &Value::Null).await;
        let (status, again) = api.ask("PUT", &one, &stored).await;
        assert_eq!((status, &again), (200, &stored), "{}", path.display());
        seen.push(object["kind"].as_str().unwrap().to_owned());
    }
    assert!(seen.len() >= 20, "{seen:?}");
}

/// What is said of an answer that refuses: `field: message` of each cause.
fn causes(answer: &Value) -> Vec<String> {
    let causes = answer.pointer("/details/causes").and_then(Value::as_array).into_iter().flatten();
    causes.map(|c| format!("{}: {}", c["field"].as_str().unwrap_or_default(), c["message"].as_str().unwrap())).collect()
}

fn changed(base: &Value, case: &Value, field: &str) -> Value {
    let mut object = base.clone();
    if let Some(change) = case.get(field) {
        merge_patch(&mut object, change);
    }
    object
}

fn expected(case: &Value) -> Vec<String> {
    let list = case.get("causes").and_then(Value::as_array).into_iter().flatten();
    list.map(|cause| cause.as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn mistakes_are_named_as_upstream_names_them() {
    let api = Api::open().await;
    let (mut wrong, mut count) = (Vec::new(), 0);
    for path in files("validation") {
        let table = yaml(&path);
        let valid = &table["valid"];
        let all = collection(valid);
        let mut judge = |case: &Value, status: u16, answer: &Value| {
            count += 1;
            let (found, expected) = (causes(answer), expected(case));
            if found != expected || (status >= 400) == expected.is_empty() {
                let name = case["name"].as_str().unwrap_or_default();
                let file = path.file_name().unwrap().to_string_lossy();
                wrong.push(format!(
                    "{file}: {name}: {status}\n  found    {found:#?}\n  expected {expected:#?}\n  {}",
                    answer["message"]
                ));
            }
        };
        let (status, answer) = api.ask("POST", &format!("{all}?dryRun=All"), valid).await;
        judge(&json!({"name": "valid"}), status, &answer);
        for case in table["cases"].as_array().into_iter().flatten() {
            let object = changed(valid, case, "change");
            let (status, answer) = api.ask("POST", &format!("{all}?dryRun=All"), &object).await;
            judge(case, status, &answer);
        }
        for case in table["updates"].as_array().into_iter().flatten() {
            let old = changed(valid, case, "old");
            let one = format!("{all}/{}", old["metadata"]["name"].as_str().unwrap());
            let (status, stored) = api.ask("POST", &all, &old).await;
            assert_eq!(status, 201, "{}: {}: {stored}", path.display(), case["name"]);
            let (status, answer) = api.ask("PUT", &one, &changed(&stored, case, "change")).await;
            judge(case, status, &answer);
            api.ask("DELETE", &format!("{one}?gracePeriodSeconds=0"), &Value::Null).await;
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(count > 100, "only {count} cases");
}

#[tokio::test]
async fn a_job_does_not_take_anothers_pods_for_its_own() {
    let api = Api::open().await;
    let pods = json!({"spec": {"restartPolicy": "Never", "containers": [{"name": "c", "image": "i"}]}});
    let job = json!({"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "a"}, "spec": {"template": pods}});
    let all = collection(&job);
    let (status, first) = api.ask("POST", &all, &job).await;
    assert_eq!(status, 201, "{first}");
    let uid = first["metadata"]["uid"].as_str().unwrap();
    // As somebody makes it again from what `kubectl get -o yaml` wrote.
    let mut again = json!({"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "a"}, "spec": first["spec"]});
    api.ask("DELETE", &format!("{all}/a"), &json!({"propagationPolicy": "Background"})).await;
    let (status, refused) = api.ask("POST", &all, &again).await;
    let found = causes(&refused);
    assert_eq!((status, found.len()), (422, 3), "{refused}");
    assert!(found[0].starts_with("spec.template.metadata.labels[controller-uid]: Invalid value: map[string]string{"));
    assert!(
        found[2].starts_with("spec.selector: ") && found[2].ends_with("`selector` not auto-generated"),
        "{found:?}"
    );
    assert!(found.iter().all(|cause| cause.contains(uid)), "{found:?}");
    again["spec"]["manualSelector"] = json!(true);
    let (status, meant) = api.ask("POST", &all, &again).await;
    assert_eq!(status, 201, "{meant}");
    let mut named = job;
    named["metadata"]["name"] = json!("b");
    named["spec"]["selector"] = json!({"matchLabels": {"job-name": "b"}});
    let (status, made) = api.ask("POST", &all, &named).await;
    assert_eq!(status, 201, "{made}");
    let labels = json!({"job-name": "b", "batch.kubernetes.io/controller-uid": made["metadata"]["uid"]});
    assert_eq!(made["spec"]["selector"]["matchLabels"], labels);
    named["metadata"]["name"] = json!("c");
    named["spec"]["selector"] = json!({"matchLabels": {"a": "b"}});
    named["spec"]["template"]["metadata"] = json!({"labels": {"a": "b"}});
    let (_, refused) = api.ask("POST", &all, &named).await;
    let found = causes(&refused);
    assert!(found.len() == 1 && found[0].ends_with("`selector` not auto-generated"), "{found:?}");
}
