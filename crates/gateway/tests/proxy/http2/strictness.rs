//! What HTTP/2 calls malformed (RFC 9113, 8) and what could be read in two ways once it is HTTP/1.1: the endpoint sees none.

use super::{
    super::support::{self, Gateway},
    frames::{
        self, DATA, END_HEADERS, END_STREAM, GOAWAY, HEADERS, PROTOCOL_ERROR, RST_STREAM, Raw, block, frame, request,
    },
};

/// Pseudo-fields of a request that is well-formed.
const GET: [(&str, &str); 4] = [(":method", "GET"), (":scheme", "http"), (":path", "/"), (":authority", "example.com")];

/// A gateway whose endpoint answers the one path that only well-formed requests of these tests ask for.
fn gateway() -> (Gateway, support::Endpoint) {
    let endpoint = support::Endpoint::new(|peer| {
        loop {
            let (head, _) = peer.message();
            if head.is_empty() {
                return;
            }
            let legal = head.starts_with("GET /legal HTTP/1.1\r\n");
            peer.send(format!("HTTP/1.1 {} x\r\nContent-Length: 0\r\n\r\n", if legal { 200 } else { 299 }));
        }
    });
    (Gateway::to(&[&endpoint]), endpoint)
}

/// Asks on a stream of its own, then something legal on the same connection if that is still there.
fn refused(gateway: &Gateway, what: &str, frames: &[Vec<u8>]) {
    let mut raw = Raw::connect(gateway.address);
    raw.send(frames.concat());
    let verdict = raw.verdict().unwrap_or_else(|| panic!("{what}: the connection was closed without a word"));
    match verdict.kind {
        RST_STREAM => assert_eq!(verdict.error(), PROTOCOL_ERROR, "{what}"),
        GOAWAY => assert!(verdict.error() != 0, "{what}"),
        // A status: the first field of the block, indexed or literal, never of the endpoint's making.
        _ => assert!(status(&verdict.payload) == 400 || status(&verdict.payload) == 405, "{what}: {:?}", verdict),
    }
}

/// The status at the start of a header block, as the encoder of the `h2` crate writes it.
fn status(block: &[u8]) -> u16 {
    match block.first() {
        // RFC 7541, appendix A.
        Some(0x88) => 200,
        Some(0x8c) => 400,
        Some(0x8d) => 404,
        Some(0x8e) => 500,
        // A literal value, in Huffman code or plain: told apart by decoding the three digits.
        Some(_) => digits(block.get(2..).unwrap_or_default(), block.get(1).is_some_and(|length| length & 0x80 != 0)),
        None => 0,
    }
}

/// The Huffman codes of the digits (RFC 7541, appendix B): value, bits, digit.
const DIGITS: [(u16, u8, u16); 10] = [
    (0x0, 5, 0),
    (0x1, 5, 1),
    (0x2, 5, 2),
    (0x19, 6, 3),
    (0x1a, 6, 4),
    (0x1b, 6, 5),
    (0x1c, 6, 6),
    (0x1d, 6, 7),
    (0x1e, 6, 8),
    (0x1f, 6, 9),
];

fn digits(bytes: &[u8], huffman: bool) -> u16 {
    if !huffman {
        return bytes.iter().take(3).fold(0, |number, byte| number * 10 + u16::from(byte.wrapping_sub(b'0')));
    }
    let bits: u64 = bytes.iter().take(3).fold(0, |bits, byte| (bits << 8) | u64::from(*byte)) << 40;
    let (mut at, mut number) = (0, 0);
    for _ in 0..3 {
        let code =
            DIGITS.iter().find(|(code, length, _)| (bits << at) >> (64 - u32::from(*length)) == u64::from(*code));
        let Some((_, length, digit)) = code else { return 0 };
        at += u32::from(*length);
        number = number * 10 + digit;
    }
    number
}

#[test]
fn requests_that_are_malformed_reach_no_endpoint() {
    let (gateway, endpoint) = gateway();
    let headers = |fields: &[(&str, &str)]| vec![frame(HEADERS, END_HEADERS | END_STREAM, 1, &block(fields))];
    let with = |fields: &[(&str, &str)]| headers(&[&GET, fields].concat());
    let without = |name: &str| headers(&GET.iter().filter(|(n, _)| *n != name).copied().collect::<Vec<_>>());
    let instead = |name: &str, value: &str| {
        let change =
            |(n, v): &(&'static str, &'static str)| (*n, if *n == name { value.to_owned() } else { (*v).to_owned() });
        let fields: Vec<_> = GET.iter().map(change).collect();
        let fields: Vec<_> = fields.iter().map(|(n, v)| (*n, v.as_str())).collect();
        headers(&fields)
    };
    for (what, frames) in [
        ("a name in upper case", with(&[("X-Upper", "1")])),
        ("a name with a space", with(&[("x y", "1")])),
        ("a name with a quote", with(&[("x\"y", "1")])),
        ("a name with a colon", with(&[("x:y", "1")])),
        ("an empty name", with(&[("", "1")])),
        ("a value with a line feed", with(&[("x", "1\ny: 2")])),
        ("a value with a carriage return", with(&[("x", "1\r\ny: 2")])),
        ("a value with a zero", with(&[("x", "1\0")])),
        ("connection", with(&[("connection", "close")])),
        ("keep-alive", with(&[("keep-alive", "timeout=5")])),
        ("proxy-connection", with(&[("proxy-connection", "close")])),
        ("transfer-encoding", with(&[("transfer-encoding", "chunked")])),
        ("upgrade", with(&[("upgrade", "websocket")])),
        ("te that is not trailers", with(&[("te", "gzip")])),
        ("a pseudo-field of responses", with(&[(":status", "200")])),
        ("a pseudo-field that nobody knows", with(&[(":unknown", "1")])),
        ("a pseudo-field after fields", headers(&[&[("x", "1")], &GET[..]].concat())),
        ("a pseudo-field twice", with(&[(":path", "/other")])),
        ("no method", without(":method")),
        ("no scheme", without(":scheme")),
        ("no path", without(":path")),
        ("an empty path", instead(":path", "")),
        ("a path without a slash", instead(":path", "legal")),
        ("a path with a space", instead(":path", "/legal HTTP/1.1")),
        ("a path with a line", instead(":path", "/legal HTTP/1.1\r\nhost: x\r\n\r\n")),
        ("a method with a space", instead(":method", "GET /legal")),
        ("a method with a line", instead(":method", "GET / HTTP/1.1\r\nx: y\r\n")),
        ("an authority with user information", instead(":authority", "user@example.com")),
        ("an authority with a path", instead(":authority", "example.com/legal")),
        ("a host that contradicts", with(&[("host", "other.example")])),
        ("two hosts", with(&[("host", "example.com"), ("host", "example.com")])),
    ] {
        refused(&gateway, what, &frames);
    }
    assert_eq!(endpoint.connections(), 0);
}

