//! Deleting a namespace: everything in it goes, then the namespace itself.

use std::{sync::Arc, time::Duration};

use crate::{
    cache::{Cache, Changed, Key, get},
    runner,
    served::Served,
};
use http::Request;
use kube::{
    Api, Client, ResourceExt,
    api::{ApiResource, DeleteParams, DynamicObject, GroupVersionKind, ListParams},
};

/// How soon to look again while something is still going.
const AGAIN: Duration = Duration::from_millis(500);

/// Empties namespaces that are being deleted.
pub(crate) struct Controller {
    client: Client,
    cache: Arc<Cache>,
    served: Served,
}

impl Controller {
    pub fn new(client: Client, cache: Arc<Cache>, served: Served) -> Self {
        Self { client, cache, served }
    }

    /// Deletes all there is of every kind; whether anything is left.
    async fn empty(&self, namespace: &str) -> Result<bool, kube::Error> {
        let mut left = false;
        let served = self.served.clone().now().await;
        for kind in served.kinds.stored().filter(|kind| kind.namespaced) {
            let gvk = GroupVersionKind::gvk(kind.group, kind.version, kind.kind);
            let resource = ApiResource::from_gvk_with_plural(&gvk, kind.plural);
            let api: Api<DynamicObject> = Api::namespaced_with(self.client.clone(), namespace, &resource);
            if api.list_metadata(&ListParams::default().limit(1)).await?.items.is_empty() {
                continue;
            }
            api.delete_collection(&DeleteParams::background(), &ListParams::default()).await?;
            left |= !api.list_metadata(&ListParams::default().limit(1)).await?.items.is_empty();
        }
        Ok(left)
    }
}

impl runner::Controller for Controller {
    const NAME: &'static str = "namespace";

    fn concerned(&self, change: &Changed) -> Vec<Key> {
        match change {
            Changed::Namespace(namespace) if namespace.metadata.deletion_timestamp.is_some() => {
                vec![Key::of(namespace.as_ref())]
            }
            _ => Vec::new(),
        }
    }

    async fn reconcile(&self, key: &Key) -> Result<Option<Duration>, runner::Error> {
        let Some(namespace) = get(&self.cache.namespaces, key) else { return Ok(None) };
        if namespace.metadata.deletion_timestamp.is_none() {
            return Ok(None);
        }
        if self.empty(&key.name).await? {
            return Ok(Some(AGAIN));
        }
        let mut done = namespace.as_ref().clone();
        done.metadata.resource_version = None;
        if let Some(finalizers) = done.spec.as_mut().and_then(|spec| spec.finalizers.as_mut()) {
            finalizers.retain(|finalizer| finalizer != "kubernetes");
        }
        let path = format!("/api/v1/namespaces/{}/finalize", namespace.name_any());
        let request = Request::put(path).header("content-type", "application/json").body(serde_json::to_vec(&done)?)?;
        match self.client.request::<serde_json::Value>(request).await {
            Err(kube::Error::Api(status)) if status.code == 404 => Ok(None),
            Err(error) => Err(error.into()),
            Ok(_) => Ok(None),
        }
    }
}
