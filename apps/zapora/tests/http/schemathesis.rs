//! The service does what its OpenAPI document says: schemathesis (from PyPI) makes requests from the document, good ones and bad
//! ones, and holds the answers against it.

use std::{
    env,
    path::{Path, PathBuf},
    process::Stdio,
};

use crate::support::Zapora;
use tokio::process::Command;

/// The program: what `SCHEMATHESIS` names, or the one on PATH.
fn program() -> Option<PathBuf> {
    let on_path = || {
        env::split_paths(&env::var_os("PATH")?).map(|folder| folder.join("schemathesis")).find(|file| file.is_file())
    };
    env::var_os("SCHEMATHESIS").map(PathBuf::from).or_else(on_path)
}

#[tokio::test(flavor = "multi_thread")]
async fn every_answer_is_one_that_the_document_has() {
    let Some(program) = program() else {
        println!("skipped: there is no schemathesis (pip install -r apps/zapora/tests/http/requirements.txt)");
        return;
    };
    let zapora = Zapora::start(&[
        ("LOGIN_TRIES_PER_ACCOUNT", "1000000"),
        ("LOGIN_TRIES_PER_ADDRESS", "1000000"),
        ("REGISTRATIONS_PER_ADDRESS", "1000000"),
    ])
    .await;
    let admin = zapora.admin().await;
    let work = tempfile::tempdir().unwrap();
    let output = Command::new(program)
        .args([
            "--config-file".as_ref(),
            Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/http/schemathesis.toml").as_os_str(),
        ])
        .args(["run", &zapora.url("/openapi.json"), "--header", &format!("Authorization: Bearer {}", admin.access)])
        .current_dir(work.path())
        .stdin(Stdio::null())
        .output()
        .await
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}\n{}", String::from_utf8_lossy(&output.stderr));
    println!("{said}");
    zapora.stop().await;
}
