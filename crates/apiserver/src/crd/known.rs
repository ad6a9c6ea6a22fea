//! The stored definitions as they were last read. A definition is read again when it was written, and only then: there can be a
//! thousand, of a hundred kilobytes each, and whatever is compiled for the objects of one stays while others change.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use ::objects::{custom, kinds::Kind};
use serde_json::Value;

use super::kind;
use crate::{
    registry::{Registry, meta, parse},
    store::Stored,
};

/// A definition.
pub(super) struct One {
    /// What it says, but for the schemas of its versions.
    pub(super) definition: Value,
    /// The kinds that it brings, if they are served.
    pub(super) kinds: Vec<Kind>,
    revision: u64,
    /// By which definitions are in order.
    age: (String, String),
}

/// All that are stored.
#[derive(Default)]
pub(super) struct Known(Mutex<HashMap<String, Arc<One>>>);

impl Known {
    /// Every stored definition, the oldest first.
    pub(super) fn read(&self, registry: &Registry) -> Vec<Arc<One>> {
        let Some(kind) = kind() else { return Vec::new() };
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // Under the lock: whoever comes later must not bring back what was there before.
        let stored = registry.list(kind, "").objects;
        let mut all = HashMap::with_capacity(stored.len());
        for (key, stored) in stored {
            let same = known.remove(&key.name).filter(|one| one.revision == stored.revision);
            if let Some(one) = same.or_else(|| One::read(&stored).map(Arc::new)) {
                all.insert(key.name, one);
            }
        }
        let mut list: Vec<Arc<One>> = all.values().cloned().collect();
        *known = all;
        drop(known);
        list.sort_unstable_by(|a, b| a.age.cmp(&b.age));
        list
    }
}

impl One {
    fn read(stored: &Stored) -> Option<Self> {
        let mut definition = parse(stored).ok()?;
        let text = |field: &str| meta::text(&definition, field).to_owned();
        let age = (text("creationTimestamp"), text("name"));
        let kinds = if custom::is_served(&definition) { custom::kinds(&definition) } else { Ok(Vec::new()) };
        let kinds = kinds.unwrap_or_else(|error| {
            tracing::warn!("CustomResourceDefinition {}: {error}", age.1);
            Vec::new()
        });
        let versions = definition.pointer_mut("/spec/versions").and_then(Value::as_array_mut);
        for version in versions.into_iter().flatten().filter_map(Value::as_object_mut) {
            version.remove("schema");
        }
        Some(Self { definition, kinds, revision: stored.revision, age })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::{
        crd::sync,
        registry::{Registry, addresses::Addresses, update::Part},
        store::Store,
    };

    fn definition(plural: &str) -> Value {
        json!({"metadata": {"name": format!("{plural}.example.com")}, "spec": {"group": "example.com", "scope": "Cluster",
            "names": {"plural": plural, "kind": plural.to_uppercase()}, "versions": [{"name": "v1", "served": true, "storage": true,
                "schema": {"openAPIV3Schema": {"type": "object", "properties": {"spec": {"type": "object"}}}}}]}})
    }

    #[tokio::test]
    async fn what_is_compiled_for_one_definition_stays_while_others_change() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(&dir.path().join("store")).unwrap();
        let registry = Registry::new(store, Addresses::new("10.43.0.0/16").unwrap());
        let of = kind().unwrap();
        let schema = |plural: &str| {
            let kind = registry.kinds().by_resource("example.com", "v1", plural).unwrap();
            kind.definition().unwrap().schema.compiled()
        };
        registry.create(of, "", definition("as"), false).await.unwrap();
        sync(&registry).await.unwrap();
        let before = schema("as");
        registry.create(of, "", definition("bs"), false).await.unwrap();
        sync(&registry).await.unwrap();
        assert!(Arc::ptr_eq(&before, &schema("as")), "it was compiled again");
        let change = |current: &Value| {
            let mut next = current.clone();
            next["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]["nullable"] = json!(true);
            Ok(next)
        };
        registry.update(of, "", "as.example.com", Part::Main, false, change).await.unwrap();
        sync(&registry).await.unwrap();
        assert!(schema("as").properties.get("spec").unwrap().nullable, "it is not what it was changed to");
        let all = registry.definitions().known.read(&registry);
        let names: Vec<&str> = all.iter().map(|one| meta::text(&one.definition, "name")).collect();
        assert_eq!(names, ["as.example.com", "bs.example.com"]);
        assert!(all.iter().all(|one| one.definition.pointer("/spec/versions/0/schema").is_none()));
    }
}
