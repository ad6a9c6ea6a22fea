//! Sizes what VerticalPodAutoscalers are for. The decisions are `autoscaling::vertical`'s; here they are fed and carried out, by one loop
//! in place of upstream's recommender and updater: each round asks `metrics.k8s.io` what every container uses, learns, writes what
//! is recommended, and changes the pods that are off most.
//!
//! What was learnt is kept in VerticalPodAutoscalerCheckpoints, as upstream keeps it (`checkpoint`); everything else is read again in
//! each round. Recommendations for pods that are yet to be made are applied where they are made (`initial`).

mod alarm;
mod checkpoint;
pub(crate) mod initial;
mod model;
mod status;
mod update;

use std::{
    collections::{HashMap, HashSet},
    panic::AssertUnwindSafe,
    sync::Arc,
    time::Duration,
};

use futures::FutureExt;
use jiff::Timestamp;
use k8s_openapi::api::{autoscaling::v2::HorizontalPodAutoscaler, core::v1::Pod};
use kube::{
    Api, Client, ResourceExt,
    api::{ListParams, Patch, PatchParams},
};
use objects::{
    kinds::Kinds,
    selector::Labels,
    vertical::{VerticalPodAutoscaler, VerticalPodAutoscalerStatus as Status},
};
use serde_json::json;
use tokio::time::{Instant, MissedTickBehavior};

pub(crate) use alarm::Alarms;

use crate::{
    autoscaler::{
        figures::{self, Used},
        target::{self, Target},
    },
    cache::{Cache, Key, in_namespace},
    events::{EventKind, Recorder},
    runner::gone_is_fine,
    served::Served,
};
use alarm::Full;
use checkpoint::Checkpoints;
use model::Model;

/// A workload, as an autoscaler sees it in one round.
struct Sight {
    /// Its scale, or why it cannot be read.
    target: Result<Target, String>,
    /// Its pods that have not ended.
    pods: Vec<Arc<Pod>>,
}

struct Loop {
    client: Client,
    cache: Arc<Cache>,
    served: Served,
    recorder: Recorder,
    models: HashMap<Key, Model>,
    checkpoints: Checkpoints,
    full: Full,
}

/// Runs until it is dropped, with a round in every `interval`.
pub(crate) async fn run(client: Client, cache: Arc<Cache>, served: Served, interval: Duration) {
    let recorder = Recorder::new(client.clone(), "vertical-pod-autoscaler");
    let checkpoints = Checkpoints::new(client.clone());
    let models = HashMap::new();
    let mut work = Loop { client, cache, served, recorder, models, checkpoints, full: Full::default() };
    // Nothing is measured yet when everything starts.
    let mut ticks = tokio::time::interval_at(Instant::now() + interval, interval);
    // A round that takes longer than the interval is followed by a whole one of rest.
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        if AssertUnwindSafe(work.round()).catch_unwind().await.is_err() {
            tracing::error!("vertical-pod-autoscaler: a round panicked; the next one looks at everything again");
        }
    }
}

impl Loop {
    /// Looks at every autoscaler once, and at every container with a memory limit.
    async fn round(&mut self) {
        let objects = self.cache.verticals.state();
        let here: HashMap<Key, Option<String>> =
            objects.iter().map(|object| (Key::of(object.as_ref()), object.uid())).collect();
        self.models.retain(|key, model| here.get(key).is_some_and(|uid| *uid == model.uid));
        let pods = self.cache.pods.state();
        if objects.is_empty() && !pods.iter().any(|pod| alarm::has_limits(pod)) {
            self.full = Full::default();
            return;
        }
        let used = match figures::containers(&self.client).await {
            Ok(used) => used,
            Err(error) => return tracing::warn!("vertical-pod-autoscaler: unable to fetch metrics: {error}"),
        };
        let scalers = if objects.is_empty() { Vec::new() } else { self.horizontal().await };
        let kinds = self.served.now().await.kinds;
        self.checkpoints.begin();
        for object in objects.iter().filter(|object| object.metadata.deletion_timestamp.is_none()) {
            self.one(object, &used, &scalers, &kinds).await;
        }
        self.alarm(&pods, &used).await;
    }

    /// The HorizontalPodAutoscalers: what two autoscalers control by one resource, neither controls.
    async fn horizontal(&self) -> Vec<HorizontalPodAutoscaler> {
        let list = Api::<HorizontalPodAutoscaler>::all(self.client.clone()).list(&ListParams::default()).await;
        list.map(|list| list.items).unwrap_or_else(|error| {
            tracing::warn!("vertical-pod-autoscaler: list horizontalpodautoscalers: {error}");
            Vec::new()
        })
    }

