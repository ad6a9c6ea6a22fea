//! An applied configuration merged into an object.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use serde_json::{Map, Value};

use super::{
    element::Element,
    shape::{Form, ListShape, MapShape, Shape},
    validate::TypeError,
};

/// `live` with everything that `applied` says: fields merge, leaves of `applied` win, nothing is removed. Lists keep the order
/// of `live` unless `applied` has its elements in another.
///
/// # Errors
/// Elements of keyed lists and sets that cannot be told apart.
pub fn merge(shape: Shape<'_>, live: &Value, applied: &Value) -> Result<Value, TypeError> {
    Ok(join(shape, Some(live), Some(applied))?.unwrap_or_default())
}

type Side<'v> = Option<&'v Value>;

fn join(shape: Shape<'_>, live: Side<'_>, applied: Side<'_>) -> Result<Option<Value>, TypeError> {
    let newest = || applied.or(live).cloned();
    let (old, new) = (shape.form(live), shape.form(applied));
    let form = match (old, new) {
        _ if applied.is_none() => old,
        // Of what changes its form, the new form counts.
        _ => new,
    };
    match form {
        Some(Form::Map(map)) => {
            let (old, new) = (live.and_then(Value::as_object), applied.and_then(Value::as_object));
            if map.atomic || old.is_none_or(Map::is_empty) && new.is_none_or(Map::is_empty) {
                return Ok(newest());
            }
            maps(shape, map, old, new)
        }
        Some(Form::List(list)) => {
            let (old, new) = (live.and_then(Value::as_array), applied.and_then(Value::as_array));
            let (old, new) = (old.map_or(&[][..], Vec::as_slice), new.map_or(&[][..], Vec::as_slice));
            if !list.associative || old.is_empty() && new.is_empty() {
                return Ok(newest());
            }
            lists(shape, list, old, new)
        }
        Some(Form::Scalar(_)) | None => Ok(newest()),
    }
}

fn maps(
    shape: Shape<'_>,
    map: &MapShape,
    live: Option<&Map<String, Value>>,
    applied: Option<&Map<String, Value>>,
) -> Result<Option<Value>, TypeError> {
    let mut merged = Map::new();
    let names: BTreeSet<&String> = live.into_iter().chain(applied).flat_map(Map::keys).collect();
    for name in names {
        let (old, new) = (live.and_then(|map| map.get(name)), applied.and_then(|map| map.get(name)));
        let value = match map.of(name) {
            Some(of) => join(shape.to(of), old, new).map_err(|e| e.below(&Element::field(name)))?,
            None => new.or(old).cloned(),
        };
        merged.extend(value.map(|value| (name.clone(), value)));
    }
    Ok((!merged.is_empty()).then_some(Value::Object(merged)))
}

/// One side's elements: the step to each, in order; and the element of each step. What is there twice stands for null.
type Index<'v> = (Vec<Element>, BTreeMap<Element, &'v Value>);

fn index<'v>(shape: Shape<'_>, list: &ListShape, values: &'v [Value], twice: bool) -> Result<Index<'v>, TypeError> {
    let mut found: Index<'v> = (Vec::with_capacity(values.len()), BTreeMap::new());
    for (at, value) in values.iter().enumerate() {
        let step = list.step(shape, value).map_err(|e| TypeError::here(format!("element {at}: {e}")))?;
        if let Some(earlier) = found.1.get_mut(&step) {
            if !twice {
                return Err(TypeError::here(format!("duplicate entries for key {step}")));
            }
            *earlier = &Value::Null;
        } else {
            found.1.insert(step.clone(), value);
        }
        found.0.push(step);
    }
    Ok(found)
}

/// The order that results: elements of `live` that `applied` does not have keep their place relative to those that both have,
/// and those that both have take the order of `applied`.
fn lists(shape: Shape<'_>, list: &ListShape, live: &[Value], applied: &[Value]) -> Result<Option<Value>, TypeError> {
    let (right, of_right) = index(shape, list, applied, false)?;
    let (left, of_left) = index(shape, list, live, true)?;
    let item = |step: &Element, old: Side<'_>, new: Side<'_>| {
        join(shape.to(list.element), old, new).map_err(|e| e.below(step))
    };
    let both = |step: &Element| item(step, of_left.get(step).copied(), of_right.get(step).copied());
    let mut merged = Vec::with_capacity(left.len().max(right.len()));
    let mut shared: VecDeque<&Element> = right.iter().filter(|step| of_left.contains_key(step)).collect();
    let mut next = shared.pop_front();
    let mut done: BTreeSet<&Element> = BTreeSet::new();
    let (mut l, mut r) = (0, 0);
    while l < left.len() || r < right.len() {
        if let (Some(old), Some(new)) = (left.get(l), right.get(r)) {
            if old == new {
                done.insert(old);
                merged.extend(both(old)?);
                (l, r) = (l + 1, r + 1);
                next = shared.pop_front();
                continue;
            }
            if of_right.contains_key(old) && next.is_some_and(|next| next != old) {
                // Both have it, but it is not its turn.
                l += 1;
                continue;
            }
        }
        if let Some(old) = left.get(l) {
            if !of_right.contains_key(old) {
                merged.extend(item(old, live.get(l), None)?);
                l += 1;
                continue;
            }
            if done.contains(old) {
                l += 1;
            }
        }
        if let Some(new) = right.get(r) {
            done.insert(new);
            merged.extend(both(new)?);
            r += 1;
            if next == Some(new) {
                next = shared.pop_front();
            }
        }
    }
    Ok((!merged.is_empty()).then_some(Value::Array(merged)))
}
