//! Which kinds quotas count, and that something of them changed: kinds that the cache has no copy of are watched for as long as a quota
//! counts them.

use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
};

use futures::StreamExt;
use kube::{
    Api, Client, Resource, ResourceExt,
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
            Ok(event) => tell(&cache, &event),
            Err(error) => tracing::warn!("watch {}: {error}", kind.plural),
        }
    }
}

/// Says of which namespaces something changed.
fn tell<K: Resource>(cache: &Cache, event: &watcher::Event<K>) {
    match event {
        watcher::Event::Apply(object) | watcher::Event::Delete(object) => {
            cache.announce(Changed::Counted(object.meta().namespace.clone().unwrap_or_default()));
        }
        watcher::Event::Init | watcher::Event::InitApply(_) => {}
        watcher::Event::InitDone => {
            // What went while nobody watched is in no list: anything may be different wherever something is counted.
            let quotas = cache.quotas.state();
            let namespaces: BTreeSet<String> = quotas.iter().filter_map(|quota| quota.namespace()).collect();
            namespaces.into_iter().for_each(|namespace| cache.announce(Changed::Counted(namespace)));
        }
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::{ResourceQuota, Secret};
    use kube::runtime::reflector;
    use serde_json::{Value, from_value, json};

    use super::*;

    #[test]
    fn what_went_while_nobody_watched_is_counted_again() {
        let of = |namespace: &str| -> Value { json!({"metadata": {"name": "a", "namespace": namespace}}) };
        let (quotas, mut writer) = reflector::store::<ResourceQuota>();
        let mut cache = Cache::empty();
        cache.quotas = quotas;
        writer.apply_watcher_event(&watcher::Event::Apply(from_value(of("counted")).unwrap()));
        let mut changes = cache.changes();
        let mut told = |event: watcher::Event<Secret>| {
            tell(&cache, &event);
            changes.try_recv().ok().map(|change| match change {
                Changed::Counted(namespace) => namespace,
                other => panic!("{other:?}"),
            })
        };
        let secret = |namespace| from_value(of(namespace)).unwrap();
        assert_eq!(told(watcher::Event::Delete(secret("one"))).as_deref(), Some("one"));
        assert_eq!(told(watcher::Event::Init), None);
        // That of the namespace that counts is gone.
        assert_eq!(told(watcher::Event::InitApply(secret("other"))), None);
        assert_eq!(told(watcher::Event::InitDone).as_deref(), Some("counted"));
    }
}
