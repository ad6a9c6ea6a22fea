//! What is fuzzed: each target takes bytes that a stranger may have written, and panics when something does not hold.
//!
//! `cargo +nightly fuzz run NAME --features libfuzzer fuzz/corpus/NAME fuzz/seeds/NAME` (with cargo-fuzz) searches;
//! `cargo test --manifest-path fuzz/Cargo.toml` runs every target on its seeds and on small changes of them, on stable Rust.

use std::{collections::BTreeMap, fs, path::Path};

use objects::{kinds, patch, selector};
use serde_json::Value;

/// Takes one input.
pub type Target = fn(&[u8]);

/// The targets by name.
pub const TARGETS: &[(&str, Target)] = &[
    ("yaml", yaml),
    ("kustomize", kustomize),
    ("patches", patches),
    ("protobuf", protobuf),
    ("body", body),
    ("request", request),
    ("snapshot", snapshot),
    ("selectors", selectors),
    ("http1", http1),
    ("http2", http2),
    ("hello", hello),
    ("spdy", spdy),
    ("translation", translation),
    ("cel", expression),
    ("definition", definition),
    ("custom", custom),
];

/// Manifests: what is read is printed so that it reads back the same.
pub fn yaml(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let Ok(objects) = manifests::parse(text, Path::new("input")) else { return };
    reads_back(&objects);
}

/// HTTP/1.1: what is let through reads the same to the next reader, and a body does not depend on how it is cut.
pub fn http1(data: &[u8]) {
    gateway::proxy::fuzzing::http1(data);
}

/// Heads of HTTP/2: what is let through is one head of HTTP/1.1 that reads the same to the next reader.
pub fn http2(data: &[u8]) {
    gateway::proxy::fuzzing::http2(data);
}

/// A SPDY connection, as clients that exec and forward ports send it: what is read does not depend on how it is cut.
pub fn spdy(data: &[u8]) {
    apiserver::http::fuzzing::spdy(data);
}

/// The first message of a TLS connection: reading it ends, and never waits for what is there.
pub fn hello(data: &[u8]) {
    gateway::proxy::fuzzing::hello(data);
}

/// A class, a Gateway and a Service with an endpoint, for what the input says of them.
const PRELUDE: &str = include_str!("../../crates/gateway/tests/golden/prelude.yaml");

/// Objects of the gateway, as manifests: whatever they say, table and statuses come of them, in whatever order they are.
pub fn translation(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let Ok(objects) = manifests::parse(text, Path::new("input")) else { return };
    let prelude = manifests::parse(PRELUDE, Path::new("prelude")).unwrap_or_default();
    // What the input says of the prelude's objects goes before what the prelude says.
    gateway::control::fuzzing::translation(objects.into_iter().chain(prelude).map(|object| object.value));
}

/// The line that begins a file of a folder: `### NAME`.
const FILE: &str = "### ";

/// Kustomizations: a folder, as files that each begin with a line `### NAME`.
pub fn kustomize(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let Ok(folder) = tempfile::tempdir() else { return };
    for file in text.strip_prefix(FILE).unwrap_or(text).split(&format!("\n{FILE}")) {
        let Some((name, content)) = file.split_once('\n') else { continue };
        let is_plain =
            |part: &str| part.len() < 40 && part.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b));
        if name.is_empty() || !name.split('/').all(|part| is_plain(part) && !part.trim_matches('.').is_empty()) {
            continue;
        }
        let path = folder.path().join(name);
        let made = path.parent().is_some_and(|parent| fs::create_dir_all(parent).is_ok());
        if made {
            let _ = fs::write(path, format!("{content}\n"));
        }
    }
    let Ok(objects) = manifests::build(folder.path()) else { return };
    reads_back(&objects);
}

fn reads_back(objects: &[manifests::Object]) {
    let text = manifests::to_yaml(objects);
    // Lists are taken apart on the way in, and a build may give objects without an API version.
    let is_plain = |object: &manifests::Object| {
        let has = |field: &str| object.value.get(field).and_then(Value::as_str).is_some_and(|text| !text.is_empty());
        has("apiVersion") && has("kind") && object.value.get("items").is_none()
    };
    if !objects.iter().all(is_plain) {
        return;
    }
    match manifests::parse(&text, Path::new("output")) {
        Err(error) => panic!("what was printed is refused: {error}\n{text}"),
        Ok(again) => {
            let (one, other): (Vec<_>, Vec<_>) =
                (objects.iter().map(|o| &o.value).collect(), again.iter().map(|o| &o.value).collect());
            assert_eq!(one, other, "what was printed reads back differently\n{text}");
        }
    }
}

