//! Copies of requests: who gets them, what they say, and that nobody waits for them.

use std::{
    net::SocketAddr,
    sync::{Mutex, mpsc},
    time::Duration,
};

use gateway::table::{Mirror, Rule};

use super::support::{Endpoint, Gateway, Peer, cluster, everything, field, forward, nobody, status};

/// For something that must not come, after everything that it could come with.
const NOTHING: Duration = Duration::from_millis(200);

/// Tells a test every request that it gets: head and body.
fn watching() -> (Endpoint, mpsc::Receiver<(String, String)>) {
    let (sender, received) = mpsc::channel();
    let sender = Mutex::new(sender);
    let endpoint = Endpoint::new(move |peer| {
        loop {
            let head = peer.head();
            if head.is_empty() {
                return;
            }
            let body = match field(&head, "content-length") {
                Some(length) => peer.text(length.parse().unwrap()),
                None if head.contains("chunked") => chunked(peer),
                None => String::new(),
            };
            // The test may be over.
            _ = sender.lock().unwrap().send((head, body));
            peer.send("HTTP/1.1 500 Internal Server Error\r\nTransfer-Encoding: chunked\r\n\r\n4\r\noops\r\n0\r\n\r\n");
        }
    });
    (endpoint, received)
}

fn chunked(peer: &mut Peer) -> String {
    let mut body = String::new();
    loop {
        let size = usize::from_str_radix(peer.line().trim_end(), 16).unwrap();
        body.push_str(&peer.text(size));
        peer.exactly(2);
        if size == 0 {
            return body;
        }
    }
}

fn mirrored(main: SocketAddr, to: &[(SocketAddr, u32, u32)]) -> Rule {
    let mut rule = forward(cluster(&[main]));
    let mirror = |(address, part, whole): &(SocketAddr, u32, u32)| Mirror {
        cluster: cluster(&[*address]),
        part: *part,
        whole: *whole,
    };
    rule.mirrors = to.iter().map(mirror).collect();
    rule
}

#[test]
fn every_mirror_gets_the_request_and_the_client_the_backends_response() {
    let (main, (one, first), (two, second)) = (Endpoint::mirror(), watching(), watching());
    let mut rule = mirrored(main.address, &[(one.address, 1, 1), (two.address, 100, 100)]);
    rule.request_headers.set.push(("x-set".parse().unwrap(), "yes".parse().unwrap()));
    let gateway = Gateway::new(everything(rule));
    let mut client = gateway.client();
    // A copy's connection is used again when its response has been read, which nobody waits for.
    for number in 0..1_000 {
        let (head, got) = client.get(&format!("/{number}?q=1"));
        assert_eq!(status(&head), "200");
        for watcher in [&first, &second] {
            let (copy, body) = watcher.recv().unwrap();
            assert_eq!((copy, body.as_str()), (got.clone(), ""), "the same head, ids and changes included");
        }
        if number > 2 && one.connections() <= number && two.connections() <= number {
            return;
        }
    }
    panic!("no connection was used again");
}

#[test]
fn bodies_are_copied_whatever_their_framing_up_to_a_bound() {
    let (main, (watcher, copies)) = (watching(), watching());
    let (main, received) = main;
    let gateway = Gateway::new(everything(mirrored(main.address, &[(watcher.address, 1, 1)])));
    let mut client = gateway.client();
    let mut ask = |request: String| {
        client.send(request);
        assert_eq!(status(&client.head()), "500");
        client.exactly("4\r\noops\r\n0\r\n\r\n".len());
        received.recv().unwrap().1
    };
    let most = 64 * 1024;
    for length in [1, most] {
        let body = "x".repeat(length);
        let sent = ask(format!("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: {length}\r\n\r\n{body}"));
        assert_eq!((copies.recv().unwrap().1, sent), (body.clone(), body));
    }
    let sent =
        ask("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n".into());
    assert_eq!((copies.recv().unwrap().1.as_str(), sent.as_str()), ("abcde", "abcde"));
    let sent = ask("PUT / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n".into());
    assert_eq!((copies.recv().unwrap().1.as_str(), sent.as_str()), ("", ""));
    let long = "x".repeat(most + 1);
    for framed in [
        format!("Content-Length: {}\r\n\r\n{long}", most + 1),
        format!("Transfer-Encoding: chunked\r\n\r\n{:x}\r\n{long}\r\n0\r\n\r\n", most + 1),
    ] {
        assert_eq!(ask(format!("POST / HTTP/1.1\r\nHost: a\r\n{framed}")), long);
    }
    assert!(copies.recv_timeout(NOTHING).is_err(), "a longer body is not mirrored");
}

#[test]
fn a_part_of_the_requests_is_mirrored() {
    let (main, (watcher, copies)) = (Endpoint::saying("main"), watching());
    for (part, whole, expected) in [(0, 100, 0..=0), (25, 100, 50..=150), (1, 2, 150..=250)] {
        let gateway = Gateway::new(everything(mirrored(main.address, &[(watcher.address, part, whole)])));
        let mut client = gateway.client();
        for _ in 0..400 {
            assert_eq!(client.get("/").1, "main");
        }
        let mut count = 0;
        while copies.recv_timeout(NOTHING).is_ok() {
            count += 1;
        }
        assert!(expected.contains(&count), "{part}/{whole}: {count}");
    }
}

#[test]
fn a_mirror_that_is_dead_or_silent_or_wrong_costs_the_client_nothing() {
    let main = Endpoint::saying("main");
    let silent = Endpoint::new(|peer| _ = peer.rest());
    let wrong = Endpoint::answering("what?\r\n\r\n");
    let to = [(nobody(), 1, 1), (silent.address, 1, 1), (wrong.address, 1, 1)];
    let gateway = Gateway::new(everything(mirrored(main.address, &to)));
    let mut client = gateway.client();
    // More than may be under way at a time.
    for _ in 0..600 {
        let (head, body) = client.get("/");
        assert_eq!((status(&head), body.as_str()), ("200", "main"));
    }
    assert_eq!(main.connections(), 1);
    assert!(silent.connections() <= 256, "{}", silent.connections());
}

#[test]
fn an_upgrade_is_not_mirrored() {
    let (watcher, copies) = watching();
    let main = Endpoint::answering("HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n");
    let gateway = Gateway::new(everything(mirrored(main.address, &[(watcher.address, 1, 1)])));
    let mut client = gateway.client();
    client.send("GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n");
    assert_eq!(status(&client.head()), "101");
    assert!(copies.recv_timeout(NOTHING).is_err());
}
