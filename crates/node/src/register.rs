//! The Node object and its lease: what this machine is, and that it is alive.

use std::{net::IpAddr, sync::OnceLock, time::Duration};

use jiff::Timestamp;
use k8s_openapi::api::{coordination::v1::Lease, core::v1::Node};
use kube::{
    Api, Client,
    api::{Patch, PatchParams, PostParams},
};
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::eviction::{self, Pressure, Pressures, Signal};

/// How often the lease is renewed.
const RENEW: Duration = Duration::from_secs(10);
/// The node's status is written again after this many renewals (5 minutes).
const STATUS_EVERY: u32 = 30;

/// What the Node object says.
#[derive(Clone, Debug)]
pub struct Facts {
    /// The node's name.
    pub name: String,
    /// Its address.
    pub internal_ip: IpAddr,
    /// The port of the node's endpoint.
    pub port: u16,
    /// When pods are evicted: what is kept free for that is not given to pods.
    pub eviction: eviction::Options,
    /// The size in bytes of the disk that has the pods' files; 0 if it is not known.
    pub disk: u64,
}

/// Memory in bytes and CPUs in thousandths of this machine.
pub fn capacity() -> (i128, i128) {
    let meminfo = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let total = meminfo.lines().find_map(|line| line.strip_prefix("MemTotal:"));
    let kib: i128 = total.and_then(|t| t.split_whitespace().next()).and_then(|n| n.parse().ok()).unwrap_or(0);
    let cpus = std::thread::available_parallelism().map_or(1, |n| n.get());
    (kib * 1024, i128::try_from(cpus).unwrap_or(1) * 1000)
}

/// Memory in bytes and CPUs in thousandths that pods may be promised: all but what they are evicted for.
pub fn allocatable(eviction: &eviction::Options) -> (i128, i128) {
    let (memory, cpu) = capacity();
    let kept = eviction.kept(Signal::Memory, u64::try_from(memory).unwrap_or(0));
    (memory - i128::from(kept), cpu)
}

/// Registers the node and keeps its lease until told to stop.
pub async fn run(client: Client, facts: Facts, mut pressures: watch::Receiver<Pressures>, stop: CancellationToken) {
    let mut beats = 0_u32;
    loop {
        let lacks = pressures.borrow_and_update().clone();
        let result = async {
            register(&client, &facts, &lacks, beats.is_multiple_of(STATUS_EVERY)).await?;
            renew(&client, &facts.name).await
        };
        match result.await {
            Ok(()) => beats = beats.wrapping_add(1),
            Err(error) => tracing::warn!("node {}: {error}", facts.name),
        }
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(RENEW) => {}
            // What it lacks is said at once.
            Ok(()) = pressures.changed() => {}
        }
    }
}

/// Makes sure of the Node object. Its status is written when it says something else than what is, and in any case if `anyway`.
async fn register(client: &Client, facts: &Facts, lacks: &Pressures, anyway: bool) -> kube::Result<()> {
    let api: Api<Node> = Api::all(client.clone());
    let old = match api.get_opt(&facts.name).await? {
        Some(old) => old,
        None => {
            let node = json!({"metadata": {"name": facts.name, "labels": labels(&facts.name)}});
            let node = serde_json::from_value(node).map_err(kube::Error::SerdeError)?;
            api.create(&PostParams::default(), &node).await?
        }
    };
    let has = |(key, value): (&String, &Value)| {
        old.metadata.labels.as_ref().and_then(|labels| labels.get(key)).is_some_and(|label| value == label)
    };
    let labels = labels(&facts.name);
    if !labels.as_object().is_some_and(|labels| labels.iter().all(has)) {
        let patch = json!({"metadata": {"labels": labels}});
        api.patch(&facts.name, &PatchParams::default(), &Patch::Merge(patch)).await?;
    }
    let before = serde_json::to_value(&old.status).unwrap_or_default();
    let next = status(facts, lacks, &before, Timestamp::now());
    if anyway || !is_said(&before, &next) {
        let patch = json!({"status": next});
        api.patch_status(&facts.name, &PatchParams::default(), &Patch::Merge(patch)).await?;
    }
    Ok(())
}

