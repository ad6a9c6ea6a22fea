//! Rows as upstream prints them, golden.

use objects::kinds;

use super::*;

const NOW: &str = "2026-01-10T00:00:00Z";

fn now() -> Timestamp {
    NOW.parse().unwrap()
}

fn kind(name: &str) -> &'static Kind {
    kinds::stored().find(|kind| kind.kind == name).unwrap()
}

/// The cells of one object, with `|` between them; those of `-o wide` after `||`.
fn row(name: &str, object: Value) -> String {
    let table = table(kind(name), &[&object], None, now());
    let cells = table["rows"][0]["cells"].as_array().unwrap().clone();
    let definitions = table["columnDefinitions"].as_array().unwrap();
    let pick = |wide: i64| -> Vec<String> {
        let cells = cells.iter().zip(definitions).filter(|(_, definition)| definition["priority"] == wide);
        cells.map(|(cell, _)| cell.as_str().map_or_else(|| cell.to_string(), str::to_owned)).collect()
    };
    format!("{}||{}", pick(0).join("|"), pick(1).join("|"))
}

fn headings(name: &str) -> String {
    let table = table(kind(name), &[], None, now());
    let names = table["columnDefinitions"].as_array().unwrap().iter().map(|c| c["name"].as_str().unwrap().to_owned());
    names.collect::<Vec<_>>().join("|")
}

#[test]
fn headings_are_upstreams() {
    for (kind, expected) in [
        ("Pod", "Name|Ready|Status|Restarts|Age|IP|Node|Nominated Node|Readiness Gates"),
        ("Deployment", "Name|Ready|Up-to-date|Available|Age|Containers|Images|Selector"),
        ("ReplicaSet", "Name|Desired|Current|Ready|Age|Containers|Images|Selector"),
        ("Service", "Name|Type|Cluster-IP|External-IP|Port(s)|Age|Selector"),
        ("EndpointSlice", "Name|AddressType|Ports|Endpoints|Age"),
        ("Namespace", "Name|Status|Age"),
        ("Node", "Name|Status|Roles|Age|Version|Internal-IP|External-IP|OS-Image|Kernel-Version|Container-Runtime"),
        ("ConfigMap", "Name|Data|Age"),
        ("Secret", "Name|Type|Data|Age"),
        ("ServiceAccount", "Name|Secrets|Age"),
        ("Event", "Last Seen|Type|Reason|Object|Subobject|Source|Message|First Seen|Count|Name"),
        ("Lease", "Name|Holder|Age"),
        ("HorizontalPodAutoscaler", "Name|Reference|Targets|MinPods|MaxPods|Replicas|Age"),
        ("GatewayClass", "Name|Controller|Accepted|Age|Description"),
        ("StatefulSet", "Name|Ready|Age|Containers|Images"),
        ("DaemonSet", "Name|Desired|Current|Ready|Up-to-date|Available|Node Selector|Age|Containers|Images|Selector"),
        ("Job", "Name|Status|Completions|Duration|Age|Containers|Images|Selector"),
        ("CronJob", "Name|Schedule|Timezone|Suspend|Active|Last Schedule|Age|Containers|Images|Selector"),
        ("ReplicationController", "Name|Desired|Current|Ready|Age|Containers|Images|Selector"),
        ("ControllerRevision", "Name|Controller|Revision|Age"),
        ("PodTemplate", "Name|Containers|Images|Pod Labels"),
        ("Ingress", "Name|Class|Hosts|Address|Ports|Age"),
        ("IngressClass", "Name|Controller|Parameters|Age"),
        ("NetworkPolicy", "Name|Pod-Selector|Age"),
        ("PodDisruptionBudget", "Name|Min Available|Max Unavailable|Allowed Disruptions|Age"),
        ("Role", "Name|Created At"),
        ("ClusterRole", "Name|Created At"),
        ("RoleBinding", "Name|Role|Age|Users|Groups|ServiceAccounts"),
        ("ClusterRoleBinding", "Name|Role|Age|Users|Groups|ServiceAccounts"),
        ("ResourceQuota", "Name|Request|Limit|Age"),
        ("LimitRange", "Name|Created At"),
        ("APIService", "Name|Service|Available|Age"),
        ("PriorityClass", "Name|Value|Global-Default|Age|PreemptionPolicy"),
        ("StorageClass", "Name|Provisioner|ReclaimPolicy|VolumeBindingMode|AllowVolumeExpansion|Age"),
        (
            "PersistentVolume",
            "Name|Capacity|Access Modes|Reclaim Policy|Status|Claim|StorageClass|VolumeAttributesClass|Reason|Age|VolumeMode",
        ),
        (
            "PersistentVolumeClaim",
            "Name|Status|Volume|Capacity|Access Modes|StorageClass|VolumeAttributesClass|Age|VolumeMode",
        ),
        ("Endpoints", "Name|Endpoints|Age"),
        ("RuntimeClass", "Name|Handler|Age"),
        ("CertificateSigningRequest", "Name|Age|SignerName|Requestor|RequestedDuration|Condition"),
        ("Gateway", "Name|Class|Address|Programmed|Age"),
        ("ListenerSet", "Name|Accepted|Programmed|Age"),
        ("HTTPRoute", "Name|Hostnames|Age"),
        ("GRPCRoute", "Name|Hostnames|Age"),
        ("TLSRoute", "Name|Age"),
        ("TCPRoute", "Name|Age"),
        ("UDPRoute", "Name|Age"),
        ("BackendTLSPolicy", "Name|Age"),
        ("ReferenceGrant", "Name|Age"),
    ] {
        assert_eq!(headings(kind), expected, "{kind}");
    }
}

