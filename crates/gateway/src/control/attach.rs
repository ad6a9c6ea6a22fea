//! Attaching a route to its parents, and the conditions that says so.

use jiff::Timestamp;
use objects::gateway::{GROUP, HTTPRoute, ParentReference, RouteParentStatus, RouteStatus};

use super::{
    CONTROLLER, Snapshot,
    hosts::intersect,
    listeners::State,
    routes::Built,
    status::{Said, conditions, say},
};

/// A listener (by index) and the host name a route is served under there.
pub(super) type Attachment = (usize, String);

/// Finds where a route attaches and writes what each of our parents says of it.
pub(super) fn attach(
    route: &HTTPRoute,
    built: &Built,
    listeners: &mut [State<'_>],
    snapshot: &Snapshot,
    now: Timestamp,
) -> (Vec<Attachment>, RouteStatus) {
    let mut attached: Vec<Attachment> = Vec::new();
    let old = route.status.as_ref().map(|s| s.parents.as_slice()).unwrap_or_default();
    let mut parents: Vec<_> = old.iter().filter(|p| p.controller_name != CONTROLLER).cloned().collect();
    for parent in route.spec.parent_refs.iter().flatten() {
        let found = at_gateway(route, parent, listeners);
        let Some(found) = found else { continue };
        let outcome = places(route, parent, &found, listeners, snapshot);
        let said = say_parent(built, outcome.as_ref().err());
        let known = old.iter().find(|p| p.controller_name == CONTROLLER && p.parent_ref == *parent);
        let known = known.map(|p| p.conditions.as_slice()).unwrap_or_default();
        parents.push(RouteParentStatus {
            parent_ref: parent.clone(),
            controller_name: CONTROLLER.to_owned(),
            conditions: conditions(known, said, route.metadata.generation, now),
        });
        attached.extend(outcome.unwrap_or_default());
    }
    attached.sort();
    attached.dedup();
    let mut counted: Vec<_> = attached.iter().map(|(index, _)| *index).collect();
    counted.dedup();
    for index in counted {
        if let Some(state) = listeners.get_mut(index) {
            state.attached += 1;
        }
    }
    (attached, RouteStatus { parents })
}

/// The listeners of the Gateway a parentRef names; `None` if it is not one of ours.
fn at_gateway(route: &HTTPRoute, parent: &ParentReference, listeners: &[State<'_>]) -> Option<Vec<usize>> {
    if parent.group.as_deref().unwrap_or(GROUP) != GROUP || parent.kind.as_deref().unwrap_or("Gateway") != "Gateway" {
        return None;
    }
    let namespace = parent.namespace.as_deref().or(route.metadata.namespace.as_deref());
    let of_it = |s: &State<'_>| {
        s.gateway.metadata.namespace.as_deref() == namespace && s.gateway.metadata.name.as_deref() == Some(&parent.name)
    };
    let found: Vec<_> = listeners.iter().enumerate().filter(|(_, s)| of_it(s)).map(|(i, _)| i).collect();
    (!found.is_empty()).then_some(found)
}

fn places(
    route: &HTTPRoute,
    parent: &ParentReference,
    found: &[usize],
    listeners: &[State<'_>],
    snapshot: &Snapshot,
) -> Result<Vec<Attachment>, Said> {
    let no = |reason, message: &str| Err(say("Accepted", false, reason, message));
    let named = |s: &State<'_>| {
        parent.section_name.as_ref().is_none_or(|n| *n == s.listener.name)
            && parent.port.is_none_or(|p| p == s.listener.port)
    };
    let candidates: Vec<_> =
        found.iter().filter_map(|i| Some((*i, listeners.get(*i)?))).filter(|(_, s)| named(s)).collect();
    if candidates.is_empty() {
        return no("NoMatchingParent", "the Gateway has no listener of that name and port");
    }
    let namespace = route.metadata.namespace.as_deref().unwrap_or_default();
    let allowed: Vec<_> = candidates.into_iter().filter(|(_, s)| s.usable() && s.allows(namespace, snapshot)).collect();
    if allowed.is_empty() {
        return no("NotAllowedByListeners", "no valid listener allows this route's namespace and kind");
    }
    let any = [String::new()];
    let hosts = route.spec.hostnames.as_deref().filter(|h| !h.is_empty()).unwrap_or(&any);
    let mut places = Vec::new();
    for (index, state) in allowed {
        let lower = hosts.iter().map(|host| host.to_ascii_lowercase());
        places.extend(lower.filter_map(|host| Some((index, intersect(&state.hostname, &host)?.to_owned()))));
    }
    if places.is_empty() {
        return no("NoMatchingListenerHostname", "no hostname of the route is one of a listener's");
    }
    Ok(places)
}

fn say_parent(built: &Built, refused: Option<&Said>) -> Vec<Said> {
    let faults: Vec<_> = built.invalid.iter().map(|fault| fault.message.as_str()).collect();
    let faults = faults.join("; ");
    let accepted = match (refused, built.invalid.first()) {
        (Some(refused), _) => refused.clone(),
        (None, Some(fault)) if built.valid == 0 => say("Accepted", false, fault.reason, faults.clone()),
        _ if built.ignored.is_empty() => say("Accepted", true, "Accepted", "the route is served"),
        _ => say("Accepted", true, "Accepted", built.ignored.join("; ")),
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
