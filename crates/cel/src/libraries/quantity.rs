//! `kubernetes.Quantity`: numbers with a suffix, such as `1.5Gi` and `500m`.

use std::{fmt, sync::Arc};

use num_bigint::{BigInt, Sign};

/// Billionths: the finest suffix is `n`.
const ONE: u64 = 1_000_000_000;
/// Digits of a number, and the power of ten of one that is written with an exponent, at most: what comes of them has to be reckoned
/// with.
const DIGITS: usize = 1024;
const POWER: u32 = 1024;

/// Suffixes: what they multiply by, and what they divide by.
const SUFFIXES: &[(&str, u64, u64)] = &[
    ("Ki", 1 << 10, 1),
    ("Mi", 1 << 20, 1),
    ("Gi", 1 << 30, 1),
    ("Ti", 1 << 40, 1),
    ("Pi", 1 << 50, 1),
    ("Ei", 1 << 60, 1),
    ("n", 1, 1_000_000_000),
    ("u", 1, 1_000_000),
    ("m", 1, 1000),
    ("", 1, 1),
    ("k", 1000, 1),
    ("M", 1_000_000, 1),
    ("G", 1_000_000_000, 1),
    ("T", 1_000_000_000_000, 1),
    ("P", 1_000_000_000_000_000, 1),
    ("E", 1_000_000_000_000_000_000, 1),
];

const FORM: &str = "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'";
const NUMBER: &str = "unable to parse numeric part of quantity";
const SUFFIX: &str = "unable to parse quantity's suffix";

/// A quantity. Two are equal if they are the same number.
#[derive(Clone, Debug)]
pub struct Quantity {
    nanos: Arc<BigInt>,
    /// Whether it is shown with suffixes of 1024.
    binary: bool,
}

impl Quantity {
    fn new(nanos: BigInt, binary: bool) -> Self {
        Self { nanos: Arc::new(nanos), binary }
    }

    /// Reads a quantity (`resource.ParseQuantity`): what is finer than a billionth is rounded up, and one with a suffix of 1024 is no
    /// more than 64 bits hold.
    ///
    /// # Errors
    /// Why it is none.
    pub(crate) fn parse(text: &str) -> Result<Self, &'static str> {
        let (negative, body) = match text.strip_prefix('-') {
            Some(body) => (true, body),
            None => (false, text.strip_prefix('+').unwrap_or(text)),
        };
        let digits = body.bytes().take_while(|byte| byte.is_ascii_digit() || *byte == b'.').count();
        let (number, suffix) = body.split_at_checked(digits).ok_or(FORM)?;
        let letters = suffix.trim_end_matches(|c: char| c.is_ascii_digit()).trim_end_matches(['+', '-']);
        if number.is_empty() || !letters.chars().all(|c| "eEinumkKMGTP".contains(c)) {
            return Err(FORM);
        }
        let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
        if whole.is_empty() && fraction.is_empty() || fraction.contains('.') || number.len() > DIGITS {
            return Err(NUMBER);
        }
        let (times, parts) = scale(suffix).ok_or(SUFFIX)?;
        let value: BigInt = format!("0{whole}{fraction}").parse().map_err(|_| NUMBER)?;
        let places = u32::try_from(fraction.len()).map_err(|_| NUMBER)?;
        let parts = parts * BigInt::from(10).pow(places);
        let nanos = (value * times * ONE + &parts - 1u8) / parts;
        let binary = suffix.ends_with('i');
        let most = BigInt::from(i64::MAX) * ONE;
        let nanos = if binary && !negative && nanos > most { most } else { nanos };
        Ok(Self::new(if negative { -nanos } else { nanos }, binary))
    }

    /// A whole number.
    pub(crate) fn whole(value: i64) -> Self {
        Self::new(BigInt::from(value) * ONE, false)
    }

    /// As a whole number, if it is one of 64 bits.
    pub(crate) fn integer(&self) -> Option<i64> {
        let whole = self.nanos.as_ref() / ONE;
        i64::try_from(&whole).ok().filter(|_| whole * ONE == *self.nanos)
    }

    /// As a number that is not exact.
    pub(crate) fn float(&self) -> f64 {
        // The library's own way needs another one.
        self.nanos.to_string().parse().map_or(f64::INFINITY, |nanos: f64| nanos / 1e9)
    }

    pub(crate) fn sign(&self) -> i64 {
        match self.nanos.sign() {
            Sign::Minus => -1,
            Sign::NoSign => 0,
            Sign::Plus => 1,
        }
    }

    pub(crate) fn add(&self, other: &Self) -> Self {
        Self::new(self.nanos.as_ref() + other.nanos.as_ref(), self.binary)
    }

    pub(crate) fn sub(&self, other: &Self) -> Self {
        Self::new(self.nanos.as_ref() - other.nanos.as_ref(), self.binary)
    }
}

/// What a suffix multiplies and divides by.
fn scale(suffix: &str) -> Option<(BigInt, BigInt)> {
    if let Some((_, times, parts)) = SUFFIXES.iter().find(|(name, _, _)| *name == suffix) {
        return Some(((*times).into(), (*parts).into()));
    }
    let power: i32 = suffix.strip_prefix(['e', 'E'])?.parse().ok()?;
    let scale = BigInt::from(10).pow(Some(power.unsigned_abs()).filter(|power| *power <= POWER)?);
    Some(if power < 0 { (1.into(), scale) } else { (scale, 1.into()) })
}

impl PartialEq for Quantity {
    fn eq(&self, other: &Self) -> bool {
        self.nanos == other.nanos
    }
}

impl Eq for Quantity {}

impl fmt::Display for Quantity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let size = |times: &u64, parts: &u64| BigInt::from(ONE) * times / parts;
        let shown = |of: &BigInt| (self.nanos.as_ref() % of == BigInt::ZERO).then(|| self.nanos.as_ref() / of);
        if self.sign() == 0 {
            return f.write_str("0");
        }
        let own = |(suffix, _, _): &&(&str, u64, u64)| suffix.ends_with('i') == self.binary;
        let fits = SUFFIXES.iter().filter(own).filter_map(|(suffix, times, parts)| {
            let size = size(times, parts);
            shown(&size).map(|number| (size, suffix, number))
        });
        // The largest suffix that leaves no fraction.
        match fits.max_by(|(a, _, _), (b, _, _)| a.cmp(b)) {
            Some((_, suffix, number)) => write!(f, "{number}{suffix}"),
            None => match shown(&ONE.into()) {
                Some(number) => write!(f, "{number}"),
                None => write!(f, "{}n", self.nanos),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantities_are_read_rounded_up_and_shown_with_the_largest_suffix() {
        for (text, shown) in [
            ("1.5Gi", "1536Mi"),
            ("0.1n", "1n"),
            ("-0.1n", "-1n"),
            ("1e3", "1k"),
            ("1E-3", "1m"),
            ("12e6", "12M"),
            ("0", "0"),
            ("1024Ki", "1Mi"),
            ("99999999999Ei", "9223372036854775807"),
            ("99999999999999999999999E", "99999999999999999999999E"),
        ] {
            assert_eq!(Quantity::parse(text).unwrap().to_string(), shown, "{text}");
        }
        for (text, why) in [
            ("", FORM),
            ("1x", FORM),
            (" 1", FORM),
            ("1Mm", SUFFIX),
            ("1.2.3", NUMBER),
            (".", NUMBER),
            ("1e2000", SUFFIX),
        ] {
            assert_eq!(Quantity::parse(text).unwrap_err(), why, "{text}");
        }
    }
}
