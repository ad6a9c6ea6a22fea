//! Schemas as small tables: what a check needs of them, without the descriptions.

use std::collections::HashMap;

use serde_json::{Map, Value};

use super::definitions::{self, Group};

/// What a value may be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Type {
    Text,
    Bool,
    /// A whole number of 32 or 64 bits.
    Integer(u8),
    Number,
    /// RFC 3339 in whole seconds.
    Time,
    /// The same in microseconds.
    MicroTime,
    /// Base64 text.
    Bytes,
    Quantity,
    IntOrString,
    /// Whatever JSON can say.
    Any,
    /// One of these, which differ in their JSON types: a definition's schemas say `additionalProperties: true`, or with which schema.
    Either(Vec<Type>),
    List(Box<Type>),
    Map(Box<Type>),
    /// A position in [`Compiled::structs`].
    Struct(usize),
}

/// An object with named fields.
#[derive(Debug)]
pub(super) struct Struct {
    /// The Go type's name without its package, such as `PodSpec`.
    pub(super) name: Box<str>,
    /// By rising name.
    pub(super) fields: Vec<(Box<str>, Type)>,
    /// Fields that are always there.
    pub(super) required: Vec<Box<str>>,
    /// Whether the schema belongs to a custom resource. Those refuse what lacks a required field, and keep lists and maps that
    /// are empty; built-in kinds leave the first to their validation, and write empty lists and maps as Go does: not at all.
    pub(super) custom: bool,
}

/// The types of one group and version.
#[derive(Debug)]
pub(super) struct Compiled {
    pub(super) structs: Vec<Struct>,
    /// Kinds, and where they are among the structs.
    pub(super) roots: HashMap<&'static str, usize>,
}

impl Compiled {
    /// Makes the tables of a group.
    pub(super) fn of(group: &Group) -> Self {
        let schemas = definitions::components(group.group, group.version);
        let mut compiler =
            Compiler { schemas: &schemas, known: HashMap::new(), structs: Vec::new(), custom: group.is_custom() };
        let roots = group.kinds().map(|(kind, name)| (kind, compiler.definition(&name)));
        let roots =
            roots.filter_map(|(kind, found)| if let Type::Struct(at) = found { Some((kind, at)) } else { None });
        let roots = roots.collect();
        Self { structs: compiler.structs, roots }
    }
}

struct Compiler<'a> {
    schemas: &'a Map<String, Value>,
    known: HashMap<String, Type>,
    structs: Vec<Struct>,
    custom: bool,
}

impl Compiler<'_> {
    fn definition(&mut self, name: &str) -> Type {
        if let Some(known) = self.known.get(name) {
            return known.clone();
        }
        if name.ends_with(".Quantity") {
            return Type::Quantity;
        }
        if name.ends_with(".v1.MicroTime") {
            return Type::MicroTime;
        }
        let schemas = self.schemas;
        let Some(schema) = schemas.get(name) else { return Type::Any };
        let Some(properties) = schema.get("properties").and_then(Value::as_object) else {
            let simple = self.of(schema);
            self.known.insert(name.to_owned(), simple.clone());
            return simple;
        };
        // Known before its fields are read: a type may hold itself.
        let at = self.structs.len();
        self.known.insert(name.to_owned(), Type::Struct(at));
        let short = name.rsplit('.').next().unwrap_or(name);
        let custom = self.custom && !name.ends_with(".ObjectMeta");
        self.structs.push(Struct { name: short.into(), fields: Vec::new(), required: Vec::new(), custom });
        let mut fields: Vec<(Box<str>, Type)> =
            properties.iter().map(|(field, schema)| (field.as_str().into(), self.of(schema))).collect();
        fields.sort_by(|(a, _), (b, _)| a.cmp(b));
        let required = schema.get("required").and_then(Value::as_array);
        let required = required.into_iter().flatten().filter_map(Value::as_str).map(Into::into).collect();
        if let Some(place) = self.structs.get_mut(at) {
            (place.fields, place.required) = (fields, required);
        }
        Type::Struct(at)
    }

    fn of(&mut self, schema: &Value) -> Type {
        let text = |field: &str| schema.get(field).and_then(Value::as_str).unwrap_or_default();
        if let Some(name) = text("$ref").strip_prefix("#/components/schemas/") {
            return self.definition(name);
        }
        for union in ["allOf", "anyOf", "oneOf"] {
            match schema.get(union).and_then(Value::as_array).map(Vec::as_slice) {
                None | Some([]) => {}
                Some(all @ [_, _, ..]) if union == "oneOf" => {
                    return Type::Either(all.iter().map(|one| self.of(one)).collect());
                }
                Some([first, ..]) => return self.of(first),
            }
        }
        if schema.get("x-kubernetes-int-or-string").is_some() {
            return Type::IntOrString;
        }
        match (text("type"), text("format")) {
            ("string", "date-time") => Type::Time,
            ("string", "byte") => Type::Bytes,
            ("string", _) => Type::Text,
            ("boolean", _) => Type::Bool,
            ("integer", "int64") => Type::Integer(64),
            ("integer", _) => Type::Integer(32),
            ("number", _) => Type::Number,
            ("array", _) => Type::List(Box::new(schema.get("items").map_or(Type::Any, |items| self.of(items)))),
            ("object", _) => match schema.get("additionalProperties").filter(|more| more.is_object()) {
                Some(more) => Type::Map(Box::new(self.of(more))),
                None => Type::Any,
            },
            _ => Type::Any,
        }
    }
}
