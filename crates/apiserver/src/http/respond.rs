//! Answers in the form that the client asked for: whole objects, metadata only, or tables.

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Response, StatusCode, header, request::Parts};
use objects::{kinds::Kind, wire};
use serde_json::{Value, json};

use super::{Answer, full};
use crate::{convert, printers, registry::parse, request::Query, status::Failure, store::Stored};

/// The form of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// As stored.
    Whole,
    /// `PartialObjectMetadata`.
    Metadata,
    /// `Table`.
    Table,
}

impl Form {
    /// What the Accept header prefers among what there is; JSON where it asks for nothing that there is.
    pub fn accepted(headers: &HeaderMap) -> Self {
        Self::negotiate(headers).unwrap_or(Self::Whole)
    }

    /// What the Accept header prefers among what there is.
    ///
    /// # Errors
    /// 406 when there is nothing that it asks for.
    pub fn negotiate(headers: &HeaderMap) -> Result<Self, Failure> {
        let accept = headers.get(header::ACCEPT).and_then(|v| v.to_str().ok()).unwrap_or_default();
        match wire::Form::accepted(accept) {
            Some(wire::Form::Whole) => Ok(Self::Whole),
            Some(wire::Form::Metadata) => Ok(Self::Metadata),
            Some(wire::Form::Table) => Ok(Self::Table),
            None => Err(Failure::not_acceptable()),
        }
    }

    /// One stored object in this form, as `kind` has it.
    pub fn object(self, kind: &Kind, query: &Query, object: Value) -> Value {
        match self {
            Self::Whole => convert::from_stored(kind, object),
            Self::Metadata => metadata_only(&object),
            Self::Table => {
                let mut table = printers::table(kind, &[&object], query.get("includeObject"), jiff::Timestamp::now());
                if let Some(map) = table.as_object_mut() {
                    let version = object.pointer("/metadata/resourceVersion").cloned().unwrap_or_default();
                    map.insert("metadata".to_owned(), json!({"resourceVersion": version}));
                }
                table
            }
        }
    }

    /// The Scale of an object in this form.
    pub fn scale(self, query: &Query, scale: Value) -> Value {
        match self {
            Self::Whole => scale,
            Self::Metadata => metadata_only(&scale),
            Self::Table => printers::scale(&scale, query.get("includeObject"), jiff::Timestamp::now()),
        }
    }

    /// Whether stored objects of a kind are shown in this form as they are.
    pub fn is_as_stored(self, kind: &Kind) -> bool {
        self == Self::Whole && kind.stored_as.is_none() && kind.definition().is_none()
    }

    /// What comes before and after the objects of a list in this form. `metadata` is the list's own.
    ///
    /// # Errors
    /// 500: a table without rows cannot be made.
    pub fn list_text(self, kind: &Kind, query: &Query, metadata: &Value) -> Result<ListText, Failure> {
        let text = |name: &str, version: &str, more: &str| ListText {
            head: format!("{{\"kind\":\"{name}\",\"apiVersion\":\"{version}\",\"metadata\":{metadata},{more}:[")
                .into_bytes(),
            tail: b"]}",
        };
        Ok(match self {
            Self::Whole => {
                let defined = kind.definition().map(|definition| definition.list_kind.clone());
                let name = defined.unwrap_or_else(|| format!("{}List", kind.kind));
                text(&name, &kind.api_version(), "\"items\"")
            }
            Self::Metadata => text("PartialObjectMetadataList", "meta.k8s.io/v1", "\"items\""),
            Self::Table => {
                let empty = printers::table(kind, &[], query.get("includeObject"), jiff::Timestamp::now());
                let columns =
                    empty.get("columnDefinitions").ok_or_else(|| Failure::internal("a table has no columns"))?;
                text("Table", "meta.k8s.io/v1", &format!("\"columnDefinitions\":{columns},\"rows\""))
            }
        })
    }

    /// One object of a list in this form, added to `text`.
    ///
    /// # Errors
    /// 500: the store holds what is not JSON.
    pub fn list_item(self, kind: &Kind, query: &Query, stored: &Stored, text: &mut Vec<u8>) -> Result<(), Failure> {
        if self.is_as_stored(kind) {
            text.extend_from_slice(&stored.json);
            return Ok(());
        }
        let object = parse(stored)?;
        let item = match self {
            Self::Whole => convert::from_stored(kind, object),
            Self::Metadata => metadata_only(&object),
            Self::Table => {
                let mut table = printers::table(kind, &[&object], query.get("includeObject"), jiff::Timestamp::now());
                table.pointer_mut("/rows/0").map(Value::take).unwrap_or_default()
            }
        };
        text.extend_from_slice(item.to_string().as_bytes());
        Ok(())
    }
}

/// What comes before and after the objects of a list.
pub struct ListText {
    /// Before the first.
    pub head: Vec<u8>,
    /// After the last.
    pub tail: &'static [u8],
}

