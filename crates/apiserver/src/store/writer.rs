//! The one thread that writes: it takes what has arrived, decides each write in turn, commits all at once, then answers.

use std::{
    collections::HashMap,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, Mutex, PoisonError, RwLock},
    thread,
    time::{Duration, Instant},
};

use bytes::Bytes;
use tokio::sync::{mpsc, oneshot, watch};

use super::{
    Change, Decided, Key, Next, StoreError, Stored, Written,
    disk::{Disk, DiskError, panic_text},
    state::State,
};

/// Writes waiting for their turn; past it clients wait before they are queued.
const QUEUE: usize = 1024;
/// Writes in one commit, and bytes of objects after which no more are taken into it: bounds what a failed disk takes with it, how long
/// the first waits for the last, and the memory of the record.
const GROUP: usize = 256;
const BYTES: usize = 8 * 1024 * 1024;

/// The decision of one write. It is given the current object and the next revision; it returns the change to commit
/// (if any), and what to call when the commit is done or has failed.
type Run = Box<dyn FnOnce(Option<&Stored>, u64) -> (Option<Next>, Answer) + Send>;
type Answer = Box<dyn FnOnce(Result<Written, DiskError>) + Send>;

/// Something to do whose turn has not come.
pub(super) enum Job {
    /// One write.
    Write { key: Key, run: Run },
    /// Whether the disk takes writes (again).
    Probe(oneshot::Sender<Result<(), DiskError>>),
}

/// What the writer has done so far.
#[derive(Clone, Debug, Default)]
pub struct Figures {
    /// Commits that are durable.
    pub commits: u64,
    /// Commits that the disk refused.
    pub failed: u64,
    /// Writes in durable commits.
    pub writes: u64,
    /// How long commits took, by upper bound: `COMMIT_BUCKETS`, and one more for longer ones.
    pub buckets: [u64; 10],
    /// How long they took together.
    pub spent: Duration,
    /// Bytes of the file.
    pub file: u64,
    /// Why the disk refused the last commit; `None` if it did not.
    pub broken: Option<DiskError>,
}

/// Upper bounds of how long a commit took, in seconds.
pub const COMMIT_BUCKETS: [f64; 9] = [0.0005, 0.001, 0.002, 0.005, 0.01, 0.05, 0.1, 1.0, 10.0];

impl Figures {
    fn note(&mut self, took: Duration, writes: usize, result: &Result<(), DiskError>) {
        match result {
            Ok(()) => {
                self.commits += 1;
                self.writes += writes as u64;
                self.broken = None;
            }
            Err(error) => {
                self.failed += 1;
                self.broken = Some(error.clone());
            }
        }
        self.spent += took;
        let at = COMMIT_BUCKETS.iter().position(|bound| took.as_secs_f64() <= *bound).unwrap_or(COMMIT_BUCKETS.len());
        if let Some(bucket) = self.buckets.get_mut(at) {
            *bucket += 1;
        }
    }
}

/// Packs a decision and the place its answer goes to.
pub(super) fn job<E: Send + 'static, D: Into<Decided>>(
    key: Key,
    decide: impl FnOnce(Option<&Stored>, u64) -> Result<D, E> + Send + 'static,
    answer: oneshot::Sender<Result<Written, StoreError<E>>>,
) -> Job {
    // A caller that no longer waits (its client went away) is not told; its write counts all the same.
    let run: Run = Box::new(move |current, revision| {
        // Others write through the same thread: a decision that panics is its own failure alone.
        let decided = catch_unwind(AssertUnwindSafe(|| decide(current, revision)));
        let refused = match decided {
            Ok(Ok(decided)) => {
                let Decided { next, settled } = decided.into();
                let reply = move |result: Result<Written, DiskError>| {
                    if let Some(settled) = settled {
                        settled(result.is_ok());
                    }
                    drop(answer.send(result.map_err(StoreError::Disk)));
                };
                return (Some(next), Box::new(reply) as Answer);
            }
            Ok(Err(refused)) => StoreError::Refused(refused),
            Err(panic) => StoreError::Panicked(panic_text(panic.as_ref()).to_owned()),
        };
        let reply = move |_| drop(answer.send(Err(refused)));
        (None, Box::new(reply) as Answer)
    });
    Job::Write { key, run }
}

/// What the writer shares with the store's handles.
pub(super) struct Shared {
    pub state: Arc<RwLock<State>>,
    pub figures: Arc<Mutex<Figures>>,
}

