//! What can be done with the objects of a kind: make, read, list, watch, change, delete, also together; and its status.

use http::StatusCode;
use serde_json::{Value, json};

use crate::world::{World, names};

/// A kind to try: the path of its collection, an object without its name, a change, where it shows, and whether it has a status.
struct Kind {
    path: &'static str,
    object: Value,
    change: Value,
    status: bool,
}

/// Makes, reads, lists, watches, changes and deletes objects of a kind.
async fn operations(kind: Kind) {
    let world = World::new().await;
    let Kind { path, object, change, status } = kind;
    let named = |name: &str| {
        let mut object = object.clone();
        object["metadata"] = json!({"name": name, "labels": {"set": "a"}});
        object
    };
    let selected = format!("{path}?labelSelector=set%3Da");
    let mut watch = world.watch(path, "labelSelector=set%3Da").await;
    world.make(path, named("one")).await;
    assert_eq!(watch.brief().await, "ADDED one");
    assert_eq!(names(&world.found(&selected).await), ["one"]);
    let one = format!("{path}/one");
    let patched = world.patch(&one, json!({"metadata": {"annotations": {"patched": "true"}}})).await;
    assert_eq!(patched["metadata"]["annotations"]["patched"], "true");
    let mut wanted = world.found(&one).await;
    json_patch(&mut wanted, &change);
    let updated = world.put(&one, &wanted).await;
    assert!(contains(&updated, &change), "{change} is not in {updated}");
    if status {
        let shown = world.found(&format!("{one}/status")).await;
        assert_eq!(shown["metadata"]["name"], "one");
        let patched =
            world.patch(&format!("{one}/status"), json!({"metadata": {"annotations": {"status": "patched"}}})).await;
        assert_eq!(patched["metadata"]["annotations"]["status"], "patched");
        let mut own = patched;
        own["metadata"]["annotations"]["status"] = json!("updated");
        let updated = world.put(&format!("{one}/status"), &own).await;
        assert_eq!(updated["metadata"]["annotations"]["status"], "updated");
    }
    world.delete(&one, Value::Null).await;
    world.until_gone(&one).await;
    world.make(path, named("two")).await;
    world.make(path, named("three")).await;
    let (status, said) = world.delete(&selected, Value::Null).await;
    assert_eq!(status, StatusCode::OK, "{said}");
    world.until_gone(&format!("{path}/three")).await;
    assert_eq!(names(&world.found(&selected).await), [""; 0]);
    discovered(&world, path).await;
}

/// Whether discovery lists the resource with every verb.
async fn discovered(world: &World, path: &str) {
    let (root, resource) = path.rsplit_once('/').unwrap();
    let root = root.split("/namespaces/").next().unwrap();
    let list = world.found(root).await;
    let found = list["resources"].as_array().unwrap().iter().find(|one| one["name"] == resource).unwrap();
    for verb in ["create", "get", "list", "watch", "update", "patch", "delete", "deletecollection"] {
        assert!(found["verbs"].as_array().unwrap().contains(&json!(verb)), "{path}: {verb}");
    }
}

fn json_patch(target: &mut Value, change: &Value) {
    match (target, change) {
        (Value::Object(target), Value::Object(change)) => {
            for (key, value) in change {
                json_patch(target.entry(key.clone()).or_insert(Value::Null), value);
            }
        }
        (target, change) => *target = change.clone(),
    }
}

/// Whether a value has everything that another says.
fn contains(value: &Value, part: &Value) -> bool {
    match (value, part) {
        (Value::Object(value), Value::Object(part)) => {
            part.iter().all(|(key, part)| value.get(key).is_some_and(|value| contains(value, part)))
        }
        (value, part) => value == part,
    }
}

#[tokio::test]
async fn config_maps() {
    let change = json!({"data": {"a": "2"}});
    operations(Kind {
        path: "/api/v1/namespaces/default/configmaps",
        object: json!({"data": {"a": "1"}}),
        change,
        status: false,
    })
    .await;
}

#[tokio::test]
async fn service_accounts() {
    let change = json!({"automountServiceAccountToken": true});
    let object = json!({"automountServiceAccountToken": false});
    operations(Kind { path: "/api/v1/namespaces/default/serviceaccounts", object, change, status: false }).await;
}

