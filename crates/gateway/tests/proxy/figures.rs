//! What is counted of requests and connections, however they end.

use std::{future::Future, net::Shutdown, sync::Arc, time::Duration};

use gateway::{
    policy::Retry,
    proxy::Timeouts,
    table::{Action, ListenerService, Secured, Split},
};
use http::StatusCode;

use super::http2::frames;
use super::support::{Endpoint, Gateway, Peer, cluster, everything, forward, nobody, rule, status};

pub fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}

/// The figures, when they have come to hold `line`: a request is counted a moment after its client has the response.
pub fn eventually(gateway: &Gateway, line: &str) -> String {
    let until = std::time::Instant::now() + Duration::from_secs(20);
    loop {
        let text = block_on(gateway.proxy.metrics()).prometheus();
        let found = text.lines().any(|found| without_port(found) == line);
        if found {
            return text;
        }
        assert!(std::time::Instant::now() < until, "there is no {line:?} in\n{text}");
        std::thread::yield_now();
    }
}

/// Ports are free ones: they are no part of what is expected.
fn without_port(line: &str) -> String {
    let Some((before, after)) = line.split_once(",port=\"") else { return line.to_owned() };
    format!("{before}{}", after.split_once('"').unwrap().1)
}

fn requests(route: &str, service: &str, status: &str, fault: &str, count: u64) -> String {
    format!(
        "coracle_gateway_requests_total{{listener=\"default/test\",route=\"{route}\",service=\"{service}\",status=\"{status}\",\
         fault=\"{fault}\"}} {count}"
    )
}

pub fn errors(flag: &str, fault: &str) -> String {
    format!("coracle_gateway_errors_total{{listener=\"default/test\",flag=\"{flag}\",fault=\"{fault}\"}} 1")
}

fn of_route(name: &str, value: u64) -> String {
    format!(
        "coracle_gateway_{name}{{listener=\"default/test\",route=\"default/test/0\",service=\"default/test:80\"}} {value}"
    )
}

#[test]
fn requests_are_counted_by_route_service_status_and_fault() {
    let endpoint = Endpoint::saying("hello");
    let gateway = Gateway::to(&[&endpoint]);
    let mut client = gateway.client();
    for _ in 0..3 {
        client.get("/");
    }
    client.send("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nbody\r\n0\r\n\r\n");
    client.message();
    let text = eventually(&gateway, &requests("default/test/0", "default/test:80", "2xx", "none", 4));
    for line in [
        of_route("response_bytes_total", 20),
        of_route("request_bytes_total", 4),
        "coracle_gateway_request_duration_seconds_count{listener=\"default/test\",route=\"default/test/0\",\
         service=\"default/test:80\",status=\"2xx\"} 4"
            .to_owned(),
        "coracle_gateway_upstream_connections_total{service=\"default/test:80\",result=\"opened\"} 1".to_owned(),
        of_route("retries_total", 0),
        "coracle_gateway_connections_total{listener=\"default/test\"} 1".to_owned(),
        "coracle_gateway_open_connections{listener=\"default/test\"} 1".to_owned(),
        "coracle_gateway_open_requests{listener=\"default/test\"} 0".to_owned(),
    ] {
        assert!(text.lines().any(|found| without_port(found) == line), "{line}\n{text}");
    }
    drop(client);
    eventually(&gateway, "coracle_gateway_open_connections{listener=\"default/test\"} 0");
}

#[test]
fn a_request_that_no_route_wants_is_the_clients_fault_and_a_broken_backend_the_proxys() {
    let gateway = Gateway::new(everything(rule(Action::Respond(StatusCode::INTERNAL_SERVER_ERROR))));
    gateway.client().get("/");
    eventually(&gateway, &requests("default/test/0", "", "5xx", "proxy", 1));
    eventually(&gateway, &errors("NC", "proxy"));
    gateway.serve(ListenerService::Http(Arc::default()));
    gateway.client().get("/");
    eventually(&gateway, &requests("", "", "4xx", "client", 1));
    eventually(&gateway, &errors("NR", "client"));
}

