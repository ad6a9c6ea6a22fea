//! Defaulting: what nobody said is filled in, and null goes where it is no value.

use serde_json::Value;

use super::structural::{Additional, Structural};

impl Structural {
    /// Fills in what is not said. A null where none is allowed counts as not said.
    pub fn fill(&self, value: &mut Value) {
        match value {
            Value::Object(map) => {
                for (name, schema) in &self.properties {
                    let absent = map.get(name).is_none_or(|value| value.is_null() && !schema.nullable);
                    if let (true, Some(default)) = (absent, &schema.default) {
                        map.insert(name.clone(), default.clone());
                    }
                }
                map.retain(|name, value| {
                    let Some(schema) = self.properties.get(name) else {
                        if let Additional::Of(schema) = &self.additional {
                            return schema.default_entry(value);
                        }
                        return true;
                    };
                    schema.default_entry(value)
                });
            }
            Value::Array(list) => {
                let Some(items) = &self.items else { return };
                for value in list {
                    if let (true, Some(default)) = (value.is_null() && !items.nullable, &items.default) {
                        *value = default.clone();
                    }
                    items.fill(value);
                }
            }
            _ => {}
        }
    }

    /// Whether the value of a field stays.
    fn default_entry(&self, value: &mut Value) -> bool {
        if value.is_null() && !self.nullable {
            match &self.default {
                Some(default) => *value = default.clone(),
                None => return false,
            }
        }
        self.fill(value);
        true
    }
}
