//! Snapshots of the cluster from manifests.

use std::sync::Arc;

use gateway::control::Snapshot;
use serde::de::DeserializeOwned;
use serde_json::Value;

fn typed<T: DeserializeOwned>(value: &Value) -> Arc<T> {
    Arc::new(serde_json::from_value(value.clone()).unwrap())
}

/// Everything that the manifests hold.
pub fn snapshot(yaml: &str) -> Snapshot {
    let mut snapshot = Snapshot::default();
    for object in serde_saphyr::from_multiple::<Value>(yaml).unwrap() {
        match object["kind"].as_str().unwrap() {
            "GatewayClass" => snapshot.classes.push(typed(&object)),
            "Gateway" => snapshot.gateways.push(typed(&object)),
            "ListenerSet" => snapshot.listener_sets.push(typed(&object)),
            "HTTPRoute" => snapshot.routes.push(typed(&object)),
            "GRPCRoute" => snapshot.grpc_routes.push(typed(&object)),
            "TLSRoute" => snapshot.tls_routes.push(typed(&object)),
            "TCPRoute" => snapshot.tcp_routes.push(typed(&object)),
            "UDPRoute" => snapshot.udp_routes.push(typed(&object)),
            "BackendTLSPolicy" => snapshot.backend_tls.push(typed(&object)),
            "ConfigMap" => snapshot.config_maps.push(typed(&object)),
            "ReferenceGrant" => snapshot.grants.push(typed(&object)),
            "Service" => snapshot.services.push(typed(&object)),
            "EndpointSlice" => snapshot.slices.push(typed(&object)),
            "Secret" => snapshot.secrets.push(typed(&object)),
            "Namespace" => snapshot.namespaces.push(typed(&object)),
            other => panic!("unexpected kind {other}"),
        }
    }
    snapshot
}
