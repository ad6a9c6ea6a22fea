//! Strategic merge against upstream's own cases (`strategicpatch`), re-expressed as data in `golden/strategic.json`.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a failed test is to say where it failed")]

use objects::{fields::Compiler, patch};
use serde_json::{Map, Value, json};

/// The types that upstream's cases are about.
fn definitions() -> Map<String, Value> {
    let item = |name: &str| json!({"$ref": format!("#/components/schemas/{name}")});
    let list = |items: Value, strategy: &str, key: &str| {
        let mut list = json!({"type": "array", "items": items});
        for (name, text) in [("strategy", strategy), ("merge-key", key)] {
            if !text.is_empty() {
                list[format!("x-kubernetes-patch-{name}")] = text.into();
            }
        }
        list
    };
    let (text, number) = (json!({"type": "string"}), json!({"type": "integer"}));
    let texts = json!({"type": "object", "additionalProperties": text});
    let retain = json!({"type": "object", "properties": {
        "name": text, "value": text, "other": text, "simpleMap": texts, "mergingIntList": list(number.clone(), "merge", ""),
        "mergingList": list(item("MergeItem"), "merge", "name"), "nonMergingList": list(item("MergeItem"), "", "")}});
    let merge = json!({"type": "object", "properties": {
        "name": text, "value": text, "other": text, "simpleMap": texts, "jsonItem": {},
        "mergingList": list(item("MergeItem"), "merge", "name"), "nonMergingList": list(item("MergeItem"), "", ""),
        "mergingIntList": list(number.clone(), "merge", ""), "nonMergingIntList": list(number, "", ""),
        "mergeItemPtr": {"allOf": [item("MergeItem")], "x-kubernetes-patch-strategy": "merge", "x-kubernetes-patch-merge-key": "name"},
        "replacingItem": {"type": "object", "x-kubernetes-patch-strategy": "replace"},
        "retainKeysMap": {"allOf": [item("Retain")], "x-kubernetes-patch-strategy": "retainKeys"},
        "retainKeysMergingList": list(item("MergeItem"), "merge,retainKeys", "name")}});
    Map::from_iter([("MergeItem".to_owned(), merge), ("Retain".to_owned(), retain)])
}

#[test]
fn patches_do_what_upstreams_cases_say() {
    let definitions = definitions();
    let mut compiler = Compiler::new(&definitions, true);
    compiler.kind("MergeItem", "MergeItem");
    let types = compiler.finish();
    let cases: Vec<Value> = serde_json::from_str(include_str!("golden/strategic.json")).unwrap();
    let wrong: Vec<String> = cases
        .iter()
        .filter_map(|case| {
            let mut object = case["original"].clone();
            let done = patch::strategic_merge_as(types.root("MergeItem"), &mut object, &case["patch"]);
            let why = match (done, case.get("error").and_then(Value::as_str)) {
                (Err(error), Some(said)) if error.to_string().contains(said) => return None,
                (Err(error), _) => format!("it fails: {error}"),
                (Ok(()), Some(said)) => format!("it does not fail with {said:?}"),
                (Ok(()), None) if object == case["result"] => return None,
                (Ok(()), None) => format!("\n  {object}, not\n  {}", case["result"]),
            };
            Some(format!("{}: {why}", case["name"]))
        })
        .collect();
    assert!(wrong.is_empty(), "{} of {} cases:\n{}", wrong.len(), cases.len(), wrong.join("\n"));
}
