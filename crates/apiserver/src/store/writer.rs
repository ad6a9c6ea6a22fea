//! The one thread that writes: it takes what has arrived, decides each write in turn, commits all at once, then answers.

use std::{
    collections::HashMap,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, PoisonError, RwLock},
    thread,
};

use bytes::Bytes;
use tokio::sync::{mpsc, oneshot, watch};

use super::{
    Change, Key, Next, State, StoreError, Stored, Written,
    disk::{Disk, DiskError, Row, panic_text},
};

/// Writes waiting for their turn; past it clients wait before they are queued.
const QUEUE: usize = 1024;
/// Writes in one commit: bounds what a failed disk takes with it, and how long the first waits for the last.
const GROUP: usize = 256;

/// The decision of one write. It is given the current object and the next revision; it returns the change to commit
/// (if any), and what to call when the commit is done or has failed.
type Run = Box<dyn FnOnce(Option<&Stored>, u64) -> (Option<Next>, Answer) + Send>;
type Answer = Box<dyn FnOnce(Result<Written, DiskError>) + Send>;

/// One write whose turn has not come.
pub(super) struct Job {
    key: Key,
    run: Run,
}

/// Packs a decision and the place its answer goes to.
pub(super) fn job<E: Send + 'static>(
    key: Key,
    decide: impl FnOnce(Option<&Stored>, u64) -> Result<Next, E> + Send + 'static,
    answer: oneshot::Sender<Result<Written, StoreError<E>>>,
) -> Job {
    // A caller that no longer waits (its client went away) is not told; its write counts all the same.
    let run: Run = Box::new(move |current, revision| {
        // Others write through the same thread: a decision that panics is its own failure alone.
        let decided = catch_unwind(AssertUnwindSafe(|| decide(current, revision)));
        let refused = match decided {
            Ok(Ok(next)) => {
                let reply =
                    move |result: Result<Written, DiskError>| drop(answer.send(result.map_err(StoreError::Disk)));
                return (Some(next), Box::new(reply) as Answer);
            }
            Ok(Err(refused)) => StoreError::Refused(refused),
            Err(panic) => StoreError::Panicked(panic_text(panic.as_ref()).to_owned()),
        };
        let reply = move |_| drop(answer.send(Err(refused)));
        (None, Box::new(reply) as Answer)
    });
    Job { key, run }
}

pub(super) fn start(
    mut disk: Disk,
    state: Arc<RwLock<State>>,
    tick: watch::Sender<u64>,
) -> std::io::Result<mpsc::Sender<Job>> {
    let (queue, mut waiting) = mpsc::channel::<Job>(QUEUE);
    thread::Builder::new().name("store".to_owned()).spawn(move || {
        let mut group = Vec::new();
        while waiting.blocking_recv_many(&mut group, GROUP) > 0 {
            Group::new(&state).run(&mut disk, &state, &tick, group.drain(..));
        }
        // In this order: who waits for the end of the ticks opens the file next.
        drop(disk);
        drop(tick);
    })?;
    Ok(queue)
}

/// The writes of one commit, before anybody sees them.
struct Group {
    revision: u64,
    changes: Vec<Change>,
    /// What an object is after the writes so far; `None` if one removed it.
    latest: HashMap<Key, Option<Stored>>,
    answers: Vec<(Answer, Option<Stored>)>,
}

impl Group {
    fn new(state: &RwLock<State>) -> Self {
        let revision = state.read().unwrap_or_else(PoisonError::into_inner).revision;
        Self { revision, changes: Vec::new(), latest: HashMap::new(), answers: Vec::new() }
    }

    fn run(
        mut self,
        disk: &mut Disk,
        state: &RwLock<State>,
        tick: &watch::Sender<u64>,
        jobs: impl Iterator<Item = Job>,
    ) {
        for job in jobs {
            self.decide(state, job);
        }
        let result = if self.changes.is_empty() { Ok(()) } else { self.commit(disk, state) };
        match &result {
            Ok(()) if self.changes.is_empty() => {}
            Ok(()) => {
                self.show(state);
                tick.send_replace(self.revision);
            }
            Err(error) => tracing::error!("the store could not commit {} writes: {error}", self.changes.len()),
        }
        for (answer, stored) in self.answers {
            answer(result.clone().map(|()| Written { stored }));
        }
    }

    fn decide(&mut self, state: &RwLock<State>, job: Job) {
        let current = match self.latest.get(&job.key) {
            Some(latest) => latest.clone(),
            None => visible(state, &job.key),
        };
        let revision = self.revision + 1;
        let (next, answer) = (job.run)(current.as_ref(), revision);
        let (json, deleted) = match next {
            None | Some(Next::Keep) => return self.answers.push((answer, current)),
            Some(Next::Put(json)) => (json, false),
            Some(Next::Delete(json)) => (json, true),
        };
        self.revision = revision;
        let stored = Stored { revision, json: Bytes::from(json) };
        self.latest.insert(job.key.clone(), (!deleted).then(|| stored.clone()));
        self.changes.push(Change { key: job.key, stored: stored.clone(), previous: current, deleted });
        self.answers.push((answer, Some(stored)));
    }

    fn commit(&self, disk: &mut Disk, state: &RwLock<State>) -> Result<(), DiskError> {
        let rows: Vec<Row> = self.latest.iter().map(|(key, stored)| (key.clone(), stored.clone())).collect();
        let before = || rows.iter().map(|(key, _)| (key.clone(), visible(state, key))).collect();
        disk.commit(&rows, self.revision, before)
    }

    fn show(&mut self, state: &RwLock<State>) {
        let mut state = state.write().unwrap_or_else(PoisonError::into_inner);
        state.revision = self.revision;
        for change in self.changes.drain(..) {
            let resource = state.resources.entry(change.key.resource.clone()).or_default();
            let name = (change.key.namespace.clone(), change.key.name.clone());
            if change.deleted {
                resource.objects.remove(&name);
            } else {
                resource.objects.insert(name, change.stored.clone());
            }
            resource.history.push(change);
        }
    }
}

/// An object as everybody sees it.
fn visible(state: &RwLock<State>, key: &Key) -> Option<Stored> {
    let state = state.read().unwrap_or_else(PoisonError::into_inner);
    let name = (key.namespace.clone(), key.name.clone());
    state.resources.get(&key.resource).and_then(|r| r.objects.get(&name)).cloned()
}
