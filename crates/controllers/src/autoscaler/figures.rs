//! What the metrics APIs say, as upstream's clients ask them (`podautoscaler/metrics/client.go`): `metrics.k8s.io`,
//! `custom.metrics.k8s.io` and `external.metrics.k8s.io`, each question once in a round however many autoscalers have it.

use std::{
    collections::{BTreeMap, HashMap},
    fmt::Write,
    sync::Arc,
    time::Duration,
};

use autoscaling::{
    decide::Reading,
    metrics::{Metric, Source},
    pods::Sample,
};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::{
    api::{autoscaling::v2::MetricIdentifier, core::v1::Pod},
    apimachinery::pkg::apis::meta::v1::LabelSelector,
};
use kube::{Client, ResourceExt};
use objects::{kinds::KindRef, quantity::Quantity, selector::Labels};
use serde::{Deserialize, de::DeserializeOwned};

/// How long a metrics API may take to answer.
const PATIENCE: Duration = Duration::from_secs(10);
/// What a figure is over where it does not say (`metricServerDefaultMetricWindow`).
const WINDOW: SignedDuration = SignedDuration::from_mins(1);

/// An answer that others may use, too: what was said, or why nothing was.
type Shared<T> = Arc<Result<T, String>>;

/// What was asked in one round.
pub(super) struct Figures<'a> {
    client: &'a Client,
    /// Namespaces whose pods' resources are asked for; more than one are asked for together.
    namespaces: usize,
    resources: HashMap<String, Shared<HashMap<Whose, PodMetrics>>>,
    values: HashMap<String, Shared<Vec<Value>>>,
}

/// Namespace and name of a pod.
type Whose = (String, String);

#[derive(Debug, Deserialize)]
struct List<T> {
    items: Vec<T>,
}

#[derive(Debug, Deserialize)]
struct PodMetrics {
    metadata: Meta,
    timestamp: Timestamp,
    #[serde(default)]
    window: Option<String>,
    #[serde(default)]
    containers: Vec<ContainerMetrics>,
}

#[derive(Debug, Deserialize)]
struct Meta {
    name: String,
    #[serde(default)]
    namespace: String,
}

#[derive(Debug, Deserialize)]
struct ContainerMetrics {
    name: String,
    #[serde(default)]
    usage: BTreeMap<String, String>,
}

/// A value of `custom.metrics.k8s.io` or of `external.metrics.k8s.io`.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Value {
    #[serde(default)]
    described_object: Option<Meta2>,
    timestamp: Timestamp,
    #[serde(default, alias = "windowSeconds")]
    window: Option<i64>,
    value: String,
}

/// The object that a value is about.
#[derive(Clone, Debug, Deserialize)]
struct Meta2 {
    #[serde(default)]
    name: String,
}

impl Value {
    /// The name of the object that it is about.
    pub(super) fn of(&self) -> &str {
        self.described_object.as_ref().map_or("", |object| object.name.as_str())
    }

    /// The figure; `None` if it is none.
    pub(super) fn sample(&self) -> Option<Sample> {
        let window = self.window.map_or(WINDOW, SignedDuration::from_secs);
        Some(Sample { millis: millis(&self.value)?, at: self.timestamp, window })
    }
}

impl<'a> Figures<'a> {
    /// Nothing asked yet; `namespaces` is how many have pods whose resources will be asked for.
    pub(super) fn new(client: &'a Client, namespaces: usize) -> Self {
        Self { client, namespaces, resources: HashMap::new(), values: HashMap::new() }
    }

