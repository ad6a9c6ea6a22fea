//! Clients that ask for an answer and do not take it.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a failed step of a test is its failure")]

mod support;

use std::{sync::Arc, time::Duration};

use axum::{body::Body, extract::State, routing::get};
use bytes::Bytes;
use futures::{StreamExt, stream};
use service::{Limits, Service};
use support::Running;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    sync::{Notify, mpsc},
};
use utoipa_axum::router::OpenApiRouter;

/// How long something may take to come about, on a busy machine.
const PATIENCE: Duration = Duration::from_secs(120);
/// How long a client may take nothing.
const BRIEF: Duration = Duration::from_millis(200);

#[derive(Clone)]
struct Answers {
    /// Told when the endless answer is dropped.
    dropped: mpsc::UnboundedSender<()>,
    /// Lets the stream that is silent for a while go on.
    go_on: Arc<Notify>,
}

struct Told(mpsc::UnboundedSender<()>);

impl Drop for Told {
    fn drop(&mut self) {
        let _ = self.0.send(());
    }
}

/// An answer without an end, as fast as it is taken.
async fn endless(State(answers): State<Answers>) -> Body {
    let told = Told(answers.dropped);
    Body::from_stream(stream::repeat_with(move || {
        let _ = &told;
        Ok::<_, std::io::Error>(Bytes::from_static(&[b'x'; 16_384]))
    }))
}

/// A word, a silence until somebody says otherwise, another word.
async fn pause(State(answers): State<Answers>) -> Body {
    let first = stream::once(async { Ok::<_, std::io::Error>("one ") });
    let second = stream::once(async move {
        answers.go_on.notified().await;
        Ok("two")
    });
    Body::from_stream(first.chain(second))
}

fn start(answers: Answers, limits: Limits) -> Service {
    let routes = axum::Router::new().route("/endless", get(endless)).route("/pause", get(pause)).with_state(answers);
    Service::new("slow", "1.2.3").routes(OpenApiRouter::from(routes)).limits(limits)
}

#[tokio::test]
async fn an_answer_that_nobody_takes_is_given_up_and_holds_no_end_up() {
    let (dropped, mut told) = mpsc::unbounded_channel();
    let answers = Answers { dropped, go_on: Arc::default() };
    // A drain that waits for this client is one that this test does not wait for.
    let limits = Limits { write_time: BRIEF, drain: 10 * PATIENCE, ..Limits::default() };
    let running = Running::new(start(answers, limits)).await;
    let ask = async || {
        let mut client = running.connect().await;
        client.write_all(b"GET /endless HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
        let mut first = [0; 12];
        client.read_exact(&mut first).await.unwrap();
        assert_eq!(&first, b"HTTP/1.1 200");
        client
    };
    let _client = ask().await;
    tokio::time::timeout(PATIENCE, told.recv()).await.unwrap().unwrap();
    let metrics = reqwest::get(running.url("/metrics")).await.unwrap().text().await.unwrap();
    assert!(metrics.contains("http_requests_refused_total{reason=\"unread\"} 1"), "{metrics}");
    assert!(metrics.contains("http_requests_in_flight 0"), "{metrics}");

    let _client = ask().await;
    running.stop.cancel();
    tokio::time::timeout(PATIENCE, running.ended).await.unwrap().unwrap().unwrap();
}

#[tokio::test]
async fn a_stream_that_has_nothing_to_say_for_a_while_goes_on() {
    let go_on = Arc::new(Notify::new());
    let answers = Answers { dropped: mpsc::unbounded_channel().0, go_on: Arc::clone(&go_on) };
    let running = Running::new(start(answers, Limits { write_time: BRIEF, ..Limits::default() })).await;
    let mut pieces = reqwest::get(running.url("/pause")).await.unwrap().bytes_stream();
    assert_eq!(pieces.next().await.unwrap().unwrap(), "one ");
    assert!(tokio::time::timeout(4 * BRIEF, pieces.next()).await.is_err(), "it is silent, and not given up");
    go_on.notify_one();
    assert_eq!(pieces.next().await.unwrap().unwrap(), "two");
    assert!(pieces.next().await.is_none());
}
