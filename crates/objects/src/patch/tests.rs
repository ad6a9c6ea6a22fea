use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::kinds::{Kind, by_kind};

fn deployment() -> Option<&'static Kind> {
    by_kind("apps", "v1", "Deployment")
}

fn pod(spec: Value) -> Value {
    json!({ "spec": spec })
}

fn merged(kind: Option<&Kind>, mut target: Value, patch: Value) -> Value {
    strategic_merge(kind, &mut target, &patch).unwrap();
    target
}

#[test]
fn json_patch_does_every_operation_in_order() {
    let mut target = json!({"a": {"b/c": [1, 2]}, "d": 1});
    let patch = json!([
        {"op": "test", "path": "/a/b~1c/0", "value": 1},
        {"op": "add", "path": "/a/b~1c/-", "value": 3},
        {"op": "add", "path": "/a/b~1c/0", "value": 0},
        {"op": "remove", "path": "/a/b~1c/1"},
        {"op": "replace", "path": "/d", "value": 2},
        {"op": "copy", "from": "/d", "path": "/e"},
        {"op": "move", "from": "/e", "path": "/f"},
    ]);
    json_patch(&mut target, &patch).unwrap();
    assert_eq!(target, json!({"a": {"b/c": [0, 2, 3]}, "d": 2, "f": 2}));
}

#[test]
fn json_patch_says_what_failed() {
    let failed = |operation: Value| json_patch(&mut json!({"a": [1]}), &json!([operation])).unwrap_err();
    assert_eq!(failed(json!({"op": "test", "path": "/a/0", "value": 2})), PatchError::Test("/a/0".into()));
    assert_eq!(failed(json!({"op": "remove", "path": "/a/1"})), PatchError::Missing("/a/1".into()));
    assert_eq!(failed(json!({"op": "add", "path": "/a/01", "value": 2})), PatchError::Missing("/a/01".into()));
    assert!(matches!(failed(json!({"op": "move", "from": "/a", "path": "/a/0"})), PatchError::Invalid(_)));
}

#[test]
fn merge_patch_follows_the_examples_of_rfc_7386() {
    let mut target = json!({"a": "b", "c": {"d": "e", "f": "g"}});
    merge_patch(&mut target, &json!({"a": "z", "c": {"f": null}, "n": {"x": null, "y": 1}}));
    assert_eq!(target, json!({"a": "z", "c": {"d": "e"}, "n": {"y": 1}}));
}

#[test]
fn containers_merge_by_name_and_directives_delete_and_replace() {
    let kind = by_kind("", "v1", "Pod");
    let target = pod(json!({"containers": [{"name": "a", "image": "1"}, {"name": "b", "image": "1"}]}));
    let patch =
        pod(json!({"containers": [{"name": "b", "image": "2"}, {"name": "a", "$patch": "delete"}, {"name": "c"}]}));
    let wanted = pod(json!({"containers": [{"name": "b", "image": "2"}, {"name": "c"}]}));
    assert_eq!(merged(kind, target.clone(), patch), wanted);
    let patch = pod(json!({"containers": [{"$patch": "replace"}, {"name": "c"}]}));
    assert_eq!(merged(kind, target, patch), pod(json!({"containers": [{"name": "c"}]})));
}

#[test]
fn element_order_is_set_and_elements_of_others_keep_their_place() {
    let kind = by_kind("", "v1", "Pod");
    let target = pod(json!({"containers": [{"name": "a"}, {"name": "other"}, {"name": "b"}]}));
    let patch = pod(json!({"$setElementOrder/containers": [{"name": "b"}, {"name": "a"}]}));
    let names = merged(kind, target, patch);
    assert_eq!(names, pod(json!({"containers": [{"name": "other"}, {"name": "b"}, {"name": "a"}]})));
}

#[test]
fn primitive_lists_merge_as_sets() {
    let target = json!({"metadata": {"finalizers": ["a", "b"]}});
    let patch = json!({"metadata": {"finalizers": ["c"], "$deleteFromPrimitiveList/finalizers": ["a"]}});
    assert_eq!(merged(deployment(), target, patch), json!({"metadata": {"finalizers": ["c", "b"]}}));
}

#[test]
fn retain_keys_clears_the_other_members_of_a_union() {
    let current = json!({"spec": {"strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1}}}});
    let modified = json!({"spec": {"strategy": {"type": "Recreate"}}});
    let patch = last_applied_patch(deployment(), None, &modified, &current);
    assert_eq!(patch, json!({"spec": {"strategy": {"type": "Recreate", "$retainKeys": ["type"]}}}));
    assert_eq!(merged(deployment(), current, patch), modified);
}

#[test]
fn apply_removes_what_was_applied_and_keeps_what_others_set() {
    let kind = by_kind("", "v1", "Service");
    let original = json!({"spec": {"ports": [{"port": 80}, {"port": 81}], "type": "NodePort"}});
    let modified = json!({"spec": {"ports": [{"port": 80}]}});
    let current =
        json!({"spec": {"ports": [{"port": 80, "nodePort": 1}, {"port": 81}, {"port": 82}], "type": "NodePort"}});
    let patch = last_applied_patch(kind, Some(&original), &modified, &current);
    assert_eq!(merged(kind, current, patch), json!({"spec": {"ports": [{"port": 80, "nodePort": 1}, {"port": 82}]}}));
}

#[test]
fn lists_of_gateway_kinds_are_atomic() {
    let kind = by_kind("gateway.networking.k8s.io", "v1", "HTTPRoute");
    let target = json!({"spec": {"rules": [{"name": "a"}, {"name": "b"}]}});
    let patch = json!({"spec": {"rules": [{"name": "a"}]}});
    assert_eq!(merged(kind, target, patch.clone()), patch);
}

fn containers() -> impl Strategy<Value = Value> {
    let names = proptest::sample::subsequence(vec!["a", "b", "c", "d"], 0..=4).prop_shuffle();
    let object = (names, prop::collection::btree_map("[xyz]", 0..3_i32, 0..3));
    object.prop_map(|(names, labels)| {
        let list: Vec<_> =
            names.iter().map(|name| json!({"name": name, "env": [{"name": name, "value": labels}]})).collect();
        json!({"metadata": {"labels": labels}, "spec": {"template": {"spec": {"containers": list}}}})
    })
}

proptest! {
    #[test]
    fn applying_twice_changes_nothing_more(original in containers(), modified in containers(), current in containers()) {
        let patch = last_applied_patch(deployment(), Some(&original), &modified, &current);
        let after = merged(deployment(), current, patch);
        prop_assert_eq!(last_applied_patch(deployment(), Some(&modified), &modified, &after), json!({}));
    }
}
