//! What rules of custom resources cost at most, and where their causes can be, by apiextensions' own tables.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a failed step of a test is its failure")]

use objects::custom::{Structural, field_path, rules::Known, tolerated, validate};
use serde_json::{Value, json};

/// A schema with its limits: `$most` is this number, or nothing.
fn limited(schema: &Value, most: Option<u64>) -> Value {
    match schema {
        Value::Object(map) => {
            let kept = map.iter().filter(|(_, value)| most.is_some() || *value != "$most");
            Value::Object(kept.map(|(name, value)| (name.clone(), limited(value, most))).collect())
        }
        Value::Array(list) => list.iter().map(|value| limited(value, most)).collect(),
        Value::String(text) if text == "$most" => json!(most),
        other => other.clone(),
    }
}

#[test]
fn rules_cost_what_upstream_says_they_cost() {
    let rows: Vec<Value> = serde_json::from_str(include_str!("golden/rule_costs.json")).unwrap();
    let mut wrong = Vec::new();
    for row in &rows {
        for (most, wanted) in [(None, &row["unset"]), (row["most"].as_u64(), &row["set"])] {
            let schema = Structural::read(&limited(&row["schema"], most));
            let verdict = Known::new(&schema, false).compile(&json!({"rule": row["rule"]}));
            if let Some(why) = &verdict.wrong {
                panic!("{}: {why}", row["name"]);
            }
            let right = match wanted.as_u64() {
                // The table says nothing of these.
                Some(0) => true,
                Some(cost) => verdict.cost == cost,
                None => verdict.cost > 10_000_000,
            };
            if !right {
                wrong.push(format!("{} with {most:?}: {} instead of {wanted}", row["name"], verdict.cost));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert_eq!(rows.len(), 68);
}

#[test]
fn paths_of_fields_are_found_as_upstream_finds_them() {
    let tables: Vec<Value> = serde_json::from_str(include_str!("golden/field_paths.json")).unwrap();
    let mut wrong = Vec::new();
    for table in &tables {
        for row in table["paths"].as_array().unwrap() {
            let (path, wanted) = (row[0].as_str().unwrap(), row[1].as_str().unwrap());
            let found = field_path::find(path, &table["schema"], true);
            let right = match &found {
                Ok(_) => wanted.is_empty(),
                Err(why) => !wanted.is_empty() && why.contains(wanted),
            };
            if !right {
                wrong.push(format!("{path}: {found:?} instead of {wanted}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Whether a rule holds for an object under a schema, or why it does not.
fn outcome(schema: &Value, rule: &str, row: &Value) -> Result<(), String> {
    let mut schema = schema.clone();
    schema["x-kubernetes-validations"] = json!([{"rule": rule}]);
    let shape = Structural::shape(&schema);
    if let Some(wrong) = Known::new(&shape, row["isRoot"] == true).compile(&json!({"rule": rule})).wrong {
        return Err(wrong);
    }
    let read = if row["isRoot"] == true { Structural::root(&schema) } else { Structural::read(&schema) };
    let causes = validate(&read, &row["object"], row.get("old"), |_, _| Vec::new());
    match causes.first() {
        None => Ok(()),
        Some(cause) => Err(cause.message.clone()),
    }
}

#[test]
fn rules_hold_where_upstream_says_they_hold() {
    let rows: Vec<Value> = serde_json::from_str(include_str!("golden/rule_values.json")).unwrap();
    let mut wrong = Vec::new();
    for row in &rows {
        for rule in row["valid"].as_array().unwrap() {
            let rule = rule.as_str().unwrap();
            if let Err(why) = outcome(&row["schema"], rule, row) {
                wrong.push(format!("{}: {rule}\n    does not hold: {why}", row["name"]));
            }
        }
        for (rule, wanted) in row["errors"].as_object().unwrap() {
            let wanted = wanted.as_str().unwrap();
            match outcome(&row["schema"], rule, row) {
                Err(why) if why.contains(wanted) => {}
                other => wrong.push(format!("{}: {rule}\n    is {other:?}\n    not  {wanted}", row["name"])),
            }
        }
    }
    assert!(wrong.is_empty(), "{} wrong\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn rules_compile_where_upstream_says_they_compile() {
    let rows: Vec<Value> = serde_json::from_str(include_str!("golden/rule_compiles.json")).unwrap();
    let mut wrong = Vec::new();
    for row in &rows {
        let known = Known::new(&Structural::shape(&row["schema"]), false);
        for (rule, wanted) in row["rules"].as_array().unwrap().iter().zip(row["wanted"].as_array().unwrap()) {
            let verdict = known.compile(rule);
            let says = |said: &Option<String>, wanted: &Value| match (said, wanted.as_str()) {
                (Some(said), Some(wanted)) => said.contains(wanted),
                (None, Some(_)) => false,
                (_, None) => true,
            };
            let right = says(&verdict.wrong, &wanted["wrong"])
                && says(&verdict.wrong_message, &wanted["message"])
                && (wanted["ok"] != true || verdict.wrong.is_none())
                && wanted["transition"].as_bool().is_none_or(|transition| verdict.transition == transition);
            if !right {
                wrong.push(format!("{}: {rule}\n    is {verdict:?}\n    not {wanted}", row["name"]));
            }
        }
    }
    assert!(wrong.is_empty(), "{} wrong\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn rules_hold_within_objects_and_against_the_past_as_upstream_says() {
    let rows: Vec<Value> = serde_json::from_str(include_str!("golden/rule_levels.json")).unwrap();
    for row in &rows {
        let causes = validate(&Structural::read(&row["schema"]), &row["object"], row.get("old"), |_, _| Vec::new());
        let wanted = row["errors"].as_array().unwrap();
        let said: Vec<&str> = causes.iter().map(|cause| cause.message.as_str()).collect();
        assert_eq!(said.len(), wanted.len(), "{}: {said:?}", row["name"]);
        assert!(wanted.iter().zip(&said).all(|(wanted, said)| said.contains(wanted.as_str().unwrap())), "{said:?}");
    }
}

#[test]
fn a_stored_rule_that_does_not_compile_refuses_what_it_is_about_and_nothing_else() {
    let rules = json!([{"rule": "self.gone > 1"}, {"rule": "self.a > 1", "message": "too small"}, {"rule": " "}]);
    let schema = Structural::root(&json!({"type": "object", "properties": {
        "spec": {"type": "object", "properties": {"a": {"type": "integer"}}, "x-kubernetes-validations": rules},
        "any": {"x-kubernetes-preserve-unknown-fields": true, "x-kubernetes-validations": [{"rule": "true"}]}}}));
    let said = |object: &Value, old: Option<&Value>| -> Vec<String> {
        let causes = validate(&schema, object, old, |_, _| Vec::new());
        causes.into_iter().map(|cause| format!("{}: {}", cause.field, cause.message)).collect()
    };
    let object = json!({"metadata": {"name": "x"}, "spec": {"a": 1}});
    let new = said(&object, None);
    assert!(new[0].starts_with("spec: Invalid value: \"object\": rule compile error: compilation failed: "), "{new:?}");
    assert!(new[0].contains("undefined field 'gone'") && new[1].ends_with("too small") && new.len() == 2, "{new:?}");
    // What did not change is held against the other rule only where it is new.
    assert_eq!(said(&object, Some(&object)).len(), 1);
    assert!(said(&json!({"metadata": {"name": "x"}}), None).is_empty());
    let any = said(&json!({"metadata": {"name": "x"}, "any": {"b": 1}}), None);
    assert!(any[0].contains("rule compiler initialization error: "), "{any:?}");
}

#[test]
fn an_update_is_told_which_rules_what_it_left_does_not_keep() {
    let rules = |rule: &str, message: &str| json!([{"rule": rule, "message": message}]);
    let schema = Structural::root(&json!({"type": "object", "properties": {"spec": {"type": "object", "properties": {
        "a": {"type": "integer", "x-kubernetes-validations": rules("self > 1", "too small")},
        "b": {"type": "integer", "x-kubernetes-validations": rules("self >= oldSelf", "it only grows")},
        "c": {"type": "integer", "x-kubernetes-validations": rules("1 / self > 0", "nobody knows")}}}}}));
    let said = |object: &Value, old: &Value| -> (Vec<String>, Vec<String>) {
        let texts = |causes: Vec<objects::cause::Cause>| -> Vec<String> {
            causes.into_iter().map(|cause| format!("{}: {}", cause.field, cause.message)).collect()
        };
        (texts(validate(&schema, object, Some(old), |_, _| Vec::new())), texts(tolerated(&schema, object, old)))
    };
    let old = json!({"metadata": {"name": "x"}, "spec": {"a": 1, "b": 2, "c": 0}});
    let left = json!({"metadata": {"name": "x"}, "spec": {"a": 1, "b": 3, "c": 0}});
    let small = "spec.a: Invalid value: \"integer\": too small".to_owned();
    assert_eq!(said(&left, &old), (vec![], vec![small.clone()]));
    let changed = json!({"metadata": {"name": "x"}, "spec": {"a": 0, "b": 1, "c": 0}});
    let (refused, told) = said(&changed, &old);
    assert_eq!((refused.len(), told.len()), (2, 0), "{refused:?} {told:?}");
    assert_eq!(said(&old, &old).1, [small]);
}

#[test]
fn no_text_matches_a_stored_pattern_that_is_none() {
    let schema = Structural::root(&json!({"type": "object", "properties": {"a": {"type": "string", "pattern": "("}}}));
    let said = |object: &Value, old: Option<&Value>| validate(&schema, object, old, |_, _| Vec::new());
    let object = json!({"a": "b"});
    let causes = said(&object, None);
    assert_eq!(causes.len(), 1);
    assert!(causes[0].message.contains("a in body should match '(, but pattern is invalid: "), "{}", causes[0].message);
    assert!(said(&object, Some(&object)).is_empty() && said(&json!({}), None).is_empty());
}
