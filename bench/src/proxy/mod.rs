//! The gateway beside its peers: CPU per request, what routes cost, how soon a change is served, and tails at a fixed rate.

mod change;
mod cpu;
mod routes;
mod tail;

use std::{fmt::Write as _, time::Duration};

use anyhow::{Context, ensure};
use nix::{
    sched::{CpuSet, sched_setaffinity},
    sys::resource::{Resource, getrlimit, setrlimit},
    unistd::Pid,
};

use crate::{
    idle,
    peers::{self, CORES, Programs, Site},
};

/// What is measured how often.
#[derive(Debug, clap::Args)]
pub struct Options {
    /// Everything there is.
    #[arg(long)]
    all: bool,
    /// These (repeatable): get-1k, post-1k, get-64k, tls-1k, handshake, h2-1k, h2-tls-1k, grpc, routes, change, tail, idle.
    #[arg(long = "only", value_name = "NAME", default_value = "get-1k", conflicts_with = "all")]
    only: Vec<String>,
    /// Runs of each.
    #[arg(long, default_value_t = 5)]
    runs: usize,
    /// Seconds of each run.
    #[arg(long, default_value_t = 5)]
    seconds: u32,
    /// Routes in each configuration.
    #[arg(long, default_value_t = 100)]
    routes: usize,
    /// HTTPRoutes of the larger table of `routes`, and of the table of `change`.
    #[arg(long, default_value_t = 1000)]
    many_routes: usize,
    /// Client connections of HTTP/1.1.
    #[arg(long, default_value_t = 64)]
    connections: u32,
    /// Requests a second of `tail`.
    #[arg(long, default_value_t = 5000)]
    rate: u32,
    /// Coracle writes lines of JSON, its default, instead of those that Envoy writes.
    #[arg(long)]
    json_lines: bool,
    /// Changes of `change`.
    #[arg(long, default_value_t = 100)]
    changes: u32,
}

impl Options {
    fn wants(&self, name: &str) -> bool {
        self.all || self.only.iter().any(|only| only == name)
    }

    fn duration(&self) -> Duration {
        Duration::from_secs(self.seconds.into())
    }
}

/// Figures that were wanted and those that were found.
#[derive(Debug, Default)]
pub struct Verdicts(Vec<Verdict>);

#[derive(Debug)]
struct Verdict {
    what: String,
    found: f64,
    most: f64,
}

impl Verdicts {
    /// Notes a figure that should be at most `most`.
    pub fn at_most(&mut self, what: impl Into<String>, found: f64, most: f64) {
        self.0.push(Verdict { what: what.into(), found, most });
    }

    fn text(&self) -> String {
        let mut text = String::new();
        for Verdict { what, found, most } in &self.0 {
            let word = if found <= most { "met" } else { "MISSED" };
            // Writing to a String does not fail.
            _ = writeln!(text, "{word:<7} {found:>8.2} (at most {most:.2})  {what}");
        }
        text
    }
}

/// What can be measured beside the rows of [`cpu::SCENARIOS`].
const OTHERS: [&str; 4] = ["routes", "change", "tail", "idle"];

/// Measures and prints a table each, and at the end which targets were met.
pub fn run(programs: &Programs, options: &Options) -> anyhow::Result<()> {
    for name in &options.only {
        let known = OTHERS.contains(&name.as_str()) || cpu::SCENARIOS.iter().any(|scenario| scenario.name == name);
        ensure!(known, "there is no measurement {name:?}: see --help");
    }
    prepare()?;
    let mut verdicts = Verdicts::default();
    let mut site = Site::open(options.routes)?;
    if options.json_lines {
        site.log_format = "json";
    }
    let chosen: Vec<_> = cpu::SCENARIOS.iter().filter(|scenario| options.wants(scenario.name)).collect();
    if !chosen.is_empty() || options.wants("tail") {
        let peers = peers::start_all(programs, &site)?;
        for scenario in chosen {
            cpu::run(scenario, &site, &peers, options, &mut verdicts);
        }
        if options.wants("tail") {
            tail::run(&site, &peers, options, &mut verdicts)?;
        }
    }
    if options.wants("routes") {
        routes::run(programs, options, &mut verdicts)?;
    }
    if options.wants("change") {
        change::run(programs, options, &mut verdicts)?;
    }
    if options.wants("idle") {
        idle::measure(programs, &idle::Options::default(), &mut verdicts)?;
    }
    print!("\n{}", verdicts.text());
    Ok(())
}

/// Leaves the first core to the proxies, and lets everybody have as many connections as the machine allows.
pub fn prepare() -> anyhow::Result<()> {
    let cores = std::thread::available_parallelism()?.get();
    ensure!(cores >= 2, "this needs two cores: one for the proxy, one for clients and endpoints");
    let mut set = CpuSet::new();
    set.set(CORES.1.parse()?)?;
    sched_setaffinity(Pid::from_raw(0), &set).context("stay on the second core")?;
    let (_, most) = getrlimit(Resource::RLIMIT_NOFILE)?;
    setrlimit(Resource::RLIMIT_NOFILE, most, most).context("raise the limit of open files")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_figure_above_its_target_is_called_missed() {
        let mut verdicts = Verdicts::default();
        verdicts.at_most("a", 0.79, 0.8);
        verdicts.at_most("b", 0.81, 0.8);
        let text = verdicts.text();
        assert!(text.lines().next().unwrap().starts_with("met "), "{text}");
        assert!(text.lines().nth(1).unwrap().starts_with("MISSED "), "{text}");
    }
}
