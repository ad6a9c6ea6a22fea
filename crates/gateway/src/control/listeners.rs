//! Listeners of Gateways and ListenerSets: which are valid, where they are bound, and what their status says.

use std::{
    collections::{BTreeMap, btree_map::Entry},
    net::{Ipv4Addr, SocketAddr},
    sync::Arc,
};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta};
use objects::{
    gateway::{GROUP, Gateway, Listener, ListenerSet, ListenerStatus, RouteGroupKind},
    selector::Labels,
};

use super::{
    Options, Snapshot, addresses,
    certificates::{Keys, Resolved},
    frontends::{self, Clients},
    hosts::intersect,
    status::{Said, StatusKind, conditions, say},
};
use crate::table::Transport;

/// The protocol of a listener that ends TLS, with HTTP inside.
pub(super) const HTTPS: &str = "HTTPS";

/// The protocol of a listener for TLS with anything inside.
pub(super) const TLS: &str = "TLS";

/// The protocols that the proxy speaks.
const SERVED: &[&str] = &["HTTP", HTTPS, TLS, "TCP", "UDP"];

/// The kinds of route that a listener takes, by its protocol; none for a protocol that nobody knows.
fn kinds(listener: &Listener) -> &'static [&'static str] {
    match listener.protocol.as_str() {
        "HTTP" | HTTPS => &["HTTPRoute", "GRPCRoute"],
        TLS if passes_through(listener) => &["TLSRoute"],
        TLS => &["TLSRoute", "TCPRoute"],
        "TCP" => &["TCPRoute"],
        "UDP" => &["UDPRoute"],
        _ => &[],
    }
}

/// Whether a TLS listener leaves TLS to the endpoints.
pub(super) fn passes_through(listener: &Listener) -> bool {
    let mode = listener.tls.as_ref().and_then(|tls| tls.mode.as_deref());
    listener.protocol == TLS && mode == Some("Passthrough")
}

/// Whether TLS ends at a listener.
pub(super) fn ends_tls(listener: &Listener) -> bool {
    matches!(listener.protocol.as_str(), HTTPS | TLS) && !passes_through(listener)
}

/// The object that a listener belongs to.
#[derive(Debug, Clone, Copy)]
pub(super) enum Owner<'a> {
    Gateway(&'a Gateway),
    Set(&'a ListenerSet),
}

impl<'a> Owner<'a> {
    pub fn kind(self) -> StatusKind {
        match self {
            Self::Gateway(_) => StatusKind::Gateway,
            Self::Set(_) => StatusKind::ListenerSet,
        }
    }

    pub fn meta(self) -> &'a ObjectMeta {
        match self {
            Self::Gateway(gateway) => &gateway.metadata,
            Self::Set(set) => &set.metadata,
        }
    }

    pub fn namespace(self) -> &'a str {
        self.meta().namespace.as_deref().unwrap_or_default()
    }

    /// Whether this is the very object.
    pub fn is(self, other: Self) -> bool {
        std::ptr::eq(self.meta(), other.meta())
    }

    fn listeners(self) -> &'a [Listener] {
        match self {
            Self::Gateway(gateway) => &gateway.spec.listeners,
            Self::Set(set) => &set.spec.listeners,
        }
    }
}

/// One listener and what was found of it.
pub(super) struct State<'a> {
    pub owner: Owner<'a>,
    /// The Gateway that it is a listener of, whoever owns it.
    pub gateway: &'a Gateway,
    pub listener: &'a Listener,
    /// Lower case; empty for every host.
    pub hostname: String,
    pub port: u16,
    /// Why it is not accepted.
    pub refused: Option<(&'static str, String)>,
    /// Its address could not be bound: it stays in the table, so that the proxy can try again.
    pub bind_failed: bool,
    /// `Conflicted`'s reason.
    pub conflict: Option<&'static str>,
    pub bad_kinds: bool,
    pub kinds: Vec<RouteGroupKind>,
    /// What it presents, if it speaks TLS.
    pub certificates: Resolved,
    /// What its Gateway asks of clients, if it speaks HTTPS.
    pub clients: Option<Clients>,
    /// What its Gateway shows to endpoints that ask.
    pub shown: Arc<Resolved>,
    /// Where it is bound.
    pub binds: Vec<SocketAddr>,
    /// Why it is bound nowhere.
    pub unbound: Option<String>,
    pub attached: i32,
    /// Hosts that HTTPRoutes and GRPCRoutes have here: what one kind has, the other may not have.
    pub taken: Vec<(StatusKind, String)>,
    /// Whether another listener of the Gateway ends TLS on the port for some of the same names.
    pub overlaps: bool,
}

