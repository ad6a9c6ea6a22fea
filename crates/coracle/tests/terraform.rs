//! Terraform makes a system and takes it away again.

#![allow(clippy::unwrap_used, reason = "a failed step of a test is its failure")]

use std::{path::Path, process::Command};

use testkit::{Coracle, Kubectl, Settings, find};

#[test]
fn terraform_applies_a_system_again_only_when_it_has_changed_and_destroys_it() {
    let coracle = Coracle::start(Settings::new(env!("CARGO_BIN_EXE_coracle"))).unwrap();
    let kubeconfig = coracle.kubeconfig();
    let (Some(terraform), Some(kubectl)) = (find("terraform"), Kubectl::version("1.33", &kubeconfig)) else {
        return eprintln!("skipped: this machine has not both terraform and kubectl 1.33");
    };
    let system = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../systems/sample");
    let state = tempfile::tempdir().unwrap();
    let run = |arguments: &[&str]| {
        let mut command = Command::new(&terraform);
        command.arg(format!("-chdir={}", system.join("terraform").display())).args(arguments);
        command.env("TF_DATA_DIR", state.path()).env("TF_VAR_overlay", "dev").env("TF_VAR_kubeconfig", &kubeconfig);
        let output = command.env("TF_VAR_kubectl", kubectl.command("").get_program()).output().unwrap();
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success(), "{said}\n{}", String::from_utf8_lossy(&output.stderr));
        said
    };
    let kept = format!("-state={}", state.path().join("state").display());
    let change = |verb| run(&[verb, "-auto-approve", "-no-color", "-input=false", &kept]);
    run(&["init", "-no-color"]);
    assert!(change("apply").contains("Resources: 4 added"));
    kubectl.wait("-n sample-app-dev deployment/sample deployment/llm --for=condition=Available").unwrap();
    kubectl.run("-n monitoring get namespace monitoring").unwrap();
    assert!(change("apply").contains("Resources: 0 added, 0 changed, 0 destroyed"));
    assert!(change("destroy").contains("Resources: 4 destroyed"));
    assert_eq!(kubectl.run("get namespaces sample-app-dev monitoring --ignore-not-found").unwrap(), "");
}
