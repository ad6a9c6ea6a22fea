//! What the API has of the kinds that controllers read: one watch and one copy of each, shared by all of them.

use std::{hash::Hash, sync::Arc};

use futures::{Stream, StreamExt};
use k8s_openapi::api::{
    apps::v1::{Deployment, ReplicaSet},
    core::v1::{
        ConfigMap, Container, Endpoints, Namespace, Node, Pod, ReplicationController, ResourceQuota, Service,
        ServiceAccount,
    },
    discovery::v1::EndpointSlice,
    policy::v1::PodDisruptionBudget,
};
use kube::{
    Api, Client, Resource, ResourceExt,
    runtime::{
        WatchStreamExt,
        reflector::{self, ObjectRef, Store},
        watcher::{self, Event},
    },
};
use objects::vertical::VerticalPodAutoscaler;
use serde::de::DeserializeOwned;
use tokio::{sync::broadcast, task::JoinSet};

/// The ConfigMap of every namespace that has the authority's certificate.
pub(crate) const ROOT_CA: &str = "kube-root-ca.crt";

/// Changes that a controller may fall behind; past it, it looks at everything again.
pub(crate) const BEHIND: usize = 4096;

/// Which object; the namespace is empty for kinds without.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key {
    /// `metadata.namespace`.
    pub namespace: String,
    /// `metadata.name`.
    pub name: String,
}

impl Key {
    /// The key of an object.
    pub fn of<K: Resource>(object: &K) -> Self {
        let meta = object.meta();
        Self { namespace: meta.namespace.clone().unwrap_or_default(), name: meta.name.clone().unwrap_or_default() }
    }
}

/// An object that changed, in its new state (its last one if it went).
#[derive(Clone, Debug)]
pub enum Changed {
    /// A Deployment.
    Deployment(Arc<Deployment>),
    /// A ReplicaSet.
    ReplicaSet(Arc<ReplicaSet>),
    /// A ReplicationController.
    ReplicationController(Arc<ReplicationController>),
    /// A Pod.
    Pod(Arc<Pod>),
    /// A Service.
    Service(Arc<Service>),
    /// An EndpointSlice.
    EndpointSlice(Arc<EndpointSlice>),
    /// A Namespace.
    Namespace(Arc<Namespace>),
    /// A Node: whichever it is, pods that wait are looked at again.
    Node,
    /// A ServiceAccount.
    ServiceAccount(Arc<ServiceAccount>),
    /// A ConfigMap with the authority's certificate.
    RootCa(Arc<ConfigMap>),
    /// Endpoints.
    Endpoints(Arc<Endpoints>),
    /// A PodDisruptionBudget.
    Budget(Arc<PodDisruptionBudget>),
    /// A VerticalPodAutoscaler: its loop looks at all of them by itself.
    Vertical,
    /// A ResourceQuota.
    Quota(Arc<ResourceQuota>),
    /// Something in this namespace that a ResourceQuota counts, of a kind that there is no copy of.
    Counted(String),
}

/// The copies.
#[derive(Debug)]
pub struct Cache {
    pub(crate) deployments: Store<Deployment>,
    pub(crate) replica_sets: Store<ReplicaSet>,
    pub(crate) replication_controllers: Store<ReplicationController>,
    pub(crate) pods: Store<Pod>,
    pub(crate) services: Store<Service>,
    pub(crate) slices: Store<EndpointSlice>,
    pub(crate) namespaces: Store<Namespace>,
    pub(crate) nodes: Store<Node>,
    pub(crate) accounts: Store<ServiceAccount>,
    /// Those of the name [`ROOT_CA`] alone.
    pub(crate) root_cas: Store<ConfigMap>,
    pub(crate) endpoints: Store<Endpoints>,
    pub(crate) budgets: Store<PodDisruptionBudget>,
    pub(crate) quotas: Store<ResourceQuota>,
    pub(crate) verticals: Store<VerticalPodAutoscaler>,
    changes: broadcast::Sender<Changed>,
}

impl Cache {
    /// Starts the watches.
    pub fn start(client: &Client, tasks: &mut JoinSet<()>) -> Self {
        let (changes, _) = broadcast::channel(BEHIND);
        Self {
            deployments: watch(client, Changed::Deployment, &changes, tasks),
            replica_sets: watch(client, Changed::ReplicaSet, &changes, tasks),
            replication_controllers: watch(client, Changed::ReplicationController, &changes, tasks),
            pods: watch(client, Changed::Pod, &changes, tasks),
            services: watch(client, Changed::Service, &changes, tasks),
            slices: watch(client, Changed::EndpointSlice, &changes, tasks),
            namespaces: watch(client, Changed::Namespace, &changes, tasks),
            nodes: watch(client, |_| Changed::Node, &changes, tasks),
            accounts: watch(client, Changed::ServiceAccount, &changes, tasks),
            root_cas: watch_some(client, config_of_root_cas(), Changed::RootCa, &changes, tasks),
            endpoints: watch(client, Changed::Endpoints, &changes, tasks),
            budgets: watch(client, Changed::Budget, &changes, tasks),
            quotas: watch(client, Changed::Quota, &changes, tasks),
            verticals: watch(client, |_| Changed::Vertical, &changes, tasks),
            changes,
        }
    }

