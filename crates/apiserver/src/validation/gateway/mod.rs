//! The kinds of Gateway API: what their CustomResourceDefinitions' schemas and CEL rules ask for, in the words in which the API
//! server answers for custom resources.

mod backend_tls;
mod http_route;
mod listeners;
mod matches;
mod routes;
mod rules;

use objects::kinds::Kind;
use serde_json::{Value, json};

use super::at::At;
use crate::status::Cause;

/// What one place of an object must satisfy.
enum Rule {
    /// So many elements or entries.
    Items(usize, usize),
    /// A text of so many characters.
    Length(usize, usize),
    /// A number in a range.
    Range(i64, i64),
    /// A text of one form: the regular expression that says it to people, and the same as code.
    Pattern(&'static str, fn(&str) -> bool),
    /// One of these texts.
    OneOf(&'static [&'static str]),
    /// One of these numbers.
    OneOfNumbers(&'static [i64]),
    /// Elements of a list that differ in these fields (`x-kubernetes-list-map-keys`).
    MapBy(&'static [&'static str]),
    /// A CEL rule: its message, and the same as code.
    Holds(&'static str, fn(&Value) -> bool),
}

/// A rule and its place: steps from the object's root, `*` for every element of a list.
type Row = (&'static str, Rule);

/// What an update may not change.
pub(super) fn change(kind: &Kind, new: &Value, old: &Value) -> Vec<Cause> {
    if kind.kind == "GatewayClass" { super::change::gateway_class(new, old) } else { Vec::new() }
}

/// Checks an object of one of the kinds; others pass.
pub(super) fn check(kind: &Kind, object: &At<'_>, causes: &mut Vec<Cause>) {
    let filters = http_route::FILTERS.iter().map(<[Row; 14]>::as_slice);
    let routes = [rules::PARENTS, routes::PARENTS, rules::HOSTNAMES, rules::BACKENDS, routes::BACKENDS].into_iter();
    let tables: Vec<&[Row]> = match kind.kind {
        "GatewayClass" => vec![rules::GATEWAY_CLASS],
        "Gateway" => vec![rules::GATEWAY, listeners::GATEWAY, rules::LISTENERS, listeners::RULES],
        "ListenerSet" => vec![rules::LISTENER_SET, rules::LISTENERS, listeners::RULES],
        "HTTPRoute" => {
            let own = [
                rules::HTTP_ROUTE,
                rules::MATCHES,
                rules::FILTERS,
                routes::REQUESTS,
                http_route::RULES,
                matches::RULES,
            ];
            let modifiers = http_route::MODIFIERS.iter().map(<[Row; 4]>::as_slice);
            routes.chain(own).chain(filters).chain(modifiers).collect()
        }
        "GRPCRoute" => {
            let own = [rules::GRPC_ROUTE, rules::MATCHES, rules::FILTERS, routes::REQUESTS, routes::METHODS];
            routes.chain(own).chain(filters).collect()
        }
        "TLSRoute" => routes.chain([rules::LAYER4_ROUTE, routes::NAMES]).collect(),
        "TCPRoute" | "UDPRoute" => routes.chain([rules::LAYER4_ROUTE]).collect(),
        "BackendTLSPolicy" => vec![rules::BACKEND_TLS, backend_tls::RULES],
        "ReferenceGrant" => vec![rules::REFERENCE_GRANT],
        _ => Vec::new(),
    };
    for (place, rule) in tables.into_iter().flatten() {
        let steps: Vec<&str> = place.split('.').collect();
        walk(object.clone(), &steps, &mut |at| judge(rule, at, causes));
    }
}

/// Calls `see` with every value at a place; a place that is not there has none.
fn walk(at: At<'_>, steps: &[&str], see: &mut impl FnMut(&At<'_>)) {
    match steps {
        [] if at.is_set() => see(&at),
        [] => {}
        ["*", rest @ ..] => at.elements().for_each(|element| walk(element, rest, see)),
        [field, rest @ ..] => walk(at.field(field), rest, see),
    }
}

fn judge(rule: &Rule, at: &At<'_>, causes: &mut Vec<Cause>) {
    let path = &at.path;
    let cause = match rule {
        Rule::Items(least, _) if at.len() < *least => {
            let why = format!("{path} in body should have at least {least} items");
            Some(Cause::invalid(path, &at.len().into(), &why))
        }
        Rule::Items(_, most) => (at.len() > *most).then(|| Cause::too_many(path, at.len(), *most)),
        Rule::Length(least, _) if at.text().chars().count() < *least => {
            Some(at.invalid(&format!("{path} in body should be at least {least} chars long")))
        }
        Rule::Length(_, most) => (at.text().chars().count() > *most).then(|| Cause::too_long(path, *most)),
        Rule::Range(least, most) => match at.number() {
            Some(number) if number < *least => {
                Some(at.invalid(&format!("{path} in body should be greater than or equal to {least}")))
            }
            Some(number) if number > *most => {
                Some(at.invalid(&format!("{path} in body should be less than or equal to {most}")))
            }
            _ => None,
        },
        Rule::Pattern(pattern, fits) => {
            (!fits(at.text())).then(|| at.invalid(&format!("{path} in body should match '{pattern}'")))
        }
        Rule::OneOf(supported) => at.one_of(supported),
        Rule::OneOfNumbers(supported) => {
            let texts: Vec<String> = supported.iter().map(i64::to_string).collect();
            let known = at.number().is_some_and(|number| supported.contains(&number));
            (!known)
                .then(|| Cause::not_supported(path, at.value, &texts.iter().map(String::as_str).collect::<Vec<_>>()))
        }
        Rule::MapBy(keys) => return map_by(keys, at, causes),
        Rule::Holds(message, holds) => (!holds(at.value)).then(|| {
            let shown = match at.value {
                Value::Array(_) => "array",
                Value::Object(_) => "object",
                Value::String(_) => "string",
                _ => "integer",
            };
            Cause::invalid(path, &json!(shown), message)
        }),
    };
    causes.extend(cause);
}

fn map_by(keys: &[&str], list: &At<'_>, causes: &mut Vec<Cause>) {
    let mut seen = Vec::new();
    for element in list.clone().elements() {
        let key: Value =
            keys.iter().map(|key| ((*key).to_owned(), element.value.get(*key).cloned().unwrap_or_default())).collect();
        if seen.contains(&key) {
            causes.push(Cause::duplicate(&element.path, &key));
        } else {
            seen.push(key);
        }
    }
}

/// The elements of a list field.
fn list<'a>(value: &'a Value, field: &str) -> &'a [Value] {
    value.get(field).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default()
}

/// A text field; empty if it is not there.
fn text<'a>(value: &'a Value, field: &str) -> &'a str {
    value.get(field).and_then(Value::as_str).unwrap_or_default()
}

#[cfg(test)]
mod tests;