/// Whether a status says all of another one, whatever the times of the heartbeats.
fn is_said(before: &Value, next: &Value) -> bool {
    let still = |value: &Value| {
        let mut value = value.clone();
        for condition in value.get_mut("conditions").and_then(Value::as_array_mut).into_iter().flatten() {
            if let Some(condition) = condition.as_object_mut() {
                condition.remove("lastHeartbeatTime");
                // Between them lies the text of the times: a transition time is only ever taken over.
                condition.remove("lastTransitionTime");
            }
        }
        value
    };
    let (before, next) = (still(before), still(next));
    next.as_object().is_some_and(|next| next.iter().all(|(field, value)| before.get(field) == Some(value)))
}

fn arch() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

fn labels(name: &str) -> Value {
    json!({"kubernetes.io/hostname": name, "kubernetes.io/os": "linux", "kubernetes.io/arch": arch(),
        "beta.kubernetes.io/os": "linux", "beta.kubernetes.io/arch": arch()})
}

/// What the machine says of itself, which does not change while it runs.
fn node_info() -> &'static Value {
    static INFO: OnceLock<Value> = OnceLock::new();
    INFO.get_or_init(|| {
        let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default().trim().to_owned();
        let release = read("/etc/os-release");
        let os = release.lines().find_map(|l| l.strip_prefix("PRETTY_NAME=")).unwrap_or("Linux").trim_matches('"');
        json!({"machineID": read("/etc/machine-id"), "systemUUID": read("/etc/machine-id"),
            "bootID": read("/proc/sys/kernel/random/boot_id"), "kernelVersion": read("/proc/sys/kernel/osrelease"),
            "osImage": os, "containerRuntimeVersion": concat!("coracle://", env!("CARGO_PKG_VERSION")),
            "kubeletVersion": concat!("v1.33.0+coracle-", env!("CARGO_PKG_VERSION")), "kubeProxyVersion": "",
            "operatingSystem": "linux", "architecture": arch()})
    })
}

/// The node's status; conditions keep their transition times.
fn status(facts: &Facts, lacks: &Pressures, old: &Value, now: Timestamp) -> Value {
    let (capacity, allocatable) = resources(facts);
    let since = |type_: &str, status: &str| {
        let conditions = old["conditions"].as_array().into_iter().flatten();
        let same = conditions.into_iter().find(|c| c["type"] == type_ && c["status"] == status);
        same.map_or_else(|| json!(now), |c| c["lastTransitionTime"].clone())
    };
    let table = [
        if lacks.contains(&Pressure::Memory) {
            ("MemoryPressure", "True", "KubeletHasInsufficientMemory", "kubelet has insufficient memory available")
        } else {
            ("MemoryPressure", "False", "KubeletHasSufficientMemory", "kubelet has sufficient memory available")
        },
        if lacks.contains(&Pressure::Disk) {
            ("DiskPressure", "True", "KubeletHasDiskPressure", "kubelet has disk pressure")
        } else {
            ("DiskPressure", "False", "KubeletHasNoDiskPressure", "kubelet has no disk pressure")
        },
        if lacks.contains(&Pressure::Processes) {
            ("PIDPressure", "True", "KubeletHasInsufficientPID", "kubelet has insufficient PID available")
        } else {
            ("PIDPressure", "False", "KubeletHasSufficientPID", "kubelet has sufficient PID available")
        },
        ("Ready", "True", "KubeletReady", "kubelet is posting ready status"),
    ];
    let ours = table.iter().map(|(type_, status, reason, message)| {
        json!({"type": type_, "status": status, "reason": reason, "message": message,
            "lastHeartbeatTime": now, "lastTransitionTime": since(type_, status)})
    });
    let is_theirs = |condition: &&Value| !table.iter().any(|(type_, ..)| condition["type"] == *type_);
    let theirs = old["conditions"].as_array().into_iter().flatten().filter(is_theirs).cloned();
    let conditions: Vec<Value> = ours.chain(theirs).collect();
    json!({
        "capacity": capacity, "allocatable": allocatable, "conditions": conditions,
        "addresses": [{"type": "InternalIP", "address": facts.internal_ip}, {"type": "Hostname", "address": facts.name}],
        "daemonEndpoints": {"kubeletEndpoint": {"Port": facts.port}},
        "nodeInfo": node_info(),
    })
}

