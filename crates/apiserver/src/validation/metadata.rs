//! `metadata`: names, labels, annotations, owners, finalizers (apimachinery's `ValidateObjectMeta`).

use objects::{kinds::Kind, names};
use serde_json::{Value, json};

use super::at::At;
use crate::{registry::meta, status::Cause};

/// All keys and values of an object's annotations together.
const MOST_ANNOTATIONS: usize = 256 * 1024;

pub(super) fn check(kind: &Kind, object: &Value) -> Vec<Cause> {
    let name_check = super::rows::row(kind).map_or(names::dns_subdomain as fn(&str) -> Vec<String>, |row| row.name);
    of_object(&At::root(object).field("metadata"), name_check)
}

/// The metadata of an object in a custom resource.
pub(crate) fn embedded(metadata: &Value, path: &str) -> Vec<Cause> {
    let metadata = At { value: metadata, path: path.to_owned() };
    let namespace = metadata.field("namespace");
    let mut causes = if metadata.field("name").text().is_empty() {
        of_object(&metadata, |_| Vec::new())
    } else {
        of_object(&metadata, names::path_segment)
    };
    if !namespace.text().is_empty() {
        causes.extend(namespace.named(names::dns_label));
    }
    causes
}

fn of_object(metadata: &At<'_>, name_check: fn(&str) -> Vec<String>) -> Vec<Cause> {
    let mut causes = generated(&metadata.field("generateName"), name_check);
    causes.extend(metadata.field("name").named(name_check));
    causes.extend(labels(&metadata.field("labels")));
    causes.extend(annotations(&metadata.field("annotations")));
    causes.extend(owners(metadata));
    for finalizer in metadata.each("finalizers") {
        causes.extend(finalizer.named(names::qualified_name));
    }
    causes
}

/// What names are generated from may end with what a name may not: something follows.
fn generated(prefix: &At<'_>, check: fn(&str) -> Vec<String>) -> Vec<Cause> {
    match prefix.text() {
        "" => Vec::new(),
        text => {
            let masked = text.strip_suffix('-').map_or_else(|| text.to_owned(), |rest| format!("{rest}a"));
            check(&masked).iter().map(|wrong| prefix.invalid(wrong)).collect()
        }
    }
}

/// Labels, wherever they stand.
pub(super) fn labels(labels: &At<'_>) -> Vec<Cause> {
    let mut causes = Vec::new();
    for (key, value) in labels.clone().entries() {
        let wrong = names::qualified_name(key);
        causes.extend(wrong.iter().map(|wrong| Cause::invalid(&labels.path, &json!(key), wrong)));
        let wrong = names::label_value(value.text());
        causes.extend(wrong.iter().map(|wrong| Cause::invalid(&labels.path, value.value, wrong)));
    }
    causes
}

/// Annotations, wherever they stand.
pub(super) fn annotations(annotations: &At<'_>) -> Vec<Cause> {
    let mut causes = Vec::new();
    let mut size = 0;
    for (key, value) in annotations.clone().entries() {
        // Upstream allows capitals in the prefix here, and nowhere else.
        let wrong = names::qualified_name(&key.to_lowercase());
        causes.extend(wrong.iter().map(|wrong| Cause::invalid(&annotations.path, &json!(key), wrong)));
        size += key.len() + value.len();
    }
    if size > MOST_ANNOTATIONS {
        causes.push(Cause::too_long(&annotations.path, MOST_ANNOTATIONS));
    }
    causes
}

fn owners(metadata: &At<'_>) -> Vec<Cause> {
    let mut causes = Vec::new();
    let mut controller: Option<&str> = None;
    for owner in metadata.each("ownerReferences") {
        for (field, why) in [
            ("apiVersion", "version must not be empty"),
            ("kind", "must not be empty"),
            ("name", "must not be empty"),
            ("uid", "must not be empty"),
        ] {
            let field = owner.field(field);
            causes.extend(field.text().is_empty().then(|| Cause::invalid(&field.path, &json!(""), why)));
        }
        if owner.field("controller").is_true() {
            let name = owner.field("name").text();
            if let Some(first) = controller.replace(name) {
                let why = format!(
                    "Only one reference can have Controller set to true. Found \"true\" in references for {first} and {name}"
                );
                let list = metadata.field("ownerReferences");
                causes.push(list.invalid(&why));
            }
        }
    }
    causes
}

/// What may not change: an object that is being deleted gets no new reasons to stay.
pub(super) fn change(new: &Value, old: &Value) -> Vec<Cause> {
    if !meta::is_deleting(old) {
        return Vec::new();
    }
    let old = meta::finalizers(old);
    let added: Vec<String> =
        meta::finalizers(new).into_iter().filter(|f| !old.contains(f)).map(|f| format!("{f:?}")).collect();
    if added.is_empty() {
        return Vec::new();
    }
    let why = format!(
        "no new finalizers can be added if the object is being deleted, found new finalizers []string{{{}}}",
        added.join(", ")
    );
    vec![Cause::forbidden("metadata.finalizers", &why)]
}
