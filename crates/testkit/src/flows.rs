//! Flows: what a person types into kubectl, tried with each version of it.

use crate::{Coracle, Kubectl, Settings};

/// The versions that people have: before and after request bodies became protobuf.
pub const KUBECTL_VERSIONS: &[&str] = &["1.28", "1.33"];

/// Runs `test` once with each of [`KUBECTL_VERSIONS`] there is, against a new Coracle of this program each time; says which
/// versions it did without.
///
/// # Errors
/// When Coracle does not start.
pub fn with_each_kubectl(program: &str, test: impl Fn(&Kubectl, &Coracle)) -> anyhow::Result<()> {
    for version in KUBECTL_VERSIONS {
        let coracle = Coracle::start(Settings::new(program))?;
        match Kubectl::version(version, &coracle.kubeconfig()) {
            Some(kubectl) => test(&kubectl, &coracle),
            None => eprintln!("skipped: there is no kubectl {version} on this machine"),
        }
    }
    Ok(())
}
