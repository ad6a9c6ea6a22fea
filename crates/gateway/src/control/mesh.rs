//! Routes whose parent is a Service (GAMMA): their rules apply at the Service's address, whoever calls. Routes of other namespaces
//! than the Service's, which would apply to callers of those alone, are refused.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use k8s_openapi::api::core::v1::{Service, ServicePort};
use objects::gateway::ParentReference;

use super::{
    hosts::{Age, PortHosts},
    services,
    status::{Said, say},
};
use crate::table::{Entry, Hosts};

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
) -> Result<Vec<Port<'a>>, Said> {
    let no = |message: String| Err(say("Accepted", false, "NoMatchingParent", message));
    let of = parent.namespace.as_deref().unwrap_or(namespace);
    let Some(((of, name), service)) = services.get_key_value(&(of, parent.name.as_str())) else {
        return no(format!("there is no Service {of}/{}", parent.name));
    };
    if *of != namespace {
        return no("a route for callers of its own namespace (a consumer route) is not supported".to_owned());
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

/// What routes have at Services' ports.
#[derive(Default)]
pub(super) struct Mesh<'a>(BTreeMap<Port<'a>, PortHosts>);

impl<'a> Mesh<'a> {
    /// Adds a route's entries. Its host names do not count: a call is for the Service whatever it is called by.
    pub fn add(&mut self, port: Port<'a>, age: &Age, entries: &[Entry]) {
        let hosts = self.0.entry(port).or_default();
        hosts.listener("");
        hosts.add("", "", age, entries);
    }

    /// What is served at a port instead of everything to its pods.
    pub fn take(&mut self, port: Port<'a>) -> Option<Arc<Hosts>> {
        self.0.remove(&port).map(|hosts| Arc::new(hosts.build()))
    }
}
