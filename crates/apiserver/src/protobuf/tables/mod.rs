//! The messages that clients send, as tables: `tag name: type`, one line or more a message. The notation is that of
//! [`messages!`](super::schema). The numbers are those of upstream's wire format, which never change. A name that
//! two groups use has the older group's version or name added.

mod access;
mod admission;
mod cluster;
mod core;
mod groups;
mod meta;
mod networks;
mod persistent;
mod pods;
mod status;
mod volumes;
mod workloads;

use super::schema::Message;

/// The kinds that are understood: API version, kind, message.
pub(super) static KINDS: &[(&str, &str, &Message)] = &[
    ("v1", "Namespace", &core::Namespace),
    ("v1", "ConfigMap", &core::ConfigMap),
    ("v1", "Secret", &core::Secret),
    ("v1", "ServiceAccount", &core::ServiceAccount),
    ("v1", "Service", &core::Service),
    ("v1", "Event", &core::CoreEvent),
    ("v1", "Binding", &core::Binding),
    ("v1", "Pod", &status::Pod),
    ("v1", "Node", &status::Node),
    ("apps/v1", "Deployment", &groups::Deployment),
    ("apps/v1", "ReplicaSet", &groups::ReplicaSet),
    ("autoscaling/v1", "Scale", &groups::Scale),
    ("autoscaling/v1", "HorizontalPodAutoscaler", &groups::HorizontalPodAutoscalerV1),
    ("autoscaling/v2", "HorizontalPodAutoscaler", &groups::HorizontalPodAutoscaler),
    ("authentication.k8s.io/v1", "SelfSubjectReview", &groups::SelfSubjectReview),
    ("authentication.k8s.io/v1", "TokenRequest", &groups::TokenRequest),
    ("authorization.k8s.io/v1", "SelfSubjectAccessReview", &groups::SelfSubjectAccessReview),
    ("authorization.k8s.io/v1", "SelfSubjectRulesReview", &groups::SelfSubjectRulesReview),
    ("coordination.k8s.io/v1", "Lease", &groups::Lease),
    ("discovery.k8s.io/v1", "EndpointSlice", &groups::EndpointSlice),
    ("events.k8s.io/v1", "Event", &groups::Event),
    ("policy/v1", "Eviction", &groups::Eviction),
    // Clients older than policy/v1 send the same in its earlier version.
    ("policy/v1beta1", "Eviction", &groups::Eviction),
    ("v1", "Endpoints", &cluster::Endpoints),
    ("v1", "LimitRange", &cluster::LimitRange),
    ("v1", "ResourceQuota", &cluster::ResourceQuota),
    ("v1", "PersistentVolume", &persistent::PersistentVolume),
    ("v1", "PersistentVolumeClaim", &persistent::PersistentVolumeClaim),
    ("v1", "PodTemplate", &workloads::PodTemplate),
    ("v1", "ReplicationController", &workloads::ReplicationController),
    ("apps/v1", "StatefulSet", &workloads::StatefulSet),
    ("apps/v1", "DaemonSet", &workloads::DaemonSet),
    ("apps/v1", "ControllerRevision", &workloads::ControllerRevision),
    ("batch/v1", "Job", &workloads::Job),
    ("batch/v1", "CronJob", &workloads::CronJob),
    ("policy/v1", "PodDisruptionBudget", &cluster::PodDisruptionBudget),
    ("apiregistration.k8s.io/v1", "APIService", &cluster::APIService),
    ("scheduling.k8s.io/v1", "PriorityClass", &cluster::PriorityClass),
    ("node.k8s.io/v1", "RuntimeClass", &cluster::RuntimeClass),
    ("storage.k8s.io/v1", "StorageClass", &persistent::StorageClass),
    ("storage.k8s.io/v1", "VolumeAttachment", &persistent::VolumeAttachment),
    ("storage.k8s.io/v1", "CSIDriver", &persistent::CSIDriver),
    ("storage.k8s.io/v1", "CSINode", &persistent::CSINode),
    ("storage.k8s.io/v1", "CSIStorageCapacity", &persistent::CSIStorageCapacity),
    ("networking.k8s.io/v1", "Ingress", &networks::Ingress),
    ("networking.k8s.io/v1", "IngressClass", &networks::IngressClass),
    ("networking.k8s.io/v1", "NetworkPolicy", &networks::NetworkPolicy),
    ("networking.k8s.io/v1", "IPAddress", &networks::IPAddress),
    ("networking.k8s.io/v1", "ServiceCIDR", &networks::ServiceCIDR),
    ("rbac.authorization.k8s.io/v1", "Role", &access::Role),
    ("rbac.authorization.k8s.io/v1", "RoleBinding", &access::RoleBinding),
    ("rbac.authorization.k8s.io/v1", "ClusterRole", &access::ClusterRole),
    ("rbac.authorization.k8s.io/v1", "ClusterRoleBinding", &access::ClusterRoleBinding),
    ("authentication.k8s.io/v1", "TokenReview", &access::TokenReview),
    ("authorization.k8s.io/v1", "SubjectAccessReview", &access::SubjectAccessReview),
    ("authorization.k8s.io/v1", "LocalSubjectAccessReview", &access::LocalSubjectAccessReview),
    ("certificates.k8s.io/v1", "CertificateSigningRequest", &access::CertificateSigningRequest),
    ("admissionregistration.k8s.io/v1", "ValidatingWebhookConfiguration", &admission::ValidatingWebhookConfiguration),
    ("admissionregistration.k8s.io/v1", "MutatingWebhookConfiguration", &admission::MutatingWebhookConfiguration),
    ("admissionregistration.k8s.io/v1", "ValidatingAdmissionPolicy", &admission::ValidatingAdmissionPolicy),
    (
        "admissionregistration.k8s.io/v1",
        "ValidatingAdmissionPolicyBinding",
        &admission::ValidatingAdmissionPolicyBinding,
    ),
    ("flowcontrol.apiserver.k8s.io/v1", "FlowSchema", &admission::FlowSchema),
    ("flowcontrol.apiserver.k8s.io/v1", "PriorityLevelConfiguration", &admission::PriorityLevelConfiguration),
];

