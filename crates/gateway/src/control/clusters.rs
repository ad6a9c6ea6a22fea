//! Clusters by name: kept from one compilation to the next, so that the proxy's pools and counters survive.

use std::{
    collections::{BTreeMap, HashMap},
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Instant,
};

use k8s_openapi::api::{
    core::v1::{Service, ServicePort},
    discovery::v1::EndpointSlice,
};

use super::{Snapshot, sleepers::Sleepers};
use crate::{
    balance::{Endpoint, Policy, renew},
    table::{BackendTls, Cluster, Upstream},
};

/// The clusters in use.
#[derive(Debug, Default)]
pub(super) struct Clusters {
    /// By name.
    known: BTreeMap<Arc<str>, Known>,
}

#[derive(Debug)]
struct Known {
    service: (String, String),
    port: String,
    /// Shared by all uses, so that each knows how busy the others keep an endpoint.
    endpoints: Vec<Arc<Endpoint>>,
    uses: Vec<Use>,
}

/// A Service port as one protocol and policy use it: an HTTPRoute and a GRPCRoute may lead to the same port, and so may a
/// Gateway and the Service's own address.
#[derive(Debug)]
struct Use {
    cluster: Arc<Cluster>,
    used: bool,
}

/// EndpointSlices by namespace and Service.
pub(super) struct Slices<'a>(HashMap<(&'a str, &'a str), Vec<&'a EndpointSlice>>);

impl<'a> Slices<'a> {
    pub fn of(snapshot: &'a Snapshot) -> Self {
        let mut by_service: HashMap<_, Vec<_>> = HashMap::new();
        for slice in &snapshot.slices {
            let service = slice.metadata.labels.as_ref().and_then(|l| l.get("kubernetes.io/service-name"));
            if let (Some(namespace), Some(service)) = (slice.metadata.namespace.as_deref(), service) {
                by_service.entry((namespace, service.as_str())).or_default().push(&**slice);
            }
        }
        Self(by_service)
    }

    /// Ready addresses of one Service port, sorted, each once. An absent `ready` counts as ready.
    fn ready(&self, namespace: &str, service: &str, port_name: &str) -> Vec<SocketAddr> {
        let mut found = Vec::new();
        for slice in self.0.get(&(namespace, service)).into_iter().flatten() {
            let ports = slice.ports.iter().flatten().filter(|p| p.name.as_deref().unwrap_or_default() == port_name);
            for port in ports.filter_map(|p| u16::try_from(p.port?).ok()) {
                let ready = slice.endpoints.iter();
                let ready = ready.filter(|e| e.conditions.as_ref().and_then(|c| c.ready).unwrap_or(true));
                let addresses = ready.flat_map(|e| &e.addresses).filter_map(|a| a.parse::<IpAddr>().ok());
                found.extend(addresses.map(|address| SocketAddr::new(address, port)));
            }
        }
        found.sort_unstable();
        found.dedup();
        found
    }
}

/// What a Service port's `appProtocol` says its endpoints speak; HTTP/1.1 where it says nothing. The error is one that is not
/// spoken with backends.
pub(super) fn spoken(port: &ServicePort) -> Result<Upstream, &str> {
    match port.app_protocol.as_deref() {
        None | Some("http" | "kubernetes.io/ws") => Ok(Upstream::Http1),
        Some("grpc" | "kubernetes.io/h2c") => Ok(Upstream::Http2),
        Some(other) => Err(other),
    }
}

/// Whether an `appProtocol` that is not spoken as it is would be inside TLS, as HTTP/1.1.
pub(super) fn says_tls(protocol: &str) -> bool {
    protocol.eq_ignore_ascii_case("https") || protocol == "kubernetes.io/wss"
}

impl Clusters {
    /// The cluster of a Service port for a policy, with its ready endpoints of now.
    pub(super) fn get(
        &mut self,
        slices: &Slices<'_>,
        service: &Service,
        port: &ServicePort,
        protocol: Upstream,
        policy: &Policy,
        tls: Option<Arc<BackendTls>>,
    ) -> Arc<Cluster> {
        let namespace = service.metadata.namespace.clone().unwrap_or_default();
        let name = service.metadata.name.clone().unwrap_or_default();
        let transport = if port.protocol.as_deref() == Some("UDP") { "/udp" } else { "" };
        let full: Arc<str> = format!("{namespace}/{name}:{}{transport}", port.port).into();
        let port = port.name.clone().unwrap_or_default();
        let ready = slices.ready(&namespace, &name, &port);
        let known = self.known.entry(full.clone()).or_insert_with(|| Known {
            service: (namespace, name),
            port: port.clone(),
            endpoints: Vec::new(),
            uses: Vec::new(),
        });
        known.port = port;
        known.set(&ready);
        known.cluster(full, protocol, policy, tls)
    }

    /// Before a compilation: nothing is used yet.
    pub(super) fn begin(&mut self) {
        self.known.values_mut().flat_map(|known| &mut known.uses).for_each(|one| one.used = false);
    }

    /// After a compilation: forgets what it did not use.
    pub(super) fn end(&mut self) {
        self.known.retain(|_, known| {
            known.uses.retain(|one| one.used);
            !known.uses.is_empty()
        });
    }

    /// Tells every cluster where to wait for an endpoint, if its Service sleeps.
    pub(super) fn sleep(&self, sleepers: &Sleepers) {
        for known in self.known.values() {
            let sleeper = sleepers.of(&known.service);
            known.uses.iter().for_each(|one| one.cluster.sleeps_as(sleeper));
        }
    }

    /// Takes in changed EndpointSlices without compiling anything.
    pub(super) fn refresh(&mut self, snapshot: &Snapshot) {
        let slices = Slices::of(snapshot);
        for known in self.known.values_mut() {
            known.set(&slices.ready(&known.service.0, &known.service.1, &known.port));
        }
    }
}

impl Known {
    fn set(&mut self, ready: &[SocketAddr]) {
        if !self.endpoints.iter().map(|endpoint| endpoint.address()).eq(ready.iter().copied()) {
            let wanted: Vec<_> = ready.iter().map(|address| (*address, 1)).collect();
            self.endpoints = renew(&self.endpoints, &wanted, Instant::now());
            self.uses.iter().for_each(|one| one.cluster.set(self.endpoints.clone()));
        }
    }

    fn cluster(
        &mut self,
        name: Arc<str>,
        protocol: Upstream,
        policy: &Policy,
        tls: Option<Arc<BackendTls>>,
    ) -> Arc<Cluster> {
        let id = tls.as_ref().map_or(0, |tls| tls.id());
        let same = |one: &&mut Use| {
            let known = &one.cluster;
            known.protocol == protocol && known.policy() == policy && known.tls_id() == id
        };
        if let Some(one) = self.uses.iter_mut().find(same) {
            one.used = true;
            return one.cluster.clone();
        }
        let cluster = Arc::new(Cluster::new(name).speaking(protocol).balanced(policy.clone()).encrypted(tls));
        cluster.set(self.endpoints.clone());
        self.uses.push(Use { cluster: cluster.clone(), used: true });
        cluster
    }
}