fn metadata_only(object: &Value) -> Value {
    let metadata = object.get("metadata").cloned().unwrap_or_default();
    json!({"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": metadata})
}

/// A JSON answer.
pub fn json(status: StatusCode, value: &Value) -> Answer {
    bytes(status, value.to_string().into_bytes())
}

/// JSON that is bytes already.
pub fn bytes(status: StatusCode, json: impl Into<Bytes>) -> Answer {
    let mut response = Response::new(full(json));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

/// A document with its tag (the hash of its text), or 304 if the client says that it has it. `keep` is the `Cache-Control`.
///
/// # Errors
/// Those of `document`, which is called only when it is needed.
pub fn unless_known(
    parts: &Parts,
    hash: &str,
    keep: &'static str,
    media: &'static str,
    document: impl FnOnce() -> Result<Vec<u8>, Failure>,
) -> Result<Answer, Failure> {
    let tag = format!("\"{hash}\"");
    let known = parts.headers.get_all(header::IF_NONE_MATCH).iter().filter_map(|value| value.to_str().ok());
    let has = known.flat_map(|list| list.split(',')).any(|one| matches!(one.trim(), "*") || one.trim() == tag);
    let mut answer = if has {
        let mut same = Answer::new(full(Vec::new()));
        *same.status_mut() = StatusCode::NOT_MODIFIED;
        same
    } else {
        let mut whole = bytes(StatusCode::OK, document()?);
        whole.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(media));
        whole
    };
    answer.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static(keep));
    answer.headers_mut().insert(header::VARY, HeaderValue::from_static("Accept"));
    if let Ok(tag) = HeaderValue::from_str(&tag) {
        answer.headers_mut().insert(header::ETAG, tag);
    }
    Ok(answer)
}

/// Documents from this size on are packed for whoever takes that.
const WORTH_PACKING: usize = 4096;

/// A document that is made anew at each request, tagged by what it says; packed where that is worth it and the client takes it.
///
/// # Errors
/// 500: it could not be packed.
pub fn document(parts: &Parts, keep: &'static str, media: &'static str, document: Vec<u8>) -> Result<Answer, Failure> {
    use sha2::Digest;
    let tag: String = sha2::Sha256::digest(&document).iter().map(|byte| format!("{byte:02X}")).collect();
    let packs = document.len() >= WORTH_PACKING && takes_gzip(parts);
    let mut answer = unless_known(parts, &tag, keep, media, || if packs { gzip(&document) } else { Ok(document) })?;
    if packs && answer.status() == StatusCode::OK {
        answer.headers_mut().insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    }
    answer.headers_mut().insert(header::VARY, HeaderValue::from_static("Accept, Accept-Encoding"));
    Ok(answer)
}

fn gzip(document: &[u8]) -> Result<Vec<u8>, Failure> {
    use std::io::Write;
    let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    packed.write_all(document).map_err(Failure::internal)?;
    packed.finish().map_err(Failure::internal)
}

/// Whether a client takes an answer in gzip.
pub fn takes_gzip(parts: &Parts) -> bool {
    let accept = parts.headers.get(header::ACCEPT_ENCODING).and_then(|accept| accept.to_str().ok()).unwrap_or_default();
    accept.split(',').any(|coding| {
        let mut words = coding.split(';').map(str::trim);
        words.next().is_some_and(|name| name == "gzip" || name == "*") && !words.any(|word| word == "q=0")
    })
}

/// A failure as the `Status` that says it.
pub fn failure(failure: &Failure) -> Answer {
    let mut answer = json(failure.code, &failure.to_value());
    let seconds = failure.details.as_ref().and_then(|details| details.get("retryAfterSeconds")).and_then(Value::as_u64);
    if let Some(seconds) = seconds {
        answer.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
    }
    answer
}

/// Adds `Warning: 299` headers, which kubectl prints.
pub fn warn(answer: &mut Answer, warnings: &[String]) {
    for warning in warnings {
        let text = warning.replace('\\', "\\\\").replace('"', "\\\"");
        // A text that a header cannot carry is shown without what it cannot carry.
        let text: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
        if let Ok(value) = HeaderValue::from_bytes(format!("299 - \"{text}\"").as_bytes()) {
            answer.headers_mut().append(header::WARNING, value);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_acceptable_form_wins() {
        let form = |accept: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::ACCEPT, HeaderValue::from_static(accept));
            Form::accepted(&headers)
        };
        let table = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json";
        assert_eq!(form(table), Form::Table);
        assert_eq!(form("application/vnd.kubernetes.protobuf,application/json"), Form::Whole);
        assert_eq!(form("application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"), Form::Metadata);
        assert_eq!(Form::negotiate(&HeaderMap::new()), Ok(Form::Whole));
        let mut headers = HeaderMap::new();
        headers.insert(header::ACCEPT, HeaderValue::from_static("application/vnd.kubernetes.protobuf"));
        assert_eq!(Form::negotiate(&headers).unwrap_err().code, StatusCode::NOT_ACCEPTABLE);
    }
}
