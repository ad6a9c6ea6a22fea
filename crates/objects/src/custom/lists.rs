//! Lists that are sets or maps hold nothing twice (`x-kubernetes-list-type`).

use std::collections::HashMap;

use serde_json::Value;

use super::structural::{ListType, Structural};
use crate::cause::Cause;

/// The elements that are there twice.
pub(super) fn duplicates(schema: &Structural, object: &Value) -> Vec<Cause> {
    let mut causes = Vec::new();
    walk(schema, object, "", &mut causes);
    causes
}

fn walk(schema: &Structural, value: &Value, path: &str, causes: &mut Vec<Cause>) {
    match value {
        Value::Object(map) => {
            for (name, value) in map {
                let Some(below) = schema.field(name) else { continue };
                let here = schema.step(path, name);
                walk(below, value, &here, causes);
            }
        }
        Value::Array(list) => {
            once(schema, list, path, causes);
            let Some(items) = &schema.items else { return };
            for (index, element) in list.iter().enumerate() {
                walk(items, element, &format!("{path}[{index}]"), causes);
            }
        }
        _ => {}
    }
}

/// The elements of one list that are there twice: of each, the second.
fn once(schema: &Structural, list: &[Value], path: &str, causes: &mut Vec<Cause>) {
    let key = match schema.list_type {
        ListType::Atomic => return,
        ListType::Set => |_: &Structural, element: &Value| element.clone(),
        ListType::Map => {
            let is_other = |element: &Value| !element.is_object() && !element.is_null();
            if let Some(index) = list.iter().position(is_other) {
                let shown = list.get(index).unwrap_or(&Value::Null);
                let why = "must be an object for an array of list-type map";
                causes.push(Cause::invalid(format!("{path}[{index}]"), shown, why));
                return;
            }
            key
        }
    };
    let mut seen: HashMap<String, usize> = HashMap::new();
    for (index, element) in list.iter().enumerate() {
        let key = key(schema, element);
        let times = seen.entry(canonical(&key)).or_default();
        *times += 1;
        if *times == 2 {
            causes.push(Cause::duplicate(format!("{path}[{index}]"), &key));
        }
    }
}

/// What may be there once in a list that is a map: the keys that an element has, or that its schema has for it.
pub(super) fn key(schema: &Structural, element: &Value) -> Value {
    let value = |name: &String| {
        let default = || schema.items.as_ref()?.properties.get(name)?.default.clone();
        Some((name.clone(), element.get(name).cloned().or_else(default)?))
    };
    Value::Object(schema.list_keys.iter().filter_map(value).collect())
}

/// One text for each value: `1` and `1.0` are the same number.
pub(super) fn canonical(value: &Value) -> String {
    match value {
        Value::Number(number) => match number.as_f64() {
            Some(float) if !number.is_f64() || float.fract() != 0.0 || float.abs() > 9e15 => number.to_string(),
            Some(float) => format!("{float:.0}"),
            None => number.to_string(),
        },
        Value::Array(list) => format!("[{}]", list.iter().map(canonical).collect::<Vec<_>>().join(",")),
        Value::Object(map) => {
            let mut fields: Vec<String> =
                map.iter().map(|(name, value)| format!("{name:?}:{}", canonical(value))).collect();
            fields.sort();
            format!("{{{}}}", fields.join(","))
        }
        other => other.to_string(),
    }
}
