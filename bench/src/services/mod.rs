//! What a request to zapora costs beside the same endpoints on FastAPI, uvicorn and SQLAlchemy (`bench/fastapi`): one process each,
//! one PostgreSQL and one Redis for all, CPU time of the service's processes alone. zapora is there twice: the program of its own, which
//! a container runs as it runs uvicorn, and the one in Coracle's binary.

mod asking;
mod hashing;
mod jobs;
mod sides;

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::Context;
use testkit::databases::{Postgres, Redis};

use self::sides::{Kind, Side};
use crate::machine::{self, median};

/// What is measured, and for how long.
#[derive(Debug, clap::Args)]
pub struct Options {
    /// zapora as a program of its own.
    #[arg(long, default_value = "target/release/zapora")]
    zapora: PathBuf,
    /// A Python that has what `bench/fastapi/requirements.txt` names.
    #[arg(long, default_value = "python3")]
    python: PathBuf,
    /// Rounds; every round measures everything once, and medians are printed.
    #[arg(long, default_value_t = 3)]
    runs: usize,
    /// Seconds of each measurement.
    #[arg(long, default_value_t = 5)]
    seconds: u64,
    /// Connections that ask at the same time.
    #[arg(long, default_value_t = 16)]
    connections: usize,
    /// bcrypt's cost of the password; 4 is the least there is, so that what else a login costs can be seen.
    #[arg(long, default_value_t = 4)]
    cost: u32,
    /// Jobs that go through the queue.
    #[arg(long, default_value_t = 50_000)]
    jobs: u64,
}

/// The requests, by what they are called in the table.
const ROWS: &[(&str, Kind)] = &[
    ("GET /menu-items, cached", Kind::Cached),
    ("GET /menu-items, not cached", Kind::Fresh),
    ("POST /orders", Kind::Order),
    ("POST /auth/login", Kind::Login),
];

/// Measures and prints.
pub fn run(coracle: &Path, options: &Options) -> anyhow::Result<()> {
    let postgres = Postgres::start()?.context("PostgreSQL is not installed (apt-get install postgresql)")?;
    let redis = Redis::start()?.context("Redis is not installed (apt-get install redis-server)")?;
    let ours = Side::alone(&options.zapora, &postgres, &redis, options.cost)?;
    let theirs = Side::theirs(&options.python, &postgres, &redis, options.cost)?;
    let built_in = Side::built_in(coracle, &postgres, &redis, options.cost)?;
    let sides = [&ours, &theirs, &built_in];
    for side in sides {
        let [first, again] = side.ready.map(|ready| ready.as_secs_f64() * 1e3);
        println!("{:<17} ready after {again:.0} ms, {first:.0} ms the first time, when it makes its tables", side.name);
    }

    println!(
        "{:<30} {:>9} {:>9} {:>7} {:>9}   a second",
        "µs of CPU for each request", "zapora", "FastAPI", "", "built in"
    );
    let mut login = [0.0; 3];
    for (name, kind) in ROWS {
        let (cost, rate) = measure(name, *kind, sides, options)?;
        print(name, cost, &rate.map(|rate| format!("{rate:.0}")).join(", "));
        login = cost;
    }
    let hash =
        [hashing::ours(options.cost)?, hashing::theirs(&options.python, options.cost)?, hashing::ours(options.cost)?];
    print("  of which bcrypt alone", hash, "");
    print("  and all the rest", std::array::from_fn(|side| login[side] - hash[side]), "");

    for side in sides {
        let (all, own) = side.memory()?;
        println!("{:<17} has {all:.1} MiB in use after that, {own:.1} of them its own data", side.name);
    }

    let queue = jobs::queue_alone(&redis, options.jobs)?;
    let (through, cpu) = jobs::through_the_outbox(&ours, &postgres, options.jobs)?;
    for (what, outcome) in [("through Redis", queue), ("from the outbox through Redis until done", through)] {
        let jobs::Outcome { rate, lost, doubled } = outcome;
        println!("{rate:.0} jobs/s {what}: of {} lost {lost}, doubled {doubled}", options.jobs);
    }
    println!("{} µs of zapora's CPU for each of the latter", cpu.as_micros());
    Ok(())
}

/// Medians of CPU for each request in µs and of requests a second, by side.
fn measure(name: &str, kind: Kind, sides: [&Side; 3], options: &Options) -> anyhow::Result<([f64; 3], [f64; 3])> {
    let time = Duration::from_secs(options.seconds);
    let (mut cost, mut rate) = ([const { Vec::new() }; 3], [const { Vec::new() }; 3]);
    for _ in 0..options.runs {
        for ((side, cost), rate) in sides.iter().zip(&mut cost).zip(&mut rate) {
            let before = machine::cpu(&side.processes())?;
            let done = asking::load(side, kind, options.connections, time)
                .with_context(|| format!("{name}: {}", side.name))?;
            let used = machine::cpu(&side.processes())? - before;
            cost.push(used.as_secs_f64() * 1e6 / done as f64);
            rate.push(done as f64 / time.as_secs_f64());
        }
    }
    Ok((cost.map(median), rate.map(median)))
}

fn print(name: &str, [ours, theirs, built_in]: [f64; 3], more: &str) {
    println!("{name:<30} {ours:>9.0} {theirs:>9.0} {:>6.1}x {built_in:>9.0}   {more}", theirs / ours);
}
