//! One suite for all policies, then what only some promise.

use std::time::Duration;

use fastrand::Rng;
use proptest::prelude::{any, prop, prop_assert, prop_assert_eq, proptest};

use super::*;

fn algorithms() -> [Algorithm; 6] {
    [
        Algorithm::RoundRobin,
        Algorithm::Random,
        Algorithm::LeastRequest,
        Algorithm::PeakEwma,
        Algorithm::RingHash(HashOn::SourceAddress),
        Algorithm::Maglev(HashOn::SourceAddress),
    ]
}

fn address(number: usize) -> SocketAddr {
    SocketAddr::from(([10, 0, (number >> 8) as u8, number as u8], 8080))
}

/// A balancer, a clock that stands still until it is moved, and chance that is the same every time.
struct Trial {
    balancer: Balancer,
    now: Instant,
    random: Rng,
    tried: Vec<SocketAddr>,
}

impl Trial {
    fn new(policy: &Policy, weights: &[u32]) -> Self {
        let now = Instant::now();
        let wanted: Vec<_> = weights.iter().enumerate().map(|(number, weight)| (address(number), *weight)).collect();
        let balancer = policy.over(renew(&[], &wanted, now));
        Self { balancer, now, random: Rng::with_seed(7), tried: Vec::new() }
    }

    fn of(algorithm: Algorithm, weights: &[u32]) -> Self {
        Self::new(&Policy::new(algorithm), weights)
    }

    fn pick_for(&mut self, key: Option<u64>) -> Option<Picked> {
        self.balancer.pick(&mut Ask { tried: &self.tried, key, now: self.now, random: &mut self.random })
    }

    /// A request of some client.
    fn pick(&mut self) -> Option<Picked> {
        let key = Some(self.random.u64(..));
        self.pick_for(key)
    }

    /// How many of so many requests, one at a time, each endpoint gets.
    fn shares(&mut self, requests: usize) -> Vec<usize> {
        let mut shares = vec![0; self.balancer.endpoints().len()];
        for _ in 0..requests {
            let picked = self.pick().unwrap().address();
            shares[self.balancer.endpoints().iter().position(|e| e.address() == picked).unwrap()] += 1;
        }
        shares
    }

    /// Whom each of so many keys belongs to.
    fn owners(&mut self, keys: u64) -> Vec<SocketAddr> {
        (0..keys).map(|key| self.pick_for(Some(hash(&key.to_le_bytes()))).unwrap().address()).collect()
    }

    fn active(&self) -> u32 {
        self.balancer.endpoints().iter().map(|endpoint| endpoint.active()).sum()
    }
}

proptest! {
    #[test]
    fn no_endpoint_is_tried_again_while_another_is_left(
        weights in prop::collection::vec(0_u32..1000, 1..12),
        tried in prop::collection::vec(any::<bool>(), 12),
        seed in any::<u64>(),
    ) {
        for algorithm in algorithms() {
            let mut trial = Trial::of(algorithm, &weights);
            trial.random = Rng::with_seed(seed);
            let count = weights.len();
            trial.tried = (0..count).filter(|number| tried[*number]).map(address).collect();
            for left in (0..count - trial.tried.len()).rev() {
                let next = trial.pick().map(|picked| picked.address());
                prop_assert!(next.is_some_and(|next| !trial.tried.contains(&next)), "{left} more: {next:?}");
                trial.tried.extend(next);
            }
            prop_assert!(trial.pick().is_none());
            prop_assert_eq!(trial.active(), 0);
        }
    }

    #[test]
    fn drawing_follows_any_weights(weights in prop::collection::vec(1_u32..100, 1..8)) {
        let (sampler, mut random) = (sampling::Sampler::new(&weights), Rng::with_seed(3));
        let mut drawn = vec![0_u32; weights.len()];
        (0..20_000).for_each(|_| drawn[sampler.draw(&mut random)] += 1);
        let total: u32 = weights.iter().sum();
        for (drawn, weight) in drawn.iter().zip(&weights) {
            let expected = f64::from(*weight) / f64::from(total);
            prop_assert!((f64::from(*drawn) / 20_000.0 - expected).abs() < 0.02, "{drawn} of {weight} in {total}");
        }
    }
}

#[test]
fn nobody_is_chosen_of_nobody() {
    for algorithm in algorithms() {
        assert!(Trial::of(algorithm, &[]).pick().is_none());
    }
}

