//! When a request began, as text. What does not change within a second is kept for it.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use jiff::{Timestamp, fmt::strtime, tz::TimeZone};

/// As `%START_TIME%` is without an argument.
const DEFAULT: &str = "%Y-%m-%dT%H:%M:%E3SZ";

/// A compiled time format.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct TimeFormat(Vec<Piece>);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Piece {
    /// Conversions that change with the second at most.
    Seconds(String),
    /// So many digits of the second's fraction.
    Fraction(u32),
}

/// A conversion that there is not.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}; there are those of strftime, %f and %3f for the fraction, %E3S for a second with it")]
pub struct TimeFormatError(String);

impl TimeFormat {
    /// Reads a format: strftime's conversions, and Envoy's for fractions.
    pub fn parse(format: &str) -> Result<Self, TimeFormatError> {
        let mut pieces = Vec::new();
        let mut seconds = String::new();
        let mut rest = if format.is_empty() { DEFAULT } else { format };
        while let Some((before, after)) = rest.split_once('%') {
            seconds.push_str(before);
            let digits = |text: &str| match text.as_bytes() {
                [b'f', ..] => Some((1, 9)),
                [digit @ b'1'..=b'9', b'f', ..] => Some((2, u32::from(digit - b'0'))),
                _ => None,
            };
            let with_second = |text: &str| match text.as_bytes() {
                [b'E', digit @ b'1'..=b'9', b'S', ..] => Some(u32::from(digit - b'0')),
                _ => None,
            };
            let (length, fraction) = if let Some((length, count)) = digits(after) {
                (length, Some(count))
            } else if let Some(count) = with_second(after) {
                seconds.push_str("%S.");
                (3, Some(count))
            } else {
                let length = after.chars().next().map_or(0, char::len_utf8);
                seconds.push('%');
                seconds.push_str(after.get(..length).unwrap_or_default());
                (length, None)
            };
            if let Some(count) = fraction {
                pieces.push(Piece::Seconds(std::mem::take(&mut seconds)));
                pieces.push(Piece::Fraction(count));
            }
            rest = after.get(length..).unwrap_or_default();
        }
        seconds.push_str(rest);
        pieces.push(Piece::Seconds(seconds));
        let format = Self(pieces);
        let mut trial = Cache::default();
        format.refresh(&mut trial, 0)?;
        Ok(format)
    }

    fn refresh(&self, cache: &mut Cache, second: i64) -> Result<(), TimeFormatError> {
        let zoned = Timestamp::from_second(second).unwrap_or_default().to_zoned(TimeZone::UTC);
        cache.second = None;
        cache.texts.clear();
        for piece in &self.0 {
            if let Piece::Seconds(format) = piece {
                let text = strtime::format(format, &zoned).map_err(|error| TimeFormatError(error.to_string()))?;
                cache.texts.push(text);
            }
        }
        cache.second = Some(second);
        Ok(())
    }

    /// Writes the time so long after 1970 began.
    pub fn write(&self, out: &mut Vec<u8>, cache: &mut Cache, time: Duration) {
        let second = i64::try_from(time.as_secs()).unwrap_or_default();
        if cache.second != Some(second) && self.refresh(cache, second).is_err() {
            return;
        }
        let mut texts = cache.texts.iter();
        for piece in &self.0 {
            match piece {
                Piece::Seconds(_) => out.extend_from_slice(texts.next().map(String::as_bytes).unwrap_or_default()),
                Piece::Fraction(count) => {
                    let mut unit = 100_000_000;
                    for _ in 0..*count {
                        out.push(b'0' + (time.subsec_nanos() / unit % 10) as u8);
                        unit /= 10;
                    }
                }
            }
        }
    }
}

/// What a format's conversions are within one second.
#[derive(Debug, Default)]
pub(super) struct Cache {
    second: Option<i64>,
    texts: Vec<String>,
}

/// What the wall clock shows at a moment; compared anew now and then, since it may be set.
#[derive(Debug, Clone, Copy)]
pub(super) struct Wall {
    moment: Instant,
    shown: Duration,
}

impl Wall {
    pub fn now() -> Self {
        let shown = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self { moment: Instant::now(), shown }
    }

    /// What it showed, or will show.
    pub fn at(&self, moment: Instant) -> Duration {
        let later = moment.saturating_duration_since(self.moment);
        (self.shown + later).saturating_sub(self.moment.saturating_duration_since(moment))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(format: &str, time: Duration) -> String {
        let mut out = Vec::new();
        TimeFormat::parse(format).unwrap().write(&mut out, &mut Cache::default(), time);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn times_are_written_as_envoy_writes_them() {
        let time = Duration::new(1_763_726_400, 7_060_504);
        for (format, expected) in [
            ("", "2025-11-21T12:00:00.007Z"),
            ("%s", "1763726400"),
            ("%s.%3f", "1763726400.007"),
            ("%f|%1f|%6f", "007060504|0|007060"),
            ("%Y/%m/%dT%H:%M:%S%z", "2025/11/21T12:00:00+0000"),
            ("%d/%b/%Y:%H:%M:%E6S %%", "21/Nov/2025:12:00:00.007060 %"),
        ] {
            assert_eq!(written(format, time), expected, "{format}");
        }
    }

    #[test]
    fn a_cache_is_used_for_its_second_alone() {
        let (format, mut cache) = (TimeFormat::parse("%S").unwrap(), Cache::default());
        let mut out = Vec::new();
        for second in [1, 1, 2, 61, 1] {
            format.write(&mut out, &mut cache, Duration::from_secs(second));
        }
        assert_eq!(out, b"0101020101");
    }

    #[test]
    fn moments_before_and_after_the_comparison_have_their_time() {
        let wall = Wall::now();
        let second = Duration::from_secs(1);
        assert_eq!(wall.at(wall.moment + second), wall.shown + second);
        assert_eq!(wall.at(wall.moment - second), wall.shown - second);
    }
}
