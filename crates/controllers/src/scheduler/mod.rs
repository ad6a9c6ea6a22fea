//! The scheduler: binds each pod to the node that can take it, makes room for the important ones, or says why none can.
//!
//! Every change that may matter leads to one round over everything that waits, in the order of priorities, so that room which comes
//! free goes to the most important pod and not to the first one asked.

mod affinity;
mod fit;
mod plan;
mod preempt;
#[cfg(test)]
mod tests;

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use futures::{StreamExt, stream};
use http::Request;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Node, Pod};
use kube::{
    Api, Client, ResourceExt,
    api::{DeleteParams, Patch, PatchParams, Preconditions},
};
use serde_json::{Value, json};

pub use plan::{Decision, Said, World, plan};

use crate::{
    cache::{Cache, Changed, Key},
    events::{EventKind, Recorder},
    runner::{self, gone_is_fine},
};

const COMPONENT: &str = "default-scheduler";
/// The most pods that are written at a time.
const AT_ONCE: usize = 16;

/// The scheduler.
pub struct Controller {
    client: Client,
    events: Recorder,
    cache: Arc<Cache>,
    recent: Mutex<Recent>,
}

/// What was written and the copies do not show yet.
#[derive(Clone, Debug, Default)]
struct Recent {
    bound: HashMap<String, String>,
    said: HashMap<String, Said>,
    told: HashSet<String>,
}

impl Recent {
    /// Forgets what the copies show, and what is about pods that are gone.
    fn prune(&mut self, pods: &[Arc<Pod>]) {
        if self.bound.is_empty() && self.said.is_empty() && self.told.is_empty() {
            return;
        }
        let by_uid: HashMap<&str, &Pod> =
            pods.iter().filter_map(|pod| Some((pod.metadata.uid.as_deref()?, pod.as_ref()))).collect();
        let node = |pod: &Pod| pod.spec.as_ref().and_then(|spec| spec.node_name.clone());
        self.bound.retain(|uid, _| by_uid.get(uid.as_str()).is_some_and(|pod| node(pod).is_none()));
        self.said.retain(|uid, said| by_uid.get(uid.as_str()).is_some_and(|pod| said_of(pod) != *said));
        self.told.retain(|uid| by_uid.get(uid.as_str()).is_some_and(|pod| pod.metadata.deletion_timestamp.is_none()));
    }
}

/// What a pod's status says of its waiting.
fn said_of(pod: &Pod) -> Said {
    let Some(status) = pod.status.as_ref() else { return Said::default() };
    let scheduled = status.conditions.iter().flatten().find(|condition| condition.type_ == "PodScheduled");
    Said {
        message: scheduled.and_then(|condition| condition.message.clone()).unwrap_or_default(),
        nominated: status.nominated_node_name.clone().filter(|node| !node.is_empty()),
    }
}

/// The condition of a pod that waits, and why. Another reason is no transition: it has waited since it began to.
fn unschedulable(pod: &Pod, message: &str, now: Timestamp) -> Value {
    let conditions = pod.status.as_ref().and_then(|status| status.conditions.as_ref());
    let before = conditions.into_iter().flatten().find(|condition| condition.type_ == "PodScheduled");
    let waits = before.filter(|condition| condition.status == "False");
    let since = waits.and_then(|condition| condition.last_transition_time.as_ref()).map_or(now, |time| time.0);
    json!({"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": message,
        "lastProbeTime": null, "lastTransitionTime": since.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()})
}

impl Controller {
    pub(crate) fn new(client: Client, cache: Arc<Cache>) -> Self {
        Self { events: Recorder::new(client.clone(), COMPONENT), client, cache, recent: Mutex::default() }
    }

    fn recent(&self) -> MutexGuard<'_, Recent> {
        self.recent.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn bind(&self, pod: &Pod, node: &Node) -> Result<(), runner::Error> {
        let (namespace, name, node) = (pod.namespace().unwrap_or_default(), pod.name_any(), node.name_any());
        let metadata = json!({"name": name, "namespace": namespace, "uid": pod.uid()});
        let binding = json!({"apiVersion": "v1", "kind": "Binding", "metadata": metadata,
            "target": {"apiVersion": "v1", "kind": "Node", "name": node}});
        let path = format!("/api/v1/namespaces/{namespace}/pods/{name}/binding");
        let request =
            Request::post(path).header("content-type", "application/json").body(serde_json::to_vec(&binding)?)?;
        gone_is_fine(self.client.request::<Value>(request).await)?;
        self.recent().bound.insert(pod.uid().unwrap_or_default(), node.clone());
        let message = format!("Successfully assigned {namespace}/{name} to {node}");
        self.events.record(pod, EventKind::Normal, "Scheduled", &message).await;
        Ok(())
    }

