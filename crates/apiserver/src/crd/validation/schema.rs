//! What each schema may say by itself: OpenAPI's keywords, Kubernetes' extensions, defaults.

use ::objects::{
    custom::{self, Structural, compile_pattern},
    jsonpath::JsonPath,
};
use serde_json::{Map, Value};

use crate::{status::Cause, validation::At};

/// Keywords that definitions may not use.
const UNSUPPORTED: &[&str] =
    &["$ref", "definitions", "dependencies", "id", "patternProperties", "$schema", "additionalItems"];

/// The keywords of OpenAPI.
pub(super) fn generic(at: &At<'_>, map: &Map<String, Value>, causes: &mut Vec<Cause>) {
    for field in UNSUPPORTED.iter().filter(|field| map.get(**field).is_some_and(|value| !value.is_null())) {
        causes.push(at.field(field).forbidden(&format!("{field} is not supported")));
    }
    if at.field("uniqueItems").is_true() {
        let why = "uniqueItems cannot be set to true since the runtime complexity becomes quadratic";
        causes.push(at.field("uniqueItems").forbidden(why));
    }
    let additional = at.field("additionalProperties");
    if additional.value == &Value::Bool(false) {
        causes.push(additional.forbidden("additionalProperties cannot be set to false"));
    } else if additional.is_set() && at.field("properties").len() > 0 {
        causes.push(additional.forbidden("additionalProperties and properties are mutual exclusive"));
    }
    if at.field("items").value.is_array() {
        causes.push(at.field("items").forbidden("items must be a schema object and not an array"));
    }
    let pattern = at.field("pattern");
    if let Err(why) = compile_pattern(pattern.text()) {
        causes.push(pattern.invalid(&format!("must be a valid regular expression, but isn't: {why}")));
    }
    for field in ["maxLength", "minLength", "maxItems", "minItems", "maxProperties", "minProperties"] {
        causes.extend(at.field(field).not_negative());
    }
    let allowed = at.field("enum");
    if allowed.value.is_array() && allowed.len() == 0 {
        causes.push(allowed.invalid("must not be empty"));
    }
}

/// Kubernetes' extensions.
pub(super) fn extensions(at: &At<'_>, causes: &mut Vec<Cause>) {
    let of = at.field("type").text();
    let embedded = at.field("x-kubernetes-embedded-resource");
    let preserves = at.field("x-kubernetes-preserve-unknown-fields");
    if preserves.value == &Value::Bool(false) {
        causes.push(preserves.invalid("must be true or undefined"));
    }
    if embedded.is_true() {
        if of != "object" {
            causes.push(at.field("type").invalid("must be object if x-kubernetes-embedded-resource is true"));
        }
        if !preserves.is_true() && at.field("properties").len() == 0 {
            let why = "must not be empty if x-kubernetes-embedded-resource is true without x-kubernetes-preserve-unknown-fields";
            causes.push(at.field("properties").required(why));
        }
    }
    let map_type = at.field("x-kubernetes-map-type");
    if map_type.is_set() {
        causes.extend(map_type.one_of(&["atomic", "granular"]));
        if of != "object" {
            causes.push(at.field("type").invalid("must be object if x-kubernetes-map-type is specified"));
        }
    }
    lists(at, of, causes);
}

/// `x-kubernetes-validations`. `correlatable`: whether a value here can be told from one update to the next.
pub(super) fn rules(at: &At<'_>, whole: bool, correlatable: bool, causes: &mut Vec<Cause>) {
    let list = at.field("x-kubernetes-validations");
    for rule in list.clone().elements() {
        causes.extend(rule.field("reason").one_of(custom::rules::REASONS));
        let path = rule.field("fieldPath");
        if !path.text().is_empty() && JsonPath::parse(path.text()).is_err() {
            causes.push(path.invalid("fieldPath must be a valid path"));
        }
        if rule.field("message").text().trim().contains('\n') {
            causes.push(rule.field("message").invalid("message must not contain line breaks"));
        }
    }
    for (index, field, why) in custom::rules::issues(at.value, whole, correlatable) {
        let rule = list.clone().elements().nth(index).map(|rule| rule.field(field));
        causes.extend(rule.map(|rule| if rule.is_set() { rule.invalid(&why) } else { rule.required(&why) }));
    }
}

