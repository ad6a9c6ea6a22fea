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
    /// A draft gets its name, but the fsync of the directory is refused.
    Name,
    /// There is no room for more bytes, nor for another file.
    Full,
    /// A write puts half of its bytes down and is refused; so is whatever else is asked.
    Torn,
    /// The same, but that all bytes are put down.
    Late,
}

/// What is kept as one, or not at all.
const PAGE: usize = 4096;

/// Something that was done to a file and is not kept yet.
#[derive(Debug)]
enum Done {
    Write(usize, Vec<u8>),
    Length(usize),
}

impl Done {
    /// Does it, but only to the pages that are chosen, and gives how long the file is then.
    fn repeat(&self, bytes: &mut Vec<u8>, length: usize, chosen: impl Fn(usize) -> bool) -> usize {
        let (from, to) = match self {
            Self::Write(at, written) => (*at, at + written.len()),
            Self::Length(after) => (*after, length),
        };
        if bytes.len() < to {
            bytes.resize(to, 0);
        }
        for page in from / PAGE..to.div_ceil(PAGE) {
            let (from, to) = (from.max(page * PAGE), to.min((page + 1) * PAGE));
            match self {
                _ if from >= to || !chosen(page) => {}
                Self::Write(at, written) => bytes[from..to].copy_from_slice(&written[from - at..to - at]),
                Self::Length(_) => bytes[from..to].fill(0),
            }
        }
        if let Self::Length(after) = self { *after } else { length.max(to) }
    }
}

/// One file: as whoever reads it sees it, and as it is kept.
#[derive(Debug, Default)]
struct Image {
    seen: Vec<u8>,
    kept: Vec<u8>,
    /// Since the last fsync.
    done: Vec<Done>,
}

impl Image {
    fn note(&mut self, done: Done) {
        let length = self.seen.len();
        let length = done.repeat(&mut self.seen, length, |_| true);
        self.seen.resize(length, 0);
        self.done.push(done);
    }

    /// Keeps what was done since the last fsync, that is not what an fsync was refused for.
    fn sync(&mut self) {
        for done in self.done.drain(..) {
            let length = self.kept.len();
            let length = done.repeat(&mut self.kept, length, |_| true);
            self.kept.resize(length, 0);
        }
    }

    /// Every page is as it was at some moment since the last fsync, and so is the length, each by itself. With no `dice` all are as
    /// at the last fsync.
    fn lose_power(&mut self, mut dice: Option<impl FnMut() -> usize>) {
        let mut moment = |count: usize| dice.as_mut().map_or(0, |dice| dice() % (count + 1));
        let done = std::mem::take(&mut self.done);
        let pages = (self.kept.len() + self.seen.len()).max(done.iter().map(Done::end).max().unwrap_or(0)) / PAGE + 1;
        let moments: Vec<_> = (0..pages).map(|_| moment(done.len())).collect();
        let mut lengths = vec![self.kept.len()];
        for (number, done) in done.iter().enumerate() {
            lengths.push(done.repeat(&mut self.kept, lengths[number], |page| moments[page] > number));
        }
        self.kept.resize(lengths[moment(done.len())], 0);
        self.seen.clone_from(&self.kept);
    }
}

impl Done {
    fn end(&self) -> usize {
        match self {
            Self::Write(at, written) => at + written.len(),
            Self::Length(length) => *length,
        }
    }
}

#[derive(Debug, Default)]
struct Inner {
    file: Arc<Mutex<Image>>,
    /// What the directory that is kept has for it: another one if that was refused when a draft got its name.
    named: Arc<Mutex<Image>>,
    draft: Option<Arc<Mutex<Image>>>,
    /// How many there have been.
    drafts: u32,
    fault: Option<Fault>,
    /// Calls until the disk fails by itself.
    later: Option<u32>,
    /// How much the disk can take.
    capacity: Option<usize>,
    /// Whether fsyncs wait, and whether one does.
    held: bool,
    waiting: Option<tokio::sync::oneshot::Sender<()>>,
}

impl Inner {
    /// How many more bytes there is room for.
    fn room(&self) -> usize {
        let used = |image: &Arc<Mutex<Image>>| lock(image).seen.len();
        let used = used(&self.file) + self.draft.as_ref().map_or(0, used);
        self.capacity.map_or(usize::MAX, |capacity| capacity.saturating_sub(used))
    }
}

