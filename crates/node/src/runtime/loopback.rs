//! Pods as plain child processes, for where nothing else is allowed: no isolation, no limits, one loopback address for each pod.

use std::{
    collections::HashMap,
    fs, io,
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use async_trait::async_trait;
use nix::sys::signal::Signal;
use objects::session::Streams;
use tokio::net::{TcpStream, UnixStream};

use super::{
    ContainerId, ContainerSpec, ContainerStatus, ExecOutput, Exit, Features, Limits, PodNetwork, Runtime, RuntimeError,
    SandboxSpec, SandboxStatus,
    processes::{self, Processes},
    runs::{Runs, collect, failed},
    usage::Usage,
};
use crate::shim::{Command, record};

const SANDBOX: &str = "sandbox.json";
/// The variable that names the address to listen on.
const HOST: &str = "HOST";

/// The runtime.
pub struct Loopback {
    runs: Runs,
    network: Arc<dyn PodNetwork>,
    measured: Mutex<Measured>,
}

/// What is known of the processes that are measured.
#[derive(Default)]
struct Measured {
    /// The shims of the runs, by number and start, so that their records are read once.
    shims: HashMap<ContainerId, (i32, u64)>,
    processes: Processes,
}

impl Loopback {
    /// A runtime whose state is in `state_dir`.
    ///
    /// # Errors
    /// When the directory cannot be made.
    pub fn new(state_dir: PathBuf, shim: Command, network: Arc<dyn PodNetwork>) -> io::Result<Self> {
        Ok(Self { runs: Runs::open(state_dir, shim)?, network, measured: Mutex::default() })
    }

    /// Pods share the machine's ports, so a program that listened on all addresses would keep the others' pods from theirs. Many
    /// programs listen on `HOST` where it is set: it is the pod's address unless the pod says otherwise.
    fn at_its_address(&self, spec: &ContainerSpec) -> Result<ContainerSpec, RuntimeError> {
        let mut spec = spec.clone();
        let pod = record::read::<SandboxStatus>(&self.runs.pod(&spec.id.pod_uid), SANDBOX);
        let pod = pod.map_err(failed("read a pod's record"))?;
        if let Some(pod) = pod.filter(|_| spec.env.iter().all(|(name, _)| name != HOST)) {
            spec.env.push((HOST.to_owned(), pod.ip.to_string()));
        }
        Ok(spec)
    }
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
        let dir = self.runs.pod(&spec.pod_uid);
        fs::create_dir_all(&dir).map_err(failed("make a pod's directory"))?;
        let ip = self.network.attach(&spec.pod_uid, None).await.map_err(RuntimeError::Network)?;
        let status = SandboxStatus { pod_uid: spec.pod_uid.clone(), ip };
        record::write(&dir, SANDBOX, &status).map_err(failed("write a pod's record"))?;
        Ok(status)
    }

    async fn remove_sandbox(&self, pod_uid: &str) -> Result<(), RuntimeError> {
        if self.runs.pod(pod_uid).exists() {
            self.runs.end_all(pod_uid).await?;
            self.runs.remove_pod(pod_uid)?;
        }
        self.network.detach(pod_uid).await.map_err(RuntimeError::Network)
    }

    async fn start(&self, spec: &ContainerSpec) -> Result<ContainerStatus, RuntimeError> {
        match self.runs.begun(&spec.id).await? {
            Some(begun) => Ok(begun),
            None => self.runs.start(&self.at_its_address(spec)?).await,
        }
    }

    async fn signal(&self, id: &ContainerId, signal: i32) -> Result<(), RuntimeError> {
        self.runs.signal(id, signal)
    }

    async fn kill(&self, id: &ContainerId) -> Result<(), RuntimeError> {
        // The shim ends whatever the program leaves behind.
        self.runs.send(id, Signal::SIGKILL)
    }

    async fn wait(&self, id: &ContainerId) -> Result<Exit, RuntimeError> {
        self.runs.wait(id).await
    }

    async fn exec(
        &self,
        id: &ContainerId,
        argv: &[String],
        deadline: Duration,
        max_output: usize,
    ) -> Result<ExecOutput, RuntimeError> {
        let spec = self.runs.spec(id)?;
        let program = argv.first().cloned().unwrap_or_default();
        let mut command = tokio::process::Command::new(&program);
        command.args(argv.iter().skip(1)).env_clear().envs(spec.env.iter().map(|(k, v)| (k, v)));
        command.current_dir(&spec.workdir);
        collect(command, &program, deadline, max_output, Signal::SIGKILL).await
    }

    async fn session(&self, id: &ContainerId, argv: &[String], streams: Streams) -> Result<UnixStream, RuntimeError> {
        self.runs.session(id, argv, streams)
    }

    async fn attach(&self, id: &ContainerId, streams: Streams) -> Result<UnixStream, RuntimeError> {
        self.runs.attach(id, streams).await
    }

    async fn dial(&self, pod_uid: &str, port: u16) -> Result<TcpStream, RuntimeError> {
        let pod: Option<SandboxStatus> =
            record::read(&self.runs.pod(pod_uid), SANDBOX).map_err(failed("read a pod's record"))?;
        let pod = pod.ok_or_else(|| RuntimeError::NotFound(format!("pod {pod_uid}")))?;
        // Not the machine's own 127.0.0.1: what listens there may be anybody's.
        let operation = format!("connect to {}:{port}", pod.ip);
        TcpStream::connect((pod.ip, port)).await.map_err(failed(&operation))
    }

    async fn resize(&self, id: &ContainerId, _: &Limits) -> Result<(), RuntimeError> {
        self.runs.started(id).map(drop)
    }

    fn usage(&self, runs: &[ContainerId]) -> Vec<Option<Usage>> {
        let mut measured = self.measured.lock().unwrap_or_else(PoisonError::into_inner);
        let Measured { shims, processes } = &mut *measured;
        let shim = |id: &ContainerId| {
            let known = shims.get(id).copied();
            known.or_else(|| self.runs.started(id).ok().map(|started| (started.shim.pid, started.shim.ticks)))
        };
        let roots: Vec<_> = runs.iter().map(shim).collect();
        // Only those that are asked for are kept.
        *shims = runs.iter().zip(&roots).filter_map(|(id, root)| Some((id.clone(), (*root)?))).collect();
        let at = Instant::now();
        let all = processes.all();
        processes::usage(&all, &roots, |process| processes.shared(process), at)
    }

    fn processes(&self, runs: &[ContainerId]) -> Vec<u64> {
        processes::count(&self.runs, runs)
    }

    fn files(&self, _: &str) -> Option<PathBuf> {
        None
    }

    async fn remove(&self, id: &ContainerId) -> Result<(), RuntimeError> {
        self.runs.remove(id)
    }

    async fn recover(&self) -> Result<Vec<(SandboxStatus, Vec<ContainerStatus>)>, RuntimeError> {
        let mut all = Vec::new();
        for (uid, sandbox) in self.runs.pods::<SandboxStatus>(SANDBOX)? {
            // It was interrupted while it was made, or another runtime made it.
            let Some(sandbox) = sandbox else {
                self.remove_sandbox(&uid).await?;
                continue;
            };
            self.network.adopt(&sandbox.pod_uid, sandbox.ip).await.map_err(RuntimeError::Network)?;
            let runs = self.runs.of_pod(&sandbox.pod_uid).await?;
            all.push((sandbox, runs));
        }
        Ok(all)
    }
}
