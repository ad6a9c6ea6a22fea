//! Logs: one line per event on standard output, as JSON (or as text, for a person at a terminal), in three streams told apart by the
//! member `stream`: what the service does (`application`), what it was asked (`access`), and who did what to what (`audit`).
//!
//! Everything that is logged with `tracing` goes through here. The fields of the spans around an event, the request's id and its trace
//! among them, are in its line. `LOG_LEVEL` applies to the application stream only.

mod line;
mod sink;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use tracing::{
    Event, Subscriber,
    span::{Attributes, Id, Record},
};
use tracing_subscriber::{
    Layer,
    filter::{LevelFilter, Targets},
    layer::Context,
    registry::LookupSpan,
};

pub use line::Format;
pub use sink::Sink;

/// The target of events of the access stream.
pub(crate) const ACCESS: &str = "access";
/// The target of events of the audit stream.
pub(crate) const AUDIT: &str = "audit";
/// The target of the span around each request.
pub(crate) const REQUEST: &str = "service::request";

/// Writes every event that it is shown as a line into a [`Sink`].
pub struct LogLayer {
    sink: Sink,
    service: Arc<str>,
    format: Format,
}

impl LogLayer {
    /// Lines of the service `service`, in `format`, into `sink`.
    pub fn new(service: &str, format: Format, sink: Sink) -> Self {
        Self { sink, service: service.into(), format }
    }
}

/// What is logged: the application stream by `level` (as `LOG_LEVEL` has it: `info`, or `info,sqlx=warn`), audit always, access if
/// `access`.
pub fn filter(level: Targets, access: bool) -> Targets {
    let access = if access { LevelFilter::INFO } else { LevelFilter::OFF };
    level.with_target(ACCESS, access).with_target(AUDIT, LevelFilter::TRACE).with_target(REQUEST, LevelFilter::INFO)
}

/// The fields of a span, as they will be in the lines of its events.
struct Fields(Vec<u8>);

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for LogLayer {
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        let Some(span) = context.span(id) else { return };
        let mut fields = Vec::new();
        let mut visitor = line::Visitor::new(self.format, &mut fields, span.metadata().target() == REQUEST);
        attributes.record(&mut visitor);
        if !fields.is_empty() {
            span.extensions_mut().insert(Fields(fields));
        }
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, context: Context<'_, S>) {
        let Some(span) = context.span(id) else { return };
        let mut extensions = span.extensions_mut();
        let mut fields = extensions.remove::<Fields>().unwrap_or(Fields(Vec::new()));
        values.record(&mut line::Visitor::new(self.format, &mut fields.0, span.metadata().target() == REQUEST));
        extensions.insert(fields);
    }

    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        line::with_buffer(|line| {
            line::begin(self.format, line, &self.service, event.metadata(), jiff::Timestamp::now());
            event.record(&mut line::Visitor::new(self.format, line, false));
            for span in context.event_scope(event).into_iter().flat_map(tracing_subscriber::registry::Scope::from_root)
            {
                if let Some(Fields(fields)) = span.extensions().get() {
                    line.extend_from_slice(fields);
                }
            }
            line::end(self.format, line);
            self.sink.write(line);
        });
    }
}
