//! What every runtime does, on the real machine: one suite, run on each.

#![allow(clippy::unwrap_used, reason = "a failed step of a test is its failure")]

use std::{net::IpAddr, path::Path, sync::Arc, time::Duration};

use async_trait::async_trait;
use node::{
    runtime::{
        ContainerId, ContainerSpec, Limits, PodNetwork, RootFs, Runtime, RuntimeError, SandboxSpec, Security,
        loopback::Loopback,
        native::{Native, Options},
    },
    shim::Command,
};

/// Gives every pod the same address, and wires nothing.
struct NoNetwork;

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
fn running(dir: &Path) -> usize {
    let mark = format!("{MARK}={}", dir.display());
    let environments =
        std::fs::read_dir("/proc").unwrap().map(|entry| std::fs::read(entry.unwrap().path().join("environ")));
    environments.flatten().filter(|all| all.split(|byte| *byte == 0).any(|one| one == mark.as_bytes())).count()
}

/// A pod of one runtime, in a directory of its own.
struct Pod<'a> {
    runtime: &'a dyn Runtime,
    dir: &'a Path,
}

impl Pod<'_> {
    async fn new<'a>(runtime: &'a dyn Runtime, dir: &'a Path) -> Pod<'a> {
        let sandbox = SandboxSpec {
            pod_uid: "pod".into(),
            namespace: "default".into(),
            name: "pod".into(),
            hostname: "pod".into(),
            resolv_conf: String::new(),
            host_aliases: String::new(),
            host_network: false,
            share_processes: false,
        };
        runtime.run_sandbox(&sandbox).await.unwrap();
        Pod { runtime, dir }
    }

    fn spec(&self, name: &str, argv: &[&str]) -> ContainerSpec {
        ContainerSpec {
            id: ContainerId { pod_uid: "pod".into(), name: name.into(), attempt: 0 },
            rootfs: RootFs::Host,
            argv: argv.iter().map(|arg| (*arg).to_owned()).collect(),
            env: vec![
                ("PATH".into(), "/usr/bin:/bin".into()),
                ("GREETING".into(), "hello".into()),
                (MARK.into(), self.dir.display().to_string()),
            ],
            workdir: "/".into(),
            mounts: Vec::new(),
            limits: Limits::default(),
            security: Security::default(),
            log_path: self.dir.join(format!("{name}.log")),
            log_max_bytes: 1 << 20,
            log_max_files: 2,
        }
    }

    async fn start(&self, name: &str, script: &str) -> ContainerId {
        let spec = self.spec(name, &["/bin/sh", "-c", script]);
        self.runtime.start(&spec).await.unwrap().id
    }

    fn log(&self, name: &str) -> String {
        std::fs::read_to_string(self.dir.join(format!("{name}.log"))).unwrap()
    }
}

