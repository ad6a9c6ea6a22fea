//! Events about pods: repeated ones are counted on one object.

use std::{collections::HashMap, sync::Mutex};

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Event, Pod};
use kube::{
    Api, Client, ResourceExt,
    api::{Patch, PatchParams, PostParams},
};
use serde_json::json;

/// How many different events are remembered for counting.
const REMEMBERED: usize = 4096;

/// Writes events.
pub struct Events {
    client: Client,
    node: String,
    seen: Mutex<HashMap<String, (String, i32)>>,
}

impl Events {
    /// Events that name this node as their source.
    pub fn new(client: Client, node: String) -> Self {
        Self { client, node, seen: Mutex::default() }
    }

    /// Writes an event about the pod, or about one of its containers; failure is only logged.
    pub async fn pod(&self, pod: &Pod, container: Option<&str>, kind: &str, reason: &str, message: &str) {
        let now = Timestamp::now();
        let uid = pod.uid().unwrap_or_default();
        let namespace = pod.namespace().unwrap_or_default();
        let key = format!("{uid}/{}/{reason}/{message}", container.unwrap_or_default());
        let (name, count) = {
            let mut seen = self.seen.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            if seen.len() >= REMEMBERED {
                seen.clear();
            }
            let fresh = || (format!("{}.{:016x}", pod.name_any(), now.as_nanosecond()), 0);
            let entry = seen.entry(key).or_insert_with(fresh);
            entry.1 = entry.1.saturating_add(1);
            entry.clone()
        };
        let api: Api<Event> = Api::namespaced(self.client.clone(), &namespace);
        if count > 1 {
            let patch = json!({"count": count, "lastTimestamp": now});
            if api.patch(&name, &PatchParams::default(), &Patch::Merge(patch)).await.is_ok() {
                return;
            }
        }
        let mut involved = json!({"apiVersion": "v1", "kind": "Pod", "namespace": namespace, "name": pod.name_any(),
            "uid": uid, "resourceVersion": pod.resource_version()});
        if let Some(container) = container {
            involved["fieldPath"] = format!("spec.containers{{{container}}}").into();
        }
        let event = json!({"metadata": {"name": name, "namespace": namespace}, "involvedObject": involved,
            "reason": reason, "message": message, "type": kind, "count": count, "firstTimestamp": now,
            "lastTimestamp": now, "source": {"component": "kubelet", "host": self.node},
            "reportingComponent": "kubelet", "reportingInstance": self.node});
        let result = match serde_json::from_value::<Event>(event) {
            Ok(event) => api.create(&PostParams::default(), &event).await.map(|_| ()).map_err(|e| e.to_string()),
            Err(error) => Err(error.to_string()),
        };
        if let Err(error) = result {
            tracing::debug!("event {reason} of pod {namespace}/{}: {error}", pod.name_any());
        }
    }
}
