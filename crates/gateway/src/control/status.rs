//! Status conditions, and the updates to write.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, ObjectMeta, Time};
use serde::Serialize;
use serde_json::Value;

/// The kind a status belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StatusKind {
    /// `GatewayClass`.
    GatewayClass,
    /// `Gateway`.
    Gateway,
    /// `ListenerSet`.
    ListenerSet,
    /// `HTTPRoute`.
    HTTPRoute,
    /// `GRPCRoute`.
    GRPCRoute,
    /// `TLSRoute`.
    TLSRoute,
    /// `TCPRoute`.
    TCPRoute,
    /// `UDPRoute`.
    UDPRoute,
    /// `BackendTLSPolicy`.
    BackendTLSPolicy,
}

impl StatusKind {
    /// As in `kind`.
    pub fn name(self) -> &'static str {
        match self {
            Self::GatewayClass => "GatewayClass",
            Self::Gateway => "Gateway",
            Self::ListenerSet => "ListenerSet",
            Self::HTTPRoute => "HTTPRoute",
            Self::GRPCRoute => "GRPCRoute",
            Self::TLSRoute => "TLSRoute",
            Self::TCPRoute => "TCPRoute",
            Self::UDPRoute => "UDPRoute",
            Self::BackendTLSPolicy => "BackendTLSPolicy",
        }
    }
}

/// A status that differs from the one the object has.
#[derive(Debug, Clone, PartialEq)]
pub struct StatusUpdate {
    /// Kind.
    pub kind: StatusKind,
    /// Namespace; `None` for a GatewayClass.
    pub namespace: Option<String>,
    /// Name.
    pub name: String,
    /// The version it was computed from; a write against a newer one conflicts, and is computed again.
    pub resource_version: Option<String>,
    /// The whole status.
    pub status: Value,
}

/// A condition before its times are known.
#[derive(Debug, Clone)]
pub(super) struct Said {
    pub type_: &'static str,
    pub status: bool,
    pub reason: &'static str,
    pub message: String,
}

/// Shorthand for a condition.
pub(super) fn say(type_: &'static str, status: bool, reason: &'static str, message: impl Into<String>) -> Said {
    Said { type_, status, reason, message: message.into() }
}

/// Conditions as written: the transition time moves only when the status does.
pub(super) fn conditions(
    old: &[Condition],
    said: Vec<Said>,
    generation: Option<i64>,
    now: Timestamp,
) -> Vec<Condition> {
    let build = |said: Said| {
        let status = if said.status { "True" } else { "False" };
        let kept = old.iter().find(|c| c.type_ == said.type_ && c.status == status);
        Condition {
            type_: said.type_.to_owned(),
            status: status.to_owned(),
            reason: said.reason.to_owned(),
            message: said.message,
            observed_generation: generation,
            last_transition_time: kept.map_or(Time(now), |c| c.last_transition_time.clone()),
        }
    };
    said.into_iter().map(build).collect()
}

/// The update to write, unless the object already says so.
pub(super) fn update<S: Serialize + PartialEq>(
    kind: StatusKind,
    meta: &ObjectMeta,
    old: Option<&S>,
    new: &S,
) -> Option<StatusUpdate> {
    if old == Some(new) {
        return None;
    }
    let (name, status) = (meta.name.clone()?, serde_json::to_value(new).ok()?);
    let resource_version = meta.resource_version.clone();
    Some(StatusUpdate { kind, namespace: meta.namespace.clone(), name, resource_version, status })
}
