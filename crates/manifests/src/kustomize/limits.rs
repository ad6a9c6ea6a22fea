//! What a build may grow to: everything in it is bounded, whatever the files say.

use serde_json::Value;

/// Kustomizations in one build, each counted as often as it is used.
pub(super) const KUSTOMIZATIONS: usize = 2_000;
/// Kustomizations that lead to one another.
pub(super) const DEPTH: usize = 100;
/// Objects in one build.
pub(super) const OBJECTS: usize = 50_000;
/// Values in one object.
const VALUES: usize = 1_000_000;
/// Nesting in one object.
const NESTING: usize = 256;

/// Whether an object is within bounds, after something that can make it grow.
///
/// # Errors
/// Says which bound it passes.
pub(super) fn check(object: &Value) -> Result<(), String> {
    let mut open = vec![(object, 0_usize)];
    let mut seen = 0_usize;
    while let Some((value, depth)) = open.pop() {
        seen += 1;
        if seen > VALUES {
            return Err(format!("the object grows beyond {VALUES} values"));
        }
        if depth > NESTING {
            return Err(format!("the object nests deeper than {NESTING} levels"));
        }
        match value {
            Value::Array(items) => open.extend(items.iter().map(|item| (item, depth + 1))),
            Value::Object(fields) => open.extend(fields.values().map(|field| (field, depth + 1))),
            _ => {}
        }
    }
    Ok(())
}
