//! Messages of every form pass as they are, and connections are used again.

use std::sync::Arc;

use super::support::{Endpoint, Gateway, cluster, field, nobody, status};
use gateway::table::{ListenerService, Split};

const CHUNKED: &str = "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";

#[test]
fn requests_of_one_client_share_a_connection_to_the_endpoint() {
    let endpoint = Endpoint::saying("hello");
    let gateway = Gateway::to(&[&endpoint]);
    let mut client = gateway.client();
    for _ in 0..10 {
        assert_eq!(client.get("/").1, "hello");
    }
    assert_eq!(endpoint.connections(), 1);
}

#[test]
fn pipelined_requests_are_answered_in_their_order() {
    let gateway = Gateway::to(&[&Endpoint::mirror()]);
    let mut client = gateway.client();
    let post = "POST /2 HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc";
    client.send(format!("GET /1 HTTP/1.1\r\nHost: a\r\n\r\n{post}GET /3 HTTP/1.1\r\nHost: a\r\n\r\n"));
    for line in ["GET /1 ", "POST /2 ", "GET /3 "] {
        let (_, seen) = client.message();
        assert!(seen.starts_with(line), "{seen}");
    }
}

#[test]
fn large_bodies_pass_unchanged_in_both_directions() {
    const LENGTH: usize = 3_000_000;
    let endpoint = Endpoint::new(|peer| {
        let head = peer.head();
        let body = peer.exactly(field(&head, "content-length").unwrap().parse().unwrap());
        peer.send(format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len()));
        peer.send(body);
    });
    let gateway = Gateway::to(&[&endpoint]);
    let body: Vec<u8> = (0..LENGTH).map(|at| (at % 251) as u8).collect();
    let mut client = gateway.client();
    client.send(format!("PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: {LENGTH}\r\n\r\n"));
    client.send(&body);
    assert_eq!(status(&client.head()), "200");
    assert!(client.exactly(LENGTH) == body);
}

