//! Lists and sets: Kubernetes' `lists`, cel-go's `ext.Sets` and list extensions.

use std::{cmp::Ordering, collections::BTreeMap, sync::Arc};

use super::{
    operators::{self, includes},
    some,
};
use crate::{
    eval::{Budget, EvalError, failed},
    value::{Key, Value},
};

pub(super) const SIGNATURES: &str = "
    isSorted: list<int>.() bool; list<uint>.() bool; list<double>.() bool; list<bool>.() bool; list<string>.() bool; list<bytes>.() bool; list<timestamp>.() bool; list<duration>.() bool
    sum: list<int>.() int; list<uint>.() uint; list<double>.() double; list<duration>.() duration
    min: list<int>.() int; list<uint>.() uint; list<double>.() double; list<bool>.() bool; list<string>.() string; list<bytes>.() bytes; list<timestamp>.() timestamp; list<duration>.() duration
    max: list<int>.() int; list<uint>.() uint; list<double>.() double; list<bool>.() bool; list<string>.() string; list<bytes>.() bytes; list<timestamp>.() timestamp; list<duration>.() duration
    indexOf: list<A>.(A) int
    lastIndexOf: list<A>.(A) int
    distinct: list<A>.() list<A>
    slice: list<A>.(int, int) list<A>
    sets.contains: (list<A>, list<A>) bool
    sets.equivalent: (list<A>, list<A>) bool
    sets.intersects: (list<A>, list<A>) bool
";

pub(super) fn call(name: &str, given: &[Value], budget: &mut Budget) -> Result<Option<Value>, EvalError> {
    let Some(list) = given.first().and_then(Value::elements) else { return Ok(None) };
    let second = given.get(1).and_then(Value::elements);
    if let (Some(other), true) = (second, name.starts_with("sets.")) {
        return some(match name {
            "sets.contains" => includes(list, other, budget)?,
            "sets.equivalent" => includes(list, other, budget)? && includes(other, list, budget)?,
            _ => {
                let mut found = false;
                for value in other.iter() {
                    found = found || includes(list, std::slice::from_ref(value), budget)?;
                }
                found
            }
        });
    }
    match (name, given) {
        ("isSorted", [_]) => {
            budget.elements(list.len())?;
            some(list.is_sorted_by(|a, b| a.order(b).is_some_and(Ordering::is_le)))
        }
        ("min" | "max", [_]) => extreme(name, list, budget),
        ("sum", [_]) => sum(list, budget),
        ("indexOf" | "lastIndexOf", [_, wanted]) => position(name, list, wanted, budget),
        ("reverse", [_]) => {
            budget.elements(list.len())?;
            some(list.iter().rev().cloned().collect::<Vec<_>>())
        }
        ("distinct", [_]) => {
            let mut kept: Vec<Value> = Vec::new();
            for value in list.iter() {
                if !includes(&kept, std::slice::from_ref(value), budget)? {
                    kept.push(value.clone());
                }
            }
            some(kept)
        }
        ("slice", [_, Value::Int(from), Value::Int(to)]) => {
            budget.elements(list.len())?;
            let why = match (usize::try_from(*from), usize::try_from(*to)) {
                (Ok(start), Ok(end)) if start <= end => match list.get(start..end) {
                    Some(part) => return some(part.to_vec()),
                    None => format!("list is length {}", list.len()),
                },
                (Ok(_), Ok(_)) => "start index must be less than or equal to end index".to_owned(),
                _ => "negative indexes not supported".to_owned(),
            };
            failed(format!("cannot slice({from}, {to}), {why}"))
        }
        _ => Ok(None),
    }
}

/// Whether two lists are the same: elements in their order, unless the first is a set or a map.
pub(super) fn equal(a: &Value, b: &Value, budget: &mut Budget) -> Result<bool, EvalError> {
    let (own, others) = (elements(a), elements(b));
    if own.len() != others.len() {
        return Ok(false);
    }
    match a {
        Value::Set(_) => includes(own, others, budget),
        Value::Keyed(_, keys) => {
            budget.elements(own.len() + others.len())?;
            let own: BTreeMap<_, &Value> = own.iter().map(|element| (key_of(element, keys), element)).collect();
            for other in others {
                let Some(found) = own.get(&key_of(other, keys)) else { return Ok(false) };
                if !operators::equal(found, other, budget)? {
                    return Ok(false);
                }
            }
            Ok(true)
        }
        _ => {
            for (a, b) in own.iter().zip(others) {
                if !operators::equal(a, b, budget)? {
                    return Ok(false);
                }
            }
            Ok(true)
        }
    }
}

/// A list and what is added to it: to a set what it does not have; in a map elements take the place of those with the same keys.
pub(super) fn add(a: &Value, b: &Value, budget: &mut Budget) -> Result<Value, EvalError> {
    let (own, others) = (elements(a), elements(b));
    budget.elements(own.len() + others.len())?;
    let mut all = own.to_vec();
    match a {
        Value::Set(_) => {
            for value in others {
                if !includes(&all, std::slice::from_ref(value), budget)? {
                    all.push(value.clone());
                }
            }
            Ok(Value::Set(Arc::new(all)))
        }
        Value::Keyed(_, keys) => {
            let mut places: BTreeMap<_, usize> =
                all.iter().enumerate().map(|(index, element)| (key_of(element, keys), index)).collect();
            for value in others {
                let end = all.len();
                let place = *places.entry(key_of(value, keys)).or_insert(end);
                match all.get_mut(place) {
                    Some(place) => *place = value.clone(),
                    None => all.push(value.clone()),
                }
            }
            Ok(Value::Keyed(Arc::new(all), keys.clone()))
        }
        _ => {
            all.extend_from_slice(others);
            Ok(all.into())
        }
    }
}

fn elements(list: &Value) -> &[Value] {
    list.elements().map(|list| list.as_slice()).unwrap_or_default()
}

/// What tells an element of a list that is a map apart.
fn key_of(element: &Value, keys: &[Arc<str>]) -> Vec<Option<Key>> {
    let Value::Map(fields) = element else { return Vec::new() };
    keys.iter().map(|name| fields.get(&Key::Text(name.clone()))?.key()).collect()
}

fn extreme(name: &str, list: &[Value], budget: &mut Budget) -> Result<Option<Value>, EvalError> {
    budget.elements(list.len())?;
    let mut all = list.iter();
    let Some(mut found) = all.next() else { return failed(format!("{name} called on empty list")) };
    for value in all {
        let Some(order) = value.order(found) else { return failed("no such overload") };
        if order == if name == "min" { Ordering::Less } else { Ordering::Greater } {
            found = value;
        }
    }
    Ok(Some(found.clone()))
}

fn sum(list: &[Value], budget: &mut Budget) -> Result<Option<Value>, EvalError> {
    let mut all = list.iter();
    let Some(mut total) = all.next().cloned() else { return some(0_i64) };
    for value in all {
        budget.spend(1)?;
        total = super::call("+", &[total, value.clone()], budget)?;
    }
    Ok(Some(total))
}

fn position(name: &str, list: &[Value], wanted: &Value, budget: &mut Budget) -> Result<Option<Value>, EvalError> {
    let mut found = None;
    for (index, value) in list.iter().enumerate() {
        if operators::equal(value, wanted, budget)? {
            found = Some(index);
            if name == "indexOf" {
                break;
            }
        }
    }
    Ok(Some(found.map_or(Value::Int(-1), Value::count)))
}
