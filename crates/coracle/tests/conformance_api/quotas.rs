//! ResourceQuotas: as objects, and what they count and refuse.

use http::StatusCode;
use serde_json::{Value, json};

use crate::world::{World, names};

const QUOTAS: &str = "/api/v1/namespaces/default/resourcequotas";

fn quota(name: &str) -> Value {
    json!({"metadata": {"name": name, "labels": {"set": "a"}}, "spec": {"hard": {"cpu": "1", "memory": "500Mi"}}})
}

#[tokio::test]
async fn a_quota_is_updated_patched_and_deleted() {
    let world = World::new().await;
    world.make(QUOTAS, quota("q")).await;
    // It is counted once, and then by a change alone.
    let counted = |_, quota: &Value| quota["status"]["used"].is_object();
    let mut made = world.until(&format!("{QUOTAS}/q"), counted).await;
    made["spec"]["hard"] = json!({"cpu": "2", "memory": "1Gi"});
    assert_eq!(world.put(&format!("{QUOTAS}/q"), &made).await["spec"]["hard"]["cpu"], "2");
    let patched = world.patch(&format!("{QUOTAS}/q"), json!({"spec": {"hard": {"cpu": "3"}}})).await;
    assert_eq!(patched["spec"]["hard"], json!({"cpu": "3", "memory": "1Gi"}));
    assert_eq!(names(&world.found("/api/v1/resourcequotas?labelSelector=set%3Da").await), ["q"]);
    world.delete(&format!("{QUOTAS}?labelSelector=set%3Da"), Value::Null).await;
    assert_eq!(world.get(&format!("{QUOTAS}/q")).await.0, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn the_status_of_a_quota_changes_by_itself() {
    let world = World::new().await;
    world.make(QUOTAS, quota("q")).await;
    let counted = |_, quota: &Value| quota["status"]["used"].is_object();
    world.until(&format!("{QUOTAS}/q"), counted).await;
    let at = format!("{QUOTAS}/q/status");
    let hard = json!({"cpu": "1", "memory": "500Mi"});
    let mut own = world.found(&at).await;
    own["status"]["hard"] = hard.clone();
    own["spec"]["hard"]["cpu"] = json!("9");
    let updated = world.put(&at, &own).await;
    assert_eq!((&updated["status"]["hard"], &updated["spec"]["hard"]), (&hard, &hard), "the spec is another resource");
    let patched = world.patch(&at, json!({"status": {"hard": {"cpu": "2"}}, "spec": {"hard": {"cpu": "2"}}})).await;
    assert_eq!((&patched["status"]["hard"]["cpu"], &patched["spec"]["hard"]["cpu"]), (&json!("2"), &json!("1")));
}

/// A namespace with a quota that has been counted.
async fn with_quota(spec: Value) -> World {
    let world = World::new().await;
    world.namespace("team").await;
    world.make(&at("resourcequotas"), json!({"metadata": {"name": "q"}, "spec": spec})).await;
    world.until(&at("resourcequotas/q"), |_, quota: &Value| quota["status"]["used"].is_object()).await;
    world
}

fn at(what: &str) -> String {
    format!("/api/v1/namespaces/team/{what}")
}

/// Resolves when the quota says so.
async fn uses(world: &World, name: &str, amount: &str) {
    world.until(&at("resourcequotas/q"), |_, quota: &Value| quota["status"]["used"][name] == amount).await;
}

/// What must be refused by the quota.
async fn exceeds(world: &World, path: &str, object: Value, said: &str) {
    let (status, failure) = world.post(path, object).await;
    assert_eq!(status, StatusCode::FORBIDDEN, "{failure}");
    let message = failure["message"].as_str().unwrap();
    assert!(message.contains("is forbidden: ") && message.contains(said), "{message}");
}

#[tokio::test]
async fn what_is_used_is_counted_soon_after_a_quota_is_made() {
    let world =
        with_quota(json!({"hard": {"resourcequotas": "1", "services": "5", "count/deployments.apps": "2"}})).await;
    uses(&world, "resourcequotas", "1").await;
    let quota = world.found(&at("resourcequotas/q")).await;
    assert_eq!(quota["status"]["hard"], quota["spec"]["hard"]);
    assert_eq!(quota["status"]["used"]["count/deployments.apps"], "0");
}

/// One object of a kind comes, one too many is refused, and it goes.
async fn life(resource: &str, path: &str, object: impl Fn(&str) -> Value) {
    let world = with_quota(json!({"hard": {resource: "1"}})).await;
    world.make(path, object("one")).await;
    uses(&world, resource, "1").await;
    let said = format!("exceeded quota: q, requested: {resource}=1, used: {resource}=1, limited: {resource}=1");
    exceeds(&world, path, object("two"), &said).await;
    world.delete(&format!("{path}/one"), json!({})).await;
    uses(&world, resource, "0").await;
    world.make(path, object("two")).await;
}

#[tokio::test]
async fn the_life_of_a_config_map_is_counted() {
    life("configmaps", &at("configmaps"), |name| json!({"metadata": {"name": name}})).await;
}

#[tokio::test]
async fn the_life_of_a_secret_is_counted() {
    life("secrets", &at("secrets"), |name| json!({"metadata": {"name": name}})).await;
}

#[tokio::test]
async fn the_life_of_a_replica_set_is_counted() {
    let template = json!({"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "c", "image": "i"}]}});
    let set = |name: &str| json!({"metadata": {"name": name}, "spec": {"replicas": 0, "selector": {"matchLabels": {"a": "b"}}, "template": template}});
    life("count/replicasets.apps", "/apis/apps/v1/namespaces/team/replicasets", set).await;
}

#[tokio::test]
async fn the_life_of_a_replication_controller_is_counted() {
    let template = json!({"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "c", "image": "i"}]}});
    let controller = |name: &str| json!({"metadata": {"name": name}, "spec": {"replicas": 0, "template": template}});
    life("replicationcontrollers", &at("replicationcontrollers"), controller).await;
}

#[tokio::test]
async fn the_life_of_a_service_is_counted() {
    let hard = json!({"services": "3", "services.nodeports": "1", "services.loadbalancers": "1"});
    let world = with_quota(json!({"hard": hard})).await;
    let service =
        |name: &str, kind: &str| json!({"metadata": {"name": name}, "spec": {"type": kind, "ports": [{"port": 80}]}});
    let services = at("services");
    world.make(&services, service("plain", "ClusterIP")).await;
    world.make(&services, service("node", "NodePort")).await;
    uses(&world, "services", "2").await;
    uses(&world, "services.nodeports", "1").await;
    let said =
        "exceeded quota: q, requested: services.nodeports=1, used: services.nodeports=1, limited: services.nodeports=1";
    exceeds(&world, &services, service("balancer", "LoadBalancer"), said).await;
    let change = json!({"spec": {"type": "NodePort"}});
    let (status, _) =
        world.ask("PATCH", &format!("{services}/plain"), &[("content-type", crate::world::MERGE)], &change).await;
    assert_eq!(status, StatusCode::FORBIDDEN, "an update that uses more is refused too");
    for name in ["plain", "node"] {
        world.delete(&format!("{services}/{name}"), json!({})).await;
    }
    uses(&world, "services", "0").await;
    uses(&world, "services.nodeports", "0").await;
}

fn pod(name: &str, resources: &Value, more: &Value) -> Value {
    let mut spec = json!({"containers": [{"name": "c", "image": "i", "resources": resources}]});
    for (field, value) in more.as_object().into_iter().flatten() {
        spec[field] = value.clone();
    }
    json!({"metadata": {"name": name}, "spec": spec})
}

#[tokio::test]
async fn the_life_of_a_pod_is_counted() {
    let world =
        with_quota(json!({"hard": {"pods": "5", "cpu": "1", "memory": "500Mi", "requests.example.com/dongle": "3"}}))
            .await;
    let (pods, none) = (at("pods"), json!({}));
    let wants = |cpu: &str, dongles: &str| json!({"requests": {"cpu": cpu, "memory": "252Mi", "example.com/dongle": dongles}, "limits": {"example.com/dongle": dongles}});
    let (status, _) = world.post(&format!("{pods}?dryRun=All"), pod("trial", &wants("500m", "2"), &none)).await;
    assert_eq!(status, StatusCode::CREATED);
    world.make(&pods, pod("one", &wants("500m", "2"), &none)).await;
    for (name, amount) in [("pods", "1"), ("cpu", "500m"), ("memory", "252Mi"), ("requests.example.com/dongle", "2")] {
        uses(&world, name, amount).await;
    }
    exceeds(&world, &pods, pod("two", &wants("600m", "1"), &none), "requested: cpu=600m,memory=252Mi").await;
    let said = "requested: requests.example.com/dongle=2, used: requests.example.com/dongle=2";
    let small = json!({"requests": {"cpu": "1m", "memory": "1Mi", "example.com/dongle": "2"}, "limits": {"example.com/dongle": "2"}});
    exceeds(&world, &pods, pod("two", &small, &none), said).await;
    let said = "failed quota: q: must specify cpu for: c; memory for: c";
    exceeds(&world, &pods, pod("two", &none, &none), said).await;
    world.delete(&format!("{pods}/one"), json!({"gracePeriodSeconds": 0})).await;
    uses(&world, "pods", "0").await;
    uses(&world, "cpu", "0").await;
}

/// Two quotas with opposite scopes, and a pod of either sort: each is counted by its own quota alone.
async fn scopes(first: &str, second: &str, pods: [Value; 2]) {
    let world = World::new().await;
    world.namespace("team").await;
    let quotas = at("resourcequotas");
    for (name, scope) in [("first", first), ("second", second)] {
        let spec = json!({"hard": {"pods": "5"}, "scopes": [scope]});
        world.make(&quotas, json!({"metadata": {"name": name}, "spec": spec})).await;
    }
    for (pod, uses) in pods.into_iter().zip([["1", "0"], ["0", "1"]]) {
        let path = format!("{}/{}", at("pods"), pod["metadata"]["name"].as_str().unwrap());
        world.make(&at("pods"), pod).await;
        for (name, amount) in ["first", "second"].into_iter().zip(uses) {
            let used = |_, quota: &Value| quota["status"]["used"]["pods"] == amount;
            world.until(&format!("{quotas}/{name}"), used).await;
        }
        world.delete(&path, json!({"gracePeriodSeconds": 0})).await;
        for name in ["first", "second"] {
            world.until(&format!("{quotas}/{name}"), |_, quota: &Value| quota["status"]["used"]["pods"] == "0").await;
        }
    }
}

#[tokio::test]
async fn a_quota_of_best_effort_counts_pods_that_ask_for_nothing() {
    let sized = json!({"requests": {"cpu": "100m"}, "limits": {"cpu": "100m"}});
    let none = json!({});
    scopes("BestEffort", "NotBestEffort", [pod("plain", &none, &none), pod("sized", &sized, &none)]).await;
}

#[tokio::test]
async fn a_quota_of_what_terminates_counts_pods_with_a_deadline() {
    let none = json!({});
    let ends = json!({"activeDeadlineSeconds": 3600});
    scopes("Terminating", "NotTerminating", [pod("job", &none, &ends), pod("service", &none, &none)]).await;
}

#[tokio::test]
async fn a_controller_whose_pods_exceed_a_quota_says_so_until_they_do_not() {
    let world = with_quota(json!({"hard": {"pods": "2"}})).await;
    let template = json!({"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "c", "image": "i"}]}});
    let controllers = at("replicationcontrollers");
    world.make(&controllers, json!({"metadata": {"name": "r"}, "spec": {"replicas": 3, "template": template}})).await;
    let path = format!("{controllers}/r");
    let failed = |_, of: &Value| {
        let condition = &of["status"]["conditions"][0];
        condition["type"] == "ReplicaFailure"
            && condition["message"].as_str().is_some_and(|said| said.contains("exceeded quota: q"))
    };
    world.until(&path, failed).await;
    world.patch(&path, json!({"spec": {"replicas": 2}})).await;
    let well = |_, of: &Value| of["status"]["replicas"] == 2 && of["status"].get("conditions").is_none();
    world.until(&path, well).await;
}
