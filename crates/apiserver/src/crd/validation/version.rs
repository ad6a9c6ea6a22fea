//! What a version says besides its schema: columns, the scale subresource, selectable fields, that it is deprecated.

use std::collections::BTreeSet;

use ::objects::custom::field_path;
use serde_json::Value;

use crate::{status::Cause, validation::At};

/// Selectable fields of a version, at most.
const MOST_SELECTABLE: usize = 8;
/// Bytes of a deprecation warning, at most.
const LONGEST_WARNING: usize = 256;
const COLUMN_TYPES: &[&str] = &["boolean", "date", "integer", "number", "string"];
const COLUMN_FORMATS: &[&str] = &["byte", "date", "date-time", "double", "float", "int32", "int64", "password"];

pub(super) fn deprecation(version: &At<'_>, causes: &mut Vec<Cause>) {
    let warning = version.field("deprecationWarning");
    if !warning.is_set() {
        return;
    }
    if !version.field("deprecated").is_true() {
        causes.push(warning.invalid("can only be set for deprecated versions"));
        return;
    }
    let text = warning.text();
    if text.len() > LONGEST_WARNING {
        causes.push(warning.invalid(&format!("must be <= {LONGEST_WARNING} characters long")));
    }
    if text.is_empty() {
        causes.push(warning.invalid("must not be an empty string"));
    }
    // Spaces besides the usual one are not printable, as Go has it.
    let printable = |c: char| {
        c == ' ' || !c.is_control() && !c.is_whitespace() && !matches!(c, '\u{200b}'..='\u{200f}' | '\u{feff}')
    };
    if let Some((at, _)) = text.char_indices().find(|(_, c)| !printable(*c)) {
        let why = format!("must only contain printable UTF-8 characters; non-printable character found at index {at}");
        causes.push(warning.invalid(&why));
    }
}

pub(super) fn column(column: &At<'_>, causes: &mut Vec<Cause>) {
    causes.extend(column.field("name").must_be_set());
    let (of, format) = (column.field("type"), column.field("format"));
    let types = format!("must be one of {}", COLUMN_TYPES.join(","));
    if of.text().is_empty() {
        causes.push(of.required(&types));
    } else if !COLUMN_TYPES.contains(&of.text()) {
        causes.push(of.invalid(&types));
    }
    if !format.text().is_empty() && !COLUMN_FORMATS.contains(&format.text()) {
        causes.push(format.invalid(&format!("must be one of {}", COLUMN_FORMATS.join(","))));
    }
    // The field is called as in Go.
    let path = At { value: column.field("jsonPath").value, path: format!("{}.JSONPath", column.path) };
    match path.text() {
        "" => causes.push(path.required("")),
        text => {
            if !simple(&path, causes)
                && let Err(error) = ::objects::jsonpath::JsonPath::parse(text)
            {
                causes.push(path.invalid(&format!("is an invalid json path: {error}")));
            }
        }
    }
}

/// Whether a path that is there does not even begin as one.
fn simple(path: &At<'_>, causes: &mut Vec<Cause>) -> bool {
    let wrong = !path.text().starts_with('.');
    if wrong {
        causes.push(path.invalid("must be a simple json path starting with ."));
    }
    wrong
}

pub(super) fn subresources(subresources: &At<'_>, causes: &mut Vec<Cause>) {
    let scale = subresources.field("scale");
    if !scale.is_set() {
        return;
    }
    for (field, starts, needed, why) in [
        ("specReplicasPath", &[".spec."][..], true, "should be a json path under .spec"),
        ("statusReplicasPath", &[".status."], true, "should be a json path under .status"),
        ("labelSelectorPath", &[".spec.", ".status."], false, "should be a json path under either .spec or .status"),
    ] {
        let at = scale.field(field);
        match at.text() {
            "" if needed => causes.push(at.required("")),
            "" => {}
            text => {
                if !simple(&at, causes) && !starts.iter().any(|start| text.starts_with(start)) {
                    causes.push(at.invalid(why));
                }
            }
        }
    }
}

/// The selectable fields of a version with a schema. `many`: it has had more than there may be.
pub(super) fn selectable(fields: &At<'_>, schema: &At<'_>, many: bool, causes: &mut Vec<Cause>) {
    let mut unique = BTreeSet::new();
    for field in fields.clone().elements() {
        let path = field.field("jsonPath");
        if path.text().is_empty() {
            causes.push(path.required(""));
            continue;
        }
        let found = match field_path::find(path.text(), schema.value, false) {
            Ok(found) => found,
            Err(why) => {
                causes.push(path.invalid(&format!("is an invalid path: {why}")));
                continue;
            }
        };
        if found.path.split(['.', '[']).next() == Some("metadata") {
            causes.push(path.invalid("must not point to fields in metadata"));
        }
        let of = found.schema.get("type").and_then(Value::as_str);
        if !matches!(of, Some("string" | "boolean" | "integer")) {
            let why = "must point to a field of type string, boolean or integer. Enum string fields and strings with formats are allowed.";
            causes.push(path.invalid(why));
        }
        if !unique.insert(found.path) {
            causes.push(path.duplicate());
        }
    }
    if unique.len() > MOST_SELECTABLE && !many {
        causes.push(Cause::too_many(&fields.path, unique.len(), MOST_SELECTABLE));
    }
}

/// The versions that keep more selectable fields than there may be; the empty name stands for all.
pub(super) fn many_selectable(new: &Value, old: &Value) -> BTreeSet<String> {
    let (now, before) = (At::root(new).field("spec"), At::root(old).field("spec"));
    let kept = |now: &At<'_>, before: &At<'_>| {
        let (now, before) = (now.field("selectableFields"), before.field("selectableFields"));
        before.len() > MOST_SELECTABLE && now.value == before.value
    };
    let mut many: BTreeSet<String> = kept(&now, &before).then(String::new).into_iter().collect();
    for version in now.each("versions") {
        let name = version.field("name").text();
        let was = before.each("versions").find(|version| version.field("name").text() == name);
        many.extend(was.filter(|was| kept(&version, was)).map(|_| name.to_owned()));
    }
    many
}
