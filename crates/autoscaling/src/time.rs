//! Times as people write them, in seconds.

use jiff::{Span, SpanRelativeTo};

/// Why a text is no time.
#[derive(Debug, thiserror::Error)]
#[error("{text:?} is not a time of zero or more, such as 90s, 5m, 1h30m or 7d")]
pub struct TimeError {
    text: String,
    source: Option<jiff::Error>,
}

/// Reads `90s`, `5m`, `1h30m`, `7d`, `2w` (a day has 24 hours) or a bare number of seconds.
///
/// # Errors
/// For anything else, and for times below zero.
pub fn seconds(text: &str) -> Result<f64, TimeError> {
    let refuse = |source| TimeError { text: text.to_owned(), source };
    let seconds = match text.parse::<f64>() {
        Ok(number) => number,
        Err(_) => {
            let span: Span = text.parse().map_err(|error| refuse(Some(error)))?;
            let duration =
                span.to_duration(SpanRelativeTo::days_are_24_hours()).map_err(|error| refuse(Some(error)))?;
            duration.as_secs_f64()
        }
    };
    if seconds.is_finite() && seconds >= 0.0 { Ok(seconds) } else { Err(refuse(None)) }
}

/// A time with its two largest units, such as `1h30m` or `250ms`.
pub fn words(seconds: f64) -> String {
    if seconds < 0.9995 {
        return if seconds < 0.0005 { "0s".to_owned() } else { format!("{:.0}ms", seconds * 1000.0) };
    }
    if seconds < 9.95 {
        let text = format!("{seconds:.1}");
        return format!("{}s", text.strip_suffix(".0").unwrap_or(&text));
    }
    // Whole seconds from here on; a float becomes the nearest, and one that is too large the largest.
    let mut left = seconds.round() as u64;
    let mut text = String::new();
    let mut units = 0;
    for (name, size) in [("d", 86_400), ("h", 3600), ("m", 60), ("s", 1)] {
        let count = left / size;
        if units < 2 && count > 0 {
            text.push_str(&format!("{count}{name}"));
        }
        units += usize::from(count > 0 || units > 0);
        left %= size;
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_in_the_units_that_people_use() {
        for (text, wanted) in
            [("90", 90.0), ("1.5", 1.5), ("5m", 300.0), ("1h30m", 5400.0), ("7d", 604_800.0), ("2w", 1_209_600.0)]
        {
            assert_eq!(seconds(text).unwrap(), wanted, "{text}");
        }
        assert_eq!(seconds("250ms").unwrap(), 0.25);
        for text in ["", "-1", "-5m", "NaN", "inf", "1 month", "soon"] {
            assert!(seconds(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn times_are_written_with_two_units() {
        for (time, wanted) in [
            (0.0, "0s"),
            (0.0421, "42ms"),
            (1.25, "1.2s"),
            (2.0, "2s"),
            (59.6, "1m"),
            (90.0, "1m30s"),
            (5400.0, "1h30m"),
            (3605.0, "1h"),
            (90_000.0, "1d1h"),
        ] {
            assert_eq!(words(time), wanted);
        }
    }
}
