//! Snapshots: the whole store as text that can be read, kept elsewhere, and made a store again.
//!
//! The first line says what it is, each further one holds an object, and the last the SHA-256 of everything before it. A file
//! that was cut short has no such line; one that was changed does not fit it.

use std::{
    io::{self, BufRead, Write},
    path::Path,
};

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::{DiskError, Key, Stored, disk::Disk, media::FileMedia};

/// The form of the text.
const FORMAT: u64 = 1;
/// The longest line that is read: an object is smaller than any request that could have made it.
const LINE: u64 = 16 * 1024 * 1024;
/// Revisions that a restored store skips. Clients may have seen revisions that were given out after the snapshot was made; none
/// of them may come again with another meaning.
const SKIPPED: u64 = 1_000_000_000;

/// Every object at one revision.
#[derive(Clone, Debug)]
pub struct Everything {
    /// The revision of the last write that is in it.
    pub revision: u64,
    /// In order of resource, namespace and name.
    pub objects: Vec<(Key, Stored)>,
}

/// What a snapshot says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Status {
    /// The revision of the last write that is in it.
    pub revision: u64,
    /// How many objects.
    pub objects: u64,
    /// When it was made (RFC 3339).
    pub time: String,
    /// SHA-256 of everything but the last line, in hexadecimal.
    pub sha256: String,
}

