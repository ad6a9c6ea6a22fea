//! What is known of the containers of one name under one autoscaler (`pkg/recommender/model`).

use jiff::{SignedDuration, Timestamp};

use super::{
    MIB,
    histogram::{Checkpoint, Decaying, Scale},
};

/// The least weight of a sample of CPU, which otherwise weighs as many cores as its container requests.
pub(super) const LEAST_WEIGHT: f64 = 0.1;
/// After a day a sample weighs half.
const HALF_LIFE: f64 = 86_400.0;
/// A container has one peak of memory in such a time.
const INTERVAL: SignedDuration = SignedDuration::from_hours(24);
/// What was not seen for so long is forgotten.
const FORGOTTEN: SignedDuration = SignedDuration::from_hours(8 * 24);

/// What all containers of one name have used.
#[derive(Clone, Debug, PartialEq)]
pub struct Container {
    /// Cores.
    pub cpu: Decaying,
    /// Peaks of memory in bytes.
    pub memory: Decaying,
    /// When the first sample of CPU was taken, and the last.
    pub seen: Option<(Timestamp, Timestamp)>,
    /// Samples of CPU.
    pub samples: u64,
}

impl Default for Container {
    fn default() -> Self {
        let (cpu, memory) = (Decaying::new(Scale::cpu(), HALF_LIFE), Decaying::new(Scale::memory(), HALF_LIFE));
        Self { cpu, memory, seen: None, samples: 0 }
    }
}

/// What is kept of a [`Container`] over a restart.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Kept {
    /// CPU.
    pub cpu: Checkpoint,
    /// Memory.
    pub memory: Checkpoint,
    /// The times of the first and the last sample.
    pub seen: Option<(Timestamp, Timestamp)>,
    /// Samples.
    pub samples: u64,
}

impl Container {
    /// Takes a sample of CPU in: cores used by a container that requests so many.
    pub fn use_cpu(&mut self, cores: f64, requested: f64, at: Timestamp) {
        if !(cores >= 0.0 && cores.is_finite()) {
            return;
        }
        self.cpu.add(cores, requested.max(LEAST_WEIGHT), at);
        let (first, last) = self.seen.unwrap_or((at, at));
        self.seen = Some((first.min(at), last.max(at)));
        self.samples = self.samples.saturating_add(1);
    }

    /// How much is known: days between the first and the last sample, or days of samples of a minute, whichever is less.
    pub fn confidence(&self) -> f64 {
        let lifespan = self.seen.map_or(0.0, |(first, last)| last.duration_since(first).as_secs_f64() / 86_400.0);
        lifespan.min(self.samples as f64 / (24.0 * 60.0))
    }

    /// Whether there is nothing to recommend by, or nothing that is not too old.
    pub fn is_forgotten(&self, now: Timestamp) -> bool {
        self.seen.is_none_or(|(_, last)| now.duration_since(last) >= FORGOTTEN)
    }

    /// What is to be kept.
    pub fn checkpoint(&self) -> Kept {
        let (cpu, memory) = (self.cpu.checkpoint(), self.memory.checkpoint());
        Kept { cpu, memory, seen: self.seen, samples: self.samples }
    }

    /// A container of which this was kept.
    pub fn restored(kept: &Kept) -> Self {
        let mut container = Self { seen: kept.seen, samples: kept.samples, ..Self::default() };
        container.cpu.restore(&kept.cpu);
        container.memory.restore(&kept.memory);
        container
    }
}

/// The peaks of memory of one container of one pod.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Peaks {
    /// The end of the current interval.
    end: Option<Timestamp>,
    /// The peak in it that was measured,
    measured: i64,
    /// and what would have been needed where it ran out of memory.
    needed: i64,
    /// When the last sample was taken.
    last: Option<Timestamp>,
}

impl Peaks {
    /// Takes a sample in, in bytes; an older one than the last counts for nothing.
    pub fn use_memory(&mut self, of: &mut Container, bytes: i64, at: Timestamp) {
        if bytes < 0 || self.last.is_some_and(|last| at < last) {
            return;
        }
        if self.add(of, bytes, at) {
            self.measured = bytes;
        }
    }

    /// Takes in that the container ran out of memory, with so much requested or allowed: it needs more than it ever had. An end
    /// that is older than the interval counts for nothing.
    pub fn out_of_memory(&mut self, of: &mut Container, requested: i64, at: Timestamp) {
        let begin = self.end.and_then(|end| end.checked_sub(INTERVAL).ok());
        if begin.is_some_and(|begin| at < begin) {
            return;
        }
        let needed = more(requested.max(self.measured));
        if self.add(of, needed, at) {
            self.needed = needed;
        }
    }

