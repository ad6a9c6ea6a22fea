//! Operators, equality, conversions and `size`.

use std::{cmp::Ordering, sync::Arc};

use super::{lists, some, times};
use crate::{
    double,
    eval::{Budget, EvalError, failed},
    value::{Key, Value},
};

pub(super) const SIGNATURES: &str = "
    &&: (bool, bool) bool
    ||: (bool, bool) bool
    !_: (bool) bool
    -_: (int) int; (double) double; (duration) duration
    ?:: (bool, A, A) A
    ==: (A, A) bool
    !=: (A, A) bool
    <: (bool, bool) bool; (int, int) bool; (int, double) bool; (int, uint) bool; (uint, uint) bool; (uint, double) bool; (uint, int) bool; (double, double) bool; (double, int) bool; (double, uint) bool; (string, string) bool; (bytes, bytes) bool; (timestamp, timestamp) bool; (duration, duration) bool
    <=: (bool, bool) bool; (int, int) bool; (int, double) bool; (int, uint) bool; (uint, uint) bool; (uint, double) bool; (uint, int) bool; (double, double) bool; (double, int) bool; (double, uint) bool; (string, string) bool; (bytes, bytes) bool; (timestamp, timestamp) bool; (duration, duration) bool
    >: (bool, bool) bool; (int, int) bool; (int, double) bool; (int, uint) bool; (uint, uint) bool; (uint, double) bool; (uint, int) bool; (double, double) bool; (double, int) bool; (double, uint) bool; (string, string) bool; (bytes, bytes) bool; (timestamp, timestamp) bool; (duration, duration) bool
    >=: (bool, bool) bool; (int, int) bool; (int, double) bool; (int, uint) bool; (uint, uint) bool; (uint, double) bool; (uint, int) bool; (double, double) bool; (double, int) bool; (double, uint) bool; (string, string) bool; (bytes, bytes) bool; (timestamp, timestamp) bool; (duration, duration) bool
    +: (int, int) int; (uint, uint) uint; (double, double) double; (string, string) string; (bytes, bytes) bytes; (list<A>, list<A>) list<A>; (timestamp, duration) timestamp; (duration, timestamp) timestamp; (duration, duration) duration
    -: (int, int) int; (uint, uint) uint; (double, double) double; (timestamp, timestamp) duration; (timestamp, duration) timestamp; (duration, duration) duration
    *: (int, int) int; (uint, uint) uint; (double, double) double
    /: (int, int) int; (uint, uint) uint; (double, double) double
    %: (int, int) int; (uint, uint) uint
    in: (A, list<A>) bool; (A, map<A, B>) bool
    []: (list<A>, int) A; (map<A, B>, A) B; (optional<list<A>>, int) optional<A>; (optional<map<A, B>>, A) optional<B>
    [?]: (list<A>, int) optional<A>; (map<A, B>, A) optional<B>; (optional<list<A>>, int) optional<A>; (optional<map<A, B>>, A) optional<B>
    size: (string) int; (bytes) int; (list<A>) int; (map<A, B>) int; string.() int; bytes.() int; list<A>.() int; map<A, B>.() int
    int: (int) int; (uint) int; (double) int; (string) int; (timestamp) int; (duration) int
    uint: (uint) uint; (int) uint; (double) uint; (string) uint
    double: (double) double; (int) double; (uint) double; (string) double
    string: (string) string; (bool) string; (int) string; (uint) string; (double) string; (bytes) string; (timestamp) string; (duration) string; (url) string; (ip) string; (cidr) string; (quantity) string; (semver) string
    bytes: (bytes) bytes; (string) bytes
    bool: (bool) bool; (string) bool
    type: (A) type
    dyn: (A) dyn
";

