//! SIGKILL at random moments under a stream of writes.

use std::{
    collections::BTreeSet,
    net::SocketAddr,
    path::Path,
    process::Command,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, ensure};
use testkit::{Coracle, Kubectl, Settings};

use crate::{http, machine};

/// How often.
#[derive(Debug, clap::Args)]
pub struct Options {
    /// Crashes.
    #[arg(long, default_value_t = 50)]
    runs: u32,
    /// The kubectl that writes.
    #[arg(long, default_value = "1.33")]
    kubectl: String,
    /// The overlay that serves.
    #[arg(long, default_value = "systems/hello/overlays/dev")]
    overlay: String,
}

/// Crashes it, and prints what was lost.
pub fn run(coracle: &Path, options: &Options) -> anyhow::Result<()> {
    let mut settings = Settings::new(coracle);
    settings.arguments = vec!["-k".to_owned(), options.overlay.clone()];
    settings.publish = vec![format!("{}:80", machine::free_port()?)];
    let mut coracle = Coracle::start(settings)?;
    let gateway = coracle.gateway(80).context("no gateway")?;
    let kubectl = Kubectl::version(&options.kubectl, &coracle.kubeconfig()).context("there is no such kubectl")?;
    let pods = pods(&kubectl)?;
    let written = Arc::new(Mutex::new(BTreeSet::new()));
    let mut outages = Vec::new();
    for run in 0..options.runs {
        let stop = Arc::new(AtomicBool::new(false));
        let writer = thread::spawn({
            let (kubectl, stop, written) = (kubectl.clone(), stop.clone(), written.clone());
            move || write(run, &kubectl, &stop, &written)
        });
        // A different moment each time, spread over the time that a few writes take.
        thread::sleep(Duration::from_millis(300 + u64::from(run * 37 % 400)));
        coracle.kill()?;
        stop.store(true, Ordering::Relaxed);
        writer.join().map_err(|_| anyhow::anyhow!("the writer panicked"))?;
        let start = Instant::now();
        coracle.start_again()?;
        outages.push(until_served(gateway, start)?);
    }
    let acknowledged = written.lock().unwrap_or_else(PoisonError::into_inner).clone();
    let listed = kubectl.run("get configmaps -o name").map_err(anyhow::Error::msg)?;
    let there: BTreeSet<_> =
        listed.lines().filter_map(|line| line.strip_prefix("configmap/")).map(str::to_owned).collect();
    let lost: Vec<_> = acknowledged.difference(&there).collect();
    println!("{} crashes, {} acknowledged writes, {} lost: {lost:?}", options.runs, acknowledged.len(), lost.len());
    println!(
        "served again after {:.0} ms (median), {:.0} ms (longest)",
        machine::median(outages.clone()),
        longest(&outages)
    );
    ensure!(lost.is_empty(), "acknowledged writes were lost");
    ensure!(self::pods(&kubectl)? == pods, "pods were restarted or replaced");
    println!("the same pods run, none was restarted");
    Ok(())
}

fn until_served(gateway: SocketAddr, start: Instant) -> anyhow::Result<f64> {
    Ok(http::wait_for_200(gateway, "/", start)?.as_secs_f64() * 1e3)
}

fn longest(outages: &[f64]) -> f64 {
    outages.iter().copied().fold(0.0, f64::max)
}

/// Writes one object after the other, and notes those that were acknowledged.
fn write(run: u32, kubectl: &Kubectl, stop: &AtomicBool, written: &Mutex<BTreeSet<String>>) {
    for number in 0.. {
        let name = format!("run-{run}-{number}");
        let mut create: Command = kubectl.command(&format!("create configmap {name} --from-literal=a={number}"));
        let acknowledged = create.output().is_ok_and(|output| output.status.success());
        if acknowledged {
            written.lock().unwrap_or_else(PoisonError::into_inner).insert(name);
        }
        if stop.load(Ordering::Relaxed) {
            return;
        }
    }
}

/// Names, identities and restart counts.
fn pods(kubectl: &Kubectl) -> anyhow::Result<String> {
    let columns = "NAME:.metadata.name,UID:.metadata.uid,RESTARTS:.status.containerStatuses[*].restartCount";
    kubectl.run(&format!("get pods -A --no-headers -o custom-columns={columns}")).map_err(anyhow::Error::msg)
}
