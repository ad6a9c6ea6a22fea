//! Routes whose parent is a Service (GAMMA): their rules apply at the Service's address. Those of the Service's namespace
//! (producer routes) apply whoever calls; those of another one (consumer routes) to callers from there alone, in the place of
//! the producer's.

use std::{
    collections::{BTreeMap, HashMap},
    net::IpAddr,
    sync::Arc,
};

use k8s_openapi::api::core::v1::{Pod, Service, ServicePort};
use objects::gateway::ParentReference;

use super::{
    Snapshot,
    attach::Route,
    hosts::{Age, PortHosts},
    services,
    status::{Said, say},
};
use crate::table::{Callers, Consumers, Entry, Hosts, ListenerService};

/// Services by namespace and name.
pub(super) type Services<'a> = HashMap<(&'a str, &'a str), &'a Service>;

/// A port of a Service: namespace, name and number.
pub(super) type Port<'a> = (&'a str, &'a str, i32);

/// Whether a parentRef names a Service.
pub(super) fn is_service(parent: &ParentReference) -> bool {
    parent.group.as_deref() == Some("") && parent.kind.as_deref() == Some("Service")
}

/// The ports that a parentRef of a route in `namespace` names: one by number or name, else those that say they are HTTP, else
/// (none says anything) all of them.
pub(super) fn ports<'a>(
    services: &Services<'a>,
    parent: &'a ParentReference,
    namespace: &'a str,
    callers_known: bool,
) -> Result<Vec<Port<'a>>, Said> {
    let no = |message: String| Err(say("Accepted", false, "NoMatchingParent", message));
    let of = parent.namespace.as_deref().unwrap_or(namespace);
    let Some(((of, name), service)) = services.get_key_value(&(of, parent.name.as_str())) else {
        return no(format!("there is no Service {of}/{}", parent.name));
    };
    if *of != namespace && !callers_known {
        return no("a route for callers of its own namespace (a consumer route) needs pods that call from addresses of their own, which those of the loopback runtime do not".to_owned());
    }
    let tcp = |port: &&ServicePort| matches!(port.protocol.as_deref(), None | Some("TCP"));
    let named = |port: &&ServicePort| {
        parent.port.is_none_or(|number| number == port.port)
            && parent.section_name.as_deref().is_none_or(|name| Some(name) == port.name.as_deref())
    };
    let found = service.spec.iter().flat_map(|spec| spec.ports.iter().flatten()).filter(tcp).filter(named);
    let mut found: Vec<_> = found.collect();
    if found.is_empty() {
        return no("the Service has no TCP port of that name and number".to_owned());
    }
    let says_http = |port: &&ServicePort| services::http(port).is_some();
    if parent.port.is_none() && parent.section_name.is_none() && found.iter().any(&says_http) {
        found.retain(says_http);
    }
    Ok(found.into_iter().map(|port| (*of, *name, port.port)).collect())
}

/// The Services whose callers a route is for; none if it is for those of a Gateway as well, who may not call them.
pub(super) fn called<'a>(route: Route<'a>) -> Vec<(&'a str, &'a str)> {
    if !route.parents.iter().all(is_service) {
        return Vec::new();
    }
    let named =
        |parent: &'a ParentReference| (parent.namespace.as_deref().unwrap_or(route.namespace()), parent.name.as_str());
    route.parents.iter().map(named).collect()
}

/// What routes have at Services' ports.
pub(super) struct Mesh<'a> {
    callers: Arc<Callers>,
    /// By the port, and the namespace of the routes.
    ports: BTreeMap<Port<'a>, BTreeMap<&'a str, PortHosts>>,
}

impl<'a> Mesh<'a> {
    pub fn new(callers: &Arc<Callers>) -> Self {
        Self { callers: callers.clone(), ports: BTreeMap::new() }
    }

    /// Adds the entries of a route of `namespace`. Its host names do not count: a call is for the Service whatever it is called
    /// by.
    pub fn add(&mut self, port: Port<'a>, namespace: &'a str, age: &Age, entries: &[Entry]) {
        let hosts = self.ports.entry(port).or_default().entry(namespace).or_default();
        hosts.listener("");
        hosts.add("", "", age, entries);
    }

    /// What is served at a port instead of everything to its pods, and to whom something else is.
    pub fn take(&mut self, port: Port<'a>) -> (Option<Arc<Hosts>>, Option<Arc<Consumers>>) {
        let mut routed = self.ports.remove(&port).unwrap_or_default();
        let producers = routed.remove(port.0).map(|hosts| Arc::new(hosts.build()));
        let consumers: BTreeMap<Arc<str>, _> = routed
            .into_iter()
            .map(|(namespace, hosts)| (namespace.into(), ListenerService::Http(Arc::new(hosts.build()))))
            .collect();
        let consumers = (!consumers.is_empty()).then(|| Arc::new(Consumers::new(self.callers.clone(), consumers)));
        (producers, consumers)
    }
}

/// The namespaces of pods by their addresses. Pods that share the machine's cannot be told apart, and those that have ended may
/// have left theirs to others.
pub(super) fn callers(snapshot: &Snapshot) -> HashMap<IpAddr, Arc<str>> {
    let mut names: HashMap<&str, Arc<str>> = HashMap::new();
    let mut found = HashMap::new();
    for pod in &snapshot.pods {
        let (Some(namespace), Some(status)) = (pod.metadata.namespace.as_deref(), &pod.status) else { continue };
        if shares_host(pod) || matches!(status.phase.as_deref(), Some("Succeeded" | "Failed")) {
            continue;
        }
        let namespace = names.entry(namespace).or_insert_with(|| namespace.into());
        let addresses = status.pod_ips.iter().flatten().map(|address| address.ip.as_str());
        let addresses = addresses.chain(status.pod_ip.as_deref()).filter_map(|address| address.parse().ok());
        found.extend(addresses.map(|address: IpAddr| (address, namespace.clone())));
    }
    found
}

fn shares_host(pod: &Pod) -> bool {
    pod.spec.as_ref().is_some_and(|spec| spec.host_network == Some(true))
}
