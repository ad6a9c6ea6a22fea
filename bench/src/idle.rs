//! Memory with idle client connections.

use std::{
    fs,
    net::{SocketAddr, TcpStream},
    path::Path,
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::Context;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use tempfile::TempDir;
use testkit::systems::{GATEWAY, route};

use crate::{
    http,
    machine::{self, Process},
};

/// How many.
#[derive(Debug, clap::Args)]
pub struct Options {
    /// Connections that send nothing.
    #[arg(long, default_value_t = 10_000)]
    connections: usize,
}

/// Answered by the gateway itself.
const RULE: &str =
    "{filters: [{type: RequestRedirect, requestRedirect: {path: {type: ReplaceFullPath, replaceFullPath: /}}}]}";

/// Measures and prints.
pub fn run(coracle: &Path, options: &Options) -> anyhow::Result<()> {
    let (_, most) = getrlimit(Resource::RLIMIT_NOFILE)?;
    setrlimit(Resource::RLIMIT_NOFILE, most, most).context("raise the limit of open files")?;
    let dir = TempDir::new()?;
    let manifests = dir.path().join("gateway.yaml");
    fs::write(&manifests, [GATEWAY, &route(RULE)].concat())?;
    let address = SocketAddr::from(([127, 0, 0, 1], machine::free_port()?));
    let mut command = Command::new(coracle);
    command.args(["up", "--api-port", "0", "-f"]).arg(&manifests).arg("--data-dir").arg(dir.path().join("data"));
    let process = Process::spawn(command.args(["--publish", &format!("{}:80", address.port())]).stdout(Stdio::null()))?;
    let deadline = Instant::now() + Duration::from_secs(30);
    while Instant::now() < deadline && http::status(address, "/").unwrap_or(0) != 302 {
        thread::sleep(Duration::from_millis(10));
    }
    let before = machine::pss(process.pid())?;
    let held = (0..options.connections).map(|_| TcpStream::connect(address)).collect::<Result<Vec<_>, _>>()?;
    let answered = http::status(address, "/")?;
    let after = machine::pss(process.pid())?;
    println!(
        "{} idle connections: {} KiB more, {:.2} KiB each",
        held.len(),
        after - before,
        (after - before) as f64 / held.len() as f64
    );
    println!("a further client is answered with {answered}");
    Ok(())
}
