//! The formats of texts that custom resources' schemas can ask for (upstream's `supportedFormats`); others ask for nothing.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    sync::LazyLock,
};

use base64::Engine;
use jiff::{SignedDuration, Timestamp, civil, tz::TimeZone};
use regex::Regex;

use crate::names;

/// Formats that a pattern says all of.
static PATTERNS: LazyLock<Vec<(&str, Regex)>> = LazyLock::new(|| {
    const HEX: &str = "[0-9a-fA-F]";
    let uuid = |version: &str, variant: &str| {
        format!("^{HEX}{{8}}-?{HEX}{{4}}-?{version}{HEX}{{3}}-?{variant}{HEX}{{3}}-?{HEX}{{12}}$")
    };
    let rows = [
        ("bsonobjectid", format!("^{HEX}{{24}}$")),
        ("uuid", uuid(HEX, HEX)),
        ("uuid3", uuid("3", HEX)),
        ("uuid4", uuid("4", "[89abAB]")),
        ("uuid5", uuid("5", "[89abAB]")),
        ("mac", format!("^({HEX}{{2}}([:-]{HEX}{{2}}){{5,7}}|{HEX}{{4}}(\\.{HEX}{{4}}){{2,3}})$")),
        ("hexcolor", format!("^#?({HEX}{{3}}|{HEX}{{6}})$")),
        ("ssn", "^[0-9]{3}[- ]?[0-9]{2}[- ]?[0-9]{4}$".to_owned()),
        ("date", "^[0-9]{4}-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])$".to_owned()),
        ("hostname", "^([a-zA-Z0-9]([a-zA-Z0-9-]{0,61}[a-zA-Z0-9])?)(\\.[a-zA-Z0-9]([a-zA-Z0-9-]{0,61}[a-zA-Z0-9])?)*\\.?$".to_owned()),
        ("rgbcolor", "^rgb\\(\\s*(0|[1-9][0-9]?|1[0-9]{2}|2[0-4][0-9]|25[0-5])\\s*(,\\s*(0|[1-9][0-9]?|1[0-9]{2}|2[0-4][0-9]|25[0-5])\\s*){2}\\)$".to_owned()),
        ("email", "^[^@\\s<>]+@[a-zA-Z0-9]([a-zA-Z0-9.-]*[a-zA-Z0-9])?$".to_owned()),
    ];
    rows.into_iter().filter_map(|(name, pattern)| Some((name, Regex::new(&pattern).ok()?))).collect()
});

/// Whether a text is of a format; texts are of every format that is not known.
pub(super) fn matches(format: &str, text: &str) -> bool {
    if let Some((_, pattern)) = PATTERNS.iter().find(|(name, _)| *name == format) {
        return pattern.is_match(text) && (format != "date" || text.parse::<civil::Date>().is_ok());
    }
    match format {
        "date-time" | "datetime" => time(text).is_some(),
        "duration" => duration(text).is_some(),
        "ipv4" => text.parse::<Ipv4Addr>().is_ok(),
        "ipv6" => text.parse::<Ipv6Addr>().is_ok(),
        "cidr" => is_cidr(text),
        "byte" => base64::engine::general_purpose::STANDARD.decode(text).is_ok(),
        "uri" => is_uri(text),
        "isbn" => is_isbn10(text) || is_isbn13(text),
        "isbn10" => is_isbn10(text),
        "isbn13" => is_isbn13(text),
        "creditcard" => is_credit_card(text),
        "k8s-short-name" => names::dns_label(text).is_empty(),
        "k8s-long-name" => names::dns_subdomain(text).is_empty(),
        _ => true,
    }
}

/// A point in time; one that says no offset is in UTC.
pub(super) fn time(text: &str) -> Option<Timestamp> {
    let whole = text.to_uppercase();
    let local = || whole.parse::<civil::DateTime>().ok().filter(|_| whole.contains('T'))?.to_zoned(TimeZone::UTC).ok();
    whole.parse().ok().or_else(|| Some(local()?.timestamp()))
}

/// Go's durations, and words such as `3 days` (strfmt's `ParseDuration`).
pub(super) fn duration(text: &str) -> Option<SignedDuration> {
    static PARTS: LazyLock<Option<Regex>> = LazyLock::new(|| Regex::new("([0-9]+)\\s*([A-Za-zµ]+)").ok());
    // Each unit's names: the last may go on (`day`, `days`).
    const UNITS: &[(&[&str], i64)] = &[
        (&["ns", "nano"], 1),
        (&["us", "µs", "micro"], 1_000),
        (&["ms", "milli"], 1_000_000),
        (&["s", "sec"], 1_000_000_000),
        (&["m", "min"], 60_000_000_000),
        (&["h", "hr", "hour"], 3_600_000_000_000),
        (&["d", "day"], 86_400_000_000_000),
        (&["w", "wk", "week"], 604_800_000_000_000),
    ];
    if let Some(span) = cel::duration(text) {
        return Some(span);
    }
    let mut sum = None;
    for part in PARTS.as_ref()?.captures_iter(text) {
        let (_, [count, unit]) = part.extract();
        let unit = unit.to_lowercase();
        let is =
            |names: &[&str]| names.contains(&unit.as_str()) || names.last().is_some_and(|name| unit.starts_with(name));
        let Some((_, nanos)) = UNITS.iter().find(|(names, _)| is(names)) else { continue };
        let span = SignedDuration::from_nanos(count.parse::<i64>().ok()?.checked_mul(*nanos)?);
        sum = Some(sum.unwrap_or(SignedDuration::ZERO).checked_add(span)?);
    }
    sum
}

