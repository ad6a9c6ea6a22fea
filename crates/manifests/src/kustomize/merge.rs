//! The strategic merge as kustomize does it, which is not quite the API server's: new list elements go first, `null` and empty
//! leftovers are dropped on the way, and only the kinds that it knows have lists that merge.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value};

use super::{
    id::Gvk,
    marks::{self, Marks},
    schema::{self, Below},
};
use crate::yaml::{self, Dialect};

#[cfg(test)]
mod tests;

const DIRECTIVE: &str = "$patch";

/// Why a patch does not fit the object, and where.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Misfit {
    path: Vec<String>,
    reason: String,
}

impl Misfit {
    fn below(mut self, step: &str) -> Self {
        self.path.push(step.to_owned());
        self
    }
}

impl std::fmt::Display for Misfit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let path: Vec<&str> = self.path.iter().rev().map(String::as_str).collect();
        write!(f, "at {:?}: {}", path.join("."), self.reason)
    }
}

/// Merges a patch into an object; `None` when the patch deletes it.
///
/// # Errors
/// When both have a field with different shapes, or a `$patch` directive is not `merge`, `replace` or `delete`.
pub(super) fn merge(object: (Value, &Marks), patch: (Value, &Marks)) -> Result<Option<(Value, Marks)>, Misfit> {
    let ((mut object, marks), (mut patch, patch_marks)) = (object, patch);
    patch_marks.put_quotes(&mut patch);
    let place = schema::definition(&Gvk::of(&object)).map(Place::Top);
    let mut merge = Merge { shared: marks.shared_values(&mut object) };
    marks.put_into(&mut object);
    let merged = merge.walk(Own::Value(object), Some(patch), place.unwrap_or(Place::Unknown))?.value();
    Ok(merged.map(|mut merged| {
        let marks = Marks::take_from(&mut merged, &merge.shared);
        (merged, marks)
    }))
}

struct Merge {
    /// The values that fields of the object share.
    shared: BTreeMap<usize, Value>,
}

/// Where in the schema the walk is.
#[derive(Clone, Copy)]
enum Place {
    Top(&'static str),
    Rule(Below),
    Unknown,
}

impl Place {
    fn field(self, name: &str) -> Self {
        let below = match self {
            Self::Top(definition) => schema::top(definition, name),
            Self::Rule(Below::Fields(definition)) => schema::below(definition, name),
            _ => None,
        };
        below.map_or(Self::Unknown, Self::Rule)
    }
}

/// What a value of the patch meets.
enum Own {
    /// Nothing.
    Missing,
    /// A value of the object.
    Value(Value),
    /// Itself: what a patch brings in whole is walked against itself, so that its own directives and nulls have their effect.
    Patch,
}

impl Own {
    fn value(&self) -> Option<&Value> {
        match self {
            Self::Value(value) => Some(value),
            Self::Missing | Self::Patch => None,
        }
    }

    fn kept(self) -> Walked {
        match self {
            Self::Value(value) => Walked::Kept(value),
            Self::Missing | Self::Patch => Walked::Gone,
        }
    }
}

/// What became of a value.
enum Walked {
    /// Deleted, or never there.
    Gone,
    /// The object's, changed in place.
    Kept(Value),
    /// The patch's in its stead.
    Replaced(Value),
}

impl Walked {
    fn value(self) -> Option<Value> {
        match self {
            Self::Gone => None,
            Self::Kept(value) | Self::Replaced(value) => Some(value),
        }
    }
}

enum Directive {
    Merge,
    Replace,
    Delete,
}

fn misfit(reason: String) -> Misfit {
    Misfit { path: Vec::new(), reason }
}

const MAPPING: &str = "a mapping";
const LIST: &str = "a list";

fn shape(value: &Value) -> &'static str {
    match value {
        Value::Object(_) => MAPPING,
        Value::Array(_) => LIST,
        _ => "a scalar",
    }
}

fn into_fields(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(fields) => fields,
        _ => Map::new(),
    }
}

