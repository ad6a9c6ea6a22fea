//! A disk in memory that fails when it is told to, and forgets on a loss of power what it was not told to keep.

use std::{
    io,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
};

use apiserver::store::media::{Media, Storage};

/// How the disk fails, until it is healed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// fsync is refused; what was to be kept is lost on a loss of power, though the next fsync succeeds.
    Sync,
    /// There is no room for more bytes.
    Full,
    /// A write puts half of its bytes down and is refused.
    Torn,
}

/// One file: as whoever reads it sees it, and as it is after a loss of power.
#[derive(Debug, Default)]
struct Image {
    seen: Vec<u8>,
    kept: Vec<u8>,
    /// Parts that were written since the last fsync.
    dirty: Vec<(usize, Vec<u8>)>,
}

impl Image {
    fn sync(&mut self) {
        self.kept.clone_from(&self.seen);
        self.dirty.clear();
    }
}

#[derive(Debug, Default)]
struct Inner {
    file: Arc<Mutex<Image>>,
    draft: Arc<Mutex<Image>>,
    fault: Option<Fault>,
    /// Calls until the disk fails by itself.
    later: Option<u32>,
    /// An fsync was refused since the file was begun.
    doubtful: bool,
    /// Whether fsyncs wait, and whether one does.
    held: bool,
    waiting: Option<tokio::sync::oneshot::Sender<()>>,
}

/// The disk. Clones are handles to the same one.
#[derive(Clone, Debug, Default)]
pub struct TestDisk(Arc<(Mutex<Inner>, Condvar)>);

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl TestDisk {
    fn inner(&self) -> MutexGuard<'_, Inner> {
        lock(&self.0.0)
    }

    pub fn fail(&self, fault: Fault) {
        self.inner().fault = Some(fault);
    }

    /// From so many calls on every write is torn.
    pub fn fail_after(&self, calls: u32) {
        self.inner().later = Some(calls);
    }

    pub fn heal(&self) {
        let mut inner = self.inner();
        (inner.fault, inner.later) = (None, None);
    }

    /// Whether the disk has refused to keep something and has been given nothing new since.
    pub fn is_doubtful(&self) -> bool {
        self.inner().doubtful
    }

    /// Everything that is not kept goes; of what was written since the last fsync a part that `seed` chooses may be there.
    pub fn lose_power(&self, seed: u64) {
        let mut inner = self.inner();
        let mut image = lock(&inner.file);
        let mut after = image.kept.clone();
        let mut dice = seed;
        for (at, bytes) in std::mem::take(&mut image.dirty) {
            dice = dice.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let part = match (seed, dice >> 62) {
                (0, _) | (_, 0 | 1) => 0,
                (_, 2) => bytes.len() / 2,
                _ => bytes.len(),
            };
            if after.len() < at + part {
                after.resize(at + part, 0);
            }
            after[at..at + part].copy_from_slice(&bytes[..part]);
        }
        image.seen.clone_from(&after);
        image.kept = after;
        drop(image);
        inner.doubtful = false;
    }

    pub fn size(&self) -> u64 {
        lock(&self.inner().file).seen.len() as u64
    }

    /// The next fsync waits.
    pub fn hold_sync(&self) -> Held {
        let (tell, told) = tokio::sync::oneshot::channel();
        let mut inner = self.inner();
        (inner.held, inner.waiting) = (true, Some(tell));
        drop(inner);
        Held { disk: self.clone(), told: Mutex::new(Some(told)) }
    }

    /// What a call comes to.
    fn call(&self) -> Option<Fault> {
        let mut inner = self.inner();
        match inner.later.as_mut() {
            Some(0) => inner.fault = Some(Fault::Torn),
            Some(left) => *left -= 1,
            None => {}
        }
        inner.fault
    }
}

/// A disk that is slow until it is let go.
pub struct Held {
    disk: TestDisk,
    told: Mutex<Option<tokio::sync::oneshot::Receiver<()>>>,
}

impl Held {
    /// Resolves when an fsync waits.
    pub async fn reached(&self) {
        let told = lock(&self.told).take().unwrap();
        told.await.unwrap();
    }

    pub fn let_go(&self) {
        self.disk.inner().held = false;
        self.disk.0.1.notify_all();
    }
}

impl Media for TestDisk {
    fn open(&self) -> io::Result<Box<dyn Storage>> {
        let image = self.inner().file.clone();
        Ok(Box::new(File { disk: self.clone(), image }))
    }

    fn draft(&self) -> io::Result<Box<dyn Storage>> {
        let image = Arc::new(Mutex::new(Image::default()));
        self.inner().draft = image.clone();
        Ok(Box::new(File { disk: self.clone(), image }))
    }

    fn adopt(&self) -> io::Result<()> {
        let mut inner = self.inner();
        inner.file = inner.draft.clone();
        inner.doubtful = false;
        Ok(())
    }
}

struct File {
    disk: TestDisk,
    image: Arc<Mutex<Image>>,
}

fn at(offset: u64) -> usize {
    usize::try_from(offset).unwrap()
}

impl Storage for File {
    fn len(&self) -> io::Result<u64> {
        Ok(lock(&self.image).seen.len() as u64)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let image = lock(&self.image);
        let bytes = image.seen.get(at(offset)..at(offset) + out.len()).ok_or(io::ErrorKind::UnexpectedEof)?;
        out.copy_from_slice(bytes);
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let mut image = lock(&self.image);
        if self.disk.call() == Some(Fault::Full) && at(len) > image.seen.len() {
            return Err(io::ErrorKind::StorageFull.into());
        }
        image.seen.resize(at(len), 0);
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        let mut inner = self.disk.inner();
        if inner.held
            && let Some(tell) = inner.waiting.take()
        {
            let _ = tell.send(());
        }
        let inner = self.disk.0.1.wait_while(inner, |inner| inner.held).unwrap_or_else(PoisonError::into_inner);
        drop(inner);
        if self.disk.call() == Some(Fault::Sync) {
            // As Linux does it: the pages count as written from now on.
            lock(&self.image).dirty.clear();
            self.disk.inner().doubtful = true;
            return Err(io::Error::other("the disk does not answer"));
        }
        let doubtful = self.disk.inner().doubtful;
        let mut image = lock(&self.image);
        if doubtful {
            // Only what was written since the refusal reaches the disk.
            let dirty = std::mem::take(&mut image.dirty);
            let length = image.seen.len();
            image.kept.resize(length, 0);
            for (at, bytes) in dirty {
                let end = (at + bytes.len()).min(length);
                let part = end.saturating_sub(at);
                image.kept[at..at + part].copy_from_slice(&bytes[..part]);
            }
        } else {
            image.sync();
        }
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let fault = self.disk.call();
        let mut image = lock(&self.image);
        let part = match fault {
            Some(Fault::Full) if at(offset) + data.len() > image.seen.len() => {
                return Err(io::ErrorKind::StorageFull.into());
            }
            Some(Fault::Torn) => data.get(..data.len() / 2).unwrap_or_default(),
            _ => data,
        };
        let end = at(offset) + part.len();
        if image.seen.len() < end {
            image.seen.resize(end, 0);
        }
        image.seen[at(offset)..end].copy_from_slice(part);
        image.dirty.push((at(offset), part.to_vec()));
        if fault == Some(Fault::Torn) { Err(io::Error::other("the disk does not answer")) } else { Ok(()) }
    }
}