    /// Says on the pod why it waits and where room is made for it, once for each reason.
    async fn explain(&self, pod: &Pod, said: &Said) -> Result<(), runner::Error> {
        let uid = pod.uid().unwrap_or_default();
        let before = self.recent().said.get(&uid).cloned().unwrap_or_else(|| said_of(pod));
        if before == *said {
            return Ok(());
        }
        let message = &said.message;
        let mut status = json!({"nominatedNodeName": said.nominated});
        if before.message != *message {
            status["conditions"] = json!([unschedulable(pod, message, Timestamp::now())]);
        }
        self.patch_status(pod, status).await?;
        self.recent().said.insert(uid, said.clone());
        if before.message != *message {
            self.events.record(pod, EventKind::Warning, "FailedScheduling", message).await;
        }
        Ok(())
    }

    /// Tells a pod to go so that another one fits: it ends within its grace period.
    async fn preempt(&self, victim: &Pod, by: &Pod, node: Option<&str>) -> Result<(), runner::Error> {
        let now = Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
        let condition = json!({"type": "DisruptionTarget", "status": "True", "reason": "PreemptionByScheduler",
            "message": "default-scheduler: preempting to accommodate a higher priority pod",
            "lastProbeTime": null, "lastTransitionTime": now});
        self.patch_status(victim, json!({"conditions": [condition]})).await?;
        let api: Api<Pod> = Api::namespaced(self.client.clone(), &victim.namespace().unwrap_or_default());
        let preconditions = Some(Preconditions { uid: victim.uid(), ..Preconditions::default() });
        let parameters = DeleteParams { preconditions, ..DeleteParams::default() };
        gone_is_fine(api.delete(&victim.name_any(), &parameters).await)?;
        self.recent().told.insert(victim.uid().unwrap_or_default());
        let by = by.uid().unwrap_or_default();
        let message = format!("Preempted by pod {by} on node {}", node.unwrap_or_default());
        self.events.record(victim, EventKind::Normal, "Preempted", &message).await;
        Ok(())
    }

    async fn patch_status(&self, pod: &Pod, status: Value) -> Result<(), runner::Error> {
        let api: Api<Pod> = Api::namespaced(self.client.clone(), &pod.namespace().unwrap_or_default());
        let change = json!({"metadata": {"uid": pod.uid()}, "status": status});
        let patched = api.patch_status(&pod.name_any(), &PatchParams::default(), &Patch::Strategic(change)).await;
        Ok(gone_is_fine(patched)?)
    }

    async fn carry_out(&self, decision: Decision<'_>) -> Result<(), runner::Error> {
        match decision {
            Decision::Bind(pod, node) => self.bind(pod, node).await,
            Decision::Wait { pod, said, victims } => {
                // The room is kept before it comes free.
                self.explain(pod, &said).await?;
                for victim in victims {
                    self.preempt(victim, pod, said.nominated.as_deref()).await?;
                }
                Ok(())
            }
        }
    }
}

impl runner::Controller for Controller {
    const NAME: &'static str = "scheduler";

    fn concerned(&self, change: &Changed) -> Vec<Key> {
        let matters = match change {
            Changed::Pod(pod) if plan::waits(pod) => true,
            // A node that changed, or a pod that went, may make room for those that wait.
            Changed::Node | Changed::Pod(_) => self.cache.pods.state().iter().any(|pod| plan::waits(pod)),
            _ => false,
        };
        let everything = Key { namespace: String::new(), name: "pods".to_owned() };
        if matters { vec![everything] } else { Vec::new() }
    }

    async fn reconcile(&self, _: &Key) -> Result<Option<Duration>, runner::Error> {
        let (pods, nodes, budgets) = (self.cache.pods.state(), self.cache.nodes.state(), self.cache.budgets.state());
        let recent = {
            let mut recent = self.recent();
            recent.prune(&pods);
            recent.clone()
        };
        let world = World {
            nodes: nodes.iter().map(AsRef::as_ref).collect(),
            pods: pods.iter().map(AsRef::as_ref).collect(),
            budgets: budgets.iter().map(AsRef::as_ref).collect(),
            bound: &recent.bound,
            said: &recent.said,
            told: &recent.told,
            now: Timestamp::now(),
        };
        let writes: Vec<_> = plan(&world).into_iter().map(|decision| self.carry_out(decision)).collect();
        let written: Vec<Result<(), runner::Error>> = stream::iter(writes).buffered(AT_ONCE).collect().await;
        // One that fails keeps nobody else from being written; the round is made again.
        written.into_iter().collect::<Result<(), _>>().map(|()| None)
    }
}
