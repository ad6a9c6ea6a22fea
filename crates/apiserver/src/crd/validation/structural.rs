//! Whether a schema is structural: every field has a type, and the logical parts (`allOf`, …) only constrain what is specified
//! beside them (apiextensions' `structural-schema` validation).

use serde_json::{Map, Value};

use super::schema;
use crate::{status::Cause, validation::At};

/// Schemas within schemas, at most.
const DEPTH: usize = 100;

/// Where a schema stands.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    Root,
    Field,
    Item,
}

/// What is wrong with the schema of a version.
pub(super) fn check(root: &At<'_>, causes: &mut Vec<Cause>) {
    let before = causes.len();
    specified(root, Place::Root, DEPTH, true, causes);
    root_metadata(root, causes);
    if causes.len() == before {
        schema::defaults(root, causes);
    }
}

/// At the root, `metadata` may only constrain the name.
fn root_metadata(root: &At<'_>, causes: &mut Vec<Cause>) {
    let metadata = root.field("properties").field("metadata");
    let Some(map) = metadata.value.as_object() else { return };
    let allowed = |(field, value): (&String, &Value)| match field.as_str() {
        "type" => value == "object",
        "description" => true,
        "properties" => {
            value.as_object().is_some_and(|map| map.keys().all(|name| name == "name" || name == "generateName"))
        }
        _ => false,
    };
    if !map.iter().all(allowed) {
        let at = At { value: metadata.value, path: format!("{}.properties[metadata]", root.path) };
        causes.push(at.forbidden(
            "must not specify anything other than name and generateName, but metadata is implicitly specified",
        ));
    }
}

/// A schema that specifies fields, and those below it.
fn specified(at: &At<'_>, place: Place, left: usize, correlatable: bool, causes: &mut Vec<Cause>) {
    if left == 0 {
        causes.push(at.invalid_shown(&format!("schemas are nested deeper than {DEPTH} levels")));
        return;
    }
    let Some(map) = at.value.as_object() else { return };
    of_type(at, place, causes);
    schema::generic(at, map, causes);
    schema::extensions(at, causes);
    schema::rules(at, place == Place::Root, correlatable, causes);
    for (name, below) in at.field("properties").value.as_object().into_iter().flatten() {
        let below = At { value: below, path: format!("{}.properties[{name}]", at.path) };
        specified(&below, Place::Field, left - 1, correlatable, causes);
    }
    let additional = at.field("additionalProperties");
    if additional.value.is_object() {
        specified(&additional, Place::Field, left - 1, correlatable, causes);
    }
    let items = at.field("items");
    if items.value.is_object() {
        // Elements have a past only where they have names.
        let correlatable = correlatable && at.field("x-kubernetes-list-type").text() == "map";
        specified(&items, Place::Item, left - 1, correlatable, causes);
    } else if at.field("type").text() == "array" && !items.is_set() {
        causes.push(items.required("must be specified"));
    }
    let mut logical = Vec::new();
    for field in ["allOf", "anyOf", "oneOf"] {
        logical.extend(at.each(field));
    }
    logical.extend(Some(at.field("not")).filter(At::is_set));
    for part in logical {
        constrains(&part, at, is_int_or_string(map), left - 1, causes);
    }
}

/// `anyOf: [{type: integer}, {type: string}]` may say types beside `x-kubernetes-int-or-string`.
fn is_int_or_string(map: &Map<String, Value>) -> bool {
    map.get("x-kubernetes-int-or-string") == Some(&Value::Bool(true))
}

fn of_type(at: &At<'_>, place: Place, causes: &mut Vec<Cause>) {
    let of = at.field("type");
    let is = |field: &str| at.field(field).is_true();
    match (of.text(), place) {
        ("", Place::Root) => causes.push(of.required("must not be empty at the root")),
        ("object", Place::Root) => {}
        (_, Place::Root) => causes.push(of.invalid("must be object at the root")),
        ("", _) if is("x-kubernetes-int-or-string") || is("x-kubernetes-preserve-unknown-fields") => {}
        ("", Place::Field) => causes.push(of.required("must not be empty for specified object fields")),
        ("", Place::Item) => causes.push(of.required("must not be empty for specified array items")),
        _ => {}
    }
    if is("x-kubernetes-int-or-string") && !of.text().is_empty() {
        causes.push(of.invalid("must be empty if x-kubernetes-int-or-string is true"));
    }
    if !of.text().is_empty() {
        causes.extend(of.one_of(&["array", "boolean", "integer", "number", "object", "string"]));
    }
}

/// What a logical part may not say: it constrains what stands beside it, and specifies nothing.
const SPECIFIES: &[&str] = &[
    "type",
    "description",
    "title",
    "default",
    "nullable",
    "additionalProperties",
    "x-kubernetes-preserve-unknown-fields",
    "x-kubernetes-embedded-resource",
    "x-kubernetes-int-or-string",
    "x-kubernetes-list-type",
    "x-kubernetes-list-map-keys",
    "x-kubernetes-map-type",
    "x-kubernetes-validations",
];

/// A logical part of a schema, and the schema that it constrains.
fn constrains(part: &At<'_>, beside: &At<'_>, types: bool, left: usize, causes: &mut Vec<Cause>) {
    if left == 0 {
        causes.push(part.invalid_shown(&format!("schemas are nested deeper than {DEPTH} levels")));
        return;
    }
    let Some(map) = part.value.as_object() else { return };
    for field in SPECIFIES.iter().filter(|field| part.field(field).is_set() && !(types && **field == "type")) {
        let at = part.field(field);
        if !at.value.is_boolean() || at.is_true() {
            causes.push(at.forbidden("must be empty to be structural"));
        }
    }
    schema::generic(part, map, causes);
    for (name, below) in part.field("properties").value.as_object().into_iter().flatten() {
        let path = format!("{}.properties[{name}]", part.path);
        let below = At { value: below, path };
        let found = beside.field("properties").value.get(name);
        let named = At { value: found.unwrap_or(&Value::Null), path: format!("{}.properties[{name}]", beside.path) };
        let open = beside.field("additionalProperties").value.is_object();
        if found.is_none() && !open {
            causes.push(named.required(&format!("because it is defined in {}", below.path)));
            continue;
        }
        let beside = if found.is_some() { named } else { beside.field("additionalProperties") };
        constrains(&below, &beside, below_types(&beside), left - 1, causes);
    }
    let items = part.field("items");
    if items.is_set() {
        let named = beside.field("items");
        if named.is_set() {
            constrains(&items, &named, below_types(&named), left - 1, causes);
        } else {
            causes.push(named.required(&format!("because it is defined in {}", items.path)));
        }
    }
    for field in ["allOf", "anyOf", "oneOf"] {
        for below in part.each(field) {
            constrains(&below, beside, types, left - 1, causes);
        }
    }
    let not = part.field("not");
    if not.is_set() {
        constrains(&not, beside, types, left - 1, causes);
    }
}

fn below_types(beside: &At<'_>) -> bool {
    beside.value.as_object().is_some_and(is_int_or_string)
}
