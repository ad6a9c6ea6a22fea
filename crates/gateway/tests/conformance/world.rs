//! A small cluster: manifests, compiled, and served by a running proxy to real endpoints that say what reached them.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::Duration,
};

use gateway::{
    control::{BindError, Memory, Options, Publish, Sink, Snapshot, compile},
    proxy::{self, Proxy, Timeouts},
};
use serde_json::Value;

use crate::{
    ask::Ask,
    snapshot::snapshot,
    support::{Endpoint, Peer, field, status},
};

/// The class, the namespaces, and a Gateway `edge` in `infra` that takes routes of its own namespace.
const BASE: &str = "
apiVersion: gateway.networking.k8s.io/v1
kind: GatewayClass
metadata: {name: coracle, generation: 1}
spec: {controllerName: coracle.dev/gateway-controller}
---
apiVersion: v1
kind: Namespace
metadata: {name: infra, labels: {kubernetes.io/metadata.name: infra, role: infra}}
---
apiVersion: v1
kind: Namespace
metadata: {name: app, labels: {kubernetes.io/metadata.name: app, role: backend}}
---
apiVersion: v1
kind: Namespace
metadata: {name: web, labels: {kubernetes.io/metadata.name: web, role: backend}}
---
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: edge, namespace: infra, generation: 1, creationTimestamp: '2026-01-01T00:00:00Z'}
spec:
  gatewayClassName: coracle
  listeners: [{name: http, port: 80, protocol: HTTP}]
---
";

/// Services whose pods are echoes, as `namespace/name`; each has port 8080.
const BACKENDS: &[&str] = &["infra/v1", "infra/v2", "infra/v3", "app/v1", "app/v2", "web/v1", "web/v2"];

/// Manifests at work.
pub struct World {
    pub snapshot: Snapshot,
    proxy: Proxy,
    options: Options,
    memory: Memory,
    addresses: BTreeMap<u16, SocketAddr>,
    statuses: BTreeMap<(&'static str, String), Value>,
    /// What each backend got beside what it answered: copies of requests among it.
    pub seen: Arc<Mutex<Vec<String>>>,
    /// The backends that were made for this world.
    pub endpoints: Vec<Endpoint>,
}

impl World {
    /// The base with these manifests beside it.
    pub fn new(yaml: &str) -> Self {
        Self::alone(&format!("{BASE}{yaml}"))
    }

    /// These manifests and the backends, nothing else.
    pub fn alone(yaml: &str) -> Self {
        let timeouts = Timeouts::default();
        let proxy = Proxy::start(proxy::Options { workers: 1, timeouts, ..proxy::Options::default() }).unwrap();
        let options = Options::new(Vec::new(), "127.0.0.1".parse().unwrap());
        let mut world = Self {
            snapshot: snapshot(yaml),
            proxy,
            options,
            memory: Memory::default(),
            addresses: BTreeMap::new(),
            statuses: BTreeMap::new(),
            seen: Arc::default(),
            endpoints: Vec::new(),
        };
        for name in BACKENDS {
            let endpoint = echo(name, world.seen.clone());
            world.backend(name, None, endpoint);
        }
        world.apply();
        world
    }

    /// Adds a Service (`namespace/name`, port 8080) with one endpoint.
    pub fn backend(&mut self, name: &str, app_protocol: Option<&str>, endpoint: Endpoint) {
        self.service(name, app_protocol, endpoint.address);
        self.endpoints.push(endpoint);
    }

