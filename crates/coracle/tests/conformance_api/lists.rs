//! Lists in pages, and answers in other forms.

use http::StatusCode;
use serde_json::{Value, json};

use crate::world::{World, names};

const MAPS: &str = "/api/v1/namespaces/pages/configmaps";
const SELECTED: &str = "";

async fn filled(count: usize) -> World {
    let world = World::new().await;
    world.namespace("pages").await;
    world.until(&format!("{MAPS}/none"), |status, _| status == StatusCode::NOT_FOUND).await;
    for number in 0..count {
        world.make(MAPS, json!({"metadata": {"name": format!("m{number:03}")}})).await;
    }
    world
}

#[tokio::test]
async fn a_list_is_answered_in_pages_of_one_state() {
    let world = filled(40).await;
    let whole = world.found(MAPS).await;
    let total = names(&whole).len();
    let (mut seen, mut go_on, mut state) = (Vec::new(), String::new(), String::new());
    loop {
        let page = world.found(&format!("{MAPS}?limit=17{SELECTED}{go_on}")).await;
        let meta = &page["metadata"];
        assert!(names(&page).len() <= 17);
        let version = meta["resourceVersion"].as_str().unwrap().to_owned();
        assert!(state.is_empty() || state == version, "all pages are of one version");
        state = version;
        seen.extend(names(&page).into_iter().map(str::to_owned));
        let Some(token) = meta["continue"].as_str().filter(|token| !token.is_empty()) else { break };
        assert_eq!(meta["remainingItemCount"], json!(total - seen.len()));
        go_on = format!("&continue={token}");
    }
    assert_eq!(seen, names(&whole));
}

#[tokio::test]
async fn a_list_whose_state_is_forgotten_goes_on_with_the_present_one() {
    let world = filled(30).await;
    let first = world.found(&format!("{MAPS}?limit=10")).await;
    let token = first["metadata"]["continue"].as_str().unwrap().to_owned();
    let mut writes = 0;
    let gone = loop {
        // How much is remembered is bounded; writes push the old state out.
        for _ in 0..100 {
            world.patch(&format!("{MAPS}/m000"), json!({"data": {"n": writes.to_string()}})).await;
            writes += 1;
        }
        let (status, answer) = world.get(&format!("{MAPS}?limit=10&continue={token}")).await;
        if status == StatusCode::GONE {
            break answer;
        }
        assert!(writes < 50_000, "the state is never forgotten");
    };
    assert_eq!(gone["reason"], "Expired");
    let token = gone["metadata"]["continue"].as_str().unwrap();
    let second = world.found(&format!("{MAPS}?limit=10&continue={token}")).await;
    assert_eq!(names(&second).len(), 10);
    assert_ne!(second["metadata"]["resourceVersion"], first["metadata"]["resourceVersion"]);
    let token = second["metadata"]["continue"].as_str().unwrap();
    let rest = world.found(&format!("{MAPS}?limit=100&continue={token}")).await;
    assert_eq!(rest["metadata"]["resourceVersion"], second["metadata"]["resourceVersion"]);
    assert_eq!(10 + names(&second).len() + names(&rest).len(), names(&world.found(MAPS).await).len());
}

#[tokio::test]
async fn what_has_no_table_is_not_acceptable_as_one() {
    let world = World::new().await;
    let review = json!({"apiVersion": "authorization.k8s.io/v1", "kind": "SelfSubjectAccessReview",
        "spec": {"nonResourceAttributes": {"path": "/", "verb": "get"}}});
    let table = [("accept", "application/json;as=Table;v=v1;g=meta.k8s.io"), ("content-type", "application/json")];
    let (status, said) =
        world.ask("POST", "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews", &table, &review).await;
    assert_eq!((status, &said["reason"]), (StatusCode::NOT_ACCEPTABLE, &json!("NotAcceptable")));
    let (_, list) = world.ask("GET", "/api/v1/namespaces", &table[..1], &Value::Null).await;
    assert_eq!(list["kind"], "Table");
}
