//! What a write holds until it is settled: an address, a turn in front of quotas. It travels with the write to the store, so that
//! it is settled whether or not anybody still waits for the answer.

use std::sync::Arc;

use serde_json::Value;

use super::addresses::{Addresses, Held};
use crate::{
    registry::quota::Turn,
    store::{Decided, Next},
};

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
    /// An address that becomes the Service's own.
    pub held: Option<Held>,
    /// A Service that has no address any more, as it was.
    pub freed: Option<(Arc<Addresses>, Value)>,
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
        if let Some(held) = self.held {
            held.keep();
        }
        if let Some((addresses, service)) = self.freed {
            addresses.release(&service);
        }
    }
}
