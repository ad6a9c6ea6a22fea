//! Tables: what `kubectl get` prints, with upstream's columns (kubernetes/pkg/printers/internalversion, and the printer columns
//! of Gateway API's definitions). Cells are made of objects as they are stored.

mod autoscaler;
mod cluster;
mod columns;
mod custom;
mod network;
mod pod;
mod storage;
mod workload;

use jiff::Timestamp;
use objects::kinds::Kind;
use serde_json::{Value, json};

use crate::registry::meta;

/// What a cell shows of an object.
type Cell = fn(&Value, Timestamp) -> Value;

/// A column of a table.
#[derive(Clone, Copy)]
struct Column {
    /// The heading.
    name: &'static str,
    /// `string`, `integer` or `date`.
    of: &'static str,
    /// Whether only `-o wide` shows it.
    wide: bool,
    cell: Cell,
}

const fn column(name: &'static str, cell: Cell) -> Column {
    Column { name, of: "string", wide: false, cell }
}

const fn integer(name: &'static str, cell: Cell) -> Column {
    Column { name, of: "integer", wide: false, cell }
}

const fn wide(name: &'static str, cell: Cell) -> Column {
    Column { name, of: "string", wide: true, cell }
}

const NAME: Column = column("Name", |object, _| meta::text(object, "name").into());
const AGE: Column = column("Age", |object, now| age(meta::text(object, "creationTimestamp"), now).into());

/// The table of some objects of one kind (`metav1.Table`). `include` is the query's `includeObject`.
pub fn table(kind: &Kind, objects: &[&Value], include: Option<&str>, now: Timestamp) -> Value {
    let shown = |object: &Value| crate::convert::from_stored(kind, object.clone());
    if kind.is_custom() {
        return custom::table(kind, objects, include, shown, now);
    }
    let mut table = of_columns(&columns::of(kind), objects, include, shown, now);
    if kind.kind == "Pod" {
        let rows = table.get_mut("rows").and_then(Value::as_array_mut).into_iter().flatten();
        for (row, pod) in rows.zip(objects) {
            if let (Some(row), Some(ended)) = (row.as_object_mut(), pod::ended(pod)) {
                row.insert("conditions".to_owned(), json!([ended]));
            }
        }
    }
    table
}

/// What a Scale is shown with.
const SCALE: &[Column] = &[
    NAME,
    integer("Desired", |scale, _| number(scale, "/spec/replicas").into()),
    integer("Available", |scale, _| number(scale, "/status/replicas").into()),
    AGE,
];

/// The table of the Scale of an object. `include` is the query's `includeObject`.
pub fn scale(scale: &Value, include: Option<&str>, now: Timestamp) -> Value {
    of_columns(SCALE, &[scale], include, Value::clone, now)
}

fn of_columns(
    columns: &[Column],
    objects: &[&Value],
    include: Option<&str>,
    whole: impl Fn(&Value) -> Value,
    now: Timestamp,
) -> Value {
    let definitions: Vec<Value> = columns
        .iter()
        .map(|column| {
            let format = if column.name == "Name" { "name" } else { "" };
            let priority = i32::from(column.wide);
            json!({"name": column.name, "type": column.of, "format": format, "description": "", "priority": priority})
        })
        .collect();
    let rows: Vec<Value> = objects
        .iter()
        .map(|object| {
            let cells: Vec<Value> = columns.iter().map(|column| (column.cell)(object, now)).collect();
            json!({"cells": cells, "object": shown(object, include, &whole)})
        })
        .collect();
    json!({"kind": "Table", "apiVersion": "meta.k8s.io/v1", "metadata": {}, "columnDefinitions": definitions, "rows": rows})
}

/// The object of a row, as the query's `includeObject` wants it.
fn shown(object: &Value, include: Option<&str>, whole: impl Fn(&Value) -> Value) -> Value {
    match include {
        Some("Object") => whole(object),
        Some("None") => Value::Null,
        _ => {
            json!({"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": object.get("metadata")})
        }
    }
}

/// How long ago a time was, as [`duration`]; `<unknown>` if it is not a time.
fn age(time: &str, now: Timestamp) -> String {
    match time.parse::<Timestamp>() {
        Ok(then) => duration(now.duration_since(then).as_secs()),
        Err(_) => "<unknown>".to_owned(),
    }
}

/// Seconds as `duration.HumanDuration` writes them.
fn duration(seconds: i64) -> String {
    let (minutes, hours, days) = (seconds / 60, seconds / 3600, seconds / 86400);
    let two = |big: i64, unit: char, small: i64, rest: char| {
        if small == 0 { format!("{big}{unit}") } else { format!("{big}{unit}{small}{rest}") }
    };
    match seconds {
        // A clock that is a little behind is no news; one that is far behind is.
        ..-1 => "<invalid>".to_owned(),
        -1 => "0s".to_owned(),
        0..120 => format!("{seconds}s"),
        120..600 => two(minutes, 'm', seconds % 60, 's'),
        600..10_800 => format!("{minutes}m"),
        10_800..28_800 => two(hours, 'h', minutes % 60, 'm'),
        28_800..172_800 => format!("{hours}h"),
        172_800..691_200 => two(days, 'd', hours % 24, 'h'),
        691_200..63_072_000 => format!("{days}d"),
        63_072_000..252_288_000 => two(days / 365, 'y', days % 365, 'd'),
        _ => format!("{}y", days / 365),
    }
}

/// Labels as `a=1,b=2`, or what upstream shows for none.
fn labels(labels: Option<&Value>) -> String {
    let labels = labels.and_then(Value::as_object).into_iter().flatten();
    let mut all: Vec<String> = labels.map(|(k, v)| format!("{k}={}", v.as_str().unwrap_or_default())).collect();
    all.sort();
    if all.is_empty() { "<none>".to_owned() } else { all.join(",") }
}

/// A label selector in its text form, or what upstream shows for one that selects nothing or is not there.
fn selector(selector: Option<&Value>) -> String {
    let text = selector.map(crate::scale::selector_text).unwrap_or_default();
    if text.is_empty() { "<none>".to_owned() } else { text }
}

/// The text at a pointer; empty if there is none.
fn text<'a>(object: &'a Value, pointer: &str) -> &'a str {
    object.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

/// The text at a pointer, or what upstream shows for none.
fn text_or<'a>(object: &'a Value, pointer: &str, none: &'a str) -> &'a str {
    match text(object, pointer) {
        "" => none,
        text => text,
    }
}

fn number(object: &Value, pointer: &str) -> i64 {
    object.pointer(pointer).and_then(Value::as_i64).unwrap_or(0)
}

fn list<'a>(object: &'a Value, pointer: &str) -> impl DoubleEndedIterator<Item = &'a Value> {
    object.pointer(pointer).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default().iter()
}

fn entries(object: &Value, pointer: &str) -> usize {
    object.pointer(pointer).and_then(Value::as_object).map_or(0, serde_json::Map::len)
}

/// Texts with commas between them, or what upstream shows for none.
fn joined<'a>(texts: impl Iterator<Item = &'a str>, none: &str) -> String {
    let all: Vec<&str> = texts.filter(|text| !text.is_empty()).collect();
    if all.is_empty() { none.to_owned() } else { all.join(",") }
}

/// The condition of a type, if there is one.
fn condition<'a>(object: &'a Value, name: &str) -> Option<&'a Value> {
    list(object, "/status/conditions").find(|condition| text(condition, "/type") == name)
}

#[cfg(test)]
mod tests;
