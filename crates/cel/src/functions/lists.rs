//! Lists and sets: Kubernetes' `lists`, cel-go's `ext.Sets` and list extensions.

use std::cmp::Ordering;

use super::{
    operators::{equal, includes},
    some,
};
use crate::{
    eval::{Budget, EvalError, failed},
    value::Value,
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
            let ends = (usize::try_from(*from), usize::try_from(*to));
            match ends {
                (Ok(from), Ok(to)) if from <= to && to <= list.len() => {
                    some(list.get(from..to).unwrap_or_default().to_vec())
                }
                _ => failed(format!("cannot slice({from}, {to}), list is length {}", list.len())),
            }
        }
        _ => Ok(None),
    }
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
        if equal(value, wanted, budget)? {
            found = Some(index);
            if name == "indexOf" {
                break;
            }
        }
    }
    Ok(Some(found.map_or(Value::Int(-1), Value::count)))
}
