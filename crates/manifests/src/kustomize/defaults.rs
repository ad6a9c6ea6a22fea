//! kustomize's built-in tables: which fields each transformation works on.

use super::{
    config::{Config, NameReference},
    fieldspec::FieldSpec,
};

/// (group, version, kind, path): kinds with a pod template, or the parts of one.
type Row = (&'static str, &'static str, &'static str, &'static str);

const METADATA_LABELS: &[Row] = &[
    ("", "", "", "metadata/labels"),
    ("", "v1", "ReplicationController", "spec/template/metadata/labels"),
    ("", "", "Deployment", "spec/template/metadata/labels"),
    ("", "", "ReplicaSet", "spec/template/metadata/labels"),
    ("", "", "DaemonSet", "spec/template/metadata/labels"),
    ("apps", "", "StatefulSet", "spec/template/metadata/labels"),
    ("apps", "", "StatefulSet", "spec/volumeClaimTemplates[]/metadata/labels"),
    ("batch", "", "Job", "spec/template/metadata/labels"),
    ("batch", "", "CronJob", "spec/jobTemplate/metadata/labels"),
    ("batch", "", "CronJob", "spec/jobTemplate/spec/template/metadata/labels"),
];

const SELECTORS: &[Row] = &[
    ("", "v1", "Service", "spec/selector"),
    ("", "v1", "ReplicationController", "spec/selector"),
    ("", "", "Deployment", "spec/selector/matchLabels"),
    ("", "", "ReplicaSet", "spec/selector/matchLabels"),
    ("", "", "DaemonSet", "spec/selector/matchLabels"),
    ("apps", "", "StatefulSet", "spec/selector/matchLabels"),
];

/// Selectors that are extended where they are, and not made.
const EXISTING_SELECTORS: &[Row] = &[
    ("batch", "", "Job", "spec/selector/matchLabels"),
    ("batch", "", "CronJob", "spec/jobTemplate/spec/selector/matchLabels"),
    ("policy", "", "PodDisruptionBudget", "spec/selector/matchLabels"),
    ("networking.k8s.io", "", "NetworkPolicy", "spec/podSelector/matchLabels"),
    ("networking.k8s.io", "", "NetworkPolicy", "spec/ingress/from/podSelector/matchLabels"),
    ("networking.k8s.io", "", "NetworkPolicy", "spec/egress/to/podSelector/matchLabels"),
];

/// Below `spec/template/spec` of Deployments and StatefulSets.
const AFFINITIES: &[&str] = &[
    "affinity/podAffinity/preferredDuringSchedulingIgnoredDuringExecution/podAffinityTerm/labelSelector/matchLabels",
    "affinity/podAffinity/requiredDuringSchedulingIgnoredDuringExecution/labelSelector/matchLabels",
    "affinity/podAntiAffinity/preferredDuringSchedulingIgnoredDuringExecution/podAffinityTerm/labelSelector/matchLabels",
    "affinity/podAntiAffinity/requiredDuringSchedulingIgnoredDuringExecution/labelSelector/matchLabels",
    "topologySpreadConstraints/labelSelector/matchLabels",
];

const ANNOTATIONS: &[Row] = &[
    ("", "", "", "metadata/annotations"),
    ("", "v1", "ReplicationController", "spec/template/metadata/annotations"),
    ("", "", "Deployment", "spec/template/metadata/annotations"),
    ("", "", "ReplicaSet", "spec/template/metadata/annotations"),
    ("", "", "DaemonSet", "spec/template/metadata/annotations"),
    ("", "", "StatefulSet", "spec/template/metadata/annotations"),
    ("batch", "", "Job", "spec/template/metadata/annotations"),
    ("batch", "", "CronJob", "spec/jobTemplate/metadata/annotations"),
    ("batch", "", "CronJob", "spec/jobTemplate/spec/template/metadata/annotations"),
];

const NAMESPACES: &[Row] =
    &[("", "", "Namespace", "metadata/name"), ("apiregistration.k8s.io", "", "APIService", "spec/service/namespace")];
const EXISTING_NAMESPACES: &[Row] = &[(
    "apiextensions.k8s.io",
    "",
    "CustomResourceDefinition",
    "spec/conversion/webhook/clientConfig/service/namespace",
)];

const NAMES: &[Row] = &[("", "", "", "metadata/name")];

const IMAGES: &[Row] = &[
    ("", "", "", "spec/containers[]/image"),
    ("", "", "", "spec/initContainers[]/image"),
    ("", "", "", "spec/template/spec/containers[]/image"),
    ("", "", "", "spec/template/spec/initContainers[]/image"),
];

const REPLICAS: &[Row] = &[
    ("", "", "Deployment", "spec/replicas"),
    ("", "", "ReplicationController", "spec/replicas"),
    ("", "", "ReplicaSet", "spec/replicas"),
    ("", "", "StatefulSet", "spec/replicas"),
];

