//! An object against its kind's types: what is unknown, what is of the wrong type, what is missing.

use serde_json::Value;

use super::{
    compile::{Compiled, Struct, Type},
    definitions,
};
use crate::quantity::Quantity;

/// What was found in an object that could be read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Conformed {
    /// Paths of fields that the kind does not have, such as `spec.template.spec.containers[0].imag`; they were removed.
    pub unknown: Vec<String>,
    /// Paths of fields that must be there and are not (kinds that upstream has as custom resources).
    pub missing: Vec<String>,
}

/// A value that its field cannot hold.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{go}")]
pub struct WrongType {
    /// What Go's decoder says, which is how the API says it of built-in kinds.
    pub go: String,
    /// The path, with the indices of lists.
    pub path: String,
    /// The JSON type wanted: `object`, `array`, `string`, `integer`, `number` or `boolean`.
    pub expected: &'static str,
    /// The JSON type found.
    pub found: &'static str,
}

/// Brings an object into the form that its types have: unknown fields, nulls, and empty lists and maps of built-in kinds go;
/// quantities become canonical text (`0.5` is `500m`). Does nothing for kinds without a schema.
///
/// # Errors
/// The first value that is of the wrong type; the object may then be half changed.
pub fn conform(group: &str, version: &str, kind: &str, object: &mut Value) -> Result<Conformed, WrongType> {
    let Some(group) = definitions::group(group, version) else { return Ok(Conformed::default()) };
    let types = group.compiled.get_or_init(|| Compiled::of(group));
    let Some(root) = types.roots.get(kind) else { return Ok(Conformed::default()) };
    let mut check = Check { types, found: Conformed::default(), custom: group.is_custom() };
    check.value(&Type::Struct(*root), object, &Path::Root, None)?;
    Ok(check.found)
}

/// Where a value stands. Each step lives on the stack of the walk.
enum Path<'a> {
    Root,
    Field(&'a Path<'a>, &'a str),
    Key(&'a Path<'a>, &'a str),
    Index(&'a Path<'a>, usize),
}

impl Path<'_> {
    /// `spec.containers[0].name`; Go's decoder leaves indices and the keys of maps out.
    fn text(&self, go: bool) -> String {
        let join =
            |parent: String, name: &str| if parent.is_empty() { name.to_owned() } else { format!("{parent}.{name}") };
        match self {
            Self::Root => String::new(),
            Self::Field(parent, name) => join(parent.text(go), name),
            Self::Key(parent, _) | Self::Index(parent, _) if go => parent.text(go),
            Self::Key(parent, name) => join(parent.text(go), name),
            Self::Index(parent, index) => format!("{}[{index}]", parent.text(go)),
        }
    }
}

struct Check<'t> {
    types: &'t Compiled,
    found: Conformed,
    custom: bool,
}

