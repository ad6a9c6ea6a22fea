//! What happens to what a deleted object owns.

use http::StatusCode;
use serde_json::{Value, json};

use crate::world::{World, names};

const DEPLOYMENTS: &str = "/apis/apps/v1/namespaces/default/deployments";
const SETS: &str = "/apis/apps/v1/namespaces/default/replicasets";
const MAPS: &str = "/api/v1/namespaces/default/configmaps";

async fn with_deployment() -> (World, String) {
    let world = World::new().await;
    let template =
        json!({"metadata": {"labels": {"app": "web"}}, "spec": {"containers": [{"name": "c", "image": "i"}]}});
    let deployment = json!({"metadata": {"name": "web"},
        "spec": {"replicas": 1, "selector": {"matchLabels": {"app": "web"}}, "template": template}});
    world.make(DEPLOYMENTS, deployment).await;
    let status = |_, d: &Value| d["status"]["replicas"] == 1;
    world.until(&format!("{DEPLOYMENTS}/web"), status).await;
    let sets = world.found(SETS).await;
    let name = names(&sets)[0].to_owned();
    (world, name)
}

#[tokio::test]
async fn in_the_background_what_is_owned_goes_after_its_owner() {
    let (world, set) = with_deployment().await;
    world.delete(&format!("{DEPLOYMENTS}/web"), json!({"propagationPolicy": "Background"})).await;
    world.until_gone(&format!("{SETS}/{set}")).await;
    let pods = "/api/v1/namespaces/default/pods";
    let pod = world.found(pods).await["items"][0]["metadata"]["name"].as_str().map(str::to_owned);
    if let Some(pod) = pod {
        world.until_gone(&format!("{pods}/{pod}")).await;
    }
}

#[tokio::test]
async fn orphans_stay_and_name_no_owner() {
    let (world, set) = with_deployment().await;
    world.delete(&format!("{DEPLOYMENTS}/web"), json!({"propagationPolicy": "Orphan"})).await;
    world.until_gone(&format!("{DEPLOYMENTS}/web")).await;
    let orphan = world.found(&format!("{SETS}/{set}")).await;
    assert_eq!(orphan["metadata"].get("ownerReferences"), None, "{orphan}");
}

fn owner(object: &Value, blocks: bool) -> Value {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "name": object["metadata"]["name"], "uid": object["metadata"]["uid"],
        "blockOwnerDeletion": blocks})
}

#[tokio::test]
async fn owners_in_a_circle_do_not_block_each_other() {
    let world = World::new().await;
    let mut made = Vec::new();
    for name in ["one", "two", "three"] {
        made.push(world.make(MAPS, json!({"metadata": {"name": name}})).await);
    }
    for (index, name) in ["one", "two", "three"].iter().enumerate() {
        let owner = owner(&made[(index + 2) % 3], true);
        world.patch(&format!("{MAPS}/{name}"), json!({"metadata": {"ownerReferences": [owner]}})).await;
    }
    let (status, _) = world.delete(&format!("{MAPS}/one"), json!({"propagationPolicy": "Foreground"})).await;
    assert_eq!(status, StatusCode::OK);
    for name in ["one", "two", "three"] {
        world.until_gone(&format!("{MAPS}/{name}")).await;
    }
}

#[tokio::test]
async fn what_has_another_owner_stays() {
    let world = World::new().await;
    let first = world.make(MAPS, json!({"metadata": {"name": "first"}})).await;
    let second = world.make(MAPS, json!({"metadata": {"name": "second"}})).await;
    for (name, owners) in
        [("both", vec![owner(&first, true), owner(&second, false)]), ("alone", vec![owner(&first, true)])]
    {
        world.make(MAPS, json!({"metadata": {"name": name, "ownerReferences": owners}})).await;
    }
    world.delete(&format!("{MAPS}/first"), json!({"propagationPolicy": "Foreground"})).await;
    world.until_gone(&format!("{MAPS}/first")).await;
    assert_eq!(world.get(&format!("{MAPS}/alone")).await.0, StatusCode::NOT_FOUND, "it went before its owner");
    let both = world.found(&format!("{MAPS}/both")).await;
    assert_eq!(both["metadata"].get("deletionTimestamp"), None);
    assert_eq!(both["metadata"]["ownerReferences"].as_array().unwrap().len(), 1);
}
