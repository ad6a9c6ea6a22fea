//! The CEL rules of HTTPRoutes: parents, rules, filters, backends, timeouts.

use objects::gateway::parse_duration;
use serde_json::Value;

use super::{Row, Rule::Holds, list, text};

pub(super) const RULES: &[Row] = &[
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
    (
        "spec.rules",
        Holds(
            "While 16 rules and 64 matches per rule are allowed, the total number of matches across all rules in a route must \
             be less than 128",
            |rules| elements(rules).map(|rule| list(rule, "matches").len()).sum::<usize>() <= 128,
        ),
    ),
    (
        "spec.rules.*",
        Holds("RequestRedirect filter must not be used together with backendRefs", |rule| {
            list(rule, "backendRefs").is_empty()
                || !list(rule, "filters").iter().any(|f| f.get("requestRedirect").is_some())
        }),
    ),
    (
        "spec.rules.*",
        Holds(
            "When using RequestRedirect filter with path.replacePrefixMatch, exactly one PathPrefix match must be specified",
            |rule| replaces_one_prefix(rule, list(rule, "filters"), "requestRedirect"),
        ),
    ),
    (
        "spec.rules.*",
        Holds(
            "When using URLRewrite filter with path.replacePrefixMatch, exactly one PathPrefix match must be specified",
            |rule| replaces_one_prefix(rule, list(rule, "filters"), "urlRewrite"),
        ),
    ),
    (
        "spec.rules.*.timeouts",
        Holds("backendRequest timeout cannot be longer than request timeout", |timeouts| {
            let seconds = |field| parse_duration(text(timeouts, field)).ok();
            match (seconds("request"), seconds("backendRequest")) {
                (Some(request), Some(backend)) => request.is_zero() || backend <= request,
                _ => true,
            }
        }),
    ),
    (
        "spec.rules.*.backendRefs.*",
        Holds("Must have port for Service reference", |backend| {
            !text(backend, "group").is_empty() || text(backend, "kind") != "Service" || backend.get("port").is_some()
        }),
    ),
    ("spec.rules.*.filters", Holds(BOTH, not_both)),
    (
        "spec.rules.*.filters",
        Holds("RequestHeaderModifier filter cannot be repeated", |f| once(f, "RequestHeaderModifier")),
    ),
    (
        "spec.rules.*.filters",
        Holds("ResponseHeaderModifier filter cannot be repeated", |f| once(f, "ResponseHeaderModifier")),
    ),
    ("spec.rules.*.filters", Holds("RequestRedirect filter cannot be repeated", |f| once(f, "RequestRedirect"))),
    ("spec.rules.*.filters", Holds("URLRewrite filter cannot be repeated", |f| once(f, "URLRewrite"))),
    ("spec.rules.*.backendRefs.*.filters", Holds(BOTH, not_both)),
];

const BOTH: &str = "May specify either httpRouteFilterRequestRedirect or httpRouteFilterRequestRewrite, but not both";

/// A union: (type, its field), at each of some places.
macro_rules! unions {
    ($what:literal, $places:tt, $types:tt) => { unions!(@places $what, $places, $types) };
    (@places $what:literal, [$($place:literal),*], $types:tt) => { &[$(unions!(@types $what, $place, $types)),*] };
    (@types $what:literal, $place:literal, [$(($name:literal, $field:literal)),*]) => { [$(
        (
            $place,
            Holds(concat!($what, $field, " must be nil if the ", $what, "type is not ", $name), |of| {
                text(of, "type") == $name || of.get($field).is_none()
            }),
        ),
        (
            $place,
            Holds(concat!($what, $field, " must be specified for ", $name, " ", $what, "type"), |of| {
                text(of, "type") != $name || of.get($field).is_some()
            }),
        ),
    )*] };
}

/// Each filter has the field of its type, and no other.
pub(super) const FILTERS: &[[Row; 14]] = unions!(
    "filter.",
    ["spec.rules.*.filters.*", "spec.rules.*.backendRefs.*.filters.*"],
    [
        ("RequestHeaderModifier", "requestHeaderModifier"),
        ("ResponseHeaderModifier", "responseHeaderModifier"),
        ("RequestMirror", "requestMirror"),
        ("RequestRedirect", "requestRedirect"),
        ("URLRewrite", "urlRewrite"),
        ("ExtensionRef", "extensionRef"),
        ("CORS", "cors")
    ]
);

/// Each path modifier has the field of its type, and no other.
pub(super) const MODIFIERS: &[[Row; 4]] = unions!(
    "",
    ["spec.rules.*.filters.*.requestRedirect.path", "spec.rules.*.filters.*.urlRewrite.path"],
    [("ReplaceFullPath", "replaceFullPath"), ("ReplacePrefixMatch", "replacePrefixMatch")]
);

fn elements(all: &Value) -> impl Iterator<Item = &Value> {
    all.as_array().into_iter().flatten()
}

fn pairs(all: &Value) -> impl Iterator<Item = (&Value, &Value)> {
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

fn replaces_one_prefix(rule: &Value, filters: &[Value], field: &str) -> bool {
    let replaces = |filter: &Value| {
        filter.get(field).and_then(|f| f.get("path")).is_some_and(|path| path.get("replacePrefixMatch").is_some())
    };
    if !filters.iter().any(replaces) {
        return true;
    }
    match list(rule, "matches") {
        [one] => one.get("path").is_some_and(|path| text(path, "type") == "PathPrefix"),
        _ => false,
    }
}

fn not_both(filters: &Value) -> bool {
    let has = |name: &str| elements(filters).any(|filter| text(filter, "type") == name);
    !(has("RequestRedirect") && has("URLRewrite"))
}

fn once(filters: &Value, name: &str) -> bool {
    elements(filters).filter(|filter| text(filter, "type") == name).count() <= 1
}
