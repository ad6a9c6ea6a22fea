//! The OpenAPI document, and the documentation that quotes the example.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a failed step of a test is its failure")]

mod support;

use std::collections::BTreeSet;

use serde_json::Value;
use support::{Gates, Running, service};

/// Every object in `value`, with its JSON pointer.
fn objects<'a>(value: &'a Value, at: String, found: &mut Vec<(String, &'a serde_json::Map<String, Value>)>) {
    match value {
        Value::Object(map) => {
            found.push((at.clone(), map));
            for (key, value) in map {
                objects(value, format!("{at}/{}", key.replace('~', "~0").replace('/', "~1")), found);
            }
        }
        Value::Array(values) => {
            for (n, value) in values.iter().enumerate() {
                objects(value, format!("{at}/{n}"), found);
            }
        }
        _ => {}
    }
}

#[tokio::test]
async fn the_document_is_valid_openapi_3_1_and_is_what_is_served() {
    let running = Running::new(service(Gates::new())).await;
    let served: Value = reqwest::get(running.url("/openapi.json")).await.unwrap().json().await.unwrap();
    let document = service(Gates::new()).openapi();
    assert_eq!(served, document);
    assert!(document["openapi"].as_str().unwrap().starts_with("3.1."), "{}", document["openapi"]);
    assert_eq!((&document["info"]["title"], &document["info"]["version"]), (&"tested".into(), &"1.2.3".into()));
    let mut found = Vec::new();
    objects(&document, String::new(), &mut found);
    for (at, object) in &found {
        if let Some(Value::String(target)) = object.get("$ref") {
            let target = target.strip_prefix('#').unwrap_or_else(|| panic!("{at}: {target}"));
            assert!(document.pointer(target).is_some(), "{at}: there is no {target}");
        }
        if at.ends_with("/schema") || at.starts_with("/components/schemas/") && at.matches('/').count() == 3 {
            let schema = Value::Object((*object).clone());
            jsonschema::meta::validate(&schema).unwrap_or_else(|e| panic!("{at}: {e}"));
        }
    }
    let ids: Vec<&str> = found.iter().filter_map(|(_, o)| o.get("operationId")?.as_str()).collect();
    assert_eq!(ids.len(), ids.iter().collect::<BTreeSet<_>>().len(), "{ids:?}");
}

#[tokio::test]
async fn every_operation_documents_its_problems_and_its_parameters() {
    let document = service(Gates::new()).openapi();
    let mut operations = 0;
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            operations += 1;
            let responses = operation["responses"].as_object().unwrap();
            assert_eq!(responses["default"]["$ref"], "#/components/responses/Problem", "{method} {path}");
            assert!(responses.keys().any(|status| status != "default"), "{method} {path}");
            let parameters = operation.get("parameters").and_then(Value::as_array).cloned().unwrap_or_default();
            for name in path.split('/').filter_map(|part| part.strip_prefix('{')?.strip_suffix('}')) {
                let declared = |p: &Value| p["name"] == name && p["in"] == "path" && p["required"] == true;
                assert!(parameters.iter().any(declared), "{method} {path}: {name}");
            }
        }
    }
    assert_eq!(operations, 7);
    assert_eq!(document.pointer("/components/schemas/Item/properties/name/maxLength"), Some(&20.into()));
    assert_eq!(document.pointer("/components/schemas/Item/additionalProperties"), Some(&false.into()));
}

#[tokio::test]
async fn every_operation_can_be_listed_for_tests_that_enumerate_them() {
    let operations = service(Gates::new()).operations();
    assert_eq!(
        operations["/items"].iter().collect::<BTreeSet<_>>(),
        BTreeSet::from([&"GET".to_owned(), &"POST".to_owned()])
    );
    assert_eq!(operations["/health"], ["GET"]);
}

#[test]
fn the_documentation_quotes_the_example_as_it_is() {
    let documentation = include_str!("../../../docs/services.md");
    let example = include_str!("../examples/guestbook.rs");
    let blocks: Vec<&str> =
        documentation.split("```rust\n").skip(1).map(|rest| rest.split("```").next().unwrap()).collect();
    assert!(blocks.len() > 5, "{}", blocks.len());
    for block in blocks {
        assert!(example.contains(block), "not in the example:\n{block}");
    }
}

#[test]
fn the_documentation_has_every_setting() {
    let documentation = include_str!("../../../docs/services.md");
    let settings = include_str!("../src/settings.rs");
    let names: BTreeSet<&str> =
        settings.split('"').filter(|s| s.len() > 3 && s.bytes().all(|b| b.is_ascii_uppercase() || b == b'_')).collect();
    assert!(names.len() > 12, "{names:?}");
    for name in names {
        assert!(documentation.contains(&format!("| `{name}` |")), "{name} is not in the table");
    }
}
