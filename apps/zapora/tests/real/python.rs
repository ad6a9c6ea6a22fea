//! Servers that PyPI has (an S3-like store, a mail server), each started from a script in `servers/`.

use std::{
    env,
    io::{BufRead, BufReader},
    path::Path,
    process::{Child, ChildStdout, Command, Stdio},
};

use serde_json::Value;

/// A server that says something in JSON, line by line; it ends with its value.
pub struct Server {
    child: Child,
    said: BufReader<ChildStdout>,
}

impl Server {
    /// Starts `servers/<script>` and gives what it says first; `None` unless there is a Python with these modules. `CORACLE_PYTHON`
    /// names one that has them.
    pub fn start(script: &str, modules: &str, arguments: &[&str]) -> Option<(Self, Value)> {
        let named = env::var_os("CORACLE_PYTHON");
        let python = named.clone().unwrap_or_else(|| "python3".into());
        let has = Command::new(&python).args(["-c", &format!("import {modules}")]).stderr(Stdio::null()).status();
        if !has.is_ok_and(|status| status.success()) {
            assert!(named.is_none(), "CORACLE_PYTHON does not have {modules}");
            eprintln!("skipped: no Python here has {modules} (pip install -r apps/zapora/tests/http/requirements.txt)");
            return None;
        }
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/real/servers").join(script);
        let mut server = Command::new(&python);
        server.arg(script).args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = server.spawn().unwrap();
        let said = BufReader::new(child.stdout.take().unwrap());
        let mut server = Self { child, said };
        let first = server.line();
        Some((server, first))
    }

    /// What it says next. Waits for it, and nothing else goes on in the test meanwhile: it must be about to.
    pub fn line(&mut self) -> Value {
        let mut line = String::new();
        self.said.read_line(&mut line).unwrap();
        serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line:?}"))
    }

    /// Ends it, and gives what it said until then.
    pub fn end(mut self) -> Vec<Value> {
        drop(self.child.stdin.take());
        self.child.wait().unwrap();
        let lines = (&mut self.said).lines().map(Result::unwrap);
        lines.map(|line| serde_json::from_str(&line).unwrap()).collect()
    }

    /// Ends it at once.
    pub fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended already.
        _ = self.child.kill();
        _ = self.child.wait();
    }
}
