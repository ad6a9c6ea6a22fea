//! Schemas as OpenAPI 3 components, one group and version at a time.

use std::sync::OnceLock;

use k8s_openapi::{
    api, apiextensions_apiserver::pkg::apis::apiextensions, apimachinery::pkg::apis::meta,
    kube_aggregator::pkg::apis::apiregistration,
};
use schemars::{Schema, SchemaGenerator, generate::SchemaSettings};
use serde_json::{Map, Value, json};

use super::{compile::Compiled, extensions};
use crate::{fields::Types, gateway, vertical};

/// Registers a type with a generator.
type Register = fn(&mut SchemaGenerator) -> Schema;

/// The kinds of one group and version.
pub(super) struct Group {
    pub(super) group: &'static str,
    pub(super) version: &'static str,
    /// What definitions without a name of their own (Gateway API's) are put under.
    prefix: &'static str,
    roots: &'static [(&'static str, Register)],
    pub(super) compiled: OnceLock<Compiled>,
    pub(super) shapes: OnceLock<Types>,
}

impl Group {
    /// Whether upstream serves the kinds as custom resources: those have required fields, and no strategic merge.
    pub(super) fn is_custom(&self) -> bool {
        [gateway::GROUP, vertical::GROUP].contains(&self.group)
    }

    /// The kinds, and the names of their definitions.
    pub(super) fn kinds(&self) -> impl Iterator<Item = (&'static str, String)> {
        self.roots.iter().map(|(kind, _)| (*kind, format!("{}{kind}", self.prefix)))
    }
}

/// Rows of the table of groups: `"group" "version" "prefix of definitions" { Kind: type, … }`.
macro_rules! groups {
    ($($group:literal $version:literal $prefix:literal { $($kind:ident: $type:ty),* $(,)? })*) => {
        [$(Group {
            group: $group,
            version: $version,
            prefix: $prefix,
            roots: &[$((stringify!($kind), SchemaGenerator::subschema_for::<$type>)),*],
            compiled: OnceLock::new(),
            shapes: OnceLock::new(),
        }),*]
    };
}

