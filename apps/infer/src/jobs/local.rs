//! Jobs of this process alone: which there are, which is next, and every change of theirs on disk before anybody is told of it.

use std::{
    collections::{BTreeSet, HashMap},
    path::Path,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use jiff::Timestamp;
use tokio::sync::{Notify, OwnedMutexGuard};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::{
    disk::{Change, Disk, DiskError},
    gauges::Gauges,
    job::{Job, Outcome, Retries, State},
    queue::{Accepted, Bounds},
};

/// The jobs of this process.
pub struct Local {
    disk: Arc<Disk>,
    /// Held while a change is decided and written, so that changes are written in the order in which they were decided.
    writing: Arc<tokio::sync::Mutex<()>>,
    index: Mutex<Index>,
    wake: Notify,
    gauges: Gauges,
    retries: Retries,
    bounds: Bounds,
}

#[derive(Default)]
struct Index {
    jobs: HashMap<Uuid, Job>,
    due: BTreeSet<(Timestamp, Uuid)>,
    over: BTreeSet<(Timestamp, Uuid)>,
    keys: HashMap<(String, String), Uuid>,
    running: HashMap<Uuid, CancellationToken>,
}

impl Index {
    fn put(&mut self, job: Job) {
        self.remove(job.id);
        match job.state {
            State::Queued => _ = self.due.insert((job.due_at, job.id)),
            State::Running => {}
            State::Succeeded | State::Failed | State::Cancelled => _ = self.over.insert((job.updated_at, job.id)),
        }
        if let Some((key, _)) = &job.key {
            self.keys.insert((job.owner.clone(), key.clone()), job.id);
        }
        self.jobs.insert(job.id, job);
    }

    fn remove(&mut self, id: Uuid) {
        let Some(old) = self.jobs.remove(&id) else { return };
        self.due.remove(&(old.due_at, id));
        self.over.remove(&(old.updated_at, id));
        if let Some((key, _)) = old.key {
            self.keys.remove(&(old.owner, key));
        }
    }

    /// How many wait and run.
    fn tell(&self, gauges: &Gauges) {
        gauges.tell(self.due.len(), self.jobs.len() - self.over.len() - self.due.len());
    }

    /// Jobs that are to be forgotten before another is taken.
    fn stale(&self, bounds: &Bounds, now: Timestamp) -> Vec<Uuid> {
        let before = now.checked_sub(bounds.retention).unwrap_or(Timestamp::MIN);
        let surplus = (self.jobs.len() + 1).saturating_sub(bounds.kept);
        let over = self.over.iter().enumerate();
        over.take_while(|(n, (at, _))| *n < surplus || *at < before).map(|(_, (_, id))| *id).take(1_000).collect()
    }
}

impl Local {
    /// Opens the jobs in `directory`, or none in memory.
    ///
    /// # Errors
    /// The disk failed.
    pub fn open(
        directory: Option<&Path>,
        retries: Retries,
        bounds: Bounds,
        gauges: Gauges,
    ) -> Result<Arc<Self>, Box<DiskError>> {
        let (disk, found) = Disk::open(directory)?;
        let now = Timestamp::now();
        let jobs: Vec<_> = found.iter().map(|job| job.found(&retries, now)).collect();
        let changed = jobs.iter().zip(&found).filter(|(new, old)| new != old).map(|(new, _)| new.clone()).collect();
        disk.write(&Change { jobs: changed, ..Change::default() })?;
        let mut index = Index::default();
        jobs.into_iter().for_each(|job| index.put(job));
        index.tell(&gauges);
        Ok(Arc::new(Self {
            disk: Arc::new(disk),
            writing: Arc::default(),
            index: Mutex::new(index),
            wake: Notify::new(),
            gauges,
            retries,
            bounds,
        }))
    }

    fn index(&self) -> MutexGuard<'_, Index> {
        self.index.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes a change that was decided under the guard, on disk first. It is carried through even if whoever waits for it goes away.
    async fn write(self: &Arc<Self>, guard: OwnedMutexGuard<()>, change: Change) -> Result<(), Box<DiskError>> {
        let queue = Arc::clone(self);
        blocking(move || {
            queue.disk.write(&change)?;
            let mut index = queue.index();
            change.jobs.into_iter().for_each(|job| index.put(job));
            change.forget.into_iter().for_each(|id| index.remove(id));
            index.tell(&queue.gauges);
            drop(guard);
            Ok(())
        })
        .await?
    }

    async fn writing(&self) -> OwnedMutexGuard<()> {
        Arc::clone(&self.writing).lock_owned().await
    }

    /// Takes a new job, which is about `input`.
    ///
    /// # Errors
    /// The disk failed.
    pub async fn accept(self: &Arc<Self>, job: Job, input: Vec<u8>) -> Result<Accepted, Box<DiskError>> {
        let guard = self.writing().await;
        let now = job.created_at;
        let forget = {
            let index = self.index();
            let same = job.key.as_ref().and_then(|(key, _)| index.keys.get(&(job.owner.clone(), key.clone())));
            if let Some(known) = same.and_then(|id| index.jobs.get(id)) {
                return Ok(if known.key == job.key { Accepted::Known(known.clone()) } else { Accepted::Mismatch });
            }
            let stale = index.stale(&self.bounds, now);
            let pending = index.jobs.len() - index.over.len();
            if pending >= self.bounds.queued || index.jobs.len() - stale.len() >= self.bounds.kept {
                return Ok(Accepted::Full);
            }
            stale
        };
        let change = Change { jobs: vec![job.clone()], input: Some((job.id, input)), forget, ..Change::default() };
        self.write(guard, change).await?;
        self.wake.notify_one();
        Ok(Accepted::New(job))
    }

    /// The job, if `owner` has one of this name.
    pub fn get(&self, owner: &str, id: Uuid) -> Option<Job> {
        self.index().jobs.get(&id).filter(|job| job.owner == owner).cloned()
    }

    /// `owner`'s jobs in this state (or all), the newest first, `most` at most, those before `before`.
    pub fn list(&self, owner: &str, state: Option<State>, before: Option<Uuid>, most: usize) -> Vec<Job> {
        let index = self.index();
        let mut jobs: Vec<_> = index
            .jobs
            .values()
            .filter(|job| job.owner == owner && state.is_none_or(|state| job.state == state))
            .filter(|job| before.is_none_or(|before| job.id < before))
            .collect();
        jobs.sort_unstable_by_key(|job| std::cmp::Reverse(job.id));
        jobs.into_iter().take(most).cloned().collect()
    }

    /// What came of the job.
    ///
    /// # Errors
    /// The disk failed.
    pub async fn result(&self, id: Uuid) -> Result<Option<Vec<u8>>, Box<DiskError>> {
        let disk = Arc::clone(&self.disk);
        blocking(move || disk.result(id)).await?
    }

    /// What the job is about.
    ///
    /// # Errors
    /// The disk failed.
    pub async fn input(&self, id: Uuid) -> Result<Option<Vec<u8>>, Box<DiskError>> {
        let disk = Arc::clone(&self.disk);
        blocking(move || disk.input(id)).await?
    }

    /// Changes the owner's job as `next` says; `None` if there is none, `Some(Err)` with it if `next` does not apply.
    async fn change(
        self: &Arc<Self>,
        owner: &str,
        id: Uuid,
        next: impl FnOnce(&Job) -> Option<Job>,
    ) -> Result<Option<Result<Job, Job>>, Box<DiskError>> {
        let guard = self.writing().await;
        let Some(job) = self.get(owner, id) else { return Ok(None) };
        let Some(next) = next(&job) else { return Ok(Some(Err(job))) };
        self.write(guard, Change { jobs: vec![next.clone()], ..Change::default() }).await?;
        if let Some(running) = self.index().running.remove(&id) {
            running.cancel();
        }
        self.wake.notify_one();
        Ok(Some(Ok(next)))
    }

    /// Takes the owner's job back; see [`Job::cancelled`].
    ///
    /// # Errors
    /// The disk failed.
    pub async fn cancel(self: &Arc<Self>, owner: &str, id: Uuid) -> Result<Option<Result<Job, Job>>, Box<DiskError>> {
        self.change(owner, id, |job| job.cancelled(Timestamp::now())).await
    }

    /// Has the owner's dead letter tried again; see [`Job::revived`].
    ///
    /// # Errors
    /// The disk failed.
    pub async fn revive(self: &Arc<Self>, owner: &str, id: Uuid) -> Result<Option<Result<Job, Job>>, Box<DiskError>> {
        self.change(owner, id, |job| job.revived(Timestamp::now())).await
    }

    /// Begins the next job when there is one; the token is cancelled when somebody takes the job back. `None` once `stop` is told.
    ///
    /// # Errors
    /// The disk failed.
    pub async fn next(
        self: &Arc<Self>,
        stop: &CancellationToken,
    ) -> Result<Option<(Job, CancellationToken)>, Box<DiskError>> {
        loop {
            if stop.is_cancelled() {
                return Ok(None);
            }
            let guard = self.writing().await;
            let now = Timestamp::now();
            let first = {
                let index = self.index();
                index.due.first().and_then(|(due, id)| index.jobs.get(id).map(|job| (*due, job.clone())))
            };
            let wait = match first {
                Some((due, job)) if due <= now => {
                    let job = job.begun(now);
                    let token = CancellationToken::new();
                    self.index().running.insert(job.id, token.clone());
                    self.write(guard, Change { jobs: vec![job.clone()], ..Change::default() }).await?;
                    // Another worker may take the one after it.
                    self.wake.notify_one();
                    return Ok(Some((job, token)));
                }
                Some((due, _)) => Duration::try_from(due.duration_since(now)).unwrap_or_default(),
                None => Duration::from_secs(3600),
            };
            drop(guard);
            tokio::select! {
                () = stop.cancelled() => {}
                () = self.wake.notified() => {}
                () = tokio::time::sleep(wait) => {}
            }
        }
    }

    /// Ends an attempt at `job`, with its result if it is done. An attempt at a job that was taken back meanwhile changes nothing.
    ///
    /// # Errors
    /// The disk failed; the job is found running at the next start then.
    pub async fn finish(
        self: &Arc<Self>,
        job: &Job,
        outcome: Outcome,
        result: Option<Vec<u8>>,
    ) -> Result<Option<Job>, Box<DiskError>> {
        let guard = self.writing().await;
        self.index().running.remove(&job.id);
        let still =
            self.get(&job.owner, job.id).filter(|now| now.state == State::Running && now.attempts == job.attempts);
        let Some(still) = still else { return Ok(None) };
        let next = still.after(outcome, &self.retries, fastrand::u64(..), Timestamp::now());
        let result = result.map(|bytes| (job.id, bytes));
        self.write(guard, Change { jobs: vec![next.clone()], result, ..Change::default() }).await?;
        self.wake.notify_one();
        Ok(Some(next))
    }
}

/// Runs what waits for the disk where nobody waits for it.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, Box<DiskError>> {
    tokio::task::spawn_blocking(work).await.map_err(|e| Box::new(DiskError::Directory(std::io::Error::other(e))))
}
