//! Lists that are sets or maps hold nothing twice (`x-kubernetes-list-type`).

use std::collections::HashSet;

use serde_json::{Map, Value};

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
            let mut seen = HashSet::new();
            for (index, element) in list.iter().enumerate() {
                let here = format!("{path}[{index}]");
                if let Some(key) = key(schema, element)
                    && !seen.insert(canonical(&key))
                {
                    causes.push(Cause::duplicate(&here, &key));
                }
                if let Some(items) = &schema.items {
                    walk(items, element, &here, causes);
                }
            }
        }
        _ => {}
    }
}

/// What may be there once; `None` in lists that may hold anything.
fn key(schema: &Structural, element: &Value) -> Option<Value> {
    match schema.list_type {
        ListType::Atomic => None,
        ListType::Set => Some(element.clone()),
        ListType::Map => {
            let fields = element.as_object()?;
            let value = |name: &String| {
                let default = || schema.items.as_ref()?.properties.get(name)?.default.clone();
                Some((name.clone(), fields.get(name).cloned().or_else(default)?))
            };
            let key: Map<String, Value> = schema.list_keys.iter().filter_map(value).collect();
            Some(Value::Object(key))
        }
    }
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
