//! A machine on which containers do as they are told, in simulated time.

use std::{
    collections::HashMap,
    net::{IpAddr, Ipv4Addr},
    sync::{Arc, Mutex},
    time::Duration,
};

use async_trait::async_trait;
use objects::session::Streams;
use tokio::{
    net::{TcpStream, UnixStream},
    sync::watch,
    time::Instant,
};

use super::passes;
use crate::{
    clock::Clock,
    runtime::{
        ContainerId, ContainerSpec, ContainerStatus, ExecOutput, Exit, Features, Limits, Runtime, RuntimeError,
        SandboxSpec, SandboxStatus, usage::Usage,
    },
};

/// What a container does, the same in each run.
#[derive(Clone, Copy, Debug, Default)]
pub struct Program {
    /// It ends by itself after so many seconds, with this code.
    pub ends: Option<(u64, i32)>,
    /// It ends so many seconds after SIGTERM; `None` for never.
    pub heeds: Option<u64>,
    /// It cannot be started.
    pub missing: bool,
}

impl Program {
    /// A service: it runs until it is told to end.
    pub fn serves() -> Self {
        Self { heeds: Some(0), ..Self::default() }
    }

    /// It ends by itself.
    pub fn ends(after: u64, code: i32) -> Self {
        Self { ends: Some((after, code)), heeds: Some(0), ..Self::default() }
    }

    /// It does not heed SIGTERM for so long.
    pub fn slow(heeds: Option<u64>) -> Self {
        Self { heeds, ..Self::default() }
    }
}

/// What a command in a container does: from its words and the seconds so far to how long it takes and its code.
type Commands = Box<dyn Fn(&str, u64) -> (u64, i32) + Send + Sync>;

struct Started {
    status: ContainerStatus,
    exit: watch::Sender<Option<Exit>>,
}

/// The machine.
pub struct Machine {
    begun: Instant,
    clock: Clock,
    programs: HashMap<String, Program>,
    commands: Commands,
    sandbox: Mutex<Option<SandboxStatus>>,
    runs: Mutex<HashMap<ContainerId, Started>>,
    happened: Mutex<Vec<String>>,
}

impl Machine {
    /// A machine with these programs by container name.
    pub fn new(clock: Clock, programs: &[(&str, Program)], commands: Commands) -> Arc<Self> {
        Arc::new(Self {
            begun: Instant::now(),
            clock,
            programs: programs.iter().map(|(name, program)| ((*name).to_owned(), *program)).collect(),
            commands,
            sandbox: Mutex::default(),
            runs: Mutex::default(),
            happened: Mutex::default(),
        })
    }

    /// What happened, as `SECOND WHAT`.
    pub fn happened(&self) -> Vec<String> {
        self.happened.lock().unwrap().clone()
    }

    fn note(&self, what: &str) {
        let second = self.begun.elapsed().as_secs();
        self.happened.lock().unwrap().push(format!("{second} {what}"));
    }

    fn end(&self, id: &ContainerId, code: i32) {
        let runs = self.runs.lock().unwrap();
        let Some(run) = runs.get(id).filter(|run| run.exit.borrow().is_none()) else { return };
        self.note(&format!("{} ended {code}", id.name));
        let finished_at = self.clock.now();
        run.exit.send_replace(Some(Exit { code, signal: None, oom_killed: false, finished_at }));
    }

    fn end_after(self: &Arc<Self>, id: ContainerId, after: u64, code: i32) {
        let machine = self.clone();
        tokio::spawn(async move {
            passes(Duration::from_secs(after)).await;
            machine.end(&id, code);
        });
    }

    fn program(&self, name: &str) -> Program {
        self.programs.get(name).copied().unwrap_or_else(Program::serves)
    }
}

/// The machine as a runtime: tasks of its own need it to be shared.
pub struct Handle(pub Arc<Machine>);

impl Handle {
    /// What every container uses of memory.
    const IN_USE: u64 = 1000;
}

