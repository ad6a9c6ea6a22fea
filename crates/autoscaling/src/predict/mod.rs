//! Prediction: learns the daily and the weekly pattern of a demand, and says what will be needed when a pod that is started now is
//! ready. It only ever asks for more replicas than the metrics do.
//!
//! The demand is counted in replicas that it needs, before rounding, tolerance and limits: whatever the metrics are and however
//! many pods there happen to be, the same demand needs the same number. The forecast for a bucket is the median of the same time
//! on the last three days, or of the same time in the last three weeks, whichever has been nearer to the truth lately: one odd
//! day is forgiven, and a new pattern has taken over after two. A forecast that was wrong lately is not used.

mod record;

use std::{collections::BTreeMap, fmt};

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::Pod;

pub use record::Record;
use record::{BUCKET, DAY, WEEK, bucket};

use crate::{
    metrics::Wanted,
    pods::State,
    replicas::{CannotTell, Proposal, Target},
    time::seconds,
};

/// The annotation of a HorizontalPodAutoscaler that turns prediction on, with the value `enabled`.
pub const ANNOTATION: &str = "autoscaling.coracle.dev/prediction";
/// The annotation that gives the pods' start-up time (such as `45s`) instead of the observed one.
pub const START_UP_ANNOTATION: &str = "autoscaling.coracle.dev/start-up";

/// A forecast that was further off than this, as a share of the demand, is not used.
const TRUSTED: f64 = 0.3;
/// Forecasts that must have been compared with what came, in buckets' worth: most of a day.
const COMPARED: f64 = 0.8 * DAY as f64;
/// After two days a past error counts half.
const HALF: f64 = 2.0 * DAY as f64;
/// Errors on demands below this, in replicas, are counted as on this.
const LITTLE: f64 = 0.5;
/// The daily pattern must be so much nearer than the weekly one to be preferred, which knows weekends.
const CLEARLY: f64 = 0.8;
/// Time ahead that is looked at, at most.
const AHEAD: i64 = 3600;

/// Whether a HorizontalPodAutoscaler with these annotations wants to be told what is ahead.
pub fn is_enabled(annotations: &BTreeMap<String, String>) -> bool {
    annotations.get(ANNOTATION).is_some_and(|value| value == "enabled")
}

/// What these annotations say about prediction that means nothing, as warnings for who writes them.
pub fn doubts<'a>(annotations: impl IntoIterator<Item = (&'a str, &'a str)>) -> Vec<String> {
    let doubt = |(name, value): (&str, &str)| match name {
        ANNOTATION if !matches!(value, "enabled" | "disabled") => {
            Some(format!("metadata.annotations[{name}]: {value:?} has no effect: it is \"enabled\" or \"disabled\""))
        }
        START_UP_ANNOTATION => {
            let error = seconds(value).err()?;
            Some(format!("metadata.annotations[{name}]: it has no effect: {error}"))
        }
        _ => None,
    };
    annotations.into_iter().filter_map(doubt).collect()
}

/// Start-ups that took longer than this were something else: a pod that became ready again.
const LONGEST_START: SignedDuration = SignedDuration::from_mins(10);

/// How long a pod takes from its creation until it is ready: what the annotation says, or else the median of these pods. `None` if
/// no pod tells.
pub fn start_up(annotations: &BTreeMap<String, String>, pods: &[&Pod]) -> Option<SignedDuration> {
    let own = annotations.get(START_UP_ANNOTATION).and_then(|text| seconds(text).ok());
    if let Some(own) = own {
        return SignedDuration::try_from_secs_f64(own).ok();
    }
    let took = pods.iter().filter_map(|pod| {
        let ready = State::of(pod).ready.filter(|ready| ready.status == Some(true))?;
        let created = pod.metadata.creation_timestamp.as_ref()?.0;
        Some(ready.since.duration_since(created))
    });
    let mut took: Vec<_> = took.filter(|took| (SignedDuration::ZERO..=LONGEST_START).contains(took)).collect();
    took.sort_unstable();
    took.get(took.len() / 2).copied()
}

