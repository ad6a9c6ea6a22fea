//! Field specifications: the fields of which kinds a transformation works on, and the walk that finds them.

use serde::Deserialize;
use serde_json::{Map, Value};

use super::id::Gvk;

/// Where a transformation works: a path of field names parted by `/` (a `/` within a name is written `\/`), on the kinds that
/// group, version and kind select. Lists on the way are gone through element by element.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct FieldSpec {
    pub(super) group: String,
    pub(super) version: String,
    pub(super) kind: String,
    pub(super) path: String,
    /// Whether a missing field is made.
    pub(super) create: bool,
}

impl FieldSpec {
    /// The kinds.
    pub(super) fn gvk(&self) -> Gvk {
        Gvk { group: self.group.clone(), version: self.version.clone(), kind: self.kind.clone() }
    }
}

/// Adds what is not covered yet.
///
/// # Errors
/// When a field is there already and the two disagree about creating it.
pub(super) fn merge(into: &mut Vec<FieldSpec>, from: &[FieldSpec]) -> Result<(), String> {
    for spec in from {
        let same = |own: &&FieldSpec| own.path == spec.path && own.gvk().is_selected(&spec.gvk());
        match into.iter().find(same) {
            Some(own) if own.create != spec.create => {
                return Err(format!("the field {} is configured twice, with and without create", spec.path));
            }
            Some(_) => {}
            None => into.push(spec.clone()),
        }
    }
    Ok(())
}

/// What is made where a field is missing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Create {
    Nothing,
    Mapping,
    Scalar,
}

/// Calls `change` on every field of the object that the specification finds, if the object is of its kind.
///
/// # Errors
/// Those of `change`; and when the path leads through a scalar.
pub(super) fn visit(
    object: &mut Value,
    spec: &FieldSpec,
    create: Create,
    change: &mut dyn FnMut(&mut Value) -> Result<(), String>,
) -> Result<(), String> {
    if !Gvk::of(object).is_selected(&spec.gvk()) {
        return Ok(());
    }
    visit_path(object, spec, create, change)
}

/// As `visit`, for an object that is known to be of the kind.
pub(super) fn visit_path(
    object: &mut Value,
    spec: &FieldSpec,
    create: Create,
    change: &mut dyn FnMut(&mut Value) -> Result<(), String>,
) -> Result<(), String> {
    let path = split(&spec.path, '/');
    let create = if spec.create { create } else { Create::Nothing };
    walk(object, &path, create, change).map_err(|reason| format!("field {}: {reason}", spec.path))
}

fn walk(
    value: &mut Value,
    path: &[String],
    create: Create,
    change: &mut dyn FnMut(&mut Value) -> Result<(), String>,
) -> Result<(), String> {
    let Some((part, rest)) = path.split_first() else { return change(value) };
    match value {
        Value::Null => Ok(()),
        Value::Array(items) => items.iter_mut().try_for_each(|item| walk(item, path, create, change)),
        Value::Object(fields) => {
            let (name, is_list) = part.strip_suffix("[]").map_or((part.as_str(), false), |name| (name, true));
            if name.is_empty() {
                return Err("a part of the path is empty".to_owned());
            }
            match field(fields, name, is_list, rest.is_empty(), create) {
                Some(field) => walk(field, rest, create, change),
                None => Ok(()),
            }
        }
        _ => Err("there is neither a list nor a mapping on the way to it".to_owned()),
    }
}

fn field<'v>(
    fields: &'v mut Map<String, Value>,
    name: &str,
    is_list: bool,
    is_last: bool,
    create: Create,
) -> Option<&'v mut Value> {
    let empty = match create {
        _ if is_list => Value::Array(Vec::new()),
        Create::Nothing => Value::Null,
        Create::Scalar if is_last => Value::Null,
        Create::Mapping | Create::Scalar => Value::Object(Map::new()),
    };
    if create != Create::Nothing && !is_list && !fields.contains_key(name) {
        fields.insert(name.to_owned(), Value::Null);
    }
    let field = fields.get_mut(name)?;
    if field.is_null() {
        *field = empty;
    }
    Some(field)
}

/// The parts of a path; a delimiter after a backslash belongs to the part.
pub(super) fn split(path: &str, delimiter: char) -> Vec<String> {
    let path = path.strip_prefix(delimiter).unwrap_or(path);
    let mut parts: Vec<String> = Vec::new();
    for piece in path.split(delimiter) {
        match parts.last_mut() {
            Some(last) if last.ends_with('\\') => {
                last.pop();
                last.push(delimiter);
                last.push_str(piece);
            }
            _ => parts.push(piece.to_owned()),
        }
    }
    parts
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn spec(path: &str, create: bool) -> FieldSpec {
        FieldSpec { path: path.to_owned(), create, ..FieldSpec::default() }
    }

    fn found(object: &mut Value, spec: &FieldSpec, create: Create) -> Result<Vec<Value>, String> {
        let mut found = Vec::new();
        visit(object, spec, create, &mut |value| {
            found.push(value.clone());
            Ok(())
        })?;
        Ok(found)
    }

    #[test]
    fn paths_go_through_lists_and_may_hold_the_delimiter() {
        assert_eq!(split("/a/b\\/c/d", '/'), ["a", "b/c", "d"]);
        let mut object = json!({"a": [{"b/c": 1}, {"b/c": [{"d": 2}]}, {}]});
        assert_eq!(found(&mut object, &spec("a/b\\/c", false), Create::Mapping), Ok(vec![json!(1), json!([{"d": 2}])]));
        assert!(found(&mut object, &spec("a/b\\/c/d", false), Create::Mapping).is_err());
    }

    #[test]
    fn missing_fields_are_made_only_when_asked_for_and_never_in_lists() {
        let mut object = json!({});
        assert_eq!(found(&mut object, &spec("a/b", false), Create::Mapping), Ok(vec![]));
        assert_eq!(found(&mut object, &spec("a[]/b", true), Create::Mapping), Ok(vec![]));
        assert_eq!(object, json!({}));
        assert_eq!(found(&mut object, &spec("a/b", true), Create::Mapping), Ok(vec![json!({})]));
        assert_eq!(object, json!({"a": {"b": {}}}));
    }

    #[test]
    fn only_the_kinds_that_are_named_are_visited() {
        let mut object = json!({"apiVersion": "apps/v1", "kind": "Deployment", "a": 1});
        let of = |group: &str, kind: &str| FieldSpec { group: group.into(), kind: kind.into(), ..spec("a", false) };
        assert_eq!(found(&mut object, &of("apps", ""), Create::Nothing).unwrap().len(), 1);
        assert_eq!(found(&mut object, &of("", "Service"), Create::Nothing).unwrap().len(), 0);
    }
}