pub(super) fn call(name: &str, given: &[Value], budget: &mut Budget) -> Result<Option<Value>, EvalError> {
    // Looking a key up compares it, and measuring a text goes over it.
    match (name, given) {
        ("[]" | "[?]", [_, Value::Text(text)]) | ("in", [Value::Text(text), _]) | ("size", [Value::Text(text)]) => {
            budget.scan(text.len())?;
        }
        _ => {}
    }
    match (name, given) {
        ("==", [a, b]) => some(equal(a, b, budget)?),
        ("!=", [a, b]) => some(!equal(a, b, budget)?),
        ("<", [a, b]) => compare(a, b, budget, Ordering::is_lt),
        ("<=", [a, b]) => compare(a, b, budget, Ordering::is_le),
        (">", [a, b]) => compare(a, b, budget, Ordering::is_gt),
        (">=", [a, b]) => compare(a, b, budget, Ordering::is_ge),
        ("+" | "-" | "*" | "/" | "%", [a, b]) => arithmetic(name, a, b, budget),
        ("!_", [Value::Bool(value)]) => some(!value),
        ("-_", [value]) => negative(value),
        ("in", [value, within]) => contains(value, within, budget),
        ("[]", [within, index]) => index_of(within, index).map(Some),
        ("[?]", [within, index]) => Ok(Some(Value::Optional(index_of(within, index).ok().map(Arc::new)))),
        ("size", [value]) => size(value),
        ("int" | "uint" | "double", [value]) => number(name, value),
        ("string", [value]) => text(value, budget),
        ("bytes", [Value::Text(text)]) => Ok(Some(Value::Bytes(text.as_bytes().into()))),
        ("bytes", [Value::Bytes(_)]) | ("bool", [Value::Bool(_)]) | ("dyn", [_]) => Ok(given.first().cloned()),
        ("bool", [Value::Text(text)]) => match &**text {
            "1" | "t" | "T" | "true" | "TRUE" | "True" => some(true),
            "0" | "f" | "F" | "false" | "FALSE" | "False" => some(false),
            _ => failed("type conversion error from 'string' to 'bool'"),
        },
        ("type", [value]) => Ok(Some(Value::Type(value.type_name().into()))),
        _ => Ok(None),
    }
}

/// Whether two values are equal: numbers by what they are, lists and maps by what is in them.
pub(super) fn equal(a: &Value, b: &Value, budget: &mut Budget) -> Result<bool, EvalError> {
    budget.spend(1)?;
    Ok(match (a, b) {
        (Value::Null, Value::Null) => true,
        // What is on the left says how lists are compared.
        (a, b) if a.elements().is_some() && b.elements().is_some() => lists::equal(a, b, budget)?,
        (Value::Map(a), Value::Map(b)) => {
            if a.len() != b.len() {
                return Ok(false);
            }
            for (key, value) in a.iter() {
                let Some(other) = b.get(key) else { return Ok(false) };
                if !equal(value, other, budget)? {
                    return Ok(false);
                }
            }
            true
        }
        (Value::Optional(a), Value::Optional(b)) => match (a, b) {
            (Some(a), Some(b)) => equal(a, b, budget)?,
            (a, b) => a.is_none() && b.is_none(),
        },
        (Value::Text(a), Value::Text(b)) => {
            budget.bytes(a.len().min(b.len()))?;
            a == b
        }
        (Value::Bytes(a), Value::Bytes(b)) => {
            budget.bytes(a.len().min(b.len()))?;
            a == b
        }
        (Value::Type(a), Value::Type(b)) => a == b,
        (Value::Quantity(a), Value::Quantity(b)) => a == b,
        (Value::Url(a), Value::Url(b)) => a == b,
        (Value::Ip(a), Value::Ip(b)) => a == b,
        (Value::Cidr(a, n), Value::Cidr(b, m)) => a == b && n == m,
        (Value::Semver(a), Value::Semver(b)) => a == b,
        (Value::Format(a), Value::Format(b)) => a == b,
        (a, b) => a.order(b) == Some(Ordering::Equal),
    })
}

/// Whether every element of `b` is in `a`.
pub(super) fn includes(a: &[Value], b: &[Value], budget: &mut Budget) -> Result<bool, EvalError> {
    for wanted in b {
        let mut found = false;
        for value in a {
            if equal(value, wanted, budget)? {
                found = true;
                break;
            }
        }
        if !found {
            return Ok(false);
        }
    }
    Ok(true)
}

