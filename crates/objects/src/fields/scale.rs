//! Who manages the number of replicas, as the `scale` subresource and the object behind it each say it.

use serde_json::Value;

use super::{
    element::Element,
    managed::{Entry, Managed, ManagedError, Operation},
    set::Set,
};

/// The `apiVersion` of a Scale.
const SCALE: &str = "autoscaling/v1";

fn replicas() -> [Element; 2] {
    [Element::field("spec"), Element::field("replicas")]
}

/// The entries of an object as a Scale has them: those that hold the field of `path`, which is `spec.replicas` there.
///
/// # Errors
/// Entries that cannot be read.
pub fn to_scale(held: Option<&Value>, path: &[Element]) -> Result<Option<Value>, ManagedError> {
    let mut scale = Managed::default();
    for entry in Managed::read(held)?.entries().iter().filter(|entry| entry.fields().has(path)) {
        let mut own = Entry::new(entry.identity.clone(), SCALE, Set::of([replicas().as_slice()]));
        own.time = entry.time;
        // The entry keeps its identity's version: that is how it is found again.
        scale.put(own);
    }
    Ok(scale.into_json())
}

/// The entries of an object after its Scale was written: who lost `spec.replicas` there loses `path` here, who gained it gains
/// it as a writer of `version`.
///
/// # Errors
/// Entries that cannot be read.
pub fn from_scale(
    held: Option<&Value>,
    scale: Option<&Value>,
    path: &[Element],
    version: &str,
) -> Result<Option<Value>, ManagedError> {
    let (mut parent, mut scale) = (Managed::read(held)?, Managed::read(scale)?);
    let field = Set::of([path]);
    parent.entries_mut().retain_mut(|entry| {
        if !entry.fields().has(path) {
            return true;
        }
        let mut identity = entry.identity.clone();
        if identity.operation == Operation::Update {
            SCALE.clone_into(&mut identity.api_version);
        }
        if let Some(kept) = scale.take(&identity) {
            entry.time = kept.time;
            return true;
        }
        // It was taken.
        let left = entry.fields().difference(&field);
        entry.set_fields(left);
        !entry.fields().is_empty()
    });
    for entry in scale.entries().iter().filter(|entry| entry.fields().has(&replicas())) {
        let mut identity = entry.identity.clone();
        if identity.operation == Operation::Update {
            version.clone_into(&mut identity.api_version);
        }
        let fields = match parent.take(&identity) {
            Some(earlier) => earlier.fields().union(&field),
            None => field.clone(),
        };
        let mut own = Entry::new(identity, version, fields);
        own.time = entry.time;
        parent.put(own);
    }
    Ok(parent.into_json())
}