fn into_items(value: Value) -> Vec<Value> {
    match value {
        Value::Array(items) => items,
        _ => Vec::new(),
    }
}

impl Merge {
    fn walk(&mut self, own: Own, patch: Option<Value>, place: Place) -> Result<Walked, Misfit> {
        let own = match (own, &patch) {
            (Own::Value(value), None) if marks::is_written_null(&value) => return Ok(Walked::Kept(value)),
            (Own::Value(value), _) if value.is_null() || marks::is_written_null(&value) => Own::Missing,
            (own, _) => own,
        };
        let own_shape = own.value().map(shape);
        let patch_shape = patch.as_ref().filter(|value| !value.is_null()).map(shape);
        let first = match (own_shape, patch_shape) {
            (None, None) => return Ok(Walked::Gone),
            (Some(own), Some(other)) if own != other => {
                return Err(misfit(format!("the object has {own} there and the patch {other}")));
            }
            (Some(first), _) | (None, Some(first)) => first,
        };
        match (first, patch, place) {
            (_, Some(Value::Null), _) => Ok(Walked::Gone),
            (MAPPING, patch, place) => self.map(own, patch, place),
            (LIST, patch, Place::Rule(Below::Keyed(keys, element))) => {
                self.list(own, patch, keys, Place::Rule(Below::Fields(element)))
            }
            (LIST, patch, Place::Rule(Below::Set)) => self.list(own, patch, &[""], Place::Unknown),
            (_, Some(patch), _) => Ok(self.scalar(own, patch)),
            (_, None, _) => Ok(own.kept()),
        }
    }

    fn scalar(&mut self, own: Own, patch: Value) -> Walked {
        let Own::Value(own) = own else { return Walked::Replaced(patch) };
        let Some(number) = marks::shared_number(&own) else {
            return Walked::Replaced(marks::restyled(&own, patch));
        };
        let old = self.shared.remove(&number).unwrap_or_default();
        self.shared.insert(number, marks::restyled(&old, patch));
        Walked::Kept(own)
    }

    fn map(&mut self, own: Own, patch: Option<Value>, place: Place) -> Result<Walked, Misfit> {
        let mut patch = patch.map(into_fields);
        let own = match (patch.as_mut().map_or(Ok(Directive::Merge), map_directive)?, own) {
            (Directive::Delete, _) => return Ok(Walked::Gone),
            (Directive::Merge, Own::Value(own)) => Some(into_fields(own)),
            _ => None,
        };
        let is_patch = own.is_none();
        let (mut own, mut patch) = (own.unwrap_or_default(), patch.unwrap_or_default());
        let names: BTreeSet<String> = own.keys().chain(patch.keys()).cloned().collect();
        let mut out = Map::new();
        for name in names {
            let field = match own.remove(&name) {
                _ if is_patch => Own::Patch,
                Some(value) => Own::Value(value),
                None => Own::Missing,
            };
            let walked = self.walk(field, patch.remove(&name), place.field(&name));
            if let Some(value) = walked.map_err(|misfit| misfit.below(&name))?.value() {
                out.insert(name, value);
            }
        }
        let out = Value::Object(out);
        Ok(if is_patch { Walked::Replaced(out) } else { Walked::Kept(out) })
    }

    fn list(&mut self, own: Own, patch: Option<Value>, keys: &[&str], element: Place) -> Result<Walked, Misfit> {
        let mut patch = patch.map(into_items);
        let directive = match (&mut patch, &own) {
            (Some(patch), Own::Value(_) | Own::Patch) => list_directive(patch)?,
            _ => Directive::Merge,
        };
        let own = match (directive, own) {
            (Directive::Delete, _) => return Ok(Walked::Gone),
            (Directive::Merge, Own::Value(own)) => Some(into_items(own)),
            _ => None,
        };
        self.join(own, patch.unwrap_or_default(), keys, element)
    }

