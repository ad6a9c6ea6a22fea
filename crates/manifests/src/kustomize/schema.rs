//! What kustomize knows of the built-in kinds (Kubernetes 1.21's, whatever version of kubectl carries it): which have no
//! namespace, and which lists a strategic merge joins by key.

use super::id::Gvk;

/// (API version, kinds in namespaces, kinds without).
static KINDS: &[(&str, &[&str], &[&str])] = &[
    ("admissionregistration.k8s.io/v1", &[], &["MutatingWebhookConfiguration", "ValidatingWebhookConfiguration"]),
    ("admissionregistration.k8s.io/v1beta1", &[], &["MutatingWebhookConfiguration", "ValidatingWebhookConfiguration"]),
    ("apiextensions.k8s.io/v1", &[], &["CustomResourceDefinition"]),
    ("apiextensions.k8s.io/v1beta1", &[], &["CustomResourceDefinition"]),
    ("apiregistration.k8s.io/v1", &[], &["APIService"]),
    ("apiregistration.k8s.io/v1beta1", &[], &["APIService"]),
    ("apps/v1", &["ControllerRevision", "DaemonSet", "Deployment", "ReplicaSet", "StatefulSet"], &[]),
    ("autoscaling/v1", &["HorizontalPodAutoscaler", "Scale"], &[]),
    ("autoscaling/v2beta1", &["HorizontalPodAutoscaler"], &[]),
    ("autoscaling/v2beta2", &["HorizontalPodAutoscaler"], &[]),
    ("batch/v1", &["CronJob", "Job"], &[]),
    ("batch/v1beta1", &["CronJob"], &[]),
    ("certificates.k8s.io/v1", &[], &["CertificateSigningRequest"]),
    ("certificates.k8s.io/v1beta1", &[], &["CertificateSigningRequest"]),
    ("coordination.k8s.io/v1", &["Lease"], &[]),
    ("coordination.k8s.io/v1beta1", &["Lease"], &[]),
    ("discovery.k8s.io/v1", &["EndpointSlice"], &[]),
    ("discovery.k8s.io/v1beta1", &["EndpointSlice"], &[]),
    ("events.k8s.io/v1", &["Event"], &[]),
    ("events.k8s.io/v1beta1", &["Event"], &[]),
    ("extensions/v1beta1", &["Ingress"], &[]),
    ("flowcontrol.apiserver.k8s.io/v1beta1", &[], &["FlowSchema", "PriorityLevelConfiguration"]),
    ("networking.k8s.io/v1", &["Ingress", "NetworkPolicy"], &["IngressClass"]),
    ("networking.k8s.io/v1beta1", &["Ingress"], &["IngressClass"]),
    ("node.k8s.io/v1", &[], &["RuntimeClass"]),
    ("node.k8s.io/v1beta1", &[], &["RuntimeClass"]),
    ("policy/v1", &["PodDisruptionBudget"], &[]),
    ("policy/v1beta1", &["PodDisruptionBudget"], &["PodSecurityPolicy"]),
    ("rbac.authorization.k8s.io/v1", &["Role", "RoleBinding"], &["ClusterRole", "ClusterRoleBinding"]),
    ("rbac.authorization.k8s.io/v1beta1", &["Role", "RoleBinding"], &["ClusterRole", "ClusterRoleBinding"]),
    ("scheduling.k8s.io/v1", &[], &["PriorityClass"]),
    ("scheduling.k8s.io/v1beta1", &[], &["PriorityClass"]),
    ("storage.k8s.io/v1", &[], &["CSIDriver", "CSINode", "StorageClass", "VolumeAttachment"]),
    ("storage.k8s.io/v1beta1", &["CSIStorageCapacity"], &["CSIDriver", "CSINode", "StorageClass", "VolumeAttachment"]),
    (
        "v1",
        &[
            "ConfigMap",
            "Endpoints",
            "Event",
            "LimitRange",
            "PersistentVolumeClaim",
            "Pod",
            "PodTemplate",
            "ReplicationController",
            "ResourceQuota",
            "Secret",
            "Service",
            "ServiceAccount",
        ],
        &["ComponentStatus", "Namespace", "Node", "PersistentVolume"],
    ),
];

/// Whether the kind is certain to have no namespace; kinds that are not built in may have one.
pub(super) fn is_cluster_scoped(gvk: &Gvk) -> bool {
    let api_version = gvk.api_version();
    KINDS.iter().any(|(version, _, without)| *version == api_version && without.contains(&gvk.kind.as_str()))
}

/// How a strategic merge goes on below a field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Below {
    /// A mapping of the named definition.
    Fields(&'static str),
    /// A list joined by these keys; its elements are of the named definition.
    Keyed(&'static [&'static str], &'static str),
    /// A list of scalars joined as a set.
    Set,
}

use Below::{Fields, Keyed, Set};

/// A definition without rules of its own.
const PLAIN: &str = "";

