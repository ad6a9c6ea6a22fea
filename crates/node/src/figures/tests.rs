//! Figures over a machine that uses what a test tells it to, in simulated time.

use std::convert::Infallible;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use serde_json::json;
use tokio::sync::watch;

use super::*;
use crate::runtime::usage::Memory;

const MEBI: u64 = 1 << 20;

/// What a container uses by its name: `burner` half a core, and so the node; nothing else does anything.
fn measure(begun: Instant) -> Measure {
    Arc::new(move |runs: &[ContainerId]| {
        let now = Instant::now();
        let burnt = u64::try_from(now.duration_since(begun).as_nanos()).unwrap() / 2;
        let usage = |cpu_nanos, held| Usage {
            at: now.into_std(),
            cpu_nanos,
            memory: Memory { usage: 2 * held, working_set: held, rss: held / 2, faults: (3, 1) },
        };
        let of = |id: &ContainerId| match id.name.as_str() {
            "burner" => Some(usage(burnt + 7_000_000_000, 10 * MEBI)),
            "holder" => Some(usage(1_500_000, 64 * MEBI)),
            _ => None,
        };
        (runs.iter().map(of).collect(), usage(burnt, 512 * MEBI))
    })
}

/// A client of an API server that has one node.
fn client() -> Client {
    let service = tower::service_fn(|_: Request<kube::client::Body>| async {
        let node = json!({"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1",
            "metadata": {"name": "node-a", "labels": {"disk": "ssd"}}});
        Ok::<_, Infallible>(Response::new(Full::<Bytes>::from(node.to_string())))
    });
    Client::new(service, "default")
}

/// A pod whose containers run since so many seconds.
fn pod(namespace: &str, name: &str, app: &str, containers: &[&str], seconds: i64) -> Pod {
    let since = Timestamp::now().checked_sub(jiff::SignedDuration::from_secs(seconds)).unwrap();
    let uid = format!("{namespace}-{name}");
    let status = |container: &&str| {
        json!({"name": container, "image": "i", "imageID": "", "ready": true, "restartCount": 2,
            "containerID": format!("coracle://{uid}/{container}/2"), "state": {"running": {"startedAt": since}}})
    };
    let statuses: Vec<Value> = containers.iter().map(status).collect();
    let pod = json!({
        "metadata": {"name": name, "namespace": namespace, "uid": uid, "labels": {"app": app}},
        "spec": {"containers": []}, "status": {"startTime": since, "containerStatuses": statuses},
    });
    serde_json::from_value(pod).unwrap()
}

async fn figures(pods: impl IntoIterator<Item = Pod>) -> Figures {
    let known = Pods::default();
    for pod in pods {
        let (object, _) = watch::channel(Some(Arc::new(pod.clone())));
        known.lock().await.insert(
            pod.uid().unwrap(),
            Known { object, status: watch::channel(None).1, sender: tokio::sync::mpsc::channel(1).0 },
        );
    }
    Figures::measured_by(measure(Instant::now()), client(), "node-a".to_owned(), known, Duration::from_secs(15))
}

async fn ask(figures: &Figures, path: &str, accept: &str) -> (u16, Value) {
    let request = Request::get(format!("/apis/metrics.k8s.io/v1beta1{path}")).header("accept", accept);
    let answer = figures.answer(request.body(()).unwrap()).await;
    let code = answer.status().as_u16();
    let body = answer.into_body().collect().await.unwrap().to_bytes();
    (code, serde_json::from_slice(&body).unwrap())
}

