//! Which lists merge and by which key: upstream's `patchStrategy` and `patchMergeKey`, with the path that leads to each.

/// How strategic merge treats one property.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rule {
    /// An object of the named definition: merged field by field.
    Object(&'static str),
    /// An object of the named definition of which `kubectl apply` keeps only the keys it names (`$retainKeys`).
    Retain(&'static str),
    /// A list of objects merged by key: (key, definition of an element).
    Merge(&'static str, &'static str),
    /// As `Merge`, with `$retainKeys` in each element.
    MergeRetain(&'static str, &'static str),
    /// A list of scalars merged as a set.
    Set,
    /// An atomic list; elements of the named definition.
    Atomic(&'static str),
}

use Rule::{Atomic, Merge, MergeRetain, Object, Retain, Set};

/// (definition or `*` for every kind, property, rule). A list that is not here is atomic; an object merges.
static RULES: &[(&str, &str, Rule)] = &[
    ("*", "metadata", Object("ObjectMeta")),
    ("ObjectMeta", "ownerReferences", Merge("uid", "OwnerReference")),
    ("ObjectMeta", "finalizers", Set),
    ("Deployment", "spec", Object("DeploymentSpec")),
    ("Deployment", "status", Object("Conditions")),
    ("DeploymentSpec", "strategy", Retain("DeploymentStrategy")),
    ("DeploymentSpec", "template", Object("PodTemplateSpec")),
    ("ReplicaSet", "spec", Object("TemplateHolder")),
    ("ReplicaSet", "status", Object("Conditions")),
    ("StatefulSet", "spec", Object("TemplateHolder")),
    ("StatefulSet", "status", Object("Conditions")),
    ("DaemonSet", "spec", Object("TemplateHolder")),
    ("DaemonSet", "status", Object("Conditions")),
    ("ReplicationController", "spec", Object("TemplateHolder")),
    ("ReplicationController", "status", Object("Conditions")),
    ("Job", "spec", Object("TemplateHolder")),
    ("Job", "status", Object("Conditions")),
    ("CronJob", "spec", Object("CronJobSpec")),
    ("CronJobSpec", "jobTemplate", Object("JobTemplateSpec")),
    ("JobTemplateSpec", "metadata", Object("ObjectMeta")),
    ("JobTemplateSpec", "spec", Object("TemplateHolder")),
    ("PodTemplate", "template", Object("PodTemplateSpec")),
    ("TemplateHolder", "template", Object("PodTemplateSpec")),
    ("PodTemplateSpec", "metadata", Object("ObjectMeta")),
    ("PodTemplateSpec", "spec", Object("PodSpec")),
    ("HorizontalPodAutoscaler", "status", Object("Conditions")),
    ("PersistentVolumeClaim", "status", Object("Conditions")),
    ("Namespace", "status", Object("Conditions")),
    ("Service", "spec", Object("ServiceSpec")),
    ("Service", "status", Object("Conditions")),
    ("ServiceSpec", "ports", Merge("port", "ServicePort")),
    ("ServiceAccount", "secrets", Merge("name", "ObjectReference")),
    ("Node", "spec", Object("NodeSpec")),
    ("Node", "status", Object("NodeStatus")),
    ("NodeSpec", "podCIDRs", Set),
    ("NodeStatus", "conditions", Merge("type", "Condition")),
    ("NodeStatus", "addresses", Merge("type", "NodeAddress")),
    ("Conditions", "conditions", Merge("type", "Condition")),
    ("Pod", "spec", Object("PodSpec")),
    ("Pod", "status", Object("PodStatus")),
    ("PodStatus", "conditions", Merge("type", "Condition")),
    ("PodStatus", "podIPs", Merge("ip", "PodIP")),
    ("PodStatus", "hostIPs", Merge("ip", "HostIP")),
    ("PodStatus", "resourceClaimStatuses", MergeRetain("name", "PodResourceClaimStatus")),
    ("PodSpec", "volumes", MergeRetain("name", "Volume")),
    ("PodSpec", "initContainers", Merge("name", "Container")),
    ("PodSpec", "containers", Merge("name", "Container")),
    ("PodSpec", "ephemeralContainers", Merge("name", "Container")),
    ("PodSpec", "imagePullSecrets", Merge("name", "LocalObjectReference")),
    ("PodSpec", "hostAliases", Merge("ip", "HostAlias")),
    ("PodSpec", "topologySpreadConstraints", Merge("topologyKey", "TopologySpreadConstraint")),
    ("PodSpec", "schedulingGates", Merge("name", "PodSchedulingGate")),
    ("PodSpec", "resourceClaims", MergeRetain("name", "PodResourceClaim")),
    ("PodSpec", "tolerations", Atomic("Toleration")),
    ("Container", "ports", Merge("containerPort", "ContainerPort")),
    ("Container", "env", Merge("name", "EnvVar")),
    ("Container", "volumeMounts", Merge("mountPath", "VolumeMount")),
    ("Container", "volumeDevices", Merge("devicePath", "VolumeDevice")),
];

/// The rule for a property of a definition (short name, as `PodSpec`; a kind's own name for its top level).
pub fn rule(definition: &str, property: &str) -> Option<Rule> {
    let found = RULES.iter().find(|(d, p, _)| *d == definition && *p == property);
    found.map(|(_, _, rule)| *rule)
}

/// As [`rule`], for the top level of an object: `metadata` is there in every kind.
pub(super) fn top_rule(kind: &str, property: &str) -> Option<Rule> {
    if property == "metadata" { rule("*", property) } else { rule(kind, property) }
}
