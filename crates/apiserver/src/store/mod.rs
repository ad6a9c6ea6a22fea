//! Every object, durable and watchable.
//!
//! Objects are kept as JSON bytes with a small header, because parsed JSON costs eleven times the memory. One writer thread
//! commits what arrives together in one record of a journal; a write is answered, shown to readers and sent to watchers only after
//! its commit. One revision counts all writes; each resource remembers its last changes for watchers that come back. A restart
//! forgets them: a watch from before it is told to list again, unless nothing at all has been written since.

mod disk;
mod history;
mod journal;
pub mod media;
mod older;
mod row;
pub mod saved;
mod state;
mod writer;

use std::{
    collections::BTreeMap,
    path::Path,
    sync::{Arc, Mutex, OnceLock, PoisonError, RwLock, RwLockReadGuard, atomic::Ordering},
};

use bytes::Bytes;
use tokio::sync::{mpsc, oneshot, watch};

pub use disk::DiskError;
pub use history::{Change, Changes};
use media::{FileMedia, Media};
use state::{Feed, State};
pub use state::{Range, Snapshot};
pub use writer::{COMMIT_BUCKETS, Figures};

/// The store's file in a data directory.
///
/// The name is from formats 1 and 2, which were redb databases. It stays: an older Coracle that is started again, or goes on after
/// a newer one has failed to replace it, has to find the file and refuse it, where it would begin with an empty cluster under a name
/// that it does not know; and what it is made to restore under this name is what a newer one goes on with.
pub const FILE: &str = "state.redb";

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

/// What selectors ask of an object; made by the first who asks.
#[derive(Debug)]
pub struct Facts {
    /// `metadata.labels`.
    pub labels: BTreeMap<String, String>,
    /// The fields by which objects of its kind can be selected.
    pub fields: BTreeMap<&'static str, String>,
}

/// One stored version of an object.
#[derive(Clone, Debug)]
pub struct Stored {
    /// The revision that wrote it: its `resourceVersion`.
    pub revision: u64,
    /// The whole object as JSON; whoever wrote it put the revision into it.
    pub json: Bytes,
    facts: Arc<OnceLock<Facts>>,
}

impl Stored {
    /// A version of an object.
    pub fn new(revision: u64, json: Bytes) -> Self {
        Self { revision, json, facts: Arc::default() }
    }

    /// What selectors ask of it, kept with it once it is known.
    ///
    /// # Errors
    /// What `make` says.
    pub fn facts<E>(&self, make: impl FnOnce(&Self) -> Result<Facts, E>) -> Result<&Facts, E> {
        if let Some(facts) = self.facts.get() {
            return Ok(facts);
        }
        let facts = make(self)?;
        Ok(self.facts.get_or_init(|| facts))
    }
}

/// Why a write did not happen.
#[derive(Debug, thiserror::Error)]
pub enum StoreError<E> {
    /// The caller's own decision on seeing the current object.
    #[error(transparent)]
    Refused(E),
    /// The disk: nobody sees anything of the write. What the disk may have of it is taken back at once, or, where that is refused as
    /// well, before the next commit: only a process that starts in between may find it there, or one after a loss of power.
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

/// A write that was decided.
pub struct Decided {
    /// What it turns the object into.
    pub next: Next,
    /// Called once its commit is done and visible (true) or has failed (false), before the answer is sent and even if nobody waits
    /// for that. It runs on the thread that writes, and must not wait for anything.
    pub settled: Option<Settled>,
}

/// What is told whether a write is durable.
pub type Settled = Box<dyn FnOnce(bool) + Send>;

impl From<Next> for Decided {
    fn from(next: Next) -> Self {
        Self { next, settled: None }
    }
}

/// The store. Clones are handles to the same one.
#[derive(Clone)]
pub struct Store {
    state: Arc<RwLock<State>>,
    figures: Arc<Mutex<Figures>>,
    writes: mpsc::Sender<writer::Job>,
    /// Ends with the writer; nothing is ever sent.
    writer: watch::Receiver<()>,
}

impl Store {
    /// Opens (or makes) the store in a file.
    ///
    /// # Errors
    /// When the file cannot be read, is of an unknown format, or another process has it open.
    pub fn open(path: &Path) -> Result<Self, OpenError> {
        let failed = |reason: String| OpenError { path: path.display().to_string(), reason };
        Self::open_in(FileMedia::new(path)).map_err(|error| failed(error.to_string()))
    }

    /// Opens (or makes) the store in a place.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub fn open_in(media: impl Media) -> Result<Self, DiskError> {
        let disk::Opened { disk, objects, revision } = disk::Disk::open(Box::new(media))?;
        let state = Arc::new(RwLock::new(State::new(objects, revision)));
        let figures = Arc::new(Mutex::new(Figures::default()));
        let (alive, writer) = watch::channel(());
        let shared = writer::Shared { state: state.clone(), figures: figures.clone() };
        let writes = writer::start(disk, shared, alive).map_err(|e| DiskError::new(e.to_string()))?;
        Ok(Self { state, figures, writes, writer })
    }

    /// Resolves when every handle to the store is gone and its file is closed: then another process can open it.
    pub fn closed(&self) -> impl Future<Output = ()> + Send + use<> {
        let mut writer = self.writer.clone();
        async move { while writer.changed().await.is_ok() {} }
    }

