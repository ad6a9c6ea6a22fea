//! The thread that writes the access log's file.

use std::{
    fs::{File, OpenOptions},
    io::{self, Write},
    os::unix::fs::{MetadataExt, OpenOptionsExt},
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
        mpsc::{Receiver, SyncSender, sync_channel},
    },
    time::{Duration, Instant},
};

use tokio::sync::oneshot;

use super::{AccessLog, Destination, Feed, Format};

/// Batches of lines that wait to be written; a worker whose batch finds no room drops it.
const QUEUE: usize = 32;
/// Between two words about lines that are lost.
const SAY: Duration = Duration::from_secs(10);

/// What the thread is told.
#[derive(Debug)]
pub(super) enum Message {
    /// Write these.
    Lines(Batch),
    /// Look whether the file is to be opened again.
    Look,
}

/// Lines of a worker.
#[derive(Debug, Default)]
pub(super) struct Batch {
    pub bytes: Vec<u8>,
    pub lines: u64,
    /// Lines before these that there was no room for.
    pub dropped: u64,
    /// Where the buffer goes when it has been written: a new one would cost a page fault for every page.
    pub home: Option<SyncSender<Vec<u8>>>,
}

/// The running thread.
#[derive(Debug)]
pub(crate) struct Writer {
    format: Format,
    queue: SyncSender<Message>,
    shared: Arc<Shared>,
    ended: oneshot::Receiver<()>,
}

#[derive(Debug, Default)]
struct Shared {
    /// Somebody asks for the file to be opened again.
    reopen: AtomicBool,
    /// Lines that could not be written.
    failed: AtomicU64,
}

impl Writer {
    /// Opens the file and starts the thread.
    ///
    /// # Errors
    /// What the operating system says of the file or the thread.
    pub fn start(log: &AccessLog) -> io::Result<Self> {
        let (queue, messages) = sync_channel(QUEUE);
        let (end, ended) = oneshot::channel();
        let (output, shared) = (Output::open(&log.to)?, Arc::<Shared>::default());
        let (to, of_thread) = (log.to.clone(), shared.clone());
        std::thread::Builder::new().name("access-log".to_owned()).spawn(move || {
            run(&messages, output, &to, &of_thread);
            // Nobody may wait for it.
            _ = end.send(());
        })?;
        Ok(Self { format: log.format.clone(), queue, shared, ended })
    }

    /// For a worker.
    pub fn feed(&self) -> Feed {
        Feed { format: self.format.clone(), queue: self.queue.clone() }
    }

    /// Opens the file again: it has been moved, or something is about to read it.
    pub fn reopen(&self) {
        self.shared.reopen.store(true, Ordering::Release);
        // A full queue is looked at soon anyway.
        _ = self.queue.try_send(Message::Look);
    }

    /// Lines that could not be written.
    pub fn failed(&self) -> u64 {
        self.shared.failed.load(Ordering::Relaxed)
    }

    /// Waits until everything is written, at most for `limit`; the workers have ended or are about to.
    pub async fn finish(self, limit: Duration) {
        let Self { queue, ended, .. } = self;
        drop(queue);
        _ = tokio::time::timeout(limit, ended).await;
    }
}

fn run(messages: &Receiver<Message>, mut output: Output, to: &Destination, shared: &Shared) {
    let mut complaints = Complaints::default();
    while let Ok(message) = messages.recv() {
        if shared.reopen.swap(false, Ordering::AcqRel) || output.is_moved(to) {
            match Output::open(to) {
                Ok(opened) => output = opened,
                Err(error) => complaints.add(0, Some(&error)),
            }
        }
        if let Message::Lines(mut batch) = message {
            complaints.add(batch.dropped, None);
            if let Err(error) = output.write(&batch.bytes) {
                shared.failed.fetch_add(batch.lines, Ordering::Relaxed);
                complaints.add(batch.lines, Some(&error));
            }
            if let Some(home) = batch.home.take() {
                batch.bytes.clear();
                // Its worker has enough of them, or is gone.
                _ = home.try_send(batch.bytes);
            }
        }
    }
}

enum Output {
    Stdout,
    File(File),
}

impl Output {
    fn open(to: &Destination) -> io::Result<Self> {
        match to {
            Destination::Stdout => Ok(Self::Stdout),
            Destination::File(path) => {
                OpenOptions::new().append(true).create(true).mode(0o640).open(path).map(Self::File)
            }
        }
    }

    /// Whether the file is not the one at its path any more.
    fn is_moved(&self, to: &Destination) -> bool {
        let (Self::File(file), Destination::File(path)) = (self, to) else { return false };
        let identity = |metadata: std::fs::Metadata| (metadata.dev(), metadata.ino());
        let there = |path: &Path| path.metadata().map(identity).ok();
        file.metadata().map(identity).ok() != there(path)
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        match self {
            Self::Stdout => {
                let mut stdout = io::stdout().lock();
                stdout.write_all(bytes)?;
                stdout.flush()
            }
            Self::File(file) => file.write_all(bytes),
        }
    }
}

/// Says that lines are lost, but not for each of them.
#[derive(Default)]
struct Complaints {
    lost: u64,
    last: Option<Instant>,
}

impl Complaints {
    fn add(&mut self, lines: u64, error: Option<&io::Error>) {
        self.lost += lines;
        let is_new = self.lost > 0 || error.is_some();
        if !is_new || self.last.is_some_and(|last| last.elapsed() < SAY) {
            return;
        }
        let lines = std::mem::take(&mut self.lost);
        match error {
            Some(error) => tracing::warn!(lines, error = %error, "the access log cannot be written"),
            None => tracing::warn!(lines, "the access log is not written as fast as lines come; some are dropped"),
        }
        self.last = Some(Instant::now());
    }
}