    /// Joins the lists; without one of the object's own, the patch's with itself.
    fn join(
        &mut self,
        own: Option<Vec<Value>>,
        patch: Vec<Value>,
        keys: &[&str],
        element: Place,
    ) -> Result<Walked, Misfit> {
        let is_patch = own.is_none();
        let mut dest = own.unwrap_or_else(|| patch.clone());
        let all = key_values(&patch, &dest, keys);
        let (mut joined, mut used_keys) = (Vec::new(), Vec::new());
        for values in &all {
            let (in_use, values) = usable(&all, values, keys);
            let (own_keys, own_values) = usable(std::slice::from_ref(&values), &values, &in_use);
            let at = dest.iter().position(|item| has(item, &own_keys, &own_values));
            let theirs = patch.iter().find(|item| has(item, &own_keys, &own_values)).cloned();
            let own = match at.and_then(|at| dest.get(at)) {
                Some(_) if is_patch => Own::Patch,
                Some(item) => Own::Value(item.clone()),
                None => Own::Missing,
            };
            let walked = self.walk(own, theirs, element);
            let walked = walked.map_err(|misfit| misfit.below(&format!("[{}]", values.join(","))))?;
            let in_place = is_patch || matches!(walked, Walked::Kept(_));
            match walked.value() {
                Some(mut value) if value.as_object().is_none_or(|fields| !fields.is_empty()) => {
                    name_keys(&mut value, &in_use, &values);
                    if let Some(slot) = at.filter(|_| in_place).and_then(|at| dest.get_mut(at)) {
                        *slot = value.clone();
                    }
                    set(&mut joined, Some(value), &in_use, &values);
                }
                _ => set(&mut dest, None, &in_use, &values),
            }
            used_keys = in_use;
        }
        if all.is_empty() {
            joined = dest;
        } else {
            append(&mut joined, dest, &used_keys);
        }
        Ok(if is_patch { Walked::Replaced(joined.into()) } else { Walked::Kept(joined.into()) })
    }
}

fn directive(value: &Value) -> Result<Directive, Misfit> {
    match yaml::text(value).as_deref() {
        Some("merge") => Ok(Directive::Merge),
        Some("replace") => Ok(Directive::Replace),
        Some("delete") => Ok(Directive::Delete),
        _ => Err(misfit(format!("{DIRECTIVE}: {value} is unknown; it is one of merge, replace, delete"))),
    }
}

fn map_directive(fields: &mut Map<String, Value>) -> Result<Directive, Misfit> {
    let Some(value) = fields.get(DIRECTIVE) else { return Ok(Directive::Merge) };
    let directive = directive(value)?;
    fields.remove(DIRECTIVE);
    Ok(directive)
}

/// A list's directive is an element that holds nothing else.
fn list_directive(items: &mut Vec<Value>) -> Result<Directive, Misfit> {
    let found = items.iter().find_map(|item| Some((item.as_object()?.len(), item.get(DIRECTIVE)?)));
    let Some((1, value)) = found else { return Ok(Directive::Merge) };
    let directive = directive(value)?;
    let text = yaml::text(value).unwrap_or_default();
    set(items, None, &[DIRECTIVE], &[text]);
    Ok(directive)
}

/// The values of an element's merge keys; empty where it lacks one.
type Keys = Vec<String>;

/// The distinct key values of all elements: the patch's first.
fn key_values(patch: &[Value], dest: &[Value], keys: &[&str]) -> Vec<Keys> {
    let mut all: Vec<Keys> = Vec::new();
    for item in patch.iter().chain(dest) {
        let values: Keys = keys.iter().map(|key| field(item, key).unwrap_or_default()).collect();
        if !all.contains(&values) {
            all.push(values);
        }
    }
    if keys.len() < 2 {
        return all;
    }
    // An element that lacks a key is the one that agrees in the others.
    for i in 0..all.len() {
        for j in 0..all.len() {
            if let (Some(a), Some(b)) = (all.get(i), all.get(j))
                && let Some(common) = reconcile(a, b)
            {
                for at in [i, j] {
                    if let Some(slot) = all.get_mut(at) {
                        slot.clone_from(&common);
                    }
                }
            }
        }
    }
    all
}

