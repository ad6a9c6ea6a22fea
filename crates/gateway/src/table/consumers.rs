//! What callers of one namespace are served at a Service's address, where it is not what all others are.

use std::{
    collections::{BTreeMap, HashMap},
    net::IpAddr,
    sync::Arc,
};

use arc_swap::ArcSwap;

use super::ListenerService;

/// The namespace of every pod by its address, which it cannot forge. Pods come and go far more often than routes, so it is
/// swapped on its own.
#[derive(Debug, Default)]
pub struct Callers(ArcSwap<HashMap<IpAddr, Arc<str>>>);

impl Callers {
    /// From now on these pods are known.
    pub fn set(&self, namespaces: HashMap<IpAddr, Arc<str>>) {
        self.0.store(Arc::new(namespaces));
    }
}

/// Services by the namespace of those who call (GAMMA's consumer routes).
#[derive(Debug)]
pub struct Consumers {
    callers: Arc<Callers>,
    services: BTreeMap<Arc<str>, ListenerService>,
}

impl Consumers {
    /// What each of these namespaces is served; the others are served as if there were none.
    pub fn new(callers: Arc<Callers>, services: BTreeMap<Arc<str>, ListenerService>) -> Self {
        Self { callers, services }
    }

    /// What a caller is served, if it is something of its own.
    pub(crate) fn service(&self, caller: IpAddr) -> Option<&ListenerService> {
        let namespaces = self.callers.0.load();
        self.services.get(namespaces.get(&caller)?)
    }

    /// Every namespace and what it is served, by name.
    pub(crate) fn services(&self) -> impl Iterator<Item = (&Arc<str>, &ListenerService)> {
        self.services.iter()
    }
}
