//! Retries that a route asks for: what is tried again, how often, how long that may take, and what of the request is sent.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use gateway::{
    policy::Retry,
    table::{Cluster, Rule},
};

use super::support::{Endpoint, Gateway, cluster, everything, field, forward, nobody, status};

fn retrying(cluster: Arc<Cluster>, codes: &[u16], attempts: u32) -> Rule {
    let mut rule = forward(cluster);
    rule.retry = Some(Retry { codes: codes.into(), attempts, backoff: Duration::from_millis(1) });
    rule
}

/// Fails so many requests with `response` (closing without one if it is empty), then answers with what it got; counts.
fn failing(times: usize, response: &'static str) -> (Endpoint, Arc<AtomicUsize>) {
    let asked = Arc::<AtomicUsize>::default();
    let count = asked.clone();
    let endpoint = Endpoint::new(move |peer| {
        loop {
            let head = peer.head();
            if head.is_empty() {
                return;
            }
            let body = match field(&head, "content-length") {
                Some(length) => peer.text(length.parse().unwrap()),
                None if head.contains("chunked") => chunks(peer),
                None => String::new(),
            };
            if count.fetch_add(1, Ordering::SeqCst) < times {
                if response.is_empty() {
                    return;
                }
                peer.send(response);
                continue;
            }
            peer.send(format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len()));
        }
    });
    (endpoint, asked)
}

fn chunks(peer: &mut super::support::Peer) -> String {
    let mut body = String::new();
    loop {
        let size = peer.line();
        let size = usize::from_str_radix(size.trim_end(), 16).unwrap();
        body.push_str(&peer.text(size));
        peer.exactly(2);
        if size == 0 {
            return body;
        }
    }
}

const UNAVAILABLE: &str = "HTTP/1.1 503 Service Unavailable\r\nContent-Length: 4\r\n\r\nbusy";

#[test]
fn a_status_is_tried_again_until_it_is_an_answer_or_tries_run_out() {
    for (times, codes, expected, asked) in [
        (2, &[503][..], "200", 3),
        (3, &[503], "200", 4),
        (4, &[503], "503", 4),
        (1, &[500, 502], "503", 1),
        (1, &[], "503", 1),
    ] {
        let (endpoint, count) = failing(times, UNAVAILABLE);
        let gateway = Gateway::new(everything(retrying(cluster(&[endpoint.address]), codes, 3)));
        let mut client = gateway.client();
        let (head, body) = client.get("/");
        assert_eq!((status(&head), count.load(Ordering::SeqCst)), (expected, asked));
        assert_eq!(body, if expected == "503" { "busy" } else { "" }, "the last response is the client's");
        assert_eq!(status(&client.get("/").0), "200");
    }
}

#[test]
fn a_connection_that_ends_without_a_response_is_tried_again_so_often_and_no_oftener() {
    for (times, expected, asked) in [(2, "200", 3), (3, "200", 4), (4, "503", 4)] {
        let (endpoint, count) = failing(times, "");
        let gateway = Gateway::new(everything(retrying(cluster(&[endpoint.address]), &[], 3)));
        let (head, _) = gateway.client().get("/");
        assert_eq!((status(&head), count.load(Ordering::SeqCst)), (expected, asked));
    }
}

#[test]
fn another_endpoint_is_asked_if_there_is_one() {
    let (bad, asked) = failing(1000, UNAVAILABLE);
    let good = Endpoint::saying("good");
    let gateway = Gateway::new(everything(retrying(cluster(&[bad.address, good.address]), &[503], 1)));
    let mut client = gateway.client();
    for _ in 0..20 {
        assert_eq!(client.get("/").1, "good");
    }
    assert!(asked.load(Ordering::SeqCst) > 0);
}

#[test]
fn a_body_is_sent_again_whatever_its_framing_and_the_method() {
    for request in [
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello",
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n",
    ] {
        let (endpoint, asked) = failing(2, UNAVAILABLE);
        let gateway = Gateway::new(everything(retrying(cluster(&[endpoint.address]), &[503], 2)));
        let mut client = gateway.client();
        client.send(request);
        let (head, body) = client.message();
        assert_eq!((status(&head), body.as_str(), asked.load(Ordering::SeqCst)), ("200", "hello", 3));
        assert_eq!(status(&client.get("/").0), "200");
    }
}

