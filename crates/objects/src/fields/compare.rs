//! What differs between two states of an object.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::{
    element::Element,
    set::{Node, Set},
    shape::{Field, Form, ListShape, MapShape, Shape, same},
};

/// The difference of two objects; no path is in two of the sets.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Comparison {
    /// Fields that only the first has.
    pub removed: Set,
    /// Fields that both have, with other values.
    pub modified: Set,
    /// Fields that only the second has.
    pub added: Set,
}

impl Comparison {
    /// Whether nothing differs.
    pub fn is_empty(&self) -> bool {
        self.removed.is_empty() && self.modified.is_empty() && self.added.is_empty()
    }
}

/// Compares two objects of one type.
///
/// # Errors
/// An element of a keyed list or a set that cannot be told apart from the others.
pub fn compare(shape: Shape<'_>, before: Option<&Value>, after: &Value) -> Result<Comparison, String> {
    // What is made anew has the structs that are always there.
    let nothing = Value::Object(Map::new());
    let diff = diff(shape, Some(before.unwrap_or(&nothing)), Some(after))?;
    Ok(Comparison { removed: diff.removed.1, modified: diff.modified.1, added: diff.added.1 })
}

/// The difference at one place: for each of the three sets, whether the place itself is in it, and what is below.
#[derive(Default)]
struct Diff {
    removed: (bool, Set),
    modified: (bool, Set),
    added: (bool, Set),
}

type Side<'v> = Option<&'v Value>;

fn diff(shape: Shape<'_>, before: Side<'_>, after: Side<'_>) -> Result<Diff, String> {
    let mut found = Diff::default();
    if before == after {
        return Ok(found);
    }
    let (old, new) = (shape.form(before), shape.form(after));
    let leaf = match (old, new) {
        (Some(old), _) if after.is_none() => walk(shape, old, before, after, &mut found)?,
        (_, Some(new)) if before.is_none() => walk(shape, new, before, after, &mut found)?,
        (Some(old), Some(new)) if !old.is_like(new) => {
            walk(shape, old, before, after, &mut found)?;
            walk(shape, new, before, after, &mut found)?
        }
        (_, Some(new)) => walk(shape, new, before, after, &mut found)?,
        _ => leaf(before, after, &mut found),
    };
    if !leaf {
        found.added.0 |= before.is_none();
        found.removed.0 |= after.is_none();
    }
    Ok(found)
}

/// Compares two values as of one form; whether they are one value each, with nothing managed below them.
fn walk(shape: Shape<'_>, form: Form<'_>, before: Side<'_>, after: Side<'_>, found: &mut Diff) -> Result<bool, String> {
    match form {
        Form::Scalar(_) => return Ok(leaf(before, after, found)),
        Form::Map(map) => {
            let (old, new) = (before.and_then(Value::as_object), after.and_then(Value::as_object));
            if map.atomic || old.is_none_or(Map::is_empty) && new.is_none_or(Map::is_empty) {
                return Ok(leaf(before, after, found));
            }
            fields(shape, map, old, new, found)?;
        }
        Form::List(list) => {
            let (old, new) = (before.and_then(Value::as_array), after.and_then(Value::as_array));
            let (old, new) = (old.map_or(&[][..], Vec::as_slice), new.map_or(&[][..], Vec::as_slice));
            if !list.associative || old.is_empty() && new.is_empty() {
                return Ok(leaf(before, after, found));
            }
            elements(shape, list, old, new, found)?;
        }
    }
    Ok(false)
}

fn leaf(before: Side<'_>, after: Side<'_>, found: &mut Diff) -> bool {
    match (before, after) {
        (None, _) => found.added.0 = true,
        (_, None) => found.removed.0 = true,
        (Some(before), Some(after)) => found.modified.0 |= !same(before, after),
    }
    true
}

