//! TLSRoutes, TCPRoutes and UDPRoutes: where they are attached, and what their backends come to.

use std::sync::Arc;

use objects::gateway::{BackendRef, Layer4Rule};

use super::{
    attach::{Parents, Route},
    backends::resolve,
    compile::{Context, age},
    listeners::{State, ends_tls},
    routes::Built,
    status::StatusUpdate,
};
use crate::table::{Share, Split};

/// A route at one listener.
#[derive(Debug, Clone)]
pub(super) struct Placed {
    /// Position among the listeners of [`Parents`].
    pub listener: usize,
    /// What of the listener's and the route's names belongs to both; empty for every one.
    pub hostname: String,
    /// What it leads to.
    pub split: Arc<Split>,
}

/// Attaches every such route, the oldest first: of routes that are placed alike, the first is served.
pub(super) fn attach(context: &mut Context<'_>, parents: &mut Parents<'_>) -> (Vec<Placed>, Vec<StatusUpdate>) {
    let snapshot = parents.snapshot;
    let tls = snapshot.tls_routes.iter().map(|r| (Route::from(&**r), refs(&r.spec.rules)));
    let tcp = snapshot.tcp_routes.iter().map(|r| (Route::from(&**r), refs(&r.spec.rules)));
    let udp = snapshot.udp_routes.iter().map(|r| (Route::from(&**r), refs(&r.spec.rules)));
    let mut routes: Vec<_> = tls.chain(tcp).chain(udp).map(|(route, refs)| (age(route.meta), route, refs)).collect();
    routes.sort_by(|a, b| a.0.cmp(&b.0));
    let (mut placed, mut statuses) = (Vec::new(), Vec::new());
    for (_, route, refs) in routes {
        let (built, split) = build(route, &refs, context);
        let attached = parents.attach(route, &built);
        statuses.extend(attached.status);
        for (listener, hostname) in attached.places {
            let Some(state) = parents.listeners.get(listener) else { continue };
            let split = if ends_tls(state.listener) { inside_tls(route, &refs, state, context) } else { split.clone() };
            placed.push(Placed { listener, hostname, split });
        }
    }
    (placed, statuses)
}

/// What a route leads to where TLS of clients ends.
fn inside_tls(route: Route<'_>, refs: &[&BackendRef], state: &State<'_>, context: &mut Context<'_>) -> Arc<Split> {
    context.ended = true;
    context.policies.shown_by(state.shown.keys.first().cloned());
    let (_, split) = build(route, refs, context);
    context.policies.shown_by(None);
    context.ended = false;
    let policies = context.policies.touched();
    context.policies.affects(&policies, state.gateway);
    split
}

/// The backends of every rule; the API takes only one rule.
fn refs(rules: &[Layer4Rule]) -> Vec<&BackendRef> {
    rules.iter().flat_map(|rule| &rule.backend_refs).collect()
}

fn build(route: Route<'_>, refs: &[&BackendRef], context: &mut Context<'_>) -> (Built, Arc<Split>) {
    let namespace = route.meta.namespace.as_deref().unwrap_or_default();
    let mut built = Built { valid: 1, ..Built::default() };
    let mut split = Split::default();
    for wanted in refs {
        let cluster = resolve(&wanted.object, (route.kind, namespace), context).map_err(|problem| {
            built.unresolved.get_or_insert(problem);
        });
        let weight = u32::try_from(wanted.weight.unwrap_or(1)).unwrap_or(0);
        split.shares.push(Share { weight, cluster: cluster.ok() });
    }
    (built, Arc::new(split))
}
