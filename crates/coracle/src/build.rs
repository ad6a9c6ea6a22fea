//! `coracle build`: a kustomization, printed as `kubectl kustomize` prints it.

use std::{
    io::{ErrorKind, Write},
    path::Path,
};

use anyhow::Context;

/// Prints the objects of the kustomization in a folder.
///
/// # Errors
/// Names the file that is wrong, its line or field, and what to do.
pub fn run(folder: &Path) -> anyhow::Result<()> {
    let objects = manifests::build(folder)?;
    match std::io::stdout().lock().write_all(manifests::to_yaml(&objects).as_bytes()) {
        // Whoever reads it has seen enough, as `head` does.
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
        result => result.context("write to standard output"),
    }
}
