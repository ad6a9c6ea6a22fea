//! Connections that end at a bad moment: an endpoint's process is killed, a kept connection comes to its end, a client leaves.

use std::{
    net::{Shutdown, SocketAddr, TcpStream},
    sync::{
        Arc, Barrier, Mutex,
        atomic::{AtomicBool, Ordering},
        mpsc,
    },
    time::Duration,
};

use gateway::{
    balance::{Algorithm, HashOn, Policy},
    policy::Retry,
    table::{Cluster, Hosts, ListenerService, Rule, Secured, TlsService},
};

use super::{
    figures::{errors, eventually},
    pki::{self, Authority},
    support::{Endpoint, Gateway, Peer, balanced, cluster, everything, forward, nobody, status},
};

/// Far more than anything takes.
const PATIENCE: Duration = Duration::from_secs(20);

/// Endpoints that answer when a whole crowd has asked them, so that as many connections are kept. When they are killed, their
/// connections end with the next request, and so do new ones: a process that is ending closes those that it has one after the
/// other, and the socket that still takes new ones, which nobody will serve, among the last.
struct Doomed {
    endpoints: Vec<Endpoint>,
    crowd: usize,
    killed: Arc<AtomicBool>,
}

impl Doomed {
    /// So many endpoints that die, and one that lives; `at_once` when all of the crowd have asked, who get no answer then.
    fn new(mortal: usize, crowd: usize, at_once: bool) -> Self {
        let (killed, all) = (Arc::<AtomicBool>::default(), Arc::new(Barrier::new(crowd)));
        let endpoint = |mortal: bool| {
            let (killed, all) = (killed.clone(), all.clone());
            Endpoint::new(move |peer| {
                while peer.head_if_any().is_some() {
                    if !killed.load(Ordering::SeqCst) {
                        all.wait();
                        killed.fetch_or(at_once, Ordering::SeqCst);
                    }
                    if mortal && killed.load(Ordering::SeqCst) {
                        return;
                    }
                    peer.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
                }
            })
        };
        let endpoints = (0..=mortal).map(|number| endpoint(number < mortal)).collect();
        Self { endpoints, crowd, killed }
    }

    fn cluster(&self) -> Arc<Cluster> {
        cluster(&self.endpoints.iter().map(|endpoint| endpoint.address).collect::<Vec<_>>())
    }