    /// What is said about one metric of an autoscaler in `namespace` whose target has these pods. `kind_of` finds the kind
    /// of an object.
    ///
    /// # Errors
    /// What upstream's clients would say.
    pub(super) async fn of(
        &mut self,
        metric: &Metric,
        namespace: &str,
        pods: &[&Pod],
        kind_of: impl Fn(&str, &str) -> Option<KindRef>,
    ) -> Result<Reading, String> {
        match &metric.source {
            Source::Resource { name, container } => self.resource(namespace, pods, name, container.as_deref()).await,
            Source::Pods(metric) => self.of_pods(namespace, pods, metric).await,
            Source::Object(of, metric) => {
                let group = of.api_version.as_deref().and_then(|version| version.split_once('/')).map_or("", |v| v.0);
                let kind = kind_of(group, &of.kind)
                    .ok_or_else(|| format!("no matches for kind {:?} in group {group:?}", of.kind))?;
                self.of_object(namespace, &kind, &of.name, metric).await
            }
            Source::External(metric) => self.external(namespace, metric).await,
            Source::Unknown(_) => Err("nothing is asked for it".to_owned()),
        }
    }

    async fn resource(
        &mut self,
        namespace: &str,
        pods: &[&Pod],
        resource: &str,
        container: Option<&str>,
    ) -> Result<Reading, String> {
        let (key, path) = match self.namespaces {
            ..=1 => (namespace, format!("/apis/metrics.k8s.io/v1beta1/namespaces/{namespace}/pods")),
            _ => ("", "/apis/metrics.k8s.io/v1beta1/pods".to_owned()),
        };
        if !self.resources.contains_key(key) {
            let list = ask::<List<PodMetrics>>(self.client, &path).await;
            let by_pod = |list: List<PodMetrics>| {
                let whose = |of: &PodMetrics| (of.metadata.namespace.clone(), of.metadata.name.clone());
                list.items.into_iter().map(|item| (whose(&item), item)).collect()
            };
            self.resources.insert(key.to_owned(), Arc::new(list.map(by_pod)));
        }
        let Some(known) = self.resources.get(key) else { return Err("nothing was asked".to_owned()) };
        let known = known.as_ref().as_ref();
        let known = known.map_err(|error| format!("unable to fetch metrics from resource metrics API: {error}"))?;
        let mut whose = (namespace.to_owned(), String::new());
        let mut sample = |pod: &&Pod| {
            whose.1 = pod.name_any();
            known.get(&whose).map(|of| of.sample(resource, container))
        };
        let found: Vec<Option<Option<Sample>>> = pods.iter().map(&mut sample).collect();
        if found.iter().all(Option::is_none) {
            return Err("no metrics returned from resource metrics API".to_owned());
        }
        Ok(Reading::Pods { samples: found.into_iter().map(Option::flatten).collect(), strangers: 0 })
    }

    async fn of_pods(&mut self, namespace: &str, pods: &[&Pod], metric: &MetricIdentifier) -> Result<Reading, String> {
        let values = self.custom(namespace, "pods", "*", metric).await;
        let values = values.as_ref().as_ref().map_err(|error| from_custom(error))?;
        if values.is_empty() {
            return Err("no metrics returned from custom metrics API".to_owned());
        }
        let by_name: HashMap<&str, &Value> = values.iter().map(|value| (value.of(), value)).collect();
        let sample = |pod: &&Pod| by_name.get(pod.metadata.name.as_deref()?)?.sample();
        Ok(Reading::Pods { samples: pods.iter().map(sample).collect(), strangers: 0 })
    }

    async fn of_object(
        &mut self,
        namespace: &str,
        kind: &KindRef,
        name: &str,
        metric: &MetricIdentifier,
    ) -> Result<Reading, String> {
        let resource =
            if kind.group.is_empty() { kind.plural.to_owned() } else { format!("{}.{}", kind.plural, kind.group) };
        let values = self.custom(namespace, &resource, name, metric).await;
        let values = values.as_ref().as_ref().map_err(|error| from_custom(error))?;
        let value = values.first().ok_or("no metrics returned from custom metrics API")?;
        value.sample().map(Reading::Value).ok_or_else(|| format!("its value {:?} is no quantity", value.value))
    }

