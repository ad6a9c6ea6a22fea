//! A client of any OpenAI-compatible endpoint: timeouts on connecting, on the first piece and on the whole; retries until the first
//! byte of an answer, as the endpoint asks for them; dropping an answer closes its connection, which stops the model.

mod retry;
mod sse;
mod wire;

use std::time::Duration;

use futures::{StreamExt, stream::BoxStream};
use reqwest::{StatusCode, Url, header};
use service::config::Secret;
use tokio::time::Instant;

use crate::{
    answer::{Event, Failure, Usage},
    ask::Ask,
    trace::Recorder,
};
use retry::Retry;

/// Bytes of an answer that is not streamed, and of a refusal.
const BODY_BYTES: usize = 4 << 20;

/// Where the endpoint is, and how long to wait for what.
#[derive(Clone, Debug)]
pub struct Config {
    /// The base, as in `https://api.example.com/v1/`.
    pub base: Url,
    /// Sent as a bearer token.
    pub key: Option<Secret>,
    /// The model to ask.
    pub model: String,
    /// `LLM_CONNECT_SECONDS`: for a connection; 5.
    pub connect: Duration,
    /// `LLM_SILENCE_SECONDS`: between sending a request and the first piece of its answer, and then between two pieces; 30.
    pub silence: Duration,
    /// `LLM_TOTAL_SECONDS`: for everything, with all retries; 120.
    pub total: Duration,
    /// `LLM_ATTEMPTS`: how often to try at most; 3.
    pub attempts: u32,
}

/// The client.
pub struct Upstream {
    http: reqwest::Client,
    url: Url,
    config: Config,
}

impl Upstream {
    /// A client of the endpoint that `config` names.
    ///
    /// # Errors
    /// The base cannot carry a path, or TLS cannot be set up.
    pub fn new(config: Config) -> Result<Self, String> {
        let mut url = config.base.clone();
        url.path_segments_mut()
            .map_err(|()| format!("{} cannot be the base of an endpoint", config.base))?
            .pop_if_empty()
            .extend(["chat", "completions"]);
        let http = reqwest::Client::builder()
            .connect_timeout(config.connect)
            // A redirect would carry the key to where nobody configured it.
            .redirect(reqwest::redirect::Policy::none())
            .user_agent(concat!("llm/", env!("CARGO_PKG_VERSION")))
            .build()
            .map_err(|e| format!("the client of {}: {e}", config.base))?;
        Ok(Self { http, url, config })
    }

    /// The model that is asked.
    pub fn model(&self) -> &str {
        &self.config.model
    }

    /// Asks, and again if the endpoint is busy or gone for the moment; answers as soon as an answer begins.
    ///
    /// # Errors
    /// There is none, after all attempts or all time.
    pub async fn ask(&self, ask: &Ask, trace: &mut Recorder) -> Result<Answer, Failure> {
        let deadline = Instant::now() + self.config.total;
        let mut retry = Retry::new(self.config.attempts);
        loop {
            let span = trace.begin("attempt");
            let outcome = self.attempt(ask, deadline).await;
            trace.end(span, outcome.as_ref().err().map_or("ok", |failure| failure.name()));
            let failure = match outcome {
                Ok(answer) => return Ok(answer),
                Err(failure) => failure,
            };
            let Some(wait) = retry.after(&failure, crate::random()) else { return Err(failure) };
            // The endpoint may ask for a wait beyond all time.
            if wait >= deadline.saturating_duration_since(Instant::now()) {
                return Err(failure);
            }
            let span = trace.begin("backoff");
            tokio::time::sleep(wait).await;
            trace.end(span, "ok");
        }
    }

    async fn attempt(&self, ask: &Ask, deadline: Instant) -> Result<Answer, Failure> {
        let first = deadline.min(Instant::now() + self.config.silence);
        let mut request = self.http.post(self.url.clone()).json(&wire::Request::new(&self.config.model, ask));
        request = request.header(header::ACCEPT, "text/event-stream");
        if let Some(key) = &self.config.key {
            request = request.bearer_auth(key.expose());
        }
        let response = tokio::time::timeout_at(first, request.send())
            .await
            .map_err(|_| Failure::Late("to begin its answer"))?
            .map_err(|e| Failure::Unreachable(root(&e)))?;
        let status = response.status();
        if !status.is_success() {
            return Err(refusal(status, response, first).await);
        }
        let streamed = response
            .headers()
            .get(header::CONTENT_TYPE)
            .and_then(|kind| kind.to_str().ok())
            .is_some_and(|kind| kind.starts_with("text/event-stream"));
        let mut answer = Answer {
            body: response.bytes_stream().map(|piece| piece.map(|b| b.to_vec()).map_err(|e| root(&e))).boxed(),
            parser: streamed.then(sse::Parser::default),
            end: wire::End::default(),
            ready: std::collections::VecDeque::new(),
            silence: self.config.silence,
            deadline,
        };
        // An answer has begun when there is something to show; until then nothing is lost by asking again.
        let event = answer.next_before(first).await.map_err(|failure| match failure {
            Failure::Late(_) => Failure::Late("to begin its answer"),
            other => other,
        })?;
        answer.ready.push_front(event);
        Ok(answer)
    }
}

