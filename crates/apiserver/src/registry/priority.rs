//! Priorities of pods: a new pod is given its class's number and policy before it is checked, as upstream's admission plugin
//! `Priority` does; and there is one default class at most.

use objects::kinds::{self, Kind};
use serde_json::{Value, json};

use super::{Registry, meta, parse, update::Part};
use crate::status::Failure;

/// What a pod of a class that says nothing else, or of none, may do.
const PREEMPTS: &str = "PreemptLowerPriority";

/// The PriorityClasses that a write must know.
#[derive(Debug, Default)]
pub(super) struct Classes(Vec<Value>);

impl Registry {
    /// The classes, where objects of a kind depend on them. Two defaults that are made in the same instant may both be let in, as
    /// upstream: then the lower one counts.
    pub(super) fn classes(&self, kind: &Kind) -> Classes {
        let Some(classes) = kinds::by_kind("scheduling.k8s.io", "v1", "PriorityClass") else {
            return Classes::default();
        };
        if !kind.is("", "Pod") && !kind.is(classes.group, classes.kind) {
            return Classes::default();
        }
        Classes(self.list(classes, "").objects.iter().filter_map(|(_, stored)| parse(stored).ok()).collect())
    }
}

impl Classes {
    /// Gives a new pod its class (that of pods without one, if there is such a class), its priority and its policy, and refuses a
    /// second default class.
    ///
    /// # Errors
    /// 403 for a class that is not there, and for a pod that says another priority or policy than its class.
    pub fn admit(&self, kind: &Kind, object: &mut Value) -> Result<(), Failure> {
        if kind.is("scheduling.k8s.io", "PriorityClass") {
            return self.is_only_default(kind, object);
        }
        if !kind.is("", "Pod") {
            return Ok(());
        }
        let refused = |object: &Value, why: String| {
            // What has no name yet is known by what its name is made from.
            let name = ["name", "generateName"].map(|field| meta::text(object, field));
            let name = name.into_iter().find(|name| !name.is_empty()).unwrap_or_default();
            Err(Failure::forbidden(kind, name, &why))
        };
        let wanted = said(object, "priorityClassName").and_then(Value::as_str).filter(|name| !name.is_empty());
        let class = match wanted {
            Some(name) => match self.0.iter().find(|class| meta::text(class, "name") == name) {
                Some(class) => Some(class),
                None => return refused(object, format!("no PriorityClass with name {name} was found")),
            },
            None => self.defaults().min_by_key(|class| value(class)),
        };
        let priority = class.map_or(0, value);
        let policy = class.and_then(|class| class.get("preemptionPolicy")?.as_str()).unwrap_or(PREEMPTS);
        let computed = "must not be provided in pod spec; priority admission controller computed";
        let from = "from the given PriorityClass name";
        if let Some(other) = said(object, "priority").filter(|said| said.as_i64() != Some(priority)) {
            return refused(object, format!("the integer value of priority ({other}) {computed} {priority} {from}"));
        }
        let other = said(object, "preemptionPolicy").and_then(Value::as_str).filter(|said| *said != policy);
        if let Some(other) = other {
            return refused(
                object,
                format!("the string value of PreemptionPolicy ({other}) {computed} {policy} {from}"),
            );
        }
        let Some(spec) = object.get_mut("spec").and_then(Value::as_object_mut) else { return Ok(()) };
        if let Some(class) = class {
            spec.insert("priorityClassName".to_owned(), meta::text(class, "name").into());
        }
        spec.insert("priority".to_owned(), priority.into());
        spec.insert("preemptionPolicy".to_owned(), policy.into());
        Ok(())
    }

    /// As [`Classes::admit`], for a change.
    ///
    /// # Errors
    /// 403 for what would be a second default.
    pub fn admit_change(&self, kind: &Kind, part: Part, object: &Value) -> Result<(), Failure> {
        if part != Part::Main { Ok(()) } else { self.is_only_default(kind, object) }
    }

    fn defaults(&self) -> impl Iterator<Item = &Value> {
        self.0.iter().filter(|class| is_default(class))
    }

    fn is_only_default(&self, kind: &Kind, class: &Value) -> Result<(), Failure> {
        if !kind.is("scheduling.k8s.io", "PriorityClass") || !is_default(class) {
            return Ok(());
        }
        let name = meta::text(class, "name");
        let Some(other) = self.defaults().map(|class| meta::text(class, "name")).find(|other| *other != name) else {
            return Ok(());
        };
        let why = format!("PriorityClass {other} is already marked as default. Only one default can exist");
        Err(Failure::forbidden(kind, name, &why))
    }
}

