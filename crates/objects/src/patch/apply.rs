//! The three-way patch of `kubectl apply`: what was applied last, what is wanted, what is there.

use serde_json::{Map, Value, json};

use super::{
    place::Place,
    strategic::{DELETE_FROM, ORDER, PATCH, RETAIN, is_strategic},
};
use crate::{fields::Patch, kinds::Kind, schema};

/// The patch that brings `current` to `modified`, and removes what `original` (the last applied) had and `modified` has
/// not. A strategic merge patch when the kind [has strategic semantics](is_strategic), else a JSON merge patch; `{}` when
/// there is nothing to do. Fields that only `current` has stay.
pub fn last_applied_patch(kind: Option<&Kind>, original: Option<&Value>, modified: &Value, current: &Value) -> Value {
    let kind = kind.filter(|kind| is_strategic(kind));
    let at = Place::at(kind.and_then(|kind| schema::shape(kind.group, kind.version, kind.kind)));
    let empty = Map::new();
    let fields = |value: Option<&Value>| value.and_then(Value::as_object).unwrap_or(&empty).clone();
    Value::Object(object(at, &fields(original), &fields(Some(modified)), &fields(Some(current))))
}

fn object(
    at: Place<'_>,
    original: &Map<String, Value>,
    modified: &Map<String, Value>,
    current: &Map<String, Value>,
) -> Map<String, Value> {
    let empty = Map::new();
    let mut patch = Map::new();
    for (key, wanted) in modified {
        let was = original.get(key);
        match (wanted, current.get(key)) {
            (Value::Null, None) => {}
            (wanted, None) => {
                patch.insert(key.clone(), wanted.clone());
            }
            (Value::Object(wanted), Some(Value::Object(there))) => {
                let was = was.and_then(Value::as_object).unwrap_or(&empty);
                let mut change = object(at.child(key), was, wanted, there);
                if at.patch(key).is_some_and(|patch| patch.retain_keys) {
                    retain(&mut change, wanted);
                }
                if !change.is_empty() {
                    patch.insert(key.clone(), Value::Object(change));
                }
            }
            (Value::Array(wanted), Some(Value::Array(there))) => {
                let was = was.and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
                list(&mut patch, at, key, [was, wanted, there]);
            }
            (wanted, Some(there)) if wanted != there => {
                patch.insert(key.clone(), wanted.clone());
            }
            _ => {}
        }
    }
    for key in original.keys().filter(|key| !modified.contains_key(*key) && current.contains_key(*key)) {
        patch.insert(key.clone(), Value::Null);
    }
    patch
}

/// Names the keys that stay, where a union's other members (a volume's other source) must go.
fn retain(change: &mut Map<String, Value>, wanted: &Map<String, Value>) {
    if !change.is_empty() {
        let keys: Vec<_> = wanted.iter().filter(|(_, v)| !v.is_null()).map(|(k, _)| k.clone()).collect();
        change.insert(RETAIN.into(), json!(keys));
    }
}

fn list(patch: &mut Map<String, Value>, at: Place<'_>, key: &str, lists: [&[Value]; 3]) {
    let [was, wanted, there] = lists;
    match at.patch(key) {
        Some(Patch { merge: true, key: Some(by), retain_keys, .. }) => {
            keyed(patch, key, (by, at.element(key), *retain_keys), lists);
        }
        Some(Patch { merge: true, key: None, .. }) => {
            let new: Vec<_> = wanted.iter().filter(|v| !there.contains(v)).collect();
            let gone: Vec<_> = was.iter().filter(|v| !wanted.contains(v) && there.contains(v)).collect();
            if !new.is_empty() || !gone.is_empty() {
                patch.insert(format!("{ORDER}{key}"), json!(wanted));
            }
            if !new.is_empty() {
                patch.insert(key.into(), json!(new));
            }
            if !gone.is_empty() {
                patch.insert(format!("{DELETE_FROM}{key}"), json!(gone));
            }
        }
        _ => {
            if wanted != there {
                patch.insert(key.into(), json!(wanted));
            }
        }
    }
}

fn unique(items: &[Value], by: &str) -> bool {
    items.iter().enumerate().all(|(i, item)| {
        let key = item.get(by);
        key.is_some() && !items.iter().take(i).any(|earlier| earlier.get(by) == key)
    })
}

fn keyed(
    patch: &mut Map<String, Value>,
    key: &str,
    (by, child, retains): (&str, Place<'_>, bool),
    [was, wanted, there]: [&[Value]; 3],
) {
    // One port number for TCP and UDP: the key does not tell them apart, so only the whole list is safe.
    if ![wanted, there].iter().all(|items| unique(items, by)) {
        if wanted != there {
            let whole = std::iter::once(json!({ PATCH: "replace" })).chain(wanted.iter().cloned());
            patch.insert(key.into(), whole.collect());
        }
        return;
    }
    fn find<'a>(items: &'a [Value], by: &str, element: &Value) -> Option<&'a Map<String, Value>> {
        items.iter().find(|item| item.get(by) == element.get(by)).and_then(Value::as_object)
    }
    let empty = Map::new();
    let mut changes = Vec::new();
    for element in wanted {
        let (Some(fields), Some(found)) = (element.as_object(), find(there, by, element)) else {
            changes.push(element.clone());
            continue;
        };
        let mut change = object(child, find(was, by, element).unwrap_or(&empty), fields, found);
        if retains {
            retain(&mut change, fields);
        }
        if !change.is_empty() {
            change.insert(by.into(), element.get(by).cloned().unwrap_or_default());
            changes.push(Value::Object(change));
        }
    }
    for gone in was.iter().filter(|item| item.get(by).is_some()) {
        if find(wanted, by, gone).is_none() && find(there, by, gone).is_some() {
            changes.push(json!({ PATCH: "delete", by: gone.get(by) }));
        }
    }
    let kept: Vec<_> = there.iter().filter(|i| find(wanted, by, i).is_some()).map(|i| i.get(by)).collect();
    let asked: Vec<_> = wanted.iter().filter(|i| find(there, by, i).is_some()).map(|i| i.get(by)).collect();
    if !changes.is_empty() || kept != asked {
        let order: Vec<_> = wanted.iter().map(|item| json!({ by: item.get(by) })).collect();
        patch.insert(format!("{ORDER}{key}"), json!(order));
    }
    if !changes.is_empty() {
        patch.insert(key.into(), Value::Array(changes));
    }
}