#[tokio::test]
async fn services() {
    let object = json!({"spec": {"ports": [{"port": 80}]}});
    let change =
        json!({"spec": {"sessionAffinity": "ClientIP", "sessionAffinityConfig": {"clientIP": {"timeoutSeconds": 7}}}});
    operations(Kind { path: "/api/v1/namespaces/default/services", object, change, status: true }).await;
}

#[tokio::test]
async fn endpoints() {
    let subsets =
        |ip: &str| json!({"subsets": [{"addresses": [{"ip": ip}], "ports": [{"port": 80, "protocol": "TCP"}]}]});
    let (object, change) = (subsets("192.0.2.1"), subsets("192.0.2.2"));
    operations(Kind { path: "/api/v1/namespaces/default/endpoints", object, change, status: false }).await;
}

#[tokio::test]
async fn endpoint_slices() {
    let object = json!({"addressType": "IPv4", "endpoints": [{"addresses": ["192.0.2.1"]}], "ports": [{"port": 80}]});
    let change = json!({"endpoints": [{"addresses": ["192.0.2.2"]}]});
    operations(Kind {
        path: "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices",
        object,
        change,
        status: false,
    })
    .await;
}

#[tokio::test]
async fn ingresses() {
    let backend = json!({"service": {"name": "web", "port": {"number": 80}}});
    let object = json!({"spec": {"defaultBackend": backend}});
    let change = json!({"spec": {"ingressClassName": "other"}});
    operations(Kind { path: "/apis/networking.k8s.io/v1/namespaces/default/ingresses", object, change, status: true })
        .await;
}

#[tokio::test]
async fn ingress_classes() {
    let object = json!({"spec": {"controller": "example.com/controller"}});
    let change = json!({"metadata": {"labels": {"more": "yes"}}});
    operations(Kind { path: "/apis/networking.k8s.io/v1/ingressclasses", object, change, status: false }).await;
}

#[tokio::test]
async fn cron_jobs() {
    let template = json!({"spec": {"restartPolicy": "Never", "containers": [{"name": "c", "image": "i"}]}});
    let object = json!({"spec": {"schedule": "@yearly", "jobTemplate": {"spec": {"template": template}}}});
    let change = json!({"spec": {"schedule": "@monthly"}});
    operations(Kind { path: "/apis/batch/v1/namespaces/default/cronjobs", object, change, status: true }).await;
}

#[tokio::test]
async fn pod_disruption_budgets() {
    let object = json!({"spec": {"minAvailable": 1, "selector": {"matchLabels": {"app": "web"}}}});
    let change = json!({"spec": {"minAvailable": 2}});
    operations(Kind { path: "/apis/policy/v1/namespaces/default/poddisruptionbudgets", object, change, status: true })
        .await;
}

#[tokio::test]
async fn flow_schemas() {
    let object =
        json!({"spec": {"matchingPrecedence": 10000, "priorityLevelConfiguration": {"name": "global-default"}}});
    let change = json!({"spec": {"matchingPrecedence": 9000}});
    operations(Kind { path: "/apis/flowcontrol.apiserver.k8s.io/v1/flowschemas", object, change, status: true }).await;
}

#[tokio::test]
async fn priority_level_configurations() {
    let limited = |shares: u32| json!({"nominalConcurrencyShares": shares, "limitResponse": {"type": "Reject"}});
    let object = json!({"spec": {"type": "Limited", "limited": limited(2)}});
    let change = json!({"spec": {"limited": limited(4)}});
    operations(Kind {
        path: "/apis/flowcontrol.apiserver.k8s.io/v1/prioritylevelconfigurations",
        object,
        change,
        status: true,
    })
    .await;
}

#[tokio::test]
async fn validating_admission_policies() {
    let rules =
        json!([{"operations": ["CREATE"], "apiGroups": ["apps"], "apiVersions": ["v1"], "resources": ["deployments"]}]);
    let object =
        json!({"spec": {"matchConstraints": {"resourceRules": rules}, "validations": [{"expression": "true"}]}});
    let change = json!({"spec": {"failurePolicy": "Ignore"}});
    operations(Kind {
        path: "/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicies",
        object,
        change,
        status: true,
    })
    .await;
}

#[tokio::test]
async fn validating_admission_policy_bindings() {
    let object = json!({"spec": {"policyName": "policy", "validationActions": ["Deny"]}});
    let change = json!({"spec": {"validationActions": ["Warn"]}});
    operations(Kind {
        path: "/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicybindings",
        object,
        change,
        status: false,
    })
    .await;
}

