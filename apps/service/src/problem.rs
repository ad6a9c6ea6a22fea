//! Errors as clients see them: problem details (RFC 9457), the same shape for every error of a service.

use std::{borrow::Cow, error::Error, fmt, time::Duration};

use axum::{
    body::Body,
    response::{IntoResponse, Response},
};
use http::{HeaderName, HeaderValue, StatusCode, header};
use serde_json::{Map, Value, json};
use utoipa::{
    PartialSchema, ToSchema,
    openapi::{
        RefOr,
        schema::{AdditionalProperties, ArrayBuilder, ObjectBuilder, Schema, SchemaFormat, Type},
    },
};

use crate::trace;

/// What a handler returns: a value, or the problem that the client is told of.
pub type Answer<T> = Result<T, Problem>;

/// The media type of a problem.
pub const MEDIA_TYPE: &str = "application/problem+json";

/// A problem (RFC 9457): what the client is told when its request is refused or fails.
///
/// As a response it has the status, the headers that belong to it (`Retry-After`, `WWW-Authenticate`), and the body
/// `{"type", "title", "status", "detail"?, "instance"?, "request_id"?, …}`; `request_id` is that of the request being handled.
///
/// ```
/// # use service::problem::Problem;
/// # use http::StatusCode;
/// let problem = Problem::new(StatusCode::CONFLICT, "Out of stock").detail("two pizzas are left").with("left", 2);
/// assert_eq!(problem.status(), StatusCode::CONFLICT);
/// assert_eq!(problem.body()["left"], 2);
/// ```
#[derive(Clone)]
pub struct Problem(Box<Parts>);

#[derive(Clone)]
struct Parts {
    status: StatusCode,
    kind: Cow<'static, str>,
    title: Cow<'static, str>,
    detail: Option<Cow<'static, str>>,
    instance: Option<String>,
    extensions: Map<String, Value>,
    headers: Vec<(HeaderName, HeaderValue)>,
}

/// One field of a request that broke a rule.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, ToSchema)]
pub struct FieldError {
    /// Where in the body or query, as in `items[0].quantity`; empty for the whole.
    pub field: String,
    /// The rule that it broke.
    pub message: String,
}

impl FieldError {
    /// `field` broke the rule that `message` states.
    pub fn new(field: impl Into<String>, message: impl Into<String>) -> Self {
        Self { field: field.into(), message: message.into() }
    }
}

impl Problem {
    /// A problem with this status and title; the title is the same for every occurrence of this kind of problem.
    pub fn new(status: StatusCode, title: impl Into<Cow<'static, str>>) -> Self {
        Self(Box::new(Parts {
            status,
            kind: Cow::Borrowed("about:blank"),
            title: title.into(),
            detail: None,
            instance: None,
            extensions: Map::new(),
            headers: Vec::new(),
        }))
    }

    /// A problem that says no more than its status does, with the title that HTTP gives it.
    pub fn of(status: StatusCode) -> Self {
        Self::new(status, status.canonical_reason().unwrap_or("Error"))
    }

    /// 400: the request cannot be understood.
    pub fn bad_request(detail: impl Into<Cow<'static, str>>) -> Self {
        Self::of(StatusCode::BAD_REQUEST).detail(detail)
    }

    /// 401: who is asking is unknown. Carries `WWW-Authenticate: Bearer`.
    pub fn unauthorized(detail: impl Into<Cow<'static, str>>) -> Self {
        Self::of(StatusCode::UNAUTHORIZED)
            .detail(detail)
            .header(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"))
    }

    /// 403: who is asking may not do this.
    pub fn forbidden(detail: impl Into<Cow<'static, str>>) -> Self {
        Self::of(StatusCode::FORBIDDEN).detail(detail)
    }

    /// 404: there is no such thing, or none that the asker may know of.
    pub fn not_found(detail: impl Into<Cow<'static, str>>) -> Self {
        Self::of(StatusCode::NOT_FOUND).detail(detail)
    }

    /// 409: the state of things does not allow it now.
    pub fn conflict(detail: impl Into<Cow<'static, str>>) -> Self {
        Self::of(StatusCode::CONFLICT).detail(detail)
    }

    /// 413: the body has more bytes than are taken here.
    pub fn too_large(detail: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, "Content Too Large").detail(detail)
    }

