//! The prod overlay of `systems/hello`, unchanged but for what its pods request of the CPU, under a load that rises and falls.

use std::{
    fmt::Write as _,
    path::Path,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, ensure};
use kube::Client;
use serde_json::json;
use testkit::{Coracle, Settings};
use tokio::runtime::Runtime;

use super::{Options, arguments, pace::Pace, runtime};
use crate::cluster::{self, get, items};

const OVERLAY: &str = "systems/hello/overlays/prod";
const HOST: &str = "prod.hello.localhost";
const DEPLOYMENT: &str = "/apis/apps/v1/namespaces/prod/deployments/hello";
const AUTOSCALER: &str = "/apis/autoscaling/v2/namespaces/prod/horizontalpodautoscalers/hello";
const PODS: &str = "/api/v1/namespaces/prod/pods";
const USED: &str = "/api/v1/nodes/coracle/proxy/metrics/resource";
/// The autoscaler's target.
const TARGET: f64 = 0.7;
/// Requests a second of which one's cost is told.
const RATE: u32 = 30;
const CALIBRATION: Duration = Duration::from_secs(20);
/// Seconds of the low load before it rises, and of the high one.
const PHASES: (u64, u64) = (60, 180);
/// Seconds after which a count that has not come down is given up.
const GIVE_UP: u64 = 1500;
/// Seconds that are recorded after the last change.
const AFTER: u64 = 60;

/// Records a course, and writes it as CSV.
pub fn run(coracle: &Path, options: &Options) -> anyhow::Result<()> {
    let mut settings = Settings::new(coracle);
    settings.arguments = arguments(&["-k", OVERLAY], options);
    let coracle = Coracle::start(settings)?;
    let address = coracle.gateway(80).context("the gateway's address")?;
    let runtime = runtime()?;
    let api = runtime.block_on(cluster::connect(&coracle.kubeconfig()))?;
    runtime.block_on(request_less(&api, options.request))?;
    let pace = Pace::start(address, HOST);
    let cost = calibrate(&runtime, &api, &pace)?;
    let of = |pods: f64| (pods * TARGET * f64::from(options.request) / 1000.0 / cost).round() as u32;
    let load = Script { low: of(1.2), high: of(16.0) };
    eprintln!("a request costs {:.1} µs; {} and then {} a second", cost * 1e6, load.low, load.high);
    let rows = record(&pace, load, || runtime.block_on(look(&api)))?;
    pace.finish()?;
    std::fs::write(&options.recording, csv(&rows)).with_context(|| format!("write {}", options.recording.display()))?;
    print!("{}", changes(&rows));
    Ok(())
}