    /// Adds a Service (`namespace/name`, port 8080) whose pod is at an address.
    pub fn service(&mut self, name: &str, app_protocol: Option<&str>, address: SocketAddr) {
        let (namespace, name) = name.split_once('/').unwrap();
        let app_protocol = app_protocol.map(|p| format!(", appProtocol: {p}")).unwrap_or_default();
        let added = snapshot(&format!(
            "
apiVersion: v1
kind: Service
metadata: {{name: {name}, namespace: {namespace}}}
spec: {{ports: [{{name: first, port: 8080{app_protocol}}}]}}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {{name: {name}-1, namespace: {namespace}, labels: {{kubernetes.io/service-name: {name}}}}}
addressType: IPv4
ports: [{{name: first, port: {}}}]
endpoints: [{{addresses: [{}]}}]
",
            address.port(),
            address.ip()
        ));
        self.snapshot.services.extend(added.services);
        self.snapshot.slices.extend(added.slices);
    }

    /// Adds manifests; what has the kind, namespace and name of one that is there takes its place.
    pub fn add(&mut self, yaml: &str) {
        let added = snapshot(yaml);
        macro_rules! put {
            ($($field:ident),*) => {$(
                for object in added.$field {
                    self.snapshot.$field.retain(|old| {
                        (&old.metadata.namespace, &old.metadata.name) != (&object.metadata.namespace, &object.metadata.name)
                    });
                    self.snapshot.$field.push(object);
                }
            )*};
        }
        put!(
            classes,
            gateways,
            listener_sets,
            routes,
            grpc_routes,
            tls_routes,
            backend_tls,
            grants,
            services,
            slices,
            pods,
            secrets,
            namespaces
        );
        self.apply();
    }

    /// Compiles the manifests as they are, and serves them.
    pub fn apply(&mut self) {
        let gateways = self.snapshot.gateways.iter().flat_map(|gateway| &gateway.spec.listeners);
        let sets = self.snapshot.listener_sets.iter().flat_map(|set| &set.spec.listeners);
        let ports: Vec<u16> = gateways.chain(sets).filter_map(|listener| u16::try_from(listener.port).ok()).collect();
        for port in ports {
            let proxy = &self.proxy;
            self.addresses.entry(port).or_insert_with(|| proxy.hold("127.0.0.1:0".parse().unwrap()).unwrap());
        }
        let publish = |(port, address): (&u16, &SocketAddr)| Publish { address: *address, listener_port: *port };
        self.options.publish = self.addresses.iter().map(publish).collect();
        self.snapshot.bind_errors.clear();
        let errors = self.serve();
        if !errors.is_empty() {
            self.snapshot.bind_errors = errors;
            self.serve();
        }
    }

    fn serve(&mut self) -> Vec<BindError> {
        let now = "2026-02-01T00:00:00Z".parse().unwrap();
        let compiled = compile(&self.snapshot, &self.options, &mut self.memory, now);
        for update in compiled.statuses {
            let name = format!("{}/{}", update.namespace.unwrap_or_default(), update.name);
            self.statuses.insert((update.kind.name(), name), update.status);
        }
        self.proxy.apply(Arc::new(compiled.table))
    }

    /// An address that nobody else gets, for a Service's address.
    pub fn hold(&self) -> SocketAddr {
        self.proxy.hold("127.0.0.1:0".parse().unwrap()).unwrap()
    }

    /// A port that is free at all of these addresses, which nobody else gets.
    pub fn hold_at(&self, addresses: &[&str]) -> u16 {
        loop {
            let (first, rest) = addresses.split_first().unwrap();
            let port = self.proxy.hold(format!("{first}:0").parse().unwrap()).unwrap().port();
            if rest.iter().all(|address| self.proxy.hold(format!("{address}:{port}").parse().unwrap()).is_ok()) {
                return port;
            }
        }
    }

    /// Where a listener's port is served.
    pub fn address(&self, port: u16) -> SocketAddr {
        self.addresses[&port]
    }

    /// Sends every request, each over its own connection to port 80, and looks at the answers.
    pub fn check(&self, all: &[Ask]) {
        self.check_at(80, all);
    }

    /// The same at another port.
    pub fn check_at(&self, port: u16, all: &[Ask]) {
        all.iter().for_each(|ask| ask.check(&mut Peer::connect(self.address(port))));
    }