/// A changed pod keeps the priority and the policy that it does not say.
pub(super) fn inherit(current: &Value, wanted: &mut Value) {
    for field in ["priority", "preemptionPolicy"] {
        let kept = said(current, field).cloned();
        if let (None, Some(kept)) = (said(wanted, field), kept)
            && let Some(spec) = wanted.get_mut("spec").and_then(Value::as_object_mut)
        {
            spec.insert(field.to_owned(), kept);
        }
    }
}

fn said<'a>(object: &'a Value, field: &str) -> Option<&'a Value> {
    object.get("spec")?.get(field).filter(|value| !value.is_null())
}

fn value(class: &Value) -> i64 {
    class.get("value").and_then(Value::as_i64).unwrap_or(0)
}

fn is_default(class: &Value) -> bool {
    class.get("globalDefault") == Some(&json!(true))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn class(name: &str, extra: &Value) -> Value {
        let mut class = json!({"metadata": {"name": name}, "value": 7});
        objects::patch::merge_patch(&mut class, extra);
        class
    }

    fn pods() -> &'static Kind {
        kinds::by_kind("", "v1", "Pod").unwrap()
    }

    /// The pod's class, priority and policy; or why it was refused.
    fn admitted(classes: &[Value], spec: Value) -> Result<Value, String> {
        let mut pod = json!({"metadata": {"generateName": "web-"}, "spec": spec});
        let classes = Classes(classes.to_vec());
        classes.admit(pods(), &mut pod).map_err(|failure| failure.message)?;
        let field = |name: &str| pod["spec"][name].clone();
        Ok(json!([field("priorityClassName"), field("priority"), field("preemptionPolicy")]))
    }

    #[test]
    fn a_pod_has_the_priority_of_its_class_and_without_one_that_of_the_default_class() {
        let high = class("high", &json!({"preemptionPolicy": "Never"}));
        let all = [
            high.clone(),
            class("b", &json!({"globalDefault": true})),
            class("a", &json!({"globalDefault": true, "value": -1})),
        ];
        assert_eq!(admitted(&all, json!({"priorityClassName": "high"})), Ok(json!(["high", 7, "Never"])));
        assert_eq!(admitted(&all, json!({})), Ok(json!(["a", -1, "PreemptLowerPriority"])));
        assert_eq!(admitted(&all, json!({"priorityClassName": ""})), Ok(json!(["a", -1, "PreemptLowerPriority"])));
        assert_eq!(admitted(&[high], json!({"priority": null})), Ok(json!([null, 0, "PreemptLowerPriority"])));
    }

    #[test]
    fn a_pod_may_not_say_what_its_class_does_not() {
        let high = [class("high", &json!({}))];
        let refused = |spec: Value| admitted(&high, spec).unwrap_err();
        assert_eq!(
            refused(json!({"priorityClassName": "low"})),
            "pods \"web-\" is forbidden: no PriorityClass with name low was found"
        );
        assert_eq!(
            refused(json!({"priority": 5})),
            "pods \"web-\" is forbidden: the integer value of priority (5) must not be provided in pod spec; priority admission \
             controller computed 0 from the given PriorityClass name"
        );
        let said = refused(json!({"priorityClassName": "high", "priority": 7, "preemptionPolicy": "Never"}));
        assert!(said.contains("value of PreemptionPolicy (Never) must not be provided"), "{said}");
        assert!(said.ends_with("computed PreemptLowerPriority from the given PriorityClass name"), "{said}");
    }

    #[test]
    fn there_is_one_default_class() {
        let classes = kinds::by_kind("scheduling.k8s.io", "v1", "PriorityClass").unwrap();
        let default = json!({"globalDefault": true});
        let known = Classes(vec![class("a", &default)]);
        let mut again = class("a", &default);
        assert!(known.admit(classes, &mut again).is_ok());
        assert!(known.admit_change(classes, Part::Main, &class("b", &json!({}))).is_ok());
        let why = known.admit_change(classes, Part::Main, &class("b", &default)).unwrap_err().message;
        let expected = "priorityclasses.scheduling.k8s.io \"b\" is forbidden: PriorityClass a is already marked as default. Only \
                        one default can exist";
        assert_eq!(why, expected);
    }

    #[test]
    fn a_changed_pod_keeps_its_priority() {
        let current = json!({"spec": {"priority": 9, "preemptionPolicy": "Never"}});
        let mut wanted = json!({"spec": {"priority": null}});
        inherit(&current, &mut wanted);
        assert_eq!(wanted, current);
        let mut other = json!({"spec": {"priority": 1, "preemptionPolicy": "Never"}});
        inherit(&current, &mut other);
        assert_eq!(other["spec"]["priority"], 1, "validation refuses it");
    }
}
