//! Garbage collection: what an object owns goes with it, in the way that its deletion asked for
//! (kubernetes/pkg/controller/garbagecollector).

use std::collections::{HashMap, HashSet};

use futures::{
    StreamExt,
    stream::{AbortHandle, SelectAll, abortable},
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use kube::{
    Api, Client, Resource, ResourceExt,
    api::{
        ApiResource, DeleteParams, DynamicObject, GroupVersionKind, PartialObjectMeta, Patch, PatchParams,
        Preconditions,
    },
    runtime::{
        WatchStreamExt,
        watcher::{self, Event},
    },
};
use objects::kinds::{Kind, KindRef};
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::{
    queue::Queue,
    runner::{gone_is_fine, is_conflict},
    served::{Current, Served},
};

const FOREGROUND: &str = "foregroundDeletion";
const ORPHAN: &str = "orphan";

type Metadata = PartialObjectMeta<DynamicObject>;

/// One object, as far as ownership is concerned.
#[derive(Clone, Debug)]
struct Node {
    kind: KindRef,
    namespace: Option<String>,
    name: String,
    owners: Vec<OwnerReference>,
    finalizers: Vec<String>,
    deleting: bool,
}

/// What to do about one object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    Keep,
    /// All its owners may be gone: ask the API, then delete it.
    Delete,
    /// Delete what it owns; when that is gone, let it go.
    Foreground,
    /// Cut what it owns loose, then let it go.
    Orphan,
}

/// Group and plural of a kind.
type Plural = (&'static str, &'static str);

fn plural_of(kind: &Kind) -> Plural {
    (kind.group, kind.plural)
}

/// All objects by uid.
#[derive(Debug, Default)]
struct Graph {
    nodes: HashMap<String, Node>,
    /// The uids that a list which is being read has shown so far, by kind.
    shown: HashMap<Plural, HashSet<String>>,
}

impl Graph {
    /// Takes in an event; gives the uids of the objects about which there may be something to do now.
    fn take(&mut self, kind: &KindRef, event: Event<Metadata>) -> Vec<String> {
        let plural = plural_of(kind);
        match event {
            Event::Init => {
                self.shown.insert(plural, HashSet::new());
                Vec::new()
            }
            Event::InitApply(object) => {
                let uid = self.note(kind, &object);
                self.shown.entry(plural).or_default().extend(uid.clone());
                uid.into_iter().collect()
            }
            Event::Apply(object) => {
                let uid = object.uid().unwrap_or_default();
                let before = self.nodes.get(&uid).map(|node| node.owners.clone()).unwrap_or_default();
                let now = self.note(kind, &object);
                // An owner that it was cut loose from, or that it blocks no more, may have waited for that.
                let freed = before.into_iter().filter(|owner| !object.owner_references().contains(owner));
                now.into_iter().chain(freed.map(|owner| owner.uid)).collect()
            }
            Event::Delete(object) => self.gone(&object.uid().unwrap_or_default()),
            Event::InitDone => {
                // What went while nobody watched is in no list.
                let shown = self.shown.remove(&plural).unwrap_or_default();
                let lost = |(uid, node): (&String, &Node)| {
                    let there = plural_of(&node.kind) != plural || shown.contains(uid);
                    (!there).then(|| uid.clone())
                };
                let lost: Vec<String> = self.nodes.iter().filter_map(lost).collect();
                lost.iter().flat_map(|uid| self.gone(uid)).collect()
            }
        }
    }

    fn note(&mut self, kind: &KindRef, object: &Metadata) -> Option<String> {
        let uid = object.uid()?;
        let node = Node {
            kind: kind.clone(),
            namespace: object.namespace(),
            name: object.name_any(),
            owners: object.owner_references().to_vec(),
            finalizers: object.finalizers().to_vec(),
            deleting: object.meta().deletion_timestamp.is_some(),
        };
        self.nodes.insert(uid.clone(), node);
        Some(uid)
    }

    /// Nobody watches a kind any more: its definition went, and before it all its objects.
    fn forget(&mut self, plural: Plural) -> Vec<String> {
        self.shown.remove(&plural);
        let lost = self.nodes.iter().filter(|(_, node)| plural_of(&node.kind) == plural);
        let lost: Vec<String> = lost.map(|(uid, _)| uid.clone()).collect();
        lost.iter().flat_map(|uid| self.gone(uid)).collect()
    }

