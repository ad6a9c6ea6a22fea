//! An autoscaler of a custom resource: all that it needs is a scale.

use testkit::{
    Load,
    systems::{GATEWAY, HELLO, route},
};

use crate::{World, zero::KIND};

/// A thing that somebody else makes pods for, of which there need not be any; and an autoscaler that goes up and down at once.
const THING: &str = "---
apiVersion: example.com/v1
kind: Thing
metadata: {name: web}
spec: {many: 1}
status: {many: 1, selector: 'app=nothing'}
---
apiVersion: autoscaling/v2
kind: HorizontalPodAutoscaler
metadata: {name: web}
spec:
  scaleTargetRef: {apiVersion: example.com/v1, kind: Thing, name: web}
  minReplicas: 1
  maxReplicas: 4
  metrics:
  - type: Object
    object:
      describedObject: {apiVersion: v1, kind: Service, name: hello}
      metric: {name: http_requests_per_second, selector: {matchLabels: {window: 10s}}}
      target: {type: AverageValue, averageValue: '1'}
  behavior:
    scaleDown: {stabilizationWindowSeconds: 0}
";

#[test]
fn a_custom_resource_with_a_scale_is_scaled_up_and_down() {
    let to_hello = route("{backendRefs: [{name: hello, port: 80}]}");
    let arguments = ["--horizontal-pod-autoscaler-sync-period", "1s"];
    let Some(world) = World::with(&[GATEWAY, HELLO, &to_hello], &arguments) else { return };
    world.kubectl.send("apply", KIND).unwrap();
    world.kubectl.wait("crd/things.example.com --for=condition=Established").unwrap();
    world.kubectl.send("apply", THING).unwrap();
    let load = Load::start(world.coracle.gateway(80).unwrap(), 1);
    world.kubectl.wait("thing/web --for=jsonpath={.spec.many}=4").unwrap();
    // Whoever makes pods for things says how many there are; the autoscaler shows that.
    world.kubectl.run("patch thing web --type=merge -p {\"status\":{\"many\":4}}").unwrap();
    world.kubectl.wait("hpa/web --for=jsonpath={.status.currentReplicas}=4").unwrap();
    assert_eq!(load.finish(), Vec::<String>::new());
    let shown = world.kubectl.run("get hpa web --no-headers").unwrap();
    assert_eq!(shown.split_whitespace().take(2).collect::<Vec<_>>(), ["web", "Thing/web"], "{shown}");
    world.kubectl.wait("thing/web --for=jsonpath={.spec.many}=1").unwrap();
    let told = world.kubectl.run("describe hpa web").unwrap();
    for (part, why) in [
        ("SuccessfulRescale", "it is told of"),
        ("Reference:", "it is described"),
        ("New size: 1; reason: All metrics below target", "as upstream words it"),
    ] {
        assert!(told.contains(part), "{why}: {told}");
    }
}
