//! Lists in strategic merge: by key or as sets, and their order.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value};

use super::{
    PatchError,
    place::Place,
    strategic::{PATCH, directive, invalid, merge_object, plain},
};
use crate::fields::Patch;

/// Merges the elements of a patch into those of a list: by key, or (without one) as a set of scalars.
pub(super) fn merge(
    place: Place<'_>,
    name: &str,
    patch: &Patch,
    items: Vec<Value>,
    changes: &[Value],
) -> Result<Vec<Value>, PatchError> {
    let (merged, changes, before) = match patch.key.as_deref() {
        Some(key) if is_of_objects(&items, changes)? => {
            let (items, changes) = special(key, items, changes)?;
            let before = items.clone();
            (elements(place.element(name), key, items, &changes)?, changes, before)
        }
        None if is_of_objects(&items, changes)? => {
            return Err(invalid(format!("cannot merge lists without merge key for {name}")));
        }
        _ => {
            let mut merged: Vec<Value> = Vec::with_capacity(items.len() + changes.len());
            let mut seen = BTreeSet::new();
            for item in items.iter().chain(changes) {
                if seen.insert(item.to_string()) {
                    merged.push(item.clone());
                }
            }
            (merged, changes.to_vec(), items)
        }
    };
    Ok(in_order(merged, &changes, &before, patch.key.as_deref()))
}

/// Whether the elements of two lists are objects.
fn is_of_objects(items: &[Value], changes: &[Value]) -> Result<bool, PatchError> {
    let mut all = items.iter().chain(changes);
    let sort = |value: &Value| std::mem::discriminant(value);
    let Some(first) = all.next() else { return Ok(false) };
    if first.is_array() {
        return Err(invalid("lists of lists are not supported"));
    }
    if all.any(|other| sort(other) != sort(first)) {
        return Err(invalid("list element types are not identical"));
    }
    Ok(first.is_object())
}

fn no_key(element: &Value, key: &str) -> PatchError {
    invalid(format!("map: {element} does not contain declared merge key: {key}"))
}

/// What elements that are directives do to the list, and the elements that are none.
fn special(key: &str, mut items: Vec<Value>, changes: &[Value]) -> Result<(Vec<Value>, Vec<Value>), PatchError> {
    let mut rest = Vec::with_capacity(changes.len());
    let mut replace = false;
    for change in changes {
        match change.as_object().map(directive).transpose()?.flatten() {
            None => rest.push(change.clone()),
            Some("replace") => replace = true,
            Some("merge") => return Err(invalid("merging lists cannot yet be specified in the patch")),
            Some(_) => {
                let gone = change.get(key).ok_or_else(|| no_key(change, key))?;
                items.retain(|item| item.get(key) != Some(gone));
            }
        }
    }
    Ok(if replace { (rest, Vec::new()) } else { (items, rest) })
}

fn elements(place: Place<'_>, key: &str, items: Vec<Value>, changes: &[Value]) -> Result<Vec<Value>, PatchError> {
    let mut at: BTreeMap<String, usize> = BTreeMap::new();
    for (index, item) in items.iter().enumerate() {
        let of = item.get(key).ok_or_else(|| no_key(item, key))?;
        at.entry(of.to_string()).or_insert(index);
    }
    let mut items = items;
    for change in changes {
        let of = change.get(key).ok_or_else(|| no_key(change, key))?.to_string();
        let Some(fields) = change.as_object() else { continue };
        match at.get(&of).and_then(|index| items.get_mut(*index)) {
            Some(item) => {
                let found = match item.take() {
                    Value::Object(found) => found,
                    _ => Map::new(),
                };
                *item = Value::Object(merge_object(place, found, fields)?);
            }
            None => {
                at.insert(of, items.len());
                items.extend(plain(change));
            }
        }
    }
    Ok(items)
}