fn compare(a: &Value, b: &Value, budget: &mut Budget, holds: fn(Ordering) -> bool) -> Result<Option<Value>, EvalError> {
    if let (Value::Text(a), Value::Text(b)) = (a, b) {
        budget.bytes(a.len().min(b.len()))?;
    }
    if let (Value::Bytes(a), Value::Bytes(b)) = (a, b) {
        budget.bytes(a.len().min(b.len()))?;
    }
    match a.order(b) {
        Some(order) => some(holds(order)),
        None if matches!((a, b), (Value::Double(_), _) | (_, Value::Double(_))) => some(false),
        None => Ok(None),
    }
}

fn overflow<T>(value: Option<T>, kind: &str) -> Result<T, EvalError> {
    value.ok_or_else(|| EvalError::Failed(format!("{kind} overflow")))
}

fn arithmetic(name: &str, a: &Value, b: &Value, budget: &mut Budget) -> Result<Option<Value>, EvalError> {
    Ok(Some(match (name, a, b) {
        ("/" | "%", Value::Int(_), Value::Int(0)) | ("/" | "%", Value::Uint(_), Value::Uint(0)) => {
            return failed(if name == "/" { "division by zero" } else { "modulus by zero" });
        }
        (_, Value::Int(a), Value::Int(b)) => {
            let result = match name {
                "+" => a.checked_add(*b),
                "-" => a.checked_sub(*b),
                "*" => a.checked_mul(*b),
                "/" => a.checked_div(*b),
                _ => a.checked_rem(*b),
            };
            Value::Int(overflow(result, "integer")?)
        }
        (_, Value::Uint(a), Value::Uint(b)) => {
            let result = match name {
                "+" => a.checked_add(*b),
                "-" => a.checked_sub(*b),
                "*" => a.checked_mul(*b),
                "/" => a.checked_div(*b),
                _ => a.checked_rem(*b),
            };
            Value::Uint(overflow(result, "unsigned integer")?)
        }
        ("+", Value::Double(a), Value::Double(b)) => Value::Double(a + b),
        ("-", Value::Double(a), Value::Double(b)) => Value::Double(a - b),
        ("*", Value::Double(a), Value::Double(b)) => Value::Double(a * b),
        ("/", Value::Double(a), Value::Double(b)) => Value::Double(a / b),
        ("+", Value::Text(a), Value::Text(b)) => {
            budget.bytes(a.len() + b.len())?;
            format!("{a}{b}").into()
        }
        ("+", Value::Bytes(a), Value::Bytes(b)) => {
            budget.bytes(a.len() + b.len())?;
            Value::Bytes([&**a, &**b].concat().into())
        }
        ("+", a, b) if a.elements().is_some() && b.elements().is_some() => lists::add(a, b, budget)?,
        _ => return times::arithmetic(name, a, b),
    }))
}

fn negative(value: &Value) -> Result<Option<Value>, EvalError> {
    Ok(Some(match value {
        Value::Int(value) => Value::Int(overflow(value.checked_neg(), "integer")?),
        Value::Double(value) => Value::Double(-value),
        Value::Duration(value) => Value::Duration(overflow(value.checked_neg(), "duration")?),
        _ => return Ok(None),
    }))
}

fn contains(value: &Value, within: &Value, budget: &mut Budget) -> Result<Option<Value>, EvalError> {
    match within {
        Value::List(list) | Value::Set(list) | Value::Keyed(list, _) => {
            some(includes(list, std::slice::from_ref(value), budget)?)
        }
        Value::Map(map) => some(value.key().is_some_and(|key| map.contains_key(&key))),
        _ => Ok(None),
    }
}

fn index_of(within: &Value, index: &Value) -> Result<Value, EvalError> {
    match within {
        Value::List(list) | Value::Set(list) | Value::Keyed(list, _) => {
            let Some(Key::Number(at)) = index.key() else { return failed("unsupported index type in list") };
            let found = usize::try_from(at).ok().and_then(|at| list.get(at));
            found.cloned().ok_or_else(|| EvalError::Failed(format!("index out of bounds: {at}")))
        }
        Value::Map(map) => {
            let shown = || match index {
                Value::Text(text) => text.to_string(),
                Value::Int(value) => value.to_string(),
                Value::Double(value) => double::text(*value),
                other => other.type_name().to_owned(),
            };
            let found = index.key().and_then(|key| map.get(&key));
            found.cloned().ok_or_else(|| EvalError::Failed(format!("no such key: {}", shown())))
        }
        Value::Optional(None) => Ok(Value::Optional(None)),
        Value::Optional(Some(value)) => Ok(Value::Optional(index_of(value, index).ok().map(Arc::new))),
        _ => failed("no such overload"),
    }
}