/// Why a snapshot cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum SavedError {
    /// It cannot be read.
    #[error("read the snapshot: {0}")]
    Read(#[from] io::Error),
    /// It is none, or of a version that is not known.
    #[error("this is no snapshot that this version can read: {0}")]
    Unknown(String),
    /// The end is missing.
    #[error("the snapshot is cut short: its last line is missing")]
    Short,
    /// Something in it is not as it was written.
    #[error("the snapshot is damaged: {0}")]
    Damaged(String),
    /// The store cannot be written.
    #[error("write the store: {0}")]
    Write(#[from] DiskError),
}

#[derive(Serialize, Deserialize)]
struct Head {
    coracle: String,
    format: u64,
    revision: u64,
    objects: u64,
    time: String,
}

#[derive(Deserialize)]
struct Line {
    resource: String,
    namespace: String,
    name: String,
    revision: u64,
    object: Value,
}

/// A snapshot in pieces of some hundred KiB, for whoever sends or writes it: it is never in memory as a whole.
pub struct Pieces {
    objects: std::vec::IntoIter<(Key, Stored)>,
    head: Option<Head>,
    sum: Option<Sha256>,
}

/// Bytes of a piece, after which the next begins.
const PIECE: usize = 256 * 1024;

impl Everything {
    /// The snapshot, made at `time`.
    pub fn pieces(self, time: jiff::Timestamp) -> Pieces {
        let head = Head {
            coracle: "snapshot".to_owned(),
            format: FORMAT,
            revision: self.revision,
            objects: self.objects.len() as u64,
            time: time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
        };
        Pieces { objects: self.objects.into_iter(), head: Some(head), sum: Some(Sha256::new()) }
    }
}

impl Iterator for Pieces {
    type Item = Bytes;

    fn next(&mut self) -> Option<Bytes> {
        let mut piece = Vec::new();
        if let Some(head) = self.head.take() {
            piece.extend_from_slice(json!(head).to_string().as_bytes());
            piece.push(b'\n');
        }
        while piece.len() < PIECE {
            let Some((key, stored)) = self.objects.next() else { break };
            let Key { resource, namespace, name } = key;
            let text = |text: &str| Value::from(text).to_string();
            let (resource, namespace, name) = (text(&resource), text(&namespace), text(&name));
            let revision = stored.revision;
            let head = format!(
                "{{\"resource\":{resource},\"namespace\":{namespace},\"name\":{name},\"revision\":{revision},\"object\":"
            );
            piece.extend_from_slice(head.as_bytes());
            piece.extend_from_slice(&stored.json);
            piece.extend_from_slice(b"}\n");
        }
        if piece.is_empty() {
            let sum = hexadecimal(&self.sum.take()?.finalize());
            return Some(Bytes::from(format!("{}\n", json!({"sha256": sum}))));
        }
        if let Some(sum) = &mut self.sum {
            sum.update(&piece);
        }
        Some(piece.into())
    }
}

/// Writes all pieces.
///
/// # Errors
/// The writer's.
pub fn write(pieces: Pieces, to: &mut impl Write) -> io::Result<()> {
    for piece in pieces {
        to.write_all(&piece)?;
    }
    to.flush()
}

/// Reads a snapshot to its end and checks all of it.
///
/// # Errors
/// It is none, is damaged, or cut short.
pub fn read(mut from: impl BufRead) -> Result<(Status, Everything), SavedError> {
    let mut sum = Sha256::new();
    let first = line(&mut from)?.ok_or(SavedError::Short)?;
    let head: Head = serde_json::from_slice(&first).map_err(|e| SavedError::Unknown(e.to_string()))?;
    if head.coracle != "snapshot" || head.format != FORMAT {
        let what = format!("it says it is a {:?} of format {}; format {FORMAT} is known", head.coracle, head.format);
        return Err(SavedError::Unknown(what));
    }
    sum.update(&first);
    let mut objects = Vec::new();
    for _ in 0..head.objects {
        let text = line(&mut from)?.ok_or(SavedError::Short)?;
        sum.update(&text);
        let wrong = |e: serde_json::Error| SavedError::Damaged(format!("object {}: {e}", objects.len() + 1));
        let Line { resource, namespace, name, revision, object } = serde_json::from_slice(&text).map_err(wrong)?;
        let key = Key { resource: resource.into(), namespace, name };
        objects.push((key, Stored::new(revision, object.to_string().into_bytes().into())));
    }
    let last = line(&mut from)?.ok_or(SavedError::Short)?;
    let last: Value = serde_json::from_slice(&last).map_err(|e| SavedError::Damaged(e.to_string()))?;
    let found = hexadecimal(&sum.finalize());
    let said = last.get("sha256").and_then(Value::as_str).unwrap_or_default();
    if said != found {
        return Err(SavedError::Damaged(format!("its checksum is {found}, and it says {said:?}")));
    }
    if line(&mut from)?.is_some() {
        return Err(SavedError::Damaged("something follows its end".to_owned()));
    }
    let status = Status { revision: head.revision, objects: head.objects, time: head.time, sha256: found };
    Ok((status, Everything { revision: head.revision, objects }))
}

/// Makes a new store of a snapshot, at a path where there is none.
///
/// Its revisions go on far beyond the snapshot's, so that no client takes a new revision for one that it has seen.
///
/// # Errors
/// The disk's.
pub fn restore(everything: &Everything, path: &Path) -> Result<(), SavedError> {
    let revision = everything.revision.saturating_add(SKIPPED);
    Ok(Disk::create(&FileMedia::new(path), &everything.objects, revision)?)
}

/// The next line with its end; `None` at the end of the file, an error for a line without its end.
fn line(from: &mut impl BufRead) -> Result<Option<Vec<u8>>, SavedError> {
    let mut text = Vec::new();
    io::Read::take(&mut *from, LINE).read_until(b'\n', &mut text)?;
    match text.last() {
        None => Ok(None),
        Some(b'\n') => Ok(Some(text)),
        Some(_) if text.len() as u64 == LINE => Err(SavedError::Damaged("a line is longer than any object".to_owned())),
        Some(_) => Err(SavedError::Short),
    }
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn everything(count: u64) -> Everything {
        let object = |number: u64| {
            let key = Key { resource: "/things".into(), namespace: "n".into(), name: format!("a{number}") };
            let json = json!({"metadata": {"name": number, "odd": "a\nb\u{2028}\"é"}}).to_string();
            (key, Stored::new(number, json.into_bytes().into()))
        };
        Everything { revision: count, objects: (1..=count).map(object).collect() }
    }

    fn text(everything: &Everything) -> Vec<u8> {
        let mut text = Vec::new();
        write(everything.clone().pieces(jiff::Timestamp::UNIX_EPOCH), &mut text).unwrap();
        text
    }

    #[test]
    fn a_snapshot_reads_as_it_was_written() {
        for count in [0, 1, 9_000] {
            let wanted = everything(count);
            let (status, found) = read(text(&wanted).as_slice()).unwrap();
            assert_eq!((status.revision, status.objects, status.time.as_str()), (count, count, "1970-01-01T00:00:00Z"));
            let plain = |all: &Everything| -> Vec<_> {
                all.objects.iter().map(|(key, stored)| (key.clone(), stored.revision, stored.json.clone())).collect()
            };
            assert_eq!(plain(&found), plain(&wanted));
        }
    }

    #[test]
    fn a_snapshot_that_was_cut_short_or_changed_is_refused() {
        let good = text(&everything(5));
        for length in 0..good.len() {
            assert!(read(&good[..length]).is_err(), "{length} bytes");
        }
        for at in 0..good.len() {
            let mut bad = good.clone();
            bad[at] ^= 1;
            assert!(read(bad.as_slice()).is_err(), "byte {at}");
        }
        let more = [good.as_slice(), b"x\n"].concat();
        assert!(read(more.as_slice()).is_err());
        let newer = String::from_utf8(good).unwrap().replacen("\"format\":1", "\"format\":2", 1);
        assert!(read(newer.as_bytes()).unwrap_err().to_string().contains("format 2"));
    }
}
