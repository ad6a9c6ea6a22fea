//! What the `backendRefs` of routes lead to.

use std::sync::Arc;

use objects::gateway::BackendObjectReference;

use super::{clusters, compile::Context, grants, services, status::StatusKind};
use crate::{
    balance::Policy,
    table::{Cluster, Upstream},
};

/// Why a reference leads nowhere: the reason of `ResolvedRefs=False` and the message.
pub(super) type Unresolved = (&'static str, String);

/// The cluster of a Service port that a route of this kind and namespace refers to. A GRPCRoute speaks HTTP/2 with it, an
/// HTTPRoute what its `appProtocol` says, and the others whatever the client does.
///
/// # Errors
/// With the reasons of the specification: `InvalidKind`, `RefNotPermitted`, `BackendNotFound`, `UnsupportedProtocol`.
pub(super) fn resolve(
    object: &BackendObjectReference,
    (route, from): (StatusKind, &str),
    context: &mut Context<'_>,
) -> Result<Arc<Cluster>, Unresolved> {
    let (group, kind) = (object.group.as_deref().unwrap_or_default(), object.kind.as_deref().unwrap_or("Service"));
    if !group.is_empty() || kind != "Service" {
        return Err(("InvalidKind", format!("backend {} is a {kind} of group {group:?}, not a Service", object.name)));
    }
    let namespace = object.namespace.as_deref().unwrap_or(from);
    let to = ("", "Service", namespace, object.name.as_str());
    let called = context.called.contains(&(namespace, object.name.as_str()));
    if namespace != from && !called && !grants::permitted(context.snapshot, (route.name(), from), to) {
        let (route, name) = (route.name(), &object.name);
        let message = format!("no ReferenceGrant in {namespace} lets {route}s of {from} refer to Service {name}");
        return Err(("RefNotPermitted", message));
    }
    let Some(service) = context.services.get(&(namespace, object.name.as_str())).copied() else {
        return Err(("BackendNotFound", format!("Service {namespace}/{} does not exist", object.name)));
    };
    let ports = service.spec.iter().flat_map(|spec| spec.ports.iter().flatten());
    // TCP and UDP may share a number.
    let transport = |protocol: Option<&str>| (protocol == Some("UDP")) == (route == StatusKind::UDPRoute);
    let of_number = ports.filter(|p| Some(p.port) == object.port && transport(p.protocol.as_deref()));
    let Some(port) = of_number.into_iter().next() else {
        let wanted = object.port.map_or_else(|| "(none given)".to_owned(), |p| p.to_string());
        return Err(("BackendNotFound", format!("Service {namespace}/{} has no port {wanted}", object.name)));
    };
    let inside = match route {
        StatusKind::GRPCRoute => Some(Upstream::Http2),
        StatusKind::HTTPRoute => Some(clusters::spoken(port).unwrap_or_default()),
        _ => None,
    };
    let port_name = port.name.as_deref().unwrap_or_default();
    let tls = match context.encrypts(route) {
        true => context.policies.get((namespace, &object.name), port_name, inside)?,
        false => None,
    };
    if let (StatusKind::HTTPRoute, Err(other)) = (route, clusters::spoken(port))
        && (tls.is_none() || !clusters::says_tls(other))
    {
        let service = format!("Service {namespace}/{}", object.name);
        let hint = if clusters::says_tls(other) { " without a BackendTLSPolicy that says whom to trust" } else { "" };
        let message = format!("appProtocol {other} of {service} is not spoken with backends{hint}");
        return Err(("UnsupportedProtocol", message));
    }
    let policy = if context.inside { services::policy(service) } else { Policy::EDGE };
    Ok(context.clusters.get(&context.slices, service, port, inside.unwrap_or_default(), &policy, tls))
}