    async fn external(&mut self, namespace: &str, metric: &MetricIdentifier) -> Result<Reading, String> {
        let mut path =
            format!("/apis/external.metrics.k8s.io/v1beta1/namespaces/{namespace}/{}", encoded(&metric.name));
        if let Some(selector) = selector(metric.selector.as_ref())? {
            let _ = write!(path, "?labelSelector={selector}");
        }
        let values = self.values(path).await;
        let failed = |error: &String| format!("unable to fetch metrics from external metrics API: {error}");
        let values = values.as_ref().as_ref().map_err(failed)?;
        let mut sum: Option<Sample> = None;
        for value in values {
            let one = value.sample().ok_or_else(|| format!("its value {:?} is no quantity", value.value))?;
            let before = sum.unwrap_or(Sample { millis: 0, ..one });
            let millis = before.millis.saturating_add(one.millis);
            sum = Some(Sample { millis, at: before.at.min(one.at), window: one.window });
        }
        sum.map(Reading::Value).ok_or_else(|| "no metrics returned from external metrics API".to_owned())
    }

    /// The values of a metric of one object, or of all of a resource in a namespace (`*`).
    pub(super) async fn custom(
        &mut self,
        namespace: &str,
        resource: &str,
        name: &str,
        metric: &MetricIdentifier,
    ) -> Shared<Vec<Value>> {
        let of = match resource {
            "namespaces" => format!("namespaces/{name}/metrics"),
            _ => format!("namespaces/{namespace}/{resource}/{name}"),
        };
        let mut path = format!("/apis/custom.metrics.k8s.io/v1beta2/{of}/{}", encoded(&metric.name));
        match selector(metric.selector.as_ref()) {
            Ok(Some(selector)) => drop(write!(path, "?metricLabelSelector={selector}")),
            Ok(None) => {}
            Err(error) => return Arc::new(Err(error)),
        }
        self.values(path).await
    }

    async fn values(&mut self, path: String) -> Shared<Vec<Value>> {
        if let Some(known) = self.values.get(&path) {
            return known.clone();
        }
        let answer = ask::<List<Value>>(self.client, &path).await.map(|list| list.items);
        let answer = Arc::new(answer);
        self.values.insert(path, answer.clone());
        answer
    }
}

impl PodMetrics {
    /// What the pod, or one container of it, uses. A pod of which one container is not known is not known.
    fn sample(&self, resource: &str, container: Option<&str>) -> Option<Sample> {
        let mut wanted = self.containers.iter().filter(|one| container.is_none_or(|name| one.name == name)).peekable();
        wanted.peek()?;
        let sum = wanted.try_fold(0_i64, |sum, one| Some(sum.saturating_add(millis(one.usage.get(resource)?)?)))?;
        let window = self.window.as_deref().and_then(|window| window.parse().ok()).unwrap_or(WINDOW);
        Some(Sample { millis: sum, at: self.timestamp, window })
    }
}

/// What a container used, as `metrics.k8s.io` says it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Used {
    /// The pod's namespace.
    pub namespace: String,
    /// The pod's name.
    pub pod: String,
    /// The container's name.
    pub container: String,
    /// When that was measured.
    pub at: Timestamp,
    /// Cores.
    pub cpu: f64,
    /// Bytes.
    pub memory: i64,
}

/// What every container uses now.
///
/// # Errors
/// What the API says.
pub(crate) async fn containers(client: &Client) -> Result<Vec<Used>, String> {
    let list = ask::<List<PodMetrics>>(client, "/apis/metrics.k8s.io/v1beta1/pods").await?;
    Ok(list.items.into_iter().flat_map(PodMetrics::containers).collect())
}

