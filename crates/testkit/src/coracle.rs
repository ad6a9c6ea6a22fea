//! One Coracle as a child process.

use std::{
    io::{self, BufRead, BufReader},
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Child, ChildStdout, Command, Stdio},
    sync::mpsc::{self, Receiver},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, bail};
use serde_json::Value;
use tempfile::{NamedTempFile, TempDir};

use crate::processes;

/// How long a start may take before a test gives up on it: far more than it takes, so that a slow machine fails nothing.
const PATIENCE: Duration = Duration::from_secs(60);

/// How a Coracle is started.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The binary: `env!("CARGO_BIN_EXE_coracle")`.
    pub program: PathBuf,
    /// Further arguments, such as `-f FILE`.
    pub arguments: Vec<String>,
    /// What `--publish` gets: at first free ports for 80 and 443.
    pub publish: Vec<String>,
    /// Where its data directory is made, if not where temporary files usually are.
    pub disk: Option<PathBuf>,
}

impl Settings {
    /// Nothing applied.
    pub fn new(program: impl Into<PathBuf>) -> Self {
        let publish = vec!["0:80".to_owned(), "0:443".to_owned()];
        Self { program: program.into(), arguments: Vec::new(), publish, disk: None }
    }
}

/// A running Coracle; it ends when this is dropped.
#[derive(Debug)]
pub struct Coracle {
    settings: Settings,
    data_dir: TempDir,
    child: Child,
    events: Receiver<Value>,
    seen: Vec<Value>,
    // Kept for as long as it may be read.
    manifests: Option<NamedTempFile>,
}

impl Coracle {
    /// Starts one with a new data directory and waits until everything that `arguments` apply is ready.
    ///
    /// # Errors
    /// When it does not become ready: what it printed.
    pub fn start(settings: Settings) -> anyhow::Result<Self> {
        let disk = settings.disk.clone().unwrap_or_else(std::env::temp_dir);
        let data_dir = TempDir::with_prefix_in("coracle-test-", disk).context("make a data directory")?;
        let (child, events) = spawn(&settings, data_dir.path())?;
        let mut this = Self { settings, data_dir, child, events, seen: Vec::new(), manifests: None };
        this.wait_for("up")?;
        Ok(this)
    }

    /// Starts one that serves these manifests, which are read again at each start.
    ///
    /// # Errors
    /// As [`Coracle::start`].
    pub fn serving(program: impl Into<PathBuf>, manifests: &str) -> anyhow::Result<Self> {
        let mut settings = Settings::new(program);
        let file = tempfile::Builder::new().suffix(".yaml").tempfile().context("make a file of manifests")?;
        std::fs::write(file.path(), manifests).context("write the manifests")?;
        settings.arguments = vec!["-f".to_owned(), file.path().display().to_string()];
        let mut this = Self::start(settings)?;
        this.manifests = Some(file);
        Ok(this)
    }

    /// Starts it again on the same data directory, after it ended.
    ///
    /// # Errors
    /// As [`Coracle::start`].
    pub fn start_again(&mut self) -> anyhow::Result<()> {
        (self.child, self.events) = spawn(&self.settings, self.data_dir.path())?;
        self.seen.clear();
        self.wait_for("up").map(drop)
    }

    /// Starts another one on the same data directory that takes over, with these further arguments, and waits until everything
    /// is ready there and the old one has ended well.
    ///
    /// # Errors
    /// One of them ends with an error; what the new one printed.
    pub fn replace(&mut self, arguments: &[&str]) -> anyhow::Result<()> {
        let mut settings = self.settings.clone();
        settings.arguments.extend(["--replace"].iter().chain(arguments).map(|argument| (*argument).to_owned()));
        let (child, events) = spawn(&settings, self.data_dir.path())?;
        let mut old = std::mem::replace(&mut self.child, child);
        let heard = std::mem::replace(&mut self.events, events);
        self.seen.clear();
        let up = self.wait_for("up");
        if up.is_err() {
            // It would serve on.
            _ = old.kill();
        }
        let ended = old.wait()?;
        up?;
        let said = heard.try_iter().map(|event| format!("{event}\n")).collect::<String>();
        if ended.success() { Ok(()) } else { bail!("the old one ended with {ended}:\n{said}") }
    }

    /// Starts another one that is to take over but cannot; waits for its end.
    ///
    /// # Errors
    /// It cannot be started, or does take over.
    pub fn replace_in_vain(&self, arguments: &[&str]) -> anyhow::Result<()> {
        let mut settings = self.settings.clone();
        settings.arguments.extend(arguments.iter().map(|argument| (*argument).to_owned()));
        let (mut child, _events) = spawn(&settings, self.data_dir.path())?;
        let ended = child.wait()?;
        if ended.success() { bail!("it took over") } else { Ok(()) }
    }

