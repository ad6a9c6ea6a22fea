//! The kinds that the API serves: one table of those that are built in, which discovery, storage, patching and clients read;
//! what definitions add while the API server runs; and kinds of other projects that are known by name.

mod intern;
mod known;
mod served;

use std::sync::Arc;

use crate::custom::Definition;

pub use intern::{NamesFull, intern, intern_list};
pub use known::known;
pub use served::{KindRef, Kinds, version_rank};

/// One kind of object in one version of its group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kind {
    /// `apps`; empty for the core group.
    pub group: &'static str,
    /// `v1`.
    pub version: &'static str,
    /// `Deployment`.
    pub kind: &'static str,
    /// `deployments`, as in paths.
    pub plural: &'static str,
    /// `deployment`.
    pub singular: &'static str,
    /// `deploy`.
    pub short_names: &'static [&'static str],
    /// `all`.
    pub categories: &'static [&'static str],
    /// Whether objects live in namespaces.
    pub namespaced: bool,
    /// Whether there is a `status` subresource, which alone changes `.status`.
    pub status: bool,
    /// Whether there is a `scale` subresource.
    pub scale: bool,
    /// The group and version that the same objects are kept in; `None`: in this one.
    pub stored_as: Option<(&'static str, &'static str)>,
    /// What gives it.
    pub origin: Origin,
}

/// What gives a kind.
#[derive(Clone, Debug)]
pub enum Origin {
    /// Coracle itself: its fields are known to the code.
    BuiltIn,
    /// The table of other projects' kinds: stored as they are sent, until somebody defines them.
    Known,
    /// A CustomResourceDefinition.
    Defined(Arc<Definition>),
}

impl PartialEq for Origin {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Defined(a), Self::Defined(b)) => Arc::ptr_eq(a, b),
            (a, b) => std::mem::discriminant(a) == std::mem::discriminant(b),
        }
    }
}

impl Eq for Origin {}

impl Kind {
    /// Whether it is the built-in kind of this group and name: definitions may use the same name in a group of their own.
    pub fn is(&self, group: &str, kind: &str) -> bool {
        self.kind == kind && self.group == group && !self.is_custom()
    }

    /// Whether its objects are custom resources: the code knows nothing of their fields.
    pub fn is_custom(&self) -> bool {
        self.origin != Origin::BuiltIn
    }

    /// What a CustomResourceDefinition says of it.
    pub fn definition(&self) -> Option<&Arc<Definition>> {
        match &self.origin {
            Origin::Defined(definition) => Some(definition),
            Origin::BuiltIn | Origin::Known => None,
        }
    }

    /// `apps/v1`, or `v1` for the core group.
    pub fn api_version(&self) -> String {
        if self.group.is_empty() { self.version.to_owned() } else { format!("{}/{}", self.group, self.version) }
    }

    /// The version that objects of this kind are kept in: a kind may be another view of the same objects.
    pub fn storage(&self) -> &Self {
        self.stored_elsewhere().unwrap_or(self)
    }

    fn stored_elsewhere(&self) -> Option<&'static Self> {
        let (group, version) = self.stored_as?;
        by_kind(group, version, self.kind).or_else(|| {
            let same = |k: &&Self| (k.group, k.version, k.kind) == (group, version, self.kind);
            known().iter().find(same)
        })
    }
}

const ALL: &[&str] = &["all"];

/// A namespaced kind without subresources; rows below change what differs.
const BASE: Kind = Kind {
    group: "",
    version: "v1",
    kind: "",
    plural: "",
    singular: "",
    short_names: &[],
    categories: &[],
    namespaced: true,
    status: false,
    scale: false,
    stored_as: None,
    origin: Origin::BuiltIn,
};

/// A kind of a group's `v1`, by its names; then what differs from [`BASE`].
macro_rules! named {
    ($group:literal, $kind:literal, $plural:literal, $singular:literal $(, $field:ident: $value:expr)* $(,)?) => {
        Kind { group: $group, kind: $kind, plural: $plural, singular: $singular, $($field: $value,)* ..BASE }
    };
}

const GATEWAY_GROUP: &str = "gateway.networking.k8s.io";

/// A namespaced kind of Gateway API.
const GATEWAY_API: Kind = Kind { group: GATEWAY_GROUP, categories: &["gateway-api"], status: true, ..BASE };

/// An older version of one, whose objects have the same fields.
const GATEWAY_VIEW: Kind = Kind { stored_as: Some((GATEWAY_GROUP, "v1")), ..GATEWAY_API };

/// Kept in the version that every release of Gateway API has.
const REFERENCE_GRANT: Kind = Kind {
    kind: "ReferenceGrant",
    plural: "referencegrants",
    singular: "referencegrant",
    short_names: &["refgrant"],
    status: false,
    ..GATEWAY_API
};

