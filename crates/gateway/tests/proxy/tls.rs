//! HTTPS, from the manifests of a Gateway and its Secrets to a client that checks the certificate.

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    sync::Arc,
    time::Duration,
};

use gateway::{
    control::{Memory, Options as Control, Publish, Sink, compile},
    proxy::{Options, Proxy, Timeouts},
};
use rustls::{
    CipherSuite, ClientConfig, ClientConnection, RootCertStore, StreamOwned,
    crypto::{CryptoProvider, aws_lc_rs},
    pki_types::{CertificateDer, ServerName, pem::PemObject},
};

use super::{
    changes, http2,
    snapshot::snapshot,
    support::{Endpoint, Peer, field, status},
};

/// A self-signed certificate and its key, in PEM.
struct Pair {
    certificate: String,
    key: String,
}

fn pair(name: &str) -> Pair {
    let made = rcgen::generate_simple_self_signed([name.to_owned()]).unwrap();
    Pair { certificate: made.cert.pem(), key: made.signing_key.serialize_pem() }
}

/// Two HTTPS listeners on one port with a certificate each, and one with none.
struct Served {
    proxy: Proxy,
    memory: Memory,
    control: Control,
    endpoint: Endpoint,
}

impl Served {
    fn new(timeouts: Timeouts) -> Self {
        let proxy = Proxy::start(Options { workers: 1, timeouts, ..Options::default() }).unwrap();
        let address = proxy.hold("127.0.0.1:0".parse().unwrap()).unwrap();
        let control = Control::new(vec![Publish { address, listener_port: 443 }], "127.0.0.1".parse().unwrap());
        Self { proxy, memory: Memory::default(), control, endpoint: Endpoint::mirror() }
    }

    fn address(&self) -> SocketAddr {
        self.control.publish[0].address
    }

    /// Compiles and serves; `version` is that of the Secrets.
    fn apply(&mut self, a: &Pair, b: &Pair, version: u32) {
        let snapshot = snapshot(&manifests(self.endpoint.address, a, b, version));
        let compiled = compile(&snapshot, &self.control, &mut self.memory, jiff::Timestamp::UNIX_EPOCH);
        let errors = self.proxy.apply(Arc::new(compiled.table));
        assert!(errors.is_empty(), "{errors:?}");
    }

    /// A client that trusts this certificate alone and asks for this name.
    fn client(&self, name: &str, trusted: &Pair) -> Peer {
        let tcp = TcpStream::connect(self.address()).unwrap();
        Peer::over(tcp.try_clone().unwrap(), StreamOwned::new(connection(name, trusted), tcp))
    }

    /// Why a client gets no connection.
    fn refusal(&self, name: &str, trusted: &Pair) -> String {
        let tcp = TcpStream::connect(self.address()).unwrap();
        let mut stream = StreamOwned::new(connection(name, trusted), tcp);
        let failed = stream.write_all(b"GET / HTTP/1.1\r\n\r\n").and_then(|()| stream.read(&mut [0]).map(drop));
        failed.unwrap_err().to_string()
    }
}

fn connection(name: &str, trusted: &Pair) -> ClientConnection {
    ClientConnection::new(Arc::new(config(trusted)), ServerName::try_from(name.to_owned()).unwrap()).unwrap()
}

/// How a client speaks that trusts this certificate alone.
fn config(trusted: &Pair) -> ClientConfig {
    config_with(aws_lc_rs::default_provider(), trusted)
}

fn config_with(provider: CryptoProvider, trusted: &Pair) -> ClientConfig {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(trusted.certificate.as_bytes()).unwrap()).unwrap();
    let config = ClientConfig::builder_with_provider(Arc::new(provider));
    let config = config.with_safe_default_protocol_versions().unwrap();
    config.with_root_certificates(roots).with_no_client_auth()
}

