//! What the API would say to an object, without an API: the same decoding, defaults and validation, and nothing stored.

use jiff::Timestamp;
use objects::{
    kinds::{KindRef, Kinds},
    schema::Strict,
    support,
};
use serde_json::Value;

use super::fields::{Directive, Model};
use crate::{
    convert,
    registry::{
        create::{self, Identity},
        meta, node_ports,
    },
    status::{Cause, Failure},
};

/// What would become of one object.
#[derive(Clone, Debug)]
pub struct Verdict {
    /// Its kind; `None`: there is no such kind here.
    pub kind: Option<KindRef>,
    /// The object as it would be stored, with its defaults and in the stored version; `None` if it would be refused.
    pub stored: Option<Value>,
    /// Why it would be refused; empty if it would not.
    pub refused: Vec<Refusal>,
    /// What it says that would have no effect, or not the effect it has elsewhere.
    pub warnings: Vec<String>,
}

/// One reason to refuse an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The path of the field, such as `spec.replicas`; empty if it is the whole object.
    pub field: String,
    /// What is wrong.
    pub message: String,
}

/// What the API would say if this object were applied with `fieldValidation=Strict` to a cluster that has nothing but the
/// definitions of `kinds`.
pub fn check(object: Value, kinds: &Kinds) -> Verdict {
    let text = |field: &str| object.get(field).and_then(Value::as_str).unwrap_or_default();
    let (api_version, name) = (text("apiVersion"), text("kind"));
    let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
    let Some(kind) = kinds.by_kind(group, version, name) else {
        // A kind of another project that has the same name is no other version of this one.
        let same =
            |kind: &KindRef| kind.kind == name && (kind.group == group || is_upstream(group) && !kind.is_custom());
        let served: Vec<String> = kinds.all().filter(same).map(|kind| kind.api_version()).collect();
        let instead = match (served.is_empty(), is_upstream(group)) {
            (true, true) => String::new(),
            (true, false) => "; it needs the CustomResourceDefinition that defines it".to_owned(),
            (false, _) => format!("; it is served as {}", served.join(" and ")),
        };
        let message = format!("there is no kind {name:?} in version {api_version:?} here{instead}");
        return Verdict {
            kind: None,
            stored: None,
            refused: vec![Refusal { field: String::new(), message }],
            warnings: Vec::new(),
        };
    };
    let without_effect = support::warnings(&kind, &object);
    match admit(&kind, object) {
        Ok((stored, mut warnings)) => {
            warnings.extend(crate::warnings::of(&kind.storage(), &stored));
            warnings.extend(support::warnings(&kind, &stored));
            Verdict { kind: Some(kind), stored: Some(stored), refused: Vec::new(), warnings }
        }
        Err(failure) => {
            Verdict { kind: Some(kind), stored: None, refused: refusals(&failure), warnings: without_effect }
        }
    }
}

/// Whether a group is one of Kubernetes itself: those of other projects have a domain of their own.
fn is_upstream(group: &str) -> bool {
    !group.contains('.') || group.ends_with(".k8s.io")
}

/// The object as it would be stored.
fn admit(kind: &KindRef, object: Value) -> Result<(Value, Vec<String>), Failure> {
    let named = object.pointer("/metadata/name").and_then(Value::as_str).is_some_and(|name| !name.is_empty());
    if !named {
        let cause = Cause::required("metadata.name", "what is applied needs a name");
        return Err(Failure::invalid(kind, "", &[cause]));
    }
    let namespace = object.pointer("/metadata/namespace").and_then(Value::as_str).unwrap_or("default").to_owned();
    let body = Strict { value: object, duplicates: Vec::new() };
    let (object, warnings) = Model::of(kind).read(body, Directive::Strict)?;
    let object = convert::to_stored(kind, object)?;
    // Whatever is unlike any other: nothing of it is kept.
    let identity = Identity { uid: String::new(), suffix: "00000".to_owned(), now: Timestamp::UNIX_EPOCH };
    let (view, kind) = (kind, kind.storage());
    let made = create::prepare(&kind, view, &namespace, object, &identity)?;
    let wrong = if kind.is("", "Service") { node_ports::out_of_range(&made) } else { Vec::new() };
    if !wrong.is_empty() {
        return Err(Failure::invalid(&kind, meta::text(&made, "name"), &wrong));
    }
    Ok((made, warnings))
}

