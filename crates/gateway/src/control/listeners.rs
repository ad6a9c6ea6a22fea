//! Gateway listeners: which are valid, where they are bound, and what their status says.

use std::{collections::BTreeMap, net::SocketAddr};

use objects::{
    gateway::{GROUP, Gateway, Listener, RouteGroupKind},
    selector::Labels,
};

use super::{
    Options, Snapshot,
    certificates::{Keys, Resolved},
    status::{Said, say},
};

/// The protocol of a listener that ends TLS.
pub(super) const HTTPS: &str = "HTTPS";

/// One listener and what was found of it.
pub(super) struct State<'a> {
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
    /// Where it is bound.
    pub binds: Vec<SocketAddr>,
    /// Why it is bound nowhere.
    pub unbound: Option<String>,
    pub attached: i32,
}

impl<'a> State<'a> {
    /// Whether routes may attach at all.
    pub fn usable(&self) -> bool {
        (self.refused.is_none() || self.bind_failed) && self.conflict.is_none() && !self.kinds.is_empty()
    }

    /// Whether it is in the table.
    pub fn served(&self) -> bool {
        self.usable() && !self.binds.is_empty() && !self.lacks_certificate()
    }

    fn lacks_certificate(&self) -> bool {
        self.listener.protocol == HTTPS && self.certificates.keys.is_empty()
    }

    /// Whether requests arrive.
    pub fn programmed(&self) -> bool {
        self.served() && !self.bind_failed
    }

    /// Whether `allowedRoutes` lets in routes of this namespace.
    pub fn allows(&self, namespace: &str, snapshot: &Snapshot) -> bool {
        let namespaces = self.listener.allowed_routes.as_ref().and_then(|a| a.namespaces.as_ref());
        match namespaces.and_then(|n| n.from.as_deref()).unwrap_or("Same") {
            "All" => true,
            "Same" => self.gateway.metadata.namespace.as_deref() == Some(namespace),
            "Selector" => {
                let selector = namespaces.and_then(|n| n.selector.as_ref());
                let selector = selector.and_then(|s| Labels::from_selector(s).ok());
                let found = snapshot.namespaces.iter().find(|n| n.metadata.name.as_deref() == Some(namespace));
                let labels = found.map(|n| n.metadata.labels.clone().unwrap_or_default());
                selector.zip(labels).is_some_and(|(selector, labels)| selector.matches(&labels))
            }
            _ => false,
        }
    }

    /// The listener's conditions.
    pub fn conditions(&self) -> Vec<Said> {
        let accepted = match (&self.refused, self.conflict) {
            (Some((reason, message)), _) => say("Accepted", false, reason, message),
            (None, Some(reason)) => say("Accepted", false, reason, "the listener conflicts with another"),
            _ => say("Accepted", true, "Accepted", "the listener is valid"),
        };
        let programmed = match &self.unbound {
            _ if self.programmed() => say("Programmed", true, "Programmed", format!("bound at {}", list(&self.binds))),
            _ if self.lacks_certificate() => say("Programmed", false, "Invalid", "there is no certificate to present"),
            Some(message) if self.usable() => say("Programmed", false, "Pending", message),
            _ => say("Programmed", false, "Invalid", "the listener is not valid"),
        };
        let resolved = if let Some((reason, message)) = &self.certificates.failed {
            say("ResolvedRefs", false, reason, message)
        } else if self.bad_kinds {
            say(
                "ResolvedRefs",
                false,
                "InvalidRouteKinds",
                "allowedRoutes.kinds names a kind that HTTP listeners do not take",
            )
        } else {
            say("ResolvedRefs", true, "ResolvedRefs", "all references are resolved")
        };
        let conflicted = match self.conflict {
            Some(reason) => say("Conflicted", true, reason, "another listener wants the same port"),
            None => say("Conflicted", false, "NoConflicts", "no conflict with another listener"),
        };
        vec![accepted, programmed, resolved, conflicted]
    }
}

fn list(addresses: &[SocketAddr]) -> String {
    addresses.iter().map(SocketAddr::to_string).collect::<Vec<_>>().join(", ")
}

/// Judges every listener of one Gateway.
pub(super) fn of<'a>(gateway: &'a Gateway, options: &Options, snapshot: &Snapshot, keys: &mut Keys) -> Vec<State<'a>> {
    gateway.spec.listeners.iter().map(|listener| judge(gateway, listener, options, snapshot, keys)).collect()
}

