//! The node: its runtime, its images and its network, and how its pods are stopped when Coracle is.

use std::{
    net::{IpAddr, Ipv4Addr},
    path::Path,
    sync::Arc,
    time::Duration,
};

use anyhow::Context;
use apiserver::ApiServer;
use async_trait::async_trait;
use futures::future::join_all;
use node::{
    images::{HostImage, Images},
    runtime::{ContainerId, PodNetwork, Runtime, loopback::Loopback},
};
use tokio::net::TcpListener;

use super::{NODE, SHIM};
use crate::{apps, data_dir::DataDir};

/// How long pods may take to end at Ctrl-C: Kubernetes' default grace period is 30 s, but somebody waits at a terminal.
const GRACE: Duration = Duration::from_secs(10);
const SIGTERM: i32 = 15;

/// The pods' network, behind the trait that the node's runtimes ask for.
pub struct Network(network::loopback::Loopback);

impl Network {
    /// Claims addresses, the ones used last time if they are free.
    ///
    /// # Errors
    /// When every part of the range is taken.
    pub fn open(data: &DataDir) -> anyhow::Result<Self> {
        let last = data.read("network").and_then(|text| text.trim().parse().ok());
        let loopback = network::loopback::Loopback::open(last).context("set up the pods' addresses")?;
        // Objects hold service addresses of this range: the next start wants the same one.
        data.write_private("network", &format!("{}\n", loopback.pods()))?;
        Ok(Self(loopback))
    }

    /// The services' range.
    pub fn services(&self) -> String {
        self.0.services().to_string()
    }
}

#[async_trait]
impl PodNetwork for Network {
    async fn attach(&self, pod_uid: &str, _netns: Option<&Path>) -> Result<IpAddr, String> {
        self.0.attach(pod_uid).map(IpAddr::V4).map_err(|e| e.to_string())
    }

    async fn detach(&self, pod_uid: &str) -> Result<(), String> {
        self.0.detach(pod_uid);
        Ok(())
    }

    async fn adopt(&self, pod_uid: &str, ip: IpAddr) -> Result<(), String> {
        match ip {
            IpAddr::V4(ip) => self.0.adopt(pod_uid, ip).map_err(|e| e.to_string()),
            IpAddr::V6(ip) => Err(format!("pod {pod_uid} has the address {ip}, which is not IPv4")),
        }
    }
}

/// The runtime.
///
/// # Errors
/// When this program's own file cannot be found, or the directory of the pods cannot be made.
pub fn runtime(data: &DataDir, network: Arc<Network>) -> anyhow::Result<Arc<dyn Runtime>> {
    let exe = std::env::current_exe().context("find this program's own file")?;
    let shim = node::shim::Command::new(exe, [SHIM]);
    Ok(Arc::new(Loopback::new(data.path().join("pods"), shim, network).context("set up the loopback runtime")?))
}

/// The node, ready to run.
///
/// # Errors
/// When its endpoint cannot listen or has no certificate.
pub async fn node(api: &ApiServer, data: &DataDir, runtime: Arc<dyn Runtime>) -> anyhow::Result<node::Node> {
    let internal_ip: IpAddr = Ipv4Addr::LOCALHOST.into();
    let listener = TcpListener::bind((internal_ip, 0)).await.context("listen for the node's endpoint")?;
    let names = [internal_ip.to_string(), NODE.to_owned()];
    let tls = api.pki().server_config(&names, false).context("make the node's certificate")?;
    let options = node::Options {
        name: NODE.to_owned(),
        data_dir: data.path().to_owned(),
        runtime,
        images: images()?,
        dns: None,
        tls: Arc::new(tls),
        internal_ip,
        listener,
    };
    Ok(node::Node::new(api.client("system:node:coracle"), options))
}

/// What image names stand for: the services that are built in.
fn images() -> anyhow::Result<Images> {
    let exe = std::env::current_exe().context("find this program's own file")?;
    let mut images = Images::default();
    for (name, arguments) in apps::images() {
        images.insert_builtin(name, HostImage::program(exe.clone()).with_arguments(arguments));
    }
    Ok(images)
}

/// Stops every pod: SIGTERM to all containers, then, after the grace period, whatever is left is killed.
pub async fn stop(runtime: &dyn Runtime) {
    let pods = match runtime.recover().await {
        Ok(pods) => pods,
        Err(error) => return tracing::warn!("find the pods to stop: {error}"),
    };
    let running = pods.iter().flat_map(|(_, containers)| containers).filter(|c| c.exit.is_none());
    join_all(running.map(|container| end(runtime, &container.id))).await;
    for (sandbox, _) in &pods {
        if let Err(error) = runtime.remove_sandbox(&sandbox.pod_uid).await {
            tracing::warn!("remove pod {}: {error}", sandbox.pod_uid);
        }
    }
}

async fn end(runtime: &dyn Runtime, id: &ContainerId) {
    if let Err(error) = runtime.signal(id, SIGTERM).await {
        tracing::warn!("stop container {}: {error}", id.name);
    }
    if tokio::time::timeout(GRACE, runtime.wait(id)).await.is_err() {
        tracing::warn!("container {} did not end within {GRACE:?}: killing it", id.name);
    }
}
