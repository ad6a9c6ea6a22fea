//! What the API costs: how soon it answers, how many durable writes it takes, what objects take of memory, and what it costs to tell
//! a thousand watchers.
//!
//! The server is another process of this program, so that its memory and CPU are its own.

mod creates;
mod latency;
mod memory;
mod server;
mod watchers;

use clap::ValueEnum;

pub use server::serve;

/// What is measured.
#[derive(Debug, clap::Args)]
pub struct Options {
    /// One of the measurements only.
    #[arg(long, value_enum)]
    only: Option<Part>,
    /// Requests of each sort.
    #[arg(long, default_value_t = 2_000)]
    requests: usize,
    /// Watchers on one resource.
    #[arg(long, default_value_t = 1_000)]
    watchers: usize,
    /// Writes a second that they are told of.
    #[arg(long, default_value_t = 200)]
    rate: u32,
    /// Seconds for which writes are made at that rate.
    #[arg(long, default_value_t = 20)]
    seconds: u32,
    /// Objects of 2 KB in memory.
    #[arg(long, default_value_t = 10_000)]
    objects: usize,
    /// Clients that create at once.
    #[arg(long, default_value_t = 64)]
    clients: usize,
}

/// The measurements.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Part {
    /// How soon a get, a durable create and a list of 500 pods are answered over TLS.
    Latency,
    /// What 10,000 objects take, and how soon a server with them answers.
    Memory,
    /// What it costs to tell 1,000 watchers, and what becomes of one that does not read.
    Watchers,
    /// How many durable creates a second 64 clients in one process get.
    Creates,
}

/// Where the server's settings come from.
#[derive(Debug, clap::Args)]
pub struct Serve {
    /// The data directory.
    pub data_dir: std::path::PathBuf,
}

/// Measures and prints.
pub fn run(options: &Options) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        for part in [Part::Latency, Part::Memory, Part::Watchers, Part::Creates] {
            if options.only.is_some_and(|only| only != part) {
                continue;
            }
            match part {
                Part::Latency => latency::run(options.requests).await?,
                Part::Memory => memory::run(options.objects).await?,
                Part::Watchers => watchers::run(options.watchers, options.rate, options.seconds).await?,
                Part::Creates => creates::run(options.clients).await?,
            }
        }
        Ok(())
    })
}
