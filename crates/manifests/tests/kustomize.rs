//! Builds against what kubectl prints. Every folder in `cases` is a kustomization; the file beside it with its name is what
//! kubectl printed. Every folder in `refused` is one that must fail; the file beside it is our message.
//!
//! With `BLESS=1` the expected files are written anew. Where kubectl is installed, it is asked again.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a failed step of a test is its failure")]

use std::{
    fs,
    path::{Path, PathBuf},
};

use testkit::Kubectl;

/// The versions that are asked: the oldest and the newest that people have.
const VERSIONS: [&str; 2] = ["1.28", "1.33"];
/// Cases in which 1.28 does something else, and why.
const NEWER: &[(&str, &str)] = &[
    ("components", "1.28 runs components before the generators, 1.33 after them"),
    ("configuration-field", "1.28 passes over unknown fields in configurations, 1.33 refuses them"),
];
/// Refusals of things that kubectl does.
const OURS: &[&str] =
    &["build-metadata", "crds", "openapi", "remote-file", "second-document", "transformers", "unknown-option", "vars"];

fn is_newer(version: &str, case: &Path) -> bool {
    version == "1.28" && NEWER.iter().any(|(newer, _)| *newer == name(case))
}

fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests").join(name)
}

/// The folders in a folder, in order of name.
fn cases(of: &str) -> Vec<PathBuf> {
    let mut cases: Vec<_> = fs::read_dir(folder(of)).unwrap().map(|entry| entry.unwrap().path()).collect();
    cases.retain(|path| path.is_dir());
    cases.sort();
    assert!(!cases.is_empty());
    cases
}

fn name(case: &Path) -> &str {
    case.file_name().unwrap().to_str().unwrap()
}

fn built(case: &Path) -> Result<String, String> {
    manifests::build(case).map(|objects| manifests::to_yaml(&objects)).map_err(|error| error.to_string())
}

/// Compares with the file, or writes it.
fn compare(file: &Path, text: &str) {
    if std::env::var_os("BLESS").is_some() {
        fs::write(file, text).unwrap();
        return;
    }
    let expected = fs::read_to_string(file).unwrap_or_default();
    assert!(expected == text, "{} differs (BLESS=1 writes it); now it is:\n{text}", file.display());
}

/// Calls back with every kubectl there is.
fn with_each_kubectl(check: impl Fn(&str, &Kubectl)) {
    for version in VERSIONS {
        match Kubectl::version(version, Path::new("/nonexistent")) {
            Some(kubectl) => check(version, &kubectl),
            None => println!("skipped: there is no kubectl {version}"),
        }
    }
}

/// What kubectl prints for a folder.
fn kubectl_builds(kubectl: &Kubectl, case: &Path) -> Result<String, String> {
    let output = kubectl.command("kustomize").arg(case).output().unwrap();
    if output.status.success() {
        return Ok(String::from_utf8(output.stdout).unwrap());
    }
    Err(String::from_utf8_lossy(&output.stderr).into_owned())
}

#[test]
fn builds_are_what_kubectl_printed() {
    for case in cases("cases") {
        let text = built(&case).unwrap_or_else(|error| panic!("{}: {error}", name(&case)));
        compare(&case.with_extension("yaml"), &text);
    }
}

#[test]
fn builds_are_what_kubectl_prints() {
    with_each_kubectl(|version, kubectl| {
        for case in cases("cases").into_iter().filter(|case| !is_newer(version, case)) {
            let theirs = kubectl_builds(kubectl, &case).unwrap_or_else(|error| panic!("{}: {error}", name(&case)));
            let ours = built(&case).unwrap();
            assert!(ours == theirs, "{} with kubectl {version}; it printed:\n{theirs}\nwe:\n{ours}", name(&case));
        }
    });
}

#[test]
fn the_systems_build_as_with_kubectl() {
    let systems = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../systems");
    let overlays: Vec<PathBuf> =
        ["dev", "stage", "prod"].map(|stage| systems.join("hello/overlays").join(stage)).into();
    let ours: Vec<String> = overlays.iter().map(|overlay| built(overlay).unwrap()).collect();
    with_each_kubectl(|version, kubectl| {
        for (overlay, ours) in overlays.iter().zip(&ours) {
            let theirs = kubectl_builds(kubectl, overlay).unwrap();
            assert!(*ours == theirs, "{} with kubectl {version}:\n{theirs}", overlay.display());
        }
    });
}

#[test]
fn what_is_printed_reads_back_as_the_same_objects() {
    for case in cases("cases") {
        let objects = manifests::build(&case).unwrap();
        let again = manifests::parse(&manifests::to_yaml(&objects), Path::new("again")).unwrap();
        for (one, other) in objects.iter().zip(&again) {
            assert_eq!(one.value, other.value, "{}", name(&case));
        }
        assert_eq!(objects.len(), again.len());
    }
}

#[test]
fn every_object_knows_its_file() {
    for object in manifests::build(&folder("cases/behaviors")).unwrap() {
        assert!(object.source.is_file(), "{}", object.source.display());
    }
}

#[test]
fn refusals_name_the_file_and_the_reason() {
    let root = folder("refused");
    for case in cases("refused") {
        let error = built(&case).expect_err(name(&case));
        compare(&case.with_extension("txt"), &format!("{}\n", error.replace(&format!("{}/", root.display()), "")));
    }
}

#[test]
fn kubectl_refuses_what_we_refuse() {
    with_each_kubectl(|version, kubectl| {
        let theirs_too = |case: &PathBuf| !OURS.contains(&name(case)) && !is_newer(version, case);
        for case in cases("refused").into_iter().filter(theirs_too) {
            assert!(kubectl_builds(kubectl, &case).is_err(), "{} is built by kubectl {version}", name(&case));
        }
    });
}

/// Writes files into a folder.
fn write(folder: &Path, files: &[(String, String)]) {
    for (name, content) in files {
        let path = folder.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }
}

#[test]
fn kustomizations_that_multiply_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: String, content: String| (format!("{name}/kustomization.yaml"), content);
    let mut files = vec![file("l0".into(), "configMapGenerator: [{name: a}]\n".into())];
    for level in 1..16 {
        for side in ["a", "b"] {
            let content = format!("resources: [../l{}]\nnamePrefix: {side}-\n", level - 1);
            files.push(file(format!("l{level}{side}"), content));
        }
        files.push(file(format!("l{level}"), format!("resources: [../l{level}a, ../l{level}b]\n")));
    }
    write(folder.path(), &files);
    assert_eq!(manifests::build(&folder.path().join("l3")).unwrap().len(), 8);
    let error = manifests::build(&folder.path().join("l15")).unwrap_err().to_string();
    assert!(error.contains("too many kustomizations"), "{error}");
}

#[test]
fn a_link_that_leaves_the_folder_is_not_followed() {
    let folder = tempfile::tempdir().unwrap();
    let secret = "apiVersion: v1\nkind: Secret\nmetadata: {name: a}\n".to_owned();
    write(
        folder.path(),
        &[("outside.yaml".into(), secret), ("app/kustomization.yaml".into(), "resources: [link.yaml]\n".into())],
    );
    std::os::unix::fs::symlink("../outside.yaml", folder.path().join("app/link.yaml")).unwrap();
    let error = manifests::build(&folder.path().join("app")).unwrap_err().to_string();
    assert!(error.contains("link.yaml") && error.contains("not in or below"), "{error}");
}