async fn names(figures: &Figures, path: &str) -> Vec<String> {
    let (code, list) = ask(figures, path, "application/json").await;
    assert_eq!(code, 200, "{list}");
    list["items"].as_array().unwrap().iter().map(|item| item["metadata"]["name"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test(start_paused = true)]
async fn the_first_answer_waits_for_a_second_look_and_later_ones_do_not() {
    let figures = figures([pod("a", "p", "web", &["burner", "holder"], 86_400)]).await;
    let begun = Instant::now();
    let (code, mut found) = ask(&figures, "/namespaces/a/pods/p", "application/json").await;
    assert_eq!((code, begun.elapsed().as_millis()), (200, 1000));
    let written = found["timestamp"].take();
    assert!(written.as_str().unwrap().ends_with('Z'));
    assert_eq!(found["metadata"]["creationTimestamp"].take(), written);
    let expected = json!({
        "kind": "PodMetrics", "apiVersion": "metrics.k8s.io/v1beta1", "timestamp": null, "window": "1s",
        "metadata": {"name": "p", "namespace": "a", "labels": {"app": "web"}, "creationTimestamp": null},
        "containers": [{"name": "burner", "usage": {"cpu": "500m", "memory": "10Mi"}},
            {"name": "holder", "usage": {"cpu": "0", "memory": "64Mi"}}],
    });
    assert_eq!(found, expected);
    tokio::time::advance(Duration::from_secs(15)).await;
    let begun = Instant::now();
    let (_, found) = ask(&figures, "/namespaces/a/pods/p", "application/json").await;
    assert_eq!((found["window"].as_str(), begun.elapsed().as_millis()), (Some("15s"), 0));
    let (_, node) = ask(&figures, "/nodes/node-a", "application/json").await;
    assert_eq!(node["usage"], json!({"cpu": "500m", "memory": "512Mi"}));
    assert_eq!(node["metadata"]["labels"], json!({"disk": "ssd"}));
}

#[tokio::test(start_paused = true)]
async fn a_pod_that_has_just_begun_counts_from_its_beginning() {
    let figures = figures([pod("a", "new", "web", &["burner"], 8)]).await;
    let look = figures.look().await;
    let rate = look.pods[0].containers[0].measured.rate.unwrap();
    assert!((8..=10).contains(&rate.window.as_secs()), "{rate:?}");
    assert!((700_000_000..=880_000_000).contains(&rate.nanocores), "{rate:?}");
}

#[tokio::test(start_paused = true)]
async fn lists_are_of_a_namespace_or_of_all_and_selected_by_labels_and_fields() {
    let figures = figures([
        pod("a", "one", "web", &["burner"], 600),
        pod("a", "two", "db", &["holder"], 600),
        pod("b", "three", "web", &["holder"], 600),
        pod("b", "partly", "web", &["holder", "unmeasured"], 600),
        pod("b", "waits", "web", &[], 600),
    ])
    .await;
    assert_eq!(names(&figures, "/pods").await, ["one", "two", "three"], "those of which everything is known");
    assert_eq!(names(&figures, "/namespaces/a/pods").await, ["one", "two"]);
    assert_eq!(names(&figures, "/pods?labelSelector=app%3Dweb").await, ["one", "three"]);
    assert_eq!(names(&figures, "/pods?fieldSelector=metadata.namespace%3Db").await, ["three"]);
    assert_eq!(names(&figures, "/pods?fieldSelector=metadata.name%21%3Done").await, ["two", "three"]);
    assert_eq!(names(&figures, "/nodes").await, ["node-a"]);
    assert_eq!(names(&figures, "/nodes?labelSelector=disk%3Dhdd").await, [""; 0]);
    let (code, status) = ask(&figures, "/pods?fieldSelector=spec.nodeName%3Dx", "application/json").await;
    let why = r#""spec.nodeName" is not a known field selector: only "metadata.name", "metadata.namespace""#;
    assert_eq!((code, status["message"].as_str()), (400, Some(why)));
    assert_eq!(ask(&figures, "/pods?labelSelector=%3D%3D", "application/json").await.0, 400);
    assert_eq!(ask(&figures, "/pods?watch=true", "application/json").await.0, 405);
    assert_eq!(ask(&figures, "/pods", "application/vnd.kubernetes.protobuf").await.0, 406);
    let (code, status) = ask(&figures, "/namespaces/a/pods/three", "application/json").await;
    let message = "podmetrics.metrics.k8s.io \"a/three\" not found";
    assert_eq!((code, status["message"].as_str()), (404, Some(message)));
    assert_eq!(ask(&figures, "/nodes/other", "application/json").await.0, 404);
}

#[tokio::test(start_paused = true)]
async fn a_table_has_a_pods_sums() {
    let figures = figures([pod("a", "p", "web", &["burner", "holder"], 600)]).await;
    let (_, table) = ask(&figures, "/pods", "application/json;as=Table;v=v1;g=meta.k8s.io,application/json").await;
    let columns: Vec<_> = table["columnDefinitions"].as_array().unwrap().iter().map(|c| c["name"].clone()).collect();
    assert_eq!(columns, ["Name", "cpu", "memory", "Window"]);
    assert_eq!(table["rows"][0]["cells"], json!(["p", "500m", "74Mi", "1s"]));
    assert_eq!(table["rows"][0]["object"]["metadata"]["namespace"], "a");
}

#[tokio::test(start_paused = true)]
async fn what_has_ended_is_forgotten() {
    let figures = figures([pod("a", "p", "web", &["burner"], 600)]).await;
    figures.look().await;
    assert_eq!(figures.0.state.lock().await.runs.len(), 1);
    figures.0.pods.lock().await.clear();
    tokio::time::advance(Duration::from_secs(2)).await;
    assert!(figures.look().await.pods.is_empty());
    assert!(figures.0.state.lock().await.runs.is_empty());
}

#[tokio::test(start_paused = true)]
async fn the_text_for_prometheus_has_the_kubelets_names() {
    let figures = figures([pod("a", "p", "web", &["burner", "holder"], 600)]).await;
    let (text, _) = figures.resource_metrics().await;
    let at = figures.look().await.at.as_millisecond();
    let of_pod = "namespace=\"a\",pod=\"p\"";
    for line in [
        "# TYPE container_cpu_usage_seconds_total counter".to_owned(),
        format!("container_cpu_usage_seconds_total{{container=\"burner\",{of_pod}}} 7.000000000 {at}"),
        format!("container_memory_working_set_bytes{{container=\"holder\",{of_pod}}} 67108864 {at}"),
        format!("pod_cpu_usage_seconds_total{{{of_pod}}} 7.001500000 {at}"),
        format!("pod_memory_working_set_bytes{{{of_pod}}} 77594624 {at}"),
        format!("node_cpu_usage_seconds_total 0.000000000 {at}"),
        format!("node_memory_working_set_bytes 536870912 {at}"),
        "resource_scrape_error 0".to_owned(),
    ] {
        assert!(text.lines().any(|found| found == line), "{line}\n{text}");
    }
    let started = text.lines().find(|line| line.starts_with("container_start_time_seconds{container=\"burner\""));
    let seconds: f64 = started.unwrap().rsplit(' ').next().unwrap().parse().unwrap();
    assert!((Timestamp::now().as_second() as f64 - seconds - 600.0).abs() < 10.0, "{started:?}");
}

#[tokio::test(start_paused = true)]
async fn the_summary_says_of_the_node_and_its_pods_what_is_measured() {
    let figures = figures([pod("a", "p", "web", &["burner", "holder"], 600)]).await;
    figures.rates().await;
    let summary = figures.summary().await;
    assert_eq!(summary["node"]["nodeName"], "node-a");
    assert_eq!(summary["node"]["cpu"]["usageNanoCores"], 500_000_000);
    assert!(summary["node"]["memory"]["availableBytes"].as_u64().is_some());
    let pod = &summary["pods"][0];
    assert_eq!(pod["podRef"], json!({"name": "p", "namespace": "a", "uid": "a-p"}));
    assert_eq!(pod["containers"][1]["name"], "holder");
    assert_eq!(pod["containers"][1]["memory"]["rssBytes"], 32 * MEBI);
    assert_eq!(pod["cpu"]["usageNanoCores"], 500_000_000);
    assert_eq!(pod["memory"]["workingSetBytes"], 74 * MEBI);
    assert_eq!(pod["memory"]["pageFaults"], 6);
}
