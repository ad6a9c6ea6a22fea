//! The store's file: one redb database, of a format that says its version.
//!
//! Whatever needs a new file (an older format, a file that has grown, a disk that refused to make writes durable, a restored
//! snapshot) takes the same way: everything is written into a draft beside it, made durable, and renamed.

use std::{
    any::Any,
    collections::HashMap,
    io,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use redb::{Database, Durability, ReadableDatabase, ReadableTable, StorageBackend, TableDefinition};

use super::{
    Key, Stored,
    media::{Media, Watched},
    row::{self, FORMAT},
};

/// `resource\0namespace\0name` → what `row` says.
const OBJECTS: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new("objects");
/// `format` and `revision`.
const META: TableDefinition<'_, &str, u64> = TableDefinition::new("meta");
/// Bytes of the file that the database may keep in memory. Every object is there anyway, so this serves writes alone.
const CACHE: usize = 8 * 1024 * 1024;
/// The file may be this many times as large as what is in it, and this much more, before it is written anew.
const GROWTH: u64 = 4;
const SLACK: u64 = 64 * 1024 * 1024;
/// Commits between two looks at the file's size.
const LOOK: u32 = 1024;

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

    fn damaged(what: &dyn std::fmt::Display) -> Self {
        Self::new(format!(
            "the file is damaged ({what}): restore a snapshot (coracle snapshot restore), or move it away to start with an empty \
             cluster"
        ))
    }

    /// A bug of the database's, or what a damaged file makes of it.
    fn panicked(panic: &(dyn Any + Send)) -> Self {
        Self::damaged(&panic_text(panic))
    }
}

/// What a panic says.
pub(super) fn panic_text(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("no reason given")
}

impl<E: Into<redb::Error>> From<E> for DiskError {
    fn from(error: E) -> Self {
        match error.into() {
            redb::Error::Corrupted(what) => Self::damaged(&what),
            redb::Error::Io(error) => match error.kind() {
                io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof => Self::damaged(&error),
                kind => {
                    let full = matches!(kind, io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded);
                    Self { full, reason: error.to_string() }
                }
            },
            other => Self::new(other.to_string()),
        }
    }
}

pub(super) struct Disk {
    media: Box<dyn Media>,
    /// `None` after a failure: the database refuses everything then until it is opened anew.
    database: Option<Database>,
    /// Rows of commits that failed, as everybody sees them. A commit that fails may still have reached the disk; the next one
    /// takes it back.
    unsettled: HashMap<Key, Option<Stored>>,
    /// The disk refused to make something durable: only a new file can be trusted.
    doubtful: Arc<AtomicBool>,
    /// Commits until the file's size is looked at.
    look: u32,
}

/// What was found when the file was opened.
pub(super) struct Opened {
    pub disk: Disk,
    pub objects: Vec<(Key, Stored)>,
    /// The last one that was given out.
    pub revision: u64,
}

/// One row to write: the new state, or `None` to remove it.
pub(super) type Row = (Key, Option<Stored>);

/// Everything that is visible, for a new file: called only if one has to be written.
pub(super) type Everything<'a> = &'a dyn Fn() -> Vec<(Key, Stored)>;

/// Runs what calls the database, which may panic over a damaged file.
fn guarded<T>(call: impl FnOnce() -> Result<T, DiskError>) -> Result<T, DiskError> {
    catch_unwind(AssertUnwindSafe(call)).unwrap_or_else(|panic| Err(DiskError::panicked(panic.as_ref())))
}

