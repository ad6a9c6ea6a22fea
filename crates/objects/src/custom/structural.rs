//! Structural schemas (`apiextensions.k8s.io/v1` JSONSchemaProps), compiled: what pruning, defaulting, validation, merging and
//! rules need of them, without the descriptions.

use std::collections::BTreeMap;

use regex::Regex;
use serde_json::Value;

use super::rules::{self, Rule};

/// What a value must be.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Type {
    /// Anything; the schema says no type.
    #[default]
    Any,
    /// An object.
    Object,
    /// A list.
    Array,
    /// A text.
    String,
    /// A whole number.
    Integer,
    /// A number.
    Number,
    /// True or false.
    Boolean,
}

impl Type {
    /// As schemas and messages name it; empty for [`Type::Any`].
    pub fn name(self) -> &'static str {
        match self {
            Self::Any => "",
            Self::Object => "object",
            Self::Array => "array",
            Self::String => "string",
            Self::Integer => "integer",
            Self::Number => "number",
            Self::Boolean => "boolean",
        }
    }

    fn read(name: &str) -> Self {
        let all = [Self::Object, Self::Array, Self::String, Self::Integer, Self::Number, Self::Boolean];
        all.into_iter().find(|of| of.name() == name).unwrap_or_default()
    }
}

/// How a list is merged (`x-kubernetes-list-type`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ListType {
    /// As one value.
    #[default]
    Atomic,
    /// As a set of scalars (or atomic objects).
    Set,
    /// By the fields in [`Structural::list_keys`].
    Map,
}

/// What fields besides the named ones may be.
#[derive(Debug, Default)]
pub enum Additional {
    /// There are none.
    #[default]
    None,
    /// Anything; what is in it is in no schema.
    Any,
    /// There must be none: they are not pruned, but refused.
    Refused,
    /// Of this schema.
    Of(Box<Structural>),
}

/// A schema, and those below it.
#[derive(Debug, Default)]
pub struct Structural {
    /// The type.
    pub of: Type,
    /// Whether null is a value.
    pub nullable: bool,
    /// What it is when nobody says.
    pub default: Option<Value>,
    /// Named fields.
    pub properties: BTreeMap<String, Structural>,
    /// Other fields.
    pub additional: Additional,
    /// The elements of a list.
    pub items: Option<Box<Structural>>,
    /// Fields that the schema does not have are kept (`x-kubernetes-preserve-unknown-fields`).
    pub preserve_unknown: bool,
    /// It is a Kubernetes object of its own (`x-kubernetes-embedded-resource`).
    pub embedded: bool,
    /// A whole number or a text (`x-kubernetes-int-or-string`).
    pub int_or_string: bool,
    /// How a list is merged.
    pub list_type: ListType,
    /// The fields that tell a list's elements apart.
    pub list_keys: Vec<String>,
    /// Whether an object is merged as one value (`x-kubernetes-map-type: atomic`).
    pub atomic: bool,
    /// What else a value must satisfy.
    pub checks: Option<Box<Checks>>,
    /// Rules (`x-kubernetes-validations`).
    pub rules: Vec<Rule>,
    /// Whether there are rules here or below.
    below: bool,
    /// Whether there are Kubernetes objects here or below.
    embeds: bool,
}

/// A pattern, as it is said and compiled: messages have it as the definition has.
#[derive(Debug)]
pub struct Pattern {
    /// As the definition has it.
    pub said: Box<str>,
    /// What texts are matched with.
    pub compiled: Regex,
}

/// OpenAPI's constraints on a value.
#[derive(Debug, Default)]
pub struct Checks {
    /// `date-time`, …
    pub format: Option<String>,
    /// The greatest number, and whether it is excluded.
    pub maximum: Option<(serde_json::Number, bool)>,
    /// The least number, and whether it is excluded.
    pub minimum: Option<(serde_json::Number, bool)>,
    /// What a number is a multiple of.
    pub multiple_of: Option<serde_json::Number>,
    /// Characters of a text, at most.
    pub max_length: Option<u64>,
    /// Characters of a text, at least.
    pub min_length: Option<u64>,
    /// What a text matches.
    pub pattern: Option<Pattern>,
    /// A pattern that is none, and why. No accepted definition has one, but one that was stored by another version can: no text
    /// matches it, as upstream has it.
    pub broken_pattern: Option<String>,
    /// Elements of a list, at most.
    pub max_items: Option<u64>,
    /// Elements of a list, at least.
    pub min_items: Option<u64>,
    /// Whether no two elements are the same.
    pub unique_items: bool,
    /// Fields of an object, at most.
    pub max_properties: Option<u64>,
    /// Fields of an object, at least.
    pub min_properties: Option<u64>,
    /// Fields that must be there.
    pub required: Vec<String>,
    /// The only values allowed; empty for any.
    pub one_of_values: Vec<Value>,
    /// All of these hold.
    pub all_of: Vec<Structural>,
    /// One of these at least holds.
    pub any_of: Vec<Structural>,
    /// Just one of these holds.
    pub one_of: Vec<Structural>,
    /// This does not hold.
    pub not: Option<Structural>,
}

