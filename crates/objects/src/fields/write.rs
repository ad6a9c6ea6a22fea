//! The two ways to write an object, and what each leaves in its `managedFields`.

use std::sync::LazyLock;

use jiff::Timestamp;
use serde_json::{Value, json};

use super::{
    element::Element,
    last_applied,
    managed::{Entry, Identity, Managed, Operation},
    redate::redated,
    set::Set,
    updater::{Conflict, Difference, Updater},
    validate::validate,
};

/// Who writes.
#[derive(Clone, Copy, Debug)]
pub struct Writer<'a> {
    /// The field manager; empty when nobody said.
    pub manager: &'a str,
    /// The `apiVersion` of what is written.
    pub api_version: &'a str,
    /// `status`, `scale`, …; empty for the object itself.
    pub subresource: &'a str,
    /// Now.
    pub now: Timestamp,
}

impl Writer<'_> {
    fn identity(&self, operation: Operation) -> Identity {
        self.named(self.manager, operation)
    }

    fn named(&self, manager: &str, operation: Operation) -> Identity {
        let version = if operation == Operation::Update { self.api_version } else { "" };
        Identity {
            operation,
            manager: if manager.is_empty() { "unknown" } else { manager }.to_owned(),
            api_version: version.to_owned(),
            subresource: self.subresource.to_owned(),
        }
    }
}

/// Why an apply is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ApplyError {
    /// Others manage what it would change.
    #[error("{} conflicts", .0.len())]
    Conflicts(Vec<Conflict>),
    /// The applied object does not fit its schema, or the live one cannot be read.
    #[error("{0}")]
    Object(String),
}

/// Fields that nobody manages: they say which object it is, or are the server's.
static NOBODYS: LazyLock<Set> = LazyLock::new(|| {
    const METADATA: &[&str] = &[
        "name",
        "namespace",
        "creationTimestamp",
        "selfLink",
        "uid",
        "clusterName",
        "generation",
        "managedFields",
        "resourceVersion",
    ];
    let mut set = Set::default();
    for top in ["apiVersion", "kind", "metadata"] {
        set.insert(&[Element::field(top)]);
    }
    for field in METADATA {
        set.insert(&[Element::field("metadata"), Element::field(field)]);
    }
    set
});

/// The name under which a write's own changes are gathered before they are put with what its manager had.
const CURRENT: &str = "current-operation";
/// The manager of what was there before an object was first applied to.
const BEFORE: &str = "before-first-apply";

/// The `managedFields` of an object after a write that is no apply. `live` is the object as it was (`None`: it is new), `new`
/// as it becomes, both of the writer's version and without managedFields; `held` are the entries of the live object and
/// `supplied` those that the client sent. Objects that nobody's fields are kept of stay so.
pub fn update(
    updater: &Updater<'_>,
    live: Option<&Value>,
    new: &Value,
    held: Option<&Value>,
    supplied: Option<&Value>,
    writer: &Writer<'_>,
) -> Option<Value> {
    let write = updater.difference(live, new, writer.api_version);
    if let (Some(held), None, Ok(write), true) = (held, supplied, &write, updater.versions.are_fixed())
        && let Some(modified) = write.only_modified()
        && let Some(entries) =
            redated(held, &modified.difference(&NOBODYS), &writer.identity(Operation::Update), writer.now)
    {
        return Some(entries);
    }
    let mut managed = decode(held, supplied, writer.subresource);
    if managed.is_empty() && live.is_some() {
        return None;
    }
    match write.and_then(|write| track(updater, write, &mut managed, writer, writer.manager)) {
        Ok(()) => managed.into_json(),
        // An object that does not fit its schema is not tracked; what was known stays.
        Err(_) => held.cloned(),
    }
}

/// The entries that a write goes out from: those that the client sent, if it sent any that can be read (to none, when it sent
/// an empty list or one empty entry), else those of the live object. Through a subresource they cannot be sent.
pub fn decode(held: Option<&Value>, supplied: Option<&Value>, subresource: &str) -> Managed {
    let live = || Managed::read(held).unwrap_or_default();
    if !subresource.is_empty() {
        return live();
    }
    if supplied.is_some_and(|list| *list == json!([]) || *list == json!([{}])) {
        return Managed::default();
    }
    Managed::read(supplied).ok().filter(|managed| !managed.is_empty()).unwrap_or_else(live)
}

