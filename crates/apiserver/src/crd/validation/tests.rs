use serde_json::{Value, json};

use super::*;

/// A definition whose only version has this schema.
fn with_schema(schema: Value) -> Value {
    let mut definition = json!({
        "metadata": {"name": "crontabs.stable.example.com"},
        "spec": {
            "group": "stable.example.com", "scope": "Namespaced",
            "names": {"plural": "crontabs", "kind": "CronTab"},
            "versions": [{"name": "v1", "served": true, "storage": true, "schema": {"openAPIV3Schema": schema}}]
        }
    });
    crate::crd::default(&mut definition);
    definition
}

fn said(definition: &Value) -> Vec<String> {
    let said = |cause: Cause| format!("{}: {}", cause.field, cause.message);
    let short = |text: String| text.replace("spec.validation.openAPIV3Schema", "S");
    create(definition).into_iter().map(said).map(short).collect()
}

/// A schema with one field.
fn field(schema: Value) -> Value {
    json!({"type": "object", "properties": {"f": schema}})
}

#[test]
fn a_definition_that_says_all_that_is_needed_is_taken() {
    assert_eq!(
        said(&with_schema(json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true}))),
        [] as [String; 0]
    );
    let schema = field(
        json!({"type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["port", "protocol"],
        "items": {"type": "object", "required": ["port"], "properties": {"port": {"type": "integer"},
            "protocol": {"type": "string", "default": "TCP", "enum": ["TCP", "UDP"]},
            "target": {"x-kubernetes-int-or-string": true, "anyOf": [{"type": "integer"}, {"type": "string"}]}}}}),
    );
    assert_eq!(said(&with_schema(schema)), [] as [String; 0]);
}

