//! The outer half of starting a confined container: its first process is forked into a PID namespace of its own and does the rest
//! ([`super::init`]); what it says comes back through a pipe.

use std::{
    fs::{self, File},
    io::{self, BufRead, BufReader, PipeReader},
    path::{Path, PathBuf},
};

use nix::{
    sched::{CloneFlags, setns, unshare},
    unistd::{ForkResult, fork},
};
use serde::{Deserialize, Serialize};

use super::{Failure, failure::Step, init, record::Confinement, run::Begun};
use crate::runtime::ContainerSpec;

/// What a container's first process says, a line each.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) enum Word {
    /// The program has been executed.
    Ready,
    /// It could not be.
    Failed(Failure),
    /// The program has ended: its code, and the signal that ended it.
    Ended(i32, Option<i32>),
}

/// The reading end of what a container's first process says.
pub(super) struct News(BufReader<PipeReader>);

impl News {
    fn next(&mut self) -> io::Result<Option<Word>> {
        let mut line = String::new();
        if self.0.read_line(&mut line)? == 0 {
            return Ok(None);
        }
        serde_json::from_str(&line).map(Some).map_err(io::Error::other)
    }

    /// How the program ended, if the first process lived to say so.
    pub fn ending(&mut self) -> Option<(i32, Option<i32>)> {
        match self.next() {
            Ok(Some(Word::Ended(code, signal))) => Some((code, signal)),
            _ => None,
        }
    }
}

/// Starts the container; it is running its program when this returns.
pub(super) fn start(spec: &ContainerSpec, confinement: &Confinement, dir: &Path) -> Result<Begun, Failure> {
    for group in &confinement.shim_cgroups {
        join(group)?;
    }
    let pipe = || io::pipe().step(|| "make a pipe".to_owned());
    let ((stdout, out), (stderr, err), (news, word)) = (pipe()?, pipe()?, pipe()?);
    let own = File::open("/proc/self/ns/pid").step(|| "open the PID namespace".to_owned())?;
    unshare(CloneFlags::CLONE_NEWPID).step(|| "make a PID namespace".to_owned())?;
    // SAFETY: this process has one thread, so the child may do whatever the parent could.
    let forked = unsafe { fork() }.step(|| "fork the container's first process".to_owned())?;
    let child = match forked {
        ForkResult::Child => {
            drop((stdout, stderr, news, own));
            init::main(spec, confinement, dir, out, err, word)
        }
        ForkResult::Parent { child } => child,
    };
    drop((out, err, word));
    // Threads can only be started by a process whose children stay in its own PID namespace.
    setns(own, CloneFlags::CLONE_NEWPID).step(|| "return to the PID namespace".to_owned())?;
    let mut news = News(BufReader::new(news));
    match news.next() {
        Ok(Some(Word::Ready)) => {
            Ok(Begun { pid: child, stdout: Box::new(stdout), stderr: Box::new(stderr), news: Some(news) })
        }
        Ok(Some(Word::Failed(failure))) => Err(failure),
        Ok(_) => Err(Failure::from(io::Error::other("the container's first process ended before its program began"))),
        Err(error) => Err(Failure::from(error)),
    }
}

/// Moves this process into a cgroup.
pub(super) fn join(group: &Path) -> Result<(), Failure> {
    fs::write(group.join("cgroup.procs"), "0").step(|| format!("join the cgroup {}", group.display()))
}

/// Whether the kernel ended a process of the cgroup because of its memory limit.
pub(super) fn was_out_of_memory(cgroups: &[PathBuf]) -> bool {
    // The file of version 1 and that of version 2; both have a line `oom_kill <count>`.
    let files = cgroups.iter().flat_map(|dir| ["memory.oom_control", "memory.events"].map(|file| dir.join(file)));
    let texts = files.filter_map(|file| fs::read_to_string(file).ok());
    texts
        .into_iter()
        .any(|text| text.lines().filter_map(|line| line.strip_prefix("oom_kill ")).any(|count| count.trim() != "0"))
}
