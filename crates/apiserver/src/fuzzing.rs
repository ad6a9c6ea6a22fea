//! What reads bytes of strangers, for the fuzz targets.

use std::collections::BTreeMap;

use ::objects::custom::{self, Structural};
use http::{HeaderValue, Method};
use serde_json::{Value, json};

use crate::{
    crd,
    http::fuzz,
    request::{Query, Target, Verb},
    store::saved,
    validation::metadata,
};

/// A request's body: the first byte chooses its type, the rest is the body.
pub fn body(data: &[u8]) {
    let Some((first, body)) = data.split_first() else { return };
    let media = match first % 3 {
        0 => "application/json",
        1 => "application/yaml",
        _ => crate::protobuf::MEDIA_TYPE,
    };
    fuzz::body(&HeaderValue::from_static(media), body);
}

/// A request's line: a path, a `?` and a query. Options, selectors and continue tokens are read as for a list and a watch.
pub fn request(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let (path, query) = text.split_once('?').unwrap_or((text, ""));
    let query = Query::parse(Some(query));
    let target = Target::parse(path, &objects::kinds::Kinds::default());
    if let Some(target) = &target {
        for method in [Method::GET, Method::POST, Method::PUT, Method::PATCH, Method::DELETE] {
            let _ = Verb::of(&method, target, &query);
        }
    }
    fuzz::options(target.as_ref(), &query);
}

/// A snapshot. What is read is written so that it reads back the same.
pub fn snapshot(data: &[u8]) {
    let Ok((_, everything)) = saved::read(data) else { return };
    let plain = |all: &saved::Everything| -> BTreeMap<_, _> {
        all.objects.iter().map(|(key, stored)| (key.clone(), (stored.revision, stored.json.clone()))).collect()
    };
    let before = plain(&everything);
    let mut text = Vec::new();
    if saved::write(everything.pieces(jiff::Timestamp::UNIX_EPOCH), &mut text).is_ok() {
        match saved::read(text.as_slice()) {
            Ok((_, again)) => assert_eq!(plain(&again), before, "a snapshot reads back differently"),
            Err(error) => assert!(text.is_empty(), "a snapshot that was written is refused: {error}"),
        }
    }
}

/// A CustomResourceDefinition. One that is accepted gives its kinds, keeps each of its rules, is published, and may be applied
/// again.
pub fn definition(data: &[u8]) {
    let media = if data.starts_with(b"{") { "application/json" } else { "application/yaml" };
    let Some(mut definition) = fuzz::decoded(&HeaderValue::from_static(media), data) else { return };
    crd::default(&mut definition);
    let causes = crd::validation::create(&definition);
    let kinds = custom::kinds(&definition);
    let _ = crd::warnings(&definition);
    if !causes.is_empty() {
        return;
    }
    let again = crd::validation::update(&definition, &definition);
    assert!(again.is_empty(), "an accepted definition is refused when nothing changes: {again:?}");
    let Ok(kinds) = kinds else { return };
    for kind in &kinds {
        let _ = crd::openapi::object(kind);
        let Some(definition) = kind.definition() else { continue };
        let _ = definition.schema.types(kind.kind);
        let open = definition.schema.open_api();
        let (said, compiled) = (rules(&open), compiled(&definition.schema.compiled()));
        assert_eq!(said, compiled, "rules of an accepted definition do not compile");
    }
}

/// The rules that a schema has where they count.
fn rules(schema: &Value) -> usize {
    let own = schema.get("x-kubernetes-validations").and_then(Value::as_array).map_or(0, Vec::len);
    let properties = schema.get("properties").and_then(Value::as_object);
    let properties = properties.into_iter().flatten().map(|(_, schema)| rules(schema));
    let others = ["items", "additionalProperties"].iter().filter_map(|field| schema.get(*field)).map(rules);
    own + properties.chain(others).sum::<usize>()
}

fn compiled(schema: &Structural) -> usize {
    let additional = match &schema.additional {
        custom::Additional::Of(schema) => Some(schema.as_ref()),
        custom::Additional::None | custom::Additional::Any | custom::Additional::Refused => None,
    };
    let below = schema.properties.values().chain(additional).chain(schema.items.as_deref());
    schema.rules.iter().filter(|rule| rule.is_compiled()).count() + below.map(compiled).sum::<usize>()
}

/// A schema, an object and what the object was. Of a schema that is accepted, pruning and defaulting twice is doing it once.
pub fn custom(data: &[u8]) {
    let Ok((open, mut object, old)) = serde_json::from_slice::<(Value, Value, Value)>(data) else { return };
    let definition = json!({
        "metadata": {"name": "things.example.com"},
        "spec": {"group": "example.com", "scope": "Cluster", "names": {"plural": "things", "singular": "thing", "kind": "Thing",
            "listKind": "ThingList"}, "versions": [{"name": "v1", "served": true, "storage": true,
            "schema": {"openAPIV3Schema": &open}}]}
    });
    let accepted = crd::validation::create(&definition).is_empty();
    let schema = Structural::root(&open);
    if custom::is_too_deep(&object) || custom::is_too_deep(&old) {
        return;
    }
    let finish = |object: &mut Value| {
        let gone = schema.prune(object);
        let _ = custom::embedded::conform(&schema, object);
        schema.fill(object);
        gone
    };
    finish(&mut object);
    for before in [None, Some(&old), Some(&object)] {
        let _ = custom::validate(&schema, &object, before, metadata::embedded);
    }
    if accepted {
        let once = object.clone();
        assert_eq!(finish(&mut object), [] as [String; 0], "pruning twice takes more away");
        assert_eq!(object, once, "defaulting twice is not doing it once");
    }
}
