//! The objects that figures can be of.

use std::{collections::BTreeMap, net::IpAddr};

use k8s_openapi::{api::core::v1::Pod, apimachinery::pkg::apis::meta::v1::ObjectMeta};
use objects::selector::Labels;

use super::history::Whose;
use crate::control::Snapshot;

/// A kind of object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Service,
    Pod,
    HTTPRoute,
    GRPCRoute,
    Gateway,
    Namespace,
}

/// How kinds are written: in a path (with their group), in `apiVersion` and in `kind`.
type Row = (Kind, &'static str, &'static str, &'static str);

const KINDS: [Row; 6] = [
    (Kind::Service, "services", "v1", "Service"),
    (Kind::Pod, "pods", "v1", "Pod"),
    (Kind::HTTPRoute, "httproutes.gateway.networking.k8s.io", "gateway.networking.k8s.io/v1", "HTTPRoute"),
    (Kind::GRPCRoute, "grpcroutes.gateway.networking.k8s.io", "gateway.networking.k8s.io/v1", "GRPCRoute"),
    (Kind::Gateway, "gateways.gateway.networking.k8s.io", "gateway.networking.k8s.io/v1", "Gateway"),
    (Kind::Namespace, "namespaces", "v1", "Namespace"),
];

impl Kind {
    /// Every kind.
    pub fn all() -> impl Iterator<Item = Self> {
        KINDS.iter().map(|row| row.0)
    }

    /// By what a path says, such as `httproutes.gateway.networking.k8s.io`.
    pub fn of_resource(resource: &str) -> Option<Self> {
        KINDS.iter().find(|row| row.1 == resource).map(|row| row.0)
    }

    fn row(self) -> Row {
        let [first, ..] = KINDS;
        KINDS.into_iter().find(|row| row.0 == self).unwrap_or(first)
    }

    /// As a path has it.
    pub fn resource(self) -> &'static str {
        self.row().1
    }

    /// As an object has it.
    pub fn api_version(self) -> &'static str {
        self.row().2
    }

    /// As an object has it.
    pub fn name(self) -> &'static str {
        self.row().3
    }

    /// Whether objects of it are in namespaces.
    pub fn is_namespaced(self) -> bool {
        self != Self::Namespace
    }
}

/// Which objects of a kind.
#[derive(Debug)]
pub(super) enum Wanted<'a> {
    /// The one of this name.
    Named(&'a str),
    /// Those with labels that this takes.
    Selected(&'a Labels),
}

/// An object that figures can be of.
#[derive(Debug)]
pub(super) struct Object<'a> {
    pub kind: Kind,
    /// Empty where its kind has none.
    pub namespace: &'a str,
    pub name: &'a str,
    /// A pod's.
    addresses: Vec<IpAddr>,
}

impl Object<'_> {
    /// Whose figures are its.
    pub fn whose(&self) -> Whose<'_> {
        match self.kind {
            Kind::Service => Whose::Service(self.namespace, self.name),
            Kind::HTTPRoute | Kind::GRPCRoute => Whose::Route(self.namespace, self.name),
            Kind::Gateway => Whose::Gateway(self.namespace, self.name),
            Kind::Namespace => Whose::Namespace(self.name),
            Kind::Pod => Whose::Pod(&self.addresses),
        }
    }
}

