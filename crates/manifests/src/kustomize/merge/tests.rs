//! What strategic merges do, beyond the corpus that is compared with kubectl.

use proptest::prelude::*;
use serde_json::json;

use super::*;

fn merged(object: Value, patch: Value) -> Option<Value> {
    let none = Marks::default();
    merge((object, &none), (patch, &none)).unwrap().map(|(value, _)| value)
}

fn pod(spec: Value) -> Value {
    json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "a"}, "spec": spec})
}

#[test]
fn what_a_patch_adds_to_a_list_goes_first() {
    let object = pod(json!({"containers": [{"name": "a", "image": "a"}, {"name": "b"}]}));
    let patch = pod(json!({"containers": [{"name": "c"}, {"name": "b", "image": "b"}]}));
    let containers = json!([{"name": "c"}, {"name": "b", "image": "b"}, {"name": "a", "image": "a"}]);
    assert_eq!(merged(object, patch).unwrap()["spec"]["containers"], containers);
}

#[test]
fn elements_with_two_keys_keep_the_objects_order() {
    let object = pod(json!({"containers": [{"name": "a", "ports": [{"containerPort": 1}, {"containerPort": 2}]}]}));
    let patch = json!([{"containerPort": 2, "name": "b"}, {"containerPort": 3, "protocol": "TCP"}]);
    let patch = pod(json!({"containers": [{"name": "a", "ports": patch}]}));
    let ports = json!([
        {"containerPort": 3, "protocol": "TCP"}, {"containerPort": 1}, {"containerPort": 2, "name": "b"},
    ]);
    assert_eq!(merged(object, patch).unwrap()["spec"]["containers"][0]["ports"], ports);
}

#[test]
fn lists_of_kinds_that_are_not_built_in_are_replaced() {
    let of = |list| json!({"apiVersion": "example.com/v1", "kind": "Pod", "spec": {"containers": list}});
    let merged = merged(of(json!([{"name": "a"}])), of(json!([{"name": "b"}]))).unwrap();
    assert_eq!(merged["spec"]["containers"], json!([{"name": "b"}]));
}

#[test]
fn directives_delete_and_replace() {
    let object = pod(json!({"a": {"b": 1}, "c": {"d": 1}, "volumes": [{"name": "v"}, {"name": "w"}]}));
    let delete = json!({"$patch": "delete"});
    let patch =
        pod(json!({"a": delete, "c": {"$patch": "replace", "e": 2}, "volumes": [{"name": "v", "$patch": "delete"}]}));
    let spec = json!({"c": {"e": 2}, "volumes": [{"name": "w"}]});
    assert_eq!(merged(object.clone(), patch).unwrap()["spec"], spec);
    assert_eq!(merged(object.clone(), json!({"$patch": "delete"})), None);
    let list = pod(json!({"volumes": [{"$patch": "replace"}, {"name": "x"}]}));
    assert_eq!(merged(object, list).unwrap()["spec"]["volumes"], json!([{"name": "x"}]));
}

#[test]
fn a_misfit_names_the_place() {
    let none = Marks::default();
    let (object, patch) = (pod(json!({"containers": [{"name": "a", "env": []}]})), json!([{"name": "a", "env": 1}]));
    let error = merge((object, &none), (pod(json!({"containers": patch})), &none)).unwrap_err().to_string();
    assert_eq!(error, "at \"spec.containers.[a].env\": the object has a list there and the patch a scalar");
}

/// Specs with distinct keys in their lists.
fn specs() -> impl Strategy<Value = Value> {
    let named = |inside: BoxedStrategy<Value>| {
        prop::collection::btree_map("[a-d]", inside, 1..4).prop_map(|items| {
            let named = items.into_iter().map(|(name, mut item)| {
                item["name"] = name.into();
                item
            });
            Value::from_iter(named)
        })
    };
    let scalar = prop_oneof![
        any::<bool>().prop_map(Value::from),
        any::<i32>().prop_map(Value::from),
        "[a-z]{1,3}".prop_map(Value::from)
    ];
    let fields = || prop::collection::btree_map("[a-c]", scalar.clone(), 0..3).prop_map(Value::from_iter).boxed();
    let with_env = (fields(), named(fields())).prop_map(|(mut fields, env)| {
        fields["env"] = env;
        fields
    });
    (named(with_env.boxed()), named(fields()), fields())
        .prop_map(|(containers, volumes, other)| json!({"containers": containers, "volumes": volumes, "other": other}))
}

proptest! {
    #[test]
    fn a_patch_that_says_what_is_there_changes_nothing(spec in specs()) {
        prop_assert_eq!(merged(pod(spec.clone()), pod(spec.clone())), Some(pod(spec)));
    }

    #[test]
    fn a_patch_done_twice_is_done_once(spec in specs(), patch in specs()) {
        if let Some(once) = merged(pod(spec), pod(patch.clone())) {
            prop_assert_eq!(merged(once.clone(), pod(patch)), Some(once));
        }
    }
}
