//! Events about pods, as the kubelet's: repeated ones are counted on one object, and what repeats too often is not written at
//! all. They are written in the background, so that a pod never waits for one.

use std::collections::HashMap;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Event, Pod};
use kube::{
    Api, Client, ResourceExt,
    api::{Patch, PatchParams, PostParams},
};
use serde_json::json;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::{clock::Clock, state};

/// How many events may wait to be written; more are dropped, with a line in the log.
const WAITING: usize = 1024;
/// How many different events are remembered for counting.
const REMEMBERED: usize = 4096;
/// client-go's event filter: this many of a kind at once,
const BURST: f64 = 25.0;
/// and then one in this many seconds.
const REFILL: f64 = 300.0;

/// Whether somebody should look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Type {
    Normal,
    Warning,
}

/// One thing that happened.
#[derive(Clone, Debug)]
struct Happened {
    uid: String,
    namespace: String,
    pod: String,
    version: Option<String>,
    /// `spec.containers{NAME}`, if it concerns one container.
    field: Option<String>,
    type_: Type,
    reason: String,
    message: String,
    at: Timestamp,
}

/// Takes events.
pub struct Events {
    queue: mpsc::Sender<Happened>,
    clock: Clock,
}

impl Events {
    /// Where events are told, and what writes them.
    pub fn new(client: Client, node: String, clock: Clock) -> (Self, Writer) {
        let (queue, waiting) = mpsc::channel(WAITING);
        (Self { queue, clock }, Writer { client, node, waiting, seen: Correlator::default() })
    }

    /// Something normal happened to the pod, or to one of its containers.
    pub fn normal(&self, pod: &Pod, container: Option<&str>, reason: &str, message: impl Into<String>) {
        self.tell(pod, container, Type::Normal, reason, message.into());
    }

    /// Something happened that somebody should look at.
    pub fn warning(&self, pod: &Pod, container: Option<&str>, reason: &str, message: impl Into<String>) {
        self.tell(pod, container, Type::Warning, reason, message.into());
    }

    fn tell(&self, pod: &Pod, container: Option<&str>, type_: Type, reason: &str, message: String) {
        let list = |name: &str| {
            let init = pod.spec.as_ref().is_some_and(|spec| state::init(spec).iter().any(|c| c.name == name));
            if init { "initContainers" } else { "containers" }
        };
        let happened = Happened {
            uid: pod.uid().unwrap_or_default(),
            namespace: pod.namespace().unwrap_or_default(),
            pod: pod.name_any(),
            version: pod.resource_version(),
            field: container.map(|name| format!("spec.{}{{{name}}}", list(name))),
            type_,
            reason: reason.to_owned(),
            message,
            at: self.clock.now(),
        };
        if let Err(error) = self.queue.try_send(happened) {
            let (mpsc::error::TrySendError::Full(lost) | mpsc::error::TrySendError::Closed(lost)) = error;
            tracing::warn!("event {} of pod {}/{} is lost: {}", lost.reason, lost.namespace, lost.pod, lost.message);
        }
    }
}

/// Writes events, one after the other.
pub struct Writer {
    client: Client,
    node: String,
    waiting: mpsc::Receiver<Happened>,
    seen: Correlator,
}

impl Writer {
    /// Writes until told to stop, and then what waits still.
    pub async fn run(mut self, stop: CancellationToken) {
        while let Some(Some(happened)) = stop.run_until_cancelled(self.waiting.recv()).await {
            self.write(happened).await;
        }
        while let Ok(happened) = self.waiting.try_recv() {
            self.write(happened).await;
        }
    }

    async fn write(&mut self, happened: Happened) {
        let Some((name, count)) = self.seen.note(&happened) else { return };
        let api: Api<Event> = Api::namespaced(self.client.clone(), &happened.namespace);
        if count > 1 {
            let patch = json!({"count": count, "lastTimestamp": happened.at});
            if api.patch(&name, &PatchParams::default(), &Patch::Merge(patch)).await.is_ok() {
                return;
            }
        }
        let result = match serde_json::from_value::<Event>(self.event(&happened, &name, count)) {
            Ok(event) => api.create(&PostParams::default(), &event).await.map(|_| ()).map_err(|e| e.to_string()),
            Err(error) => Err(error.to_string()),
        };
        if let Err(error) = result {
            tracing::debug!("event {} of pod {}/{}: {error}", happened.reason, happened.namespace, happened.pod);
        }
    }

