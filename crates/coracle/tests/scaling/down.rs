//! Fewer pods under load: those that go finish what they have, whatever that is.

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

#[test]
fn three_pods_become_one_under_load_and_no_request_of_any_kind_fails() {
    let to_hello = route("{backendRefs: [{name: hello, port: 80}]}");
    let Some(world) = World::new(&[GATEWAY, HELLO, &to_hello, &calls::manifest(3), TO_CALLS]) else { return };
    let edge = world.coracle.gateway(80).unwrap();
    let (crowd, asked) = (Crowd::new(edge), Asked::default());
    thread::scope(|scope| {
        let clients: Vec<_> = (0..2).map(|_| scope.spawn(|| asked.streams(edge))).collect();
        asked.more(10);
        for _ in 0..2 {
            world.kubectl.run("scale deploy/hello deploy/calls --replicas=1").unwrap();
            crowd.more(50);
            asked.more(10);
            world.kubectl.wait("deploy/hello deploy/calls --for=jsonpath={.status.replicas}=1").unwrap();
            asked.more(10);
            world.kubectl.run("scale deploy/hello deploy/calls --replicas=3").unwrap();
            world.kubectl.wait("deploy/hello deploy/calls --for=jsonpath={.status.readyReplicas}=3").unwrap();
        }
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
