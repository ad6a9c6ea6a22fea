//! The CEL rules of BackendTLSPolicies.

use serde_json::Value;

use super::{Row, Rule::Holds, list, routes::pairs, text};

pub(super) const RULES: &[Row] = &[
    (
        "spec.targetRefs",
        Holds(
            "sectionName must be specified when targetRefs includes 2 or more references to the same target",
            |all| pairs(all).all(|(a, b)| !same_target(a, b) || section(a).is_empty() == section(b).is_empty()),
        ),
    ),
    (
        "spec.targetRefs",
        Holds("sectionName must be unique when targetRefs includes 2 or more references to the same target", |all| {
            pairs(all).all(|(a, b)| !same_target(a, b) || section(a) != section(b))
        }),
    ),
    (
        "spec.validation",
        Holds("must not contain both CACertificateRefs and WellKnownCACertificates", |v| !(has_refs(v) && is_known(v))),
    ),
    (
        "spec.validation",
        Holds("must specify either CACertificateRefs or WellKnownCACertificates", |v| has_refs(v) || is_known(v)),
    ),
    (
        NAMES,
        Holds("SubjectAltName element must contain Hostname, if Type is set to Hostname", |name| {
            text(name, "type") != "Hostname" || !text(name, "hostname").is_empty()
        }),
    ),
    (
        NAMES,
        Holds("SubjectAltName element must not contain Hostname, if Type is not set to Hostname", |name| {
            text(name, "type") == "Hostname" || text(name, "hostname").is_empty()
        }),
    ),
    (
        NAMES,
        Holds("SubjectAltName element must contain URI, if Type is set to URI", |name| {
            text(name, "type") != "URI" || !text(name, "uri").is_empty()
        }),
    ),
    (
        NAMES,
        Holds("SubjectAltName element must not contain URI, if Type is not set to URI", |name| {
            text(name, "type") == "URI" || text(name, "uri").is_empty()
        }),
    ),
];

const NAMES: &str = "spec.validation.subjectAltNames.*";

fn same_target(a: &Value, b: &Value) -> bool {
    ["group", "kind", "name"].iter().all(|field| text(a, field) == text(b, field))
}

fn section(target: &Value) -> &str {
    text(target, "sectionName")
}

fn has_refs(validation: &Value) -> bool {
    !list(validation, "caCertificateRefs").is_empty()
}

fn is_known(validation: &Value) -> bool {
    !text(validation, "wellKnownCACertificates").is_empty()
}
