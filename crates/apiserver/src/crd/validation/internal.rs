//! Definitions as they are validated: what all versions say alike is said once, at the top (apiextensions' internal version).
//! That is where upstream's messages say that something is wrong.

use serde_json::{Map, Value};

/// What versions can say, and where it stands when they all say the same.
const SHARED: &[(&str, &str)] = &[
    ("subresources", "subresources"),
    ("schema", "validation"),
    ("additionalPrinterColumns", "additionalPrinterColumns"),
    ("selectableFields", "selectableFields"),
];

/// The internal form of a definition. The version that objects are stored in counts as one that they were stored in.
pub(super) fn internal(definition: &Value) -> Value {
    let mut definition = definition.clone();
    let Some(Value::Object(spec)) = definition.get_mut("spec") else { return definition };
    share(spec);
    let is_stored = |version: &&Value| version.get("storage") == Some(&Value::Bool(true));
    let versions = spec.get("versions").and_then(Value::as_array).into_iter().flatten();
    let storage: Vec<Value> = versions.filter(is_stored).filter_map(|version| version.get("name").cloned()).collect();
    if let Some(Value::Object(conversion)) = spec.get_mut("conversion")
        && let Some(Value::Object(mut webhook)) = conversion.remove("webhook")
    {
        // A webhook that says nothing is one nobody asked for.
        let moved = [("clientConfig", "webhookClientConfig"), ("conversionReviewVersions", "conversionReviewVersions")];
        for (from, to) in moved {
            if let Some(value) = webhook.remove(from) {
                conversion.insert(to.to_owned(), value);
            }
        }
    }
    let status = crate::registry::meta::section(&mut definition, "status");
    if let Value::Array(stored) = status.entry("storedVersions").or_insert_with(|| Value::Array(Vec::new())) {
        let missing: Vec<Value> = storage.into_iter().filter(|name| !stored.contains(name)).collect();
        stored.extend(missing);
    }
    definition
}

fn share(spec: &mut Map<String, Value>) {
    let Some(Value::Array(mut versions)) = spec.remove("versions") else { return };
    if let Some(first) = versions.first() {
        spec.insert("version".to_owned(), first.get("name").cloned().unwrap_or_default());
    }
    for (field, shared) in SHARED {
        let mut all = versions.iter().map(|version| version.get(*field).filter(|value| !value.is_null()));
        let first = all.next().flatten();
        if !all.all(|other| other == first) {
            continue;
        }
        let Some(value) = first.cloned() else { continue };
        spec.insert((*shared).to_owned(), value);
        for version in versions.iter_mut().filter_map(Value::as_object_mut) {
            version.remove(*field);
        }
    }
    spec.insert("versions".to_owned(), Value::Array(versions));
}
