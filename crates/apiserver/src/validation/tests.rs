//! Mistakes in objects of the built-in kinds, and what is said of them.

use objects::kinds;
use serde_json::json;

use super::*;

fn kind(name: &str) -> &'static Kind {
    kinds::stored().find(|kind| kind.kind == name).unwrap()
}

fn defaulted(name: &str, mut object: Value) -> Value {
    object["metadata"]["name"] = object["metadata"].get("name").cloned().unwrap_or_else(|| "a".into());
    crate::defaults::apply(kind(name), &mut object);
    object
}

fn said(causes: Vec<Cause>) -> Vec<String> {
    causes.into_iter().map(|cause| format!("{}: {}", cause.field, cause.message)).collect()
}

fn wrong(name: &str, object: Value) -> Vec<String> {
    said(create(kind(name), kind(name), &defaulted(name, object)))
}

/// What is wrong with the only container of a Pod.
fn container(more: Value) -> Vec<String> {
    let mut container = json!({"name": "c", "image": "i"});
    container.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    wrong("Pod", json!({"spec": {"containers": [container]}}))
}

fn one(found: &[String], expected: &str) {
    assert!(found.len() == 1 && found[0].contains(expected), "{expected}: {found:?}");
}

fn deployment(selector: Value, strategy: Value) -> Value {
    json!({"spec": {"selector": selector, "strategy": strategy, "template": {"metadata": {"labels": {"app": "a"}},
        "spec": {"containers": [{"name": "a", "image": "b"}]}}}})
}

#[test]
fn a_deployment_must_select_its_own_pods() {
    let exact = |app: &str| json!({"matchLabels": {"app": app}});
    assert!(wrong("Deployment", deployment(exact("a"), json!({}))).is_empty());
    let other = wrong("Deployment", deployment(exact("b"), json!({})));
    let expected = "spec.template.metadata.labels: Invalid value: map[string]string{\"app\":\"a\"}: `selector` does not match template `labels`";
    assert_eq!(other, [expected]);
    one(&wrong("Deployment", deployment(json!({}), json!({}))), "empty selector is invalid for deployment");
    let operator = json!({"matchExpressions": [{"key": "app", "operator": "Is"}]});
    one(&wrong("Deployment", deployment(operator, json!({}))), "not a valid selector operator");
    let (old, new) = (defaulted("Deployment", deployment(exact("a"), json!({}))), deployment(exact("x"), json!({})));
    let found = said(update(kind("Deployment"), kind("Deployment"), &defaulted("Deployment", new), &old));
    let expected = "spec.selector: Invalid value: v1.LabelSelector{MatchLabels:map[string]string{\"app\":\"x\"}, MatchExpressions:[]v1.LabelSelectorRequirement(nil)}: field is immutable";
    assert_eq!(found[0], expected);
}

#[test]
fn a_strategy_lets_the_rollout_move() {
    let strategy = |strategy: Value| wrong("Deployment", deployment(json!({"matchLabels": {"app": "a"}}), strategy));
    let rolling = |down: Value, up: Value| strategy(json!({"rollingUpdate": {"maxUnavailable": down, "maxSurge": up}}));
    assert!(rolling(json!(0), json!("10%")).is_empty());
    one(&rolling(json!(0), json!("0%")), "may not be 0 when `maxSurge` is 0");
    one(&rolling(json!("1.5%"), json!(1)), "a valid percent string must be a numeric string");
    one(&rolling(json!("101%"), json!(1)), "must not be greater than 100%");
    one(
        &strategy(json!({"type": "Recreate", "rollingUpdate": {}})),
        "may not be specified when strategy `type` is 'Recreate'",
    );
    one(&strategy(json!({"type": "BlueGreen"})), "Unsupported value: \"BlueGreen\"");
}

