//! From process start to the first 200; then what the idle platform costs.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use tempfile::TempDir;

use testkit::processes;

use crate::{
    http,
    machine::{self, Process},
};

/// What is measured how often.
#[derive(Debug, clap::Args)]
pub struct Options {
    /// Starts, each with a new data directory.
    #[arg(long, default_value_t = 5)]
    runs: usize,
    /// Seconds the platform is watched idle.
    #[arg(long, default_value_t = 30)]
    seconds: u64,
    /// The overlay to start.
    #[arg(long, default_value = "systems/hello/overlays/dev")]
    overlay: PathBuf,
    /// Further arguments for `coracle up`, such as `--runtime loopback`.
    #[arg(last = true)]
    arguments: Vec<String>,
}

/// Measures and prints.
pub fn run(coracle: &Path, options: &Options) -> anyhow::Result<()> {
    let (mut firsts, mut memory, mut shims, mut load) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for run in 0..options.runs {
        let dir = TempDir::new()?;
        let data = dir.path().join("data");
        let address = SocketAddr::from(([127, 0, 0, 1], machine::free_port()?));
        let start = Instant::now();
        let mut command = Command::new(coracle);
        command.args(["up", "--api-port", "0", "-k"]).arg(&options.overlay).arg("--data-dir").arg(&data);
        command.args(["--publish", &format!("{}:80", address.port())]).args(&options.arguments);
        let mut process = Process::spawn(command.stdout(Stdio::null()))?;
        firsts.push(http::wait_for_200(address, "/", start)?.as_secs_f64() * 1e3);
        // The idle cost is the same every time: once is enough.
        if run == 0 {
            thread::sleep(Duration::from_secs(5));
            let before = machine::cpu(&[process.pid()])?;
            thread::sleep(Duration::from_secs(options.seconds));
            let used = machine::cpu(&[process.pid()])? - before;
            load.push(used.as_secs_f64() * 100.0 / options.seconds as f64);
            memory.push(machine::pss(process.pid())? as f64 / 1024.0);
            for pid in processes::with_argument(machine::text(&data)?).into_iter().filter(|pid| *pid != process.pid()) {
                shims.push(machine::pss(pid)? as f64 / 1024.0);
            }
        }
        process.stop("INT")?;
    }
    println!("first 200 after start    {:>8.0} ms (median of {})", machine::median(firsts), options.runs);
    println!("idle memory (PSS)        {:>8.1} MiB", machine::median(memory));
    println!("  and {} shims, together {:>7.1} MiB", shims.len(), shims.iter().sum::<f64>());
    println!("idle CPU                 {:>8.2} % of a core over {} s", machine::median(load), options.seconds);
    Ok(())
}
