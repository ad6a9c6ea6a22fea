//! From `kubectl apply` to `kubectl apply --server-side`: the annotation of the one is kept for the other.

use serde_json::{Map, Value};

use super::{compare::compare, set::Set, shape::Shape, to_set::to_set, updater::Conflict, validate::validate};

/// The manager that kubectl applies as; others who want nothing of this name themselves otherwise.
pub(super) const KUBECTL: &str = "kubectl";
const ANNOTATION: &str = "kubectl.kubernetes.io/last-applied-configuration";
/// Annotations have so many bytes together, at most.
const MOST_BYTES: usize = 256 << 10;

fn annotation(object: &Value) -> Option<&str> {
    object.get("metadata")?.get("annotations")?.get(ANNOTATION)?.as_str().filter(|text| !text.is_empty())
}

/// The conflicts that are not about fields that client-side apply set to what they are.
pub(super) fn others(
    shape: Option<Shape<'_>>,
    live: Option<&Value>,
    api_version: &str,
    conflicts: Vec<Conflict>,
) -> Vec<Conflict> {
    let allowed = shape.zip(live).and_then(|(shape, live)| applied(shape, live, api_version)).unwrap_or_default();
    conflicts.into_iter().filter(|conflict| !allowed.has(&conflict.path)).collect()
}

/// The fields of the annotation that still have its values.
fn applied(shape: Shape<'_>, live: &Value, api_version: &str) -> Option<Set> {
    let last: Value = serde_json::from_str(annotation(live)?).ok()?;
    if last.get("apiVersion").and_then(Value::as_str) != Some(api_version) || validate(shape, &last, false).is_err() {
        return None;
    }
    let differ = compare(shape, Some(&last), live).ok()?;
    let said = to_set(shape, &last);
    Some(said.difference(&differ.modified).difference(&differ.added).difference(&differ.removed))
}

/// Brings the annotation of an object, if it has one, up to what was applied.
pub(super) fn sync(object: &mut Value, applied: &Value) {
    if annotation(object).is_none() {
        return;
    }
    let mut applied = applied.clone();
    if let Some(annotations) = annotations(&mut applied) {
        annotations.remove(ANNOTATION);
    }
    if let Some(annotations) = annotations(object) {
        annotations.insert(ANNOTATION.to_owned(), format!("{applied}\n").into());
        let bytes: usize =
            annotations.iter().map(|(name, value)| name.len() + value.as_str().map_or(0, str::len)).sum();
        if bytes > MOST_BYTES {
            annotations.remove(ANNOTATION);
        }
    }
}

fn annotations(object: &mut Value) -> Option<&mut Map<String, Value>> {
    object.pointer_mut("/metadata/annotations")?.as_object_mut()
}
