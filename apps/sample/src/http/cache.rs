//! The cache: values with a time to live, shared by all callers.

use std::{sync::Arc, time::Duration};

use axum::{
    extract::State,
    http::StatusCode,
    response::{IntoResponse, Response},
};
use garde::Validate;
use serde::{Deserialize, Serialize};
use service::{
    extract::{Json, Path},
    problem::{Answer, Problem},
};
use utoipa::ToSchema;

use crate::{App, cache::CacheError};

/// A value to keep.
#[derive(Clone, Debug, Deserialize, Validate, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewValue {
    /// The value.
    #[garde(length(chars, max = 65536))]
    #[schema(max_length = 65536)]
    pub value: String,
    /// For how many seconds.
    #[garde(range(min = 1, max = 86400))]
    #[serde(default = "five_minutes", deserialize_with = "service::number::whole")]
    #[schema(minimum = 1, maximum = 86400, default = 300)]
    pub ttl_seconds: u64,
}

fn five_minutes() -> u64 {
    300
}

/// A value that is kept.
#[derive(Debug, Serialize, ToSchema)]
pub struct Value {
    /// Its key.
    pub key: String,
    /// The value.
    pub value: String,
    /// For how many seconds more, rounded up.
    pub ttl_seconds: u64,
}

impl From<CacheError> for Problem {
    fn from(error: CacheError) -> Self {
        let cause = std::error::Error::source(&error).map(ToString::to_string);
        tracing::warn!(cause, "{error}");
        Self::unavailable("the cache is not available")
    }
}

/// A key is 1 to 128 letters, digits and `._:-`.
fn checked(key: String) -> Answer<String> {
    let plain = key.bytes().all(|b| b.is_ascii_alphanumeric() || b"._:-".contains(&b));
    if (1..=128).contains(&key.len()) && plain {
        Ok(key)
    } else {
        Err(Problem::bad_request("a key is 1 to 128 letters, digits, `.`, `_`, `:` and `-`"))
    }
}

/// The value of a key.
#[utoipa::path(
    get, path = "/cache/{key}", tag = "cache",
    params(("key" = String, Path, min_length = 1, max_length = 128, pattern = "^[A-Za-z0-9._:-]+$")),
    responses(
        (status = 200, description = "The value", body = Value),
        (status = 404, description = "The key has none", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "The cache is not available", body = Problem, content_type = "application/problem+json"),
    ),
)]
pub async fn get(State(app): State<Arc<App>>, Path(key): Path<String>) -> Answer<Json<Value>> {
    let key = checked(key)?;
    let found = app.cache.get(&key).await?.ok_or_else(|| Problem::not_found("the key has no value, or no longer"))?;
    let (value, left) = found;
    Ok(Json(Value { key, value, ttl_seconds: left.as_secs() + u64::from(left.subsec_nanos() > 0) }))
}

/// Gives a key a value.
#[utoipa::path(
    put, path = "/cache/{key}", tag = "cache", request_body = NewValue,
    params(("key" = String, Path, min_length = 1, max_length = 128, pattern = "^[A-Za-z0-9._:-]+$")),
    responses(
        (status = 200, description = "It has another value now", body = Value),
        (status = 201, description = "It has a value now", body = Value),
        (status = 503, description = "The cache is not available", body = Problem, content_type = "application/problem+json"),
    ),
)]
pub async fn put(State(app): State<Arc<App>>, Path(key): Path<String>, Json(new): Json<NewValue>) -> Answer<Response> {
    let key = checked(key)?;
    let before = app.cache.set(&key, &new.value, Duration::from_secs(new.ttl_seconds)).await?;
    let status = if before { StatusCode::OK } else { StatusCode::CREATED };
    Ok((status, Json(Value { key, value: new.value, ttl_seconds: new.ttl_seconds })).into_response())
}

/// Forgets a key.
#[utoipa::path(
    delete, path = "/cache/{key}", tag = "cache",
    params(("key" = String, Path, min_length = 1, max_length = 128, pattern = "^[A-Za-z0-9._:-]+$")),
    responses(
        (status = 204, description = "It has no value any more"),
        (status = 404, description = "It had none", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "The cache is not available", body = Problem, content_type = "application/problem+json"),
    ),
)]
pub async fn delete(State(app): State<Arc<App>>, Path(key): Path<String>) -> Answer<StatusCode> {
    if app.cache.delete(&checked(key)?).await? {
        Ok(StatusCode::NO_CONTENT)
    } else {
        Err(Problem::not_found("the key has no value, or no longer"))
    }
}