#[test]
fn chunks_and_trailers_pass_in_both_directions() {
    let endpoint = Endpoint::new(|peer| {
        let head = peer.head();
        assert_eq!(field(&head, "transfer-encoding"), Some("chunked"));
        let mut body = String::new();
        while !body.ends_with("\r\n\r\n") {
            body += &peer.text(1);
        }
        peer.send(format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n{body}"));
    });
    let gateway = Gateway::to(&[&endpoint]);
    let mut client = gateway.client();
    client.send(CHUNKED);
    let body = "5\r\nhello\r\n0\r\nX-Sum: 1\r\n\r\n";
    client.send(body);
    let head = client.head();
    assert_eq!((field(&head, "transfer-encoding"), field(&head, "trailer")), (Some("chunked"), Some("X-Sum")));
    assert_eq!(client.text(body.len()), body);
}

#[test]
fn responses_without_a_body_are_known_to_have_none() {
    let endpoint = Endpoint::new(|peer| {
        loop {
            let head = peer.head();
            let response = match head.split(' ').next().unwrap() {
                "HEAD" => "HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n",
                "DELETE" => "HTTP/1.1 204 No Content\r\n\r\n",
                "GET" => "HTTP/1.1 304 Not Modified\r\nContent-Length: 500\r\nETag: \"a\"\r\n\r\n",
                _ => return,
            };
            peer.send(response);
        }
    });
    let gateway = Gateway::to(&[&endpoint]);
    let mut client = gateway.client();
    for (method, expected, length) in
        [("HEAD", "200", Some("500")), ("DELETE", "204", None), ("GET", "304", Some("500"))]
    {
        client.send(format!("{method} / HTTP/1.1\r\nHost: a\r\n\r\n"));
        let head = client.head();
        assert_eq!((status(&head), field(&head, "content-length")), (expected, length), "{method}");
    }
    assert_eq!(endpoint.connections(), 1);
}

#[test]
fn a_response_that_ends_with_its_connection_is_delimited_for_the_client() {
    let gateway = Gateway::to(&[&Endpoint::answering("HTTP/1.0 200 OK\r\n\r\nuntil the end")]);
    let mut client = gateway.client();
    for _ in 0..2 {
        client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
        assert_eq!(field(&client.head(), "transfer-encoding"), Some("chunked"));
        let mut body = String::new();
        while !body.ends_with("0\r\n\r\n") {
            body += &client.text(1);
        }
        assert!(body.contains("until the end"), "{body}");
    }
}

#[test]
fn a_client_of_http_1_0_gets_what_it_understands() {
    let chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n";
    let gateway = Gateway::to(&[&Endpoint::answering(chunked)]);
    let mut client = gateway.client();
    client.send("GET / HTTP/1.0\r\n\r\n");
    let head = client.head();
    assert_eq!((field(&head, "transfer-encoding"), field(&head, "connection")), (None, Some("close")));
    assert_eq!(client.rest(), b"hello");

    let gateway = Gateway::to(&[&Endpoint::saying("kept")]);
    let mut client = gateway.client();
    for _ in 0..2 {
        client.send("GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
        let (head, body) = client.message();
        assert_eq!((field(&head, "connection"), body.as_str()), (Some("keep-alive"), "kept"));
    }
    client.send("GET / HTTP/1.0\r\n\r\n");
    assert_eq!(field(&client.message().0, "connection"), Some("close"));
    client.assert_closed();
}

#[test]
fn the_endpoint_decides_whether_a_client_that_asks_may_send_its_body() {
    let endpoint = Endpoint::new(|peer| {
        let head = peer.head();
        if head.starts_with("POST /refused ") {
            return peer.send("HTTP/1.1 413 Content Too Large\r\nContent-Length: 0\r\n\r\n");
        }
        assert_eq!(field(&head, "expect"), Some("100-continue"));
        peer.send("HTTP/1.1 100 Continue\r\n\r\n");
        let body = peer.text(5);
        // Said, so that the proxy does not give the next request to a connection that is about to be closed.
        peer.send(format!("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 5\r\n\r\n{body}"));
    });
    let gateway = Gateway::to(&[&endpoint]);
    let ask =
        |path: &str| format!("POST {path} HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n");
    let mut client = gateway.client();
    client.send(ask("/"));
    assert_eq!(client.head(), "HTTP/1.1 100 Continue\r\n\r\n");
    client.send("hello");
    assert_eq!(client.message().1, "hello");

    let mut client = gateway.client();
    client.send(ask("/refused"));
    let head = client.head();
    assert_eq!((status(&head), field(&head, "connection")), ("413", Some("close")));
    client.assert_closed();
}

#[test]
fn an_early_response_reaches_a_client_that_is_still_sending() {
    let gateway = Gateway::to(&[&Endpoint::new(|peer| {
        peer.head();
        peer.send("HTTP/1.1 413 Content Too Large\r\nContent-Length: 3\r\n\r\nno\n");
    })]);
    let mut client = gateway.client();
    client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 50000000\r\n\r\n");
    client.send(vec![b'x'; 100_000]);
    let (head, body) = client.message();
    assert_eq!((status(&head), field(&head, "connection"), body.as_str()), ("413", Some("close"), "no\n"));
}

#[test]
fn a_changed_protocol_moves_bytes_both_ways_until_both_ends_are_done() {
    let endpoint = Endpoint::new(|peer| {
        let head = peer.head();
        assert_eq!((field(&head, "upgrade"), field(&head, "connection")), (Some("websocket"), Some("upgrade")));
        peer.send("HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\nfirst");
        let sent = peer.rest();
        peer.send("you said ");
        peer.send(sent);
    });
    let gateway = Gateway::to(&[&endpoint]);
    let mut client = gateway.client();
    client.send("GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: keep-alive, Upgrade\r\n\r\n\x01\x02");
    let head = client.head();
    assert_eq!((status(&head), field(&head, "upgrade")), ("101", Some("websocket")));
    assert_eq!(client.text(5), "first");
    client.send("\x03");
    client.end_writing();
    assert_eq!(client.rest(), b"you said \x01\x02\x03");
}

#[test]
fn an_endpoint_may_decline_to_change_the_protocol() {
    let gateway = Gateway::to(&[&Endpoint::saying("no")]);
    let mut client = gateway.client();
    client.send("GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n");
    assert_eq!(client.message().1, "no");
    assert_eq!(client.get("/").1, "no");
}

#[test]
fn a_port_that_is_not_http_is_joined_to_an_endpoint() {
    let endpoint = Endpoint::new(|peer| {
        let sent = peer.rest();
        peer.send(sent);
    });
    let gateway = Gateway::new(ListenerService::Tcp(Arc::new(Split::to(cluster(&[nobody(), endpoint.address])))));
    for _ in 0..2 {
        let mut client = gateway.client();
        client.send("anything\n");
        client.end_writing();
        assert_eq!(client.rest(), b"anything\n");
    }
}
