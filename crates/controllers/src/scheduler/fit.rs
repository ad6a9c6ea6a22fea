//! Whether a pod fits on a node, and upstream's words for why not. Pure.

use std::collections::BTreeMap;

use k8s_openapi::{
    api::core::v1::{Node, Pod, Taint, Toleration},
    apimachinery::pkg::api::resource::Quantity as Amount,
};
use kube::ResourceExt;
use objects::{
    quantity::Quantity,
    resources::{self, Amounts},
};

/// Why a node cannot take a pod.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reason {
    /// It is cordoned.
    Unschedulable,
    /// It is not ready or tainted, and the pod does not tolerate that.
    Taint(String),
    /// It lacks a label of `nodeSelector` (or required affinity).
    Selector,
    /// It has too little left of a resource.
    Insufficient(String),
    /// It runs as many pods as it may.
    TooManyPods,
    /// A host port is taken.
    HostPorts,
}

impl Reason {
    fn text(&self) -> String {
        match self {
            Self::Unschedulable => "node(s) were unschedulable".to_owned(),
            Self::Taint(taint) => format!("node(s) had untolerated taint {{{taint}}}"),
            Self::Selector => "node(s) didn't match Pod's node affinity/selector".to_owned(),
            Self::Insufficient(resource) => format!("Insufficient {resource}"),
            Self::TooManyPods => "Too many pods".to_owned(),
            Self::HostPorts => "node(s) didn't have free ports for the requested pod ports".to_owned(),
        }
    }
}

/// The message of a pod that no node can take, one reason for each node.
pub fn unschedulable_message(reasons: &[Reason]) -> String {
    if reasons.is_empty() {
        return "no nodes available to schedule pods".to_owned();
    }
    let mut counts: BTreeMap<&Reason, usize> = BTreeMap::new();
    reasons.iter().for_each(|reason| *counts.entry(reason).or_default() += 1);
    let list: Vec<String> = counts.iter().map(|(reason, count)| format!("{count} {}", reason.text())).collect();
    format!("0/{} nodes are available: {}.", reasons.len(), list.join(", "))
}

/// Whether a pod takes up room on a node.
pub(super) fn is_on(pod: &Pod, node: &str) -> bool {
    let ended = matches!(pod.status.as_ref().and_then(|s| s.phase.as_deref()), Some("Succeeded" | "Failed"));
    pod.spec.as_ref().and_then(|spec| spec.node_name.as_deref()) == Some(node) && !ended
}

/// Whether the node can take the pod besides the pods that are there.
///
/// # Errors
/// The first reason why not.
pub fn fits(pod: &Pod, node: &Node, there: &[&Pod]) -> Result<(), Reason> {
    let spec = pod.spec.clone().unwrap_or_default();
    let node_spec = node.spec.clone().unwrap_or_default();
    if node_spec.unschedulable.unwrap_or(false) {
        return Err(Reason::Unschedulable);
    }
    let tolerations = spec.tolerations.unwrap_or_default();
    let blocks =
        |taint: &&Taint| taint.effect != "PreferNoSchedule" && !tolerations.iter().any(|t| tolerates(t, taint));
    if let Some(taint) = node_spec.taints.iter().flatten().find(blocks) {
        let value = taint.value.as_deref().unwrap_or_default();
        return Err(Reason::Taint(format!("{}: {value}", taint.key)));
    }
    let ready = node
        .status
        .iter()
        .flat_map(|s| s.conditions.iter().flatten())
        .any(|c| c.type_ == "Ready" && c.status == "True");
    if !ready {
        return Err(Reason::Taint("node.kubernetes.io/not-ready: ".to_owned()));
    }
    let labels = node.labels();
    if spec.node_selector.iter().flatten().any(|(key, value)| labels.get(key) != Some(value)) {
        return Err(Reason::Selector);
    }
    let ports = |pod: &Pod| -> Vec<(i32, String)> {
        let containers = pod.spec.iter().flat_map(|spec| &spec.containers);
        let ports = containers.flat_map(|c| c.ports.iter().flatten());
        ports.filter_map(|p| Some((p.host_port?, p.protocol.clone().unwrap_or_else(|| "TCP".to_owned())))).collect()
    };
    let wanted = ports(pod);
    if there.iter().flat_map(|other| ports(other)).any(|port| wanted.contains(&port)) {
        return Err(Reason::HostPorts);
    }
    enough(pod, node, there)
}

