//! The service's OpenAPI 3.1 document, generated from its handlers, and a page to try it.

use axum::{
    Router,
    body::Body,
    response::{IntoResponse, Response},
    routing::get,
};
use bytes::Bytes;
use http::{HeaderValue, header};
use serde_json::{Map, Value, json};
use utoipa::openapi::OpenApi;
use utoipa_swagger_ui::{Config, SwaggerUi};

/// Where the page is.
pub(crate) const DOCS: &str = "/docs";
const DOCUMENT: &str = "/openapi.json";
/// Any text without U+0000, which the kit refuses in JSON, queries and paths (PostgreSQL's text cannot hold it).
const NO_NUL: &str = "^[^\\u0000]*$";

/// What the document says about the service as a whole.
pub(crate) struct About {
    pub name: &'static str,
    pub version: &'static str,
    pub description: &'static str,
    /// Bearer tokens: the name that routes refer to, and what they are.
    pub schemes: Vec<(&'static str, &'static str)>,
}

/// Completes the document with what holds for every operation because the kit sees to it.
pub(crate) fn complete(mut document: OpenApi, about: &About) -> Value {
    document.info.title = about.name.to_owned();
    document.info.version = about.version.to_owned();
    document.info.description = Some(about.description.to_owned()).filter(|d| !d.is_empty());
    document.info.license = None;
    document.info.contact = None;
    let mut document = serde_json::to_value(document).unwrap_or_default();
    for operation in operations(&mut document) {
        describe(operation);
    }
    for (name, description) in &about.schemes {
        let scheme = json!({"type": "http", "scheme": "bearer", "description": description});
        insert(&mut document, &["components", "securitySchemes", name], scheme);
    }
    let problem = json!({"$ref": "#/components/schemas/Problem"});
    let response = json!({
        "description": "Any other outcome is a problem (RFC 9457): what the request lacks, or why the service cannot answer it now",
        "content": {"application/problem+json": {"schema": problem}},
        "headers": {"X-Request-Id": {"schema": {"type": "string"}, "description": "The request's id"}},
    });
    insert(&mut document, &["components", "responses", "Problem"], response);
    let schema = <crate::problem::Problem as utoipa::PartialSchema>::schema();
    insert(&mut document, &["components", "schemas", "Problem"], serde_json::to_value(schema).unwrap_or_default());
    if let Some(schemas) = document.pointer_mut("/components/schemas") {
        without_nul(schemas);
    }
    document
}

fn operations(document: &mut Value) -> impl Iterator<Item = &mut Map<String, Value>> {
    let paths = document.get_mut("paths").and_then(Value::as_object_mut);
    let items = paths.into_iter().flat_map(Map::values_mut).filter_map(Value::as_object_mut);
    items.flat_map(Map::values_mut).filter_map(Value::as_object_mut).filter(|o| o.contains_key("responses"))
}

/// What holds for an operation: whatever else it answers is a problem, and its texts have no U+0000.
fn describe(operation: &mut Map<String, Value>) {
    if let Some(responses) = operation.get_mut("responses").and_then(Value::as_object_mut) {
        responses.entry("default").or_insert_with(|| json!({"$ref": "#/components/responses/Problem"}));
    }
    for parameter in operation.get_mut("parameters").and_then(Value::as_array_mut).into_iter().flatten() {
        if let Some(schema) = parameter.get_mut("schema") {
            without_nul(schema);
        }
    }
}

/// Gives every string below `schema` that has no format, pattern or list of values the pattern that the kit enforces.
fn without_nul(schema: &mut Value) {
    match schema {
        Value::Object(map) => {
            let text = match map.get("type") {
                Some(Value::String(kind)) => kind == "string",
                Some(Value::Array(kinds)) => kinds.iter().any(|k| k == "string"),
                _ => false,
            };
            if text && !["format", "pattern", "enum", "const"].iter().any(|key| map.contains_key(*key)) {
                map.insert("pattern".to_owned(), NO_NUL.into());
            }
            for (key, value) in map.iter_mut() {
                if !matches!(key.as_str(), "example" | "examples" | "default" | "enum" | "const") {
                    without_nul(value);
                }
            }
        }
        Value::Array(values) => values.iter_mut().for_each(without_nul),
        _ => {}
    }
}

fn insert(document: &mut Value, path: &[&str], value: Value) {
    let mut at = document;
    for key in path {
        if !at.is_object() {
            *at = Value::Object(Map::new());
        }
        at = &mut at[*key];
    }
    *at = value;
}

/// `/openapi.json` and the page at `/docs`.
pub(crate) fn router(document: &Value) -> Router {
    // It is kept for as long as the service lives, without the room that it was written with.
    let text = Bytes::from(document.to_string().into_bytes().into_boxed_slice());
    let serve = move || {
        let text = text.clone();
        async move {
            let mut response = Response::new(Body::from(text));
            response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
            response.into_response()
        }
    };
    let page = SwaggerUi::new(DOCS).config(Config::from(DOCUMENT));
    Router::new().route(DOCUMENT, get(serve)).merge(page)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strings_say_that_they_cannot_hold_u0000() {
        let mut schema = json!({"type": "object", "properties": {
            "name": {"type": ["string", "null"], "maxLength": 3, "example": {"type": "string"}},
            "id": {"type": "string", "format": "uuid"},
        }});
        without_nul(&mut schema);
        assert_eq!(schema["properties"]["name"]["pattern"], NO_NUL);
        assert_eq!(schema["properties"]["name"]["example"], json!({"type": "string"}));
        assert_eq!(schema["properties"]["id"], json!({"type": "string", "format": "uuid"}));
    }
}
