//! The metrics APIs over a running proxy: what was asked of whom, as an autoscaler asks for it. The clock by which windows are
//! measured is the test's.

use std::{
    sync::{
        Arc, Condvar, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use gateway::{
    control::{Sink, Snapshot},
    demand::{Demand, SERVED},
    proxy::{Options, Proxy},
    table::{Cluster, Listener, ListenerService, Split, Table},
};
use http::{Method, Request, StatusCode};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::support::{Endpoint, Peer, balanced, everything, forward, status};

const CUSTOM: &str = "/apis/custom.metrics.k8s.io/v1beta2/namespaces/default";
const EXTERNAL: &str = "/apis/external.metrics.k8s.io/v1beta1/namespaces/default";
/// Far more than anything takes.
const PATIENCE: Duration = Duration::from_secs(20);

/// A proxy whose figures are asked for.
struct World {
    proxy: Arc<Proxy>,
    demand: Demand,
    runtime: tokio::runtime::Runtime,
    /// Seconds since the beginning.
    now: Arc<AtomicU64>,
    address: std::net::SocketAddr,
}

/// An object whose name is all that matters, with a label of that name.
fn object<K: DeserializeOwned>(name: &str, more: Value) -> Vec<Arc<K>> {
    let mut object = json!({"metadata": {"name": name, "namespace": "default", "labels": {"app": name}}, "spec": {}});
    object.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    vec![Arc::new(serde_json::from_value(object).unwrap())]
}

fn snapshot() -> Snapshot {
    let pod = json!({"spec": {"containers": []}, "status": {"podIP": "127.0.0.1"}});
    let gateway = json!({"spec": {"gatewayClassName": "coracle", "listeners": []}});
    let mut services = object("test", json!({}));
    services.extend(object("idle", json!({})));
    let namespaces = vec![Arc::new(serde_json::from_value(json!({"metadata": {"name": "default"}})).unwrap())];
    Snapshot {
        services,
        routes: object("test", json!({})),
        gateways: object("test", gateway),
        pods: object("one", pod),
        namespaces,
        ..Snapshot::default()
    }
}

impl World {
    fn new(service: ListenerService) -> Self {
        // Two workers, whose figures must be summed.
        let proxy = Arc::new(Proxy::start(Options { workers: 2, ..Options::default() }).unwrap());
        let address = proxy.hold("127.0.0.1:0".parse().unwrap()).unwrap();
        let listener = Listener { bind: address, name: "default/test".into(), service, edge: true, consumers: None };
        assert!(proxy.apply(Arc::new(Table { listeners: vec![listener] })).is_empty());
        let (now, start) = (Arc::<AtomicU64>::default(), Instant::now());
        let seconds = now.clone();
        let clock = move || start + Duration::from_secs(seconds.load(Ordering::SeqCst));
        let demand = Demand::new(proxy.clone(), clock);
        demand.objects(&Arc::new(snapshot()));
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        Self { proxy, demand, runtime, now, address }
    }

    fn to(endpoint: &Endpoint) -> Self {
        Self::new(everything(forward(cluster(endpoint))))
    }

    fn pass(&self, seconds: u64) {
        self.now.fetch_add(seconds, Ordering::SeqCst);
    }

    fn ask(&self, method: Method, path: &str) -> (StatusCode, Value) {
        let (parts, ()) = Request::builder().method(method).uri(path).body(()).unwrap().into_parts();
        let answer = self.runtime.block_on(self.demand.answer(&parts));
        (answer.status(), serde_json::from_str(answer.body()).unwrap())
    }

    fn get(&self, path: &str) -> Value {
        let (status, answer) = self.ask(Method::GET, path);
        assert_eq!(status, StatusCode::OK, "{path}: {answer}");
        answer
    }

    /// The only value that a path has.
    fn value(&self, path: &str) -> String {
        let answer = self.get(path);
        let items = answer["items"].as_array().unwrap();
        assert_eq!(items.len(), 1, "{path}: {answer}");
        items[0]["value"].as_str().unwrap().to_owned()
    }

    /// Waits until a path has this value; each look is a second later.
    fn eventually(&self, path: &str, value: &str) {
        let until = Instant::now() + PATIENCE;
        while self.value(path) != value {
            assert!(Instant::now() < until, "{path} is {} and not {value}", self.value(path));
            self.pass(1);
            std::thread::yield_now();
        }
    }

    /// Waits until so many requests have ended: one is counted a moment after its client has the response.
    fn ended(&self, count: usize) {
        let until = Instant::now() + PATIENCE;
        loop {
            let text = self.runtime.block_on(self.proxy.metrics()).prometheus();
            let requests = text.lines().filter(|line| line.starts_with("coracle_gateway_requests_total{"));
            let counts = requests.map(|line| line.rsplit(' ').next().unwrap().parse::<usize>().unwrap());
            if counts.sum::<usize>() == count {
                return;
            }
            assert!(Instant::now() < until, "{text}");
            std::thread::yield_now();
        }
    }
}

fn cluster(endpoint: &Endpoint) -> Arc<Cluster> {
    balanced(&[endpoint.address], gateway::balance::Policy::EDGE)
}

/// Answers `/bad` with 500 and everything else with 200.
fn often_well() -> Endpoint {
    Endpoint::new(|peer: &mut Peer| {
        loop {
            let (head, _) = peer.message();
            match head.split(' ').nth(1) {
                None => return,
                Some("/bad") => peer.send("HTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\n"),
                Some(_) => peer.send("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"),
            }
        }
    })
}

#[test]
fn known_numbers_of_requests_are_the_same_rate_for_all_whom_they_are_of() {
    let endpoint = often_well();
    let world = World::to(&endpoint);
    for number in 0..60 {
        // A connection each, so that both workers have some.
        Peer::connect(world.address).get(if number % 3 == 0 { "/bad" } else { "/" });
    }
    world.ended(60);
    world.pass(30);
    for of in [
        "services/test",
        "httproutes.gateway.networking.k8s.io/test",
        "gateways.gateway.networking.k8s.io/test",
        "pods/one",
    ] {
        assert_eq!(world.value(&format!("{CUSTOM}/{of}/http_requests_per_second")), "2", "{of}");
        assert_eq!(world.value(&format!("{CUSTOM}/{of}/http_request_error_ratio")), "334m", "{of}");
        for quantile in ["p50", "p90", "p95", "p99"] {
            let took = world.value(&format!("{CUSTOM}/{of}/http_request_duration_{quantile}"));
            assert!(took.ends_with('m'), "{took}: less than a second");
        }
        assert_eq!(world.value(&format!("{CUSTOM}/{of}/tcp_connections_per_second")), "0", "{of}");
    }
    assert_eq!(world.value(&format!("{CUSTOM}/metrics/http_requests_per_second")), "2");
    // Half a minute later nothing has happened for that long.
    world.pass(30);
    assert_eq!(world.value(&format!("{CUSTOM}/services/test/http_requests_per_second")), "0");
    let minute = "metricLabelSelector=window%3D1m";
    assert_eq!(world.value(&format!("{CUSTOM}/services/test/http_requests_per_second?{minute}")), "1");
}

#[test]
fn requests_are_in_flight_until_they_are_answered() {
    let told = Arc::new((Mutex::new(false), Condvar::new()));
    let waiting = told.clone();
    let endpoint = Endpoint::new(move |peer: &mut Peer| {
        peer.message();
        let (told, changed) = &*waiting;
        drop(changed.wait_while(told.lock().unwrap(), |told| !*told).unwrap());
        peer.send("HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
    });
    let world = World::to(&endpoint);
    let clients = [(); 3].map(|()| {
        let mut client = Peer::connect(world.address);
        client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
        client
    });
    let now = |of: &str| format!("{CUSTOM}/{of}/http_requests_in_flight?metricLabelSelector=window%3D0s");
    for of in ["services/test", "gateways.gateway.networking.k8s.io/test", "pods/one"] {
        world.eventually(&now(of), "3");
    }
    // Nothing has been answered: nobody knows how long it takes, nor whether it goes well.
    world.pass(30);
    for metric in ["http_request_duration_p99", "http_request_error_ratio"] {
        let (code, answer) = world.ask(Method::GET, &format!("{CUSTOM}/services/test/{metric}"));
        assert_eq!((code, &answer["reason"]), (StatusCode::NOT_FOUND, &json!("NotFound")), "{answer}");
    }
    *told.0.lock().unwrap() = true;
    told.1.notify_all();
    for mut client in clients {
        assert_eq!(status(&client.message().0), "200");
    }
    world.eventually(&now("services/test"), "0");
    world.eventually(&now("pods/one"), "0");
}

#[test]
fn what_nobody_asks_for_has_no_rate_rather_than_an_unknown_one() {
    let world = World::to(&often_well());
    let path = format!("{CUSTOM}/services/idle/http_requests_per_second");
    let (code, early) = world.ask(Method::GET, &path);
    assert_eq!(code, StatusCode::NOT_FOUND, "{early}");
    world.pass(30);
    assert_eq!(world.value(&path), "0");
    assert_eq!(world.value(&format!("{CUSTOM}/services/idle/http_requests_in_flight")), "0");
    let (code, _) = world.ask(Method::GET, &format!("{CUSTOM}/services/idle/http_request_duration_p95"));
    assert_eq!(code, StatusCode::NOT_FOUND);
    // After a long pause nothing is known of the last half minute.
    world.pass(3_600);
    let (code, paused) = world.ask(Method::GET, &path);
    assert_eq!(code, StatusCode::NOT_FOUND, "{paused}");
}

#[test]
fn a_proxy_that_answers_itself_says_nothing_of_latency() {
    let empty = balanced(&[], gateway::balance::Policy::EDGE);
    let world = World::new(everything(forward(empty)));
    for _ in 0..3 {
        assert_eq!(status(&Peer::connect(world.address).get("/").0), "503");
    }
    world.ended(3);
    world.pass(30);
    assert_eq!(world.value(&format!("{CUSTOM}/services/test/http_requests_per_second")), "100m");
    assert_eq!(world.value(&format!("{CUSTOM}/services/test/http_request_error_ratio")), "1");
    let (code, _) = world.ask(Method::GET, &format!("{CUSTOM}/services/test/http_request_duration_p50"));
    assert_eq!(code, StatusCode::NOT_FOUND);
}

#[test]
fn connections_that_are_not_http_are_told_apart_from_requests() {
    let endpoint = Endpoint::new(|peer: &mut Peer| _ = peer.rest());
    let world = World::new(ListenerService::Tcp(Arc::new(Split::to(cluster(&endpoint)))));
    let clients = [(); 2].map(|()| Peer::connect(world.address));
    let open = |of: &str| format!("{CUSTOM}/{of}/tcp_connections_open?metricLabelSelector=window%3D0s");
    world.eventually(&open("services/test"), "2");
    world.eventually(&open("pods/one"), "2");
    let requests = format!("{CUSTOM}/services/test/http_requests_in_flight?metricLabelSelector=window%3D0s");
    assert_eq!(world.value(&requests), "0");
    drop(clients);
    world.eventually(&open("pods/one"), "0");
}

#[test]
fn answers_have_the_shape_that_the_autoscalers_client_reads() {
    let world = World::to(&often_well());
    Peer::connect(world.address).get("/");
    world.ended(1);
    world.pass(10);
    // As kube-controller-manager writes them: of one object, and of all that a selector takes.
    let one = "httproutes.gateway.networking.k8s.io/test/http_requests_per_second?metricLabelSelector=window%3D10s";
    let mut answer = world.get(&format!("{CUSTOM}/{one}"));
    let timestamp = answer["items"][0]["timestamp"].take();
    assert!(timestamp.as_str().is_some_and(|text| text.len() == "2006-01-02T15:04:05Z".len()), "{timestamp}");
    let described = json!({"kind": "HTTPRoute", "namespace": "default", "name": "test", "apiVersion": "gateway.networking.k8s.io/v1"});
    let item = json!({
        "describedObject": described, "timestamp": null, "windowSeconds": 10, "value": "100m",
        "metric": {"name": "http_requests_per_second", "selector": {"matchLabels": {"window": "10s"}}},
    });
    let list = json!({"kind": "MetricValueList", "apiVersion": "custom.metrics.k8s.io/v1beta2", "metadata": {}, "items": [item]});
    assert_eq!(answer, list);
    world.pass(20);
    let older = "/apis/custom.metrics.k8s.io/v1beta1/namespaces/default";
    let all = "pods/%2A/http_requests_per_second?labelSelector=app%3Done";
    let mut answer = world.get(&format!("{older}/{all}"));
    answer["items"][0]["timestamp"].take();
    let described = json!({"kind": "Pod", "namespace": "default", "name": "one", "apiVersion": "v1"});
    let item = json!({
        "describedObject": described, "timestamp": null, "windowSeconds": 30, "value": "34m",
        "metricName": "http_requests_per_second",
    });
    let list = json!({"kind": "MetricValueList", "apiVersion": "custom.metrics.k8s.io/v1beta1", "metadata": {}, "items": [item]});
    assert_eq!(answer, list);
    let none = world.get(&format!("{CUSTOM}/pods/*/http_requests_per_second?labelSelector=app%3Dother"));
    assert_eq!(none["items"], json!([]));
    let both = world.get(&format!("{CUSTOM}/services/*/http_requests_per_second"));
    let names: Vec<_> = both["items"].as_array().unwrap().iter().map(|item| &item["describedObject"]["name"]).collect();
    assert_eq!(names, ["idle", "test"]);
}

#[test]
fn external_metrics_are_sums_over_what_a_selector_takes() {
    let world = World::to(&often_well());
    (0..15).for_each(|_| _ = Peer::connect(world.address).get("/"));
    world.ended(15);
    world.pass(30);
    let rate = |selector: &str| {
        let mut answer = world.get(&format!("{EXTERNAL}/http_requests_per_second?labelSelector={selector}"));
        assert_eq!(answer["kind"], "ExternalMetricValueList");
        answer["items"].take()
    };
    let items = rate("service%3Dtest%2Crule%3D0");
    let labels =
        json!({"gateway": "test", "route": "test", "rule": "0", "service": "test", "port": "80", "window": "30s"});
    assert_eq!((&items[0]["metricLabels"], &items[0]["value"]), (&labels, &json!("500m")));
    assert_eq!((&items[0]["metricName"], &items[0]["window"]), (&json!("http_requests_per_second"), &json!(30)));
    // Everything, and nothing twice.
    assert_eq!(rate("")[0]["value"], "500m");
    assert_eq!(rate("service%3Didle")[0]["value"], "0", "a Service that is there and that nobody has called");
    assert_eq!(rate("service%3Dmistyped"), json!([]));
}

#[test]
fn what_there_is_can_be_discovered() {
    let world = World::to(&often_well());
    for (group, version) in SERVED {
        let list = world.get(&format!("/apis/{group}/{version}"));
        assert_eq!(
            (&list["kind"], &list["groupVersion"]),
            (&json!("APIResourceList"), &json!(format!("{group}/{version}")))
        );
        let names: Vec<_> =
            list["resources"].as_array().unwrap().iter().map(|one| one["name"].as_str().unwrap()).collect();
        let wanted: &[&str] = if group.starts_with("custom") {
            &[
                "services/http_requests_per_second",
                "pods/http_requests_in_flight",
                "httproutes.gateway.networking.k8s.io/http_request_duration_p99",
                "namespaces/http_request_error_ratio",
            ]
        } else {
            &["http_requests_per_second", "tcp_connections_open"]
        };
        assert!(wanted.iter().all(|name| names.contains(name)), "{names:?}");
    }
}

#[test]
fn what_is_not_there_and_what_cannot_be_asked_is_said() {
    let world = World::to(&often_well());
    world.pass(30);
    for (code, path) in [
        (404, format!("{CUSTOM}/services/none/http_requests_per_second")),
        (404, format!("{CUSTOM}/services/test/none")),
        (404, format!("{CUSTOM}/deployments.apps/test/http_requests_per_second")),
        (404, format!("{CUSTOM}/services/test/http_requests_per_second?metricLabelSelector=window%3D2m")),
        (404, format!("{CUSTOM}/services/test/http_requests_per_second?metricLabelSelector=window%3D0s")),
        (400, format!("{CUSTOM}/services/*/http_requests_per_second?labelSelector=a%20b")),
        (404, format!("{EXTERNAL}/none")),
        (404, "/apis/custom.metrics.k8s.io/v1/namespaces/default/services/test/http_requests_per_second".to_owned()),
        (404, "/apis/custom.metrics.k8s.io/v1beta2/nodes/one/http_requests_per_second".to_owned()),
    ] {
        let (found, answer) = world.ask(Method::GET, &path);
        assert_eq!((found.as_u16(), &answer["kind"]), (code, &json!("Status")), "{path}: {answer}");
    }
    let (code, _) = world.ask(Method::POST, &format!("{CUSTOM}/services/test/http_requests_per_second"));
    assert_eq!(code, StatusCode::METHOD_NOT_ALLOWED);
    let unread = Demand::new(world.proxy.clone(), Instant::now);
    let (parts, ()) =
        Request::get(format!("{CUSTOM}/services/test/http_requests_in_flight")).body(()).unwrap().into_parts();
    let answer = world.runtime.block_on(unread.answer(&parts));
    assert_eq!(answer.status(), StatusCode::SERVICE_UNAVAILABLE);
}
