//! The scheduler: binds each pod to the node that can take it, or says why none can.

mod fit;

use std::{sync::Arc, time::Duration};

use http::Request;
use k8s_openapi::api::core::v1::{Node, Pod};
use kube::{
    Api, Client, ResourceExt,
    api::{Patch, PatchParams},
};
use serde_json::{Value, json};

pub use fit::{Reason, fits, unschedulable_message};

use crate::{
    cache::{Cache, Changed, Key, get},
    events::{EventKind, Recorder},
    runner,
};

const COMPONENT: &str = "default-scheduler";

/// The scheduler.
pub struct Controller {
    client: Client,
    events: Recorder,
    cache: Arc<Cache>,
}

impl Controller {
    pub(crate) fn new(client: Client, cache: Arc<Cache>) -> Self {
        Self { events: Recorder::new(client.clone(), COMPONENT), client, cache }
    }

    async fn bind(&self, pod: &Pod, node: &str) -> Result<(), runner::Error> {
        let (namespace, name) = (pod.namespace().unwrap_or_default(), pod.name_any());
        let binding = json!({"apiVersion": "v1", "kind": "Binding", "metadata": {"name": name, "namespace": namespace},
            "target": {"apiVersion": "v1", "kind": "Node", "name": node}});
        let path = format!("/api/v1/namespaces/{namespace}/pods/{name}/binding");
        let request =
            Request::post(path).header("content-type", "application/json").body(serde_json::to_vec(&binding)?)?;
        self.client.request::<Value>(request).await?;
        let message = format!("Successfully assigned {namespace}/{name} to {node}");
        self.events.record(pod, EventKind::Normal, "Scheduled", &message).await;
        Ok(())
    }

    /// Says on the pod why it waits, once for each reason.
    async fn explain(&self, pod: &Pod, message: &str) -> Result<(), runner::Error> {
        let conditions = pod.status.as_ref().and_then(|status| status.conditions.as_ref());
        let said =
            conditions.into_iter().flatten().find(|c| c.type_ == "PodScheduled").and_then(|c| c.message.as_deref());
        if said == Some(message) {
            return Ok(());
        }
        let now = jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
        let condition = json!({"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": message,
            "lastProbeTime": null, "lastTransitionTime": now});
        let api: Api<Pod> = Api::namespaced(self.client.clone(), &pod.namespace().unwrap_or_default());
        let change = json!({"status": {"conditions": [condition]}});
        api.patch_status(&pod.name_any(), &PatchParams::default(), &Patch::Strategic(change)).await?;
        self.events.record(pod, EventKind::Warning, "FailedScheduling", message).await;
        Ok(())
    }
}

fn waits(pod: &Pod) -> bool {
    let spec = pod.spec.as_ref();
    spec.is_some_and(|spec| {
        spec.node_name.is_none() && spec.scheduler_name.as_deref().unwrap_or(COMPONENT) == COMPONENT
    }) && pod.metadata.deletion_timestamp.is_none()
}

impl runner::Controller for Controller {
    const NAME: &'static str = "scheduler";

    fn concerned(&self, change: &Changed) -> Vec<Key> {
        match change {
            Changed::Pod(pod) if waits(pod) => vec![Key::of(pod.as_ref())],
            // A node that changed, or a pod that went, may make room for those that wait.
            Changed::Node | Changed::Pod(_) => {
                self.cache.pods.state().iter().filter(|pod| waits(pod)).map(|pod| Key::of(pod.as_ref())).collect()
            }
            _ => Vec::new(),
        }
    }

    async fn reconcile(&self, key: &Key) -> Result<Option<Duration>, runner::Error> {
        let Some(pod) = get(&self.cache.pods, key).filter(|pod| waits(pod)) else { return Ok(None) };
        let nodes: Vec<Arc<Node>> = self.cache.nodes.state();
        let pods = self.cache.pods.state();
        let mut reasons = Vec::new();
        for node in &nodes {
            let there: Vec<&Pod> = pods.iter().map(AsRef::as_ref).filter(|p| fit::is_on(p, &node.name_any())).collect();
            match fits(&pod, node, &there) {
                Ok(()) => {
                    self.bind(&pod, &node.name_any()).await?;
                    return Ok(None);
                }
                Err(reason) => reasons.push(reason),
            }
        }
        self.explain(&pod, &unschedulable_message(&reasons)).await?;
        Ok(None)
    }
}