#[test]
fn schemas_are_structural() {
    for (schema, wanted) in [
        (json!({}), "S.type: Required value: must not be empty at the root"),
        (
            json!({"type": "array", "items": {"type": "string"}}),
            "S.type: Invalid value: \"array\": must be object at the root",
        ),
        (field(json!({})), "S.properties[f].type: Required value: must not be empty for specified object fields"),
        (
            field(json!({"type": "array", "items": {}})),
            "S.properties[f].items.type: Required value: must not be empty for specified array items",
        ),
        (field(json!({"type": "array"})), "S.properties[f].items: Required value: must be specified"),
        (
            field(json!({"type": "string", "anyOf": [{"type": "string"}]})),
            "S.properties[f].anyOf[0].type: Forbidden: must be empty to be structural",
        ),
        (
            json!({"type": "object", "anyOf": [{"properties": {"x": {"minimum": 1}}}]}),
            "S.properties[x]: Required value: because it is defined in S.anyOf[0].properties[x]",
        ),
        (
            field(
                json!({"type": "object", "additionalProperties": {"type": "string"}, "properties": {"x": {"type": "string"}}}),
            ),
            "S.properties[f].additionalProperties: Forbidden: additionalProperties and properties are mutual exclusive",
        ),
        (
            field(json!({"type": "array", "uniqueItems": true, "items": {"type": "string"}})),
            "S.properties[f].uniqueItems: Forbidden: uniqueItems cannot be set to true since the runtime complexity becomes quadratic",
        ),
        (
            field(json!({"type": "foo"})),
            "S.properties[f].type: Unsupported value: \"foo\": supported values: \"array\", \"boolean\", \"integer\", \"number\", \"object\", \"string\"",
        ),
        (
            json!({"type": "object", "properties": {"metadata": {"type": "object", "properties": {"labels": {"type": "object"}}}}}),
            "S.properties[metadata]: Forbidden: must not specify anything other than name and generateName, but metadata is implicitly specified",
        ),
        (
            field(json!({"type": "string", "default": 1})),
            "S.properties[f].default: Invalid value: \"integer\": must be of type string: \"integer\"",
        ),
        (
            field(json!({"type": "object", "default": {"x": 1}})),
            "S.properties[f].default: Invalid value: {\"x\":1}: must not have unknown fields",
        ),
        (
            field(
                json!({"type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["k"], "items": {"type": "object", "properties": {"k": {"type": "string"}}}}),
            ),
            "S.properties[f].items.properties[k].default: Required value: this property is in x-kubernetes-list-map-keys, so it must have a default or be a required property",
        ),
    ] {
        assert_eq!(said(&with_schema(schema)), [wanted]);
    }
    let bad = said(&with_schema(field(json!({"type": "string", "pattern": "("}))));
    assert!(
        bad[0].starts_with(
            "S.properties[f].pattern: Invalid value: \"(\": must be a valid regular expression, but isn't: "
        ),
        "{bad:?}"
    );
}

#[test]
fn rules_are_compiled_when_they_are_defined() {
    let with = |rule: Value| {
        let of =
            json!({"type": "object", "properties": {"a": {"type": "integer"}}, "x-kubernetes-validations": [rule]});
        said(&with_schema(field(of)))
    };
    assert_eq!(with(json!({"rule": "self.a > 1", "message": "x"})), [] as [String; 0]);
    let wrong = with(json!({"rule": "self.b > 1"}));
    let at = "S.properties[f].x-kubernetes-validations[0].rule: Invalid value: {\"Rule\":\"self.b > 1\",\"Message\":\"\",\"MessageExpression\":\"\",\"Reason\":null,\"FieldPath\":\"\",\"OptionalOldSelf\":null}: compilation failed: ERROR: <input>:1:5: undefined field 'b'";
    assert!(wrong[0].starts_with(at), "{wrong:?}");
    assert!(with(json!({"rule": "self.a + 1"}))[0].ends_with("cel expression must evaluate to a bool"));
    assert!(with(json!({"rule": "self.a > 1", "messageExpression": "1"}))[0].ends_with("must evaluate to a string"));
    assert!(
        with(json!({"rule": "self.a > 1", "reason": "Because"}))[0].contains(".reason: Unsupported value: \"Because\"")
    );
    let list = json!({"type": "array", "items": {"type": "integer", "x-kubernetes-validations": [{"rule": "self == oldSelf"}]}});
    assert!(
        said(&with_schema(field(list)))[0]
            .ends_with("oldSelf cannot be used on the uncorrelatable portion of the schema within S.properties[f]")
    );
}

#[test]
fn names_versions_and_subresources_are_checked() {
    let open = json!({"type": "object"});
    let changed = |pointer: &str, value: Value| {
        let mut definition = with_schema(open.clone());
        let (parent, last) = pointer.rsplit_once('/').unwrap();
        definition.pointer_mut(parent).unwrap()[last] = value;
        said(&definition)
    };
    assert_eq!(
        changed("/spec/scope", json!("Galaxy")),
        ["spec.scope: Unsupported value: \"Galaxy\": supported values: \"Cluster\", \"Namespaced\""]
    );
    assert_eq!(
        changed("/metadata/name", json!("x")),
        ["metadata.name: Invalid value: \"x\": must be spec.names.plural+\".\"+spec.group"]
    );
    assert_eq!(
        changed("/spec/names/listKind", json!("CronTab")),
        ["spec.names.listKind: Invalid value: \"CronTab\": kind and listKind may not be the same"]
    );
    assert_eq!(
        changed("/spec/versions/0/storage", json!(false)),
        [
            "spec.versions: Invalid value: [\"v1\"]: must have exactly one version marked as storage version",
            "status.storedVersions: Invalid value: []: must have at least one stored version"
        ]
    );
    assert_eq!(
        changed("/spec/versions/0/deprecationWarning", json!("x")),
        ["spec.versions[0].deprecationWarning: Invalid value: \"x\": can only be set for deprecated versions"]
    );
    let scale = json!({"scale": {"specReplicasPath": ".status.replicas", "statusReplicasPath": ".status.replicas"}});
    assert_eq!(
        changed("/spec/versions/0/subresources", scale),
        [
            "spec.subresources.scale.specReplicasPath: Invalid value: \".status.replicas\": should be a json path under .spec"
        ]
    );
    let columns = json!([{"name": "A", "type": "string", "jsonPath": "spec.a"}]);
    assert_eq!(
        changed("/spec/versions/0/additionalPrinterColumns", columns),
        [
            "spec.additionalPrinterColumns[0].JSONPath: Invalid value: \"spec.a\": must be a simple json path starting with ."
        ]
    );
    let fields = json!([{"jsonPath": ".spec.none"}]);
    assert_eq!(
        changed("/spec/versions/0/selectableFields", fields),
        [
            "spec.selectableFields[0].jsonPath: Invalid value: \".spec.none\": is an invalid path: does not refer to a valid field"
        ]
    );
    assert_eq!(
        changed("/spec/conversion", json!({"strategy": "Webhook"})),
        [
            "spec.conversion.webhookClientConfig: Required value: required when strategy is set to Webhook",
            "spec.conversion.conversionReviewVersions: Required value"
        ]
    );
}

#[test]
fn what_an_established_kind_is_does_not_change() {
    let mut old = with_schema(json!({"type": "object"}));
    old["status"] = json!({"conditions": [{"type": "Established", "status": "True"}], "storedVersions": ["v1", "v0"]});
    let mut new = old.clone();
    new["spec"]["scope"] = json!("Cluster");
    let causes: Vec<String> =
        update(&new, &old).into_iter().map(|cause| format!("{}: {}", cause.field, cause.message)).collect();
    assert_eq!(causes[0], "spec.scope: Invalid value: \"Cluster\": field is immutable");
    assert!(causes[1].starts_with("status.storedVersions[1]: Invalid value: \"v0\": missing from spec.versions; v0 was previously a storage version"));
}

/// What differs between the causes that a row of a table wants and those there are: each wanted once, and no others.
fn difference(wanted: &Value, causes: &[Cause]) -> Option<String> {
    let mut left: Vec<&Cause> = causes.iter().collect();
    let mut missing = Vec::new();
    for wanted in wanted.as_array().unwrap() {
        let text = |index: usize| wanted[index].as_str().unwrap_or_default();
        let found = left
            .iter()
            .position(|cause| cause.reason == text(0) && cause.field == text(1) && cause.message.contains(text(2)));
        match found {
            Some(at) => drop(left.remove(at)),
            None => missing.push(wanted.to_string()),
        }
    }
    let left: Vec<String> = left.iter().map(|c| format!("{} {}: {}", c.reason, c.field, c.message)).collect();
    let same = missing.is_empty() && left.is_empty();
    (!same).then(|| format!("  missing {}\n  beside {}", missing.join("; "), left.join("; ")))
}

#[test]
fn definitions_are_checked_as_upstream_checks_them() {
    let rows: Vec<Value> = serde_json::from_str(include_str!("../../../tests/validation/definitions.json")).unwrap();
    let mut wrong = Vec::new();
    for row in &rows {
        let root = At::root(&row["new"]);
        let causes = match row.get("old") {
            Some(old) => check(&root, Some(old), &Options::update(&row["new"], old)),
            None => check(&root, None, &Options::create()),
        };
        wrong.extend(difference(&row["causes"], &causes).map(|said| format!("{}\n{said}", row["name"])));
    }
    assert!(wrong.is_empty(), "{} of {}\n{}", wrong.len(), rows.len(), wrong.join("\n"));
}

#[test]
fn schemas_are_checked_as_upstream_checks_them() {
    let rows: Vec<Value> = serde_json::from_str(include_str!("../../../tests/validation/schemas.json")).unwrap();
    let mut wrong = Vec::new();
    for row in &rows {
        let given: Vec<&str> = row["options"].as_array().unwrap().iter().filter_map(Value::as_str).collect();
        let is = |name: &str| given.contains(&name);
        let options = Options {
            valid_types: is("valid_types"),
            structural: is("structural"),
            pruned_defaults: is("pruned_defaults"),
            atomic_sets: is("atomic_sets"),
            list_keys: is("list_keys"),
            unlimited: is("unlimited"),
            ..Options::default()
        };
        let at = At { value: &row["input"], path: "spec.validation".to_owned() };
        let mut causes = Vec::new();
        schema(&at, row["status"] == json!(true), &options, &mut causes);
        wrong.extend(difference(&row["causes"], &causes).map(|said| format!("{}\n{said}", row["name"])));
    }
    assert!(wrong.is_empty(), "{} of {}\n{}", wrong.len(), rows.len(), wrong.join("\n"));
}

#[test]
fn what_a_definition_makes_the_server_keep_is_bounded() {
    let many = |count: usize, of: Value| -> Value {
        let properties: serde_json::Map<String, Value> = (0..count).map(|i| (format!("f{i}"), of.clone())).collect();
        with_schema(json!({"type": "object", "properties": properties}))
    };
    let said = |definition: &Value| -> Vec<String> {
        let internal = internal::internal(definition);
        let options = Options { kept: bounds::Kept::new(4096, 40_960), ..Options::create() };
        check(&At::root(&internal), None, &options).into_iter().map(|cause| cause.message).collect()
    };
    let pattern = |text: &str| json!({"type": "string", "pattern": text});
    let too_many = "Forbidden: the patterns of its schemas and rules take more than 40 KiB compiled (use fewer, or ones that repeat less)";
    assert_eq!(said(&many(10, pattern("^a$"))), [] as [String; 0]);
    // It is said once, and what comes after it is not compiled: this would take minutes.
    assert_eq!(said(&many(100_000, pattern("^[a-z]{900}$"))), [too_many]);
    let rule = |rule: &str| json!({"type": "string", "maxLength": 9, "x-kubernetes-validations": [{"rule": rule}]});
    assert_eq!(said(&many(10, rule("self.matches('^a$')"))), [] as [String; 0]);
    assert_eq!(said(&many(20, rule("self.matches('^[a-z]{90}$')"))), [too_many]);
    let long = rule(&format!("self != '{}'", "x".repeat(400)));
    assert_eq!(said(&many(9, long.clone())), [] as [String; 0]);
    let too_long = "Forbidden: its rules are longer than 4 KiB together (move what they share into the schema)";
    assert_eq!(said(&many(10, long)), [too_long]);
}

#[test]
fn warnings_of_deprecated_versions_are_checked_as_upstream_checks_them() {
    let wrong = |deprecated: bool, warning: Option<&str>| {
        let version = json!({"name": "v1", "deprecated": deprecated, "deprecationWarning": warning});
        let mut causes = Vec::new();
        version::deprecation(&At::root(&version), &mut causes);
        causes.into_iter().map(|cause| cause.message).collect::<Vec<_>>().join("\n")
    };
    let unprintable = "must only contain printable UTF-8 characters; non-printable character found at index 12";
    for (deprecated, warning, wanted) in [
        (false, None, ""),
        (false, Some(""), "can only be set for deprecated versions"),
        (false, Some("foo"), "can only be set for deprecated versions"),
        (true, Some("Iñtërnâtiônàlizætiøn,💝🐹🌇⛔"), ""),
        (true, Some("x".repeat(256).as_str()), ""),
        (true, Some("x".repeat(257).as_str()), "must be <= 256 characters long"),
        (true, Some("Test message\nfoo"), unprintable),
        (true, Some("Test message\u{8}"), unprintable),
        (true, Some("Test message\0"), unprintable),
    ] {
        let said = wrong(deprecated, warning);
        assert!(said.ends_with(wanted) && said.is_empty() == wanted.is_empty(), "{warning:?}: {said}");
    }
}

#[test]
fn the_versions_that_objects_were_stored_in_are_checked_as_upstream_checks_them() {
    for (versions, storage, stored, wanted) in [
        (vec!["v1"], "v1", vec!["v1"], vec![]),
        (vec!["v1"], "v1", vec![], vec!["storedVersions: Invalid value: []: must have at least one stored version"]),
        (vec!["v1alpha", "v1beta1", "v1"], "v1", vec!["v1alpha", "v1"], vec![]),
        (
            vec!["v1beta1", "v1"],
            "v1",
            vec!["v1alpha", "v1beta1", "v1"],
            vec!["storedVersions[0]: Invalid value: \"v1alpha\": missing from spec.versions"],
        ),
        (
            vec!["v1alpha", "v1beta1", "v1"],
            "v1",
            vec!["v1alpha", "v1beta1"],
            vec!["storedVersions: Invalid value: [\"v1alpha\",\"v1beta1\"]: must have the storage version v1"],
        ),
    ] {
        let list: Vec<Value> =
            versions.iter().map(|name| json!({"name": name, "served": true, "storage": *name == storage})).collect();
        let definition = json!({"spec": {"versions": list}, "status": {"storedVersions": stored}});
        let mut causes = Vec::new();
        super::stored(&At::root(&definition), &mut causes);
        let said: Vec<String> = causes.into_iter().map(|cause| format!("{}: {}", cause.field, cause.message)).collect();
        assert_eq!(said.len(), wanted.len(), "{versions:?} {stored:?}: {said:?}");
        for (said, wanted) in said.iter().zip(&wanted) {
            assert!(said.contains(wanted), "{said}");
        }
    }
}

#[test]
fn what_rules_cost_together_is_added_up_as_upstream_adds_it_up() {
    let million = 1_000_000;
    for (costs, dearest, whole) in [
        (vec![], vec![], 0),
        (vec![million], vec![million], million),
        // What is less than a hundredth of the limit is not named.
        (vec![900_000], vec![], 900_000),
        (vec![5 * million, 25 * million], vec![25 * million, 5 * million], 30 * million),
        (vec![5 * million, 25 * million, 900_000], vec![25 * million, 5 * million], 30_900_000),
        (
            vec![16 * million, 50 * million, 900_000, 34 * million, 50 * million, 50 * million + 1],
            vec![50 * million + 1, 50 * million, 50 * million, 34 * million],
            200_900_001,
        ),
        (vec![u64::MAX / 2, u64::MAX / 2, 1, 10, 100, 1000], vec![u64::MAX / 2, u64::MAX / 2], u64::MAX),
    ] {
        let mut total = rules::Total::default();
        costs.iter().for_each(|cost| total.add("x".to_owned(), *cost));
        assert_eq!(total.named(), (whole, dearest), "{costs:?}");
    }
}