impl State<'_> {
    /// Whether routes may attach at all.
    pub fn usable(&self) -> bool {
        (self.refused.is_none() || self.bind_failed) && self.conflict.is_none() && !self.kinds.is_empty()
    }

    /// Whether it is in the table.
    pub fn served(&self) -> bool {
        self.usable() && !self.binds.is_empty() && !self.lacks_certificate()
    }

    /// What is told apart at its port by more than the port: HTTP by its host, and TLS, whatever is inside, by the server's name.
    pub fn family(&self) -> &str {
        match self.listener.protocol.as_str() {
            HTTPS | TLS => TLS,
            other => other,
        }
    }

    /// Whether it listens for datagrams, which share a port with nothing but each other.
    pub fn is_udp(&self) -> bool {
        self.listener.protocol == "UDP"
    }

    fn lacks_certificate(&self) -> bool {
        ends_tls(self.listener) && self.certificates.keys.is_empty()
    }

    /// Whether it is valid, be it bound or not.
    pub fn accepted(&self) -> bool {
        self.refused.is_none() && self.conflict.is_none()
    }

    /// Whether requests arrive.
    pub fn programmed(&self) -> bool {
        self.served() && !self.bind_failed
    }

    /// Whether `allowedRoutes` lets in routes of this kind and namespace.
    pub fn allows(&self, kind: StatusKind, namespace: &str, snapshot: &Snapshot) -> bool {
        let namespaces = self.listener.allowed_routes.as_ref().and_then(|a| a.namespaces.as_ref());
        let from = namespaces.and_then(|n| n.from.as_deref()).unwrap_or("Same");
        let selector = namespaces.and_then(|n| n.selector.as_ref());
        self.kinds.iter().any(|taken| taken.kind == kind.name())
            && admits((from, selector), self.owner.namespace(), namespace, snapshot)
    }

    /// The listener's conditions.
    fn conditions(&self) -> Vec<Said> {
        let accepted = match (self.conflict, &self.refused) {
            (Some(reason), _) => say("Accepted", false, reason, "the listener conflicts with another"),
            (None, Some((reason, message))) => say("Accepted", false, reason, message),
            _ => say("Accepted", true, "Accepted", "the listener is valid"),
        };
        let programmed = match (&self.unbound, self.conflict) {
            _ if self.programmed() => say("Programmed", true, "Programmed", format!("bound at {}", list(&self.binds))),
            (_, Some(reason)) => say("Programmed", false, reason, "the listener conflicts with another"),
            _ if self.lacks_certificate() => say("Programmed", false, "Invalid", "there is no certificate to present"),
            (Some(message), _) if self.usable() => say("Programmed", false, "Pending", message),
            _ => say("Programmed", false, "Invalid", "the listener is not valid"),
        };
        let conflicted = match self.conflict {
            Some(reason) => say("Conflicted", true, reason, "another listener wants the same port"),
            None => say("Conflicted", false, "NoConflicts", "no conflict with another listener"),
        };
        let (resolved, reason, message) = self.resolved();
        let mut said = vec![accepted, programmed, say("ResolvedRefs", resolved, reason, message), conflicted];
        if self.overlaps {
            let message = "another listener ends TLS on this port for some of the same names; a request on a connection that was \
                           made to the other is answered with 421";
            said.push(say("OverlappingTLSConfig", true, "OverlappingHostnames", message));
        }
        said
    }

    /// What `ResolvedRefs` says: status, reason and message.
    pub fn resolved(&self) -> (bool, &'static str, String) {
        let clients = self.clients.as_ref().and_then(|clients| clients.authorities.failed.as_ref());
        if let Some((reason, message)) = self.certificates.failed.as_ref().or(clients) {
            (false, reason, message.clone())
        } else if self.bad_kinds {
            let protocol = &self.listener.protocol;
            let message = format!("allowedRoutes.kinds names a kind that {protocol} listeners do not take");
            (false, "InvalidRouteKinds", message)
        } else {
            (true, "ResolvedRefs", "all references are resolved".to_owned())
        }
    }

    /// The listener's status; `old` are those that the owner has.
    pub fn status(&self, old: &[ListenerStatus], now: jiff::Timestamp) -> ListenerStatus {
        let known = old.iter().find(|l| l.name == self.listener.name);
        let known = known.map(|l| l.conditions.as_slice()).unwrap_or_default();
        ListenerStatus {
            name: self.listener.name.clone(),
            supported_kinds: self.kinds.clone(),
            attached_routes: self.attached,
            conditions: conditions(known, self.conditions(), self.owner.meta().generation, now),
        }
    }
}

