//! What the schemas ask for, place by place.

use objects::names;

use super::{
    Row,
    Rule::{Items, Length, MapBy, OneOf, OneOfNumbers, Pattern, Range},
};

const LABEL: &str = "^[a-z0-9]([-a-z0-9]*[a-z0-9])?$";
const SUBDOMAIN: &str = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$";
const HOSTNAME: &str = r"^(\*\.)?[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$";
const KIND: &str = "^[a-zA-Z]([-a-zA-Z0-9]*[a-zA-Z0-9])?$";
const GROUP: &str = r"^$|^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$";
const CONTROLLER: &str =
    r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*\/[A-Za-z0-9\/\-._~%!$&'()*+,;=:]+$";
const PROTOCOL: &str = r"^[a-zA-Z0-9]([-a-zA-Z0-9]*[a-zA-Z0-9])?$|[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*\/[A-Za-z0-9]+$";
const WELL_KNOWN: &str = r"^(System|([a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*/([A-Za-z0-9][-A-Za-z0-9_.]{0,61})?[A-Za-z0-9]))$";
const HEADER: &str = r"^[A-Za-z0-9!#$%&'*+\-.^_\x60|~]+$";
const DURATION: &str = "^([0-9]{1,5}(h|m|s|ms)){1,4}$";

fn is_label(text: &str) -> bool {
    names::dns_label(text).is_empty()
}

fn is_subdomain(text: &str) -> bool {
    names::dns_subdomain(text).is_empty()
}

fn is_hostname(text: &str) -> bool {
    is_subdomain(text.strip_prefix("*.").unwrap_or(text))
}

fn is_kind(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_alphabetic())
        && text.ends_with(|c: char| c.is_ascii_alphanumeric())
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
}

fn is_group(text: &str) -> bool {
    text.is_empty() || is_subdomain(text)
}

fn is_controller(text: &str) -> bool {
    let path = |path: &str| {
        !path.is_empty() && path.bytes().all(|b| b.is_ascii_alphanumeric() || b"/-._~%!$&'()*+,;=:".contains(&b))
    };
    text.split_once('/').is_some_and(|(domain, rest)| is_subdomain(domain) && path(rest))
}

fn is_protocol(text: &str) -> bool {
    let alphanumeric = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric());
    match text.rsplit_once('/') {
        Some((domain, name)) => is_subdomain(domain) && alphanumeric(name),
        None => {
            let ends = text.starts_with(|c: char| c.is_ascii_alphanumeric())
                && text.ends_with(|c: char| c.is_ascii_alphanumeric());
            ends && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
        }
    }
}

fn is_well_known(text: &str) -> bool {
    let name = |name: &str| {
        let ends = name.starts_with(|c: char| c.is_ascii_alphanumeric())
            && name.ends_with(|c: char| c.is_ascii_alphanumeric());
        ends && name.len() <= 63 && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b))
    };
    text == "System" || text.split_once('/').is_some_and(|(domain, rest)| is_subdomain(domain) && name(rest))
}

fn is_header(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b))
}

fn is_duration(text: &str) -> bool {
    objects::gateway::parse_duration(text).is_ok()
}

pub(super) const GATEWAY_CLASS: &[Row] = &[
    ("spec.controllerName", Length(1, 253)),
    ("spec.controllerName", Pattern(CONTROLLER, is_controller)),
    ("spec.description", Length(0, 64)),
];

pub(super) const GATEWAY: &[Row] = &[
    ("spec.gatewayClassName", Length(1, 253)),
    ("spec.addresses", Items(0, 16)),
    ("spec.addresses.*.value", Length(0, 253)),
    ("spec.infrastructure.labels", Items(0, 8)),
    ("spec.infrastructure.annotations", Items(0, 16)),
    ("spec.allowedListeners.namespaces.from", OneOf(&["All", "Selector", "Same", "None"])),
    ("spec.tls.backend.clientCertificateRef.name", Length(1, 253)),
    ("spec.tls.backend.clientCertificateRef.namespace", Pattern(LABEL, is_label)),
    ("spec.tls.frontend.default.validation.mode", OneOf(VALIDATION_MODES)),
    ("spec.tls.frontend.default.validation.caCertificateRefs", Items(1, 16)),
    ("spec.tls.frontend.perPort", Items(0, 64)),
    ("spec.tls.frontend.perPort", MapBy(&["port"])),
    ("spec.tls.frontend.perPort.*.port", Range(1, 65535)),
    ("spec.tls.frontend.perPort.*.tls.validation.mode", OneOf(VALIDATION_MODES)),
    ("spec.tls.frontend.perPort.*.tls.validation.caCertificateRefs", Items(1, 16)),
];

