//! Reading and writing `metadata` in an object's JSON.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

/// A field of `metadata`.
pub fn get<'a>(object: &'a Value, field: &str) -> Option<&'a Value> {
    object.get("metadata")?.get(field)
}

/// A string of `metadata`; empty when it is not there.
pub fn text<'a>(object: &'a Value, field: &str) -> &'a str {
    get(object, field).and_then(Value::as_str).unwrap_or_default()
}

/// `metadata` itself, made if need be.
pub fn metadata(object: &mut Value) -> &mut Map<String, Value> {
    section(object, "metadata")
}

/// A top-level object such as `spec`, made if need be.
pub fn section<'a>(object: &'a mut Value, name: &str) -> &'a mut Map<String, Value> {
    as_map(as_map(object).entry(name.to_owned()).or_insert_with(empty))
}

fn empty() -> Value {
    Value::Object(Map::new())
}

/// The map in a value; whatever else it was gives way to one. Decoding has refused other shapes before.
fn as_map(value: &mut Value) -> &mut Map<String, Value> {
    if !value.is_object() {
        *value = empty();
    }
    match value {
        Value::Object(map) => map,
        _ => unreachable!("it was made an object above"),
    }
}

/// Sets a field of `metadata`, or removes it with `None`.
pub fn set(object: &mut Value, field: &str, value: Option<Value>) {
    let set = |metadata: &mut Map<String, Value>| match value {
        Some(value) => drop(metadata.insert(field.to_owned(), value)),
        None => drop(metadata.remove(field)),
    };
    // Nearly always it is there, and need not be named anew.
    match object.get_mut("metadata") {
        Some(Value::Object(metadata)) => set(metadata),
        _ => set(metadata(object)),
    }
}

/// Whether an object is of a type, by what it says; it may say nothing.
///
/// # Errors
/// Why it is not.
pub fn check_type(object: &Value, api_version: &str, kind: &str) -> Result<(), String> {
    let said = |field: &str| object.get(field).and_then(Value::as_str).unwrap_or_default();
    let (own, name) = (said("apiVersion"), said("kind"));
    if (own.is_empty() || own == api_version) && (name.is_empty() || name == kind) {
        return Ok(());
    }
    Err(format!("the object provided is {own} {name}, but this is the path of {api_version} {kind}"))
}

/// Makes an object say that it is of a type.
pub fn set_type(object: &mut Value, api_version: String, kind: &str) {
    if let Some(map) = object.as_object_mut() {
        map.insert("apiVersion".to_owned(), api_version.into());
        map.insert("kind".to_owned(), kind.into());
    }
}

/// `metadata.labels`.
pub fn labels(object: &Value) -> BTreeMap<String, String> {
    let labels = get(object, "labels").and_then(Value::as_object);
    labels.into_iter().flatten().filter_map(|(k, v)| Some((k.clone(), v.as_str()?.to_owned()))).collect()
}

/// `metadata.finalizers`.
pub fn finalizers(object: &Value) -> Vec<&str> {
    let list = get(object, "finalizers").and_then(Value::as_array);
    list.into_iter().flatten().filter_map(Value::as_str).collect()
}

/// Whether its deletion has begun.
pub fn is_deleting(object: &Value) -> bool {
    !text(object, "deletionTimestamp").is_empty()
}

/// The value at a dotted path of scalars, as field selectors compare it.
pub fn field(object: &Value, path: &str) -> Option<String> {
    let mut value = object;
    for part in path.split('.') {
        value = value.get(part)?;
    }
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Bool(_) | Value::Number(_) => Some(value.to_string()),
        _ => None,
    }
}
