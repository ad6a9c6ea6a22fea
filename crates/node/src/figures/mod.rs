//! Figures: what containers, pods and the node use of CPU and memory, as the kubelet and metrics-server tell it.
//!
//! Nothing is measured unless somebody asks; then everything is, at once, and who else asks within a second gets the same. A rate
//! needs two looks. Whoever asks now and then has asked before: the look of that time is the first one. Where there is none that
//! says anything about now (`history`), a container that has just begun counts from its beginning, and for the others the answer
//! waits for a second look, a second later. So asking costs what looking costs, and not asking costs nothing.

mod api;
mod exposition;
mod history;
pub(crate) mod machine;
mod summary;
mod table;

use std::{collections::HashMap, sync::Arc, time::Duration};

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Pod, PodStatus};
use kube::{Client, ResourceExt};
use serde_json::Value;
use tokio::{sync::Mutex, time::Instant};

use crate::{
    Known, logs,
    runtime::{ContainerId, Runtime, usage::Usage},
};
pub use api::{GROUP, VERSION};
use history::{History, Rate, Resolution};

/// The figures of this node. Clones are handles to the same ones.
#[derive(Clone)]
pub struct Figures(Arc<Inner>);

struct Inner {
    client: Client,
    /// The node's name.
    node: String,
    measure: Measure,
    pods: Pods,
    resolution: Resolution,
    state: Mutex<State>,
}

/// The pods that the node has, by their uids.
pub(crate) type Pods = Arc<Mutex<HashMap<String, Known>>>;

/// Reads what these runs have used, in their order, and the whole machine. It may block.
type Measure = Arc<dyn Fn(&[ContainerId]) -> (Vec<Option<Usage>>, Usage) + Send + Sync>;

/// What was seen so far, of what still runs.
#[derive(Default)]
struct State {
    runs: HashMap<ContainerId, History>,
    node: History,
    /// The latest look, and when it was.
    latest: Option<(Instant, Arc<Look>)>,
}

/// Everything at one moment.
#[derive(Debug)]
struct Look {
    /// The time of day.
    at: Timestamp,
    node: Measured,
    pods: Vec<PodFigures>,
    /// Whether there is something that has no rate yet, and would have one at a second look.
    lacks_rates: bool,
}

/// What is used, and how fast.
#[derive(Clone, Copy, Debug)]
struct Measured {
    usage: Usage,
    rate: Option<Rate>,
}

/// A pod with containers that run.
#[derive(Debug)]
struct PodFigures {
    pod: Arc<Pod>,
    /// When its status says that it was started.
    started: Option<Timestamp>,
    containers: Vec<ContainerFigures>,
    /// Whether every container that runs is measured.
    whole: bool,
}

/// A container that runs.
#[derive(Debug)]
struct ContainerFigures {
    name: String,
    started: Timestamp,
    measured: Measured,
}

impl PodFigures {
    fn name(&self) -> String {
        self.pod.name_any()
    }

    fn namespace(&self) -> String {
        self.pod.namespace().unwrap_or_default()
    }

    /// The sum over its containers.
    fn sum(&self, of: impl Fn(&Usage) -> u64) -> u64 {
        self.containers.iter().fold(0, |sum, container| sum.saturating_add(of(&container.measured.usage)))
    }

    /// When it was started, or its first container was.
    fn since(&self) -> Option<Timestamp> {
        self.started.or_else(|| self.containers.iter().map(|container| container.started).min())
    }
}

impl Figures {
    /// The figures of the pods that a node has.
    pub(crate) fn new(
        client: Client,
        node: String,
        runtime: Arc<dyn Runtime>,
        pods: Pods,
        resolution: Duration,
    ) -> Self {
        let measure = move |runs: &[ContainerId]| (runtime.usage(runs), machine::usage());
        Self::measured_by(Arc::new(measure), client, node, pods, resolution)
    }

    fn measured_by(measure: Measure, client: Client, node: String, pods: Pods, resolution: Duration) -> Self {
        let resolution = Resolution::new(resolution);
        Self(Arc::new(Inner { client, node, measure, pods, resolution, state: Mutex::default() }))
    }

    /// What is used now.
    async fn look(&self) -> Arc<Look> {
        let inner = &self.0;
        let mut state = inner.state.lock().await;
        if let Some((at, look)) = &state.latest
            && at.elapsed() < inner.resolution.least()
        {
            return look.clone();
        }
        let runs = inner.runs().await;
        let ids: Vec<ContainerId> = runs.iter().flat_map(|pod| &pod.running).map(|(id, _)| id.clone()).collect();
        let measure = inner.measure.clone();
        // Reading files of the kernel blocks, if only for moments.
        let read = tokio::task::spawn_blocking(move || measure(&ids)).await;
        let (usages, node) = read.unwrap_or_else(|error| {
            tracing::error!("measure what is used: {error}");
            (Vec::new(), machine::usage())
        });
        let look = Arc::new(state.take(runs, usages, node, inner.resolution, Timestamp::now()));
        state.latest = Some((Instant::now(), look.clone()));
        look
    }

