//! Whether a pod fits on a node, and upstream's words for why not. Pure.

use std::collections::BTreeMap;

use k8s_openapi::{
    api::core::v1::{Node, Pod, Taint, Toleration},
    apimachinery::pkg::api::resource::Quantity as Amount,
};
use objects::{
    quantity::Quantity,
    quota::is_best_effort,
    resources::{self, Amounts},
};

use super::affinity::asks_for;

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
    /// It has too little of a resource even when it is empty.
    TooSmall(String),
    /// It runs as many pods as it may.
    TooManyPods,
    /// A host port is taken.
    HostPorts,
}

impl Reason {
    /// In upstream's words.
    pub fn text(&self) -> String {
        match self {
            Self::Unschedulable => "node(s) were unschedulable".to_owned(),
            Self::Taint(taint) => format!("node(s) had untolerated taint {{{taint}}}"),
            Self::Selector => "node(s) didn't match Pod's node affinity/selector".to_owned(),
            Self::Insufficient(resource) | Self::TooSmall(resource) => format!("Insufficient {resource}"),
            Self::TooManyPods => "Too many pods".to_owned(),
            Self::HostPorts => "node(s) didn't have free ports for the requested pod ports".to_owned(),
        }
    }

    /// Whether the node could take the pod if other pods went.
    pub fn is_others(&self) -> bool {
        matches!(self, Self::Insufficient(_) | Self::TooManyPods | Self::HostPorts)
    }
}

/// Whether a pod that takes up room is about to give it back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stay {
    /// It is not.
    Stays,
    /// It is being deleted.
    Ends,
    /// It was told to go for another one.
    Preempted,
}

/// What a pod takes up, read once.
#[derive(Clone, Debug)]
pub struct Wants<'a> {
    /// The pod.
    pub pod: &'a Pod,
    /// Its priority.
    pub priority: i32,
    /// Whether it is about to go.
    pub stay: Stay,
    requests: Amounts,
    ports: Vec<(i32, String)>,
}

impl<'a> Wants<'a> {
    /// What this pod takes up.
    pub fn of(pod: &'a Pod) -> Self {
        let spec = pod.spec.as_ref();
        let ports = spec.iter().flat_map(|spec| &spec.containers).flat_map(|c| c.ports.iter().flatten());
        let ports = ports.filter_map(|p| Some((p.host_port?, p.protocol.clone().unwrap_or_else(|| "TCP".to_owned()))));
        Self {
            pod,
            priority: spec.and_then(|spec| spec.priority).unwrap_or(0),
            stay: match pod.metadata.deletion_timestamp {
                None => Stay::Stays,
                Some(_) if is_preempted(pod) => Stay::Preempted,
                Some(_) => Stay::Ends,
            },
            requests: resources::held(pod),
            ports: ports.collect(),
        }
    }
}

fn is_preempted(pod: &Pod) -> bool {
    let conditions = pod.status.iter().flat_map(|status| status.conditions.iter().flatten());
    conditions.into_iter().any(|c| {
        c.type_ == "DisruptionTarget" && c.status == "True" && c.reason.as_deref() == Some("PreemptionByScheduler")
    })
}

/// What pods take up of a node together.
#[derive(Clone, Debug, Default)]
pub struct Load {
    pods: usize,
    used: Amounts,
    ports: BTreeMap<(i32, String), usize>,
}

impl Load {
    /// With one pod more.
    pub fn add(&mut self, pod: &Wants<'_>) {
        self.pods += 1;
        resources::add(&mut self.used, &pod.requests);
        for port in &pod.ports {
            *self.ports.entry(port.clone()).or_default() += 1;
        }
    }

    /// Without one of its pods.
    pub fn remove(&mut self, pod: &Wants<'_>) {
        self.pods = self.pods.saturating_sub(1);
        for (resource, amount) in &pod.requests {
            if let Some(used) = self.used.get_mut(resource) {
                *used = *used + Quantity::from_millis(amount.millis().saturating_neg());
            }
        }
        for port in &pod.ports {
            if let Some(count) = self.ports.get_mut(port) {
                *count = count.saturating_sub(1);
            }
        }
    }
}