/// Where pods are written that may name configuration: (version, kind, path of the pod's spec).
const CONFIGURED_PODS: &[(&str, &str, &str)] = &[
    ("v1", "Pod", "spec"),
    ("", "PodTemplate", "template/spec"),
    ("", "Deployment", "spec/template/spec"),
    ("", "ReplicaSet", "spec/template/spec"),
    ("", "DaemonSet", "spec/template/spec"),
    ("", "StatefulSet", "spec/template/spec"),
    ("", "Job", "spec/template/spec"),
    ("", "CronJob", "spec/jobTemplate/spec/template/spec"),
];
/// Where pods are written that may name accounts, claims and priorities: a different list, as kustomize has it.
const PODS: &[(&str, &str, &str)] = &[
    ("", "Pod", "spec"),
    ("", "StatefulSet", "spec/template/spec"),
    ("", "Deployment", "spec/template/spec"),
    ("", "ReplicationController", "spec/template/spec"),
    ("", "CronJob", "spec/jobTemplate/spec/template/spec"),
    ("", "Job", "spec/template/spec"),
    ("", "DaemonSet", "spec/template/spec"),
];

const CONFIG_MAP_IN_POD: &[&str] = &[
    "volumes/configMap/name",
    "containers/env/valueFrom/configMapKeyRef/name",
    "initContainers/env/valueFrom/configMapKeyRef/name",
    "containers/envFrom/configMapRef/name",
    "initContainers/envFrom/configMapRef/name",
    "volumes/projected/sources/configMap/name",
];
const SECRET_IN_POD: &[&str] = &[
    "volumes/secret/secretName",
    "containers/env/valueFrom/secretKeyRef/name",
    "initContainers/env/valueFrom/secretKeyRef/name",
    "containers/envFrom/secretRef/name",
    "initContainers/envFrom/secretRef/name",
    "imagePullSecrets/name",
    "volumes/projected/sources/secret/name",
];

const RBAC: &str = "rbac.authorization.k8s.io";
const ADMISSION: &str = "admissionregistration.k8s.io";

