//! Running a further program in a confined container: enter its namespaces, become its user, execute.

use std::{ffi::OsString, fs::File, io, os::unix::process::ExitStatusExt, path::Path, process::Stdio};

use nix::sched::{CloneFlags, setns};

use super::{
    Failure,
    credentials::{self, Latecomer},
    failure::Step,
    record::{self, Confinement, Started},
};
use crate::runtime::ContainerSpec;

/// The exit code for a program that cannot be executed, as shells have it.
const NOT_EXECUTED: u8 = 127;

/// Runs `argv` in the container whose files are in `dir`, with this process's output; gives its exit code.
pub(super) fn exec(dir: &Path, argv: &[OsString]) -> Result<u8, Failure> {
    let missing = || Failure::from(io::Error::from(io::ErrorKind::NotFound));
    let spec: ContainerSpec = record::read(dir, record::SPEC)?.ok_or_else(missing)?;
    let started: Started = record::read(dir, record::STARTED)?.ok_or_else(missing)?;
    let confinement: Confinement = record::read(dir, record::CONFINEMENT)?.ok_or_else(missing)?;
    let argv: Vec<String> = argv.iter().map(|word| word.to_string_lossy().into_owned()).collect();
    let process = started.program.open().step(|| "find the container's first process".to_owned())?;
    let process = process.ok_or_else(missing)?;
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
    setns(process, namespaces).step(|| "enter the container".to_owned())?;
    // Whoever asked is gone or has waited long enough when this process is: the program goes with it.
    let mut command = credentials::command(&spec, &argv, Latecomer { groups, tied: true })?;
    match command.stdin(Stdio::null()).status() {
        Ok(status) => {
            let code = status.code().or(status.signal().map(|signal| 128 + signal)).unwrap_or(255);
            Ok(u8::try_from(code).unwrap_or(255))
        }
        Err(error) => {
            eprintln!("{}: {error}", argv.first().map_or("", String::as_str));
            Ok(NOT_EXECUTED)
        }
    }
}
