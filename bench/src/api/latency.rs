//! How soon requests are answered through loopback TLS on a connection that is kept.

use std::time::Instant;

use serde_json::{Value, json};
use tempfile::TempDir;

use super::server::{MAPS, Server, ask, config_map};
use crate::machine::median;

/// Pods in the list.
const PODS: usize = 500;

/// Measures and prints.
pub async fn run(requests: usize) -> anyhow::Result<()> {
    let dir = TempDir::new()?;
    let server = Server::start(dir.path()).await?;
    let client = &server.client;
    ask(client, "POST", MAPS, Some(&config_map("first", 200))).await?;
    let mut gets = Vec::new();
    for _ in 0..requests {
        let start = Instant::now();
        ask(client, "GET", &format!("{MAPS}/first"), None).await?;
        gets.push(start.elapsed().as_secs_f64() * 1e3);
    }
    let mut creates = Vec::new();
    for number in 0..requests {
        let object = config_map(&format!("made-{number}"), 200);
        let start = Instant::now();
        ask(client, "POST", MAPS, Some(&object)).await?;
        creates.push(start.elapsed().as_secs_f64() * 1e3);
    }
    for number in 0..PODS {
        ask(client, "POST", "/api/v1/namespaces/default/pods", Some(&pod(number))).await?;
    }
    let (mut lists, mut bytes) = (Vec::new(), 0);
    for _ in 0..requests.div_ceil(20) {
        let start = Instant::now();
        bytes = ask(client, "GET", "/api/v1/namespaces/default/pods?limit=500", None).await?;
        lists.push(start.elapsed().as_secs_f64() * 1e3);
    }
    println!("get                       {:>9.3} ms (median of {requests}; wanted: 0.3)", median(gets));
    println!("durable create            {:>9.3} ms (median of {requests}; wanted: 1)", median(creates));
    println!(
        "list of {PODS} pods          {:>9.3} ms (median of {}, {} KB; wanted: 10)",
        median(lists.clone()),
        lists.len(),
        bytes / 1000
    );
    Ok(())
}

fn pod(number: usize) -> Value {
    let labels = json!({"app": "web", "pod-template-hash": "5d8c9f7b6d"});
    let container = json!({"name": "web", "image": "example.com/web:1.2.3", "ports": [{"containerPort": 8080}],
        "resources": {"requests": {"cpu": "100m", "memory": "64Mi"}}, "env": [{"name": "A", "value": "b"}],
        "readinessProbe": {"httpGet": {"path": "/ready", "port": 8080}}});
    json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": format!("web-{number}"), "labels": labels},
        "spec": {"containers": [container]}})
}