const VERTICAL_GROUP: &str = crate::vertical::GROUP;

const VERTICAL: Kind = Kind {
    group: VERTICAL_GROUP,
    kind: "VerticalPodAutoscaler",
    plural: "verticalpodautoscalers",
    singular: "verticalpodautoscaler",
    short_names: &["vpa"],
    status: true,
    ..BASE
};

/// Its status is written with the rest of it, as upstream's definition has it.
const CHECKPOINT: Kind = Kind {
    group: VERTICAL_GROUP,
    kind: "VerticalPodAutoscalerCheckpoint",
    plural: "verticalpodautoscalercheckpoints",
    singular: "verticalpodautoscalercheckpoint",
    short_names: &["vpacheckpoint"],
    ..BASE
};

/// Every kind that is built in; of a group's versions, the preferred one first.
pub static KINDS: &[Kind] = &[
    Kind { kind: "ConfigMap", plural: "configmaps", singular: "configmap", short_names: &["cm"], ..BASE },
    Kind { kind: "Event", plural: "events", singular: "event", short_names: &["ev"], ..BASE },
    Kind {
        kind: "Namespace",
        plural: "namespaces",
        singular: "namespace",
        short_names: &["ns"],
        namespaced: false,
        status: true,
        ..BASE
    },
    Kind {
        kind: "Node",
        plural: "nodes",
        singular: "node",
        short_names: &["no"],
        namespaced: false,
        status: true,
        ..BASE
    },
    Kind { kind: "Pod", plural: "pods", singular: "pod", short_names: &["po"], categories: ALL, status: true, ..BASE },
    Kind { kind: "Secret", plural: "secrets", singular: "secret", ..BASE },
    Kind {
        kind: "ServiceAccount",
        plural: "serviceaccounts",
        singular: "serviceaccount",
        short_names: &["sa"],
        ..BASE
    },
    Kind {
        kind: "Service",
        plural: "services",
        singular: "service",
        short_names: &["svc"],
        categories: ALL,
        status: true,
        ..BASE
    },
    named!("", "Endpoints", "endpoints", "endpoints", short_names: &["ep"]),
    named!("", "LimitRange", "limitranges", "limitrange", short_names: &["limits"]),
    named!(
        "", "PersistentVolume", "persistentvolumes", "persistentvolume",
        short_names: &["pv"], namespaced: false, status: true,
    ),
    named!(
        "", "PersistentVolumeClaim", "persistentvolumeclaims", "persistentvolumeclaim",
        short_names: &["pvc"], status: true,
    ),
    named!("", "PodTemplate", "podtemplates", "podtemplate"),
    named!(
        "", "ReplicationController", "replicationcontrollers", "replicationcontroller",
        short_names: &["rc"], categories: ALL, status: true, scale: true,
    ),
    named!("", "ResourceQuota", "resourcequotas", "resourcequota", short_names: &["quota"], status: true),
    Kind {
        group: "apps",
        kind: "Deployment",
        plural: "deployments",
        singular: "deployment",
        short_names: &["deploy"],
        categories: ALL,
        status: true,
        scale: true,
        ..BASE
    },
    Kind {
        group: "apps",
        kind: "ReplicaSet",
        plural: "replicasets",
        singular: "replicaset",
        short_names: &["rs"],
        categories: ALL,
        status: true,
        scale: true,
        ..BASE
    },
    named!(
        "apps", "StatefulSet", "statefulsets", "statefulset",
        short_names: &["sts"], categories: ALL, status: true, scale: true,
    ),
    named!("apps", "DaemonSet", "daemonsets", "daemonset", short_names: &["ds"], categories: ALL, status: true),
    named!("apps", "ControllerRevision", "controllerrevisions", "controllerrevision"),
    Kind {
        group: "autoscaling",
        version: "v2",
        kind: "HorizontalPodAutoscaler",
        plural: "horizontalpodautoscalers",
        singular: "horizontalpodautoscaler",
        short_names: &["hpa"],
        categories: ALL,
        status: true,
        ..BASE
    },
    Kind {
        group: "autoscaling",
        kind: "HorizontalPodAutoscaler",
        plural: "horizontalpodautoscalers",
        singular: "horizontalpodautoscaler",
        short_names: &["hpa"],
        categories: ALL,
        status: true,
        stored_as: Some(("autoscaling", "v2")),
        ..BASE
    },
    named!("batch", "CronJob", "cronjobs", "cronjob", short_names: &["cj"], categories: ALL, status: true),
    named!("batch", "Job", "jobs", "job", categories: ALL, status: true),
    named!(
        "apiextensions.k8s.io",
        "CustomResourceDefinition",
        "customresourcedefinitions",
        "customresourcedefinition",
        short_names: &["crd", "crds"],
        categories: &["api-extensions"],
        namespaced: false,
        status: true,
    ),
    named!(
        "apiregistration.k8s.io", "APIService", "apiservices", "apiservice",
        categories: &["api-extensions"], namespaced: false, status: true,
    ),
    Kind { group: "coordination.k8s.io", kind: "Lease", plural: "leases", singular: "lease", ..BASE },
    Kind {
        group: "discovery.k8s.io",
        kind: "EndpointSlice",
        plural: "endpointslices",
        singular: "endpointslice",
        ..BASE
    },
    Kind {
        group: "events.k8s.io",
        kind: "Event",
        plural: "events",
        singular: "event",
        short_names: &["ev"],
        stored_as: Some(("", "v1")),
        ..BASE
    },
    named!("networking.k8s.io", "Ingress", "ingresses", "ingress", short_names: &["ing"], status: true),
    named!("networking.k8s.io", "IngressClass", "ingressclasses", "ingressclass", namespaced: false),
    named!("networking.k8s.io", "NetworkPolicy", "networkpolicies", "networkpolicy", short_names: &["netpol"]),
    named!("networking.k8s.io", "IPAddress", "ipaddresses", "ipaddress", short_names: &["ip"], namespaced: false),
    named!("networking.k8s.io", "ServiceCIDR", "servicecidrs", "servicecidr", namespaced: false, status: true),
    named!(
        "policy", "PodDisruptionBudget", "poddisruptionbudgets", "poddisruptionbudget",
        short_names: &["pdb"], status: true,
    ),
    named!("rbac.authorization.k8s.io", "ClusterRole", "clusterroles", "clusterrole", namespaced: false),
    named!(
        "rbac.authorization.k8s.io", "ClusterRoleBinding", "clusterrolebindings", "clusterrolebinding",
        namespaced: false,
    ),
    named!("rbac.authorization.k8s.io", "Role", "roles", "role"),
    named!("rbac.authorization.k8s.io", "RoleBinding", "rolebindings", "rolebinding"),
    named!(
        "scheduling.k8s.io", "PriorityClass", "priorityclasses", "priorityclass",
        short_names: &["pc"], namespaced: false,
    ),
    named!("storage.k8s.io", "CSIDriver", "csidrivers", "csidriver", namespaced: false),
    named!("storage.k8s.io", "CSINode", "csinodes", "csinode", namespaced: false),
    named!("storage.k8s.io", "CSIStorageCapacity", "csistoragecapacities", "csistoragecapacity"),
    named!("storage.k8s.io", "StorageClass", "storageclasses", "storageclass", short_names: &["sc"], namespaced: false),
    named!(
        "storage.k8s.io", "VolumeAttachment", "volumeattachments", "volumeattachment",
        namespaced: false, status: true,
    ),
    named!("node.k8s.io", "RuntimeClass", "runtimeclasses", "runtimeclass", namespaced: false),
    named!(
        "certificates.k8s.io", "CertificateSigningRequest", "certificatesigningrequests", "certificatesigningrequest",
        short_names: &["csr"], namespaced: false, status: true,
    ),
    named!(
        "admissionregistration.k8s.io", "MutatingWebhookConfiguration", "mutatingwebhookconfigurations", "mutatingwebhookconfiguration",
        namespaced: false,
    ),
    named!(
        "admissionregistration.k8s.io", "ValidatingWebhookConfiguration", "validatingwebhookconfigurations", "validatingwebhookconfiguration",
        namespaced: false,
    ),
    named!(
        "admissionregistration.k8s.io", "ValidatingAdmissionPolicy", "validatingadmissionpolicies", "validatingadmissionpolicy",
        namespaced: false, status: true,
    ),
    named!(
        "admissionregistration.k8s.io", "ValidatingAdmissionPolicyBinding", "validatingadmissionpolicybindings", "validatingadmissionpolicybinding",
        namespaced: false,
    ),
    named!("flowcontrol.apiserver.k8s.io", "FlowSchema", "flowschemas", "flowschema", namespaced: false, status: true),
    named!(
        "flowcontrol.apiserver.k8s.io", "PriorityLevelConfiguration", "prioritylevelconfigurations", "prioritylevelconfiguration",
        namespaced: false, status: true,
    ),
    Kind {
        kind: "GatewayClass",
        plural: "gatewayclasses",
        singular: "gatewayclass",
        short_names: &["gc"],
        namespaced: false,
        ..GATEWAY_API
    },
    Kind { kind: "Gateway", plural: "gateways", singular: "gateway", short_names: &["gtw"], ..GATEWAY_API },
    Kind {
        kind: "ListenerSet",
        plural: "listenersets",
        singular: "listenerset",
        short_names: &["lset"],
        ..GATEWAY_API
    },
    Kind { kind: "HTTPRoute", plural: "httproutes", singular: "httproute", ..GATEWAY_API },
    Kind { kind: "GRPCRoute", plural: "grpcroutes", singular: "grpcroute", ..GATEWAY_API },
    Kind { kind: "TLSRoute", plural: "tlsroutes", singular: "tlsroute", ..GATEWAY_API },
    Kind { kind: "TCPRoute", plural: "tcproutes", singular: "tcproute", ..GATEWAY_API },
    Kind { kind: "UDPRoute", plural: "udproutes", singular: "udproute", ..GATEWAY_API },
    Kind {
        kind: "BackendTLSPolicy",
        plural: "backendtlspolicies",
        singular: "backendtlspolicy",
        short_names: &["btlspolicy"],
        ..GATEWAY_API
    },
    Kind { stored_as: Some((GATEWAY_GROUP, "v1beta1")), ..REFERENCE_GRANT },
    Kind {
        version: "v1beta1",
        kind: "GatewayClass",
        plural: "gatewayclasses",
        singular: "gatewayclass",
        short_names: &["gc"],
        namespaced: false,
        ..GATEWAY_VIEW
    },
    Kind {
        version: "v1beta1",
        kind: "Gateway",
        plural: "gateways",
        singular: "gateway",
        short_names: &["gtw"],
        ..GATEWAY_VIEW
    },
    Kind { version: "v1beta1", kind: "HTTPRoute", plural: "httproutes", singular: "httproute", ..GATEWAY_VIEW },
    Kind { version: "v1beta1", ..REFERENCE_GRANT },
    Kind {
        version: "v1alpha3",
        kind: "BackendTLSPolicy",
        plural: "backendtlspolicies",
        singular: "backendtlspolicy",
        short_names: &["btlspolicy"],
        ..GATEWAY_VIEW
    },
    Kind { version: "v1alpha3", kind: "TLSRoute", plural: "tlsroutes", singular: "tlsroute", ..GATEWAY_VIEW },
    Kind { version: "v1alpha2", kind: "TLSRoute", plural: "tlsroutes", singular: "tlsroute", ..GATEWAY_VIEW },
    Kind { version: "v1alpha2", kind: "TCPRoute", plural: "tcproutes", singular: "tcproute", ..GATEWAY_VIEW },
    Kind { version: "v1alpha2", kind: "UDPRoute", plural: "udproutes", singular: "udproute", ..GATEWAY_VIEW },
    VERTICAL,
    CHECKPOINT,
    Kind { version: "v1beta2", stored_as: Some((VERTICAL_GROUP, "v1")), ..VERTICAL },
    Kind { version: "v1beta2", stored_as: Some((VERTICAL_GROUP, "v1")), ..CHECKPOINT },
];

