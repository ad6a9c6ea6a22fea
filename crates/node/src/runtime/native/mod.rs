//! Pods in namespaces and cgroups of their own, on a copy-on-write view of the machine's root or of an unpacked image.
//!
//! A pod has network, IPC and UTS namespaces; each container has mount, PID and cgroup namespaces. The namespaces are made and
//! entered by shims ([`crate::shim`]); this side keeps the pods' directories, cgroups and addresses. In a pod's directory:
//! `net`, `ipc`, `uts` and `shm` are mounts that keep what the containers share, `sandbox.json` says that the pod is complete, and
//! each run has a directory with its records, the layers of its root file system, and the place where that is mounted.

mod account;
mod cgroup;
mod dial;
mod files;

use std::{fs, io, net::IpAddr, path::PathBuf, process::Stdio, sync::Arc, time::Duration};

use async_trait::async_trait;
use nix::sys::{
    signal::Signal,
    statfs::{NSFS_MAGIC, statfs},
};
use objects::session::Streams;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use tokio::{
    net::{TcpStream, UnixStream},
    sync::RwLock,
};

use super::{
    ContainerId, ContainerSpec, ContainerStatus, ExecOutput, Exit, Features, Limits, PodNetwork, Runtime, RuntimeError,
    SandboxSpec, SandboxStatus, processes,
    runs::{Runs, collect, failed},
    usage::Usage,
};
use crate::shim::{
    Command, IPC, NET, UTS,
    record::{self, Confinement},
};
use cgroup::Cgroups;

/// The [`SandboxSpec`] of a pod, for the shim that makes its namespaces.
pub(crate) const SANDBOX_SPEC: &str = "pod.json";
/// The [`Sandbox`] of a pod.
const SANDBOX: &str = "sandbox.json";

/// How often the cgroups are tried to be removed after the last pod, and the pause in between.
const SWEEPS: u32 = 50;
const MOMENT: Duration = Duration::from_millis(2);

/// The machine's `/etc/resolv.conf`, as pods can use it.
pub(crate) fn resolv_conf() -> String {
    files::Machine::read().resolv_conf
}

/// A pod whose namespaces and address are there.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Sandbox {
    spec: SandboxSpec,
    status: SandboxStatus,
}

/// What the runtime is made from.
#[derive(Clone, Debug)]
pub struct Options {
    /// Where it keeps its pods; on a file system that an overlay can write to.
    pub state_dir: PathBuf,
    /// Coracle's data directory, which no container may see.
    pub hidden: PathBuf,
    /// The machine's address, which pods on its network have.
    pub host_ip: IpAddr,
    /// Starts shims.
    pub shim: Command,
}

/// The runtime.
pub struct Native {
    runs: Runs,
    hidden: PathBuf,
    host_ip: IpAddr,
    network: Arc<dyn PodNetwork>,
    cgroups: Cgroups,
    /// Held for reading while a container starts: its cgroups are empty then, and must not be taken for left over.
    starting: RwLock<()>,
}

impl Options {
    /// Tries whether this machine lets the runtime work; nothing of the trial is left.
    ///
    /// # Errors
    /// Says what the machine does not allow.
    pub async fn check(&self) -> Result<(), RuntimeError> {
        let trial = self.state_dir.join(".trial");
        fs::create_dir_all(&trial).map_err(failed("make a directory"))?;
        let tried = self.shim.check(&trial).stdin(Stdio::null()).output().await;
        let _ = fs::remove_dir_all(&trial);
        let tried = tried.map_err(failed("start a shim"))?;
        if tried.status.success() {
            return Ok(());
        }
        let reason = String::from_utf8_lossy(&tried.stderr).trim().to_owned();
        Err(failed("try what this machine allows")(io::Error::other(reason)))
    }
}

impl Native {
    /// Opens the runtime on a machine that has passed [`Options::check`].
    ///
    /// # Errors
    /// When its directories cannot be made or the machine's cgroups cannot be listed.
    pub fn open(options: Options, network: Arc<dyn PodNetwork>) -> Result<Self, RuntimeError> {
        let runs = Runs::open(options.state_dir.clone(), options.shim).map_err(failed("make the pods' directory"))?;
        let state_dir = options.state_dir.canonicalize().map_err(failed("find the pods' directory"))?;
        let hidden = options.hidden.canonicalize().map_err(failed("find the data directory"))?;
        // Two Coracles on one machine have different data directories, and so different groups.
        let digest = Sha256::digest(state_dir.as_os_str().as_encoded_bytes());
        let name: String = digest.iter().take(4).map(|byte| format!("{byte:02x}")).collect();
        let cgroups = Cgroups::open(format!("coracle-{name}")).map_err(failed("find the cgroups"))?;
        let missing = cgroups.missing();
        if !missing.is_empty() {
            tracing::warn!("limits of {} have no effect: this machine has no such cgroups", missing.join(", "));
        }
        Ok(Self { runs, hidden, host_ip: options.host_ip, network, cgroups, starting: RwLock::default() })
    }

