//! The objects of a build with what a build remembers of each: earlier names, prefixes, and how it was generated.

use std::{
    collections::{BTreeMap, HashMap},
    path::PathBuf,
};

use serde_json::{Map, Value};

use super::{
    id::{Gvk, Id},
    marks::Marks,
};
use crate::yaml;

/// What a generated object does to one that is there already.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Behavior {
    #[default]
    Create,
    Merge,
    Replace,
}

/// Name, namespace and kind at an earlier stage.
#[derive(Clone, Debug)]
struct Previous {
    namespace: String,
    name: String,
    kind: String,
}

/// One object of a build.
#[derive(Clone, Debug)]
pub(super) struct Resource {
    pub(super) value: Value,
    /// The file it is from, or the kustomization that generates it.
    pub(super) source: PathBuf,
    /// What its values are beyond their content.
    pub(super) marks: Marks,
    previous: Vec<Previous>,
    pub(super) prefixes: Vec<String>,
    pub(super) suffixes: Vec<String>,
    /// Whether a hash of its content goes to the end of its name.
    pub(super) hashed: bool,
    pub(super) behavior: Behavior,
}

impl Resource {
    /// An object as read.
    pub(super) fn new(mut value: Value, source: PathBuf) -> Self {
        Self {
            marks: Marks::of(&mut value),
            value,
            source,
            previous: Vec::new(),
            prefixes: Vec::new(),
            suffixes: Vec::new(),
            hashed: false,
            behavior: Behavior::Create,
        }
    }

    /// An object that a generator made.
    pub(super) fn generated(value: Value, source: PathBuf, behavior: Behavior, hashed: bool) -> Self {
        Self { behavior, hashed, ..Self::new(value, source) }
    }

    /// What it is now.
    pub(super) fn id(&self) -> Id {
        Id::of(&self.value)
    }

    /// What it was at earlier stages, the first first. Group and version are today's.
    pub(super) fn previous_ids(&self) -> Vec<Id> {
        let gvk = Gvk::of(&self.value);
        let id = |previous: &Previous| Id {
            gvk: Gvk { kind: previous.kind.clone(), ..gvk.clone() },
            name: previous.name.clone(),
            namespace: previous.namespace.clone(),
            cluster_scoped: false,
        };
        self.previous.iter().map(id).collect()
    }

    /// What it was at first.
    pub(super) fn original_id(&self) -> Id {
        self.previous_ids().into_iter().next().unwrap_or_else(|| self.id())
    }

    /// What it was and is.
    pub(super) fn all_ids(&self) -> Vec<Id> {
        let mut ids = self.previous_ids();
        ids.push(self.id());
        ids
    }

    /// Remembers what it is now, before that changes.
    pub(super) fn remember(&mut self) {
        let id = self.id();
        let namespace = id.effective_namespace().to_owned();
        self.previous.push(Previous { namespace, name: id.name, kind: id.gvk.kind });
    }

    /// Loses what is remembered of it.
    pub(super) fn forget(&mut self) {
        self.previous.clear();
        self.prefixes.clear();
        self.suffixes.clear();
        self.hashed = false;
        self.behavior = Behavior::Create;
    }

    /// The texts of `metadata.labels` or `metadata.annotations`.
    pub(super) fn texts(&self, field: &str) -> BTreeMap<String, String> {
        self.texts_at(&["metadata", field])
    }

    /// The entries of a mapping as texts.
    fn texts_at(&self, path: &[&str]) -> BTreeMap<String, String> {
        let found = path.iter().try_fold(&self.value, |value, field| value.get(field));
        let entries = found.and_then(Value::as_object).into_iter().flatten();
        let text = |key: &str, value: &Value| match value {
            Value::Null if !self.marks.is_blank(&[path, &[key]].concat()) => "null".to_owned(),
            value => yaml::text(value).unwrap_or_default(),
        };
        entries.map(|(key, value)| (key.clone(), text(key, value))).collect()
    }

    /// Sets a field of the metadata to these texts; removes it when there are none.
    pub(super) fn set_texts(&mut self, field: &str, texts: BTreeMap<String, String>) {
        let Some(metadata) = metadata(&mut self.value) else { return };
        if texts.is_empty() {
            metadata.remove(field);
        } else {
            metadata.insert(field.to_owned(), texts.into_iter().collect());
        }
    }

