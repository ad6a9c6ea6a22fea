//! `"…".format([…])`: `%s`, `%d`, `%f`, `%e`, `%b`, `%x`, `%X`, `%o` and `%%`.

use super::times;
use crate::{
    double,
    eval::{Budget, EvalError, failed},
    value::Value,
};

/// Digits after the point, at most.
const PRECISION: usize = 64;

pub(super) fn format(pattern: &str, given: &[Value], budget: &mut Budget) -> Result<String, EvalError> {
    let mut text = String::new();
    let mut given = given.iter();
    let mut chars = pattern.chars().peekable();
    while let Some(c) = chars.next() {
        if c != '%' {
            text.push(c);
            continue;
        }
        let mut precision = None;
        if chars.next_if_eq(&'.').is_some() {
            let mut digits = String::new();
            while let Some(digit) = chars.next_if(char::is_ascii_digit) {
                digits.push(digit);
            }
            precision = Some(digits.parse::<usize>().unwrap_or(PRECISION).min(PRECISION));
        }
        let Some(verb) = chars.next() else { return failed("unexpected end of string") };
        if verb == '%' {
            text.push('%');
            continue;
        }
        let Some(value) = given.next() else { return failed("index out of range in format arguments") };
        let before = text.len();
        clause(verb, precision, value, &mut text, budget)?;
        budget.bytes(text.len() - before)?;
    }
    Ok(text)
}

fn clause(
    verb: char,
    precision: Option<usize>,
    value: &Value,
    text: &mut String,
    budget: &mut Budget,
) -> Result<(), EvalError> {
    let wrong =
        || EvalError::Failed(format!("error during formatting: %{verb} cannot be applied to {}", value.type_name()));
    let made = match (verb, value) {
        ('s', value) => return shown(value, text, budget, 0),
        ('d', Value::Int(value)) => value.to_string(),
        ('d', Value::Uint(value)) => value.to_string(),
        ('d', Value::Double(value)) if !value.is_finite() => special(*value),
        ('f', Value::Double(value)) if value.is_finite() => grouped(&format!("{value:.*}", precision.unwrap_or(6))),
        ('e', Value::Double(value)) if value.is_finite() => exponent(*value, precision.unwrap_or(6)),
        ('f' | 'e', Value::Double(value)) => special(*value),
        ('f' | 'e', Value::Int(_) | Value::Uint(_)) => {
            #[allow(clippy::cast_precision_loss, reason = "as floats have it")]
            let float = match value {
                Value::Int(value) => *value as f64,
                Value::Uint(value) => *value as f64,
                _ => return Err(wrong()),
            };
            return clause(verb, precision, &Value::Double(float), text, budget);
        }
        ('b', Value::Int(value)) => signed(*value, &format!("{:b}", value.unsigned_abs())),
        ('b', Value::Uint(value)) => format!("{value:b}"),
        ('b', Value::Bool(value)) => u8::from(*value).to_string(),
        ('o', Value::Int(value)) => signed(*value, &format!("{:o}", value.unsigned_abs())),
        ('o', Value::Uint(value)) => format!("{value:o}"),
        ('x', Value::Int(value)) => signed(*value, &format!("{:x}", value.unsigned_abs())),
        ('X', Value::Int(value)) => signed(*value, &format!("{:X}", value.unsigned_abs())),
        ('x', Value::Uint(value)) => format!("{value:x}"),
        ('X', Value::Uint(value)) => format!("{value:X}"),
        ('x' | 'X', Value::Text(value)) => hex(value.as_bytes(), verb == 'X'),
        ('x' | 'X', Value::Bytes(value)) => hex(value, verb == 'X'),
        ('d' | 'f' | 'e' | 'b' | 'o' | 'x' | 'X', _) => return Err(wrong()),
        _ => return failed(format!("could not parse formatting clause: unrecognized formatting clause \"{verb}\"")),
    };
    text.push_str(&made);
    Ok(())
}

fn special(value: f64) -> String {
    match value {
        value if value.is_nan() => "NaN",
        value if value > 0.0 => "Infinity",
        _ => "-Infinity",
    }
    .to_owned()
}