#[test]
fn a_containers_mistakes_are_named_by_their_paths() {
    for (mistake, expected) in [
        (json!({"name": "A"}), "spec.containers[0].name: Invalid value: \"A\""),
        (json!({"image": ""}), "spec.containers[0].image: Required value"),
        (json!({"image": " i"}), "must not have leading or trailing whitespace"),
        (json!({"imagePullPolicy": "Sometimes"}), "imagePullPolicy: Unsupported value: \"Sometimes\""),
        (json!({"ports": [{"containerPort": 70000}]}), "must be between 1 and 65535, inclusive"),
        (
            json!({"ports": [{"containerPort": 1, "name": "Http"}]}),
            "must contain only alpha-numeric characters (a-z, 0-9)",
        ),
        (
            json!({"ports": [{"containerPort": 1, "name": "a"}, {"containerPort": 2, "name": "a"}]}),
            "ports[1].name: Duplicate value: \"a\"",
        ),
        (
            json!({"ports": [{"containerPort": 1, "protocol": "HTTP"}]}),
            "protocol: Unsupported value: \"HTTP\": supported values: \"SCTP\"",
        ),
        (json!({"env": [{"name": ""}]}), "env[0].name: Required value"),
        (
            json!({"env": [{"name": "A", "value": "x", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}]}),
            "may not be specified when `value` is not empty",
        ),
        (json!({"env": [{"name": "A", "valueFrom": {}}]}), "must specify one of: `fieldRef`"),
        (
            json!({"env": [{"name": "A", "valueFrom": {"fieldRef": {"fieldPath": "spec.x"}}}]}),
            "field label not supported: spec.x",
        ),
        (json!({"envFrom": [{}]}), "must specify one of: `configMapRef` or `secretRef`"),
        (json!({"volumeMounts": [{"name": "v", "mountPath": "/v"}]}), "volumeMounts[0].name: Not found: \"v\""),
        (
            json!({"resources": {"limits": {"cpu": "1"}, "requests": {"cpu": "2"}}}),
            "spec.containers[0].resources.requests: Invalid value: \"2\": must be less than or equal to cpu limit of 1",
        ),
        (json!({"resources": {"limits": {"cpu": "-1"}, "requests": {"cpu": "-1"}}}), ""),
        (json!({"resources": {"limits": {"gpu": "1"}, "requests": {}}}), "must be a standard resource for containers"),
        (json!({"livenessProbe": {}}), "livenessProbe: Required value: must specify a handler type"),
        (
            json!({"livenessProbe": {"tcpSocket": {"port": 1}, "exec": {"command": ["a"]}}}),
            "may not specify more than 1 handler type",
        ),
        (json!({"livenessProbe": {"tcpSocket": {"port": 1}, "successThreshold": 2}}), "must be 1"),
        (json!({"readinessProbe": {"httpGet": {"port": "a_b"}}}), "readinessProbe.httpGet.port: Invalid value"),
        (json!({"lifecycle": {"preStop": {}}}), "lifecycle.preStop: Required value: must specify a handler type"),
        (json!({"restartPolicy": "Always"}), "may not be set for non-init containers"),
        (
            json!({"securityContext": {"privileged": true, "allowPrivilegeEscalation": false}}),
            "cannot set `allowPrivilegeEscalation` to false",
        ),
        (json!({"securityContext": {"runAsUser": -1}}), "must be between 0 and 2147483647"),
    ] {
        let found = container(mistake);
        assert!(!found.is_empty() && found[0].contains(expected), "{expected}: {found:?}");
    }
}

#[test]
fn a_pods_mistakes_are_named_by_their_paths() {
    let pod = |spec: Value| {
        let mut all = json!({"containers": [{"name": "c", "image": "i"}]});
        all.as_object_mut().unwrap().extend(spec.as_object().unwrap().clone());
        wrong("Pod", json!({"spec": all}))
    };
    assert!(pod(json!({"initContainers": [{"name": "s", "image": "i", "restartPolicy": "Always", "readinessProbe": {"tcpSocket": {"port": 1}}}]})).is_empty());
    for (mistake, expected) in [
        (json!({"containers": []}), "spec.containers: Required value"),
        (
            json!({"initContainers": [{"name": "c", "image": "i"}]}),
            "spec.initContainers[0].name: Duplicate value: \"c\"",
        ),
        (
            json!({"initContainers": [{"name": "s", "image": "i", "livenessProbe": {"tcpSocket": {"port": 1}}}]}),
            "may not be set for init containers",
        ),
        (json!({"restartPolicy": "Sometimes"}), "spec.restartPolicy: Unsupported value: \"Sometimes\""),
        (json!({"terminationGracePeriodSeconds": -1}), "must be greater than or equal to 0"),
        (json!({"dnsPolicy": "None", "dnsConfig": {}}), "must provide at least one DNS nameserver"),
        (json!({"nodeSelector": {"a b": "c"}}), "spec.nodeSelector: Invalid value: \"a b\""),
        (
            json!({"tolerations": [{"operator": "Exists", "value": "x"}]}),
            "value must be empty when `operator` is 'Exists'",
        ),
        (json!({"volumes": [{"name": "v", "hostPath": {"path": "/a/../b"}}]}), "must not contain '..'"),
        (
            json!({"volumes": [{"name": "v", "emptyDir": {}, "hostPath": {"path": "/"}}]}),
            "may not specify more than 1 volume type",
        ),
        (json!({"volumes": [{"name": "v", "configMap": {}}]}), "spec.volumes[0].configMap.name: Required value"),
        (
            json!({"volumes": [{"name": "v", "secret": {"secretName": "s", "defaultMode": 512}}]}),
            "must be a number between 0 and 0777 (octal)",
        ),
        (json!({"volumes": [{"name": "v"}, {"name": "v"}]}), "spec.volumes[1].name: Duplicate value: \"v\""),
    ] {
        one(&pod(mistake), expected);
    }
}