#[async_trait]
impl Runtime for Handle {
    fn name(&self) -> &'static str {
        "simulated"
    }

    fn features(&self) -> Features {
        Features { isolation: true, limits: true, users: true, mounts: true }
    }

    async fn run_sandbox(&self, spec: &SandboxSpec) -> Result<SandboxStatus, RuntimeError> {
        let status = SandboxStatus { pod_uid: spec.pod_uid.clone(), ip: IpAddr::V4(Ipv4Addr::LOCALHOST) };
        *self.0.sandbox.lock().unwrap() = Some(status.clone());
        Ok(status)
    }

    async fn remove_sandbox(&self, _: &str) -> Result<(), RuntimeError> {
        if self.0.sandbox.lock().unwrap().take().is_some() {
            self.0.note("sandbox removed");
        }
        self.0.runs.lock().unwrap().clear();
        Ok(())
    }

    async fn start(&self, spec: &ContainerSpec) -> Result<ContainerStatus, RuntimeError> {
        let program = self.0.program(&spec.id.name);
        if program.missing {
            let source = std::io::Error::from(std::io::ErrorKind::NotFound);
            return Err(RuntimeError::Start { program: "x".to_owned(), source });
        }
        self.0.note(&format!("{} started", spec.id.name));
        let status = ContainerStatus { id: spec.id.clone(), started_at: self.0.clock.now(), exit: None };
        let started = Started { status: status.clone(), exit: watch::Sender::new(None) };
        self.0.runs.lock().unwrap().insert(spec.id.clone(), started);
        if let Some((after, code)) = program.ends {
            self.0.end_after(spec.id.clone(), after, code);
        }
        Ok(status)
    }

    async fn signal(&self, id: &ContainerId, signal: i32) -> Result<(), RuntimeError> {
        self.0.note(&format!("{} signal {signal}", id.name));
        match self.0.program(&id.name).heeds {
            Some(0) => self.0.end(id, 0),
            Some(after) => self.0.end_after(id.clone(), after, 0),
            None => {}
        }
        Ok(())
    }

    async fn kill(&self, id: &ContainerId) -> Result<(), RuntimeError> {
        self.0.end(id, 137);
        Ok(())
    }

    async fn wait(&self, id: &ContainerId) -> Result<Exit, RuntimeError> {
        let gone = || RuntimeError::NotFound(id.name.clone());
        let exit = self.0.runs.lock().unwrap().get(id).map(|run| run.exit.subscribe());
        let mut exit = exit.ok_or_else(gone)?;
        let ended = exit.wait_for(Option::is_some).await.map_err(|_| gone())?;
        ended.clone().ok_or_else(gone)
    }

    async fn exec(
        &self,
        id: &ContainerId,
        argv: &[String],
        deadline: Duration,
        _: usize,
    ) -> Result<ExecOutput, RuntimeError> {
        let words = argv.join(" ");
        let (takes, code) = (self.0.commands)(&words, self.0.begun.elapsed().as_secs());
        if !words.starts_with("probe") {
            self.0.note(&format!("{} runs {words}", id.name));
        }
        let takes = Duration::from_secs(takes);
        passes(takes.min(deadline)).await;
        if takes > deadline {
            return Err(RuntimeError::Timeout(deadline));
        }
        Ok(ExecOutput { code, output: b"output".to_vec() })
    }

    async fn session(&self, id: &ContainerId, _: &[String], _: Streams) -> Result<UnixStream, RuntimeError> {
        Err(RuntimeError::NotFound(id.name.clone()))
    }

    async fn attach(&self, id: &ContainerId, _: Streams) -> Result<UnixStream, RuntimeError> {
        Err(RuntimeError::NotFound(id.name.clone()))
    }

    async fn dial(&self, pod_uid: &str, _: u16) -> Result<TcpStream, RuntimeError> {
        Err(RuntimeError::NotFound(pod_uid.to_owned()))
    }

    async fn resize(&self, id: &ContainerId, limits: &Limits) -> Result<(), RuntimeError> {
        if limits.memory_bytes.is_some_and(|bytes| bytes < Self::IN_USE) {
            let source = std::io::Error::other("that much is in use");
            return Err(RuntimeError::Io { operation: "set limits".to_owned(), source });
        }
        let (cpu, memory) = (limits.cpu_millis.unwrap_or(0), limits.memory_bytes.unwrap_or(0));
        self.0.note(&format!("{} resized to {cpu}m {memory}", id.name));
        Ok(())
    }

    fn usage(&self, runs: &[ContainerId]) -> Vec<Option<Usage>> {
        vec![None; runs.len()]
    }

    fn processes(&self, runs: &[ContainerId]) -> Vec<u64> {
        vec![0; runs.len()]
    }

    fn files(&self, _: &str) -> Option<std::path::PathBuf> {
        None
    }

    async fn remove(&self, id: &ContainerId) -> Result<(), RuntimeError> {
        self.0.runs.lock().unwrap().remove(id);
        Ok(())
    }

    async fn recover(&self) -> Result<Vec<(SandboxStatus, Vec<ContainerStatus>)>, RuntimeError> {
        let runs = self.0.runs.lock().unwrap();
        let status = |run: &Started| ContainerStatus { exit: run.exit.borrow().clone(), ..run.status.clone() };
        let mut all: Vec<ContainerStatus> = runs.values().map(status).collect();
        all.sort_by(|a, b| a.id.cmp(&b.id));
        Ok(self.0.sandbox.lock().unwrap().clone().map(|sandbox| (sandbox, all)).into_iter().collect())
    }
}