const REQUEST: &str = "-----BEGIN CERTIFICATE REQUEST-----\nMIIBATCBqAIBADAPMQ0wCwYDVQQDDAR0ZXN0MFkwEwYHKoZIzj0CAQYIKoZIzj0D\n-----END CERTIFICATE REQUEST-----\n";

#[tokio::test]
async fn certificate_signing_requests() {
    use base64::Engine;
    let request = base64::engine::general_purpose::STANDARD.encode(REQUEST);
    let object = json!({"spec": {"request": request, "signerName": "example.com/signer", "usages": ["client auth"]}});
    let change = json!({"metadata": {"labels": {"more": "yes"}}});
    operations(Kind { path: "/apis/certificates.k8s.io/v1/certificatesigningrequests", object, change, status: true })
        .await;
}

fn webhooks(kind: &str) -> Value {
    let rules =
        json!([{"operations": ["CREATE"], "apiGroups": [""], "apiVersions": ["v1"], "resources": ["configmaps"]}]);
    json!({"kind": kind, "apiVersion": "admissionregistration.k8s.io/v1", "metadata": {"name": "one"},
        "webhooks": [{"name": "a.example.com", "rules": rules, "sideEffects": "None", "admissionReviewVersions": ["v1"],
            "failurePolicy": "Ignore", "clientConfig": {"url": "https://127.0.0.1/"},
            "matchConditions": [{"name": "c", "expression": "true"}]}]})
}

const WEBHOOKS: &str = "/apis/admissionregistration.k8s.io/v1";

#[tokio::test]
async fn webhook_configurations_keep_their_match_conditions() {
    let world = World::new().await;
    for (kind, plural) in [
        ("MutatingWebhookConfiguration", "mutatingwebhookconfigurations"),
        ("ValidatingWebhookConfiguration", "validatingwebhookconfigurations"),
    ] {
        let path = format!("{WEBHOOKS}/{plural}");
        let made = world.make(&path, webhooks(kind)).await;
        assert_eq!(made["webhooks"][0]["matchConditions"][0]["expression"], "true");
        let mut changed = made;
        changed["webhooks"][0]["matchConditions"] = json!([{"name": "d", "expression": "object.kind == 'ConfigMap'"}]);
        let changed = world.put(&format!("{path}/one"), &changed).await;
        assert_eq!(changed["webhooks"][0]["matchConditions"][0]["name"], "d");
    }
}

#[tokio::test]
async fn webhook_configurations_whose_match_conditions_do_not_compile_are_refused() {
    let world = World::new().await;
    for (kind, plural) in [
        ("MutatingWebhookConfiguration", "mutatingwebhookconfigurations"),
        ("ValidatingWebhookConfiguration", "validatingwebhookconfigurations"),
    ] {
        let mut wrong = webhooks(kind);
        wrong["webhooks"][0]["matchConditions"] = json!([{"name": "c", "expression": "... [] bad expression"}]);
        let (status, said) = world.post(&format!("{WEBHOOKS}/{plural}"), wrong).await;
        assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY);
        assert_eq!(said["details"]["causes"][0]["field"], "webhooks[0].matchConditions[0].expression");
        assert!(said["message"].as_str().unwrap().contains("compilation failed"), "{said}");
    }
}

#[tokio::test]
async fn webhook_configurations_are_discovered() {
    let world = World::new().await;
    for resource in ["mutatingwebhookconfigurations", "validatingwebhookconfigurations"] {
        discovered(&world, &format!("{WEBHOOKS}/{resource}")).await;
    }
    let groups = world.found("/apis").await;
    assert!(groups["groups"].as_array().unwrap().iter().any(|group| group["name"] == "admissionregistration.k8s.io"));
}