#[test]
fn of_a_pod_only_images_and_a_few_more_change() {
    let pod = |image: &str, args: Value, count: usize| {
        let containers: Vec<Value> =
            (0..count).map(|i| json!({"name": format!("c{i}"), "image": image, "args": args})).collect();
        defaulted(
            "Pod",
            json!({"spec": {"containers": containers, "tolerations": [{"key": "a", "operator": "Exists"}]}}),
        )
    };
    let old = pod("a", json!(["x"]), 1);
    let change = |new: Value| said(update(kind("Pod"), kind("Pod"), &new, &old));
    assert!(change(pod("b", json!(["x"]), 1)).is_empty());
    one(&change(pod("b", json!(["y"]), 1)), "spec: Forbidden: pod updates may not change fields other than");
    one(&change(pod("b", json!(["x"]), 2)), "spec.containers: Forbidden: pod updates may not add or remove containers");
    let mut untolerant = old.clone();
    untolerant["spec"]["tolerations"] = json!([]);
    one(&change(untolerant), "spec.tolerations: Forbidden: existing toleration can not be modified");
}

#[test]
fn a_services_mistakes_are_named_by_their_paths() {
    let service = |spec: Value| wrong("Service", json!({"spec": spec}));
    assert!(service(json!({"ports": [{"port": 80, "targetPort": "http"}]})).is_empty());
    assert!(service(json!({"clusterIP": "None"})).is_empty());
    for (mistake, expected) in [
        (json!({}), "spec.ports: Required value"),
        (json!({"type": "Cluster", "ports": [{"port": 1}]}), "spec.type: Unsupported value: \"Cluster\""),
        (json!({"ports": [{"port": 1, "name": "a"}, {"port": 2}]}), "spec.ports[1].name: Required value"),
        (json!({"ports": [{"port": 1, "name": "a"}, {"port": 2, "name": "a"}]}), "Duplicate value: \"a\""),
        (json!({"ports": [{"port": 1, "name": "a"}, {"port": 1, "name": "b"}]}), "spec.ports[1]: Duplicate value"),
        (json!({"ports": [{"port": 0}]}), "must be between 1 and 65535, inclusive"),
        (json!({"ports": [{"port": 1, "nodePort": 30000}]}), "may not be used when `type` is 'ClusterIP'"),
        (json!({"ports": [{"port": 1, "targetPort": "A"}]}), "spec.ports[0].targetPort: Invalid value"),
        (json!({"type": "ExternalName"}), "spec.externalName: Required value"),
        (
            json!({"type": "NodePort", "clusterIP": "None", "ports": [{"port": 1}]}),
            "may not be set to 'None' for NodePort services",
        ),
        (json!({"selector": {"a": "b c"}, "ports": [{"port": 1}]}), "spec.selector: Invalid value: \"b c\""),
    ] {
        let found = service(mistake);
        assert!(!found.is_empty() && found[0].contains(expected), "{expected}: {found:?}");
    }
    let at = |ip: &str| defaulted("Service", json!({"spec": {"clusterIP": ip, "ports": [{"port": 80}]}}));
    let found = said(update(kind("Service"), kind("Service"), &at("10.43.0.2"), &at("10.43.0.1")));
    assert_eq!(found, ["spec.clusterIPs[0]: Invalid value: []string{\"10.43.0.2\"}: may not change once set"]);
}