/// Patches: a JSON array of object and patch. A merge patch done twice is done once.
pub fn patches(data: &[u8]) {
    let Ok((object, change)) = serde_json::from_slice::<(Value, Value)>(data) else { return };
    let mut once = object.clone();
    patch::merge_patch(&mut once, &change);
    let mut twice = once.clone();
    patch::merge_patch(&mut twice, &change);
    assert_eq!(once, twice);
    let _ = patch::json_patch(&mut object.clone(), &change);
    for (group, version, kind) in [("apps", "v1", "Deployment"), ("", "v1", "Service"), ("", "v1", "Pod"), ("", "", "")]
    {
        let kind = kinds::by_kind(group, version, kind);
        let _ = patch::strategic_merge(kind, &mut object.clone(), &change);
        let _ = patch::last_applied_patch(kind, Some(&object), &change, &once);
    }
}

/// Protobuf bodies, as kubectl sends them.
pub fn protobuf(data: &[u8]) {
    let _ = apiserver::protobuf::decode(data);
}

/// Bodies of requests, whose type the first byte chooses.
pub fn body(data: &[u8]) {
    apiserver::fuzzing::body(data);
}

/// Paths and queries: options of lists and watches, selectors, continue tokens.
pub fn request(data: &[u8]) {
    apiserver::fuzzing::request(data);
}

/// Snapshots of the store.
pub fn snapshot(data: &[u8]) {
    apiserver::fuzzing::snapshot(data);
}

/// What evaluating an expression may cost here: a hundredth of what a rule may.
const COST: u64 = 10_000;

fn evaluated(text: &str) -> cel::Value {
    let program = cel::Program::compile(text, &[]).ok();
    let value = program.and_then(|program| program.evaluate(&[], &mut cel::Budget::new(COST)).ok());
    value.unwrap_or(cel::Value::Null)
}

/// Expressions: whatever they say, they are compiled or refused, estimated, and evaluated within their budget.
pub fn expression(data: &[u8]) {
    use cel::{Bounds, Budget, ObjectType, Program, Sizes, Type, Value as CelValue};
    let Ok(text) = std::str::from_utf8(data) else { return };
    let list = |of: Type| Type::List(of.into());
    let fields = [
        ("i", Type::Int, CelValue::Int(3)),
        ("d", Type::Double, CelValue::Double(1.5)),
        ("s", Type::Text, "text, of é and ü".into()),
        ("l", list(Type::Int), vec![CelValue::Int(1), CelValue::Int(2)].into()),
        ("names", list(Type::Text), vec!["a".into(), "b".into()].into()),
        ("m", Type::Map(Type::Text.into(), Type::Int.into()), CelValue::object([("a".into(), CelValue::Int(1))])),
        ("x", Type::Dyn, "10%".into()),
        ("t", Type::Timestamp, evaluated("timestamp('1970-01-01T00:00:00Z')")),
    ];
    let types = fields.iter().map(|(name, of, _)| ((*name).to_owned(), of.clone())).collect();
    let of = Type::Object(ObjectType { name: "object".to_owned(), fields: types }.into());
    let value = CelValue::object(fields.into_iter().map(|(name, _, value)| (name.into(), value)));
    let names = [("self", of.clone()), ("oldSelf", Type::Optional(of.into()))];
    match Program::compile(text, &names) {
        Err(error) => assert!(error.to_string().len() < 64 * text.len() + 200_000, "a small text has a large error"),
        Ok(program) => {
            let bounds = Bounds::default();
            let known = [("self", &bounds)];
            let _ = program.cost(&names, Sizes { variables: &known, elsewhere: Some(&bounds) });
            let mut budget = Budget::new(COST);
            let _ = program.evaluate(&[("self", value), ("oldSelf", CelValue::Optional(None))], &mut budget);
            assert!(budget.left() <= COST);
        }
    }
}

/// A CustomResourceDefinition, as JSON or YAML: it is read, checked, compiled and published, or refused.
pub fn definition(data: &[u8]) {
    apiserver::fuzzing::definition(data);
}

/// A schema, an object of it and what the object was, as a JSON array. Pruning and defaulting twice is doing it once.
pub fn custom(data: &[u8]) {
    apiserver::fuzzing::custom(data);
}

/// Label and field selectors.
pub fn selectors(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let labels: BTreeMap<String, String> =
        [("a", "b"), ("c", ""), ("d.e/f", "1")].map(|(k, v)| (k.into(), v.into())).into();
    if let Ok(selector) = selector::Labels::parse(text) {
        let _ = selector.matches(&labels);
    }
    if let Ok(selector) = selector::Fields::parse(text) {
        let _ = selector.matches(|path| (path == "metadata.name").then(|| "a".to_owned()));
    }
}
