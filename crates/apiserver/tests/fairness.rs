//! One client that lists everything in a loop keeps the others' lists no longer than its turn.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a failed step of a test is its failure")]

#[path = "support/server.rs"]
mod server;

use http::Request;
use http_body_util::{BodyExt, Empty};
use hyper::{
    body::Bytes,
    client::conn::http2::{self, SendRequest},
};
use hyper_util::rt::{TokioExecutor, TokioIo};
use serde_json::{Value, json};
use server::{MAPS, Server};

/// Lists that the greedy client always has under way: fewer than may wait, so that each is served.
const GREEDY: usize = 12;
/// Lists that the modest client asks for, one after the other.
const MODEST: u64 = 20;

async fn connect(server: &Server) -> SendRequest<Empty<Bytes>> {
    let io = TokioIo::new(server.connect().await);
    let (connection, running) = http2::Builder::new(TokioExecutor::new()).handshake(io).await.unwrap();
    tokio::spawn(running);
    connection
}

async fn get(connection: &mut SendRequest<Empty<Bytes>>, path: &str) -> (u16, Bytes) {
    let request = Request::get(format!("https://localhost{path}")).body(Empty::new()).unwrap();
    connection.ready().await.unwrap();
    let answer = connection.send_request(request).await.unwrap();
    let status = answer.status().as_u16();
    (status, answer.into_body().collect().await.unwrap().to_bytes())
}

/// How many lists waited for so many turns of others at most.
async fn waited(connection: &mut SendRequest<Empty<Bytes>>, turns: &str) -> u64 {
    let (_, text) = get(connection, "/metrics").await;
    let name = format!("coracle_apiserver_list_turns_bucket{{le=\"{turns}\"}} ");
    let text = String::from_utf8(text.to_vec()).unwrap();
    text.lines().find_map(|line| line.strip_prefix(&name)).unwrap().parse().unwrap()
}

#[tokio::test]
async fn who_lists_everything_in_a_loop_takes_turns_with_who_lists_once() {
    let server = Server::start().await;
    let inside = server.server.client("tester");
    for number in 0..520 {
        let object = json!({"metadata": {"name": format!("n{number}")}}).to_string().into_bytes();
        let request = Request::post(MAPS).body(kube::client::Body::from(object)).unwrap();
        assert_eq!(inside.send(request).await.unwrap().status(), 201);
    }
    let (greedy, mut modest) = (connect(&server).await, connect(&server).await);
    let loops: Vec<_> = (0..GREEDY)
        .map(|_| {
            let mut greedy = greedy.clone();
            tokio::spawn(async move {
                loop {
                    assert_eq!(get(&mut greedy, MAPS).await.0, 200);
                }
            })
        })
        .collect();
    // From here on every turn is one of many.
    while waited(&mut modest, "32").await < 3 * GREEDY as u64 {}
    let before = waited(&mut modest, "2").await;
    for _ in 0..MODEST {
        let (status, list) = get(&mut modest, MAPS).await;
        assert_eq!(status, 200);
        let list: Value = serde_json::from_slice(&list).unwrap();
        assert!(list["items"].as_array().unwrap().len() >= 520);
        // What is small does not wait at all.
        assert_eq!(get(&mut modest, &format!("{MAPS}/n1")).await.0, 200);
    }
    let (soon, all) = (waited(&mut modest, "2").await - before, waited(&mut modest, "+Inf").await);
    assert!(soon >= MODEST, "{soon} of {MODEST} lists had their turn after at most two others; of {all} in all");
    loops.iter().for_each(tokio::task::JoinHandle::abort);
}
