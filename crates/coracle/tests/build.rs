//! `coracle build` as a user runs it.

#![allow(clippy::unwrap_used, reason = "a failed step of a test is its failure")]

use std::{
    path::Path,
    process::{Command, Output},
};

fn build(folder: &str) -> Output {
    let systems = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../systems");
    Command::new(env!("CARGO_BIN_EXE_coracle")).args(["build", "-k"]).arg(systems.join(folder)).output().unwrap()
}

#[test]
fn a_kustomization_is_printed() {
    let output = build("hello/overlays/dev");
    assert!(output.status.success());
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.starts_with("apiVersion: v1\nkind: Namespace\n"), "{text}");
    assert_eq!(text.matches("\n---\n").count(), 5, "{text}");
}

#[test]
fn a_folder_without_one_is_named_on_standard_error() {
    let output = build("hello");
    assert_eq!((output.status.code(), output.stdout.len()), (Some(1), 0));
    let text = String::from_utf8(output.stderr).unwrap();
    assert!(text.contains("hello: it holds no kustomization"), "{text}");
}
