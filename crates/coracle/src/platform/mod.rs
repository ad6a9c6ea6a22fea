//! The boxes, started in order and stopped in reverse. This is the one place that knows them all.

mod images;
mod lifecycle;
mod network;
mod pods;

use std::{
    net::{IpAddr, SocketAddr},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use anyhow::{Context, anyhow};
use apiserver::ApiServer;
use kube::Client;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::{config::Config, data_dir::DataDir};
use lifecycle::Tasks;
use network::Network;

/// The first argument that makes this binary a container's shim.
pub const SHIM: &str = "shim";
/// The node's name: there is one.
const NODE: &str = "coracle";
/// The cluster's domain, as kubeadm has it.
const DOMAIN: &str = "cluster.local";
/// How long requests that have begun may take at the end.
const DRAIN: Duration = Duration::from_secs(20);

/// What happens to the pods at the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pods {
    /// They are stopped, each within its grace period.
    Stop,
    /// They run on, and are taken back at the next start.
    Keep,
}

/// A running Coracle.
pub struct Platform {
    // Held for as long as anything writes there.
    data: DataDir,
    api: ApiServer,
    api_address: SocketAddr,
    proxy: Arc<gateway::proxy::Proxy>,
    runtime: Arc<dyn node::runtime::Runtime>,
    publish: Vec<(u16, u16)>,
    bind: IpAddr,
    kubeconfig: PathBuf,
    tasks: Tasks,
}

impl Platform {
    /// Starts every box. When it returns, the API answers; pods and gateways follow by themselves.
    ///
    /// # Errors
    /// Names the part that could not start and says what to do: a port in use, a data directory that another Coracle holds,
    /// a range of addresses that is taken, what the machine does not allow.
    pub async fn start(config: &Config) -> anyhow::Result<Self> {
        let data = DataDir::open(&config.data_dir)?;
        let images = images::load(config)?;
        let listener = listen(config.bind, config.api_port).await?;
        let api_address = listener.local_addr().context("API server")?;
        let network = Arc::new(Network::open(config.runtime, &data).await?);
        let api = ApiServer::open(apiserver::Options {
            data_dir: data.path().to_owned(),
            service_cidr: network.services().to_string(),
            names: vec![config.bind.to_string(), NODE.to_owned()],
        })
        .await
        .context("open the API server")?;
        let kubeconfig = data.write_private("kubeconfig", &api.kubeconfig(&format!("https://{}", reachable(api_address))))?;

        let mut tasks = Tasks::new();
        let serving = api.clone();
        tasks.spawn("API server", |stop| async move { serving.serve(listener, stop).await });
        let runtime = pods::runtime(config.runtime, &data, network.clone())?;
        let proxy = Arc::new(gateway::proxy::Proxy::start(gateway::proxy::Options::default()).context("start the proxy")?);
        let mut platform = Self {
            api_address,
            proxy,
            runtime,
            publish: config.publish.clone(),
            bind: config.bind,
            kubeconfig,
            tasks,
            api,
            data,
        };
        platform.start_controllers();
        platform.start_gateway();
        platform.start_dns(&network);
        platform.start_node(&network, images).await?;
        Ok(platform)
    }

    fn start_controllers(&mut self) {
        let api = self.api.clone();
        let root_ca = Some(self.api.pki().ca_pem());
        self.tasks.spawn("controllers", move |stop| async move {
            let client_for = move |identity: &str| api.client(identity);
            controllers::run(client_for, controllers::Options { root_ca }, stop).await;
            Ok::<_, anyhow::Error>(())
        });
    }

    fn start_gateway(&mut self) {
        let client = self.client("system:coracle:gateway");
        let publish = self.publish.iter().map(|(host, listener)| gateway::control::Publish {
            address: SocketAddr::new(self.bind, *host),
            listener_port: *listener,
        });
        let options = gateway::control::Options { publish: publish.collect(), bind: self.bind };
        let proxy = self.proxy.clone();
        self.tasks.spawn("gateway control", move |stop| async move {
            gateway::control::run(client, options, proxy, stop).await;
            Ok::<_, anyhow::Error>(())
        });
    }

