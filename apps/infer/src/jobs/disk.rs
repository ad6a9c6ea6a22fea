//! Jobs on disk: an embedded database with a table each for jobs, what they are about, and what came of them. A write that has been
//! answered is on disk. Without a directory the same database lives in memory.

use std::path::Path;

use redb::{Database, ReadableDatabase, ReadableTable, TableDefinition};
use serde::{Serialize, de::DeserializeOwned};
use uuid::Uuid;

use super::job::Job;

const JOBS: TableDefinition<'_, u128, &[u8]> = TableDefinition::new("jobs");
const INPUTS: TableDefinition<'_, u128, &[u8]> = TableDefinition::new("inputs");
const RESULTS: TableDefinition<'_, u128, &[u8]> = TableDefinition::new("results");
/// Bytes of the database that are kept in memory.
const CACHE_BYTES: usize = 2 << 20;

/// The database failed, or holds what this version does not understand.
#[derive(Debug, thiserror::Error)]
pub enum DiskError {
    /// The database.
    #[error("the job database: {0}")]
    Database(#[source] Box<redb::Error>),
    /// A record.
    #[error("a record of the job database: {0}")]
    Record(#[from] serde_json::Error),
    /// The directory.
    #[error("the job directory: {0}")]
    Directory(#[from] std::io::Error),
}

impl<E: Into<redb::Error>> From<E> for Box<DiskError> {
    fn from(error: E) -> Self {
        Self::new(DiskError::Database(Box::new(error.into())))
    }
}

fn record(error: serde_json::Error) -> Box<DiskError> {
    Box::new(DiskError::Record(error))
}

/// One change, written as a whole.
#[derive(Clone, Debug, Default)]
pub struct Change {
    /// Jobs in their new state.
    pub jobs: Vec<Job>,
    /// What a new job is about.
    pub input: Option<(Uuid, Vec<u8>)>,
    /// What came of a job.
    pub result: Option<(Uuid, Vec<u8>)>,
    /// Jobs to forget with all they have.
    pub forget: Vec<Uuid>,
}

/// The database.
pub struct Disk {
    database: Database,
}

impl Disk {
    /// Opens the database in `directory`, or one in memory; answers the jobs in it too.
    ///
    /// # Errors
    /// Another process has it open, it is damaged, or the directory cannot be written.
    pub fn open(directory: Option<&Path>) -> Result<(Self, Vec<Job>), Box<DiskError>> {
        let mut builder = Database::builder();
        builder.set_cache_size(CACHE_BYTES);
        let database = match directory {
            Some(directory) => {
                std::fs::create_dir_all(directory).map_err(|e| Box::new(DiskError::Directory(e)))?;
                builder.create(directory.join("jobs.redb"))?
            }
            None => builder.create_with_backend(redb::backends::InMemoryBackend::new())?,
        };
        let disk = Self { database };
        let write = disk.database.begin_write()?;
        let mut jobs = Vec::new();
        {
            for entry in write.open_table(JOBS)?.iter()? {
                jobs.push(decode(entry?.1.value())?);
            }
            write.open_table(INPUTS)?;
            write.open_table(RESULTS)?;
        }
        write.commit()?;
        Ok((disk, jobs))
    }

    /// Writes `change`; it is on disk when this returns.
    ///
    /// # Errors
    /// The disk failed; nothing of the change is written then.
    pub fn write(&self, change: &Change) -> Result<(), Box<DiskError>> {
        let write = self.database.begin_write()?;
        {
            let mut jobs = write.open_table(JOBS)?;
            let mut inputs = write.open_table(INPUTS)?;
            let mut results = write.open_table(RESULTS)?;
            for job in &change.jobs {
                jobs.insert(job.id.as_u128(), encode(job)?.as_slice())?;
            }
            if let Some((id, bytes)) = &change.input {
                inputs.insert(id.as_u128(), bytes.as_slice())?;
            }
            if let Some((id, bytes)) = &change.result {
                results.insert(id.as_u128(), bytes.as_slice())?;
            }
            for id in &change.forget {
                jobs.remove(id.as_u128())?;
                inputs.remove(id.as_u128())?;
                results.remove(id.as_u128())?;
            }
        }
        Ok(write.commit()?)
    }

    /// What the job is about, as it was written.
    ///
    /// # Errors
    /// The disk failed.
    pub fn input(&self, id: Uuid) -> Result<Option<Vec<u8>>, Box<DiskError>> {
        self.read(INPUTS, id)
    }

    /// What came of the job, as it was written.
    ///
    /// # Errors
    /// The disk failed.
    pub fn result(&self, id: Uuid) -> Result<Option<Vec<u8>>, Box<DiskError>> {
        self.read(RESULTS, id)
    }

    fn read(&self, table: TableDefinition<'_, u128, &[u8]>, id: Uuid) -> Result<Option<Vec<u8>>, Box<DiskError>> {
        let read = self.database.begin_read()?;
        Ok(read.open_table(table)?.get(id.as_u128())?.map(|value| value.value().to_vec()))
    }
}

fn encode(value: &impl Serialize) -> Result<Vec<u8>, Box<DiskError>> {
    serde_json::to_vec(value).map_err(record)
}

fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Box<DiskError>> {
    serde_json::from_slice(bytes).map_err(record)
}
