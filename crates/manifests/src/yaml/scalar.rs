//! What a plain (unquoted) scalar means, as Go's YAML libraries decide it, and back: the text of a scalar.

use serde_json::{Number, Value};

use super::Dialect;

/// Integral floats from here on keep their exponent: the limit of Go's JSON encoder.
const LARGEST_PLAIN_FLOAT: f64 = 1e21;

/// The value of a plain scalar.
///
/// # Errors
/// When it is a number that JSON cannot hold (`.inf`, `.nan`).
pub(crate) fn plain(text: &str, dialect: Dialect) -> Result<Value, String> {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => return Ok(Value::Null),
        "true" | "True" | "TRUE" => return Ok(Value::Bool(true)),
        "false" | "False" | "FALSE" => return Ok(Value::Bool(false)),
        ".inf" | ".Inf" | ".INF" | "+.inf" | "+.Inf" | "+.INF" | "-.inf" | "-.Inf" | "-.INF" | ".nan" | ".NaN"
        | ".NAN" => {
            return Err(format!("{text} has no JSON form; quote it if a string is meant"));
        }
        _ => {}
    }
    if dialect == Dialect::Kubectl {
        match text {
            "y" | "Y" | "yes" | "Yes" | "YES" | "on" | "On" | "ON" => return Ok(Value::Bool(true)),
            "n" | "N" | "no" | "No" | "NO" | "off" | "Off" | "OFF" => return Ok(Value::Bool(false)),
            _ => {}
        }
    }
    if !text.starts_with(|c: char| c.is_ascii_digit() || matches!(c, '+' | '-' | '.')) {
        return Ok(text.into());
    }
    if dialect == Dialect::Kustomize
        && let Some(time) = timestamp(text)
    {
        return Ok(time.into());
    }
    let digits: String = text.chars().filter(|c| *c != '_').collect();
    Ok(integer(&digits).or_else(|| float(&digits)).unwrap_or_else(|| text.into()))
}

/// The text of a scalar as it would be written; `None` for lists and mappings.
pub(crate) fn text(value: &Value) -> Option<String> {
    match value {
        Value::Null => Some(String::new()),
        Value::String(text) if text == super::BLANK => Some(String::new()),
        Value::Bool(yes) => Some(yes.to_string()),
        Value::Number(number) => Some(number.to_string()),
        Value::String(text) => Some(text.strip_prefix(super::QUOTED).unwrap_or(text).to_owned()),
        Value::Array(_) | Value::Object(_) => None,
    }
}

/// Decimal, `0x`, `0b`, `0o`, and octal as C writes it (`0644`).
fn integer(text: &str) -> Option<Value> {
    let (negative, rest) = match text.as_bytes().first()? {
        b'-' => (true, &text[1..]),
        b'+' => (false, &text[1..]),
        _ => (false, text),
    };
    let lower = rest.get(..2).map(str::to_ascii_lowercase);
    let (radix, digits) = match lower.as_deref() {
        Some("0x") => (16, &rest[2..]),
        Some("0b") => (2, &rest[2..]),
        Some("0o") => (8, &rest[2..]),
        Some(_) if rest.starts_with('0') => (8, &rest[1..]),
        _ => (10, rest),
    };
    if !digits.chars().all(|c| c.is_digit(radix)) {
        return None;
    }
    let size = u64::from_str_radix(digits, radix).ok()?;
    if !negative {
        return Some(size.into());
    }
    0_i64.checked_sub_unsigned(size).map(Value::from)
}

/// Floats; an integral one is an integer, as after Go's way through JSON.
fn float(text: &str) -> Option<Value> {
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
    let (mantissa, exponent) =
        unsigned.split_once(['e', 'E']).map_or((unsigned, None), |(mantissa, exponent)| (mantissa, Some(exponent)));
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let digits = |text: &str| text.bytes().all(|b| b.is_ascii_digit());
    let exponent = exponent.map(|e| e.strip_prefix(['+', '-']).unwrap_or(e));
    if !digits(whole)
        || !digits(fraction)
        || (whole.is_empty() && fraction.is_empty())
        || exponent.is_some_and(|e| e.is_empty() || !digits(e))
    {
        return None;
    }
    let number: f64 = text.parse().ok()?;
    if number.is_finite() && number.fract() == 0.0 && number.abs() < LARGEST_PLAIN_FLOAT {
        let whole = number.to_string();
        if let Some(value) =
            whole.parse::<u64>().ok().map(Value::from).or_else(|| whole.parse::<i64>().ok().map(Value::from))
        {
            return Some(value);
        }
    }
    Number::from_f64(number).map(Value::Number)
}

