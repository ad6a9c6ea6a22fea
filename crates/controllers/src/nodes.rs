//! Whether nodes are alive: one whose lease is not renewed for the grace period is not ready (kubernetes/pkg/controller/nodelifecycle).
//! What a node's conditions say against new pods is said as taints too, which pods may tolerate.
//! Its pods are left alone: on a single machine there is nowhere else to run them, and they may serve on.

use std::{collections::HashMap, sync::Arc, time::Duration};

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::{
    coordination::v1::Lease,
    core::v1::{Node, NodeCondition, Taint},
};
use kube::{
    Api, Client, ResourceExt,
    api::{Patch, PatchParams},
};
use serde_json::{Value, json};
use tokio::sync::broadcast::error::RecvError;

use crate::{
    cache::{Cache, Changed},
    events::{EventKind, Recorder},
    runner::{gone_is_fine, is_conflict},
};

const COMPONENT: &str = "node-controller";
/// How long a lease may stay as it is (`--node-monitor-grace-period`).
const GRACE: SignedDuration = SignedDuration::from_secs(40);
/// The longest pause between two looks at the leases.
const PERIOD: Duration = Duration::from_secs(40);

/// A lease as it was last seen to change. The times in it are another machine's: only that they change counts.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Seen {
    renewed: Option<Timestamp>,
    since: Timestamp,
}

impl Seen {
    /// Takes in the lease's renewal time.
    fn look(before: Option<&Self>, renewed: Option<Timestamp>, now: Timestamp) -> Self {
        match before {
            Some(seen) if seen.renewed == renewed => seen.clone(),
            _ => Self { renewed, since: now },
        }
    }

    /// How long it may still stay as it is; `None` once that was too long.
    fn left(&self, now: Timestamp) -> Option<Duration> {
        let left = GRACE - now.duration_since(self.since);
        Duration::try_from(left).ok().filter(|left| !left.is_zero())
    }
}

/// Runs until it is dropped.
pub(crate) async fn run(client: Client, cache: Arc<Cache>) {
    let events = Recorder::new(client.clone(), COMPONENT);
    let mut changes = cache.changes();
    let mut seen: HashMap<String, Seen> = HashMap::new();
    loop {
        let nodes = cache.nodes.state();
        seen.retain(|name, _| nodes.iter().any(|node| node.name_any() == *name));
        let mut pause = PERIOD;
        for node in &nodes {
            if let Err(error) = keep_tainted(&client, node).await {
                tracing::warn!("taints of node {}: {error}", node.name_any());
            }
            match look(&client, &events, node, &mut seen, Timestamp::now()).await {
                Ok(left) => pause = pause.min(left.unwrap_or(PERIOD)),
                Err(error) => tracing::warn!("node {}: {error}", node.name_any()),
            }
        }
        let due = tokio::time::sleep(pause);
        tokio::pin!(due);
        loop {
            tokio::select! {
                () = &mut due => break,
                change = changes.recv() => match change {
                    Ok(Changed::Node) | Err(RecvError::Lagged(_)) => break,
                    Ok(_) => {}
                    Err(RecvError::Closed) => return,
                },
            }
        }
    }
}

/// Looks at one node; gives how long its lease is good for.
async fn look(
    client: &Client,
    events: &Recorder,
    node: &Node,
    seen: &mut HashMap<String, Seen>,
    now: Timestamp,
) -> Result<Option<Duration>, kube::Error> {
    let name = node.name_any();
    let lease = Api::<Lease>::namespaced(client.clone(), "kube-node-lease").get_opt(&name).await?;
    let renewed = lease.and_then(|lease| lease.spec?.renew_time).map(|time| time.0);
    let state = Seen::look(seen.get(&name), renewed, now);
    let left = state.left(now);
    seen.insert(name.clone(), state);
    if left.is_none()
        && let Some(status) = unknown(node, now)
    {
        let api: Api<Node> = Api::all(client.clone());
        gone_is_fine(api.patch_status(&name, &PatchParams::default(), &Patch::Merge(&status)).await)?;
        let message = format!("Node {name} status is now: NodeNotReady");
        events.record(node, EventKind::Normal, "NodeNotReady", &message).await;
    }
    Ok(left)
}

