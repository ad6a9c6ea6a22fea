//! Attaching a route of any kind to its parents, and the conditions that say so.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use objects::gateway::{
    GROUP, GRPCRoute, HTTPRoute, ListenerSet, ParentReference, RouteParentStatus, RouteStatus, TCPRoute, TLSRoute,
    UDPRoute,
};

use super::{
    Options, Snapshot,
    hosts::intersect,
    listeners::State,
    mesh::{self, Port, Services},
    routes::Built,
    status::{Said, StatusKind, StatusUpdate, conditions, say, update},
};

/// What attaching needs of a route.
#[derive(Clone, Copy)]
pub(super) struct Route<'a> {
    pub kind: StatusKind,
    pub meta: &'a ObjectMeta,
    pub parents: &'a [ParentReference],
    /// Empty for the listeners'.
    pub hostnames: &'a [String],
    pub status: Option<&'a RouteStatus>,
}

/// Rows: a kind, and its host names.
macro_rules! routes {
    ($($kind:ident: |$route:ident| $hostnames:expr;)*) => {$(
        impl<'a> From<&'a $kind> for Route<'a> {
            fn from($route: &'a $kind) -> Self {
                let parents = $route.spec.parent_refs.as_deref().unwrap_or_default();
                let (meta, status) = (&$route.metadata, $route.status.as_ref());
                Self { kind: StatusKind::$kind, meta, parents, hostnames: $hostnames, status }
            }
        }
    )*};
}

routes! {
    HTTPRoute: |route| route.spec.hostnames.as_deref().unwrap_or_default();
    GRPCRoute: |route| route.spec.hostnames.as_deref().unwrap_or_default();
    TLSRoute: |route| &route.spec.hostnames;
    TCPRoute: |route| &[];
    UDPRoute: |route| &[];
}

impl<'a> Route<'a> {
    pub fn namespace(&self) -> &'a str {
        self.meta.namespace.as_deref().unwrap_or_default()
    }

    /// What one of HTTP and gRPC has of a listener's hosts, the other may not have.
    fn rival(&self) -> Option<StatusKind> {
        match self.kind {
            StatusKind::HTTPRoute => Some(StatusKind::GRPCRoute),
            StatusKind::GRPCRoute => Some(StatusKind::HTTPRoute),
            _ => None,
        }
    }
}

/// What routes may attach to, and when.
pub(super) struct Parents<'a> {
    pub snapshot: &'a Snapshot,
    pub options: &'a Options,
    /// Every listener, of every Gateway of ours.
    pub listeners: Vec<State<'a>>,
    /// ListenerSets of our Gateways that are not let in.
    pub refused: Vec<&'a ListenerSet>,
    /// Where Services' addresses are served: routes may attach to them.
    pub services: Option<&'a Services<'a>>,
    pub now: Timestamp,
}

/// Where a route attaches at one parent.
enum Places<'a> {
    Listeners(Vec<(usize, String)>),
    Ports(Vec<Port<'a>>),
}

/// Where a route is attached.
pub(super) struct Attached<'a> {
    /// Listeners (by index) and the host name that the route is served under there, each once.
    pub places: Vec<(usize, String)>,
    /// Ports of Services at whose addresses the route's rules apply, each once.
    pub ports: Vec<Port<'a>>,
    /// The status to write, if it is not what the route has.
    pub status: Option<StatusUpdate>,
}

