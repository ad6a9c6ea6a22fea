//! A proxy with a table made by hand, endpoints that do what a test says, and both ends of a connection.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{Shutdown, SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use gateway::{
    balance::Policy,
    control::Sink,
    proxy::{HoldLimits, Options, Proxy, Timeouts},
    table::{Action, Backend, Cluster, Entry, Hosts, Listener, ListenerService, Match, PathMatch, Routes, Rule, Table},
};

/// Far more than anything takes: a test that waits this long has failed.
const PATIENCE: Duration = Duration::from_secs(20);

/// What a connection's bytes travel over.
pub trait Transport: Read + Write + Send {}

impl<T: Read + Write + Send> Transport for T {}

/// One end of a connection.
pub struct Peer {
    stream: BufReader<Box<dyn Transport>>,
    tcp: TcpStream,
}

impl Peer {
    pub fn connect(address: SocketAddr) -> Self {
        Self::new(TcpStream::connect(address).unwrap())
    }

    pub fn new(stream: TcpStream) -> Self {
        let tcp = stream.try_clone().unwrap();
        Self::over(tcp, stream)
    }

    /// Over something that itself travels over `tcp`.
    pub fn over(tcp: TcpStream, stream: impl Transport + 'static) -> Self {
        tcp.set_read_timeout(Some(PATIENCE)).unwrap();
        tcp.set_nodelay(true).unwrap();
        Self { stream: BufReader::new(Box::new(stream)), tcp }
    }

    pub fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.stream.get_mut().write_all(bytes.as_ref()).unwrap();
        self.stream.get_mut().flush().unwrap();
    }

    /// Sends as much as is taken before the other end refuses more.
    pub fn send_some(&mut self, bytes: impl AsRef<[u8]>) {
        _ = self.stream.get_mut().write_all(bytes.as_ref());
    }

    /// A head with its empty line; empty if the other end closed instead.
    pub fn head(&mut self) -> String {
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            if self.stream.read_line(&mut head).unwrap_or(0) == 0 {
                assert!(head.is_empty(), "the connection ended within a head: {head:?}");
                return head;
            }
        }
        head
    }

    /// At least one byte and at most `length`; none if the other end is done.
    pub fn some(&mut self, length: usize) -> Vec<u8> {
        let mut bytes = vec![0; length];
        let read = self.stream.read(&mut bytes).unwrap_or(0);
        bytes.truncate(read);
        bytes
    }

    /// One line, with its end.
    pub fn line(&mut self) -> String {
        let mut line = String::new();
        self.stream.read_line(&mut line).unwrap();
        line
    }

    /// A head, if the other end sends one rather than an end or an error.
    pub fn head_if_any(&mut self) -> Option<String> {
        Some(self.head()).filter(|head| !head.is_empty())
    }

    pub fn exactly(&mut self, length: usize) -> Vec<u8> {
        let mut bytes = vec![0; length];
        self.stream.read_exact(&mut bytes).unwrap();
        bytes
    }

    pub fn text(&mut self, length: usize) -> String {
        String::from_utf8(self.exactly(length)).unwrap()
    }

    /// Everything until the other end closes or resets.
    pub fn rest(&mut self) -> Vec<u8> {
        let mut bytes = Vec::new();
        _ = self.stream.read_to_end(&mut bytes);
        bytes
    }

    /// A head and the body that its Content-Length announces.
    pub fn message(&mut self) -> (String, String) {
        let head = self.head();
        let length = field(&head, "content-length").map_or(0, |length| length.parse().unwrap());
        let body = self.text(length);
        (head, body)
    }

    /// Waits until the other end has closed; nothing more may arrive.
    pub fn assert_closed(&mut self) {
        assert_eq!(String::from_utf8_lossy(&self.rest()), "");
    }

    pub fn end_writing(&mut self) {
        self.tcp.shutdown(Shutdown::Write).unwrap();
    }

    pub fn get(&mut self, path: &str) -> (String, String) {
        self.send(format!("GET {path} HTTP/1.1\r\nHost: example.com\r\n\r\n"));
        self.message()
    }
}

/// A field's value.
pub fn field<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    let mut lines = head.lines().filter_map(|line| line.split_once(": "));
    lines.find(|(field, _)| field.eq_ignore_ascii_case(name)).map(|(_, value)| value)
}

pub fn status(head: &str) -> &str {
    head.split(' ').nth(1).unwrap_or_default()
}

/// A server that handles each connection as a test says.
pub struct Endpoint {
    pub address: SocketAddr,
    connections: Arc<AtomicUsize>,
}

impl Endpoint {
    pub fn new(handle: impl Fn(&mut Peer) + Send + Sync + 'static) -> Self {
        Self::accepting(move |stream| handle(&mut Peer::new(stream)))
    }