/// References to one kind: (group, version, kind) and the referring fields that are not in pods.
type References = ((&'static str, &'static str, &'static str), &'static [Row]);

const REFERENCES: &[References] = &[
    (("", "", "Deployment"), SCALED),
    (("", "", "ReplicationController"), SCALED),
    (("", "", "ReplicaSet"), SCALED),
    (("", "", "StatefulSet"), SCALED),
    (
        ("", "v1", "ConfigMap"),
        &[
            ("", "", "Node", "spec/configSource/configMap"),
            ("", "", "Role", "rules/resourceNames"),
            ("", "", "ClusterRole", "rules/resourceNames"),
            ("", "", "Ingress", "metadata/annotations/nginx.ingress.kubernetes.io\\/fastcgi-params-configmap"),
        ],
    ),
    (
        ("", "v1", "Secret"),
        &[
            ("", "", "Ingress", "spec/tls/secretName"),
            ("", "", "Ingress", "metadata/annotations/ingress.kubernetes.io\\/auth-secret"),
            ("", "", "Ingress", "metadata/annotations/nginx.ingress.kubernetes.io\\/auth-secret"),
            ("", "", "Ingress", "metadata/annotations/nginx.ingress.kubernetes.io\\/auth-tls-secret"),
            ("", "", "ServiceAccount", "imagePullSecrets/name"),
            ("", "", "StorageClass", "parameters/secretName"),
            ("", "", "StorageClass", "parameters/adminSecretName"),
            ("", "", "StorageClass", "parameters/userSecretName"),
            ("", "", "StorageClass", "parameters/secretRef"),
            ("", "", "Role", "rules/resourceNames"),
            ("", "", "ClusterRole", "rules/resourceNames"),
            ("serving.knative.dev", "v1", "Service", "spec/template/spec/containers/env/valueFrom/secretKeyRef/name"),
            ("", "", "PersistentVolume", "spec/azureFile/secretName"),
        ],
    ),
    (
        ("", "v1", "Service"),
        &[
            ("apps", "", "StatefulSet", "spec/serviceName"),
            ("", "", "Ingress", "spec/rules/http/paths/backend/serviceName"),
            ("", "", "Ingress", "spec/backend/serviceName"),
            ("", "", "Ingress", "spec/rules/http/paths/backend/service/name"),
            ("", "", "Ingress", "spec/defaultBackend/service/name"),
            ("apiregistration.k8s.io", "", "APIService", "spec/service/name"),
            (ADMISSION, "", "ValidatingWebhookConfiguration", "webhooks/clientConfig/service"),
            (ADMISSION, "", "MutatingWebhookConfiguration", "webhooks/clientConfig/service"),
        ],
    ),
    ((RBAC, "", "Role"), &[(RBAC, "", "RoleBinding", "roleRef/name")]),
    (
        (RBAC, "", "ClusterRole"),
        &[(RBAC, "", "RoleBinding", "roleRef/name"), (RBAC, "", "ClusterRoleBinding", "roleRef/name")],
    ),
    (
        ("", "v1", "ServiceAccount"),
        &[(RBAC, "", "RoleBinding", "subjects"), (RBAC, "", "ClusterRoleBinding", "subjects")],
    ),
    (("", "v1", "PersistentVolumeClaim"), &[]),
    (
        ("", "v1", "PersistentVolume"),
        &[("", "", "PersistentVolumeClaim", "spec/volumeName"), ("", "", "ClusterRole", "rules/resourceNames")],
    ),
    (
        ("storage.k8s.io", "v1", "StorageClass"),
        &[
            ("", "", "PersistentVolume", "spec/storageClassName"),
            ("", "", "PersistentVolumeClaim", "spec/storageClassName"),
            ("", "", "StatefulSet", "spec/volumeClaimTemplates/spec/storageClassName"),
        ],
    ),
    (("scheduling.k8s.io", "v1", "PriorityClass"), &[]),
    // The group is upstream's mistake: no object matches it, so an IngressClass is not renamed in its Ingresses.
    (("networking.k8s.io/v1", "v1", "IngressClass"), &[("", "", "Ingress", "spec/ingressClassName")]),
    (
        (ADMISSION, "", "ValidatingAdmissionPolicy"),
        &[(ADMISSION, "", "ValidatingAdmissionPolicyBinding", "spec/policyName")],
    ),
];

const SCALED: &[Row] = &[("", "", "HorizontalPodAutoscaler", "spec/scaleTargetRef/name")];

/// References from within pods: the kind that is referred to, where pods are, and the fields of a pod's spec.
type InPods = (&'static str, &'static [(&'static str, &'static str, &'static str)], &'static [&'static str]);

const IN_PODS: &[InPods] = &[
    ("ConfigMap", CONFIGURED_PODS, CONFIG_MAP_IN_POD),
    ("Secret", CONFIGURED_PODS, SECRET_IN_POD),
    ("ServiceAccount", PODS, &["serviceAccountName"]),
    ("PersistentVolumeClaim", PODS, &["volumes/persistentVolumeClaim/claimName"]),
    ("PriorityClass", PODS, &["priorityClassName"]),
];

fn specs(rows: &[Row], create: bool) -> Vec<FieldSpec> {
    let spec = |(group, version, kind, path): &Row| FieldSpec {
        group: (*group).to_owned(),
        version: (*version).to_owned(),
        kind: (*kind).to_owned(),
        path: (*path).to_owned(),
        create,
    };
    rows.iter().map(spec).collect()
}

fn affinities() -> impl Iterator<Item = FieldSpec> {
    ["Deployment", "StatefulSet"].into_iter().flat_map(|kind| {
        AFFINITIES.iter().map(move |path| FieldSpec {
            group: "apps".to_owned(),
            kind: kind.to_owned(),
            path: format!("spec/template/spec/{path}"),
            ..FieldSpec::default()
        })
    })
}

fn name_references() -> Vec<NameReference> {
    let reference = |((group, version, kind), rows): &References| {
        let mut field_specs = specs(rows, false);
        for (_, pods, fields) in IN_PODS.iter().filter(|(of, _, _)| of == kind) {
            field_specs.extend(pods.iter().flat_map(|(version, kind, pod)| {
                fields.iter().map(move |field| FieldSpec {
                    version: (*version).to_owned(),
                    kind: (*kind).to_owned(),
                    path: format!("{pod}/{field}"),
                    ..FieldSpec::default()
                })
            }));
        }
        let (group, version, kind) = ((*group).to_owned(), (*version).to_owned(), (*kind).to_owned());
        NameReference { group, version, kind, field_specs }
    };
    REFERENCES.iter().map(reference).collect()
}

/// All tables, not yet in order.
pub(super) fn config() -> Config {
    let mut common_labels = specs(SELECTORS, true);
    common_labels.extend(affinities());
    common_labels.extend(specs(EXISTING_SELECTORS, false));
    common_labels.extend(specs(METADATA_LABELS, true));
    let mut namespace = specs(NAMESPACES, true);
    namespace.extend(specs(EXISTING_NAMESPACES, false));
    Config {
        name_prefix: specs(NAMES, false),
        name_suffix: specs(NAMES, false),
        namespace,
        common_labels,
        labels: Vec::new(),
        template_labels: specs(METADATA_LABELS, true),
        common_annotations: specs(ANNOTATIONS, true),
        name_reference: name_references(),
        var_reference: Vec::new(),
        images: specs(IMAGES, true),
        replicas: specs(REPLICAS, true),
    }
}
