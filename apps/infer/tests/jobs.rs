//! Long tasks: accepted, done, retried, taken back, and found again after a restart.

#![allow(clippy::unwrap_used, reason = "a failed step of a test is its failure")]

mod support;

use std::{sync::atomic::Ordering, time::Duration};

use infer::{Config, jobs::Bounds, rules::Ruleset};
use reqwest::Method;
use serde_json::{Value, json};
use support::{Infer, Risk, asking, config_in, facts, later, soon};

#[tokio::test]
async fn a_job_has_an_address_and_its_result_one_too() {
    let infer = Infer::start().await;
    let request =
        infer.request(Method::POST, "/v1/infer").header("prefer", "respond-async").json(&json!({"facts": facts()}));
    let response = request.send().await.unwrap();
    assert_eq!(response.status(), 202);
    assert_eq!(response.headers()["preference-applied"], "respond-async");
    let location = response.headers()["location"].to_str().unwrap().to_owned();
    let job: Value = response.json().await.unwrap();
    assert_eq!(location, format!("/v1/jobs/{}", job["id"].as_str().unwrap()));
    let job = infer.job(&job["id"], "succeeded").await;
    let (status, decision) = infer.get(job["result"].as_str().unwrap()).await;
    assert_eq!((status.as_u16(), &decision["outputs"]["decision"]), (200, &json!("approve")));
    assert_eq!(decision, infer.post("/v1/infer", &json!({"facts": facts()})).await.1, "the same as at once");
    assert_eq!(infer.send(Method::DELETE, &location, None).await.0, 409);
}

#[tokio::test]
async fn a_batch_is_decided_in_order() {
    let infer = Infer::start().await;
    let list: Vec<_> = (0..50)
        .map(|n| {
            let mut facts = facts();
            facts["amount_cents"] = if n % 2 == 0 { json!(1) } else { json!(900_000) };
            facts
        })
        .collect();
    let (status, job) = infer.post("/v1/batches", &json!({"facts": list})).await;
    assert_eq!((status.as_u16(), &job["items"]), (202, &json!(50)), "{job}");
    let job = infer.job(&job["id"], "succeeded").await;
    let decisions = infer.get(job["result"].as_str().unwrap()).await.1;
    let scores: Vec<_> =
        decisions["decisions"].as_array().unwrap().iter().map(|d| d["outputs"]["score"].as_u64().unwrap()).collect();
    assert!(scores.len() == 50 && scores.chunks(2).all(|pair| pair == [0, 35]), "{scores:?}");
    let (status, problem) = infer.post("/v1/batches", &json!({"facts": [facts(), {}]})).await;
    assert_eq!((status.as_u16(), problem["errors"][0]["field"].as_str()), (422, Some("facts[1]")));
}

#[tokio::test]
async fn the_same_key_is_the_same_job() {
    let infer = Infer::start().await;
    let send = |key: &'static str, body: Value| {
        let request = infer.request(Method::POST, "/v1/batches").header("idempotency-key", key).json(&body);
        async move {
            let response = request.send().await.unwrap();
            (response.status().as_u16(), response.json::<Value>().await.unwrap())
        }
    };
    let first = send("k1", json!({"facts": [facts()]})).await;
    let again = send("k1", json!({"facts": [facts()]})).await;
    assert_eq!((first.0, again.0, &first.1["id"]), (202, 202, &again.1["id"]));
    assert_eq!(send("k1", json!({"facts": [facts(), facts()]})).await.0, 409);
    assert_ne!(send("k2", json!({"facts": [facts()]})).await.1["id"], first.1["id"]);
    assert_eq!(send("k 3", json!({"facts": [facts()]})).await.0, 400);
    let list = infer.get("/v1/jobs?limit=1").await.1;
    assert_eq!(list["jobs"].as_array().unwrap().len(), 1);
    let next = infer.get(&format!("/v1/jobs?before={}", list["next"].as_str().unwrap())).await.1;
    assert_eq!((&next["jobs"][0]["id"], &next["next"]), (&first.1["id"], &Value::Null));
}

