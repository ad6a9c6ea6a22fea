//! Events about what controllers did, as people read them in `kubectl describe`.

use k8s_openapi::{
    api::core::v1::{Event, EventSource, ObjectReference},
    apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time},
};
use kube::{Api, Client, Resource, ResourceExt, api::PostParams};

/// Writes one event; a failure is logged and otherwise of no consequence.
pub async fn record<K>(client: &Client, component: &str, object: &K, kind: EventKind, reason: &str, message: &str)
where
    K: Resource<DynamicType = ()>,
{
    let now = Time(jiff::Timestamp::now());
    let namespace = object.namespace().unwrap_or_else(|| "default".to_owned());
    let event = Event {
        metadata: ObjectMeta {
            generate_name: Some(format!("{}.", object.name_any())),
            namespace: Some(namespace.clone()),
            ..ObjectMeta::default()
        },
        involved_object: ObjectReference {
            api_version: Some(K::api_version(&()).into_owned()),
            kind: Some(K::kind(&()).into_owned()),
            name: object.meta().name.clone(),
            namespace: object.namespace(),
            uid: object.uid(),
            ..ObjectReference::default()
        },
        type_: Some(kind.text().to_owned()),
        reason: Some(reason.to_owned()),
        message: Some(message.to_owned()),
        source: Some(EventSource { component: Some(component.to_owned()), host: None }),
        count: Some(1),
        first_timestamp: Some(now.clone()),
        last_timestamp: Some(now),
        ..Event::default()
    };
    if let Err(error) = Api::namespaced(client.clone(), &namespace).create(&PostParams::default(), &event).await {
        tracing::debug!("event {reason} about {}: {error}", object.name_any());
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
