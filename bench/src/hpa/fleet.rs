//! Many autoscalers that are looked at every second, each with a running pod; and what measuring their pods costs alone.

use std::{
    path::Path,
    thread,
    time::{Duration, Instant},
};

use kube::Client;
use serde_json::{Value, json};
use testkit::{Coracle, Settings};
use tokio::runtime::Runtime;

use super::{Options, arguments, runtime};
use crate::{
    cluster::{self, create, get, items},
    machine,
};

const DEPLOYMENTS: &str = "/apis/apps/v1/namespaces/default/deployments";
const AUTOSCALERS: &str = "/apis/autoscaling/v2/namespaces/default/horizontalpodautoscalers";
const NODE: &str = "/api/v1/nodes/coracle/status";
const PODS: &str = "/api/v1/namespaces/default/pods";
const USED: &str = "/apis/metrics.k8s.io/v1beta1/namespaces/default/pods";
/// What is waited for until nothing moves any more.
const CALM: Duration = Duration::from_secs(10);

/// Measures and prints.
pub fn run(coracle: &Path, options: &Options) -> anyhow::Result<()> {
    let mut settings = Settings::new(coracle);
    let own = ["--image", "tools=/bin/sh", "--horizontal-pod-autoscaler-sync-period=1s"];
    settings.arguments = arguments(&own, options);
    let coracle = Coracle::start(settings)?;
    let runtime = runtime()?;
    let api = runtime.block_on(cluster::connect(&coracle.kubeconfig()))?;
    runtime.block_on(async {
        for number in 0..options.autoscalers {
            create(&api, DEPLOYMENTS, &deployment(number)).await?;
        }
        until_all_run(&api, options.autoscalers).await
    })?;
    thread::sleep(CALM);
    let count = Count { runtime: &runtime, pid: coracle.pid(), seconds: options.seconds };
    let idle = count.share(|| Ok(()))?;
    let asked = count.share(|| runtime.block_on(get(&api, USED)).map(drop))?;
    runtime.block_on(async {
        for number in 0..options.autoscalers {
            create(&api, AUTOSCALERS, &autoscaler(number)).await?;
        }
        until_all_decide(&api, options.autoscalers).await
    })?;
    thread::sleep(CALM);
    let scaled = count.share(|| Ok(()))?;
    let many = options.autoscalers;
    println!("CPU of {many} idle pods                            {idle:>6.2} % of a core");
    println!("  measuring their containers every second adds {:>6.2} % (target: 0.5 %)", asked - idle);
    println!("  {many} autoscalers at 1 s add                   {:>6.2} % (target: 3 %)", scaled - idle);
    Ok(())
}

/// Counts the CPU of Coracle.
struct Count<'a> {
    runtime: &'a Runtime,
    pid: u32,
    seconds: u64,
}

impl Count<'_> {
    /// In per cent of a core, while this is done every second.
    fn share(&self, every_second: impl Fn() -> anyhow::Result<()>) -> anyhow::Result<f64> {
        let _guard = self.runtime.enter();
        // The first question takes a second look.
        every_second()?;
        let (before, begun) = (machine::cpu(&[self.pid])?, Instant::now());
        for second in 0..self.seconds {
            every_second()?;
            thread::sleep(Duration::from_secs(second + 1).saturating_sub(begun.elapsed()));
        }
        let used = machine::cpu(&[self.pid])? - before;
        Ok(used.as_secs_f64() * 100.0 / begun.elapsed().as_secs_f64())
    }
}

fn name(number: usize) -> String {
    format!("sleeper-{number}")
}

fn deployment(number: usize) -> Value {
    let name = name(number);
    let labels = json!({"app": name});
    let container = json!({
        "name": "main", "image": "tools", "command": ["sleep", "infinity"],
        "resources": {"requests": {"cpu": "1m", "memory": "1Mi"}},
    });
    json!({
        "metadata": {"name": name},
        "spec": {
            "selector": {"matchLabels": labels},
            "template": {
                "metadata": {"labels": labels},
                "spec": {"terminationGracePeriodSeconds": 0, "containers": [container]},
            },
        },
    })
}

fn autoscaler(number: usize) -> Value {
    let target = json!({"type": "Utilization", "averageUtilization": 70});
    json!({
        "metadata": {"name": name(number)},
        "spec": {
            "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": name(number)},
            "minReplicas": 1, "maxReplicas": 3,
            "metrics": [{"type": "Resource", "resource": {"name": "cpu", "target": target}}],
        },
    })
}

/// Until there are so many pods that are ready.
async fn until_all_run(api: &Client, count: usize) -> anyhow::Result<()> {
    // The usual 110, as a kubelet has them, are too few; what the node says of itself is written now and then.
    let room = json!({"status": {"allocatable": {"pods": (count + 10).to_string()}}});
    while items(&get(api, PODS).await?).iter().filter(|pod| cluster::is_ready(pod)).count() < count {
        cluster::patch(api, NODE, &room).await?;
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    Ok(())
}

/// Until each has said what it sees.
async fn until_all_decide(api: &Client, count: usize) -> anyhow::Result<()> {
    let has_figure = |object: &&Value| object["status"]["currentMetrics"][0]["resource"]["current"].is_object();
    while items(&get(api, AUTOSCALERS).await?).iter().filter(has_figure).count() < count {
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    Ok(())
}
