//! `metadata.managedFields`: entries and their identities.

use jiff::Timestamp;
use serde_json::{Map, Value, json};

use super::set::Set;

/// How a manager came to manage its fields.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Operation {
    /// Server-side apply: what the manager no longer applies is removed.
    Apply,
    /// Any other write.
    Update,
}

impl Operation {
    pub(super) fn text(self) -> &'static str {
        match self {
            Self::Apply => "Apply",
            Self::Update => "Update",
        }
    }
}

/// What tells one entry from the others.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Identity {
    /// The operation.
    pub operation: Operation,
    /// The name of the manager.
    pub manager: String,
    /// For updates, the `apiVersion` of the objects written; a manager that applies is the same one in every version.
    pub api_version: String,
    /// `status`, `scale`, …; empty for the object itself.
    pub subresource: String,
}

/// How messages name a manager: `"kubectl" with subresource "scale" using apps/v1`.
impl std::fmt::Display for Identity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:?}", self.manager)?;
        if !self.subresource.is_empty() {
            write!(f, " with subresource {:?}", self.subresource)?;
        }
        if self.operation == Operation::Update { write!(f, " using {}", self.api_version) } else { Ok(()) }
    }
}

/// One entry.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    /// Whose it is.
    pub identity: Identity,
    /// The `apiVersion` that its paths are of.
    pub version: String,
    /// When its fields changed last.
    pub time: Option<Timestamp>,
    fields: Set,
}

impl Entry {
    /// An entry.
    pub fn new(identity: Identity, version: &str, fields: Set) -> Self {
        Self { identity, version: version.to_owned(), time: None, fields }
    }

    /// The fields that are managed.
    pub fn fields(&self) -> &Set {
        &self.fields
    }

    pub(super) fn into_fields(self) -> Set {
        self.fields
    }

    /// Changes them.
    pub fn set_fields(&mut self, fields: Set) {
        self.fields = fields;
    }

    fn read(entry: &Value) -> Result<Self, String> {
        let text = |field: &str| entry.get(field).and_then(Value::as_str).unwrap_or_default();
        let operation = match text("operation") {
            "Apply" => Operation::Apply,
            "Update" => Operation::Update,
            _ => return Err("operation must be `Apply` or `Update`".to_owned()),
        };
        let version = text("apiVersion").to_owned();
        if version.is_empty() {
            return Err("apiVersion must not be empty".to_owned());
        }
        match text("fieldsType") {
            "FieldsV1" => {}
            "" => return Err("missing fieldsType in managed fields entry".to_owned()),
            other => return Err(format!("invalid fieldsType {other:?} in managed fields entry")),
        }
        let time = match text("time") {
            "" => None,
            time => Some(time.parse().map_err(|e| format!("the time of a managed fields entry: {e}"))?),
        };
        let api_version = if operation == Operation::Update { version.clone() } else { String::new() };
        let (manager, subresource) = (text("manager").to_owned(), text("subresource").to_owned());
        let fields = entry.get("fieldsV1").map_or_else(|| Ok(Set::default()), Set::from_json)?;
        Ok(Self { identity: Identity { operation, manager, api_version, subresource }, version, time, fields })
    }

    fn into_json(self) -> Value {
        let Self { identity, version, time, fields } = self;
        let mut map = Map::new();
        let mut text = |name: &str, value: String| {
            if !value.is_empty() {
                map.insert(name.to_owned(), value.into());
            }
        };
        text("manager", identity.manager);
        text("operation", identity.operation.text().to_owned());
        text("apiVersion", version);
        text("subresource", identity.subresource);
        text("time", time.map(time_text).unwrap_or_default());
        text("fieldsType", "FieldsV1".to_owned());
        map.insert("fieldsV1".to_owned(), fields.to_json());
        Value::Object(map)
    }

    /// The order of entries in an object.
    fn place(&self) -> (Operation, i64, &str, &str, &str) {
        let Identity { operation, manager, subresource, .. } = &self.identity;
        (*operation, self.time.map_or(0, Timestamp::as_second), manager, &self.version, subresource)
    }
}

