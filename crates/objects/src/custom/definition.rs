//! From a CustomResourceDefinition to the kinds that it defines.

use std::{
    fmt,
    hash::{DefaultHasher, Hash, Hasher},
    sync::{Arc, OnceLock},
};

use serde_json::Value;

use super::{
    columns::Column,
    kept::{Keeper, Slot},
    structural::Structural,
};
use crate::{
    fields::Types,
    kinds::{Kind, NamesFull, Origin, intern, intern_list, version_rank},
    schema,
};

/// What a CustomResourceDefinition says of one version of its kind.
#[derive(Debug)]
pub struct Definition {
    /// The version that objects are kept in.
    pub storage: &'static str,
    /// The schema of this version.
    pub schema: Schema,
    /// The schema of the version that objects are kept in: its defaults are filled in where objects are read.
    pub storage_schema: Schema,
    /// The columns of tables; empty for the age alone.
    pub columns: Vec<Column>,
    /// Fields that objects can be selected by, such as `spec.color`.
    pub selectable: Vec<String>,
    /// Where the scale subresource finds its numbers.
    pub scale: Option<Scale>,
    /// What clients of a deprecated version are warned with.
    pub deprecated: Option<String>,
    /// The kind of lists of the objects, such as `CronTabList`.
    pub list_kind: String,
    /// Whether the definition is being deleted: nothing new is made then.
    pub terminating: bool,
    /// Differs between definitions that say different things.
    pub fingerprint: u64,
}

/// `subresources.scale`: pointers into an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scale {
    /// The replicas wanted, such as `/spec/replicas`.
    pub spec: String,
    /// The replicas there are.
    pub status: String,
    /// The label selector in its text form.
    pub selector: Option<String>,
}

/// Bytes that compiled schemas take together, about. One that has not been needed for so long that others took its room is compiled
/// again.
static COMPILED: Keeper<Structural> = Keeper::new(256 * 1024 * 1024);
/// About how many bytes a schema takes compiled for each byte of its text, beside its patterns.
const EACH: usize = 8;

/// A schema: kept as text, and compiled when an object needs it.
#[derive(Clone)]
pub struct Schema(Arc<Parts>);

struct Parts {
    text: Box<str>,
    compiled: Arc<Slot<Structural>>,
    types: OnceLock<Types>,
}

impl Schema {
    fn new(schema: Option<&Value>) -> Self {
        let text = schema.map_or_else(|| "{}".to_owned(), Value::to_string);
        Self(Arc::new(Parts { text: text.into(), compiled: Arc::default(), types: OnceLock::new() }))
    }

    /// The schema as objects are checked with it.
    pub fn compiled(&self) -> Arc<Structural> {
        COMPILED.get(&self.0.compiled, || {
            let made = Structural::root(&self.open_api());
            let size = self.0.text.len().saturating_mul(EACH).saturating_add(made.patterns());
            (made, size)
        })
    }

    /// How the objects merge; its only root is the kind.
    pub fn types(&self, kind: &str) -> &Types {
        self.0.types.get_or_init(|| schema::custom(kind, &self.open_api()))
    }

    /// The schema as the definition has it (`openAPIV3Schema`).
    pub fn open_api(&self) -> Value {
        serde_json::from_str(&self.0.text).unwrap_or_default()
    }
}

impl fmt::Debug for Schema {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Schema({} bytes)", self.0.text.len())
    }
}

/// An object is no definition, or one that cannot be served.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotADefinition {
    /// It lacks what every definition has.
    #[error("it has no group, no names or no storage version")]
    Incomplete,
    /// Its names cannot be kept.
    #[error(transparent)]
    Names(#[from] NamesFull),
}

/// Whether a definition's kind is served: its names were accepted once (the condition `Established`).
pub fn is_served(definition: &Value) -> bool {
    let conditions = definition.pointer("/status/conditions").and_then(Value::as_array).into_iter().flatten();
    let is = |condition: &Value, field: &str, value: &str| condition.get(field).is_some_and(|text| text == value);
    conditions.into_iter().any(|condition| is(condition, "type", "Established") && is(condition, "status", "True"))
}

