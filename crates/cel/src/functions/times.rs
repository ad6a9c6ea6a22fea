//! Points and spans of time.

use jiff::{
    SignedDuration, Timestamp, Zoned,
    tz::{Offset, TimeZone},
};

use super::some;
use crate::{
    eval::{Budget, EvalError, failed},
    value::Value,
};

/// The first second of the first year, before which there is no point in time.
pub(crate) const FIRST_SECOND: i64 = -62_135_596_800;

pub(super) const SIGNATURES: &str = "
    timestamp: (string) timestamp; (timestamp) timestamp; (int) timestamp
    duration: (string) duration; (duration) duration; (int) duration
    getFullYear: timestamp.() int; timestamp.(string) int
    getMonth: timestamp.() int; timestamp.(string) int
    getDate: timestamp.() int; timestamp.(string) int
    getDayOfMonth: timestamp.() int; timestamp.(string) int
    getDayOfWeek: timestamp.() int; timestamp.(string) int
    getDayOfYear: timestamp.() int; timestamp.(string) int
    getHours: timestamp.() int; timestamp.(string) int; duration.() int
    getMinutes: timestamp.() int; timestamp.(string) int; duration.() int
    getSeconds: timestamp.() int; timestamp.(string) int; duration.() int
    getMilliseconds: timestamp.() int; timestamp.(string) int; duration.() int
";

pub(super) fn call(name: &str, given: &[Value], _: &mut Budget) -> Result<Option<Value>, EvalError> {
    match (name, given) {
        ("timestamp", [Value::Text(text)]) => match timestamp(text) {
            Some(time) => Ok(Some(Value::Timestamp(time))),
            None => failed("type conversion error from 'string' to 'google.protobuf.Timestamp'"),
        },
        ("timestamp", [Value::Int(seconds)]) => match Timestamp::from_second(*seconds) {
            Ok(time) if *seconds >= FIRST_SECOND => Ok(Some(Value::Timestamp(time))),
            _ => failed("timestamp overflow"),
        },
        ("duration", [Value::Text(text)]) => match duration(text) {
            Some(span) => Ok(Some(Value::Duration(span))),
            None => failed(format!("type conversion error from 'string' to 'google.protobuf.Duration': {text:?}")),
        },
        ("duration", [Value::Int(nanos)]) => Ok(Some(Value::Duration(SignedDuration::from_nanos(*nanos)))),
        ("timestamp", [Value::Timestamp(_)]) | ("duration", [Value::Duration(_)]) => Ok(given.first().cloned()),
        (name, [Value::Duration(span)]) => Ok(Some(Value::Int(match name {
            "getHours" => span.as_hours(),
            "getMinutes" => span.as_mins(),
            "getSeconds" => span.as_secs(),
            "getMilliseconds" => i64::try_from(span.as_millis()).unwrap_or(i64::MAX),
            _ => return Ok(None),
        }))),
        (name, [Value::Timestamp(time)]) => part(name, &time.to_zoned(TimeZone::UTC)),
        (name, [Value::Timestamp(time), Value::Text(zone)]) => match self::zone(zone) {
            Some(zone) => part(name, &time.to_zoned(zone)),
            None => failed(format!("unknown time zone {zone}")),
        },
        _ => Ok(None),
    }
}

fn part(name: &str, time: &Zoned) -> Result<Option<Value>, EvalError> {
    some(match name {
        "getFullYear" => i64::from(time.year()),
        "getMonth" => i64::from(time.month()) - 1,
        "getDate" => i64::from(time.day()),
        "getDayOfMonth" => i64::from(time.day()) - 1,
        "getDayOfWeek" => i64::from(time.weekday().to_sunday_zero_offset()),
        "getDayOfYear" => i64::from(time.day_of_year()) - 1,
        "getHours" => i64::from(time.hour()),
        "getMinutes" => i64::from(time.minute()),
        "getSeconds" => i64::from(time.second()),
        "getMilliseconds" => i64::from(time.millisecond()),
        _ => return Ok(None),
    })
}

/// Reads a point in time (RFC 3339).
pub(crate) fn timestamp(text: &str) -> Option<Timestamp> {
    text.parse().ok().filter(|_| text.contains(['T', 't']))
}

