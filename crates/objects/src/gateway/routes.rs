//! HTTPRoute: which requests go where, and what is changed on the way.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{BackendObjectReference, LocalObjectReference, ParentReference};

/// Builds the option structs of this file: every field may be absent, and is then not written.
macro_rules! optional {
    ($($(#[$doc:meta])* $name:ident { $($(#[$fdoc:meta])* $field:ident : $ty:ty),* $(,)? })*) => {$(
        $(#[$doc])*
        #[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, JsonSchema)]
        #[serde(rename_all = "camelCase")]
        pub struct $name {
            $($(#[$fdoc])*
            #[serde(default, skip_serializing_if = "Option::is_none")]
            pub $field: Option<$ty>,)*
        }
    )*};
}

/// What an HTTPRoute asks for.
#[derive(CustomResource, Serialize, Deserialize, Clone, Debug, Default, PartialEq, JsonSchema)]
#[kube(
    group = "gateway.networking.k8s.io",
    version = "v1",
    kind = "HTTPRoute",
    plural = "httproutes",
    namespaced,
    status = "RouteStatus",
    derive = "PartialEq",
    doc = "Rules that send HTTP requests of some hosts to backends."
)]
#[serde(rename_all = "camelCase")]
pub struct HTTPRouteSpec {
    /// Gateways (or listeners of them) to attach to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent_refs: Option<Vec<ParentReference>>,
    /// Hosts served; `*.` may stand for the first labels; absent means the listener's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hostnames: Option<Vec<String>>,
    /// At least one; absent means one rule that matches everything.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rules: Option<Vec<HTTPRouteRule>>,
}

optional! {
    /// Conditions (any one must hold), changes, and backends.
    HTTPRouteRule {
        /// Unique in the route.
        name: String,
        /// Any of these; absent means every request.
        matches: Vec<HTTPRouteMatch>,
        /// Changes, or an answer.
        filters: Vec<HTTPRouteFilter>,
        /// Where to send, by weight.
        backend_refs: Vec<HTTPBackendRef>,
        /// Limits on time.
        timeouts: HTTPRouteTimeouts,
        /// When to try again (experimental channel).
        retry: HTTPRouteRetry,
        /// Keeps a client on one backend (experimental channel).
        session_persistence: SessionPersistence,
    }
    /// All members must hold.
    HTTPRouteMatch {
        /// On the path; absent means prefix `/`.
        path: HTTPPathMatch,
        /// On headers; all must hold.
        headers: Vec<HTTPValueMatch>,
        /// On query parameters; all must hold.
        query_params: Vec<HTTPValueMatch>,
        /// On the method.
        method: String,
    }
    /// `timeouts` of a rule, as GEP-2257 durations.
    HTTPRouteTimeouts {
        /// For the whole exchange; `0s` is none.
        request: String,
        /// For one try at a backend; at most `request`.
        backend_request: String,
    }
    /// `retry` of a rule.
    HTTPRouteRetry {
        /// Statuses to retry on.
        codes: Vec<i32>,
        /// How many times.
        attempts: i32,
        /// The least time between tries.
        backoff: String,
    }
    /// `sessionPersistence` of a rule.
    SessionPersistence {
        /// Name of the cookie or header.
        session_name: String,
        /// Longest life of a session.
        absolute_timeout: String,
        /// Longest idle time of a session.
        idle_timeout: String,
        /// `Cookie` or `Header`.
        r#type: String,
        /// For `Cookie`.
        cookie_config: CookieConfig,
    }
    /// How a session's cookie lives.
    CookieConfig {
        /// `Session` or `Permanent`.
        lifetime_type: String,
    }
    /// Header changes: set, add, remove.
    HTTPHeaderFilter {
        /// Replace.
        set: Vec<HTTPHeader>,
        /// Append.
        add: Vec<HTTPHeader>,
        /// Remove.
        remove: Vec<String>,
    }
    /// A redirect; what is absent is taken from the request.
    HTTPRequestRedirectFilter {
        /// `http` or `https`.
        scheme: String,
        /// Host.
        hostname: String,
        /// Path.
        path: HTTPPathModifier,
        /// Port.
        port: i32,
        /// 301, 302 (the default), 303, 307 or 308.
        status_code: i32,
    }
    /// Changes to the request's host and path on the way to the backend.
    HTTPURLRewriteFilter {
        /// The new host.
        hostname: String,
        /// The new path.
        path: HTTPPathModifier,
    }
    /// Answers to cross-origin requests.
    HTTPCORSFilter {
        /// Origins allowed.
        allow_origins: Vec<String>,
        /// Whether credentials may be sent.
        allow_credentials: bool,
        /// Methods allowed.
        allow_methods: Vec<String>,
        /// Request headers allowed.
        allow_headers: Vec<String>,
        /// Response headers shown to scripts.
        expose_headers: Vec<String>,
        /// Seconds a preflight answer may be kept.
        max_age: i32,
    }
    /// A condition on the path.
    HTTPPathMatch {
        /// `Exact`, `PathPrefix` (the default) or `RegularExpression`.
        r#type: String,
        /// The path; absent is `/`.
        value: String,
    }
}

/// A condition on one header or query parameter.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, JsonSchema)]
pub struct HTTPValueMatch {
    /// `Exact` (the default) or `RegularExpression`.
    #[serde(rename = "type", default, skip_serializing_if = "Option::is_none")]
    pub type_: Option<String>,
    /// Name of the header (any case) or parameter (exact case).
    pub name: String,
    /// The value or expression.
    pub value: String,
}

/// One change or answer; `type` says which member is set.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct HTTPRouteFilter {
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
    /// `RequestRedirect`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request_redirect: Option<HTTPRequestRedirectFilter>,
    /// `URLRewrite`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url_rewrite: Option<HTTPURLRewriteFilter>,
    /// `CORS`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cors: Option<HTTPCORSFilter>,
    /// `ExtensionRef`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub extension_ref: Option<LocalObjectReference>,
}

