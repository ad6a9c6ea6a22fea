//! TCPRoutes and UDPRoutes.

use std::{
    collections::BTreeMap,
    net::{SocketAddr, UdpSocket},
    thread,
    time::Duration,
};

use crate::{
    ask::get,
    support::{Peer, field},
    world::World,
};

/// Two listeners of each transport, on ports of their own.
const LISTENERS: &str = "
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: g, namespace: infra, generation: 1, creationTimestamp: '2026-01-02T00:00:00Z'}
spec:
  gatewayClassName: coracle
  listeners:
  - {name: tcp-1, port: 9001, protocol: TCP}
  - {name: tcp-2, port: 9002, protocol: TCP}
  - {name: udp-1, port: 9003, protocol: UDP}
  - {name: udp-2, port: 9004, protocol: UDP}
  - {name: http, port: 9005, protocol: HTTP}
";

fn route(kind: &str, name: &str, parent: &str, backends: &str) -> String {
    // Age is by creation: names that sort later are younger.
    let created = name.len();
    format!(
        "
---
apiVersion: gateway.networking.k8s.io/v1
kind: {kind}
metadata: {{name: {name}, namespace: infra, creationTimestamp: '2026-01-0{created}T00:00:00Z'}}
spec: {{parentRefs: [{parent}], rules: [{{backendRefs: [{backends}]}}]}}"
    )
}

const GRANT: &str = "
---
apiVersion: gateway.networking.k8s.io/v1beta1
kind: ReferenceGrant
metadata: {name: g, namespace: web}
spec:
  from: [{group: gateway.networking.k8s.io, kind: TCPRoute, namespace: infra}, {group: gateway.networking.k8s.io, kind: UDPRoute, namespace: infra}]
  to: [{group: '', kind: Service}]";

/// Answers every datagram with its name.
fn answering(name: &'static str) -> SocketAddr {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let address = socket.local_addr().unwrap();
    thread::spawn(move || {
        let mut buffer = [0; 2048];
        while let Ok((_, from)) = socket.recv_from(&mut buffer) {
            socket.send_to(name.as_bytes(), from).unwrap();
        }
    });
    address
}

/// With UDP Services `infra/u1`, `infra/u2` and `web/u1`.
fn world(yaml: &str) -> World {
    let mut world = World::new(&format!("{LISTENERS}{yaml}"));
    for (name, says) in [("infra/u1", "infra/u1"), ("infra/u2", "infra/u2"), ("web/u1", "web/u1")] {
        world.service(name, None, answering(says));
        let service = std::sync::Arc::make_mut(world.snapshot.services.last_mut().unwrap());
        service.spec.as_mut().unwrap().ports.as_mut().unwrap()[0].protocol = Some("UDP".to_owned());
    }
    world.apply();
    world
}

/// Which backend a new connection or a new client's datagram reaches; none if nobody answers.
fn reached(world: &World, kind: &str, port: u16) -> Option<String> {
    if kind == "TCPRoute" {
        let mut peer = Peer::connect(world.address(port));
        peer.send_some("GET / HTTP/1.1\r\nHost: x\r\n\r\n");
        return field(&peer.head(), "x-backend").map(str::to_owned);
    }
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.connect(world.address(port)).unwrap();
    socket.set_read_timeout(Some(Duration::from_millis(500))).unwrap();
    let mut buffer = [0; 2048];
    // A datagram may be lost.
    (0..3).find_map(|_| {
        socket.send(b"hello").ok()?;
        let length = socket.recv(&mut buffer).ok()?;
        Some(String::from_utf8(buffer[..length].to_vec()).unwrap())
    })
}

