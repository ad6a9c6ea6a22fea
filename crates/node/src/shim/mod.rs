//! The shim: one small process for each run of a container, which owns the container's pipes, log and exit code, and so outlives
//! Coracle. It is this binary, executed again; it holds nothing else and starts no runtime. Because it is freshly executed and has
//! one thread, it is also where namespaces are made and entered, which a process with many threads cannot do safely.

pub(crate) mod attach;
mod confined;
mod console;
mod credentials;
mod exec;
mod failure;
mod init;
mod layers;
mod log;
pub(crate) mod mountinfo;
mod pod;
mod program;
pub(crate) mod record;
mod rootfs;
mod run;
mod seccomp;
mod session;
mod special;

use std::{
    ffi::OsString,
    path::{Path, PathBuf},
    process::ExitCode,
};

pub(crate) use failure::Failure;
use objects::session::Streams;

/// The file of a pod's own IPC namespace, in its directory.
pub(crate) const IPC: &str = "ipc";
/// The file of a pod's own network namespace; a pod on the host's network has none.
pub(crate) const NET: &str = "net";
/// The file of a pod's own UTS namespace; a pod on the host's network has none.
pub(crate) const UTS: &str = "uts";
/// The directory of a pod's shared memory.
pub(crate) const SHM: &str = "shm";

/// How a shim is started: a program, and the arguments that make it one.
#[derive(Clone, Debug)]
pub struct Command {
    program: PathBuf,
    arguments: Vec<OsString>,
}

impl Command {
    /// `program` with `arguments` must end up in [`main`] with whatever arguments follow.
    pub fn new(program: impl Into<PathBuf>, arguments: impl IntoIterator<Item = impl Into<OsString>>) -> Self {
        Self { program: program.into(), arguments: arguments.into_iter().map(Into::into).collect() }
    }

    /// The command that does what `role` says with the files in `dir`.
    fn role(&self, role: &str, dir: &Path) -> tokio::process::Command {
        let mut command = tokio::process::Command::new(&self.program);
        command.args(&self.arguments).arg(role).arg(dir).current_dir("/");
        command
    }

    /// Runs the container whose files are in `dir`.
    pub(crate) fn run(&self, dir: &Path) -> tokio::process::Command {
        self.role("run", dir)
    }

    /// Makes the namespaces of the pod whose files are in `dir`.
    pub(crate) fn pod(&self, dir: &Path) -> tokio::process::Command {
        self.role("pod", dir)
    }

    /// Runs a program in the confined container whose files are in `dir`.
    pub(crate) fn exec(&self, dir: &Path, argv: &[String]) -> tokio::process::Command {
        let mut command = self.role("exec", dir);
        command.args(argv);
        command
    }

    /// Runs a program in the container whose files are in `dir`, with these streams at the other end of its standard input, a
    /// socket.
    pub(crate) fn session(&self, dir: &Path, streams: Streams, argv: &[String]) -> tokio::process::Command {
        let mut command = self.role("session", dir);
        // Letters that are never empty, so that an argument is there.
        command.arg(format!("-{}", streams.letters())).args(argv);
        command
    }

    /// Tries whether containers can be confined with their files in `dir`.
    pub(crate) fn check(&self, dir: &Path) -> tokio::process::Command {
        self.role("check", dir)
    }
}

/// The shim itself: a role, the directory it is about, for `session` the streams, and for it and `exec` a program with its arguments.
pub fn main(mut args: impl Iterator<Item = OsString>) -> ExitCode {
    let (Some(role), Some(dir)) = (args.next(), args.next()) else {
        eprintln!("shim: name a role and a directory");
        return ExitCode::from(2);
    };
    let dir = Path::new(&dir);
    let result = match role.to_str() {
        Some("run") => run::run(dir).map_err(|e| e.to_string()).map(|()| ExitCode::SUCCESS),
        Some("pod") => pod::make(dir).map_err(|e| e.to_string()).map(|()| ExitCode::SUCCESS),
        Some("check") => pod::check(dir).map_err(|e| e.to_string()).map(|()| ExitCode::SUCCESS),
        Some("exec") => exec::exec(dir, &args.collect::<Vec<_>>()).map_err(|e| e.to_string()).map(ExitCode::from),
        Some("session") => {
            let letters = args.next().unwrap_or_default();
            let ended = exec::session(dir, &letters.to_string_lossy(), &args.collect::<Vec<_>>());
            ended.map_err(|e| e.to_string()).map(ExitCode::from)
        }
        _ => Err("no such role".to_owned()),
    };
    result.unwrap_or_else(|error| {
        eprintln!("{error}");
        ExitCode::FAILURE
    })
}