/// `2001-1-2`, or with a time after `T`, `t` or a space, as RFC 3339 in full. A time without a zone is UTC.
pub(super) fn timestamp(text: &str) -> Option<String> {
    let year = text.get(..4)?;
    if !year.bytes().all(|b| b.is_ascii_digit()) || text.as_bytes().get(4) != Some(&b'-') {
        return None;
    }
    let (date, time) = match text.find(['T', 't', ' ']) {
        Some(at) => (&text[..at], Some((&text[at..=at], &text[at + 1..]))),
        None => (text, None),
    };
    let mut parts = date.split('-');
    let year: u32 = parts.next()?.parse().ok()?;
    let (month, day) = (number(parts.next()?, 1..=12)?, number(parts.next()?, 1..=31)?);
    if parts.next().is_some() || day > days(year, month) {
        return None;
    }
    let clock = match time {
        None => "00:00:00Z".to_owned(),
        Some((separator, time)) => clock(separator, time)?,
    };
    Some(format!("{year:04}-{month:02}-{day:02}T{clock}"))
}

/// `15:4:5.25+02:00`; a time after a space has no zone.
fn clock(separator: &str, time: &str) -> Option<String> {
    let (time, zone) = match time.find(['Z', '+', '-']) {
        Some(_) if separator == " " => return None,
        Some(at) => (&time[..at], &time[at..]),
        None if separator == " " => (time, "Z"),
        None => return None,
    };
    let zone_is_right = zone == "Z"
        || zone.get(1..).and_then(|z| z.split_once(':')).is_some_and(|(hours, minutes)| {
            hours.len() == 2 && minutes.len() == 2 && number(hours, 0..=23).and(number(minutes, 0..=59)).is_some()
        });
    let (seconds_at, fraction) = time.split_once('.').map_or((time, ""), |(time, fraction)| (time, fraction));
    let mut parts = seconds_at.split(':');
    let (hour, minute, second) =
        (number(parts.next()?, 0..=23)?, number(parts.next()?, 0..=59)?, number(parts.next()?, 0..=59)?);
    if parts.next().is_some() || !zone_is_right || !fraction.bytes().all(|b| b.is_ascii_digit()) || fraction.len() > 9 {
        return None;
    }
    let fraction = fraction.trim_end_matches('0');
    let point = if fraction.is_empty() { "" } else { "." };
    let zone = if zone == "+00:00" || zone == "-00:00" { "Z" } else { zone };
    Some(format!("{hour:02}:{minute:02}:{second:02}{point}{fraction}{zone}"))
}

/// One or two digits in a range.
fn number(text: &str, range: std::ops::RangeInclusive<u32>) -> Option<u32> {
    let plain = (1..=2).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit());
    let number = if plain { text.parse().ok()? } else { return None };
    range.contains(&number).then_some(number)
}

fn days(year: u32, month: u32) -> u32 {
    match month {
        2 if year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400)) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn scalars_mean_what_kubectl_and_kustomize_take_them_for() {
        // (text, for kubectl, for kustomize), as kubectl 1.33 printed them.
        let rows = [
            ("yes", json!(true), json!("yes")),
            ("on", json!(true), json!("on")),
            ("n", json!(false), json!("n")),
            ("True", json!(true), json!(true)),
            ("tRue", json!("tRue"), json!("tRue")),
            ("~", json!(null), json!(null)),
            ("NULL", json!(null), json!(null)),
            ("0644", json!(420), json!(420)),
            ("0o17", json!(15), json!(15)),
            ("089", json!(89), json!(89)),
            ("0x1F", json!(31), json!(31)),
            ("0b11", json!(3), json!(3)),
            ("1_000", json!(1000), json!(1000)),
            ("+12", json!(12), json!(12)),
            ("-12", json!(-12), json!(-12)),
            ("0", json!(0), json!(0)),
            ("1e3", json!(1000), json!(1000)),
            ("1.0", json!(1), json!(1)),
            (".5", json!(0.5), json!(0.5)),
            ("1.", json!(1), json!(1)),
            ("1e21", json!(1e21), json!(1e21)),
            ("12345678901234567890", json!(12_345_678_901_234_567_890_u64), json!(12_345_678_901_234_567_890_u64)),
            ("123456789012345678901234567890", json!(1.2345678901234568e29), json!(1.2345678901234568e29)),
            ("1:30", json!("1:30"), json!("1:30")),
            ("1.2.3", json!("1.2.3"), json!("1.2.3")),
            ("250m", json!("250m"), json!("250m")),
            ("-", json!("-"), json!("-")),
            ("2001-01-01", json!("2001-01-01"), json!("2001-01-01T00:00:00Z")),
            ("2001-1-2 3:4:5.50", json!("2001-1-2 3:4:5.50"), json!("2001-01-02T03:04:05.5Z")),
            ("2001-01-02T03:04:05+02:00", json!("2001-01-02T03:04:05+02:00"), json!("2001-01-02T03:04:05+02:00")),
            ("2001-02-29", json!("2001-02-29"), json!("2001-02-29")),
        ];
        for (text, kubectl, kustomize) in rows {
            assert_eq!(plain(text, Dialect::Kubectl).unwrap(), kubectl, "{text} for kubectl");
            assert_eq!(plain(text, Dialect::Kustomize).unwrap(), kustomize, "{text} for kustomize");
        }
        assert!(plain(".inf", Dialect::Kubectl).unwrap_err().contains("JSON"));
    }
}