    /// Whether it is the peak of its interval.
    fn add(&mut self, of: &mut Container, bytes: i64, at: Timestamp) -> bool {
        self.last = Some(self.last.map_or(at, |last| last.max(at)));
        let end = *self.end.get_or_insert(at);
        let peak = self.measured.max(self.needed);
        let end = if at < end {
            if bytes <= peak {
                return false;
            }
            if peak > 0 {
                of.memory.subtract(peak as f64, 1.0, end);
            }
            end
        } else {
            let length = INTERVAL.as_secs();
            let whole = at.duration_since(end).as_secs().div_euclid(length).saturating_add(1);
            (self.measured, self.needed) = (0, 0);
            end.checked_add(SignedDuration::from_secs(whole.saturating_mul(length))).unwrap_or(at)
        };
        self.end = Some(end);
        of.memory.add(bytes as f64, 1.0, end);
        true
    }
}

/// How much memory a container needs that ran out of so much: a fifth more, and at least 100 MiB more.
pub fn more(bytes: i64) -> i64 {
    bytes.saturating_add((bytes / 5).max(100 * MIB))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(1_600_000_000 + seconds).unwrap()
    }

    /// The memory that is recommended to be enough for all peaks, within the width of a bucket.
    fn near(container: &Container, wanted: f64) {
        let is = container.memory.percentile(1.0);
        assert!(is >= wanted && is <= wanted * 1.06, "{is} is not about {wanted}");
    }

    #[test]
    fn a_container_has_one_peak_in_a_day() {
        let (mut container, mut peaks) = (Container::default(), Peaks::default());
        peaks.use_memory(&mut container, 300 * MIB, at(0));
        peaks.use_memory(&mut container, 500 * MIB, at(60));
        peaks.use_memory(&mut container, 400 * MIB, at(120));
        near(&container, (500 * MIB) as f64);
        assert!(container.memory.percentile(0.01) >= (500 * MIB) as f64, "the lower peaks were replaced");
        peaks.use_memory(&mut container, 200 * MIB, at(86_400));
        assert!(container.memory.percentile(0.1) < (250 * MIB) as f64, "another day, another peak");
        near(&container, (500 * MIB) as f64);
        peaks.use_memory(&mut container, 900 * MIB, at(60));
        near(&container, (500 * MIB) as f64);
    }

    /// Upstream's `TestRecordOOM…`: the greater of what was requested and used, and 20 % or 100 MiB more.
    #[test]
    fn a_container_that_ran_out_of_memory_needs_more() {
        assert_eq!((more(50 * MIB), more(1000 * MIB)), (150 * MIB, 1200 * MIB));
        let (mut container, mut peaks) = (Container::default(), Peaks::default());
        peaks.use_memory(&mut container, 1000 * MIB, at(0));
        peaks.out_of_memory(&mut container, 200 * MIB, at(10));
        near(&container, (1200 * MIB) as f64);
        peaks.out_of_memory(&mut container, 2000 * MIB, at(-100_000));
        near(&container, (1200 * MIB) as f64);
        let (mut fresh, mut peaks) = (Container::default(), Peaks::default());
        peaks.out_of_memory(&mut fresh, 64 * MIB, at(0));
        near(&fresh, (164 * MIB) as f64);
    }

    #[test]
    fn what_is_known_grows_with_samples_and_with_time() {
        let mut container = Container::default();
        assert_eq!(container.confidence(), 0.0);
        (0..1440).for_each(|minute| container.use_cpu(0.1, 0.0, at(minute * 60)));
        assert!((container.confidence() - 1439.0 / 1440.0).abs() < 1e-9);
        container.use_cpu(f64::NAN, 1.0, at(0));
        assert_eq!(container.samples, 1440);
        assert!(!container.is_forgotten(at(7 * 86_400)) && container.is_forgotten(at(10 * 86_400)));
    }

    #[test]
    fn what_is_kept_is_restored() {
        let mut container = Container::default();
        container.use_cpu(0.5, 1.0, at(0));
        Peaks::default().use_memory(&mut container, 300 * MIB, at(0));
        let again = Container::restored(&container.checkpoint());
        assert_eq!((again.samples, again.seen), (1, container.seen));
        assert_eq!(again.cpu.percentile(0.9), container.cpu.percentile(0.9));
        assert_eq!(again.memory.percentile(0.9), container.memory.percentile(0.9));
    }
}