/// The kinds that a definition's served versions are, under the names that it was accepted with.
///
/// # Errors
/// When it says too little, or there is no room for its names.
pub fn kinds(definition: &Value) -> Result<Vec<Kind>, NotADefinition> {
    let text = |pointer: &str| definition.pointer(pointer).and_then(Value::as_str).filter(|text| !text.is_empty());
    let accepted = definition.pointer("/status/acceptedNames").filter(|names| names.get("plural").is_some());
    let names = accepted.or_else(|| definition.pointer("/spec/names")).ok_or(NotADefinition::Incomplete)?;
    let name = |field: &str| names.get(field).and_then(Value::as_str).filter(|text| !text.is_empty());
    let list = |field: &str| -> Result<_, NamesFull> {
        let list = names.get(field).and_then(Value::as_array).into_iter().flatten();
        intern_list(&list.filter_map(Value::as_str).map(str::to_owned).collect::<Vec<_>>())
    };
    let (Some(group), Some(kind), Some(plural)) = (text("/spec/group"), name("kind"), name("plural")) else {
        return Err(NotADefinition::Incomplete);
    };
    let versions = definition.pointer("/spec/versions").and_then(Value::as_array).ok_or(NotADefinition::Incomplete)?;
    let is = |version: &Value, field: &str| version.get(field).and_then(Value::as_bool).unwrap_or(false);
    let called = |version: &Value| version.get("name").and_then(Value::as_str).unwrap_or_default().to_owned();
    let stored = versions.iter().find(|version| is(version, "storage")).ok_or(NotADefinition::Incomplete)?;
    let of = |version: &Value| Schema::new(version.pointer("/schema/openAPIV3Schema"));
    let (storage, storage_schema) = (intern(&called(stored))?, of(stored));
    let singular = name("singular").map_or_else(|| kind.to_lowercase(), str::to_owned);
    let list_kind = name("listKind").map_or_else(|| format!("{kind}List"), str::to_owned);
    let kept = stored.to_string();
    let mut kinds = Vec::new();
    for version in versions.iter().filter(|version| is(version, "served")) {
        let mut hasher = DefaultHasher::new();
        // Objects are read as they are kept, too.
        (version.to_string(), &kept, &list_kind).hash(&mut hasher);
        let definition = Definition {
            storage,
            schema: if is(version, "storage") { storage_schema.clone() } else { of(version) },
            storage_schema: storage_schema.clone(),
            columns: each(version, "/additionalPrinterColumns").filter_map(Column::read).collect(),
            selectable: each(version, "/selectableFields").filter_map(selectable).collect(),
            scale: version.pointer("/subresources/scale").and_then(scale),
            deprecated: is(version, "deprecated").then(|| {
                let own = version.get("deprecationWarning").and_then(Value::as_str);
                own.map_or_else(|| deprecation((group, kind), &called(version), versions), str::to_owned)
            }),
            list_kind: list_kind.clone(),
            terminating: text("/metadata/deletionTimestamp").is_some(),
            fingerprint: hasher.finish(),
        };
        kinds.push(Kind {
            group: intern(group)?,
            version: intern(&called(version))?,
            kind: intern(kind)?,
            plural: intern(plural)?,
            singular: intern(&singular)?,
            short_names: list("shortNames")?,
            categories: list("categories")?,
            namespaced: text("/spec/scope") == Some("Namespaced"),
            status: version.pointer("/subresources/status").is_some(),
            scale: definition.scale.is_some(),
            stored_as: None,
            origin: Origin::Defined(Arc::new(definition)),
        });
    }
    Ok(kinds)
}

/// What clients of a deprecated version are warned with, if it does not say that itself: which newer one to use instead (upstream's
/// `defaultDeprecationWarning`).
fn deprecation((group, kind): (&str, &str), version: &str, versions: &[Value]) -> String {
    let is = |version: &Value, field: &str| version.get(field) == Some(&Value::Bool(true));
    let current = versions.iter().filter(|other| is(other, "served") && !is(other, "deprecated"));
    let names = current.filter_map(|other| other.get("name").and_then(Value::as_str));
    let newest = names.max_by_key(|name| version_rank(name)).filter(|name| version_rank(name) > version_rank(version));
    let instead = newest.map(|name| format!("; use {group}/{name} {kind}")).unwrap_or_default();
    format!("{group}/{version} {kind} is deprecated{instead}")
}

fn each<'a>(value: &'a Value, pointer: &str) -> impl Iterator<Item = &'a Value> {
    value.pointer(pointer).and_then(Value::as_array).into_iter().flatten()
}

fn selectable(field: &Value) -> Option<String> {
    field.get("jsonPath").and_then(Value::as_str).map(|path| path.trim_start_matches('.').to_owned())
}

fn scale(scale: &Value) -> Option<Scale> {
    let pointer = |field: &str| scale.get(field).and_then(Value::as_str).map(|path| path.replace('.', "/"));
    Some(Scale {
        spec: pointer("specReplicasPath")?,
        status: pointer("statusReplicasPath")?,
        selector: pointer("labelSelectorPath").filter(|path| !path.is_empty()),
    })
}