#[test]
fn every_endpoint_is_chosen_in_shares_that_follow_the_weights() {
    for algorithm in algorithms() {
        for weights in [&[1, 1, 1, 1][..], &[1, 2, 5], &[0, 1], &[10, 10, 80]] {
            let mut trial = Trial::of(algorithm.clone(), weights);
            let shares = trial.shares(20_000);
            let total: u32 = weights.iter().map(|weight| (*weight).max(1)).sum();
            for (share, weight) in shares.iter().zip(weights) {
                let (share, expected) = (*share as f64 / 20_000.0, f64::from((*weight).max(1)) / f64::from(total));
                // A ring of a thousand points is as uneven as that.
                assert!((share - expected).abs() < 0.06, "{algorithm:?} {weights:?}: {shares:?}");
            }
        }
    }
}

#[test]
fn a_choice_counts_as_active_until_it_is_dropped() {
    for algorithm in algorithms() {
        let mut trial = Trial::of(algorithm, &[1, 1]);
        let held: Vec<_> = (0..5).filter_map(|_| trial.pick()).collect();
        assert_eq!(trial.active(), 5);
        drop(held);
        assert_eq!(trial.active(), 0);
    }
}

#[test]
fn a_new_endpoint_gets_its_share_by_and_by() {
    let slow_start = SlowStart { window: Duration::from_secs(100), aggression: 1.0, min_weight: 0.1 };
    use Algorithm::{LeastRequest, PeakEwma, Random, RoundRobin};
    for algorithm in [RoundRobin, Random, LeastRequest, PeakEwma] {
        let policy = Policy { algorithm, slow_start: Some(slow_start) };
        let mut trial = Trial::new(&policy, &[1, 1]);
        trial.now += Duration::from_secs(1000);
        let wanted = [(address(0), 1), (address(1), 1), (address(2), 1)];
        trial.balancer = policy.over(renew(trial.balancer.endpoints(), &wanted, trial.now));
        // Of a third, first a tenth, then a half, then all; the others share the rest.
        for (after, part) in [(1, 0.1), (49, 0.5), (100, 1.0)] {
            trial.now += Duration::from_secs(after);
            let shares = trial.shares(20_000);
            let expected = part / (2.0 + part);
            let share = shares[2] as f64 / 20_000.0;
            assert!((share - expected).abs() < 0.02, "{policy:?} after {after} s: {shares:?}, not {expected}");
        }
    }
}

#[test]
fn endpoints_that_are_all_new_share_as_old_ones_do() {
    let slow_start = SlowStart { window: Duration::from_secs(100), aggression: 2.0, min_weight: 0.0 };
    for algorithm in algorithms() {
        let policy = Policy { algorithm, slow_start: Some(slow_start) };
        let shares = Trial::new(&policy, &[1, 1, 1]).shares(9_000);
        assert!(shares.iter().all(|share| (2_600..3_400).contains(share)), "{policy:?}: {shares:?}");
    }
}

#[test]
fn slow_start_grows_as_its_aggression_says() {
    let grown = |aggression, seconds| {
        SlowStart { window: Duration::from_secs(100), aggression, min_weight: 0.1 }.factor(Duration::from_secs(seconds))
    };
    assert_eq!([grown(1.0, 0), grown(1.0, 5), grown(1.0, 25), grown(1.0, 100)], [0.1, 0.1, 0.25, 1.0]);
    assert_eq!(grown(2.0, 25), 0.5);
}

#[test]
fn a_key_stays_where_it_is_and_only_the_share_of_what_changes_moves() {
    for algorithm in algorithms().into_iter().skip(4) {
        let mut before = Trial::of(algorithm.clone(), &[1; 10]);
        let owners = before.owners(10_000);
        assert_eq!(owners, before.owners(10_000));
        let mut more = Trial::of(algorithm.clone(), &[1; 11]);
        let moved = owners.iter().zip(more.owners(10_000)).filter(|(old, new)| *old != new).count();
        // An eleventh belongs to the new one; Maglev moves a little more than it must.
        assert!((600..1_500).contains(&moved), "{algorithm:?}: {moved} moved");
        before.tried = vec![address(3)];
        let stays = owners.iter().zip(before.owners(10_000)).all(|(old, new)| *old == new || *old == address(3));
        assert!(stays, "{algorithm:?}: who could stay does not when one endpoint fails");
    }
}

