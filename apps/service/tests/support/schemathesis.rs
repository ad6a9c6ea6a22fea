//! Holds a service against its own OpenAPI document: schemathesis (from PyPI) makes requests from the document, good ones and bad
//! ones. Taken in by the tests of the services.

use std::{env, path::PathBuf, process::Stdio};

use tokio::process::Command;

/// The program: what `SCHEMATHESIS` names, or the one on PATH.
fn program() -> Option<PathBuf> {
    let on_path = || {
        env::split_paths(&env::var_os("PATH")?).map(|folder| folder.join("schemathesis")).find(|file| file.is_file())
    };
    env::var_os("SCHEMATHESIS").map(PathBuf::from).or_else(on_path)
}

/// Fails unless every answer of the service at `url` is one that its document has. Without schemathesis nothing is held against it.
pub async fn holds(url: &str, arguments: &[&str]) {
    let Some(program) = program() else {
        println!("skipped: there is no schemathesis (pip install -r apps/zapora/tests/http/requirements.txt)");
        return;
    };
    let work = tempfile::tempdir().unwrap();
    let output = Command::new(program)
        .args([
            "run",
            &format!("{url}/openapi.json"),
            "--seed",
            "20261121",
            "--max-examples",
            "25",
            "--continue-on-failure",
        ])
        .args(arguments)
        .current_dir(work.path())
        .stdin(Stdio::null())
        .output()
        .await
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}\n{}", String::from_utf8_lossy(&output.stderr));
}
