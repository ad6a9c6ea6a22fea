//! How long it takes to track a status update of a pod: `cargo run --release -p objects --example ownership`.

use std::{borrow::Cow, time::Instant};

use jiff::Timestamp;
use objects::{
    fields::{self, Element, Keep, Set, Shape, Updater, Versions, Writer},
    schema,
};
use serde_json::{Value, json};

struct Pods;

impl Versions for Pods {
    fn shape(&self, _: &str) -> Option<Shape<'_>> {
        schema::shape("", "v1", "Pod")
    }

    fn convert<'v>(&self, object: &'v Value, _: &str, _: &str) -> Option<Cow<'v, Value>> {
        Some(Cow::Borrowed(object))
    }

    fn are_fixed(&self) -> bool {
        true
    }
}

fn pod(ready: bool, restarts: u32) -> Value {
    let condition = |name: &str| {
        let status = if ready { "True" } else { "False" };
        json!({"type": name, "status": status, "lastTransitionTime": "2026-01-01T00:00:00Z"})
    };
    let conditions = ["Initialized", "Ready", "ContainersReady", "PodScheduled"].map(condition);
    let env: Vec<Value> = (0..8).map(|i| json!({"name": format!("VARIABLE_{i}"), "value": "some value"})).collect();
    json!({"apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": "web-5d4f8c7b9-abcde", "namespace": "default", "labels": {"app": "web", "pod-template-hash": "5d4f8c7b9"},
            "ownerReferences": [{"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "web-5d4f8c7b9", "uid": "u", "controller": true}]},
        "spec": {"containers": [{"name": "web", "image": "web:1", "env": env, "ports": [{"containerPort": 8080, "protocol": "TCP"}],
            "resources": {"requests": {"cpu": "100m", "memory": "64Mi"}}, "terminationMessagePath": "/dev/termination-log",
            "readinessProbe": {"httpGet": {"path": "/", "port": 8080}, "periodSeconds": 5}}],
            "restartPolicy": "Always", "dnsPolicy": "ClusterFirst", "terminationGracePeriodSeconds": 30, "nodeName": "coracle"},
        "status": {"phase": "Running", "podIP": "10.42.0.9", "podIPs": [{"ip": "10.42.0.9"}], "hostIP": "10.0.0.1",
            "conditions": conditions,
            "containerStatuses": [{"name": "web", "ready": ready, "restartCount": restarts, "image": "web:1", "imageID": "",
                "state": {"running": {"startedAt": "2026-01-01T00:00:00Z"}}}]}})
}

fn main() {
    let status = Keep::Only(Set::of([[Element::field("status")].as_slice()]));
    let main = Keep::Without(Set::of([[Element::field("status")].as_slice()]));
    let writer = |manager, subresource| Writer { manager, api_version: "v1", subresource, now: Timestamp::UNIX_EPOCH };
    let (old, new) = (pod(false, 1), pod(true, 2));
    let updater = Updater { versions: &Pods, keep: &main };
    let made = fields::update(&updater, None, &old, None, None, &writer("controllers", ""));
    let updater = Updater { versions: &Pods, keep: &status };
    let held = fields::update(&updater, Some(&json!({})), &old, made.as_ref(), None, &writer("node", "status"));
    println!(
        "object {} bytes, managedFields {} bytes",
        old.to_string().len(),
        held.clone().unwrap_or_default().to_string().len()
    );
    let rounds = 20_000_u32;
    let start = Instant::now();
    for _ in 0..rounds {
        let after = fields::update(&updater, Some(&old), &new, held.as_ref(), None, &writer("node", "status"));
        std::hint::black_box(after);
    }
    println!("a status update: {:.1} µs", start.elapsed().as_secs_f64() * 1e6 / f64::from(rounds));
    let updater = Updater { versions: &Pods, keep: &main };
    let start = Instant::now();
    for _ in 0..rounds {
        let made = fields::update(&updater, None, &old, None, None, &writer("controllers", ""));
        std::hint::black_box(made);
    }
    println!("a creation: {:.1} µs", start.elapsed().as_secs_f64() * 1e6 / f64::from(rounds));
}
