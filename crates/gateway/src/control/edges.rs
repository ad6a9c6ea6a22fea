//! The table's listeners for Gateways: what was compiled port by port, put where it is bound.

use std::{collections::BTreeMap, net::SocketAddr, sync::Arc};

use objects::gateway::Gateway;

use super::{
    certificates::{Inside, Keys},
    hosts::{PortHosts, owner},
    layer4::Placed,
    listeners::{HTTPS, State, TLS, passes_through},
};
use crate::table::{Hosts, Listener, ListenerService, Secured, Split, TlsService};

/// What a port at one address is made of.
struct Port<'a> {
    /// The listeners that share it.
    sharing: Vec<(usize, &'a State<'a>)>,
    /// What routes lead to that are not of requests, the first of them first.
    placed: &'a [Placed],
}

/// One table listener per bound address; Gateways that share an address and port share its listener.
pub(super) fn listeners(
    mut requests: BTreeMap<SocketAddr, PortHosts>,
    placed: &[Placed],
    states: &[State<'_>],
    keys: &mut Keys,
) -> Vec<Listener> {
    let mut ports: BTreeMap<(SocketAddr, bool), Port<'_>> = BTreeMap::new();
    for (index, state) in states.iter().enumerate().filter(|(_, state)| state.served()) {
        for bind in &state.binds {
            let port = ports.entry((*bind, state.is_udp()));
            port.or_insert_with(|| Port { sharing: Vec::new(), placed }).sharing.push((index, state));
        }
    }
    let mut built = Vec::new();
    for ((bind, udp), port) in ports {
        let hosts = if udp { None } else { requests.remove(&bind) };
        let Some(service) = port.service(hosts.unwrap_or_default().build(), keys) else { continue };
        let mut names: Vec<_> = port.sharing.iter().map(|(_, state)| format_name(state.gateway)).collect();
        names.dedup();
        built.push(Listener { bind, name: names.join(",").into(), service, edge: true, consumers: None });
    }
    built
}

impl Port<'_> {
    /// What is spoken there.
    fn service(&self, hosts: Hosts, keys: &mut Keys) -> Option<ListenerService> {
        let (index, first) = self.sharing.first()?;
        match first.family() {
            TLS => match self.secured(hosts, keys) {
                Ok(secured) => Some(ListenerService::Tls(Arc::new(secured))),
                Err(error) => {
                    tracing::error!(error = %error, "TLS cannot be set up");
                    None
                }
            },
            "TCP" => Some(ListenerService::Tcp(self.only(*index))),
            "UDP" => Some(ListenerService::Udp(self.only(*index))),
            _ => Some(ListenerService::Http(Arc::new(hosts))),
        }
    }

    /// Where everything goes that arrives at a listener; nowhere without a route.
    fn only(&self, listener: usize) -> Arc<Split> {
        self.placed
            .iter()
            .find(|placed| placed.listener == listener)
            .map(|placed| placed.split.clone())
            .unwrap_or_default()
    }

    fn secured(&self, hosts: Hosts, keys: &mut Keys) -> Result<Secured, rustls::Error> {
        let names = || self.sharing.iter().map(|(_, state)| state.hostname.as_str());
        let mut services = Vec::new();
        for (index, state) in &self.sharing {
            if state.listener.protocol == HTTPS {
                let config = keys.config(&state.certificates.keys, Inside::Http, state.clients.as_ref())?;
                services.push((state.hostname.clone(), TlsService::Https(config)));
                continue;
            }
            let config = match passes_through(state.listener) {
                true => None,
                false => Some(keys.config(&state.certificates.keys, Inside::Anything, None)?),
            };
            let to = |split: &Arc<Split>| match &config {
                Some(config) => TlsService::Terminate(config.clone(), split.clone()),
                None => TlsService::Passthrough(split.clone()),
            };
            let placed = self.placed.iter().filter(|placed| placed.listener == *index);
            // What another listener is there for in particular is not this one's.
            let own = placed.filter(|placed| owner(names(), &placed.hostname) == Some(&state.hostname));
            services.extend(own.map(|placed| (placed.hostname.clone(), to(&placed.split))));
            // A listener takes its names away from less specific ones, even without a route.
            services.push((state.hostname.clone(), to(&Arc::default())));
        }
        Ok(Secured::new(hosts, services))
    }
}

/// Whether what a listener serves is HTTP.
pub(super) fn takes_requests(state: &State<'_>) -> bool {
    matches!(state.listener.protocol.as_str(), "HTTP" | HTTPS)
}

fn format_name(gateway: &Gateway) -> String {
    let (namespace, name) = (gateway.metadata.namespace.as_deref(), gateway.metadata.name.as_deref());
    format!("{}/{}", namespace.unwrap_or_default(), name.unwrap_or_default())
}
