//! `kubernetes.Quantity`: numbers with a suffix, such as `1.5Gi` and `500m`.

use std::fmt;

/// Billionths: the finest suffix is `n`.
const ONE: i128 = 1_000_000_000;

const SUFFIXES: &[(&str, i128, i128)] = &[
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

/// A quantity. Two are equal if they are the same number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Quantity {
    nanos: i128,
    /// Whether it is shown with suffixes of 1024.
    binary: bool,
}

impl Quantity {
    /// Reads a quantity.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let (negative, body) = match text.strip_prefix('-') {
            Some(body) => (true, body),
            None => (false, text.strip_prefix('+').unwrap_or(text)),
        };
        let digits = body.bytes().take_while(|byte| byte.is_ascii_digit() || *byte == b'.').count();
        let (number, suffix) = body.split_at_checked(digits)?;
        let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
        if whole.is_empty() && fraction.is_empty() || fraction.contains('.') || whole.len() > 19 {
            return None;
        }
        let (times, parts) = match SUFFIXES.iter().find(|(name, _, _)| *name == suffix) {
            Some((_, times, parts)) => (*times, *parts),
            None => {
                let power: i32 = suffix.strip_prefix(['e', 'E'])?.parse().ok()?;
                let scale = 10_i128.checked_pow(power.unsigned_abs()).filter(|_| power.abs() <= 18)?;
                if power < 0 { (1, scale) } else { (scale, 1) }
            }
        };
        let whole: i128 = if whole.is_empty() { 0 } else { whole.parse().ok()? };
        let mut nanos = whole.checked_mul(ONE)?.checked_mul(times)? / parts;
        let mut place = ONE.checked_mul(times)?;
        for digit in fraction.chars().take(18) {
            place /= 10;
            nanos = nanos.checked_add(i128::from(digit.to_digit(10)?).checked_mul(place)? / parts)?;
        }
        Some(Self { nanos: if negative { -nanos } else { nanos }, binary: suffix.ends_with('i') })
    }

    /// A whole number.
    pub(crate) fn whole(value: i64) -> Self {
        Self { nanos: i128::from(value) * ONE, binary: false }
    }

    /// As a whole number, if it is one of 64 bits.
    pub(crate) fn integer(self) -> Option<i64> {
        if self.nanos % ONE == 0 { i64::try_from(self.nanos / ONE).ok() } else { None }
    }

    #[allow(clippy::cast_precision_loss, reason = "it is asked for as an approximation")]
    pub(crate) fn float(self) -> f64 {
        self.nanos as f64 / ONE as f64
    }

    pub(crate) fn sign(self) -> i64 {
        i64::try_from(self.nanos.signum()).unwrap_or(0)
    }

    pub(crate) fn add(self, other: Self) -> Option<Self> {
        Some(Self { nanos: self.nanos.checked_add(other.nanos)?, binary: self.binary })
    }

    pub(crate) fn sub(self, other: Self) -> Option<Self> {
        Some(Self { nanos: self.nanos.checked_sub(other.nanos)?, binary: self.binary })
    }
}

impl fmt::Display for Quantity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let fits = |(suffix, times, parts): &&(&str, i128, i128)| {
            suffix.ends_with('i') == self.binary && self.nanos % (ONE * times / parts) == 0
                || suffix.is_empty() && self.nanos == 0
        };
        // The largest suffix that leaves no fraction.
        let found = SUFFIXES.iter().filter(fits).max_by_key(|(_, times, parts)| ONE * times / parts);
        match found.filter(|_| self.nanos != 0) {
            Some((suffix, times, parts)) => write!(f, "{}{suffix}", self.nanos / (ONE * times / parts)),
            None if self.nanos % ONE == 0 => write!(f, "{}", self.nanos / ONE),
            None => write!(f, "{}n", self.nanos),
        }
    }
}