    /// What is used now and how fast; takes a second longer where there was nothing to compare with.
    async fn rates(&self) -> Arc<Look> {
        let first = self.look().await;
        if !first.lacks_rates {
            return first;
        }
        tokio::time::sleep(self.0.resolution.least()).await;
        self.look().await
    }
}

impl Figures {
    /// `/metrics/resource`, and its media type.
    pub(crate) async fn resource_metrics(&self) -> (String, &'static str) {
        (exposition::text(&*self.look().await), exposition::MEDIA)
    }

    /// `/stats/summary`.
    pub(crate) async fn summary(&self) -> Value {
        let memory = u64::try_from(crate::register::capacity().0).unwrap_or(0);
        summary::summary(&self.0.node, machine::started(), memory, &*self.look().await)
    }
}

impl Figures {
    /// The pods that run, with the memory in bytes (the working set) of each container.
    pub(crate) async fn memory(&self) -> Vec<(Arc<Pod>, Vec<(String, u64)>)> {
        let look = self.look().await;
        let of_pod = |pod: &PodFigures| {
            let containers = pod.containers.iter().map(|c| (c.name.clone(), c.measured.usage.memory.working_set));
            (pod.pod.clone(), containers.collect())
        };
        look.pods.iter().map(of_pod).collect()
    }
}

impl Figures {
    /// The containers that run.
    pub(crate) async fn containers(&self) -> Vec<ContainerId> {
        let runs = self.0.runs().await;
        runs.into_iter().flat_map(|pod| pod.running).map(|(id, _)| id).collect()
    }
}

/// A pod, and those of its containers that run, with the times at which they were started.
struct Running {
    pod: Arc<Pod>,
    started: Option<Timestamp>,
    running: Vec<(ContainerId, Timestamp)>,
}

impl Inner {
    /// What runs, by the statuses that the pods' workers know.
    async fn runs(&self) -> Vec<Running> {
        let known = self.pods.lock().await;
        let of_pod = |known: &Known| {
            let pod = known.object.borrow().clone()?;
            let status = known.status.borrow().clone();
            let status = status.as_deref().or(pod.status.as_ref())?;
            let running = running(&pod.uid()?, status);
            let started = status.start_time.as_ref().map(|time| time.0);
            (!running.is_empty()).then(|| Running { started, running, pod: pod.clone() })
        };
        let mut all: Vec<Running> = known.values().filter_map(of_pod).collect();
        drop(known);
        all.sort_by_cached_key(|running| (running.pod.namespace(), running.pod.name_any()));
        all
    }
}

/// The runs that a pod's status says go on.
fn running(uid: &str, status: &PodStatus) -> Vec<(ContainerId, Timestamp)> {
    let lists = [&status.init_container_statuses, &status.container_statuses, &status.ephemeral_container_statuses];
    let runs = lists.into_iter().flatten().flatten().filter_map(|container| {
        let running = container.state.as_ref()?.running.as_ref()?;
        let attempt = logs::number(container.container_id.as_deref())?;
        let id = ContainerId { pod_uid: uid.to_owned(), name: container.name.clone(), attempt };
        Some((id, running.started_at.as_ref()?.0))
    });
    runs.collect()
}

impl State {
    /// Takes what was read over into the history, and forgets what has ended.
    fn take(
        &mut self,
        runs: Vec<Running>,
        usages: Vec<Option<Usage>>,
        node: Usage,
        resolution: Resolution,
        now: Timestamp,
    ) -> Look {
        let cores = std::thread::available_parallelism().map_or(1, |cores| cores.get() as u64);
        let mut before = std::mem::take(&mut self.runs);
        let mut usages = usages.into_iter();
        let (mut pods, mut lacks_rates) = (Vec::with_capacity(runs.len()), false);
        for Running { pod, started, running } in runs {
            let mut figures = PodFigures { pod, started, containers: Vec::with_capacity(running.len()), whole: true };
            for (id, since) in running {
                let Some(usage) = usages.next().flatten() else {
                    figures.whole = false;
                    continue;
                };
                let mut history = before.remove(&id).unwrap_or_default();
                history.push(usage, resolution);
                // By a clock that was set it may be anything.
                let age = Duration::try_from(now.duration_since(since)).ok();
                let rate = history.rate(resolution, age, cores);
                lacks_rates |= rate.is_none() && age.is_none_or(|age| age > resolution.least());
                let usage = history.latest().copied().unwrap_or(usage);
                let measured = Measured { usage, rate };
                figures.containers.push(ContainerFigures { name: id.name.clone(), started: since, measured });
                self.runs.insert(id, history);
            }
            pods.push(figures);
        }
        self.node.push(node, resolution);
        let rate = self.node.rate(resolution, None, cores);
        lacks_rates |= rate.is_none();
        Look { at: now, node: Measured { usage: node, rate }, pods, lacks_rates }
    }
}

#[cfg(test)]
mod tests;
