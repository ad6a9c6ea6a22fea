//! Values as rules see them (`apiserver/pkg/cel/common`, `UnstructuredToVal`).

use std::sync::Arc;

use cel::Value as CelValue;
use serde_json::{Map, Value};

use super::{
    declared::escape,
    formats,
    structural::{Additional, ListType, Structural, Type},
};

/// A value as rules see it. A `whole` object has a name and a kind.
pub(super) fn convert(schema: &Structural, value: &Value, whole: bool) -> CelValue {
    let format = schema.checks.as_ref().and_then(|checks| checks.format.as_deref());
    match (value, schema.of) {
        (Value::Number(number), Type::Number) => CelValue::Double(number.as_f64().unwrap_or(f64::NAN)),
        (Value::Number(number), Type::Integer) => {
            #[allow(clippy::cast_possible_truncation, reason = "validation has found it to be whole")]
            let whole = number.as_i64().or_else(|| number.as_f64().map(|float| float as i64));
            CelValue::Int(whole.unwrap_or(i64::MAX))
        }
        (Value::String(text), Type::String) => of_text(format, text),
        (Value::Array(list), _) => {
            let any = Structural::default();
            let items = schema.items.as_deref().unwrap_or(&any);
            let list: Vec<CelValue> = list.iter().map(|value| convert(items, value, false)).collect();
            match schema.list_type {
                ListType::Set => CelValue::Set(Arc::new(list)),
                ListType::Map => {
                    let key = |name: &String| escape(name).unwrap_or_else(|| format!("\0{name}")).into();
                    CelValue::Keyed(Arc::new(list), schema.list_keys.iter().map(key).collect())
                }
                ListType::Atomic => list.into(),
            }
        }
        (Value::Object(map), Type::Object) => match &schema.additional {
            Additional::Of(of) => {
                CelValue::object(map.iter().map(|(name, value)| (name.as_str().into(), convert(of, value, false))))
            }
            Additional::None | Additional::Any | Additional::Refused => object(schema, map, whole || schema.embedded),
        },
        _ => CelValue::from_json(value),
    }
}

fn of_text(format: Option<&str>, text: &str) -> CelValue {
    match format {
        Some("date-time") => formats::time(text).map_or(CelValue::Null, CelValue::Timestamp),
        Some("date") => {
            let day = text.parse::<jiff::civil::Date>().and_then(|day| day.to_zoned(jiff::tz::TimeZone::UTC));
            day.map_or(CelValue::Null, |day| CelValue::Timestamp(day.timestamp()))
        }
        Some("duration") => formats::duration(text).map_or(CelValue::Null, CelValue::Duration),
        Some("byte") => {
            use base64::Engine;
            let bytes = base64::engine::general_purpose::STANDARD.decode(text).unwrap_or_default();
            CelValue::Bytes(bytes.into())
        }
        _ => text.into(),
    }
}

fn object(schema: &Structural, map: &Map<String, Value>, own: bool) -> CelValue {
    let own = own && !schema.says_metadata();
    let mut fields: Vec<(Arc<str>, CelValue)> = Vec::new();
    for (name, value) in map {
        if own && matches!(name.as_str(), "apiVersion" | "kind") {
            fields.push((name.as_str().into(), CelValue::from_json(value)));
        } else if own && name == "metadata" {
            let shown = ["name", "generateName"].into_iter();
            let shown = shown.filter_map(|field| Some((field.into(), CelValue::from_json(value.get(field)?))));
            fields.push(("metadata".into(), CelValue::object(shown)));
        } else if let Some(of) = schema.properties.get(name) {
            // A field whose name no expression can write, or that has no type, is there for comparisons alone.
            match escape(name).filter(|_| of.of != Type::Any || of.int_or_string) {
                // Where null is a value of a field, it is as if the field were not there.
                Some(escaped) if !value.is_null() => {
                    fields.push((escaped.into(), convert(of, value, false)));
                }
                Some(_) => {}
                None => fields.push(hidden(name, value)),
            }
        } else {
            fields.push(hidden(name, value));
        }
    }
    CelValue::object(fields)
}

/// What rules can compare, and not name.
fn hidden(name: &str, value: &Value) -> (Arc<str>, CelValue) {
    (format!("\0{name}").into(), CelValue::from_json(value))
}
