//! Pods as plain child processes, for where nothing else is allowed: no isolation, no limits, one loopback address for each pod.

use std::{
    fs, io,
    os::fd::{FromRawFd, OwnedFd},
    path::{Path, PathBuf},
    process::Stdio,
    sync::Arc,
    time::Duration,
};

use async_trait::async_trait;
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader, unix::AsyncFd};

use super::{
    ContainerId, ContainerSpec, ContainerStatus, ExecOutput, Exit, Features, PodNetwork, Runtime, RuntimeError,
    SandboxSpec, SandboxStatus,
};
use crate::shim::{
    Command,
    record::{self, Process, Report, Started},
};

const SANDBOX: &str = "sandbox.json";

/// The runtime.
pub struct Loopback {
    state_dir: PathBuf,
    shim: Command,
    network: Arc<dyn PodNetwork>,
}

impl Loopback {
    /// A runtime whose state is in `state_dir`.
    ///
    /// # Errors
    /// When the directory cannot be made.
    pub fn new(state_dir: PathBuf, shim: Command, network: Arc<dyn PodNetwork>) -> io::Result<Self> {
        fs::create_dir_all(&state_dir)?;
        Ok(Self { state_dir, shim, network })
    }

    fn pod(&self, uid: &str) -> PathBuf {
        self.state_dir.join(uid)
    }

    fn dir(&self, id: &ContainerId) -> PathBuf {
        self.pod(&id.pod_uid).join(format!("{}.{}", id.name, id.attempt))
    }

    fn started(&self, id: &ContainerId) -> Result<Started, RuntimeError> {
        let found = record::read(&self.dir(id), record::STARTED).map_err(failed("read a container's record"))?;
        found.ok_or_else(|| RuntimeError::NotFound(format!("container {} of pod {}", id.name, id.pod_uid)))
    }

    fn spec(&self, id: &ContainerId) -> Result<ContainerSpec, RuntimeError> {
        let found = record::read(&self.dir(id), record::SPEC).map_err(failed("read a container's spec"))?;
        found.ok_or_else(|| RuntimeError::NotFound(format!("container {} of pod {}", id.name, id.pod_uid)))
    }

    fn send(&self, id: &ContainerId, signal: Signal) -> Result<(), RuntimeError> {
        let program = self.started(id)?.program;
        if program.is_there() {
            // It may end between the look and the signal, which is as good.
            let _ = kill(Pid::from_raw(program.pid), signal);
        }
        Ok(())
    }

    /// The runs of one pod.
    fn runs(&self, uid: &str) -> Result<Vec<ContainerStatus>, RuntimeError> {
        let mut all = Vec::new();
        let entries = fs::read_dir(self.pod(uid)).map_err(failed("list a pod's containers"))?;
        for entry in entries.filter_map(Result::ok) {
            let dir = entry.path();
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
}

fn failed(operation: &str) -> impl FnOnce(io::Error) -> RuntimeError + use<> {
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
async fn gone(process: Process) -> io::Result<()> {
    if !process.is_there() {
        return Ok(());
    }
    // SAFETY: pidfd_open takes two plain numbers and returns a new descriptor or -1.
    let fd = unsafe { libc::syscall(libc::SYS_pidfd_open, process.pid, libc::PIDFD_NONBLOCK) };
    let Ok(fd) = i32::try_from(fd).map(|fd| fd.max(-1)) else { return Ok(()) };
    if fd < 0 {
        let error = io::Error::last_os_error();
        return if error.raw_os_error() == Some(libc::ESRCH) { Ok(()) } else { Err(error) };
    }
    // SAFETY: the descriptor was just made, is valid, and nobody else owns it.
    let owned = unsafe { OwnedFd::from_raw_fd(fd) };
    // SAFETY: the descriptor lives in the `AsyncFd` and is the same for as long as that does.
    let fd =
        unsafe { AsyncFd::register_with_interest(owned, tokio::io::Interest::READABLE) }.map_err(io::Error::from)?;
    // The number may have gone to another process before the descriptor was made.
    if process.is_there() {
        fd.readable().await?.retain_ready();
    }
    Ok(())
}

#[async_trait]
impl Runtime for Loopback {
    fn name(&self) -> &'static str {
        "loopback"
    }

    fn features(&self) -> Features {
        Features { isolation: false, limits: false, users: false, mounts: false }
    }

    async fn run_sandbox(&self, spec: &SandboxSpec) -> Result<SandboxStatus, RuntimeError> {
        let dir = self.pod(&spec.pod_uid);
        fs::create_dir_all(&dir).map_err(failed("make a pod's directory"))?;
        let ip = self.network.attach(&spec.pod_uid, None).await.map_err(RuntimeError::Network)?;
        let status = SandboxStatus { pod_uid: spec.pod_uid.clone(), ip };
        record::write(&dir, SANDBOX, &status).map_err(failed("write a pod's record"))?;
        Ok(status)
    }

    async fn remove_sandbox(&self, pod_uid: &str) -> Result<(), RuntimeError> {
        if self.pod(pod_uid).exists() {
            for run in self.runs(pod_uid)?.into_iter().filter(|run| run.exit.is_none()) {
                self.kill(&run.id).await?;
                self.wait(&run.id).await?;
            }
            fs::remove_dir_all(self.pod(pod_uid)).map_err(failed("remove a pod's directory"))?;
        }
        self.network.detach(pod_uid).await.map_err(RuntimeError::Network)
    }

    async fn start(&self, spec: &ContainerSpec) -> Result<ContainerStatus, RuntimeError> {
        let dir = self.dir(&spec.id);
        fs::create_dir_all(&dir).map_err(failed("make a container's directory"))?;
        if let Ok(started) = self.started(&spec.id) {
            let exit = ended(&dir, &started).map_err(failed("read how a container ended"))?;
            return Ok(ContainerStatus { id: spec.id.clone(), started_at: started.at, exit });
        }
        record::write(&dir, record::SPEC, spec).map_err(failed("write a container's spec"))?;
        let mut shim = self.shim.run(&dir);
        shim.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()).current_dir("/");
        let mut child = shim.spawn().map_err(failed("start a shim"))?;
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
            Ok(Report::Failed(number)) => {
                let program = spec.argv.first().cloned().unwrap_or_default();
                let _ = fs::remove_dir_all(&dir);
                Err(RuntimeError::Start { program, source: io::Error::from_raw_os_error(number) })
            }
            Err(error) => Err(failed("hear from a shim")(io::Error::other(error))),
        }
    }

