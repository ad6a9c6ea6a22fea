//! Kinds that are views of the same objects: from the version that a client speaks to the one that is stored, and back.
//!
//! What the older version has no field for travels in annotations, as upstream's conversions have it, so that reading an object
//! in one version and writing it back changes nothing.

mod autoscaler;
mod event;

use objects::kinds::Kind;
use serde_json::Value;

use crate::{crd, status::Failure};

/// An object of `view` as it is stored.
///
/// # Errors
/// 400 when an annotation that stands for fields cannot be read.
pub fn to_stored(view: &Kind, object: Value) -> Result<Value, Failure> {
    // What says that it is of another version is refused later, in its own words.
    let says = object.get("apiVersion").and_then(Value::as_str).unwrap_or_default();
    if view.stored_as.is_none() || !says.is_empty() && says != view.api_version() {
        return Ok(object);
    }
    match view.kind {
        "HorizontalPodAutoscaler" => autoscaler::to_v2(object),
        "Event" => Ok(event::to_core(object)),
        _ => Ok(renamed(object, view.stored_as)),
    }
}

/// A stored object as `view` has it.
pub fn from_stored(view: &Kind, object: Value) -> Value {
    if view.definition().is_some() {
        return crd::objects::read(view, object);
    }
    match (view.stored_as, view.kind) {
        (Some(_), "HorizontalPodAutoscaler") => autoscaler::to_v1(object),
        (Some(_), "Event") => event::from_core(object),
        (Some(_), _) => renamed(object, Some((view.group, view.version))),
        _ => object,
    }
}

/// An object whose versions differ in their name alone.
fn renamed(mut object: Value, version: Option<(&str, &str)>) -> Value {
    if let (Some((group, version)), Some(map)) = (version, object.as_object_mut()) {
        map.insert("apiVersion".to_owned(), format!("{group}/{version}").into());
    }
    object
}

/// The path in the stored object of a field that a selector of `view` names.
pub fn stored_path(view: &Kind, path: &str) -> String {
    match (view.stored_as, view.kind) {
        (Some(_), "Event") => event::core_path(path),
        _ => path.to_owned(),
    }
}
