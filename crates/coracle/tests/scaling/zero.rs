//! Scale to zero and back: a request finds no pod, waits for one, and is answered.

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    time::Duration,
};

use http::Request;
use testkit::{
    Crowd, get,
    systems::{GATEWAY, SLEEPING, autoscaler, route},
};

use crate::{World, calls};

const TCP: &str = "---
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: bytes}
spec:
  gatewayClassName: coracle
  listeners: [{name: bytes, protocol: TCP, port: 9000}]
---
apiVersion: gateway.networking.k8s.io/v1
kind: TCPRoute
metadata: {name: web}
spec: {parentRefs: [{name: bytes}], rules: [{backendRefs: [{name: web, port: 9000}]}]}
";

fn of_deployment(name: &str) -> String {
    autoscaler("apps/v1", "Deployment", name, 0)
}

const TO_WEB: &str = "---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: web}
spec:
  parentRefs: [{name: edge}]
  hostnames: [localhost, web.example]
  rules: [{backendRefs: [{name: web, port: 8080}]}]
";

const TO_CALLS: &str = "---
apiVersion: gateway.networking.k8s.io/v1
kind: GRPCRoute
metadata: {name: calls}
spec:
  parentRefs: [{name: edge}]
  hostnames: [calls.example]
  rules: [{matches: [{method: {service: shop.Cart}}], backendRefs: [{name: calls, port: 8080}]}]
";

impl World {
    fn port(&self, listener: u16) -> SocketAddr {
        self.coracle.gateway(listener).unwrap()
    }

    /// How many requests have been released to a first pod of a Service.
    fn released(&self, service: &str) -> u64 {
        let text = get(self.coracle.metrics().unwrap(), "/metrics").unwrap();
        let of = format!("coracle_gateway_held_total{{service=\"default/{service}:");
        let lines = text.lines().filter(|line| line.starts_with(&of) && line.contains("result=\"released\""));
        lines.map(|line| line.rsplit(' ').next().unwrap().parse::<u64>().unwrap()).sum()
    }

    fn to_zero(&self, deployment: &str) {
        self.kubectl.run(&format!("scale deploy/{deployment} --replicas=0")).unwrap();
        self.kubectl.wait(&format!("pods -l app={deployment} --for=delete")).unwrap();
    }

    /// Asks a Service that has no pods, and once more: only the first has to wait.
    fn wakes(&self, service: &str, what: &str, ask: impl Fn()) {
        self.to_zero(service);
        let before = self.released(service);
        ask();
        assert_eq!(self.released(service), before + 1, "{what}: it has waited");
        ask();
        assert_eq!(self.released(service), before + 1, "{what}: the second has not");
    }
}

/// HTTP over a connection that the proxy takes for bytes.
fn over_bytes(address: SocketAddr) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    stream.write_all(b"GET / HTTP/1.1\r\nHost: web\r\nConnection: close\r\n\r\n").unwrap();
    let mut response = String::new();
    stream.read_to_string(&mut response).unwrap();
    response
}

fn is_hello(response: &str) {
    assert!(response.starts_with("HTTP/1.1 200 ") && response.contains("Hello World"), "{response}");
}

#[test]
fn whoever_asks_for_a_service_without_pods_is_answered_by_its_first_one() {
    let scaled = [of_deployment("web"), of_deployment("calls")].concat();
    let manifests = [GATEWAY, TCP, SLEEPING, TO_WEB, &calls::manifest(0), TO_CALLS, &scaled];
    let Some(world) = World::new(&manifests) else { return };
    let edge = world.port(80);
    let address = world.value("service web", ".spec.clusterIP");
    let at = |port: u16| SocketAddr::new(address.parse().unwrap(), port);

    world.wakes("web", "HTTP/1.1 from the edge", || is_hello(&get(edge, "/").unwrap()));
    world.wakes("web", "HTTP/2 from the edge", || {
        let answer = calls::ask(edge, Request::get("http://web.example/").body(()).unwrap(), "");
        assert!(answer.status == 200 && answer.body.contains("Hello World"), "{answer:?}");
    });
    world.wakes("web", "a TCPRoute", || is_hello(&over_bytes(world.port(9000))));
    world.wakes("web", "the Service's address", || is_hello(&get(at(8080), "/").unwrap()));
    world.wakes("web", "bytes at the Service's address", || is_hello(&over_bytes(at(9000))));
    world.wakes("calls", "a call of gRPC from the edge", || {
        let call = Request::post("http://calls.example/shop.Cart/Add").header("content-type", "application/grpc");
        let answer = calls::ask(edge, call.body(()).unwrap(), "message");
        assert_eq!((answer.body.as_str(), answer.grpc.as_deref()), ("message", Some("0")), "{answer:?}");
    });
    let said = world.kubectl.run("get events --field-selector reason=Woken").unwrap();
    assert!(said.contains("A request waits for service web: Deployment web goes from 0 to 1"), "{said}");
}

