//! kubectl and kinds that a CustomResourceDefinition defines: applied, checked, explained, printed, scaled, edited, waited for.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a failed step of a test is its failure")]

use std::process::Stdio;

use testkit::{Coracle, Kubectl};

fn with_every_kubectl(test: impl Fn(&Kubectl, &Coracle)) {
    testkit::with_every_kubectl(env!("CARGO_BIN_EXE_coracle"), test).unwrap();
}

const DEFINITION: &str = r#"
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: things.example.com}
spec:
  group: example.com
  scope: Namespaced
  names: {plural: things, singular: thing, kind: Thing, shortNames: [th], categories: [all]}
  versions:
  - name: v1
    served: true
    storage: true
    additionalPrinterColumns:
    - {name: Size, type: integer, jsonPath: .spec.size}
    - {name: Ready, type: string, jsonPath: '.status.conditions[?(@.type=="Ready")].status'}
    - {name: Parts, type: string, jsonPath: '.spec.parts[*].name', priority: 1}
    subresources:
      status: {}
      scale: {specReplicasPath: .spec.replicas, statusReplicasPath: .status.replicas}
    schema:
      openAPIV3Schema:
        type: object
        description: A thing.
        properties:
          spec:
            type: object
            required: [size]
            x-kubernetes-validations:
            - {rule: "!has(self.replicas) || self.replicas <= self.size", message: more replicas than it is large}
            properties:
              size: {type: integer, minimum: 1, description: How large it is.}
              colour: {type: string, enum: [red, green], default: red}
              replicas: {type: integer}
              parts:
                type: array
                x-kubernetes-list-type: map
                x-kubernetes-list-map-keys: [name]
                items: {type: object, required: [name], properties: {name: {type: string}, weight: {type: integer}}}
          status: {type: object, x-kubernetes-preserve-unknown-fields: true}
"#;

const THING: &str =
    "apiVersion: example.com/v1\nkind: Thing\nmetadata: {name: one}\nspec: {size: 3, parts: [{name: a}]}\n";

fn define(kubectl: &Kubectl) {
    kubectl.send("apply", DEFINITION).unwrap();
    kubectl.run("wait crd/things.example.com --for=condition=Established --timeout=60s").unwrap();
}

fn value(kubectl: &Kubectl, path: &str) -> String {
    kubectl.run(&format!("get thing one -o jsonpath={{{path}}}")).unwrap()
}

fn words(text: &str) -> Vec<&str> {
    text.split_whitespace().collect()
}

#[test]
fn a_definitions_schema_explains_and_its_columns_print_its_objects() {
    with_every_kubectl(|kubectl, _| {
        define(kubectl);
        assert!(kubectl.send("apply", THING).unwrap().contains("thing.example.com/one created"));
        assert_eq!(words(&kubectl.run("get th").unwrap()), ["NAME", "SIZE", "READY", "one", "3"]);
        let wide = kubectl.run("get things.example.com -o wide").unwrap();
        assert!(wide.contains("PARTS") && wide.trim_end().ends_with('a'), "{wide}");
        assert!(kubectl.run("get all").unwrap().contains("thing.example.com/one"), "it is in the category");
        let version = kubectl.minor();
        let explained = kubectl.run("explain things.spec").unwrap();
        assert!(explained.contains("How large it is.") && explained.contains("size"), "1.{version}: {explained}");
        let all = kubectl.run("explain things --recursive").unwrap();
        for field in ["colour", "parts", "weight", "ownerReferences"] {
            assert!(all.contains(field), "1.{version}: no {field} in {all}");
        }
        assert!(kubectl.run("describe thing one").unwrap().contains("Colour:"));
        assert!(kubectl.run("api-resources --api-group=example.com").unwrap().contains("th "));
        kubectl.run("delete thing one").unwrap();
        kubectl.run("delete crd things.example.com").unwrap();
        let gone = kubectl.run("get things").unwrap_err();
        assert!(
            gone.contains("the server doesn't have a resource type \"things\"") || gone.contains("not find"),
            "{gone}"
        );
    });
}