/// How many replicas the demand needs, before rounding: the most that any metric says whose sum does not depend on the count of
/// pods. The value of an object (a latency, say) depends on it, and says nothing. `None` if no metric says anything.
pub fn needed<'a>(
    metrics: impl IntoIterator<Item = (&'a Wanted, &'a Result<Proposal, CannotTell>)>,
    ready: f64,
    replicas: i32,
) -> Option<f64> {
    let one = |(wanted, proposal): (&Wanted, &Result<Proposal, CannotTell>)| {
        let proposal = proposal.as_ref().ok()?;
        let millis = proposal.millis as f64;
        let needed = match *wanted {
            Wanted::Pods(Target::Utilization(percent)) => f64::from(proposal.utilization?) / f64::from(percent) * ready,
            Wanted::Pods(Target::Average(target)) => millis / target as f64 * ready,
            Wanted::PerPod(target) => millis / target as f64 * f64::from(replicas.max(1)),
            Wanted::Value(_) => return None,
        };
        Some(needed).filter(|needed| needed.is_finite() && *needed >= 0.0)
    };
    metrics.into_iter().filter_map(one).reduce(f64::max)
}

/// What repeats.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Season {
    /// Every day is like the days before.
    Daily,
    /// Every week is like the weeks before.
    Weekly,
}

impl Season {
    const ALL: [Self; 2] = [Self::Daily, Self::Weekly];

    fn buckets(self) -> i64 {
        match self {
            Self::Daily => DAY,
            Self::Weekly => WEEK,
        }
    }
}

impl fmt::Display for Season {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Daily => "daily",
            Self::Weekly => "weekly",
        })
    }
}

/// How far the forecasts of a season were off; old ones count less and less.
#[derive(Clone, Copy, Debug, Default)]
struct Score {
    off: f64,
    of: f64,
    compared: f64,
}

impl Score {
    fn add(&mut self, forecast: f64, came: f64) {
        let keep = 0.5f64.powf(1.0 / HALF);
        self.off = self.off * keep + (forecast - came).abs();
        self.of = self.of * keep + forecast.max(came).max(LITTLE);
        self.compared = self.compared * keep + 1.0;
    }

    /// From 0, always right, to 1; `None` before there was enough to compare.
    fn error(&self) -> Option<f64> {
        (self.compared >= COMPARED && self.of > 0.0).then(|| self.off / self.of)
    }
}

/// What is known of the time ahead.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Forecast {
    /// There is too little to go by yet.
    Learning,
    /// The forecasts have been wrong by this share of the demand, too much to use them.
    Uncertain {
        /// From 0 to 1.
        error: f64,
    },
    /// What will be needed.
    Known {
        /// Replicas, before rounding.
        needed: f64,
        /// By how much forecasts were wrong lately, as a share of the demand, from 0 to 1.
        error: f64,
        /// Whose pattern it is.
        season: Season,
    },
}

impl Forecast {
    /// The replicas to ask for where the metrics ask for `proposed`: never fewer. Within `tolerance` (0.1 is 10 %) it agrees with
    /// the metrics, as an autoscaler agrees with the count that there is. The caller limits it to the maximum.
    pub fn raise(&self, proposed: i32, tolerance: f64) -> i32 {
        let Self::Known { needed, .. } = *self else { return proposed };
        let enough = if proposed > 0 { f64::from(proposed) * (1.0 + tolerance) } else { tolerance };
        // A float that is too large becomes the largest number.
        if needed <= enough || needed.is_nan() { proposed } else { proposed.max(needed.ceil() as i32) }
    }

    /// What `status.conditions` says of it: whether it is used, reason and message.
    pub fn condition(&self, ahead: SignedDuration) -> (bool, &'static str, String) {
        match self {
            Self::Learning => (
                false,
                "Learning",
                "the recorded demand is too short, or has too many gaps, for a forecast; it takes two days".to_owned(),
            ),
            Self::Uncertain { error } => (
                false,
                "ForecastUncertain",
                format!(
                    "forecasts were off by {:.0} % of the demand lately; no replica is added by them",
                    error * 100.0
                ),
            ),
            Self::Known { needed, error, season } => (
                true,
                "Forecast",
                format!(
                    "the {season} pattern needs {needed:.1} replicas within {}s; its forecasts were off by {:.0} % lately",
                    ahead.as_secs(),
                    error * 100.0
                ),
            ),
        }
    }
}