const CLIENT: &str = "---
apiVersion: v1
kind: Pod
metadata: {name: client}
spec:
  restartPolicy: Never
  containers:
  - name: client
    image: tools
    command:
    - bash
    - -c
    - |
      exec 3<>/dev/tcp/$WEB_SERVICE_HOST/8080 &&
      printf 'GET / HTTP/1.1\\r\\nHost: web\\r\\nConnection: close\\r\\n\\r\\n' >&3 && cat <&3
";

#[test]
fn a_pod_that_calls_a_service_without_pods_is_answered() {
    let Some(world) = World::new(&[SLEEPING, &of_deployment("web")]) else { return };
    world.kubectl.send("apply", CLIENT).unwrap();
    world.kubectl.wait("pod/client --for=jsonpath={.status.phase}=Succeeded").unwrap();
    is_hello(&world.kubectl.run("logs client").unwrap());
    assert_eq!(world.released("web"), 1);
}

#[test]
fn requests_all_the_time_while_the_last_pod_comes_and_goes() {
    const TIMES: u64 = 5;
    let to_web = route("{backendRefs: [{name: web, port: 8080}]}");
    let Some(world) = World::new(&[GATEWAY, SLEEPING, &to_web, &of_deployment("web")]) else { return };
    let crowd = Crowd::new(world.port(80));
    crowd.more(20);
    for _ in 0..TIMES {
        world.kubectl.run("scale deploy/web --replicas=0").unwrap();
        world.kubectl.wait("deploy/web --for=jsonpath={.spec.replicas}=1").unwrap();
        crowd.more(20);
        world.kubectl.wait("deploy/web --for=jsonpath={.status.readyReplicas}=1").unwrap();
        crowd.more(20);
    }
    let failures = crowd.finish();
    assert!(failures.is_empty(), "{} failed: {:?}", failures.len(), failures.first());
    assert!(world.released("web") >= TIMES, "{}", world.released("web"));
}

#[test]
fn what_somebody_has_turned_off_stays_off_and_says_so_at_once() {
    let to_web = route("{backendRefs: [{name: web, port: 8080}]}");
    let off = autoscaler("apps/v1", "Deployment", "web", 1);
    let Some(world) = World::new(&[GATEWAY, SLEEPING, &to_web, &off]) else { return };
    let response = get(world.port(80), "/").unwrap();
    assert!(response.starts_with("HTTP/1.1 503 ") && !response.contains("retry-after"), "{response}");
    // Until its autoscaler may give it a first pod.
    world.kubectl.send("apply", &of_deployment("web")).unwrap();
    let is_held = || {
        let response = get(world.port(80), "/").unwrap();
        response.starts_with("HTTP/1.1 200 ")
    };
    while !is_held() {}
    assert_eq!(world.value("deploy web", ".spec.replicas"), "1");
}

/// A kind with a scale, whose pods somebody else makes.
pub(crate) const KIND: &str = r#"{
  "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition", "metadata": {"name": "things.example.com"},
  "spec": {
    "group": "example.com", "scope": "Namespaced", "names": {"plural": "things", "kind": "Thing"},
    "versions": [{
      "name": "v1", "served": true, "storage": true,
      "schema": {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": true}},
      "subresources": {"scale": {
        "specReplicasPath": ".spec.many", "statusReplicasPath": ".status.many", "labelSelectorPath": ".status.selector"
      }}
    }]
  }
}"#;

const THING: &str = "---
apiVersion: example.com/v1
kind: Thing
metadata: {name: web}
spec: {many: 0}
status: {selector: 'app=web'}
";

#[test]
fn anything_with_a_scale_is_woken() {
    let to_web = route("{backendRefs: [{name: web, port: 8080}]}");
    let Some(world) = World::new(&[GATEWAY, SLEEPING, &to_web]) else { return };
    world.kubectl.send("apply", KIND).unwrap();
    world.kubectl.wait("crd/things.example.com --for=condition=Established").unwrap();
    world.kubectl.send("apply", THING).unwrap();
    world.kubectl.send("apply", &autoscaler("example.com/v1", "Thing", "web", 0)).unwrap();
    let edge = world.port(80);
    std::thread::scope(|scope| {
        // Those that come before the gateway knows of the autoscaler are refused.
        let asked = scope.spawn(move || {
            loop {
                let response = get(edge, "/").unwrap();
                if !response.starts_with("HTTP/1.1 503 ") {
                    return response;
                }
            }
        });
        world.kubectl.wait("thing/web --for=jsonpath={.spec.many}=1").unwrap();
        // Whoever makes pods for such things does so now.
        world.kubectl.run("scale deploy/web --replicas=1").unwrap();
        is_hello(&asked.join().unwrap());
    });
}
