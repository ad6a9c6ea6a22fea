//! Pruning: what the schema does not have goes (apiextensions' `pruning.Prune`).

use serde_json::{Map, Value};

use super::structural::{Additional, Structural};

/// Paths kept of what was unknown: enough to mend a manifest by.
const MOST: usize = 100;

/// What every object has, wherever it stands.
const OWN: &[&str] = &["apiVersion", "kind", "metadata"];

impl Structural {
    /// Takes what the schema does not have out of a whole object; gives the paths of what went.
    pub fn prune(&self, object: &mut Value) -> Vec<String> {
        let mut pruner = Pruner::default();
        match object {
            Value::Object(map) if self.preserve_unknown => pruner.within(self, map, true, ""),
            Value::Object(map) => pruner.map(self, map, true, ""),
            _ => {}
        }
        pruner.gone
    }

    /// Takes what the schema does not have out of a value of it; gives the paths of what went.
    pub fn prune_part(&self, value: &mut Value) -> Vec<String> {
        let mut pruner = Pruner::default();
        pruner.value(self, value, "");
        pruner.gone
    }
}

#[derive(Default)]
struct Pruner {
    gone: Vec<String>,
    /// The schema of what no schema is about: its lists may hold scalars, its objects have no fields.
    unknown: Structural,
}

impl Pruner {
    fn value(&mut self, schema: &Structural, value: &mut Value, path: &str) {
        if schema.preserve_unknown {
            self.kept(schema, value, path);
            return;
        }
        match value {
            Value::Object(map) => self.map(schema, map, schema.embedded, path),
            Value::Array(list) => {
                for (index, value) in list.iter_mut().enumerate() {
                    self.below(schema.items.as_deref(), value, &format!("{path}[{index}]"));
                }
            }
            _ => {}
        }
    }

    /// As [`Pruner::value`] for what may have no schema.
    fn below(&mut self, schema: Option<&Structural>, value: &mut Value, path: &str) {
        if let Some(schema) = schema {
            self.value(schema, value, path);
        } else if value.is_object() || value.is_array() {
            let unknown = std::mem::take(&mut self.unknown);
            self.value(&unknown, value, path);
            self.unknown = unknown;
        }
    }

    fn map(&mut self, schema: &Structural, map: &mut Map<String, Value>, whole: bool, path: &str) {
        map.retain(|name, value| {
            if whole && OWN.contains(&name.as_str()) {
                return true;
            }
            let here = join(path, name);
            let kept = schema.field(name).is_some() || !matches!(schema.additional, Additional::None);
            if kept {
                self.below(schema.field(name), value, &here);
            } else if self.gone.len() < MOST && !(path.is_empty() && OWN.contains(&name.as_str())) {
                // What says what the whole thing is, is not told of.
                self.gone.push(here);
            }
            kept
        });
    }

    /// What no schema names stays, with all that is in it; what one names is pruned by that.
    fn kept(&mut self, schema: &Structural, value: &mut Value, path: &str) {
        match value {
            Value::Object(map) => self.within(schema, map, schema.embedded, path),
            Value::Array(list) => {
                let Some(items) = &schema.items else { return };
                for (index, value) in list.iter_mut().enumerate() {
                    self.kept(items, value, &format!("{path}[{index}]"));
                }
            }
            _ => {}
        }
    }

    fn within(&mut self, schema: &Structural, map: &mut Map<String, Value>, whole: bool, path: &str) {
        for (name, value) in map {
            if whole && OWN.contains(&name.as_str()) {
                continue;
            }
            if schema.field(name).is_some() || !matches!(schema.additional, Additional::None) {
                self.below(schema.field(name), value, &join(path, name));
            }
        }
    }
}

fn join(path: &str, name: &str) -> String {
    if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") }
}
