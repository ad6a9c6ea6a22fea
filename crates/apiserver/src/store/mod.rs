//! Every object, durable and watchable.
//!
//! Objects are kept as JSON bytes with a small header, because parsed JSON costs eleven times the memory. One writer thread
//! commits what arrives together in one transaction; a write is answered, shown to readers and sent to watchers only after
//! its commit. One revision counts all writes; each resource remembers its last changes for watchers that come back.

mod disk;
mod history;
mod writer;

use std::{
    collections::BTreeMap,
    path::Path,
    sync::{Arc, RwLock, RwLockReadGuard},
};

use bytes::Bytes;
use tokio::sync::{mpsc, oneshot, watch};

pub use disk::DiskError;
use history::History;
pub use history::{Change, Changes};

/// Changes remembered for each resource; a watch that asks for older ones is told 410 Gone.
const REMEMBERED: usize = 1024;

/// Which object: resources are named `group/plural`, the namespace is empty for kinds without.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key {
    /// `apps/deployments`, or `/pods` for the core group.
    pub resource: Arc<str>,
    /// Empty for cluster-wide kinds.
    pub namespace: String,
    /// `metadata.name`.
    pub name: String,
}

/// One stored version of an object.
#[derive(Clone, Debug)]
pub struct Stored {
    /// The revision that wrote it: its `resourceVersion`.
    pub revision: u64,
    /// The whole object as JSON; whoever wrote it put the revision into it.
    pub json: Bytes,
}

/// Why a write did not happen.
#[derive(Debug, thiserror::Error)]
pub enum StoreError<E> {
    /// The caller's own decision on seeing the current object.
    #[error(transparent)]
    Refused(E),
    /// The disk: nothing of the write is visible, now or after a restart.
    #[error("the write could not be made durable: {0}")]
    Disk(DiskError),
    /// The caller's decision panicked, which is a bug; nothing was written.
    #[error("deciding about the write panicked: {0}")]
    Panicked(String),
}

/// The store could not be opened.
#[derive(Debug, thiserror::Error)]
#[error("open the store {path}: {reason}")]
pub struct OpenError {
    path: String,
    reason: String,
}

/// What a write turns the object into.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Next {
    /// This JSON.
    Put(Vec<u8>),
    /// Gone. The bytes are its last state, for watchers.
    Delete(Vec<u8>),
    /// As it was; no revision is used.
    Keep,
}

#[derive(Default)]
struct Resource {
    objects: BTreeMap<(String, String), Stored>,
    history: History,
}

/// What is visible: committed, and nothing else.
#[derive(Default)]
struct State {
    revision: u64,
    resources: BTreeMap<Arc<str>, Resource>,
}

/// The store. Clones are handles to the same one.
#[derive(Clone)]
pub struct Store {
    state: Arc<RwLock<State>>,
    writes: mpsc::Sender<writer::Job>,
    tick: watch::Receiver<u64>,
}

/// A consistent read of one resource.
#[derive(Debug)]
pub struct Snapshot {
    /// The store's revision at the time of the read: the list's `resourceVersion`.
    pub revision: u64,
    /// In order of namespace and name.
    pub objects: Vec<(Key, Stored)>,
}

impl Store {
    /// Opens (or makes) the store in a file.
    ///
    /// # Errors
    /// When the file cannot be read, is of an unknown format, or another process has it open.
    pub fn open(path: &Path) -> Result<Self, OpenError> {
        let failed =
            |reason: &dyn std::fmt::Display| OpenError { path: path.display().to_string(), reason: reason.to_string() };
        let mut state = State::default();
        let opened = disk::Disk::open(path, |key, stored| {
            let resource = state.resources.entry(key.resource).or_default();
            resource.objects.insert((key.namespace, key.name), stored);
        });
        let (disk, revision) = opened.map_err(|error| failed(&error))?;
        state.revision = revision;
        for resource in state.resources.values_mut() {
            // Nothing from before the start is remembered: a watch from then has to list again.
            resource.history.forget_until(revision);
        }
        let state = Arc::new(RwLock::new(state));
        let (publish, tick) = watch::channel(revision);
        let writes = writer::start(disk, state.clone(), publish).map_err(|e| failed(&e))?;
        Ok(Self { state, writes, tick })
    }

