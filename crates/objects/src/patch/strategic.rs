//! Strategic merge: objects merge, listed lists merge by key, and directives (`$patch`, …) say the rest.

use serde_json::{Map, Value};

use super::{
    PatchError,
    merge_keys::{Rule, rule, top_rule},
};
use crate::kinds::Kind;

pub(super) const ORDER: &str = "$setElementOrder/";
pub(super) const DELETE_FROM: &str = "$deleteFromPrimitiveList/";
pub(super) const RETAIN: &str = "$retainKeys";
pub(super) const PATCH: &str = "$patch";

/// Where in the types a value stands, so that its properties' rules are found.
#[derive(Clone, Copy)]
pub(super) enum At {
    Top(&'static str),
    Definition(&'static str),
    Unknown,
}

impl At {
    pub(super) fn rule(self, property: &str) -> Option<Rule> {
        match self {
            Self::Top(kind) => top_rule(kind, property),
            Self::Definition(name) => rule(name, property),
            Self::Unknown => None,
        }
    }

    pub(super) fn child(self, property: &str) -> Self {
        match self.rule(property) {
            Some(Rule::Object(name) | Rule::Retain(name)) => Self::Definition(name),
            _ => Self::Unknown,
        }
    }
}

/// Whether the kind has strategic merge semantics: built-in kinds have, Gateway API's (custom resources upstream) do not.
pub fn is_strategic(kind: &Kind) -> bool {
    !kind.group.ends_with("gateway.networking.k8s.io")
}

/// Applies a strategic merge patch. A kind without strategic semantics (or `None`) gets a JSON merge patch.
///
/// # Errors
/// A patch that is no object, an unknown `$patch` directive, an element of a keyed list without its key, or a key that
/// `$retainKeys` does not name.
pub fn strategic_merge(kind: Option<&Kind>, target: &mut Value, patch: &Value) -> Result<(), PatchError> {
    let Value::Object(changes) = patch else {
        return Err(PatchError::Invalid("a strategic merge patch is an object".into()));
    };
    let Some(kind) = kind.filter(|kind| is_strategic(kind)) else {
        super::merge_patch(target, patch);
        return Ok(());
    };
    if !target.is_object() {
        *target = Value::Object(Map::new());
    }
    let Value::Object(fields) = target else { return Ok(()) };
    merge_object(At::Top(kind.kind), fields, changes)
}

fn invalid(message: impl Into<String>) -> PatchError {
    PatchError::Invalid(message.into())
}

fn merge_object(at: At, target: &mut Map<String, Value>, patch: &Map<String, Value>) -> Result<(), PatchError> {
    match patch.get(PATCH).map(Value::as_str) {
        None | Some(Some("merge")) => {}
        Some(Some("replace")) => {
            *target = patch.iter().filter(|(k, _)| *k != PATCH).map(|(k, v)| (k.clone(), v.clone())).collect();
            return Ok(());
        }
        Some(Some("delete")) => {
            target.clear();
            return Ok(());
        }
        Some(other) => return Err(invalid(format!("unknown $patch directive {other:?}"))),
    }
    retain(target, patch)?;
    for (key, change) in patch {
        if let Some(list) = key.strip_prefix(DELETE_FROM) {
            let gone = change.as_array().ok_or_else(|| invalid(format!("{key} must be a list")))?;
            if let Some(Value::Array(items)) = target.get_mut(list) {
                items.retain(|item| !gone.contains(item));
            }
        } else if !key.starts_with('$') {
            merge_property(at, target, key, change, patch.get(&format!("{ORDER}{key}")))?;
        }
    }
    // An order may come without a patch of the list itself.
    for (key, order) in patch {
        if let Some(list) = key.strip_prefix(ORDER).filter(|list| !patch.contains_key(*list))
            && let Some(Value::Array(items)) = target.get_mut(list)
        {
            let before = items.clone();
            reorder(items, &before, order, merge_key(at, list))?;
        }
    }
    Ok(())
}

fn retain(target: &mut Map<String, Value>, patch: &Map<String, Value>) -> Result<(), PatchError> {
    let Some(kept) = patch.get(RETAIN) else { return Ok(()) };
    let kept = kept.as_array().ok_or_else(|| invalid("$retainKeys must be a list"))?;
    let named = |key: &str| kept.iter().any(|k| k.as_str() == Some(key));
    if let Some(key) = patch.iter().find(|(k, v)| !k.starts_with('$') && !v.is_null() && !named(k)).map(|(k, _)| k) {
        return Err(invalid(format!("{key:?} is in the patch but not in $retainKeys")));
    }
    target.retain(|key, _| named(key));
    Ok(())
}

fn merge_key(at: At, property: &str) -> Option<&'static str> {
    match at.rule(property) {
        Some(Rule::Merge(key, _) | Rule::MergeRetain(key, _)) => Some(key),
        _ => None,
    }
}

fn merge_property(
    at: At,
    target: &mut Map<String, Value>,
    key: &str,
    change: &Value,
    order: Option<&Value>,
) -> Result<(), PatchError> {
    match change {
        Value::Null => {
            target.remove(key);
        }
        Value::Object(changes) => {
            let mut fields = match target.remove(key) {
                Some(Value::Object(fields)) => fields,
                _ => Map::new(),
            };
            merge_object(at.child(key), &mut fields, changes)?;
            // `$patch: delete` takes the whole property away.
            if changes.get(PATCH).and_then(Value::as_str) != Some("delete") {
                target.insert(key.into(), Value::Object(fields));
            }
        }
        Value::Array(changes) => {
            let rule = at.rule(key);
            let mut items = match target.remove(key) {
                Some(Value::Array(items)) => items,
                _ => Vec::new(),
            };
            let before = items.clone();
            match rule {
                Some(Rule::Merge(by, child) | Rule::MergeRetain(by, child)) => {
                    merge_list(by, child, &mut items, changes)?;
                }
                Some(Rule::Set) => {
                    for change in changes {
                        if !items.contains(change) {
                            items.push(change.clone());
                        }
                    }
                }
                _ => items.clone_from(changes),
            }
            if let Some(order) = order {
                reorder(&mut items, &before, order, merge_key(at, key))?;
            }
            target.insert(key.into(), Value::Array(items));
        }
        scalar => {
            target.insert(key.into(), scalar.clone());
        }
    }
    Ok(())
}

fn merge_list(by: &str, child: &'static str, items: &mut Vec<Value>, changes: &[Value]) -> Result<(), PatchError> {
    let replaces = |change: &Value| change.get(PATCH).and_then(Value::as_str) == Some("replace");
    if changes.iter().any(|change| replaces(change) && change.get(by).is_none()) {
        *items = changes.iter().filter(|change| !replaces(change)).cloned().collect();
        return Ok(());
    }
    for change in changes {
        let Value::Object(fields) = change else { return Err(invalid(format!("{change} must be an object"))) };
        let key = fields.get(by).ok_or_else(|| invalid(format!("an element has no merge key {by:?}: {change}")))?;
        if fields.get(PATCH).and_then(Value::as_str) == Some("delete") {
            items.retain(|item| item.get(by) != Some(key));
            continue;
        }
        match items.iter_mut().find(|item| item.get(by) == Some(key)) {
            Some(Value::Object(found)) => merge_object(At::Definition(child), found, fields)?,
            _ => {
                let mut new = Map::new();
                merge_object(At::Definition(child), &mut new, fields)?;
                items.push(Value::Object(new));
            }
        }
    }
    Ok(())
}

/// Puts the named elements in the given order; the others keep their place relative to those of `before`.
fn reorder(items: &mut Vec<Value>, before: &[Value], order: &Value, by: Option<&str>) -> Result<(), PatchError> {
    let order = order.as_array().ok_or_else(|| invalid("$setElementOrder must be a list"))?;
    let same = |a: &Value, b: &Value| by.map_or(a == b, |by| a.get(by).is_some() && a.get(by) == b.get(by));
    let (mut named, rest): (Vec<_>, Vec<_>) =
        std::mem::take(items).into_iter().partition(|i| order.iter().any(|o| same(i, o)));
    named.sort_by_key(|item| order.iter().position(|o| same(item, o)));
    let place = |item: &Value| before.iter().position(|b| same(item, b));
    let (mut named, mut rest) = (named.into_iter().peekable(), rest.into_iter().peekable());
    while let (Some(a), Some(b)) = (named.peek(), rest.peek()) {
        let next = if place(a) <= place(b) { named.next() } else { rest.next() };
        items.extend(next);
    }
    items.extend(named);
    items.extend(rest);
    Ok(())
}
