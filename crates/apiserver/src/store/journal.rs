//! The store's file: a journal that is only ever added to, of a format that says its version.
//!
//! ```text
//! head:   FF "coracle" | u32 format | u32 CRC-32 of both | u64 bytes that the file was made of | u32 CRC-32 of them
//! record: FF "rec" | u32 length of the rows | u64 revision | u32 CRC-32 of these two and the rows | rows (`row`)
//! ```
//!
//! A file gets its name when it is whole and durable, so that what it was made of is never cut off: it is there, or damaged. After
//! it one record is one commit: it is there as a whole, or not at all. Zeros follow the last one: the file grows by a step at a time,
//! because a file that gets no longer spares a file system with a journal of its own most of what it does to make a write durable.
//!
//! Every object is in memory anyway, so nothing is ever looked up here. A start reads the file once from its beginning; when far
//! more is in it than what still counts, it is written anew (`disk`).

use std::{collections::HashMap, io};

use super::{
    Key, Stored,
    disk::DiskError,
    media::Storage,
    row::{self, Reader},
};

/// The format that is written. A change needs the next number, a way to read the last one, and a file of the last one among the
/// tests. Formats 1 and 2 are in `older`.
pub(super) const FORMAT: u32 = 3;

// No text has a byte FF, so that nothing within an object can look like the beginning of a record.
const HEAD: &[u8; 8] = b"\xffcoracle";
const RECORD: &[u8; 4] = b"\xffrec";
/// Bytes of a head, and of the part of it that says the format, which is the same in every format.
const HEADED: usize = 28;
const FORMATTED: usize = 16;
/// Bytes before a record's rows.
const FRAME: usize = 20;
/// The file grows by these many bytes.
const STEP: u64 = 256 * 1024;
/// Bytes that are read at once, and of objects that are written in one record of a new file.
const PIECE: usize = 1024 * 1024;
/// Memory that a large commit leaves to the next.
const KEPT: usize = 64 * 1024;

/// An open journal, to add to.
pub(super) struct Journal {
    bytes: Box<dyn Storage>,
    /// Where the next record begins: everything before is durable.
    end: u64,
    /// How far the file reaches; there are zeros from `end` on.
    room: u64,
    /// A write failed, and what it left could not be cut off yet.
    torn: bool,
    /// The disk refused to make something durable: only a new file can be trusted.
    doubtful: bool,
    /// The record that is being made, kept for its memory.
    record: Vec<u8>,
}

/// What was found in a file.
pub(super) struct Loaded {
    pub journal: Journal,
    pub objects: Vec<(Key, Stored)>,
    /// The last one that was given out.
    pub revision: u64,
}

impl Journal {
    /// A journal of just these objects, durable when this returns. `bytes` are empty.
    pub(super) fn create(bytes: Box<dyn Storage>, objects: &[(Key, Stored)], revision: u64) -> Result<Self, DiskError> {
        let mut journal = Self { bytes, end: HEADED as u64, room: 0, torn: false, doubtful: false, record: Vec::new() };
        let mut rows = objects.iter().map(|(key, stored)| (key, Some(stored))).peekable();
        loop {
            // One at least, for the revision.
            journal.frame(revision, |record| {
                while record.len() < PIECE
                    && let Some((key, stored)) = rows.next()
                {
                    row::put(key, stored, record)?;
                }
                Ok(())
            })?;
            if rows.peek().is_none() {
                break;
            }
            journal.bytes.write(journal.end, &journal.record)?;
            journal.end += journal.record.len() as u64;
            journal.record.clear();
        }
        let made = journal.end + journal.record.len() as u64;
        journal.bytes.write(0, &head(made))?;
        journal.write()?;
        journal.record = Vec::new();
        Ok(journal)
    }

