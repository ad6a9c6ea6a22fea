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
