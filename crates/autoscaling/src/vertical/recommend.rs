//! From what containers have used to what they should request (`pkg/recommender/logic`).

use std::collections::BTreeMap;

use super::{Container, MIB};

/// On top of what was used.
const MARGIN: f64 = 0.15;
/// What a pod gets at least; its containers share it.
const LEAST: Amounts = Amounts { cpu: 25, memory: 250 * MIB };
/// More than anybody has.
const MOST: f64 = 1e14;

/// Amounts of the two resources.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Amounts {
    /// Thousandths of a core.
    pub cpu: i64,
    /// Bytes.
    pub memory: i64,
}

impl Amounts {
    fn at_least(self, least: Self) -> Self {
        Self { cpu: self.cpu.max(least.cpu), memory: self.memory.max(least.memory) }
    }

    /// Each as many times as much, within what there can be.
    fn times(self, factor: f64) -> Self {
        // Zero times infinity is nothing, as a cast has it.
        let scaled = |amount: i64| (amount as f64 * factor).clamp(0.0, MOST) as i64;
        Self { cpu: scaled(self.cpu), memory: scaled(self.memory) }
    }
}

/// What a container should request, and from where to where its request is well enough.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Estimate {
    /// What it should request.
    pub target: Amounts,
    /// Less than this is too little,
    pub lower: Amounts,
    /// and more than this is wasted.
    pub upper: Amounts,
}

fn percentile(container: &Container, share: f64) -> Amounts {
    let cpu = (container.cpu.percentile(share) * 1000.0) as i64;
    Amounts { cpu, memory: container.memory.percentile(share) as i64 }.times(1.0 + MARGIN)
}

/// The less is known of a container, the further the bounds are away: `(1 + multiplier / confidence) ^ exponent`.
fn widened(amounts: Amounts, container: &Container, multiplier: f64, exponent: f64) -> Amounts {
    let confidence = container.confidence();
    amounts.times((1.0 + multiplier / confidence).powf(exponent))
}

/// What one container of a pod of so many should request.
pub fn estimate(container: &Container, containers: usize) -> Estimate {
    let share = 1.0 / containers.max(1) as f64;
    let least = LEAST.times(share);
    Estimate {
        target: percentile(container, 0.9).at_least(least),
        lower: widened(percentile(container, 0.5), container, 0.001, -2.0).at_least(least),
        upper: widened(percentile(container, 0.95), container, 1.0, 1.0).at_least(least),
    }
}

/// What each container of a pod should request.
pub fn estimates<'a>(containers: impl IntoIterator<Item = (&'a str, &'a Container)>) -> BTreeMap<String, Estimate> {
    let all: Vec<_> = containers.into_iter().collect();
    all.iter().map(|(name, container)| ((*name).to_owned(), estimate(container, all.len()))).collect()
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use proptest::prelude::*;

    use super::{super::Peaks, *};

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(1_600_000_000 + seconds).unwrap()
    }

    /// Upstream's `TestPercentileEstimator`: three samples each, at two percentiles.
    #[test]
    fn a_percentile_of_cpu_and_of_memory_peaks() {
        let mut container = Container::default();
        for (cores, bytes) in [(1.0, 1e9), (2.0, 2e9), (3.0, 3e9)] {
            container.cpu.add(cores, 1.0, at(0));
            container.memory.add(bytes, 1.0, at(0));
        }
        let near = |is: i64, wanted: f64| assert!((is as f64 - wanted).abs() <= wanted * 0.06, "{is}, not {wanted}");
        near(percentile(&container, 0.2).cpu, 1000.0 * 1.15);
        near(percentile(&container, 0.5).memory, 2e9 * 1.15);
    }

    /// Upstream's `TestConfidenceMultiplier`: nine samples, one in two minutes.
    #[test]
    fn what_little_is_known_widens_the_bounds() {
        let mut container = Container::default();
        (1..=9).for_each(|sample| container.use_cpu(1.0, 0.0, at(sample * 120)));
        assert!((container.confidence() - 9.0 / 60.0 / 24.0).abs() < 1e-12);
        let base = Amounts { cpu: 3140, memory: 3_140_000_000 };
        let factor = (1.0 + 0.1 / (9.0 / 60.0 / 24.0_f64)).powf(2.0);
        let wide = widened(base, &container, 0.1, 2.0);
        assert_eq!((wide.cpu, wide.memory), ((3140.0 * factor) as i64, (3.14e9 * factor) as i64));
        let none = Container::default();
        assert_eq!(widened(base, &none, 1.0, 1.0).cpu, MOST as i64);
        assert_eq!(widened(base, &none, 0.001, -2.0), Amounts::default());
    }

    #[test]
    fn containers_share_what_a_pod_gets_at_least() {
        let mut container = Container::default();
        container.use_cpu(0.001, 0.0, at(0));
        let one = estimates([("a", &container)]);
        assert_eq!(one["a"].target, Amounts { cpu: 25, memory: 262_144_000 });
        let two = estimates([("a", &container), ("b", &container)]);
        assert_eq!(two["b"].target, Amounts { cpu: 12, memory: 131_072_000 });
    }

    proptest! {
        #[test]
        fn bounds_enclose_the_target_and_everything_has_a_margin(
            samples in proptest::collection::vec((0.0..64.0_f64, 0_i64..1 << 36, 0_i64..30 * 86_400), 1..200),
        ) {
            let (mut container, mut peaks) = (Container::default(), Peaks::default());
            let mut samples = samples;
            samples.sort_by_key(|(_, _, second)| *second);
            for (cores, bytes, second) in &samples {
                container.use_cpu(*cores, 1.0, at(*second));
                peaks.use_memory(&mut container, *bytes, at(*second));
            }
            let estimate = estimate(&container, 1);
            for (lower, target, upper) in [
                (estimate.lower.cpu, estimate.target.cpu, estimate.upper.cpu),
                (estimate.lower.memory, estimate.target.memory, estimate.upper.memory),
            ] {
                prop_assert!(lower <= target && target <= upper, "{estimate:?}");
            }
            let most = samples.iter().map(|(cores, ..)| *cores).fold(0.0, f64::max);
            // A bucket is a twentieth wide; nothing recommended is more than the most that was used, with the margin.
            prop_assert!(estimate.target.cpu as f64 <= ((most * 1.05 + 0.011) * 1150.0).max(25.0) + 1.0);
        }

        #[test]
        fn twice_the_use_is_about_twice_the_recommendation(cores in 0.5..30.0_f64, count in 1_i64..100) {
            let of = |cores: f64| {
                let mut container = Container::default();
                (0..count).for_each(|minute| container.use_cpu(cores, 1.0, at(minute * 60)));
                estimate(&container, 1).target.cpu as f64
            };
            let ratio = of(cores * 2.0) / of(cores);
            prop_assert!((1.85..2.15).contains(&ratio), "{ratio}");
        }
    }
}
