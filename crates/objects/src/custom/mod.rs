//! Custom resources: what a CustomResourceDefinition says of one version of its kind, and what that means for an object
//! (apiextensions-apiserver). No I/O.
//!
//! An object goes through [`Structural::prune`] and [`Structural::fill`] before it is validated by [`validate`]:
//! against the schema, and then by the definition's rules ([`rules`]).

mod columns;
mod declared;
mod defaults;
mod definition;
mod earlier;
pub mod embedded;
mod evaluate;
pub mod field_path;
mod formats;
mod kept;
mod lists;
mod prune;
pub mod rules;
mod structural;
#[cfg(test)]
mod tests;
mod validate;
mod values;

pub use columns::Column;
pub use definition::{Definition, NotADefinition, Scale, Schema, is_served, kinds};
pub use embedded::MetadataCheck;
pub use structural::{Additional, Checks, ListType, Pattern, Structural, Type, compile_pattern, pattern_size};

use serde_json::{Map, Value, json};

use crate::cause::Cause;

/// Steps into an object, past which it is refused.
const DEPTH: usize = 128;

/// The fields of `metadata` as every object has them: what is unknown is taken away and named, by its path.
///
/// # Errors
/// When a field is of the wrong type, in Go's words.
pub fn conform_metadata(object: &mut Value) -> Result<Vec<String>, String> {
    let Some(metadata) = object.get_mut("metadata") else { return Ok(Vec::new()) };
    // Every kind's metadata is the same: this is the smallest kind that has one.
    let mut bare = json!({"metadata": metadata.take()});
    let conformed = crate::schema::conform("", "v1", "ConfigMap", &mut bare);
    *metadata = bare.get_mut("metadata").map(Value::take).unwrap_or_else(|| Value::Object(Map::new()));
    conformed.map(|found| found.unknown).map_err(|wrong| wrong.go)
}

/// Whether an object is deeper than is looked into.
pub fn is_too_deep(value: &Value) -> bool {
    fn deeper(value: &Value, left: usize) -> bool {
        match (value, left) {
            (Value::Array(_) | Value::Object(_), 0) => true,
            (Value::Array(list), left) => list.iter().any(|value| deeper(value, left - 1)),
            (Value::Object(map), left) => map.values().any(|value| deeper(value, left - 1)),
            _ => false,
        }
    }
    deeper(value, DEPTH)
}

/// Everything that is wrong with an object, as its definition has it. `old` is what it was, if it is changed; `metadata` checks
/// that of the objects within it.
pub fn validate(schema: &Structural, object: &Value, old: Option<&Value>, metadata: MetadataCheck) -> Vec<Cause> {
    if is_too_deep(object) {
        return vec![too_deep()];
    }
    let mut causes = schema.validate(object, old);
    causes.extend(embedded::validate(schema, object, metadata));
    whole(schema, object, old, &mut causes);
    causes
}

/// Everything that is wrong with a write to the status of an object: what the schema says of the rest is not asked, so that who reports
/// can do so whatever became of the rest (upstream's `ValidateStatusUpdate`). Rules are asked, which may be about both.
pub fn validate_status(schema: &Structural, object: &Value, old: &Value) -> Vec<Cause> {
    const STATUS: &str = "status";
    if is_too_deep(object) {
        return vec![too_deep()];
    }
    let own = schema.field(STATUS).zip(object.get(STATUS));
    let found = own.map(|(schema, status)| schema.validate(status, old.get(STATUS)));
    let below = |cause: Cause| {
        let field = match cause.field.as_str() {
            "" | "<nil>" => STATUS.to_owned(),
            field => format!("{STATUS}.{field}"),
        };
        Cause { field, ..cause }
    };
    let mut causes: Vec<Cause> = found.into_iter().flatten().map(below).collect();
    whole(schema, object, Some(old), &mut causes);
    causes
}

fn too_deep() -> Cause {
    Cause::invalid_shown("<nil>", "\"\"", &format!("the object is nested deeper than {DEPTH} levels"))
}

/// What is asked of an object as a whole, whichever part of it is written: its lists and its rules.
fn whole(schema: &Structural, object: &Value, old: Option<&Value>, causes: &mut Vec<Cause>) {
    // What was there twice before is not held against an update.
    if old.is_none_or(|old| lists::duplicates(schema, old).is_empty()) {
        causes.extend(lists::duplicates(schema, object));
    }
    if !schema.has_rules() {
        return;
    }
    let hinders = [
        "FieldValueNotSupported",
        "FieldValueRequired",
        "FieldValueTypeInvalid",
        "FieldValueTooLong",
        "FieldValueTooMany",
    ];
    if causes.iter().any(|cause| hinders.contains(&cause.reason)) {
        let why = "some validation rules were not checked because the object was invalid; correct the existing errors to complete validation";
        causes.push(Cause::invalid_shown("<nil>", "null", why));
    } else {
        causes.extend(evaluate::check(schema, object, old));
    }
}

/// What an update is let pass with: rules that do not hold for what it leaves as it was. Upstream warns of them.
pub fn tolerated(schema: &Structural, object: &Value, old: &Value) -> Vec<Cause> {
    if !schema.has_rules() || is_too_deep(object) {
        return Vec::new();
    }
    evaluate::check_unchanged(schema, object, old)
}

/// What is wrong with the default of a schema: whether it is a value of it, and keeps its rules as a value that is made and as
/// one that stays. A `whole` object has a name and a kind.
pub fn validate_default(schema: &Structural, default: &Value, whole: bool) -> Vec<Cause> {
    let causes = schema.validate(default, None);
    if !causes.is_empty() || !schema.has_rules() {
        return causes;
    }
    let causes = evaluate::check_kept(schema, default, whole);
    if causes.is_empty() { evaluate::check_made(schema, default, whole) } else { causes }
}
