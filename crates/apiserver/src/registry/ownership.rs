//! Who wrote which field: `metadata.managedFields` through every write.

use std::borrow::Cow;

use jiff::Timestamp;
use objects::{
    fields::{self, Element, Keep, Set, Shape, Updater, Versions, Writer},
    kinds::{self, Kind, KindRef},
    schema,
};
use serde_json::{Value, json};

use super::{meta, requests, update::Part};
use crate::convert;

/// A write: by whom, through what, and whether it counts.
#[derive(Clone, Debug, Default)]
pub struct Write {
    /// Whether it is only tried.
    pub dry_run: bool,
    /// The field manager.
    pub manager: String,
    /// The kind as the writer speaks of it, where that is another version than the stored one.
    pub view: Option<KindRef>,
    /// `status`, `scale`, …; empty for the object itself.
    pub subresource: String,
    /// Whether it is an apply: the object then says its managedFields as they are to be.
    pub applied: bool,
}

impl Write {
    /// The kind as the writer speaks of it.
    pub(super) fn view<'a>(&'a self, kind: &'a Kind) -> &'a Kind {
        self.view.as_deref().unwrap_or(kind)
    }
}

/// The manager of what the API server itself writes.
const ITSELF: &str = "coracle";

/// What the API server itself writes, tried or in earnest.
impl From<bool> for Write {
    fn from(dry_run: bool) -> Self {
        Self { dry_run, manager: ITSELF.to_owned(), ..Self::default() }
    }
}

/// The versions of a kind's objects.
#[derive(Clone, Debug)]
pub struct Views(pub KindRef);

impl Views {
    fn kind(&self, api_version: &str) -> Option<KindRef> {
        let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
        if self.0.is_custom() {
            // Versions of a custom kind differ in their name alone.
            return (group == self.0.group).then(|| self.0.clone());
        }
        kinds::by_kind(group, version, self.0.kind).map(KindRef::Row)
    }
}

impl Versions for Views {
    fn shape(&self, api_version: &str) -> Option<Shape<'_>> {
        let kind = self.kind(api_version)?;
        if let Some(definition) = self.0.definition() {
            return definition.schema.types(self.0.kind).root(self.0.kind);
        }
        Some(schema::shape(kind.group, kind.version, kind.kind).unwrap_or_else(fields::unknown))
    }

    fn convert<'v>(&self, object: &'v Value, from: &str, to: &str) -> Option<Cow<'v, Value>> {
        if from == to {
            return Some(Cow::Borrowed(object));
        }
        if self.0.is_custom() {
            let mut object = object.clone();
            object.as_object_mut()?.insert("apiVersion".to_owned(), to.into());
            return Some(Cow::Owned(object));
        }
        let (from, to) = (self.kind(from)?, self.kind(to)?);
        let stored = convert::to_stored(&from, object.clone()).ok()?;
        Some(Cow::Owned(convert::from_stored(&to, stored)))
    }

    fn are_fixed(&self) -> bool {
        // A definition may be changed under its objects.
        !self.0.is_custom()
    }
}

/// The fields that a write to this part of an object can change.
pub fn changeable(kind: &Kind, part: Part) -> Keep {
    let path = |steps: &[&str]| steps.iter().map(|step| Element::field(step)).collect::<Vec<_>>();
    let of = |paths: &[Vec<Element>]| Set::of(paths.iter().map(Vec::as_slice));
    let (status, finalizers) = (path(&["status"]), path(&["spec", "finalizers"]));
    let is_request = requests::is_certificate_request(kind);
    match part {
        // Who asks for a certificate has no say in the rest, nor have those who grant and make it in each other's part.
        Part::Main if is_request => Keep::Without(of(&[path(&["spec"]), status])),
        Part::Status if is_request => Keep::Only(of(&[path(&["status", "certificate"])])),
        Part::Approval => Keep::Only(of(&[path(&["status", "conditions"])])),
        Part::Status => Keep::Only(of(&[status])),
        Part::Finalize => Keep::Only(of(&[finalizers])),
        // What else is said of containers does not become part of the object.
        Part::Resize => Keep::Only(of(&["containers", "initContainers"].map(|list| path(&["spec", list])))),
        Part::EphemeralContainers => Keep::Only(of(&[path(&["spec", "ephemeralContainers"])])),
        // Upstream tracks nobody through it.
        Part::Binding => Keep::Only(Set::default()),
        // The server sets a new Namespace's finalizer.
        Part::Main if kind.is("", "Namespace") => Keep::Without(of(&[status, finalizers])),
        Part::Main if kind.status => Keep::Without(of(&[status])),
        Part::Main => Keep::All,
    }
}