    /// 415: the body is of a kind that is not taken here.
    pub fn unsupported_media_type(detail: impl Into<Cow<'static, str>>) -> Self {
        Self::of(StatusCode::UNSUPPORTED_MEDIA_TYPE).detail(detail)
    }

    /// 422: the request is well-formed, and its content breaks these rules (member `errors`).
    pub fn unprocessable(errors: impl IntoIterator<Item = FieldError>) -> Self {
        let errors: Vec<FieldError> = errors.into_iter().collect();
        let count = errors.len();
        let detail = match errors.first() {
            Some(e) if count == 1 && e.field.is_empty() => e.message.clone(),
            Some(e) if count == 1 => format!("{}: {}", e.field, e.message),
            _ => format!("{count} fields are not as they must be"),
        };
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, "Unprocessable Content").detail(detail).with("errors", errors)
    }

    /// 429: too many requests of this kind; `Retry-After` says when to come back (in whole seconds, at least one).
    pub fn too_many(retry_after: Duration) -> Self {
        Self::of(StatusCode::TOO_MANY_REQUESTS)
            .detail("too many requests; wait before the next")
            .retry_after(retry_after)
    }

    /// 503: it cannot be done now and may well be done soon. Carries `Retry-After: 1`.
    pub fn unavailable(detail: impl Into<Cow<'static, str>>) -> Self {
        Self::of(StatusCode::SERVICE_UNAVAILABLE).detail(detail).retry_after(Duration::from_secs(1))
    }

    /// 500: something failed that the client has no part in. The error and its causes are logged; the client is told none of them.
    pub fn internal(error: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        let error = error.into();
        tracing::error!(error = %Chain(&*error), "a request failed");
        Self::of(StatusCode::INTERNAL_SERVER_ERROR).detail("the request failed; its id leads to the cause in the log")
    }

    /// Says what is wrong this time, to a person.
    #[must_use]
    pub fn detail(mut self, detail: impl Into<Cow<'static, str>>) -> Self {
        self.0.detail = Some(detail.into());
        self
    }

    /// Names the kind of problem by a URI reference (member `type`) that programs can tell apart.
    #[must_use]
    pub fn kind(mut self, uri: impl Into<Cow<'static, str>>) -> Self {
        self.0.kind = uri.into();
        self
    }

    /// Names this occurrence by a URI reference.
    #[must_use]
    pub fn instance(mut self, uri: impl Into<String>) -> Self {
        self.0.instance = Some(uri.into());
        self
    }

    /// Adds a member of the service's own. The members that RFC 9457 defines cannot be replaced in this way; a value that has no JSON
    /// form is `null`.
    #[must_use]
    pub fn with(mut self, member: impl Into<String>, value: impl serde::Serialize) -> Self {
        self.0.extensions.insert(member.into(), serde_json::to_value(value).unwrap_or_default());
        self
    }

    /// Adds a response header.
    #[must_use]
    pub fn header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.0.headers.retain(|(n, _)| *n != name);
        self.0.headers.push((name, value));
        self
    }

    /// Says when to come back, in whole seconds and at least one.
    #[must_use]
    pub fn retry_after(self, after: Duration) -> Self {
        let seconds = after.as_secs() + u64::from(after.subsec_nanos() > 0);
        self.header(header::RETRY_AFTER, HeaderValue::from(seconds.max(1)))
    }

    /// The status.
    pub fn status(&self) -> StatusCode {
        self.0.status
    }

    /// The body as JSON, with the id of the request that is being handled, if any is.
    pub fn body(&self) -> Map<String, Value> {
        let parts = &*self.0;
        let mut body = parts.extensions.clone();
        body.insert("type".to_owned(), parts.kind.as_ref().into());
        body.insert("title".to_owned(), parts.title.as_ref().into());
        body.insert("status".to_owned(), parts.status.as_u16().into());
        body.extend(parts.detail.as_deref().map(|d| ("detail".to_owned(), d.into())));
        body.extend(parts.instance.as_deref().map(|i| ("instance".to_owned(), i.into())));
        body.extend(trace::request_id().map(|id| ("request_id".to_owned(), (*id).into())));
        body
    }
}

