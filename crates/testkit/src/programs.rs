//! The outside programs that tests use when they are there.

use std::{
    env,
    path::{Path, PathBuf},
    process::{Command, Output},
};

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
}

impl Kubectl {
    /// The kubectl of a minor version such as `1.33`, if it is on this machine.
    pub fn version(minor: &str, kubeconfig: &Path) -> Option<Self> {
        let named = env::var_os(format!("CORACLE_KUBECTL_{}", minor.replace('.', "_"))).map(PathBuf::from);
        let name = format!("kubectl.{minor}");
        let beside = || Some(find("kubectl")?.canonicalize().ok()?.parent()?.join(&name)).filter(|path| path.is_file());
        let program = named.or_else(|| find(&name)).or_else(beside)?;
        Some(Self { program, kubeconfig: kubeconfig.to_owned() })
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
        let output = self.command(arguments).output().map_err(|e| format!("run {}: {e}", self.program.display()))?;
        let Output { status, stdout, stderr } = output;
        let text = String::from_utf8_lossy(&stdout).into_owned();
        if status.success() {
            return Ok(text);
        }
        Err(format!("kubectl {arguments}: {status}\n{text}{}", String::from_utf8_lossy(&stderr)))
    }
}
