//! One message of the wire into one JSON object, by its table.

use base64::Engine;
use jiff::Timestamp;
use serde_json::{Map, Value};

use super::{
    DecodeError,
    schema::{Field, Message, Shape, Type},
    wire::{Reader, Wire},
};

/// Deeper than any type of the tables, and shallow enough for any stack.
pub(super) const MAX_DEPTH: u8 = 32;

/// Why one value is not of its type: the caller, who knows the field, says where.
enum Wrong {
    Value,
    Inside(DecodeError),
}

impl From<DecodeError> for Wrong {
    fn from(error: DecodeError) -> Self {
        Self::Inside(error)
    }
}

/// Reads the fields of a message into `object`.
pub(super) fn message(
    table: &'static Message,
    bytes: &[u8],
    object: &mut Map<String, Value>,
    depth: u8,
) -> Result<(), DecodeError> {
    if depth > MAX_DEPTH {
        return Err(DecodeError::Depth);
    }
    let mut reader = Reader::new(bytes);
    while let Some((tag, wire)) = reader.field()? {
        let Some(field) = table.fields.iter().find(|field| field.tag == tag) else {
            return Err(DecodeError::UnknownField { message: table.name, tag });
        };
        add(table, field, wire, object, depth)?;
    }
    Ok(())
}

fn add(
    table: &'static Message,
    field: &'static Field,
    wire: Wire<'_>,
    object: &mut Map<String, Value>,
    depth: u8,
) -> Result<(), DecodeError> {
    let located = |wrong| match wrong {
        Wrong::Value => DecodeError::Value { message: table.name, field: field.name },
        Wrong::Inside(error) => error,
    };
    match field.shape {
        Shape::Inline => match (field.of, wire) {
            (Type::Message(child), Wire::Bytes(bytes)) => message(child, bytes, object, depth + 1)?,
            _ => return Err(DecodeError::Malformed),
        },
        Shape::Plain | Shape::Pointer => {
            let value = value(field.of, wire, depth).map_err(located)?;
            // Go writes the zero time as null even behind a pointer, and null in JSON is absence.
            if value.is_null() || (field.shape == Shape::Plain && is_zero(&value)) {
                return Ok(());
            }
            if object.insert(field.name.to_owned(), value).is_some() {
                return Err(DecodeError::Twice { message: table.name, field: field.name });
            }
        }
        Shape::List => {
            let list = object.entry(field.name).or_insert_with(|| Value::Array(Vec::new()));
            if let Value::Array(list) = list {
                items(field.of, wire, list, depth).map_err(located)?;
            }
        }
        Shape::Map => {
            let (key, value) = entry(field.of, wire, depth).map_err(located)?;
            let map = object.entry(field.name).or_insert_with(|| Value::Object(Map::new()));
            if let Value::Object(map) = map {
                map.insert(key, value);
            }
        }
    }
    Ok(())
}

/// Appends one item, or many packed numbers.
fn items(of: Type, wire: Wire<'_>, list: &mut Vec<Value>, depth: u8) -> Result<(), Wrong> {
    match (of, wire) {
        (Type::Int | Type::Bool, Wire::Bytes(bytes)) => {
            let mut reader = Reader::new(bytes);
            while !reader.is_empty() {
                list.push(value(of, Wire::Number(reader.number()?), depth)?);
            }
        }
        _ => list.push(value(of, wire, depth)?),
    }
    Ok(())
}

/// A map's entry. Either half may be missing and is then zero.
fn entry(of: Type, wire: Wire<'_>, depth: u8) -> Result<(String, Value), Wrong> {
    let mut reader = Reader::new(bytes(wire)?);
    let (mut key, mut found) = ("", None);
    while let Some((tag, wire)) = reader.field()? {
        match tag {
            1 => key = text(wire)?,
            2 => found = Some(wire),
            _ => return Err(Wrong::Value),
        }
    }
    let zero = match of {
        Type::Int | Type::Bool => Wire::Number(0),
        _ => Wire::Bytes(&[]),
    };
    Ok((key.to_owned(), value(of, found.unwrap_or(zero), depth)?))
}

