//! The two networks behind the one trait that the node's runtimes ask for.

use std::{
    net::{IpAddr, Ipv4Addr},
    path::Path,
};

use anyhow::Context;
use async_trait::async_trait;
use network::{addresses::Range, bridge::Bridge, loopback::Loopback};
use node::runtime::PodNetwork;

use crate::{cli::RuntimeKind, data_dir::DataDir};

/// The tenth address of the services' range is cluster DNS, as clusters have it.
const DNS_OFFSET: u32 = 10;

/// The pods' network.
pub enum Network {
    /// Network namespaces on a bridge.
    Bridge(Bridge, Range),
    /// Addresses of 127.0.0.0/8.
    Loopback(Loopback),
}

impl Network {
    /// Opens the network that goes with a runtime.
    ///
    /// # Errors
    /// When another Coracle uses the addresses, or the machine does not allow it.
    pub async fn open(runtime: RuntimeKind, data: &DataDir) -> anyhow::Result<Self> {
        if runtime == RuntimeKind::Native {
            let options = network::bridge::Options::default();
            let services = options.services;
            let bridge = Bridge::open(options).await.context("set up the pods' network")?;
            return Ok(Self::Bridge(bridge, services));
        }
        let last = data.read("network").and_then(|text| text.trim().parse().ok());
        let loopback = Loopback::open(last).context("set up the pods' addresses")?;
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

    /// Where cluster DNS listens; without namespaces pods use the machine's own resolver.
    pub fn dns(&self) -> Option<Ipv4Addr> {
        match self {
            Self::Bridge(_, services) => services.nth(DNS_OFFSET),
            Self::Loopback(_) => None,
        }
    }

    /// The node's own address.
    pub fn node_address(&self) -> IpAddr {
        match self {
            Self::Bridge(bridge, _) => bridge.gateway().into(),
            Self::Loopback(_) => Ipv4Addr::LOCALHOST.into(),
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
            Self::Bridge(bridge, _) => bridge.adopt(pod_uid, ip),
            Self::Loopback(loopback) => loopback.adopt(pod_uid, ip),
        };
        adopted.map_err(|e| e.to_string())
    }
}
