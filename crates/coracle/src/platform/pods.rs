//! The node and its runtime, and how its pods are stopped when Coracle is.

use std::{convert::Infallible, net::Ipv4Addr, sync::Arc, time::Duration};

use anyhow::{Context, anyhow, bail};
use apiserver::{ApiServer, Delegate};
use futures::future::join_all;
use nix::unistd::Uid;
use node::{
    figures::{self, Figures},
    runtime::{
        ContainerId, Runtime,
        loopback::Loopback,
        native::{self, Native},
    },
};
use tokio::net::TcpListener;

use super::{NODE, SHIM, images, network::Network};
use crate::{cli::RuntimeKind, config::Config, data_dir::DataDir};

/// The pods' files, in the data directory.
const PODS: &str = "pods";
/// What to do where the native runtime cannot work.
const NATIVE: &str =
    "pods cannot be isolated from each other and this machine (--runtime loopback runs them without that)";
/// How long pods may take to end at Ctrl-C: Kubernetes' default grace period is 30 s, but somebody waits at a terminal.
const GRACE: Duration = Duration::from_secs(10);
const SIGTERM: i32 = 15;
/// metrics-server's default. Where the autoscaler asks more often, it is to hear something new each time.
const METRIC_RESOLUTION: Duration = Duration::from_secs(15);

/// The runtime and the network that goes with it.
///
/// # Errors
/// When the machine does not allow the runtime that was asked for. `auto` prints why it takes `loopback`.
pub async fn open(kind: RuntimeKind, data: &DataDir) -> anyhow::Result<(Arc<Network>, Arc<dyn Runtime>)> {
    let native = match kind {
        RuntimeKind::Loopback => None,
        RuntimeKind::Native => Some(native(data).await.context(NATIVE)?),
        RuntimeKind::Auto => {
            let unisolated = |e: &anyhow::Error| {
                tracing::warn!(
                    "pods are not isolated from each other and this machine (as with --runtime loopback): {e:#}"
                );
            };
            native(data).await.inspect_err(unisolated).ok()
        }
    };
    if let Some(native) = native {
        return Ok(native);
    }
    let network = Arc::new(Network::loopback(data)?);
    let runtime = Loopback::new(data.path().join(PODS), shim()?, network.clone());
    Ok((network, Arc::new(runtime.context("set up the loopback runtime")?)))
}

async fn native(data: &DataDir) -> anyhow::Result<(Arc<Network>, Arc<dyn Runtime>)> {
    let state_dir = data.path().join(PODS);
    let hidden = data.path().to_owned();
    let mut options = native::Options { state_dir, hidden, host_ip: Ipv4Addr::LOCALHOST.into(), shim: shim()? };
    if !Uid::effective().is_root() {
        bail!("that needs root");
    }
    // Its text holds that of its source.
    options.check().await.map_err(|error| anyhow!("{error}"))?;
    let network = Arc::new(Network::bridge().await?);
    options.host_ip = network.node_address();
    let runtime = Native::open(options, network.clone())?;
    Ok((network, Arc::new(runtime)))
}

fn shim() -> anyhow::Result<node::shim::Command> {
    Ok(node::shim::Command::new(std::env::current_exe().context("find this program's own file")?, [SHIM]))
}

/// The node, ready to run.
///
/// # Errors
/// When its endpoint cannot listen or has no certificate, or an image is not as it should be.
pub async fn node(
    config: &Config,
    api: &ApiServer,
    data: &DataDir,
    network: &Network,
    runtime: Arc<dyn Runtime>,
) -> anyhow::Result<node::Node> {
    let internal_ip = network.node_address();
    let listener = TcpListener::bind((internal_ip, 0)).await.context("listen for the node's endpoint")?;
    let names = [internal_ip.to_string(), NODE.to_owned()];
    let tls = api.pki().server_config(&names, false).context("make the node's certificate")?;
    let dns = network.dns().map(|dns| node::Dns { nameserver: dns.listen.ip(), domain: dns.domain });
    let options = node::Options {
        name: NODE.to_owned(),
        data_dir: data.path().to_owned(),
        runtime,
        images: images::load(config)?,
        dns,
        tls: Arc::new(tls),
        internal_ip,
        listener,
        eviction: config.eviction.clone(),
        metric_resolution: config.scaling.sync_period.min(METRIC_RESOLUTION),
    };
    Ok(node::Node::new(api.client("system:node:coracle"), options))
}

/// Answers for the API what pods and the node use.
pub fn answer_for(api: &ApiServer, figures: &Figures) {
    let figures = figures.clone();
    let handler = tower::service_fn(move |request: http::Request<_>| {
        let figures = figures.clone();
        async move { Ok::<_, Infallible>(figures.answer(request).await) }
    });
    api.delegate(&Delegate::new(figures::GROUP, figures::VERSION, handler));
}

/// Stops every pod: SIGTERM to all containers, then, after the grace period, whatever is left is killed.
pub async fn stop(runtime: &dyn Runtime, data: &DataDir) {
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
    node::release_memory(data.path());
}

async fn end(runtime: &dyn Runtime, id: &ContainerId) {
    if let Err(error) = runtime.signal(id, SIGTERM).await {
        tracing::warn!("stop container {}: {error}", id.name);
    }
    if tokio::time::timeout(GRACE, runtime.wait(id)).await.is_err() {
        tracing::warn!("container {} did not end within {GRACE:?}: killing it", id.name);
    }
}
