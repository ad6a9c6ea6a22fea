//! The runs of containers as their shims keep them: what every runtime that works with shims shares.

use std::{
    fs::{self, DirEntry, File},
    io,
    os::fd::OwnedFd,
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use nix::{
    errno::Errno,
    mount::{MntFlags, umount2},
    sys::signal::{Signal, kill, killpg},
    unistd::Pid,
};
use objects::session::{self, Streams};
use serde::de::DeserializeOwned;
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader, unix::AsyncFd},
    net::UnixStream,
    process::Command as Process,
};

use super::{ContainerId, ContainerSpec, ContainerStatus, ExecOutput, Exit, RuntimeError};
use crate::shim::{
    Command, IPC, NET, SHM, UTS, attach,
    record::{self, Report, Started},
};

/// The file of a run that its shim has locked.
const LOCK: &str = "lock";
/// How often a shim that is about to start its program is looked at, and for how long.
const LOOK: Duration = Duration::from_millis(5);
const PATIENCE: Duration = Duration::from_secs(10);

/// The runs whose files are in one directory: `<pod>/<container>.<attempt>`.
pub(super) struct Runs {
    state_dir: PathBuf,
    pub shim: Command,
}

impl Runs {
    pub fn open(state_dir: PathBuf, shim: Command) -> io::Result<Self> {
        fs::create_dir_all(&state_dir)?;
        Ok(Self { state_dir, shim })
    }

    /// A pod's directory.
    pub fn pod(&self, uid: &str) -> PathBuf {
        self.state_dir.join(uid)
    }

    /// A run's directory.
    pub fn dir(&self, id: &ContainerId) -> PathBuf {
        self.pod(&id.pod_uid).join(format!("{}.{}", id.name, id.attempt))
    }

    /// Whether there is no pod.
    pub fn is_empty(&self) -> Result<bool, RuntimeError> {
        Ok(fs::read_dir(&self.state_dir).map_err(failed("list the pods"))?.next().is_none())
    }

    /// The pods that have a directory, each with the record `name` in it, if that has been written.
    pub fn pods<T: DeserializeOwned>(&self, name: &str) -> Result<Vec<(String, Option<T>)>, RuntimeError> {
        let entries = fs::read_dir(&self.state_dir).map_err(failed("list the pods"))?.filter_map(Result::ok);
        let found = entries.map(|entry| {
            let uid = entry.file_name().to_string_lossy().into_owned();
            (uid, record::read(&entry.path(), name).unwrap_or_default())
        });
        Ok(found.collect())
    }

    /// The record of a run that has begun.
    pub fn started(&self, id: &ContainerId) -> Result<Started, RuntimeError> {
        let found = record::read(&self.dir(id), record::STARTED).map_err(failed("read a container's record"))?;
        found.ok_or_else(|| RuntimeError::NotFound(format!("container {} of pod {}", id.name, id.pod_uid)))
    }

    pub fn spec(&self, id: &ContainerId) -> Result<ContainerSpec, RuntimeError> {
        let found = record::read(&self.dir(id), record::SPEC).map_err(failed("read a container's spec"))?;
        found.ok_or_else(|| RuntimeError::NotFound(format!("container {} of pod {}", id.name, id.pod_uid)))
    }

    /// The runs of one pod.
    pub async fn of_pod(&self, uid: &str) -> Result<Vec<ContainerStatus>, RuntimeError> {
        let mut all = Vec::new();
        let entries = fs::read_dir(self.pod(uid)).map_err(failed("list a pod's containers"))?;
        // Only runs have directories with a dot in their names; containers can write to the others.
        let is_run = |entry: &DirEntry| {
            entry.file_type().is_ok_and(|kind| kind.is_dir()) && entry.file_name().as_encoded_bytes().contains(&b'.')
        };
        for entry in entries.filter_map(Result::ok).filter(is_run) {
            let dir = entry.path();
            settle(&dir).await?;
            let spec: Option<ContainerSpec> = record::read(&dir, record::SPEC).unwrap_or_default();
            let started: Option<Started> = record::read(&dir, record::STARTED).unwrap_or_default();
            if let (Some(spec), Some(started)) = (spec, started) {
                let exit = ended(&dir, &started).map_err(failed("read how a container ended"))?;
                all.push(ContainerStatus { id: spec.id, started_at: started.at, exit });
            }
        }
        all.sort_by(|a, b| a.id.cmp(&b.id));
        Ok(all)
    }

