//! Requests to endpoints inside TLS: whom the proxy trusts, what it calls them, and what it shows them.

use std::{net::SocketAddr, sync::Arc, thread, time::Instant};

use bytes::Bytes;
use gateway::table::{BackendTls, Cluster, ListenerService, Split, Upstream};
use rustls::{ClientConfig, ServerConfig, pki_types::ServerName};
use tokio::{net::TcpListener, runtime};
use tokio_rustls::TlsAcceptor;

use super::{
    manifests::{self, Served, route, service},
    pki::{self, Authority, Pair},
    support::{Endpoint, Gateway, Peer, everything, field, forward, nobody, status},
};

fn encrypted(endpoints: &[SocketAddr], config: Arc<ClientConfig>, name: &str) -> Arc<Cluster> {
    let tls = BackendTls::new(ServerName::try_from(name.to_owned()).unwrap(), config);
    let cluster = Cluster::new("default/test:443".into()).encrypted(Some(Arc::new(tls)));
    cluster.set_addresses(endpoints, Instant::now());
    Arc::new(cluster)
}

/// Answers each request with the server name and the number of certificates it was shown.
fn endpoint(authority: &Authority, name: &str, clients: Option<&Authority>) -> Endpoint {
    pki::endpoint(pki::server(&authority.issue(&[name]), clients, &["http/1.1"]), |peer, name, shown| {
        while !peer.message().0.is_empty() {
            let body = format!("{name} {shown}");
            peer.send(format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len()));
        }
    })
}

fn to(cluster: Arc<Cluster>) -> ListenerService {
    everything(forward(cluster))
}

#[test]
fn the_endpoint_is_called_by_the_policys_name_and_its_connection_is_used_again() {
    let authority = Authority::new();
    let endpoint = endpoint(&authority, "up.example", None);
    let config = pki::client(&authority, None);
    let gateway = Gateway::new(to(encrypted(&[nobody(), endpoint.address], config, "up.example")));
    for _ in 0..4 {
        let (head, body) = gateway.client().get("/");
        assert_eq!((status(&head), body.as_str()), ("200", "up.example 0"));
    }
    assert_eq!(endpoint.connections(), 1);
}

#[test]
fn an_endpoint_that_is_not_trusted_gets_no_request() {
    let (authority, other) = (Authority::new(), Authority::new());
    let endpoint = endpoint(&authority, "up.example", None);
    for (trusted, name) in [(&other, "up.example"), (&authority, "other.example")] {
        let cluster = encrypted(&[endpoint.address], pki::client(trusted, None), name);
        assert_eq!(status(&Gateway::new(to(cluster)).client().get("/").0), "502");
    }
}

