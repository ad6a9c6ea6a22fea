//! Histograms whose buckets grow by a constant ratio, and in which what is older weighs less (`pkg/recommender/util`).

use std::collections::BTreeMap;

use jiff::Timestamp;

/// The least weight that counts.
const EPSILON: f64 = 0.001 * super::container::LEAST_WEIGHT;
/// From one bucket to the next a value grows by so much.
const GROWTH: f64 = 1.05;
/// The largest weight of a bucket in a checkpoint.
const LARGEST: f64 = 10_000.0;
/// By how many halvings a weight may differ from those at the reference time, before all are scaled.
const FARTHEST: f64 = 100.0;

/// Which values share a bucket. The first bucket has values below `first`; each further one is `GROWTH` times as wide.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Scale {
    first: f64,
    ratio: f64,
    buckets: usize,
}

impl Scale {
    /// Buckets from zero to `largest`, the first as wide as `first`, each further one wider by `ratio`, which is more than 1.
    pub fn exponential(largest: f64, first: f64, ratio: f64) -> Self {
        let last = (largest * (ratio - 1.0) / first).ln_1p() / ratio.ln();
        // A float becomes the nearest whole number that there is.
        Self { first, ratio, buckets: last.ceil() as usize + 1 }
    }

    /// Of CPU, in cores: 0.01 to 1000.
    pub fn cpu() -> Self {
        Self::exponential(1000.0, 0.01, GROWTH)
    }

    /// Of memory, in bytes: 10 MB to 1 TB.
    pub fn memory() -> Self {
        Self::exponential(1e12, 1e7, GROWTH)
    }

    fn bucket(&self, value: f64) -> usize {
        // Whatever is no number is none.
        if value < self.first || value.is_nan() {
            return 0;
        }
        let bucket = (value * (self.ratio - 1.0) / self.first).ln_1p() / self.ratio.ln();
        (bucket as usize).min(self.buckets - 1)
    }

    fn start(&self, bucket: usize) -> f64 {
        if bucket == 0 {
            return 0.0;
        }
        self.first * (self.ratio.powf(bucket as f64) - 1.0) / (self.ratio - 1.0)
    }
}

/// The weights of values by bucket.
#[derive(Clone, Debug, PartialEq)]
pub struct Histogram {
    scale: Scale,
    weights: BTreeMap<usize, f64>,
    total: f64,
}

impl Histogram {
    /// An empty one.
    pub fn new(scale: Scale) -> Self {
        Self { scale, weights: BTreeMap::new(), total: 0.0 }
    }

    /// Adds a value with a weight that is not negative.
    pub fn add(&mut self, value: f64, weight: f64) {
        if !(weight >= 0.0 && weight.is_finite()) {
            return;
        }
        *self.weights.entry(self.scale.bucket(value)).or_default() += weight;
        self.total += weight;
    }

    /// Takes a value away again. What is left below the least weight that counts is none.
    pub fn subtract(&mut self, value: f64, weight: f64) {
        let bucket = self.scale.bucket(value);
        if let Some(held) = self.weights.get_mut(&bucket) {
            *held -= weight;
            if *held < EPSILON {
                self.weights.remove(&bucket);
            }
        }
        self.total = (self.total - weight).max(0.0);
        if self.total < EPSILON {
            self.total = 0.0;
        }
    }

    /// Whether it has nothing that counts.
    pub fn is_empty(&self) -> bool {
        self.weights.values().all(|weight| *weight < EPSILON)
    }

    /// The end of the bucket below whose end lies this share of the weight; zero where there is nothing.
    pub fn percentile(&self, share: f64) -> f64 {
        let counts: Vec<(usize, f64)> =
            self.weights.iter().filter(|(_, weight)| **weight >= EPSILON).map(|(at, weight)| (*at, *weight)).collect();
        let Some((last, _)) = counts.last() else { return 0.0 };
        let (threshold, mut sum) = (share * self.total, 0.0);
        let reaches = |(_, weight): &&(usize, f64)| {
            sum += weight;
            sum >= threshold
        };
        let bucket = counts.iter().find(reaches).map_or(*last, |(bucket, _)| *bucket);
        // Nothing is known of where the last bucket ends.
        self.scale.start(if bucket + 1 < self.scale.buckets { bucket + 1 } else { bucket })
    }