fn enough(pod: &Pod, node: &Node, there: &[&Pod]) -> Result<(), Reason> {
    let allocatable = node.status.as_ref().and_then(|status| status.allocatable.clone()).unwrap_or_default();
    let most = allocatable.get("pods").and_then(parse).map_or(110, |pods| pods.value());
    if i128::try_from(there.len()).unwrap_or(i128::MAX) >= most {
        return Err(Reason::TooManyPods);
    }
    for (resource, wanted) in requests(pod) {
        if wanted.millis() <= 0 {
            continue;
        }
        let has = allocatable.get(&resource).and_then(parse).unwrap_or(Quantity::from_millis(0));
        let used = there.iter().filter_map(|other| requests(other).remove(&resource));
        let needed = used.fold(wanted, |sum, amount| sum + amount);
        if needed > has {
            return Err(Reason::Insufficient(resource));
        }
    }
    Ok(())
}

fn requests(pod: &Pod) -> Amounts {
    pod.spec.as_ref().map(resources::requests).unwrap_or_default()
}

fn parse(amount: &Amount) -> Option<Quantity> {
    amount.0.parse().ok()
}

fn tolerates(toleration: &Toleration, taint: &Taint) -> bool {
    let effect = toleration.effect.as_deref().filter(|effect| !effect.is_empty());
    let key = toleration.key.as_deref().filter(|key| !key.is_empty());
    let exists = toleration.operator.as_deref() == Some("Exists");
    effect.is_none_or(|effect| effect == taint.effect)
        && key.map_or(exists, |key| key == taint.key)
        && (exists || toleration.value.as_deref().unwrap_or_default() == taint.value.as_deref().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn node(extra: &Value) -> Node {
        let mut value = json!({"metadata": {"name": "n", "labels": {"disk": "ssd"}}, "spec": {},
            "status": {"conditions": [{"type": "Ready", "status": "True"}], "allocatable": {"cpu": "2", "memory": "1Gi", "pods": "3"}}});
        objects::patch::merge_patch(&mut value, extra);
        serde_json::from_value(value).unwrap()
    }

    fn pod(cpu: &str, extra: &Value) -> Pod {
        let mut value = json!({"metadata": {"name": "p"}, "spec": {"containers": [{"name": "c", "resources": {"requests": {"cpu": cpu}}}]}});
        objects::patch::merge_patch(&mut value, extra);
        serde_json::from_value(value).unwrap()
    }

    #[test]
    fn a_pod_fits_where_there_is_room_and_says_what_is_missing_where_not() {
        let other = pod("1500m", &json!({}));
        assert_eq!(fits(&pod("500m", &json!({})), &node(&json!({})), &[&other]), Ok(()));
        let full = fits(&pod("501m", &json!({})), &node(&json!({})), &[&other]);
        assert_eq!(full, Err(Reason::Insufficient("cpu".to_owned())));
        assert_eq!(unschedulable_message(&[full.unwrap_err()]), "0/1 nodes are available: 1 Insufficient cpu.");
        assert_eq!(fits(&other, &node(&json!({})), &[&pod("0", &json!({})); 3]), Err(Reason::TooManyPods));
    }

    #[test]
    fn cordons_taints_and_selectors_keep_pods_away() {
        let small = pod("0", &json!({}));
        assert_eq!(fits(&small, &node(&json!({"spec": {"unschedulable": true}})), &[]), Err(Reason::Unschedulable));
        let tainted = node(&json!({"spec": {"taints": [{"key": "k", "value": "v", "effect": "NoSchedule"}]}}));
        assert_eq!(fits(&small, &tainted, &[]), Err(Reason::Taint("k: v".to_owned())));
        let tolerant = pod("0", &json!({"spec": {"tolerations": [{"key": "k", "operator": "Exists"}]}}));
        assert_eq!(fits(&tolerant, &tainted, &[]), Ok(()));
        let picky = pod("0", &json!({"spec": {"nodeSelector": {"disk": "hdd"}}}));
        assert_eq!(fits(&picky, &node(&json!({})), &[]), Err(Reason::Selector));
    }
}