impl Check<'_> {
    /// `within` is the innermost struct, which Go's decoder names.
    fn value(&mut self, of: &Type, value: &mut Value, path: &Path<'_>, within: Option<&str>) -> Result<(), WrongType> {
        let types = self.types;
        match (of, value) {
            (Type::Any, _) => Ok(()),
            (Type::Struct(at), Value::Object(map)) => {
                let Some(of) = types.structs.get(*at) else { return Ok(()) };
                self.fields(of, map, path)
            }
            (Type::Map(of), Value::Object(map)) => {
                for (key, value) in map {
                    if value.is_null() {
                        *value = zero(of);
                    }
                    self.value(of, value, &Path::Key(path, key), within)?;
                }
                Ok(())
            }
            (Type::List(of), Value::Array(list)) => {
                for (index, value) in list.iter_mut().enumerate() {
                    if value.is_null() {
                        *value = zero(of);
                    }
                    self.value(of, value, &Path::Index(path, index), within)?;
                }
                Ok(())
            }
            (Type::Either(choices), value) => {
                let chosen = choices.iter().find(|of| is_of_form(of, value)).or(choices.first());
                chosen.map_or(Ok(()), |of| self.value(of, value, path, within))
            }
            (of, value) => self.scalar(of, value, path, within),
        }
    }

    fn fields(
        &mut self,
        of: &Struct,
        map: &mut serde_json::Map<String, Value>,
        path: &Path<'_>,
    ) -> Result<(), WrongType> {
        let mut outcome = Ok(());
        map.retain(|name, value| {
            if outcome.is_err() {
                return true;
            }
            let here = Path::Field(path, name);
            let Ok(at) = of.fields.binary_search_by(|(field, _)| field.as_ref().cmp(name)) else {
                self.found.unknown.push(here.text(false));
                return false;
            };
            // Go leaves a field that is null as if it were absent.
            if value.is_null() {
                return false;
            }
            if let Some((_, of_field)) = of.fields.get(at) {
                outcome = self.value(of_field, value, &here, Some(&of.name));
                // An empty list of managers is no list that is not there: it resets them.
                let says = of.custom || !is_empty(of_field, value) || name == "managedFields";
                return says || of.required.iter().any(|field| **field == **name);
            }
            true
        });
        let missing = of.required.iter().filter(|name| of.custom && !map.contains_key(name.as_ref()));
        self.found.missing.extend(missing.map(|name| Path::Field(path, name).text(false)));
        outcome
    }

    fn scalar(&self, of: &Type, value: &mut Value, path: &Path<'_>, within: Option<&str>) -> Result<(), WrongType> {
        let wrong = |go: String| Err(self.wrong(of, value, path, go));
        match (of, &*value) {
            (Type::Text, Value::String(_)) | (Type::Bool, Value::Bool(_)) | (Type::Number, Value::Number(_)) => Ok(()),
            (Type::Integer(64), Value::Number(number)) if number.is_i64() => Ok(()),
            (Type::Integer(_) | Type::IntOrString, Value::Number(number)) if fits(number) => Ok(()),
            (Type::IntOrString, Value::String(_)) => Ok(()),
            (Type::Time | Type::MicroTime, Value::String(text)) if is_time(text) => {
                // Custom resources keep their times as they were sent.
                if let Some(canonical) = canonical(of, text).filter(|_| !self.custom) {
                    *value = canonical.into();
                }
                Ok(())
            }
            (Type::Time | Type::MicroTime, Value::String(text)) => wrong(format!(
                "parsing time {text:?} as \"2006-01-02T15:04:05Z07:00\": cannot parse {text:?} as \"2006\""
            )),
            (Type::Bytes, Value::String(text)) => match first_not_base64(text) {
                None => Ok(()),
                Some(at) => wrong(format!("illegal base64 data at input byte {at}")),
            },
            (Type::Quantity, Value::String(_) | Value::Number(_)) => {
                let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
                match text.parse::<Quantity>() {
                    Ok(quantity) => {
                        *value = quantity.to_string().into();
                        Ok(())
                    }
                    Err(error) => wrong(error.to_string()),
                }
            }
            (Type::Quantity, _) => wrong(
                "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'".into(),
            ),
            (Type::Time | Type::MicroTime | Type::IntOrString, other) => {
                let go = if *of == Type::IntOrString { "int32" } else { "string" };
                wrong(format!("json: cannot unmarshal {} into Go value of type {go}", described(other)))
            }
            (_, other) => {
                let field = path.text(true);
                let into = match within {
                    Some(name) => format!("struct field {name}.{field}"),
                    None => "value".to_owned(),
                };
                let go = self.go_name(of);
                wrong(format!("json: cannot unmarshal {} into Go {into} of type {go}", described(other)))
            }
        }
    }

    fn wrong(&self, of: &Type, value: &Value, path: &Path<'_>, go: String) -> WrongType {
        let expected = match of {
            Type::Struct(_) | Type::Map(_) | Type::Any | Type::Either(_) => "object",
            Type::List(_) => "array",
            Type::Integer(_) => "integer",
            Type::Number => "number",
            Type::Bool => "boolean",
            Type::Text | Type::Time | Type::MicroTime | Type::Bytes | Type::Quantity | Type::IntOrString => "string",
        };
        let found = match value {
            Value::Bool(_) => "boolean",
            Value::Array(_) => "array",
            Value::Number(number) if number.is_f64() => "number",
            Value::Number(_) => "integer",
            other => described_kind(other),
        };
        WrongType { go, path: path.text(false), expected, found }
    }

    fn go_name(&self, of: &Type) -> String {
        match of {
            Type::Text | Type::Time | Type::MicroTime | Type::Quantity | Type::IntOrString => "string".to_owned(),
            Type::Bool => "bool".to_owned(),
            Type::Integer(bits) => format!("int{bits}"),
            Type::Number => "float64".to_owned(),
            Type::Bytes => "[]uint8".to_owned(),
            Type::Any | Type::Either(_) => "interface {}".to_owned(),
            Type::List(of) => format!("[]{}", self.go_name(of)),
            Type::Map(of) => format!("map[string]{}", self.go_name(of)),
            Type::Struct(at) => self.types.structs.get(*at).map_or_else(String::new, |s| format!("v1.{}", s.name)),
        }
    }
}

