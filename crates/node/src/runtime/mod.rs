//! The narrow contract between the pod lifecycle and whatever runs processes: start, signal, wait, exec, inspect, remove.
//! Recovery is part of it: [`Runtime::recover`] finds everything that a previous Coracle left running.

pub mod loopback;
pub mod native;
mod processes;
mod runs;
pub mod usage;

use std::{net::IpAddr, path::PathBuf, time::Duration};

use async_trait::async_trait;
use jiff::Timestamp;
use objects::session::Streams;
use serde::{Deserialize, Serialize};
use tokio::net::{TcpStream, UnixStream};

/// Names one run of one container: a restart is a new attempt.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct ContainerId {
    /// `metadata.uid` of the pod.
    pub pod_uid: String,
    /// The container's name in the pod.
    pub name: String,
    /// 0 for the first run, then one more for each restart.
    pub attempt: u32,
}

/// What a pod's shared surroundings are made from.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct SandboxSpec {
    /// `metadata.uid` of the pod.
    pub pod_uid: String,
    /// `metadata.namespace`.
    pub namespace: String,
    /// `metadata.name`.
    pub name: String,
    /// The UTS host name (`spec.hostname` or the pod's name, cut to 63 characters; with `setHostnameAsFQDN` the whole name).
    pub hostname: String,
    /// The pod's whole domain name, where `spec.subdomain` gives it one; empty otherwise.
    #[serde(default)]
    pub fqdn: String,
    /// Lines of the pod's `/etc/resolv.conf`; empty keeps the host's.
    pub resolv_conf: String,
    /// Lines of the pod's `/etc/hosts` from `spec.hostAliases`, without the pod's own.
    pub host_aliases: String,
    /// `spec.hostNetwork`.
    pub host_network: bool,
    /// `spec.shareProcessNamespace`.
    pub share_processes: bool,
}

/// A pod's surroundings as they are.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SandboxStatus {
    /// `metadata.uid` of the pod.
    pub pod_uid: String,
    /// The pod's address (the host's for `hostNetwork`).
    pub ip: IpAddr,
}

/// Where a container's root file system comes from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum RootFs {
    /// A copy-on-write view of the machine's own root (a *host image*).
    Host,
    /// An unpacked image, used as the lower layer of a copy-on-write view.
    Directory(PathBuf),
}

/// One bind mount into a container.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mount {
    /// The file or directory on the host.
    pub source: PathBuf,
    /// The absolute path in the container.
    pub target: PathBuf,
    /// Whether writes are refused.
    pub read_only: bool,
}

/// Resource limits; `None` is unlimited.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    /// Hard memory limit in bytes.
    pub memory_bytes: Option<u64>,
    /// CPU bandwidth in thousandths of a core.
    pub cpu_millis: Option<u64>,
    /// CPU weight in thousandths of a core requested (kubelet's `cpu.shares` rule).
    pub cpu_request_millis: u64,
    /// Most processes and threads.
    pub pids: Option<u64>,
    /// How soon the kernel ends it when the machine has no memory left: -1000 never, 1000 first.
    #[serde(default)]
    pub oom_score_adj: i32,
}

/// The effective security context of one container.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Security {
    /// `runAsUser`; `None` keeps the image's user (root for host images).
    pub uid: Option<u32>,
    /// `runAsGroup`.
    pub gid: Option<u32>,
    /// `supplementalGroups` and `fsGroup`.
    pub groups: Vec<u32>,
    /// `allowPrivilegeEscalation: false`.
    pub no_new_privileges: bool,
    /// `readOnlyRootFilesystem`.
    pub read_only_root: bool,
    /// `privileged`.
    pub privileged: bool,
    /// `seccompProfile: RuntimeDefault`.
    #[serde(default)]
    pub seccomp: bool,
    /// `capabilities.add`, without `CAP_`; `ALL` is allowed.
    pub add_capabilities: Vec<String>,
    /// `capabilities.drop`, without `CAP_`; `ALL` is allowed.
    pub drop_capabilities: Vec<String>,
}

