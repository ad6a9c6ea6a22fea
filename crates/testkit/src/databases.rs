//! PostgreSQL and Redis as Debian packages have them: each is the caller's own, in a temporary folder, and reached by a socket there.

use std::{
    fs,
    io::{BufRead, BufReader},
    os::unix::{fs::chown, process::CommandExt},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context, bail, ensure};
use nix::{
    errno::Errno,
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use tempfile::TempDir;

use crate::{processes, programs::find};

/// How long a server may take to come up, on a busy machine.
const PATIENCE: Duration = Duration::from_secs(120);

/// User and group that servers run as when this is root: PostgreSQL refuses root.
fn servant() -> Option<(u32, u32)> {
    if !nix::unistd::geteuid().is_root() {
        return None;
    }
    let users = fs::read_to_string("/etc/passwd").unwrap_or_default();
    let postgres = users.lines().find(|line| line.starts_with("postgres:")).unwrap_or("nobody:x:65534:65534");
    let mut fields = postgres.split(':').skip(2).filter_map(|field| field.parse().ok());
    Some((fields.next()?, fields.next()?))
}

fn command(program: &Path) -> Command {
    let mut command = Command::new(program);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).env("LC_ALL", "C").current_dir("/");
    if let Some((user, group)) = servant() {
        command.uid(user).gid(group);
    }
    command
}

fn folder() -> anyhow::Result<TempDir> {
    let folder = TempDir::new().context("make a folder for a server")?;
    if let Some((user, group)) = servant() {
        chown(folder.path(), Some(user), Some(group)).context("give the folder to the server's user")?;
    }
    Ok(folder)
}

/// A PostgreSQL; it ends with its value.
#[derive(Debug)]
pub struct Postgres {
    folder: TempDir,
    programs: PathBuf,
}

impl Postgres {
    /// Starts an empty one; `None` if it is not installed.
    ///
    /// # Errors
    /// It is installed and does not start.
    pub fn start() -> anyhow::Result<Option<Self>> {
        let Some(programs) = Self::programs() else { return Ok(None) };
        let new = Self { folder: folder()?, programs };
        let made = command(&new.programs.join("initdb"))
            .args(["--auth=trust", "--no-sync", "--username=test", "--encoding=UTF8", "--locale=C"])
            .args(new.language())
            .arg("-D")
            .arg(new.data())
            .status()?;
        ensure!(made.success(), "initdb: {made}");
        new.configure("")?;
        new.run()?;
        Ok(Some(new))
    }

    /// Starts a replica that streams from this one.
    ///
    /// # Errors
    /// It cannot be copied, or does not start.
    pub fn replicate(&self) -> anyhow::Result<Self> {
        let replica = Self { folder: folder()?, programs: self.programs.clone() };
        let copied = command(&self.programs.join("pg_basebackup"))
            .args(["--username=test", "--write-recovery-conf", "--checkpoint=fast", "--no-sync", "-h"])
            .arg(self.folder.path())
            .arg("-D")
            .arg(replica.data())
            .status()?;
        ensure!(copied.success(), "pg_basebackup: {copied}");
        replica.configure("")?;
        replica.run()?;
        Ok(replica)
    }

