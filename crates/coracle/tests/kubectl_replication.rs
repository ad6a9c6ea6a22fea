//! kubectl and ReplicationControllers: made, scaled, exposed, described, stopped.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a failed step of a test is its failure")]

use testkit::{Coracle, Kubectl};

fn with_every_kubectl(test: impl Fn(&Kubectl, &Coracle)) {
    testkit::with_every_kubectl(env!("CARGO_BIN_EXE_coracle"), test).unwrap();
}

const WEB: &str = "
apiVersion: v1
kind: ReplicationController
metadata: {name: web}
spec:
  replicas: 2
  template:
    metadata: {labels: {app: web}}
    spec:
      terminationGracePeriodSeconds: 0
      containers: [{name: web, image: hello, command: [sleep, '1000'], ports: [{containerPort: 8000}]}]
";

fn pods(kubectl: &Kubectl) -> usize {
    kubectl.run("get pods -l app=web -o name").unwrap().lines().count()
}

/// Waits until it has so many pods that are ready.
fn ready(kubectl: &Kubectl, count: usize) {
    kubectl.until("rc web -o jsonpath={.status.readyReplicas}", &count.to_string()).unwrap();
}

#[test]
fn a_replication_controller_is_made_scaled_and_stopped() {
    with_every_kubectl(|kubectl, _| {
        assert!(kubectl.send("create", WEB).unwrap().contains("replicationcontroller/web created"));
        ready(kubectl, 2);
        assert_eq!(pods(kubectl), 2);
        let row = kubectl.run("get rc web --no-headers").unwrap();
        assert_eq!(row.split_whitespace().take(4).collect::<Vec<_>>(), ["web", "2", "2", "2"]);
        let described = kubectl.run("describe rc web").unwrap();
        for text in ["Replicas:     2 current / 2 desired", "2 Running", "SuccessfulCreate", "replication-controller"] {
            assert!(described.contains(text), "1.{}: no {text} in {described}", kubectl.minor());
        }
        assert!(kubectl.run("scale rc web --replicas=1").unwrap().contains("replicationcontroller/web scaled"));
        ready(kubectl, 1);
        kubectl.run("scale rc web --current-replicas=1 --replicas=3").unwrap();
        ready(kubectl, 3);
        kubectl.run("delete rc web --cascade=foreground").unwrap();
        assert_eq!(pods(kubectl), 0);
    });
}

#[test]
fn a_replication_controller_is_exposed_as_services() {
    with_every_kubectl(|kubectl, _| {
        kubectl.send("create", WEB).unwrap();
        kubectl.run("expose rc web --name=first --port=1234 --target-port=8000").unwrap();
        kubectl.run("expose service first --name=second --port=2345 --target-port=8000").unwrap();
        for (name, port) in [("first", "1234"), ("second", "2345")] {
            let says = "jsonpath={.spec.ports[0].port}{.spec.selector.app}";
            assert_eq!(kubectl.run(&format!("get service {name} -o {says}")).unwrap(), format!("{port}web"));
        }
        ready(kubectl, 2);
        assert!(kubectl.run("describe service second").unwrap().contains(":8000"));
        kubectl.run("delete rc web").unwrap();
    });
}