    fn event(&self, happened: &Happened, name: &str, count: i32) -> serde_json::Value {
        let Happened { uid, namespace, pod, version, field, type_, reason, message, at } = happened;
        json!({
            "metadata": {"name": name, "namespace": namespace},
            "involvedObject": {"apiVersion": "v1", "kind": "Pod", "namespace": namespace, "name": pod, "uid": uid,
                "resourceVersion": version, "fieldPath": field},
            "reason": reason, "message": message, "type": format!("{type_:?}"),
            "count": count, "firstTimestamp": at, "lastTimestamp": at,
            "source": {"component": "kubelet", "host": self.node},
            "reportingComponent": "kubelet", "reportingInstance": self.node,
        })
    }
}

/// Pod, field, reason and message: events that agree in these are counted on one object.
type Same = (String, Option<String>, String, String);

/// Which events were written, and how many of a kind may still be. Pure.
#[derive(Debug, Default)]
struct Correlator {
    /// Name and count, by what makes two events the same.
    seen: HashMap<Same, (String, i32)>,
    /// What is left of the burst and since when, by pod and reason.
    left: HashMap<(String, String), (f64, Timestamp)>,
    /// The number in the latest name.
    last: i128,
}

impl Correlator {
    /// The name of the Event object and its new count; `None` when too many of the kind were written lately.
    fn note(&mut self, happened: &Happened) -> Option<(String, i32)> {
        let Happened { uid, field, reason, message, pod, at, .. } = happened;
        if self.seen.len() >= REMEMBERED || self.left.len() >= REMEMBERED {
            (self.seen, self.left) = (HashMap::new(), HashMap::new());
        }
        let key = (uid.clone(), field.clone(), reason.clone(), message.clone());
        let entry = self.seen.entry(key).or_insert_with(|| {
            self.last = at.as_nanosecond().max(self.last + 1);
            (format!("{pod}.{:016x}", self.last), 0)
        });
        entry.1 = entry.1.saturating_add(1);
        let left = self.left.entry((uid.clone(), reason.clone())).or_insert((BURST, *at));
        let seconds = at.duration_since(left.1).as_secs_f64().max(0.0);
        *left = ((left.0 + seconds / REFILL).min(BURST), *at);
        if left.0 < 1.0 {
            return None;
        }
        left.0 -= 1.0;
        Some(entry.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn happened(reason: &str, message: &str, second: i64) -> Happened {
        Happened {
            uid: "u".to_owned(),
            namespace: "n".to_owned(),
            pod: "p".to_owned(),
            version: None,
            field: None,
            type_: Type::Warning,
            reason: reason.to_owned(),
            message: message.to_owned(),
            at: Timestamp::from_second(second).unwrap(),
        }
    }

    #[test]
    fn the_same_event_is_counted_and_another_one_has_another_name() {
        let mut seen = Correlator::default();
        let first = seen.note(&happened("Unhealthy", "a", 1)).unwrap();
        let second = seen.note(&happened("Unhealthy", "a", 2)).unwrap();
        assert_eq!((first.1, second.1), (1, 2));
        assert_eq!(first.0, second.0);
        assert_ne!(seen.note(&happened("Unhealthy", "b", 2)).unwrap().0, first.0);
        assert_ne!(seen.note(&happened("Killing", "b", 1)).unwrap().0, first.0);
    }

    #[test]
    fn a_flood_is_cut_to_a_burst_and_one_in_five_minutes_while_other_reasons_pass() {
        let mut seen = Correlator::default();
        let written = (0..3600).filter(|second| seen.note(&happened("Unhealthy", "a", *second)).is_some()).count();
        assert_eq!(written, 25 + 11);
        assert_eq!(seen.note(&happened("Unhealthy", "a", 4000)).unwrap().1, 3601);
        assert!(seen.note(&happened("Killing", "a", 3600)).is_some());
    }
}