    fn scale_by(&mut self, factor: f64) {
        self.weights.values_mut().for_each(|weight| *weight *= factor);
        self.weights.retain(|_, weight| *weight >= EPSILON);
        self.total *= factor;
    }
}

/// A histogram in which a weight halves in every `half_life`.
#[derive(Clone, Debug, PartialEq)]
pub struct Decaying {
    histogram: Histogram,
    /// In seconds.
    half_life: f64,
    /// When what is added has the weight it is added with.
    reference: Timestamp,
}

/// A histogram as it is kept: whole weights, of which the largest is 10 000, and what they come to.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Checkpoint {
    /// When a weight of one is one.
    pub reference: Option<Timestamp>,
    /// By bucket.
    pub weights: BTreeMap<usize, u32>,
    /// What all weights come to.
    pub total: f64,
}

impl Decaying {
    /// An empty one; `half_life` is in seconds.
    pub fn new(scale: Scale, half_life: f64) -> Self {
        Self { histogram: Histogram::new(scale), half_life, reference: Timestamp::UNIX_EPOCH }
    }

    /// Adds what was seen at a time.
    pub fn add(&mut self, value: f64, weight: f64, at: Timestamp) {
        let factor = self.factor(at);
        self.histogram.add(value, weight * factor);
    }

    /// Takes away what was seen at a time.
    pub fn subtract(&mut self, value: f64, weight: f64, at: Timestamp) {
        let factor = self.factor(at);
        self.histogram.subtract(value, weight * factor);
    }

    /// As [`Histogram::percentile`].
    pub fn percentile(&self, share: f64) -> f64 {
        self.histogram.percentile(share)
    }

    /// Whether it has nothing that counts.
    pub fn is_empty(&self) -> bool {
        self.histogram.is_empty()
    }

    fn halvings(&self, from: Timestamp, to: Timestamp) -> f64 {
        to.duration_since(from).as_secs_f64() / self.half_life
    }

    fn factor(&mut self, at: Timestamp) -> f64 {
        if self.halvings(self.reference, at) > FARTHEST {
            // Rounded, so that the buckets of two histograms with one half-life are scaled alike.
            let rounded = (at.as_second() as f64 / self.half_life).round() * self.half_life;
            let next = Timestamp::from_second(rounded as i64).unwrap_or(at);
            self.histogram.scale_by(self.halvings(next, self.reference).round().exp2());
            self.reference = next;
        }
        self.halvings(self.reference, at).exp2()
    }

    /// What is kept of it.
    pub fn checkpoint(&self) -> Checkpoint {
        let largest = self.histogram.weights.values().copied().fold(0.0, f64::max);
        let whole = |weight: f64| (weight / largest * LARGEST).round() as u32;
        let weights = self.histogram.weights.iter().map(|(bucket, weight)| (*bucket, whole(*weight)));
        Checkpoint {
            reference: Some(self.reference),
            weights: weights.filter(|(_, weight)| largest > 0.0 && *weight > 0).collect(),
            total: self.histogram.total,
        }
    }

