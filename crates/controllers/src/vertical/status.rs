//! What an autoscaler's status says. No I/O.

use std::sync::Arc;

use autoscaling::vertical::{Amounts, Estimate};
use jiff::Timestamp;
use k8s_openapi::{
    api::{
        autoscaling::v2::{HorizontalPodAutoscaler, MetricSpec},
        core::v1::Node,
    },
    apimachinery::pkg::apis::meta::v1::Time,
};
use kube::ResourceExt;
use objects::{
    resources,
    vertical::{
        AutoscalerCondition, ContainerRecommendation, PodRecommendation, VerticalPodAutoscaler,
        VerticalPodAutoscalerStatus as Status,
    },
};

use super::Sight;

/// The condition, and the event, of an autoscaler that controls a resource by which another one scales.
pub(super) const SHARED: &str = "SharedMetric";
const PROVIDED: &str = "RecommendationProvided";
const NO_PODS: &str = "NoPodsMatched";
const UNSUPPORTED: &str = "ConfigUnsupported";

/// The most that a pod can request: what the largest node has. Upstream has flags for it (`--container-recommendation-max-allowed…`);
/// here it is known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Room(Option<Amounts>);

/// What the largest node has.
pub(super) fn room(nodes: &[Arc<Node>]) -> Room {
    let of = |node: &Arc<Node>| {
        let has = resources::amounts(node.status.as_ref()?.allocatable.as_ref());
        let number = |value: i128| i64::try_from(value).unwrap_or(i64::MAX);
        Some(Amounts { cpu: number(has.get("cpu")?.millis()), memory: number(has.get("memory")?.value()) })
    };
    let larger = |a: Amounts, b: Amounts| Amounts { cpu: a.cpu.max(b.cpu), memory: a.memory.max(b.memory) };
    Room(nodes.iter().filter_map(of).reduce(larger))
}

impl Room {
    /// An estimate that a pod of so many such containers fits with.
    pub fn within(self, estimate: &Estimate, containers: usize) -> Estimate {
        let Some(most) = self.0 else { return *estimate };
        let share = i64::try_from(containers.max(1)).unwrap_or(i64::MAX);
        let capped =
            |of: Amounts| Amounts { cpu: of.cpu.min(most.cpu / share), memory: of.memory.min(most.memory / share) };
        // What is wasted is wasted, however much of it a node has.
        Estimate { target: capped(estimate.target), lower: capped(estimate.lower), upper: estimate.upper }
    }
}

/// Whether a condition holds.
pub(super) fn said(status: &Status, type_: &str) -> bool {
    status.conditions.iter().flatten().any(|condition| condition.type_ == type_ && condition.status == "True")
}

/// The next status. What was recommended holds until there is something else.
pub(super) fn next(
    old: &Status,
    sight: &Sight,
    recommended: Vec<ContainerRecommendation>,
    shared: Option<&str>,
    now: Timestamp,
) -> Status {
    let mut status = old.clone();
    let (unsupported, no_pods) = (sight.target.as_ref().err(), sight.target.is_ok() && sight.pods.is_empty());
    if !recommended.is_empty() {
        status.recommendation = Some(PodRecommendation { container_recommendations: Some(recommended) });
    }
    let has = status.recommendation.is_some();
    let wants = if no_pods { (NO_PODS, "No pods match this VPA object") } else { ("", "") };
    let conditions = status.conditions.get_or_insert_default();
    set(conditions, PROVIDED, has, if has { ("", "") } else { wants }, now);
    for (type_, message) in [
        (NO_PODS, no_pods.then(|| "No pods match this VPA object".to_owned())),
        (UNSUPPORTED, unsupported.map(|error| format!("Cannot read targetRef. Reason: {error}"))),
        (SHARED, shared.map(str::to_owned)),
    ] {
        match message {
            Some(message) => set(conditions, type_, true, (type_, &message), now),
            None => conditions.retain(|condition| condition.type_ != type_),
        }
    }
    conditions.sort_by(|one, other| one.type_.cmp(&other.type_));
    status
}

fn set(all: &mut Vec<AutoscalerCondition>, type_: &str, holds: bool, said: (&str, &str), now: Timestamp) {
    let status = if holds { "True" } else { "False" };
    let before = all.iter().find(|condition| condition.type_ == type_ && condition.status == status);
    let text = |text: &str| (!text.is_empty()).then(|| text.to_owned());
    let since = before.and_then(|condition| condition.last_transition_time.clone());
    let now = Timestamp::from_second(now.as_second()).unwrap_or(now);
    let next = AutoscalerCondition {
        type_: type_.to_owned(),
        status: status.to_owned(),
        last_transition_time: since.or(Some(Time(now))),
        reason: text(said.0),
        message: text(said.1),
    };
    all.retain(|condition| condition.type_ != type_);
    all.push(next);
}

