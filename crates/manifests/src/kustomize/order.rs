//! The order of the output: what others need comes first, unless the kustomization asks for another.

use serde::Deserialize;

use super::{
    id::{Gvk, Id},
    resource::Resource,
};

/// Kinds that go first, in this order.
const FIRST: &[&str] = &[
    "Namespace",
    "ResourceQuota",
    "StorageClass",
    "CustomResourceDefinition",
    "ServiceAccount",
    "PodSecurityPolicy",
    "Role",
    "ClusterRole",
    "RoleBinding",
    "ClusterRoleBinding",
    "ConfigMap",
    "Secret",
    "Endpoints",
    "Service",
    "LimitRange",
    "PriorityClass",
    "PersistentVolume",
    "PersistentVolumeClaim",
    "Deployment",
    "StatefulSet",
    "CronJob",
    "PodDisruptionBudget",
];
/// Kinds that go last, in this order.
const LAST: &[&str] = &["MutatingWebhookConfiguration", "ValidatingWebhookConfiguration"];

/// `sortOptions`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub(super) struct SortOptions {
    order: String,
    legacy_sort_options: Option<Legacy>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
struct Legacy {
    order_first: Vec<String>,
    order_last: Vec<String>,
}

/// A place among kinds: the built-in lists, then the text of group, version and kind.
pub(super) fn rank(gvk: &Gvk) -> (i64, String) {
    (place(&gvk.kind, FIRST, LAST), gvk.sort_text())
}

fn place<S: AsRef<str>>(kind: &str, first: &[S], last: &[S]) -> i64 {
    let index = |list: &[S]| list.iter().rposition(|name| name.as_ref() == kind).map(|at| at as i64);
    match (index(last), index(first)) {
        (Some(at), _) => 1 + at,
        (None, Some(at)) => at - first.len() as i64,
        (None, None) => 0,
    }
}

/// Puts the resources in order. Without options that is the order of kinds, then of namespace and name.
///
/// # Errors
/// When the options contradict each other.
pub(super) fn sort(resources: &mut [Resource], options: Option<&SortOptions>) -> Result<(), String> {
    let (mut first, mut last): (Vec<&str>, Vec<&str>) = (FIRST.to_vec(), LAST.to_vec());
    if let Some(options) = options {
        match (options.order.as_str(), &options.legacy_sort_options) {
            ("fifo", None) => return Ok(()),
            ("fifo", Some(_)) => return Err("legacySortOptions go with order: legacy, not with fifo".to_owned()),
            ("legacy", None) => {}
            ("legacy", Some(lists)) => {
                first = lists.order_first.iter().map(String::as_str).collect();
                last = lists.order_last.iter().map(String::as_str).collect();
            }
            (other, _) => return Err(format!("order {other:?} is unknown; it is fifo or legacy")),
        }
    }
    let or = |text: &str, other: &str| if text.is_empty() { other.to_owned() } else { text.to_owned() };
    resources.sort_by_cached_key(|resource| {
        let Id { gvk, name, namespace, .. } = resource.id();
        let by_name = format!("{}|{}", or(&namespace, "~X"), or(&name, "~N"));
        (place(&gvk.kind, &first, &last), gvk.sort_text(), by_name)
    });
    Ok(())
}
