//! From OpenAPI schemas to shapes: built-in kinds' components and custom resources' structural schemas alike.

use std::{collections::HashMap, sync::LazyLock};

use serde_json::{Map, Value};

use super::shape::{Atom, Field, ListShape, MapShape, Patch, Scalar, Shape, Types};

/// What has no schema and is one value.
const WHOLE: usize = 0;
/// What has no schema and whose objects' fields are managed one by one ("deduced").
const DEDUCED: usize = 1;

/// Makes [`Types`] out of schemas that carry upstream's extensions (`x-kubernetes-list-type`, `-list-map-keys`, `-map-type`,
/// `-patch-strategy`, `-patch-merge-key`, `-preserve-unknown-fields`, `-int-or-string`, `-embedded-resource`).
#[derive(Debug)]
pub struct Compiler<'a> {
    /// `components.schemas`, which `$ref` leads to.
    definitions: &'a Map<String, Value>,
    known: HashMap<&'a str, usize>,
    types: Types,
    /// Whether a `default` of `{}` says that the object is always there: Go's structs that are no pointers.
    structs: bool,
}

/// The type of objects without a schema: their lists are one value each, their fields are managed one by one.
pub fn unknown() -> Shape<'static> {
    static TYPES: LazyLock<Types> = LazyLock::new(|| Compiler::new(&Map::new(), false).finish());
    TYPES.shape(DEDUCED)
}

impl<'a> Compiler<'a> {
    /// A compiler over these definitions; `structs` for those made of Go types, where a default of `{}` is no value but a
    /// struct that is always there.
    pub fn new(definitions: &'a Map<String, Value>, structs: bool) -> Self {
        let list = ListShape { element: WHOLE, associative: false, keys: Vec::new() };
        let map = |atomic, element| MapShape { atomic, fields: Vec::new(), element: Some(element) };
        let any = |map| Atom { scalar: Some(Scalar::Any), list: Some(list.clone()), map: Some(map) };
        let atoms = vec![any(map(true, WHOLE)), any(map(false, DEDUCED))];
        Self { definitions, known: HashMap::new(), types: Types { atoms, roots: HashMap::new() }, structs }
    }

    /// Adds a kind, whose type is the definition of this name.
    pub fn kind(&mut self, kind: &str, definition: &'a str) {
        let at = self.definition(definition);
        self.types.roots.insert(kind.into(), at);
    }

    /// Adds a custom resource by its structural schema. `metadata` is the name of the definition of ObjectMeta.
    pub fn custom(&mut self, kind: &str, schema: &'a Value, metadata: &'a str) {
        let at = self.of(schema);
        let metadata = self.definition(metadata);
        let text = self.scalar(Scalar::Text);
        self.complete(at, text, metadata);
        self.types.roots.insert(kind.into(), at);
    }

    /// The types.
    pub fn finish(self) -> Types {
        self.types
    }

    /// Every object has these three fields, whatever its schema says of them.
    fn complete(&mut self, at: usize, text: usize, metadata: usize) {
        let Some(Atom { map: Some(map), .. }) = self.types.atoms.get_mut(at) else { return };
        for (name, of) in [("apiVersion", text), ("kind", text), ("metadata", metadata)] {
            map.fields.retain(|field| field.name.as_ref() != name);
            map.fields.push(Field { name: name.into(), of, default: None, patch: Patch::default() });
        }
        map.fields.sort_by(|a, b| a.name.cmp(&b.name));
    }

    fn add(&mut self, atom: Atom) -> usize {
        self.types.atoms.push(atom);
        self.types.atoms.len() - 1
    }

    fn scalar(&mut self, scalar: Scalar) -> usize {
        self.add(Atom { scalar: Some(scalar), ..Atom::default() })
    }

    fn definition(&mut self, name: &'a str) -> usize {
        if let Some(known) = self.known.get(name) {
            return *known;
        }
        // Known before it is read: a type may hold itself.
        let at = self.add(Atom::default());
        self.known.insert(name, at);
        let quantity = name.ends_with(".Quantity");
        let definitions = self.definitions;
        let atom = match definitions.get(name) {
            _ if quantity => Atom { scalar: Some(Scalar::Any), ..Atom::default() },
            Some(schema) => self.atom(schema),
            None => self.atom_at(WHOLE),
        };
        if let Some(place) = self.types.atoms.get_mut(at) {
            *place = atom;
        }
        at
    }

    fn atom_at(&self, at: usize) -> Atom {
        self.types.atoms.get(at).cloned().unwrap_or_default()
    }

    /// The place of a schema's type.
    fn of(&mut self, schema: &'a Value) -> usize {
        let Some(name) = reference(schema) else {
            let atom = self.atom(schema);
            return self.add(atom);
        };
        let at = self.definition(name);
        let atomic = schema.get("x-kubernetes-map-type").and_then(Value::as_str).map(|sort| sort == "atomic");
        let mut atom = self.atom_at(at);
        match (atomic, &mut atom.map) {
            // The field that refers to a type may say otherwise than the type.
            (Some(atomic), Some(map)) if map.atomic != atomic => {
                map.atomic = atomic;
                self.add(atom)
            }
            _ => at,
        }
    }

