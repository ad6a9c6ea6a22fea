use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::kinds::Origin;

fn definition() -> Value {
    json!({
        "metadata": {"name": "crontabs.stable.example.com"},
        "spec": {
            "group": "stable.example.com", "scope": "Namespaced",
            "names": {"plural": "crontabs", "singular": "crontab", "kind": "CronTab", "shortNames": ["ct"], "categories": ["all"]},
            "versions": [
                {"name": "v1beta1", "served": true, "storage": false, "deprecated": true,
                    "schema": {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": true}}},
                {"name": "v1", "served": true, "storage": true,
                    "subresources": {"status": {}, "scale": {"specReplicasPath": ".spec.replicas", "statusReplicasPath": ".status.replicas"}},
                    "additionalPrinterColumns": [{"name": "Spec", "type": "string", "jsonPath": ".spec.cronSpec"}],
                    "selectableFields": [{"jsonPath": ".spec.color"}],
                    "schema": {"openAPIV3Schema": {"type": "object", "properties": {"spec": {"type": "object"}}}}},
                {"name": "v2", "served": false, "storage": false, "schema": {"openAPIV3Schema": {"type": "object"}}}
            ]
        }
    })
}

#[test]
fn a_definition_gives_its_served_versions() {
    let kinds = kinds(&definition()).unwrap();
    let names: Vec<_> = kinds.iter().map(|kind| (kind.version, kind.plural, kind.status, kind.scale)).collect();
    assert_eq!(names, [("v1beta1", "crontabs", false, false), ("v1", "crontabs", true, true)]);
    let Origin::Defined(old) = &kinds[0].origin else { panic!() };
    assert_eq!(
        old.deprecated.as_deref(),
        Some("stable.example.com/v1beta1 CronTab is deprecated; use stable.example.com/v1 CronTab")
    );
    let Origin::Defined(new) = &kinds[1].origin else { panic!() };
    assert_eq!((new.storage, &new.selectable), ("v1", &vec!["spec.color".to_owned()]));
    assert_eq!(new.scale.as_ref().unwrap().spec, "/spec/replicas");
    assert!(!is_served(&definition()));
    assert_eq!(super::kinds(&json!({})).unwrap_err(), NotADefinition::Incomplete);
}

fn checked(schema: &Structural, object: &Value, old: Option<&Value>) -> Vec<Cause> {
    validate(schema, object, old, |_, _| Vec::new())
}

fn schema(properties: Value) -> Structural {
    Structural::root(&json!({"type": "object", "properties": {"spec": {"type": "object", "properties": properties}}}))
}

#[test]
fn what_a_schema_does_not_have_is_taken_out() {
    let schema = schema(json!({
        "a": {"type": "string"},
        "list": {"type": "array", "items": {"type": "object", "properties": {"x": {"type": "integer"}}}},
        "map": {"type": "object", "additionalProperties": {"type": "object", "properties": {"x": {"type": "integer"}}}},
        "free": {"type": "object", "x-kubernetes-preserve-unknown-fields": true, "properties": {"known": {"type": "object"}}},
        "any": {"x-kubernetes-preserve-unknown-fields": true},
        "pod": {"type": "object", "x-kubernetes-embedded-resource": true, "properties": {"spec": {"type": "object"}}},
    }));
    let mut object = json!({"apiVersion": "g/v1", "kind": "K", "metadata": {"name": "x"}, "extra": 1, "spec": {
        "a": "1", "b": 2, "list": [{"x": 1, "y": 2}], "map": {"k": {"x": 1, "y": 2}},
        "free": {"unknown": {"deep": 1}, "known": {"gone": 1}}, "any": {"all": [1]},
        "pod": {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"}, "spec": {"gone": 1}, "gone": 1}}});
    let gone = schema.prune(&mut object);
    let wanted = [
        "extra",
        "spec.b",
        "spec.free.known.gone",
        "spec.list[0].y",
        "spec.map.k.y",
        "spec.pod.gone",
        "spec.pod.spec.gone",
    ];
    let mut sorted = gone;
    sorted.sort();
    assert_eq!(sorted, wanted);
    assert_eq!(object["spec"]["free"], json!({"unknown": {"deep": 1}, "known": {}}));
    assert_eq!(
        object["spec"]["pod"],
        json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"}, "spec": {}})
    );
}

#[test]
fn what_is_not_said_is_filled_in_and_null_goes() {
    let schema = schema(json!({
        "a": {"type": "string", "default": "x"},
        "b": {"type": "string", "nullable": true, "default": "x"},
        "c": {"type": "string"},
        "d": {"type": "object", "default": {}, "properties": {"e": {"type": "integer", "default": 5}}},
        "list": {"type": "array", "items": {"type": "object", "properties": {"p": {"type": "string", "default": "TCP"}}}},
        "map": {"type": "object", "additionalProperties": {"type": "string", "default": "y"}},
    }));
    let mut object = json!({"spec": {"b": null, "c": null, "list": [{}, {"p": "UDP"}], "map": {"k": null}}});
    schema.fill(&mut object);
    assert_eq!(
        object,
        json!({"spec": {"a": "x", "b": null, "d": {"e": 5}, "list": [{"p": "TCP"}, {"p": "UDP"}], "map": {"k": "y"}}})
    );
    // A null of a field that has a default counts as not said.
    let mut object = json!({"spec": {"a": null}});
    schema.fill(&mut object);
    assert_eq!(object["spec"]["a"], "x");
}

fn said(properties: Value, spec: Value) -> Vec<String> {
    let object = json!({"apiVersion": "g/v1", "kind": "K", "spec": spec});
    let causes = checked(&schema(properties), &object, None);
    causes.into_iter().map(|cause| format!("{}: {}", cause.field, cause.message)).collect()
}

#[test]
fn each_keyword_says_what_upstream_says() {
    for (properties, spec, wanted) in [
        (
            json!({"a": {"type": "integer"}}),
            json!({"a": "x"}),
            "spec.a: Invalid value: \"string\": spec.a in body must be of type integer: \"string\"",
        ),
        (
            json!({"a": {"type": "integer"}}),
            json!({"a": 1.5}),
            "spec.a: Invalid value: \"number\": spec.a in body must be of type integer: \"number\"",
        ),
        (
            json!({"a": {"type": "array", "items": {"type": "string"}}}),
            json!({"a": [1]}),
            "spec.a[0]: Invalid value: \"integer\": spec.a[0] in body must be of type string: \"integer\"",
        ),
        (json!({"a": {"type": "object", "required": ["b"]}}), json!({"a": {}}), "spec.a.b: Required value"),
        (
            json!({"a": {"type": "string", "enum": ["x", "y"]}}),
            json!({"a": "z"}),
            "spec.a: Unsupported value: \"z\": supported values: \"x\", \"y\"",
        ),
        (
            json!({"a": {"type": "integer", "minimum": 3}}),
            json!({"a": 2}),
            "spec.a: Invalid value: 2: spec.a in body should be greater than or equal to 3",
        ),
        (
            json!({"a": {"type": "number", "minimum": 2.0, "maximum": 1_000_000}}),
            json!({"a": 2_500_000.0}),
            "spec.a: Invalid value: 2.5e+06: spec.a in body should be less than or equal to 1e+06",
        ),
        (
            json!({"a": {"type": "integer", "maximum": 3, "exclusiveMaximum": true}}),
            json!({"a": 3}),
            "spec.a: Invalid value: 3: spec.a in body should be less than 3",
        ),
        (
            json!({"a": {"type": "integer", "multipleOf": 3}}),
            json!({"a": 4}),
            "spec.a: Invalid value: 4: spec.a in body should be a multiple of 3",
        ),
        (
            json!({"a": {"type": "string", "minLength": 3}}),
            json!({"a": "é"}),
            "spec.a: Invalid value: \"é\": spec.a in body should be at least 3 chars long",
        ),
        (
            json!({"a": {"type": "string", "maxLength": 1}}),
            json!({"a": "ab"}),
            "spec.a: Too long: may not be more than 1 bytes",
        ),
    ] {
        assert_eq!(said(properties, spec), [wanted]);
    }
}

#[test]
fn patterns_formats_and_counts_say_what_upstream_says() {
    for (properties, spec, wanted) in [
        (
            json!({"a": {"type": "string", "pattern": "^b"}}),
            json!({"a": "a"}),
            "spec.a: Invalid value: \"a\": spec.a in body should match '^b'",
        ),
        (
            json!({"a": {"type": "string", "format": "date"}}),
            json!({"a": "x"}),
            "spec.a: Invalid value: \"x\": spec.a in body must be of type date: \"x\"",
        ),
        (
            json!({"a": {"type": "array", "maxItems": 1, "items": {"type": "string"}}}),
            json!({"a": ["x", "y"]}),
            "spec.a: Too many: 2: must have at most 1 items",
        ),
        (
            json!({"a": {"type": "array", "minItems": 1, "items": {"type": "string"}}}),
            json!({"a": []}),
            "spec.a: Invalid value: []: spec.a in body should have at least 1 items",
        ),
        (
            json!({"a": {"type": "object", "minProperties": 1}}),
            json!({"a": {}}),
            "spec.a: Invalid value: {}: spec.a in body should have at least 1 properties",
        ),
        (
            json!({"a": {"x-kubernetes-int-or-string": true}}),
            json!({"a": true}),
            "spec.a: Invalid value: \"boolean\": spec.a in body must be of type integer,string: \"boolean\"",
        ),
        (
            json!({"a": {"type": "array", "x-kubernetes-list-type": "set", "items": {"type": "string"}}}),
            json!({"a": ["x", "x"]}),
            "spec.a[1]: Duplicate value: \"x\"",
        ),
        (
            json!({"a": {"type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["n"], "items": {"type": "object", "properties": {"n": {"type": "string"}}}}}),
            json!({"a": [{"n": "x"}, {"n": "x"}]}),
            "spec.a[1]: Duplicate value: {\"n\":\"x\"}",
        ),
    ] {
        assert_eq!(said(properties, spec), [wanted]);
    }
}

#[test]
fn alternatives_are_named_when_none_fits() {
    let one = json!({"a": {"type": "object", "properties": {"b": {"type": "string"}, "c": {"type": "string"}}, "oneOf": [{"required": ["b"]}, {"required": ["c"]}]}});
    assert_eq!(said(one.clone(), json!({"a": {"b": "x"}})), [] as [String; 0]);
    assert_eq!(
        said(one.clone(), json!({"a": {"b": "x", "c": "y"}})),
        [
            "<nil>: Invalid value: \"\": \"spec.a\" must validate one and only one schema (oneOf). Found 2 valid alternatives"
        ]
    );
    assert_eq!(
        said(one, json!({"a": {}})),
        [
            "<nil>: Invalid value: \"\": \"spec.a\" must validate one and only one schema (oneOf). Found none valid",
            "spec.a.b: Required value"
        ]
    );
    let not = json!({"a": {"type": "string", "not": {"enum": ["x"]}}});
    assert_eq!(
        said(not, json!({"a": "x"})),
        ["<nil>: Invalid value: \"\": \"spec.a\" must not validate the schema (not)"]
    );
}

fn rules(of: Value, rules: Value) -> Value {
    let mut of = of;
    of["x-kubernetes-validations"] = rules;
    json!({"a": of})
}

#[test]
fn rules_say_what_upstream_says() {
    let object = |fields: Value| json!({"type": "object", "properties": fields});
    let numbers = object(json!({"min": {"type": "integer"}, "max": {"type": "integer"}}));
    for (properties, spec, wanted) in [
        (
            rules(numbers.clone(), json!([{"rule": "self.min <= self.max", "message": "min is too large"}])),
            json!({"a": {"min": 2, "max": 1}}),
            "spec.a: Invalid value: \"object\": min is too large",
        ),
        (
            rules(numbers.clone(), json!([{"rule": "self.min <= self.max"}])),
            json!({"a": {"min": 2, "max": 1}}),
            "spec.a: Invalid value: \"object\": failed rule: self.min <= self.max",
        ),
        (
            rules(
                numbers.clone(),
                json!([{"rule": "self.min <= self.max", "messageExpression": "'not ' + string(self.min)",
                "fieldPath": ".min", "reason": "FieldValueForbidden"}]),
            ),
            json!({"a": {"min": 2, "max": 1}}),
            "spec.a.min: Forbidden: not 2",
        ),
        (
            rules(numbers, json!([{"rule": "self.min <= self.max"}])),
            json!({"a": {"min": 2}}),
            "spec.a: Invalid value: \"object\": no such key: max evaluating rule: self.min <= self.max",
        ),
        (
            rules(json!({"type": "string", "format": "date-time"}), json!([{"rule": "self.getFullYear() > 2000"}])),
            json!({"a": "1999-01-01T00:00:00Z"}),
            "spec.a: Invalid value: \"string\": failed rule: self.getFullYear() > 2000",
        ),
        (
            rules(
                json!({"type": "array", "items": {"type": "integer"}}),
                json!([{"rule": "self.all(a, self.all(b, self.all(c, true)))"}]),
            ),
            json!({"a": vec![1; 300]}),
            "spec.a: Invalid value: \"array\": 'operation cancelled: actual cost limit exceeded': no further validation rules will be run due to call cost exceeds limit for rule: self.all(a, self.all(b, self.all(c, true)))",
        ),
        (
            rules(
                object(json!({"a-b.c": {"type": "integer"}, "for": {"type": "integer"}})),
                json!([{"rule": "self.a__dash__b__dot__c == self.__for__"}]),
            ),
            json!({"a": {"a-b.c": 1, "for": 2}}),
            "spec.a: Invalid value: \"object\": failed rule: self.a__dash__b__dot__c == self.__for__",
        ),
    ] {
        assert_eq!(said(properties, spec), [wanted]);
    }
}

#[test]
fn transition_rules_see_the_past_where_there_is_one() {
    let list = json!({"type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["n"],
        "items": {"type": "object", "properties": {"n": {"type": "string"}, "v": {"type": "integer"}},
            "x-kubernetes-validations": [{"rule": "self.v >= oldSelf.v", "message": "may only grow"}]}});
    let fixed =
        json!({"type": "string", "x-kubernetes-validations": [{"rule": "self == oldSelf", "message": "is fixed"}]});
    let first = json!({"type": "string", "x-kubernetes-validations": [
        {"rule": "oldSelf.hasValue() || self == 'first'", "optionalOldSelf": true, "message": "begins as first"}]});
    let schema = schema(json!({"list": list, "fixed": fixed, "first": first}));
    let check = |old: Option<Value>, new: Value| -> Vec<String> {
        let old = old.map(|spec| json!({"spec": spec}));
        let causes = checked(&schema, &json!({"spec": new}), old.as_ref());
        causes.into_iter().map(|cause| format!("{}: {}", cause.field, cause.message)).collect()
    };
    assert_eq!(
        check(None, json!({"fixed": "a", "first": "second"})),
        ["spec.first: Invalid value: \"string\": begins as first"]
    );
    let old = json!({"fixed": "a", "first": "first", "list": [{"n": "x", "v": 2}, {"n": "y", "v": 5}]});
    let new =
        json!({"fixed": "b", "first": "third", "list": [{"n": "y", "v": 4}, {"n": "x", "v": 3}, {"n": "z", "v": 0}]});
    let wanted =
        ["spec.fixed: Invalid value: \"string\": is fixed", "spec.list[0]: Invalid value: \"object\": may only grow"];
    assert_eq!(check(Some(old), new), wanted);
}

#[test]
fn what_did_not_change_is_not_held_against_an_update() {
    let schema = schema(json!({"a": {"type": "integer", "maximum": 3}, "b": {"type": "string"}}));
    let (old, new) = (json!({"spec": {"a": 9, "b": "x"}}), json!({"spec": {"a": 9, "b": "y"}}));
    assert_eq!(checked(&schema, &new, Some(&old)), []);
    assert_eq!(checked(&schema, &json!({"spec": {"a": 8}}), Some(&old)).len(), 1);
}

#[test]
fn elements_of_a_list_with_keys_may_change_places_and_keep_what_was_wrong_with_them() {
    // Upstream's "Map Type List Reordering Grandfathers Invalid Key".
    let ports = |most: Value, multiple: Value| {
        let port = json!({"type": "integer", "multipleOf": multiple});
        let items = json!({"type": "object", "required": ["name", "port"],
            "properties": {"name": {"type": "string"}, "port": port, "field": {"type": "string", "x-kubernetes-validations": [{"rule": "self != 'value'"}]}}});
        schema(
            json!({"ports": {"type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name", "port"],
            "maxItems": most, "items": items}}),
        )
    };
    let element = |name: &str, port: u16, field: &str| json!({"name": name, "port": port, "field": field});
    let of = |list: &[&Value]| json!({"spec": {"ports": list}});
    let (nginx, etcd, api) =
        (element("nginx", 443, "value"), element("etcd", 2379, "value"), element("api", 6443, "value"));
    let (dev, changed) = (element("dev", 8080, "other"), element("api", 6443, "another"));
    let old = of(&[&nginx, &etcd, &api]);
    let few = ports(json!(2), Value::Null);
    assert_eq!(checked(&few, &of(&[&api, &nginx, &etcd]), Some(&old)), [], "only their order is another");
    let more = checked(&few, &of(&[&api, &nginx, &etcd, &dev]), Some(&old));
    assert!(more.iter().any(|cause| cause.reason == "FieldValueTooMany"), "{more:?}");
    let even = ports(Value::Null, json!(2));
    assert_eq!(checked(&even, &of(&[&api, &nginx, &etcd]), Some(&old)), []);
    assert_eq!(checked(&even, &of(&[&nginx, &etcd, &changed, &dev]), Some(&old)), [], "its key was there before");
    assert_eq!(checked(&even, &of(&[&nginx, &element("new", 1, "x")]), Some(&old)).len(), 1);
}

#[test]
fn elements_of_other_lists_are_held_to_what_the_schema_says_once_the_list_changes() {
    // Upstream's "ArrayItems do not correlate by index".
    let texts = json!({"type": "object", "additionalProperties": {"type": "string", "minLength": 6}});
    let schema = schema(json!({"values": {"type": "array", "items": texts}, "other": {"type": "string"}}));
    let of = |second: Value, other: &str| json!({"spec": {"values": [{"key": "value"}, second], "other": other}});
    let old = of(json!({"key": "value"}), "a");
    assert_eq!(checked(&schema, &of(json!({"key": "value"}), "b"), Some(&old)), []);
    assert_eq!(checked(&schema, &of(json!({"key": "value", "more": "valid value"}), "a"), Some(&old)).len(), 2);
}

#[test]
fn an_object_that_is_too_deep_is_refused_and_not_followed() {
    let mut deep = json!(1);
    for _ in 0..DEPTH {
        deep = Value::Array(vec![deep]);
    }
    assert!(is_too_deep(&json!({"spec": deep})));
    assert_eq!(checked(&schema(json!({})), &json!({"spec": deep}), None).len(), 1);
}

proptest! {
    #[test]
    fn pruning_and_defaulting_twice_is_doing_it_once(text in "[a-d]{1,4}", number in any::<i32>(), has in any::<bool>()) {
        let schema = schema(json!({
            "a": {"type": "string", "default": "x"},
            "o": {"type": "object", "default": {"i": 1}, "properties": {"i": {"type": "integer", "default": 7}}},
        }));
        let mut object = json!({"spec": {text: number, "z": [number]}});
        if has {
            object["spec"]["o"] = json!({"i": null});
        }
        schema.prune(&mut object);
        schema.fill(&mut object);
        let once = object.clone();
        prop_assert!(schema.prune(&mut object).is_empty());
        schema.fill(&mut object);
        prop_assert_eq!(object, once);
    }
}
