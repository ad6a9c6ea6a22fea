//! Fewer pods under load, by whatever they are taken away: those that go finish what they have, whatever that is.

use std::{
    net::SocketAddr,
    sync::atomic::{AtomicBool, AtomicUsize, Ordering},
    thread,
};

use futures::future::join_all;
use http::Request;
use testkit::{
    Crowd, get,
    systems::{GATEWAY, HELLO, route},
};

use crate::{World, calls};

const TO_CALLS: &str = "---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: calls}
spec:
  parentRefs: [{name: edge}]
  hostnames: [calls.example]
  rules: [{backendRefs: [{name: calls, port: 8080}]}]
";

/// What clients have asked until they were told to stop.
#[derive(Default)]
struct Asked {
    stop: AtomicBool,
    short: AtomicUsize,
    long: AtomicUsize,
}

impl Asked {
    /// Asks for short and long answers at the same time on one connection of HTTP/2, again and again.
    fn streams(&self, address: SocketAddr) {
        calls::block_on(async {
            let client = calls::connect(address).await;
            while !self.stop.load(Ordering::Relaxed) {
                let post = |path: &str| Request::post(format!("http://calls.example{path}")).body(()).unwrap();
                let short = join_all((0..20).map(|_| calls::send(&client, post("/"), "message")));
                let long = join_all((0..5).map(|_| calls::send(&client, post("/long"), "")));
                let (short, long) = tokio::join!(short, long);
                for answer in short {
                    let answer = answer.unwrap();
                    assert_eq!((answer.status, answer.body.as_str()), (200, "message"), "{answer:?}");
                    self.short.fetch_add(1, Ordering::Relaxed);
                }
                for answer in long {
                    let answer = answer.unwrap();
                    assert_eq!((answer.status, answer.body), (200, calls::long()));
                    self.long.fetch_add(1, Ordering::Relaxed);
                }
            }
        });
    }

    /// Waits for so many more long answers.
    fn more(&self, count: usize) {
        let until = self.long.load(Ordering::Relaxed) + count;
        while self.long.load(Ordering::Relaxed) < until {
            thread::yield_now();
        }
    }
}

/// Tells the clients to stop when it goes.
struct Stops<'a>(&'a Asked);

impl Drop for Stops<'_> {
    fn drop(&mut self) {
        self.0.stop.store(true, Ordering::Relaxed);
    }
}

/// Load of every kind on three pods of each service, while something happens to them; no request may fail.
fn under_load(disturb: impl Fn(&World, &dyn Fn())) {
    let to_hello = route("{backendRefs: [{name: hello, port: 80}]}");
    let Some(world) = World::new(&[GATEWAY, HELLO, &to_hello, &calls::manifest(3), TO_CALLS]) else { return };
    let edge = world.coracle.gateway(80).unwrap();
    let (crowd, asked) = (Crowd::new(edge), Asked::default());
    thread::scope(|scope| {
        let clients: Vec<_> = (0..2).map(|_| scope.spawn(|| asked.streams(edge))).collect();
        // A step that fails ends the clients too.
        let _stops = Stops(&asked);
        asked.more(10);
        disturb(&world, &|| {
            crowd.more(50);
            asked.more(10);
        });
        asked.stop.store(true, Ordering::Relaxed);
        clients.into_iter().for_each(|client| client.join().unwrap());
    });
    let failures = crowd.finish();
    assert!(failures.is_empty(), "{} failed: {:?}", failures.len(), failures.first());
    assert!(asked.short.load(Ordering::Relaxed) > 0);
    let text = get(world.coracle.metrics().unwrap(), "/metrics").unwrap();
    let errors: Vec<_> = text.lines().filter(|line| line.starts_with("coracle_gateway_errors_total{")).collect();
    assert!(errors.iter().all(|line| line.contains("fault=\"client\"")), "{errors:#?}");
}

fn all_are_ready(world: &World) {
    world.kubectl.wait("deploy/hello deploy/calls --for=jsonpath={.status.readyReplicas}=3").unwrap();
}

#[test]
fn three_pods_become_one_under_load_and_no_request_of_any_kind_fails() {
    under_load(|world, ask_more| {
        for _ in 0..2 {
            world.kubectl.run("scale deploy/hello deploy/calls --replicas=1").unwrap();
            ask_more();
            world.kubectl.wait("deploy/hello deploy/calls --for=jsonpath={.status.replicas}=1").unwrap();
            ask_more();
            world.kubectl.run("scale deploy/hello deploy/calls --replicas=3").unwrap();
            all_are_ready(world);
        }
    });
}

#[test]
fn an_autoscaler_takes_pods_away_under_load_and_no_request_fails() {
    under_load(|world, ask_more| {
        for name in ["hello", "calls"] {
            world.kubectl.run(&format!("autoscale deploy/{name} --min=1 --max=1")).unwrap();
        }
        ask_more();
        world.kubectl.wait("deploy/hello deploy/calls --for=jsonpath={.status.replicas}=1").unwrap();
        ask_more();
    });
}

#[test]
fn pods_are_evicted_one_after_the_other_under_load_and_no_request_fails() {
    under_load(|world, ask_more| {
        let pods = world.kubectl.run("get pods -o jsonpath={.items[*].metadata.name}").unwrap();
        for pod in pods.split_whitespace() {
            let eviction =
                format!(r#"{{"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {{"name": "{pod}"}}}}"#);
            let path = format!("/api/v1/namespaces/default/pods/{pod}/eviction");
            world.kubectl.send(&format!("create --raw {path}"), &eviction).unwrap();
            world.kubectl.wait(&format!("pod/{pod} --for=delete")).unwrap();
            all_are_ready(world);
        }
        ask_more();
    });
}

#[test]
fn a_more_important_pod_takes_the_room_of_another_under_load_and_no_request_fails() {
    under_load(|world, ask_more| {
        let kubectl = &world.kubectl;
        let cores: u32 = world.value("node/coracle", ".status.allocatable.cpu").parse().unwrap();
        // Six pods of an eighth, two more while they are replaced, and then one that leaves room for five.
        let share = cores * 120;
        kubectl.run(&format!("set resources deploy/hello deploy/calls --requests=cpu={share}m")).unwrap();
        for name in ["hello", "calls"] {
            kubectl.run(&format!("rollout status deploy/{name} --timeout=60s")).unwrap();
        }
        all_are_ready(world);
        let high = format!(
            "---
apiVersion: scheduling.k8s.io/v1
kind: PriorityClass
metadata: {{name: high}}
value: 1000
---
apiVersion: v1
kind: Pod
metadata: {{name: high}}
spec:
  priorityClassName: high
  terminationGracePeriodSeconds: 1
  containers:
  - name: c
    image: tools
    command: [sleep, '1000']
    resources: {{requests: {{cpu: {}m}}}}
",
            cores * 390
        );
        kubectl.send("apply", &high).unwrap();
        kubectl.wait("pod/high --for=condition=Ready").unwrap();
        ask_more();
        let preempted = kubectl.run("get events --field-selector reason=Preempted -o name").unwrap();
        assert_eq!(preempted.lines().count(), 1, "{preempted}");
        kubectl.run("delete pod high").unwrap();
        all_are_ready(world);
        ask_more();
    });
}