    /// Makes all rows durable, or none: `None` is an object that is gone.
    pub(super) fn append<'a>(
        &mut self,
        rows: impl Iterator<Item = (&'a Key, Option<&'a Stored>)>,
        revision: u64,
    ) -> Result<(), DiskError> {
        if self.torn {
            self.cut()?;
        }
        self.record.clear();
        self.frame(revision, |record| {
            for (key, stored) in rows {
                row::put(key, stored, record)?;
            }
            Ok(())
        })?;
        let written = self.write();
        self.record.clear();
        self.record.shrink_to(KEPT);
        written
    }

    /// Whether only a new file can be trusted.
    pub(super) fn is_doubtful(&self) -> bool {
        self.doubtful
    }

    /// From now on only a new file is trusted.
    pub(super) fn doubt(&mut self) {
        self.doubtful = true;
    }

    /// Bytes of the file, and of what has been written to it.
    pub(super) fn size(&self) -> (u64, u64) {
        (self.room, self.end)
    }

    /// Puts a record behind what is in the buffer.
    fn frame(&mut self, revision: u64, rows: impl FnOnce(&mut Vec<u8>) -> Result<(), String>) -> Result<(), DiskError> {
        let start = self.record.len();
        self.record.extend_from_slice(&[0; FRAME]);
        rows(&mut self.record).map_err(DiskError::new)?;
        let (_, record) = self.record.split_at_mut(start);
        let Some((frame, rows)) = record.split_first_chunk_mut::<FRAME>() else { return Ok(()) };
        let too_large = |_| DiskError::new(format!("{} bytes are too many for one commit", rows.len()));
        let length = u32::try_from(rows.len()).map_err(too_large)?;
        *frame = Frame { length, revision, sum: sum(length, revision, rows) }.encode();
        Ok(())
    }

    /// Makes the buffer durable, at the end.
    fn write(&mut self) -> Result<(), DiskError> {
        let end = self.end + self.record.len() as u64;
        let room = if end > self.room { end.next_multiple_of(STEP) } else { self.room };
        if end > self.room {
            let zeros = usize::try_from(room - end).unwrap_or(0);
            self.record.resize(self.record.len() + zeros, 0);
        }
        if let Err(error) = self.bytes.write(self.end, &self.record) {
            // A part may be there. The next process must not find it if that can be helped, and the disk may be full.
            self.torn = true;
            let _ = self.cut();
            return Err(error.into());
        }
        if let Err(error) = self.bytes.sync() {
            self.doubtful = true;
            // The next process would be given it by the system's memory, though the disk may not have it.
            let _ = self.cut();
            return Err(error.into());
        }
        (self.end, self.room) = (end, room);
        Ok(())
    }

    /// Drops what is behind the end.
    fn cut(&mut self) -> Result<(), DiskError> {
        self.bytes.set_len(self.end)?;
        self.room = self.end;
        self.torn = false;
        Ok(())
    }

    /// Reads a journal from its beginning. A last record that is not whole goes: it was cut off before it was acknowledged. (One that
    /// was damaged later looks the same.)
    ///
    /// # Errors
    /// It is none, of another format, or damaged: anything before the last commit that is not as it was written.
    pub(super) fn load(bytes: Box<dyn Storage>) -> Result<Loaded, DiskError> {
        let length = bytes.len()?;
        let mut window = Window { bytes: bytes.as_ref(), length, start: 0, read: Vec::new() };
        let format = read_format(window.get(0, FORMATTED)?)?;
        if format != FORMAT {
            return Err(DiskError::unknown_format(format.into()));
        }
        let made = read_made(window.get(0, HEADED)?)?;
        let (mut objects, mut reader) = (HashMap::new(), Reader::default());
        let (mut end, mut revision, mut last) = (HEADED as u64, 0, HEADED as u64);
        while let Some((frame, mut rows)) = window.record(end, revision)? {
            let damaged = |what: String| DiskError::damaged(&format!("{what}, at byte {end}"));
            while let Some((key, stored)) = reader.next(&mut rows).map_err(damaged)? {
                match stored {
                    Some(stored) => objects.insert(key, stored),
                    None => objects.remove(&key),
                };
            }
            (revision, last) = (frame.revision, end);
            end += FRAME as u64 + u64::from(frame.length);
        }
        if end < made {
            return Err(unlike(end));
        }
        let rest = window.rest(end, revision)?;
        if rest > 0 {
            tracing::warn!(
                "the last record of the store is not whole: its {rest} bytes go. It was cut off before it was acknowledged, if it was \
                 not damaged since"
            );
        }
        // What was found is shown from here on, and may never have been made durable by the process that wrote it. Had an fsync been
        // refused to that, what the disk does not have would count as written: so the record is written again, and what follows cut.
        if end > made {
            let record = window.get(last, usize::try_from(end - last).unwrap_or(usize::MAX))?.map(<[u8]>::to_vec);
            bytes.write(last, &record.unwrap_or_default())?;
        }
        bytes.set_len(end)?;
        bytes.sync()?;
        let journal = Self { bytes, end, room: end, torn: false, doubtful: false, record: Vec::new() };
        Ok(Loaded { journal, objects: objects.into_iter().collect(), revision })
    }
}

/// The head of a file that is made of so many bytes.
fn head(made: u64) -> Vec<u8> {
    let summed = |said: &[u8]| [said, &crc32fast::hash(said).to_be_bytes()].concat();
    let format = [HEAD.as_slice(), &FORMAT.to_be_bytes()].concat();
    [summed(&format), summed(&made.to_be_bytes())].concat()
}

/// The format that a file says it has.
fn read_format(bytes: Option<&[u8]>) -> Result<u32, DiskError> {
    let format = bytes.and_then(checked).and_then(|said| said.strip_prefix(HEAD)?.try_into().ok());
    Ok(u32::from_be_bytes(format.ok_or_else(no_store)?))
}

