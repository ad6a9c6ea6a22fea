//! Which runtime runs the pods, and how they are stopped when Coracle is.

use std::{sync::Arc, time::Duration};

use anyhow::Context;
use futures::future::join_all;
use node::runtime::{ContainerId, Runtime, loopback::Loopback, native::Native};

use super::{SHIM, network::Network};
use crate::{cli::RuntimeKind, data_dir::DataDir};

/// How long pods may take to end at Ctrl-C: Kubernetes' default grace period is 30 s, but somebody waits at a terminal.
const GRACE: Duration = Duration::from_secs(10);

/// The runtime asked for.
///
/// # Errors
/// When this program's own path cannot be found, or the machine lacks what the runtime needs.
pub fn runtime(kind: RuntimeKind, data: &DataDir, network: Arc<Network>) -> anyhow::Result<Arc<dyn Runtime>> {
    let exe = std::env::current_exe().context("find this program's own file")?;
    let shim = node::shim::Command::new(exe, [SHIM]);
    let state_dir = data.path().join("pods");
    Ok(match kind {
        RuntimeKind::Native => Arc::new(Native::new(state_dir, shim, network).context("set up the native runtime")?),
        _ => Arc::new(Loopback::new(state_dir, shim, network).context("set up the loopback runtime")?),
    })
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
    if let Err(error) = runtime.signal(id, libc_sigterm()).await {
        tracing::warn!("stop container {}: {error}", id.name);
    }
    if tokio::time::timeout(GRACE, runtime.wait(id)).await.is_err() {
        tracing::warn!("container {} did not end within {GRACE:?}: killing it", id.name);
    }
}

/// SIGTERM's number, which is the same on every Linux architecture.
const fn libc_sigterm() -> i32 {
    15
}
