//! What a shim and the node tell each other: files in the directory of the run, each written whole or not at all.

use std::{fs, io, path::Path};

use jiff::Timestamp;
use serde::{Deserialize, Serialize, de::DeserializeOwned};

/// The [`crate::runtime::ContainerSpec`], written by the node.
pub(crate) const SPEC: &str = "spec.json";
/// The [`Started`], written by the shim.
pub(crate) const STARTED: &str = "started.json";
/// The [`crate::runtime::Exit`], written by the shim.
pub(crate) const EXIT: &str = "exit.json";

/// A process that can be told from a later one with the same number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Process {
    pub pid: i32,
    /// When it started, in clock ticks since the machine did.
    pub ticks: u64,
}

impl Process {
    /// The process that has this number now.
    pub fn now(pid: i32) -> Option<Self> {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        // The command's name, in parentheses, may hold anything; the 20th field behind it is the start time.
        let ticks = stat.rsplit_once(')')?.1.split_whitespace().nth(19)?.parse().ok()?;
        Some(Self { pid, ticks })
    }

    /// Whether it still exists.
    pub fn is_there(&self) -> bool {
        Self::now(self.pid) == Some(*self)
    }
}

/// A run that has begun.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Started {
    pub shim: Process,
    pub program: Process,
    pub at: Timestamp,
}

/// What a shim says on its standard output, once.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) enum Report {
    Started(Started),
    /// The program could not be executed: the system's error number.
    Failed(i32),
}

/// Writes a record so that a reader sees all of it or none.
pub(crate) fn write<T: Serialize>(dir: &Path, name: &str, record: &T) -> io::Result<()> {
    let draft = dir.join(format!("{name}.new"));
    fs::write(&draft, serde_json::to_vec(record)?)?;
    fs::rename(draft, dir.join(name))
}

/// Reads a record; `None` if it has not been written.
pub(crate) fn read<T: DeserializeOwned>(dir: &Path, name: &str) -> io::Result<Option<T>> {
    match fs::read(dir.join(name)) {
        Ok(bytes) => Ok(Some(serde_json::from_slice(&bytes)?)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}
