//! Reading request bodies, with a limit: JSON, YAML, or Kubernetes' protobuf.

use std::time::Duration;

use bytes::Bytes;
use http::HeaderValue;
use http_body::Body;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use objects::schema::{self, Strict};

use crate::{protobuf, status::Failure};

/// The largest body taken, as upstream's default.
const LIMIT: usize = 3 * 1024 * 1024;

/// How long a client may take to send its body.
const PATIENCE: Duration = Duration::from_secs(60);

/// The whole body.
///
/// # Errors
/// 413 past the limit, 408 when it takes too long, 400 when the client breaks off.
pub async fn read<B>(incoming: B) -> Result<Bytes, Failure>
where
    B: Body<Data = Bytes> + Send + 'static,
    B::Error: std::fmt::Display,
{
    let limited = Limited::new(incoming.map_err(|e| e.to_string()), LIMIT);
    let Ok(collected) = tokio::time::timeout(PATIENCE, limited.collect()).await else {
        return Err(Failure::slow_body(PATIENCE));
    };
    match collected {
        Ok(body) => Ok(body.to_bytes()),
        Err(error) if error.is::<LengthLimitError>() => Err(Failure::too_large(LIMIT)),
        Err(error) => Err(Failure::bad_request(format!("the request's body could not be read: {error}"))),
    }
}

/// The object in a body, with the fields that are there twice.
///
/// # Errors
/// 415 for what is neither JSON, YAML nor Kubernetes' protobuf, 400 for what is not an object.
pub fn decode(content_type: Option<&HeaderValue>, bytes: &[u8]) -> Result<Strict, Failure> {
    let media = content_type.and_then(|v| v.to_str().ok()).unwrap_or("application/json");
    let strict = match media.split(';').next().unwrap_or_default().trim() {
        "application/json" | "" => json(bytes)?,
        "application/yaml" => yaml(bytes)?,
        protobuf::MEDIA_TYPE => {
            let value =
                protobuf::decode(bytes).map_err(|e| Failure::bad_request(format!("the body cannot be read: {e}")))?;
            Strict { value, duplicates: Vec::new() }
        }
        other => {
            let message = format!(
                "the body has type {other:?}: send application/json, application/yaml or {}",
                protobuf::MEDIA_TYPE
            );
            return Err(Failure::unsupported_media_type(message));
        }
    };
    if strict.value.is_object() { Ok(strict) } else { Err(Failure::bad_request("the body is not an object")) }
}

fn json(bytes: &[u8]) -> Result<Strict, Failure> {
    let mut reader = serde_json::Deserializer::from_slice(bytes);
    let parsed = schema::parse(&mut reader).and_then(|parsed| reader.end().map(|()| parsed));
    parsed.map_err(|e| Failure::bad_request(format!("couldn't get version/kind; json parse error: {e}")))
}

/// A field that is there twice is an error of YAML itself.
fn yaml(bytes: &[u8]) -> Result<Strict, Failure> {
    let wrong = |e: String| Failure::bad_request(format!("error converting YAML to JSON: {e}"));
    let text = std::str::from_utf8(bytes).map_err(|e| wrong(e.to_string()))?;
    let value = serde_saphyr::from_str(text).map_err(|e| wrong(e.to_string()))?;
    Ok(Strict { value, duplicates: Vec::new() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_client_that_sends_nothing_is_not_waited_for_for_ever() {
        let nothing = futures::stream::pending::<Result<http_body::Frame<Bytes>, std::convert::Infallible>>();
        let failure = read(http_body_util::StreamBody::new(nothing)).await.unwrap_err();
        assert_eq!((failure.code, failure.reason), (http::StatusCode::REQUEST_TIMEOUT, "Timeout"));
    }

    #[test]
    fn a_body_is_read_as_its_content_type_says() {
        let protobuf = HeaderValue::from_static(protobuf::MEDIA_TYPE);
        let envelope = b"k8s\0\x0a\x0f\x0a\x02v1\x12\x09Namespace";
        let value = |media: Option<&HeaderValue>, bytes: &[u8]| decode(media, bytes).map(|strict| strict.value);
        let namespace = serde_json::json!({"apiVersion": "v1", "kind": "Namespace"});
        assert_eq!(value(Some(&protobuf), envelope).unwrap(), namespace);
        assert_eq!(value(Some(&protobuf), b"{}").unwrap_err().code, http::StatusCode::BAD_REQUEST);
        assert_eq!(value(None, b"{}").unwrap(), serde_json::json!({}));
        let yaml = HeaderValue::from_static("application/yaml");
        assert_eq!(value(Some(&yaml), b"apiVersion: v1\nkind: Namespace\n").unwrap(), namespace);
        assert_eq!(value(Some(&yaml), b"a: 1\na: 2\n").unwrap_err().code, http::StatusCode::BAD_REQUEST);
        let text = HeaderValue::from_static("text/plain");
        assert_eq!(value(Some(&text), b"{}").unwrap_err().code, http::StatusCode::UNSUPPORTED_MEDIA_TYPE);
    }
}
