//! `/metrics/resource`: figures in Prometheus' text form, under the kubelet's names.

use std::fmt::{Display, Write};

use jiff::Timestamp;

use super::{Look, PodFigures};

/// The media type of the text.
pub(super) const MEDIA: &str = "text/plain; version=0.0.4; charset=utf-8";

/// The text that is being written.
struct Text(String);

impl Text {
    fn head(&mut self, name: &str, sort: &str, help: &str) {
        // Writing to a string cannot fail.
        let _ = writeln!(self.0, "# HELP {name} [STABLE] {help}\n# TYPE {name} {sort}");
    }

    /// A figure of `labels`, with the time of day at which it was so, if that matters.
    fn line(&mut self, name: &str, labels: &str, value: impl Display, at: Option<Timestamp>) {
        let labels = if labels.is_empty() { String::new() } else { format!("{{{labels}}}") };
        let _ = match at {
            Some(at) => writeln!(self.0, "{name}{labels} {value} {}", at.as_millisecond()),
            None => writeln!(self.0, "{name}{labels} {value}"),
        };
    }
}

/// Nanoseconds as seconds.
fn seconds(nanos: u64) -> String {
    format!("{}.{:09}", nanos / 1_000_000_000, nanos % 1_000_000_000)
}

// Names of objects need no escaping: Kubernetes allows no quotes or backslashes in them.
fn labels(pod: &PodFigures) -> String {
    format!("namespace=\"{}\",pod=\"{}\"", pod.namespace(), pod.name())
}

/// All figures.
pub(super) fn text(look: &Look) -> String {
    let mut text = Text(String::new());
    containers(&mut text, look);
    let (node, now) = (&look.node.usage, Some(look.at));
    let name = "node_cpu_usage_seconds_total";
    text.head(name, "counter", "Cumulative cpu time consumed by the node in core-seconds");
    text.line(name, "", seconds(node.cpu_nanos), now);
    let name = "node_memory_working_set_bytes";
    text.head(name, "gauge", "Current working set of the node in bytes");
    text.line(name, "", node.memory.working_set, now);
    let whole = || look.pods.iter().filter(|pod| pod.whole);
    let name = "pod_cpu_usage_seconds_total";
    text.head(name, "counter", "Cumulative cpu time consumed by the pod in core-seconds");
    whole().for_each(|pod| text.line(name, &labels(pod), seconds(pod.sum(|usage| usage.cpu_nanos)), now));
    let name = "pod_memory_working_set_bytes";
    text.head(name, "gauge", "Current working set of the pod in bytes");
    whole().for_each(|pod| text.line(name, &labels(pod), pod.sum(|usage| usage.memory.working_set), now));
    let name = "resource_scrape_error";
    text.head(name, "gauge", "1 if there was an error while getting container metrics, 0 otherwise");
    // A container that ended a moment ago is no error.
    text.line(name, "", 0, None);
    text.0
}

fn containers(text: &mut Text, look: &Look) {
    let now = Some(look.at);
    let all: Vec<_> = look
        .pods
        .iter()
        .flat_map(|pod| pod.containers.iter().map(|c| (format!("container=\"{}\",{}", c.name, labels(pod)), c)))
        .collect();
    let name = "container_cpu_usage_seconds_total";
    text.head(name, "counter", "Cumulative cpu time consumed by the container in core-seconds");
    all.iter().for_each(|(labels, c)| text.line(name, labels, seconds(c.measured.usage.cpu_nanos), now));
    let name = "container_memory_working_set_bytes";
    text.head(name, "gauge", "Current working set of the container in bytes");
    all.iter().for_each(|(labels, c)| text.line(name, labels, c.measured.usage.memory.working_set, now));
    let name = "container_start_time_seconds";
    text.head(name, "gauge", "Start time of the container since unix epoch in seconds");
    for (labels, container) in &all {
        let nanos = u64::try_from(container.started.as_nanosecond()).unwrap_or(0);
        text.line(name, labels, seconds(nanos), None);
    }
}
