//! From a snapshot of objects to the routing table and the statuses.

use std::{collections::BTreeMap, net::SocketAddr, sync::Arc};

use jiff::Timestamp;
use k8s_openapi::{api::core::v1::Service, apimachinery::pkg::apis::meta::v1::ObjectMeta};
use objects::gateway::{GRPCRoute, HTTPRoute};
use tokio::sync::Notify;

use super::{
    Options, Snapshot, addresses,
    attach::{Parents, Route},
    backend_tls::Policies,
    certificates::Keys,
    clusters::{Clusters, Slices},
    edges, gateways,
    grpc_routes::grpc,
    hosts::{Age, PortHosts},
    layer4, listener_sets, listeners,
    mesh::{self, Mesh, Services},
    reached,
    routes::{self, Built},
    services,
    sleepers::{Sleepers, Waking},
    status::{StatusKind, StatusUpdate},
    trust::Trusts,
};
use crate::table::{Callers, Table};

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
    pub services: &'a Services<'a>,
    pub slices: Slices<'a>,
    pub clusters: &'a mut Clusters,
    pub policies: Policies<'a>,
    /// Whether it is for calls inside the cluster.
    pub inside: bool,
    /// Whether TLS of clients ends where a route of bytes is attached.
    pub ended: bool,
    /// Services that the route's callers call anyway: it may lead to them without a grant.
    pub called: Vec<(&'a str, &'a str)>,
}

impl Context<'_> {
    /// Whether BackendTLSPolicies have a say in what a route leads to: what passes through as it came is left as it is, and so
    /// is what pods say to each other.
    pub fn encrypts(&self, route: StatusKind) -> bool {
        match route {
            StatusKind::HTTPRoute | StatusKind::GRPCRoute => !self.inside,
            StatusKind::TLSRoute | StatusKind::TCPRoute => self.ended,
            _ => false,
        }
    }
}

/// What is kept from one compilation to the next.
#[derive(Debug, Default)]
pub struct Memory {
    clusters: Clusters,
    keys: Keys,
    trusts: Trusts,
    callers: Arc<Callers>,
    sleepers: Sleepers,
}

impl Memory {
    /// Takes in changed EndpointSlices, Pods and autoscalers without compiling anything.
    pub fn refresh(&mut self, snapshot: &Snapshot) {
        self.sleepers.set(snapshot);
        self.clusters.sleep(&self.sleepers);
        self.clusters.refresh(snapshot);
        self.callers.set(mesh::callers(snapshot));
    }

    /// The Services that sleep.
    pub(super) fn wakings(&self) -> Vec<Waking> {
        self.sleepers.all()
    }

    /// Notified when one of them is wanted.
    pub(super) fn asked(&self) -> Arc<Notify> {
        self.sleepers.asked()
    }
}

/// Compiles a snapshot. Clusters and certificates known from an earlier call are used again, brought up to date.
pub fn compile(snapshot: &Snapshot, options: &Options, memory: &mut Memory, now: Timestamp) -> Compiled {
    let Memory { clusters, keys, trusts, callers, sleepers } = memory;
    sleepers.set(snapshot);
    callers.set(mesh::callers(snapshot));
    clusters.begin();
    let key = |s: &'_ Arc<Service>| (s.metadata.namespace.clone(), s.metadata.name.clone());
    let mut ordered: Vec<_> = snapshot.services.iter().collect();
    ordered.sort_by_cached_key(|s| key(s));
    let named =
        ordered.iter().filter_map(|s| Some(((s.metadata.namespace.as_deref()?, s.metadata.name.as_deref()?), &***s)));
    let services: Services<'_> = named.collect();
    let (slices, policies) = (Slices::of(snapshot), Policies::of(snapshot, trusts));
    let mut context = Context {
        snapshot,
        services: &services,
        slices,
        clusters,
        policies,
        inside: false,
        ended: false,
        called: Vec::new(),
    };

    let mut statuses = gateways::classes(snapshot, options, now);
    let ours = gateways::ours(snapshot, options);
    let mut parents = Parents {
        snapshot,
        options,
        listeners: Vec::new(),
        refused: Vec::new(),
        services: options.services.then_some(&services),
        now,
    };
    let mut sets = Vec::new();
    for gateway in &ours {
        let (let_in, refused) = listener_sets::of(gateway, snapshot);
        parents.listeners.extend(listeners::of(gateway, &let_in, options, snapshot, keys));
        parents.refused.extend(refused);
        sets.push(let_in);
    }
    keys.retain(snapshot);
    listeners::separate_gateways(&mut parents.listeners);

    let (ports, mut mesh) = attach_requests(&mut context, &mut parents, callers, &mut statuses);
    let (placed, said) = layer4::attach(&mut context, &mut parents);
    statuses.extend(said);

    let Parents { listeners: states, refused, .. } = parents;
    statuses.extend(refused.into_iter().filter_map(|set| listener_sets::refused(set, now)));
    let reached = reached::addresses(options, snapshot);
    for (gateway, sets) in ours.into_iter().zip(sets) {
        let reached = addresses::used(gateway, &reached, options, snapshot);
        statuses.extend(gateways::status(gateway, &sets, &states, reached, now));
        statuses.extend(sets.into_iter().filter_map(|set| listener_sets::status(set, &states, now)));
    }
    let mut table = Table { listeners: edges::listeners(ports, &placed, &states, keys) };
    for service in ordered.into_iter().filter(|_| options.services) {
        table.listeners.extend(services::listeners(service, &context.slices, context.clusters, &mut mesh));
    }
    context.clusters.end();
    context.clusters.sleep(sleepers);
    statuses.extend(context.policies.end(now));
    Compiled { table, statuses }
}

