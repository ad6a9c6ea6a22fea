//! The store's file: one redb database, of a format that says its version.

use std::{fs::OpenOptions, os::unix::fs::OpenOptionsExt, path::Path};

use bytes::Bytes;
use redb::{Database, Durability, ReadableDatabase, ReadableTable, TableDefinition};

use super::{Key, Stored};

/// `resource\0namespace\0name` → eight bytes of revision (big endian), then the object's JSON.
const OBJECTS: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new("objects");
/// `format` and `revision`.
const META: TableDefinition<'_, &str, u64> = TableDefinition::new("meta");
/// The only format so far. A change to what the tables hold needs a new number and an upgrade.
const FORMAT: u64 = 1;

pub(super) struct Disk {
    database: Database,
}

/// One row to write: the new state, or `None` to remove it.
pub(super) type Row = (Key, Option<Stored>);

impl Disk {
    pub(super) fn open(path: &Path) -> Result<Self, String> {
        // Secrets are in it: the file is made for its owner alone before anything is written.
        let file = OpenOptions::new().create(true).truncate(false).read(true).write(true).mode(0o600).open(path);
        drop(file.map_err(|e| e.to_string())?);
        let database = Database::create(path).map_err(|e| e.to_string())?;
        let disk = Self { database };
        let format = disk.meta("format")?;
        match format {
            Some(FORMAT) => Ok(disk),
            Some(other) => Err(format!("its format is {other}, this version reads {FORMAT}: use a newer version")),
            None => disk.commit(&[], 0).map(|()| disk),
        }
    }

    pub(super) fn revision(&self) -> Result<u64, String> {
        Ok(self.meta("revision")?.unwrap_or(0))
    }

    fn meta(&self, name: &str) -> Result<Option<u64>, String> {
        let read = self.database.begin_read().map_err(|e| e.to_string())?;
        match read.open_table(META) {
            Ok(table) => Ok(table.get(name).map_err(|e| e.to_string())?.map(|value| value.value())),
            Err(redb::TableError::TableDoesNotExist(_)) => Ok(None),
            Err(e) => Err(e.to_string()),
        }
    }

    pub(super) fn load(&self, mut each: impl FnMut(Key, Stored)) -> Result<(), String> {
        let read = self.database.begin_read().map_err(|e| e.to_string())?;
        let table = read.open_table(OBJECTS).map_err(|e| e.to_string())?;
        for row in table.iter().map_err(|e| e.to_string())? {
            let (key, value) = row.map_err(|e| e.to_string())?;
            let (key, stored) = decode(key.value(), value.value()).ok_or("a row is not as it was written")?;
            each(key, stored);
        }
        Ok(())
    }

    /// Makes all rows durable, or none.
    pub(super) fn commit(&self, rows: &[Row], revision: u64) -> Result<(), String> {
        self.try_commit(rows, revision).map_err(|e| e.to_string())
    }

    fn try_commit(&self, rows: &[Row], revision: u64) -> Result<(), redb::Error> {
        let mut write = self.database.begin_write()?;
        write.set_durability(Durability::Immediate)?;
        {
            let mut meta = write.open_table(META)?;
            meta.insert("format", FORMAT)?;
            meta.insert("revision", revision)?;
            let mut objects = write.open_table(OBJECTS)?;
            for (key, stored) in rows {
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