/// The conditions that keep new pods away: type, status, taint.
const TAINTS: &[(&str, &str, &str)] = &[
    ("Ready", "False", "node.kubernetes.io/not-ready"),
    ("Ready", "Unknown", "node.kubernetes.io/unreachable"),
    ("MemoryPressure", "True", "node.kubernetes.io/memory-pressure"),
    ("DiskPressure", "True", "node.kubernetes.io/disk-pressure"),
    ("PIDPressure", "True", "node.kubernetes.io/pid-pressure"),
    ("NetworkUnavailable", "True", "node.kubernetes.io/network-unavailable"),
];
/// The taint of a node that is cordoned.
const UNSCHEDULABLE: &str = "node.kubernetes.io/unschedulable";

/// The taints that a node is to have, if it has others: those of its conditions and of its cordon, and what people put there.
fn taints(node: &Node) -> Option<Vec<Taint>> {
    let spec = node.spec.as_ref();
    let has = spec.and_then(|spec| spec.taints.clone()).unwrap_or_default();
    let conditions = node.status.as_ref().and_then(|status| status.conditions.as_deref()).unwrap_or_default();
    let holds = |type_: &str, status: &str| conditions.iter().any(|c| c.type_ == type_ && c.status == status);
    let cordoned = spec.and_then(|spec| spec.unschedulable) == Some(true);
    let wanted: Vec<&str> = TAINTS
        .iter()
        .filter(|(type_, status, _)| holds(type_, status))
        .map(|(_, _, taint)| *taint)
        .chain(cordoned.then_some(UNSCHEDULABLE))
        .collect();
    let is_ours = |taint: &Taint| {
        let known = TAINTS.iter().any(|(_, _, key)| *key == taint.key) || taint.key == UNSCHEDULABLE;
        known && taint.effect == "NoSchedule"
    };
    let is_there = |key: &str| has.iter().any(|taint| is_ours(taint) && taint.key == key);
    let mut next: Vec<Taint> =
        has.iter().filter(|taint| !is_ours(taint) || wanted.contains(&taint.key.as_str())).cloned().collect();
    next.extend(wanted.iter().filter(|key| !is_there(key)).map(|key| Taint {
        key: (*key).to_owned(),
        effect: "NoSchedule".to_owned(),
        time_added: None,
        value: None,
    }));
    (next != has).then_some(next)
}

/// Gives a node the taints that it is to have. A change between reading and writing is a conflict, and comes back as a change.
async fn keep_tainted(client: &Client, node: &Node) -> Result<(), kube::Error> {
    let Some(taints) = taints(node) else { return Ok(()) };
    let api: Api<Node> = Api::all(client.clone());
    let change = json!({"metadata": {"resourceVersion": node.resource_version()},
        "spec": {"taints": if taints.is_empty() { Value::Null } else { json!(taints) }}});
    match api.patch(&node.name_any(), &PatchParams::default(), &Patch::Merge(&change)).await {
        Err(error) if is_conflict(&error) => Ok(()),
        other => gone_is_fine(other),
    }
}

