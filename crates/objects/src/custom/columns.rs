//! `additionalPrinterColumns`: what `kubectl get` shows of a custom resource.

use serde_json::Value;

use crate::jsonpath::JsonPath;

/// A column.
#[derive(Clone, Debug, PartialEq)]
pub struct Column {
    /// The heading.
    pub name: String,
    /// `integer`, `number`, `string`, `boolean` or `date`.
    pub of: String,
    /// The format of the type, such as `int32` or `password`.
    pub format: String,
    /// What it means; its path, if the definition does not say.
    pub description: String,
    /// Above 0, only `-o wide` shows it.
    pub priority: i64,
    /// Where its value is.
    path: JsonPath,
}

impl Column {
    /// Reads a column of a definition; `None` if its path is none.
    pub(super) fn read(column: &Value) -> Option<Self> {
        let text = |field: &str| column.get(field).and_then(Value::as_str).unwrap_or_default().to_owned();
        let description = match text("description") {
            said if !said.is_empty() => said,
            _ => format!("Custom resource definition column (in JSONPath format): {}", text("jsonPath")),
        };
        Some(Self {
            name: text("name"),
            of: text("type"),
            format: text("format"),
            description,
            priority: column.get("priority").and_then(Value::as_i64).unwrap_or(0),
            path: JsonPath::parse(&text("jsonPath")).ok()?,
        })
    }

    /// What a cell shows of an object: null where there is nothing of the column's type. `age` says how long ago a time was.
    pub fn cell(&self, object: &Value, age: impl FnOnce(&str) -> String) -> Value {
        let Some(value) = self.path.find(object).into_iter().next().filter(|value| !value.is_null()) else {
            return Value::Null;
        };
        match (self.of.as_str(), value) {
            ("integer", Value::Number(number)) => {
                #[allow(clippy::cast_possible_truncation, reason = "a column of whole numbers cuts fractions off")]
                let whole = number.as_i64().or_else(|| number.as_f64().map(|float| float as i64));
                whole.into()
            }
            ("number", Value::Number(_)) | ("boolean", Value::Bool(_)) => value.clone(),
            ("string", Value::String(_)) => value.clone(),
            ("string", value) => value.to_string().into(),
            ("date", Value::String(time)) if time.parse::<jiff::Timestamp>().is_ok() => age(time).into(),
            ("date", Value::String(_)) => "<invalid>".into(),
            _ => Value::Null,
        }
    }
}
