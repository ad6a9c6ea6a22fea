//! Deployments: the template's ReplicaSet, and the way from the old ones to it (kubernetes/pkg/controller/deployment).

mod plan;
mod proportional;
mod rolling;
mod sets;
mod status;
#[cfg(test)]
mod tests;

use std::{sync::Arc, time::Duration};

use k8s_openapi::api::apps::v1::{Deployment, ReplicaSet};
use kube::{
    Api, Client, ResourceExt,
    api::{DeleteParams, Patch, PatchParams, PostParams},
};
use serde_json::json;

pub use plan::{Action, Plan, plan};

use crate::{
    cache::{Cache, Changed, Key, get, in_namespace, is_controlled_by},
    events::{EventKind, record},
    runner::{self, gone_is_fine},
};

const COMPONENT: &str = "deployment-controller";

/// The deployment controller.
pub struct Controller {
    client: Client,
    cache: Arc<Cache>,
}

impl Controller {
    pub(crate) fn new(client: Client, cache: Arc<Cache>) -> Self {
        Self { client, cache }
    }

    async fn act(&self, deployment: &Deployment, action: Action) -> Result<(), kube::Error> {
        let namespace = deployment.namespace().unwrap_or_default();
        let sets: Api<ReplicaSet> = Api::namespaced(self.client.clone(), &namespace);
        match action {
            Action::Create(set) => {
                let replicas = set.spec.as_ref().and_then(|spec| spec.replicas).unwrap_or(0);
                match sets.create(&PostParams::default(), &set).await {
                    // It is there, and only this copy does not know it yet: the next look finds it.
                    Err(error) if runner::is_conflict(&error) => return Ok(()),
                    other => drop(other?),
                }
                let message = format!("Scaled up replica set {} from 0 to {replicas}", set.name_any());
                self.scaled(deployment, replicas > 0, &message).await;
            }
            Action::Change { name, version, from, replicas, annotations } => {
                let change = json!({"metadata": {"annotations": annotations, "resourceVersion": version}, "spec": {"replicas": replicas}});
                sets.patch(&name, &PatchParams::default(), &Patch::Merge(&change)).await?;
                let direction = if replicas > from { "up" } else { "down" };
                let message = format!("Scaled {direction} replica set {name} from {from} to {replicas}");
                self.scaled(deployment, replicas != from, &message).await;
            }
            Action::Delete(name) => gone_is_fine(sets.delete(&name, &DeleteParams::background()).await)?,
            Action::Annotate(revision) => {
                let change = json!({"metadata": {"annotations": {sets::REVISION: revision}}});
                let deployments: Api<Deployment> = Api::namespaced(self.client.clone(), &namespace);
                deployments.patch(&deployment.name_any(), &PatchParams::default(), &Patch::Merge(&change)).await?;
            }
        }
        Ok(())
    }

    async fn scaled(&self, deployment: &Deployment, really: bool, message: &str) {
        if really {
            record(&self.client, COMPONENT, deployment, EventKind::Normal, "ScalingReplicaSet", message).await;
        }
    }
}

impl runner::Controller for Controller {
    const NAME: &'static str = "deployment";

    fn concerned(&self, change: &Changed) -> Vec<Key> {
        match change {
            Changed::Deployment(deployment) => vec![Key::of(deployment.as_ref())],
            Changed::ReplicaSet(set) => {
                let owner =
                    set.owner_references().iter().find(|o| o.controller == Some(true) && o.kind == "Deployment");
                let key = |o: &k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference| Key {
                    namespace: set.namespace().unwrap_or_default(),
                    name: o.name.clone(),
                };
                owner.map(key).into_iter().collect()
            }
            _ => Vec::new(),
        }
    }

    async fn reconcile(&self, key: &Key) -> Result<Option<Duration>, runner::Error> {
        let Some(deployment) = get(&self.cache.deployments, key) else { return Ok(None) };
        if deployment.metadata.deletion_timestamp.is_some() {
            return Ok(None);
        }
        let uid = deployment.uid().unwrap_or_default();
        let sets = in_namespace(&self.cache.replica_sets, &key.namespace);
        let own: Vec<&ReplicaSet> = sets.iter().map(AsRef::as_ref).filter(|set| is_controlled_by(*set, &uid)).collect();
        let pods_of_old = |set: &ReplicaSet| {
            let set_uid = set.uid().unwrap_or_default();
            in_namespace(&self.cache.pods, &key.namespace).iter().any(|pod| is_controlled_by(pod.as_ref(), &set_uid))
        };
        let planned = plan(&deployment, &own, pods_of_old, jiff::Timestamp::now());
        for action in planned.actions {
            self.act(&deployment, action).await?;
        }
        if let Some(status) = planned.status {
            let api: Api<Deployment> = Api::namespaced(self.client.clone(), &key.namespace);
            // The whole of it: in a merge patch a count that became nothing would stay.
            let next = Deployment { status: Some(status), ..Deployment::clone(&deployment) };
            api.replace_status(&key.name, &PostParams::default(), &next).await?;
        }
        Ok(planned.again)
    }
}
