//! Version 2 as programs read it that make types of it: Argo CD (client-go's parser of the protobuf form, and the merge types that
//! server-side apply is computed with) and Terraform's `kubernetes_manifest` (the JSON form).

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, LazyLock},
};

use objects::{custom, kinds::Kinds};
use serde_json::{Map, Value, json};

use super::{
    Source,
    tests::{field, fields},
    v2,
};

const GVK: &str = "x-kubernetes-group-version-kind";

/// Everything that is built in, and a kind that a definition brings.
fn source() -> Source {
    let spec = json!({"type": "object", "properties": {
        "free": {"type": "object", "x-kubernetes-preserve-unknown-fields": true, "properties": {"known": {"type": "string"}}},
        "maybe": {"type": "string", "nullable": true},
        "port": {"x-kubernetes-int-or-string": true},
        "parts": {"type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"],
            "items": {"type": "object", "properties": {"name": {"type": "string"}}}}}});
    let schema = json!({"openAPIV3Schema": {"type": "object", "properties": {"spec": spec}}});
    let definition = json!({"metadata": {"name": "things.example.com"}, "spec": {"group": "example.com",
        "scope": "Namespaced", "names": {"plural": "things", "singular": "thing", "kind": "Thing", "listKind": "ThingList"},
        "versions": [{"name": "v1", "served": true, "storage": true, "schema": schema}]}});
    Source::new(Arc::new(Kinds::new(custom::kinds(&definition).unwrap())))
}

/// The document as JSON; it is made once for all tests.
fn document() -> &'static Value {
    static DOCUMENT: LazyLock<Value> = LazyLock::new(|| serde_json::from_slice(&v2::json(&source())).unwrap());
    &DOCUMENT
}

fn definitions(document: &Value) -> &Map<String, Value> {
    document["definitions"].as_object().unwrap()
}

/// The group, version and kind that a definition or operation names.
fn named(gvk: &Value) -> [&str; 3] {
    ["group", "version", "kind"].map(|part| gvk[part].as_str().unwrap())
}

/// The schema that a reference leads to.
fn target<'a>(definitions: &'a Map<String, Value>, schema: &'a Value) -> (Option<&'a str>, &'a Value) {
    match schema["$ref"].as_str() {
        Some(reference) => {
            let name = reference.strip_prefix("#/definitions/").unwrap();
            (Some(name), definitions.get(name).unwrap_or_else(|| panic!("{reference} leads nowhere")))
        }
        None => (None, schema),
    }
}

#[test]
fn one_definition_has_each_kind_and_every_body_that_is_sent_is_one_of_a_kind() {
    let document = document();
    let definitions = definitions(document);
    let mut kinds = BTreeSet::new();
    for (name, schema) in definitions {
        for gvk in schema[GVK].as_array().into_iter().flatten() {
            // Argo CD's parser gives up at a kind that two definitions have.
            assert!(kinds.insert(named(gvk)), "{name}: {gvk} is there twice");
        }
    }
    assert!(kinds.contains(&["example.com", "v1", "Thing"]) && kinds.contains(&["apps", "v1", "Deployment"]));
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap().iter().filter(|(method, _)| *method != "parameters") {
            let parameters = operation["parameters"].as_array().unwrap();
            let Some(body) = parameters.iter().find(|parameter| parameter["in"] == "body") else { continue };
            let (_, sent) = target(definitions, &body["schema"]);
            if matches!(method.as_str(), "post" | "put") {
                assert!(sent[GVK].is_array(), "{method} {path}: what is sent is of no kind");
            }
            assert!(operation[GVK]["kind"].is_string(), "{method} {path}");
        }
    }
}

/// What a schema may be, as the parser of client-go and the merge types of server-side apply see it.
fn check(definitions: &Map<String, Value>, at: &str, schema: &Value) {
    let (name, own) = target(definitions, schema);
    if name.is_some() {
        // It is checked under its own name.
        return;
    }
    let below = |word: &str| own.get(word).filter(|below| below.is_object());
    match own["type"].as_str() {
        Some("object") | None => {
            assert!(
                below("properties").is_none() || below("additionalProperties").is_none(),
                "{at}: both of a map and an object"
            );
        }
        Some("array") => {
            let items = below("items").unwrap_or_else(|| panic!("{at}: a list of nothing"));
            let (_, item) = target(definitions, items);
            let keys = own["x-kubernetes-list-map-keys"].as_array();
            if own["x-kubernetes-list-type"] == "map" {
                for key in keys.unwrap_or_else(|| panic!("{at}: a list by keys without keys")) {
                    assert!(item["properties"].get(key.as_str().unwrap()).is_some(), "{at}: no field {key}");
                }
            }
        }
        Some("string" | "integer" | "number" | "boolean") => {}
        Some(other) => panic!("{at}: a type {other}"),
    }
    for (name, property) in own["properties"].as_object().into_iter().flatten() {
        check(definitions, &format!("{at}.{name}"), property);
    }
    for word in ["items", "additionalProperties"] {
        if let Some(below) = below(word) {
            check(definitions, &format!("{at}.{word}"), below);
        }
    }
    for word in ["oneOf", "anyOf", "not", "nullable", "allOf"] {
        assert!(own.get(word).is_none(), "{at}: {word}");
    }
}