/// What the node has, and what of it pods may ask for: all but what they are evicted for.
fn resources(facts: &Facts) -> (Value, Value) {
    let (memory, cpu) = capacity();
    let memory = u64::try_from(memory).unwrap_or(0);
    let of = |memory: u64, disk: u64| {
        let mut all = json!({"cpu": (cpu / 1000).to_string(), "memory": format!("{}Ki", memory / 1024), "pods": "110"});
        if let (Some(all), true) = (all.as_object_mut(), facts.disk > 0) {
            all.insert("ephemeral-storage".to_owned(), format!("{}Ki", disk / 1024).into());
        }
        all
    };
    let left = |signal, capacity| capacity - facts.eviction.kept(signal, capacity);
    (of(memory, facts.disk), of(left(Signal::Memory, memory), left(Signal::Disk, facts.disk)))
}

async fn renew(client: &Client, name: &str) -> kube::Result<()> {
    let api: Api<Lease> = Api::namespaced(client.clone(), "kube-node-lease");
    let now = format!("{:.6}", Timestamp::now());
    let spec = json!({"holderIdentity": name, "leaseDurationSeconds": 40, "renewTime": now});
    let patch = Patch::Merge(json!({"spec": spec}));
    match api.patch(name, &PatchParams::default(), &patch).await {
        Err(kube::Error::Api(status)) if status.code == 404 => {
            let lease = serde_json::from_value(
                json!({"metadata": {"name": name, "namespace": "kube-node-lease"}, "spec": spec}),
            );
            api.create(&PostParams::default(), &lease.map_err(kube::Error::SerdeError)?).await?;
            Ok(())
        }
        other => other.map(|_| ()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts() -> Facts {
        let (name, internal_ip) = ("n".to_owned(), [127, 0, 0, 1].into());
        Facts { name, internal_ip, port: 1, eviction: eviction::Options::default(), disk: 1 << 40 }
    }

    #[test]
    fn a_node_says_what_it_lacks_and_gives_pods_all_but_what_they_are_evicted_for() {
        let status = status(&facts(), &Pressures::from([Pressure::Disk]), &Value::Null, Timestamp::UNIX_EPOCH);
        let said: Vec<&str> =
            status["conditions"].as_array().unwrap().iter().map(|c| c["status"].as_str().unwrap()).collect();
        assert_eq!(said, ["False", "True", "False", "True"]);
        let amount = |of: &str, resource: &str| -> u64 {
            status[of][resource].as_str().unwrap().trim_end_matches("Ki").parse().unwrap()
        };
        assert_eq!(amount("capacity", "ephemeral-storage") - amount("allocatable", "ephemeral-storage"), 1 << 20);
        assert_eq!(amount("capacity", "memory") - amount("allocatable", "memory"), 100 << 10);
    }

    #[test]
    fn a_status_is_written_again_only_when_it_says_something_else() {
        let facts = facts();
        let status = |facts: &Facts, old: &Value, now| status(facts, &Pressures::new(), old, now);
        let at = |second| Timestamp::from_second(second).unwrap();
        let mut first = status(&facts, &Value::Null, at(0));
        assert!(is_said(&first, &status(&facts, &first, at(10))));
        first["conditions"][3]["status"] = "Unknown".into();
        first["conditions"].as_array_mut().unwrap().push(json!({"type": "Other", "status": "True"}));
        let next = status(&facts, &first, at(20));
        assert!(!is_said(&first, &next));
        let conditions = next["conditions"].as_array().unwrap();
        assert_eq!((&conditions[3]["status"], &conditions[3]["lastTransitionTime"]), (&json!("True"), &json!(at(20))));
        assert_eq!(conditions[0]["lastTransitionTime"], json!(at(0)));
        assert_eq!(conditions[4]["type"], "Other");
    }
}
