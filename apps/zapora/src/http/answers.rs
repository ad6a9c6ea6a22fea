//! What goes wrong inside, as clients are told of it; and entity tags.

use axum::{
    extract::FromRequestParts,
    http::{HeaderMap, HeaderValue, StatusCode, header, request::Parts},
};
use jiff::Timestamp;
use service::problem::Problem;

use crate::{auth, images, store::StoreError};

impl From<StoreError> for Problem {
    fn from(error: StoreError) -> Self {
        match &error {
            StoreError::Unavailable { .. } => {
                tracing::error!(error = %chain(&error), "the database is not available");
                Self::unavailable("the database does not answer now")
            }
            StoreError::Exists { .. } => Self::conflict("there is one of that name already"),
            StoreError::Dangling { .. } => {
                Self::conflict("something that this refers to does not exist, or refers to this")
            }
            StoreError::Failed { .. } => Self::internal(error),
        }
    }
}

impl From<auth::sessions::Error> for Problem {
    fn from(error: auth::sessions::Error) -> Self {
        match error {
            auth::sessions::Error::Store(error) => error.into(),
            error => {
                tracing::error!(%error, "sessions are not available");
                Self::unavailable("sessions are not available now")
            }
        }
    }
}

impl From<auth::password::Error> for Problem {
    fn from(error: auth::password::Error) -> Self {
        match error {
            auth::password::Error::Busy => Self::unavailable("too many passwords are being checked"),
            error => Self::internal(error),
        }
    }
}

impl From<images::Error> for Problem {
    fn from(error: images::Error) -> Self {
        use images::pixels::Refusal;
        match error {
            images::Error::Refused(why @ Refusal::Type) => Self::unsupported_media_type(why.to_string()),
            images::Error::Refused(why @ Refusal::Bytes(_)) => Self::too_large(why.to_string()),
            images::Error::Refused(why) => {
                Self::new(StatusCode::UNPROCESSABLE_ENTITY, "Unprocessable Content").detail(why.to_string())
            }
            images::Error::Busy => Self::unavailable("too many uploads wait already"),
            images::Error::Store(error) => {
                tracing::error!(%error, "the image store is not available");
                Self::unavailable("the image store does not answer now")
            }
            error => Self::internal(error),
        }
    }
}

/// An error with its causes, on one line.
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}

/// A time as answers have it: RFC 3339, UTC, to the microsecond that the database keeps.
pub fn time(at: Timestamp) -> String {
    format!("{at:.6}")
}

/// Whether an `If-None-Match` names `etag` (RFC 9110 section 13.1.2: weak comparison, `*` is any).
pub fn has(headers: &HeaderMap, etag: &str) -> bool {
    let values = headers.get_all(header::IF_NONE_MATCH).iter().filter_map(|v| v.to_str().ok());
    values
        .flat_map(|v| v.split(','))
        .map(str::trim)
        .any(|tag| tag == "*" || tag.strip_prefix("W/").unwrap_or(tag) == etag)
}

/// The version that a change is meant for, from `If-Match`. It must be there, so that nobody overwrites what they have not seen:
/// 428 if it is not, 412 if it names no version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IfMatch(pub i64);

impl<S: Send + Sync> FromRequestParts<S> for IfMatch {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let mut values = parts.headers.get_all(header::IF_MATCH).iter();
        let Some(value) = values.next() else {
            let problem = Problem::of(StatusCode::PRECONDITION_REQUIRED);
            return Err(problem.detail("send If-Match with the ETag of what you have seen"));
        };
        let version = value.to_str().ok().and_then(version_of).filter(|_| values.next().is_none());
        version.map(Self).ok_or_else(stale)
    }
}

/// 412: what is to be changed is no longer as the client saw it.
pub fn stale() -> Problem {
    Problem::of(StatusCode::PRECONDITION_FAILED).detail("it has changed since; fetch it again and decide again")
}

/// The entity tag of something in this version. `more` tells apart what changes without the version.
pub fn tag_of(version: i64, more: bool) -> String {
    format!("\"{version}{}\"", if more { "-1" } else { "" })
}

fn version_of(tag: &str) -> Option<i64> {
    let inner = tag.trim().strip_prefix('"')?.strip_suffix('"')?;
    let digits = inner.strip_suffix("-1").unwrap_or(inner);
    digits.bytes().all(|b| b.is_ascii_digit()).then(|| digits.parse().ok())?
}

/// A header value of text that this program made; empty if it made something that no header can hold.
pub fn value(text: &str) -> HeaderValue {
    HeaderValue::from_str(text).unwrap_or_else(|_| HeaderValue::from_static(""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_are_compared_as_the_standard_has_it() {
        let sent = |value: &str| HeaderMap::from_iter([(header::IF_NONE_MATCH, HeaderValue::from_str(value).unwrap())]);
        for same in ["\"a\"", "W/\"a\"", "\"x\", \"a\"", "*"] {
            assert!(has(&sent(same), "\"a\""), "{same}");
        }
        assert!(!has(&sent("\"b\""), "\"a\"") && !has(&sent("a"), "\"a\"") && !has(&HeaderMap::new(), "\"a\""));
    }

    #[test]
    fn a_tag_carries_its_version() {
        assert_eq!(version_of(&tag_of(7, false)), Some(7));
        assert_eq!(version_of(&tag_of(7, true)), Some(7));
        for bad in ["7", "\"\"", "W/\"7\"", "\"-1\"", "\"+7\"", "\"7", "\"99999999999999999999\"", "*"] {
            assert_eq!(version_of(bad), None, "{bad}");
        }
    }
}
