//! A worker's end of the access log: lines are collected and handed over many at a time.

use std::{
    borrow::Cow,
    cell::{Cell, RefCell},
    sync::mpsc::{Receiver, SyncSender, sync_channel},
    time::Duration,
};

use http::HeaderName;

use super::{
    Captured, Format,
    render::{self, Ended},
    time::{Cache, Wall},
    writer::{Batch, Message},
};
use crate::{
    observe::{local::Caller, record::Record},
    table::Asked,
};

/// Lines are handed over when there are so many bytes of them, and four times a second. Each time costs two changes of threads: with
/// an eighth of this they were 4 % of the CPU time of small requests.
const ENOUGH: usize = 256 * 1024;
/// Buffers that are kept while they are not needed.
const BUFFERS: usize = 4;
/// Captured values that are kept for further requests: for more than a few clients of HTTP/2 with all of their streams in use.
const SPARE: usize = 512;

/// What a worker needs for writing lines.
#[derive(Debug, Clone)]
pub(crate) struct Feed {
    pub(super) format: Format,
    pub(super) queue: SyncSender<Message>,
}

/// A worker's lines.
#[derive(Debug)]
pub(in crate::observe) struct WorkerLog {
    feed: Feed,
    #[expect(clippy::vec_box, reason = "a request holds its box: small while it passes, and given back as it is")]
    spare: RefCell<Vec<Box<Captured>>>,
    pending: RefCell<Batch>,
    /// Buffers come back here.
    home: (SyncSender<Vec<u8>>, Receiver<Vec<u8>>),
    times: RefCell<Vec<Cache>>,
    wall: Cell<Wall>,
    /// Lines that were handed over, and lines that there was no room for.
    counts: Cell<[u64; 2]>,
    /// Lines that were dropped and not yet told to the writer.
    untold: Cell<u64>,
}

impl WorkerLog {
    pub fn new(feed: Feed) -> Self {
        let times = feed.format.times().iter().map(|_| Cache::default()).collect();
        Self {
            feed,
            spare: RefCell::default(),
            pending: RefCell::default(),
            home: sync_channel(BUFFERS),
            times: RefCell::new(times),
            wall: Cell::new(Wall::now()),
            counts: Cell::default(),
            untold: Cell::new(0),
        }
    }

    /// Copies what the format wants of a request.
    pub fn capture(&self, head: &impl Asked, query: Option<&str>) -> Box<Captured> {
        let mut captured = self.spare.borrow_mut().pop().unwrap_or_default();
        captured.request(&self.feed.format, head, query);
        captured
    }

    /// Copies what the format wants of a response.
    pub fn capture_response<'v>(
        &self,
        captured: &mut Option<Box<Captured>>,
        header: impl Fn(&HeaderName) -> Option<Cow<'v, [u8]>>,
    ) {
        if self.feed.format.wants_responses() {
            captured.get_or_insert_default().response(&self.feed.format, header);
        }
    }

    /// Whether it must be known when responses begin.
    pub fn is_timed(&self) -> bool {
        self.feed.format.is_timed()
    }

    /// Writes the line of a request that has ended.
    pub fn write(&self, caller: &Caller, record: &Record, captured: Option<Box<Captured>>, took: Duration) {
        let mut captured = captured.unwrap_or_default();
        let mut pending = self.pending.borrow_mut();
        if pending.bytes.capacity() == 0 {
            let (_, returned) = &self.home;
            pending.bytes = returned.try_recv().unwrap_or_else(|_| Vec::with_capacity(ENOUGH + ENOUGH / 8));
        }
        let ended = Ended { caller, record, captured: &captured, took };
        let wall = self.wall.get();
        render::line(&mut pending.bytes, &self.feed.format, &mut self.times.borrow_mut(), &wall, &ended);
        pending.lines += 1;
        let full = pending.bytes.len() >= ENOUGH;
        drop(pending);
        let mut spare = self.spare.borrow_mut();
        if captured.clear() && spare.len() < SPARE {
            spare.push(captured);
        }
        if full {
            self.flush();
        }
    }

    /// Hands over what there is; `true` if there was something.
    pub fn flush(&self) -> bool {
        self.wall.set(Wall::now());
        let mut batch = self.pending.take();
        if batch.lines == 0 {
            return false;
        }
        let lines = batch.lines;
        batch.dropped = self.untold.take();
        batch.home = Some(self.home.0.clone());
        let [written, dropped] = self.counts.get();
        match self.feed.queue.try_send(Message::Lines(batch)) {
            Ok(()) => self.counts.set([written + lines, dropped]),
            Err(error) => {
                let (std::sync::mpsc::TrySendError::Full(message)
                | std::sync::mpsc::TrySendError::Disconnected(message)) = error;
                let before = if let Message::Lines(batch) = message { batch.dropped } else { 0 };
                self.untold.set(before + lines);
                self.counts.set([written, dropped + lines]);
            }
        }
        true
    }

    /// Lines that were handed over, and lines that there was no room for.
    pub fn counts(&self) -> [u64; 2] {
        self.counts.get()
    }
}

impl Drop for WorkerLog {
    fn drop(&mut self) {
        self.flush();
    }
}