#[test]
fn ages_read_as_kubectls() {
    let ago = |seconds: i64| {
        let then = now().checked_sub(jiff::SignedDuration::from_secs(seconds)).unwrap();
        age(&then.to_string(), now())
    };
    for (seconds, text) in [
        (-5, "<invalid>"),
        (-1, "0s"),
        (5, "5s"),
        (119, "119s"),
        (125, "2m5s"),
        (900, "15m"),
        (11_000, "3h3m"),
        (90_000, "25h"),
        (180_000, "2d2h"),
        (400 * 86_400, "400d"),
        (800 * 86_400, "2y70d"),
        (4000 * 86_400, "10y"),
    ] {
        assert_eq!(ago(seconds), text);
    }
    assert_eq!(age("", now()), "<unknown>");
}

fn pod(status: Value) -> Value {
    json!({"metadata": {"name": "p", "creationTimestamp": "2026-01-09T23:59:00Z"}, "status": status,
        "spec": {"nodeName": "n", "containers": [{"name": "a"}, {"name": "b"}],
            "initContainers": [{"name": "i"}, {"name": "s", "restartPolicy": "Always"}]}})
}

#[test]
fn a_pods_row_says_what_is_the_matter() {
    let running =
        |name: &str, ready: bool| json!({"name": name, "ready": ready, "started": true, "state": {"running": {}}});
    let done = json!({"name": "i", "state": {"terminated": {"exitCode": 0, "reason": "Completed"}}});
    let restarted = json!({"name": "b", "restartCount": 3, "state": {"waiting": {"reason": "CrashLoopBackOff"}},
        "lastState": {"terminated": {"finishedAt": "2026-01-09T23:58:00Z"}}});
    for (status, expected) in [
        (json!({"phase": "Pending"}), "0/3|Pending|0"),
        (
            json!({"phase": "Pending", "initContainerStatuses": [{"name": "i", "state": {"running": {}}}]}),
            "0/3|Init:0/2|0",
        ),
        (
            json!({"phase": "Pending", "initContainerStatuses": [{"name": "i", "state": {"terminated": {"exitCode": 2}}}]}),
            "0/3|Init:ExitCode:2|0",
        ),
        (
            json!({"phase": "Pending", "initContainerStatuses": [done, {"name": "s", "state": {"waiting": {"reason": "ErrImagePull"}}}]}),
            "0/3|Init:ErrImagePull|0",
        ),
        (
            json!({"phase": "Running", "initContainerStatuses": [done, running("s", true)],
                "containerStatuses": [running("a", true), running("b", true)]}),
            "3/3|Running|0",
        ),
        (
            json!({"phase": "Running", "initContainerStatuses": [done, running("s", false)],
                "containerStatuses": [running("a", true), restarted]}),
            "1/3|CrashLoopBackOff|3 (2m ago)",
        ),
        (
            json!({"phase": "Running", "conditions": [{"type": "Ready", "status": "False"}],
                "containerStatuses": [running("a", true), {"name": "b", "state": {"terminated": {"reason": "Completed"}}}]}),
            "1/3|NotReady|0",
        ),
        (
            json!({"phase": "Failed", "containerStatuses": [{"name": "a", "state": {"terminated": {"exitCode": 137, "signal": 9}}}]}),
            "0/3|Signal:9|0",
        ),
        (json!({"phase": "Failed", "reason": "Evicted"}), "0/3|Evicted|0"),
    ] {
        assert_eq!(row("Pod", pod(status)), format!("p|{expected}|60s||<none>|n|<none>|<none>"));
    }
    let mut going = pod(json!({"phase": "Running"}));
    going["metadata"]["deletionTimestamp"] = json!(NOW);
    assert!(row("Pod", going).contains("|Terminating|"));
    let failed = pod(json!({"phase": "Failed"}));
    assert_eq!(table(kind("Pod"), &[&failed], None, now())["rows"][0]["conditions"][0]["reason"], "Failed");
}

