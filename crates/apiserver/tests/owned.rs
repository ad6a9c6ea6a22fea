//! What the server gives new objects beyond their defaults belongs to nobody, as upstream notes who wrote what.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a failed step of a test is its failure")]

#[allow(dead_code, reason = "the other tests that share this file use the rest")]
#[path = "support/api.rs"]
mod api;

use api::Api;
use serde_json::{Value, json};

/// The fields that the maker of an object owns.
async fn owned(api: &Api, path: &str, object: Value) -> Value {
    let (status, made) = api.ask("POST", &format!("{path}?fieldManager=maker"), &[], object).await;
    assert!(status.is_success(), "{made}");
    let entries = made["metadata"]["managedFields"].as_array().unwrap();
    entries.iter().find(|entry| entry["manager"] == "maker").map(|entry| entry["fieldsV1"].clone()).unwrap_or_default()
}

fn names(fields: &Value) -> Vec<&str> {
    fields.as_object().into_iter().flatten().map(|(name, _)| name.as_str()).collect()
}

const PODS: &str = "/api/v1/namespaces/default/pods";

#[tokio::test]
async fn a_pods_defaults_are_its_makers_and_what_admission_adds_is_not() {
    let api = Api::start().await;
    let plain = json!({"metadata": {"name": "a"}, "spec": {"containers": [{"name": "c", "image": "i"}]}});
    let fields = owned(&api, PODS, plain).await;
    assert_eq!(
        names(&fields["f:spec"]),
        [
            "f:containers",
            "f:dnsPolicy",
            "f:enableServiceLinks",
            "f:restartPolicy",
            "f:schedulerName",
            "f:securityContext",
            "f:terminationGracePeriodSeconds"
        ]
    );
    let says = json!({"metadata": {"name": "b"}, "spec": {"containers": [{"name": "c", "image": "i"}],
        "serviceAccountName": "default", "priorityClassName": "system-node-critical", "preemptionPolicy": "PreemptLowerPriority"}});
    let fields = owned(&api, PODS, says).await;
    let said = names(&fields["f:spec"]);
    for field in ["f:serviceAccountName", "f:serviceAccount", "f:priorityClassName", "f:preemptionPolicy"] {
        assert!(said.contains(&field), "{field}: {said:?}");
    }
    assert!(!said.contains(&"f:priority"), "{said:?}");
}

#[tokio::test]
async fn the_selector_and_the_labels_of_a_job_are_its_own() {
    let api = Api::start().await;
    let template = json!({"spec": {"restartPolicy": "Never", "containers": [{"name": "c", "image": "i"}]}});
    let job = |name: &str, template: &Value| json!({"metadata": {"name": name}, "spec": {"template": template}});
    let path = "/apis/batch/v1/namespaces/default/jobs";
    let fields = owned(&api, path, job("a", &template)).await;
    assert!(!names(&fields["f:spec"]).contains(&"f:selector"), "{fields}");
    assert_eq!(names(&fields["f:spec"]["f:template"]), ["f:spec"]);
    let mut labelled = template;
    labelled["metadata"] = json!({"labels": {"mine": "1"}});
    let fields = owned(&api, path, job("b", &labelled)).await;
    let labels = &fields["f:spec"]["f:template"]["f:metadata"]["f:labels"];
    assert_eq!(names(labels), [".", "f:mine"]);
}

#[tokio::test]
async fn the_addresses_of_a_service_are_its_own_unless_its_maker_says_them() {
    let api = Api::start().await;
    let path = "/api/v1/namespaces/default/services";
    let service = |name: &str, spec: Value| json!({"metadata": {"name": name}, "spec": spec});
    let fields = owned(&api, path, service("a", json!({"ports": [{"port": 80}]}))).await;
    let plain = ["f:internalTrafficPolicy", "f:ports", "f:sessionAffinity", "f:type"];
    assert_eq!(names(&fields["f:spec"]), plain);
    let says = json!({"ports": [{"port": 80}], "clusterIP": "None", "ipFamilyPolicy": "SingleStack"});
    let fields = owned(&api, path, service("b", says)).await;
    let said = names(&fields["f:spec"]);
    assert!(said.contains(&"f:clusterIP") && said.contains(&"f:ipFamilyPolicy"), "{said:?}");
    assert!(!said.contains(&"f:clusterIPs"), "{said:?}");
}

#[tokio::test]
async fn whoever_asks_for_a_certificate_has_no_say_in_the_request_afterwards() {
    let api = Api::start().await;
    let spec = json!({"request": "LS0tLS0=", "signerName": "example.com/signer", "usages": ["client auth"]});
    let request = json!({"metadata": {"name": "one", "labels": {"a": "b"}}, "spec": spec});
    let fields = owned(&api, "/apis/certificates.k8s.io/v1/certificatesigningrequests", request).await;
    assert_eq!(names(&fields), ["f:metadata"]);
}
