//! The OpenAPI documents over HTTP: which form a client wants, and whether it has it already.

use std::sync::Arc;

use http::{StatusCode, header, request::Parts};

use super::{Answer, respond};
use crate::{
    openapi::{Documents, Name, Source, V2_PROTOBUF},
    request::Query,
    status::Failure,
};

/// The answer at a path of `/openapi`; `None` if the path is another's.
///
/// # Errors
/// 404 for a document that is not there, 406 for a form that it does not have.
pub(super) async fn answer(
    documents: &Arc<Documents>,
    source: Source,
    parts: &Parts,
) -> Result<Option<Answer>, Failure> {
    let path = parts.uri.path().trim_end_matches('/');
    let Some(rest) = path.strip_prefix("/openapi/") else { return Ok(None) };
    let (name, media) = match rest.split_once('/') {
        None if rest == "v3" => {
            let documents = documents.clone();
            let index = on_a_thread(move || documents.index(&source)).await?;
            return respond::document(parts, "no-cache, private", "application/json", index.to_string().into_bytes())
                .map(Some);
        }
        None if rest == "v2" && wants_protobuf(parts)? => (Name::V2Protobuf, V2_PROTOBUF),
        None if rest == "v2" => (Name::V2Json, "application/json"),
        Some(("v3", root)) => (Name::V3(root.to_owned()), "application/json"),
        _ => return Err(Failure::no_such_path()),
    };
    let documents = documents.clone();
    let found = on_a_thread(move || documents.get(&source, &name)).await?;
    let document = found.ok_or_else(Failure::no_such_path)?;
    // What is asked for by its hash never changes.
    let asked = Query::parse(parts.uri.query()).get("hash").is_some_and(|hash| hash == document.hash);
    let keep = if asked { "public, immutable, max-age=31536000" } else { "no-cache, private" };
    let tag = document.hash.clone();
    let mut answer = if respond::takes_gzip(parts) {
        let mut answer = respond::unless_known(parts, &tag, keep, media, || Ok(document.gzip.clone()))?;
        if answer.status() == StatusCode::OK {
            answer.headers_mut().insert(header::CONTENT_ENCODING, http::HeaderValue::from_static("gzip"));
        }
        answer
    } else {
        respond::unless_known(parts, &tag, keep, media, || document.text().map_err(Failure::internal))?
    };
    answer.headers_mut().insert(header::VARY, http::HeaderValue::from_static("Accept, Accept-Encoding"));
    Ok(Some(answer))
}

/// Runs what takes long on a thread that may.
async fn on_a_thread<T: Send + 'static>(
    work: impl FnOnce() -> std::io::Result<T> + Send + 'static,
) -> Result<T, Failure> {
    tokio::task::spawn_blocking(work).await.map_err(Failure::internal)?.map_err(Failure::internal)
}

/// Whether a client wants version 2 in protobuf rather than in JSON.
///
/// # Errors
/// 406: it wants neither.
fn wants_protobuf(parts: &Parts) -> Result<bool, Failure> {
    let accept = parts.headers.get(header::ACCEPT).and_then(|accept| accept.to_str().ok()).unwrap_or("*/*");
    let known = |media: &str| match media.split(';').next().unwrap_or_default().trim() {
        "application/json" | "application/*" | "*/*" | "" => Some(false),
        // The first is what kubectl asks for, the second what it is called in answers.
        "application/com.github.proto-openapi.spec.v2@v1.0+protobuf" | V2_PROTOBUF => Some(true),
        _ => None,
    };
    accept.split(',').find_map(known).ok_or_else(Failure::not_acceptable)
}