#[test]
fn workloads_show_their_counts_and_what_they_run() {
    let spec = json!({"replicas": 3, "selector": {"matchLabels": {"app": "a"}},
        "template": {"spec": {"containers": [{"name": "x", "image": "i:1"}, {"name": "y", "image": "j:2"}]}}});
    let status = json!({"replicas": 4, "readyReplicas": 2, "updatedReplicas": 1, "availableReplicas": 2});
    let object = json!({"metadata": {"name": "d", "creationTimestamp": NOW}, "spec": spec, "status": status});
    assert_eq!(row("Deployment", object.clone()), "d|2/3|1|2|0s||x,y|i:1,j:2|app=a");
    assert_eq!(row("ReplicaSet", object), "d|3|4|2|0s||x,y|i:1,j:2|app=a");
}

#[test]
fn services_show_where_they_are_reached() {
    let service =
        |spec: Value| row("Service", json!({"metadata": {"name": "s", "creationTimestamp": NOW}, "spec": spec}));
    let ports = json!([{"port": 80, "protocol": "TCP", "nodePort": 30080}, {"port": 53, "protocol": "UDP"}]);
    let node_port =
        json!({"type": "NodePort", "clusterIPs": ["10.43.0.9"], "ports": ports, "selector": {"b": "2", "a": "1"}});
    assert_eq!(service(node_port), "s|NodePort|10.43.0.9|<none>|80:30080/TCP,53/UDP|0s||a=1,b=2");
    assert_eq!(
        service(json!({"type": "ExternalName", "externalName": "a.b"})),
        "s|ExternalName|<none>|a.b|<none>|0s||<none>"
    );
    assert_eq!(
        service(json!({"type": "ClusterIP", "clusterIPs": ["None"]})),
        "s|ClusterIP|None|<none>|<none>|0s||<none>"
    );
    assert!(service(json!({"type": "LoadBalancer"})).contains("|<pending>|"));
    let slice = json!({"metadata": {"name": "e", "creationTimestamp": NOW}, "addressType": "IPv4", "ports": [{"port": 80}, {}],
        "endpoints": [{"addresses": ["1.1.1.1"]}, {"addresses": ["1.1.1.2"]}, {"addresses": ["1.1.1.3"]}, {"addresses": ["1.1.1.4"]}]});
    assert_eq!(row("EndpointSlice", slice), "e|IPv4|80,*|1.1.1.1,1.1.1.2,1.1.1.3 + 1 more...|0s||");
}

