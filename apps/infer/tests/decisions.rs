//! Decisions over real sockets.

#![allow(clippy::unwrap_used, reason = "a failed step of a test is its failure")]

mod support;

use axum::{Json, Router, routing::post};
use infer::{Config, keys::ACCESS};
use reqwest::Method;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use support::{Infer, asking, facts};
use tokio::net::TcpListener;

#[tokio::test]
async fn a_decision_says_which_rules_made_it_and_why() {
    let infer = Infer::start().await;
    let mut facts = facts();
    facts["amount_cents"] = 600_000.into();
    facts["account_age_days"] = 1.into();
    let (status, decision) = infer.post("/v1/infer", &json!({"facts": facts, "explain": true})).await;
    assert_eq!(status, 200, "{decision}");
    assert_eq!(
        decision["outputs"],
        json!({
            "decision": "review", "score": 55, "reasons": ["the amount is large", "the account is new"],
        })
    );
    let matched: Vec<_> =
        decision["matched"].as_array().unwrap().iter().map(|rule| rule["id"].as_str().unwrap()).collect();
    assert_eq!(matched, ["large-amount", "very-large-amount", "new-account", "review-middling-score"]);
    assert_eq!(decision["matched"][0]["changes"][0], json!({"output": "score", "from": 0, "to": 20}));
    let explained = decision["explanation"].as_array().unwrap();
    let young = explained.iter().find(|rule| rule["id"] == "new-account").unwrap();
    assert_eq!(
        young["tests"][0],
        json!({"subject": "/account_age_days", "op": "lt", "expected": 7, "actual": 1, "holds": true})
    );
}

#[tokio::test]
async fn facts_that_break_the_published_schema_are_refused_with_their_place() {
    let infer = Infer::start().await;
    let mut facts = facts();
    facts["currency"] = "euro".into();
    facts["items"] = json!(["ok", "NOT OK"]);
    let (status, problem) = infer.post("/v1/infer", &json!({"facts": facts})).await;
    assert_eq!(status, 422);
    let mut fields: Vec<_> =
        problem["errors"].as_array().unwrap().iter().map(|e| e["field"].as_str().unwrap()).collect();
    fields.sort_unstable();
    assert_eq!(fields, ["facts.currency", "facts.items[1]"]);
    let schema = infer.get("/v1/ruleset/schema").await.1;
    assert_eq!(schema["properties"]["currency"]["pattern"], "^[A-Z]{3}$");
    let document = infer.get("/openapi.json").await.1;
    assert_eq!(document["components"]["schemas"]["Facts"]["properties"]["amount_cents"]["maximum"], 1_000_000_000);
    assert_eq!(document["components"]["schemas"]["Facts"]["additionalProperties"], false);
    assert_eq!(infer.get("/v1/ruleset").await.1["rules"][0]["id"], "embargoed-country");
}

#[tokio::test]
async fn sources_are_asked_and_a_required_one_that_is_gone_is_told() {
    let risk = Router::new()
        .route("/risk", post(|Json(facts): Json<Value>| async move { Json(json!({"level": facts["n"]})) }));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/risk", listener.local_addr().unwrap());
    let server = tokio::spawn(axum::serve(listener, risk).into_future());
    let infer = Infer::with(&Config::default(), asking(&url)).await;
    assert_eq!(infer.post("/v1/infer", &json!({"facts": {"n": 9}})).await.1["outputs"]["level"], "high");
    assert_eq!(infer.post("/v1/infer", &json!({"facts": {"n": 1}})).await.1["outputs"]["level"], "low");
    // Whoever asks cannot answer for the source.
    let forged = json!({"facts": {"n": 1, "sources": {"risk": {"level": 9}}}});
    assert_eq!(infer.post("/v1/infer", &forged).await.1["outputs"]["level"], "low");
    server.abort();
    let _ = server.await;
    let (status, problem) = infer.post("/v1/infer", &json!({"facts": {"n": 9}})).await;
    assert!(status == 503 && !problem.to_string().contains("127.0.0.1"), "{problem}");
}

#[tokio::test]
async fn every_route_lets_in_whom_the_table_says() {
    let secret = "correct horse";
    let digest: String = Sha256::digest(secret).iter().map(|byte| format!("{byte:02x}")).collect();
    let config = Config { keys: format!("ann:{digest}").parse().unwrap(), ..Config::default() };
    let rules = || infer::rules::Ruleset::built_in().unwrap();

    let mut documented: Vec<_> = Vec::new();
    for (path, methods) in infer::service(&config, rules()).unwrap().operations() {
        documented.extend(methods.into_iter().filter(|_| path.starts_with("/v1")).map(|method| (method, path.clone())));
    }
    let mut table: Vec<_> = ACCESS.iter().map(|(method, path, _)| ((*method).to_owned(), (*path).to_owned())).collect();
    documented.sort();
    table.sort();
    assert_eq!(table, documented, "the table and the document have the same routes");

    let infer = Infer::with(&config, rules()).await;
    for (method, path, access) in ACCESS {
        let path = path.replace("{id}", "0198c0de-0000-7000-8000-000000000000");
        let method: Method = method.parse().unwrap();
        for (header, key) in [
            (None, ""),
            (Some("x-api-key"), "wrong"),
            (Some("x-api-key"), secret),
            (Some("authorization"), "Bearer correct horse"),
        ] {
            let request = infer.request(method.clone(), &path);
            let request = if let Some(header) = header { request.header(header, key) } else { request };
            let status = request.send().await.unwrap().status().as_u16();
            let refused = *access == infer::keys::Access::Key && !key.ends_with(secret);
            assert_eq!(status == 401, refused, "{method} {path} with {header:?} {key:?}: {status}");
            assert_ne!(status, 403, "{method} {path}");
        }
    }
    assert_eq!(infer.get("/health").await.0, 200);
}
