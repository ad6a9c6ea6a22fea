//! `replacements`: a field of one object copied into fields of others.

use serde::Deserialize;
use serde_json::Value;

use super::{
    id::{Gvk, Id},
    limits,
    patches::Selector,
    path,
    resource::{Resource, Resources},
};
use crate::yaml::{self, Dialect};

/// The field that is meant when none is named.
const NAME: &str = "metadata.name";

/// An entry of `replacements`: itself, or the file that holds it (or a list of them).
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Replacement {
    pub(super) path: String,
    pub(super) source: Option<Source>,
    pub(super) targets: Option<Vec<Target>>,
}

/// One field of one object.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub(super) struct Source {
    group: String,
    version: String,
    kind: String,
    name: String,
    namespace: String,
    field_path: String,
    options: Options,
}

/// Fields of the selected objects.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub(super) struct Target {
    select: Option<Selector>,
    reject: Vec<Selector>,
    field_paths: Vec<String>,
    options: Options,
}

/// A part of a field, parted by a delimiter; and whether a missing field is made.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Options {
    delimiter: String,
    index: i64,
    create: bool,
}

/// Does one replacement.
///
/// # Errors
/// When the source is not exactly one object that has the field, or a target lacks a field.
pub(super) fn replace(resources: &mut Resources, replacement: &Replacement) -> Result<(), String> {
    let (Some(source), Some(targets)) = (&replacement.source, &replacement.targets) else {
        return Err("a replacement needs a source and at least one target".to_owned());
    };
    let value = value_of(resources, source)?;
    for target in targets {
        let select = target.select.as_ref().ok_or("a target needs a select")?;
        for resource in &mut resources.0 {
            if is_meant(resource, select, &target.reject)? {
                let copied = copy(resource, &value, target);
                copied.map_err(|reason| format!("{}: {reason}", resource.id()))?;
            }
        }
    }
    Ok(())
}

/// The identities as a replacement sees them: it does not know which kinds have no namespace.
fn ids(resource: &Resource) -> Vec<Id> {
    let mut ids = resource.all_ids();
    for id in &mut ids {
        id.cluster_scoped = false;
    }
    ids
}

fn id_of(selector: &Selector) -> Id {
    let gvk = Gvk { group: selector.group.clone(), version: selector.version.clone(), kind: selector.kind.clone() };
    Id { gvk, name: selector.name.clone(), namespace: selector.namespace.clone(), cluster_scoped: false }
}

fn value_of(resources: &Resources, source: &Source) -> Result<Value, String> {
    let gvk = Gvk { group: source.group.clone(), version: source.version.clone(), kind: source.kind.clone() };
    let id = Id { gvk, name: source.name.clone(), namespace: source.namespace.clone(), cluster_scoped: false };
    let mut found = resources.0.iter().filter(|resource| ids(resource).iter().any(|own| own.is_selected(&id)));
    let resource = match (found.next(), found.next()) {
        (Some(one), None) => one,
        (None, _) => return Err(format!("the source {id} is not there")),
        (Some(_), Some(_)) => return Err(format!("the source {id} is several objects")),
    };
    let field = if source.field_path.is_empty() { NAME } else { &source.field_path };
    let value = path::lookup(&resource.value, &path::parts(field))?;
    let is_empty = |value: &Value| match value {
        Value::Null => true,
        Value::Array(items) => items.is_empty(),
        Value::Object(fields) => fields.is_empty(),
        _ => false,
    };
    let value = value.filter(|value| !is_empty(value));
    let value = value.ok_or_else(|| format!("the source {id} has no field {field}"))?;
    if source.options.delimiter.is_empty() {
        return Ok(value.clone());
    }
    let text = yaml::text(value).ok_or("a delimiter needs a field that is a scalar")?;
    let index = usize::try_from(source.options.index).ok();
    let piece = index.and_then(|index| text.split(&source.options.delimiter).nth(index));
    let piece =
        piece.ok_or_else(|| format!("{text:?} of {field} has no part with the index {}", source.options.index))?;
    typed_like(value, piece)
}

fn is_meant(resource: &Resource, select: &Selector, reject: &[Selector]) -> Result<bool, String> {
    if !select.fits_metadata(resource)? {
        return Ok(false);
    }
    let own = ids(resource);
    for rejected in reject {
        let by_metadata = !(rejected.label_selector.is_empty() && rejected.annotation_selector.is_empty());
        if by_metadata && rejected.fits_metadata(resource)? {
            return Ok(false);
        }
        let id = id_of(rejected);
        if id != Id::default() && own.iter().any(|own| own.is_selected(&id)) {
            return Ok(false);
        }
    }
    let id = id_of(select);
    Ok(own.iter().any(|own| own.is_selected(&id)))
}

fn copy(resource: &mut Resource, value: &Value, target: &Target) -> Result<(), String> {
    let default = [NAME.to_owned()];
    let fields = if target.field_paths.is_empty() { &default[..] } else { &target.field_paths };
    for field in fields {
        let create = target.options.create.then_some(value);
        let found = path::find(&mut resource.value, &path::parts(field), create)?;
        if found.is_empty() {
            return Err(format!("it has no field {field}"));
        }
        for place in found {
            let Some(slot) = path::at(&mut resource.value, &place.steps) else { continue };
            set(slot, value, &target.options, place.is_new).map_err(|reason| format!("field {field}: {reason}"))?;
            let new = slot.clone();
            resource.marks.write(&mut resource.value, &place.steps, &new);
        }
        limits::check(&resource.value)?;
    }
    Ok(())
}

fn set(slot: &mut Value, value: &Value, options: &Options, is_new: bool) -> Result<(), String> {
    let is_scalar = !slot.is_object() && !slot.is_array();
    if options.delimiter.is_empty() && !is_scalar {
        *slot = value.clone();
        return Ok(());
    }
    let mut text = yaml::text(value).unwrap_or_default();
    if !options.delimiter.is_empty() {
        let old = yaml::text(slot).ok_or("a delimiter needs a field that is a scalar")?;
        let mut pieces: Vec<&str> = old.split(&options.delimiter).collect();
        match usize::try_from(options.index) {
            Err(_) => pieces.insert(0, &text),
            Ok(at) => match pieces.get_mut(at) {
                Some(piece) => *piece = &text,
                None => pieces.push(&text),
            },
        }
        text = pieces.join(&options.delimiter);
    }
    *slot = match (is_new, &*slot) {
        (true, _) | (false, Value::Null) if value.is_object() || value.is_array() => value.clone(),
        (true, _) => yaml::plain(&text, Dialect::Kustomize)?,
        (false, old) => typed_like(old, &text)?,
    };
    Ok(())
}

/// The text as the type that the field has: a number stays a number, a string a string.
fn typed_like(old: &Value, text: &str) -> Result<Value, String> {
    let new = match old {
        Value::Number(_) | Value::Bool(_) => yaml::plain(text, Dialect::Kustomize)?,
        _ => return Ok(text.into()),
    };
    let fits = (old.is_number() && new.is_number()) || (old.is_boolean() && new.is_boolean());
    if fits { Ok(new) } else { Err(format!("{text:?} does not fit where {old} stands")) }
}
