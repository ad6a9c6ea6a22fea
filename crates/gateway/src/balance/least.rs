//! Policies that look at two endpoints and take the less loaded: nearly as good as looking at all (Mitzenmacher, "The power
//! of two choices in randomized load balancing"), at a cost that does not depend on their number, and without the herd that
//! follows when everybody finds the same one best.

use std::time::Instant;

use super::{Ask, Balance, Endpoints, sampling::Sampler};

/// The load of an endpoint of unknown latency that has requests: it is tried with one, not with many at once.
const UNKNOWN: f32 = 1e12;

/// Draws that may hit the first choice again, before its neighbour is compared with it.
const OTHERS: usize = 4;

/// Two by weight, and of these the one with the lower load; equal loads leave it to the weights.
fn better_of_two(
    sampler: &Sampler,
    endpoints: &Endpoints,
    ask: &mut Ask<'_>,
    load: impl Fn(usize, Instant) -> f32,
) -> Option<usize> {
    let first = endpoints.draw(sampler, ask)?;
    let drawn = (0..OTHERS).find_map(|_| endpoints.draw(sampler, ask).filter(|other| *other != first));
    let neighbour = (first + 1) % endpoints.all.len().max(1);
    let other = drawn.or_else(|| endpoints.admits(neighbour, ask).then_some(neighbour));
    let now = ask.now;
    Some(other.filter(|other| load(*other, now) < load(first, now)).unwrap_or(first))
}

/// By active requests, each endpoint's divided by its weight. Envoy divides only to order endpoints of different weights
/// among each other; so do we, with the same shares when all are idle.
#[derive(Debug)]
pub(super) struct LeastRequest(Sampler);

impl LeastRequest {
    pub fn new(weights: &[u32]) -> Self {
        Self(Sampler::new(weights))
    }
}

impl Balance for LeastRequest {
    fn pick(&self, endpoints: &Endpoints, ask: &mut Ask<'_>) -> Option<usize> {
        better_of_two(&self.0, endpoints, ask, |index, now| {
            let active = endpoints.all.get(index).map_or(0, |endpoint| endpoint.active());
            if active == 0 { 0.0 } else { active as f32 / endpoints.relative_weight(index, now) }
        })
    }
}

/// By the time that an answer is likely to take: the decaying peak of the latency, times the requests that wait already and
/// this one (Finagle's and Linkerd's peak EWMA).
#[derive(Debug)]
pub(super) struct PeakEwma(Sampler);

impl PeakEwma {
    pub fn new(weights: &[u32]) -> Self {
        Self(Sampler::new(weights))
    }
}

impl Balance for PeakEwma {
    fn pick(&self, endpoints: &Endpoints, ask: &mut Ask<'_>) -> Option<usize> {
        better_of_two(&self.0, endpoints, ask, |index, now| {
            let Some(endpoint) = endpoints.all.get(index) else { return UNKNOWN };
            let (cost, active) = (endpoint.cost(now), endpoint.active());
            if active == 0 {
                return cost;
            }
            let waiting = active as f32 / endpoints.relative_weight(index, now);
            if cost == 0.0 { UNKNOWN + waiting } else { cost * (1.0 + waiting) }
        })
    }
}
