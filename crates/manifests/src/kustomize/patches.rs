//! `patches` and its two older forms: strategic merges and JSON patches, on the objects that they name or select.

use std::path::Path;

use objects::{patch, selector};
use regex::Regex;
use serde::Deserialize;
use serde_json::Value;

use super::{
    limits,
    loader::Root,
    marks::Marks,
    merge, read,
    resource::{Resource, Resources},
};
use crate::yaml::{self, Dialect};

/// An entry of `patches` or `patchesJson6902`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Patch {
    path: String,
    patch: String,
    target: Option<Selector>,
    options: Options,
}

#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
struct Options {
    allow_name_change: bool,
    allow_kind_change: bool,
}

/// Which objects: every part that is given must fit. Group, version, kind, name and namespace are regular expressions for the
/// whole text.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub(super) struct Selector {
    pub(super) group: String,
    pub(super) version: String,
    pub(super) kind: String,
    pub(super) name: String,
    pub(super) namespace: String,
    pub(super) label_selector: String,
    pub(super) annotation_selector: String,
}

/// The source of a patch that stands in the kustomization.
const INLINE: &str = "the inline patch";

/// What a patch's text turned out to be.
enum Content {
    Merges(Vec<Resource>),
    Operations(Value),
}

impl Selector {
    /// The indices of the objects that fit.
    ///
    /// # Errors
    /// When an expression or selector is malformed.
    pub(super) fn select(&self, resources: &Resources) -> Result<Vec<usize>, String> {
        let pattern = |text: &str| {
            let regex =
                Regex::new(&format!("^(?:{text})$")).map_err(|error| format!("the target's {text:?}: {error}"))?;
            Ok::<_, String>(move |own: &str, empty: bool| empty || regex.is_match(own))
        };
        let (group, version, kind) = (pattern(&self.group)?, pattern(&self.version)?, pattern(&self.kind)?);
        let (name, namespace) = (pattern(&self.name)?, pattern(&self.namespace)?);
        let mut found = Vec::new();
        for (at, resource) in resources.0.iter().enumerate() {
            let (now, then) = (resource.id(), resource.original_id());
            let fits = [&now, &then].iter().any(|id| namespace(id.effective_namespace(), self.namespace.is_empty()))
                && [&now, &then].iter().any(|id| name(&id.name, self.name.is_empty()))
                && group(&now.gvk.group, self.group.is_empty())
                && version(&now.gvk.version, self.version.is_empty())
                && kind(&now.gvk.kind, self.kind.is_empty());
            if fits && self.fits_metadata(resource)? {
                found.push(at);
            }
        }
        Ok(found)
    }

