//! ReplicaSets: as many pods as wanted (kubernetes/pkg/controller/replicaset).

mod expectations;
mod plan;

use std::{sync::Arc, time::Duration};

use k8s_openapi::api::{apps::v1::ReplicaSet, core::v1::Pod};
use kube::{
    Api, Client, ResourceExt,
    api::{DeleteParams, PostParams, Preconditions},
};

pub use plan::{Plan, plan};

use crate::{
    cache::{Cache, Changed, Key, get, in_namespace, is_controlled_by},
    events::{EventKind, record},
    runner::{self, gone_is_fine},
};
use expectations::Expectations;

const COMPONENT: &str = "replicaset-controller";

/// The replica set controller.
pub struct Controller {
    client: Client,
    cache: Arc<Cache>,
    expectations: Expectations,
}

impl Controller {
    pub(crate) fn new(client: Client, cache: Arc<Cache>) -> Self {
        Self { client, cache, expectations: Expectations::default() }
    }

    async fn create(&self, set: &ReplicaSet, count: usize) -> Result<(), kube::Error> {
        let api: Api<Pod> = Api::namespaced(self.client.clone(), &set.namespace().unwrap_or_default());
        let pod = plan::pod(set);
        for _ in 0..count {
            match api.create(&PostParams::default(), &pod).await {
                Ok(made) => {
                    self.expectations.created(&set.uid().unwrap_or_default(), &made.uid().unwrap_or_default());
                    let message = format!("Created pod: {}", made.name_any());
                    record(&self.client, COMPONENT, set, EventKind::Normal, "SuccessfulCreate", &message).await;
                }
                Err(error) => {
                    let message = format!("Error creating: {error}");
                    record(&self.client, COMPONENT, set, EventKind::Warning, "FailedCreate", &message).await;
                    return Err(error);
                }
            }
        }
        Ok(())
    }

    async fn delete(&self, set: &ReplicaSet, pods: &[Key], uids: &[String]) -> Result<(), kube::Error> {
        for (pod, uid) in pods.iter().zip(uids) {
            let api: Api<Pod> = Api::namespaced(self.client.clone(), &pod.namespace);
            let preconditions = Some(Preconditions { uid: Some(uid.clone()), resource_version: None });
            gone_is_fine(api.delete(&pod.name, &DeleteParams { preconditions, ..DeleteParams::default() }).await)?;
            self.expectations.deleted(&set.uid().unwrap_or_default(), uid);
            let message = format!("Deleted pod: {}", pod.name);
            record(&self.client, COMPONENT, set, EventKind::Normal, "SuccessfulDelete", &message).await;
        }
        Ok(())
    }
}

impl runner::Controller for Controller {
    const NAME: &'static str = "replicaset";

    fn concerned(&self, change: &Changed) -> Vec<Key> {
        match change {
            Changed::ReplicaSet(set) => vec![Key::of(set.as_ref())],
            Changed::Pod(pod) => {
                let namespace = pod.namespace().unwrap_or_default();
                let owners =
                    pod.owner_references().iter().filter(|o| o.controller == Some(true) && o.kind == "ReplicaSet");
                owners.map(|o| Key { namespace: namespace.clone(), name: o.name.clone() }).collect()
            }
            _ => Vec::new(),
        }
    }

    async fn reconcile(&self, key: &Key) -> Result<Option<Duration>, runner::Error> {
        let Some(set) = get(&self.cache.replica_sets, key) else { return Ok(None) };
        let uid = set.uid().unwrap_or_default();
        let pods = in_namespace(&self.cache.pods, &key.namespace);
        let own: Vec<&Pod> = pods.iter().map(AsRef::as_ref).filter(|pod| is_controlled_by(*pod, &uid)).collect();
        let settled = self.expectations.are_met(&uid, &own);
        let planned = plan(&set, &own, jiff::Timestamp::now());
        if settled && set.metadata.deletion_timestamp.is_none() {
            self.create(&set, planned.create).await?;
            let uids: Vec<String> = planned.delete.iter().map(|pod| pod.uid().unwrap_or_default()).collect();
            let keys: Vec<Key> = planned.delete.iter().map(|pod| Key::of(*pod)).collect();
            self.delete(&set, &keys, &uids).await?;
        }
        if set.status.as_ref() != Some(&planned.status) {
            let api: Api<ReplicaSet> = Api::namespaced(self.client.clone(), &key.namespace);
            // The whole of it: in a merge patch a count that became nothing would stay.
            let next = ReplicaSet { status: Some(planned.status), ..ReplicaSet::clone(&set) };
            api.replace_status(&key.name, &PostParams::default(), &next).await?;
        }
        Ok(planned.again)
    }
}
