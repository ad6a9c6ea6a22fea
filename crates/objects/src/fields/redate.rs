//! The usual update: a writer gives other values to fields that are its own already. Of all `managedFields` only the time of its
//! entry changes then, and neither are the sets of fields read nor are they written again.

use serde_json::{Map, Value};

use super::{
    element::Element,
    managed::{Identity, Operation, time_text},
    set::Set,
};

/// The entries after a change of nothing but the values of `modified` fields, all of which `by` has and nobody else; `None` where
/// that is not so, or cannot be told without reading the sets.
pub(super) fn redated(held: &Value, modified: &Set, by: &Identity, now: jiff::Timestamp) -> Option<Value> {
    if modified.is_empty() || !is_plain(modified) {
        return None;
    }
    let entries = held.as_array()?;
    let mut own = None;
    for (at, entry) in entries.iter().enumerate() {
        // What another version calls the fields would have to be found out.
        if text(entry, "apiVersion") != by.api_version || text(entry, "fieldsType") != "FieldsV1" {
            return None;
        }
        let fields = entry.get("fieldsV1")?.as_object().filter(|fields| !fields.is_empty())?;
        if is_of(entry, by) {
            if own.replace(at).is_some() || !covers(fields, modified) {
                return None;
            }
        } else if meets(fields, modified) {
            return None;
        }
    }
    let own = own?;
    let mut entries = entries.clone();
    entries.get_mut(own)?.as_object_mut()?.insert("time".to_owned(), time_text(now).into());
    entries.sort_by(|a, b| place(a).cmp(&place(b)));
    Some(Value::Array(entries))
}

/// Whether a set has one text alone in `FieldsV1`: numbers have more than one (`1` and `1.0`).
fn is_plain(set: &Set) -> bool {
    set.nodes().iter().all(|node| {
        let is_plain_step = match &node.element {
            Element::Field(_) | Element::Index(_) => true,
            Element::Key(fields) => fields.iter().all(|(_, value)| value.is_string()),
            Element::Item(value) => value.is_string(),
        };
        is_plain_step && is_plain(&node.below)
    })
}

fn text<'e>(entry: &'e Value, field: &str) -> &'e str {
    entry.get(field).and_then(Value::as_str).unwrap_or_default()
}

fn is_of(entry: &Value, by: &Identity) -> bool {
    text(entry, "manager") == by.manager
        && text(entry, "operation") == by.operation.text()
        && text(entry, "subresource") == by.subresource
}

/// The order of entries in an object, as [`super::managed::Managed::into_json`] has it: times in seconds are ordered as their texts.
fn place(entry: &Value) -> (bool, &str, &str, &str) {
    let is_update = text(entry, "operation") == Operation::Update.text();
    (is_update, text(entry, "time"), text(entry, "manager"), text(entry, "subresource"))
}

/// The JSON below a step of a set.
fn below<'f>(fields: &'f Map<String, Value>, element: &Element) -> Option<&'f Map<String, Value>> {
    fields.get(&element.to_key()).and_then(Value::as_object)
}

fn is_member(fields: &Map<String, Value>) -> bool {
    fields.is_empty() || fields.contains_key(".")
}

/// Whether all of a set is among the fields of an entry.
fn covers(fields: &Map<String, Value>, set: &Set) -> bool {
    set.nodes().iter().all(|node| {
        let found = below(fields, &node.element);
        found.is_some_and(|found| (!node.member || is_member(found)) && covers(found, &node.below))
    })
}

/// Whether any of a set is among the fields of an entry.
fn meets(fields: &Map<String, Value>, set: &Set) -> bool {
    set.nodes().iter().any(|node| {
        let found = below(fields, &node.element);
        found.is_some_and(|found| node.member && is_member(found) || meets(found, &node.below))
    })
}
