//! Custom resources on their way in and out of the store. Objects are kept in their definition's storage version.

use ::objects::{
    custom::{self, Scale},
    kinds::{Kind, Origin},
};
use serde_json::Value;

use crate::{
    go,
    registry::meta,
    status::{Cause, Failure},
    validation::metadata,
};

/// A stored object as a kind has it: with the defaults that its definition has got since, in the kind's version. What this version's
/// schema does not have is not shown (apiextensions' `schemaCoercingConverter`): a client that sent it back would be told that it is
/// unknown.
pub(crate) fn read(kind: &Kind, object: Value) -> Value {
    let mut object = read_whole(kind, object);
    if let Some(definition) = kind.definition().filter(|definition| definition.storage != kind.version) {
        definition.schema.compiled().prune(&mut object);
    }
    object
}

/// As [`read`], with what only the version has that objects are kept in: a write to a part of an object leaves that as it is.
pub(crate) fn read_whole(kind: &Kind, mut object: Value) -> Value {
    if let Some(definition) = kind.definition() {
        let schema = definition.storage_schema.compiled();
        schema.prune(&mut object);
        schema.fill(&mut object);
    }
    set_version(&mut object, kind.group, kind.version);
    object
}

/// Makes an object what is stored of it: what the version has that objects are kept in.
pub(crate) fn write(kind: &Kind, object: &mut Value) {
    let Some(definition) = kind.definition() else { return };
    set_version(object, kind.group, definition.storage);
    if definition.storage != kind.version {
        definition.storage_schema.compiled().prune(object);
    }
}

/// Versions differ in their names (conversion `None`), and in what their schemas leave of an object.
fn set_version(object: &mut Value, group: &str, version: &str) {
    if let Some(map) = object.as_object_mut() {
        map.insert("apiVersion".to_owned(), format!("{group}/{version}").into());
    }
}

/// Everything that is wrong with an object.
pub(crate) fn validate(kind: &Kind, object: &Value, old: Option<&Value>) -> Vec<Cause> {
    let Some(definition) = kind.definition() else { return Vec::new() };
    let mut causes = custom::validate(&definition.schema.compiled(), object, old, metadata::embedded);
    if let Some(scale) = &definition.scale {
        causes.extend(count(object, &scale.spec));
        causes.extend(counted(object, scale));
    }
    causes
}

/// Everything that is wrong with a write to the status of an object.
pub(crate) fn validate_status(kind: &Kind, object: &Value, old: &Value) -> Vec<Cause> {
    let Some(definition) = kind.definition() else { return Vec::new() };
    let mut causes = custom::validate_status(&definition.schema.compiled(), object, old);
    causes.extend(definition.scale.iter().flat_map(|scale| counted(object, scale)));
    causes
}

/// What is wrong with what the scale subresource tells of the status: autoscalers go by it.
fn counted(object: &Value, scale: &Scale) -> Vec<Cause> {
    let selector = scale.selector.as_ref().and_then(|path| {
        let wrong = found(object, path, "string", Value::is_string).err()?;
        Some(Cause::invalid(path.replace('/', "."), &"".into(), &wrong))
    });
    count(object, &scale.status).into_iter().chain(selector).collect()
}

/// What is wrong with replicas: the scale subresource has room for whole numbers of 32 bits, none of them below zero.
fn count(object: &Value, path: &str) -> Option<Cause> {
    let wrong = |value: i64, why: &str| Some(Cause::invalid(path.replace('/', "."), &value.into(), why));
    match found(object, path, "int64", Value::is_i64) {
        Err(why) => wrong(0, &why),
        Ok(found) => match found.and_then(Value::as_i64).unwrap_or(0) {
            few if few < 0 => wrong(few, "should be a non-negative integer"),
            many if many > i64::from(i32::MAX) => wrong(many, &format!("should be less than or equal to {}", i32::MAX)),
            _ => None,
        },
    }
}

/// What a path of the scale subresource leads to, if it is there and of a type.
///
/// # Errors
/// Why it is not, in Go's words (`unstructured.NestedInt64` and its like).
fn found<'a>(object: &'a Value, path: &str, wanted: &str, is: fn(&Value) -> bool) -> Result<Option<&'a Value>, String> {
    let wrong = |path: &str, value: &Value, wanted: &str| {
        let (value, of) = (go::text(value), go::type_of(value));
        Err(format!("{} accessor error: {value} is of the type {of}, expected {wanted}", path.replace('/', ".")))
    };
    let mut at = object;
    for (end, _) in path.match_indices('/').skip(1).chain([(path.len(), "")]) {
        let here = path.get(..end).unwrap_or(path);
        let step = here.rsplit('/').next().unwrap_or_default();
        match at {
            Value::Null => return Ok(None),
            Value::Object(map) => match map.get(step) {
                Some(value) => at = value,
                None => return Ok(None),
            },
            other => return wrong(here, other, "map[string]interface{}"),
        }
    }
    if is(at) { Ok(Some(at)) } else { wrong(path, at, wanted) }
}

/// Of what a changed object is let pass with, no more is told than this.
const MOST_TOLERATED: usize = 20;

/// What to warn of after an update: rules that what it left as it was does not keep (apiextensions' validation ratcheting).
pub(crate) fn tolerated(kind: &Kind, object: &Value, old: &Value) -> Vec<String> {
    let Some(definition) = kind.definition() else { return Vec::new() };
    let causes = custom::tolerated(&definition.schema.compiled(), object, old);
    causes.iter().take(MOST_TOLERATED).map(|cause| format!("{}: {}", cause.field, cause.message)).collect()
}

/// Takes out of an object what its kind does not have; gives the paths of what went.
///
/// # Errors
/// 400 when `metadata` is of the wrong type.
pub(crate) fn conform(kind: &Kind, object: &mut Value) -> Result<Vec<String>, Failure> {
    let own = custom::conform_metadata(object).map_err(|go| {
        let version = kind.version;
        let name = kind.kind;
        Failure::bad_request(format!("{name} in version {version:?} cannot be handled as a {name}: {go}"))
    })?;
    let mut unknown = own;
    if let (Origin::Defined(definition), false) = (&kind.origin, custom::is_too_deep(object)) {
        let schema = definition.schema.compiled();
        unknown.extend(schema.prune(object));
        unknown.extend(custom::embedded::conform(&schema, object).map_err(|wrong| {
            Failure::bad_request(format!("{}: Invalid value: {}: {}", wrong.path, wrong.value, wrong.message))
        })?);
    }
    Ok(unknown)
}

/// What clients are warned of that use a kind: its version is deprecated.
pub(crate) fn deprecation(kind: &Kind) -> Option<&str> {
    kind.definition().and_then(|definition| definition.deprecated.as_deref())
}

/// The number at a pointer of the scale subresource.
pub(crate) fn replicas(object: &Value, pointer: &str) -> Option<i64> {
    object.pointer(pointer).and_then(Value::as_i64)
}

/// Sets the number at a pointer, and makes what leads there.
pub(crate) fn set_replicas(object: &mut Value, pointer: &str, replicas: i64) {
    let mut steps: Vec<&str> = pointer.split('/').filter(|step| !step.is_empty()).collect();
    let Some(last) = steps.pop() else { return };
    let Some((first, rest)) = steps.split_first() else { return };
    let mut map = meta::section(object, first);
    for step in rest {
        let next = map.entry((*step).to_owned()).or_insert_with(|| Value::Object(serde_json::Map::new()));
        let Value::Object(next) = next else { return };
        map = next;
    }
    map.insert(last.to_owned(), replicas.into());
}
