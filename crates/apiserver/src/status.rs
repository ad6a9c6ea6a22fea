//! `metav1.Status`: how the API says that something did not work, in upstream's words.

use http::StatusCode;
pub use objects::cause::Cause;
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
    /// The `continue` of the answer's metadata: how to go on with a list all the same.
    pub go_on: Option<String>,
}

fn resource(kind: &Kind) -> String {
    if kind.group.is_empty() { kind.plural.to_owned() } else { format!("{}.{}", kind.plural, kind.group) }
}

fn listed(causes: &[Cause]) -> String {
    let list: Vec<String> = causes.iter().map(|c| format!("{}: {}", c.field, c.message)).collect();
    match list.as_slice() {
        [one] => one.clone(),
        many => format!("[{}]", many.join(", ")),
    }
}

fn named(kind: &Kind, name: &str) -> Option<Value> {
    Some(subject(kind.group, kind.plural, name))
}

/// The fields of `details` that say which object is meant; the core group is not said.
fn subject(group: &str, kind: &str, name: &str) -> Value {
    let fields = [("name", name), ("group", group), ("kind", kind)].into_iter();
    fields.filter(|(_, text)| !text.is_empty()).map(|(field, text)| (field.to_owned(), Value::from(text))).collect()
}

impl Failure {
    fn new(code: StatusCode, reason: &'static str, message: impl Into<String>) -> Self {
        Self { code, reason, message: message.into(), details: None, go_on: None }
    }

    /// 404 for one object.
    pub fn not_found(kind: &Kind, name: &str) -> Self {
        let message = format!("{} {name:?} not found", resource(kind));
        Self { details: named(kind, name), ..Self::new(StatusCode::NOT_FOUND, "NotFound", message) }
    }

    /// 404 for one object of a core resource that has no kind of its own here.
    pub fn not_found_named(resource: &str, name: &str) -> Self {
        let message = format!("{resource} {name:?} not found");
        Self { details: Some(subject("", resource, name)), ..Self::new(StatusCode::NOT_FOUND, "NotFound", message) }
    }

    /// 404 for a path that means nothing.
    pub fn no_such_path() -> Self {
        Self::new(StatusCode::NOT_FOUND, "NotFound", "the server could not find the requested resource")
    }

