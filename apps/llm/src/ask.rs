//! What clients ask for: the conversation and how to answer it, in this service's own shape and in OpenAI's.

use garde::Validate;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Tokens of an answer when nobody says.
pub const TOKENS: u64 = 256;
/// How boldly the built-in model draws when nobody says.
pub const TEMPERATURE: f64 = 0.5;

/// Who says something.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Whoever runs the conversation.
    System,
    /// Whoever asks.
    User,
    /// The model.
    Assistant,
}

/// One thing said in a conversation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, Validate, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Message {
    /// Who says it.
    #[garde(skip)]
    pub role: Role,
    /// What is said.
    #[garde(length(chars, max = 16384))]
    #[schema(max_length = 16384)]
    pub content: String,
}

/// A conversation to be continued.
#[derive(Clone, Debug, Deserialize, Validate, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"messages": [{"role": "user", "content": "What do you think of Mr. Darcy?"}], "max_tokens": 60, "seed": 7}))]
pub struct Ask {
    /// The conversation so far, the oldest first.
    #[garde(length(min = 1, max = 64), dive)]
    #[schema(min_items = 1, max_items = 64)]
    pub messages: Vec<Message>,
    /// Whether the answer is to come in pieces, as server-sent events.
    #[garde(skip)]
    #[serde(default)]
    pub stream: bool,
    /// How many tokens the answer may have.
    #[garde(inner(range(min = 1, max = 2048)))]
    #[schema(minimum = 1, maximum = 2048)]
    #[serde(default, deserialize_with = "service::number::optional")]
    pub max_tokens: Option<u64>,
    /// 0 takes the likeliest token always; higher is bolder.
    #[garde(inner(range(min = 0.0, max = 2.0)))]
    #[schema(minimum = 0, maximum = 2)]
    pub temperature: Option<f64>,
    /// Only the likeliest tokens that together have this much likelihood are drawn from.
    #[garde(inner(range(min = 0.0, max = 1.0)))]
    #[schema(minimum = 0, maximum = 1)]
    pub top_p: Option<f64>,
    /// The same seed gives the same answer, as far as the model can.
    #[garde(inner(range(min = 0, max = 9_007_199_254_740_991)))]
    #[schema(minimum = 0, maximum = 9007199254740991_i64)]
    #[serde(default, deserialize_with = "service::number::optional")]
    pub seed: Option<u64>,
    /// Strings at which the answer ends, not part of it.
    #[garde(length(max = 4), inner(length(chars, min = 1, max = 64)))]
    #[serde(default)]
    #[schema(max_items = 4, schema_with = stops)]
    pub stop: Vec<String>,
}

/// The schema of a list of stop strings.
fn stops() -> utoipa::openapi::schema::Array {
    use utoipa::openapi::schema::{ArrayBuilder, ObjectBuilder, Type};
    let text = ObjectBuilder::new().schema_type(Type::String).min_length(Some(1)).max_length(Some(64));
    ArrayBuilder::new().items(text).max_items(Some(4)).build()
}

impl Ask {
    /// What the built-in model goes on from: the last thing that the user said.
    pub fn prompt(&self) -> &str {
        let said = self.messages.iter().rev().find(|message| message.role == Role::User);
        said.or(self.messages.last()).map_or("", |message| &message.content)
    }
}

/// A conversation to be continued, in OpenAI's shape. Of its many members these are known; others are refused rather than ignored.
#[derive(Clone, Debug, Deserialize, Validate, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"model": "built-in-ngram", "messages": [{"role": "user", "content": "Who is at the door?"}]}))]
pub struct CompletionRequest {
    /// Named in OpenAI's shape; this service has one model, which answers say.
    #[garde(inner(length(chars, max = 128)))]
    #[schema(max_length = 128)]
    pub model: Option<String>,
    /// The conversation so far, the oldest first.
    #[garde(length(min = 1, max = 64), dive)]
    #[schema(min_items = 1, max_items = 64)]
    pub messages: Vec<Message>,
    /// Whether the answer is to come in pieces, as server-sent events.
    #[garde(skip)]
    pub stream: Option<bool>,
    /// What to stream beside the text.
    #[garde(dive)]
    pub stream_options: Option<StreamOptions>,
    /// How many tokens the answer may have.
    #[garde(inner(range(min = 1, max = 2048)))]
    #[schema(minimum = 1, maximum = 2048)]
    #[serde(default, deserialize_with = "service::number::optional")]
    pub max_tokens: Option<u64>,
    /// The newer name of `max_tokens`; it counts if both are there.
    #[garde(inner(range(min = 1, max = 2048)))]
    #[schema(minimum = 1, maximum = 2048)]
    #[serde(default, deserialize_with = "service::number::optional")]
    pub max_completion_tokens: Option<u64>,
    /// 0 takes the likeliest token always; higher is bolder.
    #[garde(inner(range(min = 0.0, max = 2.0)))]
    #[schema(minimum = 0, maximum = 2)]
    pub temperature: Option<f64>,
    /// Only the likeliest tokens that together have this much likelihood are drawn from.
    #[garde(inner(range(min = 0.0, max = 1.0)))]
    #[schema(minimum = 0, maximum = 1)]
    pub top_p: Option<f64>,
    /// How many answers: one.
    #[garde(inner(range(min = 1, max = 1)))]
    #[schema(minimum = 1, maximum = 1)]
    #[serde(default, deserialize_with = "service::number::optional")]
    pub n: Option<u64>,
    /// The same seed gives the same answer, as far as the model can.
    #[garde(inner(range(min = 0, max = 9_007_199_254_740_991)))]
    #[schema(minimum = 0, maximum = 9007199254740991_i64)]
    #[serde(default, deserialize_with = "service::number::optional")]
    pub seed: Option<u64>,
    /// A string at which the answer ends, or several.
    #[garde(custom(few_stops))]
    #[schema(schema_with = one_or_more_stops)]
    pub stop: Option<Stop>,
    /// Who is behind the request; taken, and not used.
    #[garde(inner(length(chars, max = 256)))]
    #[schema(max_length = 256)]
    pub user: Option<String>,
}

