//! What handlers take from requests. Every rejection is a [`Problem`], every body and query is validated with garde.

use std::{net::IpAddr, sync::Arc};

use axum::{
    body::Body,
    extract::{DefaultBodyLimit, FromRequest, FromRequestParts, Request, multipart},
    response::{IntoResponse, Response},
};
use bytes::Bytes;
use garde::Validate;
use http::{HeaderMap, HeaderValue, header, request::Parts};
use http_body_util::BodyExt;
use serde::{
    Deserializer, Serialize,
    de::{DeserializeOwned, Visitor},
};

use crate::{
    body::BodyError,
    problem::{FieldError, Problem},
};

/// Bytes that a JSON body may have, however large the bodies are that the service takes elsewhere.
const JSON_BYTES: usize = 1024 * 1024;
/// Broken rules that one problem lists; the rest is in their number only.
const LISTED: usize = 32;

/// A JSON body: as an argument, decoded and validated; as an answer, encoded.
///
/// Refused are: another content type than JSON (415), bodies that are not JSON or not UTF-8 (400), more than 1 MiB (413), values that do
/// not fit the type, break its rules or contain the character U+0000, which PostgreSQL's text cannot hold (422, each with its field).
#[derive(Clone, Copy, Debug, Default)]
pub struct Json<T>(pub T);

impl<T, S> FromRequest<S> for Json<T>
where
    T: DeserializeOwned + Validate<Context: Default>,
    S: Send + Sync,
{
    type Rejection = Problem;

    async fn from_request(request: Request, _: &S) -> Result<Self, Problem> {
        if !is_json(request.headers()) {
            return Err(Problem::unsupported_media_type("the body must be application/json"));
        }
        let bytes = read(request.into_body(), JSON_BYTES).await?;
        let value: T = decode(&bytes)?;
        check(&value)?;
        Ok(Self(value))
    }
}

impl<T: Serialize> IntoResponse for Json<T> {
    fn into_response(self) -> Response {
        match serde_json::to_vec(&self.0) {
            Ok(body) => {
                let mut response = Response::new(Body::from(body));
                response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
                response
            }
            Err(e) => Problem::internal(e).into_response(),
        }
    }
}

fn is_json(headers: &HeaderMap) -> bool {
    let kind = headers.get(header::CONTENT_TYPE).and_then(|v| v.to_str().ok()).unwrap_or_default();
    let essence = kind.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    essence == "application/json" || (essence.starts_with("application/") && essence.ends_with("+json"))
}

/// Reads a whole body of at most `limit` bytes.
///
/// # Errors
/// 413 if it is longer, 408 if it takes longer than a request may, 400 if the client breaks off.
pub async fn read(body: Body, limit: usize) -> Result<Bytes, Problem> {
    match http_body_util::Limited::new(body, limit).collect().await {
        Ok(collected) => Ok(collected.to_bytes()),
        Err(error) if error.is::<http_body_util::LengthLimitError>() => Err(BodyError::TooLarge(limit as u64).into()),
        Err(error) => Err(BodyError::find(&*error).cloned().unwrap_or(BodyError::Broken).into()),
    }
}

fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Problem> {
    let mut reader = serde_json::Deserializer::from_slice(bytes);
    let value = serde_path_to_error::deserialize(Objects(&mut reader)).map_err(|error| {
        let path = error.path().to_string();
        let error = error.into_inner();
        if error.is_data() {
            let field = if path == "." { String::new() } else { path };
            // serde's text ends with a position, which is of no use to whoever sees the field.
            let text = error.to_string();
            let message = text.rsplit_once(" at line ").map_or(&*text, |(message, _)| message).to_owned();
            return Problem::unprocessable([FieldError::new(field, message)]);
        }
        Problem::bad_request(format!("the body is not JSON: {error}"))
    })?;
    reader.end().map_err(|e| Problem::bad_request(format!("the body is not JSON: {e}")))?;
    if has_nul(bytes) {
        return Err(Problem::unprocessable([FieldError::new("", "strings must not contain the character U+0000")]));
    }
    Ok(value)
}

