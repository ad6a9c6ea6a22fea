//! What a client finds out about the server before it asks for anything.

use http::StatusCode;
use serde_json::{Value, json};

use crate::world::World;

const AGGREGATED: &str = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList";

#[tokio::test]
async fn the_version_is_made_of_numbers() {
    let version = World::new().await.found("/version").await;
    for part in ["major", "minor"] {
        assert!(version[part].as_str().unwrap().parse::<u32>().is_ok(), "{version}");
    }
    assert!(version["gitVersion"].as_str().unwrap().starts_with("v1."), "{version}");
}

#[tokio::test]
async fn every_group_has_a_preferred_version_that_is_one_of_its_versions() {
    let world = World::new().await;
    for group in world.found("/apis").await["groups"].as_array().unwrap() {
        let name = group["name"].as_str().unwrap();
        let own = world.found(&format!("/apis/{name}")).await;
        assert_eq!(own["preferredVersion"], group["preferredVersion"], "{name}");
        assert!(own["versions"].as_array().unwrap().contains(&own["preferredVersion"]), "{own}");
    }
}

#[tokio::test]
async fn every_group_lists_its_resources_under_its_own_name() {
    let world = World::new().await;
    let groups = world.found("/apis").await;
    for version in groups["groups"].as_array().unwrap().iter().flat_map(|group| group["versions"].as_array().unwrap()) {
        let at = version["groupVersion"].as_str().unwrap();
        let list = world.found(&format!("/apis/{at}")).await;
        assert_eq!((&list["kind"], &list["groupVersion"]), (&"APIResourceList".into(), &at.into()));
        assert!(!list["resources"].as_array().unwrap().is_empty(), "{at}");
    }
    assert_eq!(world.get("/apis/none.example").await.0, StatusCode::NOT_FOUND);
}

/// The resources of a group and version of the aggregated form.
fn resources<'a>(document: &'a Value, group: &str, version: &str) -> Vec<&'a str> {
    let groups = document["items"].as_array().unwrap();
    let group = groups.iter().find(|item| item["metadata"]["name"].as_str().unwrap_or_default() == group).unwrap();
    let version = group["versions"].as_array().unwrap().iter().find(|v| v["version"] == version).unwrap();
    version["resources"].as_array().unwrap().iter().map(|resource| resource["resource"].as_str().unwrap()).collect()
}

#[tokio::test]
async fn everything_is_found_in_one_answer_of_the_form_that_was_asked_for() {
    let world = World::new().await;
    let older = AGGREGATED.replace("v=v2", "v=v2beta1");
    for (accept, version) in [(AGGREGATED, "v2"), (older.as_str(), "v2beta1")] {
        for (path, group, wanted) in [("/api", "", "pods"), ("/apis", "apps", "deployments")] {
            let (status, headers, bytes) = world.raw("GET", path, &[("accept", accept)], Vec::new()).await;
            assert_eq!((status, headers["content-type"].to_str().unwrap()), (StatusCode::OK, accept));
            let document: Value = serde_json::from_slice(&bytes).unwrap();
            assert_eq!(document["apiVersion"], format!("apidiscovery.k8s.io/{version}"));
            assert!(resources(&document, group, "v1").contains(&wanted), "{path}");
            let tag = headers["etag"].to_str().unwrap();
            let again = world.raw("GET", path, &[("accept", accept), ("if-none-match", tag)], Vec::new()).await;
            assert_eq!((again.0, again.2.len()), (StatusCode::NOT_MODIFIED, 0));
        }
    }
    let both =
        format!("application/json;g=apidiscovery.k8s.io;v=v9;as=APIGroupDiscoveryList,{AGGREGATED},application/json");
    let (_, headers, _) = world.raw("GET", "/apis", &[("accept", &both)], Vec::new()).await;
    assert_eq!(headers["content-type"], AGGREGATED, "the first form that is known");
    let (_, plain) = world.ask("GET", "/apis", &[("accept", "application/json")], &Value::Null).await;
    assert_eq!(plain["kind"], "APIGroupList");
}

#[tokio::test]
async fn both_forms_of_discovery_name_the_same_resources() {
    let world = World::new().await;
    let (_, document) = world.ask("GET", "/apis", &[("accept", AGGREGATED)], &Value::Null).await;
    for group in world.found("/apis").await["groups"].as_array().unwrap() {
        for version in group["versions"].as_array().unwrap() {
            let (group, version) = (group["name"].as_str().unwrap(), version["version"].as_str().unwrap());
            let list = world.found(&format!("/apis/{group}/{version}")).await;
            let listed =
                list["resources"].as_array().unwrap().iter().map(|resource| resource["name"].as_str().unwrap());
            let listed: Vec<&str> = listed.filter(|name| !name.contains('/')).collect();
            assert_eq!(resources(&document, group, version), listed, "{group}/{version}");
        }
    }
}

#[tokio::test]
async fn documents_are_not_sent_again_to_whoever_has_them_and_are_packed() {
    let world = World::new().await;
    for path in ["/api", "/apis", "/api/v1", "/apis/apps", "/apis/apps/v1", "/openapi/v3"] {
        let (_, headers, bytes) = world.raw("GET", path, &[("accept", "application/json")], Vec::new()).await;
        let tag = headers["etag"].to_str().unwrap();
        let again = world.raw("GET", path, &[("if-none-match", tag)], Vec::new()).await;
        assert_eq!((again.0, again.2.len()), (StatusCode::NOT_MODIFIED, 0), "{path}");
        let (_, headers, packed) = world.raw("GET", path, &[("accept-encoding", "gzip")], Vec::new()).await;
        if bytes.len() > 10_000 {
            assert_eq!(headers["content-encoding"], "gzip", "{path}");
            assert!(packed.len() < bytes.len() / 2, "{path}");
        }
    }
}

#[tokio::test]
async fn the_older_form_of_a_watch_is_one() {
    let world = World::new().await;
    world.make("/api/v1/namespaces/default/configmaps", json!({"metadata": {"name": "c"}})).await;
    for path in ["/api/v1/watch/configmaps", "/api/v1/watch/namespaces/default/configmaps/c"] {
        assert_eq!(world.watch(path, "").await.brief().await, "ADDED c", "{path}");
    }
    assert_eq!(
        world
            .watch(
                "/apis/apps/v1/watch/deployments",
                "sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true"
            )
            .await
            .brief()
            .await,
        "BOOKMARK -"
    );
}
