//! What a value was before an update (apiserver's `CorrelatedObject`): only in lists that are maps can an element be told to be the
//! one that it was.

use std::collections::HashMap;

use serde_json::Value;

use super::{
    lists::{canonical, key},
    structural::{ListType, Structural},
};

/// The elements of a list as it was, by their keys.
pub(super) struct Earlier<'a>(HashMap<String, Option<&'a Value>>);

impl<'a> Earlier<'a> {
    /// Of a list as it was, if there was one.
    pub(super) fn of(schema: &Structural, old: Option<&'a Value>) -> Self {
        let mut by_key = HashMap::new();
        if schema.list_type == ListType::Map {
            for element in old.and_then(Value::as_array).into_iter().flatten() {
                // Of two with the same keys nobody can say which it was.
                let twice = |found: &mut Option<&'a Value>| *found = None;
                by_key.entry(canonical(&key(schema, element))).and_modify(twice).or_insert(Some(element));
            }
        }
        Self(by_key)
    }

    /// What an element was.
    pub(super) fn element(&self, schema: &Structural, element: &Value) -> Option<&'a Value> {
        if self.0.is_empty() {
            return None;
        }
        self.0.get(&canonical(&key(schema, element))).copied().flatten()
    }
}

/// Whether a value is what it was: the order of a list that is a map does not matter.
pub(super) fn same(schema: &Structural, old: &Value, new: &Value) -> bool {
    if old == new {
        return true;
    }
    match (old, new) {
        (Value::Object(before), Value::Object(now)) => {
            let same = |(name, now): (&String, &Value)| {
                let below = schema.field(name);
                before.get(name).is_some_and(|old| below.map_or(old == now, |below| same(below, old, now)))
            };
            before.len() == now.len() && now.iter().all(same)
        }
        (Value::Array(before), Value::Array(now)) if schema.list_type == ListType::Map => {
            let (earlier, any) = (Earlier::of(schema, Some(old)), Structural::default());
            let items = schema.items.as_deref().unwrap_or(&any);
            let same = |now: &Value| earlier.element(schema, now).is_some_and(|old| same(items, old, now));
            before.len() == now.len() && now.iter().all(same)
        }
        _ => false,
    }
}