fn list(addresses: &[SocketAddr]) -> String {
    addresses.iter().map(SocketAddr::to_string).collect::<Vec<_>>().join(", ")
}

/// Whether objects of a namespace may attach to one of `own`, by `from` and its selector.
pub(super) fn admits(
    (from, selector): (&str, Option<&LabelSelector>),
    own: &str,
    namespace: &str,
    snapshot: &Snapshot,
) -> bool {
    match from {
        "All" => true,
        "Same" => own == namespace,
        "Selector" => {
            let selector = selector.and_then(|s| Labels::from_selector(s).ok());
            let found = snapshot.namespaces.iter().find(|n| n.metadata.name.as_deref() == Some(namespace));
            let labels = found.map(|n| n.metadata.labels.clone().unwrap_or_default());
            selector.zip(labels).is_some_and(|(selector, labels)| selector.matches(&labels))
        }
        _ => false,
    }
}

/// Judges every listener of a Gateway: its own, then those of its ListenerSets, which are given in order of precedence.
pub(super) fn of<'a>(
    gateway: &'a Gateway,
    sets: &[&'a ListenerSet],
    options: &Options,
    snapshot: &Snapshot,
    keys: &mut Keys,
) -> Vec<State<'a>> {
    let owners = std::iter::once(Owner::Gateway(gateway)).chain(sets.iter().map(|set| Owner::Set(set)));
    let listeners = owners.flat_map(|owner| owner.listeners().iter().map(move |listener| (owner, listener)));
    let shown = Arc::new(keys.shown(gateway, snapshot));
    let one = |(owner, listener)| judge((owner, gateway), listener, &shown, options, snapshot, keys);
    let mut states: Vec<_> = listeners.map(one).collect();
    find_conflicts(&mut states);
    find_overlaps(&mut states);
    states
}

/// Of Gateways that share a port the oldest says what is spoken there, and has the port to itself if nothing but the port tells
/// one listener from another; `states` are in the order of age.
pub(super) fn separate_gateways(states: &mut [State<'_>]) {
    let mut spoken: BTreeMap<(bool, SocketAddr), String> = BTreeMap::new();
    for state in states.iter_mut().filter(|state| state.accepted()) {
        let family = state.family().to_owned();
        // What is bound nowhere is compared with its like.
        let nowhere = [SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), state.port)];
        let binds = if state.binds.is_empty() { nowhere.as_slice() } else { state.binds.as_slice() };
        for bind in binds {
            let found = match spoken.entry((state.is_udp(), *bind)) {
                Entry::Vacant(free) => {
                    free.insert(family.clone());
                    None
                }
                Entry::Occupied(first) if *first.get() != family => Some("ProtocolConflict"),
                Entry::Occupied(_) => matches!(family.as_str(), "TCP" | "UDP").then_some("HostnameConflict"),
            };
            state.conflict = state.conflict.or(found);
        }
    }
}

