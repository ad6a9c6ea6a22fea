//! Types: what an expression can be, before it is evaluated.

use std::{collections::BTreeMap, fmt, sync::Arc};

/// The type of an expression.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Type {
    /// Known when it is evaluated.
    Dyn,
    /// `null`.
    Null,
    /// `true` or `false`.
    Bool,
    /// 64 bits, signed.
    Int,
    /// 64 bits, unsigned.
    Uint,
    /// IEEE 754, 64 bits.
    Double,
    /// A text.
    Text,
    /// Bytes.
    Bytes,
    /// A point in time.
    Timestamp,
    /// A span of time.
    Duration,
    /// A list of these.
    List(Arc<Type>),
    /// A map from the first to the second.
    Map(Arc<Type>, Arc<Type>),
    /// An object with named fields.
    Object(Arc<ObjectType>),
    /// One of these, or nothing.
    Optional(Arc<Type>),
    /// A type itself.
    Type,
    /// A type of a library, by its name.
    Opaque(&'static str),
    /// Stands for any type, the same one throughout a signature.
    Param(char),
}

/// An object with named fields.
#[derive(Debug, PartialEq, Eq)]
pub struct ObjectType {
    /// Its name in messages.
    pub name: String,
    /// Its fields, as expressions name them.
    pub fields: BTreeMap<String, Type>,
}

impl ObjectType {
    /// The type of a field. A word that the language keeps for itself can name a field too: it stands for `__word__`.
    pub(crate) fn field(&self, name: &str) -> Option<&Type> {
        self.fields.get(name).or_else(|| self.fields.get(&kept(name)?))
    }
}

/// How objects have a field whose name is a word that the language keeps for itself.
pub(crate) fn kept(name: &str) -> Option<String> {
    crate::is_reserved(name).then(|| format!("__{name}__"))
}

/// The names of types, as expressions write them.
pub(crate) const NAMES: &[&str] = &[
    "bool",
    "int",
    "uint",
    "double",
    "string",
    "bytes",
    "list",
    "map",
    "null_type",
    "type",
    "optional_type",
    "google.protobuf.Timestamp",
    "google.protobuf.Duration",
    "kubernetes.Quantity",
    "kubernetes.URL",
    "kubernetes.Semver",
    "kubernetes.NamedFormat",
    "net.IP",
    "net.CIDR",
];

impl fmt::Display for Type {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Dyn => f.write_str("dyn"),
            Self::Null => f.write_str("null"),
            Self::Bool => f.write_str("bool"),
            Self::Int => f.write_str("int"),
            Self::Uint => f.write_str("uint"),
            Self::Double => f.write_str("double"),
            Self::Text => f.write_str("string"),
            Self::Bytes => f.write_str("bytes"),
            Self::Timestamp => f.write_str("timestamp"),
            Self::Duration => f.write_str("duration"),
            Self::List(of) => write!(f, "list({of})"),
            Self::Map(key, value) => write!(f, "map({key}, {value})"),
            Self::Object(object) => f.write_str(&object.name),
            Self::Optional(of) => write!(f, "optional_type({of})"),
            Self::Type => f.write_str("type"),
            Self::Opaque(name) => f.write_str(name),
            Self::Param(name) => write!(f, "{name}"),
        }
    }
}

/// What the parameters of a signature turned out to be.
#[derive(Clone, Debug, Default)]
pub(crate) struct Bindings(Vec<(char, Type)>);

impl Bindings {
    /// Whether a value of type `given` can be passed where `wanted` is.
    pub(crate) fn accept(&mut self, wanted: &Type, given: &Type) -> bool {
        match (wanted, given) {
            (Type::Param(name), given) => {
                let bound = self.0.iter().position(|(bound, _)| bound == name);
                let Some(at) = bound else {
                    self.0.push((*name, given.clone()));
                    return true;
                };
                let Some((_, known)) = self.0.get(at).cloned() else { return false };
                let joined = join(&known, given);
                if let (Some(joined), Some(place)) = (&joined, self.0.get_mut(at)) {
                    place.1 = joined.clone();
                }
                joined.is_some()
            }
            (Type::Dyn, _) | (_, Type::Dyn) => true,
            (Type::List(a), Type::List(b)) | (Type::Optional(a), Type::Optional(b)) => self.accept(a, b),
            (Type::Map(a, b), Type::Map(c, d)) => self.accept(a, c) && self.accept(b, d),
            // Null is a value of whatever may be absent.
            (Type::Object(_) | Type::Timestamp | Type::Duration | Type::Opaque(_) | Type::Optional(_), Type::Null) => {
                true
            }
            (a, b) => a == b,
        }
    }

    /// A type with its parameters replaced.
    pub(crate) fn apply(&self, of: &Type) -> Type {
        match of {
            Type::Param(name) => self.0.iter().find(|(bound, _)| bound == name).map_or(Type::Dyn, |(_, of)| of.clone()),
            Type::List(of) => Type::List(Arc::new(self.apply(of))),
            Type::Optional(of) => Type::Optional(Arc::new(self.apply(of))),
            Type::Map(key, value) => Type::Map(Arc::new(self.apply(key)), Arc::new(self.apply(value))),
            other => other.clone(),
        }
    }
}

/// The type that holds values of both; `None` if they have nothing in common.
pub(crate) fn join(a: &Type, b: &Type) -> Option<Type> {
    match (a, b) {
        (Type::Dyn, _) | (_, Type::Dyn) => Some(Type::Dyn),
        (Type::List(a), Type::List(b)) => Some(Type::List(Arc::new(join(a, b)?))),
        (Type::Optional(a), Type::Optional(b)) => Some(Type::Optional(Arc::new(join(a, b)?))),
        (Type::Map(a, b), Type::Map(c, d)) => Some(Type::Map(Arc::new(join(a, c)?), Arc::new(join(b, d)?))),
        (Type::Null, other) | (other, Type::Null) if *other != Type::Null => {
            let nullable = matches!(
                other,
                Type::Object(_) | Type::Timestamp | Type::Duration | Type::Opaque(_) | Type::Optional(_)
            );
            nullable.then(|| other.clone())
        }
        (a, b) => (a == b).then(|| a.clone()),
    }
}
