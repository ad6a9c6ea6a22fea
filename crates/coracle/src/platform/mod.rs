//! The boxes, started in order and stopped in reverse. This is the one place that knows them all.

mod gateway;
mod images;
mod lifecycle;
pub mod metrics;
mod network;
mod pods;

use std::{
    net::{IpAddr, SocketAddr},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use anyhow::Context;
use apiserver::ApiServer;
use futures::{FutureExt, future::BoxFuture};
use kube::Client;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::{
    config::Config,
    data_dir::{DataDir, write_private},
    handover::Inheritance,
};
pub use gateway::{Gateway, Retiring, Serving};
pub use lifecycle::Tasks;

/// The first argument that makes this binary a container's shim.
pub const SHIM: &str = "shim";
/// The node's name: there is one.
const NODE: &str = "coracle";

/// How long the store and the network may take to be free for another process, and how often that is looked at.
const RELEASE: Duration = Duration::from_secs(10);
const RELEASE_LOOK: Duration = Duration::from_millis(2);

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
    address: SocketAddr,
    /// The API server's, for the next process.
    socket: std::net::TcpListener,
    gateway: Gateway,
    metrics: Option<SocketAddr>,
    kubeconfig: PathBuf,
    network: Arc<network::Network>,
    runtime: Arc<dyn node::runtime::Runtime>,
}

impl Platform {
    /// Starts every box. When it returns, the API answers.
    ///
    /// # Errors
    /// Names the part that could not start and says what to do: a port in use, a data directory that another Coracle holds.
    pub async fn start(config: &Config, mut inherited: Inheritance) -> anyhow::Result<(Self, Tasks)> {
        let data = DataDir::open(&config.data_dir)?;
        let (listener, socket) = api_sockets(config, inherited.api.take()).await?;
        let address = listener.local_addr().context("API server")?;
        let mut gateway = Gateway::open(&config.edge(), inherited)?;
        if config.dev_certs {
            gateway.make_certificates(data.path())?;
        }
        let scraped = metrics::listen(config.metrics).await?;
        let metrics = scraped.as_ref().and_then(|listener| listener.local_addr().ok());
        let (network, runtime) = pods::open(config.runtime, &data).await?;
        let options = apiserver::Options {
            data_dir: data.path().to_owned(),
            service_cidr: network.services().to_string(),
            names: vec![config.bind.to_string()],
        };
        let api = ApiServer::open(options).await.context("open the API server")?;
        api.publish(reachable(address)).await.context("publish the API server's address")?;
        let url = format!("https://{}", reachable(address));
        let kubeconfig = data.write_private("kubeconfig", &api.kubeconfig(&url)?)?;
        let mut tasks = Tasks::new();
        tasks.spawn("kubeconfig", renew_kubeconfig(api.clone(), data.path().to_owned(), url));
        let serving = api.clone();
        tasks.spawn("API server", |stop| async move { serving.serve(listener, stop).await });
        let (managed, autoscaler) = (api.clone(), config.scaling.clone());
        let forecasts = controllers::autoscaler::Published::default();
        let more: metrics::More = {
            let forecasts = forecasts.clone();
            Arc::new(move || forecasts.prometheus())
        };
        tasks.spawn("controllers", |stop| async move {
            let options = controllers::Options { root_ca: Some(managed.pki().ca_pem()), autoscaler, forecasts };
            controllers::run(|identity: &str| managed.client(identity), options, stop).await;
            Ok::<_, anyhow::Error>(())
        });
        let options = ::gateway::control::Options { callers_known: network.tells_callers(), ..gateway.options() };
        gateway.start(api.client("system:coracle:gateway"), options, &mut tasks);
        gateway.observe(scraped, more, &mut tasks)?;
        gateway.answer_for(&api);
        if let Some(dns) = network.dns() {
            let client = api.client("coracle:dns");
            tasks.spawn("cluster DNS", |stop| ::network::dns::run(client, dns, stop));
        }
        let node = pods::node(config, &api, &data, &network, runtime.clone()).await?;
        pods::answer_for(&api, node.figures());
        tasks.spawn("node", |stop| node.run(stop));
        Ok((Self { data, api, address, socket, gateway, metrics, kubeconfig, network, runtime }, tasks))
    }

    /// A client that acts under this name.
    pub fn client(&self, identity: &str) -> Client {
        self.api.client(identity)
    }

    /// Where the API server answers.
    pub fn api_url(&self) -> String {
        format!("https://{}", reachable(self.address))
    }

    /// Where the gateway's metrics are, if they are served.
    pub fn metrics_url(&self) -> Option<String> {
        self.metrics.map(|address| metrics::url(reachable(address)))
    }

