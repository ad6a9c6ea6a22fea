//! The table's listeners for Gateways: what was compiled port by port, put where it is bound.

use std::{collections::BTreeMap, net::SocketAddr, sync::Arc};

use objects::gateway::Gateway;

use super::{
    certificates::Keys,
    hosts::PortHosts,
    listeners::{HTTPS, State},
};
use crate::table::{Listener, ListenerService, Secured, TlsService};

/// One table listener per bound address; Gateways that share a port share its listener.
pub(super) fn listeners(ports: BTreeMap<u16, PortHosts>, states: &[State<'_>], keys: &mut Keys) -> Vec<Listener> {
    let mut built: BTreeMap<SocketAddr, Listener> = BTreeMap::new();
    for (port, hosts) in ports {
        let sharing: Vec<_> = states.iter().filter(|s| s.port == port && s.served() && takes_requests(s)).collect();
        let Some(service) = service(hosts, &sharing, keys) else { continue };
        let mut names: Vec<_> = sharing.iter().map(|s| format_name(s.gateway)).collect();
        names.dedup();
        let name: Arc<str> = names.join(",").into();
        for bind in sharing.first().into_iter().flat_map(|s| &s.binds) {
            let listener = Listener { bind: *bind, name: name.clone(), service: service.clone(), edge: true };
            built.entry(*bind).or_insert(listener);
        }
    }
    built.into_values().collect()
}

/// What the listeners that share a port speak there.
fn service(hosts: PortHosts, sharing: &[&State<'_>], keys: &mut Keys) -> Option<ListenerService> {
    let hosts = hosts.build();
    if sharing.iter().all(|state| state.listener.protocol != HTTPS) {
        return Some(ListenerService::Http(Arc::new(hosts)));
    }
    let mut services = Vec::new();
    for state in sharing {
        match keys.config(&state.certificates.keys) {
            Ok(config) => services.push((state.hostname.clone(), TlsService::Https(config))),
            Err(error) => {
                tracing::error!(error = %error, "TLS cannot be set up");
                return None;
            }
        }
    }
    Some(ListenerService::Tls(Arc::new(Secured::new(hosts, services))))
}

/// Whether what a listener serves is HTTP.
pub(super) fn takes_requests(state: &State<'_>) -> bool {
    matches!(state.listener.protocol.as_str(), "HTTP" | HTTPS)
}

fn format_name(gateway: &Gateway) -> String {
    let (namespace, name) = (gateway.metadata.namespace.as_deref(), gateway.metadata.name.as_deref());
    format!("{}/{}", namespace.unwrap_or_default(), name.unwrap_or_default())
}
