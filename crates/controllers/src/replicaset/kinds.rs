//! The kinds that keep a number of pods: ReplicaSets, and ReplicationControllers, which are handled as the ReplicaSets that say the
//! same (as kubernetes/pkg/controller/replication does it).

use std::{borrow::Cow, fmt::Debug, sync::Arc};

use k8s_openapi::{
    api::{
        apps::v1::{ReplicaSet, ReplicaSetCondition, ReplicaSetSpec, ReplicaSetStatus},
        core::v1::{
            ReplicationController, ReplicationControllerCondition, ReplicationControllerSpec,
            ReplicationControllerStatus,
        },
    },
    apimachinery::pkg::apis::meta::v1::LabelSelector,
};
use kube::{Resource, core::NamespaceResourceScope, runtime::reflector::Store};
use serde::{Serialize, de::DeserializeOwned};

use crate::cache::{Cache, Changed};

/// A kind that keeps a number of pods.
pub(crate) trait Set:
    Resource<DynamicType = (), Scope = NamespaceResourceScope>
    + Clone
    + Debug
    + DeserializeOwned
    + Serialize
    + Send
    + Sync
    + 'static
{
    /// The controller's name in logs.
    const NAME: &'static str;
    /// The controller's name in events.
    const COMPONENT: &'static str;

    /// All there are.
    fn all(cache: &Cache) -> &Store<Self>;

    /// The one that a change is about.
    fn changed(change: &Changed) -> Option<&Arc<Self>>;

    /// The ReplicaSet that says the same.
    fn as_replica_set(&self) -> Cow<'_, ReplicaSet>;

    /// The same with another status.
    fn with_status(&self, status: ReplicaSetStatus) -> Self;
}

impl Set for ReplicaSet {
    const NAME: &'static str = "replicaset";
    const COMPONENT: &'static str = "replicaset-controller";

    fn all(cache: &Cache) -> &Store<Self> {
        &cache.replica_sets
    }

    fn changed(change: &Changed) -> Option<&Arc<Self>> {
        if let Changed::ReplicaSet(set) = change { Some(set) } else { None }
    }

    fn as_replica_set(&self) -> Cow<'_, ReplicaSet> {
        Cow::Borrowed(self)
    }

    fn with_status(&self, status: ReplicaSetStatus) -> Self {
        Self { status: Some(status), ..self.clone() }
    }
}

impl Set for ReplicationController {
    const NAME: &'static str = "replicationcontroller";
    const COMPONENT: &'static str = "replication-controller";

    fn all(cache: &Cache) -> &Store<Self> {
        &cache.replication_controllers
    }

    fn changed(change: &Changed) -> Option<&Arc<Self>> {
        if let Changed::ReplicationController(set) = change { Some(set) } else { None }
    }

    fn as_replica_set(&self) -> Cow<'_, ReplicaSet> {
        let spec = self.spec.clone().map(|spec| {
            let ReplicationControllerSpec { min_ready_seconds, replicas, selector, template } = spec;
            let selector = LabelSelector { match_labels: selector, ..LabelSelector::default() };
            ReplicaSetSpec { min_ready_seconds, replicas, selector, template }
        });
        let status = self.status.clone().map(|status| ReplicaSetStatus {
            available_replicas: status.available_replicas,
            conditions: status.conditions.map(|all| all.into_iter().map(replica_set_condition).collect()),
            fully_labeled_replicas: status.fully_labeled_replicas,
            observed_generation: status.observed_generation,
            ready_replicas: status.ready_replicas,
            replicas: status.replicas,
            terminating_replicas: None,
        });
        Cow::Owned(ReplicaSet { metadata: self.metadata.clone(), spec, status })
    }

    fn with_status(&self, status: ReplicaSetStatus) -> Self {
        let status = ReplicationControllerStatus {
            available_replicas: status.available_replicas,
            conditions: status.conditions.map(|all| all.into_iter().map(condition).collect()),
            fully_labeled_replicas: status.fully_labeled_replicas,
            observed_generation: status.observed_generation,
            ready_replicas: status.ready_replicas,
            replicas: status.replicas,
        };
        Self { status: Some(status), ..self.clone() }
    }
}

fn replica_set_condition(of: ReplicationControllerCondition) -> ReplicaSetCondition {
    let ReplicationControllerCondition { last_transition_time, message, reason, status, type_ } = of;
    ReplicaSetCondition { last_transition_time, message, reason, status, type_ }
}

fn condition(of: ReplicaSetCondition) -> ReplicationControllerCondition {
    let ReplicaSetCondition { last_transition_time, message, reason, status, type_ } = of;
    ReplicationControllerCondition { last_transition_time, message, reason, status, type_ }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_replication_controller_is_a_replica_set_whose_selector_is_labels() {
        let conditions = json!([{"type": "ReplicaFailure", "status": "True", "reason": "FailedCreate"}]);
        let controller: ReplicationController = serde_json::from_value(json!({"metadata": {"name": "r", "uid": "u"},
            "spec": {"replicas": 2, "minReadySeconds": 3, "selector": {"a": "b"}},
            "status": {"replicas": 1, "readyReplicas": 1, "conditions": conditions}}))
        .unwrap();
        let set = controller.as_replica_set().into_owned();
        let spec = set.spec.clone().unwrap();
        assert_eq!(spec.selector.match_labels, Some([("a".to_owned(), "b".to_owned())].into()));
        assert_eq!((spec.replicas, spec.min_ready_seconds), (Some(2), Some(3)));
        assert_eq!(controller.with_status(set.status.unwrap()), controller, "a status goes there and back");
    }
}