    /// Sets the name or the namespace; removes it when it is empty.
    pub(super) fn set_meta(&mut self, field: &str, text: &str) {
        let Some(metadata) = metadata(&mut self.value) else { return };
        if text.is_empty() {
            metadata.remove(field);
        } else {
            metadata.insert(field.to_owned(), text.into());
        }
    }

    /// Takes the place of an older object: name, labels, annotations and history are the older one's where this has none, and
    /// with `Behavior::Merge` so is the data.
    pub(super) fn supersede(&mut self, older: &Self) {
        for field in ["labels", "annotations"] {
            let mut merged = older.texts(field);
            merged.extend(self.texts(field));
            self.set_texts(field, merged);
        }
        let id = older.id();
        self.set_meta("name", &id.name);
        self.set_meta("namespace", &id.namespace);
        if self.behavior == Behavior::Merge {
            for field in ["data", "binaryData"] {
                let mut merged = older.texts_at(&[field]);
                merged.extend(self.texts_at(&[field]));
                let Some(fields) = self.value.as_object_mut() else { continue };
                if merged.is_empty() {
                    fields.remove(field);
                } else {
                    fields.insert(field.to_owned(), merged.into_iter().collect());
                }
            }
        }
        self.previous.clone_from(&older.previous);
        self.prefixes.clone_from(&older.prefixes);
        self.suffixes.clone_from(&older.suffixes);
        self.hashed &= older.hashed;
        self.behavior = older.behavior;
    }

    /// The object as it leaves the build. kustomize keeps its notes in annotations, so it writes them anew at the end: all are
    /// text then, and an empty field is gone.
    pub(super) fn finish(mut self) -> (Value, PathBuf) {
        let annotations = self.texts("annotations");
        self.set_texts("annotations", annotations);
        (self.value, self.source)
    }
}

fn metadata(value: &mut Value) -> Option<&mut Map<String, Value>> {
    let fields = value.as_object_mut()?;
    fields.entry("metadata").or_insert_with(|| Value::Object(Map::new())).as_object_mut()
}

/// The objects of a build, each with an identity of its own.
#[derive(Clone, Debug, Default)]
pub(super) struct Resources(pub(super) Vec<Resource>);

impl Resources {
    /// Whether each object has an identity of its own.
    ///
    /// # Errors
    /// Names two that do not.
    pub(super) fn check(&self) -> Result<(), String> {
        let mut seen = HashMap::with_capacity(self.0.len());
        for resource in &self.0 {
            let id = resource.id();
            let key = (id.gvk.clone(), id.name.clone(), id.effective_namespace().to_owned());
            if let Some(other) = seen.insert(key, &resource.source) {
                let (source, other) = (resource.source.display(), other.display());
                return Err(format!("{id} is there twice: from {other} and from {source}"));
            }
        }
        Ok(())
    }

    /// Adds a generated object, or joins it with the one it names.
    ///
    /// # Errors
    /// When its behavior does not fit what is there.
    pub(super) fn absorb(&mut self, mut resource: Resource) -> Result<(), String> {
        let id = resource.id();
        let mut found: Vec<usize> = Vec::new();
        for (at, other) in self.0.iter().enumerate() {
            if other.all_ids().iter().any(|other| id.is(other)) {
                found.push(at);
            }
        }
        match (found.as_slice(), resource.behavior) {
            ([], Behavior::Create) => {
                self.0.push(resource);
                Ok(())
            }
            ([], _) => Err(format!("{id} does not exist: there is nothing to merge with or replace")),
            ([_], Behavior::Create) => Err(format!("{id} exists: its behavior must be merge or replace")),
            ([at], _) => {
                if let Some(older) = self.0.get_mut(*at) {
                    resource.supersede(older);
                    *older = resource;
                }
                Ok(())
            }
            _ => Err(format!("{id} names several objects")),
        }
    }

    /// The one object that is or was what the identity says: its index.
    ///
    /// # Errors
    /// When there is none, or several.
    pub(super) fn one(&self, id: &Id) -> Result<usize, String> {
        let is = |resource: &Resource| resource.all_ids().iter().any(|own| id.is(own));
        let mut found = self.0.iter().enumerate().filter(|(_, resource)| is(resource)).map(|(at, _)| at);
        match (found.next(), found.next()) {
            (Some(at), None) => Ok(at),
            (Some(_), Some(_)) => Err(format!("several objects are {id}")),
            (None, _) => Err(format!("no object is {id}")),
        }
    }
}
