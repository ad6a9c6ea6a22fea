//! The real kubectl reading: tables, output formats, describe, explain, discovery, events, and who one is.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a failed step of a test is its failure")]

use std::{fs, io::Read, process::Stdio};

use testkit::{Coracle, Kubectl};

fn with_each_kubectl(test: impl Fn(&Kubectl, &Coracle)) {
    testkit::with_each_kubectl(env!("CARGO_BIN_EXE_coracle"), test).unwrap();
}

/// One object of every kind that people write, all in the namespace `all`.
const EVERYTHING: &str = r#"
apiVersion: v1
kind: Namespace
metadata: {name: all}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: it, namespace: all}
data: {key: value}
---
apiVersion: v1
kind: Secret
metadata: {name: it, namespace: all}
stringData: {key: value}
---
apiVersion: v1
kind: ServiceAccount
metadata: {name: it, namespace: all}
---
apiVersion: v1
kind: Service
metadata: {name: it, namespace: all}
spec: {selector: {app: it}, ports: [{port: 80, targetPort: 8000}]}
---
apiVersion: v1
kind: Pod
metadata: {name: it, namespace: all}
spec: {nodeSelector: {no: such}, containers: [{name: it, image: "it:1"}]}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: it, namespace: all}
spec:
  replicas: 1
  selector: {matchLabels: {app: it}}
  template: {metadata: {labels: {app: it}}, spec: {nodeSelector: {no: such}, containers: [{name: it, image: "it:1"}]}}
---
apiVersion: coordination.k8s.io/v1
kind: Lease
metadata: {name: it, namespace: all}
spec: {holderIdentity: me}
---
apiVersion: autoscaling/v2
kind: HorizontalPodAutoscaler
metadata: {name: it, namespace: all}
spec: {scaleTargetRef: {apiVersion: apps/v1, kind: Deployment, name: it}, maxReplicas: 3}
---
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: it, namespace: all}
spec: {gatewayClassName: coracle, listeners: [{name: http, port: 80, protocol: HTTP}]}
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: it, namespace: all}
spec: {parentRefs: [{name: it}], hostnames: [it.example], rules: [{backendRefs: [{name: it, port: 80}]}]}
---
apiVersion: gateway.networking.k8s.io/v1beta1
kind: ReferenceGrant
metadata: {name: it, namespace: all}
spec: {from: [{group: gateway.networking.k8s.io, kind: HTTPRoute, namespace: other}], to: [{group: "", kind: Service}]}
"#;

const KINDS: &[&str] = &[
    "configmap",
    "secret",
    "serviceaccount",
    "service",
    "pod",
    "deployment",
    "lease",
    "hpa",
    "gateway",
    "httproute",
    "referencegrant",
];

#[test]
fn everything_is_listed_described_and_shown_in_every_format() {
    with_each_kubectl(|kubectl, _| {
        kubectl.send("apply", EVERYTHING).unwrap();
        kubectl.run("create serviceaccount other").unwrap();
        let all = kubectl.run("get nodes,pods,svc,deploy,gateway,httproute -A").unwrap();
        for part in ["node/", "pod/it", "service/it", "deployment.apps/it", "gateway.gateway.networking.k8s.io/it"] {
            assert!(all.contains(part), "{part}: {all}");
        }
        for kind in KINDS {
            assert!(kubectl.run(&format!("get {kind} -n all -o wide")).unwrap().contains("it "), "{kind}");
            assert!(kubectl.run(&format!("get {kind} it -n all -o name")).unwrap().ends_with("/it\n"), "{kind}");
            let described = kubectl.run(&format!("describe {kind} it -n all")).unwrap();
            assert!(described.contains("Name:") && described.contains("it"), "{kind}: {described}");
            let yaml = kubectl.run(&format!("get {kind} it -n all -o yaml")).unwrap();
            assert!(
                kubectl.send("replace --dry-run=server", &yaml).unwrap().contains("replaced (server dry run)"),
                "{kind}"
            );
        }
        for (kind, name) in [
            ("namespace", "all"),
            ("gatewayclass", "coracle"),
            ("node", ""),
            ("rs", "-n=all"),
            ("endpointslice", "-n=all"),
        ] {
            assert!(kubectl.run(&format!("describe {kind} {name}")).unwrap().contains("Name:"), "{kind}");
        }
        assert!(kubectl.run("get ep,endpointslices -n all").unwrap().contains("endpoints/it   <none> "));
        assert!(kubectl.run("get endpoints nope -n all").unwrap_err().contains("endpoints \"nope\" not found"));
        let columns = "custom-columns=N:.metadata.name,K:.kind";
        assert_eq!(kubectl.run(&format!("get cm it -n all -o {columns}")).unwrap(), "N     K\nit    ConfigMap\n");
        assert_eq!(kubectl.run("get cm it -n all -o go-template={{.data.key}}").unwrap(), "value");
        assert_eq!(
            kubectl.run("get cm -n all -o jsonpath={.items[?(@.metadata.name==\"it\")].data.key}").unwrap(),
            "value"
        );
        assert!(kubectl.run("get cm it -n all -o json").unwrap().contains("\"key\": \"value\""));
        assert!(kubectl.run("get cm -A --sort-by=.metadata.name --show-labels -L app").unwrap().contains("LABELS"));
        assert!(kubectl.run("get secret it -n all").unwrap().contains("Opaque   1 "));
        let stream = kubectl.run("exec it -n all -- true").unwrap_err();
        assert!(stream.contains("pod it does not have a host assigned"), "{stream}");
        assert!(kubectl.run("get all -n all").unwrap().contains("horizontalpodautoscaler.autoscaling/it"));
    });
}