const VALIDATION_MODES: &[&str] = &["AllowValidOnly", "AllowInsecureFallback"];

pub(super) const LISTENER_SET: &[Row] = &[
    ("spec.parentRef.group", Pattern(GROUP, is_group)),
    ("spec.parentRef.kind", Pattern(KIND, is_kind)),
    ("spec.parentRef.name", Length(1, 253)),
    ("spec.parentRef.namespace", Pattern(LABEL, is_label)),
];

/// Of Gateways and of ListenerSets.
pub(super) const LISTENERS: &[Row] = &[
    ("spec.listeners", Items(1, 64)),
    ("spec.listeners", MapBy(&["name"])),
    ("spec.listeners.*.name", Length(1, 253)),
    ("spec.listeners.*.name", Pattern(SUBDOMAIN, is_subdomain)),
    ("spec.listeners.*.hostname", Length(1, 253)),
    ("spec.listeners.*.hostname", Pattern(HOSTNAME, is_hostname)),
    ("spec.listeners.*.port", Range(1, 65535)),
    ("spec.listeners.*.protocol", Length(1, 255)),
    ("spec.listeners.*.protocol", Pattern(PROTOCOL, is_protocol)),
    ("spec.listeners.*.tls.mode", OneOf(&["Terminate", "Passthrough"])),
    ("spec.listeners.*.tls.certificateRefs", Items(0, 64)),
    ("spec.listeners.*.tls.certificateRefs.*.name", Length(1, 253)),
    ("spec.listeners.*.tls.certificateRefs.*.namespace", Pattern(LABEL, is_label)),
    ("spec.listeners.*.tls.options", Items(0, 16)),
    ("spec.listeners.*.allowedRoutes.namespaces.from", OneOf(&["All", "Selector", "Same"])),
    ("spec.listeners.*.allowedRoutes.kinds", Items(0, 8)),
    ("spec.listeners.*.allowedRoutes.kinds.*.kind", Pattern(KIND, is_kind)),
];

pub(super) const PARENTS: &[Row] = &[
    ("spec.parentRefs", Items(0, 32)),
    ("spec.parentRefs.*.group", Pattern(GROUP, is_group)),
    ("spec.parentRefs.*.kind", Pattern(KIND, is_kind)),
    ("spec.parentRefs.*.name", Length(1, 253)),
    ("spec.parentRefs.*.namespace", Pattern(LABEL, is_label)),
    ("spec.parentRefs.*.port", Range(1, 65535)),
    ("spec.parentRefs.*.sectionName", Pattern(SUBDOMAIN, is_subdomain)),
];

pub(super) const HOSTNAMES: &[Row] =
    &[("spec.hostnames.*", Length(1, 253)), ("spec.hostnames.*", Pattern(HOSTNAME, is_hostname))];

/// Of every kind of route.
pub(super) const BACKENDS: &[Row] = &[
    ("spec.rules.*.name", Length(1, 253)),
    ("spec.rules.*.name", Pattern(SUBDOMAIN, is_subdomain)),
    ("spec.rules.*.backendRefs", Items(0, 16)),
    ("spec.rules.*.backendRefs.*.group", Pattern(GROUP, is_group)),
    ("spec.rules.*.backendRefs.*.kind", Pattern(KIND, is_kind)),
    ("spec.rules.*.backendRefs.*.name", Length(1, 253)),
    ("spec.rules.*.backendRefs.*.namespace", Pattern(LABEL, is_label)),
    ("spec.rules.*.backendRefs.*.port", Range(1, 65535)),
    ("spec.rules.*.backendRefs.*.weight", Range(0, 1_000_000)),
];

pub(super) const HTTP_ROUTE: &[Row] = &[
    ("spec.hostnames", Items(0, 16)),
    ("spec.rules", Items(1, 16)),
    ("spec.rules.*.timeouts.request", Pattern(DURATION, is_duration)),
    ("spec.rules.*.timeouts.backendRequest", Pattern(DURATION, is_duration)),
    ("spec.rules.*.retry.attempts", Range(1, i64::MAX)),
    ("spec.rules.*.retry.backoff", Pattern(DURATION, is_duration)),
    ("spec.rules.*.retry.codes.*", Range(400, 599)),
    ("spec.rules.*.matches.*.method", OneOf(METHODS)),
    ("spec.rules.*.filters.*.type", OneOf(HTTP_FILTERS)),
    ("spec.rules.*.backendRefs.*.filters.*.type", OneOf(HTTP_FILTERS)),
];

