//! Tables of custom resources: the columns that their definition has, or the age.

use jiff::Timestamp;
use objects::kinds::Kind;
use serde_json::{Value, json};

use crate::registry::meta;

/// What upstream says of the columns that every table has.
const NAME: &str = "Name must be unique within a namespace. Is required when creating resources, although some resources may allow a client to request the generation of an appropriate name automatically.";
const AGE: &str = "CreationTimestamp is a timestamp representing the server time when this object was created.";

/// The table of some objects of a custom kind.
pub(super) fn table(
    kind: &Kind,
    objects: &[&Value],
    include: Option<&str>,
    whole: impl Fn(&Value) -> Value,
    now: Timestamp,
) -> Value {
    let columns = kind.definition().map(|definition| definition.columns.as_slice()).unwrap_or_default();
    let mut definitions =
        vec![json!({"name": "Name", "type": "string", "format": "name", "description": NAME, "priority": 0})];
    if columns.is_empty() {
        definitions.push(json!({"name": "Age", "type": "date", "format": "", "description": AGE, "priority": 0}));
    }
    definitions.extend(columns.iter().map(|column| {
        json!({"name": column.name, "type": column.of, "format": column.format, "priority": column.priority,
            "description": column.description})
    }));
    let rows: Vec<Value> = objects
        .iter()
        .map(|object| {
            let object = whole(object);
            let mut cells = vec![Value::from(meta::text(&object, "name"))];
            if columns.is_empty() {
                cells.push(super::age(meta::text(&object, "creationTimestamp"), now).into());
            }
            cells.extend(columns.iter().map(|column| column.cell(&object, |time| super::age(time, now))));
            json!({"cells": cells, "object": super::shown(&object, include, Value::clone)})
        })
        .collect();
    json!({"kind": "Table", "apiVersion": "meta.k8s.io/v1", "metadata": {}, "columnDefinitions": definitions, "rows": rows})
}
