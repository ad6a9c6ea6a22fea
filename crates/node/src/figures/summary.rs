//! `/stats/summary`: the kubelet's summary of what is used. What is not measured here (disks, networks, swap) is left out.

use jiff::Timestamp;
use kube::ResourceExt;
use serde_json::{Value, json};

use super::{ContainerFigures, Look, Measured, PodFigures};
use crate::runtime::usage::Memory;

/// The summary. `capacity` is the node's memory in bytes.
pub(super) fn summary(node: &str, started: Option<Timestamp>, capacity: u64, look: &Look) -> Value {
    let at = look.at;
    let mut memory = memory(&look.node.usage.memory, at);
    if let Some(map) = memory.as_object_mut() {
        map.insert("availableBytes".to_owned(), capacity.saturating_sub(look.node.usage.memory.working_set).into());
        // The kernel counts them for processes and groups.
        map.remove("pageFaults");
        map.remove("majorPageFaults");
    }
    let nanocores = look.node.rate.map(|rate| rate.nanocores);
    let pods: Vec<Value> = look.pods.iter().map(|pod| of_pod(pod, at)).collect();
    json!({
        "node": {"nodeName": node, "startTime": started, "memory": memory,
            "cpu": cpu(look.node.usage.cpu_nanos, nanocores, at)},
        "pods": pods,
    })
}

fn of_pod(pod: &PodFigures, at: Timestamp) -> Value {
    let memory_of = |of: fn(&Memory) -> u64| pod.sum(|usage| of(&usage.memory));
    let memory_sum = Memory {
        usage: memory_of(|memory| memory.usage),
        working_set: memory_of(|memory| memory.working_set),
        rss: memory_of(|memory| memory.rss),
        faults: (memory_of(|memory| memory.faults.0), memory_of(|memory| memory.faults.1)),
    };
    let nanocores: Option<u64> = pod.containers.iter().map(|c| Some(c.measured.rate?.nanocores)).sum();
    let containers: Vec<Value> = pod.containers.iter().map(|container| of_container(container, at)).collect();
    json!({
        "podRef": {"name": pod.name(), "namespace": pod.namespace(), "uid": pod.pod.uid()},
        "startTime": pod.since(),
        "containers": containers,
        "cpu": cpu(pod.sum(|usage| usage.cpu_nanos), nanocores, at),
        "memory": memory(&memory_sum, at),
    })
}

fn of_container(container: &ContainerFigures, at: Timestamp) -> Value {
    let Measured { usage, rate } = container.measured;
    json!({
        "name": container.name, "startTime": container.started,
        "cpu": cpu(usage.cpu_nanos, rate.map(|rate| rate.nanocores), at), "memory": memory(&usage.memory, at),
    })
}

fn cpu(used: u64, nanocores: Option<u64>, at: Timestamp) -> Value {
    let mut cpu = json!({"time": at, "usageCoreNanoSeconds": used});
    if let (Some(nanocores), Some(map)) = (nanocores, cpu.as_object_mut()) {
        map.insert("usageNanoCores".to_owned(), nanocores.into());
    }
    cpu
}

fn memory(memory: &Memory, at: Timestamp) -> Value {
    json!({"time": at, "usageBytes": memory.usage, "workingSetBytes": memory.working_set, "rssBytes": memory.rss,
        "pageFaults": memory.faults.0, "majorPageFaults": memory.faults.1})
}
