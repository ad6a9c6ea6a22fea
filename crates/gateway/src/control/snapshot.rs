//! Snapshots from objects as JSON, and what their compilation says of routes that are not served.

use std::sync::Arc;

use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;

use super::{Snapshot, StatusUpdate};

/// Groups and kinds that a snapshot is made of.
pub const KINDS: &[(&str, &str)] = &[
    ("", "ConfigMap"),
    ("", "Namespace"),
    ("", "Pod"),
    ("", "Secret"),
    ("", "Service"),
    ("discovery.k8s.io", "EndpointSlice"),
    ("gateway.networking.k8s.io", "BackendTLSPolicy"),
    ("gateway.networking.k8s.io", "GRPCRoute"),
    ("gateway.networking.k8s.io", "Gateway"),
    ("gateway.networking.k8s.io", "GatewayClass"),
    ("gateway.networking.k8s.io", "HTTPRoute"),
    ("gateway.networking.k8s.io", "ListenerSet"),
    ("gateway.networking.k8s.io", "ReferenceGrant"),
    ("gateway.networking.k8s.io", "TCPRoute"),
    ("gateway.networking.k8s.io", "TLSRoute"),
    ("gateway.networking.k8s.io", "UDPRoute"),
];

fn push<T: DeserializeOwned>(to: &mut Vec<Arc<T>>, object: Value) -> Result<(), serde_json::Error> {
    to.push(Arc::new(serde_json::from_value(object)?));
    Ok(())
}

impl Snapshot {
    /// Adds an object; `false` if it is of a kind that the gateway does not look at.
    ///
    /// # Errors
    /// What is wrong with the object.
    pub fn insert(&mut self, object: Value) -> Result<bool, serde_json::Error> {
        let group = text(&object, "apiVersion").split_once('/').map_or("", |(group, _)| group).to_owned();
        let kind = text(&object, "kind").to_owned();
        match (group.as_str(), kind.as_str()) {
            ("", "Service") => push(&mut self.services, object)?,
            ("", "Namespace") => push(&mut self.namespaces, object)?,
            ("", "Pod") => push(&mut self.pods, object)?,
            ("", "ConfigMap") => push(&mut self.config_maps, object)?,
            ("", "Secret") => push(&mut self.secrets, object)?,
            ("discovery.k8s.io", "EndpointSlice") => push(&mut self.slices, object)?,
            ("gateway.networking.k8s.io", kind) => match kind {
                "GatewayClass" => push(&mut self.classes, object)?,
                "Gateway" => push(&mut self.gateways, object)?,
                "ListenerSet" => push(&mut self.listener_sets, object)?,
                "HTTPRoute" => push(&mut self.routes, object)?,
                "GRPCRoute" => push(&mut self.grpc_routes, object)?,
                "TLSRoute" => push(&mut self.tls_routes, object)?,
                "TCPRoute" => push(&mut self.tcp_routes, object)?,
                "UDPRoute" => push(&mut self.udp_routes, object)?,
                "BackendTLSPolicy" => push(&mut self.backend_tls, object)?,
                "ReferenceGrant" => push(&mut self.grants, object)?,
                _ => return Ok(false),
            },
            _ => return Ok(false),
        }
        Ok(true)
    }
}

/// A condition that keeps requests from a listener or a route.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Unserved {
    /// `HTTPRoute namespace/name` or `Gateway namespace/name`.
    pub object: String,
    /// The parent that the route names, or the listener.
    pub part: String,
    /// The condition's reason.
    pub reason: String,
    /// The condition's message.
    pub message: String,
}

/// Why listeners and routes, or parts of them, are not served, from what is to be written into their statuses.
pub fn unserved(statuses: &[StatusUpdate]) -> Vec<Unserved> {
    let mut found = Vec::new();
    for update in statuses {
        let object = format!("{:?} {}/{}", update.kind, update.namespace.as_deref().unwrap_or_default(), update.name);
        let listeners = list(&update.status, "listeners").map(|listener| (text(listener, "name"), listener));
        let parents = list(&update.status, "parents")
            .map(|parent| (parent.get("parentRef").map(|parent| text(parent, "name")).unwrap_or_default(), parent));
        for (part, status) in listeners.chain(parents) {
            let keeps = |condition: &&Value| {
                matches!(text(condition, "type"), "Accepted" | "ResolvedRefs") && text(condition, "status") == "False"
            };
            found.extend(list(status, "conditions").filter(keeps).map(|condition| Unserved {
                object: object.clone(),
                part: part.to_owned(),
                reason: text(condition, "reason").to_owned(),
                message: text(condition, "message").to_owned(),
            }));
        }
    }
    found
}

fn list<'v>(value: &'v Value, key: &str) -> impl Iterator<Item = &'v Value> {
    value.get(key).and_then(Value::as_array).into_iter().flatten()
}

fn text<'v>(value: &'v Value, key: &str) -> &'v str {
    value.get(key).and_then(Value::as_str).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn every_kind_of_the_list_is_taken_and_no_other() {
        for (group, kind) in KINDS {
            let version = if group.is_empty() { "v1".to_owned() } else { format!("{group}/v1") };
            let object = |fields: Value| {
                let mut object =
                    json!({"apiVersion": version, "kind": kind, "metadata": {"name": "a"}, "spec": fields});
                object["addressType"] = "IPv4".into();
                object["endpoints"] = json!([]);
                object
            };
            // What is missing from a kind's fields is an error; only a kind that is not looked at is passed over.
            assert!(!matches!(Snapshot::default().insert(object(json!({}))), Ok(false)), "{kind}");
        }
        let other = json!({"apiVersion": "networking.istio.io/v1", "kind": "Gateway", "metadata": {"name": "a"}});
        assert!(!Snapshot::default().insert(other).unwrap());
    }
}
