//! What Gateways ask of clients (`spec.tls.frontend`), from manifests to handshakes that fail.

use std::{net::TcpStream, sync::Arc};

use rustls::ClientConfig;

use super::{
    manifests::{Served, authority, gateway, route, secret, service},
    pki::{self, Authority},
    support::{Endpoint, Peer, status},
};

const ALWAYS: &str = "{name: always, port: 443, protocol: HTTPS, tls: {certificateRefs: [{name: own}]}}";
const OTHERWISE: &str = "{name: otherwise, port: 8443, protocol: HTTPS, tls: {certificateRefs: [{name: own}]}}";

struct Case {
    served: Served,
    endpoint: Endpoint,
    servers: Authority,
    clients: Authority,
}

impl Case {
    fn new() -> Self {
        let (servers, clients) = (Authority::new(), Authority::new());
        Self { served: Served::at(&[443, 8443]), endpoint: Endpoint::saying("hello"), servers, clients }
    }

    fn ask(&mut self, validation: &str, of_8443: &str) {
        let own = self.servers.issue(&["a.example"]);
        let tls = format!("frontend: {{default: {{{validation}}}, perPort: [{{port: 8443, tls: {{{of_8443}}}}}]}}");
        self.served.apply(&[
            gateway(&tls, &[ALWAYS, OTHERWISE]),
            secret("own", &own),
            authority("clients", &self.clients),
            service(&self.endpoint),
            route(),
        ]);
    }

    /// What a client hears that presents a certificate of this authority, or none; `None` if it is not let in.
    fn get(&self, port: u16, authority: Option<&Authority>) -> Option<String> {
        let pair = authority.map(|authority| authority.issue(&["client"]));
        self.get_by(port, &pki::client(&self.servers, pair.as_ref()))
    }

    fn get_by(&self, port: u16, config: &Arc<ClientConfig>) -> Option<String> {
        let mut client: Peer =
            pki::connected(TcpStream::connect(self.served.address(port)).unwrap(), config, "a.example");
        client.send_some("GET / HTTP/1.1\r\nHost: a.example\r\n\r\n");
        let head = client.head_if_any()?;
        assert_eq!(status(&head), "200");
        Some(client.text(5))
    }
}

fn valid_only() -> &'static str {
    "validation: {caCertificateRefs: [{group: '', kind: ConfigMap, name: clients}]}"
}

#[test]
fn only_clients_with_a_certificate_of_the_authority_are_let_in() {
    let mut case = Case::new();
    case.ask(valid_only(), "");
    assert_eq!(case.get(443, Some(&case.clients)).as_deref(), Some("hello"));
    assert_eq!(case.get(443, Some(&Authority::new())), None);
    assert_eq!(case.get(443, None), None);
}

#[test]
fn a_port_may_ask_otherwise() {
    let mut case = Case::new();
    case.ask(valid_only(), "");
    assert_eq!(case.get(8443, None).as_deref(), Some("hello"));
    case.ask("", valid_only());
    assert_eq!(case.get(443, None).as_deref(), Some("hello"));
    assert_eq!(case.get(8443, None), None);
    assert_eq!(case.get(8443, Some(&case.clients)).as_deref(), Some("hello"));
}

#[test]
fn insecure_fallback_lets_everybody_in() {
    let mut case = Case::new();
    let fallback = valid_only().replace("]}", "], mode: AllowInsecureFallback}");
    case.ask(&fallback, "");
    for authority in [None, Some(&case.clients), Some(&Authority::new())] {
        assert_eq!(case.get(443, authority).as_deref(), Some("hello"));
    }
}

#[test]
fn a_session_from_before_does_not_let_a_client_in_that_is_asked_now() {
    let mut case = Case::new();
    case.ask("", "");
    let config = pki::client(&case.servers, None);
    assert_eq!(case.get_by(443, &config).as_deref(), Some("hello"));
    case.ask(valid_only(), "");
    assert_eq!(case.get_by(443, &config), None);
}

#[test]
fn without_an_authority_nobody_is_let_in() {
    let mut case = Case::new();
    case.ask(&valid_only().replace("clients", "gone"), "");
    assert!(TcpStream::connect(case.served.address(443)).is_err());
    assert_eq!(case.get(8443, None).as_deref(), Some("hello"));
}