fn size(value: &Value) -> Result<Option<Value>, EvalError> {
    Ok(Some(Value::count(match value {
        Value::Text(text) => text.chars().count(),
        Value::Bytes(bytes) => bytes.len(),
        Value::List(list) | Value::Set(list) | Value::Keyed(list, _) => list.len(),
        Value::Map(map) => map.len(),
        _ => return Ok(None),
    })))
}

#[allow(
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    clippy::cast_sign_loss,
    reason = "ranges are checked first"
)]
fn number(name: &str, value: &Value) -> Result<Option<Value>, EvalError> {
    let range =
        || EvalError::Failed(if name == "int" { "integer overflow" } else { "unsigned integer overflow" }.to_owned());
    let wrong = |text: &str| EvalError::Failed(format!("type conversion error from 'string' to '{name}': {text:?}"));
    Ok(Some(match (name, value) {
        ("int", Value::Int(value)) => Value::Int(*value),
        ("int", Value::Uint(value)) => Value::Int(i64::try_from(*value).map_err(|_| range())?),
        ("int", Value::Double(value)) => {
            // Both ends of the range are not exact as floats.
            if value.is_nan() || *value <= -9.223_372_036_854_776e18 || *value >= 9.223_372_036_854_776e18 {
                return Err(range());
            }
            Value::Int(*value as i64)
        }
        ("int", Value::Text(text)) => Value::Int(text.parse().map_err(|_| wrong(text))?),
        ("int", Value::Timestamp(time)) => Value::Int(time.as_second()),
        ("int", Value::Duration(span)) => Value::Int(i64::try_from(span.as_nanos()).map_err(|_| range())?),
        ("uint", Value::Uint(value)) => Value::Uint(*value),
        ("uint", Value::Int(value)) => Value::Uint(u64::try_from(*value).map_err(|_| range())?),
        ("uint", Value::Double(value)) => {
            if value.is_nan() || *value < 0.0 || *value >= 1.844_674_407_370_955_2e19 {
                return Err(range());
            }
            Value::Uint(*value as u64)
        }
        ("uint", Value::Text(text)) => Value::Uint(text.parse().map_err(|_| wrong(text))?),
        ("double", Value::Double(value)) => Value::Double(*value),
        ("double", Value::Int(value)) => Value::Double(*value as f64),
        ("double", Value::Uint(value)) => Value::Double(*value as f64),
        ("double", Value::Text(text)) => Value::Double(double::parse(text).ok_or_else(|| wrong(text))?),
        _ => return Ok(None),
    }))
}

fn text(value: &Value, budget: &mut Budget) -> Result<Option<Value>, EvalError> {
    Ok(Some(match value {
        Value::Text(_) => value.clone(),
        Value::Bool(value) => value.to_string().into(),
        Value::Int(value) => value.to_string().into(),
        Value::Uint(value) => value.to_string().into(),
        Value::Double(value) => double::text(*value).into(),
        Value::Bytes(bytes) => {
            budget.bytes(bytes.len())?;
            let text = std::str::from_utf8(bytes);
            text.map_err(|_| EvalError::Failed("invalid UTF-8 in bytes, cannot convert to string".to_owned()))?.into()
        }
        Value::Timestamp(time) => time.to_string().into(),
        Value::Duration(span) => times::seconds(*span).into(),
        Value::Url(url) => url.to_string().into(),
        Value::Ip(address) => address.to_string().into(),
        Value::Cidr(address, length) => format!("{address}/{length}").into(),
        Value::Quantity(quantity) => quantity.to_string().into(),
        Value::Semver(version) => version.to_string().into(),
        _ => return Ok(None),
    }))
}