/// A route of requests.
enum Requests<'a> {
    Http(&'a HTTPRoute),
    Grpc(&'a GRPCRoute),
}

impl<'a> Requests<'a> {
    fn build(&self, context: &mut Context<'_>) -> Built {
        match self {
            Self::Http(route) => routes::http(route, context),
            Self::Grpc(route) => grpc(route, context),
        }
    }

    fn route(&self) -> Route<'a> {
        match *self {
            Self::Http(route) => Route::from(route),
            Self::Grpc(route) => Route::from(route),
        }
    }
}

/// Attaches HTTPRoutes and GRPCRoutes, the oldest first, and gathers what is served address by address.
fn attach_requests<'a>(
    context: &mut Context<'a>,
    parents: &mut Parents<'a>,
    callers: &Arc<Callers>,
    statuses: &mut Vec<StatusUpdate>,
) -> (BTreeMap<SocketAddr, PortHosts>, Mesh<'a>) {
    let mut mesh = Mesh::new(callers);
    let mut ports: BTreeMap<SocketAddr, PortHosts> = BTreeMap::new();
    for state in parents.listeners.iter().filter(|s| s.served() && edges::takes_requests(s)) {
        state.binds.iter().for_each(|bind| ports.entry(*bind).or_default().listener(&state.hostname));
    }
    let snapshot = parents.snapshot;
    let http = snapshot.routes.iter().map(|route| (age(&route.metadata), Requests::Http(route)));
    let grpc_routes = snapshot.grpc_routes.iter().map(|route| (age(&route.metadata), Requests::Grpc(route)));
    let mut all: Vec<_> = http.chain(grpc_routes).collect();
    all.sort_by(|a, b| a.0.cmp(&b.0));
    for (age, requests) in all {
        context.called = mesh::called(requests.route());
        let built = requests.build(context);
        let policies = context.policies.touched();
        let attached = parents.attach(requests.route(), &built);
        statuses.extend(attached.status);
        for (index, host) in attached.places {
            let Some(state) = parents.listeners.get(index) else { continue };
            context.policies.affects(&policies, state.gateway);
            // What a Gateway shows to endpoints belongs to its own connections alone.
            let shown = state.shown.keys.first().filter(|_| !policies.is_empty()).map(|key| {
                context.policies.shown_by(Some(key.clone()));
                let built = requests.build(context);
                context.policies.shown_by(None);
                built
            });
            let entries = &shown.as_ref().unwrap_or(&built).entries;
            for bind in &state.binds {
                if let Some(port) = ports.get_mut(bind) {
                    port.add(&state.hostname, &host, &age, entries);
                }
            }
        }
        if !attached.ports.is_empty() {
            // Callers inside the cluster are balanced otherwise.
            context.inside = true;
            let built = requests.build(context);
            context.inside = false;
            let namespace = requests.route().namespace();
            attached.ports.into_iter().for_each(|port| mesh.add(port, namespace, &age, &built.entries));
        }
    }
    context.called.clear();
    (ports, mesh)
}

/// An object's place among others: the oldest first, then by name.
pub(super) fn age(meta: &ObjectMeta) -> Age {
    Age {
        created: meta.creation_timestamp.as_ref().map_or(Timestamp::MAX, |t| t.0),
        namespace: meta.namespace.clone().unwrap_or_default(),
        name: meta.name.clone().unwrap_or_default(),
    }
}
