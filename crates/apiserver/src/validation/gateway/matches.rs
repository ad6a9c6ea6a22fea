//! The CEL rules of what an HTTPRoute matches.

use serde_json::Value;

use super::{Row, Rule::Holds, text};

const PATH: &str = "spec.rules.*.matches.*.path";

/// Whether the path is matched as text: what a regular expression may hold is its own matter.
fn is_plain(path: &Value) -> bool {
    matches!(text(path, "type"), "Exact" | "PathPrefix")
}

fn plain(path: &Value, holds: impl Fn(&str) -> bool) -> bool {
    !is_plain(path) || holds(text(path, "value"))
}

pub(super) const RULES: &[Row] = &[
    (
        PATH,
        Holds("value must be an absolute path and start with '/' when type one of ['Exact', 'PathPrefix']", |path| {
            plain(path, |value| value.starts_with('/'))
        }),
    ),
    (
        PATH,
        Holds("must not contain '//' when type one of ['Exact', 'PathPrefix']", |path| {
            plain(path, |value| !value.contains("//"))
        }),
    ),
    (
        PATH,
        Holds("must not contain '/./' when type one of ['Exact', 'PathPrefix']", |path| {
            plain(path, |value| !value.contains("/./"))
        }),
    ),
    (
        PATH,
        Holds("must not contain '/../' when type one of ['Exact', 'PathPrefix']", |path| {
            plain(path, |value| !value.contains("/../"))
        }),
    ),
    (
        PATH,
        Holds("must not contain '%2f' when type one of ['Exact', 'PathPrefix']", |path| {
            plain(path, |value| !value.contains("%2f"))
        }),
    ),
    (
        PATH,
        Holds("must not contain '%2F' when type one of ['Exact', 'PathPrefix']", |path| {
            plain(path, |value| !value.contains("%2F"))
        }),
    ),
    (
        PATH,
        Holds("must not contain '#' when type one of ['Exact', 'PathPrefix']", |path| {
            plain(path, |value| !value.contains('#'))
        }),
    ),
    (
        PATH,
        Holds("must not end with '/..' when type one of ['Exact', 'PathPrefix']", |path| {
            plain(path, |value| !value.ends_with("/.."))
        }),
    ),
    (
        PATH,
        Holds("must not end with '/.' when type one of ['Exact', 'PathPrefix']", |path| {
            plain(path, |value| !value.ends_with("/."))
        }),
    ),
    (
        PATH,
        Holds(
            "must only contain valid characters (matching ^(?:[-A-Za-z0-9/._~!$&'()*+,;=:@]|[%][0-9a-fA-F]{2})+$) for types \
             ['Exact', 'PathPrefix']",
            |path| plain(path, has_valid_characters),
        ),
    ),
];

fn has_valid_characters(value: &str) -> bool {
    let mut bytes = value.bytes();
    while let Some(byte) = bytes.next() {
        let good = match byte {
            b'%' => [bytes.next(), bytes.next()].iter().all(|b| b.is_some_and(|b| b.is_ascii_hexdigit())),
            byte => byte.is_ascii_alphanumeric() || b"-/._~!$&'()*+,;=:@".contains(&byte),
        };
        if !good {
            return false;
        }
    }
    !value.is_empty()
}
