//! The gateway: its proxy, the addresses it is reached at, and the control plane that tells it what to serve.

use std::{
    convert::Infallible,
    net::{IpAddr, SocketAddr},
    num::NonZeroUsize,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::Context;
use apiserver::{
    ApiServer, Delegate,
    pki::{Pair, Pki},
};
use gateway::{
    control::{self, BindError, Issued, Issuer, Publish, Sink, Snapshot},
    demand::{self, Demand},
    observe::{AccessLog, Destination},
    proxy::{Options, Proxy},
    table::{ListenerService, Table},
};
use kube::Client;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use tokio::{
    net::TcpListener,
    signal::unix::{SignalKind, signal},
    sync::watch,
};

use super::{Tasks, metrics, reachable};
use crate::{config::Edge, handover::Inheritance};

/// How long requests that have begun may take at the end.
const DRAIN: Duration = Duration::from_secs(20);

/// For how long clients between two requests are given the chance to hear that their connection ends.
const PATIENCE: Duration = Duration::from_secs(10);

/// For how long another process is made to wait for requests that wait for a first pod, and how often that is looked at.
const RELEASED: Duration = Duration::from_secs(10);
const LOOK: Duration = Duration::from_millis(10);

/// Files that are open beside connections: the store, the API's watches, logs, listeners.
const OTHER_FILES: u64 = 512;

/// For how long routes whose backends have no pods are waited for: they may be meant to have none.
const SETTLE: Duration = Duration::from_secs(1);

/// An address where Gateways answer.
pub struct Serving {
    /// `http` or `https`.
    pub scheme: &'static str,
    /// On this machine.
    pub address: SocketAddr,
    /// The port that is served there.
    pub listener_port: u16,
}

/// The proxy and the ports it holds.
pub struct Gateway {
    proxy: Arc<Proxy>,
    demand: Arc<Demand>,
    served: watch::Sender<Arc<Table>>,
    stage: watch::Sender<Stage>,
    published: Vec<Publish>,
    bind: IpAddr,
    development: Option<Arc<Development>>,
}

/// Certificates for development (`--dev-certs`).
struct Development {
    pki: Pki,
    authority: PathBuf,
}

impl Development {
    fn open(data_dir: &Path) -> anyhow::Result<Self> {
        let dir = data_dir.join("dev-certs");
        let pki = Pki::open(&dir).context("--dev-certs")?;
        Ok(Self { pki, authority: dir.join("ca.crt") })
    }
}

impl Issuer for Development {
    fn issue(&self, names: &[String]) -> Result<Issued, String> {
        let Pair { certificate, key } = self.pki.issue_server(names).map_err(|error| error.to_string())?;
        Ok(Issued { certificate, key })
    }

    fn authority(&self) -> &Path {
        &self.authority
    }
}

/// How far the gateway is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Stage {
    /// What there is to serve is not known yet.
    #[default]
    Starting,
    /// It serves.
    Serving,
    /// It serves still, but is about to end.
    Draining,
}