    async fn signal(&self, id: &ContainerId, signal: i32) -> Result<(), RuntimeError> {
        let signal = Signal::try_from(signal).map_err(|e| failed("name a signal")(e.into()))?;
        self.send(id, signal)
    }

    async fn kill(&self, id: &ContainerId) -> Result<(), RuntimeError> {
        // The shim ends whatever the program leaves behind.
        self.send(id, Signal::SIGKILL)
    }

    async fn wait(&self, id: &ContainerId) -> Result<Exit, RuntimeError> {
        let (dir, started) = (self.dir(id), self.started(id)?);
        gone(started.shim).await.map_err(failed("wait for a shim"))?;
        let exit = ended(&dir, &started).map_err(failed("read how a container ended"))?;
        exit.ok_or_else(|| RuntimeError::NotFound(format!("the end of container {}", id.name)))
    }

    async fn exec(
        &self,
        id: &ContainerId,
        argv: &[String],
        deadline: Duration,
        max_output: usize,
    ) -> Result<ExecOutput, RuntimeError> {
        let spec = self.spec(id)?;
        let program = argv.first().cloned().unwrap_or_default();
        let mut command = tokio::process::Command::new(&program);
        command.args(argv.iter().skip(1)).env_clear().envs(spec.env.iter().map(|(k, v)| (k, v)));
        command.current_dir(&spec.workdir).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.kill_on_drop(true).spawn().map_err(|source| RuntimeError::Start { program, source })?;
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
            output.extend(errors);
            output.truncate(max_output);
            let signal = std::os::unix::process::ExitStatusExt::signal(&status);
            Ok(ExecOutput { code: status.code().or(signal.map(|s| 128 + s)).unwrap_or(255), output })
        };
        tokio::time::timeout(deadline, work).await.map_err(|_| RuntimeError::Timeout(deadline))?
    }

    async fn remove(&self, id: &ContainerId) -> Result<(), RuntimeError> {
        match fs::remove_dir_all(self.dir(id)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(failed("remove a container's files")(error)),
            _ => Ok(()),
        }
    }

    async fn recover(&self) -> Result<Vec<(SandboxStatus, Vec<ContainerStatus>)>, RuntimeError> {
        let mut all = Vec::new();
        for entry in fs::read_dir(&self.state_dir).map_err(failed("list the pods"))?.filter_map(Result::ok) {
            let sandbox: Option<SandboxStatus> = record::read(&entry.path(), SANDBOX).unwrap_or_default();
            let Some(sandbox) = sandbox else { continue };
            self.network.adopt(&sandbox.pod_uid, sandbox.ip).await.map_err(RuntimeError::Network)?;
            let runs = self.runs(&sandbox.pod_uid)?;
            all.push((sandbox, runs));
        }
        Ok(all)
    }
}
