//! Where requests end: nginx for answers of 1 and 64 KiB, this program for gRPC; on the core that the proxies do not have.

use std::{fs, path::Path, process::Stdio};

use anyhow::Context;

use super::{CORES, nginx, on_core};
use crate::machine::{self, Process};

/// The running endpoints.
pub struct Endpoints {
    /// The port that answers with 1 KiB.
    pub small: u16,
    /// The port that answers with 64 KiB.
    pub large: u16,
    /// The port that speaks gRPC.
    pub grpc: u16,
    _processes: [Process; 2],
}

impl Endpoints {
    /// Starts them.
    ///
    /// # Errors
    /// One of them cannot be started.
    pub fn start(dir: &Path) -> anyhow::Result<Self> {
        let (small, large, grpc) = (machine::free_port()?, machine::free_port()?, machine::free_port()?);
        let root = dir.join("root");
        fs::create_dir(&root)?;
        fs::write(root.join("64k"), "x".repeat(64 * 1024))?;
        let body = "x".repeat(1024);
        let root = machine::text(&root)?;
        let http = format!(
            "access_log off;\n\
             server {{ listen 127.0.0.1:{small} backlog=4096; location / {{ return 200 \"{body}\"; }} }}\n\
             server {{ listen 127.0.0.1:{large} backlog=4096; root {root}; open_file_cache max=4; sendfile on; \
             location / {{ rewrite ^ /64k break; }} }}"
        );
        let server = nginx::spawn(dir, "endpoint", CORES.1, &http)?;
        let mut command = on_core(CORES.1, std::env::current_exe().context("find this program's own file")?);
        command.args(["grpc-upstream", "--listen", &format!("127.0.0.1:{grpc}")]).stdout(Stdio::null());
        let echo = Process::spawn(&mut command)?;
        Ok(Self { small, large, grpc, _processes: [server, echo] })
    }
}
