//! Synthetic demand: the shapes that `--pattern NAME:key=value,…` names, as a table.

use std::f64::consts::TAU;

use crate::time::{TimeError, seconds, words};

const DAY: f64 = 86_400.0;

/// What a parameter counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Unit {
    /// Requests per second.
    Rate,
    /// A time, such as `5m`, or a number of seconds.
    Time,
    /// A share between 0 and 1.
    Share,
}

/// A parameter of a shape, with what it is when it is not given.
type Parameter = (&'static str, Unit, f64);

/// A curve of requests per second over seconds since the start.
#[derive(Debug)]
struct Shape {
    name: &'static str,
    /// In the order in which `rate` takes them.
    parameters: &'static [Parameter],
    rate: fn(&[f64], f64) -> f64,
}

use Unit::{Rate, Share, Time};

/// The shapes. Curves over a day take the start for midnight, those over a week for that of a Monday.
const SHAPES: &[Shape] = &[
    Shape { name: "constant", parameters: &[("rate", Rate, 50.0)], rate: |p, _| at(p, 0) },
    Shape {
        name: "step",
        parameters: &[("from", Rate, 10.0), ("to", Rate, 200.0), ("at", Time, 300.0)],
        rate: |p, t| if t < at(p, 2) { at(p, 0) } else { at(p, 1) },
    },
    Shape {
        name: "ramp",
        parameters: &[("from", Rate, 10.0), ("to", Rate, 200.0), ("at", Time, 300.0), ("over", Time, 600.0)],
        rate: |p, t| {
            let share = if at(p, 3) > 0.0 { (t - at(p, 2)) / at(p, 3) } else { f64::from(u8::from(t >= at(p, 2))) };
            between(at(p, 0), at(p, 1), share.clamp(0.0, 1.0))
        },
    },
    Shape {
        name: "spike",
        parameters: &[("from", Rate, 10.0), ("to", Rate, 200.0), ("at", Time, 300.0), ("for", Time, 120.0)],
        rate: |p, t| if (at(p, 2)..at(p, 2) + at(p, 3)).contains(&t) { at(p, 1) } else { at(p, 0) },
    },
    Shape {
        name: "sine",
        parameters: &[("low", Rate, 10.0), ("high", Rate, 200.0), ("period", Time, 1800.0)],
        rate: |p, t| between(at(p, 0), at(p, 1), (1.0 - (TAU * t / at(p, 2).max(1.0)).cos()) / 2.0),
    },
    Shape {
        name: "daily",
        parameters: &[("low", Rate, 10.0), ("high", Rate, 200.0), ("peak", Time, 14.0 * 3600.0)],
        rate: |p, t| day(at(p, 0), at(p, 1), at(p, 2), t),
    },
    Shape {
        name: "weekly",
        parameters: &[
            ("low", Rate, 10.0),
            ("high", Rate, 200.0),
            ("peak", Time, 14.0 * 3600.0),
            ("weekend", Share, 0.3),
        ],
        rate: |p, t| {
            let high = if t.rem_euclid(7.0 * DAY) < 5.0 * DAY { at(p, 1) } else { at(p, 1) * at(p, 3) };
            day(at(p, 0).min(high), high, at(p, 2), t)
        },
    },
    Shape {
        name: "onoff",
        parameters: &[("low", Rate, 0.0), ("high", Rate, 50.0), ("off", Time, 1200.0), ("on", Time, 300.0)],
        rate: |p, t| {
            let period = (at(p, 2) + at(p, 3)).max(1.0);
            if t.rem_euclid(period) < at(p, 2) { at(p, 0) } else { at(p, 1) }
        },
    },
];

fn at(parameters: &[f64], index: usize) -> f64 {
    parameters.get(index).copied().unwrap_or_default()
}

fn between(low: f64, high: f64, share: f64) -> f64 {
    low + (high - low) * share
}

/// A day whose nights are longer than its peak.
fn day(low: f64, high: f64, peak: f64, t: f64) -> f64 {
    let near = (1.0 + (TAU * (t - peak) / DAY).cos()) / 2.0;
    between(low, high, near * near)
}

/// Why a text is no pattern.
#[derive(Debug, thiserror::Error)]
pub enum PatternError {
    /// No shape has this name.
    #[error("there is no pattern {0:?}; there are {known}", known = names())]
    Unknown(String),
    /// A part is not `key=value`, or the shape has no such key.
    #[error("the pattern {shape} has no parameter {part:?}; it has {known}", known = keys(shape))]
    Parameter {
        /// The shape's name.
        shape: &'static str,
        /// What was written.
        part: String,
    },
    /// The value is no number, not finite, or below zero.
    #[error("{part:?} is not a number of requests per second, zero or more")]
    NotARate {
        /// What was written.
        part: String,
    },
    /// The value is no share.
    #[error("{part:?} is not a share between 0 and 1")]
    NotAShare {
        /// What was written.
        part: String,
    },
    /// The value is no time.
    #[error("{part:?}")]
    Time {
        /// What was written.
        part: String,
        /// What is wrong with it.
        source: TimeError,
    },
}

fn names() -> String {
    SHAPES.iter().map(|shape| shape.name).collect::<Vec<_>>().join(", ")
}

fn keys(shape: &str) -> String {
    let shape = SHAPES.iter().find(|known| known.name == shape);
    shape.map_or_else(String::new, |shape| shape.parameters.iter().map(|(key, ..)| *key).collect::<Vec<_>>().join(", "))
}

/// Every pattern as it would be written with its defaults, for a help text.
pub fn described() -> impl Iterator<Item = String> {
    SHAPES.iter().map(|shape| {
        let parameters = shape.parameters.iter().map(|(key, unit, value)| match unit {
            Time => format!("{key}={}", words(*value)),
            Rate | Share => format!("{key}={value}"),
        });
        format!("{}:{}", shape.name, parameters.collect::<Vec<_>>().join(","))
    })
}

/// A shape with its parameters.
#[derive(Clone, Debug)]
pub struct Pattern {
    shape: &'static Shape,
    values: Vec<f64>,
}

impl Pattern {
    /// Reads `NAME` or `NAME:key=value,key=value`, such as `step:from=10,to=200,at=5m`; what is not given has a default.
    ///
    /// # Errors
    /// For an unknown shape or parameter, and for a value of another kind than the parameter's.
    pub fn parse(text: &str) -> Result<Self, PatternError> {
        let (name, rest) = text.split_once(':').unwrap_or((text, ""));
        let shape =
            SHAPES.iter().find(|shape| shape.name == name).ok_or_else(|| PatternError::Unknown(name.to_owned()))?;
        let mut values: Vec<f64> = shape.parameters.iter().map(|(.., value)| *value).collect();
        for part in rest.split(',').filter(|part| !part.is_empty()) {
            let unknown = || PatternError::Parameter { shape: shape.name, part: part.to_owned() };
            let (key, value) = part.split_once('=').ok_or_else(unknown)?;
            let index = shape.parameters.iter().position(|(known, ..)| *known == key).ok_or_else(unknown)?;
            let unit = shape.parameters.get(index).map_or(Rate, |(_, unit, _)| *unit);
            if let Some(slot) = values.get_mut(index) {
                *slot = read(unit, part, value)?;
            }
        }
        Ok(Self { shape, values })
    }

    /// Requests per second, so many seconds after the start.
    pub fn rate(&self, seconds: f64) -> f64 {
        (self.shape.rate)(&self.values, seconds)
    }
}

fn read(unit: Unit, part: &str, value: &str) -> Result<f64, PatternError> {
    let part = part.to_owned();
    let number = value.parse::<f64>().ok().filter(|number| number.is_finite() && *number >= 0.0);
    match unit {
        Rate => number.ok_or(PatternError::NotARate { part }),
        Share => number.filter(|share| *share <= 1.0).ok_or(PatternError::NotAShare { part }),
        Time => seconds(value).map_err(|source| PatternError::Time { part, source }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rates(text: &str, times: &[f64]) -> Vec<f64> {
        let pattern = Pattern::parse(text).unwrap();
        times.iter().map(|t| (pattern.rate(*t) * 100.0).round() / 100.0).collect()
    }

    #[test]
    fn patterns_have_the_shape_of_their_name() {
        assert_eq!(rates("constant:rate=7", &[0.0, 1e6]), [7.0, 7.0]);
        assert_eq!(rates("step:from=10,to=200,at=5m", &[299.0, 300.0]), [10.0, 200.0]);
        assert_eq!(rates("ramp:from=0,to=100,at=0,over=100s", &[0.0, 25.0, 100.0, 200.0]), [0.0, 25.0, 100.0, 100.0]);
        assert_eq!(rates("spike:from=1,to=9,at=10,for=10", &[9.0, 10.0, 19.0, 20.0]), [1.0, 9.0, 9.0, 1.0]);
        assert_eq!(rates("sine:low=0,high=10,period=1h", &[0.0, 900.0, 1800.0]), [0.0, 5.0, 10.0]);
        assert_eq!(rates("daily:low=1,high=5,peak=12h", &[0.0, 12.0 * 3600.0]), [1.0, 5.0]);
        assert_eq!(rates("weekly:low=1,high=100,weekend=0.5,peak=12h", &[12.0 * 3600.0, 5.5 * DAY]), [100.0, 50.0]);
        assert_eq!(rates("onoff:high=5,off=10s,on=5s", &[9.0, 10.0, 14.0, 15.0]), [0.0, 5.0, 5.0, 0.0]);
    }

    #[test]
    fn a_pattern_that_is_wrong_says_what_there_is() {
        for (text, message) in [
            ("wave", "there is no pattern \"wave\"; there are constant, step, ramp, spike, sine, daily, weekly, onoff"),
            ("step:up=1", "the pattern step has no parameter \"up=1\"; it has from, to, at"),
            ("step:from", "the pattern step has no parameter \"from\"; it has from, to, at"),
            ("step:from=-1", "\"from=-1\" is not a number of requests per second, zero or more"),
            ("weekly:weekend=2", "\"weekend=2\" is not a share between 0 and 1"),
        ] {
            assert_eq!(Pattern::parse(text).unwrap_err().to_string(), message);
        }
        assert!(matches!(Pattern::parse("step:at=soon"), Err(PatternError::Time { .. })));
    }
}
