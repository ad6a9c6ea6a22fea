//! `replica_calculator_test.go`.

use std::collections::BTreeMap;

use autoscaling::{
    Tolerances,
    decide::{Autoscaler, Reading, Scale},
    pods::{Group, Sample, State, group, request},
    replicas::Proposal,
};
use jiff::SignedDuration;
use k8s_openapi::api::{autoscaling::v2::HorizontalPodAutoscaler, core::v1::Pod};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::world::{Letters, NEVER, NOW, now, settings, table, time};

#[derive(Debug, Deserialize)]
struct Row {
    name: String,
    current: usize,
    #[serde(default)]
    metric: String,
    #[serde(default)]
    requests: Vec<String>,
    levels: Vec<Value>,
    #[serde(default)]
    pods: Vec<String>,
    container: Option<String>,
    target: i64,
    tolerances: Option<(f64, f64)>,
    #[serde(flatten)]
    letters: Letters,
    want: Option<Vec<i64>>,
    error: Option<String>,
}

impl Row {
    /// The levels of the two containers of a pod.
    fn containers(level: &Value) -> Vec<i64> {
        match level {
            Value::Array(each) => each.iter().map(|one| one.as_i64().unwrap()).collect(),
            both => vec![both.as_i64().unwrap(); 2],
        }
    }

    fn of_pod(&self, level: &Value) -> Option<i64> {
        let each = Self::containers(level);
        match self.container.as_deref() {
            Some("container1") => each.first().copied(),
            Some(_) => each.get(1).copied(),
            None if each.len() == 2 => Some(each.iter().sum()),
            None => None,
        }
    }

    fn reading(&self, pods: usize) -> Result<Reading, String> {
        let sample = |millis: i64| Sample { millis, at: time(NEVER), window: SignedDuration::from_mins(1) };
        let level = |level: &Value| level.as_i64().unwrap();
        match self.metric.as_str() {
            "" if self.levels.is_empty() => Err("no metrics returned from resource metrics API".to_owned()),
            "" | "pods" => {
                let plain = self.metric == "pods";
                let value = |value: &Value| if plain { Some(level(value)) } else { self.of_pod(value) };
                let named = |index: usize| self.pods.get(index).is_none();
                let samples = (0..pods).map(|index| {
                    let value = self.levels.get(index).filter(|_| named(index)).and_then(value);
                    value.map(sample)
                });
                let strangers = self.levels.len().saturating_sub(pods) + self.pods.len();
                Ok(Reading::Pods { samples: samples.collect(), strangers })
            }
            _ => Ok(Reading::Value(sample(self.levels.iter().map(level).fold(0, i64::saturating_add)))),
        }
    }

    /// The metric, with a target of one that the row's own replaces: no quantity says all of its numbers.
    fn autoscaler(&self, calm: bool) -> Autoscaler {
        use autoscaling::{metrics::Wanted, replicas::Target};
        let (average, value) =
            (json!({"type": "AverageValue", "averageValue": "1"}), json!({"type": "Value", "value": "1"}));
        let metric = json!({"name": "qps"});
        let of = json!({"apiVersion": "apps/v1", "kind": "Deployment", "name": "some-deployment"});
        let cpu = json!({"type": "Utilization", "averageUtilization": 1});
        let (spec, wanted) = match (self.metric.as_str(), &self.container) {
            ("pods", _) => (
                json!({"type": "Pods", "pods": {"metric": metric, "target": average}}),
                Wanted::Pods(Target::Average(self.target)),
            ),
            ("object", _) => (
                json!({"type": "Object", "object": {"describedObject": of, "metric": metric, "target": value}}),
                Wanted::Value(self.target),
            ),
            ("objectPerPod", _) => (
                json!({"type": "Object", "object": {"describedObject": of, "metric": metric, "target": average}}),
                Wanted::PerPod(self.target),
            ),
            ("external", _) => (
                json!({"type": "External", "external": {"metric": metric, "target": value}}),
                Wanted::Value(self.target),
            ),
            ("externalPerPod", _) => (
                json!({"type": "External", "external": {"metric": metric, "target": average}}),
                Wanted::PerPod(self.target),
            ),
            (_, container) => {
                let share = Wanted::Pods(Target::Utilization(i32::try_from(self.target).unwrap()));
                let source = json!({"name": "cpu", "container": container, "target": cpu});
                let (kind, field) = match container {
                    Some(_) => ("ContainerResource", "containerResource"),
                    None => ("Resource", "resource"),
                };
                (json!({"type": kind, field: source}), share)
            }
        };
        let object = json!({"metadata": {"namespace": "test-namespace"},
            "spec": {"maxReplicas": 10, "scaleTargetRef": {"kind": "D", "name": "d"}, "metrics": [spec]}});
        let object: HorizontalPodAutoscaler = serde_json::from_value(object).unwrap();
        let mut autoscaler = Autoscaler::of(&object, &settings(calm));
        autoscaler.metrics[0].wanted = Ok(wanted);
        if let Some((down, up)) = self.tolerances {
            autoscaler.tolerances = Tolerances { down, up };
        }
        autoscaler
    }

    fn propose(&self, calm: bool) -> Result<Proposal, String> {
        // Failed pods are no replicas.
        let count = self.current.max(self.letters.phase.len());
        let request = |index: usize| self.requests.get(index).cloned();
        let pods: Vec<Pod> = (0..count).map(|i| self.letters.pod(i, request(i), &json!({}), false)).collect();
        let replicas = i32::try_from(self.current).unwrap();
        let scale = Scale { replicas, observed: replicas, selector: String::new() };
        let autoscaler = self.autoscaler(calm);
        let pods: Vec<&Pod> = pods.iter().collect();
        let proposal = autoscaler.propose(&autoscaler.metrics[0], &self.reading(count), &scale, &pods, now());
        proposal.map_err(|error| error.to_string())
    }
}