/// Starts the writer's thread; `alive` is let go at its end.
pub(super) fn start(mut disk: Disk, shared: Shared, alive: watch::Sender<()>) -> std::io::Result<mpsc::Sender<Job>> {
    let (queue, mut waiting) = mpsc::channel::<Job>(QUEUE);
    shared.figures.lock().unwrap_or_else(PoisonError::into_inner).file = disk.size();
    thread::Builder::new().name("store".to_owned()).spawn(move || {
        let mut group = Vec::new();
        while waiting.blocking_recv_many(&mut group, GROUP) > 0 {
            let mut jobs = group.drain(..);
            while jobs.len() > 0 {
                Group::new(&shared).run(&mut disk, &shared, &mut jobs);
            }
        }
        // In this order: who waits for the writer's end opens the file next.
        drop(disk);
        drop(alive);
    })?;
    Ok(queue)
}

/// The writes of one commit, before anybody sees them.
struct Group {
    revision: u64,
    changes: Vec<Change>,
    /// What an object is after the writes so far; `None` if one removed it.
    latest: HashMap<Key, Option<Stored>>,
    /// Bytes of the changed objects.
    bytes: usize,
    answers: Vec<(Answer, Option<Stored>)>,
    probes: Vec<oneshot::Sender<Result<(), DiskError>>>,
}

impl Group {
    fn new(shared: &Shared) -> Self {
        let revision = shared.state.read().unwrap_or_else(PoisonError::into_inner).revision;
        let (changes, latest) = (Vec::new(), HashMap::new());
        Self { revision, changes, latest, bytes: 0, answers: Vec::new(), probes: Vec::new() }
    }

    /// Takes jobs, as many as fit into one commit, and does them.
    fn run(mut self, disk: &mut Disk, shared: &Shared, jobs: &mut impl Iterator<Item = Job>) {
        while self.bytes < BYTES
            && let Some(job) = jobs.next()
        {
            match job {
                Job::Write { key, run } => self.decide(&shared.state, key, run),
                Job::Probe(answer) => self.probes.push(answer),
            }
        }
        let broken = shared.figures.lock().unwrap_or_else(PoisonError::into_inner).broken.is_some();
        let needed = !self.changes.is_empty() || broken && !self.probes.is_empty();
        let result = if needed { self.commit(disk, shared) } else { Ok(()) };
        match &result {
            Ok(()) if self.changes.is_empty() => {}
            Ok(()) => {
                let mut state = shared.state.write().unwrap_or_else(PoisonError::into_inner);
                state.take(self.revision, self.changes.drain(..));
            }
            Err(error) => tracing::error!("the store could not commit {} writes: {error}", self.changes.len()),
        }
        for (answer, stored) in self.answers {
            answer(result.clone().map(|()| Written { stored }));
        }
        for probe in self.probes {
            // Whoever asked may have gone.
            let _ = probe.send(result.clone());
        }
        if needed && result.is_ok() {
            let read = || shared.state.read().unwrap_or_else(PoisonError::into_inner);
            let live = read().live;
            disk.shrink(live, self.revision, &|| read().everything());
            shared.figures.lock().unwrap_or_else(PoisonError::into_inner).file = disk.size();
        }
    }

    fn decide(&mut self, state: &RwLock<State>, key: Key, run: Run) {
        let current = match self.latest.get(&key) {
            Some(latest) => latest.clone(),
            None => visible(state, &key),
        };
        let revision = self.revision + 1;
        let (next, answer) = run(current.as_ref(), revision);
        let (json, deleted) = match next {
            None | Some(Next::Keep) => return self.answers.push((answer, current)),
            Some(Next::Put(json)) => (json, false),
            Some(Next::Delete(json)) => (json, true),
        };
        self.revision = revision;
        self.bytes += json.len();
        // Without the room that the text had to grow: it may be kept for a long time.
        let stored = Stored::new(revision, Bytes::from(json.into_boxed_slice()));
        self.latest.insert(key.clone(), (!deleted).then(|| stored.clone()));
        self.changes.push(Change::new(key, stored.clone(), current, deleted));
        self.answers.push((answer, Some(stored)));
    }

    fn commit(&self, disk: &mut Disk, shared: &Shared) -> Result<(), DiskError> {
        let everything = || shared.state.read().unwrap_or_else(PoisonError::into_inner).everything();
        let started = Instant::now();
        let result = disk.commit(&self.latest, self.revision, &everything);
        let mut figures = shared.figures.lock().unwrap_or_else(PoisonError::into_inner);
        figures.note(started.elapsed(), self.changes.len(), &result);
        figures.file = disk.size();
        result
    }
}

/// An object as everybody sees it.
fn visible(state: &RwLock<State>, key: &Key) -> Option<Stored> {
    state.read().unwrap_or_else(PoisonError::into_inner).get(key)
}
