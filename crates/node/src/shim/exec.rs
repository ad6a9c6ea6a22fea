//! Running a further program in a confined container: enter its namespaces, become its user, execute.

use std::{ffi::OsString, fs::File, io, path::Path, process::Stdio};

use nix::{
    sched::{CloneFlags, setns},
    sys::signal::{SigSet, Signal, killpg},
    unistd::Pid,
};

use super::{
    Failure,
    credentials::{self, Latecomer},
    failure::Step,
    init::watch,
    record::{self, Confinement, Started},
    run::code_and_signal,
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
    SigSet::all().thread_block().step(|| "block signals".to_owned())?;
    let mut command = credentials::command(&spec, &argv, Latecomer { groups, tied: true })?;
    let program = match command.stdin(Stdio::null()).spawn() {
        Ok(program) => Pid::from_raw(i32::try_from(program.id()).map_err(io::Error::other)?),
        Err(error) => {
            eprintln!("{}: {error}", argv.first().map_or("", String::as_str));
            return Ok(NOT_EXECUTED);
        }
    };
    // Whoever asked has waited long enough. The program is reaped here: as an orphan it would be left to the machine's init, and
    // a container ends only when all its processes are reaped.
    let end = |_| killpg(program, Signal::SIGKILL);
    let (code, _) = code_and_signal(watch(program, end));
    Ok(u8::try_from(code).unwrap_or(255))
}