fn rows() -> Vec<Row> {
    table(include_str!("calculator.json"), 76)
}

#[test]
fn a_metric_asks_for_as_many_pods_as_upstream_has_it() {
    for row in rows() {
        let outcome = row.propose(false);
        let name = &row.name;
        match (&row.want, &row.error) {
            (Some(want), _) => {
                let got = outcome.unwrap_or_else(|error| panic!("{name}: {error}"));
                let mut figures = vec![i64::from(got.replicas)];
                figures.extend(got.utilization.map(i64::from));
                figures.push(got.millis);
                assert_eq!(&figures, want, "{name}");
            }
            (None, error) => {
                let (got, error) = (outcome.unwrap_err(), error.as_ref().unwrap());
                assert!(got.contains(error), "{name}: {got}");
            }
        }
    }
}

#[test]
fn a_calm_count_lies_between_upstreams_and_the_present_one() {
    for row in rows() {
        let Ok(upstream) = row.propose(false) else { continue };
        let (calm, current) = (row.propose(true).unwrap(), i32::try_from(row.current).unwrap());
        let (low, high) = (upstream.replicas.min(current), upstream.replicas.max(current));
        assert!((low..=high).contains(&calm.replicas), "{}: {calm:?} {upstream:?}", row.name);
    }
}

#[derive(Debug, Deserialize)]
struct GroupPod {
    name: String,
    #[serde(default = "running")]
    phase: String,
    started: Option<i64>,
    condition: Option<(String, i64)>,
    #[serde(default)]
    deleted: bool,
}

fn running() -> String {
    // Upstream's rows have pods that ended well: what counts is that they neither wait nor failed.
    "Succeeded".to_owned()
}

#[derive(Debug, Deserialize)]
struct GroupRow {
    name: String,
    pods: Vec<GroupPod>,
    samples: BTreeMap<String, Option<(i64, i64)>>,
    resource: String,
    ready: usize,
    #[serde(default)]
    unready: Vec<String>,
    #[serde(default)]
    missing: Vec<String>,
    #[serde(default)]
    ignored: Vec<String>,
}

#[test]
fn pods_are_grouped_as_upstream_groups_them() {
    for row in table::<GroupRow>(include_str!("groups.json"), 14) {
        let group_of = |pod: &GroupPod| {
            let conditions: Vec<Value> = pod
                .condition
                .iter()
                .map(|(status, ago)| json!({"type": "Ready", "status": status, "lastTransitionTime": time(NOW - ago)}))
                .collect();
            let deleted = pod.deleted.then(|| time(1));
            let object: Pod = serde_json::from_value(json!({
                "metadata": {"name": pod.name, "deletionTimestamp": deleted},
                "status": {"phase": pod.phase, "startTime": pod.started.map(|ago| time(NOW - ago)), "conditions": conditions},
            })).unwrap();
            let sample = row.samples.get(&pod.name).map(|sample| match sample {
                Some((ago, window)) => {
                    Sample { millis: 1, at: time(NOW - ago), window: SignedDuration::from_secs(*window) }
                }
                None => Sample { millis: 1, at: time(NEVER), window: SignedDuration::ZERO },
            });
            group(&State::of(&object), sample.as_ref(), row.resource == "cpu", &settings(false), time(NOW))
        };
        let named = |wanted: Group| -> Vec<String> {
            row.pods.iter().filter(|pod| group_of(pod) == wanted).map(|pod| pod.name.clone()).collect()
        };
        assert_eq!(named(Group::Counted).len(), row.ready, "{}", row.name);
        assert_eq!(named(Group::Unready), row.unready, "{}", row.name);
        assert_eq!(named(Group::Missing), row.missing, "{}", row.name);
        assert_eq!(named(Group::Ignored), row.ignored, "{}", row.name);
    }
}

#[derive(Debug, Deserialize)]
struct RequestRow {
    name: String,
    pod: Option<Value>,
    containers: BTreeMap<String, Option<String>>,
    #[serde(default)]
    init: BTreeMap<String, (String, Option<String>)>,
    container: Option<String>,
    want: Option<i64>,
    error: Option<String>,
}

#[test]
fn requests_are_summed_as_upstream_sums_them() {
    for row in table::<RequestRow>(include_str!("requests.json"), 9) {
        let resources = |request: &Option<String>| match request {
            Some(request) => json!({"requests": {"cpu": request}}),
            None => json!({}),
        };
        let containers =
            row.containers.iter().map(|(name, request)| json!({"name": name, "resources": resources(request)}));
        let init = row.init.iter().map(|(name, (request, policy))| {
            json!({"name": name, "restartPolicy": policy, "resources": resources(&Some(request.clone()))})
        });
        let pod: Pod = serde_json::from_value(json!({"metadata": {"name": "test-pod"}, "spec": {
            "resources": row.pod, "containers": containers.collect::<Vec<_>>(), "initContainers": init.collect::<Vec<_>>()}}))
        .unwrap();
        let got = request(&pod, row.container.as_deref(), "cpu").map_err(|error| error.to_string());
        assert_eq!((got.clone().ok(), got.err()), (row.want, row.error), "{}", row.name);
    }
}
