use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::kinds::KINDS;

fn conformed(group: &str, version: &str, kind: &str, mut object: Value) -> (Value, Conformed) {
    let found = conform(group, version, kind, &mut object).unwrap();
    (object, found)
}

fn deployment(spec: Value) -> Result<Conformed, WrongType> {
    conform("apps", "v1", "Deployment", &mut json!({"apiVersion": "apps/v1", "kind": "Deployment", "spec": spec}))
}

#[test]
fn every_kind_has_a_definition_and_all_references_lead_somewhere() {
    for kind in KINDS {
        let name = definition_name(kind.group, kind.version, kind.kind).unwrap();
        let schemas = components(kind.group, kind.version);
        let root = &schemas[&name];
        for field in ["apiVersion", "kind", "metadata"] {
            assert!(root["properties"].get(field).is_some(), "{name} has no {field}");
        }
        assert_eq!(root["x-kubernetes-group-version-kind"][0]["kind"], kind.kind);
        let text = Value::Object(schemas.clone()).to_string();
        for reference in text.split("#/components/schemas/").skip(1) {
            let name = reference.split('"').next().unwrap();
            assert!(schemas.contains_key(name), "{name} is referred to and not there");
        }
        assert!(!text.contains("\"$ref\":\"#/definitions"));
    }
}

#[test]
fn times_are_written_in_utc_and_in_the_digits_of_their_type() {
    let lease = json!({"metadata": {"creationTimestamp": "2026-01-02T03:04:05.9+02:00"},
        "spec": {"renewTime": "2026-01-02T03:04:05.123456789Z", "acquireTime": "2026-01-02T03:04:05Z"}});
    let (lease, _) = conformed("coordination.k8s.io", "v1", "Lease", lease);
    assert_eq!(lease["metadata"]["creationTimestamp"], "2026-01-02T01:04:05Z");
    assert_eq!(lease["spec"]["renewTime"], "2026-01-02T03:04:05.123456Z");
    assert_eq!(lease["spec"]["acquireTime"], "2026-01-02T03:04:05.000000Z");
}

#[test]
fn lists_say_how_they_merge() {
    let schemas = components("apps", "v1");
    let of = |name: &str, field: &str| schemas[name]["properties"][field].clone();
    let containers = of("io.k8s.api.core.v1.PodSpec", "containers");
    assert_eq!(containers["x-kubernetes-patch-merge-key"], "name");
    assert_eq!(containers["x-kubernetes-patch-strategy"], "merge");
    assert_eq!(of("io.k8s.api.core.v1.PodSpec", "volumes")["x-kubernetes-patch-strategy"], "merge,retainKeys");
    assert_eq!(of("io.k8s.api.apps.v1.DeploymentSpec", "strategy")["x-kubernetes-patch-strategy"], "retainKeys");
    assert_eq!(of("io.k8s.api.apps.v1.DeploymentStatus", "conditions")["x-kubernetes-patch-merge-key"], "type");
    assert!(of("io.k8s.api.core.v1.PodSpec", "tolerations").get("x-kubernetes-patch-strategy").is_none());
    let meta = of("io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta", "finalizers");
    assert_eq!(meta["x-kubernetes-patch-strategy"], "merge");
}

#[test]
fn unknown_fields_are_named_by_their_paths_and_removed() {
    let (object, found) = conformed(
        "apps",
        "v1",
        "Deployment",
        json!({"metadata": {"labels": {"a": "b"}, "nam": "x"},
        "spec": {"replica": 1, "template": {"spec": {"containers": [{"name": "a"}, {"imag": "b"}]}}}}),
    );
    assert_eq!(found.unknown, ["metadata.nam", "spec.replica", "spec.template.spec.containers[1].imag"]);
    assert_eq!(object["spec"], json!({"template": {"spec": {"containers": [{"name": "a"}, {}]}}}));
}

#[test]
fn wrong_types_are_said_as_gos_decoder_says_them() {
    let container = |c: Value| json!({"template": {"spec": {"containers": [c]}}});
    for (spec, said) in [
        (
            json!({"replicas": "two"}),
            "json: cannot unmarshal string into Go struct field DeploymentSpec.spec.replicas of type int32",
        ),
        (
            json!({"replicas": 1.5}),
            "json: cannot unmarshal number 1.5 into Go struct field DeploymentSpec.spec.replicas of type int32",
        ),
        (
            json!({"replicas": 4_294_967_296_i64}),
            "json: cannot unmarshal number 4294967296 into Go struct field DeploymentSpec.spec.replicas of type int32",
        ),
        (json!([]), "json: cannot unmarshal array into Go struct field Deployment.spec of type v1.DeploymentSpec"),
        (
            container(json!({"env": {"a": "b"}})),
            "json: cannot unmarshal object into Go struct field Container.spec.template.spec.containers.env of type []v1.EnvVar",
        ),
        (
            container(json!({"env": [{"name": "a", "value": 1}]})),
            "json: cannot unmarshal number into Go struct field EnvVar.spec.template.spec.containers.env.value of type string",
        ),
        (
            container(json!({"resources": {"limits": {"cpu": "x"}}})),
            "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'",
        ),
    ] {
        assert_eq!(deployment(spec).unwrap_err().go, said);
    }
    let wrong = deployment(container(json!({"name": 1}))).unwrap_err();
    assert_eq!(
        (wrong.path.as_str(), wrong.expected, wrong.found),
        ("spec.template.spec.containers[0].name", "string", "integer")
    );
    let mut secret = json!({"data": {"a": "not base64!"}});
    assert_eq!(conform("", "v1", "Secret", &mut secret).unwrap_err().go, "illegal base64 data at input byte 3");
}

