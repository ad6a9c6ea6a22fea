//! From a snapshot of objects to the routing table and the statuses.

use std::{
    collections::{BTreeMap, HashMap},
    net::SocketAddr,
    sync::Arc,
};

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Service;
use objects::gateway::{Gateway, GatewayAddress, GatewayClassStatus, GatewayStatus, ListenerStatus};

use super::{
    CONTROLLER, Options, Snapshot,
    attach::attach,
    certificates::Keys,
    clusters::{Clusters, Slices},
    hosts::{Age, PortHosts},
    listeners::{self, HTTPS, State},
    routes, services,
    status::{Said, StatusKind, StatusUpdate, conditions, say, update},
};
use crate::table::{Listener, ListenerService, Secured, Table, TlsService};

/// What a snapshot comes to.
#[derive(Debug)]
pub struct Compiled {
    /// What the proxy serves, in a deterministic order.
    pub table: Table,
    /// The statuses that differ from what the objects have.
    pub statuses: Vec<StatusUpdate>,
}

/// What rules are resolved against.
pub(super) struct Context<'a> {
    pub snapshot: &'a Snapshot,
    pub services: HashMap<(&'a str, &'a str), &'a Service>,
    pub slices: Slices<'a>,
    pub clusters: &'a mut Clusters,
}

/// What is kept from one compilation to the next.
#[derive(Debug, Default)]
pub struct Memory {
    clusters: Clusters,
    keys: Keys,
}

impl Memory {
    /// Takes in changed EndpointSlices without compiling anything.
    pub fn refresh(&mut self, snapshot: &Snapshot) {
        self.clusters.refresh(snapshot);
    }
}

/// Compiles a snapshot. Clusters and certificates known from an earlier call are used again, brought up to date.
pub fn compile(snapshot: &Snapshot, options: &Options, memory: &mut Memory, now: Timestamp) -> Compiled {
    let Memory { clusters, keys } = memory;
    clusters.begin();
    let key = |s: &'_ Arc<Service>| (s.metadata.namespace.clone(), s.metadata.name.clone());
    let mut ordered: Vec<_> = snapshot.services.iter().collect();
    ordered.sort_by_cached_key(|s| key(s));
    let named =
        ordered.iter().filter_map(|s| Some(((s.metadata.namespace.as_deref()?, s.metadata.name.as_deref()?), &***s)));
    let mut context = Context { snapshot, services: named.collect(), slices: Slices::of(snapshot), clusters };
    let mut statuses = classes(snapshot, now);
    let gateways = ours(snapshot);
    let mut states: Vec<_> = gateways.iter().flat_map(|g| listeners::of(g, options, snapshot, keys)).collect();
    keys.retain(snapshot);
    listeners::separate_protocols(&mut states);
    let mut ports: BTreeMap<u16, PortHosts> = BTreeMap::new();
    for state in states.iter().filter(|s| s.served()) {
        ports.entry(state.port).or_default().listener(&state.hostname);
    }
    for route in &snapshot.routes {
        let built = routes::build(route, &mut context);
        let (places, status) = attach(route, &built, &mut states, snapshot, now);
        let age = age(&route.metadata);
        for (index, host) in places {
            let Some(state) = states.get(index) else { continue };
            if let Some(port) = ports.get_mut(&state.port) {
                port.add(&state.hostname, &host, &age, &built.entries);
            }
        }
        if route.status.is_some() || !status.parents.is_empty() {
            statuses.extend(update(StatusKind::HTTPRoute, &route.metadata, route.status.as_ref(), &status));
        }
    }
    for gateway in gateways {
        let status = gateway_status(gateway, &states, options, now);
        statuses.extend(update(StatusKind::Gateway, &gateway.metadata, gateway.status.as_ref(), &status));
    }
    let mut table = Table { listeners: gateway_listeners(ports, &states, keys) };
    for service in ordered {
        table.listeners.extend(services::listeners(service, &context.slices, context.clusters));
    }
    context.clusters.end();
    Compiled { table, statuses }
}

fn age(meta: &k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta) -> Age {
    Age {
        created: meta.creation_timestamp.as_ref().map_or(Timestamp::MAX, |t| t.0),
        namespace: meta.namespace.clone().unwrap_or_default(),
        name: meta.name.clone().unwrap_or_default(),
    }
}

/// Gateways of our classes, oldest first.
fn ours(snapshot: &Snapshot) -> Vec<&Gateway> {
    let classes = snapshot.classes.iter().filter(|c| c.spec.controller_name == CONTROLLER);
    let classes: Vec<_> = classes.filter_map(|c| c.metadata.name.as_deref()).collect();
    let served = snapshot.gateways.iter().map(|g| &**g);
    let served = served.filter(|g| classes.contains(&g.spec.gateway_class_name.as_str()));
    let mut gateways: Vec<_> = served.filter(|g| g.metadata.deletion_timestamp.is_none()).collect();
    gateways.sort_by_cached_key(|g| age(&g.metadata));
    gateways
}

