//! SIGKILL in the middle of a scaling action: what was begun is finished, and nothing is done twice.

use std::{
    io::{BufRead, BufReader},
    process::Stdio,
};

use testkit::apart;

use crate::World;

/// A program that works for a tenth of the time or more, and an autoscaler that may add two pods in half an hour: a step that was
/// forgotten would be taken again, for the metric asks for many more.
const BURNER: &str = "---
apiVersion: apps/v1
kind: Deployment
metadata: {name: NAME}
spec:
  replicas: 1
  selector: {matchLabels: {app: NAME}}
  template:
    metadata: {labels: {app: NAME}}
    spec:
      terminationGracePeriodSeconds: 0
      containers:
      - name: burner
        image: tools
        command: [bash, -c, 'while :; do for ((i = 0; i < 5000; i++)); do :; done; sleep 0.1; done']
        resources: {requests: {cpu: 1m}}
---
apiVersion: autoscaling/v2
kind: HorizontalPodAutoscaler
metadata: {name: NAME}
spec:
  scaleTargetRef: {apiVersion: apps/v1, kind: Deployment, name: NAME}
  minReplicas: 1
  maxReplicas: 9
  metrics:
  - {type: Resource, resource: {name: cpu, target: {type: Utilization, averageUtilization: 50}}}
  behavior: {scaleUp: {policies: [{type: Pods, value: 2, periodSeconds: 1800}]}}
";

/// What is seen of a scaling action in the API, from its begin to its end.
const MOMENTS: [(&str, &str); 4] = [
    ("deployment/NAME", ".spec.replicas"),
    ("rs -l app=NAME", ".spec.replicas"),
    ("hpa/NAME", ".status.desiredReplicas"),
    ("rs -l app=NAME", ".status.readyReplicas"),
];

fn named(text: &str, name: &str) -> String {
    text.replace("NAME", name)
}

impl World {
    /// Waits until the API shows that this has come to be 3, without asking twice.
    fn sees_three(&self, object: &str, path: &str) {
        let arguments = format!("get {object} --watch --request-timeout=60s -o jsonpath={{{path}}}{{\"\\n\"}}");
        let mut watch = self.kubectl.command(&arguments).stdout(Stdio::piped()).spawn().unwrap();
        let lines = BufReader::new(watch.stdout.take().unwrap()).lines();
        let last = lines.map_while(Result::ok).find(|line| line == "3");
        watch.kill().unwrap();
        watch.wait().unwrap();
        assert_eq!(last.as_deref(), Some("3"), "{object} {path}");
    }

    /// Scales one up and kills Coracle when the API shows this; whatever was begun then is whole afterwards.
    fn survives(&mut self, number: usize, (object, path): (&str, &str)) {
        let name = format!("burner-{number}");
        self.kubectl.send("apply", &named(BURNER, &name)).unwrap();
        self.sees_three(&named(object, &name), path);
        self.coracle.kill().unwrap();
        self.coracle.start_again().unwrap();

        let deployment = format!("deployment/{name}");
        self.kubectl.wait(&format!("{deployment} --for=jsonpath={{.status.readyReplicas}}=3")).unwrap();
        // Another one that begins now has gone its step: the rounds of the autoscaler go on, and each looks at all of them.
        let witness = format!("witness-{number}");
        self.kubectl.send("apply", &named(BURNER, &witness)).unwrap();
        self.kubectl.wait(&format!("deployment/{witness} --for=jsonpath={{.status.readyReplicas}}=3")).unwrap();
        let moment = format!("killed when {object} {path} was 3");
        assert_eq!(self.value(&deployment, ".spec.replicas"), "3", "{moment}: no second step");
        self.kubectl.until(&format!("hpa {name} -o jsonpath={{.status.desiredReplicas}}"), "3").unwrap();
        let pods = self.value(&format!("pods -l app={name}"), ".items[*].status.phase");
        assert_eq!(pods, "Running Running Running", "{moment}");
        let restarts = self.value(&format!("pods -l app={name}"), ".items[*].status.containerStatuses[0].restartCount");
        assert_eq!(restarts, "0 0 0", "{moment}: its pods did not notice");
        let limited = self.value(&format!("hpa {name}"), ".status.conditions[?(@.type=='ScalingLimited')].reason");
        assert_eq!(limited, "ScaleUpLimit", "{moment}: the metric asks for more than one step");
        self.tells_once(&name, path, &moment);
        self.kubectl.run(&format!("delete hpa,deployment {name} {witness}")).unwrap();
    }

    /// The step is told of at most once, and once if it is in the status.
    fn tells_once(&self, name: &str, path: &str, moment: &str) {
        let of = format!("events --field-selector involvedObject.name={name},reason=SuccessfulRescale");
        let (counts, messages) = (self.value(&of, ".items[*].count"), self.value(&of, ".items[*].message"));
        if path == ".status.desiredReplicas" || !counts.is_empty() {
            assert_eq!(counts, "1", "{moment}");
            assert!(messages.starts_with("New size: 3; reason: cpu resource utilization"), "{moment}: {messages}");
        }
    }
}

fn whatever_was_begun_is_finished_once(runtime: &str) {
    let arguments = ["--runtime", runtime, "--horizontal-pod-autoscaler-sync-period", "1s"];
    let Some(mut world) =
        World::with(&["---\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: nothing}\n"], &arguments)
    else {
        return;
    };
    for (number, moment) in MOMENTS.into_iter().enumerate() {
        world.survives(number, moment);
    }
}

#[test]
fn a_scaling_of_plain_processes_survives_a_crash_in_its_middle() {
    whatever_was_begun_is_finished_once("loopback");
}

#[test]
fn a_scaling_of_isolated_pods_survives_a_crash_in_its_middle() {
    apart(|| whatever_was_begun_is_finished_once("native"));
}

#[test]
fn a_start_with_the_same_manifests_leaves_the_count_to_the_autoscaler() {
    let arguments = ["--horizontal-pod-autoscaler-sync-period", "1s"];
    let Some(mut world) = World::with(&[&named(BURNER, "burner")], &arguments) else { return };
    world.kubectl.wait("deployment/burner --for=jsonpath={.status.readyReplicas}=3").unwrap();
    let sets = world.value("rs -l app=burner", ".items[*].metadata.resourceVersion");
    world.coracle.kill().unwrap();
    world.coracle.start_again().unwrap();
    assert_eq!(world.value("deployment burner", ".spec.replicas"), "3");
    // The generation counts the changes of what is wanted.
    assert_eq!(world.value("deployment burner", ".metadata.generation"), "2", "{sets}");
}
