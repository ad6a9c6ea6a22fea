//! gRPC: statuses in trailers pass, and what the proxy has to say is said in gRPC's own way.

use gateway::table::{Hosts, ListenerService};
use http::{HeaderMap, HeaderValue, StatusCode};
use std::sync::Arc;

use super::{
    super::support::{Gateway, everything, nobody, rule},
    Endpoint, ask, connect, run, send_whole, to_http2,
};

fn call() -> http::Request<()> {
    let call = http::Request::post("http://example.com/shop.Cart/Add");
    call.header("content-type", "application/grpc+proto").header("te", "trailers").body(()).unwrap()
}

#[test]
fn a_call_passes_with_its_trailers_and_deadline() {
    let endpoint = Endpoint::echo("grpc-timeout");
    let gateway = endpoint.gateway();
    run(async {
        let mut trailers = HeaderMap::new();
        trailers.insert("grpc-status", HeaderValue::from_static("5"));
        let mut call = call();
        call.headers_mut().insert("grpc-timeout", HeaderValue::from_static("100m"));
        let message = b"\\0\\0\\0\\0\\x02hi".to_vec();
        let client = connect(gateway.address).await;
        let answered = send_whole(&client, call, message.clone(), Some(trailers.clone())).await.unwrap();
        assert_eq!((answered.body, answered.trailers), (message, Some(trailers)));
        assert_eq!(answered.head.headers["x-field"], "100m");
    });
}

#[test]
fn what_the_proxy_refuses_is_a_status_of_grpc() {
    let nobody_there = to_http2(&[nobody()]);
    let none_ready = to_http2(&[]);
    let no_route = Gateway::new(ListenerService::Http(Arc::new(Hosts::default())));
    let invalid = Gateway::new(everything(rule(gateway::table::Action::Respond(StatusCode::INTERNAL_SERVER_ERROR))));
    run(async {
        for (gateway, status) in [(&nobody_there, "14"), (&none_ready, "14"), (&no_route, "12"), (&invalid, "2")] {
            let answered = ask(&connect(gateway.address).await, call()).await.unwrap();
            assert_eq!(answered.head.status, 200);
            assert_eq!(answered.field("grpc-status"), Some(status), "{answered:?}");
            assert_eq!(answered.field("content-type"), Some("application/grpc"));
            assert!(answered.field("grpc-message").is_some() && answered.body.is_empty(), "{answered:?}");
        }
    });
}
