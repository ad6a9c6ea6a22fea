//! The store's file: one redb database, of a format that says its version.

use std::{
    any::Any,
    collections::HashMap,
    fs::OpenOptions,
    io,
    os::unix::fs::OpenOptionsExt,
    panic::{AssertUnwindSafe, catch_unwind},
    path::{Path, PathBuf},
};

use bytes::Bytes;
use redb::{Database, Durability, ReadableDatabase, ReadableTable, StorageError, TableDefinition};

use super::{Key, Stored};

/// `resource\0namespace\0name` → eight bytes of revision (big endian), then the object's JSON.
const OBJECTS: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new("objects");
/// `format` and `revision`.
const META: TableDefinition<'_, &str, u64> = TableDefinition::new("meta");
/// The only format so far. A change to what the tables hold needs a new number and an upgrade.
const FORMAT: u64 = 1;
/// Bytes of the file that the database may keep in memory. Every object is there anyway, so this serves writes alone.
const CACHE: usize = 8 * 1024 * 1024;

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
            "the file is damaged ({what}): restore it from a copy, or move it away to start with an empty cluster"
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
    path: PathBuf,
    /// `None` after a failure: the database refuses everything then until it is opened anew.
    database: Option<Database>,
    /// Rows of commits that failed, as everybody sees them. A commit that fails may still have reached the disk; the next one
    /// takes it back.
    unsettled: HashMap<Key, Option<Stored>>,
}

/// One row to write: the new state, or `None` to remove it.
pub(super) type Row = (Key, Option<Stored>);

/// Runs what calls the database, which may panic over a damaged file.
fn guarded<T>(call: impl FnOnce() -> Result<T, DiskError>) -> Result<T, DiskError> {
    catch_unwind(AssertUnwindSafe(call)).unwrap_or_else(|panic| Err(DiskError::panicked(panic.as_ref())))
}

impl Disk {
    /// Opens or makes the file, and calls `each` with every object in it.
    pub(super) fn open(path: &Path, each: impl FnMut(Key, Stored)) -> Result<(Self, u64), DiskError> {
        // Secrets are in it: the file is made for its owner alone before anything is written.
        let file = OpenOptions::new().create(true).truncate(false).read(true).write(true).mode(0o600).open(path);
        drop(file.map_err(StorageError::from)?);
        guarded(|| {
            let database = Database::builder().set_cache_size(CACHE).create(path)?;
            let mut disk = Self { path: path.to_owned(), database: Some(database), unsettled: HashMap::new() };
            match disk.meta("format")? {
                Some(FORMAT) => {}
                Some(other) => {
                    let why = format!("its format is {other}, this version reads {FORMAT}: use a newer version");
                    return Err(DiskError::new(why));
                }
                None => disk.commit(&[], 0, Vec::new)?,
            }
            let revision = disk.meta("revision")?.unwrap_or(0);
            disk.load(each)?;
            Ok((disk, revision))
        })
    }

    fn database(&self) -> Result<&Database, DiskError> {
        self.database.as_ref().ok_or_else(|| DiskError::new("the database is not open"))
    }

    fn meta(&self, name: &str) -> Result<Option<u64>, DiskError> {
        let read = self.database()?.begin_read()?;
        match read.open_table(META) {
            Ok(table) => Ok(table.get(name)?.map(|value| value.value())),
            Err(redb::TableError::TableDoesNotExist(_)) => Ok(None),
            Err(e) => Err(e.into()),
        }
    }

    fn load(&self, mut each: impl FnMut(Key, Stored)) -> Result<(), DiskError> {
        let read = self.database()?.begin_read()?;
        let table = read.open_table(OBJECTS)?;
        for row in table.iter()? {
            let (key, value) = row?;
            let (key, stored) = decode(key.value(), value.value())
                .ok_or_else(|| DiskError::damaged(&"a row is not as it was written"))?;
            if let Err(error) = serde_json::from_slice::<serde::de::IgnoredAny>(&stored.json) {
                let Key { resource, namespace, name } = &key;
                return Err(DiskError::damaged(&format!("{resource} {namespace}/{name}: {error}")));
            }
            each(key, stored);
        }
        Ok(())
    }

    /// Makes all rows durable, or none. `before` gives the rows as they were, in case that it fails.
    pub(super) fn commit(
        &mut self,
        rows: &[Row],
        revision: u64,
        before: impl FnOnce() -> Vec<Row>,
    ) -> Result<(), DiskError> {
        let committed = guarded(|| {
            if self.database.is_none() {
                // Not made anew if it is not there: an empty store would forget everything.
                self.database = Some(Database::builder().set_cache_size(CACHE).open(&self.path)?);
            }
            self.try_commit(rows, revision)
        });
        if committed.is_ok() {
            self.unsettled.clear();
        } else {
            for (key, stored) in before() {
                self.unsettled.entry(key).or_insert(stored);
            }
            // Dropping it may panic as well, where the file is damaged.
            let database = self.database.take();
            let _ = guarded(|| {
                drop(database);
                Ok(())
            });
        }
        committed
    }

    fn try_commit(&self, rows: &[Row], revision: u64) -> Result<(), DiskError> {
        let mut write = self.database()?.begin_write()?;
        write.set_durability(Durability::Immediate)?;
        {
            let mut meta = write.open_table(META)?;
            meta.insert("format", FORMAT)?;
            meta.insert("revision", revision)?;
            let mut objects = write.open_table(OBJECTS)?;
            for (key, stored) in self.unsettled.iter().chain(rows.iter().map(|(key, stored)| (key, stored))) {
                let name = [key.resource.as_bytes(), key.namespace.as_bytes(), key.name.as_bytes()].join(&0);
                match stored {
                    Some(stored) => {
                        let row = [&stored.revision.to_be_bytes(), stored.json.as_ref()].concat();
                        objects.insert(name.as_slice(), row.as_slice())?;
                    }
                    None => drop(objects.remove(name.as_slice())?),
                }
            }
        }
        write.commit()?;
        Ok(())
    }
}

fn decode(key: &[u8], value: &[u8]) -> Option<(Key, Stored)> {
    let mut parts = std::str::from_utf8(key).ok()?.splitn(3, '\0');
    let key = Key { resource: parts.next()?.into(), namespace: parts.next()?.into(), name: parts.next()?.into() };
    let (revision, json) = value.split_first_chunk::<8>()?;
    Some((key, Stored { revision: u64::from_be_bytes(*revision), json: Bytes::copy_from_slice(json) }))
}
