//! Requests while pods come and go: to zero and back, and fewer pods under load. None of them fails.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a failed step of a test is its failure")]

mod calls;
mod crash;
mod custom;
mod down;
mod zero;

use std::{fs, path::Path};

use tempfile::NamedTempFile;
use testkit::{Coracle, Kubectl, Settings};

/// A running Coracle, and a kubectl for it.
struct World {
    coracle: Coracle,
    kubectl: Kubectl,
    _manifests: NamedTempFile,
}

impl World {
    /// Serves these manifests with the Gateway's ports 80 and 9000; `None`, and says so, without a kubectl.
    fn new(manifests: &[&str]) -> Option<Self> {
        Self::with(manifests, &[])
    }

    /// With further arguments of `coracle up`.
    fn with(manifests: &[&str], arguments: &[&str]) -> Option<Self> {
        let file = tempfile::Builder::new().suffix(".yaml").tempfile().unwrap();
        fs::write(file.path(), manifests.concat()).unwrap();
        let mut settings = Settings::new(env!("CARGO_BIN_EXE_coracle"));
        settings.publish = ["0:80", "0:9000"].map(str::to_owned).into();
        let own = ["--image", "tools=/bin/sh", "-f", text(file.path())];
        settings.arguments = own.iter().chain(arguments).map(|argument| (*argument).to_owned()).collect();
        let coracle = Coracle::start(settings).unwrap();
        let Some(kubectl) = Kubectl::any(&coracle.kubeconfig()) else {
            eprintln!("skipped: there is no kubectl on this machine");
            return None;
        };
        Some(Self { coracle, kubectl, _manifests: file })
    }

    fn value(&self, object: &str, path: &str) -> String {
        self.kubectl.run(&format!("get {object} -o jsonpath={{{path}}}")).unwrap()
    }
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}