#[test]
fn every_definition_can_be_made_a_type_of() {
    let document = document();
    for (name, schema) in definitions(document) {
        check(definitions(document), name, schema);
    }
}

/// Makes a type of a schema as Terraform does: references are followed to the end, with what is being followed on the way.
fn morph<'a>(
    definitions: &'a Map<String, Value>,
    schema: &'a Value,
    way: &mut Vec<&'a str>,
    seen: &mut BTreeSet<&'a str>,
) {
    let (name, own) = target(definitions, schema);
    if let Some(name) = name {
        // Terraform knows these by name: a schema is made of schemas, and what JSON can say is anything.
        if name.contains(".apiextensions.v1.JSONSchemaProps") || !seen.insert(name) && !way.contains(&name) {
            return;
        }
        assert!(!way.contains(&name), "{name} is made of itself: {way:?}");
        way.push(name);
    }
    for property in own["properties"].as_object().into_iter().flat_map(Map::values) {
        morph(definitions, property, way, seen);
    }
    for below in
        ["items", "additionalProperties"].iter().filter_map(|word| own.get(*word)).filter(|below| below.is_object())
    {
        morph(definitions, below, way, seen);
    }
    if name.is_some() {
        way.pop();
    }
}

#[test]
fn nothing_but_a_schema_is_made_of_itself() {
    let document = document();
    let definitions = definitions(document);
    for schema in definitions.values().filter(|schema| schema[GVK].is_array()) {
        morph(definitions, schema, &mut Vec::new(), &mut BTreeSet::new());
    }
}

#[test]
fn what_may_be_more_than_it_says_says_less_in_the_older_version() {
    let document = document();
    let spec = &document["definitions"]["com.example.v1.Thing"]["properties"]["spec"]["properties"];
    assert_eq!(spec["free"], json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true}));
    assert_eq!(spec["maybe"], json!({}));
    assert_eq!(spec["port"], json!({"x-kubernetes-int-or-string": true}));
    assert_eq!(spec["parts"]["x-kubernetes-list-map-keys"], json!(["name"]));
    let anything = &document["definitions"]["io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.JSON"];
    assert_eq!(anything.get("type"), None, "a default may be a number");
}

#[test]
fn the_protobuf_form_has_every_reference_and_extension_of_the_json_form() {
    let (json, bytes) = (document(), v2::protobuf(&source()));
    let of_json = definitions(json);
    let of_bytes: BTreeMap<String, &[u8]> = fields(field(&bytes, 9))
        .into_iter()
        .map(|(_, named)| (String::from_utf8(field(named, 1).to_vec()).unwrap(), field(named, 2)))
        .collect();
    assert_eq!(of_json.keys().collect::<BTreeSet<_>>(), of_bytes.keys().collect());
    for (name, schema) in of_json {
        let extensions: BTreeSet<String> = fields(of_bytes[name])
            .into_iter()
            .filter(|(number, _)| *number == 31)
            .map(|(_, extension)| String::from_utf8(field(extension, 1).to_vec()).unwrap())
            .collect();
        let wanted = schema.as_object().unwrap().keys().filter(|key| key.starts_with("x-")).cloned().collect();
        assert_eq!(extensions, wanted, "{name}");
        let properties = fields(of_bytes[name]).into_iter().find(|(number, _)| *number == 25);
        let properties: BTreeMap<&[u8], &[u8]> = properties
            .into_iter()
            .flat_map(|(_, all)| fields(all))
            .map(|(_, named)| (field(named, 1), field(named, 2)))
            .collect();
        let own = schema["properties"].as_object();
        assert_eq!(properties.len(), own.map_or(0, Map::len), "{name}");
        for (property, schema) in own.into_iter().flatten() {
            let Some(reference) = schema["$ref"].as_str() else { continue };
            assert_eq!(field(properties[property.as_bytes()], 1), reference.as_bytes(), "{name}.{property}");
        }
    }
}