#[test]
fn pages_of_a_list_add_up_to_all_of_it() {
    with_each_kubectl(|kubectl, _| {
        for name in ["a", "b", "c", "d", "e"] {
            kubectl.run(&format!("create configmap page-{name} --from-literal=x=y")).unwrap();
        }
        let whole = kubectl.run("get cm -o name --chunk-size=0").unwrap();
        assert_eq!(kubectl.run("get cm -o name --chunk-size=2").unwrap(), whole);
        assert_eq!(kubectl.run("get cm --chunk-size=2 --no-headers").unwrap().lines().count(), whole.lines().count());
    });
}

#[test]
fn kinds_and_fields_are_explained() {
    with_each_kubectl(|kubectl, _| {
        let resources = kubectl.run("api-resources --no-headers").unwrap();
        for part in ["deployments ", "deploy ", "events.k8s.io/v1 ", "autoscaling/v2 ", "gateway.networking.k8s.io/v1 "]
        {
            assert!(resources.contains(part), "{part}: {resources}");
        }
        assert!(kubectl.run("api-resources --verbs=list --namespaced=false -o name").unwrap().contains("nodes\n"));
        let versions = kubectl.run("api-versions").unwrap();
        assert!(versions.contains("autoscaling/v1\nautoscaling/v2\n"), "{versions}");
        for (path, part) in [
            ("deployment.spec.strategy.rollingUpdate.maxSurge", "FIELD: maxSurge <IntOrString>"),
            ("pods", "KIND:       Pod"),
            ("httproute.spec.rules.matches.path", "type\t<string>"),
            ("hpa --api-version=autoscaling/v1", "VERSION:    v1"),
            ("service.spec --recursive", "sessionAffinityConfig"),
        ] {
            let explained = kubectl.run(&format!("explain {path}")).unwrap();
            assert!(explained.contains(part), "{path}: {explained}");
        }
        let unknown = kubectl.run("explain pod.spec.nope").unwrap_err();
        assert!(unknown.contains("field \"nope\" does not exist"), "{unknown}");
        assert!(kubectl.run("get nopes").unwrap_err().contains("the server doesn't have a resource type \"nopes\""));
    });
}

#[test]
fn the_server_says_what_it_is_and_who_one_is() {
    with_each_kubectl(|kubectl, _| {
        assert!(kubectl.run("version").unwrap().contains("Server Version: v1.33"));
        assert!(kubectl.run("cluster-info").unwrap().contains("https://127.0.0.1:"));
        assert!(kubectl.run("auth whoami").unwrap().contains("system:admin"));
        assert_eq!(kubectl.run("auth can-i create pods").unwrap(), "yes\n");
        assert!(kubectl.run("auth can-i --list").unwrap().contains("*.*"));
        assert_eq!(kubectl.run("get --raw /healthz").unwrap(), "ok");
        assert!(kubectl.run("get --raw /api/v1/namespaces/default").unwrap().contains("\"phase\":\"Active\""));
        assert!(kubectl.run("get --raw /nope").unwrap_err().contains("could not find the requested resource"));
        assert!(kubectl.run("top nodes").unwrap().contains("CPU(cores)"));
        // A token is three parts, and says whose it is to whoever takes it.
        assert_eq!(kubectl.run("create token default").unwrap().matches('.').count(), 2);
    });
}

