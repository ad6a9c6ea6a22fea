//! Consistent hashing on a ring, and the hash.

use std::{net::SocketAddr, sync::Arc};

use super::{Ask, Balance, Endpoint, Endpoints};

/// Points of the heaviest endpoint. Not a part of some whole, because then everybody's number would change with everybody
/// else's, and keys move that need not.
const POINTS: u64 = 256;
/// Above this many points on a ring, each endpoint has half as many, or a quarter, and so on.
const MAX_RING: usize = 131_072;

/// A hash that is the same on every machine and after every start, so that a restart moves nobody: FNV-1a, with a last step
/// (`MurmurHash3`'s) that spreads what differs only at the end. Not for tables that somebody could want to flood.
pub fn hash(bytes: &[u8]) -> u64 {
    let folded = bytes
        .iter()
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3));
    mixed(folded)
}

fn mixed(mut bits: u64) -> u64 {
    bits = (bits ^ (bits >> 33)).wrapping_mul(0xff51_afd7_ed55_8ccd);
    bits = (bits ^ (bits >> 33)).wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    bits ^ (bits >> 33)
}

/// A hash of an endpoint; different for every `salt`.
pub(super) fn of_address(address: SocketAddr, salt: u64) -> u64 {
    mixed(hash(address.to_string().as_bytes()) ^ mixed(salt.wrapping_add(0x9e37_79b9_7f4a_7c15)))
}

/// Points of all endpoints in the order of their hashes; a key belongs to the next point.
#[derive(Debug)]
pub(super) struct Ring(Box<[(u64, u32)]>);

impl Ring {
    pub fn new(endpoints: &[Arc<Endpoint>]) -> Self {
        let heaviest = endpoints.iter().map(|endpoint| endpoint.weight()).max().unwrap_or(1);
        let crowd = (endpoints.len() * POINTS as usize).div_ceil(MAX_RING).max(1).next_power_of_two();
        let mut points = Vec::new();
        for (index, endpoint) in endpoints.iter().enumerate() {
            let count = (POINTS * u64::from(endpoint.weight())).div_ceil(u64::from(heaviest) * crowd as u64);
            points.extend((0..count).map(|salt| (of_address(endpoint.address(), salt), index as u32)));
        }
        points.sort_unstable();
        Self(points.into())
    }
}

impl Balance for Ring {
    fn pick(&self, endpoints: &Endpoints, ask: &mut Ask<'_>) -> Option<usize> {
        let key = ask.key.unwrap_or_else(|| ask.random.u64(..));
        let first = self.0.partition_point(|(point, _)| *point < key);
        let (before, after) = self.0.split_at_checked(first)?;
        let mut next = after.iter().chain(before).map(|(_, index)| *index as usize);
        next.find(|index| endpoints.is_free(*index, ask)).or_else(|| endpoints.any(ask))
    }
}
