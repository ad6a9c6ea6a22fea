//! The OpenAPI schemas of custom kinds.

use ::objects::{
    kinds::{Kind, KindRef},
    schema,
};
use serde_json::{Map, Value, json};

const REFERENCE: &str = "#/components/schemas/";
const METADATA: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta";
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
    let Some(map) = schema.as_object_mut() else { return open() };
    let properties = map.entry("properties").or_insert_with(|| json!({}));
    if let Some(properties) = properties.as_object_mut() {
        properties.insert("apiVersion".to_owned(), json!({"type": "string", "description": ABOUT_VERSION}));
        properties.insert("kind".to_owned(), json!({"type": "string", "description": ABOUT_KIND}));
        let about = "Standard object's metadata. More info: https://git.k8s.io/community/contributors/devel/sig-architecture/api-conventions.md#metadata";
        let metadata = json!({"description": about, "allOf": [{"$ref": format!("{REFERENCE}{METADATA}")}]});
        properties.insert("metadata".to_owned(), metadata);
    }
    map.insert(
        "x-kubernetes-group-version-kind".to_owned(),
        json!([{"group": kind.group, "version": kind.version, "kind": kind.kind}]),
    );
    schema
}
