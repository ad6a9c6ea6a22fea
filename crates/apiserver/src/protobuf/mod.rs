//! Kubernetes' protobuf bodies, read into JSON.
//!
//! client-go since 0.32 (kubectl 1.32) writes what it knows the Go type of as `application/vnd.kubernetes.protobuf` and does
//! not fall back to JSON. Everything in the API server is JSON, so a body is transcoded once, where it enters, by tables of
//! messages (`tables`, in the notation of `schema`). Answers stay JSON, which every client also accepts.

mod schema;
mod tables;
mod transcode;
mod wire;

use serde_json::{Map, Value};

use self::wire::{Reader, Wire};

/// The media type of such bodies.
pub const MEDIA_TYPE: &str = "application/vnd.kubernetes.protobuf";

/// The four bytes in front of every body.
const MAGIC: &[u8] = b"k8s\0";

/// Why a body cannot be read.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum DecodeError {
    /// It does not start as such bodies do.
    #[error("the body does not start with \"k8s\\0\", as Kubernetes' protobuf bodies do")]
    NoMagic,
    /// Lengths or numbers are wrong.
    #[error("the body is not well-formed protobuf")]
    Malformed,
    /// There is no table for the kind.
    #[error("no protobuf message is known for {api_version:?}, kind {kind:?}: send it as JSON")]
    UnknownKind {
        /// The API version, as sent.
        api_version: String,
        /// The kind, as sent.
        kind: String,
    },
    /// The message has a field that the tables do not name; dropping it would lose what the client asked for.
    #[error("message {message} has a field {tag} that is not known here: send it as JSON")]
    UnknownField {
        /// The Go type of the message.
        message: &'static str,
        /// The field's tag.
        tag: u32,
    },
    /// A field holds what its type cannot be.
    #[error("{message}.{field} is not a valid value of its type")]
    Value {
        /// The Go type of the message.
        message: &'static str,
        /// The field's name in JSON.
        field: &'static str,
    },
    /// A field that can be there once is there twice.
    #[error("{message}.{field} is there twice")]
    Twice {
        /// The Go type of the message.
        message: &'static str,
        /// The field's name in JSON.
        field: &'static str,
    },
    /// Messages lie in messages deeper than any Kubernetes type does.
    #[error("messages are nested too deep")]
    Depth,
    /// The envelope says that its content is encoded or not protobuf.
    #[error("the body's content has type {0:?}, not protobuf")]
    Content(String),
}

/// The JSON of the object in a body: `k8s\0`, then `runtime.Unknown{1: {1: apiVersion, 2: kind}, 2: the object's message}`.
///
/// Zero values of fields that are no pointers in Go are left out, as Go's `omitempty` leaves them out of JSON.
///
/// # Errors
/// Says what cannot be read. It never panics, and never drops a field silently.
pub fn decode(bytes: &[u8]) -> Result<Value, DecodeError> {
    let envelope = Envelope::read(bytes.strip_prefix(MAGIC).ok_or(DecodeError::NoMagic)?)?;
    let Envelope { api_version, kind, raw } = envelope;
    let Some(message) = tables::by_kind(api_version, kind) else {
        return Err(DecodeError::UnknownKind { api_version: api_version.to_owned(), kind: kind.to_owned() });
    };
    let mut object = Map::new();
    object.insert("apiVersion".to_owned(), api_version.into());
    object.insert("kind".to_owned(), kind.into());
    transcode::message(message, raw, &mut object, 0)?;
    Ok(Value::Object(object))
}

/// `runtime.Unknown`.
#[derive(Default)]
struct Envelope<'a> {
    api_version: &'a str,
    kind: &'a str,
    raw: &'a [u8],
}

impl<'a> Envelope<'a> {
    fn read(bytes: &'a [u8]) -> Result<Self, DecodeError> {
        let mut envelope = Self::default();
        let mut reader = Reader::new(bytes);
        while let Some((tag, value)) = reader.field()? {
            let Wire::Bytes(bytes) = value else { return Err(DecodeError::Malformed) };
            match tag {
                1 => envelope.read_type(bytes)?,
                2 => envelope.raw = bytes,
                // 3 is the content's encoding, 4 its type: empty when it is plain protobuf.
                3 | 4 if bytes.is_empty() || bytes == MEDIA_TYPE.as_bytes() => {}
                3 | 4 => return Err(DecodeError::Content(String::from_utf8_lossy(bytes).into_owned())),
                tag => return Err(DecodeError::UnknownField { message: "Unknown", tag }),
            }
        }
        Ok(envelope)
    }

    fn read_type(&mut self, bytes: &'a [u8]) -> Result<(), DecodeError> {
        let mut reader = Reader::new(bytes);
        while let Some((tag, value)) = reader.field()? {
            let Wire::Bytes(bytes) = value else { return Err(DecodeError::Malformed) };
            let text = std::str::from_utf8(bytes).map_err(|_| DecodeError::Malformed)?;
            match tag {
                1 => self.api_version = text,
                2 => self.kind = text,
                tag => return Err(DecodeError::UnknownField { message: "TypeMeta", tag }),
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
