//! What happened to the last conversations, kept in memory: times and counts, never what was said.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, PoisonError},
};

use jiff::Timestamp;
use serde::Serialize;
use tokio::time::Instant;
use utoipa::ToSchema;

use crate::answer::{Finish, Usage};

/// One step of a conversation.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Span {
    /// `queue` (waiting for its turn), `attempt` and `backoff` (asking an endpoint), `first_token`, `generate`.
    pub name: &'static str,
    /// When it began, from the conversation's start.
    pub start_ms: f64,
    /// How long it took.
    pub duration_ms: f64,
    /// `ok`, or what went wrong.
    pub outcome: &'static str,
}

/// A conversation that is over.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Trace {
    /// The request's id, as in the answer's `X-Request-Id` and in the log.
    pub request_id: String,
    /// The W3C trace that it is part of.
    pub trace_id: Option<String>,
    /// When it began.
    #[schema(value_type = String, format = DateTime)]
    pub started_at: Timestamp,
    /// How long it took.
    pub duration_ms: f64,
    /// Until the first piece of text.
    pub first_token_ms: Option<f64>,
    /// The model that answered.
    pub model: String,
    /// Whether the answer came in pieces.
    pub stream: bool,
    /// `ok`, `cancelled` (the client went away), or what failed: `unreachable`, `busy`, `refused`, `broken`, `late`, `rejected`.
    pub outcome: &'static str,
    /// Why the text ended.
    pub finish_reason: Option<Finish>,
    /// How many tokens there were, if that is known.
    pub usage: Option<Usage>,
    /// What they cost by the prices that are set.
    pub cost_usd: Option<f64>,
    /// The steps, in the order of their beginning.
    pub spans: Vec<Span>,
}

/// Measures the steps of one conversation.
#[derive(Debug)]
pub struct Recorder {
    /// When the conversation began, by the calendar.
    pub at: Timestamp,
    began: Instant,
    spans: Vec<Span>,
}

/// A span that has begun.
#[derive(Clone, Copy, Debug)]
pub struct Open(usize);

impl Recorder {
    /// A conversation that begins now.
    pub fn start() -> Self {
        Self { at: Timestamp::now(), began: Instant::now(), spans: Vec::new() }
    }

    /// Milliseconds since the start.
    pub fn elapsed(&self) -> f64 {
        self.began.elapsed().as_secs_f64() * 1000.0
    }

    /// Begins a span, which counts as cancelled until it is ended.
    pub fn begin(&mut self, name: &'static str) -> Open {
        self.spans.push(Span { name, start_ms: self.elapsed(), duration_ms: 0.0, outcome: "cancelled" });
        Open(self.spans.len() - 1)
    }

    /// Ends a span.
    pub fn end(&mut self, span: Open, outcome: &'static str) {
        let now = self.elapsed();
        if let Some(span) = self.spans.get_mut(span.0) {
            span.duration_ms = now - span.start_ms;
            span.outcome = outcome;
        }
    }

    /// The spans; those still open end now.
    pub fn finish(&mut self) -> Vec<Span> {
        let now = self.elapsed();
        for span in self.spans.iter_mut().filter(|span| span.duration_ms == 0.0) {
            span.duration_ms = now - span.start_ms;
        }
        std::mem::take(&mut self.spans)
    }
}

/// The last traces; a new one beyond the bound pushes out the oldest.
#[derive(Debug)]
pub struct Traces {
    bound: usize,
    kept: Mutex<VecDeque<Arc<Trace>>>,
}

impl Traces {
    /// Keeps the last `bound`.
    pub fn new(bound: usize) -> Self {
        Self { bound, kept: Mutex::default() }
    }

    /// Keeps `trace`.
    pub fn keep(&self, trace: Trace) {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.push_back(Arc::new(trace));
        while kept.len() > self.bound {
            kept.pop_front();
        }
    }

    /// The last `count`, the newest first.
    pub fn last(&self, count: usize) -> Vec<Arc<Trace>> {
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.iter().rev().take(count).cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_last_traces_are_kept() {
        let traces = Traces::new(2);
        for id in ["a", "b", "c"] {
            let mut recorder = Recorder::start();
            let span = recorder.begin("queue");
            recorder.end(span, "ok");
            recorder.begin("attempt");
            traces.keep(Trace {
                request_id: id.to_owned(),
                trace_id: None,
                started_at: recorder.at,
                duration_ms: recorder.elapsed(),
                first_token_ms: None,
                model: String::new(),
                stream: false,
                outcome: "ok",
                finish_reason: None,
                usage: None,
                cost_usd: None,
                spans: recorder.finish(),
            });
        }
        let ids: Vec<_> = traces.last(9).iter().map(|trace| trace.request_id.clone()).collect();
        assert_eq!(ids, ["c", "b"]);
        let spans = &traces.last(1)[0].spans;
        assert_eq!((spans[0].outcome, spans[1].outcome), ("ok", "cancelled"), "a span that nobody ended was cancelled");
    }
}