#[test]
fn requests_whose_bodies_are_not_what_they_say_are_refused() {
    let (gateway, endpoint) = gateway();
    let with =
        |fields: &[(&str, &str)]| vec![frame(HEADERS, END_HEADERS | END_STREAM, 1, &block(&[&GET, fields].concat()))];
    for (what, frames) in [
        ("a length that is not there", with(&[("content-length", "5")])),
        ("two lengths", with(&[("content-length", "0"), ("content-length", "0")])),
        ("a length that is not a number", with(&[("content-length", "+0")])),
        ("a length where there is no body to be", {
            let fields = [(":method", "CONNECT"), (":protocol", "websocket"), (":scheme", "http"), (":path", "/")];
            let fields = [&fields[..], &[(":authority", "example.com"), ("content-length", "5")]].concat();
            vec![frame(HEADERS, END_HEADERS, 1, &block(&fields))]
        }),
        ("less than its length", vec![request(1, 0, &[("content-length", "5")]), frame(DATA, END_STREAM, 1, b"abc")]),
        (
            "more than its length",
            vec![request(1, 0, &[("content-length", "1")]), frame(DATA, END_STREAM, 1, b"GET /legal")],
        ),
        ("data before headers", vec![frame(DATA, END_STREAM, 1, b"x")]),
        ("a stream of the server's", vec![frame(HEADERS, END_HEADERS | END_STREAM, 2, &block(&GET))]),
        ("a block that ends in the middle", vec![frame(HEADERS, END_HEADERS | END_STREAM, 1, &[0, 5, b'x'])]),
        ("an index that nobody knows", vec![frame(HEADERS, END_HEADERS | END_STREAM, 1, &[0xff, 0xff, 0x03])]),
        ("a frame between headers and continuation", {
            let mut block = block(&GET);
            let rest = block.split_off(5);
            vec![
                frame(HEADERS, END_STREAM, 1, &block),
                frame(frames::PING, 0, 0, &[0; 8]),
                frame(frames::CONTINUATION, END_HEADERS, 1, &rest),
            ]
        }),
        ("data of a length that is all padding", {
            vec![request(1, 0, &[]), frame(DATA, END_STREAM | 8, 1, &[9, b'x'])]
        }),
    ] {
        refused(&gateway, what, &frames);
    }
    // Lengths are compared when the data is there, which may be after the head was sent on: never after the whole.
    assert!(endpoint.connections() <= 2, "{}", endpoint.connections());
}

#[test]
fn a_request_that_is_well_formed_is_answered() {
    let (gateway, _endpoint) = gateway();
    let mut raw = Raw::connect(gateway.address);
    let fields = [(":method", "GET"), (":scheme", "http"), (":path", "/legal"), (":authority", "example.com")];
    let block = block(&[&fields[..], &[("host", "example.com"), ("te", "trailers")]].concat());
    let (first, rest) = block.split_at(20);
    raw.send(frame(HEADERS, END_STREAM, 1, first));
    raw.send(frame(frames::CONTINUATION, END_HEADERS, 1, rest));
    assert_eq!(status(&raw.next_of(HEADERS).unwrap().payload), 200);
}

#[test]
fn bytes_that_are_not_frames_end_the_connection() {
    let (gateway, endpoint) = gateway();
    for bytes in [
        &b"GET / HTTP/1.1\r\nHost: example.com\r\n\r\n"[..],
        &frame(frames::SETTINGS, 0, 0, &[0; 5]),
        &frame(frames::SETTINGS, 0, 1, &[]),
        &frame(frames::PING, 0, 0, &[0; 7]),
        &frame(frames::PING, 0, 1, &[0; 8]),
        &frame(8, 0, 0, &[0; 4]),
        &frame(5, END_HEADERS, 1, &[0, 0, 0, 2]),
        &[0xff, 0xff, 0xff, DATA, 0, 0, 0, 0, 1],
    ] {
        let mut raw = Raw::connect(gateway.address);
        raw.send(bytes);
        assert!(raw.goaway().is_some_and(|error| error != 0), "{}", bytes.escape_ascii());
        while raw.next().is_some() {}
    }
    assert_eq!(endpoint.connections(), 0);
}
