//! What clients ask of a service: recorded, or a pattern; and how many requests of it arrive in a slot of time.

use fastrand::Rng;
use jiff::Timestamp;
use serde_json::Value;

use super::pattern::Pattern;

/// Rows of a recording, at most: four weeks at a second each fit.
const ROWS: usize = 5_000_000;
/// From here on a Poisson number is as good as a normal one.
const MANY: f64 = 30.0;

/// Why a text is no recording.
#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    /// A line cannot be read, or does not fit those before it.
    #[error("line {line}: {reason}")]
    Line {
        /// Counted from 1.
        line: usize,
        /// What is wrong, and what was expected.
        reason: String,
    },
    /// There is no row, or one alone, which says not how long.
    #[error("a recording needs two rows or more of time,requests_per_second; there are {0}")]
    Short(usize),
    /// More rows than are read.
    #[error("more than {ROWS} rows")]
    Long,
}

/// Requests per second over time.
#[derive(Clone, Debug)]
pub struct Demand {
    source: Source,
    /// The relative standard deviation of what is added to it in each slot.
    noise: f64,
}

#[derive(Clone, Debug)]
enum Source {
    Pattern(Pattern),
    Recorded(Recording),
}

/// Rows of seconds since the first and requests per second, each of which holds until the next.
#[derive(Clone, Debug)]
pub(super) struct Recording {
    pub(super) rows: Vec<(f64, f64)>,
    start: Option<Timestamp>,
}

impl Demand {
    /// A synthetic demand.
    pub fn pattern(pattern: Pattern) -> Self {
        Self { source: Source::Pattern(pattern), noise: 0.0 }
    }

    /// A recorded demand: lines `time,requests_per_second` (CSV, with or without a header that names the columns) or JSON objects
    /// with these fields, one a line. A time is RFC 3339 or seconds, one like the other, ascending. Empty lines and those with `#`
    /// in front are left out. A row holds until the next, the last as long as the one before.
    ///
    /// # Errors
    /// With the line that is wrong.
    pub fn recorded(text: &str) -> Result<Self, RecordError> {
        Ok(Self { source: Source::Recorded(Recording::parse(text)?), noise: 0.0 })
    }

    /// Adds noise: a normal variable of this relative standard deviation in each slot.
    #[must_use]
    pub fn with_noise(mut self, relative: f64) -> Self {
        self.noise = relative.max(0.0);
        self
    }

    /// When a recording began, if it says.
    pub fn start(&self) -> Option<Timestamp> {
        match &self.source {
            Source::Pattern(_) => None,
            Source::Recorded(recording) => recording.start,
        }
    }

    /// The seconds that a recording covers; a pattern has no end.
    pub fn length(&self) -> Option<f64> {
        match &self.source {
            Source::Pattern(_) => None,
            Source::Recorded(recording) => Some(recording.length()),
        }
    }

    /// Requests per second, without noise.
    pub fn rate(&self, seconds: f64) -> f64 {
        match &self.source {
            Source::Pattern(pattern) => pattern.rate(seconds),
            Source::Recorded(recording) => recording.rate(seconds),
        }
    }
}

/// The requests that arrive slot by slot: the same for the same demand and seed, whatever becomes of them.
#[derive(Clone, Debug)]
pub struct Arrivals<'a> {
    demand: &'a Demand,
    seed: u64,
    slot: f64,
    random: bool,
    /// What evenly spaced arrivals owe to the next slot.
    carry: f64,
}

impl<'a> Arrivals<'a> {
    /// Arrivals in slots of so many seconds: at random (Poisson) around the demand, or evenly.
    pub fn new(demand: &'a Demand, slot: f64, seed: u64, random: bool) -> Self {
        Self { demand, seed, slot, random, carry: 0.0 }
    }

    /// How many requests arrive in the slot with this number, counted from 0; slots are asked for in order.
    pub fn next(&mut self, slot: u64) -> f64 {
        // 2^53 slots of a second are 285 million years.
        let middle = (slot as f64 + 0.5) * self.slot;
        let mut rng = Rng::with_seed(self.seed ^ slot.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let mut mean = self.demand.rate(middle) * self.slot;
        if self.demand.noise > 0.0 {
            mean *= (1.0 + self.demand.noise * normal(&mut rng)).max(0.0);
        }
        if self.random {
            return poisson(mean, &mut rng);
        }
        let total = mean + self.carry;
        // A sum of exact parts may miss a whole number by a rounding.
        let whole = (total + 1e-9).floor();
        self.carry = total - whole;
        whole
    }
}

/// A standard normal variable (Box and Muller's).
fn normal(rng: &mut Rng) -> f64 {
    let radius = (-2.0 * (1.0 - rng.f64()).ln()).sqrt();
    radius * (std::f64::consts::TAU * rng.f64()).cos()
}

/// A Poisson variable: by inversion, or of many as the normal one that it is nearly.
fn poisson(mean: f64, rng: &mut Rng) -> f64 {
    if mean <= 0.0 || mean.is_nan() {
        return 0.0;
    }
    if mean >= MANY {
        return (mean + mean.sqrt() * normal(rng)).round().max(0.0);
    }
    let mut left = rng.f64();
    let mut share = (-mean).exp();
    let mut count = 0.0;
    while left > share && count < 10.0 * MANY {
        left -= share;
        count += 1.0;
        share *= mean / count;
    }
    count
}

impl Recording {
    pub(super) fn parse(text: &str) -> Result<Self, RecordError> {
        let mut reader = Reader::default();
        for (number, line) in lines(text) {
            if reader.rows.len() >= ROWS {
                return Err(RecordError::Long);
            }
            reader.line(line).map_err(|reason| RecordError::Line { line: number, reason })?;
        }
        if reader.rows.len() < 2 {
            return Err(RecordError::Short(reader.rows.len()));
        }
        Ok(Self { rows: reader.rows, start: reader.start })
    }