/// `$setElementOrder`: merges a list, and puts those of its elements that the order names in that order.
pub(super) fn ordered(
    place: Place<'_>,
    target: &mut Map<String, Value>,
    name: &str,
    change: Option<&Value>,
    order: &Value,
) -> Result<(), PatchError> {
    let malformed = || invalid("invalid patch format of setElementOrder list");
    let order = order.as_array().ok_or_else(malformed)?;
    let patch = place.patch(name).cloned().unwrap_or_default();
    let key = patch.key.as_deref();
    let changes = change.map(|change| change.as_array().ok_or_else(malformed)).transpose()?;
    if let Some(changes) = changes {
        check(changes, order, key)?;
    }
    let before = match target.remove(name) {
        Some(Value::Array(items)) => Some(items),
        Some(Value::Null) | None => None,
        Some(_) => return Err(malformed()),
    };
    let merged = match (&before, changes) {
        (None, None) => return Ok(()),
        (Some(items), None) => items.clone(),
        (None, Some(changes)) => changes.iter().filter_map(plain).collect(),
        (Some(items), Some(changes)) if patch.merge => merge(place, name, &patch, items.clone(), changes)?,
        (Some(_), Some(changes)) => changes.clone(),
    };
    if let Some(key) = key
        && let Some(without) = merged.iter().chain(order).find(|element| element.get(key).is_none())
    {
        return Err(no_key(without, key));
    }
    let before = known_order(before.unwrap_or_default(), changes.map_or(&[][..], Vec::as_slice), key);
    target.insert(name.to_owned(), Value::Array(in_order(merged, order, &before, key)));
    Ok(())
}

/// The order in which elements that `$setElementOrder` does not name are placed: that of the list as it was. Upstream deletes
/// and appends in place, so that elements which are new stand, as far as there is room, where others were deleted; clients have
/// come to see that order, and its tests ask for it.
fn known_order(before: Vec<Value>, changes: &[Value], key: Option<&str>) -> Vec<Value> {
    let Some(key) = key else { return before };
    let of = |item: &Value| item.get(key).map(Value::to_string);
    let is_delete = |change: &&Value| change.get(PATCH).and_then(Value::as_str) == Some("delete");
    let gone: BTreeSet<_> = changes.iter().filter(is_delete).map(of).collect();
    let room = before.len();
    let mut order: Vec<Value> = before.into_iter().filter(|item| !gone.contains(&of(item))).collect();
    let kept: BTreeSet<_> = order.iter().map(of).collect();
    let is_new = |change: &&Value| change.get(PATCH).is_none() && !kept.contains(&of(change));
    let new: Vec<Value> = changes.iter().filter(is_new).take(room - order.len()).cloned().collect();
    order.extend(new);
    order
}

/// The elements of a patch, those to be deleted aside, must stand in the order that the patch gives.
fn check(changes: &[Value], order: &[Value], key: Option<&str>) -> Result<(), PatchError> {
    if order.is_empty() {
        return Ok(());
    }
    let mut rest = order.iter();
    for change in changes.iter().filter(|change| change.get(PATCH).is_none()) {
        let of = value_of(change, key).ok_or_else(|| no_key(change, key.unwrap_or_default()))?;
        if !rest.any(|other| value_of(other, key) == Some(of)) {
            return Err(invalid(format!(
                "The order in patch list:\n{}\n doesn't match $setElementOrder list:\n{}\n",
                Value::Array(changes.to_vec()),
                Value::Array(order.to_vec())
            )));
        }
    }
    Ok(())
}

/// What tells an element from the others.
fn value_of<'v>(element: &'v Value, key: Option<&str>) -> Option<&'v Value> {
    key.map_or(Some(element), |key| element.get(key))
}

/// Puts the elements that `order` names in its order, the others in that of `before`, and each of these in front of the first
/// named one that stood behind it.
fn in_order(items: Vec<Value>, order: &[Value], before: &[Value], key: Option<&str>) -> Vec<Value> {
    let places = |list: &[Value]| {
        let mut places: BTreeMap<String, usize> = BTreeMap::new();
        for (at, element) in list.iter().enumerate() {
            places.entry(value_of(element, key).map(Value::to_string).unwrap_or_default()).or_insert(at);
        }
        places
    };
    let (wanted, was) = (places(order), places(before));
    let of = |item: &Value| value_of(item, key).map(Value::to_string).unwrap_or_default();
    let items = items.into_iter().map(|item| (of(&item), item));
    let (mut named, mut others): (Vec<_>, Vec<_>) = items.partition(|(of, _)| wanted.contains_key(of));
    named.sort_by_key(|(of, _)| wanted.get(of).copied());
    others.sort_by_key(|(of, _)| was.get(of).copied().unwrap_or_default());
    let (mut named, mut others) = (named.into_iter().peekable(), others.into_iter().peekable());
    let mut all = Vec::new();
    while let (Some((one, _)), Some((other, _))) = (named.peek(), others.peek()) {
        let first = was.get(other).zip(was.get(one)).is_some_and(|(other, one)| other < one);
        all.extend(if first { others.next() } else { named.next() });
    }
    all.into_iter().chain(named).chain(others).map(|(_, item)| item).collect()
}