impl Gateway {
    /// Starts the proxy and takes the published ports, so that what is wrong with them is known at once.
    ///
    /// # Errors
    /// A port that was asked for cannot be had. One of the defaults is done without, and a warning says so.
    pub fn open(config: &Edge, inherited: Inheritance) -> anyhow::Result<Self> {
        raise_open_files();
        let max_connections = max_connections(config.max_connections, getrlimit(Resource::RLIMIT_NOFILE).ok());
        let (hold, access_log) = (config.hold, config.access_log.clone());
        let options = Options { max_connections, hold, access_log, ..Options::default() };
        let proxy = Proxy::start(options).context(match &config.access_log {
            Some(AccessLog { to: Destination::File(file), .. }) => {
                format!("start the proxy with --access-log {}", file.display())
            }
            _ => "start the proxy".to_owned(),
        })?;
        proxy.adopt(inherited.proxy).context("take over the proxy's sockets")?;
        let mut published = Vec::new();
        for wanted in &config.publish {
            let (mut address, listener_port) = (wanted.address, wanted.listener_port);
            // Any free port will do: then the one that clients know is the best.
            let known =
                inherited.published.iter().find(|(known, port)| *port == listener_port && known.ip() == address.ip());
            if let (0, Some((known, _))) = (address.port(), known) {
                address = *known;
            }
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
        let (served, stage) = (watch::Sender::default(), watch::Sender::default());
        let proxy = Arc::new(proxy);
        let demand = Arc::new(Demand::new(proxy.clone(), Instant::now));
        Ok(Self { proxy, demand, served, stage, published, bind: config.bind, development: None })
    }

    /// From now on, listeners whose Secrets are missing show certificates made here (`--dev-certs`).
    ///
    /// # Errors
    /// The authority in the data directory cannot be read or made.
    pub fn make_certificates(&mut self, data_dir: &Path) -> anyhow::Result<()> {
        self.development = Some(Arc::new(Development::open(data_dir)?));
        Ok(())
    }

    /// What the control plane must know of this gateway.
    pub fn options(&self) -> control::Options {
        let development = self.development.clone().map(|development| development as Arc<dyn Issuer>);
        control::Options { development, ..control::Options::new(self.published.clone(), self.bind) }
    }

    /// Serves what the objects say.
    pub fn start(&self, client: Client, options: control::Options, tasks: &mut Tasks) {
        let (table, stage) = (self.served.clone(), self.stage.clone());
        let served = Served { proxy: self.proxy.clone(), demand: self.demand.clone(), table, stage };
        tasks.spawn("gateway control", |stop| async move {
            control::run(client, options, served, stop).await;
            Ok::<_, anyhow::Error>(())
        });
        let demand = self.demand.clone();
        tasks.spawn("gateway figures", |stop| async move {
            demand.run(stop).await;
            Ok::<_, anyhow::Error>(())
        });
    }

    /// Answers for the API what autoscalers ask of custom and external metrics.
    pub fn answer_for(&self, api: &ApiServer) {
        for (group, version) in demand::SERVED {
            let demand = self.demand.clone();
            let handler = tower::service_fn(move |request: http::Request<_>| {
                let (demand, (parts, _)) = (demand.clone(), request.into_parts());
                async move { Ok::<_, Infallible>(demand.answer(&parts).await) }
            });
            api.delegate(&Delegate::new(group, version, handler));
        }
    }

    /// Serves the metrics, with `more` than the gateway's, and opens the access log's file again on SIGUSR1.
    ///
    /// # Errors
    /// A signal cannot be listened for.
    pub fn observe(&self, listener: Option<TcpListener>, more: metrics::More, tasks: &mut Tasks) -> anyhow::Result<()> {
        if let Some(listener) = listener {
            let (proxy, stage) = (self.proxy.clone(), self.stage.subscribe());
            tasks.spawn("metrics", |stop| metrics::serve(listener, proxy, stage, more, stop));
        }
        let (proxy, mut moved) =
            (self.proxy.clone(), signal(SignalKind::user_defined1()).context("listen for SIGUSR1")?);
        tasks.spawn("access log", |stop| async move {
            loop {
                tokio::select! {
                    () = stop.cancelled() => return Ok::<_, anyhow::Error>(()),
                    _ = moved.recv() => proxy.reopen_access_log(),
                }
            }
        });
        Ok(())
    }

    /// The certificate of the authority that is to be trusted where Gateways show certificates for development.
    pub fn development_authority(&self) -> Option<&Path> {
        self.development.as_ref().map(|development| development.authority.as_path())
    }

    /// Where Gateways answer now.
    pub fn serving(&self) -> Vec<Serving> {
        let (bound, table) = (self.proxy.bound(), self.served.borrow().clone());
        let here = self.published.iter().filter(|publish| bound.contains(&publish.address));
        let listener = |address| table.listeners.iter().find(|listener| listener.bind == address);
        let served = here.filter_map(|publish| Some((publish, listener(publish.address)?)));
        let serving = served.map(|(publish, listener)| Serving {
            scheme: if matches!(listener.service, ListenerService::Tls(_)) { "https" } else { "http" },
            address: reachable(publish.address),
            listener_port: publish.listener_port,
        });
        serving.collect()
    }

    /// Waits until every backend of the routes has an endpoint, for a moment: pods that are ready are told to the gateway as
    /// everybody else is told of them, and a request may be quicker.
    pub async fn settled(&self) {
        let mut table = self.served.subscribe();
        let has_endpoints = |table: &Arc<Table>| table.clusters().all(|cluster| !cluster.is_empty());
        // Backends without pods are no reason to wait for longer.
        _ = tokio::time::timeout(SETTLE, table.wait_for(has_endpoints)).await;
    }

    /// Waits until no request waits for a first pod, for a while: this process is the one that hears of it.
    pub async fn released(&self) {
        let released = async {
            while self.proxy.held() > 0 {
                tokio::time::sleep(LOOK).await;
            }
        };
        _ = tokio::time::timeout(RELEASED, released).await;
    }

    /// Waits until the first table is served.
    pub async fn serves(&self) {
        // The sender is `self`'s.
        _ = self.stage.subscribe().wait_for(|stage| *stage != Stage::Starting).await;
    }

    /// The proxy, which goes on serving its last table, with everything that the next one needs.
    ///
    /// # Errors
    /// The sockets cannot be shared.
    pub fn share(&self) -> anyhow::Result<(Retiring, Inheritance)> {
        let proxy = self.proxy.share().context("share the proxy's sockets")?;
        let published = self.published.iter().map(|publish| (publish.address, publish.listener_port)).collect();
        Ok((Retiring(self.proxy.clone()), Inheritance { api: None, published, proxy }))
    }

    /// Says that it is about to end, so that nothing new is sent here; it serves on.
    pub fn drain(&self) {
        self.stage.send_replace(Stage::Draining);
    }

    /// Accepts nothing more, sends clients elsewhere, and lets requests that have begun finish.
    pub async fn retire(&self) {
        self.proxy.retire(PATIENCE, DRAIN).await;
    }

    /// Lets requests that have begun finish.
    pub async fn end(&self) {
        self.proxy.shutdown(DRAIN).await;
    }
}

/// A proxy that serves until another has taken its sockets.
pub struct Retiring(Arc<Proxy>);

impl Retiring {
    /// Sends clients to the other one, and lets requests that have begun finish.
    pub async fn end(self) {
        self.0.retire(PATIENCE, DRAIN).await;
    }
}

/// The proxy, and the table it serves.
struct Served {
    proxy: Arc<Proxy>,
    demand: Arc<Demand>,
    table: watch::Sender<Arc<Table>>,
    stage: watch::Sender<Stage>,
}

impl Sink for Served {
    fn apply(&self, table: Arc<Table>) -> Vec<BindError> {
        let errors = self.proxy.apply(table.clone());
        self.table.send_replace(table);
        self.stage.send_if_modified(|stage| {
            *stage == Stage::Starting && std::mem::replace(stage, Stage::Serving) == Stage::Starting
        });
        errors
    }