fn signed(value: i64, digits: &str) -> String {
    if value < 0 { format!("-{digits}") } else { digits.to_owned() }
}

/// Thousands apart, as English has it: `1,234.5`.
fn grouped(text: &str) -> String {
    let (sign, text) = text.strip_prefix('-').map_or(("", text), |text| ("-", text));
    let (whole, fraction) = text.split_once('.').map_or((text, None), |(whole, fraction)| (whole, Some(fraction)));
    let mut grouped = sign.to_owned();
    for (index, digit) in whole.chars().enumerate() {
        if index > 0 && (whole.len() - index).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    if let Some(fraction) = fraction {
        grouped.push('.');
        grouped.push_str(fraction);
    }
    grouped
}

/// As English writes powers: `1.5×10⁰³`, with two digits at least.
fn exponent(value: f64, precision: usize) -> String {
    let text = format!("{value:.precision$e}");
    let (mantissa, power) = text.split_once('e').unwrap_or((&text, "0"));
    let (sign, digits) = power.strip_prefix('-').map_or(("", power), |digits| ("⁻", digits));
    let raised = |digit: char| digit.to_digit(10).and_then(|digit| "⁰¹²³⁴⁵⁶⁷⁸⁹".chars().nth(digit as usize));
    let raised: String = format!("{digits:0>2}").chars().filter_map(raised).collect();
    format!("{mantissa}×10{sign}{raised}")
}

fn hex(bytes: &[u8], upper: bool) -> String {
    let digit = |byte: &u8| if upper { format!("{byte:02X}") } else { format!("{byte:02x}") };
    bytes.iter().map(digit).collect()
}

/// A value as `%s` shows it. Each part is paid for, because lists may share their parts many times over.
fn shown(value: &Value, text: &mut String, budget: &mut Budget, depth: usize) -> Result<(), EvalError> {
    budget.spend(1)?;
    if depth > 64 {
        return failed("value is nested too deeply to be formatted");
    }
    match value {
        Value::Null => text.push_str("null"),
        Value::Bool(value) => text.push_str(if *value { "true" } else { "false" }),
        Value::Int(value) => text.push_str(&value.to_string()),
        Value::Uint(value) => text.push_str(&value.to_string()),
        Value::Double(value) if depth == 0 => text.push_str(&double::text(*value)),
        // Within something else, as expressions write it; there is no literal of what is not finite.
        Value::Double(value) if value.is_finite() => text.push_str(&format!("{value:.6}")),
        Value::Double(value) => text.push_str(&super::strings::quote(&double::text(*value))),
        Value::Text(value) => {
            budget.bytes(value.len())?;
            // Within something else, as expressions write it.
            if depth > 0 { text.push_str(&super::strings::quote(value)) } else { text.push_str(value) }
        }
        Value::Bytes(value) => {
            budget.bytes(value.len())?;
            let value = String::from_utf8_lossy(value);
            if depth > 0 {
                text.push('b');
                text.push_str(&super::strings::quote(&value));
            } else {
                text.push_str(&value);
            }
        }
        Value::Timestamp(time) => text.push_str(&time.to_string()),
        Value::Duration(span) => text.push_str(&times::seconds(*span)),
        Value::Type(name) => text.push_str(name),
        Value::List(list) | Value::Set(list) | Value::Keyed(list, _) => {
            text.push('[');
            for (index, value) in list.iter().enumerate() {
                text.push_str(if index > 0 { ", " } else { "" });
                shown(value, text, budget, depth + 1)?;
            }
            text.push(']');
        }
        Value::Map(map) => {
            text.push('{');
            for (index, (key, value)) in map.iter().enumerate() {
                text.push_str(if index > 0 { ", " } else { "" });
                shown(&key.value(), text, budget, depth + 1)?;
                text.push(':');
                shown(value, text, budget, depth + 1)?;
            }
            text.push('}');
        }
        other => {
            return failed(format!(
                "error during formatting: string clause cannot be applied to {}",
                other.type_name()
            ));
        }
    }
    Ok(())
}