pub(super) const GRPC_ROUTE: &[Row] = &[
    ("spec.hostnames", Items(0, 16)),
    ("spec.rules", Items(0, 16)),
    ("spec.rules.*.matches.*.method.type", OneOf(&["Exact", "RegularExpression"])),
    ("spec.rules.*.matches.*.method.service", Length(0, 1024)),
    ("spec.rules.*.matches.*.method.method", Length(0, 1024)),
    ("spec.rules.*.filters.*.type", OneOf(GRPC_FILTERS)),
    ("spec.rules.*.backendRefs.*.filters.*.type", OneOf(GRPC_FILTERS)),
];

/// Of TLSRoutes, TCPRoutes and UDPRoutes.
pub(super) const LAYER4_ROUTE: &[Row] =
    &[("spec.hostnames", Items(1, 1024)), ("spec.rules", Items(1, 1)), ("spec.rules.*.backendRefs", Items(1, 16))];

pub(super) const BACKEND_TLS: &[Row] = &[
    ("spec.targetRefs", Items(1, 16)),
    ("spec.targetRefs.*.group", Pattern(GROUP, is_group)),
    ("spec.targetRefs.*.kind", Pattern(KIND, is_kind)),
    ("spec.targetRefs.*.name", Length(1, 253)),
    ("spec.targetRefs.*.sectionName", Pattern(SUBDOMAIN, is_subdomain)),
    ("spec.validation.caCertificateRefs", Items(0, 8)),
    ("spec.validation.caCertificateRefs.*.group", Pattern(GROUP, is_group)),
    ("spec.validation.caCertificateRefs.*.kind", Pattern(KIND, is_kind)),
    ("spec.validation.caCertificateRefs.*.name", Length(1, 253)),
    ("spec.validation.wellKnownCACertificates", Length(1, 253)),
    ("spec.validation.wellKnownCACertificates", Pattern(WELL_KNOWN, is_well_known)),
    ("spec.validation.hostname", Length(1, 253)),
    ("spec.validation.hostname", Pattern(SUBDOMAIN, is_subdomain)),
    ("spec.validation.subjectAltNames", Items(0, 5)),
    ("spec.validation.subjectAltNames.*.type", OneOf(&["Hostname", "URI"])),
    ("spec.validation.subjectAltNames.*.hostname", Length(1, 253)),
    ("spec.validation.subjectAltNames.*.hostname", Pattern(HOSTNAME, is_hostname)),
    ("spec.validation.subjectAltNames.*.uri", Length(1, 253)),
    ("spec.options", Items(0, 16)),
];

const METHODS: &[&str] = &["GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH"];

const CORS_METHODS: &[&str] = &["GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH", "*"];

/// Of HTTPRoutes and of GRPCRoutes.
pub(super) const MATCHES: &[Row] = &[
    ("spec.rules.*.matches", Items(0, 64)),
    ("spec.rules.*.matches.*.path.type", OneOf(&["Exact", "PathPrefix", "RegularExpression"])),
    ("spec.rules.*.matches.*.path.value", Length(0, 1024)),
    ("spec.rules.*.matches.*.headers", Items(0, 16)),
    ("spec.rules.*.matches.*.headers", MapBy(&["name"])),
    ("spec.rules.*.matches.*.headers.*.type", OneOf(&["Exact", "RegularExpression"])),
    ("spec.rules.*.matches.*.headers.*.name", Length(1, 256)),
    ("spec.rules.*.matches.*.headers.*.name", Pattern(HEADER, is_header)),
    ("spec.rules.*.matches.*.headers.*.value", Length(1, 4096)),
    ("spec.rules.*.matches.*.queryParams", Items(0, 16)),
    ("spec.rules.*.matches.*.queryParams", MapBy(&["name"])),
    ("spec.rules.*.matches.*.queryParams.*.type", OneOf(&["Exact", "RegularExpression"])),
    ("spec.rules.*.matches.*.queryParams.*.name", Length(1, 256)),
    ("spec.rules.*.matches.*.queryParams.*.name", Pattern(HEADER, is_header)),
    ("spec.rules.*.matches.*.queryParams.*.value", Length(1, 1024)),
];

