//! Changes while requests run: nothing that has begun is lost.

use std::{
    sync::{Arc, Mutex, mpsc},
    thread,
    time::{Duration, Instant},
};

use gateway::{control::Sink, table::Table};

use super::support::{Endpoint, Gateway, cluster, everything, field, forward, status};

/// A limit that is far longer than anything here takes.
const PATIENCE: Duration = Duration::from_secs(20);

/// An endpoint that says when it has a request, and answers when it is told to.
pub fn held() -> (Endpoint, mpsc::Receiver<()>, mpsc::Sender<()>) {
    let ((begun, began), (release, released)) = (mpsc::channel(), mpsc::channel());
    let released = Mutex::new(released);
    let endpoint = Endpoint::new(move |peer| {
        while !peer.message().0.is_empty() {
            begun.send(()).unwrap();
            released.lock().unwrap().recv().unwrap();
            peer.send("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nold");
        }
    });
    (endpoint, began, release)
}

#[test]
fn an_endpoint_that_is_taken_away_finishes_what_it_has_and_gets_nothing_new() {
    let (old, began, release) = held();
    let new = Endpoint::saying("new");
    let endpoints = cluster(&[old.address]);
    let gateway = Gateway::new(everything(forward(endpoints.clone())));
    let mut running = gateway.client();
    running.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    began.recv().unwrap();
    endpoints.set_addresses(&[new.address], Instant::now());
    for _ in 0..4 {
        assert_eq!(gateway.client().get("/").1, "new");
    }
    release.send(()).unwrap();
    assert_eq!(running.message().1, "old");
    assert_eq!(running.get("/").1, "new");
    assert_eq!(old.connections(), 1);
}

#[test]
fn a_new_table_serves_open_connections_and_ends_none() {
    let (old, began, release) = held();
    let gateway = Gateway::to(&[&old]);
    let (mut idle, mut running) = (gateway.client(), gateway.client());
    running.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    began.recv().unwrap();
    let new = Endpoint::saying("new");
    gateway.serve(everything(forward(cluster(&[new.address]))));
    assert_eq!(idle.get("/").1, "new");
    release.send(()).unwrap();
    let (head, body) = running.message();
    assert_eq!((field(&head, "connection"), body.as_str()), (None, "old"));
    assert_eq!(running.get("/").1, "new");
}

#[test]
fn a_listener_that_is_taken_away_finishes_its_requests() {
    let (endpoint, began, release) = held();
    let gateway = Gateway::to(&[&endpoint]);
    let (mut idle, mut running) = (gateway.client(), gateway.client());
    running.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    began.recv().unwrap();
    gateway.proxy.apply(Arc::new(Table::default()));
    idle.assert_closed();
    release.send(()).unwrap();
    assert_eq!(running.message().1, "old");
    running.assert_closed();
    assert!(gateway.proxy.bound().is_empty());
}

#[test]
fn at_the_end_requests_are_finished_and_their_clients_told_to_go() {
    let (endpoint, began, release) = held();
    let gateway = Gateway::to(&[&endpoint]);
    let mut kept = gateway.client();
    release.send(()).unwrap();
    assert_eq!(kept.get("/").1, "old");
    began.recv().unwrap();
    let mut running = gateway.client();
    running.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    began.recv().unwrap();
    let ended = thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(gateway.proxy.shutdown(Duration::from_secs(20)));
    });
    kept.assert_closed();
    release.send(()).unwrap();
    let (head, body) = running.message();
    assert_eq!((status(&head), body.as_str()), ("200", "old"));
    drop(running);
    ended.join().unwrap();
}

#[test]
fn at_the_end_a_request_that_does_not_finish_is_cut_off_at_the_limit() {
    const LIMIT: Duration = Duration::from_millis(300);
    let (endpoint, began, release) = held();
    let gateway = Gateway::to(&[&endpoint]);
    let mut running = gateway.client();
    running.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    began.recv().unwrap();
    let begun = Instant::now();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(gateway.proxy.shutdown(LIMIT));
    assert!((LIMIT..PATIENCE).contains(&begun.elapsed()), "{:?}", begun.elapsed());
    running.assert_closed();
    release.send(()).unwrap();
}