/// The objects of a kind in a namespace, in the order of their names. Of pods, those that have an address of their own.
pub(super) fn find<'a>(snapshot: &'a Snapshot, kind: Kind, namespace: &str, wanted: &Wanted<'_>) -> Vec<Object<'a>> {
    let none = BTreeMap::new();
    let is_wanted = |meta: &ObjectMeta| {
        let here = !kind.is_namespaced() || meta.namespace.as_deref() == Some(namespace);
        here && match wanted {
            Wanted::Named(name) => meta.name.as_deref() == Some(name),
            Wanted::Selected(selector) => selector.matches(meta.labels.as_ref().unwrap_or(&none)),
        }
    };
    let object = |meta: &'a ObjectMeta, addresses: Vec<IpAddr>| {
        let namespace = meta.namespace.as_deref().unwrap_or_default();
        Object { kind, namespace, name: meta.name.as_deref().unwrap_or_default(), addresses }
    };
    let metas: Box<dyn Iterator<Item = &'a ObjectMeta>> = match kind {
        Kind::Service => Box::new(snapshot.services.iter().map(|object| &object.metadata)),
        Kind::HTTPRoute => Box::new(snapshot.routes.iter().map(|object| &object.metadata)),
        Kind::GRPCRoute => Box::new(snapshot.grpc_routes.iter().map(|object| &object.metadata)),
        Kind::Gateway => Box::new(snapshot.gateways.iter().map(|object| &object.metadata)),
        Kind::Namespace => Box::new(snapshot.namespaces.iter().map(|object| &object.metadata)),
        Kind::Pod => Box::new(std::iter::empty()),
    };
    let mut found: Vec<_> = metas.filter(|meta| is_wanted(meta)).map(|meta| object(meta, Vec::new())).collect();
    if kind == Kind::Pod {
        let pods = snapshot.pods.iter().filter(|pod| is_wanted(&pod.metadata));
        let pods = pods.map(|pod| object(&pod.metadata, addresses(pod)));
        found.extend(pods.filter(|pod| !pod.addresses.is_empty()));
    }
    found.sort_by_key(|object| object.name);
    found
}

/// A pod's own addresses: not the node's, nor those that others may have by now.
fn addresses(pod: &Pod) -> Vec<IpAddr> {
    let Some(status) = &pod.status else { return Vec::new() };
    let over = matches!(status.phase.as_deref(), Some("Succeeded" | "Failed"));
    let shared = pod.spec.as_ref().and_then(|spec| spec.host_network).unwrap_or(false);
    if over || shared {
        return Vec::new();
    }
    let further = status.pod_ips.iter().flatten().map(|address| &address.ip);
    let mut all: Vec<IpAddr> = status.pod_ip.iter().chain(further).filter_map(|ip| ip.parse().ok()).collect();
    all.sort_unstable();
    all.dedup();
    all
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use serde_json::{Value, json};

    use super::*;

    fn pod(name: &str, spec: &Value, status: &Value) -> Arc<Pod> {
        let pod = json!({"metadata": {"name": name, "namespace": "a", "labels": {"app": "x"}}, "spec": spec, "status": status});
        Arc::new(serde_json::from_value(pod).unwrap())
    }

    #[test]
    fn a_pod_is_known_by_its_own_addresses() {
        let (own, node) = (json!({"containers": []}), json!({"containers": [], "hostNetwork": true}));
        let pods = vec![
            pod("two", &own, &json!({"podIP": "10.0.0.1", "podIPs": [{"ip": "10.0.0.1"}, {"ip": "fd00::1"}]})),
            pod("one", &own, &json!({"podIP": "10.0.0.2", "phase": "Running"})),
            pod("over", &own, &json!({"podIP": "10.0.0.2", "phase": "Succeeded"})),
            pod("node", &node, &json!({"podIP": "192.168.0.1"})),
            pod("pending", &own, &json!({})),
        ];
        let snapshot = Snapshot { pods, ..Snapshot::default() };
        let selector = Labels::parse("app=x").unwrap();
        let found = find(&snapshot, Kind::Pod, "a", &Wanted::Selected(&selector));
        let found: Vec<_> = found.iter().map(|object| (object.name, object.addresses.len())).collect();
        assert_eq!(found, [("one", 1), ("two", 2)]);
        assert!(find(&snapshot, Kind::Pod, "b", &Wanted::Selected(&selector)).is_empty());
        assert!(find(&snapshot, Kind::Pod, "a", &Wanted::Named("pending")).is_empty());
    }
}
