//! The `coracle` binary: what was asked on the command line, and the boxes it takes.

mod alone;
mod apply;
mod apps;
mod build;
mod check;
mod cli;
mod config;
mod data_dir;
mod eviction;
mod handover;
mod hpa;
mod platform;
mod route;
mod scaling;
mod snapshot;
mod up;

use std::process::ExitCode;

use clap::Parser;

/// Saves a tenth of the proxy's CPU time for each request of HTTP/2, whose library allocates much. Its huge pages are left out
/// (`no_thp`): they made 10 MiB of memory 30, and more under load.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    // Two roles come before everything else: this binary is also the shim that owns a container, which must hold nothing it
    // does not need, and each of the built-in reference services.
    let mut args = std::env::args_os().skip(1);
    match args.next().as_deref().and_then(|first| first.to_str()) {
        Some(platform::SHIM) => return node::shim::main(args),
        Some(apps::ROLE) => return apps::main(args),
        _ => {}
    }
    log();
    match cli::Cli::parse().run() {
        Ok(code) => code,
        Err(error) => {
            eprintln!("coracle: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Warnings go to standard error; `RUST_LOG` (such as `info` or `apiserver=debug`) shows more. The library of HTTP/2 warns of each
/// flood that it ends, so that whoever sends floods would fill the log: the gateway counts them.
fn log() {
    let wanted = std::env::var("RUST_LOG").unwrap_or_else(|_| "warn,h2=error".to_owned());
    let filter = tracing_subscriber::EnvFilter::builder()
        .with_default_directive(tracing_subscriber::filter::LevelFilter::WARN.into())
        .parse_lossy(wanted);
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).init();
}
