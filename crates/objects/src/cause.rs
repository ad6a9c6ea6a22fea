//! What is wrong with an object, in the API's words (`field.Error` of apimachinery).

use serde_json::Value;

/// One thing that is wrong with an object (`metav1.StatusCause`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cause {
    /// `FieldValueRequired`, `FieldValueInvalid`, …
    pub reason: &'static str,
    /// What is wrong.
    pub message: String,
    /// The path of the field.
    pub field: String,
}

impl Cause {
    /// A required field is missing.
    pub fn required(field: impl Into<String>, message: &str) -> Self {
        let message =
            if message.is_empty() { "Required value".to_owned() } else { format!("Required value: {message}") };
        Self { reason: "FieldValueRequired", message, field: field.into() }
    }

    /// A field may not be set, or not be changed.
    pub fn forbidden(field: impl Into<String>, message: &str) -> Self {
        Self { reason: "FieldValueForbidden", message: format!("Forbidden: {message}"), field: field.into() }
    }

    /// A value that must be unique is there twice.
    pub fn duplicate(field: impl Into<String>, value: &Value) -> Self {
        Self { reason: "FieldValueDuplicate", message: format!("Duplicate value: {value}"), field: field.into() }
    }

    /// Something is named that is not there.
    pub fn not_found(field: impl Into<String>, value: &Value) -> Self {
        Self { reason: "FieldValueNotFound", message: format!("Not found: {value}"), field: field.into() }
    }

    /// A value that is none of those there are.
    pub fn not_supported(field: impl Into<String>, value: &Value, supported: &[&str]) -> Self {
        let list: Vec<String> = supported.iter().map(|value| format!("{value:?}")).collect();
        let message = format!("Unsupported value: {value}: supported values: {}", list.join(", "));
        Self { reason: "FieldValueNotSupported", message, field: field.into() }
    }

    /// A field holds what it may not.
    pub fn invalid(field: impl Into<String>, value: &Value, message: &str) -> Self {
        let float = value.as_number().filter(|number| number.is_f64()).and_then(serde_json::Number::as_f64);
        Self::invalid_shown(field, &float.map_or_else(|| value.to_string(), cel::double::text), message)
    }

    /// A field holds what it may not; the value as it is to be shown.
    pub fn invalid_shown(field: impl Into<String>, shown: &str, message: &str) -> Self {
        Self { reason: "FieldValueInvalid", message: format!("Invalid value: {shown}: {message}"), field: field.into() }
    }

    /// A field holds a value of another type.
    pub fn wrong_type(field: impl Into<String>, shown: &str, message: &str) -> Self {
        let message = format!("Invalid value: {shown}: {message}");
        Self { reason: "FieldValueTypeInvalid", message, field: field.into() }
    }

    /// More bytes than a field may have.
    pub fn too_long(field: impl Into<String>, most: usize) -> Self {
        let message = format!("Too long: may not be more than {most} bytes");
        Self { reason: "FieldValueTooLong", message, field: field.into() }
    }

    /// More elements than a list may have.
    pub fn too_many(field: impl Into<String>, found: usize, most: usize) -> Self {
        let message = format!("Too many: {found}: must have at most {most} items");
        Self { reason: "FieldValueTooMany", message, field: field.into() }
    }
}
