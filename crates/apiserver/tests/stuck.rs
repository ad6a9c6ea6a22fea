//! Clients that do not take what they are sent, over real sockets: each is cut, and nobody else notices. Time is moved on by hand.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a failed step of a test is its failure")]

#[path = "support/server.rs"]
mod server;

use std::{
    future::poll_fn,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::Poll,
    time::Duration,
};

use http::{Request, StatusCode};
use http_body_util::{BodyExt, Empty};
use hyper::{
    body::{Bytes, Incoming},
    client::conn::http2::{self, SendRequest},
};
use hyper_util::rt::{TokioExecutor, TokioIo};
use kube::Client;
use serde_json::json;
use server::{MAPS, Server};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpSocket,
};

/// A little more than a client may take for nothing.
const PATIENCE: Duration = Duration::from_secs(61);

/// A client in the server's process: its requests need no socket.
async fn get(client: &Client, path: &str) -> String {
    let answer = client.send(Request::get(path).body(kube::client::Body::empty()).unwrap()).await.unwrap();
    String::from_utf8(answer.into_body().collect_bytes().await.unwrap().to_vec()).unwrap()
}

/// The value of a line of the figures.
async fn figure(client: &Client, name: &str) -> u64 {
    let text = get(client, "/metrics").await;
    text.lines().find_map(|line| line.strip_prefix(name)?.trim().parse().ok()).unwrap()
}

const WATCHES: &str = "apiserver_longrunning_requests{subresource=\"\",verb=\"WATCH\"}";

/// Lets time pass until something has been cut.
async fn cut(client: &Client, what: &str) {
    let name = format!("coracle_apiserver_stalled_total{{cut=\"{what}\"}}");
    while figure(client, &name).await == 0 {
        tokio::time::pause();
        tokio::time::advance(PATIENCE).await;
        tokio::time::resume();
    }
}

async fn make(server: &Server, count: usize, size: usize) {
    for number in 0..count {
        let object = json!({"metadata": {"name": format!("n{number:02}")}, "data": {"text": "x".repeat(size)}});
        let (status, said) = server.ask("POST", MAPS, object.to_string().into_bytes()).await;
        assert_eq!(status, StatusCode::CREATED, "{said}");
    }
}

async fn ask(connection: &mut SendRequest<Empty<Bytes>>, path: &str) -> http::Response<Incoming> {
    let request = Request::get(format!("https://localhost{path}")).body(Empty::new()).unwrap();
    connection.ready().await.unwrap();
    connection.send_request(request).await.unwrap()
}

async fn line(body: &mut Incoming) -> String {
    let mut text = Vec::new();
    while text.last() != Some(&b'\n') {
        let frame = body.frame().await.unwrap().unwrap();
        text.extend_from_slice(&frame.into_data().unwrap());
    }
    String::from_utf8(text).unwrap()
}

#[tokio::test]
async fn a_stream_that_is_not_read_is_reset_and_its_connection_goes_on() {
    let server = Server::start().await;
    make(&server, 10, 50_000).await;
    let inside = server.server.client("tester");
    let io = TokioIo::new(server.connect().await);
    let (mut connection, running) = http2::Builder::new(TokioExecutor::new())
        .initial_stream_window_size(64 * 1024)
        .initial_connection_window_size(16 * 1024 * 1024)
        .handshake(io)
        .await
        .unwrap();
    tokio::spawn(running);
    // Each has more to say than the client lets in.
    let mut watch = ask(&mut connection, &format!("{MAPS}?watch=true")).await.into_body();
    let mut list = ask(&mut connection, MAPS).await.into_body();
    let mut read =
        ask(&mut connection, &format!("{MAPS}?watch=true&fieldSelector=metadata.name%3Dlast")).await.into_body();
    assert_eq!(figure(&inside, WATCHES).await, 2);
    let name = "coracle_apiserver_stalled_total{cut=\"stream\"}";
    while figure(&inside, name).await < 2 {
        cut(&inside, "stream").await;
        tokio::task::yield_now().await;
    }
    for body in [&mut watch, &mut list] {
        let error = loop {
            match body.frame().await {
                Some(Ok(_)) => {}
                Some(Err(error)) => break error,
                None => panic!("an end, as if that had been all"),
            }
        };
        assert!(error.to_string().contains("http2") || error.to_string().contains("body"), "{error}");
    }
    assert_eq!(figure(&inside, WATCHES).await, 1);
    assert_eq!(figure(&inside, "coracle_apiserver_stalled_total{cut=\"connection\"}").await, 0);
    server.make("last").await;
    assert!(line(&mut read).await.contains("\"ADDED\""), "the others of the connection are as they were");
}

#[tokio::test]
async fn a_connection_of_http_1_that_is_not_read_is_cut() {
    let server = Server::start().await;
    // More than sockets hold.
    make(&server, 14, 900_000).await;
    let inside = server.server.client("tester");
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4096).unwrap();
    let mut stream = server.secure(socket.connect(server.address).await.unwrap()).await;
    stream.write_all(format!("GET {MAPS}?watch=true HTTP/1.1\r\nhost: localhost\r\n\r\n").as_bytes()).await.unwrap();
    stream.read_u8().await.unwrap();
    assert_eq!(figure(&inside, WATCHES).await, 1);
    cut(&inside, "connection").await;
    while figure(&inside, WATCHES).await != 0 {
        tokio::task::yield_now().await;
    }
    assert!(stream.read_to_end(&mut Vec::new()).await.is_err(), "no end, as if that had been all");
}

#[tokio::test]
async fn a_connection_of_http_2_that_is_not_read_is_cut() {
    let server = Server::start().await;
    make(&server, 14, 900_000).await;
    let inside = server.server.client("tester");
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4096).unwrap();
    let io = TokioIo::new(server.secure(socket.connect(server.address).await.unwrap()).await);
    let (mut connection, mut running) = http2::Builder::new(TokioExecutor::new())
        .initial_stream_window_size(64 * 1024 * 1024)
        .initial_connection_window_size(64 * 1024 * 1024)
        .handshake::<_, Empty<Bytes>>(io)
        .await
        .unwrap();
    let stands = Arc::new(AtomicBool::new(false));
    let still = stands.clone();
    tokio::spawn(poll_fn(move |cx| {
        // The socket stays open, and nobody looks at it.
        if still.load(Ordering::Relaxed) { Poll::Pending } else { Pin::new(&mut running).poll(cx) }
    }));
    let _watch = ask(&mut connection, &format!("{MAPS}?watch=true")).await;
    stands.store(true, Ordering::Relaxed);
    assert_eq!(figure(&inside, WATCHES).await, 1);
    cut(&inside, "connection").await;
    while figure(&inside, WATCHES).await != 0 {
        tokio::task::yield_now().await;
    }
}
