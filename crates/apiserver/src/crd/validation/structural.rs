//! Whether a schema is structural: every field has a type, and the logical parts (`allOf`, …) only constrain what is specified
//! beside them (apiextensions' `ValidateStructural`).

use ::objects::custom::compile_pattern;
use serde_json::{Map, Value, json};

use crate::{status::Cause, validation::At};

/// Where a schema stands.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    Root,
    Field,
    Item,
}

/// What is wrong with a schema, in the order of the messages.
pub(super) fn check(root: &At<'_>) -> Vec<Cause> {
    let mut causes = Vec::new();
    specified(root, Place::Root, &mut causes);
    complete_parts(root, root, &mut causes);
    causes.sort_by(|a, b| (&a.field, &a.message).cmp(&(&b.field, &b.message)));
    causes
}

/// The schemas of a logical part's alternatives.
fn parts<'a>(at: &At<'a>) -> impl Iterator<Item = At<'a>> {
    let not = Some(at.field("not")).filter(|not| not.value.is_object());
    ["anyOf", "allOf", "oneOf"].map(|field| at.each(field)).into_iter().flatten().chain(not)
}

/// A schema that specifies fields, and those below it.
fn specified(at: &At<'_>, place: Place, causes: &mut Vec<Cause>) {
    let items = at.field("items");
    let is = |field: &str| at.field(field).is_true();
    let of = at.field("type");
    if of.text() == "array" && !items.is_set() {
        causes.push(items.required("must be specified"));
    }
    if items.value.is_object() {
        specified(&items, Place::Item, causes);
    }
    for (_, property) in at.field("properties").entries() {
        specified(&property, Place::Field, causes);
    }
    let additional = at.field("additionalProperties");
    if additional.is_set() {
        if place == Place::Root {
            causes.push(additional.forbidden("must not be used at the root"));
        }
        if additional.value.is_object() {
            specified(&additional, Place::Field, causes);
        }
    }
    for (field, also) in [
        ("x-kubernetes-preserve-unknown-fields", "x-kubernetes-int-or-string"),
        ("x-kubernetes-embedded-resource", "x-kubernetes-int-or-string"),
    ] {
        if is(field) && is(also) {
            causes.push(at.field(field).invalid(&format!("must be false if {also} is true")));
        }
    }
    constraints(at, int_or_string(at.field("anyOf").value), first_is_int_or_string(at), causes);
    let embedded = is("x-kubernetes-embedded-resource");
    of_type(
        &of,
        place,
        embedded,
        is("x-kubernetes-int-or-string") || is("x-kubernetes-preserve-unknown-fields"),
        causes,
    );
    if embedded && additional.is_set() {
        causes.push(additional.forbidden("must not be used if x-kubernetes-embedded-resource is set"));
    }
    meta(at, place, embedded, causes);
    if embedded && !is("x-kubernetes-preserve-unknown-fields") && at.field("properties").len() == 0 {
        let why =
            "must not be empty if x-kubernetes-embedded-resource is true without x-kubernetes-preserve-unknown-fields";
        causes.push(at.field("properties").required(why));
    }
}

fn of_type(of: &At<'_>, place: Place, embedded: bool, untyped: bool, causes: &mut Vec<Cause>) {
    const EMBEDDED: &str = "must be object if x-kubernetes-embedded-resource is true";
    match (of.text(), place) {
        ("", _) if embedded => causes.push(of.required(EMBEDDED)),
        (text, _) if embedded && text != "object" => causes.push(of.invalid(EMBEDDED)),
        ("", _) if untyped => {}
        ("", Place::Root) => causes.push(of.required("must not be empty at the root")),
        ("", Place::Field) => causes.push(of.required("must not be empty for specified object fields")),
        ("", Place::Item) => causes.push(of.required("must not be empty for specified array items")),
        _ => {}
    }
    if place == Place::Root && !matches!(of.text(), "" | "object") {
        causes.push(of.invalid("must be object at the root"));
    }
}

/// What objects say of themselves is a matter of every kind: schemas hardly constrain it.
fn meta(at: &At<'_>, place: Place, embedded: bool, causes: &mut Vec<Cause>) {
    let is_object = place == Place::Root || embedded;
    for (name, property) in at.field("properties").entries() {
        let of = property.field("type");
        match name {
            "kind" | "apiVersion" if is_object && of.text() != "string" => {
                causes.push(Cause::invalid(&of.path, &of.text().into(), "must be string"));
            }
            "metadata" => {
                if is_object && of.text() != "object" {
                    causes.push(Cause::invalid(&of.path, &of.text().into(), "must be object"));
                }
                if place == Place::Root && !only_names(property.value) {
                    let why = "must not specify anything other than name and generateName, but metadata is implicitly specified";
                    causes.push(property.forbidden(why));
                }
            }
            _ => {}
        }
    }
}