    fn endpoints_changed(&self) {
        self.table.send_modify(|_| {});
    }

    fn objects(&self, snapshot: &Arc<Snapshot>) {
        self.demand.objects(snapshot);
    }
}

/// As many as somebody has asked for, or as the limit of open files allows with a connection to an endpoint for each: where one
/// cannot be opened any more, clients that are served already would get errors.
fn max_connections(asked: Option<NonZeroUsize>, files: Option<(u64, u64)>) -> usize {
    let most = Options::default().max_connections;
    let by_files = files.and_then(|(soft, _)| usize::try_from(soft.saturating_sub(OTHER_FILES) / 2).ok());
    asked.map_or_else(|| by_files.map_or(most, |by_files| by_files.clamp(1, most)), NonZeroUsize::get)
}

/// Each connection is a file: the usual soft limit of 1,024 is soon reached, and the hard limit is there to be used.
fn raise_open_files() {
    let raised = getrlimit(Resource::RLIMIT_NOFILE)
        .and_then(|(soft, hard)| if soft < hard { setrlimit(Resource::RLIMIT_NOFILE, hard, hard) } else { Ok(()) });
    if let Err(error) = raised {
        tracing::warn!("the limit of open files stays as it is: {error}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_are_limited_by_what_is_asked_for_or_by_the_limit_of_open_files() {
        assert_eq!(max_connections(NonZeroUsize::new(7), Some((20_000, 20_000))), 7);
        assert_eq!(max_connections(None, Some((20_000, 20_000))), 9_744);
        assert_eq!(max_connections(None, Some((1 << 30, 1 << 30))), 50_000);
        assert_eq!(max_connections(None, Some((100, 100))), 1);
        assert_eq!(max_connections(None, None), 50_000);
    }
}
