//! Garbage collection: what an object owns goes with it, in the way that its deletion asked for
//! (kubernetes/pkg/controller/garbagecollector).

use std::collections::HashMap;

use futures::{StreamExt, stream::SelectAll};
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
use objects::kinds::{self, Kind};
use serde_json::json;

use crate::runner::{gone_is_fine, is_conflict};

const FOREGROUND: &str = "foregroundDeletion";
const ORPHAN: &str = "orphan";

type Metadata = PartialObjectMeta<DynamicObject>;

/// One object, as far as ownership is concerned.
#[derive(Clone, Debug)]
struct Node {
    kind: &'static Kind,
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

/// All objects by uid.
#[derive(Debug, Default)]
struct Graph {
    nodes: HashMap<String, Node>,
}

impl Graph {
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

    fn dependents(&self, uid: &str) -> Vec<(String, Node)> {
        let owned = |node: &Node| node.owners.iter().any(|owner| owner.uid == uid);
        self.nodes.iter().filter(|(_, node)| owned(node)).map(|(uid, node)| (uid.clone(), node.clone())).collect()
    }
}

/// Runs until it is dropped.
pub(crate) async fn run(client: Client) {
    let mut graph = Graph::default();
    let mut changes: SelectAll<_> = kinds::stored().map(|kind| watch(&client, kind)).collect();
    let (mut listed, all) = (0, kinds::stored().count());
    let mut due: Vec<String> = Vec::new();
    while let Some((kind, event)) = changes.next().await {
        match event {
            Ok(Event::Apply(object) | Event::InitApply(object)) => due.extend(note(&mut graph, kind, &object)),
            Ok(Event::Delete(object)) => {
                let uid = object.uid().unwrap_or_default();
                due.extend(graph.dependents(&uid).into_iter().map(|(uid, _)| uid));
                let owners = graph.nodes.remove(&uid).map(|node| node.owners).unwrap_or_default();
                due.extend(owners.into_iter().map(|owner| owner.uid));
            }
            Ok(Event::InitDone) => listed += 1,
            Ok(Event::Init) => {}
            Err(error) => tracing::warn!("garbage collector: watch {}: {error}", kind.plural),
        }
        // Before every kind has been listed, an owner that is not known yet is no owner that is gone.
        if listed < all {
            continue;
        }
        for uid in std::mem::take(&mut due) {
            if let Err(error) = act(&client, &graph, &uid).await
                && !is_conflict(&error)
            {
                tracing::warn!("garbage collector: {error}");
            }
        }
    }
}

fn note(graph: &mut Graph, kind: &'static Kind, object: &Metadata) -> Option<String> {
    let uid = object.uid()?;
    let node = Node {
        kind,
        namespace: object.namespace(),
        name: object.name_any(),
        owners: object.owner_references().to_vec(),
        finalizers: object.finalizers().to_vec(),
        deleting: object.meta().deletion_timestamp.is_some(),
    };
    graph.nodes.insert(uid.clone(), node);
    Some(uid)
}

async fn act(client: &Client, graph: &Graph, uid: &str) -> Result<(), kube::Error> {
    let Some(node) = graph.nodes.get(uid) else { return Ok(()) };
    match graph.verdict(uid) {
        Verdict::Keep => Ok(()),
        Verdict::Delete => {
            for owner in &node.owners {
                if exists(client, node, owner).await? {
                    return Ok(());
                }
            }
            delete(client, uid, node, DeleteParams::background()).await
        }
        Verdict::Foreground => {
            let dependents = graph.dependents(uid);
            let blocks = |node: &Node| node.owners.iter().any(|o| o.uid == uid && o.block_owner_deletion == Some(true));
            if !dependents.iter().any(|(_, dependent)| blocks(dependent)) {
                return finalize(client, node, FOREGROUND).await;
            }
            for (uid, dependent) in dependents.iter().filter(|(_, dependent)| !dependent.deleting) {
                delete(client, uid, dependent, DeleteParams::foreground()).await?;
            }
            Ok(())
        }
        Verdict::Orphan => {
            for (_, dependent) in graph.dependents(uid) {
                let owners: Vec<_> = dependent.owners.iter().filter(|owner| owner.uid != uid).collect();
                let change = json!({"metadata": {"ownerReferences": owners}});
                gone_is_fine(patch(client, &dependent, &change).await)?;
            }
            finalize(client, node, ORPHAN).await
        }
    }
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
async fn exists(client: &Client, dependent: &Node, owner: &OwnerReference) -> Result<bool, kube::Error> {
    let (group, version) = owner.api_version.rsplit_once('/').unwrap_or(("", &owner.api_version));
    // The owner may be of a kind that nobody here knows: then nobody here knows that it is gone.
    let Some(kind) = kinds::by_kind(group, version, &owner.kind) else { return Ok(true) };
    let namespace = dependent.namespace.as_deref().filter(|_| kind.namespaced);
    let found = api(client, kind, namespace).get_metadata_opt(&owner.name).await?;
    Ok(found.is_some_and(|found| found.uid().as_ref() == Some(&owner.uid)))
}

async fn delete(client: &Client, uid: &str, node: &Node, params: DeleteParams) -> Result<(), kube::Error> {
    let params = params.preconditions(Preconditions { uid: Some(uid.to_owned()), resource_version: None });
    gone_is_fine(api(client, node.kind, node.namespace.as_deref()).delete(&node.name, &params).await)
}

async fn finalize(client: &Client, node: &Node, finalizer: &str) -> Result<(), kube::Error> {
    let left: Vec<_> = node.finalizers.iter().filter(|f| *f != finalizer).collect();
    gone_is_fine(patch(client, node, &json!({"metadata": {"finalizers": left}})).await)
}

async fn patch(client: &Client, node: &Node, change: &serde_json::Value) -> Result<DynamicObject, kube::Error> {
    let api = api(client, node.kind, node.namespace.as_deref());
    api.patch(&node.name, &PatchParams::default(), &Patch::Merge(change)).await
}

type Changes =
    std::pin::Pin<Box<dyn futures::Stream<Item = (&'static Kind, Result<Event<Metadata>, watcher::Error>)> + Send>>;

fn watch(client: &Client, kind: &'static Kind) -> Changes {
    let gvk = GroupVersionKind::gvk(kind.group, kind.version, kind.kind);
    let resource = ApiResource::from_gvk_with_plural(&gvk, kind.plural);
    let api: Api<Metadata> = Api::all_with(client.clone(), &resource);
    let stream = kube::runtime::watcher(api, watcher::Config::default()).default_backoff();
    stream.map(move |event| (kind, event)).boxed()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn graph(owner_there: bool, finalizers: &[&str], deleting: bool) -> Graph {
        let kind = kinds::by_kind("", "v1", "ConfigMap").unwrap();
        let node = |owners: Vec<OwnerReference>| Node {
            kind,
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
}
