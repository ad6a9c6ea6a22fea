//! What is known of the containers of one autoscaler. No I/O.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    sync::Arc,
};

use autoscaling::vertical::{Container, Peaks, container::Kept, memory, policy, recommend};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;
use objects::{
    resources,
    vertical::{ContainerRecommendation, ResourcePolicy, VerticalPodAutoscalerStatus as Status},
};

use super::status::Room;
use crate::autoscaler::figures::Used;

/// One container of one pod.
#[derive(Clone, Debug, Default)]
struct Instance {
    peaks: Peaks,
    /// When the last sample was taken.
    sampled: Option<Timestamp>,
    /// When it was last seen to have run out of memory.
    killed: Option<Timestamp>,
}

/// What is known.
#[derive(Debug)]
pub(super) struct Model {
    /// The uid of the autoscaler.
    pub uid: Option<String>,
    /// What containers have used, by their names.
    pub containers: BTreeMap<String, Container>,
    /// The status as it was written last, which the watch may not have brought yet.
    pub status: Option<Status>,
    /// By the pod's uid and the container's name.
    instances: HashMap<(String, String), Instance>,
}

impl Model {
    /// What was kept of an autoscaler's containers; what is too old is not taken over.
    pub fn new(uid: Option<String>, kept: BTreeMap<String, Kept>, now: Timestamp) -> Self {
        let containers = kept.into_iter().map(|(name, kept)| (name, Container::restored(&kept)));
        let containers = containers.filter(|(_, container)| !container.is_forgotten(now)).collect();
        Self { uid, containers, status: None, instances: HashMap::new() }
    }

    /// Takes in what the containers of these pods use, and which of them ran out of memory.
    pub fn learn(&mut self, pods: &[Arc<Pod>], namespace: &str, used: &[Used], now: Timestamp) {
        let by_name: HashMap<String, &Arc<Pod>> = pods.iter().map(|pod| (pod.name_any(), pod)).collect();
        let present: HashSet<String> = pods.iter().filter_map(|pod| pod.uid()).collect();
        self.instances.retain(|(uid, _), _| present.contains(uid));
        self.containers.retain(|_, container| !container.is_forgotten(now) || container.seen.is_none());
        for one in used.iter().filter(|one| one.namespace == namespace) {
            let Some(pod) = by_name.get(&one.pod).filter(|pod| has(pod, &one.container)) else { continue };
            self.sample(pod, one);
        }
        for pod in pods {
            self.killed(pod);
        }
    }

    fn sample(&mut self, pod: &Pod, used: &Used) {
        let who = (pod.uid().unwrap_or_default(), used.container.clone());
        let instance = self.instances.entry(who).or_default();
        // Whoever asks often is told the same again.
        if instance.sampled.is_some_and(|last| used.at <= last) {
            return;
        }
        instance.sampled = Some(used.at);
        let container = self.containers.entry(used.container.clone()).or_default();
        container.use_cpu(used.cpu, requested_cpu(pod, &used.container), used.at);
        instance.peaks.use_memory(container, used.memory, used.at);
    }

    fn killed(&mut self, pod: &Pod) {
        for killed in memory::killed(pod).into_iter().filter(|killed| has(pod, &killed.container)) {
            let who = (pod.uid().unwrap_or_default(), killed.container.clone());
            let known = self.instances.contains_key(&who);
            let instance = self.instances.entry(who).or_default();
            let container = self.containers.entry(killed.container.clone()).or_default();
            // What ended before the last sample that was kept was learnt before a restart.
            let before = if known { None } else { container.seen.map(|(_, last)| last) };
            if instance.killed.max(before).is_some_and(|last| killed.at <= last) {
                continue;
            }
            instance.killed = Some(killed.at);
            // It was killed for using all of its limit, whatever was measured when: that much is not enough.
            let had = memory::limit(pod, &killed.container).unwrap_or(0).max(memory::requested(pod, &killed.container));
            instance.peaks.out_of_memory(container, had, killed.at);
        }
    }

    /// What is recommended for the containers that the pods have; of all that are known where there are no pods now.
    pub fn recommend(
        &self,
        policy: Option<&ResourcePolicy>,
        pods: &[Arc<Pod>],
        room: Room,
        now: Timestamp,
    ) -> Vec<ContainerRecommendation> {
        let spec = |pod: &'_ Arc<Pod>| pod.spec.as_ref().map(|spec| spec.containers.clone()).unwrap_or_default();
        let names: BTreeSet<String> = pods.iter().flat_map(spec).map(|container| container.name).collect();
        let wanted = |name: &str| (names.is_empty() || names.contains(name)) && policy::is_on(policy::of(policy, name));
        let known = self.containers.iter().filter(|(name, container)| wanted(name) && !container.is_forgotten(now));
        let estimates = recommend::estimates(known.map(|(name, container)| (name.as_str(), container)));
        let of = |(name, estimate): (&String, &recommend::Estimate)| {
            policy::recommendation(name, &room.within(estimate, estimates.len()), policy::of(policy, name))
        };
        estimates.iter().filter_map(of).collect()
    }
}

