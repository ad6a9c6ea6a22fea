//! Deployments: the template's ReplicaSet, and the way from the old ones to it (kubernetes/pkg/controller/deployment).

mod plan;
mod proportional;
mod rolling;
mod sets;
mod status;
#[cfg(test)]
mod tests;

use std::{sync::Arc, time::Duration};

use jiff::Timestamp;
use k8s_openapi::api::{
    apps::v1::{Deployment, DeploymentStatus, ReplicaSet},
    core::v1::Pod,
};
use kube::{
    Api, Client, ResourceExt,
    api::{DeleteParams, Patch, PatchParams, PostParams},
};
use objects::selector::Labels;
use serde_json::json;

pub use plan::{Action, Plan, plan};

use crate::{
    cache::{Cache, Changed, Key, get, in_namespace, is_controlled_by},
    claim::{Claim, claim, settle},
    events::{EventKind, Recorder},
    runner::{self, gone_is_fine},
};

const COMPONENT: &str = "deployment-controller";

/// The deployment controller.
pub struct Controller {
    client: Client,
    events: Recorder,
    cache: Arc<Cache>,
}

impl Controller {
    pub(crate) fn new(client: Client, cache: Arc<Cache>) -> Self {
        Self { events: Recorder::new(client.clone(), COMPONENT), client, cache }
    }

