//! What can be read in two ways is refused, and the connection that it came on is closed.

use super::support::{Endpoint, Gateway, field, status};

/// What, the request, the status.
const REFUSED: &[(&str, &str, &str)] = &[
    (
        "both lengths",
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "400",
    ),
    ("the same length twice", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\nx", "400"),
    ("two lengths", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nxx", "400"),
    ("a list of lengths", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1, 1\r\n\r\nx", "400"),
    ("a signed length", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: +1\r\n\r\nx", "400"),
    ("a negative length", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n\r\n", "400"),
    ("a huge length", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 18446744073709551616\r\n\r\n", "400"),
    ("another coding", "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", "501"),
    (
        "chunked twice",
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n",
        "501",
    ),
    ("nearly chunked", "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\n", "501"),
    ("hidden chunked", "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: \x0bchunked\r\n\r\n0\r\n\r\n", "400"),
    ("chunked in HTTP/1.0", "POST / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", "400"),
    ("a folded line", "GET / HTTP/1.1\r\nHost: a\r\nX: 1\r\n folded\r\n\r\n", "400"),
    ("no host", "GET / HTTP/1.1\r\nX: 1\r\n\r\n", "400"),
    ("two hosts", "GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", "400"),
    ("a host that is none", "GET / HTTP/1.1\r\nHost: a/b\r\n\r\n", "400"),
    ("a user in the host", "GET / HTTP/1.1\r\nHost: user@a\r\n\r\n", "400"),
    ("NUL in a value", "GET / HTTP/1.1\r\nHost: a\r\nX: a\0b\r\n\r\n", "400"),
    ("a bare line feed", "GET / HTTP/1.1\r\nHost: a\nX: 1\r\n\r\n", "400"),
    ("a bare carriage return", "GET / HTTP/1.1\r\nHost: a\rX: 1\r\n\r\n", "400"),
    ("a space before the colon", "GET / HTTP/1.1\r\nHost: a\r\nX : 1\r\n\r\n", "400"),
    ("a name with a space", "GET / HTTP/1.1\r\nHost: a\r\nX y: 1\r\n\r\n", "400"),
    ("no name", "GET / HTTP/1.1\r\nHost: a\r\n: 1\r\n\r\n", "400"),
    ("a tab in the request line", "GET /\tHTTP/1.1 HTTP/1.1\r\nHost: a\r\n\r\n", "400"),
    ("a target that is neither path nor URI", "GET a HTTP/1.1\r\nHost: a\r\n\r\n", "400"),
    ("a fragment", "GET /#a HTTP/1.1\r\nHost: a\r\n\r\n", "400"),
    ("a path above the root", "GET /../etc/passwd HTTP/1.1\r\nHost: a\r\n\r\n", "400"),
    ("an escaped path above the root", "GET /%2e%2e/etc HTTP/1.1\r\nHost: a\r\n\r\n", "400"),
    ("an escape that is none", "GET /%zz HTTP/1.1\r\nHost: a\r\n\r\n", "400"),
    ("an escaped NUL", "GET /%00 HTTP/1.1\r\nHost: a\r\n\r\n", "400"),
    ("another version", "GET / HTTP/2.0\r\nHost: a\r\n\r\n", "505"),
    ("CONNECT", "CONNECT a:443 HTTP/1.1\r\nHost: a\r\n\r\n", "405"),
    ("an unknown expectation", "POST / HTTP/1.1\r\nHost: a\r\nExpect: tea\r\nContent-Length: 1\r\n\r\n", "417"),
    (
        "another coding before the one that is understood",
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: x\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "501",
    ),
    (
        "another coding after it",
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n",
        "501",
    ),
    ("chunked in quotes", "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: \"chunked\"\r\n\r\n0\r\n\r\n", "501"),
    (
        "chunked with a parameter",
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked;x=1\r\n\r\n0\r\n\r\n",
        "501",
    ),
    ("identity", "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: identity\r\nContent-Length: 1\r\n\r\nx", "501"),
    ("no coding", "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding:\r\nContent-Length: 1\r\n\r\nx", "501"),
    ("a folded coding", "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding:\r\n chunked\r\n\r\n0\r\n\r\n", "400"),
    (
        "a coding with a space before its colon",
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding : chunked\r\n\r\n0\r\n\r\n",
        "400",
    ),
    (
        "the length before the coding",
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "400",
    ),
    ("a hexadecimal length", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0x1\r\n\r\nx", "400"),
    ("a length with an underscore", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1_0\r\n\r\nx", "400"),
    ("no length", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length:\r\n\r\n", "400"),
    ("a length with a fraction", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1.0\r\n\r\nx", "400"),
    ("a length with a vertical tab", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: \x0b1\r\n\r\nx", "400"),
    ("a space before the first field", "GET / HTTP/1.1\r\n Host: a\r\n\r\n", "400"),
    ("a carriage return before a name", "GET / HTTP/1.1\r\nHost: a\r\n\rX: 1\r\n\r\n", "400"),
    ("a carriage return at the end of a value", "GET / HTTP/1.1\r\nHost: a\r\nX: 1\r\r\n\r\n", "400"),
    ("a lower-case version", "GET / http/1.1\r\nHost: a\r\n\r\n", "505"),
    ("another minor version", "GET / HTTP/1.2\r\nHost: a\r\n\r\n", "505"),
    ("a host with a space", "GET / HTTP/1.1\r\nHost: a b\r\n\r\n", "400"),
    ("a host with a line of its own", "GET http://a\x0bb/ HTTP/1.1\r\nHost: a\r\n\r\n", "400"),
    (
        "an expectation beside the one that is known",
        "POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue, x\r\nContent-Length: 1\r\n\r\n",
        "417",
    ),
    ("TLS", "\x16\x03\x01\x02\0\x01\0\x01\u{fc}\x03\x03\r\n\r\n", "400"),
];

#[test]
fn what_could_be_read_in_two_ways_is_refused_and_no_endpoint_sees_it() {
    let endpoint = Endpoint::mirror();
    let gateway = Gateway::to(&[&endpoint]);
    for (what, request, expected) in REFUSED {
        let mut client = gateway.client();
        // What follows must not be taken for a request of its own.
        client.send(format!("{request}GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n"));
        let (head, text) = client.message();
        assert_eq!(status(&head), *expected, "{what}: {head}{text}");
        assert_eq!(field(&head, "connection"), Some("close"), "{what}: {head}");
        client.assert_closed();
    }
    assert_eq!(endpoint.connections(), 0);
}

/// What, the body after `Transfer-Encoding: chunked`.
const BAD_CHUNKS: &[(&str, &str)] = &[
    ("a line feed in an extension", "1;a\nb\r\nx\r\n0\r\n\r\n"),
    ("a bare line feed after the size", "1\nx\r\n0\r\n\r\n"),
    ("a size that is none", "g\r\nx\r\n0\r\n\r\n"),
    ("a size with a sign", "+1\r\nx\r\n0\r\n\r\n"),
    ("a size with a prefix", "0x1\r\nx\r\n0\r\n\r\n"),
    ("a size that overflows", "10000000000000001\r\nx\r\n0\r\n\r\n"),
    ("more data than the size", "1\r\nxx\r\n0\r\n\r\n"),
    ("a length in the trailers", "0\r\nContent-Length: 5\r\n\r\n"),
    ("a folded trailer", "0\r\n x\r\n\r\n"),
    ("a coding in the trailers", "0\r\nTransfer-Encoding: chunked\r\n\r\n"),
    ("a bare line feed after a trailer", "0\r\nX: 1\n\r\n"),
    ("a bare carriage return after the size", "1\rx\r\n0\r\n\r\n"),
    ("a bare carriage return in an extension", "1;a\rb\r\nx\r\n0\r\n\r\n"),
    ("a negative size", "-1\r\nx\r\n0\r\n\r\n"),
    ("a space before the size", " 1\r\nx\r\n0\r\n\r\n"),
    ("no size", "\r\nx\r\n0\r\n\r\n"),
    ("an underscore in the size", "1_0\r\nx\r\n0\r\n\r\n"),
    ("a line feed after the data", "1\r\nx\n0\r\n\r\n"),
    ("less data than the size", "2\r\nx\r\n0\r\n\r\n"),
];

#[test]
fn bodies_that_are_not_coded_as_they_say_are_refused() {
    let gateway = Gateway::to(&[&Endpoint::mirror()]);
    for (what, body) in BAD_CHUNKS {
        let mut client = gateway.client();
        client.send(format!("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n{body}"));
        let answer = String::from_utf8(client.rest()).unwrap();
        // The endpoint may have answered before the fault arrived; then the connection just ends.
        assert!(answer.starts_with("HTTP/1.1 400 ") || answer.contains("connection: close"), "{what}: {answer}");
    }
}

#[test]
fn heads_have_a_bounded_number_of_fields_and_bytes() {
    let gateway = Gateway::to(&[&Endpoint::mirror()]);
    let request = |fields: &str| format!("GET / HTTP/1.1\r\nHost: a\r\n{fields}\r\n");
    let cases = [
        (request(&"X: 1\r\n".repeat(99)), "200"),
        (request(&"X: 1\r\n".repeat(100)), "431"),
        (request(&format!("X: {}\r\n", "a".repeat(60_000))), "200"),
        (request(&format!("X: {}\r\n", "a".repeat(70_000))), "431"),
        (format!("GET /{} HTTP/1.1\r\nHost: a\r\n\r\n", "a".repeat(70_000)), "431"),
    ];
    for (request, expected) in cases {
        let mut client = gateway.client();
        client.send_some(&request);
        assert_eq!(status(&client.head()), expected, "{} bytes", request.len());
    }
}

#[test]
fn a_head_is_understood_however_it_is_cut() {
    let gateway = Gateway::to(&[&Endpoint::saying("whole")]);
    let request = "GET /a?b=c HTTP/1.1\r\nHost: example.com\r\nX: 1\r\n\r\n";
    for cut in 1..request.len() {
        let mut client = gateway.client();
        client.send(&request[..cut]);
        client.send(&request[cut..]);
        assert_eq!(client.message().1, "whole", "cut at {cut}");
    }
}

/// An endpoint that may speak HTTP/2 over the same connection would take whatever follows from then on for itself: no request
/// there would be looked at (h2c smuggling).
#[test]
fn no_endpoint_is_asked_to_go_on_in_http_2() {
    let gateway = Gateway::to(&[&Endpoint::mirror()]);
    for protocols in ["h2c", "H2C", "h2c, websocket", "websocket, h2c", "websocket,h2c"] {
        let mut client = gateway.client();
        client.send(format!(
            "GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: {protocols}\r\n\
             HTTP2-Settings: AAMAAABkAAQAAP__\r\n\r\n"
        ));
        let (_, seen) = client.message();
        let seen = seen.to_lowercase();
        assert!(seen.starts_with("get / http/1.1\r\n"), "{protocols}: {seen}");
        assert!(!seen.contains("h2c") && !seen.contains("http2-settings"), "{protocols}: {seen}");
    }
}

/// A request whose method usually has no body may have one all the same (CL.0): what is in it is not a request.
#[test]
fn bodies_belong_to_their_requests_whatever_the_method() {
    for method in ["GET", "HEAD", "DELETE", "OPTIONS", "TRACE"] {
        let endpoint = Endpoint::mirror();
        let gateway = Gateway::to(&[&endpoint]);
        let smuggled = "GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n";
        let mut client = gateway.client();
        client.send(format!(
            "{method} / HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n{smuggled}GET /next HTTP/1.1\r\nHost: a\r\n\
             Connection: close\r\n\r\n",
            smuggled.len()
        ));
        let said = String::from_utf8_lossy(&client.rest()).into_owned();
        assert!(!said.contains("GET /smuggled"), "{method}: {said}");
        assert!(said.contains("GET /next") || said.starts_with("HTTP/1.1 4"), "{method}: {said}");
    }
}

/// `Connection` may name fields that are for this hop; those that say where a message ends or whom it is for stay nevertheless.
#[test]
fn connection_cannot_take_away_what_frames_or_routes_a_request() {
    let gateway = Gateway::to(&[&Endpoint::mirror()]);
    let mut client = gateway.client();
    client.send(
        "POST / HTTP/1.1\r\nHost: a\r\nConnection: host, content-length, x-forwarded-for, x-mine\r\nContent-Length: 1\r\n\
         X-Mine: 1\r\n\r\nx",
    );
    let seen = client.message().1.to_lowercase();
    assert!(seen.contains("\r\nhost: a\r\n") && seen.contains("\r\ncontent-length: 1\r\n"), "{seen}");
    assert!(seen.contains("\r\nx-forwarded-for: ") && !seen.contains("x-mine"), "{seen}");
}