    /// Takes in what was kept. Buckets that there are not, and a total that cannot be, count for nothing.
    pub fn restore(&mut self, kept: &Checkpoint) {
        let buckets = self.histogram.scale.buckets;
        let known = || kept.weights.iter().filter(|(bucket, _)| **bucket < buckets);
        let sum: f64 = known().map(|(_, weight)| f64::from(*weight)).sum();
        if !(sum > 0.0 && kept.total > 0.0 && kept.total.is_finite()) {
            return;
        }
        self.histogram.weights =
            known().map(|(bucket, weight)| (*bucket, f64::from(*weight) * kept.total / sum)).collect();
        self.histogram.total = kept.total;
        self.reference = kept.reference.unwrap_or(Timestamp::UNIX_EPOCH);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_234_567_890 + second).unwrap()
    }

    fn near(is: f64, wanted: f64) {
        assert!((is - wanted).abs() <= wanted * 1e-9, "{is} is not {wanted}");
    }

    /// Upstream's `TestExponentialHistogramOptions`: buckets of 1, 2, 4, … from zero.
    #[test]
    fn buckets_grow_by_the_ratio() {
        let scale = Scale::exponential(100.0, 10.0, 2.0);
        let starts: Vec<f64> = (0..scale.buckets).map(|bucket| scale.start(bucket).round()).collect();
        assert_eq!(starts, [0.0, 10.0, 30.0, 70.0, 150.0]);
        let of = [-1.0, 0.0, 9.99, 10.0, 29.99, 30.0, 69.99, 70.0, 149.99, 150.0, 1e9, f64::NAN];
        assert_eq!(of.map(|value| scale.bucket(value)), [0, 0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 0]);
        assert_eq!((Scale::cpu().buckets, Scale::memory().buckets), (176, 176));
    }

    /// Upstream's `TestPercentiles`: weights 1 to 4 of the values 1 to 4.
    #[test]
    fn a_percentile_is_the_end_of_its_bucket() {
        let mut histogram = Histogram::new(Scale::exponential(10.0, 1.0, 1.0 + 1e-9));
        assert_eq!(histogram.percentile(0.5), 0.0);
        (1..=4).for_each(|value| histogram.add(f64::from(value) + 0.5, f64::from(value)));
        for (share, wanted) in
            [(0.0, 2.0), (0.1, 2.0), (0.2, 3.0), (0.3, 3.0), (0.4, 4.0), (0.6, 4.0), (0.7, 5.0), (1.0, 5.0)]
        {
            assert!((histogram.percentile(share) - wanted).abs() < 1e-6, "{share}: {}", histogram.percentile(share));
        }
    }

    #[test]
    fn what_is_taken_away_leaves_nothing() {
        let mut histogram = Histogram::new(Scale::cpu());
        histogram.add(1.0, 2.0);
        histogram.subtract(1.0, 2.0);
        assert!(histogram.is_empty());
        assert_eq!(histogram.percentile(0.9), 0.0);
        histogram.add(1.0, f64::NAN);
        histogram.add(1.0, -1.0);
        assert!(histogram.is_empty());
    }

    /// Upstream's `TestSimpleDecay`: a weight of 1000 that is twenty half-lives older weighs less than one of 1.
    #[test]
    fn what_is_older_weighs_less() {
        let mut histogram = Decaying::new(Scale::exponential(10.0, 1.0, 1.0 + 1e-9), 3600.0);
        histogram.add(2.5, 1000.0, at(0));
        histogram.add(1.5, 1.0, at(20 * 3600));
        assert!((histogram.percentile(0.999) - 2.0).abs() < 1e-6);
        assert!((histogram.percentile(1.0) - 3.0).abs() < 1e-6);
    }

    /// Upstream's `TestLongtermDecay`: with a hundred half-lives and more between them the first is gone.
    #[test]
    fn what_is_very_old_is_gone() {
        let mut histogram = Decaying::new(Scale::exponential(10.0, 1.0, 1.0 + 1e-9), 3600.0);
        histogram.add(2.5, 1.0, at(0));
        histogram.add(1.5, 1.0, at(101 * 3600));
        assert!((histogram.percentile(1.0) - 2.0).abs() < 1e-6);
    }

    #[test]
    fn a_checkpoint_says_nearly_the_same() {
        let mut histogram = Decaying::new(Scale::cpu(), 3600.0);
        for step in 0..200_i64 {
            histogram.add(0.01 * (step % 37) as f64, 1.0, at(step * 60));
        }
        let kept = histogram.checkpoint();
        assert_eq!(kept.weights.values().max(), Some(&10_000));
        let mut again = Decaying::new(Scale::cpu(), 3600.0);
        again.restore(&kept);
        for share in [0.1, 0.5, 0.9, 0.95] {
            near(again.percentile(share), histogram.percentile(share));
        }
        assert_eq!(again.checkpoint(), kept, "what was restored is kept the same");
        let mut broken = Decaying::new(Scale::cpu(), 3600.0);
        broken.restore(&Checkpoint { weights: [(999, 1)].into(), total: 1.0, reference: None });
        broken.restore(&Checkpoint { weights: [(1, 1)].into(), total: f64::NAN, reference: None });
        assert!(broken.is_empty());
    }
}
