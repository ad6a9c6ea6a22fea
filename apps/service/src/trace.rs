//! The identity of the request being handled: its id, and its place in a distributed trace (W3C Trace Context), taken from the client
//! or made here, and handed on to whatever the service calls in turn.

use std::{fmt, sync::Arc};

use http::{HeaderMap, HeaderName, HeaderValue};
use opentelemetry::{
    Context,
    trace::{SpanContext, SpanId, TraceContextExt, TraceFlags, TraceId, TraceState},
};
use tracing::Span;
use tracing_opentelemetry::OpenTelemetrySpanExt;

/// The header with the request's id.
pub const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
const TRACESTATE: HeaderName = HeaderName::from_static("tracestate");
/// Characters that a client's request id may have.
const ID_LENGTH: usize = 128;
/// Bytes of `tracestate` that are handed on (the standard asks for at least 512).
const STATE_LENGTH: usize = 1024;

tokio::task_local! {
    static CURRENT: Arc<Ids>;
}

/// Who a request is.
#[derive(Debug)]
pub(crate) struct Ids {
    /// `X-Request-Id`, from the client if it is well-formed, else a UUIDv7.
    pub request: Arc<str>,
    /// The trace and this service's span in it.
    pub trace: TraceContext,
}

/// A place in a trace, as `traceparent` and `tracestate` have it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TraceContext {
    /// The whole trace; never zero.
    pub trace_id: u128,
    /// The span that is the parent of what is called next; never zero.
    pub span_id: u64,
    /// Whether the trace is being recorded.
    pub sampled: bool,
    /// The vendors' state, as it came.
    pub state: Option<HeaderValue>,
}

impl TraceContext {
    /// Reads the headers of a request. `None` if there is no valid `traceparent`: the standard says to start a trace of one's own then.
    pub fn from_headers(headers: &HeaderMap) -> Option<Self> {
        let mut parents = headers.get_all(TRACEPARENT).iter();
        let (parent, None) = (parents.next()?, parents.next()) else { return None };
        let mut context = Self::parse(parent.to_str().ok()?)?;
        let mut states = headers.get_all(TRACESTATE).iter();
        context.state = match (states.next(), states.next()) {
            (Some(state), None) if state.len() <= STATE_LENGTH => Some(state.clone()),
            _ => None,
        };
        Some(context)
    }

    /// Reads `00-<32 lower-case hex digits>-<16>-<2>`. Later versions may be longer and are read as version 00; version ff, zero ids
    /// and upper-case digits are invalid.
    pub fn parse(parent: &str) -> Option<Self> {
        let hex = |part: &str, digits: usize| {
            (part.len() == digits && part.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')))
                .then(|| u128::from_str_radix(part, 16).ok())?
        };
        let mut parts = parent.split('-');
        let version = hex(parts.next()?, 2)?;
        let trace_id = hex(parts.next()?, 32)?;
        let span_id = u64::try_from(hex(parts.next()?, 16)?).ok()?;
        let flags = hex(parts.next()?, 2)?;
        let more = parts.next().is_some();
        let valid = version != 0xff && (version > 0 || !more) && trace_id != 0 && span_id != 0;
        valid.then_some(Self { trace_id, span_id, sampled: flags & 1 == 1, state: None })
    }

    /// The place of a new span below this one.
    pub(crate) fn child(&self) -> Self {
        Self { span_id: fastrand::u64(1..), ..self.clone() }
    }

    /// The first span of a new trace, recorded by nobody yet.
    pub(crate) fn root() -> Self {
        Self { trace_id: fastrand::u128(1..), span_id: fastrand::u64(1..), sampled: false, state: None }
    }

    /// As the SDK has it, as a parent that is elsewhere.
    pub(crate) fn remote(&self) -> Context {
        let state = self.state.as_ref().and_then(|s| s.to_str().ok()?.parse::<TraceState>().ok());
        Context::new().with_remote_span_context(SpanContext::new(
            TraceId::from(self.trace_id),
            SpanId::from(self.span_id),
            if self.sampled { TraceFlags::SAMPLED } else { TraceFlags::NOT_SAMPLED },
            true,
            state.unwrap_or_default(),
        ))
    }

    /// As the SDK's `span` has it; `None` if nobody traces.
    pub(crate) fn of_span(span: &Span) -> Option<Self> {
        let context = span.context();
        let span = context.span();
        let ids = span.span_context();
        ids.is_valid().then(|| Self {
            trace_id: u128::from_be_bytes(ids.trace_id().to_bytes()),
            span_id: u64::from_be_bytes(ids.span_id().to_bytes()),
            sampled: ids.is_sampled(),
            state: HeaderValue::from_str(&ids.trace_state().header()).ok().filter(|s| !s.is_empty()),
        })
    }
}

/// `traceparent`, version 00.
impl fmt::Display for TraceContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "00-{:032x}-{:016x}-{:02x}", self.trace_id, self.span_id, u8::from(self.sampled))
    }
}

