//! One proxy's sockets passed to the next, as when the binary is replaced.

use std::{
    net::{SocketAddr, TcpStream},
    sync::{Arc, mpsc},
    thread,
    time::Duration,
};

use gateway::{
    control::Sink,
    proxy::{Options, Proxy},
    table::{Listener, Table},
};

use super::{
    crowd::Crowd,
    support::{Endpoint, Gateway, Peer, cluster, everything, field, forward},
};

const PATIENCE: Duration = Duration::from_secs(20);

fn table(address: SocketAddr, endpoint: &Endpoint) -> Arc<Table> {
    let service = everything(forward(cluster(&[endpoint.address])));
    let listener = Listener { bind: address, name: "default/test".into(), service, edge: true, consumers: None };
    Arc::new(Table { listeners: vec![listener] })
}

/// A proxy that has what another shared.
fn successor(of: &Proxy, workers: usize) -> Proxy {
    let next = Proxy::start(Options { workers, ..Options::default() }).unwrap();
    next.adopt(of.share().unwrap()).unwrap();
    next
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(future)
}

#[test]
fn new_connections_and_requests_pass_from_one_proxy_to_the_next_and_none_fails() {
    let endpoint = Endpoint::saying("hello");
    let gateway = Gateway::to(&[&endpoint]);
    let (address, mut proxy) = (gateway.address, gateway.proxy);
    let crowd = Crowd::new(address, "/");
    crowd.more(50);
    // To more workers and to fewer.
    for workers in [3, 2, 1] {
        let next = successor(&proxy, workers);
        assert!(next.apply(table(address, &endpoint)).is_empty());
        crowd.more(50);
        block_on(proxy.retire(PATIENCE, PATIENCE));
        assert!(proxy.bound().is_empty());
        crowd.more(200);
        proxy = next;
    }
    assert_eq!(crowd.finish(), Vec::<String>::new());
}

#[test]
fn clients_that_wait_in_the_kernels_queue_are_served_by_the_next_proxy() {
    let endpoint = Endpoint::saying("hello");
    let first = Proxy::start(Options { workers: 1, max_connections: 1, ..Options::default() }).unwrap();
    let address = first.hold("127.0.0.1:0".parse().unwrap()).unwrap();
    first.apply(table(address, &endpoint));
    let mut only = Peer::connect(address);
    assert_eq!(only.get("/").1, "hello");
    let mut waiting: Vec<_> = (0..8).map(|_| Peer::connect(address)).collect();
    let next = successor(&first, 1);
    next.apply(table(address, &endpoint));
    for client in &mut waiting {
        assert_eq!(client.get("/").1, "hello");
    }
    assert_eq!(only.get("/").1, "hello");
}

#[test]
fn an_address_that_is_only_held_is_passed_on_too() {
    let first = Proxy::start(Options { workers: 1, ..Options::default() }).unwrap();
    let address = first.hold("127.0.0.1:0".parse().unwrap()).unwrap();
    let next = successor(&first, 2);
    assert_eq!(next.hold(address).unwrap(), address);
    let endpoint = Endpoint::saying("hello");
    assert!(next.apply(table(address, &endpoint)).is_empty());
    assert_eq!(Peer::connect(address).get("/").1, "hello");
}

#[test]
fn what_the_next_proxy_has_no_listener_for_is_closed() {
    let endpoint = Endpoint::saying("hello");
    let gateway = Gateway::to(&[&endpoint]);
    let next = successor(&gateway.proxy, 1);
    next.apply(Arc::default());
    block_on(gateway.proxy.retire(PATIENCE, PATIENCE));
    assert!(TcpStream::connect(gateway.address).is_err());
}

#[test]
fn a_client_that_waits_is_told_to_go_with_its_next_response() {
    let (endpoint, (retiring, retired)) = (Endpoint::saying("hello"), mpsc::channel());
    let gateway = Gateway::to(&[&endpoint]);
    let mut idle = gateway.client();
    assert_eq!(idle.get("/").1, "hello");
    let next = successor(&gateway.proxy, 1);
    next.apply(table(gateway.address, &endpoint));
    let proxy = gateway.proxy;
    let ended = thread::spawn(move || {
        block_on(async {
            let retire = proxy.retire(PATIENCE, PATIENCE);
            retiring.send(()).unwrap();
            retire.await;
        });
    });
    retired.recv().unwrap();
    // The connection may be asked again before its worker knows, and is kept then.
    let told = (0..100_000).find_map(|_| {
        let (head, body) = idle.get("/");
        assert_eq!(body, "hello");
        field(&head, "connection").map(str::to_owned)
    });
    assert_eq!(told.as_deref(), Some("close"));
    drop(idle);
    ended.join().unwrap();
}