#[tokio::test]
async fn the_status_of_a_service_changes_by_itself() {
    let world = World::new().await;
    let path = "/api/v1/namespaces/default/services";
    let spec = json!({"type": "LoadBalancer", "ports": [{"port": 80}]});
    world.make(path, json!({"metadata": {"name": "s"}, "spec": spec})).await;
    let at = format!("{path}/s/status");
    assert_eq!(world.found(&at).await["status"]["loadBalancer"], json!({}));
    let patched = world.patch(&at, json!({"status": {"loadBalancer": {"ingress": [{"ip": "203.0.113.1"}]}}})).await;
    assert_eq!(patched["status"]["loadBalancer"]["ingress"][0]["ip"], "203.0.113.1");
    let mut own = patched;
    own["status"]["conditions"] = json!([{"type": "StatusUpdate", "status": "True", "reason": "E2E", "message": "set",
        "lastTransitionTime": "2026-01-01T00:00:00Z"}]);
    assert_eq!(world.put(&at, &own).await["status"]["conditions"][0]["type"], "StatusUpdate");
    let labelled = world.patch(&format!("{path}/s"), json!({"metadata": {"labels": {"a": "b"}}})).await;
    assert_eq!(labelled["status"]["conditions"][0]["type"], "StatusUpdate", "the status stays");
}

#[tokio::test]
async fn the_service_of_the_api_is_found_in_all_namespaces() {
    let all = World::new().await.found("/api/v1/services").await;
    let found =
        all["items"].as_array().unwrap().iter().any(|service| {
            service["metadata"]["name"] == "kubernetes" && service["metadata"]["namespace"] == "default"
        });
    assert!(found, "{all}");
}

#[tokio::test]
async fn a_config_map_with_an_empty_key_is_refused() {
    let body = json!({"metadata": {"name": "c"}, "data": {"": "value"}});
    let (status, _) = World::new().await.post("/api/v1/namespaces/default/configmaps", body).await;
    assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY);
}

#[tokio::test]
async fn a_service_has_endpoints_and_slices_of_its_pods() {
    let world = World::new().await;
    let pods = "/api/v1/namespaces/default/pods";
    let pod = json!({"metadata": {"name": "p", "labels": {"app": "web"}}, "spec": {"containers": [{"name": "c", "image": "i"}]}});
    world.make(pods, pod).await;
    let service = json!({"metadata": {"name": "web"}, "spec": {"selector": {"app": "web"}, "ports": [{"port": 80, "targetPort": 8080}]}});
    world.make("/api/v1/namespaces/default/services", service).await;
    let status = json!({"status": {"podIP": "10.42.0.7", "podIPs": [{"ip": "10.42.0.7"}], "phase": "Running",
        "conditions": [{"type": "Ready", "status": "True"}]}});
    world.patch(&format!("{pods}/p/status"), status).await;
    let endpoints = "/api/v1/namespaces/default/endpoints/web";
    let has = |_, e: &Value| e["subsets"][0]["addresses"][0]["ip"] == "10.42.0.7";
    let made = world.until(endpoints, has).await;
    assert_eq!(made["subsets"][0]["ports"][0]["port"], 8080);
    assert_eq!(made["subsets"][0]["addresses"][0]["targetRef"]["name"], "p");
    let slices = world.found("/apis/discovery.k8s.io/v1/namespaces/default/endpointslices?labelSelector=kubernetes.io/service-name%3Dweb").await;
    assert_eq!(slices["items"][0]["endpoints"][0]["addresses"], json!(["10.42.0.7"]));
    world.delete("/api/v1/namespaces/default/services/web", Value::Null).await;
    world.until_gone(endpoints).await;
}

#[tokio::test]
async fn endpoints_that_somebody_writes_are_mirrored() {
    let world = World::new().await;
    let service = json!({"metadata": {"name": "db"}, "spec": {"ports": [{"port": 5432}]}});
    world.make("/api/v1/namespaces/default/services", service).await;
    let path = "/api/v1/namespaces/default/endpoints";
    let subsets = |ip: &str| json!([{"addresses": [{"ip": ip}], "ports": [{"port": 5432}]}]);
    world.make(path, json!({"metadata": {"name": "db"}, "subsets": subsets("192.0.2.1")})).await;
    let slice = "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices/db-mirror-0-ipv4";
    let is = |ip: &'static str| move |_, slice: &Value| slice["endpoints"][0]["addresses"][0] == ip;
    world.until(slice, is("192.0.2.1")).await;
    world.patch(&format!("{path}/db"), json!({"subsets": subsets("192.0.2.2")})).await;
    world.until(slice, is("192.0.2.2")).await;
    world.delete(&format!("{path}/db"), Value::Null).await;
    world.until_gone(slice).await;
}
