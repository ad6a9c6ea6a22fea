//! Readiness, as the kubelet asks for it.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a failed step of a test is its failure")]

mod support;

use std::time::Duration;

use support::{Gates, Running, service};

/// How long a probe waits that says nothing else.
const PROBE: Duration = Duration::from_secs(1);
/// How long something may take to come about, on a busy machine.
const PATIENCE: Duration = Duration::from_secs(120);

#[tokio::test]
async fn what_a_service_can_do_without_does_not_take_it_from_its_clients_when_it_hangs() {
    let service = service(Gates::new()).check("database", async || Ok(())).watch("cache", std::future::pending);
    let running = Running::new(service).await;
    let kubelet = reqwest::Client::builder().timeout(PROBE).build().unwrap();
    let probes = async {
        loop {
            if let Ok(answer) = kubelet.get(running.url("/ready")).send().await {
                return answer;
            }
        }
    };
    let answer = tokio::time::timeout(PATIENCE, probes).await.unwrap();
    assert_eq!(answer.status(), 200);
    let told: serde_json::Value = answer.json().await.unwrap();
    assert_eq!(told["checks"]["database"]["status"], "ok");
    assert_eq!(told["checks"]["cache"]["status"], "failed");
}
