//! Where conversations are taken up: so many at a time, some waiting their turn, each measured to its end however it ends.

use std::sync::{Arc, Weak};

use service::problem::Problem;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::{
    answer::{Answer, Event, Failure, Finish, Usage},
    ask::{self, Ask},
    config::{Config, Prices},
    metrics::Metrics,
    model::{self, Model, Style, Writer},
    trace::{Open, Recorder, Trace, Traces},
    upstream::Upstream,
};

/// Who answers.
pub enum Source {
    /// The model in the binary.
    BuiltIn(Arc<Model>),
    /// Another server.
    Upstream(Box<Upstream>),
}

impl Source {
    /// The model's name, as answers give it.
    pub fn model(&self) -> &str {
        match self {
            Self::BuiltIn(_) => model::NAME,
            Self::Upstream(upstream) => upstream.model(),
        }
    }
}

/// Takes up conversations.
pub struct Desk {
    source: Source,
    prices: Prices,
    turns: Arc<Semaphore>,
    queue: Semaphore,
    wait: std::time::Duration,
    metrics: Metrics,
    /// The last conversations.
    pub traces: Traces,
}

impl Desk {
    /// A desk that `source` answers at.
    pub fn new(config: &Config, source: Source, metrics: Metrics) -> Arc<Self> {
        Arc::new(Self {
            source,
            prices: config.prices,
            turns: Arc::new(Semaphore::new(config.concurrency)),
            queue: Semaphore::new(config.queue),
            wait: config.wait,
            metrics,
            traces: Traces::new(config.traces),
        })
    }

    /// The name of the model that answers.
    pub fn model(&self) -> &str {
        self.source.model()
    }

    /// Takes up a conversation; answers when its answer begins.
    ///
    /// # Errors
    /// Too many wait already or the wait was too long (503), or there is no answer: see [`problem`].
    pub async fn take(self: &Arc<Self>, ask: &Ask) -> Result<Conversation, Problem> {
        let mut account = Account::open(self, ask.stream);
        let permit = match self.turn(&mut account.recorder).await {
            Some(permit) => permit,
            None => {
                account.outcome = "rejected";
                return Err(
                    Problem::unavailable("too many conversations at once; come back shortly").retry_after(self.wait)
                );
            }
        };
        self.metrics.active.inc();
        let active = Active { metrics: self.metrics.clone(), _permit: permit };
        let answer = match &self.source {
            Source::BuiltIn(model) => Ok(built_in(model, ask)),
            Source::Upstream(upstream) => {
                upstream.ask(ask, &mut account.recorder).await.map(|answer| Answer::Upstream(Box::new(answer)))
            }
        };
        let answer = answer.map_err(|failure| account.fail(&failure))?;
        let span = account.recorder.begin("first_token");
        let mut conversation = Conversation { answer, span, first: None, account, _active: active };
        // The status of the answer depends on whether there is one.
        conversation.first = Some(conversation.read().await?);
        Ok(conversation)
    }

    /// Waits for a turn; `None` if the queue is full or the wait too long.
    async fn turn(&self, recorder: &mut Recorder) -> Option<OwnedSemaphorePermit> {
        if let Ok(permit) = Arc::clone(&self.turns).try_acquire_owned() {
            return Some(permit);
        }
        let _place = self.queue.try_acquire().ok()?;
        let span = recorder.begin("queue");
        self.metrics.waiting.inc();
        let _waiting = Waiting(&self.metrics);
        let permit = tokio::time::timeout(self.wait, Arc::clone(&self.turns).acquire_owned()).await.ok()?.ok()?;
        recorder.end(span, "ok");
        Some(permit)
    }
}

struct Waiting<'a>(&'a Metrics);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.waiting.dec();
    }
}

struct Active {
    metrics: Metrics,
    _permit: OwnedSemaphorePermit,
}

impl Drop for Active {
    fn drop(&mut self) {
        self.metrics.active.dec();
    }
}

fn built_in(model: &Arc<Model>, ask: &Ask) -> Answer {
    let style = Style {
        temperature: ask.temperature.unwrap_or(ask::TEMPERATURE) as f32,
        top_p: ask.top_p.unwrap_or(1.0) as f32,
        max_tokens: ask.max_tokens.unwrap_or(ask::TOKENS),
        stop: ask.stop.clone(),
        seed: ask.seed.unwrap_or_else(crate::random),
    };
    let length = ask.messages.iter().map(|message| model::length(&message.content)).sum();
    Answer::BuiltIn(Box::new(Writer::new(Arc::clone(model), ask.prompt(), style)), length)
}

