//! The first process of a confined container: it enters the pod's namespaces, makes the root file system, starts the program,
//! then reaps whatever is orphaned in the container and passes signals on. When the program ends it ends too, and the kernel ends
//! everything else in the PID namespace.
//!
//! It is not the program itself because a PID namespace's first process has no default signal actions: a program that installs no
//! handler would ignore SIGTERM and be killed only after its grace period.

use std::{
    fs::File,
    io::{PipeReader, PipeWriter, Write},
    os::{
        fd::{AsFd, OwnedFd},
        unix::net::UnixStream,
    },
    path::Path,
    process::{Command, Stdio},
};

use nix::{
    errno::Errno,
    sched::{CloneFlags, setns},
    sys::{
        prctl,
        signal::{SigSet, Signal, kill},
        wait::{WaitPidFlag, WaitStatus, waitpid},
    },
    unistd::{Pid, dup2_stderr, dup2_stdin, dup2_stdout, setpgid},
};

use super::{
    Failure, IPC, NET, UTS,
    confined::{Word, join},
    console,
    credentials::{self, Latecomer},
    failure::Step,
    record::Confinement,
    rootfs,
    run::code_and_signal,
};
use crate::runtime::ContainerSpec;

/// The program's ends of its streams.
pub(super) enum Theirs {
    Pipes {
        stdin: Option<PipeReader>,
        stdout: PipeWriter,
        stderr: PipeWriter,
    },
    /// Where the other side of its terminal is handed over.
    Terminal(UnixStream),
}

/// The whole life of the process.
#[expect(clippy::disallowed_methods, reason = "a forked process that must not return into the shim's code")]
pub(super) fn main(
    spec: &ContainerSpec,
    confinement: &Confinement,
    dir: &Path,
    streams: Theirs,
    mut word: PipeWriter,
) -> ! {
    let program = enter(spec, confinement, dir).and_then(|program| {
        // Among another container's processes the kernel does not end it with this one.
        let tied = confinement.processes_of.is_some();
        let late = Latecomer { tied, terminal: spec.stdio.tty, program, ..Latecomer::default() };
        let mut command = credentials::command(spec, &spec.argv, late)?;
        match streams {
            Theirs::Pipes { stdin, stdout, stderr } => {
                command.stdin(stdin.map_or_else(Stdio::null, Stdio::from)).stdout(stdout).stderr(stderr);
            }
            Theirs::Terminal(shim) => {
                let (outside, inside) = console::terminal(spec.security.uid.unwrap_or(0))?;
                console::hand_over(&shim, &outside).step(|| "hand the terminal over".to_owned())?;
                with_terminal(&mut command, inside)?;
            }
        }
        command.spawn().map_err(|error| Failure::of_program(&error))
    });
    let said = match &program {
        Ok(_) => say(&mut word, &Word::Ready),
        Err(failure) => say(&mut word, &Word::Failed(failure.clone())),
    };
    if let (Ok(program), Ok(())) = (program, said)
        && let Ok(pid) = i32::try_from(program.id())
    {
        let program = Pid::from_raw(pid);
        let (code, signal) = code_and_signal(watch(program, |signal| kill(program, signal)));
        // The shim may have been killed: then nobody asks any more.
        let _ = say(&mut word, &Word::Ended(code, signal));
    }
    std::process::exit(0)
}

/// Gives a program a terminal.
pub(super) fn with_terminal(command: &mut Command, terminal: OwnedFd) -> Result<(), Failure> {
    command.stdin(terminal.try_clone()?).stdout(terminal.try_clone()?).stderr(terminal);
    Ok(())
}

fn say(to: &mut PipeWriter, word: &Word) -> std::io::Result<()> {
    let mut line = serde_json::to_vec(word)?;
    line.push(b'\n');
    to.write_all(&line)
}

fn enter(spec: &ContainerSpec, confinement: &Confinement, dir: &Path) -> Result<Option<File>, Failure> {
    // Without the shim there is nobody to write down the end or to empty the pipes.
    prctl::set_pdeathsig(Signal::SIGKILL).step(|| "tie the container to its shim".to_owned())?;
    prctl::set_dumpable(false).step(|| "close the first process to inspection".to_owned())?;
    setpgid(Pid::from_raw(0), Pid::from_raw(0)).step(|| "make a process group".to_owned())?;
    SigSet::all().thread_block().step(|| "block signals".to_owned())?;
    let null = File::options().read(true).write(true).open("/dev/null").step(|| "open /dev/null".to_owned())?;
    let silent = dup2_stdin(&null).and_then(|()| dup2_stdout(&null)).and_then(|()| dup2_stderr(&null));
    silent.step(|| "close the standard streams".to_owned())?;
    // The kernel must pick the program, not the process that reports its end. It matters only under a memory limit.
    let _ = std::fs::write("/proc/self/oom_score_adj", "-1000");
    for group in &confinement.cgroups {
        join(group)?;
    }
    let namespaces =
        [(NET, CloneFlags::CLONE_NEWNET), (IPC, CloneFlags::CLONE_NEWIPC), (UTS, CloneFlags::CLONE_NEWUTS)];
    for (name, kind) in namespaces {
        let path = confinement.pod.join(name);
        // A pod on the host's network has no network and UTS namespaces of its own.
        if path.exists() {
            let file = File::open(&path).step(|| format!("open {}", path.display()))?;
            setns(file.as_fd(), kind).step(|| format!("enter the pod's {name} namespace"))?;
        }
    }
    rootfs::enter(spec, confinement, dir)
}

/// Reaps orphans and gives signals to `pass` until the program has ended. All signals must be blocked.
pub(super) fn watch(program: Pid, pass: impl Fn(Signal) -> nix::Result<()>) -> WaitStatus {
    let signals = SigSet::all();
    loop {
        loop {
            match waitpid(None, Some(WaitPidFlag::WNOHANG)) {
                Ok(WaitStatus::StillAlive) | Err(Errno::ECHILD) => break,
                Ok(status) if status.pid() == Some(program) => return status,
                Ok(_) | Err(_) => {}
            }
        }
        match signals.wait() {
            Ok(Signal::SIGCHLD) | Err(_) => {}
            Ok(signal) => {
                // It may have just ended, which the next round sees.
                let _ = pass(signal);
            }
        }
    }
}
