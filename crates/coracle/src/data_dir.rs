//! The data directory: one Coracle at a time, and a text that explains what is in it.

use std::{
    fs::{self, DirBuilder, File, OpenOptions},
    io::{Read, Seek, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

use anyhow::{Context, bail};

const README: &str = "\
This directory holds the whole state of one Coracle. Stop it before you copy or move the directory.

kubeconfig   administrator's access for kubectl: export KUBECONFIG=<this directory>/kubeconfig
state.redb   every Kubernetes object (a journal; the only copy: coracle snapshot save FILE makes another)
pki/         the certificate authority and the keys made from it; private
dev-certs/   the authority of --dev-certs: trust ca.crt, keep ca.key private
pods/        one directory for each pod: its containers as their shims know them
volumes/     one directory for each pod: what its containers mount (emptyDir, ConfigMaps, Secrets)
logs/        the containers' output, one directory for each pod
network      the range of pod addresses this Coracle used last
handover     where a new Coracle asks the running one for its sockets (--replace)
lock         held while a Coracle runs; the process id is in it
";

/// The data directory, held until this is dropped.
#[derive(Debug)]
pub struct DataDir {
    path: PathBuf,
    _lock: File,
}

impl DataDir {
    /// Makes the directory if need be and takes its lock.
    ///
    /// # Errors
    /// When it cannot be made or written, or another Coracle holds it (which one is said).
    pub fn open(path: &Path) -> anyhow::Result<Self> {
        let what = || format!("data directory {}", path.display());
        DirBuilder::new().recursive(true).mode(0o711).create(path).with_context(what)?;
        let name = path.join("lock");
        let mut lock = OpenOptions::new()
            .create(true)
            .truncate(false)
            .read(true)
            .write(true)
            .mode(0o600)
            .open(&name)
            .with_context(|| format!("open {}", name.display()))?;
        if let Err(error) = lock.try_lock() {
            let mut holder = String::new();
            // Only for the message: without it the message is a little poorer.
            let _ = lock.read_to_string(&mut holder);
            match error {
                fs::TryLockError::WouldBlock => bail!(
                    "{} is in use by another Coracle (process {}): stop it, take over from it with --replace, or choose another \
                     directory with --data-dir",
                    what(),
                    holder.trim()
                ),
                fs::TryLockError::Error(e) => return Err(e).with_context(|| format!("lock {}", name.display())),
            }
        }
        lock.set_len(0).and_then(|()| lock.rewind()).with_context(what)?;
        writeln!(lock, "{}", std::process::id()).with_context(what)?;
        fs::write(path.join("README"), README).with_context(what)?;
        Ok(Self { path: path.to_owned(), _lock: lock })
    }

    /// The directory itself.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// As [`write_private`], in this directory.
    ///
    /// # Errors
    /// Names the file.
    pub fn write_private(&self, name: &str, content: &str) -> anyhow::Result<PathBuf> {
        write_private(&self.path, name, content)
    }

    /// Reads a file that may not be there.
    pub fn read(&self, name: &str) -> Option<String> {
        fs::read_to_string(self.path.join(name)).ok()
    }
}

/// Writes a file of a directory whole or not at all, readable by its owner alone.
///
/// # Errors
/// Names the file.
pub fn write_private(directory: &Path, name: &str, content: &str) -> anyhow::Result<PathBuf> {
    let (path, draft) = (directory.join(name), directory.join(format!("{name}.new")));
    let write = || {
        // A draft left by a crash may have been made with other permissions.
        let _ = fs::remove_file(&draft);
        let mut file = OpenOptions::new().create_new(true).write(true).mode(0o600).open(&draft)?;
        file.write_all(content.as_bytes())?;
        file.sync_all()?;
        fs::rename(&draft, &path)
    };
    write().with_context(|| format!("write {}", path.display()))?;
    Ok(path)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_second_coracle_is_refused_and_told_who_holds_the_directory() {
        let dir = tempfile::tempdir().unwrap();
        let first = DataDir::open(dir.path()).unwrap();
        let error = DataDir::open(dir.path()).unwrap_err().to_string();
        assert!(error.contains(&format!("process {}", std::process::id())), "{error}");
        drop(first);
        DataDir::open(dir.path()).unwrap();
    }

    #[test]
    fn private_files_are_replaced_whole_and_readable_by_their_owner_alone() {
        let dir = tempfile::tempdir().unwrap();
        let data = DataDir::open(dir.path()).unwrap();
        for text in ["a", "b"] {
            let path = data.write_private("kubeconfig", text).unwrap();
            assert_eq!(fs::metadata(path).unwrap().permissions().mode() & 0o777, 0o600);
            assert_eq!(data.read("kubeconfig").as_deref(), Some(text));
        }
    }
}