fn classes(snapshot: &Snapshot, now: Timestamp) -> Vec<StatusUpdate> {
    let served = snapshot.classes.iter().filter(|c| c.spec.controller_name == CONTROLLER);
    let judge = |class: &Arc<objects::gateway::GatewayClass>| {
        let said = if class.spec.parameters_ref.is_some() {
            say("Accepted", false, "InvalidParameters", "parametersRef is not supported yet")
        } else {
            say("Accepted", true, "Accepted", "the class is served by this controller")
        };
        let old = class.status.as_ref().and_then(|s| s.conditions.as_deref()).unwrap_or_default();
        let conditions = Some(conditions(old, vec![said], class.metadata.generation, now));
        let features = class.status.as_ref().and_then(|s| s.supported_features.clone());
        let status = GatewayClassStatus { conditions, supported_features: features };
        update(StatusKind::GatewayClass, &class.metadata, class.status.as_ref(), &status)
    };
    served.filter_map(judge).collect()
}

fn gateway_status(gateway: &Gateway, states: &[State<'_>], options: &Options, now: Timestamp) -> GatewayStatus {
    let own: Vec<_> = states.iter().filter(|s| std::ptr::eq(s.gateway, gateway)).collect();
    let (generation, old) = (gateway.metadata.generation, gateway.status.clone().unwrap_or_default());
    let old_listeners = old.listeners.unwrap_or_default();
    let listeners = own.iter().map(|state| {
        let known = old_listeners.iter().find(|l| l.name == state.listener.name);
        let known = known.map(|l| l.conditions.as_slice()).unwrap_or_default();
        ListenerStatus {
            name: state.listener.name.clone(),
            supported_kinds: state.kinds.clone(),
            attached_routes: state.attached,
            conditions: conditions(known, state.conditions(), generation, now),
        }
    });
    let listeners = Some(listeners.collect());
    let said = vec![accepted(gateway, &own), programmed(gateway, &own, options)];
    let address = GatewayAddress { type_: Some("IPAddress".to_owned()), value: Some(options.bind.to_string()) };
    let addresses = own.iter().any(|s| s.programmed()).then(|| vec![address]);
    let conditions = Some(conditions(old.conditions.as_deref().unwrap_or_default(), said, generation, now));
    GatewayStatus { addresses, conditions, listeners }
}

fn accepted(gateway: &Gateway, own: &[&State<'_>]) -> Said {
    let types = gateway.spec.addresses.iter().flatten().filter_map(|a| a.type_.as_deref());
    if types.into_iter().any(|t| t != "IPAddress") {
        return say("Accepted", false, "UnsupportedAddress", "only addresses of type IPAddress are supported");
    }
    let valid = own.iter().filter(|s| s.refused.is_none() && s.conflict.is_none()).count();
    let message = format!("{valid} of {} listeners are valid", own.len());
    match valid {
        0 => say("Accepted", false, "ListenersNotValid", message),
        n if n < own.len() => say("Accepted", true, "ListenersNotValid", message),
        _ => say("Accepted", true, "Accepted", "all listeners are valid"),
    }
}

fn programmed(gateway: &Gateway, own: &[&State<'_>], options: &Options) -> Said {
    let bind = options.bind.to_string();
    let other = gateway.spec.addresses.iter().flatten().filter_map(|a| a.value.as_deref()).find(|v| **v != bind);
    if let Some(other) = other {
        let message = format!("{other} is not the address Gateways are bound to: {bind}");
        return say("Programmed", false, "AddressNotUsable", message);
    }
    if own.iter().any(|s| s.programmed()) {
        return say("Programmed", true, "Programmed", format!("served at {bind}"));
    }
    let message = own.iter().find_map(|s| s.unbound.clone()).unwrap_or_else(|| "no listener is valid".to_owned());
    say("Programmed", false, "Invalid", message)
}

/// One table listener per bound address; Gateways that share a port share its listener.
fn gateway_listeners(ports: BTreeMap<u16, PortHosts>, states: &[State<'_>], keys: &mut Keys) -> Vec<Listener> {
    let mut built: BTreeMap<SocketAddr, Listener> = BTreeMap::new();
    for (port, hosts) in ports {
        let sharing: Vec<_> = states.iter().filter(|s| s.port == port && s.served()).collect();
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

fn format_name(gateway: &Gateway) -> String {
    let (namespace, name) = (gateway.metadata.namespace.as_deref(), gateway.metadata.name.as_deref());
    format!("{}/{}", namespace.unwrap_or_default(), name.unwrap_or_default())
}
