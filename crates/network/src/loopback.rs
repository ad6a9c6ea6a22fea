//! Pod addresses without privileges: each pod gets an address of 127.0.0.0/8, which the machine answers for already.

use std::{net::Ipv4Addr, sync::Mutex};

use crate::{
    NetworkError,
    addresses::{Allocator, Range},
    claim::Claim,
    listening,
};

const PODS: Range = constant(Ipv4Addr::new(127, 64, 0, 0));
const SERVICES: Range = constant(Ipv4Addr::new(127, 96, 0, 0));
/// Each Coracle takes one part of this length: 4,094 pods, and 256 Coracles side by side.
const PART: u8 = 20;

const fn constant(base: Ipv4Addr) -> Range {
    match Range::new(base, 12) {
        Some(range) => range,
        None => unreachable!(),
    }
}

/// Hands out loopback addresses from a part of 127.64.0.0/12 that no other Coracle on the machine uses.
#[derive(Debug)]
pub struct Loopback {
    claim: Claim,
    pods: Mutex<Allocator>,
}

impl Loopback {
    /// Claims a part of the range, the one used before (`preferred`) if it is still free, else one where nobody listens: the
    /// pods of a Coracle that has crashed keep their addresses though its claim is gone.
    ///
    /// # Errors
    /// [`NetworkError::Claimed`] when every part is taken.
    pub fn open(preferred: Option<Range>) -> Result<Self, NetworkError> {
        let claim = Claim::first(preferred, PODS.split(PART).filter(|part| !listening::anybody(*part)))?;
        let pods = Mutex::new(Allocator::new(claim.range()));
        Ok(Self { claim, pods })
    }

    /// The pods' range.
    pub fn pods(&self) -> Range {
        self.claim.range()
    }

    /// The services' range: the part of 127.96.0.0/12 at the same place as the pods' part.
    pub fn services(&self) -> Range {
        let offset = self.pods().network().to_bits() - PODS.network().to_bits();
        Range::new(Ipv4Addr::from_bits(SERVICES.network().to_bits() + offset), PART).unwrap_or(SERVICES)
    }

    /// The pod's address; the same one each time.
    ///
    /// # Errors
    /// [`NetworkError::Exhausted`].
    pub fn attach(&self, pod_uid: &str) -> Result<Ipv4Addr, NetworkError> {
        self.lock().allocate(pod_uid)
    }

    /// Frees the pod's address.
    pub fn detach(&self, pod_uid: &str) {
        self.lock().release(pod_uid);
    }

    /// Marks an address as held by a pod found again.
    ///
    /// # Errors
    /// [`NetworkError::Taken`].
    pub fn adopt(&self, pod_uid: &str, address: Ipv4Addr) -> Result<(), NetworkError> {
        self.lock().adopt(pod_uid, address)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Allocator> {
        self.pods.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_addresses_of_a_crashed_coracles_pods_are_left_to_them() {
        let crashed = Loopback::open(None).unwrap();
        let pods = crashed.pods();
        let _pod = std::net::TcpListener::bind((crashed.attach("pod").unwrap(), 0)).unwrap();
        drop(crashed);
        assert_ne!(Loopback::open(None).unwrap().pods(), pods);
    }

    #[test]
    fn a_coracle_that_comes_back_takes_the_addresses_of_its_own_pods() {
        // The last part: other tests take from the front.
        let own = PODS.split(PART).last().unwrap();
        let _pod = std::net::TcpListener::bind((own.nth(2).unwrap(), 0)).unwrap();
        assert_eq!(Loopback::open(Some(own)).unwrap().pods(), own);
    }

    #[test]
    fn two_networks_on_one_machine_hand_out_different_addresses() {
        let (one, two) = (Loopback::open(None).unwrap(), Loopback::open(None).unwrap());
        assert_ne!(one.attach("a").unwrap(), two.attach("a").unwrap());
        assert!(!one.services().contains(one.attach("a").unwrap()));
        assert_ne!(one.services(), two.services());
    }
}