/// How many bytes a file says it was made of.
fn read_made(head: Option<&[u8]>) -> Result<u64, DiskError> {
    let made = head.and_then(|head| head.get(FORMATTED..)).and_then(checked).and_then(|said| said.try_into().ok());
    Ok(u64::from_be_bytes(made.ok_or_else(no_store)?))
}

/// What comes before a checksum, if it fits.
fn checked(bytes: &[u8]) -> Option<&[u8]> {
    let (said, sum) = bytes.split_last_chunk()?;
    (crc32fast::hash(said) == u32::from_be_bytes(*sum)).then_some(said)
}

fn no_store() -> DiskError {
    DiskError::damaged(&"it does not begin as a store does")
}

/// The error of a record that is damaged.
fn unlike(at: u64) -> DiskError {
    DiskError::damaged(&format!("the record at byte {at} is not as it was written"))
}

/// What stands before a record's rows.
struct Frame {
    length: u32,
    revision: u64,
    sum: u32,
}

impl Frame {
    fn encode(&self) -> [u8; FRAME] {
        let (length, revision, sum) = (self.length.to_be_bytes(), self.revision.to_be_bytes(), self.sum.to_be_bytes());
        let mut bytes = [0; FRAME];
        let parts = RECORD.iter().chain(&length).chain(&revision).chain(&sum);
        bytes.iter_mut().zip(parts).for_each(|(to, from)| *to = *from);
        bytes
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let rest = bytes.strip_prefix(RECORD)?;
        let (length, rest) = rest.split_first_chunk()?;
        let (revision, rest) = rest.split_first_chunk()?;
        let length = u32::from_be_bytes(*length);
        Some(Self { length, revision: u64::from_be_bytes(*revision), sum: u32::from_be_bytes(rest.try_into().ok()?) })
    }
}

fn sum(length: u32, revision: u64, rows: &[u8]) -> u32 {
    let mut sum = crc32fast::Hasher::new();
    sum.update(&length.to_be_bytes());
    sum.update(&revision.to_be_bytes());
    sum.update(rows);
    sum.finalize()
}

/// Reads a file from its beginning, a large piece at a time.
struct Window<'a> {
    bytes: &'a dyn Storage,
    length: u64,
    start: u64,
    read: Vec<u8>,
}

impl Window<'_> {
    /// So many bytes from a place on; `None` if the file ends before.
    fn get(&mut self, at: u64, count: usize) -> io::Result<Option<&[u8]>> {
        if at + count as u64 > self.length {
            return Ok(None);
        }
        let is_there = at >= self.start && at + count as u64 <= self.start + self.read.len() as u64;
        if !is_there {
            let left = usize::try_from(self.length - at).unwrap_or(usize::MAX);
            self.start = at;
            self.read.resize(left.min(count.max(PIECE)), 0);
            self.bytes.read(at, &mut self.read)?;
        }
        let offset = usize::try_from(at - self.start).unwrap_or(usize::MAX);
        Ok(self.read.get(offset..offset.saturating_add(count)))
    }

    /// The record at a place, which has `revision` at least; `None` if there is none that is whole.
    fn record(&mut self, at: u64, revision: u64) -> io::Result<Option<(Frame, &[u8])>> {
        let Some(frame) = self.get(at, FRAME)?.and_then(Frame::decode) else { return Ok(None) };
        let length = usize::try_from(frame.length).unwrap_or(usize::MAX);
        let Some(rows) = self.get(at + FRAME as u64, length)? else { return Ok(None) };
        let is_whole = frame.revision >= revision && sum(frame.length, frame.revision, rows) == frame.sum;
        Ok(is_whole.then_some((frame, rows)))
    }

    /// How many bytes there are behind the last record that could be read, up to the last that is not zero.
    ///
    /// # Errors
    /// Another whole record is among them: what is before it was acknowledged, and is damaged.
    fn rest(&mut self, end: u64, revision: u64) -> Result<u64, DiskError> {
        let (mut rest, mut at) = (0, end);
        while at < self.length {
            let count = usize::try_from(self.length - at).unwrap_or(PIECE).min(PIECE);
            let Some(piece) = self.get(at, count)?.map(<[u8]>::to_vec) else { break };
            if let Some(last) = piece.iter().rposition(|byte| *byte != 0) {
                rest = at + last as u64 + 1 - end;
            }
            let begins = |(offset, byte): (usize, &u8)| (*byte == RECORD[0]).then_some(at + offset as u64);
            for begin in piece.iter().enumerate().filter_map(begins).filter(|begin| *begin > end) {
                if self.record(begin, revision)?.is_some() {
                    return Err(unlike(end));
                }
            }
            at += count as u64;
        }
        Ok(rest)
    }
}
