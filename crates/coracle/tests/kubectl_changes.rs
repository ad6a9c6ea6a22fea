//! The real kubectl changing objects: apply, diff, edit, patch, label, set, replace.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a failed step of a test is its failure")]

use testkit::{Coracle, Kubectl};

fn with_each_kubectl(test: impl Fn(&Kubectl, &Coracle)) {
    testkit::with_each_kubectl(env!("CARGO_BIN_EXE_coracle"), test).unwrap();
}

/// A ConfigMap and a Deployment whose pods nobody starts.
const OBJECTS: &str = r#"
apiVersion: v1
kind: ConfigMap
metadata: {name: settings, labels: {tier: front}, annotations: {note: old}}
data: {one: "1", two: "2"}
---
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
      - {name: web, image: "hello:1", env: [{name: A, value: "1"}, {name: B, value: "2"}]}
      - {name: side, image: "hello:1"}
"#;

/// [`OBJECTS`] with a field less in a map, in a keyed list and in a label, a container less, and one value changed.
fn shrunk() -> String {
    OBJECTS
        .replace(", two: \"2\"", "")
        .replace(", annotations: {note: old}", "")
        .replace(", {name: B, value: \"2\"}", "")
        .replace("      - {name: side, image: \"hello:1\"}\n", "")
        .replace("{name: web, image: \"hello:1\"", "{name: web, image: \"hello:2\"")
}

fn value(kubectl: &Kubectl, object: &str, path: &str) -> String {
    kubectl.run(&format!("get {object} -o jsonpath={{{path}}}")).unwrap()
}