/// The id that a client gave its request, if it is well-formed: 1 to 128 letters, digits and `-._~:/+=@`.
pub(crate) fn request_id_of(headers: &HeaderMap) -> Option<&str> {
    let id = headers.get(X_REQUEST_ID)?.to_str().ok()?;
    let well_formed = (1..=ID_LENGTH).contains(&id.len())
        && id.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._~:/+=@".contains(&b));
    well_formed.then_some(id)
}

/// A new request id: a UUIDv7, which sorts by time.
pub(crate) fn new_request_id(now: jiff::Timestamp) -> Arc<str> {
    let millis = u64::try_from(now.as_millisecond()).unwrap_or_default();
    let mut random = [0; 10];
    fastrand::fill(&mut random);
    let id = uuid::Builder::from_unix_timestamp_millis(millis, &random).into_uuid();
    Arc::from(&*id.hyphenated().encode_lower(&mut uuid::Uuid::encode_buffer()))
}

/// Runs `handling` as the handling of the request `ids`.
pub(crate) fn scope<F: Future>(ids: Arc<Ids>, handling: F) -> impl Future<Output = F::Output> {
    CURRENT.scope(ids, handling)
}

/// Goes on with `handling` in another task as the handling of the request of this one, if it is one's.
pub(crate) fn carried<F: Future>(handling: F) -> impl Future<Output = F::Output> {
    let ids = CURRENT.try_with(Arc::clone).ok();
    async move {
        match ids {
            Some(ids) => scope(ids, handling).await,
            None => handling.await,
        }
    }
}

/// The id of the request that this task handles. `None` in a background task.
pub fn request_id() -> Option<Arc<str>> {
    CURRENT.try_with(|ids| Arc::clone(&ids.request)).ok()
}

/// The place in the trace of what this task does now: of the innermost span if traces are exported, else of the request that it
/// handles. `None` in a background task.
pub fn current() -> Option<TraceContext> {
    TraceContext::of_span(&Span::current()).or_else(|| CURRENT.try_with(|ids| ids.trace.clone()).ok())
}

/// Hands the trace and the request's id on to a service that is called.
///
/// ```no_run
/// use service::trace::Propagate;
/// # async fn call(client: reqwest::Client) -> reqwest::Result<reqwest::Response> {
/// client.get("http://stock.internal/items").in_trace().send().await
/// # }
/// ```
pub trait Propagate {
    /// Adds `traceparent`, `tracestate` and `X-Request-Id` of what this task does now; nothing in a background task without a trace.
    #[must_use]
    fn in_trace(self) -> Self;
}

impl Propagate for reqwest::RequestBuilder {
    fn in_trace(self) -> Self {
        let mut headers = HeaderMap::new();
        inject(&mut headers);
        self.headers(headers)
    }
}

impl Propagate for HeaderMap {
    fn in_trace(mut self) -> Self {
        inject(&mut self);
        self
    }
}

fn inject(headers: &mut HeaderMap) {
    if let Some(context) = current() {
        headers.extend(HeaderValue::try_from(context.to_string()).ok().map(|v| (TRACEPARENT, v)));
        headers.extend(context.state.map(|state| (TRACESTATE, state)));
    }
    headers.extend(request_id().and_then(|id| HeaderValue::try_from(&*id).ok()).map(|v| (X_REQUEST_ID, v)));
}

#[cfg(test)]
mod tests {
    use super::*;

    const PARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    #[test]
    fn a_traceparent_is_read_and_written_as_it_was() {
        assert_eq!(TraceContext::parse(PARENT).unwrap().to_string(), PARENT);
    }

    #[test]
    fn an_invalid_traceparent_is_as_none() {
        for wrong in [
            "",
            "00",
            "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-more",
            "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e473-00f067aa0ba902b7-01",
            "00-+bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
        ] {
            assert_eq!(TraceContext::parse(wrong), None, "{wrong}");
        }
        let later = TraceContext::parse("01-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-03-what");
        assert_eq!(later.unwrap().to_string(), PARENT);
    }

    #[test]
    fn two_traceparents_are_as_none() {
        let mut headers = HeaderMap::new();
        headers.append(TRACEPARENT, HeaderValue::from_static(PARENT));
        assert!(TraceContext::from_headers(&headers).is_some());
        headers.append(TRACEPARENT, HeaderValue::from_static(PARENT));
        assert_eq!(TraceContext::from_headers(&headers), None);
    }

    #[test]
    fn a_clients_request_id_is_taken_only_if_it_is_harmless() {
        let of = |id: &str| {
            let headers = HeaderMap::from_iter([(X_REQUEST_ID, HeaderValue::from_bytes(id.as_bytes()).unwrap())]);
            request_id_of(&headers).map(str::to_owned)
        };
        assert_eq!(of("0198-a.b_c~d:e/f+g="), Some("0198-a.b_c~d:e/f+g=".to_owned()));
        for wrong in ["", "a b", "a\"b", "ü", &"x".repeat(129)] {
            assert_eq!(of(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn new_request_ids_are_version_7_and_differ() {
        let now = jiff::Timestamp::now();
        let (a, b) = (new_request_id(now), new_request_id(now));
        assert_ne!(a, b);
        assert_eq!(uuid::Uuid::parse_str(&a).unwrap().get_version_num(), 7);
    }
}
