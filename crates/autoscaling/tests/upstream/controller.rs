//! The cases of `horizontal_test.go` that take an autoscaler all the way: from its metrics to its scale, conditions and events.

use autoscaling::{
    conditions::Event,
    decide::{Autoscaler, Reading, Scale, Seen, Unselected},
    history::{History, Recommendation, ScaleEvent},
    overlap,
    pods::Sample,
};
use jiff::SignedDuration;
use k8s_openapi::api::{
    autoscaling::v2::{HorizontalPodAutoscaler, HorizontalPodAutoscalerStatus as Status},
    core::v1::Pod,
};
use objects::{quantity::Quantity, selector::Labels};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::world::{Letters, NOW, now, rules, settings, table, time};

#[derive(Debug, Deserialize)]
struct Row {
    name: String,
    min: i32,
    max: i32,
    spec: i32,
    status: Option<i32>,
    want: i32,
    cpu: Option<i32>,
    now: Option<i32>,
    #[serde(default)]
    metrics: Vec<String>,
    up: Option<[i32; 5]>,
    levels: Vec<i64>,
    requests: Option<Vec<String>>,
    #[serde(flatten)]
    letters: Letters,
    recommendations: Option<Vec<(i32, i64)>>,
    able: Option<String>,
    limited: Option<String>,
    conditions: Option<Vec<String>>,
    event: Option<String>,
    selector: Option<String>,
    other: Option<String>,
    labels: Option<Value>,
    #[serde(default)]
    fails: String,
}

/// A metric from the words of a row.
fn metric(words: &str) -> Value {
    let words: Vec<&str> = words.split(' ').collect();
    let target = |of: &str, amount: &str| match of {
        "value" => json!({"type": "Value", "value": amount}),
        _ => json!({"type": "AverageValue", "averageValue": amount}),
    };
    let qps = json!({"name": "qps", "selector": {}});
    match words.as_slice() {
        ["container", name, share] => {
            json!({"type": "ContainerResource", "containerResource": {"name": "cpu", "container": name,
            "target": {"type": "Utilization", "averageUtilization": share.parse::<i32>().unwrap()}}})
        }
        ["pods", amount] => {
            json!({"type": "Pods", "pods": {"metric": {"name": "qps"}, "target": target("average", amount)}})
        }
        ["object", of, amount] => {
            json!({"type": "Object", "object": {"metric": {"name": "qps"}, "target": target(of, amount),
            "describedObject": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "some-deployment"}}})
        }
        ["external", of, amount] => {
            json!({"type": "External", "external": {"metric": qps, "target": target(of, amount)}})
        }
        other => json!({"type": other.join(" ")}),
    }
}

/// What came of a row.
struct Outcome {
    scale: Option<i32>,
    status: Status,
    events: Vec<Event>,
}

impl Row {
    fn object(&self) -> HorizontalPodAutoscaler {
        let cpu = self.cpu.map(|share| {
            let target = json!({"type": "Utilization", "averageUtilization": share});
            json!({"type": "Resource", "resource": {"name": "cpu", "target": target}})
        });
        let metrics: Vec<Value> = cpu.into_iter().chain(self.metrics.iter().map(|words| metric(words))).collect();
        let behavior = self.up.map(|up| json!({"scaleUp": rules(up, "Max")}));
        serde_json::from_value(json!({
            "metadata": {"name": "test-hpa", "namespace": "test-namespace"},
            "spec": {"scaleTargetRef": {"apiVersion": "v1", "kind": "ReplicationController", "name": "test-rc"},
                "minReplicas": self.min, "maxReplicas": self.max, "metrics": metrics, "behavior": behavior},
            "status": {"currentReplicas": self.spec, "desiredReplicas": self.spec},
        }))
        .unwrap()
    }

    fn pods(&self) -> Vec<Pod> {
        let count =
            self.requests.as_ref().map_or(self.status.unwrap_or(self.spec), |all| i32::try_from(all.len()).unwrap());
        let mut labels = json!({"name": "test-pod"});
        for (key, value) in self.labels.iter().filter_map(Value::as_object).flatten() {
            labels[key] = value.clone();
        }
        let request = |index: usize| {
            let whole = self.requests.as_ref().and_then(|all| all.get(index)).map_or("1", String::as_str);
            Quantity::from_millis(whole.parse::<Quantity>().unwrap().millis() / 2).to_string()
        };
        let pod = |index: usize| self.letters.pod(index, Some(request(index)), &labels, true);
        (0..usize::try_from(count).unwrap()).map(pod).collect()
    }

