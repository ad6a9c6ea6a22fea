//! The names of the cluster domain and what they stand for, built from Services and EndpointSlices. No I/O.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::Ipv4Addr,
    sync::Arc,
};

use k8s_openapi::api::{
    core::v1::Service,
    discovery::v1::{Endpoint, EndpointSlice},
};
use kube::ResourceExt;

/// What one name stands for. A name that exists with nothing in it is answered NODATA rather than NXDOMAIN.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Records {
    /// Addresses.
    pub a: BTreeSet<Ipv4Addr>,
    /// Ports with the name that has their address.
    pub srv: BTreeSet<(u16, String)>,
    /// The name this one is an alias of (`ExternalName`).
    pub cname: Option<String>,
}

/// All names below the cluster domain. Names are lower case, without the final dot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Zone {
    domain: String,
    names: BTreeMap<String, Records>,
}

impl Zone {
    /// An empty zone.
    pub fn new(domain: &str) -> Self {
        let domain = domain.trim_end_matches('.').to_ascii_lowercase();
        let names = ["", "svc.", "pod."].map(|label| (format!("{label}{domain}"), Records::default()));
        Self { names: names.into(), domain }
    }

    /// The zone these objects describe.
    pub fn build(domain: &str, services: &[Arc<Service>], slices: &[Arc<EndpointSlice>]) -> Self {
        let mut zone = Self::new(domain);
        let mut by_service: BTreeMap<(String, String), Vec<&EndpointSlice>> = BTreeMap::new();
        for slice in slices {
            if let Some(service) = slice.labels().get("kubernetes.io/service-name") {
                by_service.entry((slice.namespace().unwrap_or_default(), service.clone())).or_default().push(slice);
            }
        }
        for service in services {
            let namespace = service.namespace().unwrap_or_default();
            let name = service.name_any();
            let slices = by_service.remove(&(namespace.clone(), name.clone())).unwrap_or_default();
            zone.add(service, &name, &namespace, &slices);
        }
        zone
    }

    /// The cluster domain.
    pub fn domain(&self) -> &str {
        &self.domain
    }

    /// Whether the name belongs to the cluster domain.
    pub fn is_ours(&self, name: &str) -> bool {
        name == self.domain || name.strip_suffix(&self.domain).is_some_and(|rest| rest.ends_with('.'))
    }

    /// What a lower-case name stands for; `None` if there is no such name.
    pub fn lookup(&self, name: &str) -> Option<Records> {
        self.names.get(name).cloned().or_else(|| self.pod(name))
    }

    /// `10-42-0-7.namespace.pod.cluster.local`: the address is in the name itself.
    fn pod(&self, name: &str) -> Option<Records> {
        let rest = name.strip_suffix(&self.domain)?.strip_suffix(".pod.")?;
        let (dashed, _namespace) = rest.split_once('.')?;
        let address = dashed.replace('-', ".").parse().ok()?;
        Some(Records { a: BTreeSet::from([address]), ..Records::default() })
    }

    fn add(&mut self, service: &Service, name: &str, namespace: &str, slices: &[&EndpointSlice]) {
        let Some(spec) = &service.spec else { return };
        self.names.entry(format!("{namespace}.svc.{}", self.domain)).or_default();
        let base = format!("{name}.{namespace}.svc.{}", self.domain);
        if spec.type_.as_deref() == Some("ExternalName") {
            let target = spec.external_name.as_ref().map(|n| n.trim_end_matches('.').to_ascii_lowercase());
            self.names.entry(base).or_default().cname = target;
            return;
        }
        if spec.cluster_ip.as_deref() == Some("None") {
            self.add_headless(&base, spec.publish_not_ready_addresses.unwrap_or(false), slices);
            return;
        }
        let address: Option<Ipv4Addr> = spec.cluster_ip.as_deref().and_then(|ip| ip.parse().ok());
        self.names.entry(base.clone()).or_default().a.extend(address);
        for port in spec.ports.iter().flatten() {
            let number = u16::try_from(port.port).ok();
            if let (Some(port_name), Some(number)) = (&port.name, number) {
                self.add_srv(&base, port_name, port.protocol.as_deref(), number, &base);
            }
        }
    }

    fn add_headless(&mut self, base: &str, all: bool, slices: &[&EndpointSlice]) {
        self.names.entry(base.to_owned()).or_default();
        for slice in slices {
            let live = slice.endpoints.iter().filter(|e| all || is_ready(e));
            for (endpoint, address) in live.flat_map(|e| addresses(e).map(move |a| (e, a))) {
                let label = endpoint.hostname.clone().unwrap_or_else(|| address.to_string().replace('.', "-"));
                let host = format!("{}.{base}", label.to_ascii_lowercase());
                self.names.entry(base.to_owned()).or_default().a.insert(address);
                self.names.entry(host.clone()).or_default().a.insert(address);
                for port in slice.ports.iter().flatten() {
                    let number = port.port.and_then(|p| u16::try_from(p).ok());
                    if let (Some(name), Some(number)) = (port.name.as_deref().filter(|n| !n.is_empty()), number) {
                        self.add_srv(base, name, port.protocol.as_deref(), number, &host);
                    }
                }
            }
        }
    }