#[test]
fn on_a_ring_nobody_moves_who_need_not() {
    let owners = Trial::of(Algorithm::RingHash(HashOn::SourceAddress), &[1; 100]).owners(10_000);
    let fewer = Trial::of(Algorithm::RingHash(HashOn::SourceAddress), &[1; 99]).owners(10_000);
    assert!(owners.iter().zip(fewer).all(|(old, new)| *old == new || *old == address(99)));
}

#[test]
fn a_hash_is_the_same_for_ever() {
    assert_eq!(hash(b""), 0xefd0_1f60_ba99_2926);
    assert_ne!(hash(b"a"), hash(b"b"));
}

#[test]
fn of_two_endpoints_the_one_with_fewer_requests_for_its_weight_is_chosen() {
    let mut trial = Trial::of(Algorithm::LeastRequest, &[1, 1]);
    let held: Vec<_> = (0..100).filter_map(|_| trial.pick()).collect();
    let active: Vec<_> = trial.balancer.endpoints().iter().map(|endpoint| endpoint.active()).collect();
    assert_eq!(active, [50, 50]);
    drop(held);
    let mut trial = Trial::of(Algorithm::LeastRequest, &[3, 1]);
    let held: Vec<_> = (0..400).filter_map(|_| trial.pick()).collect();
    let active = trial.balancer.endpoints()[0].active();
    assert!((295..305).contains(&active), "{active}");
    drop(held);
}

/// Requests one after the other, answered after what `latency` says of their endpoint.
fn drive(trial: &mut Trial, requests: usize, latency: impl Fn(SocketAddr) -> Duration) -> usize {
    let mut to_first = 0;
    for _ in 0..requests {
        let mut picked = trial.pick().unwrap();
        trial.now += latency(picked.address());
        let now = trial.now;
        picked.responded(|| now);
        to_first += usize::from(picked.address() == address(0));
    }
    to_first
}

#[test]
fn peak_ewma_turns_away_from_a_slow_endpoint_and_comes_back() {
    let mut trial = Trial::of(Algorithm::PeakEwma, &[1, 1]);
    let slow = |endpoint| Duration::from_millis(if endpoint == address(0) { 50 } else { 5 });
    let to_slow = drive(&mut trial, 1000, slow);
    assert!(to_slow < 20, "{to_slow} of 1000 to an endpoint that is ten times slower");
    let to_recovered = drive(&mut trial, 10_000, |_| Duration::from_millis(5));
    assert!(to_recovered > 2_000, "{to_recovered} of 10000 to an endpoint that is as fast as the other");
}

#[test]
fn peak_ewma_is_not_attracted_by_quick_failures() {
    let mut trial = Trial::of(Algorithm::PeakEwma, &[1, 1]);
    let mut failed = 0;
    for _ in 0..1000 {
        let mut picked = trial.pick().unwrap();
        trial.now += Duration::from_millis(1);
        let now = trial.now;
        if picked.address() == address(0) {
            failed += 1;
            picked.failed(|| now);
        } else {
            trial.now += Duration::from_millis(10);
            let now = trial.now;
            picked.responded(|| now);
        }
    }
    assert!(failed < 20, "{failed} of 1000");
}

#[test]
fn an_endpoint_of_unknown_latency_is_tried_with_one_request_at_first() {
    let mut trial = Trial::of(Algorithm::PeakEwma, &[1, 1]);
    trial.tried = vec![address(1)];
    drive(&mut trial, 10, |_| Duration::from_millis(5));
    trial.tried.clear();
    let held: Vec<_> = (0..5).filter_map(|_| trial.pick()).collect();
    let to_unknown = held.iter().filter(|picked| picked.address() == address(1)).count();
    assert_eq!(to_unknown, 1);
}

#[test]
fn records_outlive_changes_of_the_endpoints() {
    let mut trial = Trial::of(Algorithm::LeastRequest, &[1, 1]);
    let held = trial.pick().unwrap();
    let changed = renew(trial.balancer.endpoints(), &[(held.address(), 5), (address(9), 1)], trial.now);
    assert_eq!((changed[0].active(), changed[0].weight()), (1, 5));
    assert_eq!((changed[1].active(), changed[1].address()), (0, address(9)));
    drop(held);
    assert_eq!(changed[0].active(), 0);
}

#[test]
fn an_endpoint_is_one_cache_line() {
    assert_eq!((size_of::<Endpoint>(), align_of::<Endpoint>()), (64, 64));
}