fn value(of: Type, wire: Wire<'_>, depth: u8) -> Result<Value, Wrong> {
    Ok(match of {
        Type::Text => text(wire)?.into(),
        // Negative numbers are written in two's complement with 64 bits.
        Type::Int => number(wire)?.cast_signed().into(),
        Type::Bool => (number(wire)? != 0).into(),
        Type::Bytes => base64::engine::general_purpose::STANDARD.encode(bytes(wire)?).into(),
        Type::Quantity => single(wire)?.map_or(Ok(""), text)?.into(),
        Type::IntOrString => int_or_string(bytes(wire)?)?,
        Type::Time => time(bytes(wire)?, 0)?,
        Type::MicroTime => time(bytes(wire)?, 6)?,
        Type::Json => match single(wire)? {
            Some(raw) => serde_json::from_slice(bytes(raw)?).map_err(|_| Wrong::Value)?,
            None => Value::Null,
        },
        Type::Texts => {
            let mut list = Vec::new();
            let mut reader = Reader::new(bytes(wire)?);
            while let Some((tag, wire)) = reader.field()? {
                if tag != 1 {
                    return Err(Wrong::Value);
                }
                list.push(text(wire)?.into());
            }
            Value::Array(list)
        }
        Type::Message(child) => {
            let mut object = Map::new();
            message(child, bytes(wire)?, &mut object, depth + 1)?;
            Value::Object(object)
        }
    })
}

/// Whether Go would leave the value of a plain field out.
fn is_zero(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Bool(value) => !value,
        Value::Number(value) => value.as_i64() == Some(0),
        Value::String(value) => value.is_empty(),
        Value::Array(value) => value.is_empty(),
        Value::Object(value) => value.is_empty(),
    }
}

fn number(wire: Wire<'_>) -> Result<u64, Wrong> {
    match wire {
        Wire::Number(number) => Ok(number),
        Wire::Bytes(_) => Err(Wrong::Value),
    }
}

fn bytes(wire: Wire<'_>) -> Result<&[u8], Wrong> {
    match wire {
        Wire::Bytes(bytes) => Ok(bytes),
        Wire::Number(_) => Err(Wrong::Value),
    }
}

fn text(wire: Wire<'_>) -> Result<&str, Wrong> {
    std::str::from_utf8(bytes(wire)?).map_err(|_| Wrong::Value)
}

/// Field 1 of a message that has only that.
fn single(wire: Wire<'_>) -> Result<Option<Wire<'_>>, Wrong> {
    let mut reader = Reader::new(bytes(wire)?);
    let mut found = None;
    while let Some((tag, wire)) = reader.field()? {
        if tag != 1 {
            return Err(Wrong::Value);
        }
        found = Some(wire);
    }
    Ok(found)
}

fn int_or_string(bytes: &[u8]) -> Result<Value, Wrong> {
    let (mut which, mut int, mut string) = (0, 0, "");
    let mut reader = Reader::new(bytes);
    while let Some((tag, wire)) = reader.field()? {
        match tag {
            1 => which = number(wire)?,
            2 => int = number(wire)?.cast_signed(),
            3 => string = text(wire)?,
            _ => return Err(Wrong::Value),
        }
    }
    match which {
        0 => Ok(int.into()),
        1 => Ok(string.into()),
        _ => Err(Wrong::Value),
    }
}

/// A time with so many digits of the second (a second has no fraction in `Time`, as upstream reads and writes it). No bytes
/// at all are Go's zero time.
fn time(bytes: &[u8], digits: u8) -> Result<Value, Wrong> {
    if bytes.is_empty() {
        return Ok(Value::Null);
    }
    let (mut seconds, mut nanos) = (0, 0);
    let mut reader = Reader::new(bytes);
    while let Some((tag, wire)) = reader.field()? {
        match tag {
            1 => seconds = number(wire)?.cast_signed(),
            2 => nanos = i32::try_from(number(wire)?.cast_signed()).map_err(|_| Wrong::Value)?,
            _ => return Err(Wrong::Value),
        }
    }
    let nanos = if digits == 0 { 0 } else { nanos / 1000 * 1000 };
    let at = Timestamp::new(seconds, nanos).map_err(|_| Wrong::Value)?;
    Ok(format!("{at:.*}", usize::from(digits)).into())
}