    /// The run, if it has begun already; if it has not, whatever is left of an attempt is removed.
    pub async fn begun(&self, id: &ContainerId) -> Result<Option<ContainerStatus>, RuntimeError> {
        let dir = self.dir(id);
        settle(&dir).await?;
        let Ok(started) = self.started(id) else {
            remove_dir(&dir).map_err(failed("remove a container's files"))?;
            return Ok(None);
        };
        let exit = ended(&dir, &started).map_err(failed("read how a container ended"))?;
        Ok(Some(ContainerStatus { id: id.clone(), started_at: started.at, exit }))
    }

    /// Starts a run through a shim.
    pub async fn start(&self, spec: &ContainerSpec) -> Result<ContainerStatus, RuntimeError> {
        let dir = self.dir(&spec.id);
        fs::create_dir_all(&dir).map_err(failed("make a container's directory"))?;
        record::write(&dir, record::SPEC, spec).map_err(failed("write a container's spec"))?;
        let lock = File::create(dir.join(LOCK)).map_err(failed("make a container's lock"))?;
        lock.try_lock().map_err(|e| failed("lock a container's files")(e.into()))?;
        let mut shim = self.shim.run(&dir);
        // The shim holds the lock from its first moment, whatever becomes of this process.
        shim.stdin(Stdio::from(lock)).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = shim.spawn().map_err(failed("start a shim"))?;
        drop(shim);
        let mut line = String::new();
        if let Some(stdout) = child.stdout.take() {
            BufReader::new(stdout).read_line(&mut line).await.map_err(failed("hear from a shim"))?;
        }
        // Reaps it when it ends, if this process is still there by then; if not, init does.
        tokio::spawn(async move { child.wait().await });
        match serde_json::from_str(&line) {
            Ok(Report::Started(started)) => {
                Ok(ContainerStatus { id: spec.id.clone(), started_at: started.at, exit: None })
            }
            Ok(Report::Failed(failure)) => {
                let _ = fs::remove_dir_all(&dir);
                let source = failure.source();
                Err(match failure.step {
                    Some(operation) => RuntimeError::Io { operation, source },
                    None => RuntimeError::Start { program: spec.argv.first().cloned().unwrap_or_default(), source },
                })
            }
            Err(error) => Err(failed("hear from a shim")(io::Error::other(error))),
        }
    }

    /// Sends a signal to the program, if it still runs.
    pub fn send(&self, id: &ContainerId, signal: Signal) -> Result<(), RuntimeError> {
        let program = self.started(id)?.program;
        if program.is_there() {
            // It may end between the look and the signal, which is as good.
            let _ = kill(Pid::from_raw(program.pid), signal);
        }
        Ok(())
    }

    /// Sends a signal that is given by its number.
    pub fn signal(&self, id: &ContainerId, signal: i32) -> Result<(), RuntimeError> {
        let signal = Signal::try_from(signal).map_err(|e| failed("name a signal")(e.into()))?;
        self.send(id, signal)
    }