fn manifests(endpoint: SocketAddr, a: &Pair, b: &Pair, version: u32) -> String {
    let secret = |name: &str, pair: &Pair| {
        use base64::{Engine, prelude::BASE64_STANDARD as base64};
        let (certificate, key) = (base64.encode(&pair.certificate), base64.encode(&pair.key));
        format!(
            "kind: Secret
apiVersion: v1
metadata: {{name: {name}, namespace: default, resourceVersion: '{version}'}}
type: kubernetes.io/tls
data: {{tls.crt: {certificate}, tls.key: {key}}}
"
        )
    };
    let listener = |name: &str| {
        format!(
            "{{name: {name}, port: 443, protocol: HTTPS, hostname: {name}.example, tls: {{certificateRefs: [{{name: {name}}}]}}}}"
        )
    };
    format!(
        "kind: GatewayClass
metadata: {{name: coracle}}
spec: {{controllerName: coracle.dev/gateway-controller}}
---
{}---
{}---
kind: Gateway
metadata: {{name: edge, namespace: default}}
spec:
  gatewayClassName: coracle
  listeners: [{}, {}, {}]
---
kind: Service
metadata: {{name: up, namespace: default}}
spec: {{clusterIP: None, ports: [{{port: 80}}]}}
---
kind: EndpointSlice
metadata: {{name: up-1, namespace: default, labels: {{kubernetes.io/service-name: up}}}}
addressType: IPv4
ports: [{{port: {}}}]
endpoints: [{{addresses: [{}]}}]
---
kind: HTTPRoute
metadata: {{name: all, namespace: default}}
spec:
  parentRefs: [{{name: edge}}]
  rules:
  - matches: [{{path: {{type: PathPrefix, value: /moved}}}}]
    filters: [{{type: RequestRedirect, requestRedirect: {{path: {{type: ReplaceFullPath, replaceFullPath: /}}}}}}]
  - backendRefs: [{{name: up, port: 80}}]
",
        secret("a", a),
        secret("b", b),
        listener("a"),
        listener("b"),
        listener("missing"),
        endpoint.port(),
        endpoint.ip()
    )
}

fn get(client: &mut Peer, host: &str, path: &str) -> (String, String) {
    client.send(format!("GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n"));
    client.message()
}

#[test]
fn each_name_is_shown_its_own_certificate_and_a_name_without_one_breaks_nobody_else() {
    let (a, b) = (pair("a.example"), pair("b.example"));
    let mut served = Served::new(Timeouts::default());
    served.apply(&a, &b, 1);
    for (name, trusted) in [("a.example", &a), ("b.example", &b)] {
        let mut client = served.client(name, trusted);
        for _ in 0..2 {
            let (head, seen) = get(&mut client, name, "/");
            assert_eq!((status(&head), field(&seen, "x-forwarded-proto")), ("200", Some("https")));
        }
    }
    for name in ["missing.example", "other.example"] {
        let refused = served.refusal(name, &a);
        assert!(
            refused.contains("UnrecognisedName") || refused.contains("AccessDenied") || refused.contains("alert"),
            "{refused}"
        );
    }
    assert!(served.refusal("a.example", &b).contains("certificate"), "the wrong certificate is shown");
}

#[test]
fn clients_get_the_suite_with_the_faster_hash_unless_they_have_no_instructions_for_aes() {
    let (a, b) = (pair("a.example"), pair("b.example"));
    let mut served = Served::new(Timeouts::default());
    served.apply(&a, &b, 1);
    for (first, agreed) in [
        (CipherSuite::TLS13_AES_256_GCM_SHA384, CipherSuite::TLS13_AES_128_GCM_SHA256),
        (CipherSuite::TLS13_CHACHA20_POLY1305_SHA256, CipherSuite::TLS13_CHACHA20_POLY1305_SHA256),
    ] {
        let mut provider = aws_lc_rs::default_provider();
        provider.cipher_suites.sort_by_key(|suite| suite.suite() != first);
        let name = ServerName::try_from("a.example").unwrap();
        let mut client = ClientConnection::new(Arc::new(config_with(provider, &a)), name).unwrap();
        let mut tcp = TcpStream::connect(served.address()).unwrap();
        client.complete_io(&mut tcp).unwrap();
        assert_eq!(client.negotiated_cipher_suite().map(|suite| suite.suite()), Some(agreed));
    }
}

#[test]
fn a_request_for_another_listeners_host_is_misdirected() {
    let (a, b) = (pair("a.example"), pair("b.example"));
    let mut served = Served::new(Timeouts::default());
    served.apply(&a, &b, 1);
    let mut client = served.client("a.example", &a);
    assert_eq!(status(&get(&mut client, "b.example", "/").0), "421");
    assert_eq!(status(&get(&mut client, "a.example:443", "/").0), "200");
}

#[test]
fn a_redirect_stays_with_https() {
    let (a, b) = (pair("a.example"), pair("b.example"));
    let mut served = Served::new(Timeouts::default());
    served.apply(&a, &b, 1);
    let (head, _) = get(&mut served.client("a.example", &a), "a.example:443", "/moved/on");
    assert_eq!(field(&head, "location"), Some("https://a.example/"));
}

