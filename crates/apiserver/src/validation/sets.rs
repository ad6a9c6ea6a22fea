//! StatefulSets, DaemonSets, ReplicationControllers, and the objects beside them (kubernetes/pkg/apis/apps/validation).

use objects::{names, selector::Labels};
use serde_json::Value;

use super::{
    at::At,
    change::{go_map, immutable},
    pod, storage,
    workload::{amount, common, int_or_percent, template_labels},
};
use crate::{registry::meta, status::Cause};

pub(super) fn stateful_set(object: &At<'_>, causes: &mut Vec<Cause>) {
    let spec = object.field("spec");
    let policy = spec.field("podManagementPolicy");
    match policy.text() {
        "" => causes.push(policy.required("")),
        "OrderedReady" | "Parallel" => {}
        _ => causes.push(policy.invalid("must be 'OrderedReady' or 'Parallel'")),
    }
    let strategy = spec.field("updateStrategy");
    let (of, rolling) = (strategy.field("type"), strategy.field("rollingUpdate"));
    match of.text() {
        "" => causes.push(of.required("")),
        "OnDelete" if rolling.is_set() => {
            causes.push(rolling.invalid("only allowed for updateStrategy 'RollingUpdate'"));
        }
        "OnDelete" => {}
        "RollingUpdate" => {
            causes.extend(rolling.field("partition").not_negative());
            let most = rolling.field("maxUnavailable");
            causes.extend(int_or_percent(&most));
            if amount(&most) == Some(0) {
                causes.push(most.invalid("cannot be 0"));
            }
        }
        _ => causes.push(of.invalid("must be 'RollingUpdate' or 'OnDelete'")),
    }
    let retention = spec.field("persistentVolumeClaimRetentionPolicy");
    for field in ["whenDeleted", "whenScaled"] {
        causes.extend(retention.field(field).one_of(&["Retain", "Delete"]));
    }
    causes.extend(spec.field("ordinals").field("start").not_negative());
    causes.extend(spec.field("revisionHistoryLimit").not_negative());
    for claim in spec.each("volumeClaimTemplates") {
        causes.extend(claim.field("metadata").field("name").must_be_named(names::dns_subdomain));
        storage::claim_spec(&claim.field("spec"), causes);
    }
    let claims: Vec<&str> =
        spec.each("volumeClaimTemplates").map(|c| c.field("metadata").field("name").text()).collect();
    common(&spec, "statefulset", "StatefulSet", &claims, causes);
}

/// The fields of a StatefulSet's spec that an update may change.
const CHANGEABLE: &[&str] = &[
    "replicas",
    "ordinals",
    "template",
    "updateStrategy",
    "revisionHistoryLimit",
    "persistentVolumeClaimRetentionPolicy",
    "minReadySeconds",
];

pub(super) fn stateful_set_change(new: &Value, old: &Value) -> Vec<Cause> {
    let kept = |object: &Value| {
        let mut spec = object.get("spec").cloned().unwrap_or_default();
        if let Some(map) = spec.as_object_mut() {
            CHANGEABLE.iter().for_each(|field| drop(map.remove(*field)));
        }
        spec
    };
    let why = "updates to statefulset spec for fields other than 'replicas', 'ordinals', 'template', 'updateStrategy', \
               'revisionHistoryLimit', 'persistentVolumeClaimRetentionPolicy' and 'minReadySeconds' are forbidden";
    (kept(new) != kept(old)).then(|| Cause::forbidden("spec", why)).into_iter().collect()
}

pub(super) fn daemon_set(object: &At<'_>, causes: &mut Vec<Cause>) {
    let spec = object.field("spec");
    common(&spec, "daemonset", "DaemonSet", &[], causes);
    causes.extend(spec.field("revisionHistoryLimit").not_negative());
    let strategy = spec.field("updateStrategy");
    let (of, rolling) = (strategy.field("type"), strategy.field("rollingUpdate"));
    if of.text() != "RollingUpdate" {
        causes.extend(of.must_be_one_of(&["RollingUpdate", "OnDelete"]));
        return;
    }
    if !rolling.is_set() {
        causes.push(rolling.required(""));
        return;
    }
    let (down, up) = (rolling.field("maxUnavailable"), rolling.field("maxSurge"));
    for bound in [&down, &up] {
        causes.extend(int_or_percent(bound));
        if bound.text().ends_with('%') && amount(bound).is_some_and(|percent| percent > 100) {
            causes.push(bound.invalid("must not be greater than 100%"));
        }
    }
    let (has_down, has_up) = (amount(&down).unwrap_or(0) != 0, amount(&up).unwrap_or(0) != 0);
    match (has_down, has_up) {
        (true, true) => causes.push(up.invalid("may not be set when maxUnavailable is non-zero")),
        (false, false) => causes.push(down.required("cannot be 0 when maxSurge is 0")),
        _ => {}
    }
}

pub(super) fn replication_controller(object: &At<'_>, causes: &mut Vec<Cause>) {
    let spec = object.field("spec");
    causes.extend(spec.field("replicas").not_negative());
    causes.extend(spec.field("minReadySeconds").not_negative());
    let (selector, template) = (spec.field("selector"), spec.field("template"));
    if selector.len() == 0 {
        causes.push(selector.required(""));
    }
    if !template.is_set() {
        causes.push(template.required(""));
        return;
    }
    let exact = serde_json::from_value(selector.value.clone()).unwrap_or_default();
    if !Labels::from_map(&exact).matches(&meta::labels(template.value)) {
        let labels = template.field("metadata").field("labels");
        let why = "`selector` does not match template `labels`";
        causes.push(Cause::invalid_shown(&labels.path, &go_map(labels.value), why));
    }
    template_labels(&template, causes);
    let pod = template.field("spec");
    pod::spec(&pod, causes);
    causes.extend(pod.field("restartPolicy").one_of(&["Always"]));
    let deadline = pod.field("activeDeadlineSeconds");
    if deadline.is_set() {
        causes.push(deadline.forbidden("activeDeadlineSeconds in ReplicationController is not Supported"));
    }
}

pub(super) fn pod_template(object: &At<'_>, causes: &mut Vec<Cause>) {
    let template = object.field("template");
    template_labels(&template, causes);
    pod::spec(&template.field("spec"), causes);
}

pub(super) fn controller_revision(object: &At<'_>, causes: &mut Vec<Cause>) {
    let (data, revision) = (object.field("data"), object.field("revision"));
    if !data.is_set() {
        causes.push(data.required("data is mandatory"));
    }
    causes.extend(revision.not_negative());
}

pub(super) fn controller_revision_change(new: &Value, old: &Value) -> Vec<Cause> {
    immutable(new, old, "data").into_iter().collect()
}
