//! What a definition may say (apiextensions' `ValidateCustomResourceDefinition`).

mod schema;
mod structural;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;

use ::objects::{custom, jsonpath::JsonPath, names};
use serde_json::{Value, json};

use super::names::{APPROVED, WHY, is_protected};
use crate::{
    registry::meta,
    status::Cause,
    validation::{At, duplicates},
};

/// Selectable fields of a version, at most.
const MOST_SELECTABLE: usize = 8;
/// Characters of a deprecation warning, at most.
const LONGEST_WARNING: usize = 256;
/// Of each definition, nobody reads more causes than this.
const MOST: usize = 200;

/// What is wrong with a new definition.
pub(crate) fn create(definition: &Value) -> Vec<Cause> {
    let root = At::root(definition);
    let spec = root.field("spec");
    let mut causes = Vec::new();
    name(definition, &spec, &mut causes);
    group(definition, &spec.field("group"), &mut causes);
    causes.extend(spec.field("scope").must_be_one_of(&["Cluster", "Namespaced"]));
    names_of(&spec.field("names"), &mut causes);
    versions(&spec, &mut causes);
    conversion(&spec.field("conversion"), &mut causes);
    if spec.field("preserveUnknownFields").is_true() {
        causes.push(spec.field("preserveUnknownFields").invalid("must be false"));
    }
    causes.truncate(MOST);
    causes
}

/// What a change of a definition may not change.
pub(crate) fn fixed(new: &Value, old: &Value) -> Vec<Cause> {
    let mut causes = Vec::new();
    let (now, before) = (At::root(new).field("spec"), At::root(old).field("spec"));
    let mut fixed = |now: &At<'_>, before: &At<'_>| {
        if now.value != before.value {
            causes.push(now.invalid("field is immutable"));
        }
    };
    fixed(&now.field("group"), &before.field("group"));
    fixed(&now.field("names").field("plural"), &before.field("names").field("plural"));
    if custom::is_served(old) {
        fixed(&now.field("scope"), &before.field("scope"));
        fixed(&now.field("names").field("kind"), &before.field("names").field("kind"));
    }
    let versions: BTreeSet<&str> = now.each("versions").map(|version| version.field("name").text()).collect();
    for stored in At::root(old).field("status").each("storedVersions") {
        let version = stored.text();
        if !versions.contains(version) {
            causes.push(stored.invalid(&format!(
                "missing from spec.versions; {version} was previously a storage version, and must remain in spec.versions until a storage migration ensures no data remains persisted in {version} and removes {version} from status.storedVersions"
            )));
        }
    }
    causes
}

fn name(definition: &Value, spec: &At<'_>, causes: &mut Vec<Cause>) {
    let wanted = format!("{}.{}", spec.field("names").field("plural").text(), spec.field("group").text());
    let name = meta::text(definition, "name");
    if name != wanted {
        let why = "must be spec.names.plural+\".\"+spec.group";
        causes.push(Cause::invalid("metadata.name", &name.into(), why));
    }
}

fn group(definition: &Value, group: &At<'_>, causes: &mut Vec<Cause>) {
    if let Some(missing) = group.must_be_set() {
        causes.push(missing);
        return;
    }
    causes.extend(group.named(names::dns_subdomain));
    if !group.text().contains('.') {
        causes.push(group.invalid("should be a domain with at least one dot"));
    }
    let approved = definition.pointer(&format!("/metadata/annotations/{APPROVED}")).and_then(Value::as_str);
    if is_protected(group.text()) && approved.is_none_or(str::is_empty) {
        let field = format!("metadata.annotations[{APPROVED}]");
        let why = format!("protected groups must have approval annotation {APPROVED:?}, see {WHY}");
        causes.push(Cause::required(field, &why));
    }
}

fn names_of(names: &At<'_>, causes: &mut Vec<Cause>) {
    let label = |at: &At<'_>, causes: &mut Vec<Cause>| {
        let wrong = names::dns_1035_label(at.text());
        if !wrong.is_empty() {
            causes.push(at.invalid(&wrong.join(",")));
        }
    };
    for field in ["plural", "singular"] {
        let at = names.field(field);
        if field == "plural" && at.text().is_empty() {
            causes.push(at.required(""));
        } else if !at.text().is_empty() {
            label(&at, causes);
        }
    }
    for field in ["kind", "listKind"] {
        let at = names.field(field);
        if at.text().is_empty() {
            causes.push(at.required(""));
            continue;
        }
        let wrong = names::dns_1035_label(&at.text().to_lowercase());
        if !wrong.is_empty() {
            let why = format!("may have mixed case, but should otherwise match: {}", wrong.join(","));
            causes.push(at.invalid(&why));
        }
    }
    let list_kind = names.field("listKind");
    if list_kind.is_set() && list_kind.value == names.field("kind").value {
        causes.push(list_kind.invalid("kind and listKind may not be the same"));
    }
    for field in ["shortNames", "categories"] {
        names.each(field).for_each(|at| label(&at, causes));
    }
}

fn versions(spec: &At<'_>, causes: &mut Vec<Cause>) {
    let versions = spec.field("versions");
    if versions.len() == 0 {
        causes.push(versions.required(""));
        return;
    }
    let names: Vec<&str> = spec.each("versions").map(|version| version.field("name").text()).collect();
    if names.iter().collect::<BTreeSet<_>>().len() < names.len() {
        causes.push(Cause::invalid(&versions.path, &json!(names), "must contain unique version names"));
    }
    let stored = spec.each("versions").filter(|version| version.field("storage").is_true()).count();
    if stored != 1 {
        let why = "must have exactly one version marked as storage version";
        causes.push(Cause::invalid(&versions.path, &json!(names), why));
    }
    for version in spec.each("versions") {
        one_version(&version, causes);
    }
}

