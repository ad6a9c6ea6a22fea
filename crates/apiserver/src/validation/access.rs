//! Roles and their bindings (kubernetes/pkg/apis/rbac/validation), and certificate requests.

use objects::names;
use serde_json::Value;

use super::{at::At, workload::label_selector};
use crate::status::Cause;

const GROUP: &str = "rbac.authorization.k8s.io";

pub(super) fn role(object: &At<'_>, causes: &mut Vec<Cause>) {
    object.each("rules").for_each(|one| rule(&one, true, causes));
}

pub(super) fn cluster_role(object: &At<'_>, causes: &mut Vec<Cause>) {
    object.each("rules").for_each(|one| rule(&one, false, causes));
    let aggregation = object.field("aggregationRule");
    if !aggregation.is_set() {
        return;
    }
    let selectors = aggregation.field("clusterRoleSelectors");
    if selectors.len() == 0 {
        causes.push(selectors.required("at least one clusterRoleSelector required if aggregationRule is non-nil"));
    }
    selectors.elements().for_each(|selector| label_selector(&selector, causes));
}

fn rule(rule: &At<'_>, namespaced: bool, causes: &mut Vec<Cause>) {
    let [verbs, urls, groups, resources, named] =
        ["verbs", "nonResourceURLs", "apiGroups", "resources", "resourceNames"].map(|field| rule.field(field));
    if verbs.len() == 0 {
        causes.push(verbs.required("verbs must contain at least one value"));
    }
    if urls.len() > 0 {
        if namespaced {
            causes.push(urls.invalid("namespaced rules cannot apply to non-resource URLs"));
        }
        if groups.len() + resources.len() + named.len() > 0 {
            causes.push(urls.invalid("rules cannot apply to both regular resources and non-resource URLs"));
        }
        return;
    }
    if groups.len() == 0 {
        causes.push(groups.required("resource rules must supply at least one api group"));
    }
    if resources.len() == 0 {
        causes.push(resources.required("resource rules must supply at least one resource"));
    }
}

pub(super) fn role_binding(object: &At<'_>, causes: &mut Vec<Cause>) {
    binding(object, &["ClusterRole", "Role"], true, causes);
}

pub(super) fn cluster_role_binding(object: &At<'_>, causes: &mut Vec<Cause>) {
    binding(object, &["ClusterRole"], false, causes);
}

fn binding(object: &At<'_>, roles: &[&str], namespaced: bool, causes: &mut Vec<Cause>) {
    let role = object.field("roleRef");
    causes.extend(role.field("apiGroup").one_of(&[GROUP]));
    let kind = role.field("kind");
    if !roles.contains(&kind.text()) {
        causes.push(Cause::not_supported(&kind.path, &kind.text().into(), roles));
    }
    causes.extend(role.field("name").must_be_named(names::path_segment));
    for subject in object.each("subjects") {
        self::subject(&subject, namespaced, causes);
    }
}

fn subject(subject: &At<'_>, namespaced: bool, causes: &mut Vec<Cause>) {
    let (kind, name, group) = (subject.field("kind"), subject.field("name"), subject.field("apiGroup"));
    causes.extend(name.must_be_set());
    match kind.text() {
        "ServiceAccount" => {
            if !name.text().is_empty() {
                causes.extend(name.named(names::dns_subdomain));
            }
            if !group.text().is_empty() {
                causes.extend(group.one_of(&[""]));
            }
            if !namespaced && subject.field("namespace").text().is_empty() {
                causes.push(subject.field("namespace").required(""));
            }
        }
        "User" | "Group" => causes.extend(group.one_of(&[GROUP])),
        other => {
            causes.push(Cause::not_supported(&kind.path, &other.into(), &["ServiceAccount", "User", "Group"]));
        }
    }
}

/// Whom a binding gives something to may change; what it gives may not.
pub(super) fn binding_change(new: &Value, old: &Value) -> Vec<Cause> {
    let changed = new.get("roleRef") != old.get("roleRef");
    changed.then(|| At::root(new).field("roleRef").invalid("cannot change roleRef")).into_iter().collect()
}