fn reconcile(a: &Keys, b: &Keys) -> Option<Keys> {
    let agree = a.iter().zip(b).any(|(a, b)| a == b);
    let clash = a.iter().zip(b).any(|(a, b)| a != b && !a.is_empty() && !b.is_empty());
    let common = || a.iter().zip(b).map(|(a, b)| if a.is_empty() { b.clone() } else { a.clone() }).collect();
    (agree && !clash).then(common)
}

/// The keys that any element has, with this element's values of them; all keys when none has any.
fn usable<'k>(all: &[Keys], values: &Keys, keys: &[&'k str]) -> (Vec<&'k str>, Keys) {
    let used = |at: usize| all.iter().any(|values| values.get(at).is_some_and(|value| !value.is_empty()));
    let kept: Vec<usize> = (0..keys.len()).filter(|at| used(*at)).collect();
    if kept.is_empty() {
        return (keys.to_vec(), values.clone());
    }
    let key = |at: &usize| keys.get(*at).copied();
    (kept.iter().filter_map(key).collect(), kept.iter().filter_map(|at| values.get(*at).cloned()).collect())
}

/// The text of a field; of the element itself when the key is empty.
fn field(item: &Value, key: &str) -> Option<String> {
    match (key, item) {
        ("", Value::Object(_) | Value::Array(_)) => None,
        ("", scalar) => yaml::text(scalar),
        (key, item) => item.get(key).map(|value| yaml::text(value).unwrap_or_default()),
    }
}

fn has(item: &Value, keys: &[&str], values: &[String]) -> bool {
    keys.iter().zip(values).all(|(key, value)| field(item, key).as_ref() == Some(value))
}

/// Writes the keys that an element was found by into it.
fn name_keys(value: &mut Value, keys: &[&str], values: &[String]) {
    let Some(fields) = value.as_object_mut() else { return };
    for (key, text) in keys.iter().zip(values).filter(|(_, text)| !text.is_empty()) {
        if !fields.contains_key(*key) {
            let value = yaml::plain(text, Dialect::Kustomize).unwrap_or_else(|_| text.as_str().into());
            fields.insert((*key).to_owned(), value);
        }
    }
}

/// Puts an element in place of those with the same keys, or at the end; without an element, removes them. Empty elements go.
fn set(items: &mut Vec<Value>, element: Option<Value>, keys: &[&str], values: &[String]) {
    let by_key = keys.first().is_some_and(|key| !key.is_empty()) && values.first().is_some_and(|v| !v.is_empty());
    let same = |item: &Value| {
        !values.is_empty()
            && keys.iter().zip(values).all(|(key, value)| {
                field(item, key).is_some_and(|own| (value.is_empty() && !key.is_empty()) || own == *value)
            })
    };
    let mut found = false;
    let mut out = Vec::with_capacity(items.len() + 1);
    for item in items.drain(..) {
        if item.is_null() || item.as_object().is_some_and(Map::is_empty) {
            continue;
        }
        if (by_key && !item.is_object()) || !same(&item) {
            out.push(item);
            continue;
        }
        found = true;
        out.extend(element.clone());
    }
    if !found {
        out.extend(element);
    }
    *items = out;
}

/// Puts the elements of the object after those that the patch brought; with several keys, merged elements go back to where the
/// object has them.
fn append(joined: &mut Vec<Value>, dest: Vec<Value>, keys: &[&str]) {
    for item in dest {
        let values: Vec<String> = keys.iter().filter_map(|key| field(&item, key)).collect();
        if values.is_empty() {
            // An element without any key is taken for all others: upstream's way with what is no valid list.
            joined.clear();
            joined.push(item);
            continue;
        }
        if keys.len() > 1 {
            set(joined, None, keys, &values);
        }
        set(joined, Some(item), keys, &values);
    }
}