    /// 408: the client has not sent its request in time.
    pub fn slow_body(limit: std::time::Duration) -> Self {
        let message = format!("the request's body did not arrive within {} seconds", limit.as_secs());
        Self::new(StatusCode::REQUEST_TIMEOUT, "Timeout", message)
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

    /// 409: an apply would change what others manage. `message` says which, and so does each cause.
    pub fn apply_conflict(message: impl Into<String>, causes: &[Cause]) -> Self {
        let causes: Vec<Value> =
            causes.iter().map(|c| json!({"reason": c.reason, "message": c.message, "field": c.field})).collect();
        Self { details: Some(json!({"causes": causes})), ..Self::new(StatusCode::CONFLICT, "Conflict", message) }
    }

    /// 500 without a reason: how upstream answers an apply that does not fit the schema.
    pub fn unexplained(message: impl Into<String>) -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "", message)
    }

    /// 422: the object says what it may not.
    pub fn invalid(kind: &Kind, name: &str, causes: &[Cause]) -> Self {
        Self::invalid_kind(kind.group, kind.kind, name, causes)
    }

    /// 422 for an object of a kind that may have no table row, such as a subresource's.
    pub fn invalid_kind(group: &str, kind: &str, name: &str, causes: &[Cause]) -> Self {
        let group_kind = if group.is_empty() { kind.to_owned() } else { format!("{kind}.{group}") };
        let mut failure = Self::invalid_request(&group_kind, causes);
        failure.message = format!("{group_kind} {name:?} is invalid: {}", listed(causes));
        let details = failure.details.as_mut().and_then(Value::as_object_mut);
        if let (Some(details), Value::Object(subject)) = (details, subject(group, kind, name)) {
            details.extend(subject);
        }
        failure
    }

    /// 422 for what is wrong with a request rather than with one object.
    pub fn invalid_request(what: &str, causes: &[Cause]) -> Self {
        let message = format!("{what} \"\" is invalid: {}", listed(causes));
        let causes: Vec<Value> =
            causes.iter().map(|c| json!({"reason": c.reason, "message": c.message, "field": c.field})).collect();
        let details = Some(json!({"causes": causes}));
        Self { details, ..Self::new(StatusCode::UNPROCESSABLE_ENTITY, "Invalid", message) }
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

    /// 429 for an eviction that a disruption budget does not allow now, and why; seconds after which to try again.
    pub fn disrupts(why: &str, again: Option<u32>) -> Self {
        let mut details = json!({"causes": [{"reason": "DisruptionBudget", "message": why}]});
        if let (Some(seconds), Some(details)) = (again, details.as_object_mut()) {
            details.insert("retryAfterSeconds".to_owned(), seconds.into());
        }
        let message = "Cannot evict pod as it would violate the pod's disruption budget.";
        let failure = Self::new(StatusCode::TOO_MANY_REQUESTS, "TooManyRequests", message);
        Self { details: Some(details), ..failure }
    }

    /// 403 for a path that is no object's.
    pub fn forbidden_path(user: &str, verb: &str, path: &str) -> Self {
        let message = format!("forbidden: User {user:?} cannot {verb} path {path:?}");
        Self { details: Some(json!({})), ..Self::new(StatusCode::FORBIDDEN, "Forbidden", message) }
    }

    /// 403 for somebody who may not act as somebody else: `resource` is `users` or `groups`.
    pub fn forbidden_impersonation(user: &str, resource: &str, name: &str) -> Self {
        let why =
            format!("User {user:?} cannot impersonate resource {resource:?} in API group \"\" at the cluster scope");
        let message = format!("{resource} {name:?} is forbidden: {why}");
        let details = Some(json!({"name": name, "kind": resource}));
        Self { details, ..Self::new(StatusCode::FORBIDDEN, "Forbidden", message) }
    }

    /// 405.
    pub fn method_not_allowed() -> Self {
        let message = "the server does not allow this method on the requested resource";
        Self::new(StatusCode::METHOD_NOT_ALLOWED, "MethodNotAllowed", message)
    }

    /// 405: nothing new is made of a kind whose definition is going.
    pub fn terminating_definition() -> Self {
        let message = "create not allowed while custom resource definition is terminating";
        Self::new(StatusCode::METHOD_NOT_ALLOWED, "MethodNotAllowed", message)
    }

    /// 406.
    pub fn not_acceptable() -> Self {
        let message = "only the following media types are accepted: application/json";
        Self::new(StatusCode::NOT_ACCEPTABLE, "NotAcceptable", message)
    }

    /// 410: a revision that is not remembered any more; `oldest` is the first that is.
    pub fn expired(asked: u64, oldest: u64) -> Self {
        Self::new(StatusCode::GONE, "Expired", format!("too old resource version: {asked} ({oldest})"))
    }

    /// 410: the state that a list's first page showed is not remembered any more; `token` goes on with the present one.
    pub fn continue_expired(token: &str) -> Self {
        let message = "The provided continue parameter is too old to display a consistent list result. You can start a new \
                       list without the continue parameter, or use the continue token in this response to retrieve the \
                       remainder of the results. Continuing with the provided token results in an inconsistent list - \
                       objects that were created, modified, or deleted between the time the first chunk was returned and \
                       now may show up in the list.";
        Self { go_on: Some(token.to_owned()), ..Self::new(StatusCode::GONE, "Expired", message) }
    }

    /// 504: a version that there is not yet.
    pub fn too_large_version(asked: u64, current: u64) -> Self {
        let message = format!("Too large resource version: {asked}, current: {current}");
        let cause = json!({"reason": "ResourceVersionTooLarge", "message": "Too large resource version"});
        let details = Some(json!({"causes": [cause], "retryAfterSeconds": 1}));
        Self { details, ..Self::new(StatusCode::GATEWAY_TIMEOUT, "Timeout", message) }
    }

    /// 429: the server does as much as it can; the client is to come back in a second.
    pub fn overloaded() -> Self {
        let message = "the server has received too many requests and has asked us to try again later";
        let details = Some(json!({"retryAfterSeconds": 1}));
        Self { details, ..Self::new(StatusCode::TOO_MANY_REQUESTS, "TooManyRequests", message) }
    }

    /// 422 for a request that does not fit the object as it is.
    pub fn unprocessable(message: impl Into<String>) -> Self {
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, "Invalid", message)
    }

    /// 413 for a request that asks for too much, however short it is.
    pub fn too_large_request(message: impl Into<String>) -> Self {
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, "RequestEntityTooLarge", message)
    }

    /// 413.
    pub fn too_large(limit: usize) -> Self {
        let message = format!("Request entity too large: limit is {limit}");
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

    /// 507: there is no room for the write.
    pub fn disk_full(error: &impl std::fmt::Display) -> Self {
        let message = format!(
            "the write was not stored, because the disk of the data directory is full ({error}): make room and try again"
        );
        Self::new(StatusCode::INSUFFICIENT_STORAGE, "InsufficientStorage", message)
    }

    /// 503: somebody else has to answer first.
    pub fn unavailable(message: impl Into<String>) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "ServiceUnavailable", message)
    }

    /// The object that is sent.
    pub fn to_value(&self) -> Value {
        let mut status = objects::wire::failure(self.code.as_u16(), self.reason, &self.message);
        if let (Some(details), Some(object)) = (&self.details, status.as_object_mut()) {
            object.insert("details".to_owned(), details.clone());
        }
        if let (Some(token), Some(object)) = (&self.go_on, status.as_object_mut()) {
            object.insert("metadata".to_owned(), json!({"continue": token}));
        }
        status
    }
}

impl From<objects::wire::NotANumber> for Failure {
    fn from(error: objects::wire::NotANumber) -> Self {
        Self::bad_request(error.to_string())
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
