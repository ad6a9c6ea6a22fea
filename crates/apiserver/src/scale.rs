//! The `scale` subresource: `autoscaling/v1` Scale over a Deployment, a ReplicaSet, or where a definition says.

use objects::kinds::Kind;
use serde_json::{Value, json};

use crate::{
    crd::objects::{replicas, set_replicas},
    registry::meta,
    status::{Cause, Failure},
};

/// Where kinds that are built in have their replicas.
const SPEC: &str = "/spec/replicas";
const STATUS: &str = "/status/replicas";

/// The Scale of an object.
pub fn of(kind: &Kind, object: &Value) -> Value {
    let custom = kind.definition().and_then(|definition| definition.scale.as_ref());
    let own = |field: &str| object.pointer(&format!("/metadata/{field}")).cloned().unwrap_or_default();
    let mut metadata = json!({});
    for field in ["name", "namespace", "uid", "resourceVersion", "creationTimestamp"] {
        meta_insert(&mut metadata, field, own(field));
    }
    let number = |pointer: &str| replicas(object, pointer).unwrap_or(0);
    let selector = match custom {
        None => selector(object),
        Some(scale) => {
            let text = scale.selector.as_ref().and_then(|pointer| object.pointer(pointer)).and_then(Value::as_str);
            text.unwrap_or_default().to_owned()
        }
    };
    json!({
        "kind": "Scale", "apiVersion": "autoscaling/v1", "metadata": metadata,
        "spec": {"replicas": number(custom.map_or(SPEC, |scale| &scale.spec))},
        "status": {"replicas": number(custom.map_or(STATUS, |scale| &scale.status)), "selector": selector},
    })
}

/// Whether an object has the replicas that its Scale is to show.
///
/// # Errors
/// 500 for a custom resource that does not say them, as upstream has it: 0 would be a number that somebody wanted.
pub fn check(kind: &Kind, object: &Value) -> Result<(), Failure> {
    let custom = kind.definition().and_then(|definition| definition.scale.as_ref());
    match custom.filter(|scale| replicas(object, &scale.spec).is_none()) {
        None => Ok(()),
        Some(scale) => {
            let path = scale.spec.replace('/', ".");
            Err(Failure::internal(format!("the spec replicas field {path:?} does not exist")))
        }
    }
}

/// The object with the replicas that a Scale wants.
///
/// # Errors
/// 422 when it wants fewer than none.
pub fn set(kind: &Kind, object: &Value, scale: &Value) -> Result<Value, Failure> {
    let replicas = replicas(scale, SPEC).unwrap_or(0);
    if replicas < 0 {
        let cause = Cause::invalid("spec.replicas", &replicas.into(), "must be greater than or equal to 0");
        return Err(Failure::invalid_kind("autoscaling", "Scale", meta::text(object, "name"), &[cause]));
    }
    let mut next = object.clone();
    let custom = kind.definition().and_then(|definition| definition.scale.as_ref());
    set_replicas(&mut next, custom.map_or(SPEC, |scale| &scale.spec), replicas);
    // The update compares these with the stored object's: a Scale of an old version is a conflict.
    for field in ["uid", "resourceVersion"] {
        if let Some(value) = scale.pointer(&format!("/metadata/{field}")) {
            meta::set(&mut next, field, Some(value.clone()));
        }
    }
    Ok(next)
}

fn meta_insert(metadata: &mut Value, field: &str, value: Value) {
    if let (Some(map), false) = (metadata.as_object_mut(), value.is_null()) {
        map.insert(field.to_owned(), value);
    }
}

/// The label selector in its text form, as autoscalers read it.
pub fn selector(object: &Value) -> String {
    object.pointer("/spec/selector").map(selector_text).unwrap_or_default()
}

/// A label selector in its text form; a ReplicationController's is a map of labels.
pub fn selector_text(selector: &Value) -> String {
    let structured = ["matchLabels", "matchExpressions"].iter().any(|field| selector.get(*field).is_some());
    let exact = if structured { selector.get("matchLabels") } else { Some(selector) };
    let exact = exact.and_then(Value::as_object);
    let mut terms: Vec<String> =
        exact.into_iter().flatten().map(|(k, v)| format!("{k}={}", v.as_str().unwrap_or_default())).collect();
    let expressions = selector.get("matchExpressions").and_then(Value::as_array);
    for expression in expressions.into_iter().flatten() {
        let text = |field: &str| expression.get(field).and_then(Value::as_str).unwrap_or_default();
        let values = expression.get("values").and_then(Value::as_array).into_iter().flatten();
        let values: Vec<&str> = values.filter_map(Value::as_str).collect();
        terms.push(match text("operator") {
            "In" => format!("{} in ({})", text("key"), values.join(",")),
            "NotIn" => format!("{} notin ({})", text("key"), values.join(",")),
            "DoesNotExist" => format!("!{}", text("key")),
            _ => text("key").to_owned(),
        });
    }
    terms.join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scale_shows_and_sets_the_replicas() {
        let object = json!({"metadata": {"name": "a", "resourceVersion": "7"}, "spec": {"replicas": 2,
            "selector": {"matchLabels": {"app": "a"}, "matchExpressions": [{"key": "t", "operator": "In", "values": ["x", "y"]}]}}});
        let kind = objects::kinds::by_kind("apps", "v1", "Deployment").unwrap();
        let mut scale = of(kind, &object);
        assert_eq!((&scale["spec"]["replicas"], &scale["status"]["selector"]), (&json!(2), &json!("app=a,t in (x,y)")));
        scale["spec"]["replicas"] = json!(5);
        assert_eq!(set(kind, &object, &scale).unwrap()["spec"]["replicas"], 5);
        scale["spec"]["replicas"] = json!(-1);
        assert!(set(kind, &object, &scale).is_err());
    }
}