    /// Resolves when everything has been listed once.
    pub async fn ready(&self) {
        // A store whose writer is gone never becomes ready; its watch task has said why.
        let _ = tokio::join!(
            self.deployments.wait_until_ready(),
            self.replica_sets.wait_until_ready(),
            self.replication_controllers.wait_until_ready(),
            self.pods.wait_until_ready(),
            self.services.wait_until_ready(),
            self.slices.wait_until_ready(),
            self.namespaces.wait_until_ready(),
            self.nodes.wait_until_ready(),
            self.accounts.wait_until_ready(),
            self.root_cas.wait_until_ready(),
            self.endpoints.wait_until_ready(),
            self.budgets.wait_until_ready(),
            self.quotas.wait_until_ready(),
            self.verticals.wait_until_ready(),
        );
    }

    /// All later changes.
    pub fn changes(&self) -> broadcast::Receiver<Changed> {
        self.changes.subscribe()
    }

    /// Tells the controllers of a change that somebody else watches for.
    pub(crate) fn announce(&self, change: Changed) {
        // Before any controller runs nobody listens: they start with everything.
        let _ = self.changes.send(change);
    }

    /// Everything there is, as if it had just changed.
    pub fn everything(&self) -> Vec<Changed> {
        let mut all = Vec::new();
        all.extend(self.deployments.state().into_iter().map(Changed::Deployment));
        all.extend(self.replica_sets.state().into_iter().map(Changed::ReplicaSet));
        all.extend(self.replication_controllers.state().into_iter().map(Changed::ReplicationController));
        all.extend(self.pods.state().into_iter().map(Changed::Pod));
        all.extend(self.services.state().into_iter().map(Changed::Service));
        all.extend(self.slices.state().into_iter().map(Changed::EndpointSlice));
        all.extend(self.namespaces.state().into_iter().map(Changed::Namespace));
        all.extend(self.nodes.state().iter().map(|_| Changed::Node));
        all.extend(self.accounts.state().into_iter().map(Changed::ServiceAccount));
        all.extend(self.root_cas.state().into_iter().map(Changed::RootCa));
        all.extend(self.endpoints.state().into_iter().map(Changed::Endpoints));
        all.extend(self.budgets.state().into_iter().map(Changed::Budget));
        all.extend(self.quotas.state().into_iter().map(Changed::Quota));
        all.extend(self.verticals.state().iter().map(|_| Changed::Vertical));
        all
    }
}

/// One object of a store.
pub fn get<K>(store: &Store<K>, key: &Key) -> Option<Arc<K>>
where
    K: Resource<DynamicType = ()> + Clone + 'static,
{
    let reference = ObjectRef::new(&key.name);
    store.get(&if key.namespace.is_empty() { reference } else { reference.within(&key.namespace) })
}

/// The objects of one namespace.
pub fn in_namespace<K>(store: &Store<K>, namespace: &str) -> Vec<Arc<K>>
where
    K: Resource<DynamicType = ()> + Clone + 'static,
{
    store.state().into_iter().filter(|object| object.meta().namespace.as_deref() == Some(namespace)).collect()
}

/// Whether `owner_uid` is the object's controller.
pub fn is_controlled_by<K: Resource>(object: &K, owner_uid: &str) -> bool {
    object.owner_references().iter().any(|owner| owner.controller == Some(true) && owner.uid == owner_uid)
}

/// Whether an init container is a sidecar.
pub fn is_sidecar(container: &Container) -> bool {
    container.restart_policy.as_deref() == Some("Always")
}

fn config_of_root_cas() -> watcher::Config {
    watcher::Config::default().fields(&format!("metadata.name={ROOT_CA}"))
}

fn watch<K>(
    client: &Client,
    wrap: fn(Arc<K>) -> Changed,
    changes: &broadcast::Sender<Changed>,
    tasks: &mut JoinSet<()>,
) -> Store<K>
where
    K: Resource<DynamicType = ()> + Clone + std::fmt::Debug + DeserializeOwned + Send + Sync + 'static,
    K::DynamicType: Hash + Eq,
{
    watch_some(client, watcher::Config::default(), wrap, changes, tasks)
}

