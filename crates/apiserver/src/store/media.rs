//! Where the store's bytes are kept: a file, or in tests a disk that fails in the ways that disks do.

use std::{
    ffi::OsString,
    fs::{self, File, OpenOptions, TryLockError},
    io,
    os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

/// The place of one store. What is opened from it is used by one process at a time.
pub trait Media: Send + 'static {
    /// The store's bytes: empty ones if there are none yet. After a loss of power they are found again: a process that could not be
    /// sure of that may have put them there.
    ///
    /// # Errors
    /// They cannot be had or be made to stay, or another process has them.
    fn open(&self) -> io::Result<Box<dyn Storage>>;

    /// Empty bytes beside the store's, to become them; what an earlier draft left is thrown away.
    ///
    /// # Errors
    /// They cannot be had.
    fn draft(&self) -> io::Result<Box<dyn Storage>>;

    /// Throws away what a draft left that did not become the store's bytes, if there is any: it takes room on the disk.
    ///
    /// # Errors
    /// It is there still.
    fn discard(&self) -> io::Result<()>;

    /// Makes the last draft the store's bytes: when it returns, that survives a loss of power.
    ///
    /// # Errors
    /// It is not certain which of both are the store's bytes; both hold every acknowledged write.
    fn adopt(&self) -> io::Result<()>;
}

/// Bytes that can be read and written anywhere. Errors are the disk's.
#[expect(clippy::missing_errors_doc, reason = "every one is the disk's")]
#[expect(clippy::len_without_is_empty, reason = "asking costs a system call")]
pub trait Storage: Send + Sync {
    /// How many there are.
    fn len(&self) -> io::Result<u64>;
    /// Fills `out` with those from `offset` on, all of which must be there.
    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()>;
    /// Puts these there, after the end as well. A failure may have put a part of them.
    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()>;
    /// Drops all after the first `len`, or adds zeros up to it. Like a write, it may come undone until it is made to last.
    fn set_len(&self, len: u64) -> io::Result<()>;
    /// When it returns, all that was written survives a loss of power. After a failure nobody knows what does: Linux takes pages
    /// that it could not write for written, so that asking again would succeed and prove nothing.
    fn sync(&self) -> io::Result<()>;
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
        let mut name = OsString::from(&self.path);
        name.push(".new");
        name.into()
    }

    /// Makes the file's name durable: it is in the directory, which has to reach the disk as well.
    fn sync_name(&self) -> io::Result<()> {
        let parent = self.path.parent().filter(|parent| !parent.as_os_str().is_empty());
        File::open(parent.unwrap_or(Path::new(".")))?.sync_all()
    }
}

/// Secrets are in it: a file is made for its owner alone before anything is written.
fn private() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.read(true).write(true).mode(0o600);
    options
}

/// The file that was opened at a path, held until it is dropped.
fn held(file: File, path: &Path) -> io::Result<Box<dyn Storage>> {
    let by_another = || io::Error::other("it is already open in another process");
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => return Err(by_another()),
        Err(TryLockError::Error(error)) => return Err(error),
    }
    // Its owner may have put a new one in its place since it was opened here: what is written to this one is lost.
    let (here, there) = (file.metadata()?, fs::metadata(path)?);
    if (here.dev(), here.ino()) != (there.dev(), there.ino()) {
        return Err(by_another());
    }
    Ok(Box::new(file))
}

impl Media for FileMedia {
    fn open(&self) -> io::Result<Box<dyn Storage>> {
        let file = held(private().create(true).truncate(false).open(&self.path)?, &self.path)?;
        self.sync_name()?;
        Ok(file)
    }

    fn draft(&self) -> io::Result<Box<dyn Storage>> {
        self.discard()?;
        let path = self.draft_path();
        held(private().create_new(true).open(&path)?, &path)
    }

    fn discard(&self) -> io::Result<()> {
        match fs::remove_file(self.draft_path()) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    fn adopt(&self) -> io::Result<()> {
        fs::rename(self.draft_path(), &self.path)?;
        self.sync_name()
    }
}

impl Storage for File {
    fn len(&self) -> io::Result<u64> {
        Ok(self.metadata()?.len())
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.read_exact_at(out, offset)
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.write_all_at(data, offset)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        Self::set_len(self, len)
    }

    fn sync(&self) -> io::Result<()> {
        self.sync_data()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_was_replaced_before_it_could_be_held_is_somebody_elses() {
        let dir = tempfile::tempdir().unwrap();
        let media = FileMedia::new(&dir.path().join("state"));
        let opened = || private().create(true).truncate(false).open(&media.path).unwrap();
        let file = opened();
        media.draft().unwrap();
        media.adopt().unwrap();
        let error = held(file, &media.path).err().unwrap().to_string();
        assert!(error.contains("already open"), "{error}");
        held(opened(), &media.path).unwrap();
    }
}
