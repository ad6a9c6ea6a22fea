//! How endpoints are chosen, as configuration says it.

use std::time::Duration;

use http::HeaderName;

/// How an endpoint is chosen.
#[derive(Debug, Clone, PartialEq)]
pub struct Policy {
    /// By what.
    pub algorithm: Algorithm,
    /// Whether new endpoints get fewer requests at first. Consistent hashing takes no account of it.
    pub slow_start: Option<SlowStart>,
}

/// By what an endpoint is chosen. All take account of weights.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Algorithm {
    /// In turn.
    RoundRobin,
    /// By chance.
    Random,
    /// Of two by chance the one with fewer active requests for its weight.
    LeastRequest,
    /// Of two by chance the one that answers sooner, by the decaying peak of its latency and its active requests.
    PeakEwma,
    /// By a hash on a ring of the endpoints' hashes (ketama).
    RingHash(HashOn),
    /// By a hash in a table that all endpoints fill in turn (Maglev).
    Maglev(HashOn),
}

/// What consistent hashing goes by. A request that does not have it goes anywhere.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HashOn {
    /// The client's address.
    SourceAddress,
    /// A header's value.
    Header(HeaderName),
    /// A cookie's value.
    Cookie(Box<str>),
}

/// A new endpoint's weight grows from `min_weight` to all of it within `window`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SlowStart {
    /// For how long.
    pub window: Duration,
    /// How the weight grows: 1 is linear, more is faster at first. The exponent is its reciprocal.
    pub aggression: f32,
    /// The part of the weight that an endpoint has at once, from 0 to 1.
    pub min_weight: f32,
}

impl Policy {
    /// For requests from outside.
    pub const EDGE: Self = Self { algorithm: Algorithm::LeastRequest, slow_start: None };
    /// For requests to Services' addresses.
    pub const INSIDE: Self = Self { algorithm: Algorithm::PeakEwma, slow_start: None };

    /// This algorithm without slow start.
    pub fn new(algorithm: Algorithm) -> Self {
        Self { algorithm, slow_start: None }
    }

    /// Whether latencies matter, and with them the exact time.
    pub fn measures(&self) -> bool {
        self.algorithm == Algorithm::PeakEwma
    }

    /// What to hash, if anything.
    pub fn hash_on(&self) -> Option<&HashOn> {
        match &self.algorithm {
            Algorithm::RingHash(on) | Algorithm::Maglev(on) => Some(on),
            Algorithm::RoundRobin | Algorithm::Random | Algorithm::LeastRequest | Algorithm::PeakEwma => None,
        }
    }
}

impl SlowStart {
    /// The part of its weight that an endpoint of this age has.
    pub(super) fn factor(&self, age: Duration) -> f32 {
        if age >= self.window {
            return 1.0;
        }
        let passed = age.max(Duration::from_millis(1)).as_secs_f32() / self.window.as_secs_f32();
        let grown = if self.aggression == 1.0 { passed } else { passed.powf(self.aggression.recip()) };
        grown.max(self.min_weight).min(1.0)
    }
}