    pub(super) fn length(&self) -> f64 {
        match self.rows.as_slice() {
            [.., (before, _), (last, _)] => last + (last - before),
            _ => 0.0,
        }
    }

    fn rate(&self, seconds: f64) -> f64 {
        let after = self.rows.partition_point(|(time, _)| *time <= seconds);
        after.checked_sub(1).and_then(|index| self.rows.get(index)).map_or(0.0, |(_, rate)| *rate)
    }
}

/// A time as it was written.
enum Written {
    Clock(Timestamp),
    Seconds(f64),
}

/// Reads rows one after the other.
#[derive(Default)]
struct Reader {
    rows: Vec<(f64, f64)>,
    start: Option<Timestamp>,
    /// The first time, where times are seconds.
    origin: f64,
    /// The places of time and rate in a row; `None` before the first row of CSV.
    columns: Option<(usize, usize)>,
}

impl Reader {
    fn line(&mut self, line: &str) -> Result<(), String> {
        let (time, rate) = if line.starts_with('{') {
            fields(line)?
        } else {
            let cells = cells(line);
            let (time, rate) = match self.columns {
                Some(columns) => columns,
                None => {
                    let header = header(&cells)?;
                    self.columns = Some(header.unwrap_or((0, 1)));
                    if header.is_some() {
                        return Ok(());
                    }
                    (0, 1)
                }
            };
            let cell = |index: usize, name: &str| {
                cells.get(index).map(|cell| (*cell).to_owned()).ok_or_else(|| format!("there is no {name} in {line:?}"))
            };
            (cell(time, "time")?, cell(rate, "requests_per_second")?)
        };
        self.row(&time, &rate)
    }

