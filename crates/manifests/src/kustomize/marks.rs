//! What an object's values are beyond their content, so far as it shows in kustomize's output.
//!
//! A value that is not written (`key:`) and a `null` that is are both null to everyone but a strategic merge, which drops the
//! first from the object and keeps the second. And where one label goes to several fields, those fields share one value ever
//! after: kustomize changes it in place, so that who changes it in one field changes it in all.
//!
//! And a number that comes to stand where quoted text stood is quoted too, and so becomes text.
//!
//! All this is kept as paths beside the object. For the time of a merge, which moves and drops values, they are written into it as
//! strings that no text of a manifest has.

use std::{
    collections::{BTreeMap, HashSet},
    hash::{DefaultHasher, Hash, Hasher},
};

use serde_json::Value;

use super::path::{self, Step};
use crate::yaml::{self, BLANK, Dialect, QUOTED};

/// Stands for a written null while a merge runs.
const WRITTEN: &str = "\u{fdd0}null";
/// Goes before the number of a shared value while a merge runs.
const SHARED: &str = "\u{fdd0}shared:";
/// Stand for the entries that are being set: those that were there, and those that were not.
pub(super) const OLD_ENTRY: &str = "\u{fdd0}old";
pub(super) const NEW_ENTRY: &str = "\u{fdd0}new";

type Path = Vec<Step>;

/// Where an object has values that are not written, and which of its fields share a value.
#[derive(Clone, Debug, Default)]
pub(super) struct Marks {
    blanks: HashSet<Path>,
    /// Hashes of the paths of text that is quoted without need: there may be many.
    quoted: HashSet<u64>,
    shared: Vec<Vec<Path>>,
}

impl Marks {
    /// Makes what is not written null and takes the marks off quoted text, and remembers where.
    pub(super) fn of(object: &mut Value) -> Self {
        let mut marks = Self::default();
        each_leaf(object, &mut Vec::new(), &mut |leaf, path| {
            if leaf.as_str() == Some(BLANK) {
                *leaf = Value::Null;
                marks.blanks.insert(path.to_vec());
            } else if let Some(text) = unquoted(leaf) {
                *leaf = text.into();
                marks.quoted.insert(hash(path));
            }
        });
        marks
    }

    /// Whether the field was not written.
    pub(super) fn is_blank(&self, fields: &[&str]) -> bool {
        let path: Path = fields.iter().map(|field| Step::Field((*field).to_owned())).collect();
        self.blanks.contains(&path)
    }

    /// Gives the marked entries their value. Old ones give it to whatever they share it with; new ones share it.
    pub(super) fn set_entries(&mut self, object: &mut Value, value: &Value) {
        let (mut old, mut new) = (Vec::new(), Vec::new());
        each_leaf(object, &mut Vec::new(), &mut |leaf, path| {
            match leaf.as_str() {
                Some(OLD_ENTRY) => old.push(path.to_vec()),
                Some(NEW_ENTRY) => new.push(path.to_vec()),
                _ => return,
            }
            *leaf = value.clone();
        });
        for path in old {
            self.write(object, &path, value);
        }
        if new.len() > 1 {
            self.shared.push(new);
        }
    }

    /// Sets a scalar, and whatever shares it.
    pub(super) fn write(&self, object: &mut Value, at: &[Step], value: &Value) {
        let sharing = self.shared.iter().filter(|paths| paths.iter().any(|path| path == at)).flatten();
        for path in sharing.map(Vec::as_slice).chain([at]) {
            if let Some(slot) = path::at(object, path) {
                *slot = value.clone();
            }
        }
    }

    /// Writes the marks into the object.
    pub(super) fn put_into(&self, object: &mut Value) {
        each_leaf(object, &mut Vec::new(), &mut |leaf, path| {
            if leaf.is_null() && !self.blanks.contains(path) {
                *leaf = WRITTEN.into();
            }
        });
        self.put_quotes(object);
        for (number, paths) in self.shared.iter().enumerate() {
            for path in paths {
                if let Some(slot) = path::at(object, path).filter(|slot| !slot.is_object() && !slot.is_array()) {
                    *slot = format!("{SHARED}{number}").into();
                }
            }
        }
    }

