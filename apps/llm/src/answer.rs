//! An answer as it comes, wherever from: pieces of text, then how it ended. Dropping one stops whatever still makes it.

use std::{fmt, time::Duration};

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::{
    model::{Step, Writer},
    upstream,
};

/// Tokens that the built-in model draws before it lets others run.
const TURN: u64 = 16;

/// Why a text ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Finish {
    /// The model was done, or met a stop string.
    Stop,
    /// The text has as many tokens as it may.
    Length,
    /// The upstream model withheld the rest.
    ContentFilter,
}

/// How many tokens went in and out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Usage {
    /// Of the conversation.
    pub prompt_tokens: u64,
    /// Of the answer.
    pub completion_tokens: u64,
    /// Both together.
    pub total_tokens: u64,
}

impl Usage {
    /// Counts of a conversation and its answer.
    pub fn new(prompt_tokens: u64, completion_tokens: u64) -> Self {
        Self { prompt_tokens, completion_tokens, total_tokens: prompt_tokens.saturating_add(completion_tokens) }
    }
}

/// An event of a streamed answer, as a reader of server-sent events has it.
#[derive(Debug, Serialize, ToSchema)]
pub struct StreamEvent {
    /// `message` unless the stream says otherwise.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub event: Option<String>,
    /// JSON, or `[DONE]` at the end of OpenAI's shape.
    pub data: String,
}

/// One thing that happens in an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// More text, never empty.
    Text(String),
    /// The end; nothing comes after it. An upstream may not say how many tokens there were.
    End(Finish, Option<Usage>),
}

/// Why there is no answer, or no more of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Failure {
    /// The upstream cannot be reached.
    Unreachable(String),
    /// The upstream asks for fewer requests, or is down for a while.
    Busy {
        /// The status it answered with.
        status: u16,
        /// When it said to come back.
        after: Option<Duration>,
    },
    /// The upstream refuses what was asked; its words.
    Refused(String),
    /// The upstream answers with what is no answer: its status, or what is wrong with its body.
    Broken(String),
    /// The upstream took too long; with what.
    Late(&'static str),
}

impl Failure {
    /// A name for metrics and traces.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Unreachable(_) => "unreachable",
            Self::Busy { .. } => "busy",
            Self::Refused(_) => "refused",
            Self::Broken(_) => "broken",
            Self::Late(_) => "late",
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreachable(why) => write!(f, "the model's endpoint cannot be reached: {why}"),
            Self::Busy { status, .. } => write!(f, "the model's endpoint is busy (it answered {status})"),
            Self::Refused(why) => write!(f, "the model's endpoint refuses this: {why}"),
            Self::Broken(why) => write!(f, "the model's endpoint gave no usable answer: {why}"),
            Self::Late(what) => write!(f, "the model's endpoint took too long {what}"),
        }
    }
}

/// An answer being made.
pub enum Answer {
    /// By the built-in model; with the tokens of the conversation.
    BuiltIn(Box<Writer>, u64),
    /// By another server.
    Upstream(Box<upstream::Answer>),
}

impl Answer {
    /// How many tokens there were so far, if that is known.
    pub fn counted(&self) -> Option<Usage> {
        match self {
            Self::Upstream(answer) => answer.counted(),
            Self::BuiltIn(writer, prompt) => Some(Usage::new(*prompt, writer.written())),
        }
    }

    /// What happens next. After the end or a failure this is not to be called again.
    ///
    /// # Errors
    /// The upstream failed; the built-in model does not.
    pub async fn next(&mut self) -> Result<Event, Failure> {
        match self {
            Self::Upstream(answer) => answer.next().await,
            Self::BuiltIn(writer, prompt) => {
                let mut text = String::new();
                loop {
                    // One thread serves everybody.
                    if writer.written() % TURN == 0 {
                        tokio::task::yield_now().await;
                    }
                    match writer.step() {
                        Step::Text(more) => text.push_str(&more),
                        Step::Stopped(last) => return Ok(writer.last(text + &last, Finish::Stop, *prompt)),
                        Step::Full(last) => return Ok(writer.last(text + &last, Finish::Length, *prompt)),
                    }
                    if !text.is_empty() {
                        return Ok(Event::Text(text));
                    }
                }
            }
        }
    }
}

impl Writer {
    /// What is left of the text if anything is (the next step is the end again then), or the end.
    fn last(&self, text: String, finish: Finish, prompt: u64) -> Event {
        if text.is_empty() { Event::End(finish, Some(Usage::new(prompt, self.written()))) } else { Event::Text(text) }
    }
}
