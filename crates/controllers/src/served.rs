//! The kinds that the API serves while controllers run: what is built in, what is known by name, and what
//! CustomResourceDefinitions bring and take away.

use std::collections::BTreeMap;

use futures::StreamExt;
use kube::{
    Api, Client, ResourceExt,
    api::{ApiResource, DynamicObject, GroupVersionKind},
    runtime::{
        WatchStreamExt,
        watcher::{self, Event},
    },
};
use objects::{
    custom,
    kinds::{Kind, KindRef, Kinds},
};
use serde_json::Value;
use tokio::{sync::watch, task::JoinSet};

/// Kinds that are remembered after they went. Past it the oldest are forgotten: what names an owner of theirs stays.
const FORMER: usize = 1000;

/// The kinds at one time.
#[derive(Clone, Debug, Default)]
pub(crate) struct Current {
    /// Everything that is served.
    pub kinds: Kinds,
    /// What was served before: a definition goes after its objects, so none of these are left.
    former: Vec<KindRef>,
}

impl Current {
    /// The kinds when definitions bring these.
    fn with(&self, definitions: &Definitions) -> Self {
        let kinds = Kinds::new(definitions.values().flatten().cloned().collect());
        let served = |kind: &Kind| kinds.by_kind(kind.group, kind.version, kind.kind).is_some();
        let left = self.kinds.defined().iter().cloned().map(KindRef::Defined);
        let mut former: Vec<_> = self.former.iter().cloned().chain(left).filter(|kind| !served(kind)).collect();
        former.drain(..former.len().saturating_sub(FORMER));
        Self { kinds, former }
    }

    /// The kind that an owner's `apiVersion` (split) and `kind` name, whether it is still served or not.
    pub fn or_former(&self, group: &str, version: &str, kind: &str) -> Option<KindRef> {
        let is = |former: &&KindRef| (former.group, former.version, former.kind) == (group, version, kind);
        self.kinds.by_kind(group, version, kind).or_else(|| self.former.iter().find(is).cloned())
    }
}

/// What definitions bring, by their names. Its bound is the one that the API server has: names of kinds are kept up to a limit,
/// and a definition past it is not served.
type Definitions = BTreeMap<String, Vec<Kind>>;

/// The kinds that are served now.
#[derive(Clone, Debug)]
pub(crate) struct Served(watch::Receiver<Option<Current>>);

impl Served {
    /// Starts to follow the definitions.
    pub fn start(client: &Client, tasks: &mut JoinSet<()>) -> Self {
        let (sender, receiver) = watch::channel(None);
        tasks.spawn(follow(client.clone(), sender));
        Self(receiver)
    }

    /// The kinds, as soon as the definitions have been listed once.
    pub async fn now(&mut self) -> Current {
        let current = self.0.wait_for(Option::is_some).await.ok().and_then(|current| current.clone());
        match current {
            Some(current) => current,
            // Whoever follows them has ended, and so will the caller.
            None => std::future::pending().await,
        }
    }

    /// Resolves when they have changed since they were looked at.
    pub async fn changed(&mut self) {
        if self.0.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

async fn follow(client: Client, sender: watch::Sender<Option<Current>>) {
    let gvk = GroupVersionKind::gvk("apiextensions.k8s.io", "v1", "CustomResourceDefinition");
    let resource = ApiResource::from_gvk_with_plural(&gvk, "customresourcedefinitions");
    let api: Api<DynamicObject> = Api::all_with(client, &resource);
    let mut events = kube::runtime::watcher(api, watcher::Config::default()).default_backoff().boxed();
    let (mut definitions, mut shown) = (Definitions::new(), Definitions::new());
    while let Some(event) = events.next().await {
        match event {
            Ok(Event::Init) => {
                shown.clear();
                continue;
            }
            Ok(Event::InitApply(definition)) => {
                shown.insert(definition.name_any(), kinds(definition));
                continue;
            }
            Ok(Event::InitDone) => definitions = std::mem::take(&mut shown),
            Ok(Event::Apply(definition)) => drop(definitions.insert(definition.name_any(), kinds(definition))),
            Ok(Event::Delete(definition)) => drop(definitions.remove(&definition.name_any())),
            Err(error) => {
                tracing::warn!("watch customresourcedefinitions: {error}");
                continue;
            }
        }
        sender.send_if_modified(|current| {
            let next = current.as_ref().unwrap_or(&Current::default()).with(&definitions);
            let same = current.as_ref().is_some_and(|last| last.kinds.fingerprint() == next.kinds.fingerprint());
            if !same {
                *current = Some(next);
            }
            !same
        });
    }
}

/// The kinds that a definition brings; none before it is served.
fn kinds(definition: DynamicObject) -> Vec<Kind> {
    let name = definition.name_any();
    let mut definition = serde_json::to_value(definition).unwrap_or_default();
    for version in definition.pointer_mut("/spec/versions").and_then(Value::as_array_mut).into_iter().flatten() {
        // Most of a definition is its schemas, and no controller looks into objects.
        version.as_object_mut().and_then(|version| version.remove("schema"));
    }
    if !custom::is_served(&definition) {
        return Vec::new();
    }
    custom::kinds(&definition).unwrap_or_else(|error| {
        tracing::warn!("CustomResourceDefinition {name}: {error}");
        Vec::new()
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn definition(established: &str) -> DynamicObject {
        serde_json::from_value(json!({
            "metadata": {"name": "things.example.com"},
            "spec": {"group": "example.com", "scope": "Namespaced", "names": {"plural": "things", "kind": "Thing"},
                "versions": [{"name": "v1", "served": true, "storage": true, "schema": {"openAPIV3Schema": {}}}]},
            "status": {"conditions": [{"type": "Established", "status": established}]}}))
        .unwrap()
    }

    #[test]
    fn a_definition_brings_its_kinds_when_it_is_established() {
        assert!(kinds(definition("False")).is_empty());
        let things = kinds(definition("True"));
        assert_eq!(things.len(), 1);
        let current = Current::default().with(&[("things.example.com".to_owned(), things)].into());
        assert!(current.kinds.stored().any(|kind| kind.plural == "things"));
        assert!(current.kinds.stored().any(|kind| kind.kind == "Certificate"), "kinds known by name are followed too");
    }

    #[test]
    fn a_kind_that_went_is_remembered_until_it_is_defined_again() {
        let defined: Definitions = [("things.example.com".to_owned(), kinds(definition("True")))].into();
        let before = Current::default().with(&defined);
        let after = before.with(&Definitions::new());
        assert!(after.kinds.by_kind("example.com", "v1", "Thing").is_none());
        assert!(after.or_former("example.com", "v1", "Thing").is_some());
        assert!(after.or_former("example.com", "v2", "Thing").is_none(), "nobody here ever knew it");
        assert!(after.with(&defined).former.is_empty());
    }
}
