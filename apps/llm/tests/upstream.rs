//! The service before an endpoint that behaves well, badly, and not at all.

#![allow(clippy::unwrap_used, reason = "a failed step of a test is its failure")]

mod support;

use std::{sync::Arc, time::Duration};

use futures::StreamExt;
use serde_json::{Value, json};
use support::{Act, Endpoint, Llm, PATIENCE, end, events, piece, say};
use tokio::sync::{Notify, mpsc};

fn good() -> Act {
    Act::Stream([vec![piece("Good "), piece("day")], end()].concat())
}

#[tokio::test]
async fn an_endpoints_answer_is_passed_on_with_its_tokens_and_their_cost() {
    let endpoint = Endpoint::start([good()]).await;
    let llm = Llm::asking(&endpoint).await;
    let mut ask = say("hello");
    ask["max_tokens"] = 9.into();
    let (status, answer) = llm.chat(&ask).await;
    assert_eq!(status, 200, "{answer}");
    assert_eq!((&answer["content"], &answer["model"]), (&json!("Good day"), &json!("big-model")));
    assert_eq!(answer["usage"], json!({"prompt_tokens": 1000, "completion_tokens": 500, "total_tokens": 1500}));
    assert_eq!(answer["cost_usd"], 0.002);
    let (headers, asked) = endpoint.asked().remove(0);
    assert_eq!(headers["authorization"], "Bearer sk-secret");
    assert_eq!(
        (&asked["model"], &asked["max_tokens"], &asked["stream"]),
        (&json!("big-model"), &json!(9), &json!(true))
    );
    assert!(asked.get("temperature").is_none(), "what nobody set is the endpoint's to choose: {asked}");
    let metrics = llm.get("/metrics").await;
    assert!(
        metrics.contains("llm_cost_usd_total 0.002")
            && metrics.contains("llm_upstream_attempts_total{outcome=\"ok\"} 1"),
        "{metrics}"
    );
}

#[tokio::test]
async fn an_endpoint_that_does_not_stream_is_understood_too() {
    let whole = json!({
        "choices": [{"message": {"role": "assistant", "content": "Good day"}, "finish_reason": "length"}],
        "usage": {"prompt_tokens": 1, "completion_tokens": 2},
    });
    let endpoint = Endpoint::start([Act::Whole(whole)]).await;
    let answer = Llm::asking(&endpoint).await.chat(&say("hello")).await.1;
    assert_eq!((&answer["content"], &answer["finish_reason"]), (&json!("Good day"), &json!("length")));
}

#[tokio::test]
async fn a_busy_endpoint_is_asked_again_and_its_retry_after_passed_on_in_the_end() {
    let endpoint = Endpoint::start([Act::Status(429, Some("0"), ""), Act::Status(503, None, ""), good()]).await;
    let llm = Llm::asking(&endpoint).await;
    assert_eq!(llm.chat(&say("hello")).await.1["content"], "Good day");
    assert_eq!(endpoint.asked().len(), 3);
    let trace = llm.trace(|trace| trace["outcome"] == "ok").await;
    let spans = trace["spans"].as_array().unwrap();
    let attempts: Vec<_> =
        spans.iter().filter(|span| span["name"] == "attempt").map(|span| span["outcome"].clone()).collect();
    assert_eq!(attempts, ["busy", "busy", "ok"]);

    let endpoint = Endpoint::start([Act::Status(429, Some("77"), "")]).await;
    let response = Llm::asking(&endpoint).await.post("/chat", &say("hello")).await;
    assert_eq!((response.status().as_u16(), &response.headers()["retry-after"]), (503, &"77".parse().unwrap()));
    assert_eq!(
        endpoint.asked().len(),
        1,
        "an endpoint is not asked before the time it gave, and nobody waits that long"
    );

    let endpoint = Endpoint::start([Act::Status(429, Some("18446744073709551615"), "")]).await;
    assert_eq!(Llm::asking(&endpoint).await.chat(&say("hello")).await.0, 503, "nor for ever");
}

#[tokio::test]
async fn refusals_are_the_askers_and_bad_keys_are_ours() {
    let body = r#"{"error":{"message":"context is too long"}}"#;
    let endpoint = Endpoint::start([
        Act::Status(400, None, body),
        Act::Status(401, None, body),
        Act::Stream(vec!["data: <html>\n\n".to_owned()]),
    ])
    .await;
    let llm = Llm::asking(&endpoint).await;
    let (status, problem) = llm.chat(&say("hello")).await;
    assert_eq!(status, 422);
    assert!(problem["detail"].as_str().unwrap().contains("context is too long"), "{problem}");
    assert_eq!(llm.chat(&say("hello")).await.0, 502);
    assert_eq!(llm.chat(&say("hello")).await.0, 502);
    assert_eq!(endpoint.asked().len(), 3, "none of them was asked again");
}