#[test]
fn nodes_show_their_state_and_what_they_are() {
    let node = json!({"metadata": {"name": "n", "creationTimestamp": NOW, "labels": {"node-role.kubernetes.io/worker": ""}},
        "spec": {"unschedulable": true}, "status": {"conditions": [{"type": "Ready", "status": "True"}],
            "addresses": [{"type": "InternalIP", "address": "10.0.0.1"}], "nodeInfo": {"kubeletVersion": "v1", "osImage": "Debian"}}});
    let expected = "n|Ready,SchedulingDisabled|worker|0s|v1||10.0.0.1|<none>|Debian|<unknown>|<unknown>";
    assert_eq!(row("Node", node), expected);
}

#[test]
fn events_show_when_and_about_what() {
    let event = json!({"metadata": {"name": "e"}, "type": "Normal", "reason": "Started", "message": " hi\n", "count": 4,
        "involvedObject": {"kind": "Pod", "name": "p", "fieldPath": "spec.containers{c}"}, "source": {"component": "kubelet", "host": "n"},
        "firstTimestamp": "2026-01-09T23:00:00Z", "lastTimestamp": "2026-01-09T23:59:50Z"});
    assert_eq!(row("Event", event), "10s|Normal|Started|pod/p|hi||spec.containers{c}|kubelet, n|60m|4|e");
    let new = json!({"metadata": {"name": "e"}, "eventTime": "2026-01-09T23:59:00.000000Z", "reportingComponent": "c"});
    assert_eq!(row("Event", new), "60s|||||||c|60s|1|e");
}