/// Of Gateways that share a port the oldest says whether TLS is spoken there; `states` are in the order of age.
pub(super) fn separate_protocols(states: &mut [State<'_>]) {
    let mut spoken: BTreeMap<u16, &str> = BTreeMap::new();
    for state in states.iter_mut().filter(|state| state.refused.is_none() && state.conflict.is_none()) {
        let protocol = state.listener.protocol.as_str();
        if *spoken.entry(state.port).or_insert(protocol) != protocol {
            state.conflict = Some("ProtocolConflict");
        }
    }
}

fn judge<'a>(
    gateway: &'a Gateway,
    listener: &'a Listener,
    options: &Options,
    snapshot: &Snapshot,
    keys: &mut Keys,
) -> State<'a> {
    let port = u16::try_from(listener.port).unwrap_or(0);
    let mut refused = None;
    let http = RouteGroupKind { group: Some(GROUP.to_owned()), kind: "HTTPRoute".to_owned() };
    let wanted = listener.allowed_routes.as_ref().and_then(|a| a.kinds.as_ref()).filter(|k| !k.is_empty());
    let is_http = |k: &RouteGroupKind| k.kind == "HTTPRoute" && k.group.as_deref().unwrap_or(GROUP) == GROUP;
    let bad_kinds = wanted.is_some_and(|kinds| !kinds.iter().all(is_http));
    let mut kinds = if wanted.is_none_or(|kinds| kinds.iter().any(is_http)) { vec![http] } else { Vec::new() };
    let certificates =
        if listener.protocol == HTTPS { keys.resolve(gateway, listener, snapshot) } else { Resolved::default() };
    if !matches!(listener.protocol.as_str(), "HTTP" | HTTPS) {
        refused = Some(("UnsupportedProtocol", format!("protocol {} is not supported yet", listener.protocol)));
        kinds.clear();
    } else if port == 0 {
        refused = Some(("PortUnavailable", format!("{} is not a port", listener.port)));
    }
    let (binds, mut unbound) = binds(port, options);
    let failed = snapshot.bind_errors.iter().find(|error| binds.contains(&error.address));
    let bind_failed = refused.is_none() && failed.is_some();
    if let (None, Some(error)) = (&refused, failed) {
        unbound = Some(format!("cannot bind {}: {}", error.address, error.message));
        refused = Some(("PortUnavailable", format!("cannot bind {}: {}", error.address, error.message)));
    }
    State {
        gateway,
        listener,
        hostname: listener.hostname.as_deref().unwrap_or_default().to_ascii_lowercase(),
        port,
        refused,
        bind_failed,
        conflict: conflict(&gateway.spec.listeners, listener),
        bad_kinds,
        kinds,
        certificates,
        binds,
        unbound,
        attached: 0,
    }
}

fn conflict(all: &[Listener], one: &Listener) -> Option<&'static str> {
    let others = || all.iter().filter(|other| other.name != one.name && other.port == one.port);
    let host = |l: &Listener| l.hostname.as_deref().unwrap_or_default().to_ascii_lowercase();
    if others().any(|other| other.protocol != one.protocol && one.protocol != "UDP" && other.protocol != "UDP") {
        Some("ProtocolConflict")
    } else if others().any(|other| other.protocol == one.protocol && host(other) == host(one)) {
        Some("HostnameConflict")
    } else {
        None
    }
}

fn binds(port: u16, options: &Options) -> (Vec<SocketAddr>, Option<String>) {
    let published = options.publish.iter().filter(|p| p.listener_port == port).map(|p| p.address);
    let mut published: Vec<_> = published.collect();
    published.sort_unstable();
    published.dedup();
    let own = SocketAddr::new(options.bind, port);
    if !published.is_empty() {
        return (published, None);
    }
    if let Some(taken) = options.publish.iter().find(|p| p.address == own) {
        let message = format!("{own} is published as port {}: start with --publish HOST:{port}", taken.listener_port);
        return (Vec::new(), Some(message));
    }
    if port < 1024 {
        let message = format!("port {port} is not published on this machine: start with --publish HOST:{port}");
        return (Vec::new(), Some(message));
    }
    (vec![own], None)
}
