//! TLSRoute, TCPRoute and UDPRoute: which connections and datagrams go where, whatever they carry.

use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{BackendRef, ParentReference, RouteStatus};

/// What a TLSRoute asks for.
#[derive(CustomResource, Serialize, Deserialize, Clone, Debug, Default, PartialEq, JsonSchema)]
#[kube(
    group = "gateway.networking.k8s.io",
    version = "v1",
    kind = "TLSRoute",
    plural = "tlsroutes",
    namespaced,
    status = "RouteStatus",
    derive = "PartialEq",
    doc = "Sends TLS connections for some names to backends."
)]
#[serde(rename_all = "camelCase")]
pub struct TLSRouteSpec {
    /// Gateways or ListenerSets (or listeners of them) to attach to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent_refs: Option<Vec<ParentReference>>,
    /// Names that the client asks for (SNI); `*.` may stand for the first labels.
    pub hostnames: Vec<String>,
    /// Exactly one.
    pub rules: Vec<Layer4Rule>,
}

/// Where the connections or datagrams of a TLSRoute, TCPRoute or UDPRoute go.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Layer4Rule {
    /// For people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// By weight; the share of a backend that is invalid is refused.
    pub backend_refs: Vec<BackendRef>,
}

/// What a TCPRoute asks for.
#[derive(CustomResource, Serialize, Deserialize, Clone, Debug, Default, PartialEq, JsonSchema)]
#[kube(
    group = "gateway.networking.k8s.io",
    version = "v1",
    kind = "TCPRoute",
    plural = "tcproutes",
    namespaced,
    status = "RouteStatus",
    derive = "PartialEq",
    doc = "Sends the connections of a listener to backends."
)]
#[serde(rename_all = "camelCase")]
pub struct TCPRouteSpec {
    /// Gateways or ListenerSets (or listeners of them) to attach to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent_refs: Option<Vec<ParentReference>>,
    /// Exactly one.
    pub rules: Vec<Layer4Rule>,
}

/// What a UDPRoute asks for.
#[derive(CustomResource, Serialize, Deserialize, Clone, Debug, Default, PartialEq, JsonSchema)]
#[kube(
    group = "gateway.networking.k8s.io",
    version = "v1",
    kind = "UDPRoute",
    plural = "udproutes",
    namespaced,
    status = "RouteStatus",
    derive = "PartialEq",
    doc = "Sends the datagrams of a listener to backends."
)]
#[serde(rename_all = "camelCase")]
pub struct UDPRouteSpec {
    /// Gateways or ListenerSets (or listeners of them) to attach to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent_refs: Option<Vec<ParentReference>>,
    /// Exactly one.
    pub rules: Vec<Layer4Rule>,
}
