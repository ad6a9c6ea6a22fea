//! The service on real databases (Debian's `postgresql` and `redis-server`): everything works there, replicas share it, and what is
//! killed is told of, done without, and used again once it is back.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a failed step of a test is its failure")]

mod support;

use std::{collections::HashSet, time::Duration};

use reqwest::{Method, StatusCode};
use sample::Config;
use serde_json::{Value, json};
use service::config::Secret;
use support::{Sample, Who, config};
use testkit::databases::{Postgres, Redis};
use tokio_util::sync::CancellationToken;

/// How long something may take to come about, on a busy machine.
const PATIENCE: Duration = Duration::from_secs(120);

/// A PostgreSQL and a Redis of the test's own, unless they are not installed.
fn databases() -> Option<(Postgres, Redis)> {
    let started = Postgres::start().unwrap().zip(Redis::start().unwrap());
    if started.is_none() {
        println!("skipped: PostgreSQL or Redis is not installed (apt-get install postgresql redis-server)");
    }
    started
}

fn on(postgres: &Postgres, redis: &Redis) -> Config {
    Config {
        database: Secret::new(postgres.url()),
        redis: Some(Secret::new(redis.url())),
        requests: 10_000_000,
        ..config()
    }
}

/// Waits until `condition` holds.
async fn until(what: &str, mut condition: impl AsyncFnMut() -> bool) {
    let mut ticks = tokio::time::interval(Duration::from_millis(20));
    let wait = async {
        while !condition().await {
            ticks.tick().await;
        }
    };
    tokio::time::timeout(PATIENCE, wait).await.unwrap_or_else(|_| panic!("{what}: not within {PATIENCE:?}"));
}

/// Waits until `/ready` says so of each dependency.
async fn ready(sample: &Sample, database: &str, cache: &str) {
    until(&format!("database {database}, cache {cache}"), async || {
        let (status, told) = sample.get("/ready", &Who::Nobody).await;
        let checks = &told["checks"];
        let expected = if database == "ok" { 200 } else { 503 };
        let fits = checks["database"]["status"] == database && checks["cache"]["status"] == cache;
        assert!(!fits || status == expected, "{told}");
        fits
    })
    .await;
}

async fn put(sample: &Sample, who: &Who, value: &Value) -> StatusCode {
    sample.send(Method::PUT, "/cache/greeting", who, Some(value)).await.0
}

#[tokio::test]
async fn everything_works_on_postgresql_and_redis_and_replicas_share_it() {
    let Some((postgres, redis)) = databases() else { return };
    // Both migrate the empty database and make the first admin: once.
    let config = on(&postgres, &redis);
    let (one, two) = tokio::join!(Sample::with(&config), Sample::with(&config));
    assert_eq!(one.get("/", &Who::Nobody).await.1["cache"], "redis");
    ready(&one, "ok", "ok").await;

    let ann = one.user("ann").await;
    assert_eq!(two.get("/auth/me", &ann).await.1["username"], "ann");
    let again = json!({"username": "ann", "password": "a good password"});
    assert_eq!(two.post("/auth/register", &Who::Nobody, &again).await.0, 409);
    let (key, id) = one.key(&ann).await;
    assert_eq!(two.get("/protected/api-key", &key).await.1["api_key_id"], id.as_str());
    assert_eq!(two.send(Method::DELETE, &format!("/auth/api-keys/{id}"), &ann, None).await.0, 204);
    assert_eq!(one.get("/protected/api-key", &key).await.0, 401);
    assert_eq!(one.get("/protected/admin", &ann).await.0, 403);
    let users = two.get("/admin/users?limit=100", &two.admin().await).await.1;
    assert_eq!(users["users"].as_array().unwrap().len(), 2, "{users}");

    let (status, item) = one.post("/items", &ann, &json!({"name": "'; DROP TABLE items; --"})).await;
    assert_eq!(status, 201, "{item}");
    let path = format!("/items/{}", item["id"].as_str().unwrap());
    assert_eq!(two.get(&path, &Who::Nobody).await.1, item);
    assert_eq!(two.send(Method::PUT, &path, &ann, Some(&json!({"name": "mug"}))).await.1["name"], "mug");
    for n in 0..5 {
        two.post("/items", &ann, &json!({"name": n.to_string()})).await;
    }
    let (mut names, mut next) = (Vec::new(), "/items?limit=2".to_owned());
    loop {
        let page = one.get(&next, &Who::Nobody).await.1;
        names.extend(page["items"].as_array().unwrap().iter().map(|item| item["name"].as_str().unwrap().to_owned()));
        let Some(after) = page["next"].as_str() else { break };
        next = format!("/items?limit=2&after={after}");
    }
    assert_eq!(names, ["mug", "0", "1", "2", "3", "4"]);
    assert_eq!(one.send(Method::DELETE, &path, &ann, None).await.0, 204);
    assert_eq!(two.get(&path, &Who::Nobody).await.0, 404);

    assert_eq!(put(&one, &ann, &json!({"value": "hello", "ttl_seconds": 60})).await, 201);
    assert_eq!(put(&two, &ann, &json!({"value": "good day", "ttl_seconds": 60})).await, 200);
    assert_eq!(one.get("/cache/greeting", &ann).await.1["value"], "good day");
    assert_eq!(two.send(Method::DELETE, "/cache/greeting", &ann, None).await.0, 204);
    assert_eq!(one.get("/cache/greeting", &ann).await.0, 404);
    assert_eq!(put(&one, &ann, &json!({"value": "brief", "ttl_seconds": 1})).await, 201);
    until("the value's time is up", async || two.get("/cache/greeting", &ann).await.0 == 404).await;
}