    fn start_dns(&mut self, network: &Network) {
        let Some(address) = network.dns() else { return };
        let client = self.client("system:coracle:dns");
        let listen = SocketAddr::new(address.into(), 53);
        let resolv_conf = std::fs::read_to_string("/etc/resolv.conf").unwrap_or_default();
        let upstreams = ::network::dns::upstreams(&resolv_conf, listen);
        let options = ::network::dns::Options { listen, domain: DOMAIN.to_owned(), upstreams };
        self.tasks.spawn("cluster DNS", move |stop| ::network::dns::run(client, options, stop));
    }

    async fn start_node(&mut self, network: &Network, images: node::images::Images) -> anyhow::Result<()> {
        let internal_ip = network.node_address();
        let listener = TcpListener::bind((internal_ip, 0)).await.context("listen for the node's endpoint")?;
        let names = [internal_ip.to_string(), NODE.to_owned(), "127.0.0.1".to_owned()];
        let tls = self.api.pki().node_server_config(&names).context("make the node's certificate")?;
        let node = node::Node::new(self.client("system:node:coracle"), node::Options {
            name: NODE.to_owned(),
            data_dir: self.data.path().to_owned(),
            runtime: self.runtime.clone(),
            images,
            dns: network.dns().map(|ip| node::Dns { nameserver: ip.into(), domain: DOMAIN.to_owned() }),
            tls: Arc::new(tls),
            internal_ip,
            listener,
        });
        self.tasks.spawn("node", move |stop| node.run(stop));
        Ok(())
    }

    /// A client that acts under this name.
    pub fn client(&self, identity: &str) -> Client {
        self.api.client(identity)
    }

    /// Where the API server answers.
    pub fn api_url(&self) -> String {
        format!("https://{}", reachable(self.api_address))
    }

    /// The administrator's kubeconfig.
    pub fn kubeconfig(&self) -> &Path {
        &self.kubeconfig
    }

    /// `native` or `loopback`.
    pub fn runtime_name(&self) -> &'static str {
        self.runtime.name()
    }

    /// The published Gateway ports that are open now: the listener's port, and the address on this machine.
    pub fn addresses(&self) -> Vec<(u16, SocketAddr)> {
        let bound = self.proxy.bound();
        let open = self.publish.iter().filter_map(|(host, listener)| {
            let actual = bound.get(&SocketAddr::new(self.bind, *host))?;
            Some((*listener, reachable(*actual)))
        });
        open.collect()
    }

    /// Resolves when a part that must run has ended, which it never should.
    pub async fn failed(&mut self) -> anyhow::Error {
        match self.tasks.failed().await {
            Some((name, error)) => error.context(format!("the {name} failed")),
            None => anyhow!("every part ended"),
        }
    }

    /// Finishes requests, stops or leaves the pods, and stops every part.
    pub async fn stop(mut self, pods: Pods) {
        self.proxy.shutdown(DRAIN).await;
        self.tasks.stop().await;
        if pods == Pods::Stop {
            pods::stop(self.runtime.as_ref()).await;
        }
    }
}

async fn listen(bind: IpAddr, port: u16) -> anyhow::Result<TcpListener> {
    TcpListener::bind((bind, port)).await.with_context(|| {
        format!("the API server cannot listen on {bind}:{port}: stop what uses the port, or choose another with --api-port")
    })
}

/// The address a client on this machine uses for one that may be bound to all addresses.
fn reachable(address: SocketAddr) -> SocketAddr {
    match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => SocketAddr::new(std::net::Ipv4Addr::LOCALHOST.into(), address.port()),
        IpAddr::V6(ip) if ip.is_unspecified() => SocketAddr::new(std::net::Ipv6Addr::LOCALHOST.into(), address.port()),
        _ => address,
    }
}

/// Ends early when `stop` is cancelled.
async fn until<T>(stop: &CancellationToken, work: impl Future<Output = T>) -> Option<T> {
    stop.run_until_cancelled(work).await
}