    async fn sight(&self, object: &VerticalPodAutoscaler, kinds: &Kinds) -> Sight {
        let namespace = object.namespace().unwrap_or_default();
        let to = object.spec.target_ref.as_ref();
        let target = target::read(&self.client, &self.cache, kinds, (&namespace, to), None).await;
        let target = match target.and_then(|target| initial::is_topmost(&self.cache, &namespace, to).map(|()| target)) {
            Ok(target) => target,
            Err(error) => return Sight { target: Err(error), pods: Vec::new() },
        };
        let selector = Labels::parse(&target.scale.selector).ok().filter(|selector| !selector.is_empty());
        let ended = |pod: &Pod| {
            let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
            matches!(phase, Some("Succeeded" | "Failed")) || pod.metadata.deletion_timestamp.is_some()
        };
        let is_its = |pod: &Arc<Pod>| selector.as_ref().is_some_and(|s| s.matches(pod.labels())) && !ended(pod);
        let pods = in_namespace(&self.cache.pods, &namespace).into_iter().filter(is_its).collect();
        Sight { target: Ok(target), pods }
    }

    async fn one(
        &mut self,
        object: &Arc<VerticalPodAutoscaler>,
        used: &[Used],
        scalers: &[HorizontalPodAutoscaler],
        kinds: &Kinds,
    ) {
        let key = Key::of(object.as_ref());
        let now = Timestamp::now();
        if !self.models.contains_key(&key) {
            match self.checkpoints.read(object).await {
                Ok(kept) => drop(self.models.insert(key.clone(), Model::new(object.uid(), kept, now))),
                Err(error) => {
                    return tracing::warn!("{}/{}: its checkpoints cannot be read: {error}", key.namespace, key.name);
                }
            }
        }
        let sight = self.sight(object, kinds).await;
        let Some(model) = self.models.get_mut(&key) else { return };
        model.learn(&sight.pods, &key.namespace, used, now);
        let room = status::room(&self.cache.nodes.state());
        let recommended = model.recommend(object.spec.resource_policy.as_ref(), &sight.pods, room, now);
        let shared = status::shared(object, scalers);
        let old = model.status.clone().or_else(|| object.status.clone()).unwrap_or_default();
        let next = status::next(&old, &sight, recommended, shared.as_deref(), now);
        if let Some(message) = shared.filter(|_| !status::said(&old, status::SHARED)) {
            self.recorder.record(object.as_ref(), EventKind::Warning, status::SHARED, &message).await;
        }
        let written = next != old && self.write(object, &next).await;
        if let Some(model) = self.models.get_mut(&key) {
            if written {
                model.status = Some(next.clone());
            }
            self.checkpoints.keep(object, model).await;
        }
        if let (Ok(target), Some(said)) = (&sight.target, next.recommendation.as_ref()) {
            let said = said.container_recommendations.as_deref().unwrap_or_default();
            let updater = update::Updater { client: &self.client, recorder: &self.recorder, object };
            updater.update(target, &sight.pods, said, now).await;
        }
    }

    /// Writes a status; what could not be written is written the next time.
    async fn write(&self, object: &VerticalPodAutoscaler, status: &Status) -> bool {
        let api: Api<VerticalPodAutoscaler> =
            Api::namespaced(self.client.clone(), &object.namespace().unwrap_or_default());
        let patch = Patch::Merge(json!({"status": status}));
        let written = api.patch_status(&object.name_any(), &PatchParams::default(), &patch).await;
        if let Err(error) = gone_is_fine(written) {
            tracing::warn!("vertical-pod-autoscaler: status of {}: {error}", object.name_any());
            return false;
        }
        true
    }

    /// Tells of containers whose memory stays at their limits.
    async fn alarm(&mut self, pods: &[Arc<Pod>], used: &[Used]) {
        let by_name: HashMap<(String, String), &Arc<Pod>> =
            pods.iter().map(|pod| ((pod.namespace().unwrap_or_default(), pod.name_any()), pod)).collect();
        let mut seen = HashSet::new();
        for one in used {
            let Some(pod) = by_name.get(&(one.namespace.clone(), one.pod.clone())) else { continue };
            let who = (pod.uid().unwrap_or_default(), one.container.clone());
            let told = self.full.look(&who, pod, one);
            seen.insert(who);
            if told {
                let message = alarm::full(&self.cache, pod, one);
                self.recorder.record(pod.as_ref(), EventKind::Warning, "MemoryAtLimit", &message).await;
            }
        }
        self.full.keep(&seen);
    }
}