    fn reading(&self, metric: &str, pods: usize) -> Result<Reading, String> {
        let external = metric.starts_with("external");
        if self.fails == "metrics" || (self.fails == "external" && external) {
            return Err("something went wrong".to_owned());
        }
        let sample = |millis: i64| Sample { millis, at: time(NOW), window: SignedDuration::from_mins(1) };
        if external {
            return Ok(Reading::Value(sample(self.levels.iter().sum())));
        }
        if metric.starts_with("object") {
            return Ok(Reading::Value(sample(self.levels[0])));
        }
        if self.levels.is_empty() && !metric.starts_with("pods") {
            return Err("no metrics returned from resource metrics API".to_owned());
        }
        let each = |level: &i64| match metric.split(' ').next() {
            Some("pods") => *level,
            Some("container") => level / 2,
            _ => level / 2 * 2,
        };
        let samples = (0..pods).map(|index| self.levels.get(index).map(|level| sample(each(level))));
        Ok(Reading::Pods { samples: samples.collect(), strangers: self.levels.len().saturating_sub(pods) })
    }

    fn unselected(&self, pods: &[Pod]) -> Option<Unselected> {
        match self.selector.as_deref() {
            Some("absent") => return Some(Unselected::Absent),
            Some(text) => return Some(Unselected::Unreadable(Labels::parse(text).unwrap_err().to_string())),
            None => {}
        }
        let (own, other) = (Labels::parse("name=test-pod").unwrap(), Labels::parse(self.other.as_deref()?).unwrap());
        let labels = pods.iter().filter_map(|pod| pod.metadata.labels.as_ref());
        let found = overlap::select(&[Some(&own), Some(&other)], labels);
        let names: Vec<&str> = found[0].shared.iter().map(|place| ["test-hpa", "test-hpa-2"][*place]).collect();
        assert_eq!(found[0].pods.len(), pods.len());
        let message = overlap::message("name=test-pod", "test-namespace", &names);
        (!names.is_empty()).then_some(Unselected::Ambiguous(message))
    }

    fn run(&self, calm: bool) -> Outcome {
        let object = self.object();
        let autoscaler = Autoscaler::of(&object, &settings(calm));
        let old = object.status.unwrap();
        if self.fails == "get" {
            let (status, event) = autoscaler.unreadable(&old, "something went wrong", now());
            return Outcome { scale: None, status, events: vec![event] };
        }
        let scale = Scale { replicas: self.spec, observed: self.status.unwrap_or(self.spec), selector: String::new() };
        let pods = self.pods();
        let unselected = self.unselected(&pods);
        let pods: Vec<&Pod> = pods.iter().collect();
        let sources = self.cpu.iter().map(|_| "cpu").chain(self.metrics.iter().map(String::as_str));
        let readings: Vec<_> = sources.map(|metric| self.reading(metric, pods.len())).collect();
        let mut history = match &self.recommendations {
            None => History::restored(self.spec, None, now()),
            Some(before) => {
                let at = |ago: i64| now().steady - SignedDuration::from_secs(ago);
                let read = |(replicas, ago): &(i32, i64)| Recommendation { replicas: *replicas, at: at(*ago) };
                History { recommendations: before.iter().map(read).collect(), ..History::default() }
            }
        };
        let seen = Seen {
            scale: &scale,
            pods: unselected.as_ref().map_or(Ok(pods.as_slice()), Err),
            readings: &readings,
            demand: autoscaling::decide::Demand::Unknown,
        };
        let decision = autoscaler.decide(&old, seen, &mut history, now());
        let (scale, mut events) = (decision.scale.as_ref().map(|(to, _)| *to), decision.events.clone());
        let (status, event) = match (scale, self.fails.as_str()) {
            (None, _) => (decision.held(), None),
            (Some(_), "update") => {
                let (status, event) = decision.failed("something went wrong", now());
                (status, Some(event))
            }
            (Some(_), _) => {
                let (status, event) = decision.done(now());
                (status, Some(event))
            }
        };
        events.extend(event);
        Outcome { scale: scale.filter(|_| self.fails != "update"), status, events }
    }

    fn expected_conditions(&self) -> Vec<String> {
        if let Some(conditions) = &self.conditions {
            return conditions.clone();
        }
        let limited = self.limited.as_deref();
        vec![
            format!("AbleToScale True {}", self.able.as_deref().unwrap_or("SucceededRescale")),
            "ScalingActive True ValidMetricFound".to_owned(),
            match limited {
                Some(reason) => format!("ScalingLimited True {reason}"),
                None => "ScalingLimited False DesiredWithinRange".to_owned(),
            },
        ]
    }
}

fn conditions(status: &Status) -> Vec<String> {
    let all = status.conditions.iter().flatten();
    all.map(|one| format!("{} {} {}", one.type_, one.status, one.reason.as_deref().unwrap_or_default())).collect()
}