    /// An object is gone: what it owned has lost an owner, and what owned it may have waited for that.
    fn gone(&mut self, uid: &str) -> Vec<String> {
        let owners = self.nodes.remove(uid).map(|node| node.owners).unwrap_or_default();
        let dependents = self.dependents(uid).into_iter().map(|(uid, _)| uid);
        dependents.chain(owners.into_iter().map(|owner| owner.uid)).collect()
    }

    fn verdict(&self, uid: &str) -> Verdict {
        let Some(node) = self.nodes.get(uid) else { return Verdict::Keep };
        let has = |finalizer: &str| node.finalizers.iter().any(|f| f == finalizer);
        if node.deleting {
            return match (has(ORPHAN), has(FOREGROUND)) {
                (true, _) => Verdict::Orphan,
                (_, true) => Verdict::Foreground,
                _ => Verdict::Keep,
            };
        }
        let lost = !node.owners.is_empty() && node.owners.iter().all(|owner| !self.nodes.contains_key(&owner.uid));
        if lost { Verdict::Delete } else { Verdict::Keep }
    }

    /// What has no owner here: its owners may be of a kind that has come or gone, and more may be known of them now.
    fn lost(&self) -> Vec<String> {
        self.nodes.keys().filter(|uid| self.verdict(uid) == Verdict::Delete).cloned().collect()
    }

    fn dependents(&self, uid: &str) -> Vec<(String, Node)> {
        let owned = |node: &Node| node.owners.iter().any(|owner| owner.uid == uid);
        self.nodes.iter().filter(|(_, node)| owned(node)).map(|(uid, node)| (uid.clone(), node.clone())).collect()
    }
}

/// The watches, one for each sort of object.
#[derive(Default)]
struct Watches {
    changes: SelectAll<Changes>,
    /// What is watched, and what ends it.
    of: HashMap<Plural, (KindRef, AbortHandle)>,
    listed: HashSet<Plural>,
}

impl Watches {
    /// Watches what is served; gives what is watched no more.
    fn follow(&mut self, client: &Client, current: &Current) -> Vec<Plural> {
        let wanted: HashMap<Plural, KindRef> = current.kinds.stored().map(|kind| (plural_of(&kind), kind)).collect();
        let same = |a: &Kind, b: &Kind| (a.version, a.kind, a.namespaced) == (b.version, b.kind, b.namespaced);
        let ended = self.of.extract_if(|plural, (kind, _)| wanted.get(plural).is_none_or(|now| !same(now, kind)));
        let ended: Vec<Plural> = ended
            .map(|(plural, (_, end))| {
                end.abort();
                self.listed.remove(&plural);
                plural
            })
            .collect();
        for (plural, kind) in &wanted {
            if !self.of.contains_key(plural) {
                let (changes, end) = abortable(watch(client, kind.clone()));
                self.changes.push(changes.boxed());
                self.of.insert(*plural, (kind.clone(), end));
            }
        }
        ended.into_iter().filter(|plural| !wanted.contains_key(plural)).collect()
    }

    /// Whether every kind has been listed. Before, an owner that is not known yet is no owner that is gone, and what an object
    /// owns is not all known.
    fn complete(&self) -> bool {
        self.listed.len() == self.of.len()
    }
}

