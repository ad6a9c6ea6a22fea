//! Deleting a namespace: its pods go, then everything else in it, then the namespace itself. What it waits for it says in its
//! conditions (kubernetes/pkg/controller/namespace).

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use crate::{
    cache::{Cache, Changed, Key, get},
    runner::{self, gone_is_fine},
    served::Served,
};
use http::Request;
use jiff::Timestamp;
use k8s_openapi::{
    api::core::v1::{Namespace, NamespaceCondition},
    apimachinery::pkg::apis::meta::v1::Time,
};
use kube::{
    Api, Client, ResourceExt,
    api::{ApiResource, DeleteParams, DynamicObject, GroupVersionKind, ListParams, PostParams},
};
use objects::kinds::Kind;

/// How soon to look again while something is still going.
const AGAIN: Duration = Duration::from_millis(500);
/// The most objects of a kind that are looked at for what holds them.
const SAMPLE: u32 = 500;

/// What is left in a namespace.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Left {
    /// How many objects of each resource, such as `pods.` or `deployments.apps`.
    resources: BTreeMap<String, u64>,
    /// How many objects have each finalizer.
    finalizers: BTreeMap<String, u64>,
    /// What could not be deleted, and why.
    failures: Vec<String>,
}

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

    /// Deletes what there is of every kind, pods before everything else: what protects them stays as long as they run.
    async fn empty(&self, namespace: &str) -> Left {
        let mut left = Left::default();
        let served = self.served.clone().now().await;
        let is_pod = |kind: &Kind| kind.is("", "Pod");
        for pods in [true, false] {
            for kind in served.kinds.stored().filter(|kind| kind.namespaced && is_pod(kind) == pods) {
                if let Err(error) = self.empty_of(&kind, namespace, &mut left).await {
                    left.failures.push(format!("{}.{}: {error}", kind.plural, kind.group));
                }
            }
            if left != Left::default() {
                break;
            }
        }
        left
    }

    async fn empty_of(&self, kind: &Kind, namespace: &str, left: &mut Left) -> Result<(), kube::Error> {
        let gvk = GroupVersionKind::gvk(kind.group, kind.version, kind.kind);
        let resource = ApiResource::from_gvk_with_plural(&gvk, kind.plural);
        let api: Api<DynamicObject> = Api::namespaced_with(self.client.clone(), namespace, &resource);
        if api.list_metadata(&ListParams::default().limit(1)).await?.items.is_empty() {
            return Ok(());
        }
        api.delete_collection(&DeleteParams::background(), &ListParams::default()).await?;
        let list = api.list_metadata(&ListParams::default().limit(SAMPLE)).await?;
        let more = list.metadata.remaining_item_count.and_then(|more| u64::try_from(more).ok()).unwrap_or(0);
        let count = u64::try_from(list.items.len()).unwrap_or(u64::MAX).saturating_add(more);
        if count > 0 {
            left.resources.insert(format!("{}.{}", kind.plural, kind.group), count);
        }
        for finalizer in list.items.iter().flat_map(|object| object.finalizers()) {
            *left.finalizers.entry(finalizer.clone()).or_default() += 1;
        }
        Ok(())
    }

    /// Says in the namespace's status what it waits for.
    async fn tell(&self, namespace: &Namespace, left: &Left) -> Result<(), kube::Error> {
        let old = namespace.status.as_ref().and_then(|status| status.conditions.clone()).unwrap_or_default();
        let next = conditions(&old, left, Timestamp::now());
        if next == old {
            return Ok(());
        }
        let mut namespace = namespace.clone();
        namespace.status.get_or_insert_default().conditions = Some(next);
        let api: Api<Namespace> = Api::all(self.client.clone());
        gone_is_fine(api.replace_status(&namespace.name_any(), &PostParams::default(), &namespace).await)
    }
}

