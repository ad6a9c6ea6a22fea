//! How long requests take: a histogram that is cheap to add to, and draws from the distribution of the time in service.

/// Buckets for each doubling; the middle of a bucket is at most 2.2 % off.
const FINE: u32 = 16;
/// The first bucket ends at 2^-14 s, 61 µs.
const LOWEST: u32 = 1023 - 14;
/// The last bucket begins at 2^14 s, 4.5 h.
const BUCKETS: usize = (28 * FINE) as usize;
/// How finely a distribution is cut.
const QUANTILES: usize = 1024;

/// How many requests took how long.
#[derive(Clone, Debug)]
pub struct Histogram {
    buckets: Vec<f64>,
    total: f64,
}

impl Default for Histogram {
    fn default() -> Self {
        Self { buckets: vec![0.0; BUCKETS], total: 0.0 }
    }
}

/// The bucket of a time: its exponent and the first four bits of its mantissa.
fn bucket(seconds: f64) -> usize {
    let bits = (seconds.max(0.0).to_bits() >> (52 - FINE.ilog2())) as i64;
    (bits - i64::from(LOWEST * FINE)).clamp(0, BUCKETS as i64 - 1) as usize
}

/// The middle of a bucket, in seconds.
fn middle(bucket: usize) -> f64 {
    let bits = (bucket as u64 + u64::from(LOWEST * FINE)) << (52 - FINE.ilog2());
    f64::from_bits(bits) * (1.0 + 0.5 / f64::from(FINE))
}

impl Histogram {
    /// Counts requests that took so many seconds.
    pub fn add(&mut self, seconds: f64, count: f64) {
        if let Some(bucket) = self.buckets.get_mut(bucket(seconds)) {
            *bucket += count;
            self.total += count;
        }
    }

    /// Counts those of another one too.
    pub fn merge(&mut self, other: &Self) {
        for (bucket, more) in self.buckets.iter_mut().zip(&other.buckets) {
            *bucket += more;
        }
        self.total += other.total;
    }

    /// Forgets all.
    pub fn clear(&mut self) {
        self.buckets.fill(0.0);
        self.total = 0.0;
    }

    /// The time that this share of the requests stayed within; `None` without requests.
    pub fn quantile(&self, share: f64) -> Option<f64> {
        if self.total <= 0.0 {
            return None;
        }
        let wanted = self.total * share.clamp(0.0, 1.0);
        let mut sum = 0.0;
        let mut last = 0;
        for (index, count) in self.buckets.iter().enumerate().filter(|(_, count)| **count > 0.0) {
            sum += count;
            last = index;
            if sum >= wanted {
                break;
            }
        }
        Some(middle(last))
    }
}

/// Draws of times in service and of waits, spread evenly instead of at random: few draws stand for the distribution.
#[derive(Clone, Debug)]
pub struct Draws {
    /// The quantiles of the time in service, whose mean is 1.
    service: Vec<f64>,
    count: u64,
}

impl Draws {
    /// Times in service with this coefficient of variation: 0 is always the same, above it is lognormal.
    pub fn new(variation: f64) -> Self {
        let sigma = (1.0 + variation * variation).ln().sqrt();
        let mut service: Vec<f64> =
            (0..QUANTILES).map(|i| (sigma * normal_quantile((i as f64 + 0.5) / QUANTILES as f64)).exp()).collect();
        let mean = service.iter().sum::<f64>() / QUANTILES as f64;
        service.iter_mut().for_each(|time| *time /= mean);
        Self { service, count: 0 }
    }

    /// A time in service as a multiple of its mean, and a number between 0 and 1 that has nothing to do with it.
    pub fn draw(&mut self) -> (f64, f64) {
        self.count = self.count.wrapping_add(1);
        // Martin Roberts' sequence: fills the square evenly from the first point on.
        let (first, second) =
            (fraction(self.count, 0.754_877_666_246_692_7), fraction(self.count, 0.569_840_290_998_053_2));
        let service = self.service.get((first * QUANTILES as f64) as usize).copied().unwrap_or(1.0);
        (service, second)
    }
}

fn fraction(count: u64, step: f64) -> f64 {
    // The steps' fractions as 64-bit numbers: exact however many draws there were.
    let step = (step * 18_446_744_073_709_551_616.0) as u64;
    (count.wrapping_mul(step) >> 11) as f64 / 9_007_199_254_740_992.0
}

/// The quantile of the standard normal distribution, to 5e-4 (Abramowitz and Stegun 26.2.23).
fn normal_quantile(share: f64) -> f64 {
    let tail = share.min(1.0 - share).max(f64::MIN_POSITIVE);
    let t = (-2.0 * tail.ln()).sqrt();
    let above = 2.515_517 + t * (0.802_853 + t * 0.010_328);
    let below = 1.0 + t * (1.432_788 + t * (0.189_269 + t * 0.001_308));
    let size = t - above / below;
    if share < 0.5 { -size } else { size }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_near_the_truth() {
        let mut histogram = Histogram::default();
        assert_eq!(histogram.quantile(0.5), None);
        (1..=1000).for_each(|i| histogram.add(f64::from(i) / 1000.0, 1.0));
        for (share, wanted) in [(0.5, 0.5), (0.9, 0.9), (0.99, 0.99)] {
            assert!((histogram.quantile(share).unwrap() / wanted - 1.0).abs() < 0.05);
        }
        histogram.add(1e9, 1.0);
        histogram.add(0.0, 1.0);
        assert!(histogram.quantile(1.0).unwrap() > 10_000.0);
    }

    #[test]
    fn draws_have_the_mean_and_the_variation_that_were_asked_for() {
        for variation in [0.0, 0.5, 1.0] {
            let mut draws = Draws::new(variation);
            let all: Vec<_> = (0..50_000).map(|_| draws.draw().0).collect();
            let mean = all.iter().sum::<f64>() / 50_000.0;
            let square = all.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / 50_000.0;
            assert!((mean - 1.0).abs() < 0.01, "{variation}: {mean}");
            assert!((square.sqrt() - variation).abs() < 0.06, "{variation}: {}", square.sqrt());
        }
    }
}