    /// The next event of this kind that it prints.
    ///
    /// # Errors
    /// When it ends or stays silent too long: everything it printed so far.
    pub fn wait_for(&mut self, event: &str) -> anyhow::Result<Value> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            match self.events.recv_timeout(left) {
                Ok(value) => {
                    self.seen.push(value.clone());
                    if value.get("event").and_then(Value::as_str) == Some(event) {
                        return Ok(value);
                    }
                }
                Err(error) => bail!("no event {event:?} ({error}); it said:\n{}", self.transcript()),
            }
        }
    }

    /// What it has printed so far, a line each.
    pub fn transcript(&self) -> String {
        self.seen.iter().map(|v| format!("{v}\n")).collect()
    }

    /// The administrator's kubeconfig.
    pub fn kubeconfig(&self) -> PathBuf {
        self.data_dir.path().join("kubeconfig")
    }

    /// Where Gateways' `port` is served, as it said when it was ready.
    pub fn gateway(&self, port: u16) -> Option<SocketAddr> {
        let up = self.seen.iter().rev().find(|event| event["event"] == "up")?;
        let found = up["gateways"].as_array()?.iter().find(|gateway| gateway["listenerPort"] == port)?;
        found["address"].as_str()?.parse().ok()
    }

    /// Where the gateway's metrics are served.
    pub fn metrics(&self) -> Option<SocketAddr> {
        let started = self.seen.iter().rev().find(|event| event["event"] == "started")?;
        let url = started["metrics"].as_str()?;
        url.strip_prefix("http://")?.split('/').next()?.parse().ok()
    }

    /// The data directory.
    pub fn data_dir(&self) -> &Path {
        self.data_dir.path()
    }

    /// The process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The processes that own its containers: they have the data directory in their arguments, as it has itself.
    pub fn shims(&self) -> Vec<u32> {
        let all = self.data_dir.path().to_str().map(processes::with_argument).unwrap_or_default();
        all.into_iter().filter(|pid| *pid != self.pid()).collect()
    }

    /// Ends it at once with SIGKILL.
    ///
    /// # Errors
    /// When it cannot be signalled.
    pub fn kill(&mut self) -> io::Result<()> {
        self.child.kill()?;
        self.child.wait().map(drop)
    }

    /// Makes it start its successor with SIGUSR2, and waits until that has taken over; the new process's id. What that prints
    /// is read from now on, but it is not waited for when this is dropped: stop it first.
    ///
    /// # Errors
    /// It does not hand over, or ends with an error.
    pub fn upgrade(&mut self) -> anyhow::Result<u32> {
        self.seen.clear();
        let sent = Command::new("kill").args(["-s", "USR2", &self.pid().to_string()]).status()?;
        let asked = self.wait_for("handingOver")?;
        self.wait_for("up")?;
        let ended = self.child.wait()?;
        let pid = asked["pid"].as_u64().and_then(|pid| u32::try_from(pid).ok()).context("no process id")?;
        if sent.success() && ended.success() { Ok(pid) } else { bail!("it ended with {ended}:\n{}", self.transcript()) }
    }

    /// Sends a signal by name (`INT`, `TERM`) and waits for its end.
    ///
    /// # Errors
    /// When it cannot be signalled, or ends with an error.
    pub fn stop(&mut self, signal: &str) -> anyhow::Result<()> {
        self.signal(signal)?;
        self.ended()
    }

    /// Sends a signal by name.
    ///
    /// # Errors
    /// When it cannot be signalled.
    pub fn signal(&self, signal: &str) -> anyhow::Result<()> {
        let sent = Command::new("kill").args(["-s", signal, &self.pid().to_string()]).status()?;
        if sent.success() { Ok(()) } else { bail!("the signal {signal} cannot be sent") }
    }

    /// Waits for its end.
    ///
    /// # Errors
    /// It ended with an error: everything it printed.
    pub fn ended(&mut self) -> anyhow::Result<()> {
        let ended = self.child.wait()?;
        if ended.success() { Ok(()) } else { bail!("it ended with {ended}:\n{}", self.transcript()) }
    }
}

impl Drop for Coracle {
    fn drop(&mut self) {
        // A crash test may have ended it already; then its pods run on.
        if matches!(self.child.try_wait(), Ok(None))
            && let Err(error) = self.stop("INT")
        {
            eprintln!("stop the Coracle under test: {error:#}");
        }
        for pid in self.shims().into_iter().flat_map(processes::tree) {
            eprintln!("process {pid} outlived the Coracle under test");
            // It may have ended by itself meanwhile.
            _ = Command::new("kill").args(["-s", "KILL", &pid.to_string()]).status();
        }
    }
}

fn spawn(settings: &Settings, data_dir: &Path) -> anyhow::Result<(Child, Receiver<Value>)> {
    let mut command = Command::new(&settings.program);
    command
        .args(["up", "--output", "json", "--api-port", "0", "--publish", &settings.publish.join(",")])
        .arg("--data-dir")
        .arg(data_dir)
        // Native pods need addresses that are one set per machine: a test of them makes a network namespace for itself.
        .env("CORACLE_RUNTIME", "loopback")
        .env("CORACLE_METRICS_PORT", "0")
        .args(&settings.arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::piped());
    let mut child = command.spawn().with_context(|| format!("start {}", settings.program.display()))?;
    let stdout = child.stdout.take().context("its standard output")?;
    Ok((child, read_events(stdout)))
}

/// Reads its output on a thread, so that a test can wait for an event with a limit and the pipe never fills.
fn read_events(stdout: ChildStdout) -> Receiver<Value> {
    let (send, events) = mpsc::channel();
    thread::spawn(move || {
        for line in BufReader::new(stdout).lines().map_while(Result::ok) {
            let event = serde_json::from_str(&line).unwrap_or(Value::String(line));
            if send.send(event).is_err() {
                return;
            }
        }
    });
    events
}