    fn add_srv(&mut self, base: &str, port_name: &str, protocol: Option<&str>, port: u16, target: &str) {
        let protocol = protocol.unwrap_or("TCP").to_ascii_lowercase();
        // The name between them exists too, with nothing in it.
        self.names.entry(format!("_{protocol}.{base}")).or_default();
        let name = format!("_{port_name}._{protocol}.{base}");
        self.names.entry(name).or_default().srv.insert((port, target.to_owned()));
    }
}

fn is_ready(endpoint: &Endpoint) -> bool {
    endpoint.conditions.as_ref().and_then(|c| c.ready).unwrap_or(true)
}

fn addresses(endpoint: &Endpoint) -> impl Iterator<Item = Ipv4Addr> {
    endpoint.addresses.iter().filter_map(|a| a.parse().ok())
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn object<T: serde::de::DeserializeOwned>(value: Value) -> Arc<T> {
        Arc::new(serde_json::from_value(value).unwrap())
    }

    fn service(spec: Value) -> Arc<Service> {
        object(json!({"metadata": {"name": "api", "namespace": "prod"}, "spec": spec}))
    }

    fn slice() -> Arc<EndpointSlice> {
        object(json!({
            "metadata": {"name": "api-x", "namespace": "prod", "labels": {"kubernetes.io/service-name": "api"}},
            "addressType": "IPv4",
            "ports": [{"name": "http", "port": 8000, "protocol": "TCP"}],
            "endpoints": [
                {"addresses": ["10.42.0.2"], "hostname": "api-0", "conditions": {"ready": true}},
                {"addresses": ["10.42.0.3"], "conditions": {"ready": true}},
                {"addresses": ["10.42.0.4"], "conditions": {"ready": false}},
            ],
        }))
    }

    fn ips(list: &[&str]) -> BTreeSet<Ipv4Addr> {
        list.iter().map(|ip| ip.parse().unwrap()).collect()
    }

    #[test]
    fn a_service_has_its_cluster_address_and_a_srv_record_for_each_named_port() {
        let ports = json!([{"name": "http", "port": 80, "protocol": "TCP"}]);
        let zone =
            Zone::build("cluster.local", &[service(json!({"clusterIP": "10.43.0.9", "ports": ports}))], &[slice()]);
        assert_eq!(zone.lookup("api.prod.svc.cluster.local").unwrap().a, ips(&["10.43.0.9"]));
        let srv = zone.lookup("_http._tcp.api.prod.svc.cluster.local").unwrap().srv;
        assert_eq!(srv, BTreeSet::from([(80, "api.prod.svc.cluster.local".to_owned())]));
        assert_eq!(zone.lookup("other.prod.svc.cluster.local"), None);
        assert_eq!(zone.lookup("prod.svc.cluster.local"), Some(Records::default()));
    }

    #[test]
    fn a_headless_service_has_its_ready_pods_and_a_name_for_each() {
        let zone = Zone::build("cluster.local", &[service(json!({"clusterIP": "None"}))], &[slice()]);
        assert_eq!(zone.lookup("api.prod.svc.cluster.local").unwrap().a, ips(&["10.42.0.2", "10.42.0.3"]));
        assert_eq!(zone.lookup("api-0.api.prod.svc.cluster.local").unwrap().a, ips(&["10.42.0.2"]));
        assert_eq!(zone.lookup("10-42-0-3.api.prod.svc.cluster.local").unwrap().a, ips(&["10.42.0.3"]));
        assert_eq!(zone.lookup("_http._tcp.api.prod.svc.cluster.local").unwrap().srv.len(), 2);
    }

    #[test]
    fn unready_pods_are_published_when_the_service_asks_for_it() {
        let spec = json!({"clusterIP": "None", "publishNotReadyAddresses": true});
        let zone = Zone::build("cluster.local", &[service(spec)], &[slice()]);
        assert_eq!(zone.lookup("api.prod.svc.cluster.local").unwrap().a.len(), 3);
    }

    #[test]
    fn an_external_name_is_an_alias() {
        let zone = Zone::build(
            "cluster.local",
            &[service(json!({"type": "ExternalName", "externalName": "Db.Example.com."}))],
            &[],
        );
        assert_eq!(zone.lookup("api.prod.svc.cluster.local").unwrap().cname.unwrap(), "db.example.com");
    }

    #[test]
    fn a_pods_dashed_address_is_a_name() {
        let zone = Zone::new("cluster.local.");
        assert_eq!(zone.lookup("10-42-0-7.prod.pod.cluster.local").unwrap().a, ips(&["10.42.0.7"]));
        assert_eq!(zone.lookup("x.prod.pod.cluster.local"), None);
        assert!(zone.is_ours("a.cluster.local") && !zone.is_ours("notcluster.local") && !zone.is_ours("example.com"));
    }
}