fn is_cidr(text: &str) -> bool {
    let Some((address, length)) = text.split_once('/') else { return false };
    let most = match address.parse::<IpAddr>() {
        Ok(IpAddr::V4(_)) => 32,
        Ok(IpAddr::V6(_)) => 128,
        Err(_) => return false,
    };
    length.bytes().all(|byte| byte.is_ascii_digit()) && length.parse::<u8>().is_ok_and(|length| length <= most)
}

/// An absolute URI, or a path from the root (Go's `url.ParseRequestURI`).
fn is_uri(text: &str) -> bool {
    let clean = !text.chars().any(|c| c.is_control() || c == ' ');
    let scheme = text.split_once(':').is_some_and(|(scheme, rest)| {
        scheme.starts_with(|c: char| c.is_ascii_alphabetic())
            && scheme.chars().all(|c| c.is_ascii_alphanumeric() || "+-.".contains(c))
            && !rest.is_empty()
    });
    clean && (scheme || text.starts_with('/'))
}

fn digits(text: &str) -> Vec<u32> {
    text.chars().filter_map(|c| c.to_digit(10)).collect()
}

fn is_isbn10(text: &str) -> bool {
    let plain: String = text.chars().filter(|c| !matches!(c, '-' | ' ')).collect();
    if plain.len() != 10 || !plain.chars().take(9).all(|c| c.is_ascii_digit()) {
        return false;
    }
    let value = |c: char| if matches!(c, 'X' | 'x') { Some(10) } else { c.to_digit(10) };
    let sum: Option<u32> = plain.chars().zip((1..=10).rev()).map(|(c, weight)| Some(value(c)? * weight)).sum();
    sum.is_some_and(|sum| sum % 11 == 0)
}

fn is_isbn13(text: &str) -> bool {
    let plain: String = text.chars().filter(|c| !matches!(c, '-' | ' ')).collect();
    let digits = digits(&plain);
    let sum: u32 = digits.iter().zip([1, 3].iter().cycle()).map(|(digit, weight)| digit * weight).sum();
    plain.len() == 13 && digits.len() == 13 && sum.is_multiple_of(10)
}

/// Luhn's checksum over 13 to 19 digits.
fn is_credit_card(text: &str) -> bool {
    let digits = digits(text);
    let sum: u32 = digits
        .iter()
        .rev()
        .zip([1, 2].iter().cycle())
        .map(|(digit, weight)| (digit * weight) / 10 + (digit * weight) % 10)
        .sum();
    (13..=19).contains(&digits.len()) && sum.is_multiple_of(10)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_format_takes_what_it_names_and_refuses_the_rest() {
        for (format, good, bad) in [
            ("date-time", "2024-01-02T03:04:05Z", "2024-01-02"),
            ("date", "2024-02-29", "2023-02-29"),
            ("duration", "1h30m", "1x"),
            ("ipv4", "10.0.0.1", "10.0.0.256"),
            ("ipv6", "::1", "1"),
            ("cidr", "10.0.0.0/8", "10.0.0.0/33"),
            ("byte", "aGk=", "?"),
            ("uri", "https://a.b/c", "a b"),
            ("email", "a@b.c", "ab.c"),
            ("hostname", "a.b-c.d", "-a"),
            ("uuid4", "7a1b1c5e-9c3f-4d2a-8b1e-0123456789ab", "7a1b1c5e-9c3f-1d2a-8b1e-0123456789ab"),
            ("mac", "01:23:45:67:89:ab", "01:23"),
            ("isbn10", "0-306-40615-2", "0-306-40615-3"),
            ("isbn13", "978-0-306-40615-7", "978-0-306-40615-8"),
            ("creditcard", "4111-1111-1111-1111", "4111-1111-1111-1112"),
            ("hexcolor", "#fff", "#ffg"),
            ("rgbcolor", "rgb(1, 2, 255)", "rgb(1,2,256)"),
            ("k8s-short-name", "a-b", "a.b"),
            ("k8s-long-name", "a.b", "A"),
            ("bsonobjectid", "0123456789abcdef01234567", "0"),
            ("ssn", "123-45-6789", "12-45-6789"),
        ] {
            assert!(matches(format, good), "{format} {good}");
            assert!(!matches(format, bad), "{format} {bad}");
        }
        assert!(matches("no-such-format", "x"));
    }
}
