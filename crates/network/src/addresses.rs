//! IPv4 ranges, and the allocator that gives each pod one address of a range. No I/O.

use std::{collections::BTreeMap, fmt, net::Ipv4Addr, str::FromStr};

use crate::NetworkError;

/// An IPv4 range in CIDR form.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Range {
    base: u32,
    prefix: u8,
}

impl Range {
    /// The range of `2^(32 - prefix)` addresses at `base`, or `None` if `base` has host bits set or `prefix` is over 30
    /// (a range must hold more than its network and broadcast addresses).
    pub const fn new(base: Ipv4Addr, prefix: u8) -> Option<Self> {
        if prefix == 0 || prefix > 30 || base.to_bits() & (u32::MAX >> prefix) != 0 {
            return None;
        }
        Some(Self { base: base.to_bits(), prefix })
    }

    /// The first address, the network's own.
    pub fn network(&self) -> Ipv4Addr {
        Ipv4Addr::from_bits(self.base)
    }

    /// How many leading bits all addresses share.
    pub fn prefix(&self) -> u8 {
        self.prefix
    }

    /// How many addresses there are, the network's and broadcast included.
    pub fn size(&self) -> u32 {
        1 << (32 - self.prefix)
    }

    /// The address at `offset` from the network's own, if it is in the range.
    pub fn nth(&self, offset: u32) -> Option<Ipv4Addr> {
        (offset < self.size()).then(|| Ipv4Addr::from_bits(self.base + offset))
    }

    /// Whether the address is in the range.
    pub fn contains(&self, address: Ipv4Addr) -> bool {
        address.to_bits() & !(u32::MAX >> self.prefix) == self.base
    }

    /// The ranges of length `prefix` that make up this one, lowest first.
    pub fn split(self, prefix: u8) -> impl Iterator<Item = Self> {
        let count = if prefix < self.prefix || prefix > 30 { 0 } else { 1u32 << (prefix - self.prefix) };
        (0..count).map(move |i| Self { base: self.base + (i << (32 - prefix)), prefix })
    }
}

impl fmt::Display for Range {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.network(), self.prefix)
    }
}

impl FromStr for Range {
    type Err = NetworkError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let parse = || {
            let (base, prefix) = text.split_once('/')?;
            Self::new(base.parse().ok()?, prefix.parse().ok()?)
        };
        parse().ok_or_else(|| NetworkError::NotARange(text.to_owned()))
    }
}

/// Gives each pod one address of a range. Addresses are handed out round the range, so that a freed one rests before it is
/// used again: a client that still holds the old pod's address does not reach a new pod by accident.
#[derive(Debug)]
pub struct Allocator {
    range: Range,
    /// Offsets below this one are the range's own (network, gateway).
    first: u32,
    next: u32,
    by_pod: BTreeMap<String, Ipv4Addr>,
    by_address: BTreeMap<Ipv4Addr, String>,
}

impl Allocator {
    /// An allocator over `range` that keeps the network address, the gateway (the first host) and broadcast to itself.
    pub fn new(range: Range) -> Self {
        Self { range, first: 2, next: 2, by_pod: BTreeMap::new(), by_address: BTreeMap::new() }
    }

    /// The pod's address: the one it has, or a free one.
    ///
    /// # Errors
    /// [`NetworkError::Exhausted`] when none is free.
    pub fn allocate(&mut self, pod_uid: &str) -> Result<Ipv4Addr, NetworkError> {
        if let Some(address) = self.by_pod.get(pod_uid) {
            return Ok(*address);
        }
        let usable = self.range.size() - 1 - self.first;
        for _ in 0..usable {
            let offset = self.next;
            self.next = if offset + 2 >= self.range.size() { self.first } else { offset + 1 };
            if let Some(address) = self.range.nth(offset)
                && !self.by_address.contains_key(&address)
            {
                self.hold(pod_uid, address);
                return Ok(address);
            }
        }
        Err(NetworkError::Exhausted(usable, self.range))
    }

    /// Marks an address as held by a pod that was found again.
    ///
    /// # Errors
    /// [`NetworkError::Taken`] when another pod holds it.
    pub fn adopt(&mut self, pod_uid: &str, address: Ipv4Addr) -> Result<(), NetworkError> {
        match self.by_address.get(&address) {
            Some(holder) if holder != pod_uid => Err(NetworkError::Taken(address, holder.clone())),
            _ => {
                self.release(pod_uid);
                self.hold(pod_uid, address);
                // Start behind what was found, so that recently freed addresses rest after a restart too.
                if self.range.contains(address) {
                    let offset = address.to_bits() - self.range.network().to_bits();
                    self.next = if offset + 2 >= self.range.size() { self.first } else { (offset + 1).max(self.next) };
                }
                Ok(())
            }
        }
    }

    /// Frees the pod's address and returns it.
    pub fn release(&mut self, pod_uid: &str) -> Option<Ipv4Addr> {
        let address = self.by_pod.remove(pod_uid)?;
        self.by_address.remove(&address);
        Some(address)
    }

    fn hold(&mut self, pod_uid: &str, address: Ipv4Addr) {
        self.by_pod.insert(pod_uid.to_owned(), address);
        self.by_address.insert(address, pod_uid.to_owned());
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn range(text: &str) -> Range {
        text.parse().unwrap()
    }

    #[test]
    fn ranges_with_host_bits_or_silly_lengths_are_refused() {
        for bad in ["10.42.0.1/16", "10.42.0.0", "10.42.0.0/33", "10.42.0.0/31", "0.0.0.0/0", "x/8", "::1/64"] {
            assert!(bad.parse::<Range>().is_err(), "{bad}");
        }
        assert_eq!(range("10.42.0.0/16").to_string(), "10.42.0.0/16");
    }

    #[test]
    fn a_range_splits_into_equal_parts() {
        let parts: Vec<_> = range("127.64.0.0/12").split(14).map(|r| r.to_string()).collect();
        assert_eq!(parts, ["127.64.0.0/14", "127.68.0.0/14", "127.72.0.0/14", "127.76.0.0/14"]);
    }

    #[test]
    fn a_freed_address_is_not_given_to_the_next_pod() {
        let mut pool = Allocator::new(range("10.0.0.0/24"));
        let first = pool.allocate("a").unwrap();
        assert_eq!(pool.allocate("a").unwrap(), first);
        pool.release("a");
        assert_ne!(pool.allocate("b").unwrap(), first);
    }

    #[test]
    fn a_full_range_says_so() {
        let mut pool = Allocator::new(range("10.0.0.0/29"));
        for pod in 0..5 {
            pool.allocate(&pod.to_string()).unwrap();
        }
        assert!(matches!(pool.allocate("more"), Err(NetworkError::Exhausted(5, _))));
    }

    proptest! {
        #[test]
        fn no_two_pods_ever_share_an_address(steps in prop::collection::vec((0..40u8, any::<bool>()), 0..200)) {
            let mut pool = Allocator::new(range("10.0.0.0/27"));
            for (pod, keep) in steps {
                let pod = pod.to_string();
                if keep { let _ = pool.allocate(&pod); } else { pool.release(&pod); }
                let distinct: std::collections::BTreeSet<_> = pool.by_pod.values().collect();
                prop_assert_eq!(distinct.len(), pool.by_pod.len());
                prop_assert_eq!(pool.by_pod.len(), pool.by_address.len());
                prop_assert!(pool.by_pod.values().all(|a| pool.range.contains(*a)));
            }
        }
    }
}