#[test]
fn what_cannot_be_read_as_a_request_is_counted_too() {
    let gateway = Gateway::to(&[]);
    let mut client = gateway.client();
    client.send("nonsense\r\n\r\n");
    assert_eq!(status(&client.head()), "400");
    eventually(&gateway, &requests("", "", "4xx", "client", 1));
    eventually(&gateway, &errors("DPE", "client"));
}

#[test]
fn a_service_without_endpoints_is_told_from_one_whose_endpoints_are_gone() {
    let gateway = Gateway::to(&[]);
    gateway.client().get("/");
    eventually(&gateway, &errors("UH", "upstream"));
    gateway.serve(everything(forward(cluster(&[nobody(), nobody()]))));
    gateway.client().get("/");
    eventually(&gateway, &errors("UF", "upstream"));
    let refused = "coracle_gateway_upstream_connections_total{service=\"default/test:80\",result=\"refused\"} 2";
    eventually(&gateway, refused);
    let text = eventually(&gateway, &requests("default/test/0", "default/test:80", "5xx", "upstream", 2));
    assert!(text.lines().any(|line| without_port(line) == of_route("retries_total", 1)), "{text}");
}

#[test]
fn a_response_that_is_not_http_and_one_that_breaks_off_are_the_endpoints_fault() {
    let nonsense = Endpoint::answering("nonsense\r\n\r\n");
    let gateway = Gateway::to(&[&nonsense]);
    assert_eq!(status(&gateway.client().get("/").0), "502");
    eventually(&gateway, &errors("UPE", "upstream"));
    let short = Endpoint::answering("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nshort");
    gateway.serve(everything(forward(cluster(&[short.address]))));
    let mut client = gateway.client();
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    client.rest();
    eventually(&gateway, &errors("UC", "upstream"));
    eventually(&gateway, &requests("default/test/0", "default/test:80", "2xx", "upstream", 1));
}

#[test]
fn a_client_that_goes_away_is_told_from_an_endpoint_that_does_not_answer() {
    let silent = Endpoint::new(|peer: &mut Peer| {
        peer.message();
        // Until the proxy hangs up.
        peer.rest();
    });
    let mut slow = forward(cluster(&[silent.address]));
    slow.request_timeout = Some(Duration::from_millis(50));
    let gateway = Gateway::with(everything(slow), Timeouts::default());
    assert_eq!(status(&gateway.client().get("/").0), "504");
    eventually(&gateway, &errors("UT", "upstream"));
    gateway.serve(everything(forward(cluster(&[silent.address]))));
    let stream = std::net::TcpStream::connect(gateway.address).unwrap();
    let mut client = Peer::new(stream.try_clone().unwrap());
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    eventually(&gateway, "coracle_gateway_open_requests{listener=\"default/test\"} 1");
    stream.shutdown(Shutdown::Both).unwrap();
    eventually(&gateway, &errors("DC", "client"));
    eventually(&gateway, &requests("default/test/0", "default/test:80", "none", "client", 1));
}

#[test]
fn what_an_upgraded_connection_carries_is_counted_when_it_ends() {
    let endpoint = Endpoint::new(|peer: &mut Peer| {
        peer.head();
        peer.send("HTTP/1.1 101 Switching Protocols\r\nUpgrade: echo\r\nConnection: upgrade\r\n\r\n");
        let bytes = peer.exactly(4);
        peer.send([bytes.as_slice(), b"!"].concat());
    });
    let gateway = Gateway::to(&[&endpoint]);
    let mut client = gateway.client();
    client.send("GET / HTTP/1.1\r\nHost: a\r\nUpgrade: echo\r\nConnection: upgrade\r\n\r\n");
    assert_eq!(status(&client.head()), "101");
    client.send("ping");
    assert_eq!(client.text(5), "ping!");
    client.end_writing();
    eventually(&gateway, &requests("default/test/0", "default/test:80", "1xx", "none", 1));
    eventually(&gateway, &of_route("request_bytes_total", 4));
    eventually(&gateway, &of_route("response_bytes_total", 5));
}

