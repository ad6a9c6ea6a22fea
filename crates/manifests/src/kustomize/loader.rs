//! Where a kustomization may read: files in or below its folder, and folders that do not contain it.

use std::{
    fs,
    path::{Component, Path, PathBuf},
};

use crate::{error::Error, load};

/// The names of a kustomization file.
const NAMES: [&str; 3] = ["kustomization.yaml", "kustomization.yml", "Kustomization"];

/// The folder of one kustomization.
#[derive(Clone, Debug)]
pub(super) struct Root {
    /// Without symbolic links.
    real: PathBuf,
    /// As the user would write it.
    shown: PathBuf,
    /// The kustomization file.
    file: PathBuf,
    /// The folders that led here, this one included.
    visited: Vec<PathBuf>,
}

impl Root {
    /// The folder that a build starts from.
    ///
    /// # Errors
    /// When it is no folder, or holds not exactly one kustomization file.
    pub(super) fn open(folder: &Path) -> Result<Self, Error> {
        let text = folder.to_string_lossy();
        if is_remote(&text) {
            return Err(Error::read(folder, remote_reason()));
        }
        Self::at(folder.to_owned(), &[])
    }

    fn at(shown: PathBuf, visited: &[PathBuf]) -> Result<Self, Error> {
        let real = fs::canonicalize(&shown).map_err(|error| Error::read(&shown, error))?;
        if !real.is_dir() {
            return Err(Error::read(&shown, "it is not a folder; a kustomization is named by its folder"));
        }
        if let Some(outer) = visited.iter().find(|visited| visited.starts_with(&real)) {
            let reason =
                format!("it contains {}, which led here: kustomizations must not go in circles", outer.display());
            return Err(Error::read(&shown, reason));
        }
        let mut files = NAMES.iter().map(|name| shown.join(name)).filter(|file| file.is_file());
        let file = match (files.next(), files.next()) {
            (Some(file), None) => file,
            (None, _) => {
                return Err(Error::read(&shown, format!("it holds no kustomization: none of {}", NAMES.join(", "))));
            }
            (Some(one), Some(other)) => {
                let reason = format!("{} and {}: there must be one kustomization file", one.display(), other.display());
                return Err(Error::read(&shown, reason));
            }
        };
        let mut visited = visited.to_vec();
        visited.push(real.clone());
        Ok(Self { real, shown, file, visited })
    }

    /// The kustomization file.
    pub(super) fn file(&self) -> &Path {
        &self.file
    }

    /// How many folders led here.
    pub(super) fn depth(&self) -> usize {
        self.visited.len()
    }

    /// Whether a path names a folder.
    pub(super) fn is_folder(&self, path: &str) -> bool {
        self.real.join(path).is_dir()
    }

    /// The kustomization in another folder.
    ///
    /// # Errors
    /// When it is remote, absolute, missing, or contains one of those that led here.
    pub(super) fn folder(&self, path: &str) -> Result<Self, Error> {
        let shown = self.show(path);
        if is_remote(path) && !self.is_folder(path) {
            return Err(Error::read(Path::new(path), remote_reason()));
        }
        if Path::new(path).is_absolute() {
            return Err(Error::read(&shown, "a folder must be named relative to its kustomization"));
        }
        Self::at(shown, &self.visited)
    }

    /// A file's path for messages.
    pub(super) fn show(&self, path: &str) -> PathBuf {
        tidy(&self.shown.join(path))
    }

    /// The content of a file in or below the folder.
    ///
    /// # Errors
    /// When it is remote, outside, missing, or no file.
    pub(super) fn read(&self, path: &str) -> Result<Vec<u8>, Error> {
        let shown = self.show(path);
        let joined = self.real.join(path);
        if is_remote(path) && !joined.exists() {
            return Err(Error::read(Path::new(path), remote_reason()));
        }
        let real = fs::canonicalize(&joined).map_err(|error| Error::read(&shown, error))?;
        if !real.is_file() {
            return Err(Error::read(&shown, "it is not a file"));
        }
        if !real.starts_with(&self.real) {
            let reason =
                format!("it is not in or below {}; a kustomization may not read elsewhere", self.shown.display());
            return Err(Error::read(&shown, reason));
        }
        load::read_bytes(&real).map_err(|error| match error {
            Error::Read { reason, .. } => Error::Read { path: shown, reason },
            other => other,
        })
    }

    /// As `Root::read`, for text.
    ///
    /// # Errors
    /// As `Root::read`, and when it is not UTF-8.
    pub(super) fn text(&self, path: &str) -> Result<String, Error> {
        String::from_utf8(self.read(path)?).map_err(|_| Error::read(&self.show(path), "it is not UTF-8 text"))
    }
}

fn remote_reason() -> &'static str {
    "remote resources are not fetched here: download it and name the local copy"
}

/// Addresses that kustomize would fetch: by HTTP or git.
fn is_remote(path: &str) -> bool {
    let first = path.split('/').next().unwrap_or_default();
    path.contains("://")
        || path.starts_with("git::")
        || path.contains("?ref=")
        || (path.contains('@') && first.contains(':'))
        || matches!(first, "github.com" | "gitlab.com" | "bitbucket.org" | "dev.azure.com" | "ssh.dev.azure.com")
}

/// Takes `.` and `dir/..` out of a path that is shown.
fn tidy(path: &Path) -> PathBuf {
    let mut out = PathBuf::new();
    for part in path.components() {
        match part {
            Component::CurDir => {}
            Component::ParentDir if matches!(out.components().next_back(), Some(Component::Normal(_))) => {
                out.pop();
            }
            other => out.push(other),
        }
    }
    if out.as_os_str().is_empty() { PathBuf::from(".") } else { out }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn remote_addresses_are_known() {
        for remote in [
            "https://example.com/a.yaml",
            "github.com/a/b//c?ref=v1",
            "git@github.com:a/b.git",
            "git::ssh://host/a",
            "ssh://git@host/a",
        ] {
            assert!(is_remote(remote), "{remote}");
        }
        for local in ["a.yaml", "../base", "a@b/c", "./github.com/x", "dir:x/y"] {
            assert!(!is_remote(local), "{local}");
        }
    }

    #[test]
    fn shown_paths_are_short() {
        assert_eq!(tidy(Path::new("a/b/../../c/./d")), Path::new("c/d"));
        assert_eq!(tidy(Path::new("../a")), Path::new("../a"));
        assert_eq!(tidy(Path::new("a/..")), Path::new("."));
    }
}
