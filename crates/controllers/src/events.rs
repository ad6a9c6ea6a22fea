//! Events about what controllers did, as people read them in `kubectl describe`.

use std::sync::{Mutex, PoisonError};

use jiff::Timestamp;
use k8s_openapi::{
    api::core::v1::{Event, EventSource, ObjectReference},
    apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time},
};
use kube::{
    Api, Client, Resource, ResourceExt,
    api::{Patch, PatchParams, PostParams},
};
use objects::events::{Correlator, Counted, Same};
use serde_json::json;

/// Writes the events of one component.
pub struct Recorder {
    client: Client,
    component: &'static str,
    seen: Mutex<Correlator>,
}

impl Recorder {
    /// A recorder that has written nothing yet.
    pub fn new(client: Client, component: &'static str) -> Self {
        Self { client, component, seen: Mutex::default() }
    }

    /// Writes one event, or counts it on the one that is there; a failure is logged and otherwise of no consequence.
    pub async fn record<K>(&self, object: &K, kind: EventKind, reason: &str, message: &str)
    where
        K: Resource<DynamicType = ()>,
    {
        let now = Timestamp::now();
        let (uid, reason, message) = (object.uid().unwrap_or_default(), reason.to_owned(), message.to_owned());
        let what = Same { uid, field: None, reason, message };
        let noted = self.seen.lock().unwrap_or_else(PoisonError::into_inner).note(&what, &object.name_any(), now);
        let Some(noted) = noted else { return };
        let namespace = object.namespace().unwrap_or_else(|| "default".to_owned());
        let api: Api<Event> = Api::namespaced(self.client.clone(), &namespace);
        if noted.count > 1 {
            let change = json!({"count": noted.count, "lastTimestamp": Time(now)});
            if api.patch(&noted.name, &PatchParams::default(), &Patch::Merge(&change)).await.is_ok() {
                return;
            }
        }
        let event = self.event(object, kind, what, noted, namespace, Time(now));
        if let Err(error) = api.create(&PostParams::default(), &event).await {
            let reason = event.reason.unwrap_or_default();
            tracing::debug!("event {reason} about {}: {error}", object.name_any());
        }
    }

    fn event<K: Resource<DynamicType = ()>>(
        &self,
        object: &K,
        kind: EventKind,
        what: Same,
        noted: Counted,
        namespace: String,
        now: Time,
    ) -> Event {
        Event {
            metadata: ObjectMeta { name: Some(noted.name), namespace: Some(namespace), ..ObjectMeta::default() },
            involved_object: ObjectReference {
                api_version: Some(K::api_version(&()).into_owned()),
                kind: Some(K::kind(&()).into_owned()),
                name: object.meta().name.clone(),
                namespace: object.namespace(),
                uid: object.uid(),
                ..ObjectReference::default()
            },
            type_: Some(kind.text().to_owned()),
            reason: Some(what.reason),
            message: Some(what.message),
            source: Some(EventSource { component: Some(self.component.to_owned()), host: None }),
            reporting_component: Some(self.component.to_owned()),
            count: Some(noted.count),
            first_timestamp: Some(now.clone()),
            last_timestamp: Some(now),
            ..Event::default()
        }
    }
}

/// Whether all is well.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EventKind {
    /// It is.
    Normal,
    /// Somebody should look.
    Warning,
}

impl EventKind {
    fn text(self) -> &'static str {
        match self {
            Self::Normal => "Normal",
            Self::Warning => "Warning",
        }
    }
}