/// Whether a value is a list or map with nothing in it. (An empty struct says something: that it is there.)
fn is_empty(of: &Type, value: &Value) -> bool {
    match (of, value) {
        (Type::List(_), Value::Array(list)) => list.is_empty(),
        (Type::Map(_), Value::Object(map)) => map.is_empty(),
        _ => false,
    }
}

/// Whether a value is of the JSON type that a type is written in.
fn is_of_form(of: &Type, value: &Value) -> bool {
    match of {
        Type::Struct(_) | Type::Map(_) => value.is_object(),
        Type::List(_) => value.is_array(),
        Type::Bool => value.is_boolean(),
        Type::Integer(_) | Type::Number => value.is_number(),
        Type::Text | Type::Time | Type::MicroTime | Type::Bytes => value.is_string(),
        Type::Quantity | Type::IntOrString => value.is_number() || value.is_string(),
        Type::Any => true,
        Type::Either(all) => all.iter().any(|of| is_of_form(of, value)),
    }
}

/// What a null in a list or map becomes: the zero value of its Go type.
fn zero(of: &Type) -> Value {
    match of {
        Type::Struct(_) | Type::Map(_) => Value::Object(serde_json::Map::new()),
        Type::List(_) => Value::Array(Vec::new()),
        Type::Bool => Value::Bool(false),
        Type::Integer(_) | Type::Number | Type::IntOrString => 0.into(),
        Type::Quantity => "0".into(),
        Type::Text | Type::Bytes => "".into(),
        Type::Time | Type::MicroTime | Type::Any | Type::Either(_) => Value::Null,
    }
}

fn fits(number: &serde_json::Number) -> bool {
    number.as_i64().is_some_and(|n| i32::try_from(n).is_ok())
}

/// As Go's decoder names a JSON value: numbers with their text.
fn described(value: &Value) -> String {
    match value {
        Value::Number(number) if number.is_f64() || !fits(number) => format!("number {number}"),
        other => described_kind(other).to_owned(),
    }
}

fn described_kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "bool",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

/// A time as the API writes it: in UTC, in whole seconds or six digits more.
fn canonical(of: &Type, text: &str) -> Option<String> {
    let at: jiff::Timestamp = text.parse().ok()?;
    let format = if *of == Type::MicroTime { "%Y-%m-%dT%H:%M:%S.%6fZ" } else { "%Y-%m-%dT%H:%M:%SZ" };
    Some(at.strftime(format).to_string())
}

/// The shape of RFC 3339: `2006-01-02T15:04:05`, an optional fraction, and `Z` or an offset.
fn is_time(text: &str) -> bool {
    let bytes = text.as_bytes();
    let shape = b"0000-00-00T00:00:00";
    let Some((date, rest)) = bytes.split_at_checked(shape.len()) else { return false };
    let matches = date.iter().zip(shape).all(|(b, s)| if *s == b'0' { b.is_ascii_digit() } else { b == s });
    let fraction = rest.strip_prefix(b".").map(|r| r.iter().position(|b| !b.is_ascii_digit()).unwrap_or(r.len()));
    let zone = match fraction {
        Some(0) => return false,
        Some(digits) => rest.get(1 + digits..).unwrap_or_default(),
        None => rest,
    };
    let offset =
        |z: &[u8]| matches!(z, [b'+' | b'-', a, b, b':', c, d] if [a, b, c, d].into_iter().all(u8::is_ascii_digit));
    matches && (zone == b"Z" || offset(zone))
}

/// Where a text stops being base64 (RFC 4648, padded; line breaks are passed over as Go does).
fn first_not_base64(text: &str) -> Option<usize> {
    let bytes: Vec<(usize, u8)> = text.bytes().enumerate().filter(|(_, b)| !matches!(b, b'\r' | b'\n')).collect();
    let padding = bytes.iter().rev().take_while(|(_, b)| *b == b'=').count();
    let body = bytes.len() - padding;
    let bad = |(_, b): &&(usize, u8)| !(b.is_ascii_alphanumeric() || matches!(b, b'+' | b'/'));
    if let Some((at, _)) = bytes.iter().take(body).find(bad) {
        return Some(*at);
    }
    let whole = bytes.len().is_multiple_of(4) && padding <= 2 && (padding == 0 || body > 0);
    (!whole).then(|| if padding > 2 { body } else { text.len() / 4 * 4 })
}
