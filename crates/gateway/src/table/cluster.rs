//! The endpoints of a backend, as one use of it chooses among them.

use std::{net::SocketAddr, sync::Arc, time::Instant};

use arc_swap::{ArcSwap, ArcSwapOption};
use http::uri::Scheme;

use super::{BackendTls, Sleeper, Upstream};
use crate::{
    balance::{Ask, Balancer, Endpoint, Picked, Policy, renew},
    policy::{Budget, Retrying},
};

/// The endpoints of one Service port, and how one use of it chooses among them. They change far more often than routes, so
/// they are behind their own swap; several clusters may share the records of the same endpoints.
#[derive(Debug)]
pub struct Cluster {
    /// `namespace/service:port`, with `/udp` behind a port for datagrams.
    pub name: Arc<str>,
    /// What its endpoints speak.
    pub protocol: Upstream,
    /// How connections to its endpoints are encrypted, if they are.
    pub tls: Option<Arc<BackendTls>>,
    policy: Policy,
    /// How many of its requests may be retries.
    retries: Budget,
    balancer: ArcSwap<Balancer>,
    /// Where to wait for an endpoint when there is none, if one may come for being asked for.
    sleeper: ArcSwapOption<Sleeper>,
}

impl Cluster {
    /// A cluster without endpoints, which answers 503: of least requests, over HTTP/1.1.
    pub fn new(name: Arc<str>) -> Self {
        let (protocol, policy) = (Upstream::default(), Policy::EDGE);
        let balancer = ArcSwap::from_pointee(policy.over(Vec::new()));
        let (retries, sleeper) = (Budget::default(), ArcSwapOption::empty());
        Self { name, protocol, tls: None, policy, retries, balancer, sleeper }
    }

    /// The same with endpoints that speak something else.
    #[must_use]
    pub fn speaking(self, protocol: Upstream) -> Self {
        Self { protocol, ..self }
    }

    /// The same with endpoints that are spoken to inside TLS, if that is given.
    #[must_use]
    pub fn encrypted(self, tls: Option<Arc<BackendTls>>) -> Self {
        Self { tls, ..self }
    }

    /// The scheme of what its endpoints are asked for.
    pub(crate) fn scheme(&self) -> Scheme {
        if self.tls.is_some() { Scheme::HTTPS } else { Scheme::HTTP }
    }

    /// Tells connections that are encrypted in one way from those that are encrypted otherwise, or not at all (0).
    pub(crate) fn tls_id(&self) -> u64 {
        self.tls.as_ref().map_or(0, |tls| tls.id())
    }

    /// The same with another policy.
    #[must_use]
    pub fn balanced(self, policy: Policy) -> Self {
        self.balancer.store(Arc::new(policy.over(self.balancer.load().endpoints().to_vec())));
        Self { policy, ..self }
    }

    /// From now on these endpoints; who waits for one looks again.
    pub fn set(&self, endpoints: Vec<Arc<Endpoint>>) {
        self.balancer.store(Arc::new(self.policy.over(endpoints)));
        if let Some(sleeper) = &*self.sleeper.load() {
            sleeper.wake();
        }
    }

    /// From now on, requests that find no endpoint wait for one there, or are answered 503 at once (`None`), which is how it
    /// begins.
    pub fn sleeps_as(&self, sleeper: Option<&Arc<Sleeper>>) {
        let before = self.sleeper.swap(sleeper.cloned());
        if let (Some(before), None) = (before, sleeper) {
            before.wake();
        }
    }

    /// Where to wait for an endpoint, if that is of any use.
    pub(crate) fn sleeper(&self) -> Option<Arc<Sleeper>> {
        self.sleeper.load_full()
    }

    /// Whether an endpoint may come for being asked for.
    pub(crate) fn sleeps(&self) -> bool {
        self.sleeper.load().is_some()
    }

    /// From now on the endpoints at these addresses, all of weight 1; those that were there already are kept.
    pub fn set_addresses(&self, addresses: &[SocketAddr], now: Instant) {
        let wanted: Vec<_> = addresses.iter().map(|address| (*address, 1)).collect();
        self.set(renew(self.balancer.load().endpoints(), &wanted, now));
    }

    /// Where the endpoints are now.
    pub fn addresses(&self) -> Vec<SocketAddr> {
        self.balancer.load().endpoints().iter().map(|endpoint| endpoint.address()).collect()
    }

    /// Whether this is the address of an endpoint now.
    pub(crate) fn has(&self, address: SocketAddr) -> bool {
        self.balancer.load().endpoints().iter().any(|endpoint| endpoint.address() == address)
    }

    /// Whether there is no endpoint now.
    pub fn is_empty(&self) -> bool {
        self.balancer.load().endpoints().is_empty()
    }

    /// How endpoints are chosen.
    pub fn policy(&self) -> &Policy {
        &self.policy
    }

    /// Chooses the endpoint at an address, if it is there.
    pub(crate) fn pick_at(&self, address: SocketAddr, now: Instant) -> Option<Picked> {
        self.balancer.load().pick_at(address, now)
    }

    /// How many endpoints there are now.
    pub(crate) fn count(&self) -> usize {
        self.balancer.load().endpoints().len()
    }

    /// Permits a retry, if there are not too many.
    pub(crate) fn permit_retry(&self) -> Option<Retrying> {
        let active = self.balancer.load().endpoints().iter().map(|endpoint| u64::from(endpoint.active())).sum();
        self.retries.permit(active)
    }

    /// Chooses an endpoint; `None` if all have been tried or there is none.
    pub(crate) fn pick(&self, ask: &mut Ask<'_>) -> Option<Picked> {
        self.balancer.load().pick(ask)
    }
}