/// Watches those that the configuration selects.
fn watch_some<K>(
    client: &Client,
    config: watcher::Config,
    wrap: fn(Arc<K>) -> Changed,
    changes: &broadcast::Sender<Changed>,
    tasks: &mut JoinSet<()>,
) -> Store<K>
where
    K: Resource<DynamicType = ()> + Clone + std::fmt::Debug + DeserializeOwned + Send + Sync + 'static,
    K::DynamicType: Hash + Eq,
{
    let (store, writer) = reflector::store();
    let stream = kube::runtime::watcher(Api::<K>::all(client.clone()), config).default_backoff();
    tasks.spawn(follow(stream.reflect(writer), store.clone(), wrap, changes.clone()));
    store
}

/// Tells of every change that events have brought into a copy, once the copy shows it: whoever is told reads the copy, and is not told
/// again.
async fn follow<K>(
    events: impl Stream<Item = watcher::Result<Event<K>>> + Send,
    store: Store<K>,
    wrap: fn(Arc<K>) -> Changed,
    changes: broadcast::Sender<Changed>,
) where
    K: Resource<DynamicType = ()> + Clone + 'static,
{
    let mut events = std::pin::pin!(events);
    // What a list that has begun may no longer have: a watch that was lost does not say what went meanwhile.
    let mut before: Vec<Arc<K>> = Vec::new();
    // Nobody listens before the first list is done: they start with everything.
    let tell = |object: Arc<K>| drop(changes.send(wrap(object)));
    while let Some(event) = events.next().await {
        match event {
            Ok(Event::Apply(object) | Event::Delete(object)) => tell(Arc::new(object)),
            Ok(Event::Init) => before = store.state(),
            // The copy shows what is listed only when all of it has been.
            Ok(Event::InitApply(_)) => {}
            Ok(Event::InitDone) => {
                let is_there = |object: &Arc<K>| {
                    store.get(&ObjectRef::from_obj(object.as_ref())).is_some_and(|now| now.uid() == object.uid())
                };
                std::mem::take(&mut before).into_iter().filter(|object| !is_there(object)).for_each(tell);
                store.state().into_iter().for_each(tell);
            }
            Err(error) => tracing::warn!("watch {}: {error}", K::plural(&())),
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use futures::stream;
    use serde_json::json;

    use super::*;

    impl Cache {
        /// Copies of nothing.
        pub(crate) fn empty() -> Self {
            Self {
                deployments: reflector::store().0,
                replica_sets: reflector::store().0,
                replication_controllers: reflector::store().0,
                pods: reflector::store().0,
                services: reflector::store().0,
                slices: reflector::store().0,
                namespaces: reflector::store().0,
                nodes: reflector::store().0,
                accounts: reflector::store().0,
                root_cas: reflector::store().0,
                endpoints: reflector::store().0,
                budgets: reflector::store().0,
                quotas: reflector::store().0,
                verticals: reflector::store().0,
                changes: broadcast::channel(BEHIND).0,
            }
        }
    }

    /// A namespace of this name in this state.
    pub(crate) fn namespace(name: &str, uid: &str) -> Namespace {
        serde_json::from_value(json!({"metadata": {"name": name, "uid": uid}})).unwrap()
    }

    #[tokio::test]
    async fn what_changed_while_nobody_watched_is_told_when_the_copy_shows_it() {
        let (store, writer) = reflector::store();
        let (changes, mut told) = broadcast::channel(BEHIND);
        let new = |name, uid| Event::InitApply(namespace(name, uid));
        let first = vec![Event::Init, new("gone", "1"), new("again", "1"), new("same", "1"), Event::InitDone];
        let second = vec![Event::Init, new("again", "2"), new("same", "1"), new("new", "1"), Event::InitDone];
        // Whoever is told of a change looks before the next event comes.
        let events = stream::iter([first, vec![Event::Apply(namespace("mark", "1"))], second].concat());
        let events = events.then(|event| async {
            tokio::task::yield_now().await;
            Ok(event)
        });
        let listen = async {
            let mut seen = Vec::new();
            while let Ok(change) = told.recv().await {
                let Changed::Namespace(namespace) = change else { continue };
                let shown = store.get(&ObjectRef::from_obj(namespace.as_ref()));
                let uid = |namespace: &Namespace| namespace.uid().unwrap();
                seen.push((namespace.name_any(), uid(&namespace), shown.as_deref().map(uid)));
            }
            seen
        };
        let follow = follow(events.reflect(writer), store.clone(), Changed::Namespace, changes);
        let ((), seen) = tokio::join!(follow, listen);
        let mark = seen.iter().position(|(name, ..)| name == "mark").unwrap();
        let mut seen =
            seen[mark + 1..].iter().map(|(n, u, s)| (n.as_str(), u.as_str(), s.as_deref())).collect::<Vec<_>>();
        seen.sort_unstable();
        let one = Some("1");
        let again = [("again", "1", Some("2")), ("again", "2", Some("2"))];
        assert_eq!(
            seen,
            [&again[..], &[("gone", "1", None), ("mark", "1", None), ("new", "1", one), ("same", "1", one)]].concat()
        );
    }
}