    /// One object's status; null if nothing was said.
    pub fn status(&self, kind: &'static str, name: &str) -> Value {
        self.statuses.get(&(kind, name.to_owned())).cloned().unwrap_or_default()
    }

    /// A route's condition at its first parent, as `Status Reason`.
    pub fn route(&self, kind: &'static str, name: &str, condition: &str) -> String {
        self.parent(kind, name, 0, condition)
    }

    /// A route's condition at one of its parents.
    pub fn parent(&self, kind: &'static str, name: &str, index: usize, condition: &str) -> String {
        said(&self.status(kind, name)["parents"][index]["conditions"], condition)
    }

    /// A condition of a Gateway, class or ListenerSet.
    pub fn condition(&self, kind: &'static str, name: &str, condition: &str) -> String {
        said(&self.status(kind, name)["conditions"], condition)
    }

    /// A listener's status.
    pub fn listener(&self, kind: &'static str, owner: &str, name: &str) -> Value {
        let status = self.status(kind, owner);
        let mut listeners = status["listeners"].as_array().into_iter().flatten();
        listeners.find(|listener| listener["name"] == name).cloned().unwrap_or_default()
    }

    /// A listener's condition.
    pub fn listener_condition(&self, kind: &'static str, owner: &str, name: &str, condition: &str) -> String {
        said(&self.listener(kind, owner, name)["conditions"], condition)
    }

    /// The kinds that a listener takes.
    pub fn kinds(&self, owner: &str, name: &str) -> Vec<String> {
        let listener = self.listener("Gateway", owner, name);
        let kinds = listener["supportedKinds"].as_array().cloned().unwrap_or_default();
        kinds.iter().map(|kind| kind["kind"].as_str().unwrap().to_owned()).collect()
    }
}

fn said(conditions: &Value, of: &str) -> String {
    let found = conditions.as_array().into_iter().flatten().find(|condition| condition["type"] == of);
    let text = |field: &str| found.and_then(|c| c[field].as_str()).unwrap_or("?").to_owned();
    format!("{} {}", text("status"), text("reason"))
}

/// Answers with the head it got, and its name in `x-backend`. `?sleep=MILLIS` makes it think, `?status=CODE` answers that.
pub fn echo(name: &str, seen: Arc<Mutex<Vec<String>>>) -> Endpoint {
    let name = name.to_owned();
    Endpoint::new(move |peer| {
        loop {
            let (head, _) = peer.message();
            if head.is_empty() {
                return;
            }
            seen.lock().unwrap().push(format!("{name} {}", head.lines().next().unwrap()));
            if let Some(millis) = asked(&head, "sleep") {
                // Nobody wakes it.
                std::thread::park_timeout(Duration::from_millis(millis));
            }
            let status = asked(&head, "status").unwrap_or(200);
            let extra = field(&head, "x-answer").map(|line| format!("{}\r\n", line.replace('|', "\r\n")));
            peer.send_some(format!(
                "HTTP/1.1 {status} It\r\nX-Backend: {name}\r\n{}Content-Length: {}\r\n\r\n{head}",
                extra.unwrap_or_default(),
                head.len()
            ));
        }
    })
}

/// A number in the query.
fn asked(head: &str, name: &str) -> Option<u64> {
    let target = head.split(' ').nth(1)?;
    let (_, query) = target.split_once('?')?;
    query.split('&').find_map(|pair| pair.strip_prefix(name)?.strip_prefix('=')?.parse().ok())
}

/// The share of some hundred requests that each backend gets.
pub fn shares(world: &World, ask: &Ask, count: usize) -> BTreeMap<String, usize> {
    let mut got = BTreeMap::new();
    let mut client = Peer::connect(world.address(80));
    for _ in 0..count {
        let (head, _) = ask.send(&mut client);
        let backend = field(&head, "x-backend").map_or_else(|| status(&head).to_owned(), str::to_owned);
        *got.entry(backend).or_default() += 1;
    }
    got
}
