//! Whether an object fits its schema, said as server-side apply says it.

use std::{collections::BTreeSet, fmt};

use serde_json::Value;

use super::{
    element::Element,
    shape::{Form, ListShape, MapShape, Scalar, Shape},
};

/// Everything that does not fit, as paths and messages.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TypeError(Vec<(String, String)>);

/// At most so many are said of one object.
const MOST: usize = 100;

impl TypeError {
    /// One mistake, at the value that is looked at.
    pub(super) fn here(message: String) -> Self {
        Self(vec![(String::new(), message)])
    }

    /// The same mistakes, seen from one step above.
    pub(super) fn below(mut self, step: &Element) -> Self {
        for (path, _) in &mut self.0 {
            path.insert_str(0, &step.to_string());
        }
        self
    }
}

impl fmt::Display for TypeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let one = |(path, message): &(String, String)| {
            if path.is_empty() { message.clone() } else { format!("{path}: {message}") }
        };
        match self.0.as_slice() {
            [only] => f.write_str(&one(only)),
            all => {
                f.write_str("errors:")?;
                all.iter().try_for_each(|error| write!(f, "\n  {}", one(error)))
            }
        }
    }
}

impl std::error::Error for TypeError {}

/// Checks an object: no fields that the schema does not have, values of the right type, and keys that tell elements apart.
///
/// # Errors
/// What does not fit.
pub fn validate(shape: Shape<'_>, object: &Value, duplicates: bool) -> Result<(), TypeError> {
    let mut check = Check { duplicates, found: Vec::new(), path: Vec::new() };
    check.value(shape, object);
    if check.found.is_empty() { Ok(()) } else { Err(TypeError(check.found)) }
}

struct Check {
    /// Whether elements may be there twice.
    duplicates: bool,
    found: Vec<(String, String)>,
    path: Vec<Element>,
}

impl Check {
    fn wrong(&mut self, message: String) {
        if self.found.len() < MOST {
            self.found.push((super::path_text(&self.path), message));
        }
    }

    fn value(&mut self, shape: Shape<'_>, value: &Value) {
        match (shape.form(Some(value)), value) {
            (None, _) | (_, Value::Null) => {}
            (Some(Form::Map(map)), Value::Object(fields)) => self.map(shape, map, fields),
            (Some(Form::List(list)), Value::Array(elements)) => self.list(shape, list, elements),
            (Some(Form::Map(_)), other) => self.wrong(format!("expected map, got &{{{}}}", shown(other))),
            (Some(Form::List(_)), other) => self.wrong(format!("expected list, got &{{{}}}", shown(other))),
            (Some(Form::Scalar(scalar)), value) => self.scalar(scalar, value),
        }
    }

    fn scalar(&mut self, scalar: Scalar, value: &Value) {
        match (scalar, value) {
            (Scalar::Number, Value::Number(_)) | (Scalar::Text, Value::String(_)) | (Scalar::Bool, Value::Bool(_)) => {}
            (Scalar::Any, Value::Number(_) | Value::String(_) | Value::Bool(_)) => {}
            (Scalar::Number, other) => {
                self.wrong(format!("expected numeric (int or float), got {}", go_type(other)));
            }
            (Scalar::Text, other) => {
                self.wrong(format!("expected string, got &value.valueUnstructured{{Value:{}}}", shown(other)));
            }
            (Scalar::Bool, other) => self.wrong(format!("expected boolean, got &{{{}}}", shown(other))),
            (Scalar::Any, other) => self.wrong(format!("expected any scalar, got &{{{}}}", shown(other))),
        }
    }

    fn map(&mut self, shape: Shape<'_>, map: &MapShape, fields: &serde_json::Map<String, Value>) {
        for (name, value) in fields {
            self.path.push(Element::field(name));
            match map.of(name) {
                Some(of) => self.value(shape.to(of), value),
                None => self.wrong("field not declared in schema".to_owned()),
            }
            self.path.pop();
        }
    }

    fn list(&mut self, shape: Shape<'_>, list: &ListShape, elements: &[Value]) {
        let mut seen = BTreeSet::new();
        for (at, element) in elements.iter().enumerate() {
            let step = if list.associative {
                match list.step(shape, element) {
                    Ok(step) => step,
                    Err(error) => return self.wrong(format!("element {at}: {error}")),
                }
            } else {
                Element::Index(i64::try_from(at).unwrap_or(i64::MAX))
            };
            if list.associative && !seen.insert(step.clone()) && !self.duplicates {
                self.wrong(format!("duplicate entries for key {step}"));
            }
            self.path.push(step);
            self.value(shape.to(list.element), element);
            self.path.pop();
        }
    }
}

/// A value in a message, without the quotes of texts.
fn shown(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

fn go_type(value: &Value) -> &'static str {
    match value {
        Value::String(_) => "string",
        Value::Bool(_) => "bool",
        Value::Array(_) => "[]interface {}",
        Value::Object(_) => "map[string]interface {}",
        Value::Number(_) => "int64",
        Value::Null => "<nil>",
    }
}
