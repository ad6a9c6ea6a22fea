//! Reading request bodies, with a limit: JSON, or Kubernetes' protobuf.

use bytes::Bytes;
use http::HeaderValue;
use http_body::Body;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use serde_json::Value;

use crate::{protobuf, status::Failure};

/// The largest body taken, as upstream's default.
const LIMIT: usize = 3 * 1024 * 1024;

/// The whole body.
///
/// # Errors
/// 413 past the limit, 400 when the client breaks off.
pub async fn read<B>(incoming: B) -> Result<Bytes, Failure>
where
    B: Body<Data = Bytes> + Send + 'static,
    B::Error: std::fmt::Display,
{
    let limited = Limited::new(incoming.map_err(|e| e.to_string()), LIMIT);
    match limited.collect().await {
        Ok(body) => Ok(body.to_bytes()),
        Err(error) if error.is::<LengthLimitError>() => Err(Failure::too_large(LIMIT)),
        Err(error) => Err(Failure::bad_request(format!("the request's body could not be read: {error}"))),
    }
}

/// The object in a body.
///
/// # Errors
/// 415 for what is neither JSON nor Kubernetes' protobuf, 400 for what is not an object.
pub fn decode(content_type: Option<&HeaderValue>, bytes: &[u8]) -> Result<Value, Failure> {
    let media = content_type.and_then(|v| v.to_str().ok()).unwrap_or("application/json");
    match media.split(';').next().unwrap_or_default().trim() {
        "application/json" | "" => {}
        protobuf::MEDIA_TYPE => {
            return protobuf::decode(bytes).map_err(|e| Failure::bad_request(format!("the body cannot be read: {e}")));
        }
        other => {
            let message = format!("the body has type {other:?}: send application/json or {}", protobuf::MEDIA_TYPE);
            return Err(Failure::unsupported_media_type(message));
        }
    }
    let value: Value = serde_json::from_slice(bytes)
        .map_err(|e| Failure::bad_request(format!("couldn't get version/kind; json parse error: {e}")))?;
    if value.is_object() { Ok(value) } else { Err(Failure::bad_request("the body is not a JSON object")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_is_read_as_its_content_type_says() {
        let protobuf = HeaderValue::from_static(protobuf::MEDIA_TYPE);
        let envelope = b"k8s\0\x0a\x0f\x0a\x02v1\x12\x09Namespace";
        assert_eq!(
            decode(Some(&protobuf), envelope).unwrap(),
            serde_json::json!({"apiVersion": "v1", "kind": "Namespace"})
        );
        assert_eq!(decode(Some(&protobuf), b"{}").unwrap_err().code, http::StatusCode::BAD_REQUEST);
        assert_eq!(decode(None, b"{}").unwrap(), serde_json::json!({}));
        let yaml = HeaderValue::from_static("application/yaml");
        assert_eq!(decode(Some(&yaml), b"{}").unwrap_err().code, http::StatusCode::UNSUPPORTED_MEDIA_TYPE);
    }
}