/// Whether it is one of the pod's containers proper: others are not sized.
fn has(pod: &Pod, container: &str) -> bool {
    pod.spec.as_ref().is_some_and(|spec| spec.containers.iter().any(|one| one.name == container))
}

/// Cores.
fn requested_cpu(pod: &Pod, container: &str) -> f64 {
    let found = pod.spec.iter().flat_map(|spec| &spec.containers).find(|one| one.name == container);
    let request = found.and_then(|one| resources::of_requests(one).get("cpu").copied());
    request.map_or(0.0, |request| request.millis() as f64 / 1000.0)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn now() -> Timestamp {
        "2026-01-02T00:00:00Z".parse().unwrap()
    }

    fn pod(status: &Value) -> Arc<Pod> {
        let resources = json!({"requests": {"cpu": "100m", "memory": "32Mi"}, "limits": {"memory": "64Mi"}});
        Arc::new(
            serde_json::from_value(json!({"metadata": {"name": "p", "namespace": "n", "uid": "u"},
                "spec": {"containers": [{"name": "c", "resources": resources}]}, "status": status}))
            .unwrap(),
        )
    }

    fn used(cpu: f64, memory: i64, at: &str) -> Used {
        let [namespace, pod, container] = ["n", "p", "c"].map(str::to_owned);
        Used { namespace, pod, container, at: at.parse().unwrap(), cpu, memory }
    }

    fn model() -> Model {
        Model::new(None, BTreeMap::new(), now())
    }

    #[test]
    fn a_sample_counts_once_however_often_it_is_told() {
        let (mut model, pods) = (model(), [pod(&json!({}))]);
        let one = used(0.5, 1 << 30, "2026-01-01T23:59:00Z");
        model.learn(&pods, "n", &[one.clone(), one.clone()], now());
        model.learn(&pods, "n", &[one, used(9.0, 1, "2026-01-01T23:58:00Z")], now());
        assert_eq!(model.containers["c"].samples, 1);
        let said = model.recommend(None, &pods, Room::default(), now());
        assert_eq!(said[0].container_name.as_deref(), Some("c"));
        let cpu: objects::quantity::Quantity = said[0].target["cpu"].0.parse().unwrap();
        assert!((575..=640).contains(&cpu.millis()), "{cpu}");
    }

    #[test]
    fn running_out_of_memory_is_learnt_once_and_not_again_after_a_restart() {
        let ended =
            json!({"terminated": {"reason": "OOMKilled", "exitCode": 137, "finishedAt": "2026-01-01T23:50:00Z"}});
        let killed = [pod(&json!({"containerStatuses": [{"name": "c", "image": "", "imageID": "", "ready": true,
            "restartCount": 1, "lastState": ended}]}))];
        let mut first = model();
        first.learn(&killed, "n", &[], now());
        let needed = first.containers["c"].memory.percentile(1.0);
        assert!(needed >= f64::from(164 << 20), "100 MiB on top of the limit: {needed}");
        first.learn(&killed, "n", &[used(0.1, 1 << 20, "2026-01-01T23:59:00Z")], now());
        let before = first.containers["c"].memory.checkpoint();
        first.learn(&killed, "n", &[], now());
        assert_eq!(first.containers["c"].memory.checkpoint(), before);
        let kept = [("c".to_owned(), first.containers["c"].checkpoint())].into();
        let mut second = Model::new(None, kept, now());
        let before = second.containers["c"].memory.checkpoint();
        second.learn(&killed, "n", &[], now());
        assert_eq!(second.containers["c"].memory.checkpoint(), before);
    }

    #[test]
    fn containers_that_are_to_be_left_alone_or_are_gone_are_not_recommended_for() {
        let (mut model, pods) = (model(), [pod(&json!({}))]);
        model.learn(&pods, "n", &[used(0.5, 1 << 30, "2026-01-01T23:59:00Z")], now());
        model.containers.insert("gone".to_owned(), model.containers["c"].clone());
        assert_eq!(model.recommend(None, &pods, Room::default(), now()).len(), 1);
        assert_eq!(model.recommend(None, &[], Room::default(), now()).len(), 2);
        let off =
            serde_json::from_value(json!({"containerPolicies": [{"containerName": "*", "mode": "Off"}]})).unwrap();
        assert!(model.recommend(Some(&off), &pods, Room::default(), now()).is_empty());
    }
}