/// As entries say when they changed.
pub(super) fn time_text(time: Timestamp) -> String {
    time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

/// Entries that cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct ManagedError(String);

/// The entries of one object; none has the identity of another.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Managed {
    entries: Vec<Entry>,
}

/// The manager that the oldest updates are put together under.
const ANCIENT: &str = "ancient-changes";
/// So many entries of updates are kept.
const MOST_UPDATES: usize = 10;

impl Managed {
    /// Reads `metadata.managedFields`.
    ///
    /// # Errors
    /// Entries of unknown operations or types of fields, or without what every entry has.
    pub fn read(list: Option<&Value>) -> Result<Self, ManagedError> {
        let mut managed = Self::default();
        for entry in list.and_then(Value::as_array).into_iter().flatten() {
            managed.put(Entry::read(entry).map_err(ManagedError)?);
        }
        Ok(managed)
    }

    /// The JSON of all entries, in upstream's order; `None` where there are none.
    pub fn into_json(mut self) -> Option<Value> {
        self.entries.sort_by(|a, b| a.place().cmp(&b.place()));
        let entries: Vec<Value> = self.entries.into_iter().map(Entry::into_json).collect();
        (!entries.is_empty()).then_some(json!(entries))
    }

    /// Whether there are no entries.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The entries.
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// The entries, to be changed.
    pub(super) fn entries_mut(&mut self) -> &mut Vec<Entry> {
        &mut self.entries
    }

    /// The entry of an identity.
    pub fn get(&self, identity: &Identity) -> Option<&Entry> {
        self.entries.iter().find(|entry| entry.identity == *identity)
    }

    pub(super) fn get_mut(&mut self, identity: &Identity) -> Option<&mut Entry> {
        self.entries.iter_mut().find(|entry| entry.identity == *identity)
    }

    /// Takes an entry out.
    pub fn take(&mut self, identity: &Identity) -> Option<Entry> {
        let at = self.entries.iter().position(|entry| entry.identity == *identity)?;
        Some(self.entries.remove(at))
    }

    /// Puts an entry in, in the place of one of the same identity.
    pub fn put(&mut self, entry: Entry) {
        match self.get_mut(&entry.identity) {
            Some(place) => *place = entry,
            None => self.entries.push(entry),
        }
    }

    /// Puts the oldest updates together until there are few enough.
    pub(super) fn cap(&mut self) {
        let is_update = |entry: &Entry| entry.identity.operation == Operation::Update;
        let mut count = self.entries.iter().filter(|entry| is_update(entry)).count();
        if count <= MOST_UPDATES {
            return;
        }
        let mut oldest: Vec<Identity> = {
            let mut updates: Vec<&Entry> = self.entries.iter().filter(|entry| is_update(entry)).collect();
            updates.sort_by_key(|entry| (entry.time.map_or(0, Timestamp::as_second), entry.identity.clone()));
            updates.into_iter().map(|entry| entry.identity.clone()).collect()
        };
        oldest.reverse();
        let mut first: Vec<(String, Identity)> = Vec::new();
        while count > MOST_UPDATES {
            let Some(identity) = oldest.pop() else { return };
            let Some(version) = self.get(&identity).map(|entry| entry.version.clone()) else { continue };
            let Some((_, earlier)) = first.iter().find(|(of, _)| *of == version) else {
                first.push((version, identity));
                continue;
            };
            let bucket = Identity {
                operation: Operation::Update,
                manager: ANCIENT.to_owned(),
                api_version: version.clone(),
                subresource: String::new(),
            };
            let earlier = if self.get(&bucket).is_some() { bucket.clone() } else { earlier.clone() };
            if let (Some(mut into), Some(entry)) = (self.take(&earlier), self.take(&identity)) {
                into.set_fields(into.fields.union(&entry.fields));
                into.identity = bucket;
                into.time = entry.time;
                self.put(into);
            }
            count -= 1;
        }
    }
}
