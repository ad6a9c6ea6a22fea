//! JSON patch against the examples of RFC 6902 (appendix A), and JSON merge patch against those of RFC 7396.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a failed test is to say where it failed")]

use objects::patch::{PatchError, json_patch, merge_patch};
use serde_json::{Value, json};

fn patched(document: &str, patch: &str) -> Result<Value, PatchError> {
    let mut document: Value = serde_json::from_str(document).unwrap();
    json_patch(&mut document, &serde_json::from_str(patch).unwrap()).map(|()| document)
}

#[test]
fn json_patches_do_what_the_rfc_shows() {
    let examples = [
        ("A.1", r#"{"foo":"bar"}"#, r#"[{"op":"add","path":"/baz","value":"qux"}]"#, r#"{"baz":"qux","foo":"bar"}"#),
        (
            "A.2",
            r#"{"foo":["bar","baz"]}"#,
            r#"[{"op":"add","path":"/foo/1","value":"qux"}]"#,
            r#"{"foo":["bar","qux","baz"]}"#,
        ),
        ("A.3", r#"{"baz":"qux","foo":"bar"}"#, r#"[{"op":"remove","path":"/baz"}]"#, r#"{"foo":"bar"}"#),
        ("A.4", r#"{"foo":["bar","qux","baz"]}"#, r#"[{"op":"remove","path":"/foo/1"}]"#, r#"{"foo":["bar","baz"]}"#),
        (
            "A.5",
            r#"{"baz":"qux","foo":"bar"}"#,
            r#"[{"op":"replace","path":"/baz","value":"boo"}]"#,
            r#"{"baz":"boo","foo":"bar"}"#,
        ),
        (
            "A.6",
            r#"{"foo":{"bar":"baz","waldo":"fred"},"qux":{"corge":"grault"}}"#,
            r#"[{"op":"move","from":"/foo/waldo","path":"/qux/thud"}]"#,
            r#"{"foo":{"bar":"baz"},"qux":{"corge":"grault","thud":"fred"}}"#,
        ),
        (
            "A.7",
            r#"{"foo":["all","grass","cows","eat"]}"#,
            r#"[{"op":"move","from":"/foo/1","path":"/foo/3"}]"#,
            r#"{"foo":["all","cows","eat","grass"]}"#,
        ),
        (
            "A.8",
            r#"{"baz":"qux","foo":["a",2,"c"]}"#,
            r#"[{"op":"test","path":"/baz","value":"qux"},{"op":"test","path":"/foo/1","value":2}]"#,
            r#"{"baz":"qux","foo":["a",2,"c"]}"#,
        ),
        (
            "A.10",
            r#"{"foo":"bar"}"#,
            r#"[{"op":"add","path":"/child","value":{"grandchild":{}}}]"#,
            r#"{"child":{"grandchild":{}},"foo":"bar"}"#,
        ),
        (
            "A.11",
            r#"{"foo":"bar"}"#,
            r#"[{"op":"add","path":"/baz","value":"qux","xyz":123}]"#,
            r#"{"baz":"qux","foo":"bar"}"#,
        ),
        ("A.14", r#"{"/":9,"~1":10}"#, r#"[{"op":"test","path":"/~01","value":10}]"#, r#"{"/":9,"~1":10}"#),
        (
            "A.16",
            r#"{"foo":["bar"]}"#,
            r#"[{"op":"add","path":"/foo/-","value":["abc","def"]}]"#,
            r#"{"foo":["bar",["abc","def"]]}"#,
        ),
        ("the whole", r#"{"foo":"bar"}"#, r#"[{"op":"replace","path":"","value":{"a":1}}]"#, r#"{"a":1}"#),
        ("null", r#"{"foo":"bar"}"#, r#"[{"op":"add","path":"/foo","value":null}]"#, r#"{"foo":null}"#),
        (
            "copy",
            r#"{"a":{"b":1}}"#,
            r#"[{"op":"copy","from":"/a","path":"/c"},{"op":"remove","path":"/a/b"}]"#,
            r#"{"a":{},"c":{"b":1}}"#,
        ),
    ];
    for (name, document, patch, result) in examples {
        assert_eq!(patched(document, patch), Ok(serde_json::from_str(result).unwrap()), "{name}");
    }
}

#[test]
fn json_patches_that_the_rfc_refuses_are_refused() {
    let examples = [
        ("A.9", r#"{"baz":"qux"}"#, r#"[{"op":"test","path":"/baz","value":"bar"}]"#),
        ("A.12", r#"{"foo":"bar"}"#, r#"[{"op":"add","path":"/baz/bat","value":"qux"}]"#),
        ("A.15", r#"{"/":9,"~1":10}"#, r#"[{"op":"test","path":"/~01","value":"10"}]"#),
        ("past the end", r#"{"a":[1]}"#, r#"[{"op":"add","path":"/a/2","value":1}]"#),
        ("leading zero", r#"{"a":[1,2]}"#, r#"[{"op":"replace","path":"/a/01","value":1}]"#),
        ("no value", r#"{"a":1}"#, r#"[{"op":"replace","path":"/a"}]"#),
        ("no such operation", r#"{"a":1}"#, r#"[{"op":"spam","path":"/a"}]"#),
        ("nothing to remove", r#"{"a":1}"#, r#"[{"op":"remove","path":"/b"}]"#),
        ("nothing to replace", r#"{"a":1}"#, r#"[{"op":"replace","path":"/b","value":1}]"#),
        ("no pointer", r#"{"a":1}"#, r#"[{"op":"add","path":"a","value":1}]"#),
        ("into itself", r#"{"a":{"b":1}}"#, r#"[{"op":"move","from":"/a","path":"/a/b"}]"#),
        ("no list", r#"{"a":1}"#, r#"{"op":"add","path":"/b","value":1}"#),
    ];
    for (name, document, patch) in examples {
        assert!(patched(document, patch).is_err(), "{name}");
    }
}

#[test]
fn what_is_not_there_is_null_to_a_test() {
    let tested = |path: &str, value: Value| {
        let mut document = json!({"a": {"b": 1, "c": null}, "list": [1]});
        json_patch(&mut document, &json!([{"op": "test", "path": path, "value": value}]))
    };
    for path in ["/x", "/a/x", "/a/c"] {
        assert!(tested(path, Value::Null).is_ok(), "{path}");
        assert!(tested(path, json!(1)).is_err(), "{path}");
    }
    for path in ["/a/b", "/x/y", "/list/1"] {
        assert!(tested(path, Value::Null).is_err(), "{path}");
    }
}

#[test]
fn json_patches_are_bounded() {
    let test = json!({"op": "test", "path": "/a", "value": 1});
    let many = Value::Array(vec![test; 10_001]);
    let refused = json_patch(&mut json!({"a": 1}), &many).unwrap_err();
    let said = "Request entity too large: The allowed maximum operations in a JSON patch is 10000, got 10001";
    assert_eq!(refused.to_string(), said);
    let double = json!({"op": "copy", "from": "/a", "path": "/a/-"});
    let mut bomb = json!({"a": ["0123456789"]});
    let refused = json_patch(&mut bomb, &Value::Array(vec![double; 40])).unwrap_err();
    assert!(matches!(refused, PatchError::TooLarge(_)), "{refused}");
}

#[test]
fn merge_patches_do_what_the_rfc_shows() {
    let examples = [
        (r#"{"a":"b"}"#, r#"{"a":"c"}"#, r#"{"a":"c"}"#),
        (r#"{"a":"b"}"#, r#"{"b":"c"}"#, r#"{"a":"b","b":"c"}"#),
        (r#"{"a":"b"}"#, r#"{"a":null}"#, "{}"),
        (r#"{"a":"b","b":"c"}"#, r#"{"a":null}"#, r#"{"b":"c"}"#),
        (r#"{"a":["b"]}"#, r#"{"a":"c"}"#, r#"{"a":"c"}"#),
        (r#"{"a":"c"}"#, r#"{"a":["b"]}"#, r#"{"a":["b"]}"#),
        (r#"{"a":{"b":"c"}}"#, r#"{"a":{"b":"d","c":null}}"#, r#"{"a":{"b":"d"}}"#),
        (r#"{"a":[{"b":"c"}]}"#, r#"{"a":[1]}"#, r#"{"a":[1]}"#),
        (r#"["a","b"]"#, r#"["c","d"]"#, r#"["c","d"]"#),
        (r#"{"a":"b"}"#, r#"["c"]"#, r#"["c"]"#),
        (r#"{"a":"foo"}"#, "null", "null"),
        (r#"{"a":"foo"}"#, r#""bar""#, r#""bar""#),
        (r#"{"e":null}"#, r#"{"a":1}"#, r#"{"a":1,"e":null}"#),
        ("[1,2]", r#"{"a":"b","c":null}"#, r#"{"a":"b"}"#),
        ("{}", r#"{"a":{"bb":{"ccc":null}}}"#, r#"{"a":{"bb":{}}}"#),
    ];
    for (document, patch, result) in examples {
        let mut document: Value = serde_json::from_str(document).unwrap();
        merge_patch(&mut document, &serde_json::from_str(patch).unwrap());
        assert_eq!(document, serde_json::from_str::<Value>(result).unwrap(), "{patch}");
    }
}