fn check(row: &Row, outcome: &Outcome) {
    let name = &row.name;
    assert_eq!(outcome.status.desired_replicas, row.want, "{name}: {:?}", outcome.events);
    assert_eq!(outcome.scale, (row.want != row.spec).then_some(row.want), "{name}");
    assert_eq!(conditions(&outcome.status), row.expected_conditions(), "{name}");
    if let Some(share) = row.now {
        let all = outcome.status.current_metrics.iter().flatten();
        let cpu = all.filter_map(|metric| metric.resource.as_ref()).find_map(|of| of.current.average_utilization);
        assert_eq!(cpu, Some(share), "{name}");
    }
    let normal: Vec<&str> =
        outcome.events.iter().filter(|event| !event.warning).map(|event| event.message.as_str()).collect();
    assert_eq!(normal.len(), usize::from(row.want != row.spec), "{name}");
    if let Some(message) = &row.event {
        assert_eq!(normal, [message], "{name}");
    }
}

fn rows() -> Vec<Row> {
    table(include_str!("controller.json"), 83)
}

#[test]
fn an_autoscaler_decides_as_upstream_does() {
    for row in rows() {
        check(&row, &row.run(false));
    }
}

#[test]
fn a_calm_autoscaler_decides_the_same_where_nothing_rolls_out_or_starts() {
    let differs = ["ScaleUpHotCpu", "ScaleUpCMUnready", "MissingReports"];
    for row in rows().iter().filter(|row| !differs.iter().any(|name| row.name.starts_with(name))) {
        check(row, &row.run(true));
    }
}

#[test]
fn nothing_is_written_where_nothing_changed() {
    // Upstream's TestAvoidUnnecessaryUpdates.
    let before = time(NOW - 3600);
    let condition = |type_: &str, reason: &str, message: &str| json!({"type": type_, "status": "True", "lastTransitionTime": before, "reason": reason, "message": message});
    let cpu = json!({"name": "cpu", "current": {"averageValue": "400m", "averageUtilization": 40}});
    let found = "the HPA was able to successfully calculate a replica count from cpu resource utilization (percentage of request)";
    let few = "the desired replica count is less than the minimum replica count";
    let status = json!({
        "currentReplicas": 2, "desiredReplicas": 2, "lastScaleTime": before,
        "currentMetrics": [{"type": "Resource", "resource": cpu}],
        "conditions": [condition("AbleToScale", "ReadyForNewScale", "recommended size matches current size"),
            condition("ScalingActive", "ValidMetricFound", found), condition("ScalingLimited", "TooFewReplicas", few)],
    });
    let row = json!({"name": "AvoidUnnecessaryUpdates", "min": 2, "max": 6, "spec": 2, "want": 2, "cpu": 80,
        "levels": [400, 500, 700], "requests": ["1", "1", "1"], "start": "CHH"});
    let row: Row = serde_json::from_value(row).unwrap();
    let (old, pods): (Status, Vec<Pod>) = (serde_json::from_value(status).unwrap(), row.pods());
    let pods: Vec<&Pod> = pods.iter().collect();
    let scale = Scale { replicas: 2, observed: 2, selector: String::new() };
    let readings = [row.reading("cpu", pods.len())];
    let seen = Seen { scale: &scale, pods: Ok(&pods), readings: &readings, demand: Default::default() };
    let autoscaler = Autoscaler::of(&row.object(), &settings(false));
    let decision = autoscaler.decide(&old, seen, &mut History::default(), now());
    assert_eq!(decision.held(), old);
}

#[test]
fn a_thousand_autoscalers_each_decide_for_themselves() {
    // Upstream's TestMultipleHPAs.
    let row: Row =
        serde_json::from_value(json!({"name": "MultipleHPAs", "min": 1, "max": 10, "spec": 1, "want": 5, "cpu": 10,
        "levels": [500], "requests": ["1"], "up": [100, 60, 0, 0, 0]}))
        .unwrap();
    let at = |ago: i64| now().steady - SignedDuration::from_secs(ago);
    let events = |changes: &[(i32, i64)]| -> Vec<ScaleEvent> {
        changes.iter().map(|(change, ago)| ScaleEvent { change: *change, at: at(*ago) }).collect()
    };
    for number in 0..1000 {
        let mut object = row.object();
        object.metadata.name = Some(format!("dummy-hpa-{number}"));
        let mut history = History {
            ups: events(&[(8, 105), (12, 75), (9, 45), (11, 15)]),
            downs: events(&[(10, 100), (10, 60), (10, 20)]),
            ..History::default()
        };
        let (pods, scale) = (row.pods(), Scale { replicas: 1, observed: 1, selector: String::new() });
        let (pods, readings): (Vec<&Pod>, _) = (pods.iter().collect(), [row.reading("cpu", 1)]);
        let seen = Seen { scale: &scale, pods: Ok(&pods), readings: &readings, demand: Default::default() };
        let autoscaler = Autoscaler::of(&object, &settings(false));
        let decision = autoscaler.decide(&object.status.clone().unwrap(), seen, &mut history, now());
        assert_eq!(decision.scale.map(|(to, _)| to), Some(5), "{number}");
    }
}
