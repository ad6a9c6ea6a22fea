//! Requests and responses from HTTP/2 to HTTP/1.1 and back, and from end to end.

use std::{
    io::Write,
    net::TcpStream,
    sync::{Arc, Barrier, Mutex, mpsc},
};

use http::{HeaderMap, HeaderValue};

use super::{
    super::support::{self, Gateway, Peer, field, status},
    Endpoint, ask, connect, frames, get, post, receive, run, send_whole,
};

fn big(length: usize) -> Vec<u8> {
    (0..length).map(|n| u8::try_from(n % 251).unwrap()).collect()
}

#[test]
fn requests_of_one_connection_are_served_at_the_same_time() {
    let together = Arc::new(Barrier::new(8));
    let endpoint = support::Endpoint::new(move |peer| {
        peer.message();
        together.wait();
        peer.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
    });
    let gateway = Gateway::to(&[&endpoint]);
    run(async {
        let client = connect(gateway.address).await;
        let asked = (0..8).map(|_| ask(&client, get("/")));
        for response in futures::future::join_all(asked).await {
            assert_eq!(response.unwrap().text(), "ok");
        }
    });
}

#[test]
fn requests_that_follow_others_of_their_connection_get_their_own_responses() {
    let gateway = Gateway::to(&[&support::Endpoint::mirror()]);
    run(async {
        let client = connect(gateway.address).await;
        for together in [1, 40, 1, 7, 100, 1] {
            let ask_for = async |number: usize| {
                let response = ask(&client, get(&format!("/{together}/{number}"))).await.unwrap();
                let text = response.text();
                assert!(text.starts_with(&format!("GET /{together}/{number} HTTP/1.1\r\n")), "{text}");
                assert_eq!(response.field("content-length"), Some(text.len().to_string().as_str()));
            };
            futures::future::join_all((0..together).map(ask_for)).await;
        }
    });
}

#[test]
fn a_request_is_told_to_an_endpoint_of_http_1_1_in_its_words() {
    let gateway = Gateway::to(&[&support::Endpoint::mirror()]);
    run(async {
        let client = connect(gateway.address).await;
        let request = http::Request::get("http://Example.com:8080/a//b/../c?q=1")
            .header("cookie", "a=1")
            .header("te", "trailers")
            .header("x-custom", "yes")
            .header("cookie", "b=2")
            .header("x-forwarded-for", "192.0.2.7")
            .body(());
        let response = ask(&client, request.unwrap()).await.unwrap();
        let head = response.text();
        assert!(head.starts_with("GET /a/c?q=1 HTTP/1.1\r\n"), "{head}");
        assert_eq!(field(head, "host"), Some("Example.com:8080"));
        assert_eq!(field(head, "cookie"), Some("a=1; b=2"));
        assert_eq!(field(head, "x-custom"), Some("yes"));
        assert_eq!(field(head, "x-forwarded-for"), Some("192.0.2.7, 127.0.0.1"));
        assert_eq!(field(head, "x-forwarded-proto"), Some("http"));
        assert!(field(head, "traceparent").is_some() && field(head, "x-request-id").is_some(), "{head}");
        assert!(field(head, "te").is_none() && field(head, "transfer-encoding").is_none(), "{head}");
    });
}

#[test]
fn a_response_of_http_1_1_loses_what_was_meant_for_the_connection() {
    let gateway = Gateway::to(&[&support::Endpoint::answering(
        "HTTP/1.1 200 OK\r\nConnection: close, X-Hop\r\nKeep-Alive: timeout=5\r\nX-Hop: 1\r\nX-End: 2\r\n\r\nall of it",
    )]);
    run(async {
        let response = ask(&connect(gateway.address).await, get("/")).await.unwrap();
        assert_eq!((response.head.status.as_u16(), response.text()), (200, "all of it"));
        assert_eq!((response.field("x-end"), response.field("x-hop")), (Some("2"), None));
        assert!(response.field("connection").is_none() && response.field("keep-alive").is_none());
        assert!(response.field("date").is_some());
    });
}