/// The causes of a failure, or its message where it has none.
fn refusals(failure: &Failure) -> Vec<Refusal> {
    let causes = failure.details.as_ref().and_then(|details| details.get("causes")).and_then(Value::as_array);
    let text = |cause: &Value, field: &str| cause.get(field).and_then(Value::as_str).unwrap_or_default().to_owned();
    let all: Vec<Refusal> = causes
        .into_iter()
        .flatten()
        .map(|cause| Refusal { field: text(cause, "field"), message: text(cause, "message") })
        .collect();
    if all.is_empty() { vec![Refusal { field: String::new(), message: failure.message.clone() }] } else { all }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn check(object: Value) -> Verdict {
        super::check(object, &Kinds::default())
    }

    #[test]
    fn what_the_api_refuses_is_refused_with_its_field() {
        let service =
            |spec: Value| json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "web"}, "spec": spec});
        let verdict = check(service(json!({"ports": [{"port": 0}]})));
        assert_eq!(verdict.refused[0].field, "spec.ports[0].port");
        let verdict = check(service(json!({"ports": [{"port": 80}], "prots": []})));
        assert!(verdict.refused[0].message.contains("unknown field \"spec.prots\""), "{verdict:?}");
        let verdict = check(service(json!({"type": "NodePort", "ports": [{"port": 80}]})));
        assert!(verdict.refused.is_empty() && verdict.warnings[0].contains("NodePort"), "{verdict:?}");
        let verdict = check(service(json!({"type": "NodePort", "ports": [{"port": 80, "nodePort": 8080}]})));
        assert_eq!(verdict.refused[0].field, "spec.ports[0].nodePort");
        let mut nameless = service(json!({}));
        nameless["metadata"] = json!({});
        assert_eq!(check(nameless).refused[0].field, "metadata.name");
    }

    #[test]
    fn a_kind_that_is_not_there_is_said_with_the_versions_that_are() {
        let verdict =
            check(json!({"apiVersion": "extensions/v1beta1", "kind": "Deployment", "metadata": {"name": "a"}}));
        assert!(
            verdict.kind.is_none() && verdict.refused[0].message.ends_with("it is served as apps/v1"),
            "{verdict:?}"
        );
    }

    #[test]
    fn a_kind_of_another_project_needs_its_definition_and_then_has_a_schema() {
        let thing = |spec: Value| json!({"apiVersion": "example.com/v1", "kind": "Service", "metadata": {"name": "a"}, "spec": spec});
        let verdict = check(thing(json!({})));
        assert!(
            verdict.refused[0].message.ends_with("needs the CustomResourceDefinition that defines it"),
            "{verdict:?}"
        );
        let schema = json!({"type": "object", "properties": {"spec": {"type": "object", "properties": {"size": {"type": "integer"}}}}});
        let definition = json!({"spec": {"group": "example.com", "names": {"plural": "services", "kind": "Service"},
            "versions": [{"name": "v1", "served": true, "storage": true, "schema": {"openAPIV3Schema": schema}}]}});
        let kinds = Kinds::new(objects::custom::kinds(&definition).unwrap());
        let verdict = super::check(thing(json!({"size": "x"})), &kinds);
        assert_eq!(verdict.refused[0].field, "spec.size", "{verdict:?}");
        assert!(!verdict.kind.unwrap().namespaced);
        assert!(super::check(thing(json!({"size": 1})), &kinds).refused.is_empty());
        let verdict = super::check(thing(json!({"sise": 1})), &kinds);
        assert!(verdict.refused[0].message.contains("unknown field \"spec.sise\""), "{verdict:?}");
    }
}