/// Reads why the endpoint refused.
async fn refusal(status: StatusCode, response: reqwest::Response, until: Instant) -> Failure {
    let after = response.headers().get(header::RETRY_AFTER).and_then(|value| value.to_str().ok()).map(str::to_owned);
    if status == StatusCode::TOO_MANY_REQUESTS || status.is_server_error() {
        let after = after.and_then(|value| retry::after(&value, jiff::Timestamp::now()));
        return Failure::Busy { status: status.as_u16(), after };
    }
    let mut body = response.bytes_stream().map(|piece| piece.map(|b| b.to_vec()).map_err(|e| root(&e))).boxed();
    let words = match tokio::time::timeout_at(until, whole(&mut body)).await {
        Ok(Ok(text)) => wire::complaint(&text),
        _ => String::new(),
    };
    match status {
        // What was asked is wrong, and the asker can change it.
        StatusCode::BAD_REQUEST | StatusCode::PAYLOAD_TOO_LARGE | StatusCode::UNPROCESSABLE_ENTITY => {
            Failure::Refused(words)
        }
        // The key, the model or the address is wrong: nobody but who configured it can help.
        _ => Failure::Broken(format!("it answered {status}: {words}")),
    }
}

/// An answer of the endpoint, as it comes.
pub struct Answer {
    body: BoxStream<'static, Result<Vec<u8>, String>>,
    /// `None` for an endpoint that answers with one JSON document though asked to stream.
    parser: Option<sse::Parser>,
    end: wire::End,
    ready: std::collections::VecDeque<Event>,
    silence: Duration,
    deadline: Instant,
}

impl Answer {
    /// How many tokens there were, as far as the endpoint has said.
    pub fn counted(&self) -> Option<Usage> {
        self.end.usage()
    }

    /// What happens next.
    ///
    /// # Errors
    /// The answer broke off, is none, or does not come.
    pub async fn next(&mut self) -> Result<Event, Failure> {
        let until = self.deadline.min(Instant::now() + self.silence);
        self.next_before(until).await
    }

    async fn next_before(&mut self, until: Instant) -> Result<Event, Failure> {
        if let Some(event) = self.ready.pop_front() {
            return Ok(event);
        }
        match tokio::time::timeout_at(until, self.read()).await {
            Ok(event) => event,
            // It has said why it ends: only what follows a text is late.
            Err(_) if self.end.event().is_some() => self.ended(),
            Err(_) if until == self.deadline => Err(Failure::Late("over the whole answer")),
            Err(_) => Err(Failure::Late("between two pieces of its answer")),
        }
    }

    /// The end, after which nothing comes.
    fn ended(&self) -> Result<Event, Failure> {
        self.end.event().ok_or_else(|| Failure::Broken("it broke off".to_owned()))
    }

    async fn read(&mut self) -> Result<Event, Failure> {
        if self.parser.is_none() {
            let text = whole(&mut self.body).await.map_err(Failure::Broken)?;
            let text = self.end.read(&text)?;
            let end = self.end.event().ok_or_else(|| Failure::Broken("it does not say why it ended".to_owned()))?;
            self.ready.extend((!text.is_empty()).then_some(Event::Text(text)).into_iter().chain([end]));
        }
        while self.ready.is_empty() {
            let piece = match self.body.next().await {
                Some(Ok(piece)) => piece,
                // Without a reason for its end the text may have been cut anywhere. With one it is whole, however the connection ends:
                // what comes after it, if anything does, is the counts.
                Some(Err(_)) if self.end.event().is_some() => return self.ended(),
                Some(Err(why)) => return Err(Failure::Broken(why)),
                None => return self.ended(),
            };
            let events = self.parser.as_mut().map_or(Ok(Vec::new()), |parser| parser.push(&piece));
            for data in events.map_err(|_| Failure::Broken("an event of it is too large".to_owned()))? {
                if data == "[DONE]" {
                    let end =
                        self.end.event().ok_or_else(|| Failure::Broken("it does not say why it ended".to_owned()))?;
                    self.ready.push_back(end);
                    break;
                }
                let text = self.end.read(&data)?;
                if !text.is_empty() {
                    self.ready.push_back(Event::Text(text));
                }
            }
        }
        self.ready.pop_front().ok_or_else(|| Failure::Broken("it broke off".to_owned()))
    }
}

async fn whole(body: &mut BoxStream<'static, Result<Vec<u8>, String>>) -> Result<String, String> {
    let mut bytes = Vec::new();
    while let Some(piece) = body.next().await {
        bytes.extend(piece?);
        if bytes.len() > BODY_BYTES {
            return Err("it is too large".to_owned());
        }
    }
    String::from_utf8(bytes).map_err(|_| "it is not UTF-8".to_owned())
}

/// An error's last cause, which says most; never the address, which may hold what is nobody's business.
fn root(error: &reqwest::Error) -> String {
    let mut cause: &dyn std::error::Error = error;
    while let Some(next) = cause.source() {
        cause = next;
    }
    cause.to_string()
}
