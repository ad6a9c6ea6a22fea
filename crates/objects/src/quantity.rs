//! Resource quantities: `250m`, `128Mi`, `1e3` (apimachinery's `resource.Quantity`).

use std::{fmt, str::FromStr};

/// The finest step that a quantity keeps: upstream's nano.
const NANOS: i128 = 1_000_000_000;

/// How a quantity is written; kept from what was read, as upstream does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Format {
    DecimalSi,
    BinarySi,
    DecimalExponent,
}

/// A fixed-point number, exact to a billionth.
#[derive(Clone, Copy, Debug)]
pub struct Quantity {
    nanos: i128,
    format: Format,
}

/// The text is not a quantity.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'")]
pub struct NotAQuantity;

const BINARY: &[(&str, u32)] = &[("Ki", 10), ("Mi", 20), ("Gi", 30), ("Ti", 40), ("Pi", 50), ("Ei", 60)];
const DECIMAL: &[(&str, i32)] =
    &[("n", -9), ("u", -6), ("m", -3), ("", 0), ("k", 3), ("M", 6), ("G", 9), ("T", 12), ("P", 15), ("E", 18)];

impl Quantity {
    /// Thousandths, rounded up (upstream's `MilliValue`).
    pub fn millis(&self) -> i128 {
        div_up(self.nanos, NANOS / 1000)
    }

    /// Units, rounded up (upstream's `Value`).
    pub fn value(&self) -> i128 {
        div_up(self.nanos, NANOS)
    }

    /// A number of thousandths, written in decimal units.
    pub fn from_millis(millis: i128) -> Self {
        Self { nanos: millis.saturating_mul(NANOS / 1000), format: Format::DecimalSi }
    }

    /// A number of billionths, written in decimal units.
    pub fn from_nanos(nanos: i128) -> Self {
        Self { nanos, format: Format::DecimalSi }
    }

    /// A number of bytes, written in binary units.
    pub fn from_bytes(bytes: i128) -> Self {
        Self { nanos: bytes.saturating_mul(NANOS), format: Format::BinarySi }
    }

    /// Whether it is below zero.
    pub fn is_negative(&self) -> bool {
        self.nanos < 0
    }
}

fn div_up(value: i128, by: i128) -> i128 {
    value.div_euclid(by) + i128::from(value.rem_euclid(by) != 0)
}

impl FromStr for Quantity {
    type Err = NotAQuantity;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let number_end = text.find(|c: char| !matches!(c, '0'..='9' | '.' | '+' | '-')).unwrap_or(text.len());
        let (number, suffix) = text.split_at(number_end);
        let (scale, format) = scale(suffix).ok_or(NotAQuantity)?;
        let nanos = parse_nanos(number, scale).ok_or(NotAQuantity)?;
        Ok(Self { nanos, format })
    }
}

enum Scale {
    Two(u32),
    Ten(i32),
}

fn scale(suffix: &str) -> Option<(Scale, Format)> {
    if let Some((_, power)) = BINARY.iter().find(|(name, _)| *name == suffix) {
        return Some((Scale::Two(*power), Format::BinarySi));
    }
    if let Some((_, power)) = DECIMAL.iter().find(|(name, _)| *name == suffix) {
        return Some((Scale::Ten(*power), Format::DecimalSi));
    }
    let exponent = suffix.strip_prefix(['e', 'E'])?.parse::<i32>().ok()?;
    (-30..=30).contains(&exponent).then_some((Scale::Ten(exponent), Format::DecimalExponent))
}

/// Parses the number before the suffix; what is finer than a billionth is rounded up, away from zero.
fn parse_nanos(number: &str, scale: Scale) -> Option<i128> {
    let (negative, digits) = match number.as_bytes().first()? {
        b'-' => (true, &number[1..]),
        b'+' => (false, &number[1..]),
        _ => (false, number),
    };
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let all = format!("{whole}{fraction}");
    if all.is_empty() || all.len() > 30 || !all.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let mantissa: i128 = all.parse().ok()?;
    let places = i32::try_from(fraction.len()).ok()?;
    let (factor, power) = match scale {
        Scale::Two(bits) => (1i128 << bits, 9 - places),
        Scale::Ten(exponent) => (1, 9 + exponent - places),
    };
    let scaled = mantissa.checked_mul(factor)?;
    let nanos = if power >= 0 {
        scaled.checked_mul(10i128.checked_pow(power.unsigned_abs())?)?
    } else {
        // A divisor too large to hold divides anything to the smallest step.
        10i128.checked_pow(power.unsigned_abs()).map_or(i128::from(scaled != 0), |by| div_up(scaled, by))
    };
    Some(if negative { -nanos } else { nanos })
}