#[test]
fn a_new_certificate_is_shown_to_new_connections_and_ends_no_old_one() {
    let (old, b, new) = (pair("a.example"), pair("b.example"), pair("a.example"));
    let mut served = Served::new(Timeouts::default());
    served.apply(&old, &b, 1);
    let mut before = served.client("a.example", &old);
    assert_eq!(status(&get(&mut before, "a.example", "/").0), "200");
    served.apply(&new, &b, 2);
    assert_eq!(status(&get(&mut served.client("a.example", &new), "a.example", "/").0), "200");
    assert_eq!(status(&get(&mut before, "a.example", "/").0), "200");
    served.apply(&Pair { certificate: new.certificate.clone(), key: b.key.clone() }, &b, 3);
    assert_eq!(status(&get(&mut served.client("b.example", &b), "b.example", "/").0), "200");
    served.refusal("a.example", &new);
}

#[test]
fn large_bodies_and_pipelined_requests_pass_encrypted() {
    let (a, b) = (pair("a.example"), pair("b.example"));
    let mut served = Served::new(Timeouts::default());
    served.endpoint = Endpoint::new(|peer| {
        loop {
            let head = peer.head();
            let Some(length) = field(&head, "content-length") else { return };
            let body = peer.exactly(length.parse().unwrap());
            peer.send(format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len()));
            peer.send(body);
        }
    });
    served.apply(&a, &b, 1);
    let body: Vec<u8> = (0..700_000).map(|at: u32| (at % 251) as u8).collect();
    let mut client = served.client("a.example", &a);
    let post = format!("POST / HTTP/1.1\r\nHost: a.example\r\nContent-Length: {}\r\n\r\n", body.len());
    client
        .send([post.as_bytes(), &body, b"POST / HTTP/1.1\r\nHost: a.example\r\nContent-Length: 2\r\n\r\nhi"].concat());
    assert_eq!(status(&client.head()), "200");
    assert!(client.exactly(body.len()) == body);
    assert_eq!(client.message().1, "hi");
}

#[test]
fn http_2_is_agreed_on_and_its_requests_are_for_the_listener_that_was_asked_for() {
    let (a, b) = (pair("a.example"), pair("b.example"));
    let mut served = Served::new(Timeouts::default());
    served.apply(&a, &b, 1);
    http2::run(async {
        let mut config = config(&a);
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        let tcp = tokio::net::TcpStream::connect(served.address()).await.unwrap();
        let name = ServerName::try_from("a.example").unwrap();
        let tls = tokio_rustls::TlsConnector::from(Arc::new(config)).connect(name, tcp).await.unwrap();
        assert_eq!(tls.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
        let client = http2::connect_over(tls).await;
        let get = |host: &str| http::Request::get(format!("https://{host}/x")).body(()).unwrap();
        let answered = http2::ask(&client, get("a.example")).await.unwrap();
        assert_eq!(field(answered.text(), "x-forwarded-proto"), Some("https"));
        let misdirected = http2::ask(&client, get("b.example")).await.unwrap();
        assert_eq!(misdirected.head.status, 421);
    });
}

#[test]
fn what_is_not_tls_and_what_never_becomes_it_is_closed() {
    let (a, b) = (pair("a.example"), pair("b.example"));
    let mut served = Served::new(Timeouts { head: Duration::from_millis(250), ..Timeouts::default() });
    served.apply(&a, &b, 1);
    let mut plain = Peer::connect(served.address());
    plain.send("GET / HTTP/1.1\r\nHost: a.example\r\n\r\n");
    assert!(!String::from_utf8_lossy(&plain.rest()).contains("HTTP/1.1"));
    let mut silent = Peer::connect(served.address());
    silent.assert_closed();
}

#[test]
fn a_listener_that_is_taken_away_finishes_its_requests() {
    let (a, b) = (pair("a.example"), pair("b.example"));
    let (endpoint, began, release) = changes::held();
    let mut served = Served { endpoint, ..Served::new(Timeouts::default()) };
    served.apply(&a, &b, 1);
    let (mut idle, mut running) = (served.client("a.example", &a), served.client("b.example", &b));
    idle.send("GET /moved HTTP/1.1\r\nHost: a.example\r\n\r\n");
    assert_eq!(status(&idle.message().0), "302");
    running.send("GET / HTTP/1.1\r\nHost: b.example\r\n\r\n");
    began.recv().unwrap();
    served.proxy.apply(Arc::default());
    idle.assert_closed();
    // The worker closes its socket a moment later.
    while TcpStream::connect(served.address()).is_ok() {}
    release.send(()).unwrap();
    let (head, body) = running.message();
    assert_eq!((status(&head), field(&head, "connection"), body.as_str()), ("200", None, "old"));
    running.assert_closed();
}
