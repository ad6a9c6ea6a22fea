//! Fields taken out of objects, and sets brought in line with a schema.

use serde_json::{Map, Value};

use super::{
    element::Element,
    set::{Node, Set},
    shape::{Form, MapShape, Shape},
};

/// The object without the fields and elements of a set. What is left empty becomes null.
pub fn remove(shape: Shape<'_>, object: &Value, fields: &Set) -> Value {
    taken(shape, object, fields, false)
}

/// Only the fields and elements of a set.
pub fn extract(shape: Shape<'_>, object: &Value, fields: &Set) -> Value {
    taken(shape, object, fields, true)
}

fn taken(shape: Shape<'_>, value: &Value, set: &Set, extract: bool) -> Value {
    match (shape.form(Some(value)), value) {
        (Some(Form::Scalar(_)), _) => value.clone(),
        (Some(Form::Map(map)), Value::Object(fields)) => {
            if fields.is_empty() || map.atomic {
                return if extract { value.clone() } else { Value::Null };
            }
            of_map(shape, map, fields, set, extract)
        }
        (Some(Form::List(list)), Value::Array(elements)) => {
            if elements.is_empty() || !list.associative {
                return if extract { value.clone() } else { Value::Null };
            }
            let kept = elements.iter().filter_map(|element| {
                let step = list.step(shape, element).ok();
                let node = step.and_then(|step| set.node(&step));
                let member = node.is_some_and(|node| node.member);
                if if extract { node.is_none() } else { member } {
                    return None;
                }
                Some(match node.filter(|node| !node.below.is_empty()) {
                    Some(node) => taken(shape.to(list.element), element, &node.below, extract),
                    None => element.clone(),
                })
            });
            let kept: Vec<Value> = kept.collect();
            if kept.is_empty() { Value::Null } else { Value::Array(kept) }
        }
        _ => Value::Null,
    }
}

fn of_map(shape: Shape<'_>, map: &MapShape, fields: &Map<String, Value>, set: &Set, extract: bool) -> Value {
    let mut kept = Map::new();
    for (name, value) in fields {
        let node = set.node(&Element::field(name));
        let of = map.of(name).map(|of| shape.to(of));
        let below = |set: &Set| of.map_or(Value::Null, |of| taken(of, value, set, extract));
        match node {
            Some(node) if node.member && extract => drop(kept.insert(name.clone(), below(&node.below))),
            Some(node) if node.member => {}
            Some(node) => drop(kept.insert(name.clone(), below(&node.below))),
            None if extract => {}
            None => drop(kept.insert(name.clone(), value.clone())),
        }
    }
    if kept.is_empty() { Value::Null } else { Value::Object(kept) }
}

/// The set with every object that has a schema and of which a field is in it.
pub fn with_named_fields(shape: Option<Shape<'_>>, set: &Set) -> Set {
    let map = shape.and_then(Shape::map);
    let nodes = set.nodes().iter().map(|node| {
        let (named, of) = match &node.element {
            Element::Field(name) => {
                (map.is_some_and(|map| map.field(name).is_some()), map.and_then(|map| map.of(name)))
            }
            Element::Key(_) => (false, shape.and_then(Shape::list).map(|list| list.element)),
            _ => (false, None),
        };
        let below = with_named_fields(of.and_then(|of| shape.map(|shape| shape.to(of))), &node.below);
        Node { element: node.element.clone(), member: node.member || named && !node.below.is_empty(), below }
    });
    Set::from_nodes(nodes.collect())
}

/// The set as of a schema in which lists or objects have become one value each since the set was written: who managed
/// something below now manages the whole.
pub fn reconcile(shape: Shape<'_>, set: &Set) -> Set {
    let nodes = set.nodes().iter().map(|node| {
        let child = match &node.element {
            Element::Field(name) => shape.map().and_then(|map| map.of(name)),
            _ => shape.list().map(|list| list.element),
        };
        let (member, below) = match child {
            Some(of) => reconciled(shape.to(of), node),
            None => (node.member, node.below.clone()),
        };
        Node { element: node.element.clone(), member, below }
    });
    Set::from_nodes(nodes.collect())
}

fn reconciled(shape: Shape<'_>, node: &Node) -> (bool, Set) {
    let Some(atom) = shape.atom() else { return (node.member, node.below.clone()) };
    let whole = match (&atom.map, atom.scalar, &atom.list) {
        // What has no schema is left as it is.
        (Some(map), ..) if map.fields.is_empty() && map.element.is_some_and(|of| of < 2) => {
            return (node.member, node.below.clone());
        }
        (Some(map), ..) => map.atomic,
        (None, Some(_), _) => return (node.member, node.below.clone()),
        (None, None, Some(list)) => !list.associative,
        (None, None, None) => false,
    };
    if whole && !node.below.is_empty() { (true, Set::default()) } else { (node.member, reconcile(shape, &node.below)) }
}
