//! PodDisruptionBudgets: how many pods may go at once (kubernetes/pkg/controller/disruption). Evictions spend what this
//! controller says in the status.

mod plan;

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use jiff::Timestamp;
use k8s_openapi::{
    api::{autoscaling::v2::CrossVersionObjectReference, core::v1::Pod, policy::v1::PodDisruptionBudget},
    apimachinery::pkg::apis::meta::v1::OwnerReference,
};
use kube::{Api, Client, Resource, ResourceExt, api::PostParams};
use objects::selector::Labels;

pub use plan::{Plan, Scale, plan};

use crate::{
    autoscaler::target,
    cache::{Cache, Changed, Key, get, in_namespace},
    runner,
    served::Served,
};

/// The disruption controller.
pub struct Controller {
    client: Client,
    cache: Arc<Cache>,
    served: Served,
}

impl Controller {
    pub(crate) fn new(client: Client, cache: Arc<Cache>, served: Served) -> Self {
        Self { client, cache, served }
    }

    /// The budgets of a namespace that `concern` picks.
    fn budgets(&self, namespace: Option<String>, concern: impl Fn(&PodDisruptionBudget) -> bool) -> Vec<Key> {
        let budgets = in_namespace(&self.cache.budgets, &namespace.unwrap_or_default());
        budgets.iter().filter(|budget| concern(budget)).map(|budget| Key::of(budget.as_ref())).collect()
    }

    /// The wanted size of what controls a pod; `None` for a pod that nothing does.
    async fn scale(&self, pod: &Pod) -> Option<Scale> {
        let owner = pod.owner_references().iter().find(|owner| owner.controller == Some(true))?;
        match owner.kind.as_str() {
            "ReplicationController" | "ReplicaSet" => self.scale_of_set(pod, owner),
            _ => self.scale_of_any(pod, owner).await,
        }
    }

    /// The size of whatever has a scale, such as a custom resource; of others nothing is known.
    async fn scale_of_any(&self, pod: &Pod, owner: &OwnerReference) -> Option<Scale> {
        let kinds = self.served.clone().now().await.kinds;
        let (api_version, namespace) = (Some(owner.api_version.clone()), pod.namespace().unwrap_or_default());
        let to = CrossVersionObjectReference { api_version, kind: owner.kind.clone(), name: owner.name.clone() };
        let found = target::read(&self.client, &self.cache, &kinds, (&namespace, Some(&to)), None).await;
        let replicas = found.ok()?.scale.replicas;
        Some(Scale { uid: owner.uid.clone(), replicas })
    }

    fn scale_of_set(&self, pod: &Pod, owner: &OwnerReference) -> Option<Scale> {
        let namespace = pod.namespace().unwrap_or_default();
        let key = |name: &str| Key { namespace: namespace.clone(), name: name.to_owned() };
        if owner.kind == "ReplicationController" {
            let found = get(&self.cache.replication_controllers, &key(&owner.name))?;
            let replicas = found.spec.as_ref().and_then(|spec| spec.replicas).unwrap_or(1);
            return (found.uid().as_deref() == Some(&owner.uid)).then(|| Scale { uid: owner.uid.clone(), replicas });
        }
        let set =
            get(&self.cache.replica_sets, &key(&owner.name)).filter(|set| set.uid().as_deref() == Some(&owner.uid))?;
        // A Deployment's size is what counts while a rollout moves pods between its sets.
        let above = set.owner_references().iter().find(|o| o.controller == Some(true) && o.kind == "Deployment");
        let deployment = above.and_then(|owner| {
            let found = get(&self.cache.deployments, &key(&owner.name))?;
            (found.uid().as_deref() == Some(&owner.uid)).then_some(found)
        });
        Some(match deployment {
            Some(deployment) => Scale {
                uid: deployment.uid().unwrap_or_default(),
                replicas: deployment.spec.as_ref().and_then(|spec| spec.replicas).unwrap_or(1),
            },
            None => Scale {
                uid: owner.uid.clone(),
                replicas: set.spec.as_ref().and_then(|spec| spec.replicas).unwrap_or(1),
            },
        })
    }
}

/// Whether a budget is about pods with these labels. Without a selector it is about none.
pub(crate) fn covers(budget: &PodDisruptionBudget, labels: &BTreeMap<String, String>) -> bool {
    let selector = budget.spec.as_ref().and_then(|spec| spec.selector.as_ref());
    selector.and_then(|selector| Labels::from_selector(selector).ok()).is_some_and(|selector| selector.matches(labels))
}

impl runner::Controller for Controller {
    const NAME: &'static str = "disruption";

    fn concerned(&self, change: &Changed) -> Vec<Key> {
        match change {
            Changed::Budget(budget) => vec![Key::of(budget.as_ref())],
            Changed::Pod(pod) => self.budgets(pod.namespace(), |budget| covers(budget, pod.labels())),
            Changed::Deployment(deployment) => self.budgets(deployment.namespace(), |_| true),
            Changed::ReplicaSet(set) => self.budgets(set.namespace(), |_| true),
            Changed::ReplicationController(set) => self.budgets(set.namespace(), |_| true),
            _ => Vec::new(),
        }
    }

    async fn reconcile(&self, key: &Key) -> Result<Option<Duration>, runner::Error> {
        let Some(budget) = get(&self.cache.budgets, key) else { return Ok(None) };
        if budget.meta().deletion_timestamp.is_some() {
            return Ok(None);
        }
        let pods = in_namespace(&self.cache.pods, &key.namespace);
        let mut covered: Vec<(&Pod, Option<Scale>)> = Vec::new();
        for pod in pods.iter().filter(|pod| covers(&budget, pod.labels())) {
            covered.push((pod.as_ref(), self.scale(pod).await));
        }
        let Plan { status, again } = plan(&budget, &covered, Timestamp::now());
        if budget.status.as_ref() != Some(&status) {
            let next = PodDisruptionBudget { status: Some(status), ..budget.as_ref().clone() };
            let api: Api<PodDisruptionBudget> = Api::namespaced(self.client.clone(), &key.namespace);
            api.replace_status(&key.name, &PostParams::default(), &next).await?;
        }
        Ok(again)
    }
}
