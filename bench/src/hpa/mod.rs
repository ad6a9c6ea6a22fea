//! What autoscaling costs, how soon it acts, and the course of an autoscaler under a load script.

mod course;
mod fleet;
mod pace;
mod step;

use std::path::{Path, PathBuf};

use tokio::runtime::{Builder, Runtime};

/// What is measured, and how often.
#[derive(Debug, clap::Args)]
pub struct Options {
    /// Only these (repeatable) [default: step and fleet].
    #[arg(long, value_enum)]
    only: Vec<Part>,
    /// Steps in load for each sync period.
    #[arg(long, default_value_t = 9)]
    steps: usize,
    /// Autoscalers, each with a pod of its own.
    #[arg(long, default_value_t = 200)]
    autoscalers: usize,
    /// Seconds over which CPU is counted.
    #[arg(long, default_value_t = 30)]
    seconds: u64,
    /// Thousandths of a core that a pod of the course requests instead of 200: ten pods at 70 % of that would need more cores than
    /// the machine may have.
    #[arg(long, default_value_t = 5)]
    request: u32,
    /// Where the recorded course goes, as CSV.
    #[arg(long, value_name = "FILE", default_value = "course.csv")]
    recording: PathBuf,
    /// Further arguments for `coracle up`, such as `--runtime native`.
    #[arg(last = true)]
    arguments: Vec<String>,
}

/// What can be measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Part {
    /// From a step in load to the first answer of a new pod.
    Step,
    /// The CPU of many autoscalers that are looked at every second, and of measuring their pods.
    Fleet,
    /// The prod overlay of `systems/hello` under a load that rises and falls: replicas and utilisation by time. A quarter of an hour.
    Course,
}

/// Measures and prints.
pub fn run(coracle: &Path, options: &Options) -> anyhow::Result<()> {
    let wanted = |part| options.only.contains(&part) || (options.only.is_empty() && part != Part::Course);
    if wanted(Part::Step) {
        step::run(coracle, options)?;
    }
    if wanted(Part::Fleet) {
        fleet::run(coracle, options)?;
    }
    if wanted(Part::Course) {
        course::run(coracle, options)?;
    }
    Ok(())
}

/// What the API's client runs on.
fn runtime() -> std::io::Result<Runtime> {
    Builder::new_multi_thread().worker_threads(1).enable_all().build()
}

/// Arguments as a command line has them, and those that came with `--`.
fn arguments(own: &[&str], options: &Options) -> Vec<String> {
    own.iter().map(|argument| (*argument).to_owned()).chain(options.arguments.iter().cloned()).collect()
}
