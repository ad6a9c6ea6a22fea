//! What conversations cost: counted for Prometheus.

use prometheus::{Counter, Histogram, HistogramOpts, IntCounterVec, IntGauge, Opts, Registry};

use crate::trace::Trace;

/// The service's own metrics, beside those of every service.
#[derive(Clone)]
pub struct Metrics {
    conversations: IntCounterVec,
    tokens: IntCounterVec,
    uncounted: prometheus::IntCounter,
    cost: Counter,
    first_token: Histogram,
    duration: Histogram,
    attempts: IntCounterVec,
    /// Conversations that are being answered.
    pub active: IntGauge,
    /// Conversations that wait for their turn.
    pub waiting: IntGauge,
}

impl Metrics {
    /// Registers them.
    ///
    /// # Errors
    /// A name is registered already.
    pub fn new(registry: &Registry) -> Result<Self, prometheus::Error> {
        let buckets = vec![0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0];
        let histogram = |name, help| Histogram::with_opts(HistogramOpts::new(name, help).buckets(buckets.clone()));
        let metrics = Self {
            conversations: IntCounterVec::new(
                Opts::new("llm_conversations_total", "Conversations that are over, by how they ended"),
                &["outcome"],
            )?,
            tokens: IntCounterVec::new(
                Opts::new("llm_tokens_total", "Tokens that went in (prompt) and out (completion)"),
                &["kind"],
            )?,
            uncounted: prometheus::IntCounter::new(
                "llm_uncounted_answers_total",
                "Answers whose endpoint did not say how many tokens they had; they are in no sum of tokens and costs",
            )?,
            cost: Counter::new("llm_cost_usd_total", "What the tokens cost by the prices that are set")?,
            first_token: histogram("llm_first_token_seconds", "Until the first piece of an answer")?,
            duration: histogram("llm_conversation_seconds", "Until an answer was over")?,
            attempts: IntCounterVec::new(
                Opts::new("llm_upstream_attempts_total", "Requests to the model's endpoint, by outcome"),
                &["outcome"],
            )?,
            active: IntGauge::new("llm_active_conversations", "Conversations that are being answered")?,
            waiting: IntGauge::new("llm_waiting_conversations", "Conversations that wait for their turn")?,
        };
        for collector in [
            Box::new(metrics.conversations.clone()) as Box<dyn prometheus::core::Collector>,
            Box::new(metrics.tokens.clone()),
            Box::new(metrics.uncounted.clone()),
            Box::new(metrics.cost.clone()),
            Box::new(metrics.first_token.clone()),
            Box::new(metrics.duration.clone()),
            Box::new(metrics.attempts.clone()),
            Box::new(metrics.active.clone()),
            Box::new(metrics.waiting.clone()),
        ] {
            registry.register(collector)?;
        }
        Ok(metrics)
    }

    /// Counts a conversation that is over, whose answer had `begun` or not. One that broke off or whose client went away costs something
    /// all the same; endpoints say how much at the end, which is not heard then.
    pub fn count(&self, trace: &Trace, begun: bool) {
        self.conversations.with_label_values(&[trace.outcome]).inc();
        self.duration.observe(trace.duration_ms / 1000.0);
        if let Some(first) = trace.first_token_ms {
            self.first_token.observe(first / 1000.0);
        }
        for span in trace.spans.iter().filter(|span| span.name == "attempt") {
            self.attempts.with_label_values(&[span.outcome]).inc();
        }
        match trace.usage {
            Some(usage) => {
                self.tokens.with_label_values(&["prompt"]).inc_by(usage.prompt_tokens);
                self.tokens.with_label_values(&["completion"]).inc_by(usage.completion_tokens);
            }
            None if begun => self.uncounted.inc(),
            None => {}
        }
        self.cost.inc_by(trace.cost_usd.unwrap_or_default());
    }
}
