//! The life of one shim: start the program, copy its output, reap everything, write down how it ended.

use std::{
    collections::BTreeMap,
    fs::File,
    io::{self, Read, Write},
    os::{fd::OwnedFd, unix::process::CommandExt},
    path::Path,
    process::{Command, Stdio},
    sync::Arc,
    thread,
};

use nix::{
    errno::Errno,
    sys::{
        prctl,
        signal::{Signal, kill},
        wait::{WaitStatus, waitpid},
    },
    unistd::{Pid, geteuid, setsid},
};
use objects::session;

use super::{
    Failure,
    attach::{Hub, Shown},
    confined,
    console::{self, Terminal},
    init::with_terminal,
    log::Log,
    record::{self, Confinement, Process, Report, Started},
};
use crate::runtime::{ContainerSpec, Exit};

/// A program that has been executed.
pub(super) struct Begun {
    pub pid: Pid,
    /// Its input, if it has one.
    pub stdin: Option<File>,
    /// Its terminal, if it has one.
    pub terminal: Option<File>,
    /// Its output, or what its terminal shows.
    pub stdout: Box<dyn Read + Send>,
    /// Nothing where it has a terminal.
    pub stderr: Option<Box<dyn Read + Send>>,
    /// What a confined container's first process says about the program's end.
    pub news: Option<confined::News>,
}

impl Begun {
    /// A program whose streams are all one terminal.
    pub fn with_terminal(pid: Pid, terminal: OwnedFd, news: Option<confined::News>) -> Result<Self, Failure> {
        let terminal = File::from(terminal);
        let (stdin, stdout) = (terminal.try_clone()?, Terminal(terminal.try_clone()?));
        Ok(Self { pid, stdin: Some(stdin), terminal: Some(terminal), stdout: Box::new(stdout), stderr: None, news })
    }
}

pub(super) fn run(dir: &Path) -> io::Result<()> {
    // A session of its own: a signal to Coracle's terminal or process group does not reach the container.
    setsid()?;
    prctl::set_child_subreaper(true)?;
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
    let stdin = begun.stdin.take().filter(|_| spec.stdio.stdin);
    let hub = Arc::new(Hub::new(spec.stdio, stdin, begun.terminal.take()));
    if let Err(error) = hub.listen(dir) {
        let step = Some("make the socket that sessions come to".to_owned());
        kill(begun.pid, Signal::SIGKILL)?;
        return report(&Report::Failed(Failure { step, ..Failure::of_program(&error) }));
    }
    let outputs = [(session::STDOUT, "stdout", Some(begun.stdout)), (session::STDERR, "stderr", begun.stderr)];
    let outputs = outputs.into_iter().filter_map(|(channel, name, from)| Some((channel, name, from?)));
    let copies: Vec<_> = outputs
        .map(|(channel, name, from)| copy(log.clone(), Shown { from, channel, hub: hub.clone() }, name))
        .collect();
    report(&Report::Started(started))?;
    let status = reap(begun.pid)?;
    let shared = confinement.as_ref().filter(|confinement| confinement.processes_of.is_some());
    if let Some(confinement) = shared {
        confined::end_all(&confinement.cgroups);
    }
    for copy in copies {
        // What cannot be read ends the copy; the container's end is written down all the same.
        let _ = copy.join();
    }
    let ending = begun.news.as_mut().and_then(confined::News::ending);
    let (code, signal) = ending.unwrap_or_else(|| code_and_signal(status));
    hub.end();
    let oom_killed = code != 0 && confinement.is_some_and(|c| confined::was_out_of_memory(&c.cgroups));
    record::write(dir, record::EXIT, &Exit { code, signal, oom_killed, finished_at: jiff::Timestamp::now() })
}

/// The environment of a container's programs; those that have a terminal are told which kind it is.
pub(super) fn environment(spec: &ContainerSpec, terminal: bool) -> BTreeMap<&str, &str> {
    let kind = terminal.then_some(("TERM", "xterm"));
    kind.into_iter().chain(spec.env.iter().map(|(name, value)| (name.as_str(), value.as_str()))).collect()
}

/// The command that runs `argv` as a plain process in a session of its own, with its terminal, if it has one, as its standard input.
/// If it is `tied`, it ends when the process that starts it does.
pub(super) fn plain_command(spec: &ContainerSpec, argv: &[String], terminal: bool, tied: bool) -> Command {
    let mut command = Command::new(argv.first().map_or("", String::as_str));
    command.args(argv.iter().skip(1)).env_clear().envs(environment(spec, terminal));
    command.current_dir(&spec.workdir);
    let prepare = move || {
        setsid()?;
        if terminal {
            console::take()?;
        }
        if tied { Ok(prctl::set_pdeathsig(Signal::SIGKILL)?) } else { Ok(()) }
    };
    // SAFETY: these are system calls alone, which touch no memory that another thread could have left locked.
    unsafe { command.pre_exec(prepare) };
    command
}

/// Starts the program as a plain process.
fn plain(spec: &ContainerSpec) -> Result<Begun, Failure> {
    let mut command = plain_command(spec, &spec.argv, spec.stdio.tty, false);
    let terminal = spec.stdio.tty.then(|| console::terminal(geteuid().as_raw())).transpose()?;
    let ours = match terminal {
        Some((ours, theirs)) => {
            with_terminal(&mut command, theirs)?;
            Some(ours)
        }
        None => {
            let stdin = if spec.stdio.stdin { Stdio::piped() } else { Stdio::null() };
            command.stdin(stdin).stdout(Stdio::piped()).stderr(Stdio::piped());
            None
        }
    };
    let mut child = command.spawn().map_err(|error| Failure::of_program(&error))?;
    let pid = Pid::from_raw(i32::try_from(child.id()).map_err(io::Error::other)?);
    if let Some(ours) = ours {
        return Begun::with_terminal(pid, ours, None);
    }
    match (child.stdout.take(), child.stderr.take()) {
        (Some(stdout), Some(stderr)) => {
            let stdin = child.stdin.take().map(|stdin| File::from(OwnedFd::from(stdin)));
            Ok(Begun {
                pid,
                stdin,
                terminal: None,
                stdout: Box::new(stdout),
                stderr: Some(Box::new(stderr)),
                news: None,
            })
        }
        _ => Err(Failure::from(io::Error::other("the program has no output"))),
    }
}

fn copy(log: Arc<Log>, from: impl Read + Send + 'static, stream: &'static str) -> thread::JoinHandle<io::Result<()>> {
    thread::spawn(move || log.copy(from, stream))
}

fn report(report: &Report) -> io::Result<()> {
    let mut out = io::stdout().lock();
    // The node may have been killed meanwhile: then it finds the record at its next start.
    let _ = serde_json::to_writer(&mut out, report).map_err(io::Error::other).and_then(|()| writeln!(out));
    Ok(())
}

/// Waits for the program, then ends and reaps whatever it left behind.
pub(super) fn reap(program: Pid) -> io::Result<WaitStatus> {
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
