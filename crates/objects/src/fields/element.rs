//! One step of a path to a field, and its text forms.

use std::{cmp::Ordering, fmt};

use serde_json::{Map, Value};

/// One step of a path: into a map, or into a list.
#[derive(Clone, Debug)]
pub enum Element {
    /// A field of an object, or a key of a map.
    Field(Box<str>),
    /// The element of a keyed list whose key fields have these values; by rising name.
    Key(Box<[(Box<str>, Value)]>),
    /// The element of a set that has this value.
    Item(Box<Value>),
    /// The element of a list at this place. Nothing here makes one: other writers' entries may hold them.
    Index(i64),
}

impl Element {
    /// A field by name.
    pub fn field(name: &str) -> Self {
        Self::Field(name.into())
    }

    /// The form in `FieldsV1`: `f:name`, `k:{"name":"a"}`, `v:"a"`, `i:1`.
    pub fn to_key(&self) -> String {
        match self {
            Self::Field(name) => ["f:", name].concat(),
            Self::Key(fields) => {
                let mut text = String::from("k:{");
                for (at, (name, value)) in fields.iter().enumerate() {
                    let comma = if at == 0 { "" } else { "," };
                    // A name of a field is a JSON string like any other.
                    text.push_str(&format!("{comma}{}:{value}", Value::from(name.as_ref())));
                }
                text.push('}');
                text
            }
            Self::Item(value) => format!("v:{value}"),
            Self::Index(at) => format!("i:{at}"),
        }
    }

    /// Reads what [`Element::to_key`] writes; `None` for a type of step that is not known (a later version's: it is dropped).
    ///
    /// # Errors
    /// Text that is no step at all.
    pub fn from_key(text: &str) -> Result<Option<Self>, String> {
        let malformed = |e: serde_json::Error| format!("{text:?} is not a path element: {e}");
        let Some((sort, rest)) = text.split_at_checked(2) else {
            return Err(format!("key must be 2 characters long: {text}"));
        };
        Ok(Some(match sort {
            "f:" => Self::field(rest),
            "v:" => Self::Item(Box::new(serde_json::from_str(rest).map_err(malformed)?)),
            "k:" => {
                let fields: Map<String, Value> = serde_json::from_str(rest).map_err(malformed)?;
                Self::Key(fields.into_iter().map(|(name, value)| (name.into_boxed_str(), value)).collect())
            }
            "i:" => Self::Index(rest.parse().map_err(|e| format!("{text:?} is not a path element: {e}"))?),
            _ if sort.ends_with(':') => return Ok(None),
            _ => return Err(format!("missing colon: {text}")),
        }))
    }
}

/// How paths are shown in messages: `.spec.containers[name="a"].image`.
impl fmt::Display for Element {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Field(name) => write!(f, ".{name}"),
            Self::Key(fields) => {
                f.write_str("[")?;
                for (at, (name, value)) in fields.iter().enumerate() {
                    write!(f, "{}{name}={value}", if at == 0 { "" } else { "," })?;
                }
                f.write_str("]")
            }
            Self::Item(value) => write!(f, "[={value}]"),
            Self::Index(at) => write!(f, "[{at}]"),
        }
    }
}

/// A whole path as text.
pub fn path_text(path: &[Element]) -> String {
    path.iter().map(ToString::to_string).collect()
}

impl Ord for Element {
    fn cmp(&self, other: &Self) -> Ordering {
        match (self, other) {
            (Self::Field(a), Self::Field(b)) => a.cmp(b),
            (Self::Key(a), Self::Key(b)) => {
                let differ = a.iter().zip(b).map(|((an, av), (bn, bv))| an.cmp(bn).then_with(|| order(av, bv)));
                differ.into_iter().find(|o| o.is_ne()).unwrap_or_else(|| a.len().cmp(&b.len()))
            }
            (Self::Item(a), Self::Item(b)) => order(a, b),
            (Self::Index(a), Self::Index(b)) => a.cmp(b),
            (a, b) => a.rank().cmp(&b.rank()),
        }
    }
}

impl PartialOrd for Element {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Element {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Element {}

impl Element {
    fn rank(&self) -> u8 {
        match self {
            Self::Field(_) => 0,
            Self::Key(_) => 1,
            Self::Item(_) => 2,
            Self::Index(_) => 3,
        }
    }
}

/// A total order of JSON values: numbers, texts, booleans, lists, maps, null. `1` and `1.0` are equal.
pub(super) fn order(a: &Value, b: &Value) -> Ordering {
    match (a, b) {
        (Value::Number(x), Value::Number(y)) => match (x.as_i64(), y.as_i64()) {
            (Some(x), Some(y)) => x.cmp(&y),
            _ => x.as_f64().unwrap_or_default().total_cmp(&y.as_f64().unwrap_or_default()),
        },
        (Value::String(x), Value::String(y)) => x.cmp(y),
        (Value::Bool(x), Value::Bool(y)) => x.cmp(y),
        (Value::Array(x), Value::Array(y)) => {
            x.iter().zip(y).map(|(x, y)| order(x, y)).find(|o| o.is_ne()).unwrap_or_else(|| x.len().cmp(&y.len()))
        }
        (Value::Object(x), Value::Object(y)) => {
            let fields = x.iter().zip(y).map(|((xk, xv), (yk, yv))| xk.cmp(yk).then_with(|| order(xv, yv)));
            fields.into_iter().find(|o| o.is_ne()).unwrap_or_else(|| x.len().cmp(&y.len()))
        }
        (a, b) => rank(a).cmp(&rank(b)),
    }
}

fn rank(value: &Value) -> u8 {
    match value {
        Value::Number(_) => 0,
        Value::String(_) => 1,
        Value::Bool(_) => 2,
        Value::Array(_) => 3,
        Value::Object(_) => 4,
        Value::Null => 5,
    }
}
