//! When an endpoint or a client fails, nobody waits for ever and nothing is done twice that may not be.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use gateway::{proxy::Timeouts, table::Cluster};

use super::support::{Endpoint, Gateway, cluster, everything, field, forward, nobody, status};

/// The shortest that the proxy tells from none.
const SOON: Duration = Duration::from_millis(250);

fn over(cluster: Arc<Cluster>) -> Gateway {
    Gateway::new(everything(forward(cluster)))
}

#[test]
fn without_an_endpoint_the_answer_is_503_and_the_connection_stays() {
    let gateway = Gateway::to(&[]);
    let mut client = gateway.client();
    for _ in 0..2 {
        let (head, text) = client.get("/");
        assert_eq!((status(&head), text.as_str()), ("503", "no endpoint is ready\n"));
    }
}

#[test]
fn an_endpoint_that_refuses_connections_is_passed_over_for_every_method() {
    let gateway = over(cluster(&[nobody(), Endpoint::saying("alive").address, nobody()]));
    let mut client = gateway.client();
    for _ in 0..6 {
        assert_eq!(client.get("/").1, "alive");
        client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi");
        assert_eq!(client.message().1, "alive");
    }
    let gateway = over(cluster(&[nobody()]));
    assert_eq!(status(&gateway.client().get("/").0), "503");
}

#[test]
fn a_request_that_may_be_repeated_is_sent_to_another_endpoint_once() {
    let dying = || Endpoint::new(|peer| drop(peer.head()));
    let (one, two, alive) = (dying(), dying(), Endpoint::saying("alive"));
    let gateway = Gateway::to(&[&one, &alive]);
    let mut client = gateway.client();
    for _ in 0..4 {
        assert_eq!(client.get("/").1, "alive");
    }
    let gateway = Gateway::to(&[&one, &two]);
    assert_eq!(status(&gateway.client().get("/").0), "503");
    assert_eq!(two.connections(), 1);
}

#[test]
fn a_request_that_may_not_be_repeated_is_not() {
    let seen = Arc::new(AtomicUsize::new(0));
    let count = seen.clone();
    let dying = Endpoint::new(move |peer| {
        peer.message();
        count.fetch_add(1, Ordering::SeqCst);
    });
    let gateway = Gateway::to(&[&dying]);
    let mut client = gateway.client();
    client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi");
    assert_eq!(status(&client.message().0), "503");
    assert_eq!(seen.load(Ordering::SeqCst), 1);
}

#[test]
fn a_kept_connection_that_the_endpoint_has_closed_costs_no_request() {
    // Each connection serves one request, says that it stays open, and closes.
    let endpoint = Endpoint::answering("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
    let gateway = Gateway::to(&[&endpoint]);
    let mut client = gateway.client();
    for _ in 0..20 {
        assert_eq!(client.get("/").1, "ok");
        client.send("PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n");
        assert_eq!(client.message().1, "ok");
    }
}

#[test]
fn a_response_that_is_none_is_answered_with_502() {
    for response in [
        "SSH-2.0-OpenSSH_9.2\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n",
        "HTTP/1.1 200 OK\r\nConte",
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: other\r\n\r\n",
    ] {
        let gateway = Gateway::to(&[&Endpoint::answering(response)]);
        assert_eq!(status(&gateway.client().get("/").0), "502", "{response}");
    }
}

#[test]
fn a_response_that_breaks_off_breaks_off_for_the_client() {
    for (response, expected) in [
        ("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf", "half"),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n", "4\r\nhalf\r\n"),
    ] {
        let gateway = Gateway::to(&[&Endpoint::answering(response)]);
        let mut client = gateway.client();
        client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
        assert_eq!(status(&client.head()), "200");
        assert_eq!(String::from_utf8(client.rest()).unwrap(), expected);
    }
}

/// An endpoint that reads and never answers.
fn silent() -> Endpoint {
    Endpoint::new(|peer| drop(peer.rest()))
}

#[test]
fn a_routes_time_limits_are_kept() {
    let endpoint = silent();
    let mut rule = forward(cluster(&[endpoint.address]));
    rule.request_timeout = Some(SOON);
    let gateway = Gateway::new(everything(rule));
    assert_eq!(status(&gateway.client().get("/").0), "504");

    let mut rule = forward(cluster(&[endpoint.address]));
    rule.backend_timeout = Some(SOON);
    gateway.serve(everything(rule));
    let mut client = gateway.client();
    assert_eq!(status(&client.get("/").0), "504");

    gateway.serve(everything(forward(cluster(&[Endpoint::saying("fast").address]))));
    assert_eq!(client.get("/").1, "fast");
}

#[test]
fn a_silent_endpoint_and_a_silent_client_are_given_up() {
    let timeouts = Timeouts { head: SOON, body: SOON, exchange: 2 * SOON, ..Timeouts::default() };
    let gateway = Gateway::with(everything(forward(cluster(&[silent().address]))), timeouts);
    assert_eq!(status(&gateway.client().get("/").0), "504");

    for (request, text) in [
        ("GET / HTTP/1.1\r\nHost: a\r\n", "the request's head does not arrive\n"),
        ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhel", "the request's body does not arrive\n"),
    ] {
        let mut client = gateway.client();
        client.send(request);
        let (head, said) = client.message();
        assert_eq!((status(&head), field(&head, "connection"), said.as_str()), ("408", Some("close"), text));
        client.assert_closed();
    }
}

#[test]
fn an_idle_client_is_closed_without_a_word() {
    let timeouts = Timeouts { idle: SOON, ..Timeouts::default() };
    let gateway = Gateway::with(everything(forward(cluster(&[Endpoint::saying("hello").address]))), timeouts);
    gateway.client().assert_closed();
    let mut client = gateway.client();
    assert_eq!(client.get("/").1, "hello");
    client.assert_closed();
}

#[test]
fn a_request_whose_client_is_gone_is_given_up() {
    let (gone, noticed) = std::sync::mpsc::channel();
    let endpoint = Endpoint::new(move |peer| {
        peer.head();
        peer.rest();
        gone.send(()).unwrap();
    });
    let gateway = Gateway::to(&[&endpoint]);
    let mut client = gateway.client();
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    drop(client);
    noticed.recv_timeout(Duration::from_secs(20)).unwrap();
}
