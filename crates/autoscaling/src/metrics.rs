//! One metric of an autoscaler: where it comes from, what is wanted of it, how it is told in the status and in messages.

use std::fmt::Write;

use k8s_openapi::{
    api::autoscaling::v2::{
        ContainerResourceMetricStatus, CrossVersionObjectReference, ExternalMetricStatus, MetricIdentifier, MetricSpec,
        MetricStatus, MetricTarget, MetricValueStatus, ObjectMetricStatus, PodsMetricStatus, ResourceMetricStatus,
    },
    apimachinery::pkg::{api::resource::Quantity as Text, apis::meta::v1::LabelSelector},
};
use objects::quantity::Quantity;

use crate::replicas::{CannotTell, Proposal, Target, clamp_i64};

/// Where a metric comes from.
#[derive(Clone, Debug, PartialEq)]
pub enum Source {
    /// What the pods, or one container of each, use of a resource.
    Resource {
        /// `cpu`, `memory`, …
        name: String,
        /// The container; all of them otherwise.
        container: Option<String>,
    },
    /// A figure of each pod.
    Pods(MetricIdentifier),
    /// A figure of one object.
    Object(CrossVersionObjectReference, MetricIdentifier),
    /// A figure from outside.
    External(MetricIdentifier),
    /// No source that there is.
    Unknown(String),
}

/// What is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// Of each pod.
    Pods(Target),
    /// Of the object, or of what is outside, in thousandths.
    Value(i64),
    /// Of the object or of what is outside, for each pod, in thousandths.
    PerPod(i64),
}

/// A metric of an autoscaler, read once.
#[derive(Clone, Debug, PartialEq)]
pub struct Metric {
    /// Where it comes from.
    pub source: Source,
    /// What is wanted of it; or why that cannot be told.
    pub wanted: Result<Wanted, CannotTell>,
}

impl Metric {
    /// Reads a metric of a spec.
    pub fn of(spec: &MetricSpec) -> Self {
        let unknown = || (Source::Unknown(spec.type_.clone()), Err(unset("resource", "an average utilization", "")));
        let found = match spec.type_.as_str() {
            "Resource" => spec
                .resource
                .as_ref()
                .map(|of| (Source::Resource { name: of.name.clone(), container: None }, resource_target(&of.target))),
            "ContainerResource" => spec.container_resource.as_ref().map(|of| {
                let container = Some(of.container.clone());
                (Source::Resource { name: of.name.clone(), container }, resource_target(&of.target))
            }),
            "Pods" => spec.pods.as_ref().map(|of| {
                let average = millis(of.target.average_value.as_ref());
                let wanted = average.map(|millis| Wanted::Pods(Target::Average(millis)));
                (Source::Pods(of.metric.clone()), wanted.ok_or_else(|| unset("pods", "a value", "")))
            }),
            "Object" => spec.object.as_ref().map(|of| {
                let source = Source::Object(of.described_object.clone(), of.metric.clone());
                (source, value_target(&of.target, "object"))
            }),
            "External" => spec
                .external
                .as_ref()
                .map(|of| (Source::External(of.metric.clone()), value_target(&of.target, "external"))),
            _ => None,
        };
        let (source, wanted) = found.unwrap_or_else(unknown);
        Self { source, wanted }
    }

    /// Whether it is measured on the target's own pods, so that it says nothing when there are none.
    pub fn is_of_pods(&self) -> bool {
        matches!(self.source, Source::Resource { .. } | Source::Pods(_))
    }

