//! What a shim and the node tell each other: files in the directory of the run, each written whole or not at all.

use std::{
    fs, io,
    os::fd::{FromRawFd, OwnedFd},
    path::{Path, PathBuf},
};

use jiff::Timestamp;
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use super::Failure;

/// The [`crate::runtime::ContainerSpec`], written by the node.
pub(crate) const SPEC: &str = "spec.json";
/// The [`Confinement`], written by the node; a run without one is a plain process.
pub(crate) const CONFINEMENT: &str = "confinement.json";
/// The [`Started`], written by the shim.
pub(crate) const STARTED: &str = "started.json";
/// The [`crate::runtime::Exit`], written by the shim.
pub(crate) const EXIT: &str = "exit.json";

/// What a container is confined to, apart from what its specification says.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Confinement {
    /// The directory of its pod, with the pod's namespaces.
    pub pod: PathBuf,
    /// Its cgroup's directory in every hierarchy.
    pub cgroups: Vec<PathBuf>,
    /// The cgroup's directories of the shim itself, which has no limits.
    pub shim_cgroups: Vec<PathBuf>,
    /// What of the machine's root it must not see.
    pub hidden: PathBuf,
    /// Files of its own: absolute path and contents.
    pub files: Vec<(PathBuf, String)>,
    /// The first process of the container whose processes it shares.
    #[serde(default)]
    pub processes_of: Option<Process>,
}

/// A process that can be told from a later one with the same number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Process {
    pub pid: i32,
    /// When it started, in clock ticks since the machine did.
    pub ticks: u64,
}

impl Process {
    /// The process that has this number now, unless it has ended and only waits to be reaped.
    pub fn now(pid: i32) -> Option<Self> {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        // The command's name, in parentheses, may hold anything; the first field behind it is the state, the 20th the start time.
        let mut fields = stat.rsplit_once(')')?.1.split_whitespace();
        let ended = matches!(fields.next()?, "Z" | "X");
        let ticks = fields.nth(18)?.parse().ok()?;
        (!ended).then_some(Self { pid, ticks })
    }

    /// Whether it still exists.
    pub fn is_there(&self) -> bool {
        Self::now(self.pid) == Some(*self)
    }

    /// A descriptor of the process, which becomes readable when it ends; `None` if it has ended already.
    pub fn open(&self) -> io::Result<Option<OwnedFd>> {
        if !self.is_there() {
            return Ok(None);
        }
        // SAFETY: pidfd_open takes two plain numbers and returns a new descriptor or -1.
        let fd = unsafe { libc::syscall(libc::SYS_pidfd_open, self.pid, libc::PIDFD_NONBLOCK) };
        let fd = i32::try_from(fd).unwrap_or(-1);
        if fd < 0 {
            let error = io::Error::last_os_error();
            return if error.raw_os_error() == Some(libc::ESRCH) { Ok(None) } else { Err(error) };
        }
        // SAFETY: the descriptor was just made, is valid, and nobody else owns it.
        let fd = unsafe { OwnedFd::from_raw_fd(fd) };
        // The number may have gone to another process before the descriptor was made.
        Ok(self.is_there().then_some(fd))
    }
}

/// A run that has begun.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Started {
    pub shim: Process,
    /// The program; of a confined container its first process, which passes signals on to the program.
    pub program: Process,
    pub at: Timestamp,
}

/// What a shim says on its standard output, once.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) enum Report {
    Started(Started),
    Failed(Failure),
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
