//! How a service ends.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a failed step of a test is its failure")]

mod support;

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use reqwest::StatusCode;
use service::Limits;
use support::{Gates, Running, read_to_end, service};
use tokio::io::AsyncWriteExt;

#[tokio::test]
async fn what_has_begun_is_finished_and_what_comes_meanwhile_is_answered() {
    let gates = Gates::new();
    let limits = Limits { drain_delay: Duration::from_secs(2), ..Limits::default() };
    let running = Running::new(service(gates.clone()).limits(limits)).await;
    let begun = tokio::spawn(reqwest::get(running.url("/wait")));
    gates.entered.notified().await;
    running.stop.cancel();
    // Answers now close their connections, and the service is not ready; it answers nevertheless.
    loop {
        let ready = reqwest::get(running.url("/ready")).await.unwrap();
        if ready.status() == StatusCode::SERVICE_UNAVAILABLE {
            assert_eq!(ready.headers()["connection"], "close");
            break;
        }
    }
    assert_eq!(reqwest::get(running.url("/items")).await.unwrap().status(), StatusCode::OK);
    gates.leave.add_permits(1);
    let begun = begun.await.unwrap().unwrap();
    assert_eq!((begun.status(), begun.text().await.unwrap().as_str()), (StatusCode::OK, "done"));
    running.ended.await.unwrap().unwrap();
}

#[tokio::test]
async fn under_load_no_request_is_lost() {
    let running = Running::new(service(Gates::new())).await;
    let stop = running.stop.clone();
    let answered = Arc::new(AtomicUsize::new(0));
    let clients: Vec<_> = (0..16)
        .map(|_| {
            let (address, stop, answered) = (running.address, stop.clone(), Arc::clone(&answered));
            tokio::spawn(async move {
                loop {
                    // Whoever is refused a connection knows that nothing was done.
                    let told = stop.is_cancelled();
                    let Ok(mut stream) = tokio::net::TcpStream::connect(address).await else { return };
                    let request = b"GET /items HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
                    stream.write_all(request).await.unwrap();
                    let answer = read_to_end(&mut stream).await;
                    if told && answer.is_empty() {
                        // The connection came after the end had begun, and the kernel took it back.
                        return;
                    }
                    assert!(answer.starts_with("HTTP/1.1 200"), "{answer:?}");
                    if answered.fetch_add(1, Ordering::Relaxed) == 500 {
                        stop.cancel();
                    }
                }
            })
        })
        .collect();
    for client in clients {
        client.await.unwrap();
    }
    running.ended.await.unwrap().unwrap();
    assert!(answered.load(Ordering::Relaxed) > 500);
}

#[tokio::test]
async fn idle_connections_are_closed_and_do_not_hold_it_up() {
    let running = Running::new(service(Gates::new())).await;
    let mut idle = running.connect().await;
    let mut used = running.connect().await;
    used.write_all(b"GET /health HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
    used.readable().await.unwrap();
    running.stop.cancel();
    running.ended.await.unwrap().unwrap();
    assert_eq!(read_to_end(&mut idle).await, "");
    assert!(read_to_end(&mut used).await.ends_with(r#"{"status":"ok"}"#));
}

#[tokio::test]
async fn what_does_not_end_in_time_is_given_up() {
    let gates = Gates::new();
    let limits = Limits { drain: Duration::from_millis(50), ..Limits::default() };
    let running = Running::new(service(gates.clone()).limits(limits)).await;
    let stuck = tokio::spawn(reqwest::get(running.url("/wait")));
    gates.entered.notified().await;
    running.stop.cancel();
    running.ended.await.unwrap().unwrap();
    assert!(stuck.await.unwrap().is_err());
}

#[tokio::test]
async fn background_tasks_stop_after_http_has_drained() {
    let gates = Gates::new();
    let told = Arc::new(AtomicBool::new(false));
    let finished = Arc::new(AtomicBool::new(false));
    let (tell, finish) = (Arc::clone(&told), Arc::clone(&finished));
    let service = service(gates.clone()).worker("sweeper", |stop| async move {
        stop.cancelled().await;
        tell.store(true, Ordering::Relaxed);
        tokio::task::yield_now().await;
        finish.store(true, Ordering::Relaxed);
    });
    let running = Running::new(service).await;
    let begun = tokio::spawn(reqwest::get(running.url("/wait")));
    gates.entered.notified().await;
    running.stop.cancel();
    gates.leave.add_permits(1);
    assert_eq!(begun.await.unwrap().unwrap().status(), StatusCode::OK);
    running.ended.await.unwrap().unwrap();
    assert!(told.load(Ordering::Relaxed) && finished.load(Ordering::Relaxed));
}

#[tokio::test]
async fn a_background_task_that_panics_ends_the_service_with_an_error() {
    let service = service(Gates::new()).worker("fragile", |_| async { panic!("on purpose") });
    let running = Running::new(service).await;
    let error = running.ended.await.unwrap().unwrap_err();
    assert_eq!(error.to_string(), "a background task panicked");
}
