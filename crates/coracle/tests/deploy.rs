//! The manifests under `deploy/`: they are what they say they are, and this binary understands what they ask of it.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a failed step of a test is its failure")]

use std::{collections::BTreeSet, path::Path, process::Command};

use k8s_openapi::api::{
    apps::v1::Deployment,
    core::v1::{Namespace, Service, ServiceAccount},
    policy::v1::PodDisruptionBudget,
    rbac::v1::{ClusterRole, ClusterRoleBinding, Role, RoleBinding},
};
use objects::gateway::GatewayClass;
use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;

const VARIANTS: [&str; 2] = ["base", "host-network"];

/// The objects of a kustomization.
fn objects(variant: &str) -> Vec<Value> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../deploy/gateway").join(variant);
    let output = Command::new(env!("CARGO_BIN_EXE_coracle")).args(["build", "-k"]).arg(folder).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_saphyr::from_multiple(&String::from_utf8(output.stdout).unwrap()).unwrap()
}

fn of_kind(objects: &[Value], kind: &str) -> Value {
    objects.iter().find(|object| object["kind"] == kind).unwrap_or_else(|| panic!("no {kind}")).clone()
}

/// A field that the kind does not have would be lost on the way.
fn assert_whole<T: DeserializeOwned + Serialize>(object: &Value) {
    let typed: T = serde_json::from_value(object.clone()).unwrap();
    let back = serde_json::to_value(typed).unwrap();
    let lost = lost("", object, &back);
    assert!(lost.is_empty(), "{}: there are no such fields: {lost:?}", object["kind"]);
}

fn lost(path: &str, before: &Value, after: &Value) -> Vec<String> {
    match (before, after) {
        (Value::Object(before), Value::Object(after)) => {
            let fields = before.iter().filter(|(name, _)| !["apiVersion", "kind"].contains(&name.as_str()));
            let inner = |(name, value): (&String, &Value)| match after.get(name) {
                Some(after) => lost(&format!("{path}.{name}"), value, after),
                None => vec![format!("{path}.{name}")],
            };
            fields.flat_map(inner).collect()
        }
        (Value::Array(before), Value::Array(after)) => {
            let pairs = before.iter().zip(after).enumerate();
            pairs.flat_map(|(index, (before, after))| lost(&format!("{path}[{index}]"), before, after)).collect()
        }
        _ => Vec::new(),
    }
}

#[test]
fn every_object_has_only_fields_that_its_kind_has() {
    for object in VARIANTS.into_iter().flat_map(objects) {
        match object["kind"].as_str().unwrap() {
            "Namespace" => assert_whole::<Namespace>(&object),
            "ServiceAccount" => assert_whole::<ServiceAccount>(&object),
            "ClusterRole" => assert_whole::<ClusterRole>(&object),
            "ClusterRoleBinding" => assert_whole::<ClusterRoleBinding>(&object),
            "Role" => assert_whole::<Role>(&object),
            "RoleBinding" => assert_whole::<RoleBinding>(&object),
            "Deployment" => assert_whole::<Deployment>(&object),
            "Service" => assert_whole::<Service>(&object),
            "PodDisruptionBudget" => assert_whole::<PodDisruptionBudget>(&object),
            "GatewayClass" => assert_whole::<GatewayClass>(&object),
            other => panic!("unexpected kind {other}"),
        }
    }
}

#[test]
fn the_container_is_started_with_flags_that_this_binary_has() {
    for variant in VARIANTS {
        let deployment = of_kind(&objects(variant), "Deployment");
        let container = &deployment["spec"]["template"]["spec"]["containers"][0];
        let arguments = container["args"].as_array().unwrap().iter().map(|argument| argument.as_str().unwrap());
        // Stops at what it reads first, after its flags.
        let output = Command::new(env!("CARGO_BIN_EXE_coracle"))
            .args(arguments)
            .args(["--kubeconfig", "/nonexistent/kubeconfig"])
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(said.contains("/nonexistent/kubeconfig"), "{said}");
    }
}

#[test]
fn every_kind_of_gateway_api_may_be_read_and_its_status_be_written() {
    let role = of_kind(&objects("base"), "ClusterRole");
    let mut allowed = BTreeSet::new();
    for rule in role["rules"].as_array().unwrap() {
        for resource in rule["resources"].as_array().unwrap() {
            for verb in rule["verbs"].as_array().unwrap() {
                allowed.insert(format!("{} {}", verb.as_str().unwrap(), resource.as_str().unwrap()));
            }
        }
    }
    let of_gateway_api = objects::kinds::stored().filter(|kind| kind.group == "gateway.networking.k8s.io");
    for kind in of_gateway_api {
        let plural = kind.plural;
        let wanted = [format!("list {plural}"), format!("watch {plural}")];
        let status = kind.status.then(|| format!("patch {plural}/status"));
        for right in wanted.into_iter().chain(status) {
            assert!(allowed.contains(&right), "{right} is not allowed");
        }
    }
}

#[test]
fn the_base_is_taken_by_our_own_api() {
    testkit::with_each_kubectl(env!("CARGO_BIN_EXE_coracle"), |kubectl, _| {
        let all = objects("base");
        let list = serde_json::json!({"apiVersion": "v1", "kind": "List", "items": all}).to_string();
        for verb in ["apply", "replace", "delete --wait=false"] {
            let said = kubectl.send(verb, &list).unwrap();
            assert_eq!(said.lines().count(), all.len(), "{verb}: {said}");
        }
    })
    .unwrap();
}