const HTTP_FILTERS: &[&str] = &[
    "RequestHeaderModifier",
    "ResponseHeaderModifier",
    "RequestMirror",
    "RequestRedirect",
    "URLRewrite",
    "ExtensionRef",
    "CORS",
];
const GRPC_FILTERS: &[&str] = &["ResponseHeaderModifier", "RequestHeaderModifier", "RequestMirror", "ExtensionRef"];
const CODES: &[i64] = &[301, 302, 303, 307, 308];

/// The rules of filters, for those of a rule and for those of its backends.
macro_rules! filters {
    ($($at:literal),*) => { &[$(
        ($at, Items(0, 16)),
        (concat!($at, ".*.requestRedirect.scheme"), OneOf(&["http", "https"])),
        (concat!($at, ".*.requestRedirect.hostname"), Pattern(SUBDOMAIN, is_subdomain)),
        (concat!($at, ".*.requestRedirect.port"), Range(1, 65535)),
        (concat!($at, ".*.requestRedirect.statusCode"), OneOfNumbers(CODES)),
        (concat!($at, ".*.requestRedirect.path.type"), OneOf(&["ReplaceFullPath", "ReplacePrefixMatch"])),
        (concat!($at, ".*.urlRewrite.hostname"), Pattern(SUBDOMAIN, is_subdomain)),
        (concat!($at, ".*.urlRewrite.path.type"), OneOf(&["ReplaceFullPath", "ReplacePrefixMatch"])),
        (concat!($at, ".*.requestHeaderModifier.set"), Items(0, 16)),
        (concat!($at, ".*.requestHeaderModifier.set"), MapBy(&["name"])),
        (concat!($at, ".*.requestHeaderModifier.add"), MapBy(&["name"])),
        (concat!($at, ".*.requestHeaderModifier.set.*.name"), Pattern(HEADER, is_header)),
        (concat!($at, ".*.requestHeaderModifier.add.*.name"), Pattern(HEADER, is_header)),
        (concat!($at, ".*.responseHeaderModifier.set"), Items(0, 16)),
        (concat!($at, ".*.responseHeaderModifier.set"), MapBy(&["name"])),
        (concat!($at, ".*.responseHeaderModifier.add"), MapBy(&["name"])),
        (concat!($at, ".*.responseHeaderModifier.set.*.name"), Pattern(HEADER, is_header)),
        (concat!($at, ".*.responseHeaderModifier.add.*.name"), Pattern(HEADER, is_header)),
        (concat!($at, ".*.requestMirror.percent"), Range(0, 100)),
        (concat!($at, ".*.requestMirror.fraction.numerator"), Range(0, i64::MAX)),
        (concat!($at, ".*.requestMirror.fraction.denominator"), Range(1, i64::MAX)),
        (concat!($at, ".*.cors.allowOrigins"), Items(0, 64)),
        (concat!($at, ".*.cors.allowMethods"), Items(0, 9)),
        (concat!($at, ".*.cors.allowMethods.*"), OneOf(CORS_METHODS)),
        (concat!($at, ".*.cors.allowHeaders"), Items(0, 64)),
        (concat!($at, ".*.cors.exposeHeaders"), Items(0, 64)),
        (concat!($at, ".*.cors.maxAge"), Range(1, i64::MAX)),
    )*] };
}

pub(super) const FILTERS: &[Row] = filters!("spec.rules.*.filters", "spec.rules.*.backendRefs.*.filters");

pub(super) const REFERENCE_GRANT: &[Row] = &[
    ("spec.from", Items(1, 16)),
    ("spec.from.*.group", Pattern(GROUP, is_group)),
    ("spec.from.*.kind", Pattern(KIND, is_kind)),
    ("spec.from.*.namespace", Length(1, 63)),
    ("spec.from.*.namespace", Pattern(LABEL, is_label)),
    ("spec.to", Items(1, 16)),
    ("spec.to.*.group", Pattern(GROUP, is_group)),
    ("spec.to.*.kind", Pattern(KIND, is_kind)),
    ("spec.to.*.name", Length(1, 253)),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_have_the_forms_that_the_patterns_say() {
        assert!(is_hostname("*.example.com") && is_hostname("a") && !is_hostname("*.") && !is_hostname("a.*"));
        assert!(is_controller("a.b/c-d") && !is_controller("a.b") && !is_controller("a.b/"));
        assert!(is_protocol("HTTP") && is_protocol("example.com/x") && !is_protocol("a_b") && !is_protocol(""));
        assert!(is_kind("HTTPRoute") && !is_kind("1a") && !is_kind("a-"));
    }
}
