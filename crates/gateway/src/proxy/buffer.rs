//! Buffers that connections borrow while bytes are in them: an idle connection holds none.

use std::{cell::Cell, ops::Range, rc::Rc};

/// Enough for nearly every head.
const SMALL: usize = 16 * 1024;
/// For bodies: fewer, larger reads and writes. Also has room for the longest head.
const LARGE: usize = 128 * 1024;
/// Large buffers in use at one time in one worker; beyond it bodies move in small ones.
const MAX_LARGE_IN_USE: usize = 64;
/// Buffers of each kind that are kept when nobody uses them.
const KEEP_SMALL: usize = 64;
const KEEP_LARGE: usize = 8;
/// Vectors for heads that are kept, if they have not grown beyond `MAX_HEAD`. There is one for each request that is under way, and
/// with HTTP/2 these are many.
const KEEP_HEADS: usize = 512;
const MAX_HEAD: usize = 4 * 1024;

/// Bytes that have arrived and are not done with.
#[derive(Debug)]
pub(super) struct Buffer {
    data: Box<[u8]>,
    start: usize,
    end: usize,
    _large: Option<InUse>,
}

/// Counts a large buffer for as long as anybody has it.
#[derive(Debug)]
struct InUse(Rc<Cell<usize>>);

impl Drop for InUse {
    fn drop(&mut self) {
        self.0.set(self.0.get().saturating_sub(1));
    }
}

impl Buffer {
    fn new(data: Box<[u8]>, large: Option<InUse>) -> Self {
        Self { data, start: 0, end: 0, _large: large }
    }

    pub fn is_empty(&self) -> bool {
        self.start == self.end
    }

    pub fn filled(&self) -> &[u8] {
        self.data.get(self.range()).unwrap_or_default()
    }

    pub fn filled_mut(&mut self) -> &mut [u8] {
        let range = self.range();
        self.data.get_mut(range).unwrap_or_default()
    }

    fn range(&self) -> Range<usize> {
        self.start..self.end
    }

    pub fn consume(&mut self, bytes: usize) {
        self.start = self.end.min(self.start + bytes);
    }

    /// Room at the end, after moving what is there to the front if the end is reached.
    pub fn room(&mut self) -> &mut [u8] {
        if self.end == self.data.len() && self.start > 0 {
            self.data.copy_within(self.start..self.end, 0);
            (self.start, self.end) = (0, self.end - self.start);
        }
        self.data.get_mut(self.end..).unwrap_or_default()
    }

    pub fn added(&mut self, bytes: usize) {
        self.end = self.data.len().min(self.end + bytes);
    }

    pub fn is_large(&self) -> bool {
        self.data.len() > SMALL
    }
}

/// A worker's buffers.
#[derive(Debug, Default)]
pub(super) struct Buffers {
    small: Vec<Box<[u8]>>,
    large: Vec<Box<[u8]>>,
    large_in_use: Rc<Cell<usize>>,
    heads: Vec<Vec<u8>>,
}

impl Buffers {
    /// A large buffer if one is wanted and there are any left.
    pub fn take(&mut self, large: bool) -> Buffer {
        if large && self.large_in_use.get() < MAX_LARGE_IN_USE {
            return self.take_large();
        }
        Buffer::new(self.small.pop().unwrap_or_else(|| vec![0; SMALL].into_boxed_slice()), None)
    }

    fn take_large(&mut self) -> Buffer {
        self.large_in_use.set(self.large_in_use.get() + 1);
        let data = self.large.pop().unwrap_or_else(|| vec![0; LARGE].into_boxed_slice());
        Buffer::new(data, Some(InUse(self.large_in_use.clone())))
    }

    pub fn give_back(&mut self, buffer: Buffer) {
        let (kept, limit) =
            if buffer.is_large() { (&mut self.large, KEEP_LARGE) } else { (&mut self.small, KEEP_SMALL) };
        if kept.len() < limit {
            kept.push(buffer.data);
        }
    }

    /// A head that does not fit into a small buffer: a large one, whatever their number, for the connection's time to send
    /// it is limited.
    pub fn grow(&mut self, buffer: Buffer) -> Buffer {
        let (mut grown, filled) = (self.take_large(), buffer.filled());
        if let Some(room) = grown.data.get_mut(..filled.len()) {
            room.copy_from_slice(filled);
            grown.end = filled.len();
        }
        self.give_back(buffer);
        grown
    }

    /// An empty vector to build a head in.
    pub fn take_head(&mut self) -> Vec<u8> {
        self.heads.pop().unwrap_or_else(|| Vec::with_capacity(1024))
    }

    pub fn give_back_head(&mut self, mut head: Vec<u8>) {
        if head.capacity() > 0 && head.capacity() <= MAX_HEAD && self.heads.len() < KEEP_HEADS {
            head.clear();
            self.heads.push(head);
        }
    }
}