impl Structural {
    /// Compiles a schema. What it says in a wrong way (which a definition that was accepted does not) counts as not said.
    pub fn read(schema: &Value) -> Self {
        let mut read = Self::shape(schema);
        rules::read(&mut read, schema, false);
        read
    }

    /// As [`Structural::read`], without compiling the rules.
    pub fn shape(schema: &Value) -> Self {
        let text = |field: &str| schema.get(field).and_then(Value::as_str).unwrap_or_default();
        let is = |field: &str| schema.get(field).and_then(Value::as_bool).unwrap_or(false);
        let properties = schema.get("properties").and_then(Value::as_object);
        let additional = match schema.get("additionalProperties") {
            Some(Value::Bool(true)) => Additional::Any,
            Some(Value::Bool(false)) => Additional::Refused,
            Some(schema @ Value::Object(_)) => Additional::Of(Box::new(Self::shape(schema))),
            _ => Additional::None,
        };
        let items = schema.get("items").filter(|items| items.is_object());
        let mut read = Self {
            of: Type::read(text("type")),
            nullable: is("nullable"),
            default: schema.get("default").filter(|default| !default.is_null()).cloned(),
            properties: properties.into_iter().flatten().map(|(name, of)| (name.clone(), Self::shape(of))).collect(),
            additional,
            items: items.map(|items| Box::new(Self::shape(items))),
            preserve_unknown: is("x-kubernetes-preserve-unknown-fields"),
            embedded: is("x-kubernetes-embedded-resource"),
            int_or_string: is("x-kubernetes-int-or-string"),
            list_type: match text("x-kubernetes-list-type") {
                "set" => ListType::Set,
                "map" => ListType::Map,
                _ => ListType::Atomic,
            },
            list_keys: texts(schema.get("x-kubernetes-list-map-keys")),
            atomic: text("x-kubernetes-map-type") == "atomic",
            checks: Checks::read(schema),
            rules: Vec::new(),
            below: false,
            embeds: false,
        };
        read.embeds = read.embedded || read.children().any(|child| child.embeds);
        read.below = rules::listed(schema).is_some() || read.children().any(|child| child.below);
        read
    }

    /// Compiles the schema of a kind's whole objects: what every object has is added.
    pub fn root(schema: &Value) -> Self {
        let mut root = Self::shape(schema);
        rules::read(&mut root, schema, true);
        root.of = Type::Object;
        for field in ["apiVersion", "kind"] {
            root.properties.entry(field.to_owned()).or_insert_with(|| Self { of: Type::String, ..Self::default() });
        }
        let metadata = || Self { of: Type::Object, ..Self::default() };
        let metadata = root.properties.entry("metadata".to_owned()).or_insert_with(metadata);
        // Its fields are checked as every kind's are.
        metadata.preserve_unknown = true;
        root
    }

    /// The schema as that of a Kubernetes object of its own.
    #[must_use]
    pub fn as_object(self) -> Self {
        Self { embedded: true, embeds: true, ..self }
    }

    /// The path of a field below a path: `spec.a`, and `labels[x]` for the entry of a map.
    pub fn step(&self, path: &str, name: &str) -> String {
        match (self.properties.contains_key(name), path) {
            (true, "") => name.to_owned(),
            (true, path) => format!("{path}.{name}"),
            (false, path) => format!("{path}[{name}]"),
        }
    }

    /// Whether it says itself what every object has, so that rules know its metadata as it says.
    pub(super) fn says_metadata(&self) -> bool {
        let text = |of: &Self, name: &str| of.properties.get(name).is_some_and(|field| field.of == Type::String);
        let named = |of: &&Self| of.of == Type::Object && text(of, "name") && text(of, "generateName");
        text(self, "kind") && text(self, "apiVersion") && self.properties.get("metadata").as_ref().is_some_and(named)
    }