#[tokio::test]
async fn without_redis_there_is_everything_but_the_cache_until_it_is_back() {
    let Some((postgres, mut redis)) = databases() else { return };
    let sample = Sample::with(&on(&postgres, &redis)).await;
    let ann = sample.user("ann").await;
    for _ in 0..2 {
        assert_eq!(put(&sample, &ann, &json!({"value": "hello"})).await, 201);
        redis.kill().unwrap();
        assert_eq!(sample.get("/cache/greeting", &ann).await.0, 503);
        assert_eq!(put(&sample, &ann, &json!({"value": "hello"})).await, 503);
        ready(&sample, "ok", "failed").await;
        assert_eq!(sample.post("/items", &ann, &json!({"name": "cup"})).await.0, 201);
        sample.login("ann", "a good password").await;
        assert_eq!(sample.get("/health", &Who::Nobody).await.0, 200, "nothing to restart it for");
        redis.restart().unwrap();
        ready(&sample, "ok", "ok").await;
        assert_eq!(sample.get("/cache/greeting", &ann).await.0, 404, "it has forgotten");
    }
}

#[tokio::test]
async fn without_postgresql_there_are_tokens_and_the_cache_until_it_is_back() {
    let Some((postgres, redis)) = databases() else { return };
    let sample = Sample::with(&on(&postgres, &redis)).await;
    let ann = sample.user("ann").await;
    let (key, _) = sample.key(&ann).await;
    let item = sample.post("/items", &ann, &json!({"name": "cup"})).await.1;
    for _ in 0..2 {
        postgres.kill().unwrap();
        until("the database is missed", async || sample.get("/items", &Who::Nobody).await.0 == 503).await;
        ready(&sample, "failed", "ok").await;
        let login = json!({"username": "ann", "password": "a good password"});
        assert_eq!(sample.post("/auth/login", &Who::Nobody, &login).await.0, 503);
        assert_eq!(sample.get("/protected/api-key", &key).await.0, 503, "whether a key is good cannot be known");
        assert_eq!(sample.get("/protected/user", &ann).await.0, 200, "a token speaks for itself");
        let status = put(&sample, &ann, &json!({"value": "hello"})).await;
        assert!(status.is_success(), "{status}");
        assert_eq!(sample.get("/health", &Who::Nobody).await.0, 200);
        postgres.run().unwrap();
        ready(&sample, "ok", "ok").await;
        assert_eq!(sample.get("/items", &Who::Nobody).await.1["items"][0], item);
        assert_eq!(sample.get("/protected/api-key", &key).await.0, 200);
    }
}