/// `America/New_York`, `UTC`, or an offset such as `-08:00`.
fn zone(text: &str) -> Option<TimeZone> {
    if let Some((hours, minutes)) = text.trim_start_matches(['+', '-']).split_once(':') {
        let seconds =
            hours.parse::<i32>().ok()?.checked_mul(3600)?.checked_add(minutes.parse::<i32>().ok()?.checked_mul(60)?)?;
        let seconds = if text.starts_with('-') { -seconds } else { seconds };
        return Offset::from_seconds(seconds).ok().map(TimeZone::fixed);
    }
    TimeZone::get(text).ok()
}

/// Reads a span of time as Go writes it: `1h30m`, `-1.5s`; `None` if it is none, or too long.
pub fn duration(text: &str) -> Option<SignedDuration> {
    let (negative, mut rest) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    if rest == "0" {
        return Some(SignedDuration::ZERO);
    }
    let mut nanos = 0_i128;
    if rest.is_empty() {
        return None;
    }
    while !rest.is_empty() {
        let digits = rest.bytes().take_while(|byte| byte.is_ascii_digit() || *byte == b'.').count();
        let (number, after) = rest.split_at_checked(digits)?;
        let units = [
            ("ns", 1_i128),
            ("us", 1_000),
            ("µs", 1_000),
            ("ms", 1_000_000),
            ("s", 1_000_000_000),
            ("m", 60_000_000_000),
            ("h", 3_600_000_000_000),
        ];
        let (unit, scale) = units.into_iter().find(|(unit, _)| after.starts_with(unit))?;
        let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
        if whole.is_empty() && fraction.is_empty() || fraction.contains('.') || whole.len() > 18 {
            return None;
        }
        let whole: i128 = if whole.is_empty() { 0 } else { whole.parse().ok()? };
        nanos += whole * scale;
        let mut place = scale;
        for digit in fraction.chars().take(18) {
            place /= 10;
            nanos += i128::from(digit.to_digit(10)?) * place;
        }
        rest = after.get(unit.len()..)?;
    }
    let nanos = i64::try_from(if negative { -nanos } else { nanos }).ok()?;
    Some(SignedDuration::from_nanos(nanos))
}

/// A span as CEL shows it: in seconds.
pub(super) fn seconds(span: SignedDuration) -> String {
    let (whole, nanos) = (span.as_secs().unsigned_abs(), span.subsec_nanos().unsigned_abs());
    let sign = if span.is_negative() { "-" } else { "" };
    let fraction = format!("{nanos:09}");
    match fraction.trim_end_matches('0') {
        "" => format!("{sign}{whole}s"),
        digits => format!("{sign}{whole}.{digits}s"),
    }
}

/// `+` and `-` of points and spans.
pub(super) fn arithmetic(name: &str, a: &Value, b: &Value) -> Result<Option<Value>, EvalError> {
    let overflow = |kind: &str| EvalError::Failed(format!("{kind} overflow"));
    let time = |time: Result<Timestamp, jiff::Error>| {
        time.map(|time| Some(Value::Timestamp(time))).map_err(|_| overflow("timestamp"))
    };
    let span = |span: Option<SignedDuration>| {
        let span = span.filter(|span| i64::try_from(span.as_nanos()).is_ok());
        span.map(|span| Some(Value::Duration(span))).ok_or_else(|| overflow("duration"))
    };
    match (name, a, b) {
        ("+", Value::Timestamp(a), Value::Duration(b)) | ("+", Value::Duration(b), Value::Timestamp(a)) => {
            time(a.checked_add(*b))
        }
        ("-", Value::Timestamp(a), Value::Duration(b)) => time(a.checked_sub(*b)),
        ("-", Value::Timestamp(a), Value::Timestamp(b)) => span(Some(a.duration_since(*b))),
        ("+", Value::Duration(a), Value::Duration(b)) => span(a.checked_add(*b)),
        ("-", Value::Duration(a), Value::Duration(b)) => span(a.checked_sub(*b)),
        _ => Ok(None),
    }
}
