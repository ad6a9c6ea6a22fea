//! Kubernetes objects within custom resources (`x-kubernetes-embedded-resource`): each says what it is, and has the metadata that
//! every object has (apiextensions' `objectmeta`).

use serde_json::Value;

use super::structural::Structural;
use crate::{cause::Cause, names};

/// What an embedded object says of itself that it cannot.
#[derive(Clone, Debug, PartialEq)]
pub struct Wrong {
    /// Where it is.
    pub path: String,
    /// What it is.
    pub value: Value,
    /// Why it cannot be, in Go's words.
    pub message: String,
}

/// Takes unknown fields out of the metadata of the embedded objects; gives their paths, in order.
///
/// # Errors
/// When a field is of the wrong type.
pub fn conform(schema: &Structural, object: &mut Value) -> Result<Vec<String>, Wrong> {
    let mut unknown = Vec::new();
    conform_below(schema, object, "", &mut unknown)?;
    unknown.sort();
    Ok(unknown)
}

fn conform_below(schema: &Structural, value: &mut Value, path: &str, unknown: &mut Vec<String>) -> Result<(), Wrong> {
    if !schema.has_embedded() {
        return Ok(());
    }
    if schema.embedded && value.is_object() {
        conform_own(value, path, unknown)?;
    }
    match value {
        Value::Object(map) => {
            for (name, value) in map {
                let Some(below) = schema.field(name) else { continue };
                conform_below(below, value, &schema.step(path, name), unknown)?;
            }
        }
        Value::Array(list) => {
            let Some(items) = &schema.items else { return Ok(()) };
            for (index, value) in list.iter_mut().enumerate() {
                conform_below(items, value, &format!("{path}[{index}]"), unknown)?;
            }
        }
        _ => {}
    }
    Ok(())
}

fn conform_own(object: &mut Value, path: &str, unknown: &mut Vec<String>) -> Result<(), Wrong> {
    let here = |field: &str| if path.is_empty() { field.to_owned() } else { format!("{path}.{field}") };
    for field in ["apiVersion", "kind"] {
        if let Some(value) = object.get(field).filter(|value| !value.is_string()) {
            let message = "must be a string".to_owned();
            return Err(Wrong { path: here(field), value: value.clone(), message });
        }
    }
    let before = object.get("metadata").cloned();
    match super::conform_metadata(object) {
        Ok(found) => unknown.extend(found.iter().map(|field| here(field))),
        Err(message) => {
            return Err(Wrong { path: here("metadata"), value: before.unwrap_or_default(), message });
        }
    }
    // A time that is none is what Go writes for an object that was not made yet.
    if let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut)
        && metadata.get("creationTimestamp").is_some_and(Value::is_null)
    {
        metadata.remove("creationTimestamp");
    }
    Ok(())
}

/// What is wrong with the metadata of an object: the metadata, and its path.
pub type MetadataCheck = fn(&Value, &str) -> Vec<Cause>;

/// What is wrong with what the embedded objects say of themselves.
pub fn validate(schema: &Structural, object: &Value, metadata: MetadataCheck) -> Vec<Cause> {
    let mut causes = Vec::new();
    validate_below(schema, object, "", metadata, &mut causes);
    causes
}

fn validate_below(schema: &Structural, value: &Value, path: &str, metadata: MetadataCheck, causes: &mut Vec<Cause>) {
    if !schema.has_embedded() {
        return;
    }
    if schema.embedded && value.is_object() {
        own(value, path, metadata, causes);
    }
    match value {
        Value::Object(map) => {
            for (name, value) in map {
                let Some(below) = schema.field(name) else { continue };
                validate_below(below, value, &schema.step(path, name), metadata, causes);
            }
        }
        Value::Array(list) => {
            let Some(items) = &schema.items else { return };
            for (index, value) in list.iter().enumerate() {
                validate_below(items, value, &format!("{path}[{index}]"), metadata, causes);
            }
        }
        _ => {}
    }
}

fn own(object: &Value, path: &str, check: MetadataCheck, causes: &mut Vec<Cause>) {
    let here = |field: &str| if path.is_empty() { field.to_owned() } else { format!("{path}.{field}") };
    for field in ["apiVersion", "kind"] {
        let Some(value) = object.get(field) else {
            causes.push(Cause::required(here(field), ""));
            continue;
        };
        let wrong = match value.as_str() {
            None => Some("must be a string".to_owned()),
            Some("") => Some("must not be empty".to_owned()),
            Some(text) if field == "apiVersion" => {
                (text.split('/').count() > 2).then(|| format!("unexpected GroupVersion string: {text}"))
            }
            Some(text) => {
                let wrong = names::dns_1035_label(&text.to_lowercase());
                let why = || format!("may have mixed case, but should otherwise match: {}", wrong.join(","));
                (!wrong.is_empty()).then(why)
            }
        };
        causes.extend(wrong.map(|why| Cause::invalid(here(field), value, &why)));
    }
    if let Some(metadata) = object.get("metadata") {
        causes.extend(check(metadata, &here("metadata")));
    }
}
