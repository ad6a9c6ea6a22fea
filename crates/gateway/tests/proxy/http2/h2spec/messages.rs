//! Sections 7 and 8: errors, and HTTP in HTTP/2.

use super::{
    Case, END_HEADERS, END_STREAM, Expected, PROTOCOL, PUSH_PROMISE, WHOLE, block, data, frame, get, goaway, headers,
    ping, post, reset, sending,
};
use Expected::{ConnectionError, Pong, StreamError};

pub fn cases() -> Vec<Case> {
    [codes(), exchanges(), pseudo_fields(), required_fields(), lengths()].into_iter().flatten().collect()
}

#[test]
fn malformed_messages_are_errors_of_their_streams() {
    super::check(cases());
}

const MALFORMED: Expected = StreamError(&[PROTOCOL]);

fn codes() -> Vec<Case> {
    vec![
        sending("http2/7/1", &[goaway(0xff), ping()], Pong),
        sending("http2/7/2", &[headers(1, END_HEADERS, &post()), reset(1, 0xff), ping()], Pong),
    ]
}

fn exchanges() -> Vec<Case> {
    let promised = [&3_u32.to_be_bytes()[..], &get()].concat();
    let second = headers(1, END_HEADERS, &block(&[("x-test", "ok")]));
    vec![
        sending("http2/8.1/1", &[headers(1, END_HEADERS, &post()), data(1, 0, b"test"), second], MALFORMED),
        with("http2/8.1.2/1", &[("X-TEST", "ok")]),
        sending("http2/8.2/1", &[frame(PUSH_PROMISE, END_HEADERS, 1, &promised)], ConnectionError(&[PROTOCOL])),
    ]
}

/// A good request with these fields as well.
fn with(name: &'static str, fields: &[(&str, &str)]) -> Case {
    sending(name, &[headers(1, WHOLE, &[get(), block(fields)].concat())], MALFORMED)
}

fn pseudo_fields() -> Vec<Case> {
    let trailers = headers(1, END_HEADERS, &block(&[(":method", "POST")]));
    vec![
        with("http2/8.1.2.1/1", &[(":test", "ok")]),
        with("http2/8.1.2.1/2", &[(":status", "200")]),
        sending("http2/8.1.2.1/3", &[headers(1, END_HEADERS, &post()), data(1, 0, b"test"), trailers], MALFORMED),
        sending("http2/8.1.2.1/4", &[headers(1, WHOLE, &[block(&[("x-test", "ok")]), get()].concat())], MALFORMED),
        with("http2/8.1.2.2/1", &[("connection", "keep-alive")]),
        with("http2/8.1.2.2/2", &[("trailers", "test"), ("te", "trailers, deflate")]),
    ]
}

fn required_fields() -> Vec<Case> {
    let of = |name, fields: &[(&str, &str)]| sending(name, &[headers(1, WHOLE, &block(fields))], MALFORMED);
    let (method, scheme) = ((":method", "GET"), (":scheme", "http"));
    let (path, authority) = ((":path", "/"), (":authority", "example.com"));
    vec![
        of("http2/8.1.2.3/1", &[method, scheme, (":path", ""), authority]),
        of("http2/8.1.2.3/2", &[scheme, path, authority]),
        of("http2/8.1.2.3/3", &[method, path, authority]),
        of("http2/8.1.2.3/4", &[method, scheme, authority]),
        with("http2/8.1.2.3/5", &[method]),
        with("http2/8.1.2.3/6", &[scheme]),
        with("http2/8.1.2.3/7", &[path]),
    ]
}

fn lengths() -> Vec<Case> {
    let one = headers(1, END_HEADERS, &[post(), block(&[("content-length", "1")])].concat());
    vec![
        sending("http2/8.1.2.6/1", &[one.clone(), data(1, END_STREAM, b"test")], MALFORMED),
        sending("http2/8.1.2.6/2", &[one, data(1, 0, b"test"), data(1, END_STREAM, b"test")], MALFORMED),
    ]
}