    /// Whether the pod's namespaces are still kept; after the machine was restarted only their files are there.
    fn is_kept(&self, uid: &str, host_network: bool) -> bool {
        let names: &[&str] = if host_network { &[IPC] } else { &[IPC, NET, UTS] };
        let kept =
            |name: &&str| statfs(&self.runs.pod(uid).join(name)).is_ok_and(|fs| fs.filesystem_type() == NSFS_MAGIC);
        names.iter().all(kept)
    }

    async fn make_namespaces(&self, spec: &SandboxSpec) -> Result<(), RuntimeError> {
        if self.is_kept(&spec.pod_uid, spec.host_network) {
            return Ok(());
        }
        let dir = self.runs.pod(&spec.pod_uid);
        // After a restart of the machine only files are left of the pod.
        self.runs.remove_pod(&spec.pod_uid)?;
        fs::create_dir_all(&dir).map_err(failed("make a pod's directory"))?;
        record::write(&dir, SANDBOX_SPEC, spec).map_err(failed("write a pod's record"))?;
        let made = self.runs.shim.pod(&dir).stdin(Stdio::null()).output().await.map_err(failed("start a shim"))?;
        if made.status.success() {
            return Ok(());
        }
        let reason = String::from_utf8_lossy(&made.stderr).trim().to_owned();
        Err(failed("make a pod's namespaces")(io::Error::other(reason)))
    }

    fn sandbox(&self, uid: &str) -> Result<Sandbox, RuntimeError> {
        let found = record::read(&self.runs.pod(uid), SANDBOX).map_err(failed("read a pod's record"))?;
        found.ok_or_else(|| RuntimeError::NotFound(format!("pod {uid}")))
    }

    /// The name of a run's cgroup.
    fn group(id: &ContainerId) -> String {
        format!("{}.{}.{}", id.pod_uid, id.name, id.attempt)
    }

    /// Removes the cgroups in which nothing runs. After the last pod all of them go; the kernel may need a moment after the end of
    /// the last process.
    async fn sweep(&self) -> Result<(), RuntimeError> {
        // Whatever starts now will end, and then they are removed.
        let Ok(_nothing_starts) = self.starting.try_write() else { return Ok(()) };
        for _ in 0..SWEEPS {
            if self.cgroups.sweep() || !self.runs.is_empty()? {
                break;
            }
            tokio::time::sleep(MOMENT).await;
        }
        Ok(())
    }

    fn confine(&self, spec: &ContainerSpec) -> Result<(), RuntimeError> {
        let sandbox = self.sandbox(&spec.id.pod_uid)?;
        let cgroups = self.cgroups.create(&Self::group(&spec.id), &spec.limits).map_err(failed("set limits"))?;
        let other = spec.processes_of.as_ref().map(|other| self.runs.started(other)).transpose()?;
        let confinement = Confinement {
            pod: self.runs.pod(&spec.id.pod_uid),
            cgroups,
            shim_cgroups: self.cgroups.shims().map_err(failed("make the shims' cgroup"))?,
            hidden: self.hidden.clone(),
            files: files::of_pod(&sandbox.spec, sandbox.status.ip, &files::Machine::read()),
            processes_of: other.map(|started| started.program),
        };
        let dir = self.runs.dir(&spec.id);
        fs::create_dir_all(&dir).map_err(failed("make a container's directory"))?;
        record::write(&dir, record::CONFINEMENT, &confinement).map_err(failed("write a container's record"))
    }
}

