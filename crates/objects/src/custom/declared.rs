//! What rules know of a schema's values: their type, and how large they can be (`apiserver/pkg/cel/common`, `SchemaDeclType`).

use std::{collections::BTreeMap, sync::Arc};

use cel::{Bounds, ObjectType, Type as CelType};

use super::structural::{Additional, Structural, Type};

/// Bytes of the largest request, by which the size of what a schema does not limit is estimated.
pub(super) const REQUEST: u64 = 3 * 1024 * 1024;
/// Characters of a name of an object.
const NAME: u64 = 253;

/// A schema as rules know it. What has no type is not known to them, nor is a list or a map of it.
#[derive(Clone, Debug)]
pub(super) struct Declared {
    pub(super) of: CelType,
    pub(super) bounds: Arc<Bounds>,
    /// Bytes that the least value has in JSON.
    pub(super) least: u64,
    /// The fields of an object, by their own names.
    fields: BTreeMap<String, Arc<Declared>>,
    /// The elements of a list, or the values of a map.
    elements: Option<Arc<Declared>>,
}

impl Declared {
    /// What rules know of a schema. A `whole` object has a name and a kind.
    pub(super) fn new(schema: &Structural, whole: bool) -> Option<Self> {
        let checks = schema.checks.as_deref();
        let longest = checks.and_then(|checks| checks.max_length);
        // A character can have four bytes.
        let characters = longest.map(|most| most.saturating_mul(4));
        if schema.int_or_string {
            return Some(Self::simple(CelType::Dyn, characters.unwrap_or(REQUEST - 2), 1));
        }
        match schema.of {
            Type::Any => None,
            Type::Boolean => Some(Self::simple(CelType::Bool, 0, 4)),
            Type::Integer => Some(Self::simple(CelType::Int, 0, 1)),
            Type::Number => Some(Self::simple(CelType::Double, 0, 1)),
            Type::String => Some(match checks.and_then(|checks| checks.format.as_deref()) {
                Some("byte") => Self::simple(CelType::Bytes, longest.unwrap_or(REQUEST - 2), 2),
                Some("duration") => Self::simple(CelType::Duration, 32, 3),
                Some("date") => Self::simple(CelType::Timestamp, 12, 12),
                Some("date-time") => Self::simple(CelType::Timestamp, 32, 21),
                _ => {
                    let values = checks.map(|checks| checks.one_of_values.as_slice()).unwrap_or_default();
                    let longest_value = values.iter().map(|value| value.as_str().map_or(0, str::len) as u64).max();
                    Self::simple(CelType::Text, characters.or(longest_value).unwrap_or(REQUEST - 2), 2)
                }
            }),
            Type::Array => {
                let elements = Self::new(schema.items.as_deref()?, false)?;
                let most = checks.and_then(|checks| checks.max_items);
                let most = most.unwrap_or((REQUEST - 2) / elements.least.saturating_add(1));
                let of = CelType::List(Arc::new(elements.of.clone()));
                Some(Self::of_elements(of, elements, most, None))
            }
            Type::Object => match &schema.additional {
                Additional::Of(values) => {
                    let values = Self::new(values, false)?;
                    let most = checks.and_then(|checks| checks.max_properties);
                    let most = most.unwrap_or((REQUEST - 2) / values.least.saturating_add(6));
                    let of = CelType::Map(Arc::new(CelType::Text), Arc::new(values.of.clone()));
                    // Upstream reckons with keys of no length.
                    Some(Self::of_elements(of, values, most, Some(Arc::default())))
                }
                Additional::None | Additional::Any | Additional::Refused => {
                    Some(Self::object(schema, whole || schema.embedded))
                }
            },
        }
    }

    fn simple(of: CelType, most: u64, least: u64) -> Self {
        let bounds = Arc::new(Bounds { most, ..Bounds::default() });
        Self { of, bounds, least, fields: BTreeMap::new(), elements: None }
    }

    fn of_elements(of: CelType, elements: Self, most: u64, keys: Option<Arc<Bounds>>) -> Self {
        let inner = Some(elements.bounds.clone());
        let bounds = Arc::new(Bounds { most, keys, elements: inner, fields: BTreeMap::new() });
        Self { of, bounds, least: 2, fields: BTreeMap::new(), elements: Some(Arc::new(elements)) }
    }

    fn object(schema: &Structural, whole: bool) -> Self {
        let known = |(name, of): (&String, &Structural)| Some((name.clone(), Arc::new(Self::new(of, false)?)));
        let mut fields: BTreeMap<String, Arc<Self>> = schema.properties.iter().filter_map(known).collect();
        if whole && !schema.says_metadata() {
            let text = || Arc::new(Self::simple(CelType::Text, REQUEST - 2, 2));
            fields.insert("apiVersion".to_owned(), text());
            fields.insert("kind".to_owned(), text());
            fields.insert("metadata".to_owned(), Arc::new(metadata(schema.properties.get("metadata"))));
        }
        let required = schema.checks.as_ref().map(|checks| checks.required.as_slice()).unwrap_or_default();
        let needed = |name: &String| {
            let has_default = schema.properties.get(name).is_some_and(|of| of.default.is_some());
            fields.get(name).filter(|_| !has_default).map_or(0, |of| of.least.saturating_add(name.len() as u64 + 4))
        };
        let least = required.iter().map(needed).fold(2, u64::saturating_add);
        Self { least, ..Self::of_fields(fields) }
    }

    fn of_fields(fields: BTreeMap<String, Arc<Self>>) -> Self {
        let named = || fields.iter().filter_map(|(name, of)| Some((escape(name)?, of)));
        let types = named().map(|(name, of)| (name, of.of.clone())).collect();
        let of = CelType::Object(Arc::new(ObjectType { name: "object".to_owned(), fields: types }));
        let inner = named().map(|(name, of)| (name, of.bounds.clone())).collect();
        let bounds = Arc::new(Bounds { fields: inner, ..Bounds::default() });
        Self { of, bounds, least: 2, fields, elements: None }
    }

    /// A field of an object.
    pub(super) fn field(&self, name: &str) -> Option<&Arc<Self>> {
        self.fields.get(name)
    }

    /// The elements of a list, or the values of a map.
    pub(super) fn elements(&self) -> Option<&Arc<Self>> {
        self.elements.as_ref()
    }

    /// How often a value can be in one request at most.
    pub(super) fn cardinality(&self) -> u64 {
        REQUEST / self.least.saturating_add(1)
    }
}

/// What rules know of an object's metadata: its name.
fn metadata(schema: Option<&Structural>) -> Declared {
    let text = |name: &str, most: u64| {
        let own = schema.and_then(|schema| schema.properties.get(name)?.checks.as_ref()?.max_length);
        (name.to_owned(), Arc::new(Declared::simple(CelType::Text, own.unwrap_or(most).min(most) * 4, 2)))
    };
    Declared::of_fields([text("name", NAME), text("generateName", NAME - 1)].into())
}

/// A field's name as expressions write it; `None` if they cannot.
pub(super) fn escape(name: &str) -> Option<String> {
    if cel::is_reserved(name) {
        return Some(format!("__{name}__"));
    }
    let letter = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-' | '/');
    if name.is_empty() || name.starts_with(|c: char| c.is_ascii_digit()) || !name.chars().all(letter) {
        return None;
    }
    let escaped = name.replace("__", "__underscores__");
    Some(escaped.replace('.', "__dot__").replace('-', "__dash__").replace('/', "__slash__"))
}
