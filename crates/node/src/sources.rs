//! The ConfigMaps, Secrets and Services that pods refer to, and the EndpointSlices that refer to pods, kept up to date by watches.

use std::sync::Arc;

use futures::StreamExt;
use k8s_openapi::api::{
    core::v1::{ConfigMap, Secret, Service},
    discovery::v1::{Endpoint, EndpointSlice},
};
use kube::{
    Api, Client, Resource,
    runtime::{
        WatchStreamExt,
        reflector::{self, ObjectRef, Store},
        watcher,
    },
};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::env::Lookup;

/// The stores, and a signal that something in them changed.
pub struct Sources {
    config_maps: Store<ConfigMap>,
    secrets: Store<Secret>,
    services: Store<Service>,
    slices: Store<EndpointSlice>,
    changed: watch::Sender<u64>,
    endpoints: watch::Sender<u64>,
}

/// Whether a pod gets the requests of Services.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Traffic {
    /// No Service has it, or it could not serve anyway.
    None,
    /// It could serve, and nobody sends it requests any more.
    Left,
    /// Requests are sent to it.
    Given,
}

impl Sources {
    /// Starts the watches; they end with the token.
    pub fn start(client: &Client, stop: &CancellationToken) -> Self {
        let (changed, endpoints) = (watch::Sender::new(0), watch::Sender::new(0));
        Self {
            config_maps: follow(client, &changed, stop),
            secrets: follow(client, &changed, stop),
            services: follow(client, &watch::Sender::new(0), stop),
            slices: follow(client, &endpoints, stop),
            changed,
            endpoints,
        }
    }

    /// Resolves once everything has been listed.
    pub async fn ready(&self) {
        let (maps, secrets) = (self.config_maps.wait_until_ready(), self.secrets.wait_until_ready());
        let (services, slices) = (self.services.wait_until_ready(), self.slices.wait_until_ready());
        // A writer that is gone means that the node is stopping.
        let _ = tokio::join!(maps, secrets, services, slices);
    }

    /// Whether a pod gets the requests of Services, by the EndpointSlices.
    pub fn traffic(&self, namespace: &str, pod_uid: &str) -> Traffic {
        let of_endpoint = |endpoint: &Endpoint| {
            if endpoint.target_ref.as_ref().and_then(|target| target.uid.as_deref()) != Some(pod_uid) {
                return Traffic::None;
            }
            let conditions = endpoint.conditions.clone().unwrap_or_default();
            match (conditions.ready.unwrap_or(true), conditions.serving.unwrap_or(true)) {
                (true, _) => Traffic::Given,
                (false, true) => Traffic::Left,
                (false, false) => Traffic::None,
            }
        };
        let slices = self.slices.state();
        let here = slices.iter().filter(|slice| slice.metadata.namespace.as_deref() == Some(namespace));
        here.flat_map(|slice| slice.endpoints.iter().map(of_endpoint)).max().unwrap_or(Traffic::None)
    }

    /// The first changes when a ConfigMap or Secret does, the second when an EndpointSlice does.
    pub fn changes(&self) -> (watch::Receiver<u64>, watch::Receiver<u64>) {
        (self.changed.subscribe(), self.endpoints.subscribe())
    }
}

fn follow<K>(client: &Client, changed: &watch::Sender<u64>, stop: &CancellationToken) -> Store<K>
where
    K: Resource<DynamicType = ()> + Clone + std::fmt::Debug + serde::de::DeserializeOwned + Send + Sync + 'static,
{
    let (store, writer) = reflector::store();
    let stream = watcher(Api::<K>::all(client.clone()), watcher::Config::default()).default_backoff().reflect(writer);
    let (changed, stop) = (changed.clone(), stop.clone());
    tokio::spawn(async move {
        let run = stream.for_each(|event| {
            match event {
                Ok(watcher::Event::Init | watcher::Event::InitApply(_)) => {}
                Ok(_) => changed.send_modify(|n| *n = n.wrapping_add(1)),
                Err(error) => tracing::debug!("watch {}: {error}", K::plural(&())),
            }
            std::future::ready(())
        });
        stop.run_until_cancelled(run).await
    });
    store
}

impl Lookup for Sources {
    fn config_map(&self, namespace: &str, name: &str) -> Option<Arc<ConfigMap>> {
        self.config_maps.get(&ObjectRef::new(name).within(namespace))
    }

    fn secret(&self, namespace: &str, name: &str) -> Option<Arc<Secret>> {
        self.secrets.get(&ObjectRef::new(name).within(namespace))
    }

    fn services(&self) -> Vec<Arc<Service>> {
        self.services.state()
    }
}

#[cfg(test)]
pub mod tests {
    //! Sources that a test fills.

    use serde_json::Value;

    use super::*;

    /// Puts objects into [`Sources`].
    pub struct Given {
        config_maps: reflector::store::Writer<ConfigMap>,
        secrets: reflector::store::Writer<Secret>,
        slices: reflector::store::Writer<EndpointSlice>,
        changed: watch::Sender<u64>,
        endpoints: watch::Sender<u64>,
    }

    impl Given {
        /// Gives or changes a ConfigMap.
        pub fn config_map(&mut self, value: Value) {
            self.config_maps.apply_watcher_event(&watcher::Event::Apply(serde_json::from_value(value).unwrap()));
            self.changed.send_modify(|n| *n += 1);
        }

        /// Gives or changes a Secret.
        pub fn secret(&mut self, value: Value) {
            self.secrets.apply_watcher_event(&watcher::Event::Apply(serde_json::from_value(value).unwrap()));
            self.changed.send_modify(|n| *n += 1);
        }

        /// Gives or changes an EndpointSlice.
        pub fn slice(&mut self, value: Value) {
            self.slices.apply_watcher_event(&watcher::Event::Apply(serde_json::from_value(value).unwrap()));
            self.endpoints.send_modify(|n| *n += 1);
        }
    }

    impl Sources {
        /// Empty sources, and what fills them.
        pub fn given() -> (Self, Given) {
            let (changed, endpoints) = (watch::Sender::new(0), watch::Sender::new(0));
            let (config_maps, config_maps_of) = reflector::store();
            let (secrets, secrets_of) = reflector::store();
            let (services, _) = reflector::store();
            let (slices, slices_of) = reflector::store();
            let given = Given {
                config_maps: config_maps_of,
                secrets: secrets_of,
                slices: slices_of,
                changed: changed.clone(),
                endpoints: endpoints.clone(),
            };
            (Self { config_maps, secrets, services, slices, changed, endpoints }, given)
        }
    }
}