/// The message of a kind. `DeleteOptions` are the same in every group: clients write them in the group of what they delete.
pub(super) fn by_kind(api_version: &str, kind: &str) -> Option<&'static Message> {
    if kind == "DeleteOptions" {
        return Some(&meta::DeleteOptions);
    }
    KINDS.iter().find(|(version, name, _)| *version == api_version && *name == kind).map(|(_, _, message)| *message)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::protobuf::{
        schema::{Shape, Type},
        transcode::MAX_DEPTH,
    };

    fn depth(message: &'static Message) -> u8 {
        let children = message.fields.iter().filter_map(|field| match field.of {
            Type::Message(child) => Some(1 + depth(child)),
            _ => None,
        });
        children.max().unwrap_or(0)
    }

    #[test]
    fn no_message_is_deeper_than_the_reader_goes() {
        for (_, kind, message) in KINDS {
            assert!(depth(message) <= MAX_DEPTH, "{kind}");
        }
    }

    fn check(message: &'static Message, seen: &mut BTreeSet<&'static str>) {
        if !seen.insert(message.name) {
            return;
        }
        let mut names = BTreeSet::new();
        for pair in message.fields.windows(2) {
            assert!(pair[0].tag < pair[1].tag, "{}: tags must rise", message.name);
        }
        for field in message.fields {
            assert!(names.insert(field.name), "{}.{} is there twice", message.name, field.name);
            assert_eq!(field.name.is_empty(), field.shape == Shape::Inline, "{}", message.name);
            if let Type::Message(child) = field.of {
                check(child, seen);
            }
        }
    }

    #[test]
    fn tags_rise_and_names_are_unique_in_every_message() {
        let mut seen = BTreeSet::new();
        KINDS.iter().for_each(|(_, _, message)| check(message, &mut seen));
        assert!(seen.len() > 200, "{}", seen.len());
    }
}
