//! Patches on JSON objects: JSON patch, JSON merge patch, Kubernetes' strategic merge, and the patch `kubectl apply` sends.

mod apply;
mod json;
mod lists;
mod place;
mod strategic;
#[cfg(test)]
mod tests;

use serde_json::Value;

pub use apply::last_applied_patch;
pub use json::json_patch;
pub use strategic::{is_strategic, strategic_merge, strategic_merge_as};

/// Why a patch could not be applied. The target may then be half changed: apply patches to a copy.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum PatchError {
    /// The patch itself is malformed.
    #[error("invalid patch: {0}")]
    Invalid(String),
    /// A JSON pointer names nothing in the target.
    #[error("the path {0:?} does not exist in the object")]
    Missing(String),
    /// A `test` operation found another value.
    #[error("testing the path {0:?} failed: the value differs")]
    Test(String),
    /// The patch asks for more work than the limits allow.
    #[error("Request entity too large: {0}")]
    TooLarge(String),
}

/// Applies a JSON merge patch (RFC 7386): objects merge, `null` removes, everything else replaces.
pub fn merge_patch(target: &mut Value, patch: &Value) {
    let Value::Object(changes) = patch else {
        *target = patch.clone();
        return;
    };
    if !target.is_object() {
        *target = Value::Object(serde_json::Map::new());
    }
    if let Value::Object(fields) = target {
        for (key, change) in changes {
            if change.is_null() {
                fields.remove(key);
            } else {
                merge_patch(fields.entry(key.clone()).or_insert(Value::Null), change);
            }
        }
    }
}
