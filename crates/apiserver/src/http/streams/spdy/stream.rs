//! The streams of a connection.

use std::{
    collections::HashMap,
    io,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
};

use bytes::Bytes;
use tokio::sync::{Notify, mpsc};
use tokio_util::sync::CancellationToken;

use super::{
    frame::{PIECE, Status, data, reset, update},
    headers::Headers,
};

/// Pieces of a stream that wait to be read, each of at most 32 KiB; the connection waits with the next.
pub(super) const WAITING: usize = 16;
/// What every window is at first, in bytes.
const WINDOW: i64 = 64 * 1024;

/// What a peer still takes.
#[derive(Debug)]
struct Room {
    bytes: Mutex<i64>,
    grown: Notify,
}

impl Room {
    fn new(bytes: i64) -> Self {
        Self { bytes: Mutex::new(bytes), grown: Notify::new() }
    }

    fn add(&self, bytes: i64) {
        let mut room = locked(&self.bytes);
        *room = room.saturating_add(bytes);
        drop(room);
        self.grown.notify_waiters();
    }

    /// Takes up to so much; waits for some, unless the peer `counts` nothing.
    async fn take(&self, most: usize, counts: &AtomicBool) -> usize {
        loop {
            let mut grown = std::pin::pin!(self.grown.notified());
            grown.as_mut().enable();
            {
                let mut room = locked(&self.bytes);
                let there = usize::try_from((*room).max(0)).unwrap_or(usize::MAX);
                let taken = if counts.load(Ordering::Acquire) { there.min(most) } else { most };
                if taken > 0 || most == 0 {
                    *room = room.saturating_sub(i64::try_from(taken).unwrap_or(i64::MAX));
                    return taken;
                }
            }
            grown.await;
        }
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// One stream as the connection knows it.
#[derive(Debug)]
struct Entry {
    /// Where its data goes; `None` after its end.
    data: Option<mpsc::Sender<Bytes>>,
    room: Arc<Room>,
    gone: CancellationToken,
}

/// The streams of a connection, and the way out.
#[derive(Debug)]
pub(super) struct Streams {
    all: Mutex<HashMap<u32, Entry>>,
    /// `None` is the end.
    outward: mpsc::Sender<Option<Bytes>>,
    /// The window of the whole connection.
    room: Room,
    first: Mutex<i64>,
    /// Whether the peer counts what it takes on streams, and in all.
    counts: AtomicBool,
    counts_all: AtomicBool,
    last: AtomicU32,
}

impl Streams {
    pub fn new(outward: mpsc::Sender<Option<Bytes>>) -> Self {
        Self {
            all: Mutex::default(),
            outward,
            room: Room::new(WINDOW),
            first: Mutex::new(WINDOW),
            counts: AtomicBool::new(false),
            counts_all: AtomicBool::new(false),
            last: AtomicU32::new(0),
        }
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        locked(&self.all).len()
    }

    /// The last one that was opened.
    pub fn last(&self) -> u32 {
        self.last.load(Ordering::Acquire)
    }

    /// Sends a frame.
    pub async fn send(&self, frame: Bytes) -> io::Result<()> {
        self.outward.send(Some(frame)).await.map_err(|_| io::ErrorKind::BrokenPipe.into())
    }

    /// Nothing more is sent.
    pub fn close(self: &Arc<Self>) {
        let streams = self.clone();
        tokio::spawn(async move {
            // It is closed already where nobody writes any more.
            let _ = streams.outward.send(None).await;
        });
    }

    pub fn open(self: &Arc<Self>, id: u32, headers: Headers) -> Stream {
        self.last.store(id, Ordering::Release);
        let (sender, waiting) = mpsc::channel(WAITING);
        let (room, gone) = (Arc::new(Room::new(*locked(&self.first))), CancellationToken::new());
        let entry = Entry { data: Some(sender), room: room.clone(), gone: gone.clone() };
        locked(&self.all).insert(id, entry);
        let handle = Arc::new(Handle { id, streams: self.clone(), room, gone, finished: AtomicBool::new(false) });
        let reader = Reader { handle: handle.clone(), waiting, owed: 0 };
        Stream { id, headers, reader, writer: Writer { handle } }
    }

    /// Gives a stream its next data; waits while it has enough. What comes for none is lost, as its sender knows.
    pub async fn give(&self, id: u32, data: Bytes) {
        let to = locked(&self.all).get(&id).and_then(|entry| Some((entry.data.clone()?, entry.gone.clone())));
        if let Some((to, gone)) = to.filter(|_| !data.is_empty()) {
            tokio::select! {
                _ = to.send(data) => {}
                () = gone.cancelled() => {}
            }
        }
    }

    /// A stream gets no more.
    pub fn fin(&self, id: u32) {
        if let Some(entry) = locked(&self.all).get_mut(&id) {
            entry.data = None;
        }
    }

    /// The peer has given a stream up.
    pub fn reset(&self, id: u32) {
        if let Some(entry) = locked(&self.all).remove(&id) {
            entry.gone.cancel();
        }
    }

    /// The connection is over.
    pub fn end(&self) {
        for (_, entry) in locked(&self.all).drain() {
            entry.gone.cancel();
        }
    }

    /// The peer says how large windows are at first.
    pub fn first_window(&self, bytes: u32) {
        let bytes = i64::from(bytes);
        let more = bytes - std::mem::replace(&mut *locked(&self.first), bytes);
        self.counts.store(true, Ordering::Release);
        for entry in locked(&self.all).values() {
            entry.room.add(more);
        }
    }

    /// The peer takes so much more.
    pub fn update(&self, id: u32, more: u32) {
        if id == 0 {
            self.counts_all.store(true, Ordering::Release);
            return self.room.add(i64::from(more));
        }
        self.counts.store(true, Ordering::Release);
        if let Some(entry) = locked(&self.all).get(&id) {
            entry.room.add(i64::from(more));
        }
    }
}

/// Keeps a stream; one that is dropped before its end is reset.
struct Handle {
    id: u32,
    streams: Arc<Streams>,
    room: Arc<Room>,
    gone: CancellationToken,
    finished: AtomicBool,
}

impl Drop for Handle {
    fn drop(&mut self) {
        let known = locked(&self.streams.all).remove(&self.id).is_some();
        if known && !self.finished.load(Ordering::Acquire) {
            // A client that takes nothing does not hear of it until the connection ends.
            let _ = self.streams.outward.try_send(Some(reset(self.id, Status::Cancel)));
        }
    }
}

/// A stream that the client has opened.
pub(in super::super) struct Stream {
    pub id: u32,
    headers: Headers,
    reader: Reader,
    writer: Writer,
}

impl Stream {
    /// A header, by its name in lower case.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|header| header.0 == name).map(|header| header.1.as_str())
    }

    /// Its two directions.
    pub fn split(self) -> (Reader, Writer) {
        (self.reader, self.writer)
    }
}

/// What the client sends on a stream.
pub(in super::super) struct Reader {
    handle: Arc<Handle>,
    waiting: mpsc::Receiver<Bytes>,
    /// What has been read and the client has not been told of.
    owed: u32,
}

impl Reader {
    /// The next data; `None` at the end.
    pub async fn next(&mut self) -> Option<Bytes> {
        let data = self.waiting.recv().await?;
        self.owed = self.owed.saturating_add(u32::try_from(data.len()).unwrap_or(u32::MAX));
        let outward = &self.handle.streams.outward;
        // Where there is no room now, there is with the next.
        if outward.capacity() >= 2 && outward.try_send(Some(update(self.handle.id, self.owed))).is_ok() {
            let _ = outward.try_send(Some(update(0, self.owed)));
            self.owed = 0;
        }
        Some(data)
    }