    /// Everybody asks at the same time, and is answered.
    fn ask(&self, gateway: &Gateway) -> Vec<Peer> {
        let mut clients: Vec<_> = (0..self.crowd).map(|_| gateway.client()).collect();
        clients.iter_mut().for_each(|client| client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n"));
        clients.iter_mut().for_each(|client| assert_eq!(client.message().1, "ok"));
        clients
    }
}

#[test]
fn when_processes_are_killed_whose_connections_are_kept_every_request_that_may_be_repeated_is_answered() {
    // Of two that are killed, one may be found out by a connection that was kept.
    for (mortal, requests) in [(1, 100), (2, 4)] {
        let doomed = Doomed::new(mortal, 24, false);
        let gateway = Gateway::new(everything(forward(doomed.cluster())));
        let mut clients = doomed.ask(&gateway);
        doomed.killed.store(true, Ordering::SeqCst);
        let count = clients.len();
        for number in 0..requests {
            assert_eq!(clients[number % count].get("/").1, "ok", "{mortal}");
        }
    }
}

#[test]
fn when_a_process_is_killed_that_has_requests_all_that_may_be_repeated_are_answered() {
    // More than retries that a route asks for may be at a time.
    for retry in [None, Some(Retry { codes: [503].into(), attempts: 1, backoff: Duration::from_millis(500) })] {
        let doomed = Doomed::new(1, 100, true);
        let rule = Rule { retry, ..forward(doomed.cluster()) };
        doomed.ask(&Gateway::new(everything(rule)));
    }
}

/// Serves one request of each connection, says its name, and closes when the next one has arrived.
fn of_one_request(name: &'static str) -> Endpoint {
    Endpoint::new(move |peer| {
        peer.message();
        peer.send(format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{name}", name.len()));
        peer.message();
    })
}

#[test]
fn the_end_of_a_kept_connection_says_nothing_against_its_endpoint() {
    for others in [vec![], vec![nobody()], vec![nobody(), nobody()]] {
        let endpoint = of_one_request("here");
        let gateway = Gateway::new(everything(forward(cluster(&[&[endpoint.address][..], &others].concat()))));
        let mut client = gateway.client();
        for _ in 0..10 {
            assert_eq!(client.get("/").1, "here", "{others:?}");
        }
    }
}

#[test]
fn the_end_of_a_kept_connection_takes_no_client_away_from_its_endpoint() {
    let endpoints = [of_one_request("one"), of_one_request("two"), of_one_request("three")];
    let addresses = endpoints.each_ref().map(|endpoint| endpoint.address);
    let policy = Policy::new(Algorithm::Maglev(HashOn::SourceAddress));
    let gateway = Gateway::new(everything(forward(balanced(&addresses, policy))));
    let mut client = gateway.client();
    let first = client.get("/").1;
    for _ in 0..10 {
        assert_eq!(client.get("/").1, first);
    }
}

#[test]
fn an_endpoint_that_takes_requests_and_dies_of_them_is_not_said_to_refuse_connections() {
    let gateway = Gateway::to(&[&Endpoint::new(|peer| drop(peer.head()))]);
    let (head, text) = gateway.client().get("/");
    assert_eq!((status(&head), text.as_str()), ("503", "the endpoint closed its connection before it responded\n"));
    eventually(&gateway, &errors("UC", "upstream"));
}

/// HTTPS for any name.
fn https(authority: &Authority, service: ListenerService) -> ListenerService {
    let ListenerService::Http(routes) = service else { unreachable!() };
    let mut hosts = Hosts::default();
    hosts.insert("", routes.find("").unwrap().clone());
    let config = pki::server(&authority.issue(&["a.example"]), None, &[]);
    ListenerService::Tls(Arc::new(Secured::new(hosts, [(String::new(), TlsService::Https(config))])))
}

/// A client inside TLS, and the means to end it as clients do: with a word of TLS (RFC 8446, 6.1), then with the connection.
fn secured(address: SocketAddr, authority: &Authority) -> rustls::StreamOwned<rustls::ClientConnection, TcpStream> {
    let name = rustls::pki_types::ServerName::try_from("a.example").unwrap();
    let connection = rustls::ClientConnection::new(pki::client(authority, None), name).unwrap();
    let tcp = TcpStream::connect(address).unwrap();
    tcp.set_read_timeout(Some(PATIENCE)).unwrap();
    rustls::StreamOwned::new(connection, tcp)
}

/// Sends `first` to whoever asks, says so, and says so again when the other end is gone.
fn watching(first: &'static str) -> (Endpoint, mpsc::Receiver<()>) {
    let (said, heard) = mpsc::channel();
    let said = Mutex::new(said);
    let endpoint = Endpoint::new(move |peer| {
        peer.message();
        peer.send(first);
        said.lock().unwrap().send(()).unwrap();
        peer.rest();
        said.lock().unwrap().send(()).unwrap();
    });
    (endpoint, heard)
}

const EVENTS: &str = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n\
                      9\r\ndata: 1\n\n\r\n";

#[test]
fn a_client_that_leaves_by_tls_ends_its_request_at_the_endpoint() {
    use std::io::{Read, Write};
    let authority = Authority::new();
    for first in ["", EVENTS] {
        let (endpoint, heard) = watching(first);
        let gateway = Gateway::new(https(&authority, everything(forward(cluster(&[endpoint.address])))));
        let mut client = secured(gateway.address, &authority);
        client.write_all(b"GET / HTTP/1.1\r\nHost: a.example\r\n\r\n").unwrap();
        heard.recv_timeout(PATIENCE).unwrap();
        if !first.is_empty() {
            assert!(client.read(&mut [0; 1024]).unwrap() > 0);
        }
        client.conn.send_close_notify();
        client.flush().unwrap();
        client.sock.shutdown(Shutdown::Write).unwrap();
        heard.recv_timeout(PATIENCE).unwrap();
    }
}

#[test]
fn a_client_that_leaves_a_stream_of_events_ends_it_at_the_endpoint() {
    let (endpoint, heard) = watching(EVENTS);
    let gateway = Gateway::to(&[&endpoint]);
    let mut client = gateway.client();
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(status(&client.head()), "200");
    assert_eq!(client.text(14), "9\r\ndata: 1\n\n\r\n");
    heard.recv_timeout(PATIENCE).unwrap();
    drop(client);
    heard.recv_timeout(PATIENCE).unwrap();
    eventually(&gateway, &errors("DC", "client"));
}

#[test]
fn what_is_left_of_a_request_that_was_given_up_is_never_taken_for_another() {
    let ((given_up, is_given_up), (told, length)) = (mpsc::channel(), mpsc::channel());
    let (is_given_up, told) = (Mutex::new(is_given_up), Mutex::new(told));
    // It reads nothing before the proxy has given up, and counts what there was then.
    let endpoint = Endpoint::new(move |peer| {
        is_given_up.lock().unwrap().recv().unwrap();
        told.lock().unwrap().send(peer.rest().len()).unwrap();
    });
    let mut limited = forward(cluster(&[endpoint.address]));
    limited.request_timeout = Some(Duration::from_millis(300));
    let gateway = Gateway::new(everything(limited));
    let post = |size: usize| {
        let mut client = gateway.client();
        client.send(format!("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: {size}\r\n\r\n"));
        client.send_some(vec![b'x'; size]);
        assert_eq!(status(&client.head()), "504");
        given_up.send(()).unwrap();
        (client, length.recv_timeout(PATIENCE).unwrap())
    };
    let (_, taken) = post(12 << 20);
    // About as much as that is taken again: of some of these the last piece has arrived, and cannot go on.
    for piece in 0..10 {
        let size = (taken + 250_000).saturating_sub(piece * 50_000);
        let (mut client, _) = post(size);
        client.send_some("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
        client.end_writing();
        let rest = String::from_utf8(client.rest()).unwrap();
        assert!(!rest.contains(" 400 "), "{size} of {taken}: {rest}");
    }
}
