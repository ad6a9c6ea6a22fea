//! The outer half of starting a confined container: its first process is forked into a PID namespace of its own and does the rest
//! ([`super::init`]); what it says comes back through a pipe.

use std::{
    fs::{self, File},
    io::{self, BufRead, BufReader, PipeReader, PipeWriter},
    os::{fd::OwnedFd, unix::net::UnixStream},
    path::{Path, PathBuf},
    time::Duration,
};

use nix::{
    sched::{CloneFlags, setns, unshare},
    sys::signal::{Signal, kill},
    unistd::{ForkResult, Pid, fork},
};
use serde::{Deserialize, Serialize};

use super::{
    Failure, console,
    failure::Step,
    init::{self, Theirs},
    record::Confinement,
    run::Begun,
};
use crate::runtime::{ContainerSpec, Stdio};

/// How often, and how far apart, what is left in a cgroup is killed: it may be starting further processes.
const ROUNDS: u32 = 100;
const MOMENT: Duration = Duration::from_millis(5);

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
    let (ours, theirs) = streams(spec.stdio).step(|| "make the container's streams".to_owned())?;
    let (news, word) = io::pipe().step(|| "make a pipe".to_owned())?;
    let own = File::open("/proc/self/ns/pid").step(|| "open the PID namespace".to_owned())?;
    match &confinement.processes_of {
        Some(other) => {
            let other = other.open().step(|| "find the target container".to_owned())?;
            let other = other.ok_or(io::ErrorKind::NotFound).step(|| "find the target container".to_owned())?;
            setns(other, CloneFlags::CLONE_NEWPID).step(|| "enter the target's PID namespace".to_owned())?;
        }
        None => unshare(CloneFlags::CLONE_NEWPID).step(|| "make a PID namespace".to_owned())?,
    }
    // SAFETY: this process has one thread, so the child may do whatever the parent could.
    let forked = unsafe { fork() }.step(|| "fork the container's first process".to_owned())?;
    let child = match forked {
        ForkResult::Child => {
            drop((ours, news, own));
            init::main(spec, confinement, dir, theirs, word)
        }
        ForkResult::Parent { child } => child,
    };
    drop((theirs, word));
    // Threads can only be started by a process whose children stay in its own PID namespace.
    setns(own, CloneFlags::CLONE_NEWPID).step(|| "return to the PID namespace".to_owned())?;
    let mut news = News(BufReader::new(news));
    match news.next() {
        Ok(Some(Word::Ready)) => begun(child, ours, news),
        Ok(Some(Word::Failed(failure))) => Err(failure),
        Ok(_) => Err(Failure::from(io::Error::other("the container's first process ended before its program began"))),
        Err(error) => Err(Failure::from(error)),
    }
}

/// The shim's ends of the container's streams.
enum Ours {
    Pipes {
        stdin: Option<PipeWriter>,
        stdout: PipeReader,
        stderr: PipeReader,
    },
    /// Where the container's first process hands the terminal over, which it makes in the container.
    Terminal(UnixStream),
}

fn streams(stdio: Stdio) -> io::Result<(Ours, Theirs)> {
    if stdio.tty {
        let (ours, theirs) = UnixStream::pair()?;
        return Ok((Ours::Terminal(ours), Theirs::Terminal(theirs)));
    }
    let ((stdout, out), (stderr, err)) = (io::pipe()?, io::pipe()?);
    let (input, stdin) = if stdio.stdin { io::pipe().map(|(r, w)| (Some(r), Some(w)))? } else { (None, None) };
    Ok((Ours::Pipes { stdin, stdout, stderr }, Theirs::Pipes { stdin: input, stdout: out, stderr: err }))
}

/// What the shim has of a container whose program runs.
fn begun(pid: Pid, streams: Ours, news: News) -> Result<Begun, Failure> {
    let news = Some(news);
    match streams {
        Ours::Pipes { stdin, stdout, stderr } => {
            let stdin = stdin.map(|stdin| File::from(OwnedFd::from(stdin)));
            Ok(Begun { pid, stdin, terminal: None, stdout: Box::new(stdout), stderr: Some(Box::new(stderr)), news })
        }
        Ours::Terminal(socket) => {
            let terminal = console::taken(&socket).step(|| "take the container's terminal".to_owned())?;
            Begun::with_terminal(pid, terminal, news)
        }
    }
}

/// Ends whatever is in a cgroup: what a container has left behind among another one's processes.
pub(super) fn end_all(cgroups: &[PathBuf]) {
    for _ in 0..ROUNDS {
        let list = cgroups.first().and_then(|group| fs::read_to_string(group.join("cgroup.procs")).ok());
        let pids: Vec<i32> = list.unwrap_or_default().lines().filter_map(|pid| pid.parse().ok()).collect();
        if pids.is_empty() {
            return;
        }
        for pid in pids {
            // It may have ended by itself, which is as good.
            let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
        }
        std::thread::park_timeout(MOMENT);
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
