//! Schemas reduced to what merging needs.

use std::collections::HashMap;

use serde_json::Value;

use super::element::{Element, order};

/// The types of one schema; they refer to each other by place.
#[derive(Clone, Debug, Default)]
pub struct Types {
    pub(super) atoms: Vec<Atom>,
    /// Kinds, and where their types are.
    pub(super) roots: HashMap<Box<str>, usize>,
}

/// What a value of one type may be. Most are one of the three; what has no schema may be any.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Atom {
    /// A text, number or boolean.
    pub scalar: Option<Scalar>,
    /// A list.
    pub list: Option<ListShape>,
    /// An object.
    pub map: Option<MapShape>,
}

/// What a scalar may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scalar {
    /// A text.
    Text,
    /// A number.
    Number,
    /// A boolean.
    Bool,
    /// Any of them: quantities, times, int-or-string.
    Any,
}

/// How a list merges.
#[derive(Clone, Debug, PartialEq)]
pub struct ListShape {
    /// The type of the elements.
    pub element: usize,
    /// Whether elements are managed one by one; else the list is one value.
    pub associative: bool,
    /// The fields that tell elements apart; none for a set.
    pub keys: Vec<Box<str>>,
}

/// How an object merges.
#[derive(Clone, Debug, PartialEq)]
pub struct MapShape {
    /// Whether the object is one value; else its fields are managed one by one.
    pub atomic: bool,
    /// The fields it is known to have, by rising name.
    pub fields: Vec<Field>,
    /// The type of fields that are not known by name; `None` where there may be none.
    pub element: Option<usize>,
}

/// One field of an object.
#[derive(Clone, Debug, PartialEq)]
pub struct Field {
    /// Its name.
    pub name: Box<str>,
    /// Its type.
    pub of: usize,
    /// The value it has when it is not said: of keys of lists; and `{}` of structs that are always there.
    pub default: Option<Value>,
    /// How strategic merge treats it.
    pub patch: Patch,
}

/// How strategic merge treats a field (`x-kubernetes-patch-strategy`, `x-kubernetes-patch-merge-key`).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Patch {
    /// Whether the elements of the list merge; else a patch replaces the list.
    pub merge: bool,
    /// Whether a patch replaces the object, where others merge.
    pub replace: bool,
    /// Whether a patch says which fields stay (`$retainKeys`).
    pub retain_keys: bool,
    /// The field that tells elements apart; none for lists of scalars.
    pub key: Option<Box<str>>,
}

/// A type among its types.
#[derive(Clone, Copy, Debug)]
pub struct Shape<'t> {
    types: &'t Types,
    at: usize,
}

/// Which of an atom's forms a value takes.
#[derive(Clone, Copy)]
pub(super) enum Form<'t> {
    Map(&'t MapShape),
    Scalar(Scalar),
    List(&'t ListShape),
}

impl Types {
    /// A kind's type.
    pub fn root(&self, kind: &str) -> Option<Shape<'_>> {
        self.roots.get(kind).map(|at| Shape { types: self, at: *at })
    }

    /// The type at a place.
    pub fn shape(&self, at: usize) -> Shape<'_> {
        Shape { types: self, at }
    }
}

impl<'t> Shape<'t> {
    /// What values of the type may be.
    pub fn atom(self) -> Option<&'t Atom> {
        self.types.atoms.get(self.at)
    }

    /// Another type of the same schema.
    pub fn to(self, at: usize) -> Self {
        Self { at, ..self }
    }

    /// The form that a value takes; for what fits none, the first the type has.
    pub(super) fn form(self, value: Option<&Value>) -> Option<Form<'t>> {
        let atom = self.atom()?;
        let (map, list) = (atom.map.as_ref().map(Form::Map), atom.list.as_ref().map(Form::List));
        let scalar = atom.scalar.map(Form::Scalar);
        let fitting = match value {
            Some(Value::Object(_)) => map,
            Some(Value::Array(_)) => list,
            Some(Value::String(_) | Value::Number(_) | Value::Bool(_)) => scalar,
            Some(Value::Null) | None => None,
        };
        fitting.or(map).or(scalar).or(list)
    }

    /// How objects of the type merge.
    pub fn map(self) -> Option<&'t MapShape> {
        self.atom()?.map.as_ref()
    }

    /// How lists of the type merge.
    pub fn list(self) -> Option<&'t ListShape> {
        self.atom()?.list.as_ref()
    }
}

impl Form<'_> {
    /// Whether both are maps, both lists or both scalars.
    pub(super) fn is_like(self, other: Self) -> bool {
        std::mem::discriminant(&self) == std::mem::discriminant(&other)
    }
}

impl Field {
    /// Whether the field is an object that is there even when it is not said.
    pub(super) fn is_struct(&self) -> bool {
        self.default.as_ref().is_some_and(Value::is_object)
    }
}

impl MapShape {
    /// A field that is known by name.
    pub fn field(&self, name: &str) -> Option<&Field> {
        let at = self.fields.binary_search_by(|field| field.name.as_ref().cmp(name)).ok()?;
        self.fields.get(at)
    }

    /// The type of a field, known by name or not.
    pub fn of(&self, name: &str) -> Option<usize> {
        self.field(name).map(|field| field.of).or(self.element)
    }
}

impl ListShape {
    /// The step that leads to an element of a list whose elements are managed one by one.
    ///
    /// # Errors
    /// What keeps the element from being told apart from the others.
    pub(super) fn step(&self, shape: Shape<'_>, element: &Value) -> Result<Element, String> {
        if self.keys.is_empty() {
            return match element {
                Value::Object(_) => Err("associative list without keys has an element that's a map type".to_owned()),
                Value::Array(_) => Err("not supported: associative list with lists as elements".to_owned()),
                Value::Null => Err("associative list without keys has an element that's an explicit null".to_owned()),
                scalar => Ok(Element::Item(Box::new(scalar.clone()))),
            };
        }
        let fields = match element {
            Value::Object(fields) => fields,
            Value::Null => return Err("associative list with keys may not have a null element".to_owned()),
            _ => return Err("associative list with keys may not have non-map elements".to_owned()),
        };
        let default = |key: &str| shape.to(self.element).map()?.field(key)?.default.as_ref();
        let found = self.keys.iter().filter_map(|key| {
            let value = fields.get(key.as_ref()).or_else(|| default(key))?;
            Some((key.clone(), value.clone()))
        });
        let mut found: Vec<_> = found.collect();
        if found.is_empty() {
            let keys: Vec<String> = self.keys.iter().map(|key| format!("{key:?}")).collect();
            return Err(format!(
                "associative list with keys has an element that omits all key fields [{}] (and doesn't have default values \
                 for any key fields)",
                keys.join(" ")
            ));
        }
        found.sort_by(|(a, _), (b, _)| a.cmp(b));
        Ok(Element::Key(found.into_boxed_slice()))
    }
}

/// Whether two values are the same; `1` is `1.0`.
pub fn same(a: &Value, b: &Value) -> bool {
    a == b || order(a, b).is_eq()
}