    fn atom(&mut self, schema: &'a Value) -> Atom {
        let flag = |name: &str| schema.get(name) == Some(&Value::Bool(true));
        let scalar = |scalar| Atom { scalar: Some(scalar), ..Atom::default() };
        if let Some(name) = reference(schema) {
            let at = self.definition(name);
            return self.atom_at(at);
        }
        if schema.get("x-kubernetes-int-or-string").is_some() {
            return scalar(Scalar::Any);
        }
        let keeps = flag("x-kubernetes-preserve-unknown-fields");
        match schema.get("type").and_then(Value::as_str) {
            Some("string") => scalar(Scalar::Text),
            Some("integer" | "number") => scalar(Scalar::Number),
            Some("boolean") => scalar(Scalar::Bool),
            Some("array") => Atom { list: Some(self.list(schema)), ..Atom::default() },
            Some("object") => self.object(schema, keeps),
            _ if schema.get("properties").is_some() => self.object(schema, keeps),
            _ if is_choice_of_scalars(schema) && !keeps => scalar(Scalar::Any),
            _ => self.atom_at(if keeps { DEDUCED } else { WHOLE }),
        }
    }

    fn list(&mut self, schema: &'a Value) -> ListShape {
        let element = schema.get("items").map_or(WHOLE, |items| self.of(items));
        let sort = schema.get("x-kubernetes-list-type").and_then(Value::as_str);
        let keys = schema.get("x-kubernetes-list-map-keys").and_then(Value::as_array).filter(|_| sort == Some("map"));
        let keys: Vec<Box<str>> = keys.into_iter().flatten().filter_map(Value::as_str).map(Into::into).collect();
        let associative = sort == Some("set") || sort == Some("map") && !keys.is_empty();
        ListShape { element, associative, keys }
    }

    fn object(&mut self, schema: &'a Value, keeps: bool) -> Atom {
        let properties = schema.get("properties").and_then(Value::as_object);
        let mut fields: Vec<Field> = Vec::new();
        for (name, property) in properties.into_iter().flatten() {
            let of = self.of(property);
            fields.push(Field { name: name.as_str().into(), of, default: default(property), patch: patch(property) });
        }
        fields.sort_by(|a, b| a.name.cmp(&b.name));
        if !self.structs {
            fields.iter_mut().for_each(|field| field.default = field.default.take().filter(|value| !value.is_object()));
        }
        let more = schema.get("additionalProperties").filter(|more| more.is_object());
        let element = match more {
            Some(more) => Some(self.of(more)),
            None if keeps || fields.is_empty() => Some(DEDUCED),
            None => None,
        };
        let atomic = schema.get("x-kubernetes-map-type").and_then(Value::as_str) == Some("atomic");
        let atom = Atom { map: Some(MapShape { atomic, fields, element }), ..Atom::default() };
        if schema.get("x-kubernetes-embedded-resource") != Some(&Value::Bool(true)) {
            return atom;
        }
        let at = self.add(atom);
        let text = self.scalar(Scalar::Text);
        self.complete(at, text, DEDUCED);
        self.atom_at(at)
    }
}

/// The definition that a schema refers to, alone or as the one member of `allOf`.
fn reference(schema: &Value) -> Option<&str> {
    let found = schema.get("$ref").or_else(|| schema.pointer("/allOf/0/$ref"))?.as_str()?;
    found.strip_prefix("#/components/schemas/").or_else(|| found.strip_prefix("#/definitions/"))
}

/// Whether a schema without a type is a choice between scalars, as a whole number or a text is. Upstream's schemas say nothing of what
/// is a choice between more, such as the `items` of a schema in a definition, which are a schema or a list of them: that is one value
/// of any form.
fn is_choice_of_scalars(schema: &Value) -> bool {
    let scalar = |choice: &Value| {
        let of = choice.get("type").and_then(Value::as_str);
        matches!(of, Some("string" | "integer" | "number" | "boolean"))
    };
    let choices = schema.get("anyOf").or_else(|| schema.get("oneOf")).and_then(Value::as_array);
    choices.is_some_and(|choices| choices.iter().all(scalar))
}

/// The default of a scalar, or of a struct that is always there.
fn default(property: &Value) -> Option<Value> {
    let value = property.get("default")?;
    let empty = value.as_object().is_some_and(Map::is_empty);
    (empty || !value.is_object() && !value.is_array() && !value.is_null()).then(|| value.clone())
}

fn patch(property: &Value) -> Patch {
    let text = |name: &str| property.get(name).and_then(Value::as_str).unwrap_or_default();
    let strategies = text("x-kubernetes-patch-strategy");
    let has = |wanted: &str| strategies.split(',').any(|strategy| strategy == wanted);
    let key = text("x-kubernetes-patch-merge-key");
    Patch {
        merge: has("merge"),
        replace: has("replace"),
        retain_keys: has("retainKeys"),
        key: (!key.is_empty()).then(|| key.into()),
    }
}
