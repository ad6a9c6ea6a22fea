//! Strategic merge: objects merge, lists merge by key where the schema says so, and directives (`$patch`, …) say the rest.

use serde_json::{Map, Value};

use super::{PatchError, lists, place::Place};
use crate::{fields::Shape, gateway, kinds::Kind, schema, vertical};

pub(super) const ORDER: &str = "$setElementOrder/";
pub(super) const DELETE_FROM: &str = "$deleteFromPrimitiveList/";
pub(super) const RETAIN: &str = "$retainKeys";
pub(super) const PATCH: &str = "$patch";

/// Whether the kind has strategic merge semantics: built-in kinds have; custom resources do not, nor kinds that are
/// custom resources upstream: Gateway API's and the Vertical Pod Autoscaler's.
pub fn is_strategic(kind: &Kind) -> bool {
    !kind.is_custom() && !kind.group.ends_with(gateway::GROUP) && kind.group != vertical::GROUP
}

/// Applies a strategic merge patch. A kind without strategic semantics (or `None`) gets a JSON merge patch.
///
/// # Errors
/// As [`strategic_merge_as`].
pub fn strategic_merge(kind: Option<&Kind>, target: &mut Value, patch: &Value) -> Result<(), PatchError> {
    match kind.filter(|kind| is_strategic(kind)) {
        Some(kind) => strategic_merge_as(schema::shape(kind.group, kind.version, kind.kind), target, patch),
        None if patch.is_object() => {
            super::merge_patch(target, patch);
            Ok(())
        }
        None => Err(no_object()),
    }
}

/// Applies a strategic merge patch to an object of this shape (`None`: lists are replaced).
///
/// # Errors
/// A patch that is no object, an unknown `$patch` directive, an element of a keyed list without its key, a key that
/// `$retainKeys` does not name, or an order that is not that of the patch.
pub fn strategic_merge_as(shape: Option<Shape<'_>>, target: &mut Value, patch: &Value) -> Result<(), PatchError> {
    let changes = patch.as_object().ok_or_else(no_object)?;
    let fields = match target.take() {
        Value::Object(fields) => fields,
        _ => Map::new(),
    };
    *target = Value::Object(merge_object(Place::at(shape), fields, changes)?);
    Ok(())
}

fn no_object() -> PatchError {
    invalid("a strategic merge patch is an object")
}

pub(super) fn invalid(message: impl Into<String>) -> PatchError {
    PatchError::Invalid(message.into())
}

/// What a `$patch` directive says.
pub(super) fn directive(patch: &Map<String, Value>) -> Result<Option<&str>, PatchError> {
    match patch.get(PATCH) {
        None => Ok(None),
        Some(Value::String(directive)) if matches!(directive.as_str(), "merge" | "replace" | "delete") => {
            Ok(Some(directive))
        }
        Some(other) => Err(invalid(format!("unknown patch type: {other} in map: {}", Value::Object(patch.clone())))),
    }
}

pub(super) fn merge_object(
    place: Place<'_>,
    mut target: Map<String, Value>,
    patch: &Map<String, Value>,
) -> Result<Map<String, Value>, PatchError> {
    match directive(patch)? {
        Some("replace") => {
            return Ok(patch.iter().filter(|(k, _)| *k != PATCH).map(|(k, v)| (k.clone(), v.clone())).collect());
        }
        Some("delete") => return Ok(Map::new()),
        _ => {}
    }
    retain(&mut target, patch)?;
    for (key, order) in patch {
        if let Some(name) = key.strip_prefix(ORDER) {
            lists::ordered(place, &mut target, name, patch.get(name), order)?;
        }
    }
    for (key, change) in patch {
        if let Some(name) = key.strip_prefix(DELETE_FROM) {
            let gone = change.as_array().ok_or_else(|| invalid("invalid patch format of primitive list"))?;
            if let Some(Value::Array(items)) = target.get_mut(name) {
                items.retain(|item| !gone.contains(item));
            }
        } else if !key.starts_with('$') && !patch.contains_key(&format!("{ORDER}{key}")) {
            merge_property(place, &mut target, key, change)?;
        }
    }
    Ok(target)
}

/// `$retainKeys`: what it does not name goes, and what the patch has it must name.
fn retain(target: &mut Map<String, Value>, patch: &Map<String, Value>) -> Result<(), PatchError> {
    let Some(kept) = patch.get(RETAIN) else { return Ok(()) };
    let malformed = || invalid("invalid patch format of retainKeys");
    let kept = kept.as_array().ok_or_else(malformed)?;
    let named = |key: &str| kept.iter().any(|k| k.as_str() == Some(key));
    if patch.iter().any(|(key, value)| !key.starts_with('$') && !value.is_null() && !named(key)) {
        return Err(malformed());
    }
    target.retain(|key, _| named(key));
    Ok(())
}

fn merge_property(
    place: Place<'_>,
    target: &mut Map<String, Value>,
    key: &str,
    change: &Value,
) -> Result<(), PatchError> {
    let merged = match (target.remove(key), change) {
        (_, Value::Null) => return Ok(()),
        (Some(Value::Object(_)), Value::Object(_)) if place.patch(key).is_some_and(|patch| patch.replace) => {
            Some(change.clone())
        }
        (Some(Value::Object(fields)), Value::Object(changes)) => {
            Some(Value::Object(merge_object(place.child(key), fields, changes)?))
        }
        (Some(Value::Array(items)), Value::Array(changes)) => match place.patch(key).filter(|patch| patch.merge) {
            Some(patch) => Some(Value::Array(lists::merge(place, key, patch, items, changes)?)),
            None => Some(change.clone()),
        },
        (_, new) => plain(new),
    };
    target.extend(merged.map(|value| (key.to_owned(), value)));
    Ok(())
}

/// A part of a patch as a value of its own: without nulls and directives. `None` for what is nothing but a directive.
pub(super) fn plain(patch: &Value) -> Option<Value> {
    match patch {
        Value::Object(fields) if fields.contains_key(PATCH) => None,
        Value::Object(fields) => {
            let kept = fields.iter().filter(|(key, value)| !value.is_null() && !is_directive(key));
            Some(Value::Object(kept.filter_map(|(key, value)| Some((key.clone(), plain(value)?))).collect()))
        }
        Value::Array(items) => Some(items.iter().filter_map(plain).collect()),
        other => Some(other.clone()),
    }
}

fn is_directive(key: &str) -> bool {
    key == RETAIN || key.starts_with(ORDER) || key.starts_with(DELETE_FROM)
}