/// Runs until it is dropped.
pub(crate) async fn run(client: Client, mut served: Served) {
    let mut graph = Graph::default();
    let mut current = served.now().await;
    let mut watches = Watches::default();
    watches.follow(&client, &current);
    let mut due: Queue<String, Instant> = Queue::new();
    loop {
        let next = due.next_time().filter(|_| watches.complete());
        tokio::select! {
            () = served.changed() => {
                current = served.now().await;
                let now = Instant::now();
                let lost = watches.follow(&client, &current).into_iter().flat_map(|plural| graph.forget(plural));
                lost.for_each(|uid| due.add(uid, now));
                graph.lost().into_iter().for_each(|uid| due.add(uid, now));
            }
            event = watches.changes.next() => match event {
                Some((kind, Ok(event))) => {
                    if matches!(event, Event::InitDone) {
                        watches.listed.insert(plural_of(&kind));
                    }
                    let now = Instant::now();
                    graph.take(&kind, event).into_iter().for_each(|uid| due.add(uid, now));
                }
                Some((kind, Err(error))) => tracing::warn!("garbage collector: watch {}: {error}", kind.plural),
                None => return,
            },
            () = async { tokio::time::sleep_until(next.unwrap_or_else(Instant::now)).await }, if next.is_some() => {
                let Some(uid) = due.next(Instant::now()) else { continue };
                match act(&client, &current, &graph, &uid).await {
                    Ok(()) => due.succeeded(&uid),
                    Err(error) => {
                        if !is_conflict(&error) {
                            tracing::warn!("garbage collector: {error}");
                        }
                        let wait = due.failed(&uid);
                        due.add(uid, Instant::now() + wait);
                    }
                }
            }
        }
    }
}

async fn act(client: &Client, served: &Current, graph: &Graph, uid: &str) -> Result<(), kube::Error> {
    let verdict = graph.verdict(uid);
    // The graph may be a moment behind: whatever is done is decided from the object itself, and done to this state of it alone.
    let Some(node) = graph.nodes.get(uid).filter(|_| verdict != Verdict::Keep) else { return Ok(()) };
    let Some(object) = current(client, uid, node).await? else { return Ok(()) };
    match verdict {
        Verdict::Keep => Ok(()),
        Verdict::Delete => {
            let owners = object.owner_references();
            for owner in owners {
                if exists(client, served, node, owner).await? {
                    return Ok(());
                }
            }
            if owners.is_empty() {
                // It was cut loose meanwhile.
                return Ok(());
            }
            delete(client, node, &object, DeleteParams::background()).await
        }
        Verdict::Foreground => {
            let dependents = graph.dependents(uid);
            let blocks = |node: &Node| node.owners.iter().any(|o| o.uid == uid && o.block_owner_deletion == Some(true));
            if !dependents.iter().any(|(_, dependent)| blocks(dependent)) {
                return finalize(client, node, &object, FOREGROUND).await;
            }
            for (dependent_uid, dependent) in dependents.iter().filter(|(_, dependent)| !dependent.deleting) {
                let found = current(client, dependent_uid, dependent).await?;
                let owned = |found: &Metadata| found.owner_references().iter().any(|owner| owner.uid == uid);
                if let Some(found) = found.filter(owned) {
                    let below = graph.dependents(dependent_uid);
                    let circle =
                        below.iter().any(|(_, node)| node.deleting && node.finalizers.iter().any(|f| f == FOREGROUND));
                    release(client, served, dependent, &found, circle).await?;
                }
            }
            Ok(())
        }
        Verdict::Orphan => {
            for (dependent_uid, dependent) in graph.dependents(uid) {
                let Some(found) = current(client, &dependent_uid, &dependent).await? else { continue };
                let owners: Vec<_> = found.owner_references().iter().filter(|owner| owner.uid != uid).collect();
                if owners.len() < found.owner_references().len() {
                    patch(client, &dependent, &found, json!({"ownerReferences": owners})).await?;
                }
            }
            finalize(client, node, &object, ORPHAN).await
        }
    }
}

/// Frees an owner that waits for its dependents from one of them: a dependent that has another owner, which stays, loses those
/// that go; any other is deleted. If something that the dependent owns waits as well (`circle`), the dependent stops blocking its
/// owners first: otherwise each would wait for the next.
async fn release(
    client: &Client,
    served: &Current,
    node: &Node,
    found: &Metadata,
    circle: bool,
) -> Result<(), kube::Error> {
    let owners = found.owner_references();
    let mut staying = Vec::new();
    for owner in owners {
        if stays(client, served, node, owner).await? {
            staying.push(owner);
        }
    }
    if !staying.is_empty() {
        return patch(client, node, found, json!({"ownerReferences": staying})).await;
    }
    if !circle {
        return delete(client, node, found, DeleteParams::foreground()).await;
    }
    let free = |owner: &OwnerReference| OwnerReference { block_owner_deletion: Some(false), ..owner.clone() };
    let owners: Vec<OwnerReference> = owners.iter().map(free).collect();
    patch(client, node, found, json!({"ownerReferences": owners})).await?;
    let uid = found.uid().unwrap_or_default();
    match current(client, &uid, node).await? {
        Some(found) => delete(client, node, &found, DeleteParams::foreground()).await,
        None => Ok(()),
    }
}