/// What a container's standard streams are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stdio {
    /// `stdin`: its input is kept open for whoever attaches to it; without, it is empty.
    pub stdin: bool,
    /// `stdinOnce`: its input ends with the first session that had it.
    pub stdin_once: bool,
    /// `tty`: it has a terminal.
    pub tty: bool,
}

/// Everything needed to run one container once.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ContainerSpec {
    /// Which run this is.
    pub id: ContainerId,
    /// The root file system.
    pub rootfs: RootFs,
    /// Program and arguments, never empty.
    pub argv: Vec<String>,
    /// Whether the first of `argv` is the program that a host image is a name for: a file of the machine, which is executed even where
    /// its path is hidden by a volume or closed to the container's user.
    #[serde(default)]
    pub image_program: bool,
    /// The whole environment.
    pub env: Vec<(String, String)>,
    /// The working directory in the container.
    pub workdir: PathBuf,
    /// Volumes and generated files.
    pub mounts: Vec<Mount>,
    /// cgroup limits.
    pub limits: Limits,
    /// User, groups and privileges.
    pub security: Security,
    /// Its standard streams.
    #[serde(default)]
    pub stdio: Stdio,
    /// A container that runs, whose processes it sees and shares (an ephemeral container's `targetContainerName`); `None` gives
    /// it processes of its own.
    #[serde(default)]
    pub processes_of: Option<ContainerId>,
    /// Where output goes, in the CRI log format (`<RFC3339Nano> stdout|stderr F|P <text>`), rotated by size to `.1`, `.2`…
    pub log_path: PathBuf,
    /// Rotate the log at this many bytes (kubelet's `containerLogMaxSize`, 10 MiB).
    pub log_max_bytes: u64,
    /// Keep this many log files in all (kubelet's `containerLogMaxFiles`, 5).
    pub log_max_files: u32,
}

/// How a run ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exit {
    /// The exit code; 128 + signal when a signal ended it.
    pub code: i32,
    /// The signal that ended it, if one did.
    pub signal: Option<i32>,
    /// Whether the kernel's memory limit killed it.
    pub oom_killed: bool,
    /// When it ended.
    pub finished_at: Timestamp,
}

/// One run of a container as it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ContainerStatus {
    /// Which run this is.
    pub id: ContainerId,
    /// When it started.
    pub started_at: Timestamp,
    /// How it ended; `None` while it runs.
    pub exit: Option<Exit>,
}

/// What an exec printed and returned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExecOutput {
    /// The exit code; 128 + signal when a signal ended it.
    pub code: i32,
    /// Standard output and error together, cut at the limit given.
    pub output: Vec<u8>,
}

/// What a runtime can honour; the pod lifecycle warns about the rest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Features {
    /// Own network, mount and PID namespaces.
    pub isolation: bool,
    /// Memory, CPU and pid limits.
    pub limits: bool,
    /// Other users than Coracle's own.
    pub users: bool,
    /// Mounting volumes at their container paths. Without it a volume is given as a symbolic link where that is possible.
    pub mounts: bool,
}

/// Why a runtime call failed.
#[derive(Debug, thiserror::Error)]
pub enum RuntimeError {
    /// The program does not exist or may not be executed (Kubernetes' `StartError`/`RunContainerError`).
    #[error("cannot start {program}: {source}")]
    Start {
        /// `argv[0]`.
        program: String,
        /// What the kernel said.
        source: std::io::Error,
    },
    /// The sandbox or container is not known.
    #[error("no such {0}")]
    NotFound(String),
    /// An exec ran past its deadline and was killed.
    #[error("timed out after {0:?}")]
    Timeout(Duration),
    /// An operation on the machine failed.
    #[error("{operation}: {source}")]
    Io {
        /// What was being done, and to what.
        operation: String,
        /// What the kernel said.
        source: std::io::Error,
    },
    /// Pod networking failed.
    #[error("pod network: {0}")]
    Network(String),
}

/// Runs pods' processes. Every method is idempotent where repeating it makes sense: a sandbox or container that is already
/// there (or already gone) is success. Containers outlive the process that started them.
#[async_trait]
pub trait Runtime: Send + Sync {
    /// `native` or `loopback`.
    fn name(&self) -> &'static str;

