//! Who gets which names: the status of a definition (upstream's naming and establishing controllers). No I/O.

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};

/// The status that a definition is to have, where the others have got theirs. `now` is a time as the API writes it.
pub(super) fn status(definition: &Value, others: &[&Value], now: &str) -> Value {
    let mut status = definition.get("status").cloned().filter(Value::is_object).unwrap_or_else(|| json!({}));
    let (accepted, conflict) = accept(definition, others);
    let no_conflict = conflict.is_none();
    let (reason, message) = conflict.unwrap_or_else(|| ("NoConflicts", "no conflicts found".to_owned()));
    set_condition(&mut status, "NamesAccepted", no_conflict, reason, &message, now);
    if no_conflict {
        let message = "the initial names have been accepted";
        set_condition(&mut status, "Established", true, "InitialNamesAccepted", message, now);
    } else if !objects::custom::is_served(definition) {
        set_condition(&mut status, "Established", false, "NotAccepted", "not all names are accepted", now);
    }
    approve(definition, &mut status, now);
    let storage = versions(definition).find(|version| version.get("storage") == Some(&Value::Bool(true)));
    let storage = storage.and_then(|version| version.get("name")).cloned().unwrap_or_default();
    let mut stored = status.get("storedVersions").and_then(Value::as_array).cloned().unwrap_or_default();
    if !stored.contains(&storage) {
        stored.push(storage);
    }
    if let Some(map) = status.as_object_mut() {
        map.insert("acceptedNames".to_owned(), Value::Object(accepted));
        map.insert("storedVersions".to_owned(), Value::Array(stored));
    }
    status
}

fn versions(definition: &Value) -> impl Iterator<Item = &Value> {
    definition.pointer("/spec/versions").and_then(Value::as_array).into_iter().flatten()
}

/// The names that the definition gets, and what first stood against one of those that it wants.
fn accept(definition: &Value, others: &[&Value]) -> (Map<String, Value>, Option<(&'static str, String)>) {
    let none = Value::Null;
    let wanted = definition.pointer("/spec/names").unwrap_or(&none);
    let had = definition.pointer("/status/acceptedNames").unwrap_or(&none);
    let group = definition.pointer("/spec/group");
    let (mut resources, mut kinds) = (BTreeSet::new(), BTreeSet::new());
    for other in others.iter().filter(|other| other.pointer("/spec/group") == group) {
        let Some(names) = other.pointer("/status/acceptedNames") else { continue };
        resources.extend(["plural", "singular"].iter().filter_map(|field| names.get(field)?.as_str()));
        resources.extend(texts(names.get("shortNames")));
        kinds.extend(["kind", "listKind"].iter().filter_map(|field| names.get(field)?.as_str()));
    }
    let mut accepted = had.as_object().cloned().unwrap_or_default();
    let mut conflict = None;
    for (field, reason, taken) in [
        ("plural", "PluralConflict", &resources),
        ("singular", "SingularConflict", &resources),
        ("shortNames", "ShortNamesConflict", &resources),
        ("kind", "KindConflict", &kinds),
        ("listKind", "ListKindConflict", &kinds),
    ] {
        let value = wanted.get(field);
        let names = value.and_then(Value::as_str).into_iter().chain(texts(value));
        let in_use: Vec<String> =
            names.filter(|name| taken.contains(name)).map(|name| format!("{name:?} is already in use")).collect();
        match in_use.as_slice() {
            [] => keep(&mut accepted, field, value),
            [one] => conflict = conflict.or_else(|| Some((reason, one.clone()))),
            many => conflict = conflict.or_else(|| Some((reason, format!("[{}]", many.join(", "))))),
        }
    }
    keep(&mut accepted, "categories", wanted.get("categories"));
    // Every definition that was read has these, even if it got none.
    for field in ["plural", "kind"] {
        accepted.entry(field).or_insert_with(|| json!(""));
    }
    (accepted, conflict)
}

fn texts(list: Option<&Value>) -> impl Iterator<Item = &str> {
    list.and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str)
}

fn keep(accepted: &mut Map<String, Value>, field: &str, value: Option<&Value>) {
    match value {
        Some(value) => drop(accepted.insert(field.to_owned(), value.clone())),
        None => drop(accepted.remove(field)),
    }
}

/// Groups of the Kubernetes project itself say who approved the kind.
fn approve(definition: &Value, status: &mut Value, now: &str) {
    let group = definition.pointer("/spec/group").and_then(Value::as_str).unwrap_or_default();
    if !is_protected(group) {
        return;
    }
    let (approval, message) = approval(definition);
    let (met, reason) = match approval {
        Approval::Bypassed => (false, "UnapprovedAnnotation"),
        Approval::Given => (true, "ApprovedAnnotation"),
        Approval::Missing => (false, "MissingAnnotation"),
        Approval::Invalid => (false, "InvalidAnnotation"),
    };
    set_condition(status, "KubernetesAPIApprovalPolicyConformant", met, reason, &message, now);
}