/// The object as the API has it now; `None` if it is gone.
async fn current(client: &Client, uid: &str, node: &Node) -> Result<Option<Metadata>, kube::Error> {
    let found = api(client, &node.kind, node.namespace.as_deref()).get_metadata_opt(&node.name).await?;
    Ok(found.filter(|found| found.uid().as_deref() == Some(uid)))
}

fn api(client: &Client, kind: &Kind, namespace: Option<&str>) -> Api<DynamicObject> {
    let gvk = GroupVersionKind::gvk(kind.group, kind.version, kind.kind);
    let resource = ApiResource::from_gvk_with_plural(&gvk, kind.plural);
    match namespace {
        Some(namespace) => Api::namespaced_with(client.clone(), namespace, &resource),
        None => Api::all_with(client.clone(), &resource),
    }
}

/// Whether an owner really exists: the copy may be a moment behind.
async fn exists(
    client: &Client,
    served: &Current,
    dependent: &Node,
    owner: &OwnerReference,
) -> Result<bool, kube::Error> {
    // The owner may be of a kind that nobody here knows: then nobody here knows that it is gone.
    Ok(owner_now(client, served, dependent, owner).await?.is_none_or(|found| found.is_some()))
}

/// Whether an owner exists and does not wait for its dependents to go.
async fn stays(
    client: &Client,
    served: &Current,
    dependent: &Node,
    owner: &OwnerReference,
) -> Result<bool, kube::Error> {
    let waits = |found: &Metadata| {
        found.meta().deletion_timestamp.is_some() && found.finalizers().iter().any(|finalizer| finalizer == FOREGROUND)
    };
    let found = owner_now(client, served, dependent, owner).await?;
    Ok(found.is_none_or(|found| found.is_some_and(|found| !waits(&found))))
}

/// An owner as the API has it now: `Some(None)` if it is gone, `None` if its kind is not known here.
async fn owner_now(
    client: &Client,
    served: &Current,
    dependent: &Node,
    owner: &OwnerReference,
) -> Result<Option<Option<Metadata>>, kube::Error> {
    let (group, version) = owner.api_version.rsplit_once('/').unwrap_or(("", &owner.api_version));
    let Some(kind) = served.or_former(group, version, &owner.kind) else { return Ok(None) };
    let namespace = dependent.namespace.as_deref().filter(|_| kind.namespaced);
    let found = api(client, &kind, namespace).get_metadata_opt(&owner.name).await?;
    Ok(Some(found.filter(|found| found.uid().as_ref() == Some(&owner.uid))))
}

async fn delete(client: &Client, node: &Node, found: &Metadata, params: DeleteParams) -> Result<(), kube::Error> {
    let params = params.preconditions(Preconditions { uid: found.uid(), resource_version: found.resource_version() });
    gone_is_fine(api(client, &node.kind, node.namespace.as_deref()).delete(&node.name, &params).await)
}

async fn finalize(client: &Client, node: &Node, found: &Metadata, finalizer: &str) -> Result<(), kube::Error> {
    let left: Vec<_> = found.finalizers().iter().filter(|f| *f != finalizer).collect();
    patch(client, node, found, json!({"finalizers": left})).await
}

/// Changes metadata of just this state of an object.
async fn patch(client: &Client, node: &Node, found: &Metadata, mut change: Value) -> Result<(), kube::Error> {
    change["uid"] = json!(found.uid());
    change["resourceVersion"] = json!(found.resource_version());
    let change = json!({"metadata": change});
    let api = api(client, &node.kind, node.namespace.as_deref());
    gone_is_fine(api.patch(&node.name, &PatchParams::default(), &Patch::Merge(&change)).await)
}

