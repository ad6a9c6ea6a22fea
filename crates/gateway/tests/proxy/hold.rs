//! Requests and connections for a Service that sleeps: who waits, for how long, and what becomes of them.

use std::{
    net::{Shutdown, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
        mpsc,
    },
    thread,
    time::{Duration, Instant},
};

use gateway::{
    proxy::HoldLimits,
    table::{Cluster, ListenerService, Sleeper, Split},
};

use super::{
    figures::{block_on, errors, eventually},
    support::{Endpoint, Gateway, Peer, cluster, everything, field, forward, status},
};

/// A cluster of a Service that sleeps, and where it is waited for.
pub fn sleeping(endpoints: &[SocketAddr]) -> (Arc<Cluster>, Arc<Sleeper>) {
    let (cluster, sleeper) = (cluster(endpoints), sleeper());
    cluster.sleeps_as(Some(&sleeper));
    (cluster, sleeper)
}

pub fn sleeper() -> Arc<Sleeper> {
    Arc::new(Sleeper::new("default/test".into(), Arc::default()))
}

pub fn held(count: u64) -> String {
    format!("coracle_gateway_held_requests{{service=\"default/test:80\"}} {count}")
}

pub fn ended(result: &str, count: u64) -> String {
    format!("coracle_gateway_held_total{{service=\"default/test:80\",result=\"{result}\"}} {count}")
}

fn wake(cluster: &Cluster, endpoint: &Endpoint) {
    cluster.set_addresses(&[endpoint.address], Instant::now());
}

/// A client that has asked.
fn asking(gateway: &Gateway) -> Peer {
    let mut client = gateway.client();
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    client
}

fn within(time: Duration) -> HoldLimits {
    HoldLimits { time, ..HoldLimits::default() }
}

#[test]
fn a_request_waits_for_the_first_endpoint_and_the_next_one_does_not() {
    let endpoint = Endpoint::saying("hello");
    let (cluster, sleeper) = sleeping(&[]);
    let gateway = Gateway::new(everything(forward(cluster.clone())));
    let mut client = asking(&gateway);
    eventually(&gateway, &held(1));
    assert!(sleeper.is_wanted());
    wake(&cluster, &endpoint);
    assert_eq!(client.message().1, "hello");
    assert_eq!(client.get("/").1, "hello");
    eventually(&gateway, &ended("released", 1));
    eventually(&gateway, &held(0));
    assert!(!sleeper.is_wanted());
}