    /// Whether there are Kubernetes objects here or below.
    pub(super) fn has_embedded(&self) -> bool {
        self.embeds
    }

    /// The schema of a field.
    pub fn field(&self, name: &str) -> Option<&Self> {
        self.properties.get(name).or(match &self.additional {
            Additional::Of(schema) => Some(schema),
            Additional::None | Additional::Any | Additional::Refused => None,
        })
    }
}

impl Structural {
    /// Whether there are rules here or below.
    pub fn has_rules(&self) -> bool {
        self.below
    }

    /// About how many bytes its patterns take, and those of its rules, here and below.
    pub(super) fn patterns(&self) -> usize {
        let checks = self.checks.as_deref();
        let own = checks.and_then(|checks| checks.pattern.as_ref());
        let own = own.and_then(|pattern| pattern_size(&pattern.said).ok()).unwrap_or(0);
        let others = checks.into_iter().flat_map(|checks| {
            [&checks.all_of, &checks.any_of, &checks.one_of].into_iter().flatten().chain(&checks.not)
        });
        let below: usize = self.children().chain(others).map(Self::patterns).sum();
        own + below + self.rules.iter().map(Rule::patterns).sum::<usize>()
    }

    fn children(&self) -> impl Iterator<Item = &Self> {
        let additional = match &self.additional {
            Additional::Of(schema) => Some(schema.as_ref()),
            Additional::None | Additional::Any | Additional::Refused => None,
        };
        self.properties.values().chain(additional).chain(self.items.as_deref())
    }
}

impl Checks {
    fn read(schema: &Value) -> Option<Box<Self>> {
        let count = |field: &str| schema.get(field).and_then(Value::as_u64);
        let number = |field: &str| schema.get(field).and_then(Value::as_number).cloned();
        let is = |field: &str| schema.get(field).and_then(Value::as_bool).unwrap_or(false);
        let text = |field: &str| schema.get(field).and_then(Value::as_str);
        let list = |field: &str| schema.get(field).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
        let all = |field: &str| -> Vec<Structural> { list(field).iter().map(Structural::shape).collect() };
        const ANY: &[&str] = &[
            "format",
            "maximum",
            "minimum",
            "multipleOf",
            "maxLength",
            "minLength",
            "pattern",
            "maxItems",
            "minItems",
            "uniqueItems",
            "maxProperties",
            "minProperties",
            "required",
            "enum",
            "allOf",
            "anyOf",
            "oneOf",
            "not",
        ];
        if !ANY.iter().any(|field| schema.get(*field).is_some()) {
            return None;
        }
        let (pattern, broken_pattern) = match text("pattern").map(|pattern| (pattern, compile_pattern(pattern))) {
            None => (None, None),
            Some((said, Ok(compiled))) => (Some(Pattern { said: said.into(), compiled }), None),
            Some((pattern, Err(why))) => (None, Some(format!("{pattern}, but pattern is invalid: {why}"))),
        };
        Some(Box::new(Self {
            format: text("format").map(str::to_owned),
            maximum: number("maximum").map(|most| (most, is("exclusiveMaximum"))),
            minimum: number("minimum").map(|least| (least, is("exclusiveMinimum"))),
            multiple_of: number("multipleOf"),
            max_length: count("maxLength"),
            min_length: count("minLength"),
            pattern,
            broken_pattern,
            max_items: count("maxItems"),
            min_items: count("minItems"),
            unique_items: is("uniqueItems"),
            max_properties: count("maxProperties"),
            min_properties: count("minProperties"),
            required: texts(schema.get("required")),
            one_of_values: list("enum").to_vec(),
            all_of: all("allOf"),
            any_of: all("anyOf"),
            one_of: all("oneOf"),
            not: schema.get("not").map(Structural::shape),
        }))
    }
}

/// A pattern as schemas write it (RE2), with a bound on what it may cost.
///
/// # Errors
/// Why it is none.
pub fn compile_pattern(pattern: &str) -> Result<Regex, String> {
    cel::pattern::compile(pattern, PATTERN)
}

/// About how many bytes a pattern takes compiled.
///
/// # Errors
/// Why it is none.
pub fn pattern_size(pattern: &str) -> Result<usize, String> {
    cel::pattern::size(pattern, PATTERN)
}

/// Bytes of a compiled pattern, at most.
const PATTERN: usize = 1 << 20;

fn texts(list: Option<&Value>) -> Vec<String> {
    let list = list.and_then(Value::as_array).into_iter().flatten();
    list.filter_map(Value::as_str).map(str::to_owned).collect()
}