impl<'a> Parents<'a> {
    /// Finds where a route attaches and writes what each of our parents says of it. Of routes that cannot have the same host,
    /// the one that comes first has it: they are given in order of age.
    pub fn attach(&mut self, route: Route<'a>, built: &Built) -> Attached<'a> {
        let (mut attached, mut ports) = (Vec::new(), Vec::new());
        let old = route.status.map(|s| s.parents.as_slice()).unwrap_or_default();
        let is_own = |parent: &RouteParentStatus| *parent.controller_name == *self.options.controller;
        let mut parents: Vec<_> = old.iter().filter(|parent| !is_own(parent)).cloned().collect();
        for parent in route.parents {
            let Some(outcome) = self.at(route, parent) else { continue };
            let said = say_parent(built, outcome.as_ref().err());
            let known = old.iter().find(|p| is_own(p) && p.parent_ref == *parent);
            let known = known.map(|p| p.conditions.as_slice()).unwrap_or_default();
            parents.push(RouteParentStatus {
                parent_ref: parent.clone(),
                controller_name: self.options.controller.to_string(),
                conditions: conditions(known, said, route.meta.generation, self.now),
            });
            match outcome {
                Ok(Places::Listeners(places)) => attached.extend(places),
                Ok(Places::Ports(found)) => ports.extend(found),
                Err(_) => {}
            }
        }
        attached.sort();
        attached.dedup();
        ports.sort_unstable();
        ports.dedup();
        self.count(route, &attached);
        let status = RouteStatus { parents };
        let concerns_us = route.status.is_some() || !status.parents.is_empty();
        let status = if concerns_us { update(route.kind, route.meta, route.status, &status) } else { None };
        Attached { places: attached, ports, status }
    }

    /// Where a route attaches at one parent, or why not; `None` if the parent is not ours.
    fn at(&self, route: Route<'a>, parent: &'a ParentReference) -> Option<Result<Places<'a>, Said>> {
        if mesh::is_service(parent) && route.rival().is_some() {
            let found = mesh::ports(self.services?, parent, route.namespace(), self.options.callers_known);
            return Some(found.map(Places::Ports));
        }
        if parent.group.as_deref().unwrap_or(GROUP) != GROUP {
            return None;
        }
        let kind = parent.kind.as_deref().unwrap_or("Gateway");
        let namespace = parent.namespace.as_deref().unwrap_or(route.namespace());
        let is_it = |kind_of: StatusKind, meta: &ObjectMeta| {
            kind_of.name() == kind
                && meta.namespace.as_deref() == Some(namespace)
                && meta.name.as_deref() == Some(&parent.name)
        };
        let of_it =
            |(index, state): (usize, &State<'_>)| is_it(state.owner.kind(), state.owner.meta()).then_some(index);
        let found: Vec<_> = self.listeners.iter().enumerate().filter_map(of_it).collect();
        if !found.is_empty() {
            return Some(self.places(route, parent, &found).map(Places::Listeners));
        }
        let refused = self.refused.iter().any(|set| is_it(StatusKind::ListenerSet, &set.metadata));
        refused.then(|| Err(say("Accepted", false, "NoMatchingParent", "the ListenerSet is not let in by its Gateway")))
    }

    fn places(
        &self,
        route: Route<'_>,
        parent: &ParentReference,
        found: &[usize],
    ) -> Result<Vec<(usize, String)>, Said> {
        let no = |reason, message: &str| Err(say("Accepted", false, reason, message));
        let named = |s: &State<'_>| {
            parent.section_name.as_ref().is_none_or(|n| *n == s.listener.name)
                && parent.port.is_none_or(|p| p == s.listener.port)
        };
        let candidates: Vec<_> =
            found.iter().filter_map(|i| Some((*i, self.listeners.get(*i)?))).filter(|(_, s)| named(s)).collect();
        if candidates.is_empty() {
            return no("NoMatchingParent", "the parent has no listener of that name and port");
        }
        let allows = |s: &State<'_>| s.usable() && s.allows(route.kind, route.namespace(), self.snapshot);
        let allowed: Vec<_> = candidates.into_iter().filter(|(_, s)| allows(s)).collect();
        if allowed.is_empty() {
            return no("NotAllowedByListeners", "no valid listener allows this route's namespace and kind");
        }
        let any = [String::new()];
        let hosts = if route.hostnames.is_empty() { &any } else { route.hostnames };
        let mut places = Vec::new();
        for (index, state) in allowed {
            let lower = hosts.iter().map(|host| host.to_ascii_lowercase());
            places.extend(lower.filter_map(|host| Some((index, intersect(&state.hostname, &host)?.to_owned()))));
        }
        if places.is_empty() {
            return no("NoMatchingListenerHostname", "no hostname of the route is one of a listener's");
        }
        if let Some(rival) = route.rival() {
            let overlap = |(index, host): &(usize, String)| {
                let taken = self.listeners.get(*index).into_iter().flat_map(|state| &state.taken);
                taken.into_iter().any(|(kind, taken)| *kind == rival && intersect(taken, host).is_some())
            };
            if let Some((_, host)) = places.iter().find(|place| overlap(place)) {
                let host = if host.is_empty() { "every host" } else { host };
                return no("HostnameConflict", &format!("an older {} has {host} on the same listener", rival.name()));
            }
        }
        Ok(places)
    }

    /// Counts a route at each listener once, and notes what hosts it has there.
    fn count(&mut self, route: Route<'_>, attached: &[(usize, String)]) {
        let mut last = None;
        for (index, host) in attached {
            let Some(state) = self.listeners.get_mut(*index) else { continue };
            if last.replace(*index) != Some(*index) {
                state.attached += 1;
            }
            if route.rival().is_some() {
                state.taken.push((route.kind, host.clone()));
            }
        }
    }
}

fn say_parent(built: &Built, refused: Option<&Said>) -> Vec<Said> {
    let faults: Vec<_> = built.invalid.iter().map(|fault| fault.message.as_str()).collect();
    let faults = faults.join("; ");
    let accepted = match (refused, built.invalid.first()) {
        (Some(refused), _) => refused.clone(),
        (None, Some(fault)) if built.valid == 0 => say("Accepted", false, fault.reason, faults.clone()),
        _ => say("Accepted", true, "Accepted", "the route is served"),
    };
    let resolved = match &built.unresolved {
        Some((reason, message)) => say("ResolvedRefs", false, reason, message),
        None => say("ResolvedRefs", true, "ResolvedRefs", "all references are resolved"),
    };
    let mut said = vec![accepted, resolved];
    if built.valid > 0 && !built.invalid.is_empty() {
        said.push(say("PartiallyInvalid", true, "UnsupportedValue", faults));
    }
    said
}
