//! `metav1.Status`: how the API says that something did not work, in upstream's words.

use http::StatusCode;
use objects::kinds::Kind;
use serde_json::{Value, json};

/// A failed request.
#[derive(Clone, Debug, PartialEq)]
pub struct Failure {
    /// The HTTP status.
    pub code: StatusCode,
    /// A machine-readable reason such as `NotFound`.
    pub reason: &'static str,
    /// What a person reads.
    pub message: String,
    /// `details`: the object, the causes.
    pub details: Option<Value>,
}

/// One thing that is wrong with an object (`metav1.StatusCause`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cause {
    /// `FieldValueRequired`, `FieldValueInvalid`, …
    pub reason: &'static str,
    /// What is wrong.
    pub message: String,
    /// The path of the field.
    pub field: String,
}

impl Cause {
    /// A required field is missing.
    pub fn required(field: impl Into<String>, message: &str) -> Self {
        let message =
            if message.is_empty() { "Required value".to_owned() } else { format!("Required value: {message}") };
        Self { reason: "FieldValueRequired", message, field: field.into() }
    }

    /// A field holds what it may not.
    pub fn invalid(field: impl Into<String>, value: &Value, message: &str) -> Self {
        Self { reason: "FieldValueInvalid", message: format!("Invalid value: {value}: {message}"), field: field.into() }
    }
}

fn resource(kind: &Kind) -> String {
    if kind.group.is_empty() { kind.plural.to_owned() } else { format!("{}.{}", kind.plural, kind.group) }
}

fn named(kind: &Kind, name: &str) -> Option<Value> {
    Some(json!({"name": name, "group": kind.group, "kind": kind.plural}))
}

impl Failure {
    fn new(code: StatusCode, reason: &'static str, message: impl Into<String>) -> Self {
        Self { code, reason, message: message.into(), details: None }
    }

    /// 404 for one object.
    pub fn not_found(kind: &Kind, name: &str) -> Self {
        let message = format!("{} {name:?} not found", resource(kind));
        Self { details: named(kind, name), ..Self::new(StatusCode::NOT_FOUND, "NotFound", message) }
    }

    /// 404 for a path that means nothing.
    pub fn no_such_path() -> Self {
        Self::new(StatusCode::NOT_FOUND, "NotFound", "the server could not find the requested resource")
    }

    /// 409: there is one already.
    pub fn already_exists(kind: &Kind, name: &str) -> Self {
        let message = format!("{} {name:?} already exists", resource(kind));
        Self { details: named(kind, name), ..Self::new(StatusCode::CONFLICT, "AlreadyExists", message) }
    }

    /// 409: it was changed meanwhile, or a precondition does not hold.
    pub fn conflict(kind: &Kind, name: &str, why: &str) -> Self {
        let message = format!("Operation cannot be fulfilled on {} {name:?}: {why}", resource(kind));
        Self { details: named(kind, name), ..Self::new(StatusCode::CONFLICT, "Conflict", message) }
    }

    /// 422: the object says what it may not.
    pub fn invalid(kind: &Kind, name: &str, causes: &[Cause]) -> Self {
        let list: Vec<String> = causes.iter().map(|c| format!("{}: {}", c.field, c.message)).collect();
        let all = match list.as_slice() {
            [one] => one.clone(),
            many => format!("[{}]", many.join(", ")),
        };
        let group_kind =
            if kind.group.is_empty() { kind.kind.to_owned() } else { format!("{}.{}", kind.kind, kind.group) };
        let causes: Vec<Value> =
            causes.iter().map(|c| json!({"reason": c.reason, "message": c.message, "field": c.field})).collect();
        let details = json!({"name": name, "group": kind.group, "kind": kind.kind, "causes": causes});
        let message = format!("{group_kind} {name:?} is invalid: {all}");
        Self { details: Some(details), ..Self::new(StatusCode::UNPROCESSABLE_ENTITY, "Invalid", message) }
    }

    /// 400.
    pub fn bad_request(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "BadRequest", message)
    }

    /// 401.
    pub fn unauthorized() -> Self {
        Self::new(StatusCode::UNAUTHORIZED, "Unauthorized", "Unauthorized")
    }

    /// 403.
    pub fn forbidden(kind: &Kind, name: &str, why: &str) -> Self {
        let message = format!("{} {name:?} is forbidden: {why}", resource(kind));
        Self { details: named(kind, name), ..Self::new(StatusCode::FORBIDDEN, "Forbidden", message) }
    }

    /// 405.
    pub fn method_not_allowed() -> Self {
        let message = "the server does not allow this method on the requested resource";
        Self::new(StatusCode::METHOD_NOT_ALLOWED, "MethodNotAllowed", message)
    }

    /// 410: a revision that is not remembered any more.
    pub fn expired(asked: u64) -> Self {
        Self::new(StatusCode::GONE, "Expired", format!("too old resource version: {asked}"))
    }

    /// 413.
    pub fn too_large(limit: usize) -> Self {
        let message = format!("the request is too large: a body may have {limit} bytes");
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, "RequestEntityTooLarge", message)
    }

    /// 415.
    pub fn unsupported_media_type(message: impl Into<String>) -> Self {
        Self::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "UnsupportedMediaType", message)
    }

    /// 500.
    pub fn internal(message: impl std::fmt::Display) -> Self {
        let message = format!("Internal error occurred: {message}");
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "InternalError", message)
    }

    /// 503: somebody else has to answer first.
    pub fn unavailable(message: impl Into<String>) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "ServiceUnavailable", message)
    }

    /// The object that is sent.
    pub fn to_value(&self) -> Value {
        let mut status = json!({
            "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
            "message": self.message, "reason": self.reason, "code": self.code.as_u16(),
        });
        if let (Some(details), Some(object)) = (&self.details, status.as_object_mut()) {
            object.insert("details".to_owned(), details.clone());
        }
        status
    }
}

#[cfg(test)]
mod tests {
    use objects::kinds;

    use super::*;

    #[test]
    fn failures_read_as_upstreams() {
        let deployments = kinds::by_kind("apps", "v1", "Deployment").unwrap();
        assert_eq!(Failure::not_found(deployments, "a").message, "deployments.apps \"a\" not found");
        let causes =
            [Cause::required("spec.selector", ""), Cause::invalid("spec.replicas", &json!(-1), "must be >= 0")];
        let invalid = Failure::invalid(deployments, "a", &causes).message;
        let expected = "Deployment.apps \"a\" is invalid: [spec.selector: Required value, spec.replicas: Invalid value: -1: must be >= 0]";
        assert_eq!(invalid, expected);
    }
}
