//! The endpoints.

use std::{convert::Infallible, sync::Arc};

use axum::{
    extract::State,
    response::{
        IntoResponse, Response, Sse,
        sse::{self, KeepAlive},
    },
};
use futures::{Stream, StreamExt, stream};
use garde::Validate;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use service::{
    extract::{Json, Query},
    problem::{Answer, Problem},
};
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::{
    answer::{Event, Finish, StreamEvent, Usage},
    ask::{Ask, CompletionRequest},
    desk::{Conversation, Desk},
    trace::Trace,
};

/// The routes that answer in a conversation, each as long as that takes.
pub const CHATS: [&str; 2] = ["/chat", "/v1/chat/completions"];

/// The service's routes.
pub fn routes(desk: Arc<Desk>) -> OpenApiRouter {
    OpenApiRouter::new()
        .routes(routes!(chat))
        .routes(routes!(completions))
        .routes(routes!(models))
        .routes(routes!(traces))
        .with_state(desk)
}

/// An answer, whole.
#[derive(Debug, Serialize, ToSchema)]
pub struct ChatAnswer {
    /// Names this answer.
    pub id: String,
    /// The model that wrote it.
    pub model: String,
    /// The text.
    pub content: String,
    /// Why the text ended.
    pub finish_reason: Finish,
    /// How many tokens there were, if the model says.
    pub usage: Option<Usage>,
    /// What they cost by the prices that are set, in US dollars.
    pub cost_usd: Option<f64>,
}

/// Continues a conversation.
///
/// With `"stream": true` the answer is a stream of server-sent events: `data: {"content": "…"}` for each piece of text, then
/// `event: done` with the rest of what a whole answer says, or `event: error` with a problem.
#[utoipa::path(
    post, path = "/chat", tag = "chat", request_body = Ask,
    responses(
        (status = 200, description = "The answer, whole or as events", content(
            (ChatAnswer = "application/json"), (StreamEvent = "text/event-stream"))),
        (status = 422, description = "The body breaks a rule, or the model's endpoint refuses it", body = Problem, content_type = "application/problem+json"),
        (status = 502, description = "The model's endpoint gave no usable answer", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "Too many conversations at once, here or at the model's endpoint", body = Problem, content_type = "application/problem+json"),
        (status = 504, description = "The model's endpoint took too long", body = Problem, content_type = "application/problem+json"),
    ),
)]
async fn chat(State(desk): State<Arc<Desk>>, Json(ask): Json<Ask>) -> Answer<Response> {
    let conversation = desk.take(&ask).await?;
    let id = id("chat");
    if ask.stream {
        return Ok(events(Chat { id }, conversation));
    }
    let whole = whole(conversation).await?;
    Ok(Json(ChatAnswer {
        id,
        model: whole.model,
        content: whole.text,
        finish_reason: whole.finish,
        usage: whole.usage,
        cost_usd: whole.cost,
    })
    .into_response())
}

/// Continues a conversation, in OpenAI's shape. A streamed answer that breaks off ends with a piece that has `error` in the place of
/// `choices`, and without `[DONE]`.
#[utoipa::path(
    post, path = "/v1/chat/completions", tag = "chat", request_body = CompletionRequest,
    responses(
        (status = 200, description = "The answer, whole or as events", content(
            (CompletionAnswer = "application/json"), (StreamEvent = "text/event-stream"))),
        (status = 422, description = "The body breaks a rule, or the model's endpoint refuses it", body = Problem, content_type = "application/problem+json"),
        (status = 502, description = "The model's endpoint gave no usable answer", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "Too many conversations at once, here or at the model's endpoint", body = Problem, content_type = "application/problem+json"),
        (status = 504, description = "The model's endpoint took too long", body = Problem, content_type = "application/problem+json"),
    ),
)]
async fn completions(State(desk): State<Arc<Desk>>, Json(request): Json<CompletionRequest>) -> Answer<Response> {
    let counts = request.counts();
    let ask = Ask::from(request);
    let created = jiff::Timestamp::now().as_second();
    let conversation = desk.take(&ask).await?;
    let id = id("chatcmpl");
    if ask.stream {
        return Ok(events(Completion { id, created, counts }, conversation));
    }
    let whole = whole(conversation).await?;
    Ok(Json(CompletionAnswer {
        id,
        object: "chat.completion",
        created,
        model: whole.model,
        choices: vec![Choice {
            index: 0,
            message: Said { role: "assistant", content: whole.text },
            finish_reason: whole.finish,
        }],
        usage: whole.usage,
    })
    .into_response())
}