async fn request_less(api: &Client, millis: u32) -> anyhow::Result<()> {
    let deployment = get(api, DEPLOYMENT).await?;
    let mut containers = deployment["spec"]["template"]["spec"]["containers"].clone();
    containers[0]["resources"]["requests"]["cpu"] = json!(format!("{millis}m"));
    let change = json!({"spec": {"template": {"spec": {"containers": containers}}}});
    cluster::patch(api, DEPLOYMENT, &change).await?;
    loop {
        let deployment = get(api, DEPLOYMENT).await?;
        let (status, generation) = (&deployment["status"], &deployment["metadata"]["generation"]);
        let rolled = status["observedGeneration"] == *generation && status["updatedReplicas"] == status["replicas"];
        let pods = get(api, PODS).await?;
        if rolled && status["unavailableReplicas"].is_null() && items(&pods).len() == 3 {
            return Ok(());
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// The CPU time of the pods for each request, in seconds.
fn calibrate(runtime: &Runtime, api: &Client, pace: &Pace) -> anyhow::Result<f64> {
    // What pods do first is their start.
    thread::sleep(Duration::from_secs(20));
    let count = || anyhow::Ok((runtime.block_on(used(api))?, pace.answered()));
    let (begin, _) = count()?;
    thread::sleep(CALIBRATION);
    let (idle, _) = count()?;
    pace.set(RATE);
    thread::sleep(CALIBRATION);
    let (busy, answered) = count()?;
    // Probes cost the same in either half.
    let cost = (busy - idle) - (idle - begin);
    ensure!(cost > 0.0 && answered > 0, "the pods have used no CPU");
    Ok(cost / answered as f64)
}

/// The CPU seconds that the pods have used so far.
async fn used(api: &Client) -> anyhow::Result<f64> {
    let text = api.request_text(http::Request::get(USED).body(Vec::new())?).await?;
    let of_pods =
        |line: &&str| line.starts_with("container_cpu_usage_seconds_total{") && line.contains("namespace=\"prod\"");
    let value = |line: &str| line.rsplit_once("} ")?.1.split(' ').next()?.parse::<f64>().ok();
    Ok(text.lines().filter(of_pods).filter_map(value).sum())
}

/// Requests a second, low and high.
#[derive(Clone, Copy)]
struct Script {
    low: u32,
    high: u32,
}

/// What is so at one moment.
#[derive(Debug, Clone, Default, PartialEq)]
struct Row {
    second: u64,
    per_second: f64,
    desired: i64,
    ready: i64,
    /// The share of the request that the autoscaler says it saw, in per cent.
    cpu: Option<i64>,
}

async fn look(api: &Client) -> anyhow::Result<Row> {
    let (autoscaler, deployment) = (get(api, AUTOSCALER).await?, get(api, DEPLOYMENT).await?);
    let metrics = autoscaler["status"]["currentMetrics"].as_array().cloned().unwrap_or_default();
    let of_cpu = metrics.iter().find(|metric| metric["resource"]["name"] == "cpu");
    Ok(Row {
        desired: deployment["spec"]["replicas"].as_i64().unwrap_or(0),
        ready: deployment["status"]["readyReplicas"].as_i64().unwrap_or(0),
        cpu: of_cpu.and_then(|metric| metric["resource"]["current"]["averageUtilization"].as_i64()),
        ..Row::default()
    })
}

/// A row each second, until the count has risen to the most and come back.
fn record(pace: &Pace, load: Script, look: impl Fn() -> anyhow::Result<Row>) -> anyhow::Result<Vec<Row>> {
    let (begun, mut before, mut rows, mut settled) = (Instant::now(), pace.answered(), Vec::<Row>::new(), None);
    for second in 0..GIVE_UP {
        let is_high = (PHASES.0..PHASES.0 + PHASES.1).contains(&second);
        pace.set(if is_high { load.high } else { load.low });
        thread::sleep(Duration::from_secs(second + 1).saturating_sub(begun.elapsed()));
        let answered = pace.answered();
        let row = Row { second: second + 1, per_second: (answered - before) as f64, ..look()? };
        before = answered;
        if rows.last().is_none_or(|last| last.desired != row.desired) {
            eprintln!("{:>5} s: {} replicas, CPU at {:?} %", row.second, row.desired, row.cpu);
        }
        let is_back = second > PHASES.0 + PHASES.1 && row.desired == 3;
        settled = if is_back { settled.or(Some(second)) } else { None };
        rows.push(row);
        if settled.is_some_and(|since| second >= since + AFTER) {
            return Ok(rows);
        }
    }
    anyhow::bail!("it did not come back to 3 within {GIVE_UP} s")
}

/// What `coracle hpa simulate --traffic` reads.
fn csv(rows: &[Row]) -> String {
    let mut text = "time,requests_per_second,desired,ready,cpu\n".to_owned();
    for row in rows {
        let cpu = row.cpu.map(|cpu| format!("{:.2}", cpu as f64 / 100.0)).unwrap_or_default();
        let _ = writeln!(text, "{},{},{},{},{cpu}", row.second, row.per_second, row.desired, row.ready);
    }
    text
}

/// When the count changed.
fn changes(rows: &[Row]) -> String {
    let mut text = String::new();
    for pair in rows.windows(2) {
        if let [before, after] = pair
            && before.desired != after.desired
        {
            let _ = writeln!(text, "{:>5} s  {} -> {}", after.second, before.desired, after.desired);
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_course_is_a_table_and_a_list_of_changes() {
        let row = |second, desired, cpu| Row { second, per_second: 20.0, desired, ready: desired, cpu };
        let rows = [row(1, 3, None), row(2, 3, Some(70)), row(3, 7, Some(305))];
        assert_eq!(csv(&rows).lines().last(), Some("3,20,7,7,3.05"));
        assert_eq!(csv(&rows).lines().nth(1), Some("1,20,3,3,"));
        assert_eq!(changes(&rows), "    3 s  3 -> 7\n");
    }
}
