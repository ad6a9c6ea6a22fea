//! The shim: one small process for each run of a container, which owns the container's pipes, log and exit code, and so outlives
//! Coracle. It is this binary, executed again; it holds nothing else and starts no runtime.

mod log;
pub(crate) mod record;
mod run;

use std::{
    ffi::OsString,
    path::{Path, PathBuf},
    process::ExitCode,
};

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

    /// The command that runs the container whose files are in `dir`.
    pub(crate) fn run(&self, dir: &Path) -> tokio::process::Command {
        let mut command = tokio::process::Command::new(&self.program);
        command.args(&self.arguments).arg(dir);
        command
    }
}

/// The shim itself; the one argument is the directory of the container's run.
pub fn main(mut args: impl Iterator<Item = OsString>) -> ExitCode {
    let Some(dir) = args.next() else {
        eprintln!("shim: name the directory of a container");
        return ExitCode::from(2);
    };
    match run::run(Path::new(&dir)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("shim: {}: {error}", Path::new(&dir).display());
            ExitCode::FAILURE
        }
    }
}
