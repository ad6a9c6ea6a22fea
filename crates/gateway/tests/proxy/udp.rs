//! UDP listeners: each client's datagrams go to one endpoint for as long as either says something, and what it answers comes back
//! from where the client had asked.

use std::{
    collections::BTreeMap,
    net::{SocketAddr, UdpSocket},
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use gateway::{
    control::Sink,
    proxy::{Options, Proxy, Timeouts},
    table::{Listener, ListenerService, Share, Split, Table},
};

use super::support::{Endpoint, cluster, everything, forward, nobody};

/// Far more than anything takes.
const PATIENCE: Duration = Duration::from_secs(20);

fn socket() -> UdpSocket {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    socket
}

/// Answers every datagram with its own name, the sender's port and what it got.
fn answering(name: &'static str) -> SocketAddr {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let address = socket.local_addr().unwrap();
    thread::spawn(move || {
        let mut buffer = [0; 65_536];
        while let Ok((length, from)) = socket.recv_from(&mut buffer) {
            let answer = [format!("{name} {} ", from.port()).as_bytes(), &buffer[..length]].concat();
            socket.send_to(&answer, from).unwrap();
        }
    });
    address
}

struct Served {
    proxy: Proxy,
    address: SocketAddr,
}

impl Served {
    fn new(workers: usize, timeouts: Timeouts) -> Self {
        let proxy = Proxy::start(Options { workers, timeouts, ..Options::default() }).unwrap();
        // Free a moment ago, which is as good as it gets without a port of 0.
        Self { proxy, address: socket().local_addr().unwrap() }
    }

    fn to(shares: Vec<Share>) -> Self {
        let served = Self::new(1, Timeouts::default());
        served.serve(shares);
        served
    }

    fn listener(&self, service: ListenerService) -> Listener {
        Listener { bind: self.address, name: "default/test".into(), service, edge: true, consumers: None }
    }

    fn serve(&self, shares: Vec<Share>) {
        let listener = self.listener(ListenerService::Udp(Arc::new(Split { shares })));
        assert_eq!(self.proxy.apply(Arc::new(Table { listeners: vec![listener] })), []);
    }

    fn client(&self) -> UdpSocket {
        let client = socket();
        client.connect(self.address).unwrap();
        client
    }
}

fn share(weight: u32, endpoints: &[SocketAddr]) -> Share {
    Share { weight, cluster: Some(cluster(endpoints)) }
}

fn receive(client: &UdpSocket) -> String {
    let mut buffer = [0; 65_536];
    // A connected socket takes only what comes from where it sends to.
    let length = client.recv(&mut buffer).unwrap();
    String::from_utf8_lossy(&buffer[..length]).into_owned()
}

fn ask(client: &UdpSocket, text: &str) -> String {
    client.send(text.as_bytes()).unwrap();
    receive(client)
}

#[test]
fn a_clients_datagrams_stay_with_one_endpoint_and_their_answers_come_back() {
    let (one, two) = (answering("one"), answering("two"));
    let served = Served::to(vec![share(1, &[one, two])]);
    let client = served.client();
    let first = ask(&client, "a");
    for text in ["b", "c", "d"] {
        assert_eq!(ask(&client, text), format!("{}{text}", first.strip_suffix('a').unwrap()));
    }
}

#[test]
fn every_worker_serves_its_own_clients_side_by_side() {
    let endpoint = answering("up");
    let served = Served::new(3, Timeouts::default());
    served.serve(vec![share(1, &[endpoint])]);
    let clients: Vec<_> = (0..40).map(|_| served.client()).collect();
    for (number, client) in clients.iter().enumerate() {
        client.send(number.to_string().as_bytes()).unwrap();
    }
    for (number, client) in clients.iter().enumerate() {
        assert!(receive(client).ends_with(&format!(" {number}")));
    }
}

#[test]
fn new_clients_are_spread_by_weight() {
    let (one, three) = (answering("one"), answering("three"));
    let served = Served::to(vec![share(1, &[one]), share(3, &[three])]);
    let mut seen = BTreeMap::<_, usize>::new();
    for _ in 0..400 {
        *seen.entry(ask(&served.client(), "").split(' ').next().unwrap().to_owned()).or_default() += 1;
    }
    assert!((30..170).contains(&seen["one"]), "{seen:?}");
}

#[test]
fn a_datagram_of_any_length_passes_whole() {
    let served = Served::to(vec![share(1, &[answering("up")])]);
    let client = served.client();
    assert!(ask(&client, "").ends_with(' '), "an empty one, too");
    let long = "x".repeat(60_000);
    assert!(ask(&client, &long).ends_with(&long));
}

#[test]
fn an_endpoint_where_nobody_receives_is_left_for_another() {
    let (gone, up) = (socket().local_addr().unwrap(), answering("up"));
    let served = Served::to(vec![share(1, &[gone, up])]);
    let client = served.client();
    client.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
    let deadline = Instant::now() + PATIENCE;
    let mut buffer = [0; 100];
    // Datagrams may be lost; clients say them again.
    while client.send(b"hello").and_then(|_| client.recv(&mut buffer)).is_err() {
        assert!(Instant::now() < deadline);
    }
    assert!(buffer.starts_with(b"up "));
}

#[test]
fn at_every_address_answers_come_from_the_one_that_was_asked() {
    let mut served = Served::new(1, Timeouts::default());
    let port = served.address.port();
    for (every, asked) in [("0.0.0.0", &["127.0.0.1", "127.0.0.2"][..]), ("::", &["::1"])] {
        if every == "::" && UdpSocket::bind("[::1]:0").is_err() {
            println!("skipped: this machine has no IPv6");
            continue;
        }
        served.address = SocketAddr::new(every.parse().unwrap(), port);
        served.serve(vec![share(1, &[answering("up")])]);
        for address in asked {
            let bound = if every == "::" { "[::1]:0" } else { "127.0.0.1:0" };
            let client = UdpSocket::bind(bound).unwrap();
            client.set_read_timeout(Some(PATIENCE)).unwrap();
            client.connect(SocketAddr::new(address.parse().unwrap(), port)).unwrap();
            assert!(ask(&client, "").starts_with("up"), "{address}");
        }
    }
}

#[test]
fn a_quiet_session_ends_and_the_next_datagram_begins_another() {
    let served = Served::new(1, Timeouts { datagrams: Duration::from_millis(100), ..Timeouts::default() });
    served.serve(vec![share(1, &[answering("up")])]);
    let client = served.client();
    let first = ask(&client, "");
    let deadline = Instant::now() + PATIENCE;
    loop {
        client.set_read_timeout(Some(Duration::from_millis(300))).unwrap();
        client.recv(&mut [0]).unwrap_err();
        client.set_read_timeout(Some(PATIENCE)).unwrap();
        if ask(&client, "") != first {
            return;
        }
        assert!(Instant::now() < deadline, "the session's port stays the same");
    }
}

#[test]
fn a_session_leaves_a_backend_that_the_route_no_longer_has() {
    let (old, new) = (answering("old"), answering("new"));
    let served = Served::to(vec![share(1, &[old])]);
    let client = served.client();
    assert!(ask(&client, "").starts_with("old"));
    served.serve(vec![share(1, &[new])]);
    let deadline = Instant::now() + PATIENCE;
    while !ask(&client, "").starts_with("new") {
        assert!(Instant::now() < deadline);
    }
}

#[test]
fn one_port_serves_connections_and_datagrams() {
    let served = Served::new(1, Timeouts::default());
    let web = Endpoint::saying("hello");
    let listeners = vec![
        served.listener(ListenerService::Udp(Arc::new(Split { shares: vec![share(1, &[answering("up")])] }))),
        served.listener(everything(forward(cluster(&[web.address])))),
    ];
    let mut errors = served.proxy.apply(Arc::new(Table { listeners: listeners.clone() }));
    assert!(ask(&served.client(), "").starts_with("up"));
    // The port was free for datagrams; for connections it may be somebody else's.
    errors.retain(|error| error.transport == listeners[0].transport());
    assert_eq!(errors, []);
}

#[test]
fn without_a_valid_backend_datagrams_are_dropped_and_others_still_pass() {
    let up = answering("up");
    let served = Served::to(vec![Share { weight: 1, cluster: None }]);
    let client = served.client();
    client.send(b"lost").unwrap();
    served.serve(vec![share(1, &[nobody()]), share(0, &[up])]);
    client.send(b"lost").unwrap();
    served.serve(vec![share(1, &[up])]);
    let deadline = Instant::now() + PATIENCE;
    client.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
    while client.send(b"found").and_then(|_| client.recv(&mut [0; 100])).is_err() {
        assert!(Instant::now() < deadline);
    }
}

#[test]
fn the_next_proxy_takes_over_what_has_not_been_received_yet() {
    let served = Served::to(vec![share(1, &[answering("up")])]);
    let client = served.client();
    assert!(ask(&client, "").starts_with("up"));
    let next = Proxy::start(Options { workers: 2, ..Options::default() }).unwrap();
    next.adopt(served.proxy.share().unwrap()).unwrap();
    let listener =
        served.listener(ListenerService::Udp(Arc::new(Split { shares: vec![share(1, &[answering("next")])] })));
    assert_eq!(next.apply(Arc::new(Table { listeners: vec![listener] })), []);
    served.proxy.apply(Arc::new(Table::default()));
    let deadline = Instant::now() + PATIENCE;
    while !ask(&client, "").starts_with("next") {
        assert!(Instant::now() < deadline);
    }
}
