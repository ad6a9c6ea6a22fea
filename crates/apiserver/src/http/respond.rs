//! Answers in the form that the client asked for: whole objects, metadata only, or tables.

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Response, StatusCode, header};
use objects::kinds::Kind;
use serde_json::{Value, json};

use super::{Answer, full};
use crate::{convert, printers, request::Query, status::Failure};

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
        for media in accept.split(',') {
            let mut parameters = media.split(';').map(str::trim);
            if !matches!(parameters.next(), Some("application/json" | "*/*" | "application/*" | "")) {
                continue;
            }
            match parameters.find_map(|p| p.strip_prefix("as=")) {
                Some("Table") => return Ok(Self::Table),
                Some("PartialObjectMetadata" | "PartialObjectMetadataList") => return Ok(Self::Metadata),
                _ => return Ok(Self::Whole),
            }
        }
        Err(Failure::not_acceptable())
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

    /// A list in this form. `objects` are whole, as they are stored; `metadata` is the list's own.
    pub fn list(self, kind: &Kind, query: &Query, objects: Vec<Value>, metadata: Value) -> Value {
        match self {
            Self::Whole => {
                let kind_name = format!("{}List", kind.kind);
                let objects: Vec<Value> = objects.into_iter().map(|o| convert::from_stored(kind, o)).collect();
                json!({"kind": kind_name, "apiVersion": kind.api_version(), "metadata": metadata, "items": objects})
            }
            Self::Metadata => {
                let items: Vec<Value> = objects.iter().map(metadata_only).collect();
                let kind_name = "PartialObjectMetadataList";
                json!({"kind": kind_name, "apiVersion": "meta.k8s.io/v1", "metadata": metadata, "items": items})
            }
            Self::Table => {
                let rows: Vec<&Value> = objects.iter().collect();
                let mut table = printers::table(kind, &rows, query.get("includeObject"), jiff::Timestamp::now());
                if let Some(map) = table.as_object_mut() {
                    map.insert("metadata".to_owned(), metadata);
                }
                table
            }
        }
    }
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

/// A failure as the `Status` that says it.
pub fn failure(failure: &Failure) -> Answer {
    json(failure.code, &failure.to_value())
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