fn judge<'a>(
    (owner, gateway): (Owner<'a>, &'a Gateway),
    listener: &'a Listener,
    shown: &Arc<Resolved>,
    options: &Options,
    snapshot: &Snapshot,
    keys: &mut Keys,
) -> State<'a> {
    let port = u16::try_from(listener.port).unwrap_or(0);
    let mut refused = None;
    let (mut kinds, bad_kinds) = wanted_kinds(listener);
    let certificates = match ends_tls(listener) {
        true => keys.resolve(owner, listener, snapshot, options.development.as_deref()),
        false => Resolved::default(),
    };
    if !SERVED.contains(&listener.protocol.as_str()) {
        refused = Some(("UnsupportedProtocol", format!("protocol {} is not supported yet", listener.protocol)));
        kinds.clear();
    } else if port == 0 {
        refused = Some(("PortUnavailable", format!("{} is not a port", listener.port)));
    }
    let clients = (listener.protocol == HTTPS).then(|| frontends::of(gateway, listener, snapshot)).flatten();
    refused = refused.or_else(|| clients.as_ref()?.refused());
    let own = addresses::of(gateway, options);
    let (binds, mut unbound) = addresses::binds(&own, port, options);
    let transport = if listener.protocol == "UDP" { Transport::Udp } else { Transport::Tcp };
    let errors = snapshot.bind_errors.iter().filter(|error| error.transport == transport);
    let failed: Vec<_> = errors.filter(|error| binds.contains(&error.address)).collect();
    // Of addresses that the Gateway asks for, those that can be bound are served, and the Gateway says which cannot.
    let bind_failed =
        refused.is_none() && if own.is_empty() { !failed.is_empty() } else { failed.len() == binds.len() };
    if let (None, Some(error)) = (&refused, failed.first()) {
        unbound = Some(format!("cannot bind {}: {}", error.address, error.message));
        if own.is_empty() {
            refused = Some(("PortUnavailable", format!("cannot bind {}: {}", error.address, error.message)));
        }
    }
    State {
        owner,
        gateway,
        listener,
        hostname: listener.hostname.as_deref().unwrap_or_default().to_ascii_lowercase(),
        port,
        refused,
        bind_failed,
        conflict: None,
        bad_kinds,
        kinds,
        certificates,
        clients,
        shown: shown.clone(),
        binds,
        unbound,
        attached: 0,
        taken: Vec::new(),
        overlaps: false,
    }
}

/// The kinds that a listener takes, and whether it names others.
fn wanted_kinds(listener: &Listener) -> (Vec<RouteGroupKind>, bool) {
    let possible = kinds(listener);
    let wanted = listener.allowed_routes.as_ref().and_then(|a| a.kinds.as_ref()).filter(|k| !k.is_empty());
    let asks_for =
        |wanted: &RouteGroupKind, kind: &str| wanted.kind == kind && wanted.group.as_deref().unwrap_or(GROUP) == GROUP;
    let taken = possible.iter().filter(|kind| wanted.is_none_or(|all| all.iter().any(|w| asks_for(w, kind))));
    let taken = taken.map(|kind| RouteGroupKind { group: Some(GROUP.to_owned()), kind: (*kind).to_owned() });
    let bad = wanted.is_some_and(|all| !all.iter().all(|w| possible.iter().any(|kind| asks_for(w, kind))));
    (taken.collect(), bad)
}

/// Finds the listeners of one Gateway that cannot be served together: those of the Gateway itself that conflict with each other
/// are all refused, one of a ListenerSet yields to those before it.
fn find_conflicts(states: &mut [State<'_>]) {
    for index in 0..states.len() {
        let (before, rest) = states.split_at_mut(index);
        let Some((one, after)) = rest.split_first_mut() else { continue };
        let of_gateway = |s: &&State<'_>| matches!(s.owner, Owner::Gateway(_));
        one.conflict = match one.owner {
            Owner::Gateway(_) => conflict(one, before.iter().chain(after.iter()).filter(of_gateway)),
            Owner::Set(_) => conflict(one, before.iter().filter(|s| of_gateway(s) || s.conflict.is_none())),
        };
    }
}

/// Notes which listeners of one Gateway end TLS on one port for names that overlap.
fn find_overlaps(states: &mut [State<'_>]) {
    let ending = |s: &State<'_>| ends_tls(s.listener) && s.accepted();
    let places: Vec<_> = states.iter().map(|s| ending(s).then(|| (s.port, s.hostname.clone()))).collect();
    for (index, state) in states.iter_mut().enumerate().filter(|(_, state)| ending(state)) {
        let others =
            places.iter().enumerate().filter(|(other, _)| *other != index).filter_map(|(_, place)| place.as_ref());
        let mut names = others.filter(|(port, _)| *port == state.port).map(|(_, name)| name);
        state.overlaps = names.any(|name| intersect(name, &state.hostname).is_some());
    }
}

fn conflict<'s, 'a: 's>(one: &State<'_>, others: impl Iterator<Item = &'s State<'a>> + Clone) -> Option<&'static str> {
    let mut others = others.filter(|other| other.port == one.port && other.is_udp() == one.is_udp());
    if others.clone().any(|other| other.family() != one.family()) {
        Some("ProtocolConflict")
    } else if others.any(|other| other.hostname == one.hostname) {
        Some("HostnameConflict")
    } else {
        None
    }
}