    /// What this runtime honours.
    fn features(&self) -> Features;

    /// Makes a pod's namespaces, cgroup and address.
    async fn run_sandbox(&self, spec: &SandboxSpec) -> Result<SandboxStatus, RuntimeError>;

    /// Kills whatever still runs in the pod, and takes its namespaces, cgroup, address and runtime files away.
    async fn remove_sandbox(&self, pod_uid: &str) -> Result<(), RuntimeError>;

    /// Starts one run of a container; returns once the program has been executed (or could not be).
    async fn start(&self, spec: &ContainerSpec) -> Result<ContainerStatus, RuntimeError>;

    /// Sends a signal to the container's first process.
    async fn signal(&self, id: &ContainerId, signal: i32) -> Result<(), RuntimeError>;

    /// Kills every process of the container with SIGKILL.
    async fn kill(&self, id: &ContainerId) -> Result<(), RuntimeError>;

    /// Resolves when the run has ended, at once if it has already.
    async fn wait(&self, id: &ContainerId) -> Result<Exit, RuntimeError>;

    /// Runs a program inside the container, as the container's user, and collects up to `max_output` bytes.
    async fn exec(
        &self,
        id: &ContainerId,
        argv: &[String],
        deadline: Duration,
        max_output: usize,
    ) -> Result<ExecOutput, RuntimeError>;

    /// Runs a program inside the container, as the container's user, with its streams at the other end of the connection, which
    /// speaks the frames of `objects::session`. The program is killed when the connection is closed.
    async fn session(&self, id: &ContainerId, argv: &[String], streams: Streams) -> Result<UnixStream, RuntimeError>;

    /// Connects to the container's own streams, as [`Runtime::session`] does to a program's. Closing it leaves the container be.
    async fn attach(&self, id: &ContainerId, streams: Streams) -> Result<UnixStream, RuntimeError>;

    /// Connects to a port of the pod, from the inside where the pod has a network of its own.
    async fn dial(&self, pod_uid: &str, port: u16) -> Result<TcpStream, RuntimeError>;

    /// Gives a run that goes on other limits; a runtime that has none to give does nothing. A memory limit below what is in use is
    /// refused, and nothing is changed then.
    async fn resize(&self, id: &ContainerId, limits: &Limits) -> Result<(), RuntimeError>;

    /// What these runs have used, in their order; `None` for one that has ended or cannot be measured. It reads files of the kernel,
    /// and blocks for as long as that takes.
    fn usage(&self, runs: &[ContainerId]) -> Vec<Option<usage::Usage>>;

    /// How many processes and threads these runs have, in their order; 0 for one that has ended. It reads what `/proc` has of the whole
    /// machine, and blocks for as long as that takes.
    fn processes(&self, runs: &[ContainerId]) -> Vec<u64>;

    /// Where the pod's containers keep what they write outside of volumes, if they have a place of their own.
    fn files(&self, pod_uid: &str) -> Option<PathBuf>;

    /// Forgets an ended run and removes its runtime files (not its log).
    async fn remove(&self, id: &ContainerId) -> Result<(), RuntimeError>;

    /// Everything that exists now, whoever started it: called once at start-up.
    async fn recover(&self) -> Result<Vec<(SandboxStatus, Vec<ContainerStatus>)>, RuntimeError>;
}

/// Gives pods their addresses and wires their namespaces (the CNI's role); implemented outside this crate.
#[async_trait]
pub trait PodNetwork: Send + Sync {
    /// Gives the pod an address and, where `netns` names a network namespace file, wires that namespace to it. Repeating it
    /// for the same pod gives the same address.
    async fn attach(&self, pod_uid: &str, netns: Option<&std::path::Path>) -> Result<IpAddr, String>;

    /// Frees the pod's address and wiring; success if there was none.
    async fn detach(&self, pod_uid: &str) -> Result<(), String>;

    /// Marks an address as held by a pod found again after a restart.
    async fn adopt(&self, pod_uid: &str, ip: IpAddr) -> Result<(), String>;
}