/// Has a body that is a struct be an object: serde takes an array of its fields' values too, of which no schema tells.
struct Objects<D>(D);

impl<'de, D: Deserializer<'de>> Deserializer<'de> for Objects<D> {
    type Error = D::Error;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, D::Error> {
        self.0.deserialize_any(visitor)
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, D::Error> {
        self.0.deserialize_map(visitor)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, D::Error> {
        self.0.deserialize_option(visitor)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(self, name: &'static str, visitor: V) -> Result<V::Value, D::Error> {
        self.0.deserialize_newtype_struct(name, visitor)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, D::Error> {
        self.0.deserialize_enum(name, variants, visitor)
    }

    serde::forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf unit unit_struct seq tuple
        tuple_struct map identifier ignored_any
    }
}

/// Whether a valid JSON text has the escape `\u0000` (U+0000 itself is not valid in it).
fn has_nul(json: &[u8]) -> bool {
    let mut rest = json;
    while let Some(at) = memchr::memchr(b'\\', rest) {
        let (escape, after) = rest.get(at + 1..).and_then(|r| r.split_first()).unwrap_or((&0, &[]));
        if *escape == b'u' && after.starts_with(b"0000") {
            return true;
        }
        rest = after;
    }
    false
}

fn check<T: Validate<Context: Default>>(value: &T) -> Result<(), Problem> {
    value.validate().map_err(|report| {
        let mut errors: Vec<_> =
            report.iter().map(|(path, e)| FieldError::new(path.to_string(), e.message())).collect();
        let count = errors.len();
        errors.sort_by(|a, b| a.field.cmp(&b.field));
        errors.truncate(LISTED);
        let problem = Problem::unprocessable(errors);
        if count > LISTED { problem.with("errors_total", count) } else { problem }
    })
}

/// The query string, decoded and validated. What does not fit is 400, what breaks a rule is 422.
#[derive(Clone, Copy, Debug, Default)]
pub struct Query<T>(pub T);

impl<T, S> FromRequestParts<S> for Query<T>
where
    T: DeserializeOwned + Validate<Context: Default>,
    S: Send + Sync,
{
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let axum::extract::Query(value) = axum::extract::Query::<T>::try_from_uri(&parts.uri)
            .map_err(|rejection| Problem::bad_request(rejection.body_text()))?;
        check(&value)?;
        Ok(Self(value))
    }
}

/// The parameters of the path, decoded. What does not fit is 400.
#[derive(Clone, Copy, Debug, Default)]
pub struct Path<T>(pub T);

impl<T, S> FromRequestParts<S> for Path<T>
where
    T: DeserializeOwned + Send,
    S: Send + Sync,
{
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        match axum::extract::Path::<T>::from_request_parts(parts, state).await {
            Ok(axum::extract::Path(value)) => Ok(Self(value)),
            Err(rejection) if rejection.status().is_server_error() => Err(Problem::internal(rejection)),
            Err(rejection) => Err(Problem::bad_request(rejection.body_text())),
        }
    }
}

/// A form with files (`multipart/form-data`), read piece by piece. Another content type is 415. Its size is bounded by what a request
/// may have as a whole; map the errors of its fields with [`Multipart::problem`].
#[derive(Debug)]
pub struct Multipart(pub multipart::Multipart);

impl Multipart {
    /// What an error while reading a field tells the client: 413, 408 or 400.
    pub fn problem(error: &multipart::MultipartError) -> Problem {
        match BodyError::find(error) {
            Some(body) => body.clone().into(),
            None => Problem::bad_request(format!("the form cannot be read: {}", error.body_text())),
        }
    }
}

impl<S: Send + Sync> FromRequest<S> for Multipart {
    type Rejection = Problem;

    async fn from_request(mut request: Request, state: &S) -> Result<Self, Problem> {
        let kind = request.headers().get(header::CONTENT_TYPE).and_then(|v| v.to_str().ok()).unwrap_or_default();
        if !kind.get(..19).is_some_and(|essence| essence.eq_ignore_ascii_case("multipart/form-data")) {
            return Err(Problem::unsupported_media_type("the body must be multipart/form-data"));
        }
        // The service's own limit holds.
        DefaultBodyLimit::disable().apply(&mut request);
        let form = multipart::Multipart::from_request(request, state).await;
        form.map(Self).map_err(|rejection| Problem::bad_request(rejection.body_text()))
    }
}

