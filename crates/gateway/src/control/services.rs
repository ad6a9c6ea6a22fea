//! Service addresses: every cluster IP and port is a listener.

use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

use k8s_openapi::api::core::v1::{Service, ServicePort};

use super::{
    clusters::{self, Clusters, Slices},
    mesh::Mesh,
};
use crate::{
    balance::{Algorithm, HashOn, Policy},
    table::{
        Action, Backend, Cluster, Entry, Hosts, Listener, ListenerService, Match, PathMatch, Routes, Rule, Split,
        Upstream,
    },
};

/// The listeners of one Service, with the rules of the routes that are attached to its ports; SCTP ports are logged and left
/// out.
pub(super) fn listeners<'a>(
    service: &'a Service,
    slices: &Slices<'_>,
    clusters: &mut Clusters,
    mesh: &mut Mesh<'a>,
) -> Vec<Listener> {
    let Some(spec) = &service.spec else { return Vec::new() };
    let (namespace, name) = (service.metadata.namespace.as_deref(), service.metadata.name.as_deref());
    let label: Arc<str> = format!("{}/{}", namespace.unwrap_or_default(), name.unwrap_or_default()).into();
    let Some(address) = spec.cluster_ip.as_deref().and_then(|ip| ip.parse::<IpAddr>().ok()) else { return Vec::new() };
    let policy = policy(service);
    let mut found = Vec::new();
    for port in spec.ports.iter().flatten() {
        let Ok(number) = u16::try_from(port.port) else { continue };
        let protocol = http(port);
        let is_tcp = matches!(port.protocol.as_deref(), None | Some("TCP"));
        let at = (namespace.unwrap_or_default(), name.unwrap_or_default(), port.port);
        let (routed, consumers) = if is_tcp { mesh.take(at) } else { (None, None) };
        let mut cluster = || clusters.get(slices, service, port, protocol.unwrap_or_default(), &policy, None);
        let service = match (port.protocol.as_deref().unwrap_or("TCP"), protocol) {
            ("TCP", _) if let Some(hosts) = routed => ListenerService::Http(hosts),
            ("TCP", Some(_)) => ListenerService::Http(Arc::new(everything_to(label.clone(), cluster()))),
            ("TCP", None) => ListenerService::Tcp(Arc::new(Split::to(cluster()))),
            ("UDP", _) => ListenerService::Udp(Arc::new(Split::to(cluster()))),
            (other, _) => {
                tracing::debug!(service = %label, port = number, "a port of protocol {other} is not served");
                continue;
            }
        };
        let bind = SocketAddr::new(address, number);
        found.push(Listener { bind, name: label.clone(), service, edge: false, consumers });
    }
    found
}

/// How callers inside the cluster are balanced over a Service's pods.
pub(super) fn policy(service: &Service) -> Policy {
    let affinity = service.spec.as_ref().and_then(|spec| spec.session_affinity.as_deref());
    match affinity {
        // A client's address chooses its pod for as long as that pod is there, which is longer than `timeoutSeconds` asks for.
        Some("ClientIP") => Policy::new(Algorithm::Maglev(HashOn::SourceAddress)),
        _ => Policy::INSIDE,
    }
}

/// Which HTTP a port says that it speaks, if any: by `appProtocol`, else by the beginning of its name.
pub(super) fn http(port: &ServicePort) -> Option<Upstream> {
    if port.app_protocol.is_some() {
        return clusters::spoken(port).ok();
    }
    let name = port.name.as_deref().unwrap_or_default();
    match name {
        // gRPC-Web is made for HTTP/1.1.
        _ if name.starts_with("grpc-web") => Some(Upstream::Http1),
        _ if name.starts_with("grpc") || name.starts_with("h2c") => Some(Upstream::Http2),
        _ if name.starts_with("http") && !name.starts_with("https") || name.starts_with("web") => Some(Upstream::Http1),
        _ => None,
    }
}

fn everything_to(name: Arc<str>, cluster: Arc<Cluster>) -> Hosts {
    let rule = Rule::new(name, Action::Forward(vec![Backend::new(1, Ok(cluster))]));
    let matches =
        Match { path: PathMatch::Prefix(String::new()), method: None, headers: Vec::new(), queries: Vec::new() };
    let mut hosts = Hosts::default();
    hosts.insert("", Arc::new(Routes::new(vec![Entry { matches, rule: Arc::new(rule) }])));
    hosts
}