/// Sends a copy of requests elsewhere.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct HTTPRequestMirrorFilter {
    /// Where.
    pub backend_ref: BackendObjectReference,
    /// How many of a hundred.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub percent: Option<i32>,
    /// How many of `denominator`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fraction: Option<Fraction>,
}

/// A part of a whole.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Fraction {
    /// Above the line.
    pub numerator: i32,
    /// Below it; absent is 100.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub denominator: Option<i32>,
}

/// One header.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, JsonSchema)]
pub struct HTTPHeader {
    /// Name, in any case.
    pub name: String,
    /// Value.
    pub value: String,
}

/// A new path.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct HTTPPathModifier {
    /// `ReplaceFullPath` or `ReplacePrefixMatch`.
    #[serde(rename = "type")]
    pub type_: String,
    /// For `ReplaceFullPath`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replace_full_path: Option<String>,
    /// For `ReplacePrefixMatch`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replace_prefix_match: Option<String>,
}

/// A weighted backend with its own filters.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct HTTPBackendRef {
    /// The object.
    #[serde(flatten)]
    pub object: BackendObjectReference,
    /// Its share; absent is 1, and 0 receives nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub weight: Option<i32>,
    /// Changes for this backend alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub filters: Option<Vec<HTTPRouteFilter>>,
}

/// What controllers say of a route, per parent.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RouteStatus {
    /// One per parent that some controller looks after.
    #[serde(default)]
    pub parents: Vec<RouteParentStatus>,
}

/// What one controller says of a route at one parent.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RouteParentStatus {
    /// The parent, as the spec names it.
    pub parent_ref: ParentReference,
    /// Who wrote this.
    pub controller_name: String,
    /// `Accepted`, `ResolvedRefs`, `PartiallyInvalid`.
    #[serde(default)]
    pub conditions: Vec<Condition>,
}
