//! Which endpoint gets a request: the records that everybody who sends to an endpoint shares, and the policies that choose
//! among them.
//!
//! A [`Policy`] says how to choose; [`Policy::over`] makes a [`Balancer`] for one set of endpoints, whose tables are computed
//! then and never while a request waits. The clock and the source of randomness are the caller's ([`Ask`]).

mod endpoint;
mod hashing;
mod least;
mod maglev;
mod policy;
mod sampling;
mod spread;

use std::{fmt::Debug, net::SocketAddr, sync::Arc, time::Instant};

use fastrand::Rng;

pub use endpoint::{Endpoint, Picked, renew};
pub use hashing::hash;
pub use policy::{Algorithm, HashOn, Policy, SlowStart};

/// Draws that may hit an endpoint which is not to be taken, before any other is.
const DRAWS: usize = 32;

/// What a choice depends on besides the endpoints.
#[derive(Debug)]
pub struct Ask<'a> {
    /// Not these, as long as there are others.
    pub tried: &'a [SocketAddr],
    /// What consistent hashing goes by; without it any endpoint will do.
    pub key: Option<u64>,
    /// Exact if the policy [measures](Policy::measures), else coarse.
    pub now: Instant,
    /// For whatever is left to chance.
    pub random: &'a mut Rng,
}

/// A way to choose an endpoint, with the state it needs; shared by all workers.
trait Balance: Debug + Send + Sync {
    /// The position of an endpoint that has not been tried; there is at least one.
    fn pick(&self, endpoints: &Endpoints, ask: &mut Ask<'_>) -> Option<usize>;
}

/// The endpoints to choose from.
#[derive(Debug)]
struct Endpoints {
    all: Vec<Arc<Endpoint>>,
    slow_start: Option<SlowStart>,
    /// For relative weights.
    mean_weight: f32,
}

/// One set of endpoints, ready to be chosen from.
#[derive(Debug)]
pub struct Balancer {
    endpoints: Endpoints,
    balance: Box<dyn Balance>,
    measures: bool,
}

impl Policy {
    /// Prepares a choice among these endpoints.
    pub fn over(&self, all: Vec<Arc<Endpoint>>) -> Balancer {
        let weights: Vec<u32> = all.iter().map(|endpoint| endpoint.weight()).collect();
        let balance: Box<dyn Balance> = match &self.algorithm {
            Algorithm::RoundRobin => Box::new(spread::RoundRobin::new(&weights)),
            Algorithm::Random => Box::new(spread::Random::new(&weights)),
            Algorithm::LeastRequest => Box::new(least::LeastRequest::new(&weights)),
            Algorithm::PeakEwma => Box::new(least::PeakEwma::new(&weights)),
            Algorithm::RingHash(_) => Box::new(hashing::Ring::new(&all)),
            Algorithm::Maglev(_) => Box::new(maglev::Maglev::new(&all)),
        };
        let total: u64 = weights.iter().map(|weight| u64::from(*weight)).sum();
        let mean_weight = total as f32 / weights.len().max(1) as f32;
        let endpoints = Endpoints { all, slow_start: self.slow_start, mean_weight };
        Balancer { endpoints, balance, measures: self.measures() }
    }
}

impl Balancer {
    /// Chooses an endpoint, which counts as active until what is returned is dropped; `None` if all have been tried.
    pub fn pick(&self, ask: &mut Ask<'_>) -> Option<Picked> {
        let index = match self.endpoints.all.as_slice() {
            [] => return None,
            [_] => self.endpoints.is_free(0, ask).then_some(0),
            _ if ask.tried.is_empty() || self.endpoints.any(ask).is_some() => self.balance.pick(&self.endpoints, ask),
            _ => None,
        }?;
        let endpoint = self.endpoints.all.get(index)?;
        Some(Picked::new(endpoint.clone(), self.measures.then_some(ask.now)))
    }

    /// Chooses the endpoint at an address, if it is there.
    pub fn pick_at(&self, address: SocketAddr, now: Instant) -> Option<Picked> {
        let endpoint = self.endpoints.all.iter().find(|endpoint| endpoint.address() == address)?;
        Some(Picked::new(endpoint.clone(), self.measures.then_some(now)))
    }

    /// The endpoints to choose from.
    pub fn endpoints(&self) -> &[Arc<Endpoint>] {
        &self.endpoints.all
    }
}

impl Endpoints {
    /// Whether an endpoint has not been tried.
    fn is_free(&self, index: usize, ask: &Ask<'_>) -> bool {
        self.all.get(index).is_some_and(|endpoint| !ask.tried.contains(&endpoint.address()))
    }

    /// The part of its weight that an endpoint has, above 0 and at most 1: less in its slow start.
    fn ramp(&self, index: usize, now: Instant) -> f32 {
        let Some(slow_start) = &self.slow_start else { return 1.0 };
        self.all.get(index).map_or(1.0, |endpoint| slow_start.factor(endpoint.age(now)))
    }

    /// Whether an endpoint may be taken whose turn it is: it has not been tried, and if it is in its slow start, chance
    /// gives it no more than its part.
    fn admits(&self, index: usize, ask: &mut Ask<'_>) -> bool {
        self.is_free(index, ask) && {
            let ramp = self.ramp(index, ask.now);
            ramp >= 1.0 || ask.random.f32() < ramp
        }
    }

    /// Any endpoint that has not been tried, from a random place on.
    fn any(&self, ask: &mut Ask<'_>) -> Option<usize> {
        let count = self.all.len();
        let first = ask.random.usize(..count.max(1));
        (first..count).chain(0..first).find(|index| self.is_free(*index, ask))
    }

    /// An endpoint by weight.
    fn draw(&self, sampler: &sampling::Sampler, ask: &mut Ask<'_>) -> Option<usize> {
        for _ in 0..DRAWS {
            let index = sampler.draw(ask.random);
            if self.admits(index, ask) {
                return Some(index);
            }
        }
        self.any(ask)
    }

    /// An endpoint's weight in relation to the others', slow start included.
    fn relative_weight(&self, index: usize, now: Instant) -> f32 {
        let weight = self.all.get(index).map_or(1.0, |endpoint| endpoint.weight() as f32);
        weight / self.mean_weight * self.ramp(index, now)
    }
}

#[cfg(test)]
mod tests;