#[test]
fn objects_of_a_definition_are_changed_with_every_command() {
    with_every_kubectl(|kubectl, _| {
        define(kubectl);
        kubectl.send("apply", THING).unwrap();
        assert_eq!(value(kubectl, ".spec.colour"), "red", "it is defaulted");
        assert_eq!(kubectl.send("diff", THING).unwrap(), "");
        let differs = kubectl.send("diff", &THING.replace("size: 3", "size: 5")).unwrap_err();
        assert!(differs.contains("-  size: 3") && differs.contains("+  size: 5"), "{differs}");
        assert!(kubectl.send("apply", &THING.replace("size: 3", "size: 5")).unwrap().contains("configured"));
        kubectl.run("patch thing one --type=merge -p {\"spec\":{\"colour\":\"green\"}}").unwrap();
        kubectl
            .run("patch thing one --type=json -p [{\"op\":\"replace\",\"path\":\"/spec/size\",\"value\":6}]")
            .unwrap();
        assert_eq!((value(kubectl, ".spec.colour"), value(kubectl, ".spec.size")), ("green".into(), "6".into()));
        assert!(kubectl.run("scale thing/one --replicas=2").unwrap().contains("thing.example.com/one scaled"));
        assert_eq!(value(kubectl, ".spec.replicas"), "2");
        let edit = |script: &str| {
            let mut command = kubectl.command("edit thing one");
            let output =
                command.env("KUBE_EDITOR", format!("sed -i {script}")).stderr(Stdio::piped()).output().unwrap();
            let text =
                [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat();
            (output.status.success(), text)
        };
        assert_eq!(edit("s/colour:.green/colour:\\ red/"), (true, "thing.example.com/one edited\n".to_owned()));
        let (edited, said) = edit("s/colour:.red/colour:\\ blue/");
        assert!(!edited && said.contains("things.example.com \"one\" is invalid"), "{said}");
        kubectl.run("label thing one a=b").unwrap();
        kubectl.run("annotate thing one c=d").unwrap();
        assert_eq!(kubectl.run("get things -l a=b -o name").unwrap(), "thing.example.com/one\n");
        let with = |part: &str| THING.replace("size: 3, parts: [{name: a}]", &format!("size: 6, parts: [{part}]"));
        for (manager, part) in [("other", "{name: b, weight: 1}"), ("third", "{name: c}")] {
            let apply = format!("apply --server-side --field-manager={manager} --force-conflicts");
            kubectl.send(&apply, &with(part)).unwrap();
        }
        assert!(value(kubectl, ".spec.parts[*].name").ends_with("b c"), "the parts are a map by their names");
        let refused = kubectl.send("apply --server-side --field-manager=third", &with("{name: b, weight: 2}"));
        let refused = refused.unwrap_err();
        assert!(refused.contains(".spec.parts[name=\"b\"].weight"), "{refused}");
        kubectl.send("replace", &THING.replace("size: 3", "size: 2")).unwrap();
        assert_eq!(value(kubectl, "['spec']"), r#"{"colour":"red","parts":[{"name":"a"}],"size":2}"#);
        kubectl.send("delete", THING).unwrap();
        assert!(kubectl.run("get thing one").unwrap_err().contains("things.example.com \"one\" not found"));
    });
}

#[test]
fn what_an_object_of_a_definition_becomes_is_waited_for() {
    with_every_kubectl(|kubectl, _| {
        define(kubectl);
        kubectl.send("apply", THING).unwrap();
        let late = kubectl.run("wait thing/one --for=condition=Ready --timeout=1s").unwrap_err();
        assert!(late.contains("timed out waiting for the condition"), "{late}");
        let waiting =
            kubectl.command("wait thing/one --for=condition=Ready --timeout=60s").stdout(Stdio::piped()).spawn();
        let status = r#"{"status":{"phase":"Done","conditions":[{"type":"Ready","status":"True"}]}}"#;
        if kubectl.minor() >= 24 {
            kubectl.run(&format!("patch thing one --subresource=status --type=merge -p {status}")).unwrap();
        } else {
            let mut object: serde_json::Value =
                serde_json::from_str(&kubectl.run("get thing one -o json").unwrap()).unwrap();
            object["status"] = serde_json::from_str::<serde_json::Value>(status).unwrap()["status"].clone();
            let path = "/apis/example.com/v1/namespaces/default/things/one/status";
            kubectl.send(&format!("replace --raw {path}"), &object.to_string()).unwrap();
        }
        assert!(waiting.unwrap().wait_with_output().unwrap().status.success());
        assert_eq!(words(&kubectl.run("get th --no-headers").unwrap())[..3], ["one", "3", "True"]);
        if kubectl.minor() >= 24 {
            kubectl.run("wait thing/one --for=jsonpath={.status.phase}=Done --timeout=60s").unwrap();
        }
        kubectl.run("delete thing one").unwrap();
        if kubectl.minor() >= 28 {
            kubectl.run("wait thing/one --for=delete --timeout=60s").unwrap();
        }
    });
}

#[test]
fn wrong_objects_of_a_definition_are_refused_in_upstreams_words() {
    with_every_kubectl(|kubectl, _| {
        define(kubectl);
        let version = kubectl.minor();
        for (from, to, said) in [
            ("size: 3, ", "", "spec.size: Required value"),
            (
                "size: 3",
                "size: 0",
                "spec.size: Invalid value: 0: spec.size in body should be greater than or equal to 1",
            ),
            ("size: 3", "size: 3, replicas: 4", "more replicas than it is large"),
            (
                "size: 3",
                "size: 3, colour: blue",
                "spec.colour: Unsupported value: \"blue\": supported values: \"red\", \"green\"",
            ),
            ("[{name: a}]", "[{name: a}, {name: a}]", "spec.parts[1]: Duplicate value: {\"name\":\"a\"}"),
            ("size: 3", "size: x", "spec.size"),
        ] {
            // What the client finds itself it says in its own words: here it asks the server.
            let refused = kubectl.send("create --validate=false", &THING.replace(from, to)).unwrap_err();
            assert!(refused.contains(said), "1.{version} {to}: {refused}");
        }
        let unknown = kubectl.send("apply", &THING.replace("size: 3", "size: 3, none: 1")).unwrap_err();
        assert!(unknown.contains("unknown field") && unknown.contains("none"), "1.{version}: {unknown}");
        kubectl.send("apply", THING).unwrap();
        let refused = kubectl.run("scale thing/one --replicas=4").unwrap_err();
        assert!(refused.contains("more replicas than it is large"), "1.{version}: {refused}");
    });
}

#[test]
fn wrong_definitions_are_refused_with_the_place_of_the_mistake() {
    with_every_kubectl(|kubectl, _| {
        for (from, to, said) in [
            (
                "name: things.example.com",
                "name: thing.example.com",
                "metadata.name: Invalid value: \"thing.example.com\"",
            ),
            (
                "{type: integer, minimum: 1, description: How large it is.}",
                "{minimum: 1}",
                "properties[size].type: Required value",
            ),
            ("self.replicas <= self.size", "self.replicas <= self.sise", "undefined field 'sise'"),
            ("storage: true", "storage: false", "must have exactly one version marked as storage version"),
            ("default: red", "default: blue", "default: Unsupported value: \"blue\""),
            (".spec.replicas,", "spec.replicas,", "specReplicasPath"),
            ("x-kubernetes-list-map-keys: [name]", "", "x-kubernetes-list-map-keys: Required value"),
        ] {
            let wrong = DEFINITION.replace(from, to);
            assert_ne!(wrong, DEFINITION);
            let refused = kubectl.send("create --validate=false", &wrong).unwrap_err();
            let expected = refused.contains(said) && refused.contains("is invalid");
            assert!(expected, "1.{} {to}: {refused}", kubectl.minor());
        }
    });
}

/// A pod that a thing controls.
fn part(name: &str, uid: &str) -> String {
    format!(
        "---
apiVersion: v1
kind: Pod
metadata:
  name: {name}
  labels: {{app: thing}}
  ownerReferences: [{{apiVersion: example.com/v1, kind: Thing, name: one, uid: {uid}, controller: true}}]
spec: {{terminationGracePeriodSeconds: 0, containers: [{{name: c, image: hello}}]}}
"
    )
}

/// `kubectl create poddisruptionbudget` of 1.20 asks for a version that Kubernetes no longer has.
const BUDGET: &str = "
apiVersion: policy/v1
kind: PodDisruptionBudget
metadata: {name: thing}
spec: {maxUnavailable: 1, selector: {matchLabels: {app: thing}}}
";

#[test]
fn a_budget_counts_by_the_scale_of_a_custom_resource() {
    with_every_kubectl(|kubectl, _| {
        define(kubectl);
        kubectl.send("apply", &THING.replace("size: 3", "size: 3, replicas: 3")).unwrap();
        let uid = kubectl.run("get thing one -o jsonpath={.metadata.uid}").unwrap();
        kubectl.send("apply", &[part("a", &uid), part("b", &uid)].concat()).unwrap();
        kubectl.send("apply", BUDGET).unwrap();
        let status =
            "pdb thing -o jsonpath={.status.expectedPods}/{.status.desiredHealthy}/{.status.disruptionsAllowed}";
        kubectl.wait("pod/a pod/b --for=condition=Ready").unwrap();
        kubectl.until(status, "3/2/0").unwrap();
        kubectl.send("apply", &part("c", &uid)).unwrap();
        kubectl.until(status, "3/2/1").unwrap();
        kubectl.run("delete pdb/thing thing/one").unwrap();
        kubectl.run("delete pods --all --now").unwrap();
    });
}
