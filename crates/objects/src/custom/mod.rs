//! Custom resources: what a CustomResourceDefinition says of one version of its kind, and what that means for an object
//! (apiextensions-apiserver). No I/O.
//!
//! An object goes through [`Structural::prune`] and [`Structural::fill`] before it is validated by [`validate`]:
//! against the schema, and then by the definition's rules ([`rules`]).

mod columns;
mod defaults;
mod definition;
mod formats;
mod lists;
mod prune;
pub mod rules;
mod structural;
#[cfg(test)]
mod tests;
mod validate;

pub use columns::Column;
pub use definition::{Definition, NotADefinition, Scale, Schema, is_served, kinds};
pub use structural::{Additional, Checks, ListType, Structural, Type, compile_pattern};

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

/// Everything that is wrong with an object, as its definition has it. `old` is what it was, if it is changed.
pub fn validate(schema: &Structural, object: &Value, old: Option<&Value>) -> Vec<Cause> {
    if is_too_deep(object) {
        return vec![Cause::invalid_shown(
            "<nil>",
            "\"\"",
            &format!("the object is nested deeper than {DEPTH} levels"),
        )];
    }
    let mut causes = schema.validate(object, old);
    causes.extend(lists::duplicates(schema, object, old));
    if !schema.has_rules() {
        return causes;
    }
    let hinders = ["FieldValueRequired", "FieldValueTypeInvalid", "FieldValueTooLong", "FieldValueTooMany"];
    if causes.iter().any(|cause| hinders.contains(&cause.reason)) {
        let why = "some validation rules were not checked because the object was invalid; correct the existing errors to complete validation";
        causes.push(Cause::invalid_shown("<nil>", "null", why));
    } else {
        causes.extend(rules::check(schema, object, old));
    }
    causes
}
