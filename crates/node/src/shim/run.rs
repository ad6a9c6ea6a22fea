//! The life of one shim: start the program, copy its output, reap everything, write down how it ended.

use std::{
    io::{self, Read, Write},
    os::unix::process::CommandExt,
    path::Path,
    process::{Command, Stdio},
    sync::Arc,
    thread,
};

use nix::{
    errno::Errno,
    sys::{
        signal::{Signal, kill},
        wait::{WaitStatus, waitpid},
    },
    unistd::{Pid, setsid},
};

use super::{
    Failure, confined,
    log::Log,
    record::{self, Confinement, Process, Report, Started},
};
use crate::runtime::{ContainerSpec, Exit};

/// A program that has been executed.
pub(super) struct Begun {
    pub pid: Pid,
    pub stdout: Box<dyn Read + Send>,
    pub stderr: Box<dyn Read + Send>,
    /// What a confined container's first process says about the program's end.
    pub news: Option<confined::News>,
}

pub(super) fn run(dir: &Path) -> io::Result<()> {
    // A session of its own: a signal to Coracle's terminal or process group does not reach the container.
    setsid()?;
    nix::sys::prctl::set_child_subreaper(true)?;
    let spec: ContainerSpec = record::read(dir, record::SPEC)?.ok_or(io::ErrorKind::NotFound)?;
    let confinement: Option<Confinement> = record::read(dir, record::CONFINEMENT)?;
    let begun = match &confinement {
        Some(confinement) => confined::start(&spec, confinement, dir),
        None => plain(&spec),
    };
    let mut begun = match begun {
        Ok(begun) => begun,
        Err(failure) => return report(&Report::Failed(failure)),
    };
    let log = match Log::open(&spec.log_path, spec.log_max_bytes, spec.log_max_files) {
        Ok(log) => Arc::new(log),
        Err(error) => {
            let step = Some(format!("open the log {}", spec.log_path.display()));
            kill(begun.pid, Signal::SIGKILL)?;
            return report(&Report::Failed(Failure { step, ..Failure::of_program(&error) }));
        }
    };
    let process = |pid: Pid| Process::now(pid.as_raw()).unwrap_or(Process { pid: pid.as_raw(), ticks: 0 });
    let started = Started { shim: process(Pid::this()), program: process(begun.pid), at: jiff::Timestamp::now() };
    record::write(dir, record::STARTED, &started)?;
    let copies = [copy(log.clone(), begun.stdout, "stdout"), copy(log, begun.stderr, "stderr")];
    report(&Report::Started(started))?;
    let status = reap(begun.pid)?;
    for copy in copies {
        // A full disk ends the copy; the container's end is written down all the same.
        let _ = copy.join();
    }
    let ending = begun.news.as_mut().and_then(confined::News::ending);
    let (code, signal) = ending.unwrap_or_else(|| code_and_signal(status));
    let oom_killed = code != 0 && confinement.is_some_and(|c| confined::was_out_of_memory(&c.cgroups));
    record::write(dir, record::EXIT, &Exit { code, signal, oom_killed, finished_at: jiff::Timestamp::now() })
}

/// Starts the program as a plain process in a group of its own.
fn plain(spec: &ContainerSpec) -> Result<Begun, Failure> {
    let mut command = Command::new(spec.argv.first().map_or("", String::as_str));
    command
        .args(spec.argv.iter().skip(1))
        .env_clear()
        .envs(spec.env.iter().map(|(name, value)| (name, value)))
        .current_dir(&spec.workdir)
        .process_group(0)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = command.spawn().map_err(|error| Failure::of_program(&error))?;
    let pid = Pid::from_raw(i32::try_from(child.id()).map_err(io::Error::other)?);
    match (child.stdout.take(), child.stderr.take()) {
        (Some(stdout), Some(stderr)) => {
            Ok(Begun { pid, stdout: Box::new(stdout), stderr: Box::new(stderr), news: None })
        }
        _ => Err(Failure::from(io::Error::other("the program has no output"))),
    }
}

fn copy(log: Arc<Log>, from: Box<dyn Read + Send>, stream: &'static str) -> thread::JoinHandle<io::Result<()>> {
    thread::spawn(move || log.copy(from, stream))
}

fn report(report: &Report) -> io::Result<()> {
    let mut out = io::stdout().lock();
    // The node may have been killed meanwhile: then it finds the record at its next start.
    let _ = serde_json::to_writer(&mut out, report).map_err(io::Error::other).and_then(|()| writeln!(out));
    Ok(())
}

/// Waits for the program, then ends and reaps whatever it left behind.
fn reap(program: Pid) -> io::Result<WaitStatus> {
    let mut end = None;
    loop {
        match waitpid(None, None) {
            Ok(status) if status.pid() == Some(program) => {
                end = Some(status);
                // Its process group, and then whoever left the group and became the shim's own child.
                let _ = kill(Pid::from_raw(-program.as_raw()), Signal::SIGKILL);
                kill_orphans();
            }
            Ok(_) if end.is_some() => kill_orphans(),
            Ok(_) | Err(Errno::EINTR) => {}
            Err(Errno::ECHILD) => break,
            Err(error) => return Err(error.into()),
        }
    }
    end.ok_or_else(|| io::Error::other("the program's end was not seen"))
}

/// The exit code as containers have it, and the signal that ended the process, if one did.
pub(super) fn code_and_signal(status: WaitStatus) -> (i32, Option<i32>) {
    match status {
        WaitStatus::Exited(_, code) => (code, None),
        WaitStatus::Signaled(_, signal, _) => (128 + signal as i32, Some(signal as i32)),
        _ => (255, None),
    }
}

/// Ends the shim's children: what the program left behind.
fn kill_orphans() {
    let list = std::fs::read_to_string(format!("/proc/self/task/{}/children", Pid::this())).unwrap_or_default();
    for orphan in list.split_whitespace().filter_map(|pid| pid.parse().ok()).map(Pid::from_raw) {
        // It may have ended by itself, which is as good.
        let _ = kill(orphan, Signal::SIGKILL);
    }
}