/// A listener's name and port.
type Place = (&'static str, u16);

/// The kinds, their listeners' names and ports, and the prefix of their backends.
const KINDS: [(&str, [Place; 2], &str); 2] =
    [("TCPRoute", [("tcp-1", 9001), ("tcp-2", 9002)], "v"), ("UDPRoute", [("udp-1", 9003), ("udp-2", 9004)], "u")];

#[test]
fn simple_and_parent_ref_attach_all() {
    // UDPRoute, TCPRouteParentRefAttachAll and UDPRouteParentRefAttachAllListeners.
    for (kind, listeners, b) in KINDS {
        let world = world(&route(kind, "r", "{name: g}", &format!("{{name: {b}1, port: 8080}}")));
        assert_eq!(world.route(kind, "infra/r", "Accepted"), "True Accepted", "{kind}");
        assert_eq!(world.route(kind, "infra/r", "ResolvedRefs"), "True ResolvedRefs", "{kind}");
        for (listener, port) in listeners {
            assert_eq!(world.listener("Gateway", "infra/g", listener)["attachedRoutes"], 1, "{listener}");
            assert_eq!(world.kinds("infra/g", listener), [kind]);
            assert_eq!(reached(&world, kind, port), Some(format!("infra/{b}1")), "{listener}");
        }
    }
}

#[test]
fn parent_ref_port_and_section_name() {
    // TCPRouteParentRefPortAndSectionName and UDPRouteParentRefPortAndSectionName.
    for (kind, [(first, one), (second, two)], b) in KINDS {
        for (parent_1, parent_2) in [
            (format!("{{name: g, port: {one}}}"), format!("{{name: g, port: {two}}}")),
            (format!("{{name: g, sectionName: {first}}}"), format!("{{name: g, sectionName: {second}}}")),
            (
                format!("{{name: g, sectionName: {first}, port: {one}}}"),
                format!("{{name: g, sectionName: {second}, port: {two}}}"),
            ),
        ] {
            let world = world(
                &(route(kind, "r", &parent_1, &format!("{{name: {b}1, port: 8080}}"))
                    + &route(kind, "r2", &parent_2, &format!("{{name: {b}2, port: 8080}}"))),
            );
            assert_eq!(reached(&world, kind, one), Some(format!("infra/{b}1")), "{parent_1}");
            assert_eq!(reached(&world, kind, two), Some(format!("infra/{b}2")), "{parent_2}");
        }
        let world =
            world(&route(kind, "r", &format!("{{name: g, sectionName: {first}, port: {two}}}"), "{name: x, port: 1}"));
        assert_eq!(world.route(kind, "infra/r", "Accepted"), "False NoMatchingParent");
    }
}

#[test]
fn multiple_routes_attachment() {
    // TCPRouteMultipleRoutesAttachment and UDPRouteMultipleRoutesAttachment: both are accepted, the older is served.
    for (kind, [(first, one), _], b) in KINDS {
        let parent = format!("{{name: g, sectionName: {first}}}");
        let world = world(
            &(route(kind, "younger", &parent, &format!("{{name: {b}2, port: 8080}}"))
                + &route(kind, "old", &parent, &format!("{{name: {b}1, port: 8080}}"))),
        );
        assert_eq!(world.route(kind, "infra/old", "Accepted"), "True Accepted");
        assert_eq!(world.route(kind, "infra/younger", "Accepted"), "True Accepted");
        assert_eq!(world.listener("Gateway", "infra/g", first)["attachedRoutes"], 2);
        assert_eq!(reached(&world, kind, one), Some(format!("infra/{b}1")));
    }
}

#[test]
fn invalid_backend_refs_and_reference_grant() {
    // TCPRouteInvalidBackendRefNonexistent, …InvalidCrossNamespaceBackendRef, …ReferenceGrant, and UDPRoute's of the same names.
    for (kind, [(_, one), _], b) in KINDS {
        for (backend, grant, reason) in [
            ("{name: gone, port: 8080}".to_owned(), "", "False BackendNotFound"),
            (format!("{{name: {b}1, namespace: web, port: 8080}}"), "", "False RefNotPermitted"),
            (format!("{{name: {b}1, namespace: web, port: 8080}}"), GRANT, "True ResolvedRefs"),
        ] {
            let world = world(&(route(kind, "r", "{name: g}", &backend) + grant));
            assert_eq!(world.route(kind, "infra/r", "Accepted"), "True Accepted", "{kind} {backend}");
            assert_eq!(world.route(kind, "infra/r", "ResolvedRefs"), reason, "{kind} {backend}");
            let reached = reached(&world, kind, one);
            assert_eq!(reached, (!grant.is_empty()).then(|| format!("web/{b}1")), "{kind} {backend}");
        }
    }
}

#[test]
fn not_allowed_by_listeners() {
    // TCPRouteInvalidNonTCPListener and UDPRouteNotAllowedByListeners.
    for (kind, _, b) in KINDS {
        let world = world(&route(kind, "r", "{name: g, sectionName: http}", &format!("{{name: {b}1, port: 8080}}")));
        assert_eq!(world.route(kind, "infra/r", "Accepted"), "False NotAllowedByListeners", "{kind}");
        world.check_at(9005, &[get("/").answers(404)]);
    }
}

#[test]
fn weighted_routing() {
    // TCPRouteWeightedRouting and UDPRouteWeightedRouting.
    for (kind, [(_, one), _], b) in KINDS {
        let backends = format!("{{name: {b}1, port: 8080, weight: 7}}, {{name: {b}2, port: 8080, weight: 3}}");
        let world = world(&route(kind, "r", "{name: g}", &backends));
        let mut got = BTreeMap::new();
        for _ in 0..100 {
            *got.entry(reached(&world, kind, one).unwrap()).or_insert(0) += 1;
        }
        assert!((50..90).contains(&got[&format!("infra/{b}1")]) && got.len() == 2, "{kind} {got:?}");
        let only = world_with_zero(kind, b);
        for _ in 0..20 {
            assert_eq!(reached(&only, kind, one), Some(format!("infra/{b}2")));
        }
    }
}

fn world_with_zero(kind: &str, b: &str) -> World {
    world(&route(kind, "r", "{name: g}", &format!("{{name: {b}1, port: 8080, weight: 0}}, {{name: {b}2, port: 8080}}")))
}
