//! Limits on time.

use crate::{ask::get, world::World};

#[test]
fn httproute_timeout_request_and_backend_request() {
    let rule = |path: &str, timeouts: &str| {
        format!(
            "  - {{matches: [{{path: {{value: {path}}}}}], timeouts: {{{timeouts}}}, backendRefs: [{{name: v1, port: 8080}}]}}\n"
        )
    };
    let rules = [
        rule("/request", "request: 300ms"),
        rule("/backend", "backendRequest: 300ms"),
        rule("/never", "request: 0s"),
        rule("/never-backend", "backendRequest: 0s"),
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
        rules.concat()
    ));
    world.check(&[
        get("/request").reaches("infra/v1"),
        get("/request?sleep=3000").answers(504),
        get("/backend").reaches("infra/v1"),
        get("/backend?sleep=3000").answers(504),
        get("/never?sleep=700").reaches("infra/v1"),
        get("/never-backend?sleep=700").reaches("infra/v1"),
    ]);
}
