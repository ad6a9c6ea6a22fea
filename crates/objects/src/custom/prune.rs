//! Pruning: what the schema does not have goes.

use serde_json::{Map, Value};

use super::structural::{Additional, Structural};

/// Paths kept of what was unknown: enough to mend a manifest by.
const MOST: usize = 100;

/// What every object has, wherever it stands.
const OWN: &[&str] = &["apiVersion", "kind", "metadata"];

impl Structural {
    /// Takes what the schema does not have out of a whole object; gives the paths of what went.
    pub fn prune(&self, object: &mut Value) -> Vec<String> {
        let mut gone = Vec::new();
        if let Value::Object(map) = object {
            self.prune_map(map, true, "", &mut gone);
        }
        gone
    }

    /// Takes what the schema does not have out of a value of it; gives the paths of what went.
    pub fn prune_part(&self, value: &mut Value) -> Vec<String> {
        let mut gone = Vec::new();
        self.prune_value(value, "", &mut gone);
        gone
    }

    fn prune_value(&self, value: &mut Value, path: &str, gone: &mut Vec<String>) {
        match value {
            Value::Object(map) => self.prune_map(map, self.embedded, path, gone),
            Value::Array(list) => {
                let Some(items) = &self.items else { return };
                for (index, value) in list.iter_mut().enumerate() {
                    items.prune_value(value, &format!("{path}[{index}]"), gone);
                }
            }
            _ => {}
        }
    }

    fn prune_map(&self, map: &mut Map<String, Value>, whole: bool, path: &str, gone: &mut Vec<String>) {
        let keeps = self.preserve_unknown || matches!(self.additional, Additional::Any);
        map.retain(|name, value| {
            if whole && OWN.contains(&name.as_str()) {
                return true;
            }
            let here = || if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
            if let Some(schema) = self.field(name) {
                schema.prune_value(value, &here(), gone);
                return true;
            }
            if !keeps && gone.len() < MOST {
                gone.push(here());
            }
            keeps
        });
    }
}
