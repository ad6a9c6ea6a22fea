//! Which pods there are: one watch of those that are bound to this node, and one worker for each.

use std::{collections::HashMap, sync::Arc};

use futures::StreamExt;
use k8s_openapi::api::core::v1::Pod;
use kube::{
    Api, ResourceExt,
    runtime::{WatchStreamExt, watcher},
};
use tokio::{sync::watch, task::JoinSet};
use tokio_util::sync::CancellationToken;

use crate::{
    Context, Known, eviction, recover, resize,
    worker::{Found, Worker},
};

/// The pods and their workers.
pub struct Pods {
    context: Arc<Context>,
    /// What a previous Coracle left running and nobody has taken over yet.
    found: HashMap<String, Found>,
    workers: JoinSet<()>,
    stop: CancellationToken,
}

impl Pods {
    /// No pods yet, but what was found on the machine.
    pub fn new(context: Arc<Context>, found: Vec<Found>, stop: CancellationToken) -> Self {
        let found = found.into_iter().map(|found| (found.0.pod_uid.clone(), found)).collect();
        Self { context, found, workers: JoinSet::new(), stop }
    }

    /// Keeps a worker for each pod until it is dropped; the workers then end and the pods run on.
    pub async fn run(mut self) {
        self.context.sources.ready().await;
        let api: Api<Pod> = Api::all(self.context.client.clone());
        let config = watcher::Config::default().fields(&format!("spec.nodeName={}", self.context.name));
        let mut events = std::pin::pin!(watcher(api, config).default_backoff());
        let mut listed = Vec::new();
        while let Some(event) = events.next().await {
            while let Some(ended) = self.workers.try_join_next() {
                if let Err(error) = ended {
                    tracing::error!("a pod's worker: {error}; the next change of the pod starts another one");
                }
            }
            match event {
                Ok(watcher::Event::Init) => listed.clear(),
                Ok(watcher::Event::InitApply(pod)) => listed.push(pod),
                Ok(watcher::Event::InitDone) => self.listed(std::mem::take(&mut listed)).await,
                Ok(watcher::Event::Apply(pod)) => self.apply(pod).await,
                Ok(watcher::Event::Delete(pod)) => {
                    let known = self.context.pods.lock().await.remove(&pod.uid().unwrap_or_default());
                    known.iter().for_each(Known::gone);
                }
                Err(error) => tracing::debug!("watch pods: {error}"),
            }
        }
    }

    /// Takes in everything there is: what is not in it is gone, whether it was known or only found.
    async fn listed(&mut self, pods: Vec<Pod>) {
        // All of them before any of them asks for more.
        pods.iter().for_each(|pod| self.note(pod));
        let present: Vec<String> = pods.iter().filter_map(ResourceExt::uid).collect();
        for pod in pods {
            self.apply(pod).await;
        }
        self.context.pods.lock().await.retain(|uid, known| {
            let is_there = present.contains(uid);
            if !is_there {
                known.gone();
            }
            is_there
        });
        for uid in std::mem::take(&mut self.found).into_keys() {
            if let Err(error) = self.context.runtime.remove_sandbox(&uid).await {
                tracing::warn!("remove pod {uid}: {error}");
            }
        }
    }

    /// Notes what a pod was promised; what has ended holds nothing.
    fn note(&self, pod: &Pod) {
        if let (Some(spec), false) = (&pod.spec, recover::is_terminal(pod)) {
            let amounts = resize::amounts(spec, &resize::recovered(pod));
            self.context.ledger.note(&pod.uid().unwrap_or_default(), amounts);
        }
    }

    /// Tells a pod's worker of a new state, or starts one.
    async fn apply(&mut self, pod: Pod) {
        let uid = pod.uid().unwrap_or_default();
        let pod = Arc::new(pod);
        let mut known = self.context.pods.lock().await;
        let mut found = self.found.remove(&uid);
        if let Some(known) = known.get(&uid) {
            if known.object.send(Some(pod.clone())).is_ok() {
                return;
            }
            // Its worker is gone: what it ran is still there.
            let all = self.context.runtime.recover().await;
            let all = all.inspect_err(|error| tracing::warn!("find pod {uid} again: {error}")).unwrap_or_default();
            found = all.into_iter().find(|found| found.0.pod_uid == uid);
        }
        self.note(&pod);
        let (object, receiver) = watch::channel(Some(pod.clone()));
        let (told, status) = watch::channel(None);
        // One that was taken in before stays.
        let is_new = found.is_none() && pod.status.as_ref().is_none_or(|status| status.start_time.is_none());
        let refusal = if is_new { eviction::refusal(&pod, &self.context.pressures.borrow()) } else { None };
        if let Some(refusal) = &refusal {
            self.context.events.warning(&pod, None, &refusal.reason, refusal.message.clone());
        }
        let worker = Worker::new(self.context.clone(), pod, found, told).refused(refusal);
        let sender = worker.sender();
        self.workers.spawn(worker.run(receiver, self.stop.clone()));
        known.insert(uid, Known { object, status, sender });
    }
}
