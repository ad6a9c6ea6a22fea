//! What only new objects are asked: what was stored before a rule was known may stay as it is.

use objects::{kinds::Kind, names, selector::Labels};
use serde_json::Value;

use super::{
    at::At,
    change::{go_map, go_selector},
    ephemeral,
};
use crate::status::Cause;

/// What is wrong with a new object that would not be wrong with one that there is.
pub(super) fn check(kind: &Kind, object: &Value) -> Vec<Cause> {
    let at = At::root(object);
    match (kind.group, kind.kind) {
        ("", "Pod") => ephemeral::on_create(&at).into_iter().collect(),
        ("apps", "StatefulSet") => stateful_set(&at),
        ("batch", "Job") => job(&at),
        ("networking.k8s.io", "Ingress") => ingress(&at).into_iter().collect(),
        _ => Vec::new(),
    }
}

/// The labels that a Job's own pods have: what it is called, and whether its value is the Job's uid or its name.
const OWN: [(&str, &str); 4] = [
    ("controller-uid", "uid"),
    ("job-name", "name"),
    ("batch.kubernetes.io/controller-uid", "uid"),
    ("batch.kubernetes.io/job-name", "name"),
];

/// A Job selects its own pods and no other's, unless it says that it means to (upstream's `validateGeneratedSelector`): one that was
/// read from a Job that there was would take that one's pods for its own. And the host names of its pods must be possible.
fn job(object: &At<'_>) -> Vec<Cause> {
    let (metadata, spec) = (object.field("metadata"), object.field("spec"));
    let mut causes = Vec::new();
    let selector = spec.field("selector");
    if !spec.field("manualSelector").is_true() && selector.is_set() {
        let labels = spec.field("template").field("metadata").field("labels");
        for (label, field) in OWN {
            let (found, wanted) = (labels.value.get(label).and_then(Value::as_str), metadata.field(field).text());
            let (path, why) = (format!("{}[{label}]", labels.path), format!("must be '{wanted}'"));
            match found {
                None => causes.push(Cause::required(path, &why)),
                Some(found) if found != wanted => {
                    causes.push(Cause::invalid_shown(path, &go_map(labels.value), &why));
                }
                Some(_) => {}
            }
        }
        let own = OWN.map(|(label, field)| (label.to_owned(), metadata.field(field).text().to_owned()));
        let parsed = serde_json::from_value(selector.value.clone()).ok();
        let parsed = parsed.as_ref().and_then(|selector| Labels::from_selector(selector).ok());
        if parsed.is_some_and(|parsed| !parsed.matches(&own.into_iter().collect())) {
            let why = "`selector` not auto-generated";
            causes.push(Cause::invalid_shown(&selector.path, &go_selector(selector.value), why));
        }
    }
    let completions = spec.field("completions").number().filter(|number| *number > 0);
    if let Some(completions) = completions.filter(|_| spec.field("completionMode").text() == "Indexed") {
        let name = metadata.field("name");
        let longest = format!("{}-{}", name.text(), completions - 1);
        if !names::dns_label(&longest).is_empty() {
            let why = format!("will not able to create pod with invalid DNS label: {longest}");
            causes.push(name.invalid(&why));
        }
    }
    causes
}

/// The names of a StatefulSet's pods start with its own, and are host names below its Service's.
fn stateful_set(object: &At<'_>) -> Vec<Cause> {
    let (name, service) = (object.field("metadata").field("name"), object.field("spec").field("serviceName"));
    // What is no name at all is said already.
    let mut causes =
        if names::dns_subdomain(name.text()).is_empty() { name.named(names::dns_label) } else { Vec::new() };
    if !service.text().is_empty() {
        causes.extend(service.named(names::dns_label));
    }
    causes
}

/// A class is named in one place.
fn ingress(object: &At<'_>) -> Option<Cause> {
    let old = object.field("metadata").field("annotations").field("kubernetes.io/ingress.class");
    let both = old.is_set() && object.field("spec").field("ingressClassName").is_set();
    let place = "metadata.annotations.kubernetes.io/ingress.class";
    both.then(|| Cause::invalid(place, old.value, "can not be set when the class field is also set"))
}

#[cfg(test)]
mod tests {
    use objects::kinds;
    use serde_json::json;

    use super::*;

    #[test]
    fn the_labels_of_a_job_are_its_own() {
        let kind = kinds::by_kind("batch", "v1", "Job").unwrap();
        let labels = |uid: &str| {
            json!({"controller-uid": uid, "job-name": "j", "batch.kubernetes.io/controller-uid": uid,
                "batch.kubernetes.io/job-name": "j"})
        };
        let made = |of: &str| {
            let selector = json!({"matchLabels": {"batch.kubernetes.io/controller-uid": of}});
            json!({"metadata": {"name": "j", "uid": "new"},
                "spec": {"selector": selector, "template": {"metadata": {"labels": labels(of)}}}})
        };
        assert!(check(kind, &made("new")).is_empty());
        let found: Vec<String> = check(kind, &made("old")).into_iter().map(|cause| cause.field).collect();
        let expected = [
            "spec.template.metadata.labels[controller-uid]",
            "spec.template.metadata.labels[batch.kubernetes.io/controller-uid]",
            "spec.selector",
        ];
        assert_eq!(found, expected);
        let mut meant = made("old");
        meant["spec"]["manualSelector"] = json!(true);
        assert!(check(kind, &meant).is_empty());
    }
}
