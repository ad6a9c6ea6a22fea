//! Values.

use std::{cmp::Ordering, collections::BTreeMap, net::IpAddr, sync::Arc};

use jiff::{SignedDuration, Timestamp};

use crate::libraries::{quantity::Quantity, semver::Semver, url::Url};

/// A key of a map. Numbers of both kinds are the same key.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Key {
    /// A truth value.
    Bool(bool),
    /// A whole number.
    Number(i128),
    /// A text.
    Text(Arc<str>),
}

impl Key {
    /// As messages show it.
    pub(crate) fn shown(&self) -> String {
        match self {
            Self::Bool(value) => value.to_string(),
            Self::Number(number) => number.to_string(),
            Self::Text(text) => text.to_string(),
        }
    }
}

/// What an expression is, evaluated.
#[derive(Clone, Debug)]
pub enum Value {
    /// Nothing.
    Null,
    /// A truth value.
    Bool(bool),
    /// A signed number.
    Int(i64),
    /// An unsigned number.
    Uint(u64),
    /// A floating-point number.
    Double(f64),
    /// A text.
    Text(Arc<str>),
    /// Bytes.
    Bytes(Arc<[u8]>),
    /// A list.
    List(Arc<Vec<Value>>),
    /// A list that is a set: its elements' order does not matter.
    Set(Arc<Vec<Value>>),
    /// A list that is a map: the fields that tell its elements apart, whose order does not matter.
    Keyed(Arc<Vec<Value>>, Arc<[Arc<str>]>),
    /// A map, or an object by its fields.
    Map(Arc<BTreeMap<Key, Value>>),
    /// A point in time.
    Timestamp(Timestamp),
    /// A span of time.
    Duration(SignedDuration),
    /// Something, or nothing.
    Optional(Option<Arc<Value>>),
    /// A type, by its name.
    Type(Arc<str>),
    /// `kubernetes.Quantity`.
    Quantity(Quantity),
    /// `kubernetes.URL`.
    Url(Arc<Url>),
    /// `net.IP`.
    Ip(IpAddr),
    /// `net.CIDR`.
    Cidr(IpAddr, u8),
    /// `kubernetes.Semver`.
    Semver(Arc<Semver>),
    /// `kubernetes.NamedFormat`.
    Format(&'static str),
}

impl From<bool> for Value {
    fn from(value: bool) -> Self {
        Self::Bool(value)
    }
}

impl From<i64> for Value {
    fn from(value: i64) -> Self {
        Self::Int(value)
    }
}

impl From<&str> for Value {
    fn from(value: &str) -> Self {
        Self::Text(value.into())
    }
}

impl From<String> for Value {
    fn from(value: String) -> Self {
        Self::Text(value.into())
    }
}

impl From<Vec<Self>> for Value {
    fn from(value: Vec<Self>) -> Self {
        Self::List(Arc::new(value))
    }
}

impl Value {
    /// A number of bytes, elements or entries as an `int`.
    pub fn count(count: usize) -> Self {
        Self::Int(i64::try_from(count).unwrap_or(i64::MAX))
    }

    /// A map with text keys.
    pub fn object(fields: impl IntoIterator<Item = (Arc<str>, Self)>) -> Self {
        Self::Map(Arc::new(fields.into_iter().map(|(name, value)| (Key::Text(name), value)).collect()))
    }

    /// JSON as expressions without a schema see it: numbers are `double` unless they are whole.
    pub fn from_json(json: &serde_json::Value) -> Self {
        use serde_json::Value as Json;
        match json {
            Json::Null => Self::Null,
            Json::Bool(value) => Self::Bool(*value),
            Json::Number(number) => match (number.as_i64(), number.as_u64(), number.as_f64()) {
                (Some(whole), _, _) => Self::Int(whole),
                (_, Some(whole), _) => Self::Uint(whole),
                (_, _, float) => Self::Double(float.unwrap_or(f64::NAN)),
            },
            Json::String(text) => text.as_str().into(),
            Json::Array(list) => list.iter().map(Self::from_json).collect::<Vec<_>>().into(),
            Json::Object(map) => {
                Self::object(map.iter().map(|(name, value)| (name.as_str().into(), Self::from_json(value))))
            }
        }
    }

