//! `custom.metrics.k8s.io`: figures of objects.

use std::collections::BTreeMap;

use jiff::Timestamp;
use objects::selector::Labels;
use serde_json::{Map, Value, json};

use super::{Absent, CUSTOM, Problem, Reading, list, measure, selector};
use crate::demand::{
    Demand,
    directory::{Kind, Object, Wanted, find},
    history::History,
    measure::{MEASURES, Measure, Window},
};

/// What a version has: every metric of every kind.
pub(super) fn resources(version: &str) -> Value {
    let names = Kind::all().flat_map(|kind| {
        let of_kind = move |measure: &Measure| (format!("{}/{}", kind.resource(), measure.name), kind.is_namespaced());
        MEASURES.iter().map(of_kind)
    });
    super::resources(&format!("{CUSTOM}/{version}"), "MetricValueList", names)
}

/// A question.
struct Question<'a> {
    kind: Kind,
    namespace: &'a str,
    /// `*` is all that the label selector takes.
    name: &'a str,
    measure: &'static Measure,
    window: &'static Window,
    /// Says which window, if somebody has asked for one.
    selected: bool,
}

impl<'a> Question<'a> {
    /// Reads what follows the version in a path: `namespaces/NAMESPACE/RESOURCE/NAME/METRIC`, or for a namespace itself
    /// `namespaces/NAME/metrics/METRIC`.
    fn parse(path: &[&'a str], selector: &Labels) -> Result<Self, Problem> {
        let (kind, namespace, name, metric) = match path {
            ["namespaces", name, "metrics", metric] => (Kind::Namespace, "", *name, *metric),
            ["namespaces", namespace, resource, name, metric] => {
                let kind = Kind::of_resource(resource).filter(|kind| kind.is_namespaced());
                (kind.ok_or_else(Problem::no_such_path)?, *namespace, *name, *metric)
            }
            _ => return Err(Problem::no_such_path()),
        };
        let measure = measure(metric)?;
        let no_such = || {
            let why = "a series has the label window alone: 0s, 10s, 30s, 1m or 5m";
            Problem::no_value(metric, kind.resource(), why)
        };
        let window = Window::selected(selector, &BTreeMap::new()).ok_or_else(no_such)?;
        Ok(Self { kind, namespace, name, measure, window, selected: !selector.is_empty() })
    }

    fn read(&self, history: &History, taken: Timestamp, object: &Object<'_>) -> Result<Reading, Absent> {
        Reading::of((history, taken), self.measure, self.window, &object.whose())
    }

    fn item(&self, version: &str, object: &Object<'_>, reading: &Reading) -> Map<String, Value> {
        let mut described = Map::new();
        described.insert("kind".to_owned(), object.kind.name().into());
        if object.kind.is_namespaced() {
            described.insert("namespace".to_owned(), object.namespace.into());
        }
        described.insert("name".to_owned(), object.name.into());
        described.insert("apiVersion".to_owned(), object.kind.api_version().into());
        let (label, value) = self.window.label();
        let selector = self.selected.then(|| json!({"matchLabels": {label: value}}));
        let mut item = Map::new();
        item.insert("describedObject".to_owned(), described.into());
        if version == "v1beta1" {
            item.insert("metricName".to_owned(), self.measure.name.into());
            item.extend(selector.map(|selector| ("selector".to_owned(), selector)));
        } else {
            let mut metric = Map::new();
            metric.insert("name".to_owned(), self.measure.name.into());
            metric.extend(selector.map(|selector| ("selector".to_owned(), selector)));
            item.insert("metric".to_owned(), metric.into());
        }
        item.insert("timestamp".to_owned(), reading.timestamp());
        item.insert("windowSeconds".to_owned(), reading.seconds());
        item.insert("value".to_owned(), reading.value());
        item
    }
}

/// The values of a metric of one object, or of all that a selector takes; of these, the ones that there is something to say of.
pub(super) async fn values(
    demand: &Demand,
    version: &str,
    path: &[&str],
    query: Option<&str>,
) -> Result<Value, Problem> {
    let labels = selector(query, "labelSelector")?;
    let question = Question::parse(path, &selector(query, "metricLabelSelector")?)?;
    let snapshot = demand.objects.load_full().ok_or_else(Problem::starting)?;
    let all = question.name == "*";
    let wanted = if all { Wanted::Selected(&labels) } else { Wanted::Named(question.name) };
    let objects = find(&snapshot, question.kind, question.namespace, &wanted);
    let what = || format!("{} {}", question.kind.resource(), question.name);
    if objects.is_empty() && !all {
        return Err(Problem::no_value(
            question.measure.name,
            &what(),
            "there is no such object, or none with an address",
        ));
    }
    let items = demand.look(|history, taken| {
        let readings = objects.iter().map(|object| (object, question.read(history, taken, object)));
        let items = readings.map(|(object, reading)| Ok(question.item(version, object, &reading?)));
        items.collect::<Vec<Result<_, Absent>>>()
    });
    let items = items.await;
    let items = if all {
        items.into_iter().filter_map(Result::ok).collect()
    } else {
        let items = items.into_iter().collect::<Result<_, _>>();
        items.map_err(|why| Problem::no_value(question.measure.name, &what(), why))?
    };
    Ok(list("MetricValueList", &format!("{CUSTOM}/{version}"), items))
}
