//! Where pods may run: affinity, spreading, gates (kubernetes/pkg/apis/core/validation).

use objects::names;

use super::{
    at::{At, duplicates},
    workload::label_selector,
};
use crate::status::Cause;

pub(super) fn check(spec: &At<'_>, causes: &mut Vec<Cause>) {
    let affinity = spec.field("affinity");
    let node = affinity.field("nodeAffinity");
    let required = node.field("requiredDuringSchedulingIgnoredDuringExecution");
    if required.is_set() {
        node_selector(&required, causes);
    }
    for preferred in node.each("preferredDuringSchedulingIgnoredDuringExecution") {
        causes.extend(weight(&preferred.field("weight")));
        node_term(&preferred.field("preference"), causes);
    }
    for name in ["podAffinity", "podAntiAffinity"] {
        let pods = affinity.field(name);
        for term in pods.each("requiredDuringSchedulingIgnoredDuringExecution") {
            pod_term(&term, causes);
        }
        for weighted in pods.each("preferredDuringSchedulingIgnoredDuringExecution") {
            causes.extend(weight(&weighted.field("weight")));
            pod_term(&weighted.field("podAffinityTerm"), causes);
        }
    }
    spread(spec, causes);
    for gate in spec.each("schedulingGates") {
        causes.extend(gate.field("name").must_be_named(names::qualified_name));
    }
    causes.extend(duplicates(spec.each("schedulingGates").map(|gate| gate.field("name"))));
    if spec.field("schedulingGates").len() > 0 && !spec.field("nodeName").text().is_empty() {
        let why = "cannot be set until all schedulingGates have been cleared";
        causes.push(spec.field("nodeName").forbidden(why));
    }
    for gate in spec.each("readinessGates") {
        causes.extend(gate.field("conditionType").named(names::qualified_name));
    }
    for (name, at) in spec.field("overhead").entries() {
        causes.extend(names::qualified_name(name).iter().map(|wrong| at.invalid(wrong)));
    }
    for secret in spec.each("imagePullSecrets").filter(|secret| secret.field("name").len() > 253) {
        causes.push(Cause::too_long(secret.field("name").path, 253));
    }
}

fn weight(weight: &At<'_>) -> Option<Cause> {
    let good = weight.number().is_some_and(|number| (1..=100).contains(&number));
    (!good).then(|| weight.invalid("must be in the range 1-100"))
}

/// What a node must be (`core/v1` NodeSelector).
pub(super) fn node_selector(selector: &At<'_>, causes: &mut Vec<Cause>) {
    let terms = selector.field("nodeSelectorTerms");
    if terms.len() == 0 {
        causes.push(terms.required("must have at least one node selector term"));
    }
    for term in terms.elements() {
        node_term(&term, causes);
        // What is only preferred may name what no label can be.
        for value in term.each("matchExpressions").flat_map(|expression| expression.each("values")) {
            causes.extend(value.named(names::label_value));
        }
    }
}

fn node_term(term: &At<'_>, causes: &mut Vec<Cause>) {
    for expression in term.each("matchExpressions") {
        let (operator, values) = (expression.field("operator"), expression.field("values"));
        match operator.text() {
            "In" | "NotIn" if values.len() == 0 => {
                causes.push(values.required("must be specified when `operator` is 'In' or 'NotIn'"));
            }
            "Exists" | "DoesNotExist" if values.len() > 0 => {
                causes.push(values.forbidden("may not be specified when `operator` is 'Exists' or 'DoesNotExist'"));
            }
            "Gt" | "Lt" if values.len() != 1 => {
                causes.push(values.required("must be specified single value when `operator` is 'Lt' or 'Gt'"));
            }
            "In" | "NotIn" | "Exists" | "DoesNotExist" | "Gt" | "Lt" => {}
            _ => causes.push(operator.invalid("not a valid selector operator")),
        }
        causes.extend(expression.field("key").named(names::qualified_name));
    }
    for field in term.each("matchFields") {
        let key = field.field("key");
        if key.text() == "metadata.name" {
            causes.extend(field.each("values").flat_map(|name| name.named(names::dns_subdomain)));
        } else {
            causes.push(Cause::invalid(&key.path, &key.text().into(), "not a valid field selector key"));
        }
        if !matches!(field.field("operator").text(), "In" | "NotIn") {
            causes.push(field.field("operator").invalid("not a valid selector operator"));
        }
        if field.field("values").len() != 1 {
            let why = "must be only one value when `operator` is 'In' or 'NotIn' for node field selector";
            causes.push(field.field("values").required(why));
        }
    }
}

fn pod_term(term: &At<'_>, causes: &mut Vec<Cause>) {
    for selector in ["labelSelector", "namespaceSelector"] {
        label_selector(&term.field(selector), causes);
    }
    for namespace in term.each("namespaces") {
        causes.extend(namespace.named(names::dns_label));
    }
    let key = term.field("topologyKey");
    if key.text().is_empty() {
        causes.push(key.required("can not be empty"));
        return;
    }
    causes.extend(key.named(names::qualified_name));
}

fn spread(spec: &At<'_>, causes: &mut Vec<Cause>) {
    let mut seen = Vec::new();
    for constraint in spec.each("topologySpreadConstraints") {
        let [skew, key, when, domains] =
            ["maxSkew", "topologyKey", "whenUnsatisfiable", "minDomains"].map(|field| constraint.field(field));
        if skew.number().unwrap_or(0) <= 0 {
            causes.push(Cause::invalid(&skew.path, &skew.number().unwrap_or(0).into(), "must be greater than zero"));
        }
        if key.text().is_empty() {
            causes.push(key.required("can not be empty"));
        } else {
            causes.extend(key.named(names::qualified_name));
        }
        if !matches!(when.text(), "DoNotSchedule" | "ScheduleAnyway") {
            causes.push(Cause::not_supported(&when.path, &when.text().into(), &["DoNotSchedule", "ScheduleAnyway"]));
        }
        if domains.is_set() {
            causes.extend(domains.at_least(1, "must be greater than zero"));
            if when.text() != "DoNotSchedule" {
                let why = format!("can only use minDomains if whenUnsatisfiable=DoNotSchedule, not {}", when.text());
                causes.push(domains.invalid(&why));
            }
        }
        if seen.contains(&(key.text(), when.text())) {
            let pair = format!("{{{}, {}}}", key.text(), when.text());
            causes.push(Cause::duplicate(
                format!("{}.{{topologyKey, whenUnsatisfiable}}", constraint.path),
                &pair.into(),
            ));
        }
        seen.push((key.text(), when.text()));
        for policy in ["nodeAffinityPolicy", "nodeTaintsPolicy"] {
            causes.extend(constraint.field(policy).one_of(&["Honor", "Ignore"]));
        }
        let selector = constraint.field("labelSelector");
        label_keys(&constraint.field("matchLabelKeys"), &selector, causes);
        label_selector(&selector, causes);
    }
}

/// Keys whose values are those of the pod itself are not selected by otherwise.
fn label_keys(keys: &At<'_>, selector: &At<'_>, causes: &mut Vec<Cause>) {
    if keys.len() > 0 && !selector.is_set() {
        causes.push(keys.forbidden("must not be specified when labelSelector is not set"));
    }
    let chosen = |key: &str| {
        selector.field("matchLabels").value.get(key).is_some()
            || selector.each("matchExpressions").any(|expression| expression.field("key").text() == key)
    };
    for key in keys.clone().elements() {
        causes.extend(key.named(names::qualified_name));
        if chosen(key.text()) {
            causes.push(key.invalid("exists in both matchLabelKeys and labelSelector"));
        }
    }
}