/// What a failed answer tells the client.
pub fn problem(failure: &Failure) -> Problem {
    use axum::http::StatusCode;
    let status = match failure {
        Failure::Refused(_) => StatusCode::UNPROCESSABLE_ENTITY,
        Failure::Busy { after, .. } => {
            let problem = Problem::unavailable(failure.to_string());
            return after.map_or(problem.clone(), |after| problem.retry_after(after));
        }
        Failure::Unreachable(_) | Failure::Broken(_) => StatusCode::BAD_GATEWAY,
        Failure::Late(_) => StatusCode::GATEWAY_TIMEOUT,
    };
    Problem::of(status).detail(failure.to_string())
}

/// A conversation whose answer has begun. Dropping it before its end cancels it.
pub struct Conversation {
    answer: Answer,
    span: Open,
    first: Option<Event>,
    account: Account,
    _active: Active,
}

impl Conversation {
    /// What happens next; after the end, the end is not told again.
    ///
    /// # Errors
    /// The answer broke off.
    pub async fn next(&mut self) -> Result<Event, Problem> {
        match self.first.take() {
            Some(event) => Ok(event),
            None => self.read().await,
        }
    }

    async fn read(&mut self) -> Result<Event, Problem> {
        let event = self.answer.next().await;
        // However it ends from here on, what is known of its cost by now is told.
        self.account.begun |= event.is_ok();
        self.account.usage = self.answer.counted();
        let recorder = &mut self.account.recorder;
        if self.account.first_token.is_none() {
            self.account.first_token = Some(recorder.elapsed());
            recorder.end(self.span, event.as_ref().err().map_or("ok", Failure::name));
            if event.is_ok() {
                self.span = recorder.begin("generate");
            }
        }
        match &event {
            Ok(Event::Text(_)) => {}
            Ok(Event::End(finish, usage)) => {
                self.account.recorder.end(self.span, "ok");
                self.account.outcome = "ok";
                self.account.finish = Some(*finish);
                self.account.usage = *usage;
            }
            Err(failure) => {
                self.account.recorder.end(self.span, failure.name());
                return Err(self.account.fail(failure));
            }
        }
        event.map_err(|failure| problem(&failure))
    }

    /// What `usage` costs by the prices that are set; `None` if nobody counted.
    pub fn cost(&self) -> Option<f64> {
        self.account.cost()
    }

    /// The model that answers.
    pub fn model(&self) -> &str {
        &self.account.model
    }
}

/// Keeps a conversation's measures, and hands them in when it is dropped: an answer, a failure and a client that went away are all
/// told.
struct Account {
    desk: Weak<Desk>,
    recorder: Recorder,
    request_id: String,
    trace_id: Option<String>,
    model: String,
    prices: Prices,
    stream: bool,
    first_token: Option<f64>,
    /// Some of the answer came, so that it costs something.
    begun: bool,
    outcome: &'static str,
    finish: Option<Finish>,
    usage: Option<Usage>,
}

impl Account {
    fn open(desk: &Arc<Desk>, stream: bool) -> Self {
        Self {
            desk: Arc::downgrade(desk),
            recorder: Recorder::start(),
            request_id: service::trace::request_id().map(|id| id.to_string()).unwrap_or_default(),
            trace_id: service::trace::current().map(|context| format!("{:032x}", context.trace_id)),
            model: desk.model().to_owned(),
            prices: desk.prices,
            stream,
            first_token: None,
            begun: false,
            outcome: "cancelled",
            finish: None,
            usage: None,
        }
    }

    fn fail(&mut self, failure: &Failure) -> Problem {
        self.outcome = failure.name();
        tracing::warn!(outcome = failure.name(), error = %failure, "a conversation has no answer");
        problem(failure)
    }

    fn cost(&self) -> Option<f64> {
        let usage = self.usage?;
        let dollars =
            usage.prompt_tokens as f64 * self.prices.prompt + usage.completion_tokens as f64 * self.prices.completion;
        Some(dollars / 1e6)
    }
}

impl Drop for Account {
    fn drop(&mut self) {
        let Some(desk) = self.desk.upgrade() else { return };
        let trace = Trace {
            request_id: std::mem::take(&mut self.request_id),
            trace_id: self.trace_id.take(),
            started_at: self.recorder.at,
            duration_ms: self.recorder.elapsed(),
            first_token_ms: self.first_token.filter(|_| self.outcome == "ok" || self.outcome == "cancelled"),
            model: std::mem::take(&mut self.model),
            stream: self.stream,
            outcome: self.outcome,
            finish_reason: self.finish,
            usage: self.usage,
            cost_usd: self.cost(),
            spans: self.recorder.finish(),
        };
        desk.metrics.count(&trace, self.begun);
        desk.traces.keep(trace);
    }
}