fn track(
    updater: &Updater<'_>,
    write: Difference<'_>,
    managed: &mut Managed,
    writer: &Writer<'_>,
    manager: &str,
) -> Result<(), ApplyError> {
    let (current, identity) = (writer.named(CURRENT, Operation::Update), writer.named(manager, Operation::Update));
    updater.update(write, managed, &current)?;
    if let Some(change) = managed.take(&current) {
        let mut fields = change.into_fields();
        fields.subtract(&NOBODYS);
        if !fields.is_empty() {
            if let Some(earlier) = managed.take(&identity) {
                fields.absorb(earlier.into_fields());
            }
            let mut entry = Entry::new(identity, writer.api_version, fields);
            entry.time = Some(writer.now);
            managed.put(entry);
        }
    }
    managed.cap();
    Ok(())
}

/// Server-side apply: the object that results, and its `managedFields`. `live` is the object as it is (`None`: it is made),
/// `applied` what is wanted of it, both of the writer's version and without managedFields; `held` are the live object's entries.
///
/// # Errors
/// Conflicts, unless `force`; an applied object that does not fit its schema.
pub fn apply(
    updater: &Updater<'_>,
    live: Option<&Value>,
    applied: &Value,
    held: Option<&Value>,
    writer: &Writer<'_>,
    force: bool,
) -> Result<(Value, Option<Value>), ApplyError> {
    let failed = |e: String| ApplyError::Object(format!("failed to decode managed fields: {e}"));
    let mut managed = Managed::read(held).map_err(|e| failed(e.to_string()))?;
    if let (Some(live), true) = (live, managed.is_empty()) {
        let failed = |e| ApplyError::Object(format!("failed to create manager for existing fields: {e}"));
        let write = updater.difference(None, live, writer.api_version);
        write.and_then(|write| track(updater, write, &mut managed, writer, BEFORE)).map_err(failed)?;
    }
    let shape = updater.versions.shape(writer.api_version);
    if let Some(Err(error)) = shape.map(|shape| validate(shape, applied, false)) {
        return Err(ApplyError::Object(format!(
            "failed to create typed patch object ({}): {error}",
            described(applied)
        )));
    }
    let identity = writer.identity(Operation::Apply);
    let merge = |managed: &mut Managed, force| {
        updater.apply(live.unwrap_or(&Value::Null), applied, writer.api_version, managed, &identity, force)
    };
    let before = managed.clone();
    let merged = match merge(&mut managed, force) {
        Err(ApplyError::Conflicts(conflicts)) if writer.manager == last_applied::KUBECTL => {
            let conflicts = last_applied::others(shape, live, writer.api_version, conflicts);
            if !conflicts.is_empty() {
                return Err(ApplyError::Conflicts(conflicts));
            }
            managed = before;
            merge(&mut managed, true)?
        }
        other => other?,
    };
    settle(&mut managed, &identity, merged.is_some().then_some(writer.now));
    let mut object = merged.or_else(|| live.cloned()).unwrap_or_default();
    if writer.manager == last_applied::KUBECTL {
        last_applied::sync(&mut object, applied);
    }
    Ok((object, managed.into_json()))
}

/// Takes nobody's fields out of an applier's entry, and dates it.
fn settle(managed: &mut Managed, identity: &Identity, now: Option<Timestamp>) {
    let Some(mut entry) = managed.take(identity) else { return };
    let fields = entry.fields().difference(&NOBODYS);
    entry.set_fields(fields);
    entry.time = now.or(entry.time);
    if !entry.fields().is_empty() {
        managed.put(entry);
    }
}

/// As messages name an object: `default/web; apps/v1, Kind=Deployment`.
fn described(object: &Value) -> String {
    let text = |pointer: &str| object.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
    let version = match text("/apiVersion") {
        version if version.contains('/') => version.to_owned(),
        core => format!("/{core}"),
    };
    format!("{}/{}; {version}, Kind={}", text("/metadata/namespace"), text("/metadata/name"), text("/kind"))
}