/// The disk. Clones are handles to the same one.
#[derive(Clone, Debug)]
pub struct TestDisk(Arc<(Mutex<Inner>, Condvar)>);

impl Default for TestDisk {
    fn default() -> Self {
        let inner = Inner::default();
        let named = inner.file.clone();
        Self(Arc::new((Mutex::new(Inner { named, ..inner }), Condvar::new())))
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn refused<T>() -> io::Result<T> {
    Err(io::Error::other("the disk does not answer"))
}

impl TestDisk {
    /// A disk with this file on it.
    pub fn with(bytes: Vec<u8>) -> Self {
        let disk = Self::default();
        *lock(&disk.inner().file) = Image { seen: bytes.clone(), kept: bytes, done: Vec::new() };
        disk
    }

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

    /// How many bytes there is room for, of the file and a draft together.
    pub fn holds(&self, bytes: usize) {
        self.inner().capacity = Some(bytes);
    }

    /// What was done since the last fsync may be kept or not, page by page, as `seed` chooses; nothing of it if that is 0.
    pub fn lose_power(&self, seed: u64) {
        let mut inner = self.inner();
        let mut state = seed;
        let mut dice = move || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            usize::try_from(state >> 40).unwrap()
        };
        if seed != 0 && dice() % 2 == 0 {
            inner.named = inner.file.clone();
        }
        inner.file = inner.named.clone();
        inner.draft = None;
        lock(&inner.file).lose_power((seed != 0).then_some(dice));
    }

    pub fn size(&self) -> u64 {
        lock(&self.inner().file).seen.len() as u64
    }

    /// Whether there is a draft, and how many there have been.
    pub fn drafts(&self) -> (bool, u32) {
        let inner = self.inner();
        (inner.draft.is_some(), inner.drafts)
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
        let fault = self.call();
        let mut inner = self.inner();
        if fault == Some(Fault::Name) {
            return refused();
        }
        inner.named = inner.file.clone();
        let image = inner.file.clone();
        drop(inner);
        Ok(Box::new(File { disk: self.clone(), image }))
    }

    fn draft(&self) -> io::Result<Box<dyn Storage>> {
        if self.call() == Some(Fault::Full) {
            return Err(io::ErrorKind::StorageFull.into());
        }
        let image = Arc::<Mutex<Image>>::default();
        let mut inner = self.inner();
        (inner.draft, inner.drafts) = (Some(image.clone()), inner.drafts + 1);
        Ok(Box::new(File { disk: self.clone(), image }))
    }

    fn discard(&self) -> io::Result<()> {
        self.inner().draft = None;
        Ok(())
    }

    fn adopt(&self) -> io::Result<()> {
        let fault = self.call();
        let mut inner = self.inner();
        if !matches!(fault, None | Some(Fault::Name)) {
            return refused();
        }
        inner.file = inner.draft.take().unwrap();
        if fault.is_some() {
            return refused();
        }
        inner.named = inner.file.clone();
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
        let fault = self.disk.call();
        let mut image = lock(&self.image);
        match fault {
            Some(Fault::Full) if at(len) > image.seen.len() => return Err(io::ErrorKind::StorageFull.into()),
            Some(Fault::Torn | Fault::Late) => return refused(),
            _ => {}
        }
        image.note(Done::Length(at(len)));
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
        let fault = self.disk.call();
        let mut image = lock(&self.image);
        if let Some(Fault::Sync | Fault::Torn | Fault::Late) = fault {
            // As Linux does it: the pages count as written from now on.
            image.done.clear();
            return refused();
        }
        image.sync();
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let fault = self.disk.call();
        let room = self.disk.inner().room();
        let mut image = lock(&self.image);
        let more = (at(offset) + data.len()).saturating_sub(image.seen.len());
        let (part, result) = match fault {
            Some(Fault::Full) if more > 0 => return Err(io::ErrorKind::StorageFull.into()),
            Some(Fault::Torn) => (data.len() / 2, refused()),
            Some(Fault::Late) => (data.len(), refused()),
            _ if more > room => (data.len().saturating_sub(more - room), Err(io::ErrorKind::StorageFull.into())),
            _ => (data.len(), Ok(())),
        };
        image.note(Done::Write(at(offset), data[..part].to_vec()));
        result
    }
}
