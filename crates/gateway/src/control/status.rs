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

/// The types of conditions that are written here: one that is not said any more goes, those of others stay.
pub(super) const OURS: &[&str] = &[
    "Accepted",
    "Conflicted",
    "InsecureFrontendValidationMode",
    "OverlappingTLSConfig",
    "PartiallyInvalid",
    "Programmed",
    "ResolvedRefs",
];

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
    let others = old.iter().filter(|condition| !OURS.contains(&condition.type_.as_str())).cloned();
    said.into_iter().map(build).chain(others).collect()
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

#[cfg(test)]
mod tests {
    use super::*;

    fn condition(type_: &str, status: &str) -> Condition {
        Condition {
            type_: type_.to_owned(),
            status: status.to_owned(),
            reason: "Before".to_owned(),
            message: String::new(),
            observed_generation: Some(1),
            last_transition_time: Time(Timestamp::UNIX_EPOCH),
        }
    }

    #[test]
    fn conditions_of_others_stay_and_times_move_with_the_status() {
        let now = "2026-01-01T00:00:00Z".parse().unwrap();
        let old =
            [condition("Accepted", "True"), condition("Programmed", "False"), condition("PartiallyInvalid", "True")];
        let old = [&old[..], &[condition("example.com/Own", "True")]].concat();
        let said = vec![say("Accepted", true, "Accepted", ""), say("Programmed", true, "Programmed", "")];
        let new = conditions(&old, said, Some(2), now);
        let shown: Vec<_> =
            new.iter().map(|c| (c.type_.as_str(), c.reason.as_str(), c.last_transition_time.0)).collect();
        let epoch = Timestamp::UNIX_EPOCH;
        let expected =
            [("Accepted", "Accepted", epoch), ("Programmed", "Programmed", now), ("example.com/Own", "Before", epoch)];
        assert_eq!(shown, expected);
    }
}