#[test]
fn an_autoscaler_wants_something_possible() {
    let autoscaler = |spec: Value| {
        let mut all = json!({"scaleTargetRef": {"kind": "Deployment", "name": "d"}, "maxReplicas": 3});
        all.as_object_mut().unwrap().extend(spec.as_object().unwrap().clone());
        wrong("HorizontalPodAutoscaler", json!({"spec": all}))
    };
    assert!(autoscaler(json!({"behavior": {"scaleDown": {"stabilizationWindowSeconds": 60}}})).is_empty());
    assert!(autoscaler(json!({"minReplicas": 0})).is_empty(), "a target may sleep, whatever its metrics");
    let metric =
        |target: Value| json!({"metrics": [{"type": "Resource", "resource": {"name": "cpu", "target": target}}]});
    for (mistake, expected) in [
        (json!({"minReplicas": -1}), "spec.minReplicas: Invalid value: -1: must be greater than or equal to 0"),
        (json!({"maxReplicas": 0}), "spec.maxReplicas: Invalid value: 0: must be greater than 0"),
        (
            json!({"minReplicas": 5}),
            "spec.maxReplicas: Invalid value: 3: must be greater than or equal to `minReplicas`",
        ),
        (json!({"scaleTargetRef": {"kind": "Deployment"}}), "spec.scaleTargetRef.name: Required value"),
        (json!({"metrics": [{"type": "Resource"}]}), "must populate information for the given metric source"),
        (json!({"metrics": [{"type": "Disk"}]}), "spec.metrics[0].type: Unsupported value: \"Disk\""),
        (metric(json!({"type": "Utilization"})), "must set either a target raw value or a target utilization"),
        (metric(json!({"type": "Utilization", "averageUtilization": 0})), "must be positive"),
        (json!({"behavior": {"scaleUp": {"stabilizationWindowSeconds": 3601}}}), "must be less than or equal to 3600"),
        (json!({"behavior": {"scaleUp": {"policies": []}}}), "must specify at least one Policy"),
        (
            json!({"behavior": {"scaleUp": {"policies": [{"type": "Pods", "value": 0, "periodSeconds": 1}]}}}),
            "must be greater than zero",
        ),
    ] {
        one(&autoscaler(mistake), expected);
    }
}

#[test]
fn data_is_kept_within_its_bounds() {
    one(
        &wrong("ConfigMap", json!({"data": {"a b": ""}})),
        "data[a b]: Invalid value: \"a b\": a valid config key must consist",
    );
    one(
        &wrong("ConfigMap", json!({"data": {"a": ""}, "binaryData": {"a": ""}})),
        "duplicate of key present in binaryData",
    );
    one(
        &wrong("ConfigMap", json!({"data": {"a": "x".repeat(1 << 21)}})),
        "Too long: may not be more than 1048576 bytes",
    );
    let tls = wrong("Secret", json!({"type": "kubernetes.io/tls", "data": {"tls.crt": ""}}));
    assert_eq!(tls, ["data[tls.key]: Required value"]);
    let broken = json!({"type": "kubernetes.io/dockerconfigjson", "stringData": {".dockerconfigjson": "{"}});
    one(&wrong("Secret", broken), "data[.dockerconfigjson]: Invalid value: \"<secret contents redacted>\"");
    let frozen = |data: &str| json!({"metadata": {"name": "a"}, "immutable": true, "data": {"a": data}});
    let found = said(update(kind("ConfigMap"), kind("ConfigMap"), &frozen("y"), &frozen("x")));
    assert_eq!(found, ["data: Forbidden: field is immutable when `immutable` is set"]);
}

#[test]
fn metadata_is_checked_in_every_kind() {
    for (metadata, expected) in [
        (json!({"name": "A"}), "metadata.name: Invalid value: \"A\""),
        (json!({"labels": {"a/b/c": ""}}), "metadata.labels: Invalid value: \"a/b/c\""),
        (json!({"annotations": {"a": "x".repeat(1 << 18)}}), "metadata.annotations: Too long"),
        (json!({"finalizers": ["a b"]}), "metadata.finalizers[0]: Invalid value: \"a b\""),
        (
            json!({"ownerReferences": [{"apiVersion": "v1", "kind": "Pod", "name": "p"}]}),
            "ownerReferences[0].uid: Invalid value: \"\": must not be empty",
        ),
    ] {
        one(&wrong("ConfigMap", json!({"metadata": metadata})), expected);
    }
    let going = |finalizers: Value| json!({"metadata": {"name": "a", "deletionTimestamp": "2026-01-01T00:00:00Z", "finalizers": finalizers}});
    let found =
        said(update(kind("ConfigMap"), kind("ConfigMap"), &going(json!(["a/b", "c/d"])), &going(json!(["a/b"]))));
    one(
        &found,
        "no new finalizers can be added if the object is being deleted, found new finalizers []string{\"c/d\"}",
    );
}
