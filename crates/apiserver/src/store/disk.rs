//! The store on its disk: a journal, and when that cannot be gone on with, a new one.
//!
//! Whatever needs a new file (an older format, a file that has grown, a disk that refused to make writes durable, a restored
//! snapshot) takes the same way: everything is written into a draft beside it, made durable, and renamed.

use std::{any::Any, collections::HashMap, io, sync::Arc};

use super::{
    Key, Stored,
    journal::{FORMAT, Journal, Loaded},
    media::{Media, Storage},
    older,
};

/// The file may be this many times as large as what is in it, and this much more, before it is written anew.
const GROWTH: u64 = 4;
const SLACK: u64 = 64 * 1024 * 1024;
/// By which part of it the file grows before that is tried again, where it failed: each time the disk is filled.
const PATIENCE: u64 = 4;

/// Why the disk did not take a write or give a read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{reason}")]
pub struct DiskError {
    /// There is no room left: somebody has to make some.
    pub full: bool,
    reason: String,
}

impl DiskError {
    pub(super) fn new(reason: impl Into<String>) -> Self {
        Self { full: false, reason: reason.into() }
    }

    pub(super) fn damaged(what: &dyn std::fmt::Display) -> Self {
        Self::new(format!(
            "the file is damaged ({what}): restore a snapshot (coracle snapshot restore), or move it away to start with an empty \
             cluster"
        ))
    }

    pub(super) fn unknown_format(format: u64) -> Self {
        Self::new(format!("its format is {format}, this version reads {FORMAT}: use a newer version"))
    }
}

impl From<io::Error> for DiskError {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof => Self::damaged(&error),
            kind => {
                let full = matches!(kind, io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded);
                Self { full, reason: error.to_string() }
            }
        }
    }
}

/// What a panic says.
pub(super) fn panic_text(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("no reason given")
}

pub(super) struct Disk {
    media: Box<dyn Media>,
    journal: Journal,
    /// Until it has grown to this, no new one is tried.
    patience: u64,
}

/// What was found when the file was opened.
pub(super) struct Opened {
    pub disk: Disk,
    pub objects: Vec<(Key, Stored)>,
    /// The last one that was given out.
    pub revision: u64,
}

/// Everything that is visible, for a new file: called only if one has to be written.
pub(super) type Everything<'a> = &'a dyn Fn() -> Vec<(Key, Stored)>;

impl Disk {
    /// Opens or makes the file, and gives every object in it and the last revision.
    pub(super) fn open(media: Box<dyn Media>) -> Result<Opened, DiskError> {
        let bytes = media.open()?;
        // A process that was killed may have left one. It is in nobody's way but for its room.
        let _ = media.discard();
        // In the first two cases the old bytes are held until the new ones have their place.
        let Loaded { journal, objects, revision } = match bytes.len()? {
            0 => renewed(media.as_ref(), Vec::new(), 0)?,
            _ if is_older(bytes.as_ref())? => {
                let bytes: Arc<dyn Storage> = bytes.into();
                let found = older::load(bytes.clone())?;
                tracing::info!("the store is of format {}: it is written anew as format {FORMAT}", found.format);
                renewed(media.as_ref(), found.objects, found.revision)?
            }
            _ => Journal::load(bytes)?,
        };
        Ok(Opened { disk: Self { media, journal, patience: 0 }, objects, revision })
    }

    /// Writes a store of just these objects into a place, beside what may be there until it is done.
    pub(super) fn create(media: &dyn Media, objects: &[(Key, Stored)], revision: u64) -> Result<(), DiskError> {
        let _held = drafted(media, objects, revision)?;
        Ok(media.adopt()?)
    }

    /// Makes all rows durable, or none: `None` is an object that is gone.
    pub(super) fn commit(
        &mut self,
        rows: &HashMap<Key, Option<Stored>>,
        revision: u64,
        everything: Everything<'_>,
    ) -> Result<(), DiskError> {
        if !self.journal.is_doubtful() {
            return self.journal.append(rows.iter().map(|(key, stored)| (key, stored.as_ref())), revision);
        }
        // Every row as everybody sees it, and the new ones, in a new file: nothing depends on what the old one may hold.
        let mut objects: HashMap<Key, Stored> = everything().into_iter().collect();
        for (key, stored) in rows {
            match stored {
                Some(stored) => objects.insert(key.clone(), stored.clone()),
                None => objects.remove(key),
            };
        }
        let objects: Vec<_> = objects.into_iter().collect();
        self.renew(&objects, revision)
    }

    /// Everything in a new file, which becomes the store's.
    fn renew(&mut self, objects: &[(Key, Stored)], revision: u64) -> Result<(), DiskError> {
        let fresh = drafted(self.media.as_ref(), objects, revision)?;
        if let Err(error) = self.media.adopt() {
            // The old file may be nobody's any more: nothing is written to it, but once more everything to a new one.
            self.journal.doubt();
            return Err(error.into());
        }
        self.journal = fresh;
        Ok(())
    }

    /// Writes the file anew if it has grown far beyond what is in it (`live` bytes). A failure is none of anybody's writes: the
    /// file is as it was.
    pub(super) fn shrink(&mut self, live: u64, revision: u64, everything: Everything<'_>) {
        let (_, size) = self.journal.size();
        if size <= live.saturating_mul(GROWTH).saturating_add(SLACK).max(self.patience) {
            return;
        }
        match self.renew(&everything(), revision) {
            Ok(()) => {
                self.patience = 0;
                tracing::info!("the store's file had {size} bytes, and was written anew");
            }
            Err(error) => {
                self.patience = size + size / PATIENCE;
                tracing::warn!("the store's file has {size} bytes, and could not be written anew: {error}");
            }
        }
    }

    /// Bytes of the file.
    pub(super) fn size(&self) -> u64 {
        self.journal.size().0
    }
}

fn is_older(bytes: &dyn Storage) -> Result<bool, DiskError> {
    let mut first = [0; older::MAGIC.len()];
    if bytes.len()? < first.len() as u64 {
        return Ok(false);
    }
    bytes.read(0, &mut first)?;
    Ok(first == older::MAGIC)
}

/// A draft that can take the file's place.
fn drafted(media: &dyn Media, objects: &[(Key, Stored)], revision: u64) -> Result<Journal, DiskError> {
    let journal = Journal::create(media.draft()?, objects, revision);
    if journal.is_err() {
        // On a full disk it has taken what room there was.
        let _ = media.discard();
    }
    journal
}

fn renewed(media: &dyn Media, objects: Vec<(Key, Stored)>, revision: u64) -> Result<Loaded, DiskError> {
    let journal = drafted(media, &objects, revision)?;
    media.adopt()?;
    Ok(Loaded { journal, objects, revision })
}