/// The annotation that says who approved a kind of Kubernetes' own groups.
pub(super) const APPROVED: &str = "api-approved.kubernetes.io";
/// Where that is explained.
pub(super) const WHY: &str = "https://github.com/kubernetes/enhancements/pull/1111";

/// What the annotation says that says who approved a kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Approval {
    /// There is none.
    Missing,
    /// Neither a URL nor a reason for going without.
    Invalid,
    /// A URL.
    Given,
    /// Why it is not needed.
    Bypassed,
}

/// Who approved a kind, and the same in words.
pub(super) fn approval(definition: &Value) -> (Approval, String) {
    let annotation = definition.pointer("/metadata/annotations").and_then(|all| all.get(APPROVED)?.as_str());
    let missing = format!("protected groups must have approval annotation {APPROVED:?}");
    match annotation.unwrap_or_default() {
        "" => (Approval::Missing, format!("{missing}, see {WHY}")),
        text if text.starts_with("unapproved") => (Approval::Bypassed, format!("not approved: {text:?}")),
        text if text.parse::<http::Uri>().is_ok_and(|url| url.scheme().is_some() && url.host().is_some()) => {
            (Approval::Given, format!("approved in {text}"))
        }
        _ => {
            let why = format!("{missing} with either a URL or a reason starting with \"unapproved\", see {WHY}");
            (Approval::Invalid, why)
        }
    }
}

/// Whether a group is the Kubernetes project's.
pub(super) fn is_protected(group: &str) -> bool {
    ["k8s.io", "kubernetes.io"].iter().any(|own| group == *own || group.ends_with(&format!(".{own}")))
}

/// Sets a condition; its time is that of its last change.
pub(super) fn set_condition(status: &mut Value, of: &str, is: bool, reason: &str, message: &str, now: &str) {
    let is = if is { "True" } else { "False" };
    let Some(map) = status.as_object_mut() else { return };
    let conditions = map.entry("conditions").or_insert_with(|| json!([]));
    let Some(list) = conditions.as_array_mut() else { return };
    let found = list.iter_mut().find(|condition| condition.get("type").is_some_and(|name| name == of));
    let changed = found.as_ref().and_then(|condition| {
        let same = condition.get("status").is_some_and(|status| status == is);
        condition.get("lastTransitionTime").filter(|_| same).cloned()
    });
    let time = changed.unwrap_or_else(|| now.into());
    let next = json!({"type": of, "status": is, "reason": reason, "message": message, "lastTransitionTime": time});
    match found {
        Some(condition) => *condition = next,
        None => list.push(next),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn definition(name: &str, names: Value) -> Value {
        json!({"metadata": {"name": name}, "spec": {"group": "stable.example.com", "names": names,
            "versions": [{"name": "v1", "storage": true, "served": true}]}})
    }

    fn condition<'a>(status: &'a Value, of: &str) -> &'a Value {
        status["conditions"].as_array().unwrap().iter().find(|condition| condition["type"] == of).unwrap()
    }

    #[test]
    fn the_first_with_a_name_has_it_and_the_second_is_told() {
        let mut first = definition("a", json!({"plural": "as", "kind": "A", "shortNames": ["x"], "listKind": "AList"}));
        let own = status(&first, &[], "t0");
        assert_eq!(condition(&own, "NamesAccepted")["status"], "True");
        assert_eq!(condition(&own, "Established")["reason"], "InitialNamesAccepted");
        assert_eq!((&own["storedVersions"], &own["acceptedNames"]["kind"]), (&json!(["v1"]), &json!("A")));
        first["status"] = own.clone();
        // Nothing changes when nothing changed.
        assert_eq!(status(&first, &[], "t1"), own);
        let second = definition("b", json!({"plural": "bs", "kind": "B", "shortNames": ["x", "y"]}));
        let refused = status(&second, &[&first], "t1");
        let accepted = condition(&refused, "NamesAccepted");
        assert_eq!(
            (&accepted["reason"], &accepted["message"]),
            (&json!("ShortNamesConflict"), &json!("\"x\" is already in use"))
        );
        assert_eq!(condition(&refused, "Established")["reason"], "NotAccepted");
        assert_eq!(refused["acceptedNames"], json!({"plural": "bs", "kind": "B"}));
        let elsewhere =
            json!({"spec": {"group": "other.example.com"}, "status": {"acceptedNames": {"shortNames": ["x", "y"]}}});
        assert_eq!(condition(&status(&second, &[&elsewhere], "t1"), "Established")["status"], "True");
    }

    #[test]
    fn an_established_kind_stays_when_its_new_names_are_taken() {
        let taken = json!({"spec": {"group": "stable.example.com"}, "status": {"acceptedNames": {"kind": "Other"}}});
        let mut changed = definition("a", json!({"plural": "as", "kind": "A"}));
        changed["status"] = status(&changed, &[], "t0");
        changed["spec"]["names"]["kind"] = json!("Other");
        let now = status(&changed, &[&taken], "t1");
        assert_eq!(condition(&now, "NamesAccepted")["reason"], "KindConflict");
        assert_eq!(condition(&now, "Established")["status"], "True");
        assert_eq!(now["acceptedNames"]["kind"], "A");
    }
}