/// (definition, field, rule). Other lists are replaced as a whole; other mappings merge.
static RULES: &[(&str, &str, Below)] = &[
    ("ObjectMeta", "finalizers", Set),
    ("ObjectMeta", "ownerReferences", Keyed(&["uid"], PLAIN)),
    ("Pod", "spec", Fields("PodSpec")),
    ("Pod", "status", Fields("PodStatus")),
    ("PodStatus", "conditions", Keyed(&["type"], PLAIN)),
    ("PodStatus", "podIPs", Keyed(&["ip"], PLAIN)),
    ("PodTemplate", "template", Fields("PodTemplateSpec")),
    ("DaemonSet", "spec", Fields("WorkloadSpec")),
    ("Deployment", "spec", Fields("WorkloadSpec")),
    ("Job", "spec", Fields("WorkloadSpec")),
    ("ReplicaSet", "spec", Fields("WorkloadSpec")),
    ("ReplicationController", "spec", Fields("WorkloadSpec")),
    ("StatefulSet", "spec", Fields("WorkloadSpec")),
    ("CronJob", "spec", Fields("CronJobSpec")),
    ("CronJobSpec", "jobTemplate", Fields("JobTemplateSpec")),
    ("JobTemplateSpec", "metadata", Fields("ObjectMeta")),
    ("JobTemplateSpec", "spec", Fields("WorkloadSpec")),
    ("WorkloadSpec", "template", Fields("PodTemplateSpec")),
    ("PodTemplateSpec", "metadata", Fields("ObjectMeta")),
    ("PodTemplateSpec", "spec", Fields("PodSpec")),
    ("PodSpec", "containers", Keyed(&["name"], "Container")),
    ("PodSpec", "initContainers", Keyed(&["name"], "Container")),
    ("PodSpec", "ephemeralContainers", Keyed(&["name"], "EphemeralContainer")),
    ("PodSpec", "hostAliases", Keyed(&["ip"], PLAIN)),
    ("PodSpec", "imagePullSecrets", Keyed(&["name"], PLAIN)),
    ("PodSpec", "topologySpreadConstraints", Keyed(&["topologyKey", "whenUnsatisfiable"], PLAIN)),
    ("PodSpec", "volumes", Keyed(&["name"], PLAIN)),
    ("Container", "ports", Keyed(&["containerPort", "protocol"], PLAIN)),
    ("Container", "env", Keyed(&["name"], PLAIN)),
    ("Container", "volumeDevices", Keyed(&["devicePath"], PLAIN)),
    ("Container", "volumeMounts", Keyed(&["mountPath"], PLAIN)),
    ("EphemeralContainer", "env", Keyed(&["name"], PLAIN)),
    ("EphemeralContainer", "volumeDevices", Keyed(&["devicePath"], PLAIN)),
    ("EphemeralContainer", "volumeMounts", Keyed(&["mountPath"], PLAIN)),
    ("Service", "spec", Fields("ServiceSpec")),
    ("ServiceSpec", "ports", Keyed(&["port", "protocol"], PLAIN)),
    ("ServiceAccount", "secrets", Keyed(&["name"], PLAIN)),
    ("MutatingWebhookConfiguration", "webhooks", Keyed(&["name"], PLAIN)),
    ("ValidatingWebhookConfiguration", "webhooks", Keyed(&["name"], PLAIN)),
    ("CSINode", "spec", Fields("CSINodeSpec")),
    ("CSINodeSpec", "drivers", Keyed(&["name"], PLAIN)),
    ("Node", "spec", Fields("NodeSpec")),
    ("Node", "status", Fields("NodeStatus")),
    ("NodeSpec", "podCIDRs", Set),
    ("NodeStatus", "addresses", Keyed(&["type"], PLAIN)),
    ("NodeStatus", "conditions", Keyed(&["type"], PLAIN)),
    ("ComponentStatus", "conditions", Keyed(&["type"], PLAIN)),
    ("WithConditions", "conditions", Keyed(&["type"], PLAIN)),
];

/// Kinds whose `status.conditions` are joined by type.
const WITH_CONDITIONS: &[&str] = &[
    "APIService",
    "DaemonSet",
    "Deployment",
    "Job",
    "Namespace",
    "PersistentVolumeClaim",
    "PodDisruptionBudget",
    "ReplicaSet",
    "ReplicationController",
    "Service",
    "StatefulSet",
];

/// The definition of a built-in kind: its name; `None` for every other kind, whose lists are all replaced as a whole.
pub(super) fn definition(gvk: &Gvk) -> Option<&'static str> {
    let api_version = gvk.api_version();
    let (_, namespaced, without) = KINDS.iter().find(|(version, _, _)| *version == api_version)?;
    namespaced.iter().chain(without.iter()).copied().find(|kind| *kind == gvk.kind)
}

/// The rule for a field at the top of an object.
pub(super) fn top(definition: &'static str, field: &str) -> Option<Below> {
    match field {
        "metadata" => Some(Fields("ObjectMeta")),
        "status" if WITH_CONDITIONS.contains(&definition) => Some(Fields("WithConditions")),
        _ => below(definition, field),
    }
}

/// The rule for a field of a definition.
pub(super) fn below(definition: &str, field: &str) -> Option<Below> {
    RULES.iter().find(|(of, name, _)| *of == definition && *name == field).map(|(_, _, rule)| *rule)
}
