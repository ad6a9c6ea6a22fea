//! The gateway: its proxy, the addresses it is reached at, and the control plane that tells it what to serve.

use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use anyhow::Context;
use gateway::{
    control::{self, Publish},
    proxy::{Options, Proxy},
};
use kube::Client;
use nix::sys::resource::{Resource, getrlimit, setrlimit};

use super::{Tasks, reachable};
use crate::config::Config;

/// How long requests that have begun may take at the end.
const DRAIN: Duration = Duration::from_secs(20);

/// The proxy and the ports it holds.
pub struct Gateway {
    proxy: Arc<Proxy>,
    published: Vec<Publish>,
    bind: IpAddr,
}

impl Gateway {
    /// Starts the proxy and takes the published ports, so that what is wrong with them is known at once.
    ///
    /// # Errors
    /// A port that was asked for cannot be had. One of the defaults is done without, and a warning says so.
    pub fn open(config: &Config) -> anyhow::Result<Self> {
        raise_open_files();
        let proxy = Proxy::start(Options::default()).context("start the proxy")?;
        let mut published = Vec::new();
        for wanted in &config.publish {
            let (address, listener_port) = (wanted.address, wanted.listener_port);
            match proxy.hold(address).with_context(|| format!("listen on {address}")) {
                Ok(address) => published.push(Publish { address, listener_port }),
                Err(error) if wanted.asked => {
                    return Err(error.context(format!(
                        "Gateways' port {listener_port} cannot be published: stop what uses the port, or choose another with \
                         --publish PORT:{listener_port}"
                    )));
                }
                Err(error) => tracing::warn!(
                    "Gateways' port {listener_port} is not published: {error:#}; choose another with --publish PORT:{listener_port}"
                ),
            }
        }
        Ok(Self { proxy: Arc::new(proxy), published, bind: config.bind })
    }

    /// Serves what the objects say.
    pub fn start(&self, client: Client, tasks: &mut Tasks) {
        let options = control::Options { publish: self.published.clone(), bind: self.bind };
        let proxy = self.proxy.clone();
        tasks.spawn("gateway control", |stop| async move {
            control::run(client, options, proxy, stop).await;
            Ok::<_, anyhow::Error>(())
        });
    }

    /// Where Gateways answer now: the address and the listener port that is served there.
    pub fn serving(&self) -> Vec<(SocketAddr, u16)> {
        let bound = self.proxy.bound();
        let here = self.published.iter().filter(|publish| bound.contains(&publish.address));
        here.map(|publish| (reachable(publish.address), publish.listener_port)).collect()
    }

    /// Lets requests that have begun finish.
    pub async fn end(&self) {
        self.proxy.shutdown(DRAIN).await;
    }
}

/// Each connection is a file: the usual soft limit of 1,024 is soon reached, and the hard limit is there to be used.
fn raise_open_files() {
    let raised = getrlimit(Resource::RLIMIT_NOFILE)
        .and_then(|(soft, hard)| if soft < hard { setrlimit(Resource::RLIMIT_NOFILE, hard, hard) } else { Ok(()) });
    if let Err(error) = raised {
        tracing::warn!("the limit of open files stays as it is: {error}");
    }
}