#[tokio::test]
async fn guesses_are_counted_over_all_replicas_and_nobody_is_locked_out_while_redis_is_away() {
    let Some((postgres, mut redis)) = databases() else { return };
    let config = Config { logins: 6, ..on(&postgres, &redis) };
    let (one, two) = tokio::join!(Sample::with(&config), Sample::with(&config));
    let wrong = json!({"username": "admin", "password": "not the password"});
    let guess = async |sample: &Sample| sample.post("/auth/login", &Who::Nobody, &wrong).await.0.as_u16();
    let mut told = Vec::new();
    for _ in 0..4 {
        told.extend([guess(&one).await, guess(&two).await]);
    }
    assert_eq!(told, [401, 401, 401, 401, 401, 401, 429, 429]);

    // Each has counted three itself.
    redis.kill().unwrap();
    for replica in [&one, &two] {
        replica.admin().await;
        assert_eq!([guess(replica).await, guess(replica).await, guess(replica).await], [401, 401, 429]);
    }

    redis.restart().unwrap();
    for replica in [&one, &two] {
        ready(replica, "ok", "ok").await;
    }
    // It has forgotten, and counts those that come at once.
    let mut guesses = tokio::task::JoinSet::new();
    for replica in [&one, &two].repeat(10) {
        guesses.spawn(replica.request(Method::POST, "/auth/login", &Who::Nobody).json(&wrong).send());
    }
    let told = guesses.join_all().await;
    assert_eq!(told.into_iter().filter(|answer| answer.as_ref().unwrap().status() == 401).count(), 6);
}

/// A client that makes items until it is told to stop: the names of those that it was told are there.
async fn client(url: String, who: Who, number: usize, stop: CancellationToken) -> Vec<String> {
    let Who::Token(token) = who else { unreachable!() };
    let http = reqwest::Client::new();
    let mut made = Vec::new();
    for n in 0.. {
        if stop.is_cancelled() {
            break;
        }
        let name = format!("{number}-{n}");
        let request = http.post(format!("{url}/items")).bearer_auth(&token).json(&json!({"name": name}));
        let status = request.send().await.unwrap().status();
        assert!([201, 503].contains(&status.as_u16()), "{status}");
        if status == 201 {
            made.push(name);
        }
    }
    made
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn both_are_killed_under_load_and_every_item_that_was_confirmed_is_there_once() {
    let Some((postgres, mut redis)) = databases() else { return };
    let sample = Sample::with(&on(&postgres, &redis)).await;
    let ann = sample.user("ann").await;
    let stop = CancellationToken::new();
    let clients: Vec<_> =
        (0..4).map(|n| tokio::spawn(client(sample.url.clone(), ann.clone(), n, stop.clone()))).collect();
    let status = async || sample.get("/items?limit=1", &Who::Nobody).await.0;
    for _ in 0..2 {
        until("items are made", async || status().await == 200).await;
        postgres.kill().unwrap();
        redis.kill().unwrap();
        ready(&sample, "failed", "failed").await;
        postgres.run().unwrap();
        redis.restart().unwrap();
        ready(&sample, "ok", "ok").await;
    }
    let before = items(&sample).await.len();
    until("more items are made", async || items(&sample).await.len() > before + 10).await;
    stop.cancel();
    let mut confirmed = HashSet::new();
    for client in clients {
        confirmed.extend(client.await.unwrap());
    }
    let items = items(&sample).await;
    let names: HashSet<_> = items.iter().cloned().collect();
    assert_eq!(names.len(), items.len(), "each is there once");
    let lost: Vec<_> = confirmed.difference(&names).collect();
    assert!(lost.is_empty(), "{lost:?}");
    println!("{} items confirmed, {} there", confirmed.len(), names.len());
}

/// The names of all items.
async fn items(sample: &Sample) -> Vec<String> {
    let (mut names, mut path) = (Vec::new(), "/items?limit=100".to_owned());
    loop {
        let (status, page) = sample.get(&path, &Who::Nobody).await;
        assert_eq!(status, 200, "{page}");
        names.extend(page["items"].as_array().unwrap().iter().map(|item| item["name"].as_str().unwrap().to_owned()));
        let Some(after) = page["next"].as_str() else { return names };
        path = format!("/items?limit=100&after={after}");
    }
}
