//! What each schema may say by itself: OpenAPI's keywords and Kubernetes' extensions (apiextensions'
//! `ValidateCustomResourceDefinitionOpenAPISchema`). Rules are checked where nothing else is wrong.

use serde_json::Value;

use super::{
    Options,
    rules::{self, Scope, Total},
};
use crate::{status::Cause, validation::At};

const TYPES: &[&str] = &["array", "boolean", "integer", "number", "object", "string"];

/// Whether a schema's type is none or one that there is.
pub(super) fn is_type(name: &str) -> bool {
    name.is_empty() || TYPES.contains(&name)
}

/// Keywords that definitions may not use.
const UNSUPPORTED: &[&str] =
    &["id", "additionalItems", "patternProperties", "definitions", "dependencies", "$ref", "$schema"];

fn unsupported<'a>(at: &At<'a>) -> impl Iterator<Item = (&'static str, At<'a>)> {
    let empty = |value: &Value| value.as_object().is_some_and(|map| map.is_empty()) || value == "";
    let said = UNSUPPORTED.iter().map(|field| (*field, at.field(field))).collect::<Vec<_>>();
    said.into_iter().filter(move |(_, said)| said.is_set() && !empty(said.value))
}

/// Whether a schema uses what has no structural form at all.
pub(super) fn is_unreadable(at: &At<'_>) -> bool {
    at.field("x-kubernetes-preserve-unknown-fields").value == &Value::Bool(false)
        || at.field("items").value.is_array()
        || unsupported(at).next().is_some()
}

/// What a schema may say where it stands.
#[derive(Clone)]
pub(super) struct Place {
    root: bool,
    /// It is about `metadata`, `kind` or `apiVersion` of an object.
    meta: bool,
    /// Why there may be no default.
    no_defaults: Option<String>,
    /// The innermost list around it whose elements cannot be told apart from one update to the next.
    pub(super) uncorrelatable: Option<String>,
}

impl Place {
    pub(super) const ROOT: Self = Self { root: true, meta: false, no_defaults: None, uncorrelatable: None };
}

/// What is wrong, of schemas and of rules.
#[derive(Default)]
pub(super) struct Found {
    pub(super) schemas: Vec<Cause>,
    pub(super) rules: Vec<Cause>,
    pub(super) total: Total,
}

/// Checks a schema and those below it. Without a scope, rules are not looked at.
pub(super) fn check(at: &At<'_>, place: &Place, scope: Option<&Scope>, options: &Options, found: &mut Found) {
    if !at.value.is_object() {
        return;
    }
    let before = found.schemas.len();
    let keywords = Place { root: false, ..place.clone() };
    keyword_checks(at, place, options, &mut found.schemas);
    let additional = at.field("additionalProperties");
    if additional.is_set() {
        if at.field("properties").len() > 0 && additional.value != &Value::Bool(true) {
            let why = "additionalProperties and properties are mutual exclusive";
            found.schemas.push(additional.forbidden(why));
        }
        let no_defaults = place.meta.then(|| "inside additionalProperties applying to object metadata".to_owned());
        let below = Place { no_defaults: no_defaults.or_else(|| place.no_defaults.clone()), ..keywords.clone() };
        check(&additional, &below, scope.map(|scope| scope.elements(at)).as_ref(), options, found);
    }
    let map_type = at.field("x-kubernetes-map-type");
    let correlatable = matches!(map_type.value, Value::Null) || matches!(map_type.text(), "granular" | "atomic");
    for (name, property) in at.field("properties").entries() {
        let mut below = keywords.clone();
        if !correlatable {
            below.uncorrelatable.get_or_insert_with(|| at.path.clone());
        }
        let is_object = place.root || at.field("x-kubernetes-embedded-resource").is_true();
        if is_object && matches!(name, "metadata" | "kind" | "apiVersion") {
            below.meta = true;
            if place.root {
                below.no_defaults = Some(format!("in top-level {name}"));
            }
        }
        check(&property, &below, scope.map(|scope| scope.field(at, name)).as_ref(), options, found);
    }
    check(&at.field("not"), &keywords, None, options, found);
    for field in ["allOf", "oneOf", "anyOf"] {
        at.each(field).for_each(|part| check(&part, &keywords, None, options, found));
    }
    let mut below = keywords;
    // Elements have a past only where they have names.
    if at.field("x-kubernetes-list-type").text() != "map" {
        below.uncorrelatable.get_or_insert_with(|| at.path.clone());
    }
    check(&at.field("items"), &below, scope.map(|scope| scope.elements(at)).as_ref(), options, found);
    map_checks(at, &mut found.schemas);
    list_checks(at, options, &mut found.schemas);
    if options.list_keys {
        found.schemas.extend(keys_and_sets(at));
    }
    rules::texts(at, &mut found.schemas);
    // Rules on a schema that is wrong would say what goes away once it is right.
    if let Some(scope) = scope.filter(|_| found.schemas.len() == before) {
        rules::check(at, place, scope, options, found);
    }
}

fn keyword_checks(at: &At<'_>, place: &Place, options: &Options, causes: &mut Vec<Cause>) {
    let of = at.field("type");
    if options.valid_types && !is_type(of.text()) {
        causes.extend(of.one_of(TYPES));
    }
    if let Some(why) = place.no_defaults.as_ref().filter(|_| at.field("default").is_set()) {
        causes.push(at.field("default").forbidden(&format!("must not be set {why}")));
    }
    causes.extend(unsupported(at).map(|(field, said)| said.forbidden(&format!("{field} is not supported"))));
    if of.text() == "null" {
        causes.push(of.forbidden("type cannot be set to null, use nullable as an alternative"));
    }
    if at.field("items").value.is_array() {
        causes.push(at.field("items").forbidden("items must be a schema object and not an array"));
    }
    let embedded = at.field("x-kubernetes-embedded-resource");
    if place.meta && embedded.is_true() {
        causes.push(embedded.forbidden("must not be used inside of resource meta"));
    }
    if at.field("uniqueItems").is_true() {
        let why = "uniqueItems cannot be set to true since the runtime complexity becomes quadratic";
        causes.push(at.field("uniqueItems").forbidden(why));
    }
}