/// What the server gives new objects of some kinds beyond their defaults. Upstream notes who wrote what before its admission and its
/// strategies add it, so that it is nobody's. Of the fields of a row none is added if one is said.
const ADDED: &[(&str, &str, &[&str])] = &[
    ("", "Pod", &["/spec/priority"]),
    ("", "Pod", &["/spec/priorityClassName"]),
    ("", "Pod", &["/spec/preemptionPolicy"]),
    // The two names of one field.
    ("", "Pod", &["/spec/serviceAccountName", "/spec/serviceAccount"]),
    ("", "Service", &["/spec/clusterIPs"]),
    ("", "Service", &["/spec/ipFamilies"]),
    ("", "Service", &["/spec/ipFamilyPolicy"]),
    ("batch", "Job", &["/spec/selector"]),
    ("batch", "Job", &["/spec/template/metadata/labels/batch.kubernetes.io~1controller-uid"]),
    ("batch", "Job", &["/spec/template/metadata/labels/batch.kubernetes.io~1job-name"]),
    ("batch", "Job", &["/spec/template/metadata/labels/controller-uid"]),
    ("batch", "Job", &["/spec/template/metadata/labels/job-name"]),
];

/// The fields that the server will add to a new object, because that does not say them.
pub(super) fn unsaid(kind: &Kind, object: &Value) -> Vec<&'static str> {
    let is_said = |pointer: &&str| object.pointer(pointer).is_some_and(|value| !value.is_null());
    let of_kind = ADDED.iter().filter(|(group, name, _)| kind.is(group, name));
    of_kind.filter(|(.., names)| !names.iter().any(&is_said)).flat_map(|(.., names)| *names).copied().collect()
}

/// An object without some fields, and without the maps that they leave empty.
pub(super) fn without<'v>(object: &'v Value, pointers: &[&str]) -> Cow<'v, Value> {
    let mut object = Cow::Borrowed(object);
    for pointer in pointers.iter().filter(|pointer| !pointer.is_empty()) {
        let mut rest = *pointer;
        while let Some((parent, field)) = rest.rsplit_once('/') {
            if object.pointer(rest).is_none() {
                break;
            }
            let Some(Value::Object(map)) = object.to_mut().pointer_mut(parent) else { break };
            map.remove(&field.replace("~1", "/"));
            if !map.is_empty() {
                break;
            }
            rest = parent;
        }
    }
    object
}

/// Takes the managedFields out of an object.
pub fn take(object: &mut Value) -> Option<Value> {
    object.get_mut("metadata")?.as_object_mut()?.remove("managedFields")
}

/// The managedFields that an object says.
pub fn of(object: &Value) -> Option<&Value> {
    object.get("metadata")?.get("managedFields")
}

/// The managedFields of an object after a write: `live` is the object as it was and `held` its managedFields, `new` as it
/// becomes and `supplied` what the writer said of its managedFields; both objects are stored ones, and without managedFields.
pub fn after(
    kind: &KindRef,
    part: Part,
    write: &Write,
    (live, held): (Option<&Value>, Option<&Value>),
    (new, supplied): (&Value, Option<&Value>),
    now: Timestamp,
) -> Option<Value> {
    if write.applied {
        // Nothing but the time differs: it is no change.
        let same = live.is_some_and(|live| live == new) && undated(held) == undated(supplied);
        return if same { held } else { supplied }.cloned();
    }
    let view = write.view.as_ref().unwrap_or(kind);
    let version = view.api_version();
    let subresource = if part == Part::Status { "status" } else { &write.subresource };
    let said = supplied.filter(|said| subresource.is_empty() && Some(*said) != held);
    if said.is_none() && live.is_some_and(|live| live == new) {
        return held.cloned();
    }
    let seen = |object: &Value| (view != kind).then(|| convert::from_stored(view, object.clone()));
    let (old_seen, new_seen) = (live.and_then(seen), seen(new));
    let writer = Writer { manager: &write.manager, api_version: &version, subresource, now };
    let (versions, keep) = (Views(kind.clone()), changeable(kind, part));
    let updater = Updater { versions: &versions, keep: &keep };
    let live = old_seen.as_ref().or(live);
    fields::update(&updater, live, new_seen.as_ref().unwrap_or(new), held, said, &writer)
}

/// Entries without the times.
fn undated(entries: Option<&Value>) -> Option<Value> {
    let mut entries = entries?.clone();
    for entry in entries.as_array_mut().into_iter().flatten() {
        if let Some(entry) = entry.as_object_mut() {
            entry.remove("time");
        }
    }
    Some(entries)
}

/// Puts managedFields into an object.
pub fn put(object: &mut Value, managed: Option<Value>) {
    meta::set(object, "managedFields", managed.filter(|list| *list != json!([])));
}
