//! Reading JSON (or YAML) without losing sight of fields that are there twice.

use std::{cell::RefCell, fmt};

use serde::de::{DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

/// A value as it was read.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Strict {
    /// The value; of a field that is there twice, the last one.
    pub value: Value,
    /// Paths of the fields that are there more than once, such as `spec.replicas`.
    pub duplicates: Vec<String>,
}

/// Reads one value from any self-describing format.
///
/// # Errors
/// The format's own.
pub fn parse<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Strict, D::Error> {
    let found = RefCell::new(Vec::new());
    let value = Seed { path: String::new(), found: &found }.deserialize(deserializer)?;
    Ok(Strict { value, duplicates: found.into_inner() })
}

/// Paths kept of duplicated fields: enough to mend a manifest by.
const MOST: usize = 100;

struct Seed<'a> {
    path: String,
    found: &'a RefCell<Vec<String>>,
}

impl<'de> DeserializeSeed<'de> for Seed<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Seed<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(Number::from_f64(value).map_or(Value::Null, Value::Number))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_none<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut sequence: A) -> Result<Value, A::Error> {
        let mut list = Vec::new();
        loop {
            let path = format!("{}[{}]", self.path, list.len());
            match sequence.next_element_seed(Seed { path, found: self.found })? {
                Some(value) => list.push(value),
                None => return Ok(Value::Array(list)),
            }
        }
    }

    fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<Value, A::Error> {
        let mut map = Map::new();
        while let Some(name) = fields.next_key::<String>()? {
            let path = if self.path.is_empty() { name.clone() } else { format!("{}.{name}", self.path) };
            let value = fields.next_value_seed(Seed { path: path.clone(), found: self.found })?;
            if map.insert(name, value).is_some() {
                let mut found = self.found.borrow_mut();
                if found.len() < MOST && !found.contains(&path) {
                    found.push(path);
                }
            }
        }
        Ok(Value::Object(map))
    }
}