/// The suite.
async fn behaves(runtime: &dyn Runtime, again: &dyn Runtime, dir: &Path) {
    let pod = Pod::new(runtime, dir).await;

    // It ends by itself: its code, its environment, its two streams.
    let id = pod.start("ends", "echo $GREETING; echo trouble >&2; exit 3").await;
    assert_eq!(runtime.wait(&id).await.unwrap().code, 3);
    assert!(pod.log("ends").contains(" stdout F hello\n") && pod.log("ends").contains(" stderr F trouble\n"));
    runtime.remove(&id).await.unwrap();

    // It is told to end.
    let id = pod.start("told", "trap 'echo bye; exit 0' TERM; echo ready; while :; do sleep 0.05; done").await;
    until(|| pod.log("told").contains("ready")).await;
    runtime.signal(&id, 15).await.unwrap();
    assert_eq!(runtime.wait(&id).await.unwrap().code, 0);
    assert!(pod.log("told").contains(" stdout F bye\n"));

    // It does not listen.
    let id = pod.start("deaf", "exec sleep 1000").await;
    runtime.signal(&id, 15).await.unwrap();
    let exit = runtime.wait(&id).await.unwrap();
    assert_eq!((exit.code, exit.signal), (143, Some(15)));

    // What does not exist cannot start.
    let missing = runtime.start(&pod.spec("missing", &["/nonexistent"])).await;
    assert!(matches!(missing, Err(RuntimeError::Start { .. })), "{missing:?}");

    // A program inside, and one that takes too long.
    let id = pod.start("lives", "sleep 1000 & echo begun; wait").await;
    let exec = |script: &str| vec!["/bin/sh".to_owned(), "-c".to_owned(), script.to_owned()];
    let said = runtime.exec(&id, &exec("echo $GREETING; exit 4"), Duration::from_secs(10), 100).await.unwrap();
    assert_eq!((said.code, said.output.as_slice()), (4, b"hello\n".as_slice()));
    let slow = runtime.exec(&id, &exec("sleep 1000"), Duration::from_millis(50), 100).await;
    assert!(matches!(slow, Err(RuntimeError::Timeout(_))), "{slow:?}");
    until(|| running(dir) == 2).await;

    // Another Coracle finds it, and ends it with all it started.
    until(|| pod.log("lives").lines().count() == 1).await;
    let found = again.recover().await.unwrap();
    let lives = found[0].1.iter().find(|run| run.id == id).unwrap();
    assert_eq!(lives.exit, None);
    again.kill(&id).await.unwrap();
    let exit = again.wait(&id).await.unwrap();
    assert_eq!((exit.code, exit.signal), (137, Some(9)));
    assert_eq!(running(dir), 0, "what it started must be gone too");

    // Taking the pod away ends what still runs.
    let id = pod.start("left", "sleep 1000").await;
    runtime.remove_sandbox("pod").await.unwrap();
    assert!(matches!(runtime.wait(&id).await, Err(RuntimeError::NotFound(_))));
    assert!(runtime.recover().await.unwrap().is_empty());
    assert_eq!(running(dir), 0);
}

/// Waits for a condition that another process brings about.
async fn until(condition: impl Fn() -> bool) {
    while !condition() {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn loopback_behaves_as_a_runtime() {
    let dir = tempfile::tempdir().unwrap();
    let open = || {
        let shim = Command::new(env!("CARGO_BIN_EXE_node-shim"), [""; 0]);
        Loopback::new(dir.path().join("pods"), shim, Arc::new(NoNetwork)).unwrap()
    };
    behaves(&open(), &open(), dir.path()).await;
}

#[tokio::test]
async fn native_behaves_as_a_runtime() {
    if !nix::unistd::Uid::effective().is_root() {
        eprintln!("skipped: making namespaces needs root");
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let options = Options {
        state_dir: dir.path().join("pods"),
        hidden: dir.path().to_owned(),
        host_ip: IpAddr::from([127, 0, 0, 1]),
        shim: Command::new(env!("CARGO_BIN_EXE_node-shim"), [""; 0]),
    };
    if let Err(error) = options.check().await {
        eprintln!("skipped: {error}");
        return;
    }
    let open = || Native::open(options.clone(), Arc::new(NoNetwork)).unwrap();
    behaves(&open(), &open(), dir.path()).await;
}

#[tokio::test]
async fn a_loopback_pod_is_told_to_listen_at_its_own_address() {
    let dir = tempfile::tempdir().unwrap();
    let shim = Command::new(env!("CARGO_BIN_EXE_node-shim"), [""; 0]);
    let runtime = Loopback::new(dir.path().join("pods"), shim, Arc::new(NoNetwork)).unwrap();
    let pod = Pod::new(&runtime, dir.path()).await;
    let id = pod.start("c", "echo listen at $HOST").await;
    runtime.wait(&id).await.unwrap();
    assert!(pod.log("c").contains("listen at 127.0.0.1\n"));
    runtime.remove_sandbox("pod").await.unwrap();
}