    /// Cancelled when the client has given the stream up, or is gone.
    pub fn gone(&self) -> CancellationToken {
        self.handle.gone.clone()
    }
}

/// What is sent to the client on a stream.
pub(in super::super) struct Writer {
    handle: Arc<Handle>,
}

impl Writer {
    /// Sends data; waits while the client is slow.
    ///
    /// # Errors
    /// When the client has given the stream up, or is gone.
    pub async fn send(&mut self, mut bytes: Bytes) -> io::Result<()> {
        let Handle { id, streams, room, gone, .. } = &*self.handle;
        let send = async {
            if bytes.is_empty() {
                // It tells whether the client is still there.
                return streams.send(data(*id, &[], false)).await;
            }
            while !bytes.is_empty() {
                let most = room.take(bytes.len().min(PIECE), &streams.counts).await;
                let count = streams.room.take(most, &streams.counts_all).await;
                if count < most {
                    room.add(i64::try_from(most - count).unwrap_or_default());
                }
                streams.send(data(*id, &bytes.split_to(count), false)).await?;
            }
            Ok(())
        };
        tokio::select! {
            sent = send => sent,
            () = gone.cancelled() => Err(io::ErrorKind::BrokenPipe.into()),
        }
    }

    /// Says that this was all.
    ///
    /// # Errors
    /// When the client is gone.
    pub async fn finish(&mut self) -> io::Result<()> {
        if self.handle.finished.swap(true, Ordering::AcqRel) || self.handle.gone.is_cancelled() {
            return Ok(());
        }
        self.handle.streams.send(data(self.handle.id, &[], true)).await
    }
}
