//! Validation against a schema, in the words of upstream's validator (kube-openapi's `validate`, and how the API server turns its
//! errors into causes).

use serde_json::{Number, Value};

use super::{
    earlier::{Earlier, same},
    formats,
    lists::canonical,
    structural::{Additional, Checks, Structural, Type},
};
use crate::cause::Cause;

/// Causes of one object, past which nobody reads on.
const MOST: usize = 1000;

impl Structural {
    /// Everything about an object that does not fit. `old` is what it was: what did not change since is not held against it
    /// (validation ratcheting).
    pub fn validate(&self, object: &Value, old: Option<&Value>) -> Vec<Cause> {
        let mut check = Check::default();
        check.value(self, object, old, "");
        check.causes
    }
}

#[derive(Default)]
struct Check {
    causes: Vec<Cause>,
}

/// The type of a value, as messages name it.
fn found(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(number) if is_whole(number) => "integer",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

fn is_whole(number: &Number) -> bool {
    !number.is_f64() || number.as_f64().is_some_and(|float| float.fract() == 0.0 && float.abs() < 9e15)
}

fn fits(of: Type, value: &Value) -> bool {
    match (of, value) {
        (Type::Any, _)
        | (Type::Object, Value::Object(_))
        | (Type::Array, Value::Array(_))
        | (Type::String, Value::String(_))
        | (Type::Number, Value::Number(_))
        | (Type::Boolean, Value::Bool(_)) => true,
        (Type::Integer, Value::Number(number)) => is_whole(number),
        _ => false,
    }
}

impl Check {
    fn add(&mut self, cause: Cause) {
        if self.causes.len() < MOST {
            self.causes.push(cause);
        }
    }

    /// A cause whose message names the field itself, as upstream's do.
    fn wrong(&mut self, path: &str, value: &Value, why: &str) {
        self.add(Cause::invalid(path, value, &in_body(path, why)));
    }

    fn value(&mut self, schema: &Structural, value: &Value, old: Option<&Value>, path: &str) {
        if old.is_some_and(|old| same(schema, old, value)) {
            return;
        }
        if value.is_null() && schema.nullable {
            return;
        }
        if schema.int_or_string {
            if !matches!(value, Value::String(_)) && !fits(Type::Integer, value) {
                self.wrong_type(path, "integer,string", value);
                return;
            }
        } else if !fits(schema.of, value) {
            self.wrong_type(path, schema.of.name(), value);
            return;
        }
        if let Some(checks) = &schema.checks {
            self.combined(checks, value, path);
            self.scalar(checks, schema.of, value, path);
        }
        match value {
            Value::Object(map) => {
                for (name, value) in map {
                    let old = old.and_then(|old| old.get(name));
                    let join = |separator: &str| {
                        if path.is_empty() { name.clone() } else { format!("{path}{separator}{name}") }
                    };
                    match (schema.properties.get(name), &schema.additional) {
                        (Some(below), _) => self.value(below, value, old, &join(".")),
                        (None, Additional::Of(below)) => self.value(below, value, old, &join(".")),
                        (None, Additional::Refused) => {
                            let why = in_body(&join("."), "is a forbidden property");
                            self.add(Cause::invalid(named(path), &"".into(), &why));
                        }
                        (None, Additional::None | Additional::Any) => {}
                    }
                }
            }
            Value::Array(list) => {
                let Some(items) = &schema.items else { return };
                let earlier = Earlier::of(schema, old);
                for (index, value) in list.iter().enumerate() {
                    self.value(items, value, earlier.element(schema, value), &format!("{path}[{index}]"));
                }
            }
            _ => {}
        }
    }

    fn wrong_type(&mut self, path: &str, wanted: &str, value: &Value) {
        let found = found(value);
        let why = in_body(path, &format!("must be of type {wanted}: {found:?}"));
        self.add(Cause::wrong_type(named(path), &format!("{found:?}"), &why));
    }

    fn combined(&mut self, checks: &Checks, value: &Value, path: &str) {
        let attempt = |schema: &Structural| {
            let mut check = Self::default();
            check.value(schema, value, None, path);
            check.causes
        };
        for schema in &checks.all_of {
            let causes = attempt(schema);
            causes.into_iter().for_each(|cause| self.add(cause));
        }
        if !checks.any_of.is_empty() {
            let attempts: Vec<_> = checks.any_of.iter().map(attempt).collect();
            if attempts.iter().all(|causes| !causes.is_empty()) {
                self.unplaced(&format!("{path:?} must validate at least one schema (anyOf)"));
                self.nearest(attempts);
            }
        }
        if !checks.one_of.is_empty() {
            let attempts: Vec<_> = checks.one_of.iter().map(attempt).collect();
            match attempts.iter().filter(|causes| causes.is_empty()).count() {
                1 => {}
                0 => {
                    self.unplaced(&format!("{path:?} must validate one and only one schema (oneOf). Found none valid"));
                    self.nearest(attempts);
                }
                many => self.unplaced(&format!(
                    "{path:?} must validate one and only one schema (oneOf). Found {many} valid alternatives"
                )),
            }
        }
        if let Some(not) = &checks.not
            && attempt(not).is_empty()
        {
            self.unplaced(&format!("{path:?} must not validate the schema (not)"));
        }
    }

    /// Of alternatives that all failed, what the one says that came closest.
    fn nearest(&mut self, attempts: Vec<Vec<Cause>>) {
        let nearest = attempts.into_iter().min_by_key(Vec::len).unwrap_or_default();
        nearest.into_iter().for_each(|cause| self.add(cause));
    }

    fn unplaced(&mut self, why: &str) {
        self.add(Cause::invalid_shown("<nil>", "\"\"", why));
    }

    fn scalar(&mut self, checks: &Checks, of: Type, value: &Value, path: &str) {
        match value {
            Value::String(text) => self.text(checks, text, value, path),
            Value::Number(number) => self.number(checks, of, number, value, path),
            Value::Array(list) => self.list(checks, list, value, path),
            Value::Object(map) => self.object(checks, map, value, path),
            Value::Null | Value::Bool(_) => {}
        }
        let allowed = &checks.one_of_values;
        if !allowed.is_empty() && !allowed.iter().any(|allowed| canonical(allowed) == canonical(value)) {
            let allowed: Vec<String> =
                allowed.iter().map(|value| value.as_str().map_or_else(|| value.to_string(), str::to_owned)).collect();
            let allowed: Vec<&str> = allowed.iter().map(String::as_str).collect();
            self.add(Cause::not_supported(named(path), value, &allowed));
        }
    }

    fn text(&mut self, checks: &Checks, text: &str, value: &Value, path: &str) {
        let length = text.chars().count() as u64;
        if let Some(most) = checks.max_length.filter(|most| length > *most) {
            self.add(Cause::too_long(named(path), usize::try_from(most).unwrap_or(usize::MAX)));
        }
        if let Some(least) = checks.min_length.filter(|least| length < *least) {
            self.wrong(path, value, &format!("should be at least {least} chars long"));
        }
        if let Some(pattern) = checks.pattern.as_ref().filter(|pattern| !pattern.compiled.is_match(text)) {
            self.wrong(path, value, &format!("should match '{}'", pattern.said));
        }
        if let Some(broken) = &checks.broken_pattern {
            self.wrong(path, value, &format!("should match '{broken}'"));
        }
        if let Some(format) = &checks.format
            && !formats::matches(format, text)
        {
            let why = in_body(path, &format!("must be of type {format}: {text:?}"));
            self.add(Cause::wrong_type(named(path), &value.to_string(), &why));
        }
    }

    fn number(&mut self, checks: &Checks, of: Type, number: &Number, value: &Value, path: &str) {
        use std::cmp::Ordering::{Greater, Less};
        if let Some((most, excluded)) = &checks.maximum {
            let order = compare(number, most);
            if order == Greater || *excluded && order != Less {
                let than = if *excluded { "less than" } else { "less than or equal to" };
                self.wrong(path, value, &format!("should be {than} {}", shown(most)));
            }
        }
        if let Some((least, excluded)) = &checks.minimum {
            let order = compare(number, least);
            if order == Less || *excluded && order != Greater {
                let than = if *excluded { "greater than" } else { "greater than or equal to" };
                self.wrong(path, value, &format!("should be {than} {}", shown(least)));
            }
        }
        if let Some(factor) = &checks.multiple_of
            && !is_multiple(number, factor)
        {
            self.wrong(path, value, &format!("should be a multiple of {}", shown(factor)));
        }
        if of == Type::Integer
            && checks.format.as_deref() == Some("int32")
            && number.as_i64().is_none_or(|number| i32::try_from(number).is_err())
        {
            let why = "Checked value must be of type integer with format int32";
            self.add(Cause::invalid_shown("<nil>", "\"\"", &format!("{why} in {path}")));
        }
    }

    fn list(&mut self, checks: &Checks, list: &[Value], value: &Value, path: &str) {
        let length = list.len() as u64;
        if let Some(most) = checks.max_items.filter(|most| length > *most) {
            self.add(Cause::too_many(named(path), list.len(), usize::try_from(most).unwrap_or(usize::MAX)));
        }
        if let Some(least) = checks.min_items.filter(|least| length < *least) {
            self.wrong(path, value, &format!("should have at least {least} items"));
        }
        if checks.unique_items {
            let mut seen = std::collections::HashSet::new();
            if !list.iter().all(|value| seen.insert(canonical(value))) {
                self.wrong(path, value, "shouldn't contain duplicates");
            }
        }
    }

    fn object(&mut self, checks: &Checks, map: &serde_json::Map<String, Value>, value: &Value, path: &str) {
        let length = map.len() as u64;
        if let Some(most) = checks.max_properties.filter(|most| length > *most) {
            self.add(Cause::too_many(named(path), map.len(), usize::try_from(most).unwrap_or(usize::MAX)));
        }
        if let Some(least) = checks.min_properties.filter(|least| length < *least) {
            self.wrong(path, value, &format!("should have at least {least} properties"));
        }
        for name in checks.required.iter().filter(|name| !map.contains_key(*name)) {
            let here = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
            self.add(Cause::required(here, ""));
        }
    }
}

fn in_body(path: &str, why: &str) -> String {
    if path.is_empty() { why.to_owned() } else { format!("{path} in body {why}") }
}

/// The field of a cause; the object itself has none.
fn named(path: &str) -> &str {
    if path.is_empty() { "<nil>" } else { path }
}

fn compare(a: &Number, b: &Number) -> std::cmp::Ordering {
    match (a.as_i128(), b.as_i128()) {
        (Some(a), Some(b)) => a.cmp(&b),
        _ => a.as_f64().unwrap_or(0.0).total_cmp(&b.as_f64().unwrap_or(0.0)),
    }
}

/// A bound as upstream shows it: bounds are floats there.
fn shown(bound: &Number) -> String {
    bound.as_f64().map_or_else(|| bound.to_string(), cel::double::text)
}

fn is_multiple(number: &Number, factor: &Number) -> bool {
    match (number.as_i128(), factor.as_i128()) {
        (Some(number), Some(factor)) if factor != 0 => number % factor == 0,
        _ => {
            let times = number.as_f64().unwrap_or(0.0) / factor.as_f64().unwrap_or(1.0);
            (times - times.round()).abs() < 1e-9
        }
    }
}