    /// The reason of the event and the condition when it cannot be told.
    pub fn failure(&self) -> &'static str {
        match &self.source {
            Source::Resource { container: None, .. } => "FailedGetResourceMetric",
            Source::Resource { .. } => "FailedGetContainerResourceMetric",
            Source::Pods(_) => "FailedGetPodsMetric",
            Source::Object(..) => "FailedGetObjectMetric",
            Source::External(_) => "FailedGetExternalMetric",
            Source::Unknown(_) => "InvalidMetricSourceType",
        }
    }

    /// The failure as upstream words it: what the metrics API said becomes what the event says.
    pub fn unfetched(&self, error: &str, namespace: &str) -> String {
        match &self.source {
            Source::Resource { name, .. } => format!("unable to get metrics for resource {name}: {error}"),
            Source::Pods(metric) => format!("unable to get metric {}: {error}", metric.name),
            Source::Object(of, metric) => {
                format!("unable to get metric {}: {} on {namespace} {}/{error}", metric.name, of.kind, of.name)
            }
            Source::External(metric) => {
                let selector = described(metric.selector.as_ref());
                format!("unable to get external metric {namespace}/{}/{selector}: {error}", metric.name)
            }
            Source::Unknown(_) => error.to_owned(),
        }
    }

    /// What the event says.
    pub fn failed(&self, error: &str) -> String {
        match (&self.source, &self.wanted) {
            (Source::Unknown(type_), _) => format!("unknown metric source type {type_:?}"),
            (_, Err(wrong)) => wrong.to_string(),
            (Source::Resource { name, .. }, Ok(Wanted::Pods(Target::Utilization(_)))) => {
                format!("failed to get {name} utilization: {error}")
            }
            (Source::Resource { name, .. }, _) => format!("failed to get {name} usage: {error}"),
            _ => error.to_owned(),
        }
    }

    /// What is said when nothing could be decided.
    pub fn failed_wholly(&self, error: &str) -> String {
        let per_pod = matches!(self.wanted, Ok(Wanted::PerPod(_)));
        match &self.source {
            Source::Resource { name, container: None } => {
                format!("failed to get {name} resource metric value: {error}")
            }
            Source::Resource { container: Some(container), .. } => {
                format!("failed to get {container} container metric value: {error}")
            }
            Source::Pods(_) => format!("failed to get pods metric value: {error}"),
            Source::Object(_, metric) if per_pod => {
                format!("failed to get object metric value: failed to get {} object metric: {error}", metric.name)
            }
            Source::Object(..) => format!("failed to get object metric value: {error}"),
            Source::External(metric) => {
                let name = &metric.name;
                let what = if per_pod { format!("{name} external metric") } else { format!("external metric {name}") };
                format!("failed to get {name} external metric value: failed to get {what}: {error}")
            }
            Source::Unknown(_) => error.to_owned(),
        }
    }

    /// Its name in conditions and in the reason for a new size.
    pub fn title(&self) -> String {
        let share = matches!(self.wanted, Ok(Wanted::Pods(Target::Utilization(_))));
        match &self.source {
            Source::Resource { name, container: Some(_) } if share => {
                format!("{name} container resource utilization (percentage of request)")
            }
            Source::Resource { name, .. } if share => format!("{name} resource utilization (percentage of request)"),
            Source::Resource { name, .. } => format!("{name} resource"),
            Source::Pods(metric) => format!("pods metric {}", metric.name),
            Source::Object(of, metric) if matches!(self.wanted, Ok(Wanted::Value(_))) => {
                format!("{} metric {}", of.kind, metric.name)
            }
            // Upstream names an object's metric per pod so, too.
            Source::Object(_, metric) | Source::External(metric) => {
                format!("external metric {}({})", metric.name, described(metric.selector.as_ref()))
            }
            Source::Unknown(type_) => type_.clone(),
        }
    }

    /// Its part of the status.
    pub fn status(&self, proposal: &Proposal) -> MetricStatus {
        let millis = Some(Text(Quantity::from_millis(i128::from(proposal.millis)).to_string()));
        let current = match self.wanted {
            Ok(Wanted::Value(_)) => MetricValueStatus { value: millis, ..MetricValueStatus::default() },
            _ => MetricValueStatus {
                average_utilization: proposal.utilization,
                average_value: millis,
                ..MetricValueStatus::default()
            },
        };
        let mut status = MetricStatus::default();
        match &self.source {
            Source::Resource { name, container: None } => {
                status.type_ = "Resource".to_owned();
                status.resource = Some(ResourceMetricStatus { name: name.clone(), current });
            }
            Source::Resource { name, container: Some(container) } => {
                status.type_ = "ContainerResource".to_owned();
                let (name, container) = (name.clone(), container.clone());
                status.container_resource = Some(ContainerResourceMetricStatus { name, container, current });
            }
            Source::Pods(metric) => {
                status.type_ = "Pods".to_owned();
                status.pods = Some(PodsMetricStatus { metric: metric.clone(), current });
            }
            Source::Object(of, metric) => {
                status.type_ = "Object".to_owned();
                let (described_object, metric) = (of.clone(), metric.clone());
                status.object = Some(ObjectMetricStatus { described_object, metric, current });
            }
            Source::External(metric) => {
                status.type_ = "External".to_owned();
                status.external = Some(ExternalMetricStatus { metric: metric.clone(), current });
            }
            Source::Unknown(_) => {}
        }
        status
    }
}

fn unset(of: &str, one: &str, or: &str) -> CannotTell {
    CannotTell(format!("invalid {of} metric source: neither {one} target nor an average value{or} target was set"))
}

fn resource_target(target: &MetricTarget) -> Result<Wanted, CannotTell> {
    let average = millis(target.average_value.as_ref()).map(Target::Average);
    let wanted = average.or_else(|| target.average_utilization.map(Target::Utilization));
    wanted.map(Wanted::Pods).ok_or_else(|| unset("resource", "an average utilization", " (usage)"))
}

fn value_target(target: &MetricTarget, of: &str) -> Result<Wanted, CannotTell> {
    let (value, average) = (millis(target.value.as_ref()), millis(target.average_value.as_ref()));
    let found = match target.type_.as_str() {
        "Value" => value.map(Wanted::Value),
        "AverageValue" => average.map(Wanted::PerPod),
        _ => average.map(Wanted::PerPod).or(value.map(Wanted::Value)),
    };
    found.ok_or_else(|| unset(of, "a value", ""))
}

fn millis(quantity: Option<&Text>) -> Option<i64> {
    quantity?.0.parse::<Quantity>().ok().map(|quantity| clamp_i64(quantity.millis()))
}

/// A selector as upstream prints one.
fn described(selector: Option<&LabelSelector>) -> String {
    let Some(selector) = selector else { return "nil".to_owned() };
    let mut text = String::from("&LabelSelector{MatchLabels:map[string]string{");
    // Writing to a String does not fail.
    for (key, value) in selector.match_labels.iter().flatten() {
        let _ = write!(text, "{key}: {value},");
    }
    text.push_str("},MatchExpressions:[]LabelSelectorRequirement{");
    for one in selector.match_expressions.iter().flatten() {
        let values = one.values.as_deref().unwrap_or_default().join(" ");
        let _ =
            write!(text, "LabelSelectorRequirement{{Key:{},Operator:{},Values:[{values}],}},", one.key, one.operator);
    }
    text.push_str("},}");
    text
}
