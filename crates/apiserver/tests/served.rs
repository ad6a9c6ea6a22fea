//! What is on the network: health checks, figures, snapshots, watches over WebSocket and their end, requests that are too large or
//! too many.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a failed step of a test is its failure")]

#[path = "support/server.rs"]
mod server;

use apiserver::store::saved;
use futures::{AsyncBufReadExt, AsyncReadExt, StreamExt, TryStreamExt};
use http::{Request, StatusCode};
use serde_json::{Value, json};
use server::{MAPS, Server};
use tokio_tungstenite::{client_async, tungstenite::Message};

#[tokio::test]
async fn checks_have_names_and_can_be_left_out() {
    let server = Server::start().await;
    for path in ["/livez", "/readyz", "/healthz", "/readyz/ping", "/livez/etcd"] {
        assert_eq!(server.get(path).await, (200, "ok".to_owned()), "{path}");
    }
    let (_, verbose) = server.get("/readyz?verbose&exclude=etcd").await;
    let expected = "[+]ping ok\n[+]etcd excluded: ok\n[+]etcd-readiness ok\n[+]shutdown ok\nreadyz check passed\n";
    assert_eq!(verbose, expected);
    let (_, warned) = server.get("/livez?verbose&exclude=nothing").await;
    assert!(warned.contains("warn: some health checks cannot be excluded: no matches for \"nothing\""), "{warned}");
    assert_eq!(server.get("/readyz/nothing").await.0, 404);
}

#[tokio::test]
async fn figures_say_what_was_asked_and_what_there_is() {
    let server = Server::start().await;
    server.make("a").await;
    server.get(&format!("{MAPS}/a")).await;
    let watch = server.client.request_stream(Request::get(format!("{MAPS}?watch=1")).body(Vec::new()).unwrap()).await;
    let mut events = watch.unwrap().lines();
    events.try_next().await.unwrap().unwrap();
    let (_, text) = server.get("/metrics").await;
    for line in [
        "apiserver_request_total{code=\"201\",component=\"apiserver\",dry_run=\"\",group=\"\",resource=\"configmaps\",scope=\"namespace\",subresource=\"\",verb=\"POST\",version=\"v1\"} 1",
        "apiserver_longrunning_requests{subresource=\"\",verb=\"WATCH\"} 1",
        "apiserver_longrunning_requests{subresource=\"exec\",verb=\"CONNECT\"} 0",
        "coracle_apiserver_stalled_total{cut=\"stream\"} 0",
        "apiserver_registered_watchers{resource=\"configmaps\"} 1",
        "apiserver_current_inflight_requests{request_kind=\"mutating\"} 0",
    ] {
        assert!(text.lines().any(|found| found == line), "{line}\n{text}");
    }
    for name in [
        "apiserver_storage_objects{resource=\"namespaces\"}",
        "apiserver_storage_size_bytes",
        "process_resident_memory_bytes",
    ] {
        assert!(text.contains(name), "{name}");
    }
}

#[tokio::test]
async fn a_snapshot_is_whole_and_for_administrators() {
    let server = Server::start().await;
    server.make("kept").await;
    let (status, text) = server.get("/coracle/snapshot").await;
    assert_eq!(status, 200);
    let (_, everything) = saved::read(text.as_bytes()).unwrap();
    assert!(everything.objects.iter().any(|(key, _)| key.name == "kept"));
    assert_eq!(server.ask("POST", "/coracle/snapshot", Vec::new()).await.0, StatusCode::METHOD_NOT_ALLOWED);
}

#[tokio::test]
async fn a_browser_watches_over_a_web_socket() {
    let server = Server::start().await;
    server.make("a").await;
    let request = format!("wss://localhost{MAPS}?watch=true");
    let (mut socket, answer) = client_async(request, server.connect().await).await.unwrap();
    assert_eq!(answer.status(), StatusCode::SWITCHING_PROTOCOLS);
    for (name, next) in [("a", Some("b")), ("b", None)] {
        let Message::Text(text) = socket.next().await.unwrap().unwrap() else { panic!("no text") };
        let event: Value = serde_json::from_str(&text).unwrap();
        assert_eq!((&event["type"], &event["object"]["metadata"]["name"]), (&json!("ADDED"), &json!(name)));
        if let Some(next) = next {
            server.make(next).await;
        }
    }
    socket.close(None).await.unwrap();
}

#[tokio::test]
async fn watches_end_cleanly_when_the_server_stops() {
    let server = Server::start().await;
    server.make("a").await;
    let request = Request::get(format!("{MAPS}?watch=1")).body(Vec::new()).unwrap();
    let mut events = server.client.request_stream(request).await.unwrap().lines();
    assert!(events.try_next().await.unwrap().unwrap().contains("ADDED"));
    server.stop.cancel();
    assert_eq!(events.try_next().await.unwrap(), None, "an end, not a broken connection");
    server.serving.await.unwrap();
}

#[tokio::test]
async fn a_list_in_pieces_is_one_list() {
    let server = Server::start().await;
    let text = "x".repeat(20_000);
    for number in 0..40 {
        let object = json!({"metadata": {"name": format!("n{number:02}")}, "data": {"text": text}}).to_string();
        server.ask("POST", MAPS, object.into_bytes()).await;
    }
    for accept in [
        "application/json",
        "application/json;as=Table;v=v1;g=meta.k8s.io",
        "application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io",
    ] {
        let request = Request::get(MAPS).header("accept", accept).body(Vec::new()).unwrap();
        let mut body = Vec::new();
        server.client.request_stream(request).await.unwrap().read_to_end(&mut body).await.unwrap();
        let list: Value = serde_json::from_slice(&body).unwrap();
        let items = list.get("items").or(list.get("rows")).unwrap().as_array().unwrap();
        assert_eq!(items.len(), 40, "{accept}");
    }
}

#[tokio::test]
async fn a_body_that_is_too_large_is_refused() {
    let server = Server::start().await;
    let (status, said) = server.ask("POST", MAPS, vec![b'x'; (3 << 20) + 1]).await;
    assert_eq!(status, StatusCode::PAYLOAD_TOO_LARGE, "{said}");
    let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
    assert_eq!(server.ask("POST", MAPS, deep.into_bytes()).await.0, StatusCode::BAD_REQUEST);
}