/// An answer in OpenAI's shape.
#[derive(Debug, Serialize, ToSchema)]
pub struct CompletionAnswer {
    /// Names this answer.
    pub id: String,
    /// `chat.completion`.
    pub object: &'static str,
    /// When it was asked for, in seconds since 1970.
    pub created: i64,
    /// The model that wrote it.
    pub model: String,
    /// One.
    pub choices: Vec<Choice>,
    /// How many tokens there were, if the model says.
    pub usage: Option<Usage>,
}

/// An answer's text in OpenAI's shape.
#[derive(Debug, Serialize, ToSchema)]
pub struct Choice {
    /// 0.
    pub index: u32,
    /// The text.
    pub message: Said,
    /// Why the text ended.
    pub finish_reason: Finish,
}

/// What the model says.
#[derive(Debug, Serialize, ToSchema)]
pub struct Said {
    /// `assistant`.
    pub role: &'static str,
    /// The text.
    pub content: String,
}

/// The models that can be asked, in OpenAI's shape.
#[derive(Debug, Serialize, ToSchema)]
pub struct Models {
    /// `list`.
    pub object: &'static str,
    /// One.
    pub data: Vec<ModelEntry>,
}

/// A model that can be asked.
#[derive(Debug, Serialize, ToSchema)]
pub struct ModelEntry {
    /// Its name.
    pub id: String,
    /// `model`.
    pub object: &'static str,
    /// 0: it is not known.
    pub created: i64,
    /// `built-in`, or `upstream`.
    pub owned_by: &'static str,
}

/// The models that can be asked: one.
#[utoipa::path(get, path = "/v1/models", tag = "chat", responses((status = 200, description = "The models", body = Models)))]
async fn models(State(desk): State<Arc<Desk>>) -> Json<Models> {
    let id = desk.model().to_owned();
    let owned_by = if id == crate::model::NAME { "built-in" } else { "upstream" };
    Json(Models { object: "list", data: vec![ModelEntry { id, object: "model", created: 0, owned_by }] })
}

/// Which traces.
#[derive(Clone, Copy, Debug, Deserialize, Validate, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
struct Which {
    /// How many, the newest first.
    #[garde(inner(range(min = 1, max = 1000)))]
    #[param(minimum = 1, maximum = 1000, required = false)]
    limit: Option<usize>,
}

/// The last conversations.
#[derive(Debug, Serialize, ToSchema)]
pub struct TraceList {
    /// The newest first.
    #[schema(value_type = Vec<Trace>)]
    pub traces: Vec<Arc<Trace>>,
}

/// What happened to the last conversations: times, tokens and costs, never what was said.
#[utoipa::path(
    get, path = "/traces", tag = "observability", params(Which),
    responses(
        (status = 200, description = "The newest first", body = TraceList),
    ),
)]
async fn traces(State(desk): State<Arc<Desk>>, Query(which): Query<Which>) -> Json<TraceList> {
    Json(TraceList { traces: desk.traces.last(which.limit.unwrap_or(100)) })
}

struct Whole {
    model: String,
    text: String,
    finish: Finish,
    usage: Option<Usage>,
    cost: Option<f64>,
}

/// Waits for the end of an answer.
async fn whole(mut conversation: Conversation) -> Answer<Whole> {
    let mut text = String::new();
    loop {
        match conversation.next().await? {
            Event::Text(more) => text.push_str(&more),
            Event::End(finish, usage) => {
                let cost = conversation.cost();
                return Ok(Whole { model: conversation.model().to_owned(), text, finish, usage, cost });
            }
        }
    }
}