    /// What has it sort text as English does, which most databases do that people have, and no byte order: PostgreSQL 15 and later can
    /// whatever languages the machine knows.
    fn language(&self) -> &'static [&'static str] {
        let version = self.programs.parent().and_then(|folder| folder.file_name()?.to_str()?.parse::<u32>().ok());
        if version.is_some_and(|version| version >= 15) {
            &["--locale-provider=icu", "--icu-locale=en-US"]
        } else {
            &[]
        }
    }

    /// Where Debian keeps the programs of the newest version, for only few of them are on PATH.
    fn programs() -> Option<PathBuf> {
        let versions = fs::read_dir("/usr/lib/postgresql").ok()?;
        let mut found: Vec<PathBuf> = versions.filter_map(|version| Some(version.ok()?.path().join("bin"))).collect();
        found.sort();
        found.into_iter().rev().find(|bin| bin.join("pg_ctl").is_file())
    }

    fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    /// Writes the configuration, with `more` at its end; it counts from the next start or [`Postgres::reload`] on.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn configure(&self, more: &str) -> anyhow::Result<()> {
        // Whole processes are killed here, never the machine: the kernel keeps what was written.
        let text = format!(
            "listen_addresses = ''\nunix_socket_directories = '{}'\nfsync = off\nmax_connections = 60\nshared_buffers = 16MB\n\
             dynamic_shared_memory_type = mmap\nwal_receiver_status_interval = 1s\nhot_standby = on\n{more}\n",
            self.folder.path().display()
        );
        fs::write(self.data().join("postgresql.conf"), text).context("configure PostgreSQL")
    }

    fn control(&self, arguments: &[&str]) -> anyhow::Result<()> {
        let mut control = command(&self.programs.join("pg_ctl"));
        control.arg("-D").arg(self.data()).args(["-t", "60", "-s"]).args(arguments);
        let ended = control.status()?;
        if ended.success() { Ok(()) } else { bail!("pg_ctl {arguments:?}: {ended}") }
    }

    /// Starts it; after a kill its former processes may take a moment to go.
    ///
    /// # Errors
    /// What it wrote to its log.
    pub fn run(&self) -> anyhow::Result<()> {
        let log = self.folder.path().join("log");
        let arguments = ["-w", "-l", &log.display().to_string(), "start"];
        let deadline = Instant::now() + PATIENCE;
        while let Err(error) = self.control(&arguments) {
            let said = || fs::read_to_string(&log).unwrap_or_default();
            ensure!(Instant::now() < deadline, "{error:#}: {}", said());
        }
        Ok(())
    }

    /// Kills all of its processes, as the loss of its machine would. Nothing if it does not run.
    ///
    /// # Errors
    /// It cannot be signalled.
    pub fn kill(&self) -> anyhow::Result<()> {
        let Ok(pid) = fs::read_to_string(self.data().join("postmaster.pid")) else { return Ok(()) };
        let pid: u32 = pid.lines().next().unwrap_or_default().parse().context("read the pid of PostgreSQL")?;
        let send = |pid: u32, signal| match kill(Pid::from_raw(i32::try_from(pid)?), signal) {
            Err(Errno::ESRCH) | Ok(()) => Ok(()),
            Err(error) => Err(error).context("kill PostgreSQL"),
        };
        // One that outlives the main process goes on answering for a while; stopped, that one starts no more.
        send(pid, Signal::SIGSTOP)?;
        processes::tree(pid).into_iter().try_for_each(|pid| send(pid, Signal::SIGKILL))
    }

    /// What `psql` prints for a statement: rows as lines, columns separated by `|`.
    ///
    /// # Errors
    /// What is wrong with the statement.
    pub fn query(&self, statement: &str) -> anyhow::Result<String> {
        let mut psql = command(&self.programs.join("psql"));
        psql.args(["-X", "-q", "-t", "-A", "-v", "ON_ERROR_STOP=1", "-U", "test", "-d", "postgres", "-c", statement]);
        let output = psql.arg("-h").arg(self.folder.path()).stdout(Stdio::piped()).stderr(Stdio::piped()).output()?;
        ensure!(output.status.success(), "{statement}: {}", String::from_utf8_lossy(&output.stderr));
        Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
    }

    /// Makes a replica a primary.
    ///
    /// # Errors
    /// It is none, or does not become one.
    pub fn promote(&self) -> anyhow::Result<()> {
        self.control(&["-w", "promote"])
    }

    /// Has it read its configuration again.
    ///
    /// # Errors
    /// It does not run.
    pub fn reload(&self) -> anyhow::Result<()> {
        self.control(&["reload"])
    }

    /// Where it is reached.
    pub fn url(&self) -> String {
        format!("postgres://test@localhost/postgres?host={}", self.folder.path().display())
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        // One that was killed cannot be stopped.
        _ = self.control(&["-m", "immediate", "stop"]);
    }
}

/// A Redis; it ends with its value.
#[derive(Debug)]
pub struct Redis {
    folder: TempDir,
    program: PathBuf,
    keeps: bool,
    child: Child,
}

impl Redis {
    /// Starts an empty one that keeps nothing on disk; `None` if it is not installed.
    ///
    /// # Errors
    /// It is installed and does not start.
    pub fn start() -> anyhow::Result<Option<Self>> {
        Self::new(false)
    }

    /// The same, with everything in a log on disk, which it reads when it is started again.
    ///
    /// # Errors
    /// It is installed and does not start.
    pub fn start_keeping() -> anyhow::Result<Option<Self>> {
        Self::new(true)
    }

    fn new(keeps: bool) -> anyhow::Result<Option<Self>> {
        let Some(program) = find("redis-server") else { return Ok(None) };
        let folder = folder()?;
        let child = spawn(&program, folder.path(), keeps)?;
        Ok(Some(Self { folder, program, keeps, child }))
    }

    /// Kills it.
    ///
    /// # Errors
    /// It cannot be signalled.
    pub fn kill(&mut self) -> anyhow::Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }

    /// Starts it again, after a kill, with what it kept in it.
    ///
    /// # Errors
    /// It does not start.
    pub fn restart(&mut self) -> anyhow::Result<()> {
        self.child = spawn(&self.program, self.folder.path(), self.keeps)?;
        Ok(())
    }

    /// Where it is reached.
    pub fn url(&self) -> String {
        format!("unix://{}", self.socket().display())
    }

    /// The socket on which it listens.
    pub fn socket(&self) -> PathBuf {
        socket(self.folder.path())
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        // It may have been killed already.
        _ = self.kill();
    }
}

fn socket(folder: &Path) -> PathBuf {
    folder.join("redis.sock")
}

/// Starts one and waits until it says that it takes connections.
fn spawn(program: &Path, folder: &Path, keeps: bool) -> anyhow::Result<Child> {
    // One that was killed leaves its socket behind, where nobody listens.
    let socket = socket(folder);
    _ = fs::remove_file(&socket);
    let mut redis = command(program);
    let log = if keeps { "yes" } else { "no" };
    redis.args(["--port", "0", "--save", "", "--appendonly", log, "--unixsocket"]).arg(socket).arg("--dir").arg(folder);
    let mut child = redis.stdout(Stdio::piped()).spawn().context("start Redis")?;
    // What it says later goes nowhere, and that is all right with it.
    let said = child.stdout.take().context("listen to Redis")?;
    let mut all = String::new();
    for line in BufReader::new(said).lines() {
        let line = line?;
        // It tells of a socket in other words than of a port.
        if line.contains("ready to accept connections") || line.contains("Ready to accept connections") {
            return Ok(child);
        }
        all = all + &line + "\n";
    }
    let ended = child.wait()?;
    bail!("Redis ended: {ended}: {all}")
}