    /// Whether labels and annotations fit.
    ///
    /// # Errors
    /// When a selector is malformed.
    pub(super) fn fits_metadata(&self, resource: &Resource) -> Result<bool, String> {
        for (text, field) in [(&self.label_selector, "labels"), (&self.annotation_selector, "annotations")] {
            let selector = selector::Labels::parse(text).map_err(|error| error.to_string())?;
            if !selector.matches(&resource.texts(field)) {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

/// Does one entry of `patches`.
///
/// # Errors
/// When the patch cannot be read or applied, or what it names is not there.
pub(super) fn apply(resources: &mut Resources, patch: &Patch, root: &Root) -> Result<(), String> {
    let (text, source) = text_of(patch, root)?;
    match (content(&text, &source)?, &patch.target) {
        (Content::Operations(_), None) => Err(format!("{source}: a JSON patch needs a target")),
        (Content::Operations(operations), Some(target)) => {
            for at in target.select(resources)? {
                if let Some(resource) = resources.0.get_mut(at) {
                    resource.remember();
                    operate(resource, &operations, &source)?;
                }
            }
            Ok(())
        }
        (Content::Merges(patches), None) => {
            patches.into_iter().try_for_each(|value| by_name(resources, value, patch.options, &source))
        }
        (Content::Merges(patches), Some(target)) => match patches.as_slice() {
            [value] => {
                let found = target.select(resources)?;
                selected(resources, value, found, patch.options, &source)
            }
            _ => Err(format!("{source}: with a target, there may be one patch in an entry, not {}", patches.len())),
        },
    }
}

/// Does one entry of `patchesStrategicMerge`: a file, or the patches themselves.
///
/// # Errors
/// As `apply`.
pub(super) fn apply_strategic(resources: &mut Resources, entry: &str, root: &Root) -> Result<(), String> {
    let inline = read::objects(entry, Path::new(INLINE));
    let (patches, source) = match inline {
        Ok(patches) if !patches.is_empty() => (patches, INLINE.to_owned()),
        Err(error) if entry.contains('\n') => return Err(error.to_string()),
        _ => {
            let text = root.text(entry).map_err(|error| error.to_string())?;
            let shown = root.show(entry);
            (read::objects(&text, &shown).map_err(|error| error.to_string())?, shown.display().to_string())
        }
    };
    patches.iter().try_for_each(|patch| {
        let at = resources.one(&patch.id()).map_err(|reason| format!("{source}: {reason}"))?;
        selected(resources, patch, vec![at], Options::default(), &source)
    })
}

/// Does one entry of `patchesJson6902`.
///
/// # Errors
/// As `apply`.
pub(super) fn apply_operations(resources: &mut Resources, patch: &Patch, root: &Root) -> Result<(), String> {
    let (text, source) = text_of(patch, root)?;
    let target = patch.target.as_ref().filter(|target| !target.name.is_empty());
    let target = target.ok_or_else(|| format!("{source}: a JSON patch needs a target with a name"))?;
    let Content::Operations(operations) = content(&text, &source)? else {
        return Err(format!("{source}: it is no JSON patch: a list of operations"));
    };
    for at in target.select(resources)? {
        if let Some(resource) = resources.0.get_mut(at) {
            operate(resource, &operations, &source)?;
        }
    }
    Ok(())
}

fn text_of(patch: &Patch, root: &Root) -> Result<(String, String), String> {
    match (patch.patch.trim(), patch.path.as_str()) {
        ("", "") => Err("an entry needs a path or a patch".to_owned()),
        (text, "") => Ok((text.to_owned(), INLINE.to_owned())),
        ("", path) => {
            let text = root.text(path).map_err(|error| error.to_string())?;
            Ok((text, root.show(path).display().to_string()))
        }
        _ => Err(format!("{}: an entry has either a path or a patch, not both", patch.path)),
    }
}

fn content(text: &str, source: &str) -> Result<Content, String> {
    let documents = yaml::documents(text, Dialect::Kubectl)
        .map_err(|wrong| format!("{source}:{}: {}", wrong.line, wrong.reason))?;
    match documents.into_iter().map(|document| document.value).find(|value| !value.is_null()) {
        Some(operations @ Value::Array(_)) => Ok(Content::Operations(operations)),
        Some(Value::Object(_)) => {
            let patches = read::objects(text, Path::new(source)).map_err(|error| error.to_string())?;
            Ok(Content::Merges(patches))
        }
        _ => Err(format!("{source}: it is neither a strategic merge patch (an object) nor a JSON patch (a list)")),
    }
}

fn operate(resource: &mut Resource, operations: &Value, source: &str) -> Result<(), String> {
    patch::json_patch(&mut resource.value, operations)
        .map_err(|error| format!("{source} on {}: {error}", resource.id()))?;
    resource.marks = Marks::default();
    limits::check(&resource.value).map_err(|reason| format!("{source} on {}: {reason}", resource.id()))?;
    let annotations = resource.texts("annotations");
    resource.set_texts("annotations", annotations);
    Ok(())
}

fn by_name(resources: &mut Resources, patch: Resource, options: Options, source: &str) -> Result<(), String> {
    let at = resources.one(&patch.id()).map_err(|reason| format!("{source}: {reason}"))?;
    let forgets = drops_annotations(&patch.value);
    let resource = merge_into(resources, at, patch, options, source)?;
    if let Some(resource) = resource.filter(|_| forgets) {
        resource.forget();
    }
    Ok(())
}

/// Whether a patch removes all annotations. kustomize keeps its notes there and loses them with the others.
fn drops_annotations(patch: &Value) -> bool {
    let drops = |field: Option<&Value>| {
        let directive = field.and_then(|field| field.get("$patch")).and_then(yaml::text);
        field.is_some_and(Value::is_null) || directive.is_some_and(|word| word != "merge")
    };
    let metadata = patch.get("metadata");
    drops(metadata) || drops(metadata.and_then(|metadata| metadata.get("annotations")))
}

/// Merges into what was selected, as kustomize does it: the patch's labels and annotations are text then, `null` ones too.
fn selected(
    resources: &mut Resources,
    patch: &Resource,
    mut found: Vec<usize>,
    options: Options,
    source: &str,
) -> Result<(), String> {
    // From the end, so that a deleted object does not move those that are still to come.
    found.reverse();
    for at in found {
        let Some(resource) = resources.0.get(at) else { continue };
        let mut own = patch.clone();
        for field in ["labels", "annotations"] {
            let texts = own.texts(field);
            own.set_texts(field, texts);
        }
        if let Some(fields) = own.value.as_object_mut() {
            fields.insert("apiVersion".to_owned(), resource.id().gvk.api_version().into());
        }
        merge_into(resources, at, own, options, source)?;
    }
    resources.check()
}

/// Merges the patch; what it says of name, namespace and kind counts only where the options allow it. Returns the object, unless
/// it is deleted.
fn merge_into<'r>(
    resources: &'r mut Resources,
    at: usize,
    patch: Resource,
    options: Options,
    source: &str,
) -> Result<Option<&'r mut Resource>, String> {
    let Some(resource) = resources.0.get_mut(at) else { return Ok(None) };
    let id = resource.id();
    if options.allow_name_change || options.allow_kind_change {
        resource.remember();
    }
    let merged = merge::merge((resource.value.take(), &resource.marks), (patch.value, &patch.marks))
        .map_err(|misfit| format!("{source} on {id} {misfit}"))?;
    let is_left = |value: &Value| value.as_object().is_some_and(|fields| !fields.is_empty());
    let Some((value, marks)) = merged.filter(|(value, _)| is_left(value)) else {
        resources.0.remove(at);
        return Ok(None);
    };
    (resource.value, resource.marks) = (value, marks);
    if !options.allow_kind_change
        && let Some(fields) = resource.value.as_object_mut()
    {
        fields.insert("kind".to_owned(), id.gvk.kind.as_str().into());
    }
    if !options.allow_name_change {
        resource.set_meta("name", &id.name);
    }
    resource.set_meta("namespace", &id.namespace);
    Ok(resources.0.get_mut(at))
}
