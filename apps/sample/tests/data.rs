//! What is kept: items in the database, values in the cache, and keys by their digests.

#![allow(clippy::unwrap_used, reason = "a failed step of a test is its failure")]

mod support;

use reqwest::Method;
use serde_json::{Value, json};
use service::config::Secret;
use support::{Sample, Who, config};

#[tokio::test]
async fn an_item_is_everybodys_to_read_and_its_owners_to_change() {
    let sample = Sample::start().await;
    let (ann, bob) = (sample.user("ann").await, sample.user("bob").await);
    let request = sample.request(Method::POST, "/items", &ann).json(&json!({"name": "cup", "description": "blue"}));
    let response = request.send().await.unwrap();
    assert_eq!(response.status(), 201);
    let path = response.headers()["location"].to_str().unwrap().to_owned();
    let made: Value = response.json().await.unwrap();
    assert_eq!(sample.get(&path, &Who::Nobody).await.1, made);

    let change = json!({"name": "mug"});
    assert_eq!(sample.send(Method::PUT, &path, &bob, Some(&change)).await.0, 403);
    let (status, changed) = sample.send(Method::PUT, &path, &sample.key(&ann).await.0, Some(&change)).await;
    assert_eq!((status.as_u16(), &changed["name"], &changed["description"]), (200, &json!("mug"), &json!("")));
    assert_eq!(changed["created_at"], made["created_at"]);
    assert_eq!(sample.send(Method::DELETE, &path, &bob, None).await.0, 403);
    assert_eq!(sample.send(Method::DELETE, &path, &sample.admin().await, None).await.0, 204);
    assert_eq!(sample.send(Method::DELETE, &path, &ann, None).await.0, 404);
}

#[tokio::test]
async fn a_list_comes_page_by_page() {
    let sample = Sample::start().await;
    let ann = sample.user("ann").await;
    for n in 0..5 {
        sample.post("/items", &ann, &json!({"name": n.to_string()})).await;
    }
    let mut names = Vec::new();
    let mut path = "/items?limit=2".to_owned();
    loop {
        let page = sample.get(&path, &Who::Nobody).await.1;
        names.extend(page["items"].as_array().unwrap().iter().map(|item| item["name"].as_str().unwrap().to_owned()));
        let Some(next) = page["next"].as_str() else { break };
        path = format!("/items?limit=2&after={next}");
    }
    assert_eq!(names, ["0", "1", "2", "3", "4"]);
    assert_eq!(sample.get("/items?limit=0", &Who::Nobody).await.0, 422);
    assert_eq!(sample.get("/items?color=red", &Who::Nobody).await.0, 400);
}

#[tokio::test]
async fn a_key_is_shown_once_and_good_until_it_is_revoked() {
    let sample = Sample::start().await;
    let ann = sample.user("ann").await;
    let (key, id) = sample.key(&ann).await;
    assert_eq!(sample.get("/protected/api-key", &key).await.1["api_key_id"], id.as_str());
    let Who::Key(secret) = &key else { unreachable!() };
    let list = sample.get("/auth/api-keys", &ann).await.1;
    assert!(list["api_keys"][0]["revoked_at"].is_null() && !list.to_string().contains(secret.as_str()), "{list}");
    let path = format!("/auth/api-keys/{id}");
    assert_eq!(sample.send(Method::DELETE, &path, &sample.user("bob").await, None).await.0, 404, "it is not bob's");
    assert_eq!(sample.send(Method::DELETE, &path, &ann, None).await.0, 204);
    assert_eq!(sample.get("/protected/api-key", &key).await.0, 401);
    assert_eq!(sample.send(Method::DELETE, &path, &ann, None).await.0, 404);
}

#[tokio::test]
async fn a_value_is_kept_for_its_time() {
    let sample = Sample::start().await;
    let ann = sample.user("ann").await;
    let put = |value: Value| sample.send(Method::PUT, "/cache/greeting", &ann, Some(Box::leak(Box::new(value))));
    assert_eq!(put(json!({"value": "hello", "ttl_seconds": 60})).await.0, 201);
    assert_eq!(put(json!({"value": "good day"})).await.0, 200);
    let (status, found) = sample.get("/cache/greeting", &ann).await;
    assert_eq!((status.as_u16(), &found["value"], &found["ttl_seconds"]), (200, &json!("good day"), &json!(300)));
    assert_eq!(sample.send(Method::DELETE, "/cache/greeting", &ann, None).await.0, 204);
    assert_eq!(sample.get("/cache/greeting", &ann).await.0, 404);
    assert_eq!(put(json!({"value": "x", "ttl_seconds": 0})).await.0, 422);
    assert_eq!(sample.get("/cache/a%20b", &ann).await.0, 400);
}

#[tokio::test]
async fn what_is_in_a_file_is_there_after_a_restart() {
    let directory = tempfile::tempdir().unwrap();
    let url = format!("sqlite:{}", directory.path().join("sample.db").display());
    let config = sample::Config { database: Secret::new(url), ..config() };
    let sample = Sample::with(&config).await;
    let ann = sample.user("ann").await;
    let item = sample.post("/items", &ann, &json!({"name": "cup"})).await.1;
    drop(sample);
    let sample = Sample::with(&config).await;
    assert_eq!(sample.get("/items", &Who::Nobody).await.1["items"][0], item);
    assert_eq!(sample.get("/auth/me", &ann).await.0, 200, "the keys that sign are the same");
    assert_eq!(
        sample.post("/auth/register", &Who::Nobody, &json!({"username": "ann", "password": "another one"})).await.0,
        409
    );
}

#[tokio::test]
async fn a_cache_that_is_away_is_told_and_the_rest_works() {
    // Port 9 discards, and nobody listens on it here.
    let config = sample::Config { redis: Some(Secret::new("redis://127.0.0.1:9")), ..config() };
    let sample = Sample::with(&config).await;
    let ann = sample.user("ann").await;
    assert_eq!(sample.get("/cache/greeting", &ann).await.0, 503);
    let (status, ready) = sample.get("/ready", &Who::Nobody).await;
    assert_eq!((status.as_u16(), &ready["checks"]["cache"]["status"]), (200, &json!("failed")), "{ready}");
    assert_eq!(sample.get("/items", &ann).await.0, 200);
}

#[tokio::test]
async fn texts_are_what_they_are_to_the_database() {
    let sample = Sample::start().await;
    let ann = sample.user("ann").await;
    for name in ["'; DROP TABLE items; --", "\u{202e}naïve 🐱", "$1", "%00"] {
        let item = sample.post("/items", &ann, &json!({"name": name})).await.1;
        assert_eq!(item["name"], name);
    }
    assert_eq!(sample.post("/items", &ann, &json!({"name": "a\0b"})).await.0, 422);
    assert_eq!(sample.post("/items", &ann, &json!({"name": "x".repeat(101)})).await.0, 422);
    assert_eq!(
        sample.post("/auth/register", &Who::Nobody, &json!({"username": "Ann", "password": "long enough"})).await.0,
        422
    );
}