    /// Resolves when every handle to the store is gone and its file is closed: then another process can open it.
    pub fn closed(&self) -> impl Future<Output = ()> + Send + use<> {
        let mut tick = self.tick.clone();
        async move { while tick.changed().await.is_ok() {} }
    }

    /// The revision of the last visible write.
    pub fn revision(&self) -> u64 {
        self.read().revision
    }

    /// One object.
    pub fn get(&self, key: &Key) -> Option<Stored> {
        let state = self.read();
        let resource = state.resources.get(&key.resource)?;
        resource.objects.get(&(key.namespace.clone(), key.name.clone())).cloned()
    }

    /// All objects of a resource, in one namespace or in all (empty).
    pub fn list(&self, resource: &Arc<str>, namespace: &str) -> Snapshot {
        let state = self.read();
        let all = state.resources.get(resource).map(|r| &r.objects);
        let in_range = all.into_iter().flat_map(|objects| {
            let start = (namespace.to_owned(), String::new());
            objects.range(start..).take_while(move |((ns, _), _)| namespace.is_empty() || ns == namespace)
        });
        let objects = in_range.map(|((namespace, name), stored)| {
            (Key { resource: resource.clone(), namespace: namespace.clone(), name: name.clone() }, stored.clone())
        });
        Snapshot { revision: state.revision, objects: objects.collect() }
    }

    /// All objects of a resource as they were at an earlier revision, or `None` if too much has changed since to tell.
    pub fn list_at(&self, resource: &Arc<str>, namespace: &str, revision: u64) -> Option<Snapshot> {
        // Both under one lock: what the changes lead to is what is listed.
        let state = self.read();
        let Some(found) = state.resources.get(resource).filter(|_| revision <= state.revision) else {
            return (revision <= state.revision).then(|| Snapshot { revision, objects: Vec::new() });
        };
        let since = found.history.after(revision, state.revision)?;
        let mut objects = found.objects.clone();
        for change in since.changes.into_iter().rev() {
            let name = (change.key.namespace, change.key.name);
            match change.previous {
                Some(previous) => drop(objects.insert(name, previous)),
                None => drop(objects.remove(&name)),
            }
        }
        let wanted = objects.into_iter().filter(|((ns, _), _)| namespace.is_empty() || ns == namespace);
        let objects =
            wanted.map(|((namespace, name), stored)| (Key { resource: resource.clone(), namespace, name }, stored));
        Some(Snapshot { revision, objects: objects.collect() })
    }

    /// The changes of a resource after a revision, or `None` if they are not remembered any more.
    pub fn changes(&self, resource: &Arc<str>, after: u64) -> Option<Changes> {
        let state = self.read();
        match state.resources.get(resource) {
            Some(resource) => resource.history.after(after, state.revision),
            None => Some(Changes { until: state.revision, changes: Vec::new() }),
        }
    }

    /// Resolves whenever the revision moves on.
    pub fn ticks(&self) -> watch::Receiver<u64> {
        self.tick.clone()
    }

    /// Changes one object. `decide` sees the object as it is when the write's turn comes (which may be a write of the same
    /// commit that no reader sees yet) and the revision that the new state will have.
    ///
    /// # Errors
    /// What `decide` refused, or what the disk did.
    pub async fn write<E: Send + 'static>(
        &self,
        key: Key,
        decide: impl FnOnce(Option<&Stored>, u64) -> Result<Next, E> + Send + 'static,
    ) -> Result<Written, StoreError<E>> {
        let (answer, answered) = oneshot::channel();
        let job = writer::job(key, decide, answer);
        let stopped = || StoreError::Disk(DiskError::new("the store's writer has stopped"));
        // The queue is bounded: past it, waiting here is what slows clients down.
        self.writes.send(job).await.map_err(|_| stopped())?;
        answered.await.map_err(|_| stopped())?
    }

    fn read(&self) -> RwLockReadGuard<'_, State> {
        self.state.read().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

/// What a write did.
#[derive(Clone, Debug)]
pub struct Written {
    /// The object's state after it (its last one, if deleted).
    pub stored: Option<Stored>,
}
