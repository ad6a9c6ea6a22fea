//! Running a further program in a container: enter its namespaces if it has any, become its user, execute. Its streams are this
//! process's own (`exec`), or those of a session at the other end of a socket (`session`).

use std::{
    ffi::OsString,
    fs::File,
    io::{self, PipeReader, Read},
    os::{
        fd::{AsFd, OwnedFd},
        unix::net::UnixStream,
    },
    path::Path,
    process::{Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
};

use nix::{
    errno::Errno,
    poll::{PollFd, PollFlags, PollTimeout, poll},
    sched::{CloneFlags, setns, unshare},
    sys::signal::{SigSet, Signal, killpg},
    unistd::{Pid, geteuid, setsid},
};
use objects::session::{self as frames, Streams};

use super::{
    Failure,
    console::{self, Terminal},
    credentials::{self, Latecomer},
    failure::Step,
    init::{watch, with_terminal},
    layers, program,
    record::{self, Confinement, Started},
    run::{code_and_signal, plain_command, reap},
    session::{Frame, Outlet, PIECE, feed, read},
};
use crate::runtime::ContainerSpec;

/// The exit code for a program that is not there, as shells have it,
const NOT_FOUND: u8 = 127;
/// and for one that is there and cannot be executed.
const NOT_EXECUTED: u8 = 126;
/// How long what a program has left behind may stay silent before its output counts as over, in milliseconds.
const SILENCE: u16 = 500;

/// A container that has been entered.
struct Inside {
    spec: ContainerSpec,
    /// The files of its cgroups by which programs join; `None` for a plain process.
    groups: Option<Vec<File>>,
    /// The PID namespace that this process itself is in.
    outside: Option<File>,
    /// The image's own program, if that is to be run.
    program: Option<File>,
}

/// Enters the container whose files are in `dir`, to run `argv` there.
fn enter(dir: &Path, argv: &[String]) -> Result<Inside, Failure> {
    let missing = || Failure::from(io::Error::from(io::ErrorKind::NotFound));
    let spec: ContainerSpec = record::read(dir, record::SPEC)?.ok_or_else(missing)?;
    let started: Started = record::read(dir, record::STARTED)?.ok_or_else(missing)?;
    let process = started.program.open().step(|| "find the container's first process".to_owned())?;
    let process = process
        .ok_or_else(missing)
        .map_err(|e| Failure { step: Some("find the container's first process".to_owned()), ..e })?;
    let Some(confinement): Option<Confinement> = record::read(dir, record::CONFINEMENT)? else {
        return Ok(Inside { spec, groups: None, outside: None, program: None });
    };
    // Opened here because a container does not see the machine's cgroups; written by the program itself before it begins.
    let groups = confinement.cgroups.iter().map(|group| {
        let path = group.join("cgroup.procs");
        File::options().write(true).open(&path).step(|| format!("open {}", path.display()))
    });
    let groups = groups.collect::<Result<Vec<_>, _>>()?;
    let namespaces = CloneFlags::CLONE_NEWCGROUP
        | CloneFlags::CLONE_NEWIPC
        | CloneFlags::CLONE_NEWNET
        | CloneFlags::CLONE_NEWNS
        | CloneFlags::CLONE_NEWPID
        | CloneFlags::CLONE_NEWUTS;
    let outside = File::open("/proc/self/ns/pid").step(|| "open the PID namespace".to_owned())?;
    let mut program = None;
    if program::is_meant(&spec, argv) {
        unshare(CloneFlags::CLONE_NEWNS).step(|| "make a mount namespace".to_owned())?;
        layers::make_private()?;
        program = program::open(&spec, dir)?;
    }
    setns(process, namespaces).step(|| "enter the container".to_owned())?;
    Ok(Inside { spec, groups: Some(groups), outside: Some(outside), program })
}

impl Inside {
    /// The command that runs `argv` here; with a terminal, that is its standard input.
    fn command(&mut self, argv: &[String], terminal: bool) -> Result<Command, Failure> {
        let Some(groups) = self.groups.take() else { return Ok(plain_command(&self.spec, argv, terminal, true)) };
        SigSet::all().thread_block().step(|| "block signals".to_owned())?;
        let program = self.program.take();
        credentials::command(&self.spec, argv, Latecomer { groups, tied: true, terminal, program })
    }
}

fn words(argv: &[OsString]) -> Vec<String> {
    argv.iter().map(|word| word.to_string_lossy().into_owned()).collect()
}

fn pid_of(child: &std::process::Child) -> io::Result<Pid> {
    Ok(Pid::from_raw(i32::try_from(child.id()).map_err(io::Error::other)?))
}

/// Runs `argv` in the container whose files are in `dir`, with this process's output; gives its exit code.
pub(super) fn exec(dir: &Path, argv: &[OsString]) -> Result<u8, Failure> {
    let argv = words(argv);
    let mut command = enter(dir, &argv)?.command(&argv, false)?;
    let program = match command.stdin(Stdio::null()).spawn() {
        Ok(program) => pid_of(&program)?,
        Err(error) => {
            eprintln!("{}", not_executed(&argv, &error));
            return Ok(code_of(&error, &argv));
        }
    };
    // Whoever asked has waited long enough. The program is reaped here: as an orphan it would be left to the machine's init, and
    // a container ends only when all its processes are reaped.
    let end = |_| killpg(program, Signal::SIGKILL);
    let (code, _) = code_and_signal(watch(program, end));
    Ok(u8::try_from(code).unwrap_or(255))
}

/// Runs `argv` in the container whose files are in `dir`, with the streams that `letters` name at the other end of the socket
/// that is this process's standard input. The program ends at the latest when the other end is closed.
pub(super) fn session(dir: &Path, letters: &str, argv: &[OsString]) -> Result<u8, Failure> {
    let (argv, streams) = (words(argv), Streams::of(letters));
    let socket = UnixStream::from(io::stdin().as_fd().try_clone_to_owned().step(|| "take the socket".to_owned())?);
    let outlet = Arc::new(Outlet::new(socket.try_clone()?));
    // It has one when it is started by hand.
    let _ = setsid();
    match Program::start(dir, &argv, streams) {
        Ok(program) => {
            let code = program.serve(socket, &outlet)?;
            outlet.end(&frames::exited(&argv, code));
        }
        Err(failure) => outlet.end(&frames::failed(&format!("error executing command in container: {failure}"))),
    }
    Ok(0)
}

/// A program of a session.
struct Program {
    pid: Pid,
    /// Whether it is in namespaces; otherwise what it leaves behind is ended with it, because nobody else would.
    confined: bool,
    stdin: Option<File>,
    terminal: Option<File>,
    outputs: Vec<(u8, Output)>,
}

/// What a program's output is read from.
enum Output {
    Pipe(PipeReader),
    Terminal(Terminal),
}

impl Program {
    fn start(dir: &Path, argv: &[String], streams: Streams) -> Result<Self, Failure> {
        let mut inside = enter(dir, argv)?;
        let confined = inside.groups.is_some();
        let terminal = |inside: &Inside| {
            let uid = if confined { inside.spec.security.uid.unwrap_or(0) } else { geteuid().as_raw() };
            console::terminal(uid).step(|| "make a terminal".to_owned())
        };
        let pair = streams.tty.then(|| terminal(&inside)).transpose()?;
        let mut command = inside.command(argv, streams.tty)?;
        let (mut stdin, mut master, mut outputs) = (None, None, Vec::new());
        match pair {
            Some((ours, theirs)) => {
                with_terminal(&mut command, theirs)?;
                let ours = File::from(ours);
                stdin = streams.stdin.then(|| ours.try_clone()).transpose()?;
                outputs.push((frames::STDOUT, Output::Terminal(Terminal(ours.try_clone()?))));
                master = Some(ours);
            }
            None => {
                command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
                if streams.stdin {
                    let (theirs, ours) = io::pipe()?;
                    command.stdin(theirs);
                    stdin = Some(File::from(OwnedFd::from(ours)));
                }
                for (wanted, channel) in [(streams.stdout, frames::STDOUT), (streams.stderr, frames::STDERR)] {
                    if wanted {
                        let (ours, theirs) = io::pipe()?;
                        if channel == frames::STDOUT {
                            command.stdout(theirs)
                        } else {
                            command.stderr(theirs)
                        };
                        outputs.push((channel, Output::Pipe(ours)));
                    }
                }
            }
        }
        if !confined {
            nix::sys::prctl::set_child_subreaper(true).step(|| "become what orphans are left to".to_owned())?;
        }
        // With the command its ends of the pipes are dropped: the program alone has them.
        let program = command.spawn().map_err(|error| not_executed(argv, &error))?;
        if let Some(outside) = inside.outside {
            // Threads can only be started by a process whose children stay in its own PID namespace.
            setns(outside, CloneFlags::CLONE_NEWPID).step(|| "return to the PID namespace".to_owned())?;
        }
        Ok(Self { pid: pid_of(&program)?, confined, stdin, terminal: master, outputs })
    }

    /// Copies its streams until it has ended; gives its exit code.
    fn serve(self, socket: UnixStream, outlet: &Arc<Outlet>) -> Result<i32, Failure> {
        let Self { pid, confined, stdin, terminal, outputs } = self;
        let (ended, over) = io::pipe()?;
        let is_over = Arc::new(AtomicBool::new(false));
        let mut copies = Vec::new();
        let first = outputs.first().map(|(channel, _)| *channel);
        for (channel, from) in outputs {
            let (outlet, ended) = (outlet.clone(), ended.try_clone()?);
            copies.push(thread::spawn(move || match from {
                Output::Pipe(from) => copy(from, channel, &outlet, &ended),
                Output::Terminal(from) => copy(from, channel, &outlet, &ended),
            }));
        }
        let (asks, gone) = (outlet.clone(), is_over.clone());
        // It waits for the client, and so for longer than there is anything to do.
        thread::spawn(move || {
            let quiet = || drop(first.map(|channel| asks.send(channel, &[])));
            input(&socket, stdin, terminal.as_ref(), quiet);
            if !gone.load(Ordering::Acquire) {
                let _ = killpg(pid, Signal::SIGKILL);
            }
        });
        let end = if confined { watch(pid, |_| killpg(pid, Signal::SIGKILL)) } else { reap(pid)? };
        is_over.store(true, Ordering::Release);
        drop(over);
        for copy in copies {
            let _ = copy.join();
        }
        Ok(code_and_signal(end).0)
    }
}

/// Why a program was not executed, as container runtimes word it. They look a name without a slash up as the container's user, and
/// pass over what that user may not see or execute: there is nothing to be told of a directory of `PATH` that is closed to it. The
/// system says of such a directory that permission was denied, even where no other has the program.
fn not_executed(argv: &[String], error: &io::Error) -> Failure {
    let program = argv.first().map_or("", String::as_str);
    let at = Path::new(program);
    let number = error.raw_os_error().unwrap_or(0);
    let why = match number {
        libc::ENOENT | libc::EACCES if !program.contains('/') => "executable file not found in $PATH".to_owned(),
        // What a script names in its first line, or what loads a program.
        libc::ENOENT if at.is_absolute() && at.exists() => {
            "no such file or directory: its interpreter or loader is not there".to_owned()
        }
        libc::ENOENT => format!("stat {program}: no such file or directory"),
        libc::EACCES if at.is_absolute() && at.is_dir() => "is a directory".to_owned(),
        libc::EACCES => "permission denied".to_owned(),
        libc::ENOEXEC => "exec format error".to_owned(),
        _ => error.to_string(),
    };
    Failure { step: Some(format!("exec: {program:?}")), number, reason: why }
}

/// The exit code of a program that was not executed, as shells have it.
fn code_of(error: &io::Error, argv: &[String]) -> u8 {
    let is_name = argv.first().is_some_and(|program| !program.contains('/'));
    match error.raw_os_error() {
        Some(libc::ENOENT) => NOT_FOUND,
        Some(libc::EACCES) if is_name => NOT_FOUND,
        _ => NOT_EXECUTED,
    }
}

/// Copies a program's output to its end, or until what the program has left behind is silent.
fn copy(mut from: impl Read + AsFd, channel: u8, outlet: &Outlet, ended: &PipeReader) {
    let mut buffer = vec![0; PIECE];
    let mut over = false;
    loop {
        let timeout = if over { PollTimeout::from(SILENCE) } else { PollTimeout::NONE };
        let mut ready = [PollFd::new(from.as_fd(), PollFlags::POLLIN), PollFd::new(ended.as_fd(), PollFlags::POLLIN)];
        let watched = if over { 1 } else { 2 };
        match poll(ready.get_mut(..watched).unwrap_or_default(), timeout) {
            Ok(0) => return,
            Ok(_) => {}
            Err(Errno::EINTR) => continue,
            Err(_) => return,
        }
        let [output, _] = ready.map(|one| one.any().unwrap_or(false));
        if !output {
            over = true;
            continue;
        }
        match from.read(&mut buffer) {
            Ok(0) => return,
            Ok(count) => {
                if outlet.send(channel, buffer.get(..count).unwrap_or_default()).is_err() {
                    return;
                }
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(_) => return,
        }
    }
}

/// Takes what the client sends until it is gone.
fn input(socket: &UnixStream, mut stdin: Option<File>, terminal: Option<&File>, quiet: impl Fn()) {
    while let Some(Frame { channel, data }) = read(socket) {
        match (channel, &stdin, terminal) {
            (frames::STDIN, Some(to), _) => match feed(to, &data, socket, &quiet) {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => return,
                // It has closed its input: what comes still is read and goes nowhere.
                Err(_) => stdin = None,
            },
            (frames::CLOSE, ..) if data == [frames::STDIN] => stdin = None,
            (frames::RESIZE, _, Some(terminal)) => console::resize(terminal.as_fd(), &data),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_that_is_not_executed_is_told_of_as_container_runtimes_do() {
        let said = |program: &str, number: i32| {
            let (argv, error) = ([program.to_owned()], io::Error::from_raw_os_error(number));
            (not_executed(&argv, &error).to_string(), code_of(&error, &argv))
        };
        let found = |program: &str| format!("exec: {program:?}: executable file not found in $PATH");
        assert_eq!(said("nope", libc::ENOENT), (found("nope"), 127));
        // A directory of `PATH` was closed to the user.
        assert_eq!(said("nope", libc::EACCES), (found("nope"), 127));
        let missing = "exec: \"/no/such\": stat /no/such: no such file or directory";
        assert_eq!(said("/no/such", libc::ENOENT), (missing.to_owned(), 127));
        assert_eq!(said("/etc/passwd", libc::EACCES), ("exec: \"/etc/passwd\": permission denied".to_owned(), 126));
        assert_eq!(said("/etc", libc::EACCES), ("exec: \"/etc\": is a directory".to_owned(), 126));
        assert_eq!(said("/a", libc::ENOEXEC), ("exec: \"/a\": exec format error".to_owned(), 126));
        let (script, _) = said("/etc/passwd", libc::ENOENT);
        assert!(script.contains("no such file or directory: its interpreter"), "{script}");
    }
}
