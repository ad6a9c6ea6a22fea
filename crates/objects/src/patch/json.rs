//! JSON patch (RFC 6902) with JSON pointers (RFC 6901).

use serde_json::{Map, Value};

use super::PatchError;

/// Operations one patch may hold, as upstream's API server.
const MAX_OPERATIONS: usize = 10_000;
/// Bytes that `copy` operations may add in total: copies of copies grow exponentially.
const MAX_COPIED: usize = 3 << 20;

/// Applies a JSON patch: an array of `add`, `remove`, `replace`, `move`, `copy` and `test` operations, in order.
///
/// # Errors
/// A malformed operation, a path that is not there, a failed `test`, or more than 10,000 operations or 3 MiB of copies.
pub fn json_patch(target: &mut Value, patch: &Value) -> Result<(), PatchError> {
    let operations = patch.as_array().ok_or_else(|| PatchError::Invalid("a JSON patch is an array".into()))?;
    if operations.len() > MAX_OPERATIONS {
        return Err(PatchError::TooLarge(format!(
            "The allowed maximum operations in a JSON patch is {MAX_OPERATIONS}, got {}",
            operations.len()
        )));
    }
    let mut copied = 0;
    for operation in operations {
        apply(target, operation, &mut copied)?;
    }
    Ok(())
}

fn apply(target: &mut Value, operation: &Value, copied: &mut usize) -> Result<(), PatchError> {
    let text = |name: &str| {
        let value = operation.get(name).and_then(Value::as_str);
        value.ok_or_else(|| PatchError::Invalid(format!("an operation needs a string {name:?}")))
    };
    let value = || operation.get("value").ok_or_else(|| PatchError::Invalid("the operation needs a \"value\"".into()));
    let path = text("path")?;
    match text("op")? {
        "add" => add(target, path, value()?.clone()),
        "remove" => remove(target, path).map(drop),
        "replace" => {
            *find(target, path)? = value()?.clone();
            Ok(())
        }
        "move" => {
            let from = text("from")?;
            if path.strip_prefix(from).is_some_and(|rest| rest.starts_with('/')) {
                return Err(PatchError::Invalid(format!("cannot move {from:?} into itself")));
            }
            let moved = remove(target, from)?;
            add(target, path, moved)
        }
        "copy" => {
            let found = find(target, text("from")?)?.clone();
            *copied += found.to_string().len();
            if *copied > MAX_COPIED {
                return Err(PatchError::TooLarge(format!(
                    "the accumulated size increase of copy is {copied}, exceeding the limit {MAX_COPIED}"
                )));
            }
            add(target, path, found)
        }
        "test" => {
            // What is not there is null: that is how a patch asks that nobody has put anything there yet.
            let wanted = value()?;
            let found = match find(target, path) {
                Ok(found) => Some(*found == *wanted),
                Err(_) if wanted.is_null() => None,
                Err(missing) => return Err(missing),
            };
            let passes = found.map_or_else(|| has_parent(target, path), Ok)?;
            if passes { Ok(()) } else { Err(PatchError::Test(path.into())) }
        }
        other => Err(PatchError::Invalid(format!("unknown operation {other:?}"))),
    }
}

fn tokens(path: &str) -> Result<Vec<String>, PatchError> {
    if path.is_empty() {
        return Ok(Vec::new());
    }
    let rest = path.strip_prefix('/').ok_or_else(|| PatchError::Invalid(format!("{path:?} is not a JSON pointer")))?;
    Ok(rest.split('/').map(|token| token.replace("~1", "/").replace("~0", "~")).collect())
}

fn index(token: &str) -> Option<usize> {
    let plain = token == "0" || (!token.starts_with('0') && token.bytes().all(|b| b.is_ascii_digit()));
    if plain { token.parse().ok() } else { None }
}

fn walk<'a>(target: &'a mut Value, steps: &[String], path: &str) -> Result<&'a mut Value, PatchError> {
    steps.iter().try_fold(target, |at, token| {
        let next = match at {
            Value::Object(fields) => fields.get_mut(token),
            Value::Array(items) => index(token).and_then(|i| items.get_mut(i)),
            _ => None,
        };
        next.ok_or_else(|| PatchError::Missing(path.into()))
    })
}

fn find<'a>(target: &'a mut Value, path: &str) -> Result<&'a mut Value, PatchError> {
    walk(target, &tokens(path)?, path)
}

/// Whether what a path leads into is there, and a member of an object may be missing in it.
fn has_parent(target: &mut Value, path: &str) -> Result<bool, PatchError> {
    let steps = tokens(path)?;
    let Some((_, parents)) = steps.split_last() else { return Ok(false) };
    walk(target, parents, path).map(|parent| parent.is_object())
}

fn add(target: &mut Value, path: &str, value: Value) -> Result<(), PatchError> {
    let steps = tokens(path)?;
    let Some((last, parents)) = steps.split_last() else {
        *target = value;
        return Ok(());
    };
    match walk(target, parents, path)? {
        Value::Object(fields) => {
            fields.insert(last.clone(), value);
        }
        Value::Array(items) if last == "-" => items.push(value),
        Value::Array(items) => match index(last).filter(|i| *i <= items.len()) {
            Some(i) => items.insert(i, value),
            None => return Err(PatchError::Missing(path.into())),
        },
        _ => return Err(PatchError::Missing(path.into())),
    }
    Ok(())
}

fn remove(target: &mut Value, path: &str) -> Result<Value, PatchError> {
    let steps = tokens(path)?;
    let Some((last, parents)) = steps.split_last() else {
        return Ok(std::mem::replace(target, Value::Object(Map::new())));
    };
    let removed = match walk(target, parents, path)? {
        Value::Object(fields) => fields.remove(last),
        Value::Array(items) => index(last).filter(|i| *i < items.len()).map(|i| items.remove(i)),
        _ => None,
    };
    removed.ok_or_else(|| PatchError::Missing(path.into()))
}