impl fmt::Debug for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Problem({self})")
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.0.status.as_u16(), self.0.title)?;
        self.0.detail.iter().try_for_each(|detail| write!(f, ": {detail}"))
    }
}

impl Error for Problem {}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let body = Value::Object(self.body()).to_string();
        let mut response = Response::new(Body::from(body));
        *response.status_mut() = self.0.status;
        response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(MEDIA_TYPE));
        response.headers_mut().extend(self.0.headers);
        response
    }
}

impl PartialSchema for Problem {
    fn schema() -> RefOr<Schema> {
        let text = |description: &str| ObjectBuilder::new().schema_type(Type::String).description(Some(description));
        let reference = SchemaFormat::Custom("uri-reference".to_owned());
        let status = ObjectBuilder::new()
            .schema_type(Type::Integer)
            .description(Some("The HTTP status"))
            .minimum(Some(400))
            .maximum(Some(599));
        ObjectBuilder::new()
            .description(Some("A problem (RFC 9457); the kind of problem may add members of its own"))
            .property(
                "type",
                text("The kind of problem; `about:blank` if the status says it").format(Some(reference.clone())),
            )
            .required("type")
            .property("title", text("The kind of problem in words"))
            .required("title")
            .property("status", status)
            .required("status")
            .property("detail", text("What is wrong this time"))
            .property("instance", text("This occurrence").format(Some(reference)))
            .property("request_id", text("The request's id, as in the header X-Request-Id and in the log"))
            .property(
                "errors",
                ArrayBuilder::new().items(FieldError::schema()).description(Some("Which fields broke which rules")),
            )
            .additional_properties(Some(AdditionalProperties::FreeForm(true)))
            .examples([
                json!({"type": "about:blank", "title": "Not Found", "status": 404, "detail": "there is no such thing"}),
            ])
            .into()
    }
}

impl ToSchema for Problem {}

/// An error with its causes, `a: b: c`, on one line.
pub(crate) struct Chain<'a>(pub(crate) &'a (dyn Error + 'static));

impl fmt::Display for Chain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut said = self.0.to_string();
        f.write_str(&said)?;
        let mut cause = self.0.source();
        while let Some(error) = cause {
            let next = error.to_string();
            // Many libraries already put their cause into their own text.
            if !said.ends_with(&next) {
                write!(f, ": {next}")?;
            }
            said = next;
            cause = error.source();
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_of_the_standard_cannot_be_replaced() {
        let body = Problem::not_found("gone").with("status", 200).with("title", "fine").with("left", 3).body();
        assert_eq!(
            Value::Object(body),
            json!({"type": "about:blank", "title": "Not Found", "status": 404, "detail": "gone", "left": 3})
        );
    }

    #[test]
    fn retry_after_is_rounded_up_to_whole_seconds() {
        let response = Problem::too_many(Duration::from_millis(1100)).into_response();
        assert_eq!(response.headers()[header::RETRY_AFTER], "2");
        assert_eq!(Problem::too_many(Duration::ZERO).into_response().headers()[header::RETRY_AFTER], "1");
    }

    #[test]
    fn an_internal_error_tells_the_client_nothing() {
        let problem = Problem::internal(std::io::Error::other("password=hunter2"));
        assert!(!Value::Object(problem.body()).to_string().contains("hunter2"));
    }

    #[test]
    fn a_single_broken_rule_is_the_detail() {
        let problem = Problem::unprocessable([FieldError::new("name", "length is lower than 1")]);
        assert_eq!(problem.to_string(), "422 Unprocessable Content: name: length is lower than 1");
        assert_eq!(problem.body()["errors"], json!([{"field": "name", "message": "length is lower than 1"}]));
    }
}
