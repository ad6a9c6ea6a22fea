//! The outside programs that tests use when they are there.

use std::{
    env,
    io::{self, Write},
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
    time::{Duration, Instant},
};

use crate::KUBECTL_VERSIONS;

/// The file of a program on PATH.
pub fn find(program: &str) -> Option<PathBuf> {
    env::split_paths(&env::var_os("PATH")?).map(|dir| dir.join(program)).find(|path| path.is_file())
}

/// One version of kubectl, pointed at one API server.
///
/// The `kubectl` on PATH may be a dispatcher that runs whichever version suits the server, so a version is asked for by name:
/// `kubectl.1.33` on PATH or beside the file that `kubectl` links to, or the file that `CORACLE_KUBECTL_1_33` names.
#[derive(Clone, Debug)]
pub struct Kubectl {
    program: PathBuf,
    kubeconfig: PathBuf,
    minor: u32,
}

/// How long something may take to come about.
const PATIENCE: Duration = Duration::from_secs(60);

impl Kubectl {
    /// Its minor version: 33 for 1.33.
    pub fn minor(&self) -> u32 {
        self.minor
    }

    /// The kubectl of a minor version such as `1.33`, if it is on this machine.
    pub fn version(minor: &str, kubeconfig: &Path) -> Option<Self> {
        let named = env::var_os(format!("CORACLE_KUBECTL_{}", minor.replace('.', "_"))).map(PathBuf::from);
        let name = format!("kubectl.{minor}");
        let beside = || Some(find("kubectl")?.canonicalize().ok()?.parent()?.join(&name)).filter(|path| path.is_file());
        let program = named.or_else(|| find(&name)).or_else(beside)?;
        let minor = minor.split('.').nth(1)?.parse().ok()?;
        Some(Self { program, kubeconfig: kubeconfig.to_owned(), minor })
    }

    /// The newest kubectl that is tested with, if there is any of them.
    pub fn any(kubeconfig: &Path) -> Option<Self> {
        KUBECTL_VERSIONS.iter().rev().find_map(|minor| Self::version(minor, kubeconfig))
    }

    /// A command with these arguments, split at spaces.
    pub fn command(&self, arguments: &str) -> Command {
        let mut command = Command::new(&self.program);
        command.env("KUBECONFIG", &self.kubeconfig).env("HOME", "/nonexistent").args(arguments.split_whitespace());
        command
    }

    /// Runs it and returns what it printed.
    ///
    /// # Errors
    /// What it printed on standard error when it failed, or why it could not be run.
    pub fn run(&self, arguments: &str) -> Result<String, String> {
        self.judge(arguments, self.command(arguments).output())
    }

    /// `kubectl wait` for at most a minute, with these arguments.
    ///
    /// # Errors
    /// As [`Kubectl::run`]; also when it does not come about.
    pub fn wait(&self, arguments: &str) -> Result<String, String> {
        self.run(&format!("wait --timeout=60s {arguments}"))
    }

    /// Asks again until `kubectl get` with these arguments prints this: for versions that cannot wait for a field.
    ///
    /// # Errors
    /// As [`Kubectl::run`]; also when it does not come about within a minute: what it printed last.
    pub fn until(&self, arguments: &str, wanted: &str) -> Result<(), String> {
        let begun = Instant::now();
        loop {
            let said = self.run(&format!("get {arguments}"))?;
            if said == wanted {
                return Ok(());
            }
            if begun.elapsed() > PATIENCE {
                return Err(format!("kubectl get {arguments}: {said:?} instead of {wanted:?}"));
            }
        }
    }

    /// Runs it on a manifest, which takes the place of `-f FILE`: `kubectl.send("apply", MANIFEST)`.
    ///
    /// # Errors
    /// As [`Kubectl::run`].
    pub fn send(&self, arguments: &str, manifest: &str) -> Result<String, String> {
        let mut command = self.command(arguments);
        command.args(["-f", "-"]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let output = command.spawn().and_then(|mut child| {
            // Its end closes the pipe. A kubectl that has failed before it read everything says why itself.
            match child.stdin.take().map(|mut stdin| stdin.write_all(manifest.as_bytes())) {
                Some(Err(error)) if error.kind() != io::ErrorKind::BrokenPipe => Err(error),
                _ => child.wait_with_output(),
            }
        });
        self.judge(arguments, output)
    }

    fn judge(&self, arguments: &str, output: io::Result<Output>) -> Result<String, String> {
        let Output { status, stdout, stderr } = output.map_err(|e| format!("run {}: {e}", self.program.display()))?;
        let text = String::from_utf8_lossy(&stdout).into_owned();
        if status.success() {
            return Ok(text);
        }
        Err(format!("kubectl {arguments}: {status}\n{text}{}", String::from_utf8_lossy(&stderr)))
    }
}
