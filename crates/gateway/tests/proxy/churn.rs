//! A thousand routes that change all the time cost nobody a request.

use std::{
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use gateway::{
    control::{Memory, Options as Control, Publish, Sink, Snapshot, compile},
    proxy::{Options, Proxy},
};
use objects::gateway::HTTPRoute;
use serde_json::json;

use super::{
    crowd::Crowd,
    snapshot::snapshot,
    support::{Endpoint, Peer, field},
};

const ROUTES: u32 = 1000;
/// Ten a second, for three seconds.
const CHANGES: u32 = 30;
const BETWEEN: Duration = Duration::from_millis(100);

/// Everything but the routes.
fn base(endpoint: SocketAddr) -> Snapshot {
    snapshot(&format!(
        "kind: GatewayClass
metadata: {{name: coracle}}
spec: {{controllerName: coracle.dev/gateway-controller}}
---
kind: Gateway
metadata: {{name: edge, namespace: default}}
spec: {{gatewayClassName: coracle, listeners: [{{name: http, port: 80, protocol: HTTP}}]}}
---
kind: Service
metadata: {{name: up, namespace: default}}
spec: {{clusterIP: None, ports: [{{port: 80}}]}}
---
kind: EndpointSlice
metadata: {{name: up-1, namespace: default, labels: {{kubernetes.io/service-name: up}}}}
addressType: IPv4
ports: [{{port: {}}}]
endpoints: [{{addresses: [{}]}}]
",
        endpoint.port(),
        endpoint.ip()
    ))
}

/// A route of five matches whose answers carry this version.
fn route(number: u32, version: u32) -> Arc<HTTPRoute> {
    let path = format!("/r{number}");
    let prefix = json!({"type": "PathPrefix", "value": path});
    let set = json!([{"name": "x-version", "value": version.to_string()}]);
    let route = json!({
        "metadata": {"name": format!("r{number}"), "namespace": "default", "generation": version},
        "spec": {"parentRefs": [{"name": "edge"}], "rules": [{
            "matches": [
                {"path": prefix},
                {"path": prefix, "method": "DELETE"},
                {"path": prefix, "headers": [{"name": "x-a", "value": "b"}]},
                {"path": prefix, "queryParams": [{"name": "a", "value": "b"}]},
                {"path": {"type": "Exact", "value": format!("{path}/exact")}},
            ],
            "filters": [{"type": "ResponseHeaderModifier", "responseHeaderModifier": {"set": set}}],
            "backendRefs": [{"name": "up", "port": 80}],
        }]},
    });
    Arc::new(serde_json::from_value(route).unwrap())
}

#[test]
fn a_thousand_routes_that_change_ten_times_a_second_cost_no_request() {
    let endpoint = Endpoint::saying("hello");
    let proxy = Proxy::start(Options { workers: 2, ..Options::default() }).unwrap();
    let address = proxy.hold("127.0.0.1:0".parse().unwrap()).unwrap();
    let control = Control::new(vec![Publish { address, listener_port: 80 }], address.ip());
    let (mut snapshot, mut memory) = (base(endpoint.address), Memory::default());
    let mut serve = |version| {
        snapshot.routes = (0..ROUTES).map(|number| route(number, version)).collect();
        let compiled = compile(&snapshot, &control, &mut memory, jiff::Timestamp::UNIX_EPOCH);
        let errors = proxy.apply(Arc::new(compiled.table));
        assert!(errors.is_empty(), "{errors:?}");
    };
    serve(0);
    let crowd = Crowd::new(address, "/r500/x");
    crowd.more(50);
    let mut kept = Peer::connect(address);
    let begun = Instant::now();
    for version in 1..=CHANGES {
        serve(version);
        // The next request has it, also on a connection from before.
        for client in [&mut kept, &mut Peer::connect(address)] {
            let (head, body) = client.get("/r999/x");
            assert_eq!((field(&head, "x-version"), body.as_str()), (Some(&*version.to_string()), "hello"));
        }
        // Ten a second at most: requests are what this is about.
        while begun.elapsed() < BETWEEN * version {
            crowd.more(10);
        }
    }
    crowd.more(50);
    assert_eq!(crowd.finish(), Vec::<String>::new());
}