#[async_trait]
impl Runtime for Native {
    fn name(&self) -> &'static str {
        "native"
    }

    fn features(&self) -> Features {
        Features { isolation: true, limits: self.cgroups.missing().is_empty(), users: true, mounts: true }
    }

    async fn run_sandbox(&self, spec: &SandboxSpec) -> Result<SandboxStatus, RuntimeError> {
        self.make_namespaces(spec).await?;
        let dir = self.runs.pod(&spec.pod_uid);
        let ip = if spec.host_network {
            self.host_ip
        } else {
            let net = dir.join(NET);
            self.network.attach(&spec.pod_uid, Some(&net)).await.map_err(RuntimeError::Network)?
        };
        let status = SandboxStatus { pod_uid: spec.pod_uid.clone(), ip };
        let sandbox = Sandbox { spec: spec.clone(), status: status.clone() };
        record::write(&dir, SANDBOX, &sandbox).map_err(failed("write a pod's record"))?;
        Ok(status)
    }

    async fn remove_sandbox(&self, pod_uid: &str) -> Result<(), RuntimeError> {
        if self.runs.pod(pod_uid).exists() {
            self.runs.end_all(pod_uid).await?;
            for run in self.runs.of_pod(pod_uid).await? {
                self.cgroups.remove(&Self::group(&run.id));
            }
            self.runs.remove_pod(pod_uid)?;
        }
        self.sweep().await?;
        self.network.detach(pod_uid).await.map_err(RuntimeError::Network)
    }

    async fn start(&self, spec: &ContainerSpec) -> Result<ContainerStatus, RuntimeError> {
        if let Some(begun) = self.runs.begun(&spec.id).await? {
            return Ok(begun);
        }
        let _starting = self.starting.read().await;
        self.confine(spec)?;
        let started = self.runs.start(spec).await;
        if started.is_err() {
            self.cgroups.remove(&Self::group(&spec.id));
        }
        started
    }

    async fn signal(&self, id: &ContainerId, signal: i32) -> Result<(), RuntimeError> {
        self.runs.signal(id, signal)
    }

    async fn kill(&self, id: &ContainerId) -> Result<(), RuntimeError> {
        // With the first process of a PID namespace the kernel ends all others.
        self.runs.send(id, Signal::SIGKILL)
    }

    async fn wait(&self, id: &ContainerId) -> Result<Exit, RuntimeError> {
        let exit = self.runs.wait(id).await?;
        self.cgroups.remove(&Self::group(id));
        Ok(exit)
    }

    async fn exec(
        &self,
        id: &ContainerId,
        argv: &[String],
        deadline: Duration,
        max_output: usize,
    ) -> Result<ExecOutput, RuntimeError> {
        self.runs.spec(id)?;
        let command = self.runs.shim.exec(&self.runs.dir(id), argv);
        // The shim ends the program and reaps it.
        collect(command, argv.first().map_or("", String::as_str), deadline, max_output, Signal::SIGTERM).await
    }

    async fn session(&self, id: &ContainerId, argv: &[String], streams: Streams) -> Result<UnixStream, RuntimeError> {
        self.runs.session(id, argv, streams)
    }

    async fn attach(&self, id: &ContainerId, streams: Streams) -> Result<UnixStream, RuntimeError> {
        self.runs.attach(id, streams).await
    }

    async fn dial(&self, pod_uid: &str, port: u16) -> Result<TcpStream, RuntimeError> {
        let sandbox = self.sandbox(pod_uid)?;
        let network = (!sandbox.spec.host_network).then(|| self.runs.pod(pod_uid).join(NET));
        dial::localhost(network, port).await.map_err(failed(&format!("connect to localhost:{port} inside the pod")))
    }

    async fn resize(&self, id: &ContainerId, limits: &Limits) -> Result<(), RuntimeError> {
        self.runs.started(id)?;
        self.cgroups.adjust(&Self::group(id), limits).map_err(failed("set limits"))
    }

    fn usage(&self, runs: &[ContainerId]) -> Vec<Option<Usage>> {
        let groups: Vec<String> = runs.iter().map(Self::group).collect();
        self.cgroups.usage(groups.iter().map(String::as_str))
    }

    fn processes(&self, runs: &[ContainerId]) -> Vec<u64> {
        processes::count(&self.runs, runs)
    }

    fn files(&self, pod_uid: &str) -> Option<PathBuf> {
        Some(self.runs.pod(pod_uid))
    }

    async fn remove(&self, id: &ContainerId) -> Result<(), RuntimeError> {
        self.cgroups.remove(&Self::group(id));
        self.runs.remove(id)
    }

    async fn recover(&self) -> Result<Vec<(SandboxStatus, Vec<ContainerStatus>)>, RuntimeError> {
        let mut all = Vec::new();
        for (uid, sandbox) in self.runs.pods::<Sandbox>(SANDBOX)? {
            match sandbox {
                Some(sandbox) if self.is_kept(&uid, sandbox.spec.host_network) => {
                    if !sandbox.spec.host_network {
                        self.network.adopt(&uid, sandbox.status.ip).await.map_err(RuntimeError::Network)?;
                    }
                    all.push((sandbox.status, self.runs.of_pod(&uid).await?));
                }
                // It was interrupted while it was made, or the machine was restarted.
                _ => self.remove_sandbox(&uid).await?,
            }
        }
        self.sweep().await?;
        Ok(all)
    }
}
