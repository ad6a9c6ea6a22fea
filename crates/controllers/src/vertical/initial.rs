//! Recommendations for pods that are yet to be made.
//!
//! Upstream changes new pods in an admission webhook. There are no webhooks here, and an API server that knew of recommendations would
//! have to know of autoscalers; but an autoscaler's target is a workload, so its pods are all made by controllers, which are next door.
//! They ask here before they make one. A pod that somebody makes by hand is nobody's target, there as here.

use autoscaling::vertical::policy;
use k8s_openapi::{
    api::{
        apps::v1::ReplicaSet,
        autoscaling::v2::CrossVersionObjectReference,
        core::v1::{Pod, ReplicationController},
    },
    apimachinery::pkg::apis::meta::v1::OwnerReference,
};
use kube::{Resource, ResourceExt};
use objects::vertical::{ContainerRecommendation, VerticalPodAutoscaler};

use super::update::mode;
use crate::cache::{Cache, Key, get, in_namespace};

fn controller<K: Resource>(object: &K) -> Option<&OwnerReference> {
    object.owner_references().iter().find(|owner| owner.controller == Some(true))
}

/// The controller of what makes pods, if that is known here and has one: a Deployment's ReplicaSet is not its own master.
fn above(cache: &Cache, namespace: &str, kind: &str, name: &str) -> Option<OwnerReference> {
    let key = Key { namespace: namespace.to_owned(), name: name.to_owned() };
    match kind {
        "ReplicaSet" => controller(get::<ReplicaSet>(&cache.replica_sets, &key)?.as_ref()).cloned(),
        "ReplicationController" => {
            controller(get::<ReplicationController>(&cache.replication_controllers, &key)?.as_ref()).cloned()
        }
        _ => None,
    }
}

/// Whether nobody controls the target of an autoscaler, who would undo what it does.
///
/// # Errors
/// In upstream's words.
pub(super) fn is_topmost(
    cache: &Cache,
    namespace: &str,
    to: Option<&CrossVersionObjectReference>,
) -> Result<(), String> {
    match to.and_then(|to| above(cache, namespace, &to.kind, &to.name)) {
        None => Ok(()),
        Some(_) => {
            Err("The targetRef controller has a parent but it should point to a topmost well-known or scalable \
                        controller"
                .to_owned())
        }
    }
}

/// The autoscaler of pods that this makes.
fn autoscaler_of(
    cache: &Cache,
    namespace: &str,
    kind: &str,
    name: &str,
) -> Option<std::sync::Arc<VerticalPodAutoscaler>> {
    let top = above(cache, namespace, kind, name);
    let (kind, name) = top.as_ref().map_or((kind, name), |owner| (owner.kind.as_str(), owner.name.as_str()));
    let is_its = |object: &VerticalPodAutoscaler| {
        object.spec.target_ref.as_ref().is_some_and(|to| to.kind == kind && to.name == name)
    };
    let mut all = in_namespace(&cache.verticals, namespace);
    // Of several the one that was made first, as upstream prefers the older one.
    all.sort_by_key(|object| (object.creation_timestamp().map(|time| time.0), object.name_any()));
    all.into_iter().find(|object| is_its(object))
}

fn recommended(object: &VerticalPodAutoscaler) -> &[ContainerRecommendation] {
    let recommendation = object.status.as_ref().and_then(|status| status.recommendation.as_ref());
    recommendation.and_then(|said| said.container_recommendations.as_deref()).unwrap_or_default()
}

/// What is recommended for a container of a pod that exists, and by whom.
pub(super) fn for_container(cache: &Cache, pod: &Pod, container: &str) -> Option<(String, ContainerRecommendation)> {
    let owner = controller(pod)?;
    let object = autoscaler_of(cache, &pod.namespace()?, &owner.kind, &owner.name)?;
    let said = recommended(&object).iter().find(|said| said.container_name.as_deref() == Some(container))?;
    Some((object.name_any(), said.clone()))
}

/// Gives a pod that `maker` is about to make the sizes that its autoscaler recommends, unless that is only to recommend.
pub(crate) fn size<K: Resource<DynamicType = ()>>(cache: &Cache, maker: &K, pod: &mut Pod) {
    let namespace = maker.namespace().unwrap_or_default();
    let found = autoscaler_of(cache, &namespace, &K::kind(&()), &maker.name_any());
    let (Some(object), Some(spec)) = (found.filter(|object| mode(object) != "Off"), &mut pod.spec) else { return };
    let sizes = policy::sizes(spec, recommended(&object), object.spec.resource_policy.as_ref());
    if sizes.is_empty() {
        return;
    }
    let mut told = Vec::new();
    for (index, container) in spec.containers.iter_mut().enumerate() {
        if let Some(size) = sizes.get(&container.name) {
            told.push(format!("container {index}: {}", changed(container.resources.as_ref(), size)));
            container.resources = Some(size.clone());
        }
    }
    let names: Vec<&str> = spec.containers.iter().map(|container| container.name.as_str()).collect();
    let annotations = pod.metadata.annotations.get_or_insert_default();
    annotations.insert("vpaObservedContainers".to_owned(), names.join(", "));
    let message = format!("Pod resources updated by {}: {}", object.name_any(), told.join("; "));
    annotations.insert("vpaUpdates".to_owned(), message);
}

type Size = k8s_openapi::api::core::v1::ResourceRequirements;

/// `cpu request, memory request, memory limit`.
fn changed(old: Option<&Size>, new: &Size) -> String {
    let mut all = Vec::new();
    let none = Size::default();
    let old = old.unwrap_or(&none);
    for (what, old, new) in [("request", &old.requests, &new.requests), ("limit", &old.limits, &new.limits)] {
        for (name, amount) in new.iter().flatten() {
            if old.as_ref().and_then(|old| old.get(name)) != Some(amount) {
                all.push(format!("{name} {what}"));
            }
        }
    }
    all.join(", ")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_was_changed_is_said_as_upstream_says_it() {
        let size = |value| serde_json::from_value::<Size>(value).unwrap();
        let old = size(json!({"requests": {"cpu": "1", "memory": "1Mi"}, "limits": {"memory": "2Mi"}}));
        let new = size(json!({"requests": {"cpu": "1", "memory": "3Mi"}, "limits": {"memory": "6Mi"}}));
        assert_eq!(changed(Some(&old), &new), "memory request, memory limit");
        assert_eq!(changed(None, &old), "cpu request, memory request, memory limit");
    }
}
