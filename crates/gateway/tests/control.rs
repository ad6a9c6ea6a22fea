//! Golden pairs for the control plane: manifests in, routing table and statuses out. `BLESS=1` writes the expected files.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a failed step of a test is its failure")]

#[path = "common/snapshot.rs"]
mod snapshot;

use std::{fs, path::Path};

use gateway::{
    control::{BindError, Memory, Options, Publish, compile, dump, fuzzing::translation},
    table::Transport,
};
use serde_json::json;
use snapshot::snapshot;

fn options() -> Options {
    let publish = vec![Publish { address: "127.0.0.1:8080".parse().unwrap(), listener_port: 80 }];
    Options::new(publish, "127.0.0.1".parse().unwrap())
}

fn check(file: &Path, actual: &str) {
    if std::env::var_os("BLESS").is_some() {
        fs::write(file, actual).unwrap();
    }
    assert_eq!(fs::read_to_string(file).unwrap_or_default(), actual, "{} differs; BLESS=1 rewrites it", file.display());
}

/// The list of features says nothing of a case.
fn without_features(mut status: serde_json::Value) -> serde_json::Value {
    status.as_object_mut().unwrap().remove("supportedFeatures");
    status
}

#[test]
fn every_golden_case_compiles_to_its_table_and_statuses() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    let prelude = fs::read_to_string(root.join("prelude.yaml")).unwrap();
    for case in fs::read_dir(&root).unwrap().map(|entry| entry.unwrap().path()).filter(|path| path.is_dir()) {
        let mut snapshot = snapshot(&format!("{prelude}---\n{}", fs::read_to_string(case.join("in.yaml")).unwrap()));
        let message = "Address already in use".to_owned();
        snapshot.bind_errors = vec![BindError {
            address: "127.0.0.1:9099".parse().unwrap(),
            transport: Transport::Tcp,
            message,
            denied: false,
        }];
        let compiled = compile(&snapshot, &options(), &mut Memory::default(), "2026-02-01T00:00:00Z".parse().unwrap());
        check(&case.join("table.txt"), &dump(&compiled.table));
        let statuses = compiled.statuses.iter().map(
            |s| json!({"kind": format!("{:?}", s.kind), "name": s.name, "status": without_features(s.status.clone())}),
        );
        check(&case.join("status.yaml"), &serde_saphyr::to_string(&statuses.collect::<Vec<_>>()).unwrap());
    }
}

#[test]
fn every_golden_case_comes_to_the_same_in_any_order_and_says_all_there_is_to_say() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    let prelude = fs::read_to_string(root.join("prelude.yaml")).unwrap();
    for case in fs::read_dir(&root).unwrap().map(|entry| entry.unwrap().path()).filter(|path| path.is_dir()) {
        let text = format!("{prelude}---\n{}", fs::read_to_string(case.join("in.yaml")).unwrap());
        translation(serde_saphyr::from_multiple::<serde_json::Value>(&text).unwrap());
    }
}
