//! The kubelet's role: pods, runtimes, images, volumes, probes, logs, and the streams of running programs.

mod clock;
mod endpoint;
mod env;
mod events;
pub mod eviction;
pub mod figures;
pub mod images;
mod logs;
mod monitor;
mod plan;
mod pods;
mod probes;
mod recover;
mod register;
mod resize;
mod resolver;
pub mod runtime;
pub mod shim;
mod sources;
mod start;
mod state;
mod status;
mod streams;
mod unhonoured;
mod volumes;
mod worker;

use std::{
    net::IpAddr,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use k8s_openapi::api::core::v1::{Pod, PodStatus};
use kube::{Client, ResourceExt};
use tokio::{
    net::TcpListener,
    sync::{mpsc, watch},
    task::JoinSet,
};
use tokio_util::sync::CancellationToken;

/// The cluster's DNS, as pods are told.
#[derive(Clone, Debug)]
pub struct Dns {
    /// The server's address.
    pub nameserver: IpAddr,
    /// The cluster's domain, `cluster.local`.
    pub domain: String,
}

/// What a node is made from.
pub struct Options {
    /// The Node object's name.
    pub name: String,
    /// Volumes and logs are kept in `volumes` and `logs` of this directory.
    pub data_dir: PathBuf,
    /// Runs the processes.
    pub runtime: Arc<dyn runtime::Runtime>,
    /// What image names stand for.
    pub images: images::Images,
    /// Cluster DNS; without it pods use the machine's resolver.
    pub dns: Option<Dns>,
    /// TLS of the node's endpoint; it must ask for a client certificate.
    pub tls: Arc<rustls::ServerConfig>,
    /// The node's address.
    pub internal_ip: IpAddr,
    /// Where the node's endpoint listens.
    pub listener: TcpListener,
    /// When pods have to go because the machine runs short.
    pub eviction: eviction::Options,
    /// About how long rates are taken over, and how often they are asked for: metrics-server's `--metric-resolution`.
    pub metric_resolution: Duration,
}

/// Why the node cannot run.
#[derive(Debug, thiserror::Error)]
pub enum NodeError {
    /// The endpoint's socket has no address.
    #[error("node endpoint: {0}")]
    Listener(#[from] std::io::Error),
    /// What a previous Coracle left running cannot be found.
    #[error("find the pods that are running: {0}")]
    Recover(#[from] runtime::RuntimeError),
}

/// What every part of the node shares.
pub(crate) struct Context {
    client: Client,
    name: String,
    data_dir: PathBuf,
    runtime: Arc<dyn runtime::Runtime>,
    images: images::Images,
    dns: Option<Dns>,
    internal_ip: IpAddr,
    clock: clock::Clock,
    sources: sources::Sources,
    events: events::Events,
    pods: figures::Pods,
    figures: figures::Figures,
    ledger: resize::Ledger,
    /// What the node lacks.
    pressures: watch::Receiver<eviction::Pressures>,
}

/// A pod that has a worker.
pub(crate) struct Known {
    /// The object as the API has it; `None` once it is gone.
    object: watch::Sender<Option<Arc<Pod>>>,
    /// The status as its worker has it, which the object's may lag behind.
    status: watch::Receiver<Option<Arc<PodStatus>>>,
    /// Where its worker is told something.
    sender: mpsc::Sender<worker::Message>,
}

impl Known {
    /// Says that the object is gone. A worker that has ended has nothing left to take away.
    fn gone(&self) {
        let _ = self.object.send(None);
    }

    /// The object with its latest status.
    fn pod(&self) -> Option<Pod> {
        let mut pod = self.object.borrow().as_deref().cloned()?;
        if let Some(status) = self.status.borrow().as_deref() {
            pod.status = Some(status.clone());
        }
        Some(pod)
    }
}

impl Context {
    fn volumes_dir(&self, pod: &Pod) -> PathBuf {
        self.data_dir.join("volumes").join(pod.uid().unwrap_or_default())
    }

    fn logs_dir(&self, pod: &Pod) -> PathBuf {
        logs_dir(&self.data_dir, pod)
    }

    /// The pod of this name that is not gone.
    async fn find(&self, namespace: &str, name: &str) -> Option<Pod> {
        let is_it = |pod: &Arc<Pod>| pod.name_any() == name && pod.namespace().as_deref() == Some(namespace);
        let pods = self.pods.lock().await;
        pods.values().find(|known| known.object.borrow().as_ref().is_some_and(is_it)).and_then(Known::pod)
    }
}

/// Gives the memory of volumes in memory back, once no pod runs any more; as after a restart of a machine, they are empty at the
/// next start. What the kernel refuses is logged.
pub fn release_memory(data_dir: &Path) {
    for pod in std::fs::read_dir(data_dir.join("volumes")).into_iter().flatten().flatten() {
        volumes::release(&pod.path());
    }
}

/// `logs/<namespace>_<pod>_<uid>` of the data directory.
fn logs_dir(data_dir: &Path, pod: &Pod) -> PathBuf {
    let name = format!("{}_{}_{}", pod.namespace().unwrap_or_default(), pod.name_any(), pod.uid().unwrap_or_default());
    data_dir.join("logs").join(name)
}

/// The kubelet's role on this machine.
pub struct Node {
    client: Client,
    options: Options,
    pods: figures::Pods,
    figures: figures::Figures,
}

impl Node {
    /// A node that acts through this client.
    pub fn new(client: Client, options: Options) -> Self {
        let pods = figures::Pods::default();
        let (runtime, resolution) = (options.runtime.clone(), options.metric_resolution);
        let figures =
            figures::Figures::new(client.clone(), options.name.clone(), runtime, Arc::clone(&pods), resolution);
        Self { client, options, pods, figures }
    }

    /// What the pods and the node use.
    pub fn figures(&self) -> &figures::Figures {
        &self.figures
    }

    /// Runs the pods that are bound to this node until told to stop; the pods then run on and are taken back at the next
    /// start.
    ///
    /// # Errors
    /// When the endpoint or the machine's state cannot be read at the start.
    pub async fn run(self, stop: CancellationToken) -> Result<(), NodeError> {
        let Options { name, data_dir, runtime, images, dns, tls, internal_ip, listener, eviction, .. } = self.options;
        let port = listener.local_addr()?.port();
        let found = runtime.recover().await?;
        let clock = clock::Clock::machine();
        let (memory, cpu) = register::allocatable(&eviction);
        let (events, writer) = events::Events::new(self.client.clone(), name.clone(), clock.clone());
        let (told, pressures) = watch::channel(eviction::Pressures::new());
        let look = eviction::look(data_dir.clone());
        let facts = register::Facts {
            name: name.clone(),
            internal_ip,
            port,
            eviction: eviction.clone(),
            disk: look().get(&eviction::Signal::Disk).map_or(0, |disk| disk.capacity),
        };
        let context = Arc::new(Context {
            sources: sources::Sources::start(&self.client, &stop),
            events,
            client: self.client,
            name: name.clone(),
            data_dir,
            runtime,
            images,
            dns,
            internal_ip,
            clock,
            pods: self.pods,
            figures: self.figures,
            ledger: resize::Ledger::new(resize::Room { memory, cpu }),
            pressures: pressures.clone(),
        });
        let mut tasks = JoinSet::new();
        tasks.spawn(register::run(context.client.clone(), facts, pressures, stop.clone()));
        tasks.spawn(eviction::run(context.clone(), eviction, look, told, stop.clone()));
        tasks.spawn(writer.run(stop.clone()));
        tasks.spawn(endpoint::serve(context.clone(), listener, tls, stop.clone()));
        tasks.spawn(async move {
            // Cancelled: the workers end here, the pods run on.
            let pods = pods::Pods::new(context, found, stop.clone());
            let _ = stop.run_until_cancelled_owned(pods.run()).await;
        });
        while tasks.join_next().await.is_some() {}
        Ok(())
    }
}