/// The conditions of a namespace with this left in it; a condition that stays as it is keeps its time.
fn conditions(old: &[NamespaceCondition], left: &Left, now: Timestamp) -> Vec<NamespaceCondition> {
    let list = |of: &BTreeMap<String, u64>, word: &str| {
        of.iter()
            .map(|(name, count)| format!("{name} {word} {count} resource instances"))
            .collect::<Vec<_>>()
            .join(", ")
    };
    let resources = format!("Some resources are remaining: {}", list(&left.resources, "has"));
    let finalizers =
        format!("Some content in the namespace has finalizers remaining: {}", list(&left.finalizers, "in"));
    let failures =
        format!("Failed to delete all resource types, {} remaining: {}", left.failures.len(), left.failures.join(", "));
    let rows = [
        ("NamespaceDeletionDiscoveryFailure", None, ("ResourcesDiscovered", "All resources successfully discovered")),
        (
            "NamespaceDeletionGroupVersionParsingFailure",
            None,
            ("ParsedGroupVersions", "All legacy kube types successfully parsed"),
        ),
        (
            "NamespaceDeletionContentFailure",
            (!left.failures.is_empty()).then_some(("ContentDeletionFailed", failures)),
            ("ContentDeleted", "All content successfully deleted, may be waiting on finalization"),
        ),
        (
            "NamespaceContentRemaining",
            (!left.resources.is_empty()).then_some(("SomeResourcesRemain", resources)),
            ("ContentRemoved", "All content successfully removed"),
        ),
        (
            "NamespaceFinalizersRemaining",
            (!left.finalizers.is_empty()).then_some(("SomeFinalizersRemain", finalizers)),
            ("ContentHasNoFinalizers", "All content-preserving finalizers finished"),
        ),
    ];
    let mut all: Vec<NamespaceCondition> =
        old.iter().filter(|condition| rows.iter().all(|row| row.0 != condition.type_)).cloned().collect();
    for (name, wrong, (good, well)) in rows {
        let status = if wrong.is_some() { "True" } else { "False" };
        let (reason, message) = wrong.unwrap_or((good, well.to_owned()));
        let before = old.iter().find(|condition| condition.type_ == name && condition.status == status);
        let now = Timestamp::from_second(now.as_second()).unwrap_or(now);
        all.push(NamespaceCondition {
            type_: name.to_owned(),
            status: status.to_owned(),
            reason: Some(reason.to_owned()),
            message: Some(message),
            last_transition_time: before.map_or(Some(Time(now)), |before| before.last_transition_time.clone()),
        });
    }
    all
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
        let left = self.empty(&key.name).await;
        if left != Left::default() {
            self.tell(&namespace, &left).await?;
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_namespace_waits_for_is_said_and_keeps_its_time() {
        let mut left = Left::default();
        left.resources.insert("pods.".to_owned(), 2);
        left.resources.insert("deployments.apps".to_owned(), 1);
        left.finalizers.insert("example.com/hold".to_owned(), 1);
        let first = conditions(&[], &left, Timestamp::UNIX_EPOCH);
        let said = |all: &[NamespaceCondition], name: &str| {
            let found = all.iter().find(|condition| condition.type_ == name).unwrap();
            (found.status.clone(), found.reason.clone().unwrap(), found.message.clone().unwrap())
        };
        let text = |status: &str, reason: &str, message: &str| (status.into(), reason.into(), message.into());
        assert_eq!(
            said(&first, "NamespaceContentRemaining"),
            text(
                "True",
                "SomeResourcesRemain",
                "Some resources are remaining: deployments.apps has 1 resource instances, pods. has 2 resource instances"
            )
        );
        assert_eq!(
            said(&first, "NamespaceFinalizersRemaining").2,
            "Some content in the namespace has finalizers remaining: example.com/hold in 1 resource instances"
        );
        assert_eq!(said(&first, "NamespaceDeletionContentFailure").0, "False");
        assert_eq!(conditions(&first, &left, Timestamp::from_second(9).unwrap()), first, "nothing changed");
        left.failures.push("pods.: forbidden".to_owned());
        let failing = conditions(&first, &left, Timestamp::from_second(9).unwrap());
        assert_eq!(said(&failing, "NamespaceDeletionContentFailure").1, "ContentDeletionFailed");
        let time = |all: &[NamespaceCondition], at: usize| all[at].last_transition_time.clone();
        assert_eq!(time(&failing, 3), time(&first, 3));
        assert_ne!(time(&failing, 2), time(&first, 2));
    }
}
