//! What an object's values are beyond their content, so far as it shows in kustomize's output.
//!
//! A value that is not written (`key:`) and a `null` that is are both null to everyone but a strategic merge, which drops the
//! first from the object and keeps the second. And where one label goes to several fields, those fields share one value ever
//! after: kustomize changes it in place, so that who changes it in one field changes it in all.
//!
//! Both are kept as paths beside the object. For the time of a merge, which moves and drops values, they are written into it as
//! strings that no text of a manifest has.

use std::collections::{BTreeMap, HashSet};

use serde_json::Value;

use super::path::{self, Step};
use crate::yaml::BLANK;

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
    shared: Vec<Vec<Path>>,
}

impl Marks {
    /// Makes what is not written null, and remembers where.
    pub(super) fn of(object: &mut Value) -> Self {
        let mut marks = Self::default();
        each_leaf(object, &mut Vec::new(), &mut |leaf, path| {
            if leaf.as_str() == Some(BLANK) {
                *leaf = Value::Null;
                marks.blanks.insert(path.to_vec());
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
        for (number, paths) in self.shared.iter().enumerate() {
            for path in paths {
                if let Some(slot) = path::at(object, path).filter(|slot| !slot.is_object() && !slot.is_array()) {
                    *slot = format!("{SHARED}{number}").into();
                }
            }
        }
    }

    /// The values that are shared, by number.
    pub(super) fn shared_values(&self, object: &mut Value) -> BTreeMap<usize, Value> {
        let first = |paths: &Vec<Path>| paths.iter().find_map(|path| path::at(object, path).cloned());
        self.shared.iter().map(first).enumerate().filter_map(|(number, value)| Some((number, value?))).collect()
    }

    /// Takes the marks out of a merged object. What is null now is written.
    pub(super) fn take_from(object: &mut Value, shared: &BTreeMap<usize, Value>) -> Self {
        let mut places: BTreeMap<usize, Vec<Path>> = BTreeMap::new();
        each_leaf(object, &mut Vec::new(), &mut |leaf, path| {
            if is_written_null(leaf) {
                *leaf = Value::Null;
            } else if let Some(number) = shared_number(leaf) {
                *leaf = shared.get(&number).cloned().unwrap_or_default();
                places.entry(number).or_default().push(path.to_vec());
            }
        });
        Self { blanks: HashSet::new(), shared: places.into_values().filter(|paths| paths.len() > 1).collect() }
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
