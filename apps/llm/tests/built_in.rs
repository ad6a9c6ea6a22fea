//! The service with its own model, over real sockets.

#![allow(clippy::unwrap_used, reason = "a failed step of a test is its failure")]

mod support;

use serde_json::{Value, json};
use support::{Llm, events, say};

fn seeded(text: &str, seed: u64) -> Value {
    let mut ask = say(text);
    ask["seed"] = seed.into();
    ask
}

#[tokio::test]
async fn an_answer_names_its_model_and_counts_its_tokens() {
    let llm = Llm::built_in().await;
    let (status, answer) = llm.chat(&seeded("where is the cat?", 3)).await;
    assert_eq!(status, 200, "{answer}");
    assert_eq!(answer["model"], "built-in-ngram");
    assert!(!answer["content"].as_str().unwrap().is_empty());
    let usage = &answer["usage"];
    assert_eq!(usage["prompt_tokens"], 5);
    assert_eq!(usage["total_tokens"], 5 + usage["completion_tokens"].as_u64().unwrap());
    assert_eq!(answer["cost_usd"], 0.0);
}

#[tokio::test]
async fn a_seed_gives_the_same_text_whole_and_in_pieces() {
    let llm = Llm::built_in().await;
    let whole = llm.chat(&seeded("where is the dog?", 11)).await.1;
    assert_eq!(whole["content"], llm.chat(&seeded("where is the dog?", 11)).await.1["content"]);

    let mut ask = seeded("where is the dog?", 11);
    ask["stream"] = true.into();
    let response = llm.post("/chat", &ask).await;
    assert!(response.headers()["content-type"].to_str().unwrap().starts_with("text/event-stream"));
    let events = events(&response.text().await.unwrap());
    let ((name, last), pieces) = events.split_last().unwrap();
    let text: String = pieces.iter().map(|(_, data)| piece(data)["content"].as_str().unwrap().to_owned()).collect();
    assert_eq!(text, whole["content"].as_str().unwrap());
    assert_eq!(name, "done");
    assert_eq!(piece(last)["usage"], whole["usage"]);
}

fn piece(data: &str) -> Value {
    serde_json::from_str(data).unwrap()
}

#[tokio::test]
async fn max_tokens_and_stop_strings_end_a_text() {
    let llm = Llm::built_in().await;
    let mut ask = seeded("the cat", 1);
    ask["max_tokens"] = 2.into();
    let answer = llm.chat(&ask).await.1;
    assert_eq!((&answer["finish_reason"], &answer["usage"]["completion_tokens"]), (&json!("length"), &json!(2)));
    ask = seeded("the cat", 1);
    ask["stop"] = json!([" "]);
    let answer = llm.chat(&ask).await.1;
    assert_eq!(answer["finish_reason"], "stop");
    assert!(!answer["content"].as_str().unwrap().contains(' '), "{answer}");
}

#[tokio::test]
async fn openais_shape_is_answered_in_kind() {
    let llm = Llm::built_in().await;
    let mut ask = json!({"model": "any", "seed": 5, "messages": [{"role": "user", "content": "where is the cat?"}]});
    let whole: Value = llm.post("/v1/chat/completions", &ask).await.json().await.unwrap();
    assert_eq!(
        (&whole["object"], &whole["choices"][0]["message"]["role"]),
        (&json!("chat.completion"), &json!("assistant"))
    );
    ask["stream"] = true.into();
    ask["stream_options"] = json!({"include_usage": true});
    let response = llm.post("/v1/chat/completions", &ask).await;
    let events = events(&response.text().await.unwrap());
    assert_eq!(events.last().unwrap().1, "[DONE]");
    let chunks: Vec<Value> = events[..events.len() - 1].iter().map(|(_, data)| piece(data)).collect();
    let text: String = chunks.iter().filter_map(|chunk| chunk["choices"][0]["delta"]["content"].as_str()).collect();
    assert_eq!(text, whole["choices"][0]["message"]["content"].as_str().unwrap());
    assert_eq!(chunks.last().unwrap()["usage"], whole["usage"]);
    let models: Value = serde_json::from_str(&llm.get("/v1/models").await).unwrap();
    assert_eq!(models["data"][0]["id"], whole["model"]);
}

#[tokio::test]
async fn what_breaks_a_rule_is_refused_with_its_field() {
    let llm = Llm::built_in().await;
    for (ask, field) in [
        (json!({"messages": []}), "messages"),
        (json!({"messages": [{"role": "robot", "content": ""}]}), "messages[0].role"),
        (json!({"messages": [{"role": "user", "content": "x".repeat(16_385)}]}), "messages[0].content"),
        (json!({"messages": [{"role": "user", "content": ""}], "temperature": 2.1}), "temperature"),
        (json!({"messages": [{"role": "user", "content": ""}], "max_tokens": 0}), "max_tokens"),
        (json!({"messages": [{"role": "user", "content": ""}], "logprobs": true}), "logprobs"),
        (json!({"messages": [{"role": "user", "content": ""}], "stop": [""]}), "stop[0]"),
    ] {
        let (status, problem) = llm.chat(&ask).await;
        assert_eq!((status.as_u16(), &problem["errors"][0]["field"]), (422, &json!(field)), "{problem}");
    }
    let response = llm.http.post(format!("{}/chat", llm.url)).body("{}").send().await.unwrap();
    assert_eq!(response.status(), 415);
}

#[tokio::test]
async fn a_conversation_is_traced_and_counted_without_its_words() {
    let llm = Llm::built_in().await;
    let request =
        llm.http.post(format!("{}/chat", llm.url)).header("x-request-id", "mine-1").json(&say("xyzzy the cat"));
    request.send().await.unwrap();
    let trace = llm.trace(|trace| trace["request_id"] == "mine-1").await;
    assert_eq!((&trace["outcome"], &trace["model"]), (&json!("ok"), &json!("built-in-ngram")), "{trace}");
    assert!(trace["first_token_ms"].as_f64().unwrap() <= trace["duration_ms"].as_f64().unwrap());
    let spans: Vec<_> = trace["spans"].as_array().unwrap().iter().map(|span| span["name"].as_str().unwrap()).collect();
    assert_eq!(spans, ["first_token", "generate"]);
    assert!(!llm.get("/traces").await.contains("xyzzy"));
    let metrics = llm.get("/metrics").await;
    assert!(metrics.contains("llm_conversations_total{outcome=\"ok\"} 1"), "{metrics}");
    assert!(metrics.contains("llm_tokens_total{kind=\"prompt\"} 3"), "{metrics}");
    assert!(metrics.contains("llm_active_conversations 0"), "{metrics}");
}

/// Everybody may ask everything here: whoever runs the service puts a gateway before it. A new route has to be added here too.
#[test]
fn every_route_is_public() {
    let config = llm::config::Config::default();
    let source = llm::desk::Source::BuiltIn(std::sync::Arc::new(llm::model::Model::train("")));
    let operations = llm::service(&config, source).unwrap().operations();
    let own: Vec<_> =
        operations.keys().filter(|path| !["/health", "/ready", "/info", "/metrics"].contains(&path.as_str())).collect();
    assert_eq!(own, ["/chat", "/traces", "/v1/chat/completions", "/v1/models"]);
}