    async fn act(&self, deployment: &Deployment, action: Action) -> Result<(), kube::Error> {
        let namespace = deployment.namespace().unwrap_or_default();
        let sets: Api<ReplicaSet> = Api::namespaced(self.client.clone(), &namespace);
        match action {
            Action::Create(set) => {
                let replicas = set.spec.as_ref().and_then(|spec| spec.replicas).unwrap_or(0);
                match sets.create(&PostParams::default(), &set).await {
                    Err(error) if runner::is_conflict(&error) => return self.collision(deployment, &set).await,
                    Err(error) => {
                        let failed = status::create_failed(deployment, &set.name_any(), &error, Timestamp::now());
                        self.write_status(deployment, failed).await?;
                        return Err(error);
                    }
                    Ok(_) => {}
                }
                let message = format!("Scaled up replica set {} from 0 to {replicas}", set.name_any());
                self.scaled(deployment, replicas > 0, &message).await;
            }
            Action::Change { name, version, from, replicas, annotations, min_ready } => {
                let mut change = json!({"metadata": {"annotations": annotations, "resourceVersion": version}, "spec": {"replicas": replicas}});
                if let Some(seconds) = min_ready {
                    change["spec"]["minReadySeconds"] = json!(seconds);
                }
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

    /// A set of that name is there. If it is the one that was to be made, the next look finds it; if not, the next one gets another
    /// name.
    async fn collision(&self, deployment: &Deployment, wanted: &ReplicaSet) -> Result<(), kube::Error> {
        let sets: Api<ReplicaSet> = Api::namespaced(self.client.clone(), &deployment.namespace().unwrap_or_default());
        let Some(found) = sets.get_opt(&wanted.name_any()).await? else { return Ok(()) };
        let own = is_controlled_by(&found, &deployment.uid().unwrap_or_default());
        if own && sets::split(deployment, &[&found]).0.is_some() {
            return Ok(());
        }
        let mut status = deployment.status.clone().unwrap_or_default();
        status.collision_count = Some(status.collision_count.unwrap_or(0) + 1);
        self.write_status(deployment, status).await
    }

    async fn write_status(&self, deployment: &Deployment, status: DeploymentStatus) -> Result<(), kube::Error> {
        let api: Api<Deployment> = Api::namespaced(self.client.clone(), &deployment.namespace().unwrap_or_default());
        // The whole of it: in a merge patch a count that became nothing would stay.
        let next = Deployment { status: Some(status), ..deployment.clone() };
        api.replace_status(&deployment.name_any(), &PostParams::default(), &next).await.map(drop)
    }

    async fn scaled(&self, deployment: &Deployment, really: bool, message: &str) {
        if really {
            self.events.record(deployment, EventKind::Normal, "ScalingReplicaSet", message).await;
        }
    }
}

impl Controller {
    /// The Deployment that waits for this pod to go before it makes new ones.
    fn recreates(&self, pod: &Pod) -> Option<Key> {
        let namespace = pod.namespace().unwrap_or_default();
        let owner = pod.owner_references().iter().find(|o| o.controller == Some(true) && o.kind == "ReplicaSet")?;
        let set = get(&self.cache.replica_sets, &Key { namespace: namespace.clone(), name: owner.name.clone() })?;
        let owner = set.owner_references().iter().find(|o| o.controller == Some(true) && o.kind == "Deployment")?;
        let key = Key { namespace, name: owner.name.clone() };
        let deployment = get(&self.cache.deployments, &key)?;
        let strategy = deployment.spec.as_ref().and_then(|spec| spec.strategy.as_ref()?.type_.as_deref());
        (strategy == Some("Recreate")).then_some(key)
    }
}

/// What a Deployment selects by; nothing if its selector is not one, which the API refuses to store.
fn selector(deployment: &Deployment) -> Option<Labels> {
    Labels::from_selector(&deployment.spec.as_ref()?.selector).ok()
}

/// Whether nothing of a pod runs any more.
fn has_ended(pod: &Pod) -> bool {
    matches!(pod.status.as_ref().and_then(|status| status.phase.as_deref()), Some("Succeeded" | "Failed"))
}

impl runner::Controller for Controller {
    const NAME: &'static str = "deployment";

    fn concerned(&self, change: &Changed) -> Vec<Key> {
        match change {
            Changed::Deployment(deployment) => vec![Key::of(deployment.as_ref())],
            Changed::ReplicaSet(set) => {
                let namespace = set.namespace().unwrap_or_default();
                let controller = set.owner_references().iter().find(|owner| owner.controller == Some(true));
                if let Some(owner) = controller {
                    let ours = owner.kind == "Deployment";
                    return ours.then(|| Key { namespace, name: owner.name.clone() }).into_iter().collect();
                }
                // Nobody's: whoever selects it may take it.
                let selects = |d: &&Arc<Deployment>| selector(d).is_some_and(|s| s.matches(set.labels()));
                let all = in_namespace(&self.cache.deployments, &namespace);
                all.iter().filter(selects).map(|deployment| Key::of(deployment.as_ref())).collect()
            }
            Changed::Pod(pod) => self.recreates(pod).into_iter().collect(),
            _ => Vec::new(),
        }
    }

    async fn reconcile(&self, key: &Key) -> Result<Option<Duration>, runner::Error> {
        let Some(deployment) = get(&self.cache.deployments, key) else { return Ok(None) };
        if deployment.metadata.deletion_timestamp.is_some() {
            return Ok(None);
        }
        let Some(selector) = selector(&deployment) else { return Ok(None) };
        let sets = in_namespace(&self.cache.replica_sets, &key.namespace);
        let claims: Vec<(&ReplicaSet, Claim)> =
            sets.iter().map(|set| (set.as_ref(), claim(&deployment.metadata, &selector, set.as_ref()))).collect();
        settle(&self.client, deployment.as_ref(), &claims).await?;
        let own: Vec<&ReplicaSet> = claims.iter().filter(|(_, claim)| claim.counts()).map(|(set, _)| *set).collect();
        let pods = in_namespace(&self.cache.pods, &key.namespace);
        let has_pods = |set: &ReplicaSet| {
            let uid = set.uid().unwrap_or_default();
            pods.iter().any(|pod| is_controlled_by(pod.as_ref(), &uid) && !has_ended(pod))
        };
        let planned = plan(&deployment, &own, has_pods, Timestamp::now());
        for action in planned.actions {
            self.act(&deployment, action).await?;
        }
        if let Some(status) = planned.status {
            self.write_status(&deployment, status).await?;
        }
        Ok(planned.again)
    }
}
