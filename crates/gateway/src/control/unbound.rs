//! Service addresses that could not be bound: a Service has no condition for that, so it is said by event.

use k8s_openapi::api::core::v1::{ObjectReference, Service};
use kube::{
    Client, Resource,
    runtime::events::{Event, EventType, Recorder, Reporter},
};

use super::{BindError, Snapshot};

/// Writes the events.
pub(super) struct Unbound(Recorder);

impl Unbound {
    pub fn new(client: Client) -> Self {
        Self(Recorder::new(client, Reporter { controller: "gateway".to_owned(), instance: None }))
    }

    /// Says which Services the errors concern. Gateways say it in their conditions.
    pub async fn say(&self, snapshot: &Snapshot, errors: &[BindError]) {
        for (service, error) in errors.iter().filter_map(|error| Some((owner(snapshot, error)?, error))) {
            let event = Event {
                type_: EventType::Warning,
                reason: "FailedToBind".to_owned(),
                note: Some(note(error)),
                action: "Bind".to_owned(),
                secondary: None,
            };
            if let Err(failed) = self.0.publish(&event, &service).await {
                tracing::warn!(service = service.name, error = %failed, "event not written: {}", note(error));
            }
        }
    }
}

fn owner(snapshot: &Snapshot, error: &BindError) -> Option<ObjectReference> {
    let address = error.address.ip().to_string();
    let has = |service: &Service| service.spec.as_ref().is_some_and(|s| s.cluster_ip.as_deref() == Some(&address));
    snapshot.services.iter().find(|service| has(service)).map(|service| service.object_ref(&()))
}

fn note(error: &BindError) -> String {
    let mut note = format!("the service is not served at {}: {}", error.address, error.message);
    if error.denied {
        note.push_str(
            "; ports below 1024 need privileges: run Coracle as root, or allow the port with \
             `sysctl net.ipv4.ip_unprivileged_port_start`",
        );
    }
    note
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use serde_json::json;

    use super::*;

    #[test]
    fn the_service_with_the_address_is_told_why_and_what_to_do() {
        let service = json!({"metadata": {"name": "web", "namespace": "shop"}, "spec": {"clusterIP": "127.96.0.9"}});
        let service = Arc::new(serde_json::from_value(service).unwrap());
        let snapshot = Snapshot { services: vec![service], ..Snapshot::default() };
        let error = |address: &str| {
            let address = address.parse().unwrap();
            BindError {
                address,
                transport: crate::table::Transport::Tcp,
                message: "Permission denied".to_owned(),
                denied: true,
            }
        };
        let owner_of = |address| owner(&snapshot, &error(address));
        let found = owner_of("127.96.0.9:80").unwrap();
        assert_eq!((found.namespace.as_deref(), found.name.as_deref()), (Some("shop"), Some("web")));
        assert!(owner_of("127.0.0.1:80").is_none());
        assert!(note(&error("127.96.0.9:80")).contains("run Coracle as root"));
    }
}