/// The HorizontalPodAutoscaler that scales the same workload by a resource whose requests this autoscaler changes, in words.
pub(super) fn shared(object: &VerticalPodAutoscaler, scalers: &[HorizontalPodAutoscaler]) -> Option<String> {
    if super::update::mode(object) == "Off" {
        return None;
    }
    let to = object.spec.target_ref.as_ref()?;
    let group = |version: &Option<String>| version.as_deref().and_then(|v| v.split_once('/')).map(|v| v.0.to_owned());
    let same = |scaler: &&HorizontalPodAutoscaler| {
        scaler.spec.as_ref().is_some_and(|spec| {
            let of = &spec.scale_target_ref;
            of.kind == to.kind && of.name == to.name && group(&of.api_version) == group(&to.api_version)
        }) && scaler.namespace() == object.namespace()
    };
    let policies = object.spec.resource_policy.as_ref().and_then(|policy| policy.container_policies.as_deref());
    let controls = |resource: &str| {
        let all = policies.unwrap_or_default();
        let of = |policy: &objects::vertical::ContainerResourcePolicy| {
            let listed = policy.controlled_resources.as_ref();
            policy.mode.as_deref() != Some("Off") && listed.is_none_or(|list| list.iter().any(|one| one == resource))
        };
        // Containers without a policy are sized, too.
        all.iter().any(of) || !all.iter().any(|policy| policy.container_name.as_deref() == Some("*"))
    };
    let by = |metric: &MetricSpec| {
        let plain = metric.resource.as_ref().map(|resource| resource.name.clone());
        plain.or_else(|| metric.container_resource.as_ref().map(|resource| resource.name.clone()))
    };
    let found = scalers.iter().filter(same).find_map(|scaler| {
        let mut names = scaler.spec.iter().flat_map(|spec| spec.metrics.iter().flatten()).filter_map(by);
        Some((scaler.name_any(), names.find(|name| controls(name))?))
    });
    let (name, resource) = found?;
    Some(format!(
        "HorizontalPodAutoscaler {name} scales {}/{} by {resource}, whose requests this object changes: each undoes what the \
         other does; leave {resource} to one of them (controlledResources)",
        to.kind, to.name
    ))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn now() -> Timestamp {
        "2026-01-02T00:00:00.5Z".parse().unwrap()
    }

    fn sees(pods: usize, target: Result<(), &str>) -> Sight {
        let target = target.map_err(str::to_owned).map(|()| crate::autoscaler::target::Target::none());
        Sight { target, pods: vec![Arc::default(); pods] }
    }

    fn types(status: &Status) -> Vec<String> {
        let conditions = status.conditions.iter().flatten();
        conditions.map(|condition| format!("{}={}", condition.type_, condition.status)).collect()
    }

    #[test]
    fn conditions_come_and_go_and_what_was_recommended_stays() {
        let empty = next(&Status::default(), &sees(0, Ok(())), Vec::new(), None, now());
        assert_eq!(types(&empty), ["NoPodsMatched=True", "RecommendationProvided=False"]);
        let said = vec![ContainerRecommendation::default()];
        let given = next(&empty, &sees(1, Ok(())), said, None, now());
        assert_eq!(types(&given), ["RecommendationProvided=True"]);
        let time = given.conditions.as_ref().unwrap()[0].last_transition_time.as_ref().unwrap().0;
        assert_eq!(time.subsec_nanosecond(), 0);
        let lost = next(&given, &sees(0, Err("gone")), Vec::new(), Some("x"), now());
        assert_eq!(types(&lost), ["ConfigUnsupported=True", "RecommendationProvided=True", "SharedMetric=True"]);
        assert!(lost.recommendation.is_some() && super::said(&lost, SHARED));
    }

    #[test]
    fn nobody_is_told_to_request_more_than_the_node_has() {
        let node: Node =
            serde_json::from_value(json!({"status": {"allocatable": {"cpu": "2", "memory": "1Gi"}}})).unwrap();
        let much = Amounts { cpu: 9000, memory: 1 << 40 };
        let within = room(&[Arc::new(node)]).within(&Estimate { target: much, lower: much, upper: much }, 2);
        assert_eq!((within.target, within.upper), (Amounts { cpu: 1000, memory: 1 << 29 }, much));
        assert_eq!(Room::default().within(&Estimate { target: much, ..Estimate::default() }, 1).target, much);
    }

    #[test]
    fn two_autoscalers_of_one_resource_are_told_apart() {
        let scaler: HorizontalPodAutoscaler =
            serde_json::from_value(json!({"metadata": {"name": "h", "namespace": "n"},
            "spec": {"maxReplicas": 3, "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"},
                "metrics": [{"type": "Resource", "resource": {"name": "cpu", "target": {"type": "Utilization"}}}]}}))
            .unwrap();
        let vertical = |mode: &str, policies: Value| -> VerticalPodAutoscaler {
            serde_json::from_value(json!({"apiVersion": "autoscaling.k8s.io/v1", "kind": "VerticalPodAutoscaler",
                "metadata": {"name": "v", "namespace": "n"}, "spec": {
                    "targetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"},
                    "updatePolicy": {"updateMode": mode}, "resourcePolicy": {"containerPolicies": policies}}}))
            .unwrap()
        };
        let all = [scaler];
        let said = shared(&vertical("Auto", json!([])), &all).unwrap();
        assert!(said.contains("HorizontalPodAutoscaler h scales Deployment/web by cpu"), "{said}");
        assert_eq!(shared(&vertical("Off", json!([])), &all), None);
        let memory = json!([{"containerName": "*", "controlledResources": ["memory"]}]);
        assert_eq!(shared(&vertical("Auto", memory), &all), None);
    }
}
