//! The service as its clients see it.

#![allow(clippy::unwrap_used, reason = "a failed step of a test is its failure")]

use std::net::SocketAddr;

use reqwest::{Method, StatusCode};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

async fn serve(stop: &CancellationToken) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(hello::service().serve(listener, stop.clone()));
    address
}

#[tokio::test]
async fn the_greeting_carries_the_time_it_was_made() {
    let stop = CancellationToken::new();
    let _stop = stop.clone().drop_guard();
    let address = serve(&stop).await;
    let before = jiff::Timestamp::now();
    let answer = reqwest::get(format!("http://{address}/")).await.unwrap();
    assert_eq!(answer.status(), StatusCode::OK);
    assert_eq!(answer.headers()["content-type"], "application/json");
    let text = answer.text().await.unwrap();
    assert!(text.starts_with(r#"{"status":"ok","message":"Hello World","timestamp":""#), "{text}");
    let body: serde_json::Value = serde_json::from_str(&text).unwrap();
    let made: jiff::Timestamp = body["timestamp"].as_str().unwrap().parse().unwrap();
    assert!(before <= made && made <= jiff::Timestamp::now(), "{made}");
}

#[tokio::test]
async fn other_paths_and_methods_are_refused_with_problems() {
    let stop = CancellationToken::new();
    let _stop = stop.clone().drop_guard();
    let address = serve(&stop).await;
    let client = reqwest::Client::new();
    for (method, path, status) in
        [(Method::GET, "/x", StatusCode::NOT_FOUND), (Method::POST, "/", StatusCode::METHOD_NOT_ALLOWED)]
    {
        let answer = client.request(method, format!("http://{address}{path}")).send().await.unwrap();
        assert_eq!(answer.status(), status);
        assert_eq!(answer.headers()["content-type"], "application/problem+json");
        assert_eq!(answer.headers().get("allow").is_some(), status == StatusCode::METHOD_NOT_ALLOWED);
    }
}