fn lists(at: &At<'_>, of: &str, causes: &mut Vec<Cause>) {
    let (list_type, keys) = (at.field("x-kubernetes-list-type"), at.field("x-kubernetes-list-map-keys"));
    if keys.len() > 0 && list_type.text() != "map" {
        causes.push(list_type.required("must be map if x-kubernetes-list-map-keys is non-empty"));
    }
    if !list_type.is_set() {
        return;
    }
    causes.extend(list_type.one_of(&["atomic", "map", "set"]));
    if of != "array" {
        causes.push(at.field("type").invalid("must be array if x-kubernetes-list-type is specified"));
        return;
    }
    let items = at.field("items");
    let scalar = |of: &str| !matches!(of, "object" | "array");
    match list_type.text() {
        "set" => {
            if items.field("nullable").is_true() {
                causes.push(items.field("nullable").forbidden("cannot be nullable when x-kubernetes-list-type is set"));
            }
            let (of, map_type) = (items.field("type"), items.field("x-kubernetes-map-type"));
            if of.text() == "object" && map_type.text() != "atomic" {
                causes.push(map_type.invalid("must be atomic as item of a list with x-kubernetes-list-type=set"));
            }
            let inner = items.field("x-kubernetes-list-type");
            if of.text() == "array" && !matches!(inner.text(), "" | "atomic") {
                causes.push(inner.invalid("must be atomic as item of a list with x-kubernetes-list-type=set"));
            }
        }
        "map" => {
            if keys.len() == 0 {
                causes.push(keys.required("must not be empty if x-kubernetes-list-type is map"));
            }
            if items.field("type").text() != "object" {
                causes.push(
                    items.field("type").invalid("must be object if parent array's x-kubernetes-list-type is map"),
                );
            }
            let required: Vec<&str> = items.each("required").map(|name| name.text()).collect();
            for key in keys.clone().elements() {
                let path = format!("{}.properties[{}]", items.path, key.text());
                let Some(property) = items.field("properties").value.get(key.text()) else {
                    causes.push(key.invalid("entries must all be names of item properties"));
                    continue;
                };
                let property = At { value: property, path };
                if !scalar(property.field("type").text()) {
                    causes.push(
                        property
                            .field("type")
                            .invalid("must be a scalar type if parent array's x-kubernetes-list-type is map"),
                    );
                }
                if !required.contains(&key.text()) && !property.field("default").is_set() {
                    let why = "this property is in x-kubernetes-list-map-keys, so it must have a default or be a required property";
                    causes.push(property.field("default").required(why));
                }
            }
            causes.extend(crate::validation::duplicates(keys.clone().elements()));
        }
        _ => {}
    }
}

/// Defaults fit their own schemas, and say nothing that these do not have.
pub(super) fn defaults(at: &At<'_>, causes: &mut Vec<Cause>) {
    let default = at.field("default");
    if default.is_set() {
        // As a field of an object, so that nothing of it counts as an object's own apiVersion.
        let mut within = serde_json::json!({"default": default.value});
        let holder = serde_json::json!({"type": "object", "properties": {"default": at.value}});
        let holder = Structural::read(&holder);
        holder.prune(&mut within);
        let schema = holder.properties.get("default");
        if within.get("default") != Some(default.value) {
            causes.push(default.invalid("must not have unknown fields"));
        } else if let Some(schema) = schema {
            let mut whole = default.value.clone();
            schema.fill(&mut whole);
            for wrong in custom::validate(schema, &whole, None) {
                let field = if wrong.field == "<nil>" {
                    default.path.clone()
                } else {
                    format!("{}.{}", default.path, wrong.field)
                };
                causes.push(Cause { field, ..wrong });
            }
        }
    }
    for (name, below) in at.field("properties").value.as_object().into_iter().flatten() {
        defaults(&At { value: below, path: format!("{}.properties[{name}]", at.path) }, causes);
    }
    for field in ["additionalProperties", "items"] {
        let below = at.field(field);
        if below.value.is_object() {
            defaults(&below, causes);
        }
    }
}
