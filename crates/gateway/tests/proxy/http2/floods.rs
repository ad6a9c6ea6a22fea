//! Clients that send much of what costs them little: their connections end, and nobody else notices.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use super::{
    super::support::{self, Gateway, status},
    frames::{
        CONTINUATION, DATA, END_STREAM, ENHANCE_YOUR_CALM, HEADERS, PING, RST_STREAM, Raw, SETTINGS, block, frame,
        request,
    },
};

/// More than any of these may send before it is stopped.
const MANY: u32 = 200_000;

/// Sends frames until the other end has had enough; returns what it said.
fn flood(gateway: &Gateway, begin: &[u8], mut frames: impl FnMut(u32) -> Vec<u8>) -> Option<u32> {
    let mut raw = Raw::connect(gateway.address);
    raw.send(begin);
    let mut reader = Raw(raw.0.try_clone().unwrap());
    let stopped = Arc::new(AtomicBool::new(false));
    let stop = stopped.clone();
    // Read at the same time: otherwise both ends would wait for each other.
    let said = std::thread::spawn(move || {
        let said = reader.goaway();
        stop.store(true, Ordering::SeqCst);
        while reader.next().is_some() {}
        said
    });
    let mut sent = 0;
    while sent < MANY && !stopped.load(Ordering::SeqCst) && raw.send_some(frames(sent)) {
        sent += 1;
    }
    assert!(sent < MANY, "all of it was taken");
    _ = raw.0.shutdown(std::net::Shutdown::Write);
    said.join().unwrap()
}

fn gateway() -> Gateway {
    Gateway::to(&[&support::Endpoint::saying("still here")])
}

/// Somebody else is served.
fn others_are_served(gateway: &Gateway) {
    assert_eq!(status(&gateway.client().get("/").0), "200");
}

#[test]
fn requests_that_are_given_up_at_once() {
    let gateway = gateway();
    let said = flood(&gateway, &[], |n| {
        let stream = n * 2 + 1;
        [request(stream, END_STREAM, &[]), frame(RST_STREAM, 0, stream, &8_u32.to_be_bytes())].concat()
    });
    assert_eq!(said, Some(ENHANCE_YOUR_CALM));
    others_are_served(&gateway);
}

#[test]
fn headers_that_never_end() {
    let gateway = gateway();
    let begin = frame(HEADERS, END_STREAM, 1, &block(&[(":method", "GET"), (":scheme", "http"), (":path", "/")]));
    let more = block(&[("x-more", &"y".repeat(100))]);
    let said = flood(&gateway, &begin, |_| frame(CONTINUATION, 0, 1, &more.repeat(50)));
    assert!(said.is_some_and(|error| error != 0), "{said:?}");
    others_are_served(&gateway);
}

#[test]
fn continuations_with_nothing_in_them() {
    let gateway = gateway();
    let begin = frame(HEADERS, END_STREAM, 1, &block(&[(":method", "GET"), (":scheme", "http"), (":path", "/")]));
    let said = flood(&gateway, &begin, |_| frame(CONTINUATION, 0, 1, &[]));
    assert!(said.is_some_and(|error| error != 0), "{said:?}");
    others_are_served(&gateway);
}

#[test]
fn data_with_nothing_in_it() {
    let endpoint = support::Endpoint::new(|peer| {
        peer.head();
        peer.rest();
    });
    let gateway = Gateway::to(&[&endpoint]);
    let said = flood(&gateway, &request(1, 0, &[]), |_| frame(DATA, 0, 1, &[]));
    assert!(said.is_some_and(|error| error != 0), "{said:?}");
}

#[test]
fn streams_that_are_opened_wrongly() {
    let gateway = gateway();
    let said = flood(&gateway, &[], |n| request(n * 2 + 1, END_STREAM, &[("X-Upper", "1")]));
    assert!(said.is_some_and(|error| error != 0), "{said:?}");
    others_are_served(&gateway);
}

/// What must be answered is not collected for a client that does not read: the proxy stops reading from it.
#[test]
fn questions_whose_answers_are_not_read() {
    let gateway = gateway();
    for question in [frame(PING, 0, 0, &[0; 8]), frame(SETTINGS, 0, 0, &[])] {
        let mut raw = Raw::connect(gateway.address);
        raw.0.set_write_timeout(Some(std::time::Duration::from_millis(500))).unwrap();
        let many = question.repeat(1000);
        let taken = (0..20_000).take_while(|_| raw.send_some(&many)).count();
        assert!(taken < 20_000, "20 million questions were taken");
        others_are_served(&gateway);
    }
}

#[test]
fn more_requests_at_a_time_than_are_allowed() {
    let endpoint = support::Endpoint::new(|peer| {
        peer.message();
        peer.rest();
    });
    let gateway = Gateway::to(&[&endpoint]);
    let mut raw = Raw::connect(gateway.address);
    let refused = 7_u32;
    for n in 0..400 {
        raw.send(request(n * 2 + 1, END_STREAM, &[]));
    }
    assert_eq!(raw.next_of(RST_STREAM).unwrap().error(), refused);
    assert!(endpoint.connections() <= 128, "{}", endpoint.connections());
}