#[test]
fn a_body_that_is_still_arriving_is_sent_again_as_far_as_it_has_come() {
    // Refuses the first request as soon as a part of its body is there.
    let first = Mutex::new(true);
    let endpoint = Endpoint::new(move |peer| {
        peer.head();
        if std::mem::replace(&mut first.lock().unwrap(), false) {
            peer.exactly(3);
            peer.send(UNAVAILABLE);
            peer.rest();
            return;
        }
        let body = peer.text(6);
        peer.send(format!("HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\n{body}"));
    });
    let gateway = Gateway::new(everything(retrying(cluster(&[endpoint.address]), &[503], 1)));
    let mut client = gateway.client();
    client.send("PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 6\r\n\r\nabc");
    while endpoint.connections() < 2 {
        std::thread::yield_now();
    }
    client.send("def");
    let (head, body) = client.message();
    assert_eq!((status(&head), body.as_str()), ("200", "abcdef"));
}

#[test]
fn a_body_of_more_than_is_kept_is_sent_once() {
    for (length, expected, tries) in [(64 * 1024, "200", 2), (64 * 1024 + 1, "503", 1)] {
        let (endpoint, asked) = failing(1, UNAVAILABLE);
        let gateway = Gateway::new(everything(retrying(cluster(&[endpoint.address]), &[503], 2)));
        let mut client = gateway.client();
        client.send(format!("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: {length}\r\n\r\n"));
        client.send(vec![b'x'; length]);
        let (head, _) = client.message();
        assert_eq!((status(&head), asked.load(Ordering::SeqCst)), (expected, tries), "{length}");
    }
}

#[test]
fn a_try_that_takes_too_long_is_tried_again_within_the_time_for_all() {
    let slow = |times: usize| {
        let asked = AtomicUsize::new(0);
        Endpoint::new(move |peer| {
            while !peer.message().0.is_empty() {
                if asked.fetch_add(1, Ordering::SeqCst) < times {
                    // Until the proxy gives up.
                    peer.rest();
                    return;
                }
                peer.send("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
            }
        })
    };
    for (times, request, expected, tries) in
        [(2, None, "200", 3..=3), (9, None, "504", 3..=3), (9, Some(Duration::from_millis(150)), "504", 1..=2)]
    {
        let endpoint = slow(times);
        let mut rule = retrying(cluster(&[endpoint.address]), &[], 2);
        (rule.backend_timeout, rule.request_timeout) = (Some(Duration::from_millis(100)), request);
        let gateway = Gateway::new(everything(rule));
        assert_eq!(status(&gateway.client().get("/").0), expected);
        assert!(tries.contains(&endpoint.connections()), "{} of {tries:?}", endpoint.connections());
    }
}

#[test]
fn when_nobody_takes_connections_the_client_is_told_after_the_last_try() {
    let gateway = Gateway::new(everything(retrying(cluster(&[nobody(), nobody()]), &[503], 2)));
    let (head, body) = gateway.client().get("/");
    assert_eq!((status(&head), body.as_str()), ("503", "no endpoint takes connections\n"));
}

#[test]
fn nothing_is_sent_again_when_the_response_has_begun() {
    let broken = Endpoint::answering("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nshort");
    let gateway = Gateway::new(everything(retrying(cluster(&[broken.address]), &[500], 3)));
    let mut client = gateway.client();
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(status(&client.head()), "200");
    assert_eq!(client.rest(), b"short");
    assert_eq!(broken.connections(), 1);
}

#[test]
fn a_long_response_after_a_retry_keeps_nobody_else_from_retrying() {
    // More than may be retries at a time: each fails once, then responds and does not end.
    let endpoint = Endpoint::new(|peer| {
        peer.head();
        peer.send(UNAVAILABLE);
    });
    let open = Endpoint::new(|peer| {
        peer.head();
        peer.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n");
        peer.rest();
    });
    let gateway = Gateway::new(everything(retrying(cluster(&[endpoint.address, open.address]), &[503], 1)));
    let mut held = Vec::new();
    for _ in 0..60 {
        let mut client = gateway.client();
        client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
        assert_eq!(status(&client.head()), "200");
        held.push(client);
    }
    assert!(endpoint.connections() > 20, "{} were retried", endpoint.connections());
}