    /// Waits until the gateway serves, whatever there is to serve.
    pub async fn serves(&self) {
        self.gateway.serves().await;
    }

    /// Lets go of everything but the proxy, when all other parts have been stopped: when it returns, another process can open
    /// the data directory.
    ///
    /// # Errors
    /// The sockets cannot be shared.
    pub async fn release(self) -> anyhow::Result<(Retiring, Inheritance)> {
        let Self { data, api, socket, gateway, network, runtime, .. } = self;
        let (retiring, inheritance) = gateway.share()?;
        let (closed, network_left) = (api.closed(), Arc::downgrade(&network));
        drop((api, gateway, runtime, network));
        let released = async {
            closed.await;
            // Its last holder is a task that was told to end.
            while network_left.strong_count() > 0 {
                tokio::time::sleep(RELEASE_LOOK).await;
            }
        };
        if tokio::time::timeout(RELEASE, released).await.is_err() {
            tracing::warn!("the store or the network is still in use: the next process may not be able to open it");
        }
        drop(data);
        Ok((retiring, Inheritance { api: Some(socket), ..inheritance }))
    }

    /// Waits until no request waits for a first pod, for a while: all parts are still needed for that.
    pub async fn released(&self) {
        self.gateway.released().await;
    }

    /// Waits until the gateway sends requests to the pods that are ready.
    pub async fn settled(&self) {
        self.gateway.settled().await;
    }

    /// Where Gateways answer now.
    pub fn gateways(&self) -> Vec<Serving> {
        self.gateway.serving()
    }

    /// The certificate to trust where Gateways show certificates for development (`--dev-certs`).
    pub fn development_authority(&self) -> Option<&Path> {
        self.gateway.development_authority()
    }

    /// Finishes the requests that have begun, then stops the pods or leaves them running; the other parts have stopped by
    /// now.
    pub async fn end(&self, pods: Pods) {
        self.gateway.end().await;
        if pods == Pods::Stop {
            pods::stop(self.runtime.as_ref(), &self.data).await;
            self.network.remove().await;
        }
    }

    /// The data directory.
    pub fn data_dir(&self) -> &Path {
        self.data.path()
    }

    /// The administrator's kubeconfig.
    pub fn kubeconfig(&self) -> &Path {
        &self.kubeconfig
    }
}

/// Writes the kubeconfig anew long before the certificate in it ends, for a Coracle that runs for years.
fn renew_kubeconfig(
    api: ApiServer,
    directory: PathBuf,
    url: String,
) -> impl FnOnce(CancellationToken) -> BoxFuture<'static, anyhow::Result<()>> {
    move |stop| {
        let renew = async move {
            while stop.run_until_cancelled(tokio::time::sleep(apiserver::pki::USED)).await.is_some() {
                let written = api.kubeconfig(&url).map_err(anyhow::Error::from);
                if let Err(error) = written.and_then(|text| write_private(&directory, "kubeconfig", &text)) {
                    tracing::warn!("the kubeconfig could not be renewed: {error:#}");
                }
            }
            Ok(())
        };
        renew.boxed()
    }
}

/// The API server's socket, twice: to serve, and to hand on. One that was handed to us is taken if it is at the wanted port.
async fn api_sockets(
    config: &Config,
    inherited: Option<std::net::TcpListener>,
) -> anyhow::Result<(TcpListener, std::net::TcpListener)> {
    let wanted = |socket: &std::net::TcpListener| {
        let address = socket.local_addr().ok();
        address.is_some_and(|at| at.ip() == config.bind && (config.api_port == 0 || at.port() == config.api_port))
    };
    let socket = match inherited.filter(wanted) {
        Some(socket) => socket,
        None => listen(config.bind, config.api_port).await?.into_std().context("API server")?,
    };
    let again = socket.try_clone().context("API server")?;
    Ok((TcpListener::from_std(socket).context("API server")?, again))
}

async fn listen(bind: IpAddr, port: u16) -> anyhow::Result<TcpListener> {
    TcpListener::bind((bind, port)).await.with_context(|| {
        format!(
            "the API server cannot listen on {bind}:{port}: stop what uses the port, or choose another with --api-port"
        )
    })
}

/// The address a client on this machine uses for one that may be bound to all addresses.
pub fn reachable(address: SocketAddr) -> SocketAddr {
    match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => SocketAddr::new(std::net::Ipv4Addr::LOCALHOST.into(), address.port()),
        IpAddr::V6(ip) if ip.is_unspecified() => SocketAddr::new(std::net::Ipv6Addr::LOCALHOST.into(), address.port()),
        _ => address,
    }
}
