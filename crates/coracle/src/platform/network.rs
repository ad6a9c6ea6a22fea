//! The two networks behind the one trait that the node's runtimes ask for.

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::Path,
};

use anyhow::Context;
use async_trait::async_trait;
use network::{addresses::Range, bridge, dns, loopback};
use node::runtime::PodNetwork;

use crate::data_dir::DataDir;

/// The tenth address of the services' range is cluster DNS, as clusters have it.
const DNS: u32 = 10;
/// The cluster's domain.
const DOMAIN: &str = "cluster.local";

/// The pods' network.
pub enum Network {
    /// Network namespaces on a bridge; with the services' range.
    Bridge(bridge::Bridge, Range),
    /// Addresses of 127.0.0.0/8.
    Loopback(loopback::Loopback),
}

impl Network {
    /// Makes the bridge.
    ///
    /// # Errors
    /// When another Coracle uses the addresses, or the machine does not allow it.
    pub async fn bridge() -> anyhow::Result<Self> {
        let options = bridge::Options::default();
        let services = options.services;
        let bridge = bridge::Bridge::open(options).await.context("set up the pods' network")?;
        Ok(Self::Bridge(bridge, services))
    }

    /// Claims loopback addresses, the ones used last time if they are free.
    ///
    /// # Errors
    /// When every part of the range is taken.
    pub fn loopback(data: &DataDir) -> anyhow::Result<Self> {
        let last = data.read("network").and_then(|text| text.trim().parse().ok());
        let loopback = loopback::Loopback::open(last).context("set up the pods' addresses")?;
        // Objects hold service addresses of this range: the next start wants the same one.
        data.write_private("network", &format!("{}\n", loopback.pods()))?;
        Ok(Self::Loopback(loopback))
    }

    /// The services' range.
    pub fn services(&self) -> Range {
        match self {
            Self::Bridge(_, services) => *services,
            Self::Loopback(loopback) => loopback.services(),
        }
    }

    /// Whether a pod calls others from its own address.
    pub fn tells_callers(&self) -> bool {
        matches!(self, Self::Bridge(..))
    }

    /// The node's own address.
    pub fn node_address(&self) -> IpAddr {
        match self {
            Self::Bridge(bridge, _) => bridge.gateway().into(),
            Self::Loopback(_) => Ipv4Addr::LOCALHOST.into(),
        }
    }

    /// Cluster DNS; pods without a network namespace use the machine's own resolver.
    pub fn dns(&self) -> Option<dns::Options> {
        let Self::Bridge(_, services) = self else { return None };
        let listen = SocketAddr::new(services.nth(DNS)?.into(), 53);
        // Without the file there is nobody to ask for the names of the world.
        let machine = std::fs::read_to_string("/etc/resolv.conf").unwrap_or_default();
        Some(dns::Options { listen, domain: DOMAIN.to_owned(), upstreams: dns::upstreams(&machine, listen) })
    }

    /// Takes away what would stay on the machine; after the last pod.
    pub async fn remove(&self) {
        let Self::Bridge(bridge, _) = self else { return };
        if let Err(error) = bridge.remove().await {
            tracing::warn!("take the pods' network away: {error}");
        }
    }
}

#[async_trait]
impl PodNetwork for Network {
    async fn attach(&self, pod_uid: &str, netns: Option<&Path>) -> Result<IpAddr, String> {
        let attached = match (self, netns) {
            (Self::Bridge(bridge, _), Some(netns)) => bridge.attach(pod_uid, netns).await,
            (Self::Bridge(..), None) => return Err(format!("pod {pod_uid} has no network namespace to wire")),
            (Self::Loopback(loopback), _) => loopback.attach(pod_uid),
        };
        attached.map(IpAddr::V4).map_err(|e| e.to_string())
    }

    async fn detach(&self, pod_uid: &str) -> Result<(), String> {
        match self {
            Self::Bridge(bridge, _) => bridge.detach(pod_uid).await.map_err(|e| e.to_string()),
            Self::Loopback(loopback) => {
                loopback.detach(pod_uid);
                Ok(())
            }
        }
    }

    async fn adopt(&self, pod_uid: &str, ip: IpAddr) -> Result<(), String> {
        let IpAddr::V4(ip) = ip else { return Err(format!("pod {pod_uid} has the address {ip}, which is not IPv4")) };
        let adopted = match self {
            Self::Bridge(bridge, _) => bridge.adopt(pod_uid, ip).await,
            Self::Loopback(loopback) => loopback.adopt(pod_uid, ip),
        };
        adopted.map_err(|e| e.to_string())
    }
}
