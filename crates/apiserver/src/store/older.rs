//! Stores of formats 1 and 2, which were redb databases: they are read once, and written anew as a journal.
//!
//! A row's key is `resource\0namespace\0name`. Its value:
//!
//! 1. Eight bytes of revision (big endian), then the object's JSON.
//! 2. The same, with four bytes between them: the CRC-32 of name, revision and JSON.

use std::{
    fmt, io,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
};

use bytes::Bytes;
use redb::{Database, ReadableDatabase, ReadableTable, StorageBackend, TableDefinition};

use super::{
    Key, Stored,
    disk::{DiskError, panic_text},
    media::Storage,
    row::Reader,
};

/// What such a file begins with.
pub(super) const MAGIC: &[u8] = b"redb\x1a\x0a\xa9\x0d\x0a";

const OBJECTS: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new("objects");
/// `format` and `revision`.
const META: TableDefinition<'_, &str, u64> = TableDefinition::new("meta");
/// Bytes of the file that the database may keep in memory.
const CACHE: usize = 8 * 1024 * 1024;

/// Every object, the last revision, and the format.
pub(super) struct Found {
    pub objects: Vec<(Key, Stored)>,
    pub revision: u64,
    pub format: u64,
}

/// Reads all of an older store, whose bytes may still be held by the caller afterwards.
///
/// # Errors
/// It is damaged, or the disk does not give it.
pub(super) fn load(bytes: Arc<dyn Storage>) -> Result<Found, DiskError> {
    // The database may panic over a damaged file.
    let read = AssertUnwindSafe(|| {
        let database = Database::builder().set_cache_size(CACHE).create_with_backend(Backend(bytes)).map_err(failed)?;
        let format = meta(&database, "format")?.unwrap_or(0);
        let revision = meta(&database, "revision")?.unwrap_or(0);
        let objects = match format {
            0 => Vec::new(),
            1 | 2 => objects(&database, format)?,
            other => return Err(DiskError::unknown_format(other)),
        };
        Ok(Found { objects, revision, format })
    });
    catch_unwind(read).unwrap_or_else(|panic| Err(DiskError::damaged(&panic_text(panic.as_ref()))))
}

fn meta(database: &Database, name: &str) -> Result<Option<u64>, DiskError> {
    let read = database.begin_read().map_err(failed)?;
    match read.open_table(META) {
        Ok(table) => Ok(table.get(name).map_err(failed)?.map(|value| value.value())),
        Err(redb::TableError::TableDoesNotExist(_)) => Ok(None),
        Err(error) => Err(failed(error)),
    }
}

fn objects(database: &Database, format: u64) -> Result<Vec<(Key, Stored)>, DiskError> {
    let read = database.begin_read().map_err(failed)?;
    let table = read.open_table(OBJECTS).map_err(failed)?;
    let (mut objects, mut reader) = (Vec::new(), Reader::default());
    for found in table.iter().map_err(failed)? {
        let (key, value) = found.map_err(failed)?;
        let object = decode(&mut reader, format, key.value(), value.value());
        objects.push(object.map_err(|what| DiskError::damaged(&what))?);
    }
    Ok(objects)
}

fn decode(reader: &mut Reader, format: u64, name: &[u8], value: &[u8]) -> Result<(Key, Stored), String> {
    let unlike = || "a row is not as it was written".to_owned();
    let key = reader.key(name).ok_or_else(unlike)?;
    let (revision, mut json) = value.split_first_chunk::<8>().ok_or_else(unlike)?;
    let said = |what: &dyn fmt::Display| format!("{} {}/{}: {what}", key.resource, key.namespace, key.name);
    if format >= 2 {
        let (written, rest) = json.split_first_chunk::<4>().ok_or_else(unlike)?;
        json = rest;
        let mut sum = crc32fast::Hasher::new();
        [name, revision, json].into_iter().for_each(|part| sum.update(part));
        if sum.finalize() != u32::from_be_bytes(*written) {
            return Err(said(&"its checksum does not fit"));
        }
    }
    serde_json::from_slice::<serde::de::IgnoredAny>(json).map_err(|error| said(&error))?;
    let stored = Stored::new(u64::from_be_bytes(*revision), Bytes::copy_from_slice(json));
    Ok((key, stored))
}

fn failed(error: impl Into<redb::Error>) -> DiskError {
    match error.into() {
        redb::Error::Corrupted(what) => DiskError::damaged(&what),
        redb::Error::Io(error) => error.into(),
        other => DiskError::new(other.to_string()),
    }
}

/// The store's bytes, as the database wants them.
struct Backend(Arc<dyn Storage>);

impl fmt::Debug for Backend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the store's file")
    }
}

impl StorageBackend for Backend {
    fn len(&self) -> io::Result<u64> {
        self.0.len()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.0.read(offset, out)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.0.set_len(len)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.0.sync()
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.0.write(offset, data)
    }
}
