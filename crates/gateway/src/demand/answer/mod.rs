//! Questions and answers of the metrics APIs, in JSON.

mod custom;
mod external;

use std::{fmt::Display, time::Duration};

use http::{HeaderValue, Method, Response, StatusCode, header::CONTENT_TYPE, request::Parts};
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use objects::{quantity::Quantity, selector::Labels};
use percent_encoding::percent_decode_str;
use serde_json::{Map, Value, json};

use super::{
    Demand,
    history::{Change, History, Unknown, Whose},
    measure::{MEASURES, Measure, Window},
};

/// Metrics of objects.
pub(super) const CUSTOM: &str = "custom.metrics.k8s.io";
/// Metrics that are nobody's own.
pub(super) const EXTERNAL: &str = "external.metrics.k8s.io";
/// Its only version.
pub(super) const EXTERNAL_VERSION: &str = "v1beta1";

impl Demand {
    /// Answers a request below `/apis/custom.metrics.k8s.io` or `/apis/external.metrics.k8s.io`, from somebody who may ask it.
    /// Errors are answers too, with a `Status` as their body.
    pub async fn answer(&self, request: &Parts) -> Response<String> {
        let (status, body) = match self.document(request).await {
            Ok(document) => (StatusCode::OK, document),
            Err(problem) => (problem.code, problem.status()),
        };
        let mut response = Response::new(body.to_string());
        *response.status_mut() = status;
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        response
    }

    async fn document(&self, request: &Parts) -> Result<Value, Problem> {
        let segments = request.uri.path().trim_matches('/').split('/');
        let segments = segments.map(|segment| percent_decode_str(segment).decode_utf8().map(Into::into));
        let segments: Vec<String> = segments.collect::<Result<_, _>>().map_err(Problem::bad_request)?;
        let segments: Vec<&str> = segments.iter().map(String::as_str).collect();
        let ["apis", group, version, rest @ ..] = segments.as_slice() else { return Err(Problem::no_such_path()) };
        if !matches!(request.method, Method::GET | Method::HEAD) {
            let message = "the server does not allow this method on the requested resource";
            return Err(Problem::new(StatusCode::METHOD_NOT_ALLOWED, "MethodNotAllowed", message));
        }
        match (*group, *version, rest) {
            (CUSTOM, "v1beta1" | "v1beta2", []) => Ok(custom::resources(version)),
            (CUSTOM, "v1beta1" | "v1beta2", _) => custom::values(self, version, rest, request.uri.query()).await,
            (EXTERNAL, EXTERNAL_VERSION, []) => Ok(external::resources()),
            (EXTERNAL, EXTERNAL_VERSION, ["namespaces", namespace, metric]) => {
                external::values(self, namespace, metric, request.uri.query()).await
            }
            _ => Err(Problem::no_such_path()),
        }
    }
}

/// Why there is no answer.
#[derive(Debug)]
struct Problem {
    code: StatusCode,
    reason: &'static str,
    message: String,
}

impl Problem {
    fn new(code: StatusCode, reason: &'static str, message: impl Display) -> Self {
        Self { code, reason, message: message.to_string() }
    }

    fn no_such_path() -> Self {
        Self::new(StatusCode::NOT_FOUND, "NotFound", "the server could not find the requested resource")
    }

    fn bad_request(message: impl Display) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "BadRequest", message)
    }

    /// There is no such value, which is how adapters tell an autoscaler that it knows nothing.
    fn no_value(metric: &str, of: &str, why: impl Display) -> Self {
        let message = format!("the server could not find the metric {metric} for {of}: {why}");
        Self::new(StatusCode::NOT_FOUND, "NotFound", message)
    }

    /// The objects are not known yet.
    fn starting() -> Self {
        let message = "the gateway has not read what there is yet: ask again in a moment";
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "ServiceUnavailable", message)
    }

    /// As the API writes it.
    fn status(&self) -> Value {
        json!({
            "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
            "message": self.message, "reason": self.reason, "code": self.code.as_u16(),
        })
    }
}

/// A metric by its name.
fn measure(name: &str) -> Result<&'static Measure, Problem> {
    let no_such = || {
        let known: Vec<_> = MEASURES.iter().map(|measure| measure.name).collect();
        let message = format!("the server could not find the metric {name}: there are {}", known.join(", "));
        Problem::new(StatusCode::NOT_FOUND, "NotFound", message)
    };
    Measure::find(name).ok_or_else(no_such)
}

/// A parameter of a query that is a label selector; an absent one selects everything.
fn selector(query: Option<&str>, parameter: &str) -> Result<Labels, Problem> {
    let mut pairs = form_urlencoded::parse(query.unwrap_or_default().as_bytes());
    let text = pairs.find(|(name, _)| name == parameter).map(|(_, text)| text).unwrap_or_default();
    Labels::parse(&text).map_err(|error| Problem::bad_request(format_args!("{parameter}: {error}")))
}

/// One value, with what every sort of metric says of it: when it was taken, over which time, and how much it is.
struct Reading {
    value: u64,
    elapsed: u64,
    taken: Timestamp,
}

/// Why there is no value.
#[derive(Debug, thiserror::Error)]
enum Absent {
    #[error(transparent)]
    Unknown(#[from] Unknown),
    #[error("this metric says nothing of a single moment: choose another window than 0s")]
    Moment,
    #[error("no request has ended in the last {0:?}")]
    NoSample(Duration),
}

impl Reading {
    fn of(
        (history, taken): (&History, Timestamp),
        measure: &Measure,
        window: &Window,
        whose: &Whose<'_>,
    ) -> Result<Self, Absent> {
        let change: Change = history.change(window.length, whose, measure.requests)?;
        let moment = window.length.is_zero();
        let absent = || if moment { Absent::Moment } else { Absent::NoSample(window.length) };
        let value = measure.millis(&change).ok_or_else(absent)?;
        Ok(Self { value, elapsed: change.elapsed, taken })
    }

    fn value(&self) -> Value {
        Quantity::from_millis(self.value.into()).to_string().into()
    }

    /// RFC 3339, to the second.
    fn timestamp(&self) -> Value {
        json!(Time(self.taken))
    }

    fn seconds(&self) -> Value {
        ((self.elapsed + 500_000_000) / 1_000_000_000).into()
    }
}

/// A list of values.
fn list(kind: &str, group_version: &str, items: Vec<Map<String, Value>>) -> Value {
    json!({"kind": kind, "apiVersion": group_version, "metadata": {}, "items": items})
}

/// What a group and version has: names, and whether they are in namespaces.
fn resources(group_version: &str, kind: &str, names: impl Iterator<Item = (String, bool)>) -> Value {
    let one = |(name, namespaced): (String, bool)| json!({"name": name, "singularName": "", "namespaced": namespaced, "kind": kind, "verbs": ["get"]});
    let resources: Vec<Value> = names.map(one).collect();
    json!({"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": group_version, "resources": resources})
}