/// A forecast, and how far ahead it looks.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Outlook {
    /// What is known.
    pub forecast: Forecast,
    /// The time from now: a pod's start-up, the time until the autoscaler looks again, and its window on the way up.
    pub ahead: SignedDuration,
}

/// Samples of the bucket that is not over yet.
#[derive(Clone, Copy, Debug, Default)]
struct Open {
    bucket: i64,
    sum: f64,
    count: f64,
}

/// Learns one demand. Everything it knows follows from its record.
#[derive(Clone, Debug, Default)]
pub struct Predictor {
    record: Record,
    open: Open,
    scores: [Score; 2],
}

impl Predictor {
    /// Takes up a record; how right forecasts were is found by making them again.
    pub fn new(record: Record) -> Self {
        let mut predictor = Self { record, ..Self::default() };
        if let (Some(oldest), Some(newest)) = (predictor.record.oldest(), predictor.record.newest()) {
            for bucket in oldest..=newest {
                if let Some(came) = predictor.record.get(bucket) {
                    predictor.compare(bucket, came);
                }
            }
        }
        predictor
    }

    /// What has been recorded; the bucket that is not over yet is not in it.
    pub fn record(&self) -> &Record {
        &self.record
    }

    /// Learns what the demand needs now, in replicas before rounding. What is no number, or below zero, is no sample.
    pub fn observe(&mut self, now: Timestamp, needed: f64) {
        if !needed.is_finite() || needed < 0.0 {
            return;
        }
        let bucket = bucket(now);
        if bucket != self.open.bucket {
            self.close();
            self.open = Open { bucket, ..Open::default() };
        }
        self.open.sum += needed;
        self.open.count += 1.0;
    }

    fn close(&mut self) {
        let Open { bucket, sum, count } = self.open;
        if count > 0.0 {
            let came = sum / count;
            self.record.put(bucket, came);
            self.compare(bucket, came);
        }
    }

    fn compare(&mut self, bucket: i64, came: f64) {
        for season in Season::ALL {
            if let Some(forecast) = self.pattern(season, bucket) {
                self.score(season).add(forecast, came);
            }
        }
    }

    fn score(&mut self, season: Season) -> &mut Score {
        let [daily, weekly] = &mut self.scores;
        match season {
            Season::Daily => daily,
            Season::Weekly => weekly,
        }
    }

    /// The median of the same time in the last three periods, as far as it is known; of two the lower.
    fn pattern(&self, season: Season, bucket: i64) -> Option<f64> {
        let mut known = [0.0; 3];
        let mut count = 0;
        for back in 1..=3 {
            if let (Some(value), Some(slot)) = (self.record.get(bucket - back * season.buckets()), known.get_mut(count))
            {
                *slot = value;
                count += 1;
            }
        }
        let known = known.get_mut(..count)?;
        known.sort_unstable_by(f64::total_cmp);
        known.get(count.checked_sub(1)? / 2).copied()
    }

    /// The pattern that has been nearer to the truth, with its error.
    fn best(&self) -> Option<(Season, f64)> {
        let [daily, weekly] = self.scores.map(|score| score.error());
        match (daily, weekly) {
            (Some(daily), Some(weekly)) if daily < CLEARLY * weekly => Some((Season::Daily, daily)),
            (_, Some(weekly)) => Some((Season::Weekly, weekly)),
            (Some(daily), None) => Some((Season::Daily, daily)),
            (None, None) => None,
        }
    }

    /// The most that the pattern needs from now until so much time from now, at most an hour.
    pub fn forecast(&self, now: Timestamp, ahead: SignedDuration) -> Forecast {
        let Some((season, error)) = self.best() else { return Forecast::Learning };
        if error > TRUSTED {
            return Forecast::Uncertain { error };
        }
        let first = bucket(now);
        let last = now.as_second().saturating_add(ahead.as_secs().clamp(0, AHEAD)).div_euclid(BUCKET);
        let needed = (first..=last).filter_map(|bucket| self.pattern(season, bucket)).reduce(f64::max);
        needed.map_or(Forecast::Learning, |needed| Forecast::Known { needed, error, season })
    }
}

#[cfg(test)]
mod tests;
