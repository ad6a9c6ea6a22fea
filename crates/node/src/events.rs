//! Events about pods and the node, as the kubelet's: repeated ones are counted on one object, and what repeats too often is not written at
//! all. They are written in the background, so that a pod never waits for one.

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Event, Pod};
use kube::{
    Api, Client, ResourceExt,
    api::{Patch, PatchParams, PostParams},
};
use objects::events::{Correlator, Counted, Same};
use serde_json::json;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::{clock::Clock, state};

/// How many events may wait to be written; more are dropped, with a line in the log.
const WAITING: usize = 1024;
/// Whether somebody should look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Type {
    Normal,
    Warning,
}

/// One thing that happened.
#[derive(Clone, Debug)]
struct Happened {
    what: Same,
    namespace: String,
    /// The object's kind and name.
    about: (&'static str, String),
    version: Option<String>,
    type_: Type,
    at: Timestamp,
}

/// Takes events.
pub struct Events {
    queue: mpsc::Sender<Happened>,
    clock: Clock,
    node: String,
}

impl Events {
    /// Where events are told, and what writes them.
    pub fn new(client: Client, node: String, clock: Clock) -> (Self, Writer) {
        let (queue, waiting) = mpsc::channel(WAITING);
        (Self { queue, clock, node: node.clone() }, Writer { client, node, waiting, seen: Correlator::default() })
    }

    /// Something normal happened to the pod, or to one of its containers.
    pub fn normal(&self, pod: &Pod, container: Option<&str>, reason: &str, message: impl Into<String>) {
        self.tell(pod, container, Type::Normal, reason, message.into());
    }

    /// Something happened that somebody should look at.
    pub fn warning(&self, pod: &Pod, container: Option<&str>, reason: &str, message: impl Into<String>) {
        self.tell(pod, container, Type::Warning, reason, message.into());
    }

    /// Something normal happened to the node.
    pub fn node_normal(&self, reason: &str, message: String) {
        self.tell_of_node(Type::Normal, reason, message);
    }

    /// Something happened to the node that somebody should look at.
    pub fn node_warning(&self, reason: &str, message: String) {
        self.tell_of_node(Type::Warning, reason, message);
    }

    fn tell_of_node(&self, type_: Type, reason: &str, message: String) {
        self.send(Happened {
            // The kubelet has no other uid for it.
            what: Same { uid: self.node.clone(), field: None, reason: reason.to_owned(), message },
            namespace: "default".to_owned(),
            about: ("Node", self.node.clone()),
            version: None,
            type_,
            at: self.clock.now(),
        });
    }

    fn tell(&self, pod: &Pod, container: Option<&str>, type_: Type, reason: &str, message: String) {
        let list = |name: &str| {
            let init = pod.spec.as_ref().is_some_and(|spec| state::init(spec).iter().any(|c| c.name == name));
            if init { "initContainers" } else { "containers" }
        };
        self.send(Happened {
            what: Same {
                uid: pod.uid().unwrap_or_default(),
                field: container.map(|name| format!("spec.{}{{{name}}}", list(name))),
                reason: reason.to_owned(),
                message,
            },
            namespace: pod.namespace().unwrap_or_default(),
            about: ("Pod", pod.name_any()),
            version: pod.resource_version(),
            type_,
            at: self.clock.now(),
        });
    }

    fn send(&self, happened: Happened) {
        if let Err(error) = self.queue.try_send(happened) {
            let (mpsc::error::TrySendError::Full(lost) | mpsc::error::TrySendError::Closed(lost)) = error;
            let Same { reason, message, .. } = lost.what;
            tracing::warn!("event {reason} of {}/{} is lost: {message}", lost.namespace, lost.about.1);
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
        let noted = self.seen.note(&happened.what, &happened.about.1, happened.at);
        let Some(Counted { name, count }) = noted else { return };
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
            let Happened { what, namespace, about, .. } = happened;
            tracing::debug!("event {} of {namespace}/{}: {error}", what.reason, about.1);
        }
    }

    fn event(&self, happened: &Happened, name: &str, count: i32) -> serde_json::Value {
        let Happened { what: Same { uid, field, reason, message }, namespace, about, version, type_, at } = happened;
        let (kind, of) = about;
        let own = (*kind == "Pod").then_some(("v1", namespace));
        json!({
            "metadata": {"name": name, "namespace": namespace},
            "involvedObject": {"apiVersion": own.map(|own| own.0), "kind": kind, "namespace": own.map(|own| own.1),
                "name": of, "uid": uid, "resourceVersion": version, "fieldPath": field},
            "reason": reason, "message": message, "type": format!("{type_:?}"),
            "count": count, "firstTimestamp": at, "lastTimestamp": at,
            "source": {"component": "kubelet", "host": self.node},
            "reportingComponent": "kubelet", "reportingInstance": self.node,
        })
    }
}
