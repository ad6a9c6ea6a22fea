//! Gateway API's durations (GEP-2257): the part of Go's syntax that two parsers cannot read differently.

use std::time::Duration;

/// Why a text is not a Gateway API duration.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not a duration: one to four groups of one to five digits and h, m, s or ms, such as 1m30s")]
pub struct DurationError {
    text: String,
}

/// Reads `([0-9]{1,5}(h|m|s|ms)){1,4}`, such as `10s` or `1h500ms`; the groups are added.
///
/// # Errors
/// For anything else: fractions, signs, other units, a bare number, the empty text.
pub fn parse_duration(text: &str) -> Result<Duration, DurationError> {
    let refuse = || DurationError { text: text.to_owned() };
    let mut rest = text;
    let mut total = Duration::ZERO;
    let mut groups = 0;
    while !rest.is_empty() {
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        let (number, tail) = rest.split_at_checked(digits).ok_or_else(refuse)?;
        groups += 1;
        if !(1..=5).contains(&digits) || groups > 4 {
            return Err(refuse());
        }
        let number: u64 = number.parse().map_err(|_| refuse())?;
        // `ms` before `m`: the longer unit wins.
        let units = [("ms", 1), ("h", 3_600_000), ("m", 60_000), ("s", 1_000)];
        let (unit, millis) = units.into_iter().find(|(unit, _)| tail.starts_with(unit)).ok_or_else(refuse)?;
        total += Duration::from_millis(number * millis);
        rest = tail.get(unit.len()..).ok_or_else(refuse)?;
    }
    if groups == 0 { Err(refuse()) } else { Ok(total) }
}
