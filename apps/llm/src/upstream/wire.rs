//! What goes over the wire to an OpenAI-compatible endpoint, and what comes back; members that do not matter here are left out.

use serde::{Deserialize, Serialize};

use crate::{
    answer::{Event, Failure, Finish, Usage},
    ask::{Ask, Message},
};

/// Characters of an upstream's own words that are passed on.
const WORDS: usize = 400;

/// A request for a chat completion. Always streamed: the first token's delay is known then, and a client that goes away stops the
/// model.
#[derive(Debug, Serialize)]
pub struct Request<'a> {
    model: &'a str,
    messages: &'a [Message],
    stream: bool,
    stream_options: StreamOptions,
    #[serde(skip_serializing_if = "Option::is_none")]
    max_tokens: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    temperature: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    top_p: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    seed: Option<u64>,
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    stop: &'a [String],
}

#[derive(Debug, Serialize)]
struct StreamOptions {
    include_usage: bool,
}

impl<'a> Request<'a> {
    /// Asks `model` what `ask` wants to know.
    pub fn new(model: &'a str, ask: &'a Ask) -> Self {
        Self {
            model,
            messages: &ask.messages,
            stream: true,
            stream_options: StreamOptions { include_usage: true },
            max_tokens: ask.max_tokens,
            temperature: ask.temperature,
            top_p: ask.top_p,
            seed: ask.seed,
            stop: &ask.stop,
        }
    }
}

/// A whole completion, or a piece of one, or an error: endpoints differ in which of them they send with which status.
#[derive(Debug, Deserialize)]
pub struct Completion {
    #[serde(default)]
    choices: Vec<Choice>,
    usage: Option<Counts>,
    error: Option<serde_json::Value>,
}

#[derive(Debug, Deserialize)]
struct Choice {
    #[serde(alias = "message")]
    delta: Option<Delta>,
    finish_reason: Option<String>,
}

#[derive(Debug, Deserialize)]
struct Delta {
    content: Option<String>,
}

#[derive(Clone, Copy, Debug, Deserialize)]
struct Counts {
    #[serde(default)]
    prompt_tokens: u64,
    #[serde(default)]
    completion_tokens: u64,
}

/// What has been heard of an answer's end: endpoints send the reason and the counts in different pieces.
#[derive(Clone, Copy, Debug, Default)]
pub struct End {
    finish: Option<Finish>,
    usage: Option<Usage>,
}

impl End {
    /// The counts, if they were told.
    pub fn usage(self) -> Option<Usage> {
        self.usage
    }

    /// The end as an event; `None` while there was no reason for it.
    pub fn event(self) -> Option<Event> {
        self.finish.map(|finish| Event::End(finish, self.usage))
    }

    /// Reads a piece: its text (which may be empty), with the end noted.
    ///
    /// # Errors
    /// The piece is no completion, or says that something failed.
    pub fn read(&mut self, json: &str) -> Result<String, Failure> {
        let completion: Completion =
            serde_json::from_str(json).map_err(|e| Failure::Broken(format!("a piece of it is no completion: {e}")))?;
        if let Some(error) = completion.error {
            return Err(Failure::Broken(words(&error)));
        }
        if let Some(counts) = completion.usage {
            self.usage = Some(Usage::new(counts.prompt_tokens, counts.completion_tokens));
        }
        let Some(choice) = completion.choices.into_iter().next() else { return Ok(String::new()) };
        if let Some(reason) = choice.finish_reason {
            self.finish = Some(match reason.as_str() {
                "length" => Finish::Length,
                "content_filter" => Finish::ContentFilter,
                _ => Finish::Stop,
            });
        }
        Ok(choice.delta.and_then(|delta| delta.content).unwrap_or_default())
    }
}

/// What an endpoint says in the body of a refusal, shortened.
pub fn complaint(body: &str) -> String {
    match serde_json::from_str::<serde_json::Value>(body) {
        Ok(value) => words(value.get("error").unwrap_or(&value)),
        Err(_) => body.chars().take(WORDS).collect(),
    }
}

fn words(error: &serde_json::Value) -> String {
    let message = error.get("message").unwrap_or(error);
    let text = message.as_str().map_or_else(|| message.to_string(), str::to_owned);
    text.chars().take(WORDS).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_reason_and_the_counts_may_come_apart() {
        let mut end = End::default();
        assert_eq!(end.read(r#"{"choices":[{"index":0,"delta":{"role":"assistant","content":""}}]}"#).unwrap(), "");
        assert_eq!(
            end.read(r#"{"choices":[{"delta":{"content":"Hi"},"finish_reason":null}],"usage":null}"#).unwrap(),
            "Hi"
        );
        assert_eq!(end.event(), None);
        end.read(r#"{"choices":[{"delta":{},"finish_reason":"length"}]}"#).unwrap();
        end.read(r#"{"choices":[],"usage":{"prompt_tokens":3,"completion_tokens":1,"total_tokens":4}}"#).unwrap();
        assert_eq!(end.event(), Some(Event::End(Finish::Length, Some(Usage::new(3, 1)))));
    }

    #[test]
    fn an_error_may_come_as_a_piece() {
        let failure = End::default().read(r#"{"error":{"message":"out of memory"}}"#).unwrap_err();
        assert_eq!(failure, Failure::Broken("out of memory".to_owned()));
        assert!(matches!(End::default().read("<html>"), Err(Failure::Broken(_))));
    }

    #[test]
    fn complaints_are_found_and_shortened() {
        assert_eq!(complaint(r#"{"error":{"message":"too long"}}"#), "too long");
        assert_eq!(complaint(r#"{"error":"no"}"#), "no");
        assert_eq!(complaint(&"x".repeat(5000)).len(), WORDS);
    }
}
