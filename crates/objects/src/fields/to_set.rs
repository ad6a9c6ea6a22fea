//! The fields that an object says.

use std::collections::BTreeSet;

use serde_json::Value;

use super::{
    set::{Node, Set},
    shape::{Form, ListShape, MapShape, Shape},
};

/// Every leaf of the object, every element of keyed lists and sets, and every entry of maps. A field that is an object with
/// a schema is not itself in the set unless it is empty: only what is below it is.
pub fn to_set(shape: Shape<'_>, object: &Value) -> Set {
    below(shape, object).1
}

/// Whether the value itself is a member, and the members below it.
fn below(shape: Shape<'_>, value: &Value) -> (bool, Set) {
    match (shape.form(Some(value)), value) {
        (Some(Form::Scalar(_)), _) => (true, Set::default()),
        (Some(Form::Map(map)), _) if map.atomic => (true, Set::default()),
        (Some(Form::List(list)), _) if !list.associative => (true, Set::default()),
        (Some(Form::Map(map)), Value::Object(fields)) => (false, of_map(shape, map, fields)),
        (Some(Form::List(list)), Value::Array(elements)) => (false, of_list(shape, list, elements)),
        _ => (false, Set::default()),
    }
}

fn of_map(shape: Shape<'_>, map: &MapShape, fields: &serde_json::Map<String, Value>) -> Set {
    let nodes = fields.iter().filter_map(|(name, value)| {
        let known = map.field(name);
        let (leaf, below) = below(shape.to(known.map(|field| field.of).or(map.element)?), value);
        let empty = value.is_null() || value.as_object().is_some_and(serde_json::Map::is_empty);
        Some(Node { element: super::Element::field(name), member: leaf || empty || known.is_none(), below })
    });
    Set::from_nodes(nodes.collect())
}

fn of_list(shape: Shape<'_>, list: &ListShape, elements: &[Value]) -> Set {
    let steps: Vec<_> =
        elements.iter().filter_map(|element| Some((list.step(shape, element).ok()?, element))).collect();
    let (mut seen, mut twice) = (BTreeSet::new(), BTreeSet::new());
    for (step, _) in &steps {
        if !seen.insert(step) {
            twice.insert(step);
        }
    }
    let once = steps.iter().filter(|(step, _)| !twice.contains(step)).map(|(step, element)| Node {
        element: step.clone(),
        member: true,
        below: below(shape.to(list.element), element).1,
    });
    // Elements that are there twice are managed together, as one.
    let twice = twice.iter().map(|step| Node { element: (*step).clone(), member: true, below: Set::default() });
    Set::from_nodes(once.chain(twice).collect())
}
