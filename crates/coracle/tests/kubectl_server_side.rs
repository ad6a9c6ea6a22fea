//! The real kubectl applying on the server's side.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a failed step of a test is its failure")]

use testkit::{Coracle, Kubectl};

fn with_each_kubectl(test: impl Fn(&Kubectl, &Coracle)) {
    testkit::with_each_kubectl(env!("CARGO_BIN_EXE_coracle"), test).unwrap();
}

fn map(data: &str) -> String {
    format!("apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: settings}}\ndata: {{{data}}}\n")
}

const WEB: &str = r#"
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  replicas: 0
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      containers:
      - {name: web, image: "hello:1", ports: [{containerPort: 80}], env: [{name: A, value: "1"}]}
"#;

fn value(kubectl: &Kubectl, object: &str, path: &str) -> String {
    kubectl.run(&format!("get {object} -o jsonpath={{{path}}}")).unwrap()
}

#[test]
fn applies_conflict_are_forced_and_release_what_they_drop() {
    with_each_kubectl(|kubectl, _| {
        let said = kubectl.send("apply --server-side", &map("one: \"1\", two: \"2\"")).unwrap();
        assert!(said.contains("configmap/settings serverside-applied"), "{said}");
        let version = value(kubectl, "cm/settings", ".metadata.resourceVersion");
        kubectl.send("apply --server-side", &map("one: \"1\", two: \"2\"")).unwrap();
        assert_eq!(value(kubectl, "cm/settings", ".metadata.resourceVersion"), version);
        let refused = kubectl.send("apply --server-side --field-manager=other", &map("one: \"3\"")).unwrap_err();
        assert!(refused.contains("Apply failed with 1 conflict: conflict with \"kubectl\": .data.one"), "{refused}");
        kubectl.send("apply --server-side --field-manager=other --force-conflicts", &map("one: \"3\"")).unwrap();
        kubectl.send("apply --server-side --force-conflicts --dry-run=server", &map("one: \"4\"")).unwrap();
        assert_eq!(value(kubectl, "cm/settings", ".data"), r#"{"one":"3","two":"2"}"#);
        kubectl.send("apply --server-side", &map("")).unwrap();
        assert_eq!(value(kubectl, "cm/settings", ".data"), r#"{"one":"3"}"#);
    });
}

#[test]
fn after_a_client_side_apply_the_next_applies_on_the_server_settle() {
    with_each_kubectl(|kubectl, _| {
        kubectl.send("apply", &map("one: \"1\"")).unwrap();
        for _ in 0..2 {
            kubectl.send("apply --server-side", &map("one: \"2\"")).unwrap();
        }
        let version = value(kubectl, "cm/settings", ".metadata.resourceVersion");
        kubectl.send("apply --server-side", &map("one: \"2\"")).unwrap();
        assert_eq!(value(kubectl, "cm/settings", ".metadata.resourceVersion"), version, "nothing changes any more");
        kubectl.send("apply", WEB).unwrap();
        let managers = || value(kubectl, "deploy/web", ".metadata.managedFields[*].manager");
        assert!(managers().contains("kubectl-client-side-apply"), "{}", managers());
        kubectl.send("apply --server-side", &WEB.replace("hello:1", "hello:2")).unwrap();
        kubectl.send("apply --server-side", &WEB.replace("hello:1", "hello:2")).unwrap();
        assert!(!managers().contains("client-side"), "its fields are the server side's now");
        let without = WEB.replace(", env: [{name: A, value: \"1\"}]", "").replace("hello:1", "hello:2");
        kubectl.send("apply --server-side", &without).unwrap();
        assert_eq!(value(kubectl, "deploy/web", ".spec.template.spec.containers[0].env"), "");
    });
}

#[test]
fn a_diff_shows_what_an_apply_on_the_server_would_change() {
    with_each_kubectl(|kubectl, _| {
        kubectl.send("apply --server-side", WEB).unwrap();
        assert_eq!(kubectl.send("diff --server-side", WEB).unwrap(), "");
        let differs = kubectl.send("diff --server-side", &WEB.replace("hello:1", "hello:2")).unwrap_err();
        assert!(differs.contains("hello:2"), "{differs}");
    });
}

#[test]
fn managers_are_shown_when_they_are_asked_for() {
    with_each_kubectl(|kubectl, _| {
        kubectl.send("apply --server-side", WEB).unwrap();
        kubectl.run("scale deploy/web --replicas=0").unwrap();
        kubectl.run("label deploy/web a=b").unwrap();
        let plain = kubectl.run("get deploy/web -o yaml").unwrap();
        assert!(!plain.contains("managedFields"), "{plain}");
        let shown = kubectl.run("get deploy/web -o yaml --show-managed-fields").unwrap();
        for line in ["k:{\"name\":\"web\"}", "k:{\"containerPort\":80,\"protocol\":\"TCP\"}", "manager: kubectl-label"]
        {
            assert!(shown.contains(line), "{line} is not in {shown}");
        }
    });
}
