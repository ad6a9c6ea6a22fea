//! The built-in kinds, and how each is checked: one row a kind.

use objects::{kinds::Kind, names};
use serde_json::Value;

use super::{
    access, at::At, autoscaler, batch, certificates, change, cluster, data, event, ingress, network, pod, pod_change,
    policy, quota, sets, storage, vertical, workload,
};
use crate::status::Cause;

/// How objects of a kind are checked.
pub(super) struct Row {
    group: &'static str,
    kind: &'static str,
    /// What a name may be.
    pub(super) name: fn(&str) -> Vec<String>,
    /// What an object may say.
    pub(super) check: fn(&At<'_>, &mut Vec<Cause>),
    /// What an update may not change: the new object, the old one.
    pub(super) change: fn(&Value, &Value) -> Vec<Cause>,
}

const fn of(group: &'static str, kind: &'static str, check: fn(&At<'_>, &mut Vec<Cause>)) -> Row {
    Row { group, kind, name: names::dns_subdomain, check, change: |_, _| Vec::new() }
}

impl Row {
    const fn fixed(self, change: fn(&Value, &Value) -> Vec<Cause>) -> Self {
        Self { change, ..self }
    }

    const fn named(self, name: fn(&str) -> Vec<String>) -> Self {
        Self { name, ..self }
    }
}

const RBAC: &str = "rbac.authorization.k8s.io";
const ADMISSION: &str = "admissionregistration.k8s.io";
const STORAGE: &str = "storage.k8s.io";
const NETWORKING: &str = "networking.k8s.io";

static ROWS: &[Row] = &[
    of("", "ConfigMap", data::config_map).fixed(change::config_map),
    of("", "Endpoints", cluster::endpoints),
    // Upstream's recorders have names of what they are about in it, such as a role's.
    of("", "Event", event::check).named(names::path_segment),
    of("", "LimitRange", quota::limit_range),
    of("", "Namespace", |_, _| {}).named(names::dns_label),
    of("", "Node", |node, causes| data::node(&node.field("spec"), causes)).fixed(change::node),
    of("", "PersistentVolume", storage::persistent).fixed(storage::persistent_change),
    of("", "PersistentVolumeClaim", storage::claim).fixed(storage::claim_change),
    of("", "Pod", |object, causes| pod::spec(&object.field("spec"), causes)).fixed(pod_change::check),
    of("", "PodTemplate", sets::pod_template),
    of("", "ReplicationController", sets::replication_controller),
    of("", "ResourceQuota", quota::resource_quota).fixed(quota::resource_quota_change),
    of("", "Secret", data::secret).fixed(change::secret),
    of("", "Service", |object, causes| network::service(&object.field("spec"), causes))
        .fixed(change::service)
        .named(names::dns_1035_label),
    of("apiextensions.k8s.io", "CustomResourceDefinition", |object, causes| {
        causes.extend(crate::crd::validation::create(object.value));
    }),
    of("apiregistration.k8s.io", "APIService", cluster::api_service).named(names::path_segment),
    of("apps", "ControllerRevision", sets::controller_revision).fixed(sets::controller_revision_change),
    of("apps", "DaemonSet", sets::daemon_set).fixed(change::workload),
    of("apps", "Deployment", workload::deployment).fixed(change::workload),
    of("apps", "ReplicaSet", workload::replica_set).fixed(change::workload),
    of("apps", "StatefulSet", sets::stateful_set).fixed(sets::stateful_set_change),
    of("autoscaling", "HorizontalPodAutoscaler", |object, causes| autoscaler::spec(&object.field("spec"), causes)),
    of("autoscaling.k8s.io", "VerticalPodAutoscaler", |object, causes| vertical::spec(&object.field("spec"), causes)),
    of("autoscaling.k8s.io", "VerticalPodAutoscalerCheckpoint", |_, _| {}),
    of("batch", "CronJob", batch::cron_job),
    of("batch", "Job", batch::job).fixed(batch::change),
    of("certificates.k8s.io", "CertificateSigningRequest", certificates::request),
    of("coordination.k8s.io", "Lease", |object, causes| data::lease(&object.field("spec"), causes)),
    of("discovery.k8s.io", "EndpointSlice", network::endpoint_slice).fixed(change::endpoint_slice),
    of(NETWORKING, "Ingress", ingress::ingress),
    of(NETWORKING, "IngressClass", ingress::class).fixed(ingress::class_change),
    of(NETWORKING, "IPAddress", ingress::ip_address).fixed(ingress::ip_address_change).named(|_| Vec::new()),
    of(NETWORKING, "NetworkPolicy", policy::network_policy),
    of(NETWORKING, "ServiceCIDR", ingress::service_cidr),
    of("node.k8s.io", "RuntimeClass", cluster::runtime_class).fixed(cluster::runtime_class_change),
    of("policy", "PodDisruptionBudget", policy::disruption_budget),
    of(RBAC, "ClusterRole", access::cluster_role).named(names::path_segment),
    of(RBAC, "ClusterRoleBinding", access::cluster_role_binding)
        .fixed(access::binding_change)
        .named(names::path_segment),
    of(RBAC, "Role", access::role).named(names::path_segment),
    of(RBAC, "RoleBinding", access::role_binding).fixed(access::binding_change).named(names::path_segment),
    of("scheduling.k8s.io", "PriorityClass", cluster::priority_class).fixed(cluster::priority_class_change),
    of(STORAGE, "CSIDriver", storage::csi_driver).fixed(storage::csi_driver_change),
    of(STORAGE, "CSINode", storage::csi_node),
    of(STORAGE, "CSIStorageCapacity", storage::capacity),
    of(STORAGE, "StorageClass", storage::class).fixed(storage::class_change),
    of(STORAGE, "VolumeAttachment", storage::attachment).fixed(storage::attachment_change),
    of(ADMISSION, "MutatingWebhookConfiguration", cluster::webhooks),
    of(ADMISSION, "ValidatingWebhookConfiguration", cluster::webhooks),
    of(ADMISSION, "ValidatingAdmissionPolicy", cluster::admission_policy),
    of(ADMISSION, "ValidatingAdmissionPolicyBinding", cluster::admission_binding),
    of("flowcontrol.apiserver.k8s.io", "FlowSchema", cluster::flow_schema),
    of("flowcontrol.apiserver.k8s.io", "PriorityLevelConfiguration", cluster::priority_level),
];

/// The row of a kind; `None` for kinds that upstream has as custom resources, and for those that say nothing to check.
pub(super) fn row(kind: &Kind) -> Option<&'static Row> {
    ROWS.iter().find(|row| (row.group, row.kind) == (kind.group, kind.kind))
}