fn id(kind: &str) -> String {
    format!("{kind}-{:016x}", crate::random())
}

/// How events are written.
trait Shape: Send + 'static {
    /// A piece of text.
    fn text(&self, model: &str, text: &str) -> Vec<sse::Event>;
    /// The end.
    fn end(&self, model: &str, finish: Finish, usage: Option<Usage>, cost: Option<f64>) -> Vec<sse::Event>;
    /// The answer broke off.
    fn broken(&self, problem: &Problem) -> sse::Event;
}

fn data(value: &Value) -> sse::Event {
    sse::Event::default().data(value.to_string())
}

struct Chat {
    id: String,
}

impl Shape for Chat {
    fn text(&self, _: &str, text: &str) -> Vec<sse::Event> {
        vec![data(&json!({"content": text}))]
    }

    fn end(&self, model: &str, finish: Finish, usage: Option<Usage>, cost: Option<f64>) -> Vec<sse::Event> {
        let end = json!({"id": self.id, "model": model, "finish_reason": finish, "usage": usage, "cost_usd": cost});
        vec![data(&end).event("done")]
    }

    fn broken(&self, problem: &Problem) -> sse::Event {
        data(&Value::Object(problem.body())).event("error")
    }
}

struct Completion {
    id: String,
    created: i64,
    counts: bool,
}

impl Completion {
    fn chunk(&self, model: &str, choices: Value, usage: Option<Usage>) -> sse::Event {
        let mut chunk = json!({
            "id": self.id, "object": "chat.completion.chunk", "created": self.created, "model": model, "choices": choices,
        });
        if let (Some(chunk), Some(usage)) = (chunk.as_object_mut(), usage) {
            chunk.insert("usage".to_owned(), json!(usage));
        }
        data(&chunk)
    }
}

impl Shape for Completion {
    fn text(&self, model: &str, text: &str) -> Vec<sse::Event> {
        let choice = json!([{"index": 0, "delta": {"role": "assistant", "content": text}, "finish_reason": null}]);
        vec![self.chunk(model, choice, None)]
    }

    fn end(&self, model: &str, finish: Finish, usage: Option<Usage>, _: Option<f64>) -> Vec<sse::Event> {
        let mut events = vec![self.chunk(model, json!([{"index": 0, "delta": {}, "finish_reason": finish}]), None)];
        if self.counts && usage.is_some() {
            events.push(self.chunk(model, json!([]), usage));
        }
        events.push(sse::Event::default().data("[DONE]"));
        events
    }

    /// As OpenAI has it: a piece without an event's name. Its clients pass over events that have one (some of their versions), and would
    /// take a text that broke off for a whole one; from a piece with an `error` in it they all make an error.
    fn broken(&self, problem: &Problem) -> sse::Event {
        let (code, message) = (problem.status().as_str().to_owned(), problem.to_string());
        data(&json!({"error": {"message": message, "type": "server_error", "param": null, "code": code}}))
    }
}

/// An answer as server-sent events. A client that goes away drops the stream, and the conversation with it.
fn events(shape: impl Shape, conversation: Conversation) -> Response {
    Sse::new(stream_of(shape, conversation)).keep_alive(KeepAlive::default()).into_response()
}

fn stream_of(
    shape: impl Shape,
    conversation: Conversation,
) -> impl Stream<Item = Result<sse::Event, Infallible>> + Send {
    stream::unfold(Some((shape, conversation)), |state| async move {
        let (shape, mut conversation) = state?;
        let (events, more) = match conversation.next().await {
            Ok(Event::Text(text)) => (shape.text(conversation.model(), &text), true),
            Ok(Event::End(finish, usage)) => {
                (shape.end(conversation.model(), finish, usage, conversation.cost()), false)
            }
            Err(problem) => (vec![shape.broken(&problem)], false),
        };
        Some((stream::iter(events.into_iter().map(Ok)), more.then_some((shape, conversation))))
    })
    .flatten()
}
