//! WebSockets over a stream of HTTP/2 (RFC 8441), to an endpoint that speaks HTTP/1.1.

use bytes::Bytes;
use h2::ext::Protocol;
use http::{Method, Request};

use super::{
    super::support::{self, Gateway, field},
    connected, receive, run, to_http2, whole,
};

fn handshake() -> Request<()> {
    let request = Request::builder().method(Method::CONNECT).uri("http://example.com/chat");
    request.extension(Protocol::from_static("websocket")).header("sec-websocket-version", "13").body(()).unwrap()
}

#[test]
fn bytes_pass_both_ways_until_both_ends_are_done() {
    let endpoint = support::Endpoint::new(|peer| {
        let head = peer.head();
        assert!(head.starts_with("GET /chat HTTP/1.1\r\n"), "{head}");
        assert_eq!((field(&head, "connection"), field(&head, "upgrade")), (Some("upgrade"), Some("websocket")));
        assert_eq!(field(&head, "sec-websocket-version"), Some("13"));
        assert_eq!(field(&head, "sec-websocket-key").map(str::len), Some(24));
        peer.send("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n");
        peer.send("Sec-WebSocket-Accept: x\r\nSec-WebSocket-Protocol: chat\r\n\r\nfirst");
        assert_eq!(peer.text(4), "ping");
        peer.send("pong");
        assert_eq!(peer.rest(), b"last");
        peer.send("end");
    });
    let gateway = Gateway::to(&[&endpoint]);
    run(async {
        let client = connected(gateway.address).await;
        assert!(client.is_extended_connect_protocol_enabled());
        let (response, mut sent) = client.ready().await.unwrap().send_request(handshake(), false).unwrap();
        let response = response.await.unwrap();
        assert_eq!(
            (response.status().as_u16(), &response.headers()["sec-websocket-protocol"]),
            (200, &"chat".parse().unwrap())
        );
        assert!(
            response.headers().get("sec-websocket-accept").is_none() && response.headers().get("upgrade").is_none()
        );
        let mut received = response.into_body();
        assert_eq!(received.data().await.unwrap().unwrap(), "first");
        sent.send_data(Bytes::from_static(b"ping"), false).unwrap();
        assert_eq!(received.data().await.unwrap().unwrap(), "pong");
        sent.send_data(Bytes::from_static(b"last"), true).unwrap();
        assert_eq!(receive(&mut received).await.unwrap().0, b"end");
    });
}

#[test]
fn an_endpoint_may_decline() {
    let endpoint = support::Endpoint::answering("HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno");
    let gateway = Gateway::to(&[&endpoint]);
    run(async {
        let client = connected(gateway.address).await;
        let (response, _sent) = client.ready().await.unwrap().send_request(handshake(), false).unwrap();
        let declined = whole(response).await.unwrap();
        assert_eq!((declined.head.status.as_u16(), declined.text()), (403, "no"));
    });
}

#[test]
fn what_cannot_be_carried_is_refused() {
    let gateway = to_http2(&[support::nobody()]);
    run(async {
        let client = connected(gateway.address).await;
        let (response, _sent) = client.clone().ready().await.unwrap().send_request(handshake(), false).unwrap();
        assert_eq!(response.await.unwrap().status(), 501);
        let connect = Request::builder().method(Method::CONNECT).uri("example.com:443").body(()).unwrap();
        let (response, _sent) = client.ready().await.unwrap().send_request(connect, false).unwrap();
        assert_eq!(response.await.unwrap().status(), 405);
    });
}

/// Frames of every opcode, whole and in fragments, with every form of length (RFC 6455, 5.2), some of which no party may send:
/// what they mean is between client and endpoint.
fn every_kind_of_frame() -> Vec<u8> {
    let mut bytes = Vec::new();
    for opcode in 0..16_u8 {
        for (first, length) in [(0x80, 0), (0, 1), (0x80, 125), (0, 126), (0xf0, 65_535), (0x80, 65_536)] {
            bytes.push(first | opcode);
            match length {
                0..=125 => bytes.push(0x80 | u8::try_from(length).unwrap()),
                126..=65_535 => {
                    bytes.push(0x80 | 126);
                    bytes.extend(u16::try_from(length).unwrap().to_be_bytes());
                }
                _ => {
                    bytes.push(0x80 | 127);
                    bytes.extend(u64::try_from(length).unwrap().to_be_bytes());
                }
            }
            bytes.extend([opcode, 0xff, 0, 0x0a]);
            bytes.extend((0..length).map(|n| u8::try_from(n % 253).unwrap()));
        }
    }
    bytes
}

/// An endpoint that sends back what it gets.
fn echo() -> support::Endpoint {
    support::Endpoint::new(|peer| {
        peer.head();
        peer.send("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n");
        for size in [1, 7, 1_000, 65_000, 1_000_000].into_iter().cycle() {
            let got = peer.some(size);
            if got.is_empty() {
                return;
            }
            peer.send(got);
        }
    })
}

#[test]
fn every_kind_of_frame_passes_unchanged_over_http_1_1() {
    let gateway = Gateway::to(&[&echo()]);
    let mut client = gateway.client();
    client.send("GET / HTTP/1.1\r\nHost: x\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n");
    assert_eq!(support::status(&client.head()), "101");
    let frames = every_kind_of_frame();
    // In pieces that end everywhere, each of which is back before the next is sent.
    for piece in frames.chunks(9_973) {
        client.send(piece);
        assert!(client.exactly(piece.len()) == piece);
    }
}

#[test]
fn every_kind_of_frame_passes_unchanged_over_http_2() {
    let gateway = Gateway::to(&[&echo()]);
    run(async {
        let client = connected(gateway.address).await;
        let (response, mut sent) = client.ready().await.unwrap().send_request(handshake(), false).unwrap();
        let mut received = response.await.unwrap().into_body();
        let frames = Bytes::from(every_kind_of_frame());
        let sending = super::send_all(&mut sent, frames.clone(), true);
        let (back, ()) = tokio::join!(receive(&mut received), sending);
        assert!(back.unwrap().0 == frames);
    });
}
