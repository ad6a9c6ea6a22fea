//! What a write holds until it is settled: addresses and ports, a turn in front of quotas. It travels with the write to the store, so that
//! it is settled whether or not anybody still waits for the answer.

use super::{
    pool::{Freed, Held},
    quota::Turn,
};
use crate::store::{Decided, Next};

/// What a write makes of an object, and what it holds meanwhile.
pub(super) struct Decision {
    /// The object's bytes (its last ones, if it goes).
    pub json: Vec<u8>,
    /// Whether it goes.
    pub gone: bool,
    /// What is settled when the write is durable.
    pub claims: Claims,
}

impl Decision {
    /// A write that holds nothing.
    pub fn new(json: Vec<u8>, gone: bool) -> Self {
        Self { json, gone, claims: Claims::default() }
    }

    /// For the store, which has these bytes now.
    pub fn decided(self, current: Option<&[u8]>) -> Decided {
        let next = match (self.gone, current == Some(self.json.as_slice())) {
            (true, _) => Next::Delete(self.json),
            (false, true) => Next::Keep,
            (false, false) => Next::Put(self.json),
        };
        let claims = self.claims;
        Decided { next, settled: Some(Box::new(move |durable| claims.settle(durable))) }
    }
}

/// What is held until a write is durable, or is not.
#[derive(Default)]
pub(super) struct Claims {
    /// What becomes the object's own.
    pub held: Vec<Held>,
    /// What the object has no more.
    pub freed: Vec<Freed>,
    /// A turn, which ends with this.
    pub turn: Option<Turn>,
}

impl Claims {
    fn settle(self, durable: bool) {
        // The next one may look: what this one wrote can be seen, or never will be.
        drop(self.turn);
        if !durable {
            return;
        }
        self.held.into_iter().for_each(Held::keep);
        self.freed.into_iter().for_each(Freed::release);
    }
}