#[test]
fn quantities_become_canonical_and_nulls_go() {
    let (object, found) = conformed(
        "",
        "v1",
        "Pod",
        json!({"metadata": {"creationTimestamp": null, "labels": {"a": null}},
        "spec": {"containers": [{"resources": {"limits": {"cpu": 0.5, "memory": "1024Mi"}, "requests": {"cpu": 1}}}]}}),
    );
    assert_eq!(found, Conformed::default());
    assert_eq!(
        object,
        json!({"metadata": {"labels": {"a": ""}},
        "spec": {"containers": [{"resources": {"limits": {"cpu": "500m", "memory": "1Gi"}, "requests": {"cpu": "1"}}}]}})
    );
}

#[test]
fn what_is_empty_is_left_out_as_go_does() {
    let pod = json!({"metadata": {"finalizers": [], "labels": {}},
        "spec": {"containers": [], "nodeSelector": {}, "volumes": [{"name": "v", "emptyDir": {}}]}});
    let (object, _) = conformed("", "v1", "Pod", pod);
    assert_eq!(object, json!({"metadata": {}, "spec": {"containers": [], "volumes": [{"name": "v", "emptyDir": {}}]}}));
    let route = json!({"metadata": {"finalizers": []}, "spec": {"hostnames": [], "parentRefs": []}});
    let (object, _) = conformed(crate::gateway::GROUP, "v1", "HTTPRoute", route);
    assert_eq!(object, json!({"metadata": {}, "spec": {"hostnames": [], "parentRefs": []}}));
}

#[test]
fn what_a_custom_resource_must_have_is_missed() {
    let (_, found) = conformed(crate::gateway::GROUP, "v1", "Gateway", json!({"spec": {"listeners": [{"name": "a"}]}}));
    assert_eq!(found.missing, ["spec.listeners[0].port", "spec.listeners[0].protocol", "spec.gatewayClassName"]);
    let (_, found) = conformed(
        crate::gateway::GROUP,
        "v1",
        "HTTPRoute",
        json!({"spec": {"rules": [{"backendRefs":
        [{"name": "a", "port": 80, "weight": 1, "filters": []}], "filters": [{"type": "URLRewrite", "urlRewrite": {"path":
        {"type": "ReplaceFullPath", "replaceFullPath": "/"}}}], "timeouts": {"request": "1s"}, "nope": 1}]}}),
    );
    assert_eq!((found.unknown, found.missing), (vec!["spec.rules[0].nope".to_owned()], vec![]));
}

#[test]
fn fields_that_are_there_twice_are_seen() {
    let text = r#"{"a": 1, "b": [{"c": 1, "c": 2}], "a": 3, "a": 4}"#;
    let strict = parse(&mut serde_json::Deserializer::from_str(text)).unwrap();
    assert_eq!(strict.duplicates, ["b[0].c", "a"]);
    assert_eq!(strict.value, json!({"a": 4, "b": [{"c": 2}]}));
}

/// Any JSON, not too deep.
fn anything() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        "[a-z]{0,6}".prop_map(Value::from),
    ];
    let name = prop::sample::select(vec!["metadata", "spec", "template", "containers", "labels", "name", "ports", "x"]);
    leaf.prop_recursive(6, 64, 5, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map(name.clone(), inner, 0..5).prop_map(|m| m
                .into_iter()
                .map(|(k, v)| (k.to_owned(), v))
                .collect::<serde_json::Map<_, _>>()
                .into()),
        ]
    })
}

proptest! {
    #[test]
    fn a_second_check_finds_nothing_more(mut object in anything()) {
        if conform("apps", "v1", "Deployment", &mut object).is_ok() {
            let once = object.clone();
            prop_assert_eq!(conform("apps", "v1", "Deployment", &mut object).unwrap(), Conformed::default());
            prop_assert_eq!(object, once);
        }
    }

    #[test]
    fn strict_reading_is_reading(object in anything()) {
        let text = object.to_string();
        let strict = parse(&mut serde_json::Deserializer::from_str(&text)).unwrap();
        prop_assert_eq!(strict, Strict { value: object, duplicates: vec![] });
    }
}