    /// Resolves when the run has ended.
    pub async fn wait(&self, id: &ContainerId) -> Result<Exit, RuntimeError> {
        let (dir, started) = (self.dir(id), self.started(id)?);
        let shim = started.shim.open().map_err(failed("wait for a shim"))?;
        gone(shim).await.map_err(failed("wait for a shim"))?;
        let exit = ended(&dir, &started).map_err(failed("read how a container ended"))?;
        // A shim that was killed has not waited for its program: what that holds, such as a port, is free only when it is gone, too.
        let program = started.program.open().map_err(failed("wait for a program"))?;
        gone(program).await.map_err(failed("wait for a program"))?;
        exit.ok_or_else(|| RuntimeError::NotFound(format!("the end of container {}", id.name)))
    }

    /// Ends whatever still runs in a pod.
    pub async fn end_all(&self, uid: &str) -> Result<(), RuntimeError> {
        for run in self.of_pod(uid).await?.into_iter().filter(|run| run.exit.is_none()) {
            // The shim ends whatever the program leaves behind.
            self.send(&run.id, Signal::SIGKILL)?;
            self.wait(&run.id).await?;
        }
        Ok(())
    }

    /// Starts a program in the container of a run, with its streams at the other end of the connection.
    pub fn session(&self, id: &ContainerId, argv: &[String], streams: Streams) -> Result<UnixStream, RuntimeError> {
        self.started(id)?;
        let connect = || {
            let (ours, theirs) = std::os::unix::net::UnixStream::pair()?;
            let mut command = self.shim.session(&self.dir(id), streams, argv);
            command.stdin(OwnedFd::from(theirs)).stdout(Stdio::null()).stderr(Stdio::null()).process_group(0);
            let mut child = command.spawn()?;
            // It ends with the connection.
            tokio::spawn(async move { child.wait().await });
            ours.set_nonblocking(true)?;
            UnixStream::from_std(ours)
        };
        connect().map_err(failed("start a shim"))
    }

    /// Connects to the streams of a run.
    pub async fn attach(&self, id: &ContainerId, streams: Streams) -> Result<UnixStream, RuntimeError> {
        self.started(id)?;
        let connect = || {
            let socket = attach::connect(&self.dir(id))?;
            socket.set_nonblocking(true)?;
            UnixStream::from_std(socket)
        };
        let mut socket = connect().map_err(failed("connect to a container's streams"))?;
        let letters = streams.letters();
        let hello = [&session::head(session::HELLO, letters.len()), letters.as_bytes()].concat();
        socket.write_all(&hello).await.map_err(failed("connect to a container's streams"))?;
        Ok(socket)
    }

    /// Removes a run's files.
    pub fn remove(&self, id: &ContainerId) -> Result<(), RuntimeError> {
        remove_dir(&self.dir(id)).map_err(failed("remove a container's files"))
    }

    /// Removes a pod's files, and the mounts that keep what its containers share.
    pub fn remove_pod(&self, uid: &str) -> Result<(), RuntimeError> {
        for name in [NET, IPC, UTS, SHM] {
            let path = self.pod(uid).join(name);
            loop {
                match umount2(&path, MntFlags::MNT_DETACH | MntFlags::UMOUNT_NOFOLLOW) {
                    // A pod that was interrupted while it was made may have two on top of each other.
                    Ok(()) => {}
                    // Nothing is mounted there; without privileges nothing can be.
                    Err(Errno::EINVAL | Errno::ENOENT | Errno::EPERM) => break,
                    Err(error) => return Err(failed(&format!("unmount {}", path.display()))(error.into())),
                }
            }
        }
        remove_dir(&self.pod(uid)).map_err(failed("remove a pod's files"))
    }
}

/// Waits until a shim that was started has begun its run or given up: the Coracle that started it may have been killed before it
/// heard of that.
async fn settle(dir: &Path) -> Result<(), RuntimeError> {
    let settled = async {
        loop {
            let lock = match File::open(dir.join(LOCK)) {
                Ok(lock) => lock,
                Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
                Err(error) => return Err(error),
            };
            // A shim holds its lock for as long as it lives.
            if lock.try_lock().is_ok() || dir.join(record::STARTED).exists() {
                return Ok(());
            }
            drop(lock);
            tokio::time::sleep(LOOK).await;
        }
    };
    let failed = failed("wait for a shim to start its program");
    match tokio::time::timeout(PATIENCE, settled).await {
        Ok(settled) => settled.map_err(failed),
        Err(_) => Err(failed(io::ErrorKind::TimedOut.into())),
    }
}