/// What to stream beside the text.
#[derive(Clone, Debug, Deserialize, Validate, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct StreamOptions {
    /// Whether a last piece says how many tokens there were.
    #[garde(skip)]
    #[serde(default)]
    pub include_usage: bool,
}

/// One stop string, or several.
#[derive(Clone, Debug, Deserialize)]
#[serde(untagged)]
pub enum Stop {
    /// One.
    One(String),
    /// Several.
    Several(Vec<String>),
}

impl Stop {
    fn list(self) -> Vec<String> {
        match self {
            Self::One(stop) => vec![stop],
            Self::Several(stops) => stops,
        }
    }
}

fn few_stops(stop: &Option<Stop>, (): &()) -> garde::Result {
    let stops = match stop {
        None => return Ok(()),
        Some(Stop::One(stop)) => std::slice::from_ref(stop),
        Some(Stop::Several(stops)) => stops,
    };
    let fits = stops.len() <= 4 && stops.iter().all(|stop| (1..=64).contains(&stop.chars().count()));
    fits.then_some(()).ok_or_else(|| garde::Error::new("at most 4 strings of 1 to 64 characters"))
}

fn one_or_more_stops() -> utoipa::openapi::Schema {
    use utoipa::openapi::schema::{ObjectBuilder, OneOfBuilder, Type};
    let one = ObjectBuilder::new().schema_type(Type::String).min_length(Some(1)).max_length(Some(64));
    let null = ObjectBuilder::new().schema_type(Type::Null);
    OneOfBuilder::new().item(one).item(stops()).item(null).into()
}

impl CompletionRequest {
    /// Whether a streamed answer ends with the counts of tokens.
    pub fn counts(&self) -> bool {
        self.stream_options.as_ref().is_some_and(|options| options.include_usage)
    }
}

impl From<CompletionRequest> for Ask {
    fn from(request: CompletionRequest) -> Self {
        Self {
            messages: request.messages,
            stream: request.stream.unwrap_or_default(),
            max_tokens: request.max_completion_tokens.or(request.max_tokens),
            temperature: request.temperature,
            top_p: request.top_p,
            seed: request.seed,
            stop: request.stop.map(Stop::list).unwrap_or_default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(json: &str) -> CompletionRequest {
        serde_json::from_str(json).unwrap()
    }

    #[test]
    fn openais_shape_is_this_services_own_in_other_words() {
        let ask = Ask::from(request(
            r#"{"model":"x","messages":[{"role":"user","content":"hi"}],"stop":"END","max_tokens":9,"max_completion_tokens":5}"#,
        ));
        assert_eq!(
            (ask.max_tokens, ask.stop.as_slice(), ask.stream, ask.prompt()),
            (Some(5), &["END".to_owned()][..], false, "hi")
        );
    }

    #[test]
    fn stop_strings_are_few_and_short() {
        let with = |stop: &str| {
            request(&format!(r#"{{"messages":[{{"role":"user","content":""}}],"stop":{stop}}}"#)).validate()
        };
        assert!(with(r#"["a","b","c","d"]"#).is_ok() && with("null").is_ok());
        assert!(with(r#"["a","b","c","d","e"]"#).is_err() && with(r#""""#).is_err());
    }

    #[test]
    fn the_last_thing_the_user_said_is_the_prompt() {
        let ask: Ask = serde_json::from_str(
            r#"{"messages":[{"role":"user","content":"one"},{"role":"user","content":"two"},{"role":"assistant","content":"three"}]}"#,
        )
        .unwrap();
        assert_eq!(ask.prompt(), "two");
    }
}
