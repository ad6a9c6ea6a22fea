//! GRPCRoute: which gRPC calls go where, and what is changed on the way.

use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    BackendObjectReference, HTTPBackendRef, HTTPHeaderFilter, HTTPRequestMirrorFilter, HTTPRouteFilter, HTTPRouteRule,
    HTTPValueMatch, LocalObjectReference, ParentReference, RouteStatus, SessionPersistence,
};

/// What a GRPCRoute asks for.
#[derive(CustomResource, Serialize, Deserialize, Clone, Debug, Default, PartialEq, JsonSchema)]
#[kube(
    group = "gateway.networking.k8s.io",
    version = "v1",
    kind = "GRPCRoute",
    plural = "grpcroutes",
    namespaced,
    status = "RouteStatus",
    derive = "PartialEq",
    doc = "Rules that send gRPC calls of some hosts to backends."
)]
#[serde(rename_all = "camelCase")]
pub struct GRPCRouteSpec {
    /// Gateways, ListenerSets or Services (or listeners and ports of them) to attach to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent_refs: Option<Vec<ParentReference>>,
    /// Hosts served; `*.` may stand for the first labels; absent means the listener's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hostnames: Option<Vec<String>>,
    /// Absent means none: every call is refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rules: Option<Vec<GRPCRouteRule>>,
}

/// Conditions (any one must hold), changes, and backends.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct GRPCRouteRule {
    /// Unique in the route.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Any of these; absent means every call.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub matches: Option<Vec<GRPCRouteMatch>>,
    /// Changes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub filters: Option<Vec<GRPCRouteFilter>>,
    /// Where to send, by weight.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub backend_refs: Option<Vec<GRPCBackendRef>>,
    /// Keeps a client on one backend (experimental channel).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session_persistence: Option<SessionPersistence>,
}

/// All members must hold.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct GRPCRouteMatch {
    /// On the service and method; absent means every one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub method: Option<GRPCMethodMatch>,
    /// On headers; all must hold.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub headers: Option<Vec<HTTPValueMatch>>,
}

/// A condition on the called service and method, which are the request's path: `/service/method`.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct GRPCMethodMatch {
    /// `Exact` (the default) or `RegularExpression`.
    #[serde(rename = "type", default, skip_serializing_if = "Option::is_none")]
    pub type_: Option<String>,
    /// Service with its package; absent or empty means any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service: Option<String>,
    /// Method; absent or empty means any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub method: Option<String>,
}

/// One change; `type` says which member is set.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct GRPCRouteFilter {
    /// The name of the member, in upper camel case.
    #[serde(rename = "type")]
    pub type_: String,
    /// `RequestHeaderModifier`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request_header_modifier: Option<HTTPHeaderFilter>,
    /// `ResponseHeaderModifier`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub response_header_modifier: Option<HTTPHeaderFilter>,
    /// `RequestMirror`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request_mirror: Option<HTTPRequestMirrorFilter>,
    /// `ExtensionRef`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub extension_ref: Option<LocalObjectReference>,
}

/// A weighted backend with its own filters.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct GRPCBackendRef {
    /// The object.
    #[serde(flatten)]
    pub object: BackendObjectReference,
    /// Its share; absent is 1, and 0 receives nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub weight: Option<i32>,
    /// Changes for this backend alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub filters: Option<Vec<GRPCRouteFilter>>,
}

impl From<GRPCRouteFilter> for HTTPRouteFilter {
    fn from(filter: GRPCRouteFilter) -> Self {
        Self {
            type_: filter.type_,
            request_header_modifier: filter.request_header_modifier,
            response_header_modifier: filter.response_header_modifier,
            request_mirror: filter.request_mirror,
            extension_ref: filter.extension_ref,
            ..Self::default()
        }
    }
}

impl From<GRPCBackendRef> for HTTPBackendRef {
    fn from(backend: GRPCBackendRef) -> Self {
        let filters = backend.filters.map(|filters| filters.into_iter().map(HTTPRouteFilter::from).collect());
        Self { object: backend.object, weight: backend.weight, filters }
    }
}

/// Everything but the matches.
impl From<GRPCRouteRule> for HTTPRouteRule {
    fn from(rule: GRPCRouteRule) -> Self {
        Self {
            name: rule.name,
            filters: rule.filters.map(|filters| filters.into_iter().map(HTTPRouteFilter::from).collect()),
            backend_refs: rule.backend_refs.map(|backends| backends.into_iter().map(HTTPBackendRef::from).collect()),
            session_persistence: rule.session_persistence,
            ..Self::default()
        }
    }
}
