//! EndpointSlices: which pods serve a Service now (kubernetes/pkg/controller/endpointslice).

mod plan;

use std::{sync::Arc, time::Duration};

use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::{
    Api, Client, ResourceExt,
    api::{DeleteParams, PostParams},
};
use objects::selector::Labels;

pub use plan::{MANAGER, desired};

use crate::{
    cache::{Cache, Changed, Key, get, in_namespace},
    runner::{self, gone_is_fine},
};

/// The endpoint slice controller.
pub struct Controller {
    client: Client,
    cache: Arc<Cache>,
}

impl Controller {
    pub(crate) fn new(client: Client, cache: Arc<Cache>) -> Self {
        Self { client, cache }
    }
}

impl runner::Controller for Controller {
    const NAME: &'static str = "endpointslice";

    fn concerned(&self, change: &Changed) -> Vec<Key> {
        match change {
            Changed::Service(service) => vec![Key::of(service.as_ref())],
            Changed::EndpointSlice(slice) => {
                let namespace = slice.namespace().unwrap_or_default();
                let service = slice.labels().get("kubernetes.io/service-name").cloned();
                service.map(|name| Key { namespace, name }).into_iter().collect()
            }
            Changed::Pod(pod) => {
                // A pod whose labels changed leaves services that its new labels do not name: their slices still do.
                let namespace = pod.namespace().unwrap_or_default();
                let services = in_namespace(&self.cache.services, &namespace);
                let selects = |service: &k8s_openapi::api::core::v1::Service| {
                    let selector = service.spec.as_ref().and_then(|spec| spec.selector.as_ref());
                    selector.is_some_and(|s| !s.is_empty() && Labels::from_map(s).matches(pod.labels()))
                };
                let mut keys: Vec<Key> = services.iter().filter(|s| selects(s)).map(|s| Key::of(s.as_ref())).collect();
                let uid = pod.uid();
                let names = |slice: &EndpointSlice| {
                    slice.endpoints.iter().any(|e| e.target_ref.as_ref().is_some_and(|target| target.uid == uid))
                };
                let slices = in_namespace(&self.cache.slices, &namespace);
                let held = slices.iter().filter(|slice| names(slice));
                keys.extend(held.filter_map(|slice| {
                    let name = slice.labels().get("kubernetes.io/service-name")?.clone();
                    Some(Key { namespace: namespace.clone(), name })
                }));
                keys
            }
            _ => Vec::new(),
        }
    }

    async fn reconcile(&self, key: &Key) -> Result<Option<Duration>, runner::Error> {
        let service = get(&self.cache.services, key).filter(|service| service.metadata.deletion_timestamp.is_none());
        let own = |slice: &&Arc<EndpointSlice>| {
            let labels = slice.labels();
            labels.get("kubernetes.io/service-name") == Some(&key.name)
                && labels.get("endpointslice.kubernetes.io/managed-by").is_some_and(|by| by == MANAGER)
        };
        let slices = in_namespace(&self.cache.slices, &key.namespace);
        let current: Vec<&Arc<EndpointSlice>> = slices.iter().filter(own).collect();
        let pods = in_namespace(&self.cache.pods, &key.namespace);
        let wanted = service.as_ref().map_or_else(Vec::new, |service| desired(service, &pods));
        let api: Api<EndpointSlice> = Api::namespaced(self.client.clone(), &key.namespace);
        for slice in &wanted {
            let name = slice.name_any();
            match current.iter().find(|existing| existing.name_any() == name) {
                None => match api.create(&PostParams::default(), slice).await {
                    // It is there, and only this copy does not know it yet: its change wakes this controller again.
                    Err(error) if runner::is_conflict(&error) => {}
                    other => drop(other?),
                },
                Some(existing) if plan::is_same(existing, slice) => {}
                Some(existing) => {
                    let mut next = slice.clone();
                    next.metadata.resource_version = existing.resource_version();
                    api.replace(&name, &PostParams::default(), &next).await?;
                }
            }
        }
        for stale in
            current.iter().filter(|existing| !wanted.iter().any(|slice| slice.name_any() == existing.name_any()))
        {
            gone_is_fine(api.delete(&stale.name_any(), &DeleteParams::default()).await)?;
        }
        Ok(None)
    }
}
