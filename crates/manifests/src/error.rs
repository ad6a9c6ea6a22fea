//! Why manifests could not be read or built: always with the file.

use std::path::{Path, PathBuf};

/// Why a manifest could not be read, or a kustomization not built.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file itself.
    #[error("read {}: {reason}", path.display())]
    Read {
        /// Which file.
        path: PathBuf,
        /// What the system said.
        reason: String,
    },
    /// Its text, or an object in it.
    #[error("{}:{line}: {reason}", path.display())]
    Text {
        /// Which file.
        path: PathBuf,
        /// The line, counted from 1.
        line: u64,
        /// What is wrong with it.
        reason: String,
    },
    /// A kustomization asks for something that is wrong or not done here.
    #[error("{}: {field}: {reason}", path.display())]
    Kustomization {
        /// The kustomization file.
        path: PathBuf,
        /// Its field.
        field: &'static str,
        /// What is wrong, on which object, and what to do.
        reason: String,
    },
}

impl Error {
    pub(crate) fn read(path: &Path, reason: impl ToString) -> Self {
        Self::Read { path: path.to_owned(), reason: reason.to_string() }
    }

    pub(crate) fn text(path: &Path, line: u64, reason: impl Into<String>) -> Self {
        Self::Text { path: path.to_owned(), line, reason: reason.into() }
    }

    pub(crate) fn kustomization(path: &Path, field: &'static str, reason: impl Into<String>) -> Self {
        Self::Kustomization { path: path.to_owned(), field, reason: reason.into() }
    }
}
