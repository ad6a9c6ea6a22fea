//! The OpenAPI schemas of custom kinds.

use ::objects::{
    kinds::{Kind, KindRef},
    schema,
};
use serde_json::{Map, Value, json};

const REFERENCE: &str = "#/components/schemas/";
const METADATA: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta";
/// The extension that says which fields objects can be selected by, besides their name and namespace.
pub(crate) const SELECTABLE: &str = "x-kubernetes-selectable-fields";
const ABOUT_VERSION: &str = "APIVersion defines the versioned schema of this representation of an object. Servers should convert recognized schemas to the latest internal value, and may reject unrecognized values. More info: https://git.k8s.io/community/contributors/devel/sig-architecture/api-conventions.md#resources";
const ABOUT_KIND: &str = "Kind is a string value representing the REST resource this object represents. Servers may infer this from the endpoint the client submits requests to. Cannot be updated. In CamelCase. More info: https://git.k8s.io/community/contributors/devel/sig-architecture/api-conventions.md#types-kinds";

/// The name of a custom kind's definition: its group backwards, version and kind, such as `com.example.stable.v1.CronTab`.
pub(crate) fn definition_name(kind: &Kind) -> String {
    let group: Vec<&str> = kind.group.split('.').rev().collect();
    format!("{}.{}.{}", group.join("."), kind.version, kind.kind)
}

/// `components.schemas` for the custom kinds among some, with what they refer to.
pub(crate) fn components(kinds: &[KindRef]) -> Map<String, Value> {
    let mut schemas = Map::new();
    for kind in kinds.iter().filter(|kind| kind.is_custom()) {
        if schemas.is_empty() {
            schemas.extend(schema::metadata_components());
        }
        schemas.insert(definition_name(kind), object(kind));
    }
    schemas
}

/// A custom kind's own schema: what its definition says, and what every object has.
pub(crate) fn object(kind: &Kind) -> Value {
    let open = || json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true});
    let mut schema = kind.definition().map_or_else(open, |definition| definition.schema.open_api());
    embedded(&mut schema);
    let Some(map) = schema.as_object_mut() else { return open() };
    say_what_objects_have(map);
    map.insert(
        "x-kubernetes-group-version-kind".to_owned(),
        json!([{"group": kind.group, "version": kind.version, "kind": kind.kind}]),
    );
    let selectable = kind.definition().map(|definition| definition.selectable.as_slice()).unwrap_or_default();
    if !selectable.is_empty() {
        let fields: Vec<Value> = selectable.iter().map(|path| json!({"fieldPath": path})).collect();
        map.insert(SELECTABLE.to_owned(), fields.into());
    }
    schema
}

/// The properties that every object has, whatever its own schema says of them.
fn say_what_objects_have(schema: &mut Map<String, Value>) {
    let properties = schema.entry("properties").or_insert_with(|| json!({}));
    let Some(properties) = properties.as_object_mut() else { return };
    properties.insert("apiVersion".to_owned(), json!({"type": "string", "description": ABOUT_VERSION}));
    properties.insert("kind".to_owned(), json!({"type": "string", "description": ABOUT_KIND}));
    let about = "Standard object's metadata. More info: https://git.k8s.io/community/contributors/devel/sig-architecture/api-conventions.md#metadata";
    let metadata = json!({"description": about, "allOf": [{"$ref": format!("{REFERENCE}{METADATA}")}]});
    properties.insert("metadata".to_owned(), metadata);
}

/// The same for the objects within an object, here and below: without it, clients would take their metadata for unknown fields.
fn embedded(schema: &mut Value) {
    let Some(map) = schema.as_object_mut() else { return };
    let properties = map.get_mut("properties").and_then(Value::as_object_mut);
    properties.into_iter().flat_map(Map::values_mut).for_each(embedded);
    for below in ["items", "additionalProperties"] {
        map.get_mut(below).into_iter().for_each(embedded);
    }
    if map.get("x-kubernetes-embedded-resource") != Some(&Value::Bool(true)) {
        return;
    }
    say_what_objects_have(map);
    let required = map.entry("required").or_insert_with(|| json!([]));
    let Some(required) = required.as_array_mut() else { return };
    for field in ["kind", "apiVersion"] {
        if !required.iter().any(|name| name == field) {
            required.push(field.into());
        }
    }
}
