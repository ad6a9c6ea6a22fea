//! Which kinds quotas count, and that something of them changed: kinds that the cache has no copy of are watched for as long as a quota
//! counts them.

use std::{collections::HashMap, sync::Arc};

use futures::StreamExt;
use kube::{
    Api, Client, ResourceExt,
    api::{ApiResource, DynamicObject, GroupVersionKind},
    core::PartialObjectMeta,
    runtime::{WatchStreamExt, watcher},
};
use objects::{
    kinds::{Kind, KindRef},
    quota,
};
use tokio::{select, sync::broadcast::error::RecvError};
use tokio_util::task::AbortOnDropHandle;

use super::names;
use crate::{
    cache::{Cache, Changed},
    served::Served,
};

/// Follows the quotas until it is dropped.
pub(crate) async fn follow(client: Client, cache: Arc<Cache>, mut served: Served) {
    let mut watches: HashMap<(&'static str, &'static str), AbortOnDropHandle<()>> = HashMap::new();
    let mut changes = cache.changes();
    loop {
        let names = names(&cache.quotas.state());
        let kinds = served.now().await.kinds;
        let wanted: Vec<KindRef> = kinds.stored().filter(|kind| is_watched(kind, &names)).collect();
        watches.retain(|id, _| wanted.iter().any(|kind| (kind.group, kind.plural) == *id));
        for kind in wanted {
            let start = || AbortOnDropHandle::new(tokio::spawn(watch(client.clone(), cache.clone(), kind.clone())));
            watches.entry((kind.group, kind.plural)).or_insert_with(start);
        }
        loop {
            select! {
                () = served.changed() => break,
                change = changes.recv() => match change {
                    // What was missed may have been about a quota.
                    Ok(Changed::Quota(_)) | Err(RecvError::Lagged(_)) => break,
                    Ok(_) => {}
                    Err(RecvError::Closed) => return,
                }
            }
        }
    }
}

/// Whether a kind must be watched for quotas that count these names.
fn is_watched(kind: &Kind, names: &[String]) -> bool {
    let cached = kind.group.is_empty() && matches!(kind.kind, "Pod" | "Service" | "ResourceQuota");
    kind.namespaced && !cached && names.iter().any(|name| quota::is_used_by(name, kind))
}

async fn watch(client: Client, cache: Arc<Cache>, kind: KindRef) {
    let gvk = GroupVersionKind::gvk(kind.group, kind.version, kind.kind);
    let resource = ApiResource::from_gvk_with_plural(&gvk, kind.plural);
    let api: Api<PartialObjectMeta<DynamicObject>> = Api::all_with(client, &resource);
    let mut events = watcher(api, watcher::Config::default()).default_backoff().boxed();
    while let Some(event) = events.next().await {
        match event {
            Ok(watcher::Event::Apply(object) | watcher::Event::InitApply(object) | watcher::Event::Delete(object)) => {
                cache.announce(Changed::Counted(object.namespace().unwrap_or_default()));
            }
            Ok(watcher::Event::Init | watcher::Event::InitDone) => {}
            Err(error) => tracing::warn!("watch {}: {error}", kind.plural),
        }
    }
}
