//! How a message is described: its fields' tags, JSON names and types, and the notation of the tables.

/// A message: its Go type's name, for messages to people, and its fields, by rising tag.
#[derive(Debug)]
pub(super) struct Message {
    pub(super) name: &'static str,
    pub(super) fields: &'static [Field],
}

/// A field. An inline field has no name of its own.
#[derive(Debug)]
pub(super) struct Field {
    pub(super) tag: u32,
    pub(super) name: &'static str,
    pub(super) shape: Shape,
    pub(super) of: Type,
}

/// How often a value is there, and what its absence looks like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shape {
    /// A plain Go field: upstream writes it even when it is zero, so zero means absent.
    Plain,
    /// A Go pointer: written only when it is set, so zero means zero.
    Pointer,
    /// A slice.
    List,
    /// A map with strings as keys, on the wire a list of entries `{1: key, 2: value}`.
    Map,
    /// An embedded struct: a message on the wire, its fields are the parent's in JSON.
    Inline,
}

/// What one value is.
#[derive(Clone, Copy, Debug)]
pub(super) enum Type {
    /// UTF-8 text.
    Text,
    /// `int32` or `int64`.
    Int,
    /// A truth value.
    Bool,
    /// Bytes; base64 in JSON.
    Bytes,
    /// `{1: text}`; text in JSON.
    Quantity,
    /// `{1: which, 2: number, 3: text}`; a number or text in JSON.
    IntOrString,
    /// `{1: seconds, 2: nanoseconds}`; RFC 3339 in whole seconds in JSON.
    Time,
    /// The same, in microseconds.
    MicroTime,
    /// `{1: bytes}` that hold JSON.
    Json,
    /// `{1: text…}`; a list in JSON.
    Texts,
    /// A message of the tables.
    Message(&'static Message),
}

/// Defines messages: `Name { tag name: type, … }`. A type is `T` (plain), `(T)` (pointer), `[T]` (list) or `{T}` (map to `T`);
/// a field named `..` is inline. `T` is one of `str int bool bytes Quantity IntOrString Time MicroTime Raw Strings`, or a
/// message.
macro_rules! messages {
    ($($message:ident { $($tag:literal $name:tt : $of:tt),* $(,)? })*) => { $(
        #[allow(non_upper_case_globals, reason = "the tables are named as the messages are")]
        pub(super) static $message: $crate::protobuf::schema::Message = $crate::protobuf::schema::Message {
            name: stringify!($message),
            fields: &[$($crate::protobuf::schema::field!($tag $name $of)),*],
        };
    )* };
}

/// One field of [`messages!`].
macro_rules! field {
    ($tag:literal .. $of:ident) => { $crate::protobuf::schema::field!(@ $tag, "", Inline, $of) };
    ($tag:literal $name:ident ($of:ident)) => { $crate::protobuf::schema::field!(@ $tag, stringify!($name), Pointer, $of) };
    ($tag:literal $name:ident [$of:ident]) => { $crate::protobuf::schema::field!(@ $tag, stringify!($name), List, $of) };
    ($tag:literal $name:ident {$of:ident}) => { $crate::protobuf::schema::field!(@ $tag, stringify!($name), Map, $of) };
    ($tag:literal $name:ident $of:ident) => { $crate::protobuf::schema::field!(@ $tag, stringify!($name), Plain, $of) };
    (@ $tag:literal, $name:expr, $shape:ident, $of:ident) => {
        $crate::protobuf::schema::Field {
            tag: $tag,
            name: $name,
            shape: $crate::protobuf::schema::Shape::$shape,
            of: $crate::protobuf::schema::kind!($of),
        }
    };
}

/// The type of one value of [`messages!`].
macro_rules! kind {
    (str) => {
        $crate::protobuf::schema::Type::Text
    };
    (int) => {
        $crate::protobuf::schema::Type::Int
    };
    (bool) => {
        $crate::protobuf::schema::Type::Bool
    };
    (bytes) => {
        $crate::protobuf::schema::Type::Bytes
    };
    (Quantity) => {
        $crate::protobuf::schema::Type::Quantity
    };
    (IntOrString) => {
        $crate::protobuf::schema::Type::IntOrString
    };
    (Time) => {
        $crate::protobuf::schema::Type::Time
    };
    (MicroTime) => {
        $crate::protobuf::schema::Type::MicroTime
    };
    (Raw) => {
        $crate::protobuf::schema::Type::Json
    };
    (Strings) => {
        $crate::protobuf::schema::Type::Texts
    };
    ($message:ident) => {
        $crate::protobuf::schema::Type::Message(&$message)
    };
}

pub(super) use {field, kind, messages};
