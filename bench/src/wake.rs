//! From a request for a Service without pods to its answer, and how much of that is the pod's own start.

use std::{
    net::SocketAddr,
    path::Path,
    process::{Command, Stdio},
    time::{Duration, Instant, SystemTime},
};

use anyhow::{Context, ensure};
use http::Request;
use kube::Client;
use serde_json::Value;
use tempfile::TempDir;
use testkit::systems::{GATEWAY, SLEEPING, autoscaler, route};
use tokio::time::sleep;

use crate::{
    cluster, http as client,
    machine::{self, Process},
};

/// How many times.
#[derive(Debug, clap::Args)]
pub struct Options {
    /// Wakes.
    #[arg(long, default_value_t = 20)]
    runs: usize,
    /// Further arguments for `coracle up`, such as `--runtime loopback`.
    #[arg(last = true)]
    arguments: Vec<String>,
}

const PODS: &str = "/api/v1/namespaces/default/pods";
const SCALE: &str = "/apis/apps/v1/namespaces/default/deployments/web/scale";

/// Measures and prints.
pub fn run(coracle: &Path, options: &Options) -> anyhow::Result<()> {
    let dir = TempDir::new()?;
    let (data, manifests) = (dir.path().join("data"), dir.path().join("all.yaml"));
    let scaled = autoscaler("apps/v1", "Deployment", "web", 0);
    std::fs::write(
        &manifests,
        [GATEWAY, SLEEPING, &route("{backendRefs: [{name: web, port: 8080}]}"), &scaled].concat(),
    )?;
    let address = SocketAddr::from(([127, 0, 0, 1], machine::free_port()?));
    let mut command = Command::new(coracle);
    command.args(["up", "--api-port", "0", "--metrics-port", "0", "-f"]).arg(&manifests).arg("--data-dir").arg(&data);
    command.args(["--publish", &format!("{}:80", address.port())]).args(&options.arguments);
    let mut process = Process::spawn(command.stdout(Stdio::null()))?;
    client::wait_for_200(address, "/", Instant::now())?;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    let (mut whole, mut own) = (Vec::new(), Vec::new());
    runtime.block_on(async {
        let api = cluster::connect(&data.join("kubeconfig")).await?;
        for _ in 0..options.runs {
            to_zero(&api).await?;
            let (took, after) = wake(&api, address).await?;
            whole.push(took.as_secs_f64() * 1e3);
            own.push(after);
        }
        anyhow::Ok(())
    })?;
    process.stop("INT")?;
    println!(
        "first answer of a service without pods   {:>7.1} ms (median of {})",
        machine::median(whole),
        options.runs
    );
    println!(
        "  of these, after its pod has begun to listen {:>7.1} ms (target: at most 50)",
        machine::median(own.clone())
    );
    println!("  at most {:>35.1} ms", own.into_iter().fold(0.0, f64::max));
    Ok(())
}

async fn pods(api: &Client) -> anyhow::Result<Vec<String>> {
    let list: Value = api.request(Request::get(format!("{PODS}?labelSelector=app%3Dweb")).body(Vec::new())?).await?;
    let items = list["items"].as_array().context("a list of pods")?;
    Ok(items.iter().filter_map(|pod| pod["metadata"]["name"].as_str().map(str::to_owned)).collect())
}

async fn to_zero(api: &Client) -> anyhow::Result<()> {
    let body = serde_json::to_vec(&serde_json::json!({"spec": {"replicas": 0}}))?;
    let patch = Request::patch(SCALE).header("content-type", "application/merge-patch+json").body(body)?;
    api.request::<Value>(patch).await?;
    while !pods(api).await?.is_empty() {
        sleep(Duration::from_millis(20)).await;
    }
    // Until all that follows from it is over as well.
    sleep(Duration::from_millis(500)).await;
    Ok(())
}

/// How long the answer takes, and how many milliseconds of that are after the moment at which the pod said that it listens.
async fn wake(api: &Client, address: SocketAddr) -> anyhow::Result<(Duration, f64)> {
    let asked = tokio::task::spawn_blocking(move || {
        let start = Instant::now();
        let status = client::status(address, "/")?;
        ensure!(status == 200, "the answer is {status}");
        Ok((start.elapsed(), SystemTime::now()))
    });
    let (took, answered) = asked.await??;
    let pod = pods(api).await?.pop().context("a pod")?;
    let log = api.request_text(Request::get(format!("{PODS}/{pod}/log?timestamps=true")).body(Vec::new())?).await?;
    let line = log.lines().find(|line| line.contains("listening")).context("what the pod says first")?;
    let listens: jiff::Timestamp = line.split(' ').next().unwrap_or_default().parse()?;
    let after = jiff::Timestamp::try_from(answered)?.duration_since(listens);
    Ok((took, after.as_secs_f64() * 1e3))
}
