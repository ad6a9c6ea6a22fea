//! From a step in load to the first answer of a new pod.

use std::{
    collections::HashSet,
    fs,
    path::Path,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, bail};
use jiff::Timestamp;
use kube::Client;
use serde_json::json;
use tempfile::TempDir;
use testkit::{
    Coracle, Settings,
    systems::{GATEWAY, HELLO, route},
};
use tokio::runtime::Runtime;

use super::{Options, arguments, pace::Pace, runtime};
use crate::{
    cluster::{self, get, items},
    machine,
};

/// Sync periods in seconds, and what is aimed at.
const PERIODS: [(u64, f64); 2] = [(15, 15.0), (1, 2.0)];
/// What the step asks for, a second: several times what a pod is to have.
const RATE: u32 = 300;
/// How long a reaction may take before it is given up.
const GIVE_UP: Duration = Duration::from_secs(120);
const DEPLOYMENT: &str = "/apis/apps/v1/namespaces/default/deployments/hello";
const PODS: &str = "/api/v1/namespaces/default/pods";

/// An autoscaler by requests a second that the gateway counts, or by the pods' CPU; it lets go at once, for the next step.
fn autoscaler(metric: &str) -> String {
    let metric = match metric {
        "cpu" => "{type: Resource, resource: {name: cpu, target: {type: AverageValue, averageValue: 6m}}}".to_owned(),
        figure => format!(
            "{{type: Object, object: {{describedObject: {{apiVersion: v1, kind: Service, name: hello}}, \
             metric: {{name: {figure}, selector: {{matchLabels: {{window: 10s}}}}}}, \
             target: {{type: AverageValue, averageValue: \"50\"}}}}}}"
        ),
    };
    format!(
        "---
apiVersion: autoscaling/v2
kind: HorizontalPodAutoscaler
metadata: {{name: hello}}
spec:
  scaleTargetRef: {{apiVersion: apps/v1, kind: Deployment, name: hello}}
  minReplicas: 1
  maxReplicas: 4
  metrics: [{metric}]
  behavior: {{scaleDown: {{stabilizationWindowSeconds: 0, policies: [{{type: Percent, value: 100, periodSeconds: 1}}]}}}}
"
    )
}

/// Measures and prints.
pub fn run(coracle: &Path, options: &Options) -> anyhow::Result<()> {
    for metric in ["cpu", "http_requests_per_second"] {
        for (period, aim) in PERIODS {
            let reactions = reactions(coracle, options, metric, period)?;
            let of = |part: fn(&Reaction) -> f64| machine::median(reactions.iter().map(part).collect());
            let most = reactions.iter().map(|reaction| reaction.answered).fold(0.0, f64::max);
            println!(
                "step in load, {metric}, sync {period} s: decided after {:.2} s, a new pod answers after {:.2} s (medians of {}), \
                 at most {most:.2} s (target: {aim} s)",
                of(|reaction| reaction.decided),
                of(|reaction| reaction.answered),
                reactions.len(),
            );
        }
    }
    Ok(())
}

/// Seconds after the step.
struct Reaction {
    decided: f64,
    answered: f64,
}

fn reactions(coracle: &Path, options: &Options, metric: &str, period: u64) -> anyhow::Result<Vec<Reaction>> {
    let dir = TempDir::new()?;
    let (manifests, log) = (dir.path().join("all.yaml"), dir.path().join("access.log"));
    let rule = route("{backendRefs: [{name: hello, port: 80}]}");
    let one = HELLO.replace("replicas: 3", "replicas: 1");
    fs::write(&manifests, [GATEWAY, &one, &rule, &autoscaler(metric)].concat())?;
    let mut settings = Settings::new(coracle);
    let sync = format!("--horizontal-pod-autoscaler-sync-period={period}s");
    let (manifests, file) = (machine::text(&manifests)?, machine::text(&log)?);
    let lines = "--access-log-format=%START_TIME% %DURATION% %UPSTREAM_HOST%";
    settings.arguments = arguments(&["-f", manifests, &sync, "--access-log", file, lines], options);
    let coracle = Coracle::start(settings)?;
    let runtime = runtime()?;
    let api = runtime.block_on(cluster::connect(&coracle.kubeconfig()))?;
    let pace = Pace::start(coracle.gateway(80).context("the gateway's address")?, "localhost");
    let mut reactions = Vec::new();
    for step in 0..options.steps {
        pace.set(0);
        runtime.block_on(until_one_pod(&api))?;
        // Steps come at every phase of the period; and what was asked before is no longer in any window.
        let phase = period as f64 * step as f64 / options.steps as f64;
        thread::sleep(Duration::from_secs_f64(2.0 * period.max(11) as f64 + phase));
        reactions.push(reaction(&runtime, &api, &pace, &log)?);
    }
    pace.finish()?;
    Ok(reactions)
}

async fn until_one_pod(api: &Client) -> anyhow::Result<()> {
    while items(&get(api, PODS).await?).len() != 1 {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    Ok(())
}

/// Makes the step, and waits until a pod that was not there before has answered.
fn reaction(runtime: &Runtime, api: &Client, pace: &Pace, log: &Path) -> anyhow::Result<Reaction> {
    let known: HashSet<String> = items(&runtime.block_on(get(api, PODS))?)
        .iter()
        .filter_map(|pod| pod["status"]["podIP"].as_str())
        .map(str::to_owned)
        .collect();
    let read = fs::metadata(log).map_or(0, |file| file.len() as usize);
    let (begun, step) = (Instant::now(), Timestamp::now());
    pace.set(RATE);
    let mut decided = None;
    while begun.elapsed() < GIVE_UP {
        thread::sleep(Duration::from_millis(20));
        if decided.is_none() && runtime.block_on(get(api, DEPLOYMENT))?["spec"]["replicas"] != json!(1) {
            decided = Some(begun.elapsed().as_secs_f64());
        }
        let text = fs::read_to_string(log).unwrap_or_default();
        if let Some(at) = first_of_others(text.get(read..).unwrap_or_default(), &known) {
            let answered = at.duration_since(step).as_secs_f64();
            return Ok(Reaction { decided: decided.unwrap_or(answered), answered });
        }
    }
    bail!("no new pod within {GIVE_UP:?} of a step in load")
}

/// When the first answer ended that was not one of these addresses'.
fn first_of_others(log: &str, known: &HashSet<String>) -> Option<Timestamp> {
    let at = |line: &str| {
        let [start, took, upstream] = line.split(' ').collect::<Vec<_>>().try_into().ok()?;
        let address = upstream.rsplit_once(':')?.0;
        let end = start.parse::<Timestamp>().ok()? + Duration::from_millis(took.parse().ok()?);
        (!known.contains(address)).then_some(end)
    };
    log.lines().filter_map(at).min()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_answer_of_a_new_pod_is_found_in_the_access_log() {
        let log = "2026-01-01T00:00:00.100Z 5 10.42.0.2:8000\n2026-01-01T00:00:02.000Z 7 10.42.0.3:8000\n\
                   2026-01-01T00:00:01.000Z 9 10.42.0.4:8000\n2026-01-01T00:00:00.500Z 0 -\n";
        let first = |known: &[&str]| first_of_others(log, &known.iter().map(|ip| (*ip).to_owned()).collect());
        assert_eq!(first(&["10.42.0.2"]).unwrap().to_string(), "2026-01-01T00:00:01.009Z");
        assert_eq!(first(&["10.42.0.2", "10.42.0.3", "10.42.0.4"]), None);
    }
}