/// Every group and version with kinds that are served, or sent to subresources.
static GROUPS: [Group; 27] = groups! {
    "" "v1" "io.k8s.api.core.v1." {
        Binding: api::core::v1::Binding, ConfigMap: api::core::v1::ConfigMap, Event: api::core::v1::Event,
        Namespace: api::core::v1::Namespace, Node: api::core::v1::Node, Pod: api::core::v1::Pod,
        Secret: api::core::v1::Secret, Service: api::core::v1::Service,
        ServiceAccount: api::core::v1::ServiceAccount,
        Endpoints: api::core::v1::Endpoints, LimitRange: api::core::v1::LimitRange,
        PersistentVolume: api::core::v1::PersistentVolume,
        PersistentVolumeClaim: api::core::v1::PersistentVolumeClaim, PodTemplate: api::core::v1::PodTemplate,
        ReplicationController: api::core::v1::ReplicationController, ResourceQuota: api::core::v1::ResourceQuota,
    }
    "apiextensions.k8s.io" "v1" "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1." {
        CustomResourceDefinition: apiextensions::v1::CustomResourceDefinition,
    }
    "apiregistration.k8s.io" "v1" "io.k8s.kube-aggregator.pkg.apis.apiregistration.v1." {
        APIService: apiregistration::v1::APIService,
    }
    "apps" "v1" "io.k8s.api.apps.v1." {
        Deployment: api::apps::v1::Deployment, ReplicaSet: api::apps::v1::ReplicaSet,
        StatefulSet: api::apps::v1::StatefulSet, DaemonSet: api::apps::v1::DaemonSet,
        ControllerRevision: api::apps::v1::ControllerRevision,
    }
    "authentication.k8s.io" "v1" "io.k8s.api.authentication.v1." {
        SelfSubjectReview: api::authentication::v1::SelfSubjectReview,
        TokenRequest: api::authentication::v1::TokenRequest, TokenReview: api::authentication::v1::TokenReview,
    }
    "authorization.k8s.io" "v1" "io.k8s.api.authorization.v1." {
        SelfSubjectAccessReview: api::authorization::v1::SelfSubjectAccessReview,
        SelfSubjectRulesReview: api::authorization::v1::SelfSubjectRulesReview,
        SubjectAccessReview: api::authorization::v1::SubjectAccessReview,
        LocalSubjectAccessReview: api::authorization::v1::LocalSubjectAccessReview,
    }
    "autoscaling" "v1" "io.k8s.api.autoscaling.v1." {
        HorizontalPodAutoscaler: api::autoscaling::v1::HorizontalPodAutoscaler, Scale: api::autoscaling::v1::Scale,
    }
    "autoscaling" "v2" "io.k8s.api.autoscaling.v2." {
        HorizontalPodAutoscaler: api::autoscaling::v2::HorizontalPodAutoscaler,
    }
    "autoscaling.k8s.io" "v1" "io.k8s.autoscaling.v1." {
        VerticalPodAutoscaler: vertical::VerticalPodAutoscaler,
        VerticalPodAutoscalerCheckpoint: vertical::VerticalPodAutoscalerCheckpoint,
    }
    "autoscaling.k8s.io" "v1beta2" "io.k8s.autoscaling.v1beta2." {
        VerticalPodAutoscaler: vertical::VerticalPodAutoscaler,
        VerticalPodAutoscalerCheckpoint: vertical::VerticalPodAutoscalerCheckpoint,
    }
    "coordination.k8s.io" "v1" "io.k8s.api.coordination.v1." { Lease: api::coordination::v1::Lease }
    "discovery.k8s.io" "v1" "io.k8s.api.discovery.v1." { EndpointSlice: api::discovery::v1::EndpointSlice }
    "events.k8s.io" "v1" "io.k8s.api.events.v1." { Event: api::events::v1::Event }
    "policy" "v1" "io.k8s.api.policy.v1." {
        Eviction: api::policy::v1::Eviction, PodDisruptionBudget: api::policy::v1::PodDisruptionBudget,
    }
    "batch" "v1" "io.k8s.api.batch.v1." { CronJob: api::batch::v1::CronJob, Job: api::batch::v1::Job }
    "networking.k8s.io" "v1" "io.k8s.api.networking.v1." {
        Ingress: api::networking::v1::Ingress, IngressClass: api::networking::v1::IngressClass,
        NetworkPolicy: api::networking::v1::NetworkPolicy, IPAddress: api::networking::v1::IPAddress,
        ServiceCIDR: api::networking::v1::ServiceCIDR,
    }
    "rbac.authorization.k8s.io" "v1" "io.k8s.api.rbac.v1." {
        ClusterRole: api::rbac::v1::ClusterRole, ClusterRoleBinding: api::rbac::v1::ClusterRoleBinding,
        Role: api::rbac::v1::Role, RoleBinding: api::rbac::v1::RoleBinding,
    }
    "scheduling.k8s.io" "v1" "io.k8s.api.scheduling.v1." { PriorityClass: api::scheduling::v1::PriorityClass }
    "storage.k8s.io" "v1" "io.k8s.api.storage.v1." {
        CSIDriver: api::storage::v1::CSIDriver, CSINode: api::storage::v1::CSINode,
        CSIStorageCapacity: api::storage::v1::CSIStorageCapacity, StorageClass: api::storage::v1::StorageClass,
        VolumeAttachment: api::storage::v1::VolumeAttachment,
    }
    "node.k8s.io" "v1" "io.k8s.api.node.v1." { RuntimeClass: api::node::v1::RuntimeClass }
    "certificates.k8s.io" "v1" "io.k8s.api.certificates.v1." {
        CertificateSigningRequest: api::certificates::v1::CertificateSigningRequest,
    }
    "admissionregistration.k8s.io" "v1" "io.k8s.api.admissionregistration.v1." {
        MutatingWebhookConfiguration: api::admissionregistration::v1::MutatingWebhookConfiguration,
        ValidatingWebhookConfiguration: api::admissionregistration::v1::ValidatingWebhookConfiguration,
        ValidatingAdmissionPolicy: api::admissionregistration::v1::ValidatingAdmissionPolicy,
        ValidatingAdmissionPolicyBinding: api::admissionregistration::v1::ValidatingAdmissionPolicyBinding,
    }
    "flowcontrol.apiserver.k8s.io" "v1" "io.k8s.api.flowcontrol.v1." {
        FlowSchema: api::flowcontrol::v1::FlowSchema,
        PriorityLevelConfiguration: api::flowcontrol::v1::PriorityLevelConfiguration,
    }
    "gateway.networking.k8s.io" "v1" "io.k8s.networking.gateway.v1." {
        GatewayClass: gateway::GatewayClass, Gateway: gateway::Gateway, ListenerSet: gateway::ListenerSet,
        HTTPRoute: gateway::HTTPRoute, GRPCRoute: gateway::GRPCRoute, TLSRoute: gateway::TLSRoute,
        TCPRoute: gateway::TCPRoute, UDPRoute: gateway::UDPRoute, BackendTLSPolicy: gateway::BackendTLSPolicy,
        ReferenceGrant: gateway::ReferenceGrant,
    }
    "gateway.networking.k8s.io" "v1beta1" "io.k8s.networking.gateway.v1beta1." {
        GatewayClass: gateway::GatewayClass, Gateway: gateway::Gateway, HTTPRoute: gateway::HTTPRoute,
        ReferenceGrant: gateway::ReferenceGrant,
    }
    "gateway.networking.k8s.io" "v1alpha3" "io.k8s.networking.gateway.v1alpha3." {
        BackendTLSPolicy: gateway::BackendTLSPolicy, TLSRoute: gateway::TLSRoute,
    }
    "gateway.networking.k8s.io" "v1alpha2" "io.k8s.networking.gateway.v1alpha2." {
        TLSRoute: gateway::TLSRoute, TCPRoute: gateway::TCPRoute, UDPRoute: gateway::UDPRoute,
    }
};