impl fmt::Display for Quantity {
    /// The canonical form: the largest suffix that leaves a whole number.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.nanos == 0 {
            return f.write_str("0");
        }
        // Binary units cannot say fractions: upstream falls back to decimal units below 1024 or for fractions.
        if self.format == Format::BinarySi && self.nanos % NANOS == 0 && self.nanos.abs() >= 1024 * NANOS {
            let value = self.nanos / NANOS;
            let suffix = BINARY.iter().rev().find(|(_, bits)| value % (1i128 << bits) == 0);
            return match suffix {
                Some((name, bits)) => write!(f, "{}{name}", value >> bits),
                None => write!(f, "{value}"),
            };
        }
        let fits = |power: i32| {
            let unit = 10i128.checked_pow((power + 9).unsigned_abs()).unwrap_or(i128::MAX);
            (self.nanos % unit == 0).then(|| self.nanos / unit)
        };
        for (name, power) in DECIMAL.iter().rev() {
            if let Some(count) = fits(*power) {
                return match (self.format, *power) {
                    (Format::DecimalExponent, 0) | (Format::DecimalSi | Format::BinarySi, _) => {
                        write!(f, "{count}{name}")
                    }
                    (Format::DecimalExponent, power) => write!(f, "{count}e{power}"),
                };
            }
        }
        write!(f, "{}n", self.nanos)
    }
}

impl PartialEq for Quantity {
    fn eq(&self, other: &Self) -> bool {
        self.nanos == other.nanos
    }
}

impl Eq for Quantity {}

impl PartialOrd for Quantity {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Quantity {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.nanos.cmp(&other.nanos)
    }
}

impl std::ops::Add for Quantity {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self { nanos: self.nanos.saturating_add(other.nanos), format: self.format }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn quantities_are_written_as_upstream_canonicalises_them() {
        for (text, canonical) in [
            ("0", "0"),
            ("1000m", "1"),
            ("0.5", "500m"),
            ("1500m", "1500m"),
            ("100000", "100k"),
            ("1024Ki", "1Mi"),
            ("1.5Gi", "1536Mi"),
            ("1Ki", "1Ki"),
            ("512Mi", "512Mi"),
            ("1e3", "1e3"),
            ("12e6", "12e6"),
            ("0.1Ki", "102400m"),
            ("-250m", "-250m"),
            ("1n", "1n"),
            ("0.0000000001", "1n"),
        ] {
            assert_eq!(text.parse::<Quantity>().unwrap().to_string(), canonical, "{text}");
        }
    }

    #[test]
    fn what_is_not_a_quantity_is_refused() {
        for text in ["", ".", "1x", "1 Mi", "Mi", "--1", "1.2.3", "1e", "1e99", "1mi", "1K", "9".repeat(40).as_str()] {
            assert!(text.parse::<Quantity>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn values_round_up() {
        let quantity: Quantity = "1500u".parse().unwrap();
        assert_eq!((quantity.millis(), quantity.value()), (2, 1));
        assert_eq!("64Mi".parse::<Quantity>().unwrap().value(), 64 << 20);
    }

    proptest! {
        #[test]
        fn writing_and_reading_keeps_the_value(n in -10_000_000i64..10_000_000, suffix in prop::sample::select(vec!["n", "u", "m", "", "k", "M", "Ki", "Mi", "Gi"])) {
            let quantity: Quantity = format!("{n}{suffix}").parse().unwrap();
            prop_assert_eq!(quantity.to_string().parse::<Quantity>().unwrap(), quantity);
        }

        #[test]
        fn no_text_makes_it_panic(text in "\\PC{0,40}") {
            let _ = text.parse::<Quantity>();
        }
    }
}