fn only_names(metadata: &Value) -> bool {
    let unset = |value: &Value| value.is_null() || [json!(""), json!(false), json!({})].contains(value);
    metadata.as_object().into_iter().flatten().all(|(field, value)| match field.as_str() {
        "type" | "default" => true,
        "properties" => {
            value.as_object().is_some_and(|map| map.keys().all(|name| matches!(name.as_str(), "name" | "generateName")))
        }
        _ => unset(value),
    })
}

/// `anyOf: [{type: integer}, {type: string}]` says types, which is allowed in just this form.
fn int_or_string(any_of: &Value) -> bool {
    *any_of == json!([{"type": "integer"}, {"type": "string"}])
}

fn first_is_int_or_string(at: &At<'_>) -> bool {
    at.each("allOf").next().is_some_and(|first| int_or_string(first.field("anyOf").value))
}

/// The constraints of a schema. What takes the form of an int-or-string is passed over.
fn constraints(at: &At<'_>, skip_any: bool, skip_first: bool, causes: &mut Vec<Cause>) {
    if !skip_any {
        at.each("anyOf").for_each(|part| constrains(&part, false, causes));
    }
    for (index, part) in at.each("allOf").enumerate() {
        constrains(&part, skip_first && index == 0, causes);
    }
    at.each("oneOf").for_each(|part| constrains(&part, false, causes));
    let not = at.field("not");
    if not.value.is_object() {
        constrains(&not, false, causes);
    }
    let pattern = at.field("pattern");
    if let Err(why) = compile_pattern(pattern.text()) {
        causes.push(pattern.invalid(&format!("must be a valid regular expression, but isn't: {why}")));
    }
}

/// What a logical part may not say: it constrains what stands beside it, and specifies nothing.
const SPECIFIES: &[(&str, &str)] = &[
    ("type", "must be empty to be structural"),
    ("additionalProperties", "must be undefined to be structural"),
    ("default", "must be undefined to be structural"),
    ("title", "must be empty to be structural"),
    ("description", "must be empty to be structural"),
    ("nullable", "must be false to be structural"),
    ("x-kubernetes-preserve-unknown-fields", "must be false to be structural"),
    ("x-kubernetes-embedded-resource", "must be false to be structural"),
    ("x-kubernetes-int-or-string", "must be false to be structural"),
    ("x-kubernetes-list-map-keys", "must be empty to be structural"),
    ("x-kubernetes-list-type", "must be undefined to be structural"),
    ("x-kubernetes-map-type", "must be undefined to be structural"),
    ("x-kubernetes-validations", "must be empty to be structural"),
];

fn constrains(part: &At<'_>, skip_any: bool, causes: &mut Vec<Cause>) {
    constraints(part, skip_any, false, causes);
    let items = part.field("items");
    if items.value.is_object() {
        constrains(&items, false, causes);
    }
    for (name, property) in part.field("properties").entries() {
        constrains(&property, false, causes);
        if name == "metadata" {
            causes.push(property.forbidden("must not be specified in a nested context"));
        }
    }
    for (field, why) in SPECIFIES {
        let said = part.field(field);
        let empty = match said.value {
            Value::Null | Value::Bool(false) => true,
            Value::String(text) => text.is_empty(),
            Value::Array(list) => list.is_empty(),
            _ => false,
        };
        if !empty {
            causes.push(said.forbidden(why));
        }
    }
}

/// Whatever the logical parts of a schema constrain is specified beside them.
fn complete_parts(part: &At<'_>, beside: &At<'_>, causes: &mut Vec<Cause>) {
    parts(part).for_each(|below| complete(&below, Some(beside), &beside.path, causes));
}

fn complete(part: &At<'_>, beside: Option<&At<'_>>, path: &str, causes: &mut Vec<Cause>) {
    let Some(beside) = beside else {
        causes.push(Cause::required(path, &format!("because it is defined in {}", part.path)));
        return;
    };
    complete_parts(part, beside, causes);
    let items = part.field("items");
    if items.value.is_object() {
        let found = Some(beside.field("items")).filter(|found| found.value.is_object());
        complete(&items, found.as_ref(), &format!("{}.items", beside.path), causes);
    }
    let none = Map::new();
    let known = beside.field("properties").value.as_object().unwrap_or(&none);
    for (name, property) in part.field("properties").entries() {
        let path = format!("{}.properties[{name}]", beside.path);
        let found = known.get(name).map(|value| At { value, path: path.clone() });
        complete(&property, found.as_ref(), &path, causes);
    }
}
