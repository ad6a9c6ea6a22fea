//! The Coracle under load: its routes over every protocol, and where they end.

use std::{
    fs,
    io::{BufRead, BufReader},
    net::{Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
    time::Duration,
};

use anyhow::Context;
use base64::Engine;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::{ClientConfig, RootCertStore, client::Resumption};
use tempfile::TempDir;

use super::{endpoints::Endpoints, tally::Tally};
use crate::machine::{self, Process};

/// Routes that are changed all the time.
pub const VERSIONED: usize = 10;
/// Addresses of each service's endpoints, 127.0.0.1 and those that follow it.
pub const ADDRESSES: u8 = 4;
/// How long a request to what is broken may take, its response included.
pub const BROKEN_TIMEOUT: Duration = Duration::from_secs(10);
/// The host of all other requests.
pub const HOST: &str = "soak";
/// The host of gRPC calls: a listener's host belongs to routes of one kind.
pub const GRPC_HOST: &str = "grpc.soak";

/// What every client, fault and change needs to know.
pub struct World {
    /// HTTP/1.1, and HTTP/2 with prior knowledge.
    pub http: SocketAddr,
    /// The same in TLS.
    pub tls: SocketAddr,
    pub tcp: SocketAddr,
    /// Whose endpoint breaks connections off.
    pub broken_tcp: SocketAddr,
    pub udp: SocketAddr,
    /// Where nobody receives behind the listener.
    pub broken_udp: SocketAddr,
    /// A listener that comes and goes.
    pub passing: SocketAddr,
    pub metrics: SocketAddr,
    pub authority: Authority,
    pub tally: Tally,
    /// Of each changed route, the version that must be served by now.
    pub versions: [AtomicU64; VERSIONED],
    /// Well-behaved clients finish what they have begun.
    pub ending: AtomicBool,
}

impl World {
    pub fn is_ending(&self) -> bool {
        self.ending.load(Ordering::Relaxed)
    }
}

/// Who signs the certificates that the gateway shows.
pub struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    fn new() -> anyhow::Result<Self> {
        let mut params = CertificateParams::new(["authority".to_owned()])?;
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Ok(Self(CertifiedIssuer::self_signed(params, KeyPair::generate()?)?))
    }

    /// A new certificate for `localhost` as the data of a Secret.
    ///
    /// # Errors
    /// It cannot be made.
    pub fn secret(&self) -> anyhow::Result<serde_json::Value> {
        let key = KeyPair::generate()?;
        let chain = CertificateParams::new(["localhost".to_owned()])?.signed_by(&key, &self.0)?;
        let base64 = |text: String| base64::engine::general_purpose::STANDARD.encode(text);
        Ok(serde_json::json!({"tls.crt": base64(chain.pem()), "tls.key": base64(key.serialize_pem())}))
    }

    /// A client that trusts it and speaks these protocols; it shakes hands in full every time.
    ///
    /// # Errors
    /// The authority's certificate is not one.
    pub fn client(&self, protocols: &[&str]) -> anyhow::Result<Arc<ClientConfig>> {
        let mut roots = RootCertStore::empty();
        roots.add(self.0.der().clone())?;
        let mut config = ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
        config.alpn_protocols = protocols.iter().map(|protocol| protocol.as_bytes().to_vec()).collect();
        config.resumption = Resumption::disabled();
        Ok(Arc::new(config))
    }
}

/// A running Coracle and its files.
pub struct Site {
    pub process: Process,
    pub world: Arc<World>,
    pub kubeconfig: PathBuf,
    pub access_log: PathBuf,
    // Dropped last.
    _dir: TempDir,
}

impl Site {
    /// Starts Coracle with routes to these endpoints, and further arguments.
    ///
    /// # Errors
    /// It does not become ready.
    pub fn open(program: &Path, endpoints: &Endpoints, arguments: &[&str]) -> anyhow::Result<Self> {
        let dir = TempDir::new()?;
        let free = || -> anyhow::Result<_> { Ok(SocketAddr::from((Ipv4Addr::LOCALHOST, machine::free_port()?))) };
        let world = World {
            http: free()?,
            tls: free()?,
            tcp: free()?,
            broken_tcp: free()?,
            udp: free()?,
            broken_udp: free()?,
            passing: free()?,
            metrics: free()?,
            authority: Authority::new()?,
            tally: Tally::default(),
            versions: Default::default(),
            ending: AtomicBool::new(false),
        };
        let (manifests, access_log) = (dir.path().join("manifests.yaml"), dir.path().join("access.log"));
        fs::write(&manifests, self::manifests(&world, endpoints)?)?;
        let mut command = Command::new(program);
        command
            .args(["up", "--api-port", "0", "--runtime", "loopback", "--output", "json", "--data-dir"])
            .arg(dir.path().join("data"))
            .arg("-f")
            .arg(&manifests)
            .args(["--publish", &format!("{}:80,{}:443", world.http.port(), world.tls.port())])
            .args(["--metrics-port", &world.metrics.port().to_string()])
            .args(["--access-log-format", super::books::FORMAT, "--access-log"])
            .arg(&access_log)
            .args(arguments)
            .stdin(Stdio::null());
        let mut process = Process::spawn(command.stdout(Stdio::piped()))?;
        until_up(&mut process)?;
        let kubeconfig = dir.path().join("data/kubeconfig");
        Ok(Self { process, world: Arc::new(world), kubeconfig, access_log, _dir: dir })
    }
}

