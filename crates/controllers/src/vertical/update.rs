//! Changing the pods that run: in place where that is wanted and possible, and else by evicting them, so that budgets hold; their
//! successors are made with what is recommended.

use std::sync::Arc;

use autoscaling::vertical::{
    policy,
    update::{self, Resize},
};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use kube::{
    Api, Client, ResourceExt,
    api::{EvictParams, Patch, PatchParams},
};
use objects::{
    resources,
    vertical::{ContainerRecommendation, VerticalPodAutoscaler},
};
use serde_json::{Value, json};

use crate::{
    autoscaler::target::Target,
    events::{EventKind, Recorder},
};

/// How recommendations are applied. What upstream's API has no default for, its programs take for `Auto`.
pub(super) fn mode(object: &VerticalPodAutoscaler) -> &str {
    let policy = object.spec.update_policy.as_ref();
    policy.and_then(|policy| policy.update_mode.as_deref()).filter(|mode| !mode.is_empty()).unwrap_or("Auto")
}

/// Carries out what is recommended by one autoscaler.
pub(super) struct Updater<'a> {
    pub client: &'a Client,
    pub recorder: &'a Recorder,
    pub object: &'a VerticalPodAutoscaler,
}

impl Updater<'_> {
    /// Changes the pods that are worth it, those that are off most first.
    pub async fn update(&self, target: &Target, pods: &[Arc<Pod>], said: &[ContainerRecommendation], now: Timestamp) {
        let in_place = match mode(self.object) {
            "InPlaceOrRecreate" => true,
            "Recreate" | "Auto" => false,
            _ => return,
        };
        let running = pods.iter().filter(|pod| runs(pod)).count();
        let least = self.object.spec.update_policy.as_ref().and_then(|policy| policy.min_replicas);
        let mut left = update::evictable(target.scale.replicas, running, least);
        let mut off: Vec<(f64, &Arc<Pod>)> = pods
            .iter()
            .filter(|pod| runs(pod))
            .filter_map(|pod| Some((self.priority(pod, said, in_place, now)?, pod)))
            .collect();
        off.sort_by(|(one, _), (other, _)| other.total_cmp(one));
        for (_, pod) in off {
            if in_place && update::resize(pod, now) != Resize::Failed {
                let disturbs = restarts(pod);
                if (!disturbs || left > 0) && self.resize(pod, said).await {
                    left -= usize::from(disturbs);
                    continue;
                }
            }
            if left > 0 && self.may_evict(pod, said) && self.evict(pod).await {
                left -= 1;
            }
        }
    }

    /// How much a pod is off; `None` if it is to be left alone.
    fn priority(&self, pod: &Pod, said: &[ContainerRecommendation], in_place: bool, now: Timestamp) -> Option<f64> {
        if in_place {
            match update::resize(pod, now) {
                Resize::None => {}
                Resize::Failed => return Some(f64::MAX),
                Resize::UnderWay | Resize::NoRoom => return None,
            }
        }
        let priority = update::priority(pod, said, now)?;
        let spec = pod.spec.as_ref()?;
        // Whatever is off, there must be something to give.
        let sizes = policy::sizes(spec, said, self.object.spec.resource_policy.as_ref());
        (!sizes.is_empty()).then_some(priority)
    }

    /// Resizes a pod in place; false if that is refused: it can only be replaced.
    async fn resize(&self, pod: &Pod, said: &[ContainerRecommendation]) -> bool {
        let Some(spec) = &pod.spec else { return true };
        let sizes = policy::sizes(spec, said, self.object.spec.resource_policy.as_ref());
        let containers: Vec<Value> =
            sizes.iter().map(|(name, size)| json!({"name": name, "resources": size})).collect();
        let api: Api<Pod> = Api::namespaced(self.client.clone(), &pod.namespace().unwrap_or_default());
        let patch = json!({"metadata": {"uid": pod.uid()}, "spec": {"containers": containers}});
        let params = PatchParams::default();
        match api.patch_subresource("resize", &pod.name_any(), &params, &Patch::Strategic(patch)).await {
            Ok(_) => {
                let message = "Pod was resized in place by VPA Updater.";
                self.recorder.record(pod, EventKind::Normal, "InPlaceResizedByVPA", message).await;
                true
            }
            Err(kube::Error::Api(status)) if status.code == 422 || status.code == 403 => {
                let name = pod.name_any();
                tracing::info!("pod {name} cannot be resized in place: {}", status.message);
                false
            }
            // It is gone, or changed meanwhile: the next round sees.
            Err(error) => {
                tracing::debug!("resize pod {}: {error}", pod.name_any());
                true
            }
        }
    }

    /// Whether the object's requirements let a pod be evicted: of one resource each, the target is on the side that is asked for.
    fn may_evict(&self, pod: &Pod, said: &[ContainerRecommendation]) -> bool {
        let policy = self.object.spec.update_policy.as_ref();
        let requirements = policy.and_then(|policy| policy.eviction_requirements.as_deref()).unwrap_or_default();
        let meets = |resource: &str, higher: bool| {
            pod.spec.iter().flat_map(|spec| &spec.containers).any(|container| {
                let said = said.iter().find(|one| one.container_name.as_deref() == Some(&container.name));
                let target = said.and_then(|said| resources::amounts(Some(&said.target)).get(resource).copied());
                let request = resources::of_requests(container).get(resource).copied();
                target
                    .zip(request)
                    .is_some_and(|(target, request)| if higher { target > request } else { target < request })
            })
        };
        requirements.iter().all(|one| {
            let higher = one.change_requirement == "TargetHigherThanRequests";
            one.resources.iter().any(|resource| meets(resource, higher))
        })
    }

    async fn evict(&self, pod: &Pod) -> bool {
        let (namespace, name) = (pod.namespace().unwrap_or_default(), pod.name_any());
        let api: Api<Pod> = Api::namespaced(self.client.clone(), &namespace);
        match api.evict(&name, &EvictParams::default()).await {
            Ok(_) => {
                let message = "Pod was evicted by VPA Updater to apply resource recommendation.";
                self.recorder.record(pod, EventKind::Normal, "EvictedByVPA", message).await;
                let message = format!("VPA Updater evicted Pod {name} to apply resource recommendation.");
                self.recorder.record(self.object, EventKind::Normal, "EvictedPod", &message).await;
                true
            }
            Err(error) => {
                tracing::debug!("evict pod {namespace}/{name}: {error}");
                false
            }
        }
    }
}

fn runs(pod: &Pod) -> bool {
    pod.status.as_ref().and_then(|status| status.phase.as_deref()) == Some("Running")
}

/// Whether resizing a pod in place may start a container again.
fn restarts(pod: &Pod) -> bool {
    let containers = pod.spec.iter().flat_map(|spec| &spec.containers);
    let mut policies = containers.flat_map(|container| container.resize_policy.iter().flatten());
    policies.any(|policy| policy.restart_policy == "RestartContainer")
}