/// Every built-in kind in the version that its objects are kept in: one for each sort of object.
pub fn stored() -> impl Iterator<Item = &'static Kind> {
    KINDS.iter().filter(|kind| kind.stored_as.is_none())
}

/// The built-in kind behind a path's group, version and resource name.
pub fn by_resource(group: &str, version: &str, plural: &str) -> Option<&'static Kind> {
    KINDS.iter().find(|k| (k.group, k.version, k.plural) == (group, version, plural))
}

/// The built-in kind that an object's `apiVersion` (split) and `kind` name.
pub fn by_kind(group: &str, version: &str, kind: &str) -> Option<&'static Kind> {
    KINDS.iter().find(|k| (k.group, k.version, k.kind) == (group, version, kind))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_kind_is_found_by_its_resource_and_by_its_name() {
        for kind in KINDS {
            assert_eq!(by_resource(kind.group, kind.version, kind.plural), Some(kind));
            assert_eq!(by_kind(kind.group, kind.version, kind.kind), Some(kind));
            assert_eq!(kind.singular, kind.kind.to_ascii_lowercase());
        }
    }

    #[test]
    fn a_view_leads_to_a_kind_of_the_same_name_that_is_stored() {
        for kind in KINDS {
            let storage = kind.storage();
            assert!(storage.stored_as.is_none() && storage.plural == kind.plural && storage.kind == kind.kind);
            assert_eq!(kind.stored_as.is_none(), storage == kind);
        }
    }

    #[test]
    fn no_two_kinds_share_a_short_name() {
        let names: Vec<_> = stored().flat_map(|k| k.short_names).collect();
        assert_eq!(names.iter().collect::<BTreeSet<_>>().len(), names.len());
    }
}