#[test]
fn an_autoscaler_is_the_same_in_both_versions_and_nothing_of_it_is_warned_of() {
    with_each_kubectl(|kubectl, _| {
        kubectl.send("apply", EVERYTHING).unwrap();
        kubectl.run("delete hpa it -n all").unwrap();
        let output = kubectl.command("autoscale deploy/it -n all --min=2 --max=5 --cpu-percent=70").output().unwrap();
        let warned = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success() && !warned.contains("Warning"), "{warned}");
        let v2 = "get hpa it -n all -o jsonpath={.spec.metrics[0].resource.target.averageUtilization}";
        assert_eq!(kubectl.run(v2).unwrap(), "70");
        let v1 = "get horizontalpodautoscalers.v1.autoscaling it -n all -o jsonpath={.apiVersion}:{.spec.targetCPUUtilizationPercentage}";
        assert_eq!(kubectl.run(v1).unwrap(), "autoscaling/v1:70");
        kubectl
            .run(
                "patch horizontalpodautoscalers.v1.autoscaling it -n all --type=merge -p {\"spec\":{\"targetCPUUtilizationPercentage\":55}}",
            )
            .unwrap();
        assert_eq!(kubectl.run(v2).unwrap(), "55");
        let row = kubectl.run("get hpa -n all --no-headers").unwrap();
        assert!(row.contains("Deployment/it   cpu: <unknown>/55%   2     5     "), "{row}");
    });
}

#[test]
fn events_are_listed_in_both_versions() {
    with_each_kubectl(|kubectl, _| {
        kubectl.send("apply", EVERYTHING).unwrap();
        kubectl.run("wait -n all pod/it --for=condition=PodScheduled=false --timeout=60s").unwrap();
        let selector = "--field-selector=involvedObject.kind=Deployment,involvedObject.name=it";
        kubectl.run("wait -n all deploy/it --for=condition=Progressing --timeout=60s").unwrap();
        let rows = kubectl.run(&format!("get events -n all {selector}")).unwrap();
        assert!(rows.starts_with("LAST SEEN   TYPE     REASON              OBJECT          MESSAGE\n"), "{rows}");
        assert!(rows.contains("ScalingReplicaSet   deployment/it   Scaled up replica set"), "{rows}");
        let view = "get events.events.k8s.io -n all --field-selector=regarding.name=it,reason=ScalingReplicaSet";
        assert!(kubectl.run(&format!("{view} -o jsonpath={{.items[0].note}}")).unwrap().starts_with("Scaled up"));
        assert!(kubectl.run("events -n all --for deployment/it").unwrap().contains("ScalingReplicaSet"));
        assert!(
            kubectl
                .run("get cm --field-selector=data.a=b")
                .unwrap_err()
                .contains("\"data.a\" is not a known field selector")
        );
    });
}

#[test]
fn nobody_gets_in_without_a_certificate() {
    with_each_kubectl(|kubectl, coracle| {
        kubectl.run("get ns").unwrap();
        let own = fs::read_to_string(coracle.kubeconfig()).unwrap();
        let stranger: String = own
            .lines()
            .filter(|line| !line.contains("client-key-data"))
            .map(|line| match line.split_once("client-certificate-data") {
                Some((indent, _)) => format!("{indent}token: nonsense\n"),
                None => format!("{line}\n"),
            })
            .collect();
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), stranger).unwrap();
        for version in testkit::KUBECTL_VERSIONS {
            let Some(stranger) = Kubectl::version(version, file.path()) else { continue };
            for arguments in ["get ns", "get --raw /metrics", "api-resources"] {
                let refused = stranger.run(arguments).unwrap_err();
                assert!(
                    refused.contains("Unauthorized") || refused.contains("must be logged in"),
                    "{arguments}: {refused}"
                );
            }
            assert_eq!(stranger.run("get --raw /readyz").unwrap(), "ok", "that is for everybody");
        }
    });
}

#[test]
fn a_watch_prints_objects_in_every_format() {
    with_each_kubectl(|kubectl, _| {
        kubectl.run("create configmap one --from-literal=a=b").unwrap();
        for (format, line) in
            [("name", "configmap/one"), ("json", "{"), ("jsonpath={.data.a}", "b"), ("yaml", "apiVersion: v1")]
        {
            let watch = format!("get cm one -w -o {format}");
            let mut child = kubectl.command(&watch).stdout(Stdio::piped()).spawn().unwrap();
            let mut first = vec![0; line.len()];
            child.stdout.take().unwrap().read_exact(&mut first).unwrap();
            assert_eq!(String::from_utf8_lossy(&first), line, "{format}");
            child.kill().unwrap();
            child.wait().unwrap();
        }
    });
}
