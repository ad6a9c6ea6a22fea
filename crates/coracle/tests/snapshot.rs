//! `coracle snapshot`: the state of a running Coracle is saved, and serves again elsewhere.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a failed step of a test is its failure")]

use std::{
    fs,
    path::Path,
    process::{Command, Output},
};

use testkit::{Coracle, Settings};

const PROGRAM: &str = env!("CARGO_BIN_EXE_coracle");

fn snapshot(arguments: &[&str], data_dir: Option<&Path>) -> Output {
    let mut command = Command::new(PROGRAM);
    command.arg("snapshot").args(arguments);
    if let Some(data_dir) = data_dir {
        command.arg("--data-dir").arg(data_dir);
    }
    command.output().unwrap()
}

#[track_caller]
fn said(output: &Output) -> String {
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
    text
}

#[track_caller]
fn refused(output: &Output) -> String {
    assert!(!output.status.success());
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn what_is_saved_from_a_running_coracle_is_there_after_a_restore_into_another_directory() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("saved");
    let text = |path: &Path| path.to_str().unwrap().to_owned();
    let config_map = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: kept, namespace: default}\ndata: {a: b}\n";
    let mut settings = Settings::new(PROGRAM);
    let manifests = dir.path().join("kept.yaml");
    fs::write(&manifests, config_map).unwrap();
    settings.arguments = vec!["-f".to_owned(), text(&manifests)];
    let coracle = Coracle::start(settings).unwrap();
    let kubeconfig = coracle.kubeconfig();
    let running = kubeconfig.parent().unwrap();
    said(&snapshot(&["save", &text(&file)], Some(running)));
    let first = fs::read_to_string(&file).unwrap();
    assert!(first.contains("\"name\":\"kept\""));

    let status = said(&snapshot(&["status", &text(&file), "--output", "json"], None));
    assert!(status.contains("\"sha256\""), "{status}");
    let other = dir.path().join("other");
    assert!(refused(&snapshot(&["restore", &text(&file)], Some(running))).contains("in use by another Coracle"));
    said(&snapshot(&["restore", &text(&file)], Some(&other)));
    assert!(refused(&snapshot(&["restore", &text(&file)], Some(&other))).contains("--force"));
    assert!(said(&snapshot(&["restore", &text(&file), "--force"], Some(&other))).contains("is kept as"));

    // Nothing runs there: the same command reads the file itself.
    let again = dir.path().join("again");
    said(&snapshot(&["save", &text(&again)], Some(&other)));
    let objects = |text: &str| {
        text.lines().skip(1).filter(|line| line.contains("\"resource\"")).map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(objects(&fs::read_to_string(&again).unwrap()), objects(&first));

    let torn = &first.as_bytes()[..first.len() - 10];
    fs::write(&file, torn).unwrap();
    let empty = dir.path().join("empty");
    assert!(refused(&snapshot(&["restore", &text(&file)], Some(&empty))).contains("cut short"));
    assert!(!empty.join("state.redb").exists(), "nothing is written before all is checked");
}