#[tokio::test]
async fn an_answer_that_breaks_off_is_told_as_broken() {
    let now = Arc::new(Notify::new());
    let cut = || Act::Stream(vec![piece("Good ")]);
    let endpoint = Endpoint::start([cut(), cut(), Act::Break(vec![piece("Good ")], Arc::clone(&now))]).await;
    let llm = Llm::asking(&endpoint).await;
    assert_eq!(llm.chat(&say("hello")).await.0, 502);

    let mut ask = say("hello");
    ask["stream"] = true.into();
    for breaks in [false, true] {
        let response = llm.post("/chat", &ask).await;
        assert_eq!(response.status(), 200, "the status was told before the break");
        if breaks {
            now.notify_one();
        }
        let events = events(&response.text().await.unwrap());
        assert_eq!(events[0].1, r#"{"content":"Good "}"#);
        let problem: Value = serde_json::from_str(&events[1].1).unwrap();
        assert_eq!((events[1].0.as_str(), &problem["status"]), ("error", &json!(502)));
    }
    assert_eq!(endpoint.asked().len(), 3, "what has begun is not asked again");
    let metrics = llm.get("/metrics").await;
    assert!(metrics.contains("llm_uncounted_answers_total 3"), "they cost something all the same: {metrics}");
}

#[tokio::test]
async fn an_answer_that_has_said_why_it_ends_is_whole_however_its_connection_ends() {
    let said = || vec![piece("Good day"), end().remove(0)];
    let (now, (gone, _told)) = (Arc::new(Notify::new()), mpsc::unbounded_channel());
    let acts = [Act::Break(said(), Arc::clone(&now)), Act::Stream(said()), Act::Hang(said(), gone)];
    let endpoint = Endpoint::start(acts).await;
    let llm = Llm::asking_with(&endpoint, |config| {
        let upstream = config.upstream.as_mut().unwrap();
        (upstream.silence, upstream.attempts) = (Duration::from_secs(2), 1);
    })
    .await;
    let mut streamed = say("hello");
    streamed["stream"] = true.into();
    let response = llm.post("/v1/chat/completions", &streamed).await;
    now.notify_one();
    let events = events(&response.text().await.unwrap());
    let [(_, text), (_, last), (_, done)] = events.as_slice() else { panic!("{events:?}") };
    assert!(text.contains("Good day") && last.contains(r#""finish_reason":"stop""#), "{events:?}");
    assert_eq!(done, "[DONE]");
    for how in ["closed", "held open"] {
        let (status, answer) = llm.chat(&say("hello")).await;
        assert_eq!((status.as_u16(), &answer["content"]), (200, &json!("Good day")), "{how}: {answer}");
    }
    let metrics = llm.get("/metrics").await;
    assert!(metrics.contains("llm_uncounted_answers_total 3"), "nobody said how many tokens they had: {metrics}");
}

#[tokio::test]
async fn an_answer_that_breaks_off_is_an_error_to_openais_clients_too() {
    let endpoint = Endpoint::start([Act::Stream(vec![piece("Good ")])]).await;
    let llm = Llm::asking(&endpoint).await;
    let mut ask = say("hello");
    ask["stream"] = true.into();
    let events = events(&llm.post("/v1/chat/completions", &ask).await.text().await.unwrap());
    let [(_, text), (name, error)] = events.as_slice() else { panic!("{events:?}") };
    assert!(text.contains("Good "), "{text}");
    // They look for `error` in pieces without a name, and pass over the others.
    assert_eq!(name, "");
    let error: Value = serde_json::from_str(error).unwrap();
    assert_eq!((&error["error"]["type"], &error["error"]["code"]), (&json!("server_error"), &json!("502")), "{error}");
    assert!(error["error"]["message"].as_str().unwrap().contains("it broke off"), "{error}");
}

#[tokio::test]
async fn an_endpoint_that_stays_silent_is_given_up() {
    let endpoint = Endpoint::start([Act::Silence]).await;
    let llm = Llm::asking_with(&endpoint, |config| {
        let upstream = config.upstream.as_mut().unwrap();
        (upstream.silence, upstream.attempts) = (Duration::from_millis(50), 1);
    })
    .await;
    let (status, problem) = llm.chat(&say("hello")).await;
    assert_eq!(status, 504, "{problem}");
    assert_eq!(llm.trace(|_| true).await["outcome"], "late");
}

#[tokio::test]
async fn a_whole_answer_may_take_longer_than_other_requests_and_has_a_time_of_its_own() {
    let now = Arc::new(Notify::new());
    let act = Act::Later([vec![piece("Good day")], end()].concat(), Arc::clone(&now));
    let endpoint = Endpoint::start([act, Act::Silence]).await;
    let brief = Duration::from_millis(50);
    let limits = service::Limits { request_time: brief, ..Default::default() };
    let llm = Llm::asking_within(&endpoint, limits.clone(), |_| {}).await;
    let hello = say("hello");
    let mut chat = std::pin::pin!(llm.chat(&hello));
    assert!(tokio::time::timeout(4 * brief, &mut chat).await.is_err(), "it is not given up");
    now.notify_one();
    let (status, answer) = chat.await;
    assert_eq!((status.as_u16(), &answer["content"]), (200, &json!("Good day")));

    let shape = |config: &mut llm::config::Config| {
        let upstream = config.upstream.as_mut().unwrap();
        (upstream.total, upstream.attempts) = (4 * brief, 1);
    };
    let llm = Llm::asking_within(&endpoint, limits, shape).await;
    let (status, problem) = llm.chat(&hello).await;
    assert_eq!(status, 504, "the endpoint's time, not the request's: {problem}");
}

#[tokio::test]
async fn an_endpoint_that_is_not_there_is_a_bad_gateway() {
    let endpoint = Endpoint::start([]).await;
    let llm = Llm::asking_with(&endpoint, |config| {
        let upstream = config.upstream.as_mut().unwrap();
        // Port 9 discards, and nobody listens on it here.
        upstream.base = "http://127.0.0.1:9/v1".parse().unwrap();
        upstream.attempts = 2;
    })
    .await;
    let (status, problem) = llm.chat(&say("hello")).await;
    assert_eq!(status, 502, "{problem}");
}

#[tokio::test]
async fn a_client_that_goes_away_stops_the_model() {
    let (gone, mut told) = mpsc::unbounded_channel();
    let endpoint = Endpoint::start([Act::Hang(vec![piece("Good ")], gone)]).await;
    let llm = Llm::asking(&endpoint).await;
    let mut ask = say("hello");
    ask["stream"] = true.into();
    let mut pieces = llm.post("/chat", &ask).await.bytes_stream();
    assert!(pieces.next().await.unwrap().unwrap().starts_with(b"data: "));
    drop(pieces);
    tokio::time::timeout(PATIENCE, told.recv()).await.unwrap().unwrap();
    let trace = llm.trace(|trace| trace["outcome"] == "cancelled").await;
    assert!(llm.get("/metrics").await.contains("llm_uncounted_answers_total 1"), "the endpoint charges for it");
    assert_eq!(trace["spans"].as_array().unwrap().last().unwrap()["outcome"], "cancelled", "{trace}");
}

#[tokio::test]
async fn beyond_the_bound_conversations_wait_and_beyond_the_queue_they_are_refused() {
    let (gone, mut told) = mpsc::unbounded_channel();
    let endpoint = Endpoint::start([Act::Hang(vec![piece("Good ")], gone), good()]).await;
    let llm = Llm::asking_with(&endpoint, |config| {
        (config.concurrency, config.queue, config.wait) = (1, 1, PATIENCE);
    })
    .await;
    let mut ask = say("hello");
    ask["stream"] = true.into();
    let first = llm.post("/chat", &ask).await;
    let hello = say("hello");
    let second = llm.chat(&hello);
    let third = async {
        while !llm.get("/metrics").await.contains("llm_waiting_conversations 1") {
            tokio::task::yield_now().await;
        }
        let response = llm.post("/chat", &say("hello")).await;
        assert_eq!((response.status().as_u16(), response.headers().contains_key("retry-after")), (503, true));
        drop(first);
        told.recv().await.unwrap();
    };
    let ((status, answer), ()) = tokio::time::timeout(PATIENCE, futures::future::join(second, third)).await.unwrap();
    assert_eq!((status.as_u16(), &answer["content"]), (200, &json!("Good day")));
}