/// The message of a pod that no node can take, from the reasons of each.
pub fn unschedulable_message<'a>(nodes: impl ExactSizeIterator<Item = &'a [Reason]>) -> String {
    if nodes.len() == 0 {
        return "no nodes available to schedule pods".to_owned();
    }
    let count = nodes.len();
    unavailable(count, nodes.flatten().map(Reason::text))
}

/// `0/3 nodes are available: 2 Too many pods, 1 Insufficient cpu.`
pub(super) fn unavailable(nodes: usize, reasons: impl Iterator<Item = String>) -> String {
    let mut counts: BTreeMap<String, usize> = BTreeMap::new();
    reasons.for_each(|reason| *counts.entry(reason).or_default() += 1);
    let mut list: Vec<String> = counts.iter().map(|(reason, count)| format!("{count} {reason}")).collect();
    list.sort();
    format!("0/{nodes} nodes are available: {}.", list.join(", "))
}

/// Whether a pod takes up room on a node.
pub(super) fn takes_room(pod: &Pod) -> bool {
    !matches!(pod.status.as_ref().and_then(|s| s.phase.as_deref()), Some("Succeeded" | "Failed"))
}

/// Whether the node can take the pod besides the load that is there.
///
/// # Errors
/// Why not: the first thing that forbids it, or everything that there is too little of.
pub fn fits(wants: &Wants<'_>, node: &Node, there: &Load) -> Result<(), Vec<Reason>> {
    if let Some(reason) = forbids(wants.pod, node) {
        return Err(vec![reason]);
    }
    if wants.ports.iter().any(|port| there.ports.get(port).is_some_and(|count| *count > 0)) {
        return Err(vec![Reason::HostPorts]);
    }
    let lacking = lacking(wants, node, there);
    if lacking.is_empty() { Ok(()) } else { Err(lacking) }
}

/// What no room would change.
fn forbids(pod: &Pod, node: &Node) -> Option<Reason> {
    let spec = pod.spec.as_ref()?;
    let node_spec = node.spec.as_ref();
    let tolerations = spec.tolerations.as_deref().unwrap_or_default();
    if node_spec.and_then(|spec| spec.unschedulable).unwrap_or(false) {
        let taint = Taint {
            key: "node.kubernetes.io/unschedulable".to_owned(),
            effect: "NoSchedule".to_owned(),
            ..Taint::default()
        };
        if !tolerations.iter().any(|t| tolerates(t, &taint)) {
            return Some(Reason::Unschedulable);
        }
    }
    // Kubernetes promises that pods which ask for memory or CPU are placed on nodes whose memory runs out.
    let copes = |taint: &Taint| taint.key == "node.kubernetes.io/memory-pressure" && !is_best_effort(spec);
    let blocks = |taint: &&Taint| {
        taint.effect != "PreferNoSchedule" && !tolerations.iter().any(|t| tolerates(t, taint)) && !copes(taint)
    };
    if let Some(taint) = node_spec.and_then(|spec| spec.taints.as_ref()).into_iter().flatten().find(blocks) {
        let value = taint.value.as_deref().unwrap_or_default();
        return Some(Reason::Taint(format!("{}: {value}", taint.key)));
    }
    let ready = node
        .status
        .iter()
        .flat_map(|s| s.conditions.iter().flatten())
        .any(|c| c.type_ == "Ready" && c.status == "True");
    if !ready {
        return Some(Reason::Taint("node.kubernetes.io/not-ready: ".to_owned()));
    }
    (!asks_for(spec, node)).then_some(Reason::Selector)
}