    /// Writes the marks of quoted text into the object.
    pub(super) fn put_quotes(&self, object: &mut Value) {
        if self.quoted.is_empty() {
            return;
        }
        each_leaf(object, &mut Vec::new(), &mut |leaf, path| {
            if let Some(text) = leaf.as_str().filter(|_| self.quoted.contains(&hash(path))) {
                *leaf = format!("{QUOTED}{text}").into();
            }
        });
    }

    /// The values that are shared, by number.
    pub(super) fn shared_values(&self, object: &mut Value) -> BTreeMap<usize, Value> {
        let first = |paths: &Vec<Path>| paths.iter().find_map(|path| path::at(object, path).cloned());
        self.shared.iter().map(first).enumerate().filter_map(|(number, value)| Some((number, value?))).collect()
    }

    /// Takes the marks out of a merged object. What is null now is written.
    pub(super) fn take_from(object: &mut Value, shared: &BTreeMap<usize, Value>) -> Self {
        let mut places: BTreeMap<usize, Vec<Path>> = BTreeMap::new();
        let mut quoted = HashSet::new();
        each_leaf(object, &mut Vec::new(), &mut |leaf, path| {
            if is_written_null(leaf) {
                *leaf = Value::Null;
            } else if let Some(number) = shared_number(leaf) {
                *leaf = shared.get(&number).cloned().unwrap_or_default();
                places.entry(number).or_default().push(path.to_vec());
            } else if let Some(text) = unquoted(leaf) {
                *leaf = text.into();
                quoted.insert(hash(path));
            }
        });
        let shared = places.into_values().filter(|paths| paths.len() > 1).collect();
        Self { blanks: HashSet::new(), quoted, shared }
    }
}

/// Whether this marks a null that was written.
pub(super) fn is_written_null(value: &Value) -> bool {
    value.as_str() == Some(WRITTEN)
}

/// The number of the shared value that this marks.
pub(super) fn shared_number(value: &Value) -> Option<usize> {
    value.as_str()?.strip_prefix(SHARED)?.parse().ok()
}

/// The text without its mark, if it has one.
pub(super) fn unquoted(value: &Value) -> Option<String> {
    value.as_str()?.strip_prefix(QUOTED).map(str::to_owned)
}

/// The patch's scalar in the stead of the object's, in the quotes or without the quotes that the object's has.
pub(super) fn restyled(own: &Value, patch: Value) -> Value {
    let needs_quotes = |text: &str| yaml::plain(text, Dialect::Kustomize).is_ok_and(|value| !value.is_string());
    let is_quoted = unquoted(own).is_some();
    match (unquoted(&patch), &patch) {
        (None, Value::Number(_) | Value::Bool(_)) if is_quoted || own.as_str().is_some_and(needs_quotes) => {
            yaml::text(&patch).unwrap_or_default().into()
        }
        (None, Value::String(text)) if is_quoted => format!("{QUOTED}{text}").into(),
        (Some(text), _) if !is_quoted => text.into(),
        _ => patch,
    }
}

fn hash(path: &[Step]) -> u64 {
    let mut hasher = DefaultHasher::new();
    path.hash(&mut hasher);
    hasher.finish()
}

fn each_leaf(value: &mut Value, path: &mut Path, visit: &mut dyn FnMut(&mut Value, &[Step])) {
    match value {
        Value::Object(fields) => {
            for (name, field) in fields.iter_mut() {
                path.push(Step::Field(name.clone()));
                each_leaf(field, path, visit);
                path.pop();
            }
        }
        Value::Array(items) => {
            for (index, item) in items.iter_mut().enumerate() {
                path.push(Step::Element(index));
                each_leaf(item, path, visit);
                path.pop();
            }
        }
        leaf => visit(leaf, path),
    }
}
