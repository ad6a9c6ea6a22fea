//! Where the store's bytes are kept: a file, or in tests a disk that fails in the ways that disks do.

use std::{
    fmt,
    fs::{self, File, OpenOptions},
    io,
    ops::Bound,
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use redb::{BackendError, DatabaseError, StorageBackend, StorageError, backends::FileBackend};

/// The place of one store. What is opened from it is used by one process at a time.
pub trait Media: Send + 'static {
    /// The store's bytes: empty ones if there are none yet and `create`.
    ///
    /// # Errors
    /// They cannot be had, another process has them, or they are not there.
    fn open(&self, create: bool) -> Result<Box<dyn StorageBackend>, DatabaseError>;

    /// Empty bytes beside the store's, to become them; what an earlier draft left is thrown away.
    ///
    /// # Errors
    /// They cannot be had.
    fn draft(&self) -> Result<Box<dyn StorageBackend>, DatabaseError>;

    /// Makes the last draft the store's bytes: when it returns, that survives a loss of power.
    ///
    /// # Errors
    /// It is not certain which of both are the store's bytes; both hold every acknowledged write.
    fn adopt(&self) -> io::Result<()>;

    /// How many bytes the store takes.
    ///
    /// # Errors
    /// Nobody knows.
    fn size(&self) -> io::Result<u64>;
}

/// A file, and while it is written anew a second one beside it.
#[derive(Clone, Debug)]
pub struct FileMedia {
    path: PathBuf,
}

impl FileMedia {
    /// The store in the file at `path`.
    pub fn new(path: &Path) -> Self {
        Self { path: path.to_owned() }
    }

    fn draft_path(&self) -> PathBuf {
        let mut name = self.path.clone().into_os_string();
        name.push(".new");
        name.into()
    }
}

/// Secrets are in it: a file is made for its owner alone before anything is written.
fn private() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.read(true).write(true).mode(0o600);
    options
}

fn backend(file: File) -> Result<Box<dyn StorageBackend>, DatabaseError> {
    Ok(Box::new(FileBackend::new(file)?))
}

impl Media for FileMedia {
    fn open(&self, create: bool) -> Result<Box<dyn StorageBackend>, DatabaseError> {
        backend(private().create(create).truncate(false).open(&self.path).map_err(StorageError::from)?)
    }

    fn draft(&self) -> Result<Box<dyn StorageBackend>, DatabaseError> {
        let path = self.draft_path();
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(StorageError::from(error).into()),
            _ => {}
        }
        backend(private().create_new(true).open(&path).map_err(StorageError::from)?)
    }

    fn adopt(&self) -> io::Result<()> {
        fs::rename(self.draft_path(), &self.path)?;
        // The new name is in the directory, which has to reach the disk as well.
        let parent = self.path.parent().filter(|parent| !parent.as_os_str().is_empty());
        File::open(parent.unwrap_or(Path::new(".")))?.sync_all()
    }

    fn size(&self) -> io::Result<u64> {
        Ok(fs::metadata(&self.path)?.len())
    }
}

/// Bytes that remember whether the disk ever refused to make them durable. After that nobody knows which of them are: Linux
/// takes pages that it could not write for written, so that asking again would succeed and prove nothing.
pub(super) struct Watched {
    inner: Box<dyn StorageBackend>,
    doubtful: Arc<AtomicBool>,
}

impl Watched {
    /// `doubtful` is set when the disk refuses.
    pub(super) fn new(inner: Box<dyn StorageBackend>, doubtful: Arc<AtomicBool>) -> Self {
        Self { inner, doubtful }
    }
}

impl fmt::Debug for Watched {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.fmt(f)
    }
}

impl StorageBackend for Watched {
    fn len(&self) -> io::Result<u64> {
        self.inner.len()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.inner.read(offset, out)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.inner.set_len(len)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.inner.sync_data().inspect_err(|_| self.doubtful.store(true, Ordering::Relaxed))
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.inner.write(offset, data)
    }

    fn close(&self) -> io::Result<()> {
        self.inner.close()
    }

    // The locks keep other processes out.
    fn try_lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        self.inner.try_lock_range(start, end)
    }

    fn try_lock_shared_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        self.inner.try_lock_shared_range(start, end)
    }

    fn lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.inner.lock_range(start, end)
    }

    fn lock_shared_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.inner.lock_shared_range(start, end)
    }

    fn unlock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.inner.unlock_range(start, end)
    }

    fn query_lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        self.inner.query_lock_range(start, end)
    }
}
