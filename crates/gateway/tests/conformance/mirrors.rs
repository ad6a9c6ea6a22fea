//! Copies of requests.

use std::{collections::HashMap, time::Duration};

use crate::{
    ask::get,
    support::{Peer, field},
    world::World,
};

/// How many of 100 requests each backend has seen, copies among them.
fn seen(world: &World, path: &'static str) -> HashMap<String, usize> {
    world.seen.lock().unwrap().clear();
    let mut client = Peer::connect(world.address(80));
    for _ in 0..100 {
        assert_eq!(field(&get(path).send(&mut client).0, "x-backend"), Some("infra/v1"));
    }
    let counts = || {
        let seen = world.seen.lock().unwrap();
        let mut counts = HashMap::new();
        seen.iter().for_each(|line| *counts.entry(line.split(' ').next().unwrap().to_owned()).or_default() += 1);
        counts
    };
    // Copies may still be on their way when the answers are there.
    let mut last: HashMap<String, usize> = HashMap::new();
    loop {
        std::thread::park_timeout(Duration::from_millis(100));
        let now = counts();
        if now == last {
            return now;
        }
        last = now;
    }
}

#[test]
fn httproute_request_mirrors() {
    // HTTPRouteRequestMirror, HTTPRouteRequestMultipleMirrors and HTTPRouteRequestPercentageMirror.
    let mirror = |to: &str, part: &str| {
        format!("{{type: RequestMirror, requestMirror: {{backendRef: {{name: {to}, port: 8080}}{part}}}}}")
    };
    let rule = |path: &str, mirrors: &[String]| {
        format!(
            "  - {{matches: [{{path: {{value: {path}}}}}], filters: [{}], backendRefs: [{{name: v1, port: 8080}}]}}\n",
            mirrors.join(", ")
        )
    };
    let yaml = [
        rule("/one", &[mirror("v2", "")]),
        rule("/two", &[mirror("v2", ""), mirror("v3", "")]),
        rule("/percent", &[mirror("v2", ", percent: 20")]),
        rule("/fraction", &[mirror("v2", ", fraction: {numerator: 1, denominator: 2}")]),
        rule("/never", &[mirror("v2", ", percent: 0")]),
    ];
    let world = World::new(&format!(
        "
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {{name: r, namespace: infra}}
spec:
  parentRefs: [{{name: edge}}]
  rules:
{}",
        yaml.concat()
    ));
    assert_eq!(world.route("HTTPRoute", "infra/r", "Accepted"), "True Accepted");
    assert_eq!(seen(&world, "/one"), HashMap::from([("infra/v1".into(), 100), ("infra/v2".into(), 100)]));
    let both = seen(&world, "/two");
    assert_eq!((both["infra/v2"], both["infra/v3"]), (100, 100));
    assert!((5..40).contains(&seen(&world, "/percent")["infra/v2"]));
    assert!((25..75).contains(&seen(&world, "/fraction")["infra/v2"]));
    assert_eq!(seen(&world, "/never").get("infra/v2"), None);
}
