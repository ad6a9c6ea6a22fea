//! The life of one shim: start the program, copy its output, reap everything, write down how it ended.

use std::{
    io::{self, Write},
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
    log::Log,
    record::{self, Process, Report, Started},
};
use crate::runtime::{ContainerSpec, Exit};

pub(super) fn run(dir: &Path) -> io::Result<()> {
    // A session of its own: a signal to Coracle's terminal or process group does not reach the container.
    setsid()?;
    nix::sys::prctl::set_child_subreaper(true)?;
    let spec: ContainerSpec = record::read(dir, record::SPEC)?.ok_or(io::ErrorKind::NotFound)?;
    let log = Arc::new(Log::open(&spec.log_path, spec.log_max_bytes, spec.log_max_files)?);
    let mut child = match command(&spec).spawn() {
        Ok(child) => child,
        Err(error) => return report(&Report::Failed(error.raw_os_error().unwrap_or(0))),
    };
    let pid = Pid::from_raw(i32::try_from(child.id()).map_err(io::Error::other)?);
    let process = |pid: Pid| Process::now(pid.as_raw()).unwrap_or(Process { pid: pid.as_raw(), ticks: 0 });
    let started = Started { shim: process(Pid::this()), program: process(pid), at: jiff::Timestamp::now() };
    record::write(dir, record::STARTED, &started)?;
    let copies = [
        child.stdout.take().map(|from| copy(log.clone(), from, "stdout")),
        child.stderr.take().map(|from| copy(log, from, "stderr")),
    ];
    report(&Report::Started(started))?;
    let exit = reap(pid)?;
    for copy in copies.into_iter().flatten() {
        // A full disk ends the copy; the container's end is written down all the same.
        let _ = copy.join();
    }
    record::write(dir, record::EXIT, &exit)
}

fn command(spec: &ContainerSpec) -> Command {
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
    command
}

fn copy(
    log: Arc<Log>,
    from: impl io::Read + Send + 'static,
    stream: &'static str,
) -> thread::JoinHandle<io::Result<()>> {
    thread::spawn(move || log.copy(from, stream))
}

fn report(report: &Report) -> io::Result<()> {
    let mut out = io::stdout().lock();
    // The node may have been killed meanwhile: then it finds the record at its next start.
    let _ = serde_json::to_writer(&mut out, report).map_err(io::Error::other).and_then(|()| writeln!(out));
    Ok(())
}

/// Waits for the program, then ends and reaps whatever it left behind.
fn reap(program: Pid) -> io::Result<Exit> {
    let mut exit = None;
    loop {
        match waitpid(None, None) {
            Ok(status) if status.pid() == Some(program) => {
                exit = Some(ending(status));
                // Its process group, and then whoever left the group and became the shim's own child.
                let _ = kill(Pid::from_raw(-program.as_raw()), Signal::SIGKILL);
                kill_orphans();
            }
            Ok(_) if exit.is_some() => kill_orphans(),
            Ok(_) | Err(Errno::EINTR) => {}
            Err(Errno::ECHILD) => break,
            Err(error) => return Err(error.into()),
        }
    }
    exit.ok_or_else(|| io::Error::other("the program's end was not seen"))
}

fn ending(status: WaitStatus) -> Exit {
    let (code, signal) = match status {
        WaitStatus::Exited(_, code) => (code, None),
        WaitStatus::Signaled(_, signal, _) => (128 + signal as i32, Some(signal as i32)),
        _ => (255, None),
    };
    Exit { code, signal, oom_killed: false, finished_at: jiff::Timestamp::now() }
}

/// Ends the shim's children: what the program left behind.
fn kill_orphans() {
    let list = std::fs::read_to_string(format!("/proc/self/task/{}/children", Pid::this())).unwrap_or_default();
    for orphan in list.split_whitespace().filter_map(|pid| pid.parse().ok()).map(Pid::from_raw) {
        // It may have ended by itself, which is as good.
        let _ = kill(orphan, Signal::SIGKILL);
    }
}