/// Waits until everything that was applied is ready; what it says later is read and dropped.
fn until_up(process: &mut Process) -> anyhow::Result<()> {
    let mut lines = BufReader::new(process.0.stdout.take().context("its standard output")?).lines();
    let mut said = lines.by_ref().map_while(Result::ok);
    said.find(|line| line.contains("\"event\":\"up\"")).context("coracle ended before everything was ready")?;
    thread::spawn(move || lines.map_while(Result::ok).for_each(drop));
    Ok(())
}

/// The addresses of an EndpointSlice's endpoints: those of 127.0.0.1 and on whose bits are set.
pub fn addresses(chosen: u8) -> serde_json::Value {
    let chosen = (0..ADDRESSES).filter(|index| chosen & (1 << index) != 0);
    chosen
        .map(
            |index| serde_json::json!({"addresses": [format!("127.0.0.{}", index + 1)], "conditions": {"ready": true}}),
        )
        .collect()
}

fn manifests(world: &World, endpoints: &Endpoints) -> anyhow::Result<String> {
    let mut text = format!(
        "---
apiVersion: v1
kind: Secret
type: kubernetes.io/tls
metadata: {{name: localhost}}
data: {}
---
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {{name: edge}}
spec:
  gatewayClassName: coracle
  listeners:
    - {{name: http, protocol: HTTP, port: 80}}
    - {{name: https, protocol: HTTPS, port: 443, tls: {{certificateRefs: [{{name: localhost}}]}}}}
    - {{name: tcp, protocol: TCP, port: {}}}
    - {{name: broken-tcp, protocol: TCP, port: {}}}
    - {{name: udp, protocol: UDP, port: {}}}
    - {{name: broken-udp, protocol: UDP, port: {}}}
",
        world.authority.secret()?,
        world.tcp.port(),
        world.broken_tcp.port(),
        world.udp.port(),
        world.broken_udp.port(),
    );
    for (name, port, protocol, application) in endpoints.services() {
        text.push_str(&service(name, port, protocol, application));
    }
    // An endpoint among others where nobody listens.
    text.push_str(&slice("good", "good-dead", endpoints.dead, "TCP", "http", 1));
    let timeout = format!(", timeouts: {{request: {}s}}", BROKEN_TIMEOUT.as_secs());
    for (name, path, backend, extra) in [
        ("right", "/right", "good", ""),
        ("wrong", "/wrong", "good", ""),
        ("h2", "/h2", "good-h2", ""),
        ("ws", "/ws", "ws", ""),
        ("broken", "/broken", "broken", timeout.as_str()),
        ("broken-h2", "/broken-h2", "broken-h2", timeout.as_str()),
        ("broken-ws", "/broken-ws", "broken", ""),
        ("broken-coming", "/broken-coming", "coming", ""),
    ] {
        text.push_str(&route(name, path, backend, extra));
    }
    text.push_str(&format!(
        "---
apiVersion: gateway.networking.k8s.io/v1
kind: GRPCRoute
metadata: {{name: grpc}}
spec:
  parentRefs: [{{name: edge}}]
  hostnames: [{GRPC_HOST}]
  rules: [{{backendRefs: [{{name: grpc, port: 80}}]}}]
"
    ));
    text.extend((0..VERSIONED).map(|n| route(&format!("versioned-{n}"), &format!("/right-{n}"), "good", "")));
    text.push_str(&layer4_routes());
    Ok(text)
}

/// Routes of connections and datagrams, each to the service and the listener of its name.
fn layer4_routes() -> String {
    let kinds = [("tcp", "TCPRoute"), ("broken-tcp", "TCPRoute"), ("udp", "UDPRoute"), ("broken-udp", "UDPRoute")];
    let route = |(name, kind)| {
        format!(
            "---
apiVersion: gateway.networking.k8s.io/v1
kind: {kind}
metadata: {{name: {name}}}
spec:
  parentRefs: [{{name: edge, sectionName: {name}}}]
  rules: [{{backendRefs: [{{name: {name}, port: 80}}]}}]
"
        )
    };
    kinds.map(route).concat()
}

fn service(name: &str, port: u16, protocol: &str, application: &str) -> String {
    let applied = if application.is_empty() { String::new() } else { format!(", appProtocol: {application}") };
    format!(
        "---
apiVersion: v1
kind: Service
metadata: {{name: {name}}}
spec: {{ports: [{{name: main, port: 80, protocol: {protocol}{applied}}}]}}
{}",
        slice(name, &format!("{name}-1"), port, protocol, application, (1 << ADDRESSES) - 1)
    )
}

fn slice(service: &str, name: &str, port: u16, protocol: &str, application: &str, chosen: u8) -> String {
    let applied = if application.is_empty() { String::new() } else { format!(", appProtocol: {application}") };
    format!(
        "---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {{name: {name}, labels: {{kubernetes.io/service-name: {service}}}}}
addressType: IPv4
ports: [{{name: main, port: {port}, protocol: {protocol}{applied}}}]
endpoints: {}
",
        addresses(chosen)
    )
}

/// An HTTPRoute of one rule.
fn route(name: &str, path: &str, service: &str, extra: &str) -> String {
    format!(
        "---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {{name: {name}}}
spec:
  parentRefs: [{{name: edge}}]
  hostnames: [{HOST}]
  rules: [{{matches: [{{path: {{type: PathPrefix, value: {path}}}}}], backendRefs: [{{name: {service}, port: 80}}]{extra}}}]
"
    )
}
