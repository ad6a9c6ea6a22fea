//! What rules of custom resources cost at most, and where their causes can be, by apiextensions' own tables.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a failed step of a test is its failure")]

use objects::custom::{Structural, field_path, rules::Known};
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