#[test]
fn streams_of_http_2_are_requests_and_their_resets_are_told_from_connections_that_end() {
    let silent = Endpoint::new(|peer: &mut Peer| {
        peer.message();
        peer.rest();
    });
    let gateway = Gateway::to(&[&silent]);
    let mut raw = frames::Raw::connect(gateway.address);
    raw.send(frames::request(1, frames::END_STREAM, &[]));
    eventually(&gateway, "coracle_gateway_open_requests{listener=\"default/test\"} 1");
    raw.send(frames::frame(frames::RST_STREAM, 0, 1, &8_u32.to_be_bytes()));
    eventually(&gateway, &errors("DR", "client"));
    eventually(&gateway, &requests("default/test/0", "default/test:80", "none", "client", 1));
}

#[test]
fn openmetrics_names_families_without_their_suffix_and_ends() {
    let gateway = Gateway::to(&[]);
    gateway.client().get("/");
    eventually(&gateway, &errors("UH", "upstream"));
    let text = block_on(gateway.proxy.metrics()).openmetrics();
    assert!(text.contains("# TYPE coracle_gateway_requests counter\n"), "{text}");
    assert!(text.contains("\ncoracle_gateway_requests_total{"), "{text}");
    assert!(text.ends_with("# EOF\n"), "{text}");
}

#[test]
fn a_request_that_was_tried_in_vain_says_so_and_one_that_got_through_does_not() {
    let endpoint = Endpoint::saying("hello");
    let mut retried = forward(cluster(&[nobody(), nobody(), nobody(), endpoint.address]));
    retried.retry = Some(Retry { codes: [503].into(), attempts: 3, backoff: Duration::from_millis(1) });
    let gateway = Gateway::new(everything(retried));
    assert_eq!(status(&gateway.client().get("/").0), "200");
    let text = eventually(&gateway, &requests("default/test/0", "default/test:80", "2xx", "none", 1));
    assert!(!text.contains("coracle_gateway_errors_total{"), "{text}");

    let unwilling = Endpoint::answering("HTTP/1.1 503 No\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
    let mut retried = forward(cluster(&[unwilling.address]));
    retried.retry = Some(Retry { codes: [503].into(), attempts: 2, backoff: Duration::from_millis(1) });
    gateway.serve(everything(retried));
    assert_eq!(status(&gateway.client().get("/").0), "503");
    eventually(&gateway, &errors("URX", "upstream"));
    eventually(&gateway, &requests("default/test/0", "default/test:80", "5xx", "upstream", 1));
}

#[test]
fn connections_that_are_not_http_are_counted_with_their_bytes() {
    let endpoint = Endpoint::new(|peer: &mut Peer| {
        let bytes = peer.exactly(4);
        peer.send([bytes.as_slice(), b"!"].concat());
    });
    let gateway = Gateway::new(ListenerService::Tcp(Arc::new(Split::to(cluster(&[endpoint.address])))));
    let mut client = gateway.client();
    client.send("ping");
    client.end_writing();
    assert_eq!(client.rest(), b"ping!");
    let series = |name: &str, fault: &str, value: u64| {
        format!(
            "coracle_gateway_{name}{{listener=\"default/test\",route=\"\",service=\"default/test:80\"{fault}}} {value}"
        )
    };
    let text = eventually(&gateway, &series("tcp_connections_total", ",fault=\"none\"", 1));
    for line in [series("request_bytes_total", "", 4), series("response_bytes_total", "", 5)] {
        assert!(text.lines().any(|found| without_port(found) == line), "{line}\n{text}");
    }
    assert!(!text.contains("coracle_gateway_requests_total{"), "{text}");
    gateway.serve(ListenerService::Tcp(Arc::new(Split::to(cluster(&[nobody()])))));
    gateway.client().assert_closed();
    eventually(&gateway, &errors("UF", "upstream"));
}

#[test]
fn tls_that_does_not_come_about_is_counted_with_the_reason() {
    let gateway = Gateway::new(ListenerService::Tls(Arc::new(Secured::default())));
    gateway.client().send_some("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    eventually(&gateway, "coracle_gateway_tls_errors_total{listener=\"default/test\",kind=\"not_tls\"} 1");
    drop(gateway.client());
    eventually(&gateway, "coracle_gateway_tls_errors_total{listener=\"default/test\",kind=\"closed\"} 1");
}