#[tokio::test]
async fn a_job_whose_source_fails_is_tried_again_and_in_the_end_a_dead_letter_that_can_be_revived() {
    let (risk, url) = Risk::start(2).await;
    let infer = Infer::with(&Config { retries: soon(), ..Config::default() }, asking(&url)).await;
    risk.may_answer.notify_one();
    let (_, job) = infer.post("/v1/infer", &later()).await;
    assert_eq!(infer.job(&job["id"], "succeeded").await["attempts"], 3);

    risk.failures.store(3, Ordering::SeqCst);
    let (_, job) = infer.post("/v1/infer", &later()).await;
    let dead = infer.job(&job["id"], "failed").await;
    assert!(dead["attempts"] == 3 && dead["error"].as_str().unwrap().contains("risk"), "{dead}");
    let id = job["id"].as_str().unwrap();
    let (status, problem) = infer.get(&format!("/v1/jobs/{id}/result")).await;
    assert_eq!((status.as_u16(), &problem["state"]), (409, &json!("failed")));
    assert_eq!(infer.get("/v1/jobs?state=failed").await.1["jobs"][0]["id"], id);
    risk.may_answer.notify_one();
    assert_eq!(infer.send(Method::POST, &format!("/v1/jobs/{id}/retry"), None).await.0, 200);
    infer.job(&job["id"], "succeeded").await;
}

#[tokio::test]
async fn a_job_that_is_taken_back_stops() {
    let (risk, url) = Risk::start(0).await;
    let infer = Infer::with(&Config { workers: 1, ..Config::default() }, asking(&url)).await;
    let (_, running) = infer.post("/v1/infer", &later()).await;
    risk.was_asked.notified().await;
    let (_, waiting) = infer.post("/v1/infer", &later()).await;
    for job in [&waiting, &running] {
        let (status, job) =
            infer.send(Method::DELETE, &format!("/v1/jobs/{}", job["id"].as_str().unwrap()), None).await;
        assert_eq!((status.as_u16(), &job["state"]), (200, &json!("cancelled")));
    }
    risk.may_answer.notify_one();
    let (_, next) = infer.post("/v1/infer", &later()).await;
    risk.may_answer.notify_one();
    infer.job(&next["id"], "succeeded").await;
    infer.job(&running["id"], "cancelled").await;
}

#[tokio::test]
async fn a_full_queue_says_when_to_come_back() {
    let (risk, url) = Risk::start(0).await;
    let bounds = Bounds { queued: 2, kept: 3, retention: Duration::from_secs(60) };
    let infer = Infer::with(&Config { workers: 1, bounds, ..Config::default() }, asking(&url)).await;
    let (_, first) = infer.post("/v1/infer", &later()).await;
    risk.was_asked.notified().await;
    infer.post("/v1/infer", &later()).await;
    let response = infer.request(Method::POST, "/v1/infer").json(&later()).send().await.unwrap();
    assert_eq!((response.status().as_u16(), response.headers().contains_key("retry-after")), (503, true));
    risk.may_answer.notify_one();
    infer.job(&first["id"], "succeeded").await;
    assert_eq!(infer.post("/v1/infer", &later()).await.0, 202);
}

#[tokio::test]
async fn jobs_survive_a_restart() {
    let directory = tempfile::tempdir().unwrap();
    let (risk, url) = Risk::start(0).await;
    let config = config_in(directory.path());
    let infer = Infer::with(&config, asking(&url)).await;
    risk.may_answer.notify_one();
    let (_, done) = infer.post("/v1/infer", &later()).await;
    infer.job(&done["id"], "succeeded").await;
    let jobs: Vec<Value> =
        futures::future::join_all((0..5).map(|_| async { infer.post("/v1/infer", &later()).await.1 })).await;
    infer.stop().await;

    // The work of the second start is done without the source.
    let rules = r#"{"name": "other", "version": "2", "input": {}, "rules": []}"#;
    let infer = Infer::with(&config, Ruleset::read(rules).unwrap()).await;
    for job in &jobs {
        assert_eq!(infer.job(&job["id"], "succeeded").await["attempts"], 1, "an interruption is no attempt");
    }
    let (status, decision) = infer.get(&format!("/v1/jobs/{}/result", done["id"].as_str().unwrap())).await;
    assert_eq!((status.as_u16(), &decision["ruleset"]), (200, &json!("asking@1")));
    infer.stop().await;
}
