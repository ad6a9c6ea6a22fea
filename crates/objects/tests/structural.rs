//! Structural schemas: what is taken out of objects, filled in, and refused, by apiextensions' own tables.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a failed step of a test is its failure")]

use objects::custom::{self, Structural, embedded};
use serde_json::Value;

/// The rows of a table, each with its schema and its object.
fn rows(table: &str) -> Vec<(Value, Structural, Value)> {
    let tables: Value = serde_json::from_str(include_str!("golden/structural.json")).unwrap();
    let rows = tables[table].as_array().unwrap().clone();
    rows.into_iter().map(|row| (row.clone(), Structural::read(&row["schema"]), row["object"].clone())).collect()
}

fn texts(list: &Value) -> Vec<&str> {
    list.as_array().unwrap().iter().map(|text| text.as_str().unwrap()).collect()
}

#[test]
fn what_is_unknown_is_taken_out_as_upstream_takes_it_out() {
    for (row, schema, mut object) in rows("pruning") {
        let mut gone = if row["root"] == true { schema.prune(&mut object) } else { schema.prune_part(&mut object) };
        gone.sort();
        assert_eq!(object, row["wanted"], "{}", row["name"]);
        assert_eq!(gone, texts(&row["gone"]), "{}", row["name"]);
    }
}

#[test]
fn defaults_are_filled_in_as_upstream_fills_them_in() {
    // Upstream has one pass that takes nulls away and one that fills in; what is wanted here is what both come to.
    for (row, schema, mut object) in rows("defaulting").into_iter().chain(rows("nulls")) {
        schema.fill(&mut object);
        assert_eq!(object, row["wanted"], "{}", row["name"]);
    }
}

#[test]
fn sets_and_maps_hold_nothing_twice_as_upstream_has_it() {
    for (row, schema, object) in rows("lists") {
        let causes = custom::validate(&schema, &object, None, |_, _| Vec::new());
        let mut found: Vec<(&str, &str)> = causes
            .iter()
            .filter(|cause| cause.reason == "FieldValueDuplicate" || cause.message.contains("list-type map"))
            .map(|cause| (cause.reason, cause.field.as_str()))
            .collect();
        let wanted: Vec<Value> = row["causes"].as_array().unwrap().clone();
        let wanted: Vec<(&str, &str)> =
            wanted.iter().map(|cause| (cause[0].as_str().unwrap(), cause[1].as_str().unwrap())).collect();
        // The table begins at a path of its own.
        let mut wanted: Vec<_> =
            wanted.into_iter().map(|(of, at)| (of, at.trim_start_matches("root").trim_start_matches('.'))).collect();
        // An object's fields have no order.
        found.sort_unstable();
        wanted.sort_unstable();
        assert_eq!(found, wanted, "{}: {causes:?}", row["name"]);
    }
}

#[test]
fn metadata_of_objects_within_is_read_as_upstream_reads_it() {
    // What is dropped because it cannot be read is a matter of stored objects, which were read before they were stored.
    for (row, schema, mut object) in rows("metadata").into_iter().filter(|(row, _, _)| row["drops"] == false) {
        let schema = if row["root"] == true { schema.as_object() } else { schema };
        match embedded::conform(&schema, &mut object) {
            Err(wrong) => assert_eq!(row["fails"], true, "{}: {wrong:?}", row["name"]),
            Ok(unknown) => {
                assert_eq!(row["fails"], false, "{}", row["name"]);
                assert_eq!(object, row["wanted"], "{}", row["name"]);
                assert_eq!(unknown, texts(&row["unknown"]), "{}", row["name"]);
            }
        }
    }
}