fn one_version(version: &At<'_>, causes: &mut Vec<Cause>) {
    let name = version.field("name");
    let wrong = names::dns_1035_label(name.text());
    if !wrong.is_empty() {
        causes.push(name.invalid(&wrong.join(",")));
    }
    let warning = version.field("deprecationWarning");
    if warning.is_set() {
        let text = warning.text();
        if !version.field("deprecated").is_true() {
            causes.push(warning.invalid("can only be set for deprecated versions"));
        }
        if text.is_empty() {
            causes.push(warning.invalid("must not be an empty string"));
        }
        if text.len() > LONGEST_WARNING {
            causes.push(warning.invalid(&format!("must be <= {LONGEST_WARNING} characters long")));
        }
        if text.chars().any(char::is_control) {
            causes.push(warning.invalid("must only contain printable UTF-8 characters; non-printable character found"));
        }
    }
    let schema = version.field("schema").field("openAPIV3Schema");
    if schema.is_set() {
        structural::check(&schema, causes);
    } else {
        causes.push(schema.required("schemas are required"));
    }
    scale(&version.field("subresources").field("scale"), causes);
    for column in version.each("additionalPrinterColumns") {
        self::column(&column, causes);
    }
    selectable(version, causes);
}

fn scale(scale: &At<'_>, causes: &mut Vec<Cause>) {
    if !scale.is_set() {
        return;
    }
    for (field, starts, needed) in [
        ("specReplicasPath", &[".spec."][..], true),
        ("statusReplicasPath", &[".status."], true),
        ("labelSelectorPath", &[".spec.", ".status."], false),
    ] {
        let at = scale.field(field);
        match at.text() {
            "" if needed => causes.push(at.required("")),
            "" => {}
            text => {
                let simple = simple_path(text);
                if simple.is_none() {
                    causes.push(at.invalid("must be a simple json path of the form .spec.x"));
                } else if !starts.iter().any(|start| text.starts_with(start)) {
                    let places: Vec<&str> = starts.iter().map(|start| start.trim_end_matches('.')).collect();
                    causes.push(at.invalid(&format!("should be a json path under {}", places.join(" or "))));
                }
            }
        }
    }
}

/// The fields of a path that consists of nothing else.
fn simple_path(text: &str) -> Option<Vec<String>> {
    let path = JsonPath::parse(text.strip_prefix('.').map(|_| text)?).ok()?;
    let fields: Vec<String> = path.fields()?.into_iter().map(str::to_owned).collect();
    (!fields.is_empty() && fields.iter().all(|field| !field.is_empty())).then_some(fields)
}

fn column(column: &At<'_>, causes: &mut Vec<Cause>) {
    causes.extend(column.field("name").must_be_set());
    causes.extend(column.field("type").must_be_one_of(&["boolean", "date", "integer", "number", "string"]));
    let format = column.field("format");
    if !format.text().is_empty() {
        causes.extend(format.one_of(&["byte", "date", "date-time", "double", "float", "int32", "int64", "password"]));
    }
    let path = column.field("jsonPath");
    if let Some(missing) = path.must_be_set() {
        causes.push(missing);
    } else if !path.text().starts_with('.') {
        causes.push(path.invalid("must be a simple json path starting with ."));
    } else if let Err(error) = JsonPath::parse(path.text()) {
        causes.push(path.invalid(&format!("is an invalid json path: {error}")));
    }
}

fn selectable(version: &At<'_>, causes: &mut Vec<Cause>) {
    let fields = version.field("selectableFields");
    if fields.len() > MOST_SELECTABLE {
        causes.push(Cause::too_many(&fields.path, fields.len(), MOST_SELECTABLE));
    }
    let schema = version.field("schema").field("openAPIV3Schema");
    for field in version.each("selectableFields") {
        let path = field.field("jsonPath");
        if let Some(missing) = path.must_be_set() {
            causes.push(missing);
            continue;
        }
        let Some(steps) = simple_path(path.text()) else {
            causes.push(path.invalid("is an invalid path: must be a simple json path of the form .spec.x"));
            continue;
        };
        if steps.first().is_some_and(|first| first == "metadata") {
            causes.push(path.invalid("must not point to fields in metadata"));
            continue;
        }
        let found = steps.iter().try_fold(schema.value, |schema, step| schema.get("properties")?.get(step));
        match found.and_then(|found| found.get("type")).and_then(Value::as_str) {
            None => causes.push(path.invalid("is an invalid path: does not refer to a valid field")),
            Some("string" | "integer" | "boolean") => {}
            Some(_) => causes.push(path.invalid("must point to a field of type string, boolean or integer")),
        }
    }
    causes.extend(duplicates(version.each("selectableFields").map(|field| field.field("jsonPath"))));
}

fn conversion(conversion: &At<'_>, causes: &mut Vec<Cause>) {
    let strategy = conversion.field("strategy");
    causes.extend(strategy.must_be_one_of(&["None", "Webhook"]));
    let webhook = conversion.field("webhook");
    match strategy.text() {
        "Webhook" if !webhook.is_set() => causes.push(webhook.required("required when strategy is set to Webhook")),
        "None" if webhook.is_set() => {
            causes.push(webhook.forbidden("should not be set when strategy is not set to Webhook"));
        }
        _ => {}
    }
}
