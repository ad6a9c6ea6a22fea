//! The CEL rules that several kinds of route have, and those of GRPCRoutes and TLSRoutes.

use std::net::IpAddr;

use objects::names;
use serde_json::Value;

use super::{Row, Rule::Holds, list, text};

pub(super) const PARENTS: &[Row] = &[
    (
        "spec.parentRefs",
        Holds(
            "sectionName or port must be specified when parentRefs includes 2 or more references to the same parent",
            |all| pairs(all).all(|(a, b)| !same_parent(a, b) || is_part(a) && is_part(b)),
        ),
    ),
    (
        "spec.parentRefs",
        Holds(
            "sectionName or port must be unique when parentRefs includes 2 or more references to the same parent",
            |all| pairs(all).all(|(a, b)| !same_parent(a, b) || !is_part(a) || !is_part(b) || part(a) != part(b)),
        ),
    ),
];

pub(super) const BACKENDS: &[Row] = &[("spec.rules.*.backendRefs.*", Holds(PORT, has_port))];

const PORT: &str = "Must have port for Service reference";

/// Of HTTPRoutes and of GRPCRoutes.
pub(super) const REQUESTS: &[Row] = &[
    (
        "spec.rules",
        Holds(
            "While 16 rules and 64 matches per rule are allowed, the total number of matches across all rules in a route must \
             be less than 128",
            |rules| elements(rules).map(|rule| list(rule, "matches").len()).sum::<usize>() <= 128,
        ),
    ),
    (
        "spec.rules.*.filters",
        Holds("RequestHeaderModifier filter cannot be repeated", |f| once(f, "RequestHeaderModifier")),
    ),
    (
        "spec.rules.*.filters",
        Holds("ResponseHeaderModifier filter cannot be repeated", |f| once(f, "ResponseHeaderModifier")),
    ),
    (
        "spec.rules.*.backendRefs.*.filters",
        Holds("RequestHeaderModifier filter cannot be repeated", |f| once(f, "RequestHeaderModifier")),
    ),
    (
        "spec.rules.*.backendRefs.*.filters",
        Holds("ResponseHeaderModifier filter cannot be repeated", |f| once(f, "ResponseHeaderModifier")),
    ),
    ("spec.rules.*.filters.*.requestMirror", Holds(SHARE, one_share)),
    ("spec.rules.*.filters.*.requestMirror.fraction", Holds(FRACTION, at_most_one)),
    ("spec.rules.*.filters.*.requestMirror.backendRef", Holds(PORT, has_port)),
    ("spec.rules.*.backendRefs.*.filters.*.requestMirror", Holds(SHARE, one_share)),
    ("spec.rules.*.backendRefs.*.filters.*.requestMirror.fraction", Holds(FRACTION, at_most_one)),
    ("spec.rules.*.backendRefs.*.filters.*.requestMirror.backendRef", Holds(PORT, has_port)),
];

const SHARE: &str = "Only one of percent or fraction may be specified in HTTPRequestMirrorFilter";
const FRACTION: &str = "numerator must be less than or equal to denominator";

/// Of GRPCRoutes.
pub(super) const METHODS: &[Row] = &[
    (
        "spec.rules.*.matches.*.method",
        Holds("One or both of 'service' or 'method' must be specified", |m| {
            m.get("service").is_some() || m.get("method").is_some()
        }),
    ),
    (
        "spec.rules.*.matches.*.method",
        Holds(
            "service must only contain valid characters (matching ^(?i)\\.?[a-z_][a-z_0-9]*(\\.[a-z_][a-z_0-9]*)*$)",
            |m| {
                exact(m, "service", |service| {
                    service.strip_prefix('.').unwrap_or(service).split('.').all(is_identifier)
                })
            },
        ),
    ),
    (
        "spec.rules.*.matches.*.method",
        Holds("method must only contain valid characters (matching ^[A-Za-z_][A-Za-z_0-9]*$)", |m| {
            exact(m, "method", is_identifier)
        }),
    ),
];

/// Of TLSRoutes.
pub(super) const NAMES: &[Row] = &[
    (
        "spec.hostnames",
        Holds("Hostnames cannot contain an IP", |all| names(all).all(|name| name.parse::<IpAddr>().is_err())),
    ),
    (
        "spec.hostnames",
        Holds("Hostnames must be valid based on RFC-1123", |all| {
            names(all).all(|name| name.contains('*') || names::dns_subdomain(name).is_empty())
        }),
    ),
    (
        "spec.hostnames",
        Holds(
            "Wildcards on hostnames must be the first label, and the rest of hostname must be valid based on RFC-1123",
            |all| {
                let good = |rest: &str| names::dns_subdomain(rest).is_empty();
                names(all).all(|name| !name.contains('*') || name.strip_prefix("*.").is_some_and(good))
            },
        ),
    ),
];

fn names(all: &Value) -> impl Iterator<Item = &str> {
    elements(all).filter_map(Value::as_str)
}

pub(super) fn elements(all: &Value) -> impl Iterator<Item = &Value> {
    all.as_array().into_iter().flatten()
}

/// Whether there is at most one filter of a type.
pub(super) fn once(filters: &Value, name: &str) -> bool {
    elements(filters).filter(|filter| text(filter, "type") == name).count() <= 1
}

pub(super) fn pairs(all: &Value) -> impl Iterator<Item = (&Value, &Value)> {
    elements(all).enumerate().flat_map(move |(index, a)| elements(all).skip(index + 1).map(move |b| (a, b)))
}

fn same_parent(a: &Value, b: &Value) -> bool {
    ["group", "kind", "name", "namespace"].iter().all(|field| text(a, field) == text(b, field))
}

/// What of a parent a reference names.
fn part(reference: &Value) -> (&str, Option<&Value>) {
    (text(reference, "sectionName"), reference.get("port"))
}

fn is_part(reference: &Value) -> bool {
    part(reference) != ("", None)
}

fn has_port(backend: &Value) -> bool {
    !text(backend, "group").is_empty() || text(backend, "kind") != "Service" || backend.get("port").is_some()
}

fn one_share(mirror: &Value) -> bool {
    mirror.get("percent").is_none() || mirror.get("fraction").is_none()
}

fn at_most_one(fraction: &Value) -> bool {
    let number = |field| fraction.get(field).and_then(Value::as_i64);
    number("numerator") <= number("denominator").or(Some(100))
}

/// Whether a part of a method match holds, if it is there and is to be matched as it is.
fn exact(method: &Value, field: &str, holds: impl Fn(&str) -> bool) -> bool {
    text(method, "type") != "Exact" || method.get(field).and_then(Value::as_str).is_none_or(holds)
}

fn is_identifier(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
}