fn lacking(wants: &Wants<'_>, node: &Node, there: &Load) -> Vec<Reason> {
    let allocatable = node.status.as_ref().and_then(|status| status.allocatable.as_ref());
    let amount = |resource: &str| allocatable.and_then(|amounts| parse(amounts.get(resource)?));
    let most = amount("pods").map_or(110, |pods| pods.value());
    let mut lacking = Vec::new();
    if i128::try_from(there.pods).unwrap_or(i128::MAX) >= most {
        lacking.push(Reason::TooManyPods);
    }
    for (resource, wanted) in wants.requests.iter().filter(|(_, wanted)| wanted.millis() > 0) {
        let has = amount(resource).unwrap_or(Quantity::from_millis(0));
        let used = there.used.get(resource).copied().unwrap_or(Quantity::from_millis(0));
        if *wanted > has {
            lacking.push(Reason::TooSmall(resource.clone()));
        } else if used + *wanted > has {
            lacking.push(Reason::Insufficient(resource.clone()));
        }
    }
    lacking
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

    fn fits(pod: &Pod, node: &Node, there: &[&Pod]) -> Result<(), Vec<Reason>> {
        let mut load = Load::default();
        there.iter().for_each(|pod| load.add(&Wants::of(pod)));
        super::fits(&Wants::of(pod), node, &load)
    }

    #[test]
    fn a_pod_fits_where_there_is_room_and_says_what_is_missing_where_not() {
        let other = pod("1500m", &json!({}));
        assert_eq!(fits(&pod("500m", &json!({})), &node(&json!({})), &[&other]), Ok(()));
        let full = fits(&pod("501m", &json!({})), &node(&json!({})), &[&other]).unwrap_err();
        assert_eq!(full, [Reason::Insufficient("cpu".to_owned())]);
        let message = unschedulable_message([full.as_slice()].into_iter());
        assert_eq!(message, "0/1 nodes are available: 1 Insufficient cpu.");
        let idle = pod("0", &json!({}));
        let crowded = fits(&pod("2001m", &json!({})), &node(&json!({})), &[&idle; 3]).unwrap_err();
        assert_eq!(crowded, [Reason::TooManyPods, Reason::TooSmall("cpu".to_owned())]);
        let message = unschedulable_message([crowded.as_slice(), full.as_slice()].into_iter());
        assert_eq!(message, "0/2 nodes are available: 1 Too many pods, 2 Insufficient cpu.");
    }

    #[test]
    fn what_goes_leaves_its_room_and_its_ports() {
        let port = json!({"spec": {"containers": [{"name": "c", "ports": [{"containerPort": 80, "hostPort": 80}],
            "resources": {"requests": {"cpu": "2"}}}]}});
        let other = pod("0", &port);
        let taken = fits(&other, &node(&json!({})), &[&other]);
        assert_eq!(taken, Err(vec![Reason::HostPorts]));
        let mut load = Load::default();
        load.add(&Wants::of(&other));
        load.remove(&Wants::of(&other));
        assert_eq!(super::fits(&Wants::of(&other), &node(&json!({})), &load), Ok(()));
    }

    #[test]
    fn cordons_taints_and_selectors_keep_pods_away() {
        let small = pod("0", &json!({}));
        let cordoned = node(&json!({"spec": {"unschedulable": true}}));
        assert_eq!(fits(&small, &cordoned, &[]), Err(vec![Reason::Unschedulable]));
        let tainted = node(&json!({"spec": {"taints": [{"key": "k", "value": "v", "effect": "NoSchedule"}]}}));
        assert_eq!(fits(&small, &tainted, &[]), Err(vec![Reason::Taint("k: v".to_owned())]));
        let tolerant = pod("0", &json!({"spec": {"tolerations": [{"key": "k", "operator": "Exists"}]}}));
        assert_eq!(fits(&tolerant, &tainted, &[]), Ok(()));
        let picky = pod("0", &json!({"spec": {"nodeSelector": {"disk": "hdd"}}}));
        assert_eq!(fits(&picky, &node(&json!({})), &[]), Err(vec![Reason::Selector]));
    }

    #[test]
    fn only_pods_that_ask_for_nothing_stay_away_from_a_node_whose_memory_runs_out() {
        let taint = json!([{"key": "node.kubernetes.io/memory-pressure", "effect": "NoSchedule"}]);
        let pressed = node(&json!({"spec": {"taints": taint}}));
        assert!(fits(&pod("0", &json!({})), &pressed, &[]).is_err());
        assert_eq!(fits(&pod("1m", &json!({})), &pressed, &[]), Ok(()));
    }
}
