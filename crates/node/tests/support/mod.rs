//! What tests of runtimes share: a pod with containers that run small shell scripts.

#![allow(clippy::unwrap_used, reason = "a failed step of a test is its failure")]
#![allow(dead_code, reason = "each test program uses its part of it")]

use std::{net::IpAddr, path::Path, sync::Arc};

use async_trait::async_trait;
use nix::unistd::Uid;
use node::{
    runtime::{
        ContainerId, ContainerSpec, Limits, PodNetwork, RootFs, Runtime, SandboxSpec, Security, Stdio,
        native::{Native, Options},
    },
    shim::Command,
};

/// Gives every pod the same address, and wires nothing.
pub struct NoNetwork;

#[async_trait]
impl PodNetwork for NoNetwork {
    async fn attach(&self, _: &str, _: Option<&Path>) -> Result<IpAddr, String> {
        Ok(IpAddr::from([127, 0, 0, 1]))
    }

    async fn detach(&self, _: &str) -> Result<(), String> {
        Ok(())
    }

    async fn adopt(&self, _: &str, _: IpAddr) -> Result<(), String> {
        Ok(())
    }
}

/// A variable of every container's environment, by which its processes are known on the machine.
const MARK: &str = "RUNTIME_TEST";

/// How many processes of containers with their files in `dir` run.
pub fn running(dir: &Path) -> usize {
    let mark = format!("{MARK}={}", dir.display());
    let environments =
        std::fs::read_dir("/proc").unwrap().map(|entry| std::fs::read(entry.unwrap().path().join("environ")));
    environments.flatten().filter(|all| all.split(|byte| *byte == 0).any(|one| one == mark.as_bytes())).count()
}

/// A pod of one runtime, in a directory of its own.
pub struct Pod<'a> {
    runtime: &'a dyn Runtime,
    dir: &'a Path,
}

impl Pod<'_> {
    /// The sandbox, made.
    pub async fn new<'a>(runtime: &'a dyn Runtime, dir: &'a Path) -> Pod<'a> {
        Self::with(runtime, dir, |_| {}).await
    }

    /// The sandbox, made after `change`.
    pub async fn with<'a>(runtime: &'a dyn Runtime, dir: &'a Path, change: impl FnOnce(&mut SandboxSpec)) -> Pod<'a> {
        let mut sandbox = SandboxSpec {
            pod_uid: "pod".into(),
            namespace: "default".into(),
            name: "pod".into(),
            hostname: "pod".into(),
            fqdn: String::new(),
            resolv_conf: String::new(),
            host_aliases: String::new(),
            host_network: false,
            share_processes: false,
        };
        change(&mut sandbox);
        runtime.run_sandbox(&sandbox).await.unwrap();
        Pod { runtime, dir }
    }

    /// A container that runs a program in the machine's own root.
    pub fn spec(&self, name: &str, argv: &[&str]) -> ContainerSpec {
        ContainerSpec {
            id: ContainerId { pod_uid: "pod".into(), name: name.into(), attempt: 0 },
            rootfs: RootFs::Host,
            argv: argv.iter().map(|arg| (*arg).to_owned()).collect(),
            image_program: false,
            env: vec![
                ("PATH".into(), "/usr/bin:/bin".into()),
                ("GREETING".into(), "hello".into()),
                (MARK.into(), self.dir.display().to_string()),
            ],
            workdir: "/".into(),
            mounts: Vec::new(),
            limits: Limits::default(),
            security: Security::default(),
            stdio: Stdio::default(),
            processes_of: None,
            log_path: self.dir.join(format!("{name}.log")),
            log_max_bytes: 1 << 20,
            log_max_files: 2,
        }
    }

    /// Starts a shell script.
    pub async fn start(&self, name: &str, script: &str) -> ContainerId {
        let spec = self.spec(name, &["/bin/sh", "-c", script]);
        self.runtime.start(&spec).await.unwrap().id
    }

    /// What a container has printed.
    pub fn log(&self, name: &str) -> String {
        std::fs::read_to_string(self.dir.join(format!("{name}.log"))).unwrap()
    }
}

/// The command that starts a shim.
pub fn shim() -> Command {
    Command::new(env!("CARGO_BIN_EXE_node-shim"), [""; 0])
}

/// The native runtime with its files in `dir`; says why and gives `None` where there cannot be one.
pub async fn native(dir: &Path) -> Option<Native> {
    if !Uid::effective().is_root() {
        eprintln!("skipped: making namespaces needs root");
        return None;
    }
    let state_dir = dir.join("pods");
    let options = Options { state_dir, hidden: dir.to_owned(), host_ip: IpAddr::from([127, 0, 0, 1]), shim: shim() };
    if let Err(error) = options.check().await {
        eprintln!("skipped: {error}");
        return None;
    }
    Some(Native::open(options, Arc::new(NoNetwork)).unwrap())
}

/// Waits for a condition that another process brings about.
pub async fn until(condition: impl Fn() -> bool) {
    while !condition() {
        tokio::task::yield_now().await;
    }
}
