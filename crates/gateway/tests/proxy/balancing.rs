//! Balancing through real connections: what is active, how long answers take, and what stays on one endpoint.

use std::{
    collections::HashSet,
    net::SocketAddr,
    sync::{Arc, Mutex, mpsc},
    thread,
};

use gateway::{
    balance::{Algorithm, HashOn, Policy},
    table::{Cluster, ListenerService, Split},
};

use super::support::{Endpoint, Gateway, balanced, everything, forward, nobody, status};

fn over(endpoints: &[SocketAddr], algorithm: Algorithm) -> Gateway {
    Gateway::new(everything(forward(balanced(endpoints, Policy::new(algorithm)))))
}

/// Says when it has a request; answers `held` when the test says so.
fn holding() -> (Endpoint, mpsc::Receiver<()>, mpsc::Sender<()>) {
    let ((begun, began), (release, released)) = (mpsc::channel(), mpsc::channel());
    let released = Mutex::new(released);
    let endpoint = Endpoint::new(move |peer| {
        while !peer.message().0.is_empty() {
            begun.send(()).unwrap();
            released.lock().unwrap().recv().unwrap();
            peer.send("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nheld");
        }
    });
    (endpoint, began, release)
}

fn tcp(cluster: Arc<Cluster>) -> ListenerService {
    ListenerService::Tcp(Arc::new(Split::to(cluster)))
}

#[test]
fn every_algorithm_reaches_every_endpoint_and_passes_over_one_that_is_gone() {
    let (one, two) = (Endpoint::saying("one"), Endpoint::saying("two"));
    for algorithm in [
        Algorithm::RoundRobin,
        Algorithm::Random,
        Algorithm::LeastRequest,
        Algorithm::PeakEwma,
        Algorithm::RingHash(HashOn::Header("x-user".parse().unwrap())),
        Algorithm::Maglev(HashOn::Cookie("user".into())),
    ] {
        let gateway = over(&[one.address, nobody(), two.address], algorithm.clone());
        let mut client = gateway.client();
        let mut said = HashSet::new();
        for user in 0..100 {
            client.send(format!("GET / HTTP/1.1\r\nHost: a\r\nX-User: {user}\r\nCookie: a=b; user={user}\r\n\r\n"));
            let (head, body) = client.message();
            assert_eq!(status(&head), "200", "{algorithm:?}");
            said.insert(body);
        }
        assert_eq!(said.len(), 2, "{algorithm:?}");
    }
}

#[test]
fn an_endpoint_that_is_busy_gets_no_more_while_another_is_idle() {
    let ((slow, began, release), quick) = (holding(), Endpoint::saying("quick"));
    let gateway = over(&[slow.address, quick.address], Algorithm::LeastRequest);
    let mut waiting = loop {
        let mut client = gateway.client();
        client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
        let answered = thread::spawn(move || client.message().1);
        // Whichever endpoint it went to says so.
        loop {
            if began.try_recv().is_ok() {
                break;
            }
            if answered.is_finished() {
                break;
            }
            thread::yield_now();
        }
        if !answered.is_finished() {
            break Some(answered);
        }
    };
    let mut client = gateway.client();
    for _ in 0..50 {
        assert_eq!(client.get("/").1, "quick");
    }
    release.send(()).unwrap();
    assert_eq!(waiting.take().unwrap().join().unwrap(), "held");
}

#[test]
fn a_key_keeps_its_endpoint() {
    let endpoints: Vec<_> = (0..4).map(|_| Endpoint::mirror()).collect();
    let addresses: Vec<_> = endpoints.iter().map(|endpoint| endpoint.address).collect();
    let on_header = || HashOn::Header("x-user".parse().unwrap());
    for algorithm in [Algorithm::RingHash(on_header()), Algorithm::Maglev(on_header())] {
        let gateway = over(&addresses, algorithm);
        let before: Vec<_> = endpoints.iter().map(Endpoint::connections).collect();
        for _ in 0..20 {
            gateway.client().send("GET / HTTP/1.1\r\nHost: a\r\nX-User: kim\r\nConnection: close\r\n\r\n");
            let mut client = gateway.client();
            client.send("GET / HTTP/1.1\r\nHost: a\r\nX-User: kim\r\n\r\n");
            client.message();
        }
        let used = endpoints.iter().zip(before).filter(|(endpoint, before)| endpoint.connections() > *before);
        assert_eq!(used.count(), 1);
    }
}

#[test]
fn a_tunnel_counts_as_active_and_a_clients_address_keeps_its_endpoint() {
    let echo = || {
        Endpoint::new(|peer| {
            let first = peer.exactly(1);
            peer.send(first);
            peer.rest();
        })
    };
    let (one, two) = (echo(), echo());
    let least = Gateway::new(tcp(balanced(&[one.address, two.address], Policy::EDGE)));
    let mut open = Vec::new();
    for _ in 0..6 {
        let mut client = least.client();
        client.send("x");
        assert_eq!(client.text(1), "x");
        open.push(client);
    }
    assert_eq!((one.connections(), two.connections()), (3, 3));
    drop(open);
    let by_address = Policy::new(Algorithm::Maglev(HashOn::SourceAddress));
    let affine = Gateway::new(tcp(balanced(&[one.address, two.address], by_address)));
    for _ in 0..6 {
        let mut client = affine.client();
        client.send("x");
        assert_eq!(client.text(1), "x");
    }
    assert!(matches!((one.connections(), two.connections()), (3, 9) | (9, 3)));
}
