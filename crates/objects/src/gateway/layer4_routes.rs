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
    pub rules: Vec<TLSRouteRule>,
}

/// Where TLS connections go.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct TLSRouteRule {
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
    pub rules: Vec<TCPRouteRule>,
}

/// Where connections go.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct TCPRouteRule {
    /// For people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// By weight; the share of a backend that is invalid is refused.
    pub backend_refs: Vec<BackendRef>,
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
    pub rules: Vec<UDPRouteRule>,
}

/// Where datagrams go.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct UDPRouteRule {
    /// For people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// By weight; the share of a backend that is invalid is refused.
    pub backend_refs: Vec<BackendRef>,
}
