//! Flows: what a person types into kubectl, tried with each version of it.

use crate::{Coracle, Kubectl, Settings};

/// The versions that people have: before and after request bodies became protobuf.
pub const KUBECTL_VERSIONS: &[&str] = &["1.28", "1.33"];

/// The same, and Debian's, which is from before version 3 of OpenAPI and before validation on the server's side; and the first
/// that speaks WebSocket.
pub const ALL_KUBECTL_VERSIONS: &[&str] = &["1.20", "1.28", "1.31", "1.33"];

/// Runs `test` once with each of [`KUBECTL_VERSIONS`] there is, against a new Coracle of this program each time; says which
/// versions it did without.
///
/// # Errors
/// When Coracle does not start.
pub fn with_each_kubectl(program: &str, test: impl Fn(&Kubectl, &Coracle)) -> anyhow::Result<()> {
    with_kubectls(KUBECTL_VERSIONS, program, test)
}

/// As [`with_each_kubectl`], with [`ALL_KUBECTL_VERSIONS`].
///
/// # Errors
/// As [`with_each_kubectl`].
pub fn with_every_kubectl(program: &str, test: impl Fn(&Kubectl, &Coracle)) -> anyhow::Result<()> {
    with_kubectls(ALL_KUBECTL_VERSIONS, program, test)
}

fn with_kubectls(versions: &[&str], program: &str, test: impl Fn(&Kubectl, &Coracle)) -> anyhow::Result<()> {
    for version in versions {
        let coracle = Coracle::start(Settings::new(program))?;
        match Kubectl::version(version, &coracle.kubeconfig()) {
            Some(kubectl) => test(&kubectl, &coracle),
            None => eprintln!("skipped: there is no kubectl {version} on this machine"),
        }
    }
    Ok(())
}