fn fields(
    shape: Shape<'_>,
    map: &MapShape,
    before: Option<&Map<String, Value>>,
    after: Option<&Map<String, Value>>,
    found: &mut Diff,
) -> Result<(), String> {
    let mut nodes = Nodes::default();
    let nothing = Value::Object(Map::new());
    let mut visit = |name: &str, old: Side<'_>, new: Side<'_>| {
        if old == new {
            return Ok(());
        }
        let known = map.field(name);
        let Some(of) = known.map(|field| field.of).or(map.element) else { return Ok(()) };
        // A struct that is no pointer is there whenever what it is a field of is there.
        let always = known.is_some_and(Field::is_struct);
        let old = old.or((always && before.is_some()).then_some(&nothing));
        let new = new.or((always && after.is_some()).then_some(&nothing));
        let below = diff(shape.to(of), old, new).map_err(|e| format!(".{name}{e}"))?;
        nodes.push(|| Element::field(name), below);
        Ok::<(), String>(())
    };
    for (name, old) in before.into_iter().flatten() {
        visit(name, Some(old), after.and_then(|after| after.get(name)))?;
    }
    let is_new = |name: &str| !before.is_some_and(|before| before.contains_key(name));
    for (name, new) in after.into_iter().flatten().filter(|(name, _)| is_new(name)) {
        visit(name, None, Some(new))?;
    }
    nodes.into(found);
    Ok(())
}

fn elements(
    shape: Shape<'_>,
    list: &ListShape,
    before: &[Value],
    after: &[Value],
    found: &mut Diff,
) -> Result<(), String> {
    let mut sides: BTreeMap<Element, (Vec<&Value>, Vec<&Value>)> = BTreeMap::new();
    let step = |at: usize, value| list.step(shape, value).map_err(|e| format!(": element {at}: {e}"));
    for (at, value) in before.iter().enumerate() {
        sides.entry(step(at, value)?).or_default().0.push(value);
    }
    for (at, value) in after.iter().enumerate() {
        sides.entry(step(at, value)?).or_default().1.push(value);
    }
    let mut nodes = Nodes::default();
    for (step, (old, new)) in sides {
        let below =
            |old: Side<'_>, new: Side<'_>| diff(shape.to(list.element), old, new).map_err(|e| format!("{step}{e}"));
        let (first_old, first_new) = (old.first().copied(), new.first().copied());
        let mut here = match (old.len(), new.len()) {
            (..=1, ..=1) => below(first_old, first_new)?,
            // Elements that are there twice are one value together.
            (2.., 2..) => Diff::default(),
            (2.., _) => first_new.map_or_else(|| Ok(Diff::default()), |new| below(None, Some(new)))?,
            _ => first_old.map_or_else(|| Ok(Diff::default()), |old| below(Some(old), None))?,
        };
        match (old.len(), new.len()) {
            (2.., 2..) => {
                here.modified.0 |= old.len() != new.len() || !old.iter().zip(&new).all(|(old, new)| same(old, new));
            }
            (2.., _) => here.removed.0 = true,
            (_, 2..) => here.added.0 = true,
            _ => {}
        }
        nodes.push(|| step.clone(), here);
    }
    nodes.into(found);
    Ok(())
}

/// The nodes below one place, for each of the three sets.
#[derive(Default)]
struct Nodes([Vec<Node>; 3]);

impl Nodes {
    fn push(&mut self, element: impl Fn() -> Element, diff: Diff) {
        for (nodes, (member, below)) in self.0.iter_mut().zip([diff.removed, diff.modified, diff.added]) {
            if member || !below.is_empty() {
                nodes.push(Node { element: element(), member, below });
            }
        }
    }

    fn into(self, found: &mut Diff) {
        for (nodes, (_, set)) in self.0.into_iter().zip([&mut found.removed, &mut found.modified, &mut found.added]) {
            let nodes = Set::from_nodes(nodes);
            *set = if set.is_empty() { nodes } else { set.union(&nodes) };
        }
    }
}
