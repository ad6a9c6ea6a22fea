//! What Gateways ask of the clients of their HTTPS listeners.

use std::net::TcpStream;

use serde_json::Value;

use crate::{
    pki::{Authority, client, connected},
    support::{Peer, field, status},
    tls::secret,
    world::World,
};

/// Everybody who signs, and a world with HTTPS at 443 and 8443, and HTTP at 80.
struct Case {
    world: World,
    servers: Authority,
    first: Authority,
    second: Authority,
}

impl Case {
    /// With this at every port, and that at 8443.
    fn new(of_all: &str, of_8443: &str) -> Self {
        let (servers, first, second) = (Authority::new(), Authority::new(), Authority::new());
        let map = |name: &str, pem: &str| {
            let pem = Value::from(pem);
            format!(
                "\n---\napiVersion: v1\nkind: ConfigMap\nmetadata: {{name: {name}, namespace: infra}}\ndata: {{ca.crt: {pem}}}"
            )
        };
        let yaml = [
            format!(
                "
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {{name: g, namespace: infra, generation: 1, creationTimestamp: '2026-01-02T00:00:00Z'}}
spec:
  gatewayClassName: coracle
  tls: {{frontend: {{default: {{{of_all}}}, perPort: [{of_8443}]}}}}
  listeners:
  - {{name: https, port: 443, protocol: HTTPS, tls: {{certificateRefs: [{{name: cert}}]}}}}
  - {{name: other, port: 8443, protocol: HTTPS, tls: {{certificateRefs: [{{name: cert}}]}}}}
  - {{name: http, port: 81, protocol: HTTP}}
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {{name: r, namespace: infra}}
spec: {{parentRefs: [{{name: g}}], rules: [{{backendRefs: [{{name: v1, port: 8080}}]}}]}}"
            ),
            secret("infra", "cert", &servers.issue(&["a.test"])),
            map("first", &first.pem()),
            map("second", &second.pem()),
            map("malformed", "Hello world"),
        ];
        Self { world: World::new(&yaml.concat()), servers, first, second }
    }

    /// Whether a client is served that shows a certificate of this authority, or none.
    fn serves(&self, port: u16, shown: Option<&Authority>) -> bool {
        let pair = shown.map(|authority| authority.issue(&["client.test"]));
        let tcp = TcpStream::connect(self.world.address(port)).unwrap();
        let mut peer = connected(tcp, &client(&self.servers, pair.as_ref()), "a.test");
        peer.send_some("GET / HTTP/1.1\r\nHost: a.test\r\n\r\n");
        let Some(head) = peer.head_if_any() else { return false };
        assert_eq!((status(&head), field(&head, "x-backend")), ("200", Some("infra/v1")));
        true
    }

    fn said(&self, listener: &str, condition: &str) -> String {
        self.world.listener_condition("Gateway", "infra/g", listener, condition)
    }

    /// Whether plain HTTP works, whatever HTTPS does.
    fn serves_http(&self) -> bool {
        let mut peer = Peer::connect(self.world.address(81));
        status(&peer.get("/").0) == "200"
    }
}

fn validation(map: &str, mode: &str) -> String {
    format!("validation: {{caCertificateRefs: [{{group: '', kind: ConfigMap, name: {map}}}]{mode}}}")
}

#[test]
fn gateway_frontend_client_certificate_validation() {
    let per_port = format!("{{port: 8443, tls: {{{}}}}}", validation("second", ""));
    let case = Case::new(&validation("first", ""), &per_port);
    for (port, good, bad) in [(443, &case.first, &case.second), (8443, &case.second, &case.first)] {
        assert!(case.serves(port, Some(good)), "{port}");
        assert!(!case.serves(port, Some(bad)), "{port}");
        assert!(!case.serves(port, None), "{port}");
    }
    assert_eq!(case.world.condition("Gateway", "infra/g", "InsecureFrontendValidationMode"), "? ?");
}

#[test]
fn gateway_frontend_client_certificate_validation_insecure_fallback() {
    let mode = ", mode: AllowInsecureFallback";
    let per_port = format!("{{port: 8443, tls: {{{}}}}}", validation("second", mode));
    let case = Case::new(&validation("first", mode), &per_port);
    for port in [443, 8443] {
        for shown in [Some(&case.first), Some(&case.second), None] {
            assert!(case.serves(port, shown), "{port}");
        }
    }
    let said = case.world.condition("Gateway", "infra/g", "InsecureFrontendValidationMode");
    assert_eq!(said, "True ConfigurationChanged");
}

#[test]
fn gateway_invalid_frontend_client_certificate_validation() {
    for (reference, reason) in [
        ("{group: '', kind: ConfigMap, name: gone}", "False InvalidCACertificateRef"),
        ("{group: '', kind: ConfigMap, name: malformed}", "False InvalidCACertificateRef"),
        ("{group: '', kind: Odd, name: first}", "False InvalidCACertificateKind"),
        ("{group: '', kind: ConfigMap, name: first, namespace: web}", "False RefNotPermitted"),
    ] {
        let per_port = format!("{{port: 8443, tls: {{validation: {{caCertificateRefs: [{reference}]}}}}}}");
        let case = Case::new(&validation("first", ""), &per_port);
        assert_eq!(case.said("other", "ResolvedRefs"), reason, "{reference}");
        assert_eq!(case.said("other", "Accepted"), "False NoValidCACertificate", "{reference}");
        assert!(case.said("other", "Programmed").starts_with("False"), "{reference}");
        assert_eq!(case.said("https", "ResolvedRefs"), "True ResolvedRefs", "{reference}");
        assert!(case.serves(443, Some(&case.first)) && case.serves_http(), "{reference}");
    }
}

#[test]
fn gateway_frontend_invalid_default_client_certificate_validation() {
    let per_port = format!("{{port: 8443, tls: {{{}}}}}", validation("second", ""));
    let case = Case::new(&validation("gone", ""), &per_port);
    assert_eq!(case.said("https", "ResolvedRefs"), "False InvalidCACertificateRef");
    assert_eq!(case.said("https", "Accepted"), "False NoValidCACertificate");
    for listener in ["other", "http"] {
        assert_eq!(case.said(listener, "Accepted"), "True Accepted", "{listener}");
        assert_eq!(case.said(listener, "Programmed"), "True Programmed", "{listener}");
    }
    assert!(case.serves(8443, Some(&case.second)) && case.serves_http());
}
