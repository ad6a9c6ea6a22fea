//! The patch that `kubectl apply` sends: what the new manifest says, and the removal of what the last one said and this one
//! does not.

use serde_json::{Map, Value, json};

use super::{
    is_strategic,
    merge_keys::{Strategy, strategy},
};
use crate::kinds::Kind;

/// The patch that turns `current` into what `modified` says, keeping what neither `original` (applied last) nor `modified` speaks
/// of. An empty object when nothing is to be done.
pub fn last_applied_patch(kind: Option<&Kind>, original: Option<&Value>, modified: &Value, current: &Value) -> Value {
    let differ = Differ { lists: kind.is_none_or(is_strategic) };
    let empty = Value::Object(Map::new());
    differ.object(original.unwrap_or(&empty), modified, current, "").unwrap_or(empty)
}

struct Differ {
    lists: bool,
}

impl Differ {
    /// The change of one object, or `None` if there is none.
    fn object(&self, original: &Value, modified: &Value, current: &Value, path: &str) -> Option<Value> {
        let mut patch = Map::new();
        let fields = |value: &Value| value.as_object().cloned().unwrap_or_default();
        for (key, wanted) in &fields(modified) {
            let path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
            let change = match (wanted, current.get(key)) {
                (_, None) => Some(wanted.clone()),
                (Value::Object(_), Some(now)) => {
                    self.object(original.get(key).unwrap_or(&Value::Null), wanted, now, &path)
                }
                (Value::Array(wanted), Some(Value::Array(now))) => {
                    let before = original.get(key).and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
                    self.list(before, wanted, now, &path, key, &mut patch)
                }
                (_, Some(now)) => (now != wanted).then(|| wanted.clone()),
            };
            if let Some(change) = change {
                patch.insert(key.clone(), change);
            }
        }
        for key in fields(original).keys() {
            if modified.get(key).is_none() && current.get(key).is_some() {
                patch.insert(key.clone(), Value::Null);
            }
        }
        (!patch.is_empty()).then_some(Value::Object(patch))
    }

    fn list(
        &self,
        before: &[Value],
        wanted: &[Value],
        now: &[Value],
        path: &str,
        key: &str,
        patch: &mut Map<String, Value>,
    ) -> Option<Value> {
        match strategy(path).filter(|_| self.lists) {
            None => (now != wanted).then(|| wanted.into()),
            Some(Strategy::Set) => {
                let gone: Vec<_> = before.iter().filter(|v| !wanted.contains(v) && now.contains(v)).cloned().collect();
                if !gone.is_empty() {
                    patch.insert(format!("$deleteFromPrimitiveList/{key}"), gone.into());
                }
                let new: Vec<_> = wanted.iter().filter(|v| !now.contains(v)).cloned().collect();
                (!new.is_empty()).then(|| new.into())
            }
            Some(Strategy::Merge(id)) => self.merged_list(id, before, wanted, now, path),
        }
    }

    fn merged_list(&self, id: &str, before: &[Value], wanted: &[Value], now: &[Value], path: &str) -> Option<Value> {
        let find = |list: &[Value], element: &Value| list.iter().find(|e| e.get(id) == element.get(id)).cloned();
        let mut changes = Vec::new();
        for element in wanted {
            let Some(current) = find(now, element) else {
                changes.push(element.clone());
                continue;
            };
            let original = find(before, element).unwrap_or_default();
            if let Some(mut change) = self.object(&original, element, &current, &format!("{path}.*")) {
                if let (Some(map), Some(value)) = (change.as_object_mut(), element.get(id)) {
                    map.insert(id.to_owned(), value.clone());
                }
                changes.push(change);
            }
        }
        for element in before {
            if find(wanted, element).is_none() && find(now, element).is_some() {
                changes.push(json!({id: element.get(id), "$patch": "delete"}));
            }
        }
        (!changes.is_empty()).then(|| changes.into())
    }
}