#[test]
fn autoscalers_show_what_is_measured_against_what_is_wanted() {
    let autoscaler = |metrics: Value, current: Value| {
        row(
            "HorizontalPodAutoscaler",
            json!({"metadata": {"name": "h", "creationTimestamp": NOW},
            "spec": {"scaleTargetRef": {"kind": "Deployment", "name": "d"}, "minReplicas": 1, "maxReplicas": 5, "metrics": metrics},
            "status": {"currentReplicas": 2, "currentMetrics": current}}),
        )
    };
    let cpu = json!({"type": "Resource", "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 80}}});
    let now = json!({"type": "Resource", "resource": {"name": "cpu", "current": {"averageUtilization": 12, "averageValue": "3m"}}});
    let queue = json!({"type": "External", "external": {"target": {"type": "AverageValue", "averageValue": "5"}}});
    let shown = |targets: &str| format!("h|Deployment/d|{targets}|1|5|2|0s||");
    assert_eq!(autoscaler(json!([]), json!([])), shown("<none>"));
    assert_eq!(autoscaler(json!([cpu]), json!([])), shown("cpu: <unknown>/80%"));
    assert_eq!(autoscaler(json!([cpu]), json!([now])), shown("cpu: 12%/80%"));
    let three = autoscaler(json!([cpu, queue, cpu]), json!([now]));
    assert_eq!(three, shown("cpu: 12%/80%, <unknown>/5 (avg) + 1 more..."));
}

#[test]
fn gateway_kinds_show_what_their_definitions_say() {
    let metadata = json!({"name": "g", "creationTimestamp": NOW});
    let gateway = json!({"metadata": metadata, "spec": {"gatewayClassName": "coracle"}});
    assert_eq!(row("Gateway", gateway), "g|coracle|null|null|0s||");
    let route = json!({"metadata": metadata, "spec": {"hostnames": ["a.example", "b.example"]}});
    assert_eq!(row("HTTPRoute", route), r#"g|["a.example","b.example"]|0s||"#);
}

#[test]
fn jobs_show_how_far_they_are_and_how_long_it_took() {
    let job = |spec: Value, status: Value| {
        let cells =
            row("Job", json!({"metadata": {"name": "j", "creationTimestamp": NOW}, "spec": spec, "status": status}));
        cells.split("||").next().unwrap().to_owned()
    };
    let held = |name: &str| json!([{"type": name, "status": "True"}]);
    let one = json!({"completions": 1});
    let done = json!({"succeeded": 1, "startTime": "2026-01-09T23:50:00Z", "completionTime": "2026-01-09T23:52:05Z", "conditions": held("Complete")});
    assert_eq!(job(one.clone(), done), "j|Complete|1/1|2m5s|0s");
    let begun = json!({"startTime": "2026-01-09T23:59:00Z"});
    assert_eq!(job(one.clone(), begun.clone()), "j|Running|0/1|60s|0s");
    let ended = |name: &str| json!({"startTime": "2026-01-09T23:59:00Z", "conditions": held(name)});
    assert_eq!(job(one.clone(), ended("Failed")), "j|Failed|0/1|60s|0s");
    assert_eq!(job(one, ended("Suspended")), "j|Suspended|0/1|60s|0s");
    assert_eq!(job(json!({"parallelism": 3}), begun), "j|Running|0/1 of 3|60s|0s");
}

#[test]
fn claims_and_volumes_show_whom_they_have() {
    let metadata = json!({"name": "v", "creationTimestamp": NOW});
    let claim = json!({"metadata": metadata, "spec": {"volumeName": "pv", "storageClassName": "fast", "volumeMode": "Filesystem"},
        "status": {"phase": "Bound", "capacity": {"storage": "1Gi"}, "accessModes": ["ReadWriteOnce", "ReadOnlyMany"]}});
    assert_eq!(row("PersistentVolumeClaim", claim), "v|Bound|pv|1Gi|RWO,ROX|fast|<unset>|0s||Filesystem");
    let volume = json!({"metadata": metadata, "spec": {"capacity": {"storage": "1Gi"}, "accessModes": ["ReadWriteOncePod"],
        "persistentVolumeReclaimPolicy": "Retain", "claimRef": {"namespace": "ns", "name": "c"}}, "status": {"phase": "Bound"}});
    assert_eq!(row("PersistentVolume", volume), "v|1Gi|RWOP|Retain|Bound|ns/c||<unset>||0s||<unset>");
    let mut class = json!({"metadata": metadata, "provisioner": "p"});
    class["metadata"]["annotations"] = json!({"storageclass.kubernetes.io/is-default-class": "true"});
    assert_eq!(row("StorageClass", class), "v (default)|p|Delete|Immediate|false|0s||");
}

#[test]
fn what_governs_shows_whom_and_how_much() {
    let metadata = json!({"name": "x", "creationTimestamp": NOW});
    let binding = json!({"metadata": metadata, "roleRef": {"kind": "Role", "name": "r"}, "subjects": [
        {"kind": "User", "name": "u"}, {"kind": "User", "name": "v"}, {"kind": "ServiceAccount", "name": "a", "namespace": "ns"}]});
    assert_eq!(row("RoleBinding", binding), "x|Role/r|0s||u, v||ns/a");
    let quota = json!({"metadata": metadata, "status": {"hard": {"pods": "10", "limits.cpu": "2", "requests.cpu": "1"},
        "used": {"pods": "3", "limits.cpu": "500m"}}});
    assert_eq!(row("ResourceQuota", quota), "x|pods: 3/10, requests.cpu: 0/1|limits.cpu: 500m/2|0s||");
    let ingress = json!({"metadata": metadata, "spec": {"ingressClassName": "c", "tls": [{}],
        "rules": [{"host": "a"}, {"host": "b"}, {"host": "c"}, {"host": "d"}]},
        "status": {"loadBalancer": {"ingress": [{"ip": "192.0.2.1"}]}}});
    assert_eq!(row("Ingress", ingress), "x|c|a,b,c + 1 more...|192.0.2.1|80, 443|0s||");
    let budget = json!({"metadata": metadata, "spec": {"maxUnavailable": 1}, "status": {"disruptionsAllowed": 2}});
    assert_eq!(row("PodDisruptionBudget", budget), "x|N/A|1|2|0s||");
}