/// The status of a node that nobody hears of; nothing if it says so already.
fn unknown(node: &Node, now: Timestamp) -> Option<Value> {
    let conditions = node.status.as_ref().and_then(|status| status.conditions.as_deref()).unwrap_or_default();
    let known = |type_: &str| conditions.iter().find(|condition| condition.type_ == type_);
    if known("Ready").is_some_and(|ready| ready.status == "Unknown") {
        return None;
    }
    let told = |type_: &str| {
        let before: Option<&NodeCondition> = known(type_);
        let (reason, message) = match before {
            Some(_) => ("NodeStatusUnknown", "Kubelet stopped posting node status."),
            None => ("NodeStatusNeverUpdated", "Kubelet never posted node status."),
        };
        let heard = before.and_then(|condition| condition.last_heartbeat_time.clone());
        json!({"type": type_, "status": "Unknown", "reason": reason, "message": message, "lastHeartbeatTime": heard,
            "lastTransitionTime": now})
    };
    let all = ["MemoryPressure", "DiskPressure", "PIDPressure", "Ready"].map(told);
    let theirs = |condition: &&NodeCondition| !all.iter().any(|ours| ours["type"] == condition.type_.as_str());
    let rest = conditions.iter().filter(theirs).filter_map(|condition| serde_json::to_value(condition).ok());
    let conditions: Vec<Value> = all.iter().cloned().chain(rest).collect();
    Some(json!({"status": {"conditions": conditions}}))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    #[test]
    fn a_lease_is_good_for_its_grace_from_when_it_was_seen_to_change() {
        // An old lease of before this controller began is given its time too.
        let first = Seen::look(None, Some(at(0)), at(1000));
        assert_eq!(first.left(at(1030)), Some(Duration::from_secs(10)));
        let same = Seen::look(Some(&first), Some(at(0)), at(1040));
        assert_eq!(same.left(at(1040)), None);
        let renewed = Seen::look(Some(&same), Some(at(1041)), at(1041));
        assert_eq!(renewed.left(at(1041)), Some(Duration::from_secs(40)));
    }

    #[test]
    fn what_speaks_against_new_pods_is_a_taint_until_it_is_over() {
        let node = |taints: Value, pressure: &str, cordoned: bool| -> Node {
            serde_json::from_value(json!({"metadata": {"name": "n"}, "spec": {"taints": taints, "unschedulable": cordoned},
                "status": {"conditions": [{"type": "MemoryPressure", "status": pressure}, {"type": "Ready", "status": "True"}]}}))
            .unwrap()
        };
        let keys =
            |node: &Node| taints(node).map(|taints| taints.into_iter().map(|taint| taint.key).collect::<Vec<_>>());
        let own = json!({"key": "mine", "effect": "NoSchedule"});
        let pressed = json!({"key": "node.kubernetes.io/memory-pressure", "effect": "NoSchedule"});
        assert_eq!(keys(&node(json!([own]), "False", false)), None);
        let expected = ["mine", "node.kubernetes.io/memory-pressure", "node.kubernetes.io/unschedulable"];
        assert_eq!(keys(&node(json!([own]), "True", true)).unwrap(), expected);
        assert_eq!(keys(&node(json!([pressed, own]), "True", false)), None);
        assert_eq!(keys(&node(json!([pressed, own]), "False", false)).unwrap(), ["mine"]);
        assert_eq!(keys(&node(json!([pressed]), "False", false)).unwrap(), [""; 0]);
    }

    #[test]
    fn a_silent_node_is_unknown_and_says_it_once() {
        let node = json!({"metadata": {"name": "n"}, "status": {"conditions": [
            {"type": "Ready", "status": "True", "lastHeartbeatTime": "2026-01-01T00:00:00Z"}, {"type": "Other", "status": "True"}]}});
        let mut node: Node = serde_json::from_value(node).unwrap();
        let told = unknown(&node, at(0)).unwrap();
        let conditions = told["status"]["conditions"].as_array().unwrap();
        let reasons: Vec<&str> = conditions.iter().filter_map(|c| c["reason"].as_str()).collect();
        assert_eq!(reasons[2..], ["NodeStatusNeverUpdated", "NodeStatusUnknown"]);
        assert_eq!((&conditions[3]["status"], &conditions[4]["type"]), (&json!("Unknown"), &json!("Other")));
        assert_eq!(conditions[3]["lastHeartbeatTime"], "2026-01-01T00:00:00Z");
        node.status = serde_json::from_value(told["status"].clone()).unwrap();
        assert_eq!(unknown(&node, at(1)), None);
    }
}
