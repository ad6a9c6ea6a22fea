//! Measurements: each compares in one run, and prints medians. See `README.md` beside this crate.

#![allow(clippy::disallowed_methods, reason = "a measurement waits for time to pass; nothing is asserted about it")]

mod crash;
mod http;
mod idle;
mod machine;
mod proxy;
mod start;

use std::path::PathBuf;

use clap::{Parser, Subcommand};

/// Measures Coracle beside its peers.
#[derive(Debug, Parser)]
struct Cli {
    /// The binary to measure.
    #[arg(long, global = true, default_value = "target/release/coracle")]
    coracle: PathBuf,
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// CPU per request of the gateway and of nginx with the same routes.
    Proxy(proxy::Options),
    /// From process start to the first 200; then memory and CPU of the idle platform.
    Start(start::Options),
    /// SIGKILL at random moments under a stream of writes: what is lost, and how long until requests are served again.
    Crash(crash::Options),
    /// Memory of the gateway with idle client connections.
    Idle(idle::Options),
}

fn main() -> anyhow::Result<()> {
    let cli = Cli::parse();
    match cli.what {
        What::Proxy(options) => proxy::run(&cli.coracle, &options),
        What::Start(options) => start::run(&cli.coracle, &options),
        What::Crash(options) => crash::run(&cli.coracle, &options),
        What::Idle(options) => idle::run(&cli.coracle, &options),
    }
}
