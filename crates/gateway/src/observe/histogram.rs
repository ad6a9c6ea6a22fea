//! How long requests take, finely enough for quantiles.

/// Durations are told apart in steps of this many bits of nanoseconds: 16 microseconds.
const SHIFT: u32 = 14;
/// Four buckets to each doubling, up to a third of an hour.
const BUCKETS: usize = 101;

/// Counts of durations in buckets that are a quarter of a power of two wide (log-linear, as HdrHistogram's), so that a quantile
/// is off by less than a quarter of itself, and by far less as a rule. Counts wrap: only differences mean something.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Histogram([u32; BUCKETS]);

impl Default for Histogram {
    fn default() -> Self {
        Self([0; BUCKETS])
    }
}

impl Histogram {
    /// Counts one duration in nanoseconds.
    pub fn count(&mut self, nanoseconds: u64) {
        if let Some(count) = self.0.get_mut(index(nanoseconds)) {
            *count = count.wrapping_add(1);
        }
    }

    /// Adds another's counts.
    pub fn add(&mut self, other: &Self) {
        self.0.iter_mut().zip(&other.0).for_each(|(mine, others)| *mine = mine.wrapping_add(*others));
    }

    /// Takes away what was counted by an earlier moment.
    pub fn remove(&mut self, earlier: &Self) {
        self.0.iter_mut().zip(&earlier.0).for_each(|(mine, others)| *mine = mine.wrapping_sub(*others));
    }

    /// The duration that so many of a hundred are not longer than, in nanoseconds: within its bucket, durations are taken to be
    /// spread evenly. `None` without any.
    pub fn quantile(&self, percent: u32) -> Option<u64> {
        let total: u128 = self.0.iter().map(|count| u128::from(*count)).sum();
        let rank = total * u128::from(percent);
        let mut before = 0;
        for (index, count) in self.0.iter().enumerate().filter(|(_, count)| **count > 0) {
            let here = u128::from(*count) * 100;
            if before + here >= rank {
                let (low, high) = (lower(index), upper(index));
                let within = u128::from(high - low) * (rank - before) / here;
                return Some(low.saturating_add(u64::try_from(within).unwrap_or(u64::MAX)));
            }
            before += here;
        }
        None
    }
}

/// The bucket of a duration.
fn index(nanoseconds: u64) -> usize {
    let steps = nanoseconds >> SHIFT;
    let index = match steps.checked_ilog2() {
        None | Some(0 | 1) => steps,
        Some(octave) => u64::from(octave - 1) * 4 + ((steps >> (octave - 2)) & 3),
    };
    usize::try_from(index).unwrap_or(BUCKETS).min(BUCKETS - 1)
}

/// The shortest duration of a bucket.
fn lower(index: usize) -> u64 {
    let (octave, quarter) = (index / 4, index as u64 % 4);
    let steps = if octave == 0 { quarter } else { (4 + quarter) << (octave - 1) };
    steps << SHIFT
}

/// What all durations of a bucket are shorter than. The last one's have no such bound, and are taken to be as short as they can.
fn upper(index: usize) -> u64 {
    lower((index + 1).min(BUCKETS - 1))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn of(durations: &[u64]) -> Histogram {
        let mut histogram = Histogram::default();
        durations.iter().for_each(|duration| histogram.count(*duration));
        histogram
    }

    #[test]
    fn buckets_follow_each_other_without_a_gap() {
        for bucket in 0..BUCKETS - 1 {
            assert_eq!((index(lower(bucket)), index(upper(bucket) - 1)), (bucket, bucket));
        }
        assert_eq!(index(u64::MAX), BUCKETS - 1);
        assert_eq!(lower(BUCKETS - 1), 1 << 40);
    }

    #[test]
    fn without_durations_there_is_no_quantile() {
        assert_eq!(of(&[]).quantile(99), None);
    }

    #[test]
    fn a_quantile_is_as_far_into_its_bucket_as_its_rank() {
        // From 64 to 80 steps is one bucket: of four durations in it, half are in its lower half.
        let histogram = of(&[70 << SHIFT; 4]);
        assert_eq!(histogram.quantile(50), Some(72 << SHIFT));
        assert_eq!(histogram.quantile(100), Some(80 << SHIFT));
        let slow = of(&[[70 << SHIFT; 9].as_slice(), &[700 << SHIFT]].concat());
        assert_eq!(slow.quantile(90), Some(80 << SHIFT));
        assert_eq!(slow.quantile(95), Some((640 + 64) << SHIFT));
        assert_eq!(of(&[u64::MAX]).quantile(50), Some(1 << 40));
    }

    #[test]
    fn what_was_there_before_can_be_taken_away() {
        let mut now = of(&[1, 1 << 20, 1 << 30]);
        now.remove(&of(&[1, 1 << 30]));
        assert_eq!(now, of(&[1 << 20]));
        now.add(&of(&[1]));
        assert_eq!(now, of(&[1, 1 << 20]));
    }

    proptest! {
        #[test]
        fn a_quantile_is_close_to_the_duration_at_its_rank(
            mut durations in prop::collection::vec(100_000_u64..1 << 40, 1..50),
            percent in 1_u32..=100,
        ) {
            let quantile = of(&durations).quantile(percent).unwrap();
            durations.sort_unstable();
            let rank = (durations.len() * percent as usize).div_ceil(100) - 1;
            let exact = durations[rank];
            prop_assert!(quantile >= exact - exact / 4, "{quantile} {exact}");
            prop_assert!(quantile <= exact + exact / 4 + 1, "{quantile} {exact}");
        }
    }
}
