//! Watches HorizontalPodAutoscalers that may go to zero, and what they scale, of whatever kind that is.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
    time::Duration,
};

use futures::{FutureExt, Stream, StreamExt};
use k8s_openapi::{
    api::autoscaling::v2::{HorizontalPodAutoscaler, HorizontalPodAutoscalerSpec},
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};
use kube::{
    Api, Client,
    api::{ApiResource, DynamicObject, GroupVersionKind, TypeMeta},
    discovery,
    runtime::{
        WatchStreamExt,
        reflector::{self, ObjectRef, Store},
        watcher,
    },
};
use tokio::{
    sync::{Notify, watch},
    task::{AbortHandle, JoinSet},
};

use super::{
    run::absent_is_empty,
    scalable::{Kind, Scalable, exact_labels, keep_labels, scalable, target, template_labels},
};

/// How soon a kind that the API does not have, or a scale that cannot be read, is asked for again.
const AGAIN: Duration = Duration::from_secs(5);

/// What autoscalers may take to zero; `None` until that is known.
pub(super) type Found = Option<Vec<Arc<Scalable>>>;

/// Objects of a kind that some autoscaler scales.
struct Watched {
    resource: ApiResource,
    store: Store<DynamicObject>,
    task: AbortHandle,
}

impl Drop for Watched {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Tells `found` what there is, until it is dropped.
pub(super) async fn run(client: Client, found: watch::Sender<Found>) {
    let (changed, mut tasks) = (Arc::new(Notify::new()), JoinSet::new());
    let (store, writer) = reflector::store();
    let autoscalers = watcher(Api::<HorizontalPodAutoscaler>::all(client.clone()), watcher::Config::default());
    let autoscalers = autoscalers.default_backoff().flat_map(absent_is_empty).modify(only_target).reflect(writer);
    tasks.spawn(follow(autoscalers, "HorizontalPodAutoscaler".to_owned(), changed.clone(), found.clone()));
    let mut kinds = HashMap::new();
    loop {
        let mut whole = true;
        if is_ready(&store) {
            let autoscalers = store.state();
            whole = watch_kinds(&client, &autoscalers, &mut kinds, &mut tasks, &changed, &found).await;
            if let Some(scalables) = scalables(&client, &autoscalers, &kinds, &mut whole).await {
                found.send_if_modified(|known| {
                    let differs = known.as_ref() != Some(&scalables);
                    *known = Some(scalables);
                    differs
                });
            }
        }
        tokio::select! {
            () = changed.notified() => {}
            () = tokio::time::sleep(AGAIN), if !whole => {}
        }
        // Of what has ended nobody wants to know how.
        while tasks.try_join_next().is_some() {}
    }
}

fn only_target(autoscaler: &mut HorizontalPodAutoscaler) {
    let ObjectMeta { name, namespace, uid, resource_version, .. } = std::mem::take(&mut autoscaler.metadata);
    autoscaler.metadata = ObjectMeta { name, namespace, uid, resource_version, ..ObjectMeta::default() };
    autoscaler.status = None;
    autoscaler.spec = autoscaler.spec.take().map(|spec| HorizontalPodAutoscalerSpec {
        min_replicas: spec.min_replicas,
        scale_target_ref: spec.scale_target_ref,
        ..HorizontalPodAutoscalerSpec::default()
    });
}

/// Whether everything has been listed once.
fn is_ready<K>(store: &Store<K>) -> bool
where
    K: reflector::Lookup + Clone + 'static,
    K::DynamicType: Eq + std::hash::Hash + Clone,
{
    store.wait_until_ready().now_or_never().is_some()
}

/// Begins to watch the kinds that are scaled, and ceases to watch the others; `false` if one is not there.
async fn watch_kinds(
    client: &Client,
    autoscalers: &[Arc<HorizontalPodAutoscaler>],
    kinds: &mut HashMap<Kind, Watched>,
    tasks: &mut JoinSet<()>,
    changed: &Arc<Notify>,
    found: &watch::Sender<Found>,
) -> bool {
    let wanted: Vec<Kind> = autoscalers.iter().filter_map(|autoscaler| Some(target(autoscaler)?.0)).collect();
    kinds.retain(|kind, _| wanted.contains(kind));
    let mut whole = true;
    for kind in wanted {
        if kinds.contains_key(&kind) {
            continue;
        }
        let types = TypeMeta { api_version: kind.api_version.clone(), kind: kind.kind.clone() };
        let Ok(asked) = GroupVersionKind::try_from(types) else { continue };
        match discovery::pinned_kind(client, &asked).await {
            Ok((resource, _)) => {
                let writer = reflector::store::Writer::<DynamicObject>::new(resource.clone());
                let store = writer.as_reader();
                let objects = watcher(Api::all_with(client.clone(), &resource), watcher::Config::default());
                let objects = objects.default_backoff().flat_map(absent_is_empty).modify(keep_labels).reflect(writer);
                let task = tasks.spawn(follow(objects, kind.kind.clone(), changed.clone(), found.clone()));
                kinds.insert(kind, Watched { resource, store, task });
            }
            Err(error) => {
                tracing::debug!(kind = kind.kind, error = %error, "what an autoscaler scales is not known");
                whole = false;
            }
        }
    }
    whole
}

/// Notifies of every change; what cannot be watched is taken for absent, lest everything else wait for it.
async fn follow<K: Send>(
    stream: impl Stream<Item = Result<watcher::Event<K>, watcher::Error>> + Send,
    kind: String,
    changed: Arc<Notify>,
    found: watch::Sender<Found>,
) {
    let mut stream = std::pin::pin!(stream);
    while let Some(event) = stream.next().await {
        match event {
            Ok(watcher::Event::Init | watcher::Event::InitApply(_)) => {}
            Ok(_) => changed.notify_one(),
            Err(error) => {
                tracing::warn!(kind, error = %error, "watch failed; trying again");
                found.send_if_modified(|known| known.is_none() && known.insert(Vec::new()).is_empty());
            }
        }
    }
}

/// Every target that there is; `None` while some kind has not been listed.
async fn scalables(
    client: &Client,
    autoscalers: &[Arc<HorizontalPodAutoscaler>],
    kinds: &HashMap<Kind, Watched>,
    whole: &mut bool,
) -> Found {
    if !kinds.values().all(|watched| is_ready(&watched.store)) {
        return None;
    }
    let mut all = Vec::new();
    for autoscaler in autoscalers {
        let Some((kind, name)) = target(autoscaler) else { continue };
        let (Some(watched), Some(namespace)) = (kinds.get(&kind), &autoscaler.metadata.namespace) else { continue };
        let Watched { resource, store, .. } = watched;
        let place = ObjectRef::<DynamicObject>::new_with(name, resource.clone()).within(namespace);
        let Some(object) = store.get(&place) else { continue };
        let labels = match template_labels(&object) {
            Some(labels) => labels,
            None => match selected(client, resource, namespace, name).await {
                Ok(labels) => labels,
                Err(error) => {
                    tracing::debug!(kind = resource.kind, namespace, name, error = %error, "no scale");
                    *whole = false;
                    continue;
                }
            },
        };
        all.extend(scalable(autoscaler, resource, labels));
    }
    all.sort_by(|a, b| (&a.namespace, &a.autoscaler.name).cmp(&(&b.namespace, &b.autoscaler.name)));
    Some(all)
}

/// The labels that the pods of something without a template have, as far as its scale says.
async fn selected(
    client: &Client,
    resource: &ApiResource,
    namespace: &str,
    name: &str,
) -> kube::Result<BTreeMap<String, String>> {
    let api: Api<DynamicObject> = Api::namespaced_with(client.clone(), namespace, resource);
    let scale = api.get_scale(name).await?;
    let selector = scale.status.and_then(|status| status.selector).unwrap_or_default();
    Ok(exact_labels(&selector))
}