    /// The revision of the last visible write.
    pub fn revision(&self) -> u64 {
        self.read().revision
    }

    /// One object.
    pub fn get(&self, key: &Key) -> Option<Stored> {
        self.read().get(key)
    }

    /// All objects of a resource, in one namespace or in all (empty).
    pub fn list(&self, resource: &Arc<str>, namespace: &str) -> Snapshot {
        let state = self.read();
        let range = Range { namespace, ..Range::default() };
        let revision = state.revision;
        // What there is now can always be told.
        state.read(resource, &range).unwrap_or(Snapshot { revision, objects: Vec::new(), remaining: 0 })
    }

    /// The objects of a range, or `None` if too much has changed since the revision it asks for to tell.
    pub fn range(&self, resource: &Arc<str>, range: &Range<'_>) -> Option<Snapshot> {
        self.read().read(resource, range)
    }

    /// At most `most` changes of a resource after a revision, or `None` if they are not remembered any more.
    pub fn changes(&self, resource: &Arc<str>, after: u64, most: usize) -> Option<Changes> {
        let state = self.read();
        match state.existing(resource) {
            Some(resource) => resource.history.after(after, state.revision, most),
            None if after < state.oldest(resource) => None,
            None => Some(Changes { until: state.revision.max(after), changes: Vec::new() }),
        }
    }

    /// The oldest revision from which changes of a resource are remembered.
    pub fn oldest(&self, resource: &Arc<str>) -> u64 {
        self.read().oldest(resource)
    }

    /// Waits for changes of a resource.
    pub fn watch(&self, resource: &Arc<str>) -> Watcher {
        let found = self.read().existing(resource).map(|found| found.feed.clone());
        let feed = found.unwrap_or_else(|| {
            let mut state = self.state.write().unwrap_or_else(PoisonError::into_inner);
            state.resource(resource).feed.clone()
        });
        feed.watchers.fetch_add(1, Ordering::Relaxed);
        Watcher { changed: feed.changed.subscribe(), feed }
    }

    /// For each resource that has been used: its name, how many objects there are, and how many watch them.
    pub fn counts(&self) -> Vec<(Arc<str>, usize, usize)> {
        self.read().counts()
    }

    /// What the writer has done so far.
    pub fn figures(&self) -> Figures {
        self.figures.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Everything, at one revision.
    pub fn everything(&self) -> saved::Everything {
        let state = self.read();
        saved::Everything { revision: state.revision, objects: state.everything() }
    }

    /// Whether the writer has ended, so that nothing can be written any more.
    pub fn is_closed(&self) -> bool {
        self.writes.is_closed()
    }

    /// How many objects a resource has.
    pub fn count(&self, resource: &Arc<str>) -> usize {
        self.read().existing(resource).map_or(0, |found| found.objects.len())
    }

    /// Whether writes can be made durable. If the last one could not, it is tried.
    ///
    /// # Errors
    /// What the disk says.
    pub async fn check(&self) -> Result<(), DiskError> {
        let stopped = || DiskError::new("the store's writer has stopped");
        if self.figures().broken.is_none() {
            return if self.writes.is_closed() { Err(stopped()) } else { Ok(()) };
        }
        let (answer, answered) = oneshot::channel();
        self.writes.send(writer::Job::Probe(answer)).await.map_err(|_| stopped())?;
        answered.await.map_err(|_| stopped())?
    }

    /// Changes one object. `decide` sees the object as it is when the write's turn comes (which may be a write of the same
    /// commit that no reader sees yet) and the revision that the new state will have.
    ///
    /// # Errors
    /// What `decide` refused, or what the disk did.
    pub async fn write<E: Send + 'static, D: Into<Decided>>(
        &self,
        key: Key,
        decide: impl FnOnce(Option<&Stored>, u64) -> Result<D, E> + Send + 'static,
    ) -> Result<Written, StoreError<E>> {
        let (answer, answered) = oneshot::channel();
        let job = writer::job(key, decide, answer);
        let stopped = || StoreError::Disk(DiskError::new("the store's writer has stopped"));
        // The queue is bounded: past it, waiting here is what slows clients down.
        self.writes.send(job).await.map_err(|_| stopped())?;
        answered.await.map_err(|_| stopped())?
    }

    fn read(&self) -> RwLockReadGuard<'_, State> {
        self.state.read().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Somebody who waits for changes of one resource.
#[derive(Debug)]
pub struct Watcher {
    feed: Arc<Feed>,
    changed: watch::Receiver<u64>,
}

impl Watcher {
    /// Resolves when there has been a change since it last did.
    pub async fn changed(&mut self) {
        // The sender is in `feed`, which is held here.
        let _ = self.changed.changed().await;
    }

    /// The revisions of the resource's changes from now on, for somebody who is not counted; it holds nothing.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.feed.changed.subscribe()
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        self.feed.watchers.fetch_sub(1, Ordering::Relaxed);
    }
}

/// What a write did.
#[derive(Clone, Debug)]
pub struct Written {
    /// The object's state after it (its last one, if deleted).
    pub stored: Option<Stored>,
}
