//! Clusters by weight, for connections that are not HTTP.

use std::sync::Arc;

use super::{Cluster, weighted};

/// Where the connections of a listener or a route go: each to one of these, by weight.
#[derive(Debug, Default)]
pub struct Split {
    /// In the order of the route's backendRefs.
    pub shares: Vec<Share>,
}

/// One weighted backend.
#[derive(Debug)]
pub struct Share {
    /// Its share; 0 receives nothing.
    pub weight: u32,
    /// Where to send; `None` for a backendRef that is not valid, whose share of the connections is refused.
    pub cluster: Option<Arc<Cluster>>,
}

impl Split {
    /// Everything to one cluster.
    pub fn to(cluster: Arc<Cluster>) -> Self {
        Self { shares: vec![Share { weight: 1, cluster: Some(cluster) }] }
    }

    /// Whose turn it is; `random` gives a number below its argument. `None` refuses the connection.
    pub(crate) fn choose(&self, random: impl FnOnce(u64) -> u64) -> Option<&Arc<Cluster>> {
        let (_, share) = weighted(&self.shares, |share| share.weight, random)?;
        share.cluster.as_ref()
    }

    /// Every cluster that connections may go to.
    pub fn clusters(&self) -> impl Iterator<Item = &Arc<Cluster>> {
        self.shares.iter().filter(|share| share.weight > 0).filter_map(|share| share.cluster.as_ref())
    }
}
