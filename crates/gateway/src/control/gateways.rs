//! Gateways and their classes: which are ours, and what their statuses say.

use std::sync::Arc;

use jiff::Timestamp;
use objects::gateway::{
    Gateway, GatewayAddress, GatewayClass, GatewayClassStatus, GatewayStatus, ListenerSet, SupportedFeature,
};

use super::{
    Options, Snapshot,
    compile::age,
    features::FEATURES,
    frontends, listener_sets,
    listeners::{Owner, State},
    status::{Said, StatusKind, StatusUpdate, conditions, say, update},
};

/// Gateways of our classes, oldest first.
pub(super) fn ours<'a>(snapshot: &'a Snapshot, options: &Options) -> Vec<&'a Gateway> {
    let classes = snapshot.classes.iter().filter(|c| *c.spec.controller_name == *options.controller);
    let classes: Vec<_> = classes.filter_map(|c| c.metadata.name.as_deref()).collect();
    let served = snapshot.gateways.iter().map(|g| &**g);
    let served = served.filter(|g| classes.contains(&g.spec.gateway_class_name.as_str()));
    let mut gateways: Vec<_> = served.filter(|g| g.metadata.deletion_timestamp.is_none()).collect();
    gateways.sort_by_cached_key(|g| age(&g.metadata));
    gateways
}

pub(super) fn classes(snapshot: &Snapshot, options: &Options, now: Timestamp) -> Vec<StatusUpdate> {
    let served = snapshot.classes.iter().filter(|c| *c.spec.controller_name == *options.controller);
    let judge = |class: &Arc<GatewayClass>| {
        let said = if class.spec.parameters_ref.is_some() {
            say("Accepted", false, "InvalidParameters", "parametersRef is not supported yet")
        } else {
            say("Accepted", true, "Accepted", "the class is served by this controller")
        };
        let old = class.status.as_ref().and_then(|s| s.conditions.as_deref()).unwrap_or_default();
        let conditions = Some(conditions(old, vec![said], class.metadata.generation, now));
        let features = FEATURES.iter().map(|name| SupportedFeature { name: (*name).to_owned() }).collect();
        let status = GatewayClassStatus { conditions, supported_features: Some(features) };
        update(StatusKind::GatewayClass, &class.metadata, class.status.as_ref(), &status)
    };
    served.filter_map(judge).collect()
}

/// What a Gateway's status says of it, of its own listeners and of the ListenerSets that it has let in.
pub(super) fn status(
    gateway: &Gateway,
    sets: &[&ListenerSet],
    states: &[State<'_>],
    reached: (Vec<GatewayAddress>, Option<String>),
    now: Timestamp,
) -> Option<StatusUpdate> {
    let all: Vec<_> = states.iter().filter(|s| std::ptr::eq(s.gateway, gateway)).collect();
    let own: Vec<_> = all.iter().copied().filter(|s| s.owner.is(Owner::Gateway(gateway))).collect();
    let (generation, old) = (gateway.metadata.generation, gateway.status.clone().unwrap_or_default());
    let old_listeners = old.listeners.unwrap_or_default();
    let listeners = Some(own.iter().map(|state| state.status(&old_listeners, now)).collect());
    let (reached, unusable) = reached;
    let mut said = vec![accepted(gateway, &own), programmed(&all, &reached, unusable), resolved(&all, &own)];
    if frontends::is_insecure(gateway) {
        let message = "AllowInsecureFallback: clients are taken whose certificates are missing or not valid";
        said.push(say("InsecureFrontendValidationMode", true, "ConfigurationChanged", message));
    }
    let addresses = (!reached.is_empty() && all.iter().any(|s| s.programmed())).then_some(reached);
    let conditions = Some(conditions(old.conditions.as_deref().unwrap_or_default(), said, generation, now));
    let attached = sets.iter().filter(|set| listener_sets::accepted(set, states)).count();
    let attached_listener_sets = i32::try_from(attached).ok();
    let status = GatewayStatus { addresses, conditions, listeners, attached_listener_sets };
    update(StatusKind::Gateway, &gateway.metadata, gateway.status.as_ref(), &status)
}

fn accepted(gateway: &Gateway, own: &[&State<'_>]) -> Said {
    if gateway.spec.infrastructure.as_ref().is_some_and(|infrastructure| infrastructure.parameters_ref.is_some()) {
        return say("Accepted", false, "InvalidParameters", "infrastructure.parametersRef is not supported");
    }
    let types = gateway.spec.addresses.iter().flatten().filter_map(|a| a.type_.as_deref());
    if types.into_iter().any(|t| t != "IPAddress") {
        return say("Accepted", false, "UnsupportedAddress", "only addresses of type IPAddress are supported");
    }
    let valid = own.iter().filter(|s| s.accepted()).count();
    let message = format!("{valid} of {} listeners are valid", own.len());
    match valid {
        0 => say("Accepted", false, "ListenersNotValid", message),
        n if n < own.len() => say("Accepted", true, "ListenersNotValid", message),
        _ => say("Accepted", true, "Accepted", "all listeners are valid"),
    }
}

/// What the Gateway itself refers to, and a summary of the listeners' conditions of the same name.
fn resolved(all: &[&State<'_>], own: &[&State<'_>]) -> Said {
    if let Some((reason, message)) = all.first().and_then(|state| state.shown.failed.as_ref()) {
        return say("ResolvedRefs", false, reason, format!("tls.backend.clientCertificateRef: {message}"));
    }
    let failed = own.iter().find(|state| !state.resolved().0);
    match failed {
        Some(state) => {
            let message = format!("listener {}: {}", state.listener.name, state.resolved().2);
            say("ResolvedRefs", false, "ListenersNotResolved", message)
        }
        None => say("ResolvedRefs", true, "ResolvedRefs", "all references are resolved"),
    }
}

fn programmed(all: &[&State<'_>], reached: &[GatewayAddress], unusable: Option<String>) -> Said {
    if let Some(unusable) = unusable {
        return say("Programmed", false, "AddressNotUsable", unusable);
    }
    if reached.is_empty() {
        return say("Programmed", false, "AddressNotAssigned", "the Service in front has no address yet");
    }
    if all.iter().any(|s| s.programmed()) {
        let known: Vec<_> = reached.iter().filter_map(|address| address.value.as_deref()).collect();
        return say("Programmed", true, "Programmed", format!("served at {}", known.join(", ")));
    }
    let message = all.iter().find_map(|s| s.unbound.clone()).unwrap_or_else(|| "no listener is valid".to_owned());
    say("Programmed", false, "Invalid", message)
}