impl Disk {
    /// Opens or makes the file, and gives every object in it and the last revision.
    pub(super) fn open(media: Box<dyn Media>) -> Result<Opened, DiskError> {
        let doubtful = Arc::new(AtomicBool::new(false));
        let mut disk = Self { media, database: None, unsettled: HashMap::new(), doubtful, look: LOOK };
        let (objects, revision) = guarded(|| {
            let bytes = disk.media.open(true)?;
            let database = disk.database_over(bytes)?;
            let format = meta(&database, "format")?;
            let revision = meta(&database, "revision")?.unwrap_or(0);
            let objects = match format {
                Some(format @ 1..=FORMAT) => load(&database, format)?,
                Some(other) => {
                    let why = format!("its format is {other}, this version reads {FORMAT}: use a newer version");
                    return Err(DiskError::new(why));
                }
                None => Vec::new(),
            };
            match format {
                None => write(&database, std::iter::empty(), revision)?,
                Some(FORMAT) => {}
                Some(older) => {
                    tracing::info!("the store's file is of format {older}: it is written anew as format {FORMAT}");
                    drop(disk.renew(&objects, revision)?);
                    // The old file is open under its old name until here.
                    drop(database);
                    let bytes = disk.media.open(false)?;
                    disk.database = Some(disk.database_over(bytes)?);
                    return Ok((objects, revision));
                }
            }
            disk.database = Some(database);
            Ok((objects, revision))
        })?;
        Ok(Opened { disk, objects, revision })
    }

    /// Writes a store of just these objects into a place that has none.
    pub(super) fn create(media: Box<dyn Media>, objects: &[(Key, Stored)], revision: u64) -> Result<(), DiskError> {
        let doubtful = Arc::new(AtomicBool::new(false));
        let disk = Self { media, database: None, unsettled: HashMap::new(), doubtful, look: LOOK };
        guarded(|| disk.renew(objects, revision).map(drop))
    }

    fn database_over(&self, bytes: Box<dyn StorageBackend>) -> Result<Database, DiskError> {
        let watched = Watched::new(bytes, self.doubtful.clone());
        Ok(Database::builder().set_cache_size(CACHE).create_with_backend(watched)?)
    }

    /// Everything in a new file, which becomes the store's.
    fn renew(&self, objects: &[(Key, Stored)], revision: u64) -> Result<Database, DiskError> {
        let fresh = Arc::new(AtomicBool::new(false));
        let watched = Watched::new(self.media.draft()?, fresh);
        let database = Database::builder().set_cache_size(CACHE).create_with_backend(watched)?;
        write(&database, objects.iter().map(|(key, stored)| (key, Some(stored))), revision)?;
        if let Err(error) = self.media.adopt() {
            // The old file may be nobody's any more: nothing is written to it, but once more everything to a new one.
            self.doubtful.store(true, Ordering::Relaxed);
            return Err(redb::StorageError::from(error).into());
        }
        Ok(database)
    }

    /// Makes all rows durable, or none. `before` gives the rows as they were, in case that it fails.
    pub(super) fn commit(
        &mut self,
        rows: &[Row],
        revision: u64,
        before: impl FnOnce() -> Vec<Row>,
        everything: Everything<'_>,
    ) -> Result<(), DiskError> {
        let committed = guarded(|| {
            if self.doubtful.load(Ordering::Relaxed) {
                return self.start_over(rows, revision, everything);
            }
            if self.database.is_none() {
                // Not made anew if it is not there: an empty store would forget everything.
                let bytes = self.media.open(false)?;
                if bytes.len().map_err(redb::StorageError::from)? == 0 {
                    return Err(DiskError::damaged(&"it has become empty"));
                }
                self.database = Some(self.database_over(bytes)?);
            }
            let all = self.unsettled.iter().chain(rows.iter().map(|(key, stored)| (key, stored)));
            write(self.database()?, all.map(|(key, stored)| (key, stored.as_ref())), revision)
        });
        if committed.is_ok() {
            self.unsettled.clear();
            return committed;
        }
        for (key, stored) in before() {
            self.unsettled.entry(key).or_insert(stored);
        }
        // Dropping it may panic as well, where the file is damaged.
        let database = self.database.take();
        let _ = guarded(|| {
            drop(database);
            Ok(())
        });
        committed
    }

