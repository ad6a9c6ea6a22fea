//! Objects from the files of a kustomization, as kustomize reads them: kind and name are needed, lists are taken apart.

use std::{collections::VecDeque, path::Path};

use serde_json::Value;

use super::resource::Resource;
use crate::{
    error::Error,
    yaml::{self, Dialect},
};

/// The objects in a text; those of lists come after all others.
///
/// # Errors
/// Names the file and the line.
pub(super) fn objects(text: &str, source: &Path) -> Result<Vec<Resource>, Error> {
    let documents = yaml::documents(text, Dialect::Kustomize).map_err(|e| Error::text(source, e.line, e.reason))?;
    let mut open: VecDeque<(Value, u64)> = VecDeque::new();
    for document in documents {
        open.push_back((document.value, document.line));
    }
    let mut objects = Vec::new();
    while let Some((mut value, line)) = open.pop_front() {
        if is_empty(&value) {
            continue;
        }
        let wrong = |reason: &str| Error::text(source, line, reason);
        let kind = value.get("kind").and_then(Value::as_str).unwrap_or_default();
        if !value.is_object() {
            return Err(wrong("an object must be a mapping"));
        }
        if kind.is_empty() {
            return Err(wrong("an object needs a kind"));
        }
        if kind.ends_with("List") {
            match value.get_mut("items").map(Value::take) {
                None => objects.push(Resource::new(value, source.to_owned())),
                Some(items) if is_empty(&items) => {}
                Some(Value::Array(items)) => open.extend(items.into_iter().map(|item| (item, line))),
                Some(_) => return Err(wrong("the items of a list must be a list")),
            }
            continue;
        }
        let name = value.get("metadata").and_then(|metadata| metadata.get("name"));
        if name.and_then(yaml::text).is_none_or(|name| name.is_empty()) {
            return Err(wrong("an object needs a metadata.name"));
        }
        objects.push(Resource::new(value, source.to_owned()));
    }
    Ok(objects)
}

fn is_empty(value: &Value) -> bool {
    value.is_null() || value.as_str() == Some(yaml::BLANK) || value.as_object().is_some_and(serde_json::Map::is_empty)
}
