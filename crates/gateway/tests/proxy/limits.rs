//! As many connections as are allowed, and more.

use gateway::proxy::{Options, Proxy};
use nix::sys::resource::{Resource, getrlimit, setrlimit};

use super::support::{Endpoint, Gateway, Peer, cluster, everything, forward, status};

/// Both ends of each connection are in this process.
const LIMIT: usize = 1_000;
const MORE: usize = 100;
const FILES: u64 = 4_096;

fn figure(gateway: &Gateway, name: &str) -> u64 {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let text = runtime.block_on(gateway.proxy.metrics()).prometheus();
    let line = text.lines().find(|line| line.starts_with(&format!("coracle_gateway_{name}{{"))).unwrap();
    line.rsplit(' ').next().unwrap().parse().unwrap()
}

#[test]
fn at_the_limit_those_who_are_served_go_on_and_the_others_have_their_turn() {
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    if hard < FILES {
        return eprintln!("skipped: this needs {FILES} open files, and {hard} are allowed");
    }
    setrlimit(Resource::RLIMIT_NOFILE, soft.max(FILES), hard).unwrap();
    let endpoint = Endpoint::saying("hello");
    let proxy = Proxy::start(Options { workers: 1, max_connections: LIMIT, ..Options::default() }).unwrap();
    let gateway = Gateway::of(proxy);
    gateway.serve(everything(forward(cluster(&[endpoint.address]))));
    let ask = |peer: &mut Peer| {
        let (head, body) = peer.get("/");
        assert_eq!((status(&head), body.as_str()), ("200", "hello"));
    };
    let mut served: Vec<Peer> = (0..LIMIT).map(|_| gateway.client()).collect();
    served.iter_mut().for_each(ask);
    let waiting = (0..MORE).map(|_| {
        let mut peer = gateway.client();
        peer.send("GET / HTTP/1.1\r\nHost: example.com\r\n\r\n");
        peer
    });
    let waiting: Vec<Peer> = waiting.collect();
    for _ in 0..3 {
        served.iter_mut().for_each(ask);
    }
    let (limit, more) = (u64::try_from(LIMIT).unwrap(), u64::try_from(MORE).unwrap());
    assert_eq!((figure(&gateway, "open_connections"), figure(&gateway, "connections_total")), (limit, limit));
    for mut peer in waiting {
        drop(served.pop());
        assert_eq!(peer.message().1, "hello");
        served.insert(0, peer);
    }
    assert_eq!((figure(&gateway, "open_connections"), figure(&gateway, "connections_total")), (limit, limit + more));
    // They cost the endpoint no more than the one connection that they took turns on.
    assert_eq!(endpoint.connections(), 1);
}