/// The groups and versions that have schemas.
pub fn group_versions() -> impl Iterator<Item = (&'static str, &'static str)> {
    GROUPS.iter().map(|group| (group.group, group.version))
}

pub(super) fn group(group: &str, version: &str) -> Option<&'static Group> {
    GROUPS.iter().find(|g| (g.group, g.version) == (group, version))
}

/// The name of a kind's definition among the [`components`] of its group and version.
pub fn definition_name(group: &str, version: &str, kind: &str) -> Option<String> {
    let found = self::group(group, version)?;
    found.roots.iter().any(|(name, _)| *name == kind).then(|| format!("{}{kind}", found.prefix))
}

/// `components.schemas` of a group and version: its kinds and everything they are made of, with upstream's extensions
/// (`x-kubernetes-group-version-kind`, and those of [`super::extensions`]). Made anew at each call; empty for a group that has no
/// schemas.
pub fn components(group: &str, version: &str) -> Map<String, Value> {
    let Some(group) = self::group(group, version) else { return Map::new() };
    let mut generator = SchemaSettings::openapi3().into_generator();
    for (_, register) in group.roots {
        register(&mut generator);
    }
    if group.is_custom() {
        generator.subschema_for::<meta::v1::ObjectMeta>();
    }
    let mut definitions = Map::new();
    for (name, mut schema) in generator.take_definitions(true) {
        if group.is_custom() {
            rename(&mut schema, group.prefix);
        }
        definitions.insert(qualified(&name, group.prefix), schema);
    }
    for (kind, _) in group.roots {
        let name = format!("{}{kind}", group.prefix);
        if let Some(root) = definitions.get_mut(&name).and_then(Value::as_object_mut) {
            let gvk = json!([{"group": group.group, "version": group.version, "kind": kind}]);
            root.insert("x-kubernetes-group-version-kind".into(), gvk);
            if group.is_custom() {
                complete(root);
            }
        }
    }
    if let Some(any) = definitions.get_mut(ANYTHING).and_then(Value::as_object_mut) {
        // It is called an object, and is whatever JSON can say: a default may be a number.
        any.remove("type");
    }
    extensions::annotate(&mut definitions);
    definitions
}

/// The definition of what a schema's defaults and examples are.
const ANYTHING: &str = "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.JSON";

/// The definitions of what every custom resource has: `ObjectMeta`, `ListMeta` and what they refer to.
pub fn metadata_components() -> Map<String, Value> {
    let mut generator = SchemaSettings::openapi3().into_generator();
    generator.subschema_for::<meta::v1::ObjectMeta>();
    generator.subschema_for::<meta::v1::ListMeta>();
    generator.take_definitions(true)
}

fn qualified(name: &str, prefix: &str) -> String {
    if name.contains('.') { name.to_owned() } else { format!("{prefix}{name}") }
}

const REFERENCE: &str = "#/components/schemas/";

/// Qualifies the references in a schema, and takes away what only Rust's `Option` put there.
fn rename(schema: &mut Value, prefix: &str) {
    match schema {
        Value::Object(map) => {
            map.remove("nullable");
            if let Some(Value::String(reference)) = map.get_mut("$ref")
                && let Some(name) = reference.strip_prefix(REFERENCE)
            {
                *reference = format!("{REFERENCE}{}", qualified(name, prefix));
            }
            // `Option<Struct>` is `anyOf` of the reference and of null's enumeration.
            if let Some(Value::Array(choices)) = map.remove("anyOf")
                && let Some(first) = choices.into_iter().find(|choice| choice.get("$ref").is_some())
            {
                map.insert("allOf".into(), json!([first]));
            }
            map.values_mut().for_each(|value| rename(value, prefix));
        }
        Value::Array(list) => list.iter_mut().for_each(|value| rename(value, prefix)),
        _ => {}
    }
}

/// `kube` describes only `spec` and `status` of its custom resources.
fn complete(root: &mut Map<String, Value>) {
    let properties = root.entry("properties").or_insert_with(|| json!({}));
    let Some(properties) = properties.as_object_mut() else { return };
    let meta = format!("{REFERENCE}io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta");
    let text = |description: &str| json!({"type": "string", "description": description});
    properties.insert("apiVersion".into(), text("The version of the schema of this object, such as group/v1."));
    properties.insert("kind".into(), text("The kind of this object."));
    properties
        .insert("metadata".into(), json!({"allOf": [{"$ref": meta}], "description": "Standard object metadata."}));
}