    /// The name of its type.
    pub fn type_name(&self) -> &'static str {
        match self {
            Self::Null => "null_type",
            Self::Bool(_) => "bool",
            Self::Int(_) => "int",
            Self::Uint(_) => "uint",
            Self::Double(_) => "double",
            Self::Text(_) => "string",
            Self::Bytes(_) => "bytes",
            Self::List(_) | Self::Set(_) | Self::Keyed(..) => "list",
            Self::Map(_) => "map",
            Self::Timestamp(_) => "google.protobuf.Timestamp",
            Self::Duration(_) => "google.protobuf.Duration",
            Self::Optional(_) => "optional_type",
            Self::Type(_) => "type",
            Self::Quantity(_) => "kubernetes.Quantity",
            Self::Url(_) => "kubernetes.URL",
            Self::Ip(_) => "net.IP",
            Self::Cidr(..) => "net.CIDR",
            Self::Semver(_) => "kubernetes.Semver",
            Self::Format(_) => "kubernetes.NamedFormat",
        }
    }

    /// As the key of a map; `None` for what cannot be one.
    pub(crate) fn key(&self) -> Option<Key> {
        Some(match self {
            Self::Bool(value) => Key::Bool(*value),
            Self::Int(value) => Key::Number(i128::from(*value)),
            Self::Uint(value) => Key::Number(i128::from(*value)),
            #[allow(clippy::cast_possible_truncation, reason = "checked to be whole and small")]
            Self::Double(value) if value.fract() == 0.0 && value.abs() < 1e18 => Key::Number(*value as i128),
            Self::Text(text) => Key::Text(text.clone()),
            _ => return None,
        })
    }

    /// How two values that have an order compare.
    pub(crate) fn order(&self, other: &Self) -> Option<Ordering> {
        match (self, other) {
            (Self::Bool(a), Self::Bool(b)) => Some(a.cmp(b)),
            (Self::Text(a), Self::Text(b)) => Some(a.cmp(b)),
            (Self::Bytes(a), Self::Bytes(b)) => Some(a.cmp(b)),
            (Self::Timestamp(a), Self::Timestamp(b)) => Some(a.cmp(b)),
            (Self::Duration(a), Self::Duration(b)) => Some(a.cmp(b)),
            (Self::Double(a), Self::Double(b)) => a.partial_cmp(b),
            (Self::Double(a), b) => whole(b).and_then(|b| compare_double(*a, b)),
            (a, Self::Double(b)) => whole(a).and_then(|a| compare_double(*b, a)).map(Ordering::reverse),
            (a, b) => Some(whole(a)?.cmp(&whole(b)?)),
        }
    }

    /// The elements of a list.
    pub(crate) fn elements(&self) -> Option<&Arc<Vec<Self>>> {
        match self {
            Self::List(list) | Self::Set(list) | Self::Keyed(list, _) => Some(list),
            _ => None,
        }
    }
}

fn whole(value: &Value) -> Option<i128> {
    match value {
        Value::Int(value) => Some(i128::from(*value)),
        Value::Uint(value) => Some(i128::from(*value)),
        _ => None,
    }
}

/// A float against a whole number of 64 bits, without losing digits.
fn compare_double(float: f64, whole: i128) -> Option<Ordering> {
    if float.is_nan() {
        return None;
    }
    if float >= 1e19 {
        return Some(Ordering::Greater);
    }
    if float <= -1e19 {
        return Some(Ordering::Less);
    }
    #[allow(clippy::cast_possible_truncation, reason = "it is below 1e19")]
    let floor = float.floor() as i128;
    Some(floor.cmp(&whole).then(if float.fract() == 0.0 { Ordering::Equal } else { Ordering::Greater }))
}

impl Key {
    /// The key as a value.
    pub(crate) fn value(&self) -> Value {
        match self {
            Self::Bool(value) => Value::Bool(*value),
            Self::Number(number) => match (i64::try_from(*number), u64::try_from(*number)) {
                (Ok(number), _) => Value::Int(number),
                (_, Ok(number)) => Value::Uint(number),
                _ => Value::Null,
            },
            Self::Text(text) => Value::Text(text.clone()),
        }
    }
}