    /// With the connection as it was accepted.
    pub fn accepting(handle: impl Fn(TcpStream) + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let (address, connections) = (listener.local_addr().unwrap(), Arc::<AtomicUsize>::default());
        let (count, handle) = (connections.clone(), Arc::new(handle));
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                count.fetch_add(1, Ordering::SeqCst);
                let handle = handle.clone();
                thread::spawn(move || handle(stream));
            }
        });
        Self { address, connections }
    }

    /// Answers every request with the head that it got.
    pub fn mirror() -> Self {
        Self::new(|peer| {
            loop {
                let (head, _) = peer.message();
                if head.is_empty() {
                    return;
                }
                peer.send(format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{head}", head.len()));
            }
        })
    }

    /// Answers every request with this text.
    pub fn saying(text: &'static str) -> Self {
        Self::new(move |peer| {
            while !peer.message().0.is_empty() {
                peer.send(format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{text}", text.len()));
            }
        })
    }

    /// Answers one request of each connection with these bytes, and closes.
    pub fn answering(response: &'static str) -> Self {
        Self::new(move |peer| {
            peer.message();
            peer.send(response);
        })
    }

    /// How many connections it has been given.
    pub fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }
}

/// A cluster of these endpoints.
pub fn cluster(endpoints: &[SocketAddr]) -> Arc<Cluster> {
    balanced(endpoints, Policy::EDGE)
}

/// A cluster of these endpoints that chooses by this policy.
pub fn balanced(endpoints: &[SocketAddr], policy: Policy) -> Arc<Cluster> {
    let cluster = Cluster::new("default/test:80".into()).balanced(policy);
    cluster.set_addresses(endpoints, Instant::now());
    Arc::new(cluster)
}

/// A rule that forwards to a cluster and changes nothing.
pub fn forward(cluster: Arc<Cluster>) -> Rule {
    rule(Action::Forward(vec![Backend::new(1, Ok(cluster))]))
}

pub fn rule(action: Action) -> Rule {
    Rule::new("default/test/0".into(), action)
}

/// Every request to one rule.
pub fn everything(rule: Rule) -> ListenerService {
    let matches =
        Match { path: PathMatch::Prefix(String::new()), method: None, headers: Vec::new(), queries: Vec::new() };
    let routes = Routes::new(vec![Entry { matches, rule: Arc::new(rule) }]);
    let mut hosts = Hosts::default();
    hosts.insert("", Arc::new(routes));
    ListenerService::Http(Arc::new(hosts))
}

/// A running proxy with one listener.
pub struct Gateway {
    pub proxy: Proxy,
    pub address: SocketAddr,
}

impl Gateway {
    pub fn new(service: ListenerService) -> Self {
        Self::with(service, Timeouts::default())
    }

    /// Time-outs are looked at four times a second: shorter ones than that are no use.
    pub fn with(service: ListenerService, timeouts: Timeouts) -> Self {
        // One worker, so that a test knows which pool a connection comes from.
        let proxy = Proxy::start(Options { workers: 1, timeouts, ..Options::default() }).unwrap();
        let gateway = Self::of(proxy);
        gateway.serve(service);
        gateway
    }

    /// With places for those who wait for an endpoint.
    pub fn holding(service: ListenerService, hold: HoldLimits) -> Self {
        let gateway = Self::of(Proxy::start(Options { workers: 1, hold, ..Options::default() }).unwrap());
        gateway.serve(service);
        gateway
    }

    /// A proxy that has just been started; it serves nothing yet.
    pub fn of(proxy: Proxy) -> Self {
        let address = proxy.hold("127.0.0.1:0".parse().unwrap()).unwrap();
        let gateway = Self { proxy, address };
        gateway.serve(ListenerService::Http(Arc::default()));
        gateway
    }

    pub fn to(endpoints: &[&Endpoint]) -> Self {
        let addresses: Vec<_> = endpoints.iter().map(|endpoint| endpoint.address).collect();
        Self::new(everything(forward(cluster(&addresses))))
    }

    /// Serves this from now on.
    pub fn serve(&self, service: ListenerService) {
        self.apply(service, true);
    }

    /// Serves this from now on, as a Service's address.
    pub fn serve_inside(&self, service: ListenerService) {
        self.apply(service, false);
    }

    fn apply(&self, service: ListenerService, edge: bool) {
        let listener = Listener { bind: self.address, name: "default/test".into(), service, edge, consumers: None };
        let errors = self.proxy.apply(Arc::new(Table { listeners: vec![listener] }));
        assert!(errors.is_empty(), "{errors:?}");
    }

    pub fn client(&self) -> Peer {
        Peer::connect(self.address)
    }
}

/// An address where nobody listens: connections are refused. It stays taken until the process ends, lest another test get it.
pub fn nobody() -> SocketAddr {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    socket.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
    let address = socket.local_addr().unwrap().as_socket().unwrap();
    std::mem::forget(socket);
    address
}