#[test]
fn apply_removes_what_the_manifest_no_longer_says_and_keeps_what_others_wrote() {
    with_each_kubectl(|kubectl, _| {
        kubectl.send("apply", OBJECTS).unwrap();
        kubectl.run("label cm settings owner=me").unwrap();
        kubectl.run("scale deploy/web --replicas=0").unwrap();
        let said = kubectl.send("apply", &shrunk()).unwrap();
        assert!(
            said.contains("configmap/settings configured") && said.contains("deployment.apps/web configured"),
            "{said}"
        );
        assert_eq!(value(kubectl, "cm/settings", ".data"), r#"{"one":"1"}"#);
        assert_eq!(value(kubectl, "cm/settings", ".metadata.labels"), r#"{"owner":"me","tier":"front"}"#);
        assert_eq!(value(kubectl, "cm/settings", ".metadata.annotations.note"), "");
        let containers = ".spec.template.spec.containers[*]['name','image','env']";
        assert_eq!(value(kubectl, "deploy/web", containers), r#"web hello:2 [{"name":"A","value":"1"}]"#);
        let managers = value(kubectl, "deploy/web", ".metadata.managedFields[*].manager");
        assert!(managers.contains("kubectl-client-side-apply"), "{managers}");
    });
}

#[test]
fn what_would_change_is_shown_without_changing_it() {
    with_each_kubectl(|kubectl, _| {
        kubectl.send("apply", OBJECTS).unwrap();
        let version = value(kubectl, "cm/settings", ".metadata.resourceVersion");
        assert_eq!(kubectl.send("diff", OBJECTS).unwrap(), "");
        let differs = kubectl.send("diff", &shrunk()).unwrap_err();
        for line in ["-  two: \"2\"", "-        - name: B", "-      - image: hello:1", "+        image: hello:2"] {
            assert!(differs.contains(line), "{line} is not in {differs}");
        }
        let said = kubectl.send("apply --dry-run=server", &shrunk()).unwrap();
        assert!(said.contains("configmap/settings configured (server dry run)"), "{said}");
        kubectl.run("create configmap another --from-literal=a=b --dry-run=server").unwrap();
        kubectl.run("delete configmap settings --dry-run=server").unwrap();
        assert!(kubectl.run("get cm another").unwrap_err().contains("configmaps \"another\" not found"));
        assert_eq!(value(kubectl, "cm/settings", ".metadata.resourceVersion"), version);
        let service = "create service clusterip trial --tcp=80:80 --dry-run=server -o jsonpath={.spec.clusterIP}";
        let address = kubectl.run(service).unwrap();
        assert_eq!(kubectl.run(service).unwrap(), address, "a trial keeps no address");
    });
}

#[test]
fn mistakes_are_refused_with_their_paths() {
    with_each_kubectl(|kubectl, _| {
        let unknown = kubectl.send("apply", &OBJECTS.replace("replicas: 0", "replcas: 0")).unwrap_err();
        assert!(unknown.contains("strict decoding error: unknown field \"spec.replcas\""), "{unknown}");
        let wrong = kubectl.send("create", &OBJECTS.replace("replicas: 0", "replicas: many")).unwrap_err();
        assert!(wrong.contains("cannot unmarshal string into Go struct field DeploymentSpec.spec.replicas"), "{wrong}");
        let unknown = kubectl.send("apply --server-side", &OBJECTS.replace("replicas: 0", "replcas: 0")).unwrap_err();
        assert!(unknown.contains(".spec.replcas: field not declared in schema"), "{unknown}");
    });
}

fn edit(kubectl: &Kubectl, object: &str, script: &str) -> Result<String, String> {
    let output =
        kubectl.command(&format!("edit {object}")).env("KUBE_EDITOR", format!("sed -i {script}")).output().unwrap();
    let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
    if output.status.success() { Ok(text(&output.stdout)) } else { Err(text(&output.stderr)) }
}

#[test]
fn an_editor_changes_an_object_and_learns_of_its_mistakes() {
    with_each_kubectl(|kubectl, _| {
        kubectl.send("apply", OBJECTS).unwrap();
        assert!(edit(kubectl, "deploy/web", r"s/hello:1/hello:3/").unwrap().contains("deployment.apps/web edited"));
        assert_eq!(value(kubectl, "deploy/web", ".spec.template.spec.containers[*].image"), "hello:3 hello:3");
        assert_eq!(edit(kubectl, "deploy/web", r"s/nothing/else/").unwrap(), "", "no changes made");
        let refused = edit(kubectl, "deploy/web", r"s/revisionHistoryLimit:/histry:/").unwrap_err();
        assert!(refused.contains("deployments.apps \"web\" is invalid"), "{refused}");
        let refused = edit(kubectl, "deploy/web", r"s/app:.web/app:\ other/").unwrap_err();
        assert!(refused.contains("deployments.apps \"web\" is invalid"), "{refused}");
    });
}

#[test]
fn each_kind_of_patch_changes_what_it_says() {
    with_each_kubectl(|kubectl, _| {
        kubectl.send("apply", OBJECTS).unwrap();
        let patch = |kind: &str, patch: &str| kubectl.run(&format!("patch deploy/web --type={kind} -p {patch}"));
        let strategic = r#"{"spec":{"template":{"spec":{"containers":[{"name":"side","image":"hello:9"}]}}}}"#;
        patch("strategic", strategic).unwrap();
        let images = ".spec.template.spec.containers[*]['name','image']";
        assert_eq!(value(kubectl, "deploy/web", images), "web side hello:1 hello:9");
        patch("merge", r#"{"spec":{"minReadySeconds":2,"revisionHistoryLimit":null}}"#).unwrap();
        let limits = "['minReadySeconds','revisionHistoryLimit']";
        assert_eq!(value(kubectl, "deploy/web", &format!(".spec{limits}")), "2 10", "what is removed is defaulted");
        patch("json", r#"[{"op":"remove","path":"/spec/template/spec/containers/1"}]"#).unwrap();
        assert_eq!(value(kubectl, "deploy/web", images), "web hello:1");
        let test = patch("json", r#"[{"op":"test","path":"/spec/replicas","value":7}]"#).unwrap_err();
        assert!(test.contains("the server rejected our request due to an error in our request"), "{test}");
        let unknown = patch("merge", r#"{"spec":{"nope":1}}"#).unwrap();
        assert!(unknown.contains("(no change)"), "an unknown field is dropped: {unknown}");
        let status = r#"{"status":{"replicas":3}}"#;
        kubectl.run(&format!("patch deploy/web --subresource=status --type=merge -p {status}")).unwrap();
        let said = patch("merge", status).unwrap();
        assert!(said.contains("(no change)"), "the status is another resource: {said}");
    });
}

#[test]
fn labels_and_annotations_come_and_go() {
    with_each_kubectl(|kubectl, _| {
        kubectl.send("apply", OBJECTS).unwrap();
        kubectl.run("label cm settings a=b").unwrap();
        assert!(kubectl.run("label cm settings a=c").unwrap_err().contains("already has a value (b)"));
        kubectl.run("label cm settings a=c --overwrite").unwrap();
        assert_eq!(kubectl.run("get cm -l a=c,tier!=back -o name").unwrap(), "configmap/settings\n");
        kubectl.run("label cm --all a-").unwrap();
        assert_eq!(kubectl.run("get cm -l a -o name").unwrap(), "");
        let wrong = kubectl.run("patch cm settings -p {\"metadata\":{\"labels\":{\"a\":\"-\"}}}").unwrap_err();
        assert!(
            wrong.contains("a valid label must be an empty string or consist of alphanumeric characters"),
            "{wrong}"
        );
        kubectl.run("annotate cm settings note=new --overwrite").unwrap();
        assert_eq!(value(kubectl, "cm/settings", ".metadata.annotations.note"), "new");
        kubectl.run("annotate cm settings note-").unwrap();
        assert_eq!(value(kubectl, "cm/settings", ".metadata.annotations.note"), "");
    });
}

#[test]
fn set_and_replace_change_what_they_name() {
    with_each_kubectl(|kubectl, _| {
        kubectl.send("create --save-config", OBJECTS).unwrap();
        kubectl.run("set image deploy/web web=hello:5").unwrap();
        kubectl.run("set env deploy/web -c web A- C=3").unwrap();
        kubectl.run("set resources deploy/web -c web --limits=cpu=0.5,memory=64Mi").unwrap();
        kubectl.run("set selector svc/none app=a").unwrap_err();
        kubectl.run("set serviceaccount deploy/web default").unwrap();
        let spec = ".spec.template.spec";
        assert_eq!(value(kubectl, "deploy/web", &format!("{spec}.containers[0].image")), "hello:5");
        assert_eq!(value(kubectl, "deploy/web", &format!("{spec}.containers[0].env[*].name")), "B C");
        let resources = value(kubectl, "deploy/web", &format!("{spec}.containers[0].resources"));
        let expected = r#"{"limits":{"cpu":"500m","memory":"64Mi"}}"#;
        assert_eq!(resources, expected);

        assert!(kubectl.send("create", OBJECTS).unwrap_err().contains("configmaps \"settings\" already exists"));
        let uid = value(kubectl, "cm/settings", ".metadata.uid");
        kubectl.send("replace", OBJECTS).unwrap();
        assert_eq!(value(kubectl, "deploy/web", &format!("{spec}.containers[0].env[*].name")), "A B");
        assert_eq!(value(kubectl, "cm/settings", ".metadata.uid"), uid);
        kubectl.send("replace --force", OBJECTS).unwrap();
        assert_ne!(value(kubectl, "cm/settings", ".metadata.uid"), uid);
    });
}

/// A Service with this spec.
fn service(spec: &str) -> String {
    format!("apiVersion: v1\nkind: Service\nmetadata: {{name: api}}\nspec: {spec}\n")
}

#[test]
fn a_service_keeps_its_address_unless_it_becomes_an_alias() {
    with_each_kubectl(|kubectl, _| {
        kubectl.send("apply", &service("{selector: {app: a}, ports: [{port: 80}]}")).unwrap();
        let address = value(kubectl, "svc/api", ".spec.clusterIP");
        kubectl.send("replace", &service("{selector: {app: b}, ports: [{port: 81}]}")).unwrap();
        assert_eq!(value(kubectl, "svc/api", ".spec.clusterIP"), address);
        assert_eq!(value(kubectl, "svc/api", ".spec.ports[0].targetPort"), "81");
        let moved = kubectl.send("replace", &service("{clusterIP: 127.96.9.9, ports: [{port: 81}]}")).unwrap_err();
        assert!(
            moved.contains("spec.clusterIPs[0]: Invalid value: []string{\"127.96.9.9\"}: may not change once set"),
            "{moved}"
        );
        kubectl.send("replace", &service("{type: ExternalName, externalName: example.com}")).unwrap();
        assert_eq!(value(kubectl, "svc/api", ".spec.clusterIP"), "");
        kubectl.send("replace", &service("{ports: [{port: 80}]}")).unwrap();
        assert_ne!(value(kubectl, "svc/api", ".spec.clusterIP"), "");
    });
}

#[test]
fn what_may_not_change_is_refused_in_upstreams_words() {
    with_each_kubectl(|kubectl, _| {
        kubectl.send("apply", OBJECTS).unwrap();
        let changed = OBJECTS.replace("app: web", "app: other");
        let refused = kubectl.send("apply", &changed).unwrap_err();
        assert!(
            refused.contains("MatchLabels:map[string]string{\"app\":\"other\"}")
                && refused.contains("field is immutable"),
            "{refused}"
        );
        kubectl.run("run one --image=hello --command -- sleep 1000").unwrap();
        let refused = kubectl.run("patch pod one -p {\"spec\":{\"hostname\":\"x\"}}").unwrap_err();
        assert!(refused.contains("spec: Forbidden: pod updates may not change fields other than"), "{refused}");
        kubectl.run("set image pod/one one=hello:0.1.0").unwrap();
        kubectl.run("delete pod one --force").unwrap();
    });
}

const ROUTE: &str = "
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: web}
spec:
  parentRefs: [{name: edge}]
  rules:
  - matches: [{path: {type: PathPrefix, value: /api}}]
    backendRefs: [{name: web, port: 80}]
";

#[test]
fn gateway_apis_objects_are_applied_patched_and_refused_as_custom_resources_are() {
    with_each_kubectl(|kubectl, _| {
        kubectl.send("apply", ROUTE).unwrap();
        assert_eq!(value(kubectl, "httproute/web", ".spec.rules[0].backendRefs[0].weight"), "1", "it is defaulted");
        kubectl.send("apply", &ROUTE.replace("/api", "/v2")).unwrap();
        assert_eq!(value(kubectl, "httproute/web", ".spec.rules[0].matches[0].path.value"), "/v2");
        edit(kubectl, "httproute/web", "s:/v2:/v3:").unwrap();
        assert_eq!(value(kubectl, "httproute/web", ".spec.rules[0].matches[0].path.value"), "/v3");
        kubectl.run("patch httproute web --type=merge -p {\"spec\":{\"hostnames\":[\"a.example\"]}}").unwrap();
        let strategic = kubectl.run("patch httproute web -p {\"spec\":{\"hostnames\":[\"b.example\"]}}").unwrap_err();
        assert!(strategic.contains("application/merge-patch+json"), "{strategic}");
        for (from, to, said) in [
            (
                "/api}",
                "api}",
                "value must be an absolute path and start with '/' when type one of ['Exact', 'PathPrefix']",
            ),
            ("port: 80", "weight: 2", "Must have port for Service reference"),
            ("PathPrefix", "Prefix", "spec.rules[0].matches[0].path.type: Unsupported value: \"Prefix\""),
            ("name: edge", "kind: Gateway", "spec.parentRefs[0].name: Required value"),
            ("{name: web}\nspec", "{name: web}\nspce", "unknown field \"spce\""),
            ("rules:", "hostnames: [\"A b\"]\n  rules:", "spec.hostnames[0]: Invalid value: \"A b\""),
        ] {
            let refused = kubectl.send("apply", &ROUTE.replace(from, to)).unwrap_err();
            assert!(refused.contains(said), "{to}: {refused}");
        }
        let class = kubectl
            .run("patch gatewayclass coracle --type=merge -p {\"spec\":{\"controllerName\":\"a.b/c\"}}")
            .unwrap_err();
        assert!(class.contains("Value is immutable"), "{class}");
    });
}
