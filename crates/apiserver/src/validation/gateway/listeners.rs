//! The CEL rules of Gateways and of listeners, which ListenerSets have too.

use serde_json::Value;

use super::{Row, Rule::Holds, list, text};

pub(super) const RULES: &[Row] = &[
    (
        "spec.listeners",
        Holds("tls must not be specified for protocols ['HTTP', 'TCP', 'UDP']", |all| {
            each(all, |l| !matches!(text(l, "protocol"), "HTTP" | "TCP" | "UDP") || l.get("tls").is_none())
        }),
    ),
    (
        "spec.listeners",
        Holds("tls mode must be Terminate for protocol HTTPS", |all| {
            each(all, |l| {
                text(l, "protocol") != "HTTPS"
                    || l.get("tls").is_none_or(|tls| matches!(text(tls, "mode"), "" | "Terminate"))
            })
        }),
    ),
    (
        "spec.listeners",
        Holds("tls mode must be set for protocol TLS", |all| {
            each(all, |l| text(l, "protocol") != "TLS" || l.get("tls").is_some_and(|tls| !text(tls, "mode").is_empty()))
        }),
    ),
    (
        "spec.listeners",
        Holds("hostname must not be specified for protocols ['TCP', 'UDP']", |all| {
            each(all, |l| !matches!(text(l, "protocol"), "TCP" | "UDP") || text(l, "hostname").is_empty())
        }),
    ),
    (
        "spec.listeners",
        Holds("Listener name must be unique within the Gateway", |all| unique(all, |l| text(l, "name").to_owned())),
    ),
    (
        "spec.listeners",
        Holds("Combination of port, protocol and hostname must be unique for each listener", |all| {
            unique(all, |l| (l.get("port").cloned(), text(l, "protocol").to_owned(), text(l, "hostname").to_owned()))
        }),
    ),
    (
        "spec.listeners.*.tls",
        Holds("certificateRefs or options must be specified when mode is Terminate", |tls| {
            let options = tls.get("options").and_then(Value::as_object).is_some_and(|options| !options.is_empty());
            text(tls, "mode") != "Terminate" || !list(tls, "certificateRefs").is_empty() || options
        }),
    ),
];

/// Of Gateways alone.
pub(super) const GATEWAY: &[Row] = &[
    ("spec.addresses", Holds("IPAddress values must be unique", |all| unique_addresses(all, "IPAddress"))),
    ("spec.addresses", Holds("Hostname values must be unique", |all| unique_addresses(all, "Hostname"))),
    (
        "spec.tls.frontend.perPort",
        Holds("Port for TLS configuration must be unique within the Gateway", |all| {
            unique(all, |t| t.get("port").cloned())
        }),
    ),
];

fn elements(all: &Value) -> impl Iterator<Item = &Value> {
    all.as_array().into_iter().flatten()
}

fn each(all: &Value, holds: impl Fn(&Value) -> bool) -> bool {
    elements(all).all(holds)
}

fn unique<K: PartialEq>(all: &Value, key: impl Fn(&Value) -> K) -> bool {
    let keys: Vec<K> = elements(all).map(key).collect();
    keys.iter().enumerate().all(|(index, key)| !keys.iter().skip(index + 1).any(|other| other == key))
}

fn unique_addresses(all: &Value, of: &str) -> bool {
    let values: Vec<&str> =
        elements(all).filter(|a| text(a, "type") == of).map(|a| text(a, "value")).filter(|v| !v.is_empty()).collect();
    values.iter().enumerate().all(|(index, value)| !values.iter().skip(index + 1).any(|other| other == value))
}