/// The request's id: the client's `X-Request-Id` if it is well-formed, else one of the service's making. It is in the answer's header
/// and in every log line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestId(pub Arc<str>);

impl<S: Send + Sync> FromRequestParts<S> for RequestId {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let known = parts.extensions.get::<Self>().cloned();
        known.ok_or_else(|| Problem::internal("the request did not come through service::Service"))
    }
}

/// Who is asking: the peer's address, or, if `TRUSTED_PROXIES` says that there are proxies in front, the address that the outermost of
/// them saw (`X-Forwarded-For`, counted from its end, as anything before that is the client's own invention).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClientAddress(pub IpAddr);

impl ClientAddress {
    /// The address for a connection from `peer` with this many trusted proxies, the last of which is the peer.
    pub(crate) fn of(peer: IpAddr, proxies: usize, headers: &HeaderMap) -> Self {
        if proxies == 0 {
            return Self(peer.to_canonical());
        }
        let hops = headers.get_all("x-forwarded-for").iter().filter_map(|v| v.to_str().ok()).flat_map(|v| v.split(','));
        let hops: Vec<&str> = hops.map(str::trim).collect();
        let named = hops.len().checked_sub(proxies).and_then(|at| hops.get(at)?.parse::<IpAddr>().ok());
        Self(named.unwrap_or(peer).to_canonical())
    }
}

impl<S: Send + Sync> FromRequestParts<S> for ClientAddress {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let known = parts.extensions.get::<Self>().copied();
        known.ok_or_else(|| Problem::internal("the request did not come through service::Service"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_escaped_nul_is_found_and_an_escaped_backslash_before_it_is_not_mistaken() {
        assert!(has_nul(br#"{"a":"x\u0000"}"#));
        assert!(has_nul(br#"{"a":"\\\u0000"}"#));
        assert!(!has_nul(br#"{"a":"\\u0000"}"#));
        assert!(!has_nul(br#"{"a":"\u0001"}"#));
    }

    #[test]
    fn a_struct_is_an_object_and_no_array_of_its_fields() {
        #[derive(serde::Deserialize, Debug)]
        struct Pair {
            #[expect(dead_code, reason = "only its type matters")]
            one: Option<u8>,
        }
        assert!(decode::<Pair>(br#"{"one":1}"#).is_ok() && decode::<Vec<u8>>(b"[1]").is_ok());
        assert_eq!(decode::<Pair>(b"[1]").unwrap_err().status(), 422);
    }

    #[test]
    fn what_does_not_fit_names_its_field() {
        #[derive(serde::Deserialize, Debug)]
        struct Item {
            #[expect(dead_code, reason = "only its type matters")]
            count: u8,
        }
        let told = decode::<Vec<Item>>(br#"[{"count":1},{"count":300}]"#).unwrap_err();
        assert_eq!(told.body()["errors"][0]["field"], "[1].count");
        assert_eq!(told.body()["errors"][0]["message"], "invalid value: integer `300`, expected u8");
        for broken in [&b"[{"[..], b"[] x", b"\"\xff\"", b""] {
            assert_eq!(decode::<Vec<Item>>(broken).unwrap_err().status(), 400, "{broken:?}");
        }
    }

    #[test]
    fn addresses_that_the_client_invents_do_not_count() {
        let peer: IpAddr = "10.0.0.1".parse().unwrap();
        let headers = HeaderMap::from_iter([(
            "x-forwarded-for".parse().unwrap(),
            HeaderValue::from_static("6.6.6.6, 1.2.3.4, 10.9.9.9"),
        )]);
        let of = |proxies| ClientAddress::of(peer, proxies, &headers).0.to_string();
        assert_eq!([of(0), of(1), of(2), of(4)], ["10.0.0.1", "10.9.9.9", "1.2.3.4", "10.0.0.1"]);
    }
}
