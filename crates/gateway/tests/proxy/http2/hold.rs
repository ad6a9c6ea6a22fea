//! Streams for a Service that sleeps.

use std::{sync::Arc, time::Instant};

use futures::future::join_all;
use gateway::{
    proxy::HoldLimits,
    table::{Cluster, Upstream},
};

use super::{
    super::{
        figures::{errors, eventually},
        hold::{ended, held, sleeper},
        support::{Gateway, everything, forward},
    },
    Endpoint, ask, connect, frames, get, post, run, send_whole,
};

fn sleeping() -> Arc<Cluster> {
    let cluster = Cluster::new("default/test:80".into()).speaking(Upstream::Http2);
    cluster.sleeps_as(Some(&sleeper()));
    Arc::new(cluster)
}

fn call() -> http::Request<()> {
    let mut call = post("/shop.Cart/Add");
    call.headers_mut().insert("content-type", http::HeaderValue::from_static("application/grpc"));
    call
}

#[test]
fn all_streams_of_a_connection_wait_and_calls_of_grpc_keep_their_messages() {
    let endpoint = Endpoint::echo("x");
    let cluster = sleeping();
    let gateway = Gateway::new(everything(forward(cluster.clone())));
    run(async {
        let client = connect(gateway.address).await;
        let asked = join_all((0..50).map(|_| ask(&client, get("/"))));
        let called = send_whole(&client, call(), b"message".to_vec(), None);
        let woken = async {
            while gateway.proxy.held() < 51 {
                tokio::task::yield_now().await;
            }
            cluster.set_addresses(&[endpoint.address], Instant::now());
        };
        let (asked, called, ()) = tokio::join!(asked, called, woken);
        assert!(asked.into_iter().all(|answer| answer.unwrap().head.status == 200));
        assert_eq!(called.unwrap().text(), "message");
    });
    eventually(&gateway, &ended("released", 51));
    assert_eq!(endpoint.connections(), 1);
}

#[test]
fn a_call_that_waits_in_vain_is_unavailable() {
    let time = std::time::Duration::from_millis(100);
    let gateway = Gateway::holding(everything(forward(sleeping())), HoldLimits { time, ..HoldLimits::default() });
    run(async {
        let client = connect(gateway.address).await;
        let called = ask(&client, call()).await.unwrap();
        assert_eq!((called.head.status.as_u16(), called.field("grpc-status")), (200, Some("14")));
        let asked = ask(&client, get("/")).await.unwrap();
        assert_eq!((asked.head.status.as_u16(), asked.field("retry-after")), (503, Some("5")));
    });
}

#[test]
fn a_stream_that_is_reset_gives_its_place_back() {
    let gateway = Gateway::new(everything(forward(sleeping())));
    let mut raw = frames::Raw::connect(gateway.address);
    raw.send(frames::request(1, frames::END_STREAM, &[]));
    eventually(&gateway, &held(1));
    raw.send(frames::frame(frames::RST_STREAM, 0, 1, &8_u32.to_be_bytes()));
    eventually(&gateway, &ended("client_gone", 1));
    eventually(&gateway, &errors("DR", "client"));
}