type Changes =
    std::pin::Pin<Box<dyn futures::Stream<Item = (KindRef, Result<Event<Metadata>, watcher::Error>)> + Send>>;

fn watch(client: &Client, kind: KindRef) -> Changes {
    let gvk = GroupVersionKind::gvk(kind.group, kind.version, kind.kind);
    let resource = ApiResource::from_gvk_with_plural(&gvk, kind.plural);
    let api: Api<Metadata> = Api::all_with(client.clone(), &resource);
    let stream = kube::runtime::watcher(api, watcher::Config::default()).default_backoff();
    stream.map(move |event| (kind.clone(), event)).boxed()
}

#[cfg(test)]
mod tests {
    use objects::kinds;

    use super::*;

    fn graph(owner_there: bool, finalizers: &[&str], deleting: bool) -> Graph {
        let kind = &KindRef::Row(kinds::by_kind("", "v1", "ConfigMap").unwrap());
        let node = |owners: Vec<OwnerReference>| Node {
            kind: kind.clone(),
            namespace: Some("n".into()),
            name: "x".into(),
            owners,
            finalizers: finalizers.iter().map(|f| (*f).to_owned()).collect(),
            deleting,
        };
        let owner = OwnerReference { uid: "owner".into(), ..OwnerReference::default() };
        let mut graph = Graph::default();
        graph.nodes.insert("it".into(), node(vec![owner]));
        if owner_there {
            graph.nodes.insert("owner".into(), node(vec![]));
        }
        graph
    }

    #[test]
    fn what_has_lost_its_owner_goes_and_what_has_one_stays() {
        assert_eq!(graph(true, &[], false).verdict("it"), Verdict::Keep);
        assert_eq!(graph(false, &[], false).verdict("it"), Verdict::Delete);
        assert_eq!(graph(true, &[], false).verdict("owner"), Verdict::Keep, "what has no owner is nobody's garbage");
    }

    #[test]
    fn a_deletion_goes_the_way_it_asked_for() {
        assert_eq!(graph(true, &[FOREGROUND], true).verdict("owner"), Verdict::Foreground);
        assert_eq!(graph(true, &[ORPHAN], true).verdict("owner"), Verdict::Orphan);
        assert_eq!(graph(true, &[], true).verdict("owner"), Verdict::Keep, "somebody else's finalizer holds it");
    }

    #[test]
    fn what_went_while_nobody_watched_is_gone_for_what_it_owned() {
        let kind = &KindRef::Row(kinds::by_kind("", "v1", "ConfigMap").unwrap());
        let object = |uid: &str, owner: Option<&str>| -> Metadata {
            let owners: Vec<_> =
                owner.iter().map(|uid| json!({"apiVersion": "v1", "kind": "K", "name": "n", "uid": uid})).collect();
            serde_json::from_value(json!({"metadata": {"name": uid, "uid": uid, "ownerReferences": owners}})).unwrap()
        };
        let mut graph = Graph::default();
        graph.take(kind, Event::Init);
        graph.take(kind, Event::InitApply(object("owner", None)));
        graph.take(kind, Event::InitApply(object("it", Some("owner"))));
        assert!(graph.take(kind, Event::InitDone).is_empty());
        graph.take(kind, Event::Init);
        graph.take(kind, Event::InitApply(object("it", Some("owner"))));
        assert_eq!(graph.take(kind, Event::InitDone), ["it"]);
        assert_eq!(graph.verdict("it"), Verdict::Delete);
    }

    #[test]
    fn what_a_definition_takes_with_it_is_gone_for_what_it_owned() {
        let mut graph = graph(true, &[], false);
        assert!(graph.forget(("example.com", "things")).is_empty());
        assert_eq!(graph.verdict("it"), Verdict::Keep);
        graph.nodes.get_mut("it").unwrap().kind =
            KindRef::Row(kinds::known().iter().find(|kind| kind.kind == "Certificate").unwrap());
        assert!(graph.lost().is_empty());
        assert_eq!(graph.forget(("", "configmaps")), ["it"]);
        assert_eq!(graph.lost(), ["it"]);
        assert_eq!(graph.verdict("it"), Verdict::Delete);
    }
}
