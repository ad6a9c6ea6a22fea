//! What of the API takes effect here: one table, from which warnings and documentation come. What is in no row works.
//!
//! The fields of pods are said once, and hold wherever pods are described: in Pods and in the templates of workloads.

use serde_json::Value;

use crate::kinds::{Kind, known};

/// A field that is stored and has no effect, or a whole kind (an empty path).
struct Row {
    /// The kind; `*` for a pod's spec, wherever it stands.
    kind: &'static str,
    /// Steps from the object's root (a pod's spec in rows of `*`); an element `*` is every element of a list.
    path: &'static [&'static str],
    /// Which values have no effect.
    when: When,
    /// Why, and what to do instead.
    because: &'static str,
}

/// Which values of a field a row is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum When {
    /// Any.
    Set,
    /// This text.
    Is(&'static str),
    /// Any text but this, which is the default.
    IsNot(&'static str),
    /// `true`.
    On,
    /// `false`.
    Off,
    /// The number 0.
    Zero,
}

use When::{Is, IsNot, Off, On, Set};

const fn row(kind: &'static str, path: &'static [&'static str], because: &'static str) -> Row {
    Row { kind, path, when: Set, because }
}

const fn only(kind: &'static str, path: &'static [&'static str], when: When, because: &'static str) -> Row {
    Row { kind, path, when, because }
}

const NO_RUNNER: &str = "it is stored, and no pods are made for it yet";
const NO_STORAGE: &str = "it is stored, and no volumes are provided yet: use emptyDir or hostPath";
const NO_RBAC: &str = "it is stored, and not enforced yet: whoever is known to the API may do everything";
const NO_ADMISSION: &str = "it is stored, and nothing calls it yet";
const NO_CLASS_SCOPE: &str = "no volume has a class of attributes: the quota counts nothing";
const ONE_NODE: &str = "there is one node";
/// What would keep a pod from its node; preferences choose between nodes.
const REQUIRED: &str = "requiredDuringSchedulingIgnoredDuringExecution";

const ROWS: &[Row] = &[
    row("StatefulSet", &[], NO_RUNNER),
    row("DaemonSet", &[], NO_RUNNER),
    row("Job", &[], NO_RUNNER),
    row("CronJob", &[], NO_RUNNER),
    row("PersistentVolume", &[], NO_STORAGE),
    row("PersistentVolumeClaim", &[], NO_STORAGE),
    row("StorageClass", &[], NO_STORAGE),
    row("VolumeAttachment", &[], NO_STORAGE),
    row("CSIDriver", &[], NO_STORAGE),
    row("CSINode", &[], NO_STORAGE),
    row("CSIStorageCapacity", &[], NO_STORAGE),
    row("LimitRange", &[], "it is stored, and no limits are set or refused by it yet"),
    row("RuntimeClass", &[], "it is stored, and pods run by the runtime that Coracle was started with"),
    row("Ingress", &[], "it is stored, and nothing is routed by it yet: use a Gateway and an HTTPRoute"),
    row("IngressClass", &[], "it is stored, and nothing is routed by Ingresses yet: use a Gateway"),
    row("NetworkPolicy", &[], "it is stored, and not enforced yet: every pod reaches every other"),
    only("ResourceQuota", &["spec", "scopes", "*"], Is("VolumeAttributesClass"), NO_CLASS_SCOPE),
    only(
        "ResourceQuota",
        &["spec", "scopeSelector", "matchExpressions", "*", "scopeName"],
        Is("VolumeAttributesClass"),
        NO_CLASS_SCOPE,
    ),
    row("IPAddress", &[], "it is stored; Services get their addresses without it"),
    row("ServiceCIDR", &[], "it is stored; Services get their addresses from the range that Coracle was started with"),
    row("Role", &[], NO_RBAC),
    row("RoleBinding", &[], NO_RBAC),
    row("ClusterRole", &[], NO_RBAC),
    row("ClusterRoleBinding", &[], NO_RBAC),
    row("MutatingWebhookConfiguration", &[], NO_ADMISSION),
    row("ValidatingWebhookConfiguration", &[], NO_ADMISSION),
    row("ValidatingAdmissionPolicy", &[], NO_ADMISSION),
    row("ValidatingAdmissionPolicyBinding", &[], NO_ADMISSION),
    row("FlowSchema", &[], "it is stored; requests are not sorted by it"),
    row("PriorityLevelConfiguration", &[], "it is stored; requests are not sorted by it"),
    row("CertificateSigningRequest", &[], "it is stored, and can be approved or denied; nobody signs it"),
    row(
        "APIService",
        &["spec", "service"],
        "requests are not handed to Services: what the API has, Coracle serves itself",
    ),
    only(
        "Service",
        &["spec", "type"],
        Is("LoadBalancer"),
        "no load balancer is made: use a Gateway to publish it; the cluster IP works",
    ),
    only(
        "Service",
        &["spec", "type"],
        Is("NodePort"),
        "no port of the node is opened: use a Gateway to publish it; the cluster IP works",
    ),
    row("Service", &["spec", "externalIPs"], "external addresses are not served"),
    row("Service", &["spec", "loadBalancerIP"], "no load balancer is made"),
    row("Service", &["spec", "loadBalancerClass"], "no load balancer is made"),
    row("Service", &["spec", "loadBalancerSourceRanges"], "no load balancer is made"),
    row("Service", &["spec", "trafficDistribution"], ONE_NODE),
    only("Service", &["spec", "internalTrafficPolicy"], Is("Local"), ONE_NODE),
    only("Service", &["spec", "ipFamilyPolicy"], IsNot("SingleStack"), "service addresses are IPv4"),
    only("Service", &["spec", "ports", "*", "protocol"], Is("SCTP"), "the cluster IP serves TCP and UDP"),
    row("Service", &["spec", "sessionAffinityConfig"], "a client stays with its pod for as long as the pod is there"),
    row("Gateway", &["spec", "listeners", "*", "tls", "options"], "no option of TLS is known"),
    row("Gateway", &["spec", "infrastructure", "labels"], "nothing is created for a Gateway"),
    row("Gateway", &["spec", "infrastructure", "annotations"], "nothing is created for a Gateway"),
    row("ListenerSet", &["spec", "listeners", "*", "tls", "options"], "no option of TLS is known"),
    row("BackendTLSPolicy", &["spec", "options"], "no option of TLS is known"),
    row("Node", &["spec", "podCIDR"], "pods get their addresses from the range that Coracle was started with"),
    row("ServiceAccount", &["imagePullSecrets"], "images are not pulled with secrets yet"),
    row("*", &["affinity", "podAffinity", REQUIRED], "there is one node: pods are placed whichever others are there"),
    row(
        "*",
        &["affinity", "podAntiAffinity", REQUIRED],
        "there is one node: pods are placed whichever others are there",
    ),
    row("*", &["topologySpreadConstraints"], ONE_NODE),
    only(
        "*",
        &["schedulerName"],
        IsNot("default-scheduler"),
        "no other scheduler runs here: the pod waits until somebody binds it to the node",
    ),
    row("*", &["runtimeClassName"], "pods run by the runtime that Coracle was started with"),
    row("*", &["imagePullSecrets"], "images are not pulled with secrets yet"),
    row("*", &["overhead"], "pods have none"),
    row("*", &["resourceClaims"], "devices are not allocated"),
    row("*", &["resources"], "limits are those of containers"),
    only("*", &["hostUsers"], Off, "pods share the machine's users"),
    row("*", &["securityContext", "appArmorProfile"], "AppArmor profiles are not applied"),
    row("*", &["securityContext", "seLinuxOptions"], "SELinux labels are not applied"),
    row("*", &["securityContext", "sysctls"], "kernel parameters are not set"),
    row("*", &["securityContext", "seccompProfile", "localhostProfile"], "the built-in profile is the only one"),
    only("*", &["securityContext", "supplementalGroupsPolicy"], IsNot("Merge"), "groups are merged"),
    only("*", &["hostPID"], On, "isolated pods have their own processes"),
    only("*", &["hostIPC"], On, "isolated pods have their own IPC"),
    row("*", &["volumes", "*", "persistentVolumeClaim"], NO_STORAGE),
    row("*", &["volumes", "*", "ephemeral"], NO_STORAGE),
    row("*", &["volumes", "*", "csi"], NO_STORAGE),
    row("*", &["volumes", "*", "nfs"], "network file systems are not mounted: use hostPath"),
    row("*", &["volumes", "*", "iscsi"], "network disks are not mounted: use hostPath"),
    row("*", &["volumes", "*", "image"], "images are not mounted as volumes"),
    row("*", &["volumes", "*", "projected", "sources", "*", "clusterTrustBundle"], "trust bundles are not kept"),
    row(
        "*",
        &["volumes", "*", "projected", "sources", "*", "serviceAccountToken"],
        "no token is put into the volume yet: ask for one with `kubectl create token`",
    ),
    row("*", &["containers", "*", "volumeDevices"], "block devices are not given to containers"),
    row("*", &["containers", "*", "lifecycle", "stopSignal"], "containers are stopped with SIGTERM"),
    row("*", &["containers", "*", "resources", "claims"], "devices are not allocated"),
    row("*", &["containers", "*", "resources", "limits", "ephemeral-storage"], "disk space is not limited"),
    row("*", &["containers", "*", "securityContext", "appArmorProfile"], "AppArmor profiles are not applied"),
    row("*", &["containers", "*", "securityContext", "seLinuxOptions"], "SELinux labels are not applied"),
    only("*", &["containers", "*", "securityContext", "procMount"], IsNot("Default"), "/proc is masked"),
    only("*", &["containers", "*", "volumeMounts", "*", "mountPropagation"], IsNot("None"), "mounts do not spread"),
];

/// A row of the table, for documents.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Statement {
    /// The kind; `PodSpec` is that of Pods and of every template of pods.
    pub kind: &'static str,
    /// The field, such as `spec.listeners[*].tls.options`; empty for the whole kind.
    pub path: String,
    /// Only this value has no effect; `None`: any (but the default).
    pub value: Option<&'static str>,
    /// Why.
    pub because: &'static str,
}

/// Everything that is stored and has no effect.
pub fn rows() -> impl Iterator<Item = Statement> {
    ROWS.iter().map(|row| Statement {
        kind: if row.kind == "*" { "PodSpec" } else { row.kind },
        path: row.field(),
        value: row.when.value(),
        because: row.because,
    })
}

impl Row {
    fn field(&self) -> String {
        self.path.join(".").replace(".*", "[*]")
    }

    /// `spec.ports[*].protocol SCTP`.
    fn place(&self) -> String {
        self.when.value().map_or_else(|| self.field(), |value| format!("{} {value}", self.field()))
    }
}

/// Where a kind's objects describe pods.
pub fn pod_spec(kind: &Kind) -> Option<&'static [&'static str]> {
    Some(match (kind.group, kind.kind) {
        ("", "Pod") => &["spec"],
        ("", "PodTemplate") => &["template", "spec"],
        ("", "ReplicationController") | ("batch", "Job") => &["spec", "template", "spec"],
        ("apps", "Deployment" | "ReplicaSet" | "StatefulSet" | "DaemonSet") => &["spec", "template", "spec"],
        ("batch", "CronJob") => &["spec", "jobTemplate", "spec", "template", "spec"],
        _ => return None,
    })
}

/// What an object says that has no effect here, as warnings for the person who applies it.
pub fn warnings(kind: &Kind, object: &Value) -> Vec<String> {
    if kind.is_custom() {
        let known = known().iter().any(|known| (known.group, known.kind) == (kind.group, kind.kind));
        let warning =
            || format!("{} ({}) has no effect here: it is stored, and nothing acts on it yet", kind.kind, kind.group);
        return known.then(warning).into_iter().collect();
    }
    let mut found: Vec<String> = ROWS
        .iter()
        .filter(|row| row.kind == kind.kind)
        .filter_map(|row| {
            if row.path.is_empty() {
                return Some(format!("{} has no effect here: {}", kind.kind, row.because));
            }
            row.when.holds(object, row.path).then(|| format!("{} has no effect here: {}", row.place(), row.because))
        })
        .collect();
    // What makes no pods need not say what its pods would lack.
    if let (Some(place), true) = (pod_spec(kind), found.is_empty()) {
        let spec = place.iter().try_fold(object, |value, step| value.get(*step)).unwrap_or(&Value::Null);
        let at = place.join(".");
        let rows = ROWS.iter().filter(|row| row.kind == "*" && row.when.holds(spec, row.path));
        found.extend(rows.map(|row| format!("{at}.{} has no effect here: {}", row.place(), row.because)));
    }
    found
}

impl When {
    /// The one value that it is about, if it is one.
    pub fn value(self) -> Option<&'static str> {
        match self {
            Is(value) => Some(value),
            On => Some("true"),
            Off => Some("false"),
            Self::Zero => Some("0"),
            Set | IsNot(_) => None,
        }
    }

    /// Whether a value at a path is one of these; an element `*` of the path is every element of a list.
    pub fn holds(self, value: &Value, path: &[&str]) -> bool {
        match path {
            [] => match self {
                Set => !value.is_null(),
                Is(wanted) => value == wanted,
                IsNot(default) => value.as_str().is_some_and(|value| value != default),
                On => value == &Value::Bool(true),
                Off => value == &Value::Bool(false),
                Self::Zero => value.as_i64() == Some(0),
            },
            ["*", rest @ ..] => value.as_array().into_iter().flatten().any(|element| self.holds(element, rest)),
            [field, rest @ ..] => value.get(field).is_some_and(|value| self.holds(value, rest)),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::kinds;

    #[test]
    fn a_warning_names_the_field_and_the_reason() {
        let services = kinds::by_kind("", "v1", "Service").unwrap();
        assert!(warnings(services, &json!({"spec": {"type": "ClusterIP"}})).is_empty());
        let found = warnings(services, &json!({"spec": {"type": "NodePort"}}));
        assert!(found[0].starts_with("spec.type NodePort has no effect here"), "{found:?}");
        let gateways = kinds::by_kind("gateway.networking.k8s.io", "v1", "Gateway").unwrap();
        assert_eq!(warnings(gateways, &json!({"spec": {"listeners": [{}, {"tls": {"options": {}}}]}})).len(), 1);
    }

    #[test]
    fn what_a_pod_asks_for_is_said_of_templates_too() {
        let spec =
            json!({"hostPID": true, "schedulerName": "default-scheduler", "containers": [{"volumeDevices": [{}]}]});
        let deployments = kinds::by_kind("apps", "v1", "Deployment").unwrap();
        let found = warnings(deployments, &json!({"spec": {"template": {"spec": spec}}}));
        let pids = "spec.template.spec.hostPID true has no effect here: isolated pods have their own processes";
        assert_eq!(found[0], pids);
        assert!(found[1].starts_with("spec.template.spec.containers[*].volumeDevices"), "{found:?}");
        assert_eq!(found.len(), 2);
        let sets = kinds::by_kind("apps", "v1", "StatefulSet").unwrap();
        assert_eq!(warnings(sets, &json!({"spec": {"template": {"spec": spec}}})).len(), 1);
    }

    #[test]
    fn every_row_is_about_a_kind_that_is_served() {
        for row in ROWS {
            assert!(row.kind == "*" || kinds::KINDS.iter().any(|kind| kind.kind == row.kind), "{}", row.kind);
        }
    }
}