impl PodMetrics {
    /// Its containers; of which not both resources are known is left out.
    fn containers(self) -> Vec<Used> {
        let Self { metadata: Meta { name: pod, namespace }, timestamp: at, containers, .. } = self;
        let used = |one: ContainerMetrics| {
            let quantity = |resource: &str| one.usage.get(resource)?.parse::<Quantity>().ok();
            let memory = i64::try_from(quantity("memory")?.value()).ok()?;
            // Less than a thousandth of a core is nothing to size by.
            let cpu = quantity("cpu")?.millis() as f64 / 1000.0;
            Some(Used { namespace: namespace.clone(), pod: pod.clone(), container: one.name, at, cpu, memory })
        };
        containers.into_iter().filter_map(used).collect()
    }
}

fn millis(text: &str) -> Option<i64> {
    let quantity: Quantity = text.parse().ok()?;
    Some(i64::try_from(quantity.millis()).unwrap_or(i64::MAX))
}

fn from_custom(error: &str) -> String {
    format!("unable to fetch metrics from custom metrics API: {error}")
}

/// A selector of a metric's series as a query has it; none if it selects everything.
fn selector(selector: Option<&LabelSelector>) -> Result<Option<String>, String> {
    let Some(selector) = selector else { return Ok(None) };
    let labels = Labels::from_selector(selector).map_err(|error| error.to_string())?;
    Ok((!labels.is_empty()).then(|| encoded(&labels.to_string())))
}

/// Text as it may stand in a path or a query.
fn encoded(text: &str) -> String {
    text.bytes().fold(String::new(), |mut text, byte| {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => text.push(char::from(byte)),
            _ => drop(write!(text, "%{byte:02X}")),
        }
        text
    })
}

async fn ask<T: DeserializeOwned>(client: &Client, path: &str) -> Result<T, String> {
    let request = http::Request::get(path).body(Vec::new()).map_err(|error| error.to_string())?;
    match tokio::time::timeout(PATIENCE, client.request::<T>(request)).await {
        Ok(Ok(answer)) => Ok(answer),
        Ok(Err(kube::Error::Api(status))) => Err(status.message.clone()),
        Ok(Err(error)) => Err(error.to_string()),
        Err(_) => Err(format!("no answer within {PATIENCE:?}")),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_pod_of_which_one_container_is_not_known_is_not_known() {
        let pod: PodMetrics = serde_json::from_value(json!({
            "metadata": {"name": "p", "namespace": "n"}, "timestamp": "2026-01-01T00:00:00Z", "window": "15.25s",
            "containers": [{"name": "a", "usage": {"cpu": "250m", "memory": "1Mi"}}, {"name": "b", "usage": {"cpu": "1n"}}]}))
        .unwrap();
        let millis = |resource, container| pod.sample(resource, container).map(|sample| sample.millis);
        assert_eq!(millis("cpu", None), Some(251), "what is little is not nothing");
        assert_eq!(millis("cpu", Some("a")), Some(250));
        assert_eq!(millis("memory", Some("a")), Some(1_048_576_000));
        assert_eq!((millis("memory", None), millis("cpu", Some("c"))), (None, None));
        assert_eq!(pod.sample("cpu", None).unwrap().window, SignedDuration::from_millis(15_250));
    }

    #[test]
    fn a_value_that_is_no_quantity_is_none() {
        let value = |value: &str| -> Option<i64> {
            let value = json!({"describedObject": {"name": "s"}, "timestamp": "2026-01-01T00:00:00Z", "value": value});
            let value: Value = serde_json::from_value(value).unwrap();
            assert_eq!(value.of(), "s");
            Some(value.sample()?.millis)
        };
        assert_eq!(value("1500m"), Some(1500));
        assert_eq!((value("NaN"), value("+Inf"), value("")), (None, None, None));
        assert_eq!(value("-3"), Some(-3000), "what cannot be true is refused where it is used");
        assert_eq!(value("9E"), Some(i64::MAX));
    }

    #[test]
    fn questions_are_encoded() {
        assert_eq!(encoded("a b/c=d,é"), "a%20b%2Fc%3Dd%2C%C3%A9");
    }
}
