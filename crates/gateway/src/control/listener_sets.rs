//! ListenerSets: which of them a Gateway lets in, and what their status says.

use jiff::Timestamp;
use objects::gateway::{GROUP, Gateway, ListenerSet, ListenerSetStatus};

use super::{
    Snapshot,
    compile::age,
    listeners::{Owner, State, admits},
    status::{Said, StatusKind, StatusUpdate, conditions, say, update},
};

/// The ListenerSets that name a Gateway, in order of precedence (the oldest first): those it lets in, and the others.
pub(super) fn of<'a>(gateway: &Gateway, snapshot: &'a Snapshot) -> (Vec<&'a ListenerSet>, Vec<&'a ListenerSet>) {
    let named = snapshot.listener_sets.iter().map(|set| &**set);
    let named = named.filter(|set| set.metadata.deletion_timestamp.is_none() && names(set, gateway));
    let mut named: Vec<_> = named.collect();
    named.sort_by_cached_key(|set| age(&set.metadata));
    named.into_iter().partition(|set| is_let_in(set, gateway, snapshot))
}

fn names(set: &ListenerSet, gateway: &Gateway) -> bool {
    let (parent, meta) = (&set.spec.parent_ref, &gateway.metadata);
    parent.group.as_deref().unwrap_or(GROUP) == GROUP
        && parent.kind.as_deref().unwrap_or("Gateway") == "Gateway"
        && meta.name.as_deref() == Some(&parent.name)
        && meta.namespace.as_deref() == parent.namespace.as_deref().or(set.metadata.namespace.as_deref())
}

fn is_let_in(set: &ListenerSet, gateway: &Gateway, snapshot: &Snapshot) -> bool {
    let namespaces = gateway.spec.allowed_listeners.as_ref().and_then(|allowed| allowed.namespaces.as_ref());
    let from = namespaces.and_then(|n| n.from.as_deref()).unwrap_or("None");
    let own = Owner::Gateway(gateway).namespace();
    admits((from, namespaces.and_then(|n| n.selector.as_ref())), own, Owner::Set(set).namespace(), snapshot)
}

/// Whether a ListenerSet that was let in is accepted: one valid listener suffices.
pub(super) fn accepted(set: &ListenerSet, states: &[State<'_>]) -> bool {
    states.iter().any(|state| state.owner.is(Owner::Set(set)) && state.accepted())
}

/// The status of a ListenerSet that was let in.
pub(super) fn status(set: &ListenerSet, states: &[State<'_>], now: Timestamp) -> Option<StatusUpdate> {
    let own: Vec<_> = states.iter().filter(|state| state.owner.is(Owner::Set(set))).collect();
    let valid = own.iter().filter(|state| state.accepted()).count();
    let message = format!("{valid} of {} listeners are valid", own.len());
    let accepted = match valid {
        0 => say("Accepted", false, "ListenersNotValid", message.clone()),
        n if n < own.len() => say("Accepted", true, "ListenersNotValid", message.clone()),
        _ => say("Accepted", true, "Accepted", "all listeners are valid"),
    };
    let programmed = if own.iter().any(|state| state.programmed()) {
        say("Programmed", true, "Programmed", "the listeners are served")
    } else if valid == 0 {
        say("Programmed", false, "ListenersNotValid", message)
    } else {
        let unbound = own.iter().find_map(|state| state.unbound.clone());
        say("Programmed", false, "Invalid", unbound.unwrap_or_else(|| "no listener can be served".to_owned()))
    };
    let old = set.status.clone().unwrap_or_default();
    let old_listeners = old.listeners.unwrap_or_default();
    let listeners = own.iter().map(|state| state.status(&old_listeners, now)).collect();
    written(set, vec![accepted, programmed], Some(listeners), now)
}

/// The status of a ListenerSet that its Gateway does not let in.
pub(super) fn refused(set: &ListenerSet, now: Timestamp) -> Option<StatusUpdate> {
    let why = "the Gateway's allowedListeners does not let in this namespace";
    let said = ["Accepted", "Programmed"].map(|condition| say(condition, false, "NotAllowed", why));
    written(set, said.into(), None, now)
}

fn written(
    set: &ListenerSet,
    said: Vec<Said>,
    listeners: Option<Vec<objects::gateway::ListenerStatus>>,
    now: Timestamp,
) -> Option<StatusUpdate> {
    let old = set.status.as_ref().and_then(|status| status.conditions.as_deref()).unwrap_or_default();
    let conditions = Some(conditions(old, said, set.metadata.generation, now));
    let status = ListenerSetStatus { conditions, listeners };
    update(StatusKind::ListenerSet, &set.metadata, set.status.as_ref(), &status)
}
