//! The columns of Pods: one word for how a pod is (upstream's `printPod`).

use jiff::Timestamp;
use serde_json::{Value, json};

use super::{AGE, Column, age, column, condition, list, number, text, text_or, wide};
use crate::registry::meta;

pub(super) const COLUMNS: &[Column] = &[
    column("Ready", |pod, _| {
        let summary = Summary::of(pod);
        format!("{}/{}", summary.ready, summary.total).into()
    }),
    column("Status", |pod, _| Summary::of(pod).reason.into()),
    column("Restarts", |pod, now| Summary::of(pod).restarts(now).into()),
    AGE,
    wide("IP", |pod, _| text_or(pod, "/status/podIPs/0/ip", text_or(pod, "/status/podIP", "<none>")).into()),
    wide("Node", |pod, _| text_or(pod, "/spec/nodeName", "<none>").into()),
    wide("Nominated Node", |pod, _| text_or(pod, "/status/nominatedNodeName", "<none>").into()),
    wide("Readiness Gates", |pod, _| readiness_gates(pod).into()),
];

/// The condition that a table's row has when its pod has ended, by which clients tell such rows.
pub(super) fn ended(pod: &Value) -> Option<Value> {
    let message = match text(pod, "/status/phase") {
        "Succeeded" => "The pod has completed successfully.",
        "Failed" => "The pod failed.",
        _ => return None,
    };
    Some(json!({"type": "Completed", "status": "True", "reason": text(pod, "/status/phase"), "message": message}))
}

/// What the statuses of a pod's containers come to.
#[derive(Debug, Default)]
struct Summary<'a> {
    reason: String,
    ready: usize,
    total: usize,
    restarts: i64,
    /// When a container last ended, in RFC 3339: texts of one form compare as their times do.
    last_restart: &'a str,
}

impl<'a> Summary<'a> {
    fn of(pod: &'a Value) -> Self {
        let mut summary = Self { reason: first_reason(pod).to_owned(), ..Self::default() };
        summary.total = list(pod, "/spec/containers").count() + sidecars(pod).count();
        let initializing = summary.init_containers(pod);
        let initialized = condition(pod, "Initialized").is_some_and(|c| text(c, "/status") == "True");
        if !initializing || initialized {
            // From here on only what goes on running counts.
            (summary.restarts, summary.last_restart) = (0, "");
            for status in list(pod, "/status/initContainerStatuses").filter(|status| is_sidecar(pod, status)) {
                summary.count_restarts(status);
            }
            summary.containers(pod);
        }
        if meta::is_deleting(pod) {
            if text(pod, "/status/reason") == "NodeLost" {
                summary.reason = "Unknown".to_owned();
            } else if !matches!(text(pod, "/status/phase"), "Succeeded" | "Failed") {
                summary.reason = "Terminating".to_owned();
            }
        }
        summary
    }

    fn count_restarts(&mut self, status: &'a Value) {
        self.restarts += number(status, "/restartCount");
        self.last_restart = self.last_restart.max(text(status, "/lastState/terminated/finishedAt"));
    }

    /// Takes in the init containers up to the first that is not done; whether there is one.
    fn init_containers(&mut self, pod: &'a Value) -> bool {
        for (index, status) in list(pod, "/status/initContainerStatuses").enumerate() {
            self.count_restarts(status);
            let terminated = status.pointer("/state/terminated");
            let waiting = text(status, "/state/waiting/reason");
            if terminated.is_some_and(|state| number(state, "/exitCode") == 0) {
                continue;
            }
            if is_sidecar(pod, status) && status.get("started") == Some(&json!(true)) {
                self.ready += usize::from(status.get("ready") == Some(&json!(true)));
                continue;
            }
            self.reason = match terminated {
                Some(state) => format!("Init:{}", end_of(state)),
                None if !waiting.is_empty() && waiting != "PodInitializing" => format!("Init:{waiting}"),
                None => format!("Init:{index}/{}", list(pod, "/spec/initContainers").count()),
            };
            return true;
        }
        false
    }

    fn containers(&mut self, pod: &'a Value) {
        let mut running = false;
        for status in list(pod, "/status/containerStatuses").rev() {
            self.count_restarts(status);
            let waiting = text(status, "/state/waiting/reason");
            if !waiting.is_empty() {
                self.reason = waiting.to_owned();
            } else if let Some(state) = status.pointer("/state/terminated") {
                self.reason = end_of(state);
            } else if status.get("ready") == Some(&json!(true)) && status.pointer("/state/running").is_some() {
                running = true;
                self.ready += 1;
            }
        }
        if self.reason == "Completed" && running {
            let ready = condition(pod, "Ready").is_some_and(|c| text(c, "/status") == "True");
            self.reason = if ready { "Running" } else { "NotReady" }.to_owned();
        }
    }

    fn restarts(&self, now: Timestamp) -> String {
        if self.restarts == 0 || self.last_restart.is_empty() {
            return self.restarts.to_string();
        }
        format!("{} ({} ago)", self.restarts, age(self.last_restart, now))
    }
}

/// What the pod itself says, before its containers do.
fn first_reason(pod: &Value) -> &str {
    let gated = condition(pod, "PodScheduled").is_some_and(|c| text(c, "/reason") == "SchedulingGated");
    if gated { "SchedulingGated" } else { text_or(pod, "/status/reason", text(pod, "/status/phase")) }
}

fn end_of(terminated: &Value) -> String {
    match (text(terminated, "/reason"), number(terminated, "/signal")) {
        ("", 0) => format!("ExitCode:{}", number(terminated, "/exitCode")),
        ("", signal) => format!("Signal:{signal}"),
        (reason, _) => reason.to_owned(),
    }
}

/// Init containers that go on running beside the others.
fn sidecars(pod: &Value) -> impl Iterator<Item = &Value> {
    list(pod, "/spec/initContainers").filter(|container| text(container, "/restartPolicy") == "Always")
}

fn is_sidecar(pod: &Value, status: &Value) -> bool {
    sidecars(pod).any(|container| container.get("name") == status.get("name"))
}

fn readiness_gates(pod: &Value) -> String {
    let gates: Vec<&str> = list(pod, "/spec/readinessGates").map(|gate| text(gate, "/conditionType")).collect();
    if gates.is_empty() {
        return "<none>".to_owned();
    }
    let holds = |gate: &&&str| condition(pod, gate).is_some_and(|c| text(c, "/status") == "True");
    format!("{}/{}", gates.iter().filter(holds).count(), gates.len())
}
