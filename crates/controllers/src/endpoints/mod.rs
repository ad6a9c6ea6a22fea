//! Endpoints: what clients read from before there were EndpointSlices (kubernetes/pkg/controller/endpoint). Each is made of the
//! slices of its Service. Endpoints that somebody wrote for a Service without a selector become a slice
//! (kubernetes/pkg/controller/endpointslicemirroring).

mod plan;

use std::{sync::Arc, time::Duration};

use k8s_openapi::api::{core::v1::Endpoints, discovery::v1::EndpointSlice};
use kube::{
    Api, Client, ResourceExt,
    api::{DeleteParams, PostParams},
};

use crate::{
    cache::{Cache, Changed, Key, get, in_namespace},
    runner::{self, gone_is_fine},
};

/// The controller of both directions.
pub(crate) struct Controller {
    client: Client,
    cache: Arc<Cache>,
}

impl Controller {
    pub fn new(client: Client, cache: Arc<Cache>) -> Self {
        Self { client, cache }
    }

    /// Keeps the Endpoints of a Service as its slices are.
    async fn follow(&self, key: &Key, slices: &[Arc<EndpointSlice>]) -> Result<(), runner::Error> {
        let api: Api<Endpoints> = Api::namespaced(self.client.clone(), &key.namespace);
        let labels = get(&self.cache.services, key).map(|service| service.labels().clone()).unwrap_or_default();
        let wanted = plan::endpoints(key, labels, slices);
        match get(&self.cache.endpoints, key) {
            None => match api.create(&PostParams::default(), &wanted).await {
                // It is there, and only this copy does not know it yet: its change wakes this controller again.
                Err(error) if runner::is_conflict(&error) => {}
                other => drop(other?),
            },
            Some(current) if plan::is_same(&current, &wanted) => {}
            Some(current) => {
                let mut next = wanted;
                next.metadata.resource_version = current.resource_version();
                // What somebody has deleted meanwhile would otherwise be made again: Endpoints can be made by replacing them.
                next.metadata.uid = current.uid();
                api.replace(&key.name, &PostParams::default(), &next).await?;
            }
        }
        Ok(())
    }

    /// Keeps a slice as the Endpoints are that somebody wrote; without any, there is no slice.
    async fn mirror(&self, key: &Key, written: Option<&Endpoints>) -> Result<(), runner::Error> {
        let api: Api<EndpointSlice> = Api::namespaced(self.client.clone(), &key.namespace);
        let wanted = written.map(plan::mirrored).unwrap_or_default();
        let all = in_namespace(&self.cache.slices, &key.namespace);
        let mirrors: Vec<&Arc<EndpointSlice>> = all.iter().filter(|slice| plan::is_mirror(slice, &key.name)).collect();
        for slice in &wanted {
            match mirrors.iter().find(|mirror| mirror.name_any() == slice.name_any()) {
                None => match api.create(&PostParams::default(), slice).await {
                    Err(error) if runner::is_conflict(&error) => {}
                    other => drop(other?),
                },
                Some(mirror) if plan::is_same_slice(mirror, slice) => {}
                Some(mirror) => {
                    let mut next = slice.clone();
                    next.metadata.resource_version = mirror.resource_version();
                    api.replace(&slice.name_any(), &PostParams::default(), &next).await?;
                }
            }
        }
        for stale in mirrors.iter().filter(|mirror| !wanted.iter().any(|slice| slice.name_any() == mirror.name_any())) {
            gone_is_fine(api.delete(&stale.name_any(), &DeleteParams::default()).await)?;
        }
        Ok(())
    }
}

impl runner::Controller for Controller {
    const NAME: &'static str = "endpoints";

    fn concerned(&self, change: &Changed) -> Vec<Key> {
        match change {
            Changed::Service(service) => vec![Key::of(service.as_ref())],
            Changed::Endpoints(endpoints) => vec![Key::of(endpoints.as_ref())],
            Changed::EndpointSlice(slice) => {
                let namespace = slice.namespace().unwrap_or_default();
                let service = slice.labels().get(plan::SERVICE).cloned();
                service.map(|name| Key { namespace, name }).into_iter().collect()
            }
            _ => Vec::new(),
        }
    }

    async fn reconcile(&self, key: &Key) -> Result<Option<Duration>, runner::Error> {
        let service = get(&self.cache.services, key).filter(|service| service.metadata.deletion_timestamp.is_none());
        let endpoints = get(&self.cache.endpoints, key);
        let spec = service.as_ref().and_then(|service| service.spec.clone()).unwrap_or_default();
        let selects = spec.selector.is_some_and(|selector| !selector.is_empty());
        if selects {
            self.mirror(key, None).await?;
            let slices = in_namespace(&self.cache.slices, &key.namespace);
            let own = |slice: &Arc<EndpointSlice>| slice.labels().get(plan::SERVICE) == Some(&key.name);
            let slices: Vec<_> = slices.into_iter().filter(own).collect();
            self.follow(key, &slices).await?;
        } else {
            // Only what this controller made goes with its Service.
            if service.is_none() && endpoints.as_ref().is_some_and(|endpoints| plan::is_ours(endpoints)) {
                let api: Api<Endpoints> = Api::namespaced(self.client.clone(), &key.namespace);
                gone_is_fine(api.delete(&key.name, &DeleteParams::default()).await)?;
            }
            let written = endpoints.filter(|endpoints| service.is_some() && plan::is_to_mirror(endpoints));
            self.mirror(key, written.as_deref()).await?;
        }
        Ok(None)
    }
}