/// Of a type that an extension asks for: missing, or another one.
fn must_be(of: &At<'_>, wanted: &str, why: &str) -> Option<Cause> {
    match of.text() {
        text if text == wanted => None,
        "" => Some(of.required(why)),
        _ => Some(of.invalid(why)),
    }
}

fn map_checks(at: &At<'_>, causes: &mut Vec<Cause>) {
    let preserves = at.field("x-kubernetes-preserve-unknown-fields");
    if preserves.value == &Value::Bool(false) {
        causes.push(preserves.invalid("must be true or undefined"));
    }
    let map_type = at.field("x-kubernetes-map-type");
    if map_type.is_set() {
        causes.extend(must_be(&at.field("type"), "object", "must be object if x-kubernetes-map-type is specified"));
        causes.extend(map_type.one_of(&["atomic", "granular"]));
    }
}

fn list_checks(at: &At<'_>, options: &Options, causes: &mut Vec<Cause>) {
    let (list_type, keys) = (at.field("x-kubernetes-list-type"), at.field("x-kubernetes-list-map-keys"));
    let items = at.field("items");
    if list_type.is_set() {
        match must_be(&at.field("type"), "array", "must be array if x-kubernetes-list-type is specified") {
            Some(wrong) => causes.push(wrong),
            None if options.atomic_sets => causes.extend(not_atomic(at)),
            None => {}
        }
        causes.extend(list_type.one_of(&["atomic", "set", "map"]));
    }
    if keys.len() > 0 && list_type.text() != "map" {
        let why = "must be map if x-kubernetes-list-map-keys is non-empty";
        causes.push(if list_type.is_set() { list_type.invalid(why) } else { list_type.required(why) });
    }
    if list_type.text() != "map" {
        return;
    }
    if keys.len() == 0 {
        causes.push(keys.required("must not be empty if x-kubernetes-list-type is map"));
    }
    if !items.is_set() {
        causes.push(items.required("must have a schema if x-kubernetes-list-type is map"));
    } else if items.value.is_array() {
        causes.push(items.invalid("must only have a single schema if x-kubernetes-list-type is map"));
    } else if items.field("type").text() != "object" {
        let why = "must be object if parent array's x-kubernetes-list-type is map";
        causes.push(items.field("type").invalid(why));
    } else {
        let mut seen = std::collections::BTreeSet::new();
        for key in keys.clone().elements() {
            match property(&items, key.text()) {
                Some(property) if matches!(property.field("type").text(), "array" | "object") => {
                    let why = "must be a scalar type if parent array's x-kubernetes-list-type is map";
                    causes.push(property.field("type").invalid(why));
                }
                Some(_) => {}
                None => causes.push(keys.invalid("entries must all be names of item properties")),
            }
            if !seen.insert(key.text()) {
                causes.push(keys.invalid("must not contain duplicate entries"));
            }
        }
    }
}

/// A property of a schema.
fn property<'a>(schema: &At<'a>, name: &str) -> Option<At<'a>> {
    let value = schema.field("properties").value.get(name)?;
    Some(At { value, path: format!("{}.properties[{name}]", schema.path) })
}

/// The elements of a set are compared as they are: they cannot be merged.
pub(super) fn not_atomic(at: &At<'_>) -> Option<Cause> {
    if at.field("x-kubernetes-list-type").text() != "set" {
        return None;
    }
    let items = at.field("items");
    let why = "must be atomic as item of a list with x-kubernetes-list-type=set";
    match items.field("type").text() {
        "array" => {
            let inner = items.field("x-kubernetes-list-type");
            (!matches!(inner.text(), "" | "atomic")).then(|| inner.invalid(why))
        }
        "object" => {
            let inner = items.field("x-kubernetes-map-type");
            (inner.text() != "atomic").then(|| inner.invalid(why))
        }
        _ => None,
    }
}

/// Elements of sets and maps are there, and keys have values.
pub(super) fn keys_and_sets(at: &At<'_>) -> Vec<Cause> {
    let mut causes = Vec::new();
    let (list_type, items) = (at.field("x-kubernetes-list-type"), at.field("items"));
    if !items.value.is_object() || !matches!(list_type.text(), "set" | "map") {
        return causes;
    }
    if items.field("nullable").is_true() {
        let why = format!("cannot be nullable when x-kubernetes-list-type is {}", list_type.text());
        causes.push(items.field("nullable").forbidden(&why));
    }
    if list_type.text() == "set" {
        return causes;
    }
    let required: Vec<&str> = items.each("required").map(|name| name.text()).collect();
    for key in at.each("x-kubernetes-list-map-keys") {
        let Some(property) = property(&items, key.text()) else { continue };
        if !required.contains(&key.text()) && !property.field("default").is_set() {
            let why =
                "this property is in x-kubernetes-list-map-keys, so it must have a default or be a required property";
            causes.push(property.field("default").required(why));
        }
        if property.field("nullable").is_true() {
            let why = "this property is in x-kubernetes-list-map-keys, so it cannot be nullable";
            causes.push(property.field("nullable").forbidden(why));
        }
    }
    causes
}