#[test]
fn large_bodies_and_trailers_pass_to_http_1_1_and_back() {
    let endpoint = support::Endpoint::new(|peer| {
        let head = peer.head();
        assert_eq!(field(&head, "transfer-encoding"), Some("chunked"));
        let mut body = Vec::new();
        loop {
            let line = peer.line();
            let size = usize::from_str_radix(line.trim_end(), 16).unwrap();
            body.extend(peer.exactly(size));
            if size == 0 {
                break;
            }
            peer.exactly(2);
        }
        let trailers = peer.head();
        let trailer = field(&trailers, "x-sum").unwrap().to_owned();
        peer.send(format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{:x}\r\n", body.len()));
        peer.send(&body);
        peer.send(format!("\r\n0\r\nX-Sum: {trailer}\r\n\r\n"));
    });
    let gateway = Gateway::to(&[&endpoint]);
    run(async {
        let mut trailers = HeaderMap::new();
        trailers.insert("x-sum", HeaderValue::from_static("251"));
        let client = connect(gateway.address).await;
        let response = send_whole(&client, post("/"), big(1_000_000), Some(trailers.clone())).await.unwrap();
        assert!(response.body == big(1_000_000), "{} bytes", response.body.len());
        assert_eq!(response.trailers, Some(trailers));
    });
}

#[test]
fn a_length_that_is_known_is_kept() {
    let gateway = Gateway::to(&[&support::Endpoint::mirror()]);
    run(async {
        let request = http::Request::post("http://example.com/").header("content-length", "5").body(()).unwrap();
        let client = connect(gateway.address).await;
        let response = send_whole(&client, request, b"hello".to_vec(), None).await.unwrap();
        assert_eq!(field(response.text(), "content-length"), Some("5"));
        assert_eq!(response.field("content-length"), Some(response.body.len().to_string().as_str()));
    });
}

#[test]
fn http_2_passes_from_end_to_end_with_bodies_and_trailers_on_one_connection() {
    let endpoint = Endpoint::echo("te");
    let gateway = endpoint.gateway();
    run(async {
        let mut trailers = HeaderMap::new();
        trailers.insert("grpc-status", HeaderValue::from_static("0"));
        let client = connect(gateway.address).await;
        for length in [0, 5, 1_000_000] {
            let request = http::Request::post("http://example.com/a?b").header("te", "trailers").body(()).unwrap();
            let response = send_whole(&client, request, big(length), Some(trailers.clone())).await.unwrap();
            assert!(response.body == big(length), "{} bytes", response.body.len());
            assert_eq!(response.trailers.as_ref(), Some(&trailers));
            assert_eq!(response.field("x-field"), Some("trailers"));
            assert_eq!(response.field("x-asked"), Some("POST http://example.com/a?b HTTP/2.0"));
        }
        let burst = (0..50).map(|_| ask(&client, get("/")));
        assert!(futures::future::join_all(burst).await.iter().all(Result::is_ok));
    });
    assert_eq!(endpoint.connections(), 1);
}

#[test]
fn a_client_of_http_1_1_reaches_an_endpoint_of_http_2() {
    let endpoint = Endpoint::echo("x-forwarded-for");
    let gateway = endpoint.gateway();
    let mut client = gateway.client();
    let (head, body) = {
        client.send("POST /x HTTP/1.1\r\nHost: example.com\r\nContent-Length: 5\r\n\r\nhello");
        let head = client.head();
        assert_eq!(field(&head, "transfer-encoding"), Some("chunked"));
        (head, client.text("5\r\nhello\r\n0\r\n\r\n".len()))
    };
    assert_eq!((status(&head), body.as_str()), ("200", "5\r\nhello\r\n0\r\n\r\n"));
    assert_eq!(field(&head, "x-asked"), Some("POST http://example.com/x HTTP/2.0"));
    assert_eq!(field(&head, "x-field"), Some("127.0.0.1"));
    client.send(
        "POST /x HTTP/1.1\r\nHost: example.com\r\nTransfer-Encoding: chunked\r\n\r\n\
         3\r\nabc\r\n3\r\ndef\r\n0\r\nX-Trailer: t\r\n\r\n",
    );
    let head = client.head();
    assert_eq!(field(&head, "x-length"), Some("6"));
    assert!(client.text("6\r\nabcdef\r\n0\r\nx-trailer: t\r\n\r\n".len()).ends_with("x-trailer: t\r\n\r\n"));
}

#[test]
fn a_preface_is_known_however_it_is_cut() {
    let gateway = Gateway::to(&[&support::Endpoint::saying("hello")]);
    let mut tcp = TcpStream::connect(gateway.address).unwrap();
    tcp.set_nodelay(true).unwrap();
    for byte in frames::PREFACE {
        tcp.write_all(&[*byte]).unwrap();
    }
    let mut raw = frames::Raw(tcp);
    raw.send(frames::frame(frames::SETTINGS, 0, 0, &[]));
    raw.send(frames::request(1, frames::END_STREAM, &[]));
    assert_eq!(raw.next_of(frames::DATA).unwrap().payload, b"hello");
}

#[test]
fn what_only_begins_like_a_preface_is_http_1() {
    let gateway = Gateway::to(&[&support::Endpoint::mirror()]);
    let mut client: Peer = gateway.client();
    client.send("PRI /x HTTP/1.1\r\nHost: example.com\r\n\r\n");
    let (_, asked) = client.message();
    assert!(asked.starts_with("PRI /x HTTP/1.1\r\n"), "{asked}");
    let mut client = gateway.client();
    client.send("PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n");
    assert_eq!(status(&client.head()), "505");
}

#[test]
fn interim_responses_reach_the_client_before_the_final_one() {
    let endpoint = support::Endpoint::new(|peer| {
        peer.message();
        peer.send("HTTP/1.1 103 Early Hints\r\nLink: </style.css>\r\n\r\n");
        peer.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
    });
    let gateway = Gateway::to(&[&endpoint]);
    let mut raw = frames::Raw::connect(gateway.address);
    raw.send(frames::request(1, frames::END_STREAM, &[]));
    let (first, second) = (raw.next_of(frames::HEADERS).unwrap(), raw.next_of(frames::HEADERS).unwrap());
    assert_eq!((first.flags & frames::END_STREAM, second.flags & frames::END_STREAM), (0, 0));
    assert_eq!(raw.next_of(frames::DATA).unwrap().payload, b"ok");
}

#[test]
fn an_event_stream_is_not_held_back() {
    let (seen, next) = mpsc::channel();
    let next = Mutex::new(next);
    let endpoint = support::Endpoint::new(move |peer| {
        peer.message();
        peer.send("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n");
        for n in 0..3 {
            peer.send(format!("data: {n}\n\n"));
            next.lock().unwrap().recv().unwrap();
        }
    });
    let gateway = Gateway::to(&[&endpoint]);
    run(async {
        let client = connect(gateway.address).await;
        let (response, _) = client.ready().await.unwrap().send_request(get("/"), true).unwrap();
        let mut events = response.await.unwrap().into_body();
        for n in 0..3 {
            assert_eq!(events.data().await.unwrap().unwrap(), format!("data: {n}\n\n"));
            seen.send(()).unwrap();
        }
        assert!(receive(&mut events).await.unwrap().0.is_empty());
    });
}
