//! Facts from other services: each source of the rules is asked at once, within its time, and what it answers is bounded.

use std::time::Duration;

use serde_json::{Map, Value};
use service::trace::Propagate as _;

use crate::rules::Source;

/// Bytes of an answer.
const BYTES: usize = 256 * 1024;

/// A source without which there is no decision did not answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the source {name} is not available: {why}")]
pub struct Unavailable {
    /// Which.
    pub name: String,
    /// What went wrong.
    pub why: String,
}

/// Asks the sources of a set of rules.
#[derive(Clone, Debug)]
pub struct Sources {
    http: reqwest::Client,
    list: Vec<Source>,
}

impl Sources {
    /// A client for these.
    ///
    /// # Errors
    /// TLS cannot be set up.
    pub fn new(list: Vec<Source>) -> Result<Self, reqwest::Error> {
        let redirects = reqwest::redirect::Policy::none();
        let http = reqwest::Client::builder()
            .redirect(redirects)
            .user_agent(concat!("infer/", env!("CARGO_PKG_VERSION")))
            .build()?;
        Ok(Self { http, list })
    }

    /// `facts` with what the sources know of them, below `/sources`.
    ///
    /// # Errors
    /// A required source did not answer; one that is not is left out.
    pub async fn complete(&self, facts: Value) -> Result<Value, Unavailable> {
        let Value::Object(mut facts) = facts else { return Ok(facts) };
        if self.list.is_empty() {
            return Ok(Value::Object(facts));
        }
        let answers = futures::future::join_all(self.list.iter().map(|source| self.ask(source, &facts))).await;
        let mut known = Map::new();
        for (source, answer) in self.list.iter().zip(answers) {
            match answer {
                Ok(answer) => _ = known.insert(source.name.clone(), answer),
                Err(why) if source.required => return Err(Unavailable { name: source.name.clone(), why }),
                Err(why) => {
                    tracing::warn!(source = source.name, why, "a source did not answer; the rules go without it");
                }
            }
        }
        facts.insert("sources".to_owned(), Value::Object(known));
        Ok(Value::Object(facts))
    }

    async fn ask(&self, source: &Source, facts: &Map<String, Value>) -> Result<Value, String> {
        let time = Duration::from_millis(source.timeout_ms);
        let asking = async {
            let request = self.http.post(&source.url).json(facts).in_trace();
            let mut response = request.send().await.and_then(reqwest::Response::error_for_status).map_err(plain)?;
            let mut bytes = Vec::new();
            while let Some(piece) = response.chunk().await.map_err(plain)? {
                bytes.extend_from_slice(&piece);
                if bytes.len() > BYTES {
                    return Err(format!("its answer has more than {BYTES} bytes"));
                }
            }
            serde_json::from_slice(&bytes).map_err(|e| format!("its answer is not JSON: {e}"))
        };
        tokio::time::timeout(time, asking)
            .await
            .unwrap_or_else(|_| Err(format!("it took longer than {} ms", source.timeout_ms)))
    }
}

/// An error without the address, which is nobody's business.
fn plain(error: reqwest::Error) -> String {
    error.without_url().to_string()
}