fn remove_dir(dir: &Path) -> io::Result<()> {
    match fs::remove_dir_all(dir) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Names the operation that an error of the machine belongs to.
pub(super) fn failed(operation: &str) -> impl FnOnce(io::Error) -> RuntimeError + use<> {
    let operation = operation.to_owned();
    move |source| RuntimeError::Io { operation, source }
}

/// How a run ended, if it has. A run whose shim was killed has ended without a record: its program is ended too.
fn ended(dir: &Path, started: &Started) -> io::Result<Option<Exit>> {
    if started.shim.is_there() {
        return record::read(dir, record::EXIT);
    }
    if let Some(exit) = record::read(dir, record::EXIT)? {
        return Ok(Some(exit));
    }
    if started.program.is_there() {
        let _ = kill(Pid::from_raw(-started.program.pid), Signal::SIGKILL);
    }
    let exit = Exit { code: 255, signal: None, oom_killed: false, finished_at: jiff::Timestamp::now() };
    record::write(dir, record::EXIT, &exit)?;
    Ok(Some(exit))
}

/// Resolves when a process has ended.
async fn gone(process: Option<OwnedFd>) -> io::Result<()> {
    let Some(process) = process else { return Ok(()) };
    // SAFETY: the descriptor lives in the `AsyncFd` and is the same for as long as that does.
    let fd = unsafe { AsyncFd::register_with_interest(process, tokio::io::Interest::READABLE) };
    fd.map_err(io::Error::from)?.readable().await?.retain_ready();
    Ok(())
}

/// Runs a command to its end and collects up to `max_output` bytes of what it prints. Its process group gets `end` after
/// `deadline`, or when nobody waits any more.
pub(super) async fn collect(
    mut command: Process,
    program: &str,
    deadline: Duration,
    max_output: usize,
    end: Signal,
) -> Result<ExecOutput, RuntimeError> {
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).process_group(0);
    let mut child = command.spawn().map_err(|source| RuntimeError::Start { program: program.to_owned(), source })?;
    let pid = child.id().and_then(|id| i32::try_from(id).ok()).map(Pid::from_raw);
    let mut group = Group(pid, end);
    let (mut out, mut err) = (child.stdout.take(), child.stderr.take());
    let limit = u64::try_from(max_output).unwrap_or(u64::MAX);
    let work = async {
        let (mut output, mut errors) = (Vec::new(), Vec::new());
        let read_out = async {
            if let Some(out) = &mut out {
                let _ = out.take(limit).read_to_end(&mut output).await;
            }
        };
        let read_err = async {
            if let Some(err) = &mut err {
                let _ = err.take(limit).read_to_end(&mut errors).await;
            }
        };
        tokio::join!(read_out, read_err);
        // Nobody reads past the limit: a program that goes on writing is told so by its pipe.
        drop((out.take(), err.take()));
        let status = child.wait().await.map_err(failed("wait for an exec"))?;
        // From here on the number may be another's.
        group.0 = None;
        output.extend(errors);
        output.truncate(max_output);
        let signal = std::os::unix::process::ExitStatusExt::signal(&status);
        Ok(ExecOutput { code: status.code().or(signal.map(|s| 128 + s)).unwrap_or(255), output })
    };
    tokio::time::timeout(deadline, work).await.map_err(|_| RuntimeError::Timeout(deadline))?
}

/// A process group, and the signal that it gets when nobody waits for it any more.
struct Group(Option<Pid>, Signal);

impl Drop for Group {
    fn drop(&mut self) {
        // It may have ended by itself, which is as good.
        let _ = self.0.map(|group| killpg(group, self.1));
    }
}