#[test]
fn nothing_is_said_in_the_clear_to_an_endpoint_that_does_not_speak_tls() {
    let (heard, first) = std::sync::mpsc::channel();
    let endpoint = Endpoint::new(move |peer| {
        heard.send(peer.exactly(3)).unwrap();
        peer.send("HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
    });
    let cluster = encrypted(&[endpoint.address], pki::client(&Authority::new(), None), "up.example");
    assert_eq!(status(&Gateway::new(to(cluster)).client().get("/").0), "502");
    // A record of the handshake.
    assert_eq!(first.recv().unwrap(), [22, 3, 1]);
}

#[test]
fn an_endpoint_that_asks_is_shown_the_certificate() {
    let (authority, clients) = (Authority::new(), Authority::new());
    let endpoint = endpoint(&authority, "up.example", Some(&clients));
    let shown = clients.issue(&["gateway.example"]);
    let service = |pair| to(encrypted(&[endpoint.address], pki::client(&authority, pair), "up.example"));
    let gateway = Gateway::new(service(Some(&shown)));
    assert_eq!(gateway.client().get("/").1, "up.example 1");
    gateway.serve(service(None));
    assert!(["502", "503"].contains(&status(&gateway.client().get("/").0)));
}

#[test]
fn a_connection_serves_only_those_who_trust_it_for_the_same_reason() {
    let authority = Authority::new();
    let endpoint = endpoint(&authority, "up.example", None);
    let service = |trusted: &Authority| to(encrypted(&[endpoint.address], pki::client(trusted, None), "up.example"));
    let gateway = Gateway::new(service(&authority));
    assert_eq!(status(&gateway.client().get("/").0), "200");
    gateway.serve(service(&Authority::new()));
    assert_eq!(status(&gateway.client().get("/").0), "502");
}

#[test]
fn a_large_response_arrives_whole() {
    let authority = Authority::new();
    let body: Vec<u8> = (0..700_000).map(|at: u32| (at % 251) as u8).collect();
    let sent = body.clone();
    let config = pki::server(&authority.issue(&["up.example"]), None, &[]);
    let endpoint = pki::endpoint(config, move |peer, _, _| {
        let (head, body) = peer.message();
        assert_eq!((field(&head, "content-length"), body.as_str()), (Some("5"), "hello"));
        peer.send(format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", sent.len()));
        peer.send(&sent);
    });
    let gateway = Gateway::new(to(encrypted(&[endpoint.address], pki::client(&authority, None), "up.example")));
    let mut client = gateway.client();
    client.send("POST / HTTP/1.1\r\nHost: example.com\r\nContent-Length: 5\r\n\r\nhello");
    assert_eq!(status(&client.head()), "200");
    assert!(client.exactly(body.len()) == body);
}

#[test]
fn bytes_travel_encrypted_as_well() {
    let authority = Authority::new();
    let config = pki::server(&authority.issue(&["up.example"]), None, &[]);
    let endpoint = pki::endpoint(config, |peer, name, _| {
        let head = peer.head();
        peer.send(format!("{name} {head}"));
    });
    let cluster = encrypted(&[endpoint.address], pki::client(&authority, None), "up.example");
    let gateway = Gateway::new(ListenerService::Tcp(Arc::new(Split::to(cluster))));
    let mut client = gateway.client();
    client.send("hello\r\n\r\n");
    assert_eq!(client.head(), "up.example hello\r\n\r\n");
}

/// What a request hears where `up`, which is `name` with a certificate of `authority`, is under this policy.
fn under_policy(validation: &str, authority: &Authority, names: &[&str]) -> (String, String) {
    let endpoint = pki::endpoint(pki::server(&authority.issue(names), None, &["http/1.1"]), |peer, name, _| {
        peer.message();
        peer.send(format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{name}", name.len()));
    });
    let (_served, mut client) = policed(validation, authority, &endpoint);
    let (head, body) = client.get("/");
    (status(&head).to_owned(), body)
}

/// A client of a Gateway that sends everything to this endpoint under this policy; `known` are the authority's certificates.
fn policed(validation: &str, authority: &Authority, endpoint: &Endpoint) -> (Served, Peer) {
    let policy = format!(
        "kind: BackendTLSPolicy
metadata: {{name: secure, namespace: default}}
spec: {{targetRefs: [{{group: '', kind: Service, name: up}}], validation: {{hostname: up.example, {validation}}}}}
"
    );
    let mut served = Served::at(&[80]);
    served.apply(&[
        manifests::gateway("", &["{name: http, port: 80, protocol: HTTP}"]),
        manifests::authority("known", authority),
        service(endpoint),
        route(),
        policy,
    ]);
    let client = Peer::connect(served.address(80));
    (served, client)
}

const KNOWN: &str = "caCertificateRefs: [{group: '', kind: ConfigMap, name: known}]";

#[test]
fn a_policys_authorities_vouch_for_the_endpoint() {
    let ok = ("200".to_owned(), "up.example".to_owned());
    assert_eq!(under_policy(KNOWN, &Authority::new(), &["up.example"]), ok);
    assert_eq!(under_policy(KNOWN, &Authority::new(), &["other.example"]).0, "502");
    assert_eq!(under_policy(&KNOWN.replace("known", "gone"), &Authority::new(), &["up.example"]).0, "502");
    assert_eq!(under_policy("wellKnownCACertificates: System", &Authority::new(), &["up.example"]).0, "502");
}

#[test]
fn alternative_names_take_the_place_of_the_host_name() {
    let with = |names: &str| format!("{KNOWN}, subjectAltNames: [{names}]");
    let spiffe = with("{type: URI, uri: 'spiffe://cluster/ns/a'}, {type: Hostname, hostname: alt.example}");
    for (names, expected) in [
        (&["spiffe://cluster/ns/a"][..], "200"),
        (&["alt.example"], "200"),
        (&["other.example", "alt.example"], "200"),
        (&["spiffe://cluster/ns/b"], "502"),
        (&["up.example"], "502"),
    ] {
        assert_eq!(under_policy(&spiffe, &Authority::new(), names).0, expected, "{names:?}");
    }
    let wild = with("{type: Hostname, hostname: '*.alt.example'}");
    assert_eq!(under_policy(&wild, &Authority::new(), &["x.alt.example"]).0, "200");
    assert_eq!(under_policy(&wild, &Authority::new(), &["alt.example"]).0, "502");
}

#[test]
fn a_self_signed_certificate_is_trusted_if_it_is_the_one_that_was_given() {
    let own = Authority::named("up.example");
    let said = |known: &Authority, shown: Pair| {
        let endpoint = pki::endpoint(pki::server(&shown, None, &["http/1.1"]), |peer, _, _| {
            peer.message();
            peer.send("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
        });
        let (_served, mut client) = policed(KNOWN, known, &endpoint);
        status(&client.get("/").0).to_owned()
    };
    assert_eq!(said(&own, own.pair()), "200");
    assert_eq!(said(&Authority::named("up.example"), own.pair()), "502");
    let other = Authority::named("other.example");
    assert_eq!(said(&other, other.pair()), "502");
}

#[test]
fn what_a_gateway_shows_to_endpoints_is_in_a_secret() {
    let (servers, clients) = (Authority::new(), Authority::new());
    let config = pki::server(&servers.issue(&["up.example"]), Some(&clients), &["http/1.1"]);
    let endpoint = pki::endpoint(config, |peer, _, shown| {
        peer.message();
        peer.send(format!("HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n{shown}"));
    });
    let policy = format!(
        "kind: BackendTLSPolicy
metadata: {{name: secure, namespace: default}}
spec: {{targetRefs: [{{group: '', kind: Service, name: up}}], validation: {{hostname: up.example, {KNOWN}}}}}
"
    );
    let mut served = Served::at(&[80]);
    served.apply(&[
        manifests::gateway(
            "backend: {clientCertificateRef: {name: shown}}",
            &["{name: http, port: 80, protocol: HTTP}"],
        ),
        manifests::secret("shown", &clients.issue(&["gateway"])),
        manifests::authority("known", &servers),
        service(&endpoint),
        route(),
        policy,
    ]);
    assert_eq!(Peer::connect(served.address(80)).get("/").1, "1");
}

/// An endpoint of HTTP/2 inside TLS that answers every request with 200.
fn http2(config: Arc<ServerConfig>) -> SocketAddr {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let address = listener.local_addr().unwrap();
    let serve = async move {
        let listener = TcpListener::from_std(listener).unwrap();
        while let Ok((tcp, _)) = listener.accept().await {
            let Ok(stream) = TlsAcceptor::from(config.clone()).accept(tcp).await else { continue };
            let Ok(mut connection) = h2::server::Builder::new().handshake::<_, Bytes>(stream).await else { continue };
            while let Some(Ok((_, mut respond))) = connection.accept().await {
                _ = respond.send_response(http::Response::new(()), true);
            }
        }
    };
    thread::spawn(move || runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(serve));
    address
}

#[test]
fn http_2_is_spoken_with_endpoints_that_agree_to_it_and_with_no_others() {
    let authority = Authority::new();
    let pair = authority.issue(&["up.example"]);
    for (alpn, expected) in [(&["h2", "http/1.1"][..], "200"), (&["http/1.1"], "502"), (&[], "502")] {
        let mut config = (*pki::client(&authority, None)).clone();
        config.alpn_protocols = vec![b"h2".to_vec()];
        let tls = BackendTls::new(ServerName::try_from("up.example").unwrap(), Arc::new(config));
        let cluster = Cluster::new("default/test:443".into()).speaking(Upstream::Http2).encrypted(Some(Arc::new(tls)));
        cluster.set_addresses(&[http2(pki::server(&pair, None, alpn))], Instant::now());
        let gateway = Gateway::new(to(Arc::new(cluster)));
        assert_eq!(status(&gateway.client().get("/").0), expected, "{alpn:?}");
    }
}