    fn database(&self) -> Result<&Database, DiskError> {
        self.database.as_ref().ok_or_else(|| DiskError::new("the database is not open"))
    }

    /// Every row as everybody sees it, and the new ones, in a new file: nothing depends on what the old one may hold.
    fn start_over(&mut self, rows: &[Row], revision: u64, everything: Everything<'_>) -> Result<(), DiskError> {
        let mut objects: HashMap<Key, Stored> = everything().into_iter().collect();
        for (key, stored) in rows {
            match stored {
                Some(stored) => drop(objects.insert(key.clone(), stored.clone())),
                None => drop(objects.remove(key)),
            }
        }
        let mut objects: Vec<_> = objects.into_iter().collect();
        objects.sort_unstable_by(|(a, _), (b, _)| a.cmp(b));
        self.database = None;
        self.database = Some(self.renew(&objects, revision)?);
        // What is written from now on is watched by the flag of this disk again.
        self.database = None;
        self.doubtful.store(false, Ordering::Relaxed);
        let bytes = self.media.open(false)?;
        self.database = Some(self.database_over(bytes)?);
        Ok(())
    }

    /// Writes the file anew if it has grown far beyond what is in it (`live` bytes). A failure is none of anybody's writes: the
    /// file is as it was.
    pub(super) fn shrink(&mut self, live: impl FnOnce() -> u64, revision: u64, everything: Everything<'_>) {
        self.look = self.look.saturating_sub(1);
        if self.look > 0 || self.database.is_none() || !self.unsettled.is_empty() {
            return;
        }
        self.look = LOOK;
        let Ok(size) = self.media.size() else { return };
        if size <= live().saturating_mul(GROWTH).saturating_add(SLACK) {
            return;
        }
        let renewed = guarded(|| {
            drop(self.renew(&everything(), revision)?);
            self.database = None;
            let bytes = self.media.open(false)?;
            self.database = Some(self.database_over(bytes)?);
            Ok(())
        });
        match renewed {
            Ok(()) => tracing::info!("the store's file had {size} bytes, and was written anew"),
            Err(error) => tracing::warn!("the store's file has {size} bytes, and could not be written anew: {error}"),
        }
    }

    /// Bytes of the file.
    pub(super) fn size(&self) -> u64 {
        self.media.size().unwrap_or(0)
    }
}

fn meta(database: &Database, name: &str) -> Result<Option<u64>, DiskError> {
    let read = database.begin_read()?;
    match read.open_table(META) {
        Ok(table) => Ok(table.get(name)?.map(|value| value.value())),
        Err(redb::TableError::TableDoesNotExist(_)) => Ok(None),
        Err(e) => Err(e.into()),
    }
}

fn load(database: &Database, format: u64) -> Result<Vec<(Key, Stored)>, DiskError> {
    let read = database.begin_read()?;
    let table = read.open_table(OBJECTS)?;
    let mut objects = Vec::new();
    for found in table.iter()? {
        let (key, value) = found?;
        let object = row::decode(format, key.value(), value.value());
        objects.push(object.map_err(|what| DiskError::damaged(&what))?);
    }
    Ok(objects)
}

/// One durable transaction.
fn write<'a>(
    database: &Database,
    rows: impl Iterator<Item = (&'a Key, Option<&'a Stored>)>,
    revision: u64,
) -> Result<(), DiskError> {
    let mut write = database.begin_write()?;
    write.set_durability(Durability::Immediate)?;
    {
        let mut meta = write.open_table(META)?;
        meta.insert("format", FORMAT)?;
        meta.insert("revision", revision)?;
        let mut objects = write.open_table(OBJECTS)?;
        for (key, stored) in rows {
            let name = row::name(key);
            match stored {
                Some(stored) => drop(objects.insert(name.as_slice(), row::encode(&name, stored).as_slice())?),
                None => drop(objects.remove(name.as_slice())?),
            }
        }
    }
    write.commit()?;
    Ok(())
}
