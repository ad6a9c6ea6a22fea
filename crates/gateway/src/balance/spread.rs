//! Policies that ask nothing of the endpoints: in turn, and by chance.

use std::{
    cmp::Reverse,
    collections::BinaryHeap,
    sync::atomic::{AtomicUsize, Ordering},
};

use super::{Ask, Balance, Endpoints, sampling::Sampler};

/// Weights are scaled down until a round has no more turns than this, or one each.
const MAX_ROUND: u64 = 4096;

/// In turn, over all workers.
#[derive(Debug)]
pub(super) struct RoundRobin {
    next: AtomicUsize,
    /// Whose turn it is, in a round; empty if all weights are equal and the round is the endpoints' order.
    round: Box<[u32]>,
}

impl RoundRobin {
    pub fn new(weights: &[u32]) -> Self {
        let equal = weights.windows(2).all(|pair| pair.first() == pair.last());
        let round = if equal { Vec::new() } else { round(weights) };
        Self { next: AtomicUsize::new(0), round: round.into() }
    }
}

impl Balance for RoundRobin {
    fn pick(&self, endpoints: &Endpoints, ask: &mut Ask<'_>) -> Option<usize> {
        let turns = if self.round.is_empty() { endpoints.all.len() } else { self.round.len() };
        // Endpoints in their slow start may let more than one turn pass.
        for _ in 0..2 * turns {
            let turn = self.next.fetch_add(1, Ordering::Relaxed).checked_rem(turns)?;
            let index = self.round.get(turn).map_or(turn, |index| *index as usize);
            if endpoints.admits(index, ask) {
                return Some(index);
            }
        }
        endpoints.any(ask)
    }
}

/// A round in which everybody's turns are as far apart as their number allows: each turn goes to whoever's is due first
/// (earliest deadline first).
fn round(weights: &[u32]) -> Vec<u32> {
    let divisor = weights.iter().fold(0, |a, b| gcd(a, *b)).max(1);
    let total: u64 = weights.iter().map(|weight| u64::from(weight / divisor)).sum();
    let scale = total.div_ceil(MAX_ROUND).max(1);
    let turns = |weight: &u32| (u64::from(weight / divisor) / scale).max(1);
    // A deadline is a fraction of the round: the turn's number over their count, as an integer of 2^32 parts, plus half a
    // distance so that rare turns are not all at the beginning.
    let due = |turn: u64, of: u64| ((2 * turn + 1) << 31) / of;
    let mut heap: BinaryHeap<_> = weights
        .iter()
        .enumerate()
        .map(|(index, weight)| Reverse((due(0, turns(weight)), index, 0, turns(weight))))
        .collect();
    let mut round = Vec::new();
    while let Some(Reverse((_, index, turn, of))) = heap.pop() {
        round.push(index as u32);
        if turn + 1 < of {
            heap.push(Reverse((due(turn + 1, of), index, turn + 1, of)));
        }
    }
    round
}

fn gcd(a: u32, b: u32) -> u32 {
    if b == 0 { a } else { gcd(b, a % b) }
}

/// By chance.
#[derive(Debug)]
pub(super) struct Random(Sampler);

impl Random {
    pub fn new(weights: &[u32]) -> Self {
        Self(Sampler::new(weights))
    }
}

impl Balance for Random {
    fn pick(&self, endpoints: &Endpoints, ask: &mut Ask<'_>) -> Option<usize> {
        endpoints.draw(&self.0, ask)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn turns_are_spread_over_the_round() {
        assert_eq!(round(&[1, 3]), [1, 0, 1, 1]);
        assert_eq!(round(&[20, 10, 10]), [0, 1, 2, 0]);
        assert!(round(&[1, u32::MAX]).len() < 5000);
    }
}
