//! The CEL rules of HTTPRoutes: rules, filters, timeouts.

use objects::gateway::parse_duration;
use serde_json::Value;

use super::{
    Row,
    Rule::Holds,
    list,
    routes::{elements, once},
    text,
};

pub(super) const RULES: &[Row] = &[
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
        "spec.rules.*",
        Holds(
            "Within backendRefs, when using RequestRedirect filter with path.replacePrefixMatch, exactly one PathPrefix match \
             must be specified",
            |rule| every_backend(rule, |filters| replaces_one_prefix(rule, filters, "requestRedirect")),
        ),
    ),
    (
        "spec.rules.*",
        Holds(
            "Within backendRefs, When using URLRewrite filter with path.replacePrefixMatch, exactly one PathPrefix match must be \
             specified",
            |rule| every_backend(rule, |filters| replaces_one_prefix(rule, filters, "urlRewrite")),
        ),
    ),
    ("spec.rules.*.filters", Holds(BOTH, not_both)),
    ("spec.rules.*.filters", Holds("CORS filter cannot be repeated", |f| once(f, "CORS"))),
    ("spec.rules.*.filters", Holds("RequestRedirect filter cannot be repeated", |f| once(f, "RequestRedirect"))),
    ("spec.rules.*.filters", Holds("URLRewrite filter cannot be repeated", |f| once(f, "URLRewrite"))),
    ("spec.rules.*.backendRefs.*.filters", Holds(BOTH, not_both)),
    ("spec.rules.*.backendRefs.*.filters", Holds("CORS filter cannot be repeated", |f| once(f, "CORS"))),
    (
        "spec.rules.*.backendRefs.*.filters",
        Holds("RequestRedirect filter cannot be repeated", |f| once(f, "RequestRedirect")),
    ),
    ("spec.rules.*.backendRefs.*.filters", Holds("URLRewrite filter cannot be repeated", |f| once(f, "URLRewrite"))),
    (
        "spec.rules.*.filters.*.cors.allowOrigins",
        Holds("AllowOrigins cannot contain '*' alongside other origins", any_or_some),
    ),
    (
        "spec.rules.*.filters.*.cors.allowMethods",
        Holds("AllowMethods cannot contain '*' alongside other methods", any_or_some),
    ),
    (
        "spec.rules.*.filters.*.cors.allowHeaders",
        Holds("AllowHeaders cannot contain '*' alongside other methods", any_or_some),
    ),
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

fn every_backend(rule: &Value, holds: impl Fn(&[Value]) -> bool) -> bool {
    list(rule, "backendRefs").iter().all(|backend| holds(list(backend, "filters")))
}

fn any_or_some(all: &Value) -> bool {
    elements(all).count() <= 1 || !elements(all).any(|one| one == "*")
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