    fn row(&mut self, time: &str, rate: &str) -> Result<(), String> {
        let rate = rate.parse::<f64>().ok().filter(|rate| rate.is_finite() && *rate >= 0.0);
        let rate = rate.ok_or("requests_per_second must be a number, zero or more")?;
        let seconds = match (written(time)?, self.rows.is_empty()) {
            (Written::Clock(clock), true) => {
                self.start = Some(clock);
                0.0
            }
            (Written::Seconds(seconds), true) => {
                self.origin = seconds;
                0.0
            }
            (Written::Clock(clock), false) => {
                let start = self.start.ok_or("the times above are seconds, this one is RFC 3339")?;
                clock.duration_since(start).as_secs_f64()
            }
            (Written::Seconds(_), false) if self.start.is_some() => {
                return Err("the times above are RFC 3339, this one is seconds".to_owned());
            }
            (Written::Seconds(seconds), false) => seconds - self.origin,
        };
        if self.rows.last().is_some_and(|(last, _)| seconds <= *last) {
            return Err(format!("the time {time} is not after the one above"));
        }
        self.rows.push((seconds, rate));
        Ok(())
    }
}

/// The lines that say something, with their numbers, counted from 1.
pub(super) fn lines(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let lines = text.lines().enumerate().map(|(number, line)| (number + 1, line.trim()));
    lines.filter(|(_, line)| !line.is_empty() && !line.starts_with('#'))
}

/// The cells of a line of CSV.
pub(super) fn cells(line: &str) -> Vec<&str> {
    line.split(',').map(|cell| cell.trim().trim_matches('"')).collect()
}

/// The columns that a header names; `None` if this is no header.
fn header(cells: &[&str]) -> Result<Option<(usize, usize)>, String> {
    let place = |name: &str| cells.iter().position(|cell| cell.eq_ignore_ascii_case(name));
    match (place("time"), place("requests_per_second")) {
        (Some(time), Some(rate)) => Ok(Some((time, rate))),
        (None, None) => Ok(None),
        _ => Err("a header must name the columns time and requests_per_second".to_owned()),
    }
}

/// The fields of a JSON object, as text.
fn fields(line: &str) -> Result<(String, String), String> {
    let object: Value = serde_json::from_str(line).map_err(|error| format!("not a JSON object: {error}"))?;
    let field = |name: &str| match object.get(name) {
        Some(Value::String(text)) => Ok(text.clone()),
        Some(Value::Number(number)) => Ok(number.to_string()),
        _ => Err(format!("{name} is missing, or neither text nor a number")),
    };
    Ok((field("time")?, field("requests_per_second")?))
}

fn written(time: &str) -> Result<Written, String> {
    if let Ok(seconds) = time.parse::<f64>() {
        return if seconds.is_finite() {
            Ok(Written::Seconds(seconds))
        } else {
            Err("the time is not finite".to_owned())
        };
    }
    time.parse().map(Written::Clock).map_err(|_| format!("the time {time:?} is neither RFC 3339 nor seconds"))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn rates(text: &str, times: &[f64]) -> Vec<f64> {
        let demand = Demand::recorded(text).unwrap();
        times.iter().map(|time| demand.rate(*time)).collect()
    }

    #[test]
    fn a_recording_is_csv_or_json_lines_and_holds_until_the_next_row() {
        let times = [0.0, 59.0, 60.0, 119.0];
        let wanted = [10.0, 10.0, 20.0, 20.0];
        for text in [
            "0,10\n60,20\n",
            "time,requests_per_second\n100,10\n160,20\n",
            "requests_per_second, errors, time\n10,0,100\n20,0,160\n",
            "# from the gateway\n\n2026-03-02T08:00:00Z,10\n2026-03-02T09:01:00+01:00,20\n",
            "{\"time\": 5, \"requests_per_second\": 10}\n{\"time\": \"65\", \"requests_per_second\": \"20\"}\n",
        ] {
            assert_eq!(rates(text, &times), wanted, "{text}");
        }
        let demand = Demand::recorded("2026-03-02T08:00:00Z,10\n2026-03-02T08:01:00Z,20\n").unwrap();
        assert_eq!(demand.start().unwrap().to_string(), "2026-03-02T08:00:00Z");
        assert_eq!(demand.length(), Some(120.0));
    }

    #[test]
    fn what_is_wrong_with_a_recording_is_said_with_its_line() {
        for (text, message) in [
            ("0,1\n1,x\n", "line 2: requests_per_second must be a number, zero or more"),
            ("0,1\n1,-1\n", "line 2: requests_per_second must be a number, zero or more"),
            ("0,1\n\n0,2\n", "line 3: the time 0 is not after the one above"),
            ("0,1\n2026-03-02T08:00:00Z,2\n", "line 2: the times above are seconds, this one is RFC 3339"),
            ("2026-03-02T08:00:00Z,2\n7,1\n", "line 2: the times above are RFC 3339, this one is seconds"),
            ("noon,1\n", "line 1: the time \"noon\" is neither RFC 3339 nor seconds"),
            ("time,rps\n", "line 1: a header must name the columns time and requests_per_second"),
            ("0\n", "line 1: there is no requests_per_second in \"0\""),
            ("{\"time\": 1}\n", "line 1: requests_per_second is missing, or neither text nor a number"),
            ("0,1\n", "a recording needs two rows or more of time,requests_per_second; there are 1"),
        ] {
            assert_eq!(Demand::recorded(text).unwrap_err().to_string(), message, "{text}");
        }
    }

    #[test]
    fn arrivals_are_as_many_as_the_demand_says() {
        let demand = Demand::pattern(Pattern::parse("constant:rate=2.5").unwrap());
        let mut even = Arrivals::new(&demand, 1.0, 1, false);
        assert_eq!((0..4).map(|slot| even.next(slot)).collect::<Vec<_>>(), [2.0, 3.0, 2.0, 3.0]);
        for (rate, noise) in [(0.05, 0.0), (2.5, 0.0), (400.0, 0.1)] {
            let demand = Demand::pattern(Pattern::parse(&format!("constant:rate={rate}")).unwrap()).with_noise(noise);
            let mut random = Arrivals::new(&demand, 1.0, 1, true);
            let total: f64 = (0..20_000).map(|slot| random.next(slot)).sum();
            assert!((total / 20_000.0 / rate - 1.0).abs() < 0.1, "{rate}: {total}");
        }
    }

    proptest! {
        #[test]
        fn no_text_makes_the_reader_panic(text in "[0-9,{}\":a-z\\n.T-]{0,60}") {
            let _ = Demand::recorded(&text);
        }

        #[test]
        fn the_same_seed_brings_the_same_arrivals(seed in any::<u64>(), rate in 0.0f64..500.0) {
            let demand = Demand::pattern(Pattern::parse(&format!("constant:rate={rate}")).unwrap()).with_noise(0.2);
            let run = || { let mut a = Arrivals::new(&demand, 1.0, seed, true); (0..50).map(|s| a.next(s)).collect::<Vec<_>>() };
            prop_assert_eq!(run(), run());
        }
    }
}
