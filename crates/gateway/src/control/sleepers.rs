//! The Services that sleep: kept from one compilation to the next, because somebody may be waiting for them.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use tokio::sync::Notify;

use super::{Snapshot, scalable::Scalable};
use crate::table::Sleeper;

/// A Service that sleeps, and what may be scaled for it.
#[derive(Debug, Clone)]
pub(super) struct Waking {
    pub sleeper: Arc<Sleeper>,
    /// In the order of their autoscalers' names.
    pub targets: Vec<Arc<Scalable>>,
}

/// All of them, by namespace and name.
#[derive(Debug, Default)]
pub(super) struct Sleepers {
    known: BTreeMap<(String, String), Waking>,
    /// Notified when one is wanted.
    asked: Arc<Notify>,
}

impl Sleepers {
    /// Takes in changed Services and autoscalers.
    pub fn set(&mut self, snapshot: &Snapshot) {
        let mut known = std::mem::take(&mut self.known);
        if snapshot.scalables.is_empty() {
            return;
        }
        let mut by_namespace: HashMap<&str, Vec<&Arc<Scalable>>> = HashMap::new();
        for scalable in &snapshot.scalables {
            by_namespace.entry(&scalable.namespace).or_default().push(scalable);
        }
        for service in &snapshot.services {
            let (Some(namespace), Some(name)) = (&service.metadata.namespace, &service.metadata.name) else { continue };
            let near = by_namespace.get(namespace.as_str()).into_iter().flatten();
            let mut targets: Vec<_> = near.filter(|scalable| scalable.serves(service)).map(|s| (*s).clone()).collect();
            if targets.is_empty() {
                continue;
            }
            targets.sort_by(|a, b| a.autoscaler.name.cmp(&b.autoscaler.name));
            let key = (namespace.clone(), name.clone());
            let sleeper = known.remove(&key).map_or_else(
                || Arc::new(Sleeper::new(format!("{namespace}/{name}").into(), self.asked.clone())),
                |waking| waking.sleeper,
            );
            self.known.insert(key, Waking { sleeper, targets });
        }
    }

    /// A Service's, if it sleeps.
    pub fn of(&self, service: &(String, String)) -> Option<&Arc<Sleeper>> {
        self.known.get(service).map(|waking| &waking.sleeper)
    }

    /// All of them.
    pub fn all(&self) -> Vec<Waking> {
        self.known.values().cloned().collect()
    }

    /// Notified when one is wanted.
    pub fn asked(&self) -> Arc<Notify> {
        self.asked.clone()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::control::scalable::tests::of;

    fn snapshot(scalables: Vec<Arc<Scalable>>) -> Snapshot {
        let service = |name: &str, app: &str| {
            let metadata = json!({"name": name, "namespace": "shop"});
            serde_json::from_value(json!({"metadata": metadata, "spec": {"selector": {"app": app}}})).unwrap()
        };
        let services = vec![Arc::new(service("web", "web")), Arc::new(service("other", "other"))];
        Snapshot { services, scalables, ..Snapshot::default() }
    }

    #[test]
    fn a_service_sleeps_for_as_long_as_an_autoscaler_may_take_its_last_pod_and_is_the_same_meanwhile() {
        let key = |name: &str| ("shop".to_owned(), name.to_owned());
        let mut sleepers = Sleepers::default();
        sleepers.set(&snapshot(vec![of(&[("app", "web")])]));
        let first = sleepers.of(&key("web")).unwrap().clone();
        assert!(sleepers.of(&key("other")).is_none());
        sleepers.set(&snapshot(vec![of(&[("app", "web"), ("version", "2")])]));
        assert!(Arc::ptr_eq(sleepers.of(&key("web")).unwrap(), &first));
        assert_eq!(sleepers.all()[0].targets[0].labels["version"], "2");
        sleepers.set(&snapshot(Vec::new()));
        assert!(sleepers.of(&key("web")).is_none());
    }
}