#[test]
fn a_body_stays_with_the_client_and_arrives_whole() {
    let endpoint = Endpoint::new(|peer: &mut Peer| {
        let (_, body) = peer.message();
        let sum: usize = body.bytes().map(usize::from).sum();
        let text = sum.to_string();
        peer.send(format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{text}", text.len()));
    });
    let (cluster, _) = sleeping(&[]);
    let gateway = Gateway::new(everything(forward(cluster.clone())));
    let mut client = gateway.client();
    // More than all buffers on the way take.
    let body = "a".repeat(32 << 20);
    client.send(format!("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n", body.len()));
    eventually(&gateway, &held(1));
    let (done, sent) = mpsc::channel();
    let writer = thread::spawn(move || {
        client.send(&body);
        done.send(()).unwrap();
        client
    });
    assert!(sent.recv_timeout(Duration::from_millis(300)).is_err(), "nobody has read it, and yet it has been sent");
    wake(&cluster, &endpoint);
    sent.recv().unwrap();
    assert_eq!(writer.join().unwrap().message().1, (usize::from(b'a') * (32 << 20)).to_string());
}

#[test]
fn whoever_waits_in_vain_may_come_again_later() {
    let (cluster, _) = sleeping(&[]);
    let gateway = Gateway::holding(everything(forward(cluster)), within(Duration::from_millis(100)));
    let mut client = gateway.client();
    let (head, body) = client.get("/");
    assert_eq!((status(&head), field(&head, "retry-after")), ("503", Some("5")));
    assert_eq!(body, "no endpoint has become ready in time\n");
    eventually(&gateway, &ended("timeout", 1));
    eventually(&gateway, &errors("UH", "upstream"));
    assert_eq!(status(&client.get("/").0), "503", "the connection goes on");
}

#[test]
fn the_time_limit_of_the_route_holds_while_a_request_waits() {
    let (cluster, sleeper) = sleeping(&[]);
    let mut rule = forward(cluster);
    rule.request_timeout = Some(Duration::from_millis(100));
    let gateway = Gateway::new(everything(rule));
    assert_eq!(status(&gateway.client().get("/").0), "504");
    eventually(&gateway, &ended("timeout", 1));
    assert!(!sleeper.is_wanted());
}

#[test]
fn a_flood_is_bounded_and_who_is_too_many_is_told_at_once() {
    let (cluster, _) = sleeping(&[]);
    for limits in [
        HoldLimits { per_service: 2, ..HoldLimits::default() },
        HoldLimits { all: 2, ..HoldLimits::default() },
        // Of a request this short, less than half of this is kept.
        HoldLimits { bytes: 500, ..HoldLimits::default() },
    ] {
        let endpoint = Endpoint::saying("hello");
        let gateway = Gateway::holding(everything(forward(cluster.clone())), limits);
        let mut waiting: Vec<Peer> = Vec::new();
        let turned_away = loop {
            let mut client = asking(&gateway);
            let (in_vain, waits) = (ended("overflow", 1), held(waiting.len() as u64 + 1));
            if until(&gateway, |text| text.contains(&in_vain) || text.contains(&waits)).contains(&in_vain) {
                break client.message().0;
            }
            waiting.push(client);
        };
        assert!((1..=5).contains(&waiting.len()), "{limits:?}: {}", waiting.len());
        assert_eq!((status(&turned_away), field(&turned_away, "retry-after")), ("503", Some("5")));
        eventually(&gateway, &errors("UO", "proxy"));
        wake(&cluster, &endpoint);
        waiting.iter_mut().for_each(|client| assert_eq!(client.message().1, "hello"));
        cluster.set_addresses(&[], Instant::now());
    }
}

/// The figures, when they are as they should be.
fn until(gateway: &Gateway, wanted: impl Fn(&str) -> bool) -> String {
    let until = Instant::now() + Duration::from_secs(20);
    loop {
        let text = block_on(gateway.proxy.metrics()).prometheus();
        if wanted(&text) {
            return text;
        }
        assert!(Instant::now() < until, "{text}");
        thread::yield_now();
    }
}

#[test]
fn a_client_that_leaves_gives_its_place_back() {
    let (cluster, _) = sleeping(&[]);
    let gateway = Gateway::new(everything(forward(cluster)));
    drop(asking(&gateway));
    eventually(&gateway, &ended("client_gone", 1));
    // Even if some of what it has sent is unread.
    let mut client = gateway.client();
    client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nbody");
    eventually(&gateway, &held(1));
    drop(client);
    eventually(&gateway, &ended("client_gone", 2));
    eventually(&gateway, &held(0));
    eventually(&gateway, &errors("DC", "client").replace("} 1", "} 2"));
}

#[test]
fn a_service_that_is_turned_off_answers_at_once_and_so_are_those_who_wait() {
    let (cluster, _) = sleeping(&[]);
    let gateway = Gateway::new(everything(forward(cluster.clone())));
    let mut client = asking(&gateway);
    eventually(&gateway, &held(1));
    cluster.sleeps_as(None);
    let (head, _) = client.message();
    assert_eq!((status(&head), field(&head, "retry-after")), ("503", None));
    eventually(&gateway, &ended("off", 1));
    assert_eq!(status(&client.get("/").0), "503");
}

#[test]
fn a_proxy_that_ends_answers_those_who_wait_at_once() {
    let (cluster, _) = sleeping(&[]);
    let gateway = Gateway::new(everything(forward(cluster)));
    let mut client = asking(&gateway);
    eventually(&gateway, &held(1));
    block_on(gateway.proxy.shutdown(Duration::from_secs(20)));
    assert_eq!(status(&client.message().0), "503");
}

#[test]
fn an_endpoint_that_takes_no_connections_yet_is_waited_for() {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    socket.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
    let address = socket.local_addr().unwrap().as_socket().unwrap();
    let (cluster, _) = sleeping(&[address]);
    let gateway = Gateway::new(everything(forward(cluster)));
    let mut client = asking(&gateway);
    let refused = |text: &str| {
        let line = "coracle_gateway_upstream_connections_total{service=\"default/test:80\",result=\"refused\"} ";
        text.lines().find_map(|found| found.strip_prefix(line)?.parse::<u64>().ok())
    };
    until(&gateway, |text| refused(text) >= Some(3));
    socket.listen(1).unwrap();
    let (stream, _) = std::net::TcpListener::from(socket).accept().unwrap();
    let mut endpoint = Peer::new(stream);
    endpoint.head();
    endpoint.send("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nlate");
    assert_eq!(client.message().1, "late");
}

#[test]
fn those_who_have_waited_do_not_bury_the_first_endpoint() {
    const CLIENTS: usize = 200;
    let (now, most) = (Arc::<AtomicUsize>::default(), Arc::<AtomicUsize>::default());
    let (release, released) = mpsc::channel::<()>();
    let released = std::sync::Mutex::new(released);
    let endpoint = {
        let (now, most) = (now.clone(), most.clone());
        Endpoint::new(move |peer| {
            while !peer.message().0.is_empty() {
                most.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                released.lock().unwrap().recv().unwrap();
                now.fetch_sub(1, Ordering::SeqCst);
                peer.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
            }
        })
    };
    let (cluster, _) = sleeping(&[]);
    let gateway = Gateway::new(everything(forward(cluster.clone())));
    let mut clients: Vec<Peer> = (0..CLIENTS).map(|_| asking(&gateway)).collect();
    eventually(&gateway, &held(CLIENTS as u64));
    wake(&cluster, &endpoint);
    while now.load(Ordering::SeqCst) < 64 {
        thread::yield_now();
    }
    (0..CLIENTS).for_each(|_| release.send(()).unwrap());
    clients.iter_mut().for_each(|client| assert_eq!(client.message().1, "ok"));
    assert_eq!(most.load(Ordering::SeqCst), 64);
    eventually(&gateway, &ended("released", CLIENTS as u64));
}

#[test]
fn a_connection_that_is_not_http_waits_too_and_loses_nothing() {
    let endpoint = Endpoint::new(|peer: &mut Peer| {
        let all = peer.rest();
        peer.send(all);
    });
    let (cluster, _) = sleeping(&[]);
    let gateway = Gateway::new(ListenerService::Tcp(Arc::new(Split::to(cluster.clone()))));
    let mut client = gateway.client();
    client.send("all there is");
    // It has said all, and waits for the answer.
    client.end_writing();
    eventually(&gateway, &held(1));
    wake(&cluster, &endpoint);
    assert_eq!(client.rest(), b"all there is");
    eventually(&gateway, &ended("released", 1));
}

#[test]
fn a_connection_that_is_not_http_ends_when_nobody_comes_or_its_client_leaves() {
    let (cluster, _) = sleeping(&[]);
    let service = ListenerService::Tcp(Arc::new(Split::to(cluster)));
    let gateway = Gateway::holding(service, within(Duration::from_secs(3)));
    let stream = std::net::TcpStream::connect(gateway.address).unwrap();
    eventually(&gateway, &held(1));
    stream.shutdown(Shutdown::Both).unwrap();
    eventually(&gateway, &ended("client_gone", 1));
    gateway.client().assert_closed();
    eventually(&gateway, &ended("timeout", 1));
}
