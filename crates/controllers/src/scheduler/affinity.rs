//! Whether a node is one that a pod asks for: its `nodeSelector`, and what its affinity to nodes requires
//! (`component-helpers/scheduling/corev1/nodeaffinity`). Pure.

use k8s_openapi::api::core::v1::{Node, NodeSelectorRequirement, NodeSelectorTerm, PodSpec};
use kube::ResourceExt;

/// Whether every label of the selector is the node's, and one of the required terms holds. Preferences choose between nodes.
pub(super) fn asks_for(spec: &PodSpec, node: &Node) -> bool {
    let labels = node.labels();
    let required = spec.affinity.as_ref().and_then(|affinity| {
        affinity.node_affinity.as_ref()?.required_during_scheduling_ignored_during_execution.as_ref()
    });
    spec.node_selector.iter().flatten().all(|(key, value)| labels.get(key) == Some(value))
        && required.is_none_or(|required| required.node_selector_terms.iter().any(|term| holds(term, node)))
}

/// Whether all of a term holds. One that says nothing holds for no node.
fn holds(term: &NodeSelectorTerm, node: &Node) -> bool {
    let labels = term.match_expressions.as_deref().unwrap_or_default();
    let fields = term.match_fields.as_deref().unwrap_or_default();
    let name = node.name_any();
    (!labels.is_empty() || !fields.is_empty())
        && labels.iter().all(|one| meets(one, node.labels().get(&one.key).map(String::as_str)))
        && fields.iter().all(|one| one.key == "metadata.name" && meets(one, Some(&name)))
}

/// Whether a value, or its absence, meets a requirement.
fn meets(requirement: &NodeSelectorRequirement, value: Option<&str>) -> bool {
    let wanted = requirement.values.as_deref().unwrap_or_default();
    let is_one = value.is_some_and(|value| wanted.iter().any(|one| one == value));
    let number = |text: &str| text.parse::<i64>().ok();
    let both = || Some((number(value?)?, number(wanted.first()?)?));
    match requirement.operator.as_str() {
        "In" => is_one,
        "NotIn" => !is_one,
        "Exists" => value.is_some(),
        "DoesNotExist" => value.is_none(),
        "Gt" => both().is_some_and(|(has, than)| has > than),
        "Lt" => both().is_some_and(|(has, than)| has < than),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn fits(affinity: &Value) -> bool {
        let labels = json!({"disk": "ssd", "cores": "8"});
        let node = serde_json::from_value(json!({"metadata": {"name": "here", "labels": labels}})).unwrap();
        let spec = json!({"containers": [], "affinity": {"nodeAffinity": affinity}});
        asks_for(&serde_json::from_value(spec).unwrap(), &node)
    }

    /// One of these terms is required.
    fn required(terms: Value) -> bool {
        fits(&json!({"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": terms}}))
    }

    fn label(key: &str, operator: &str, values: &[&str]) -> Value {
        json!({"matchExpressions": [{"key": key, "operator": operator, "values": values}]})
    }

    #[test]
    fn a_label_is_compared_as_the_operator_says() {
        for (key, operator, values, wanted) in [
            ("disk", "In", ["ssd", "nvme"].as_slice(), true),
            ("disk", "In", &["hdd"], false),
            ("other", "In", &["x"], false),
            ("disk", "NotIn", &["ssd"], false),
            ("other", "NotIn", &["x"], true),
            ("disk", "Exists", &[], true),
            ("other", "Exists", &[], false),
            ("disk", "DoesNotExist", &[], false),
            ("other", "DoesNotExist", &[], true),
            ("cores", "Gt", &["7"], true),
            ("cores", "Gt", &["8"], false),
            ("cores", "Lt", &["10"], true),
            ("disk", "Lt", &["10"], false),
            ("other", "Gt", &["1"], false),
        ] {
            assert_eq!(required(json!([label(key, operator, values)])), wanted, "{key} {operator} {values:?}");
        }
    }

    #[test]
    fn one_term_is_enough_and_one_that_says_nothing_never_is() {
        let (yes, no) = (label("disk", "Exists", &[]), label("disk", "DoesNotExist", &[]));
        assert!(required(json!([no, yes])));
        assert!(!required(json!([no])) && !required(json!([{}])) && !required(json!([])));
        let name =
            |name: &str| json!([{"matchFields": [{"key": "metadata.name", "operator": "In", "values": [name]}]}]);
        assert!(required(name("here")) && !required(name("there")));
    }

    #[test]
    fn what_is_only_preferred_keeps_no_pod_away() {
        let term = json!({"weight": 1, "preference": label("disk", "In", &["hdd"])});
        assert!(fits(&json!({"preferredDuringSchedulingIgnoredDuringExecution": [term]})));
    }
}
