//! Settings, from the environment.

use std::time::Duration;

use reqwest::Url;
use service::config::{ConfigError, Env};

use crate::upstream;

/// How long an answer may take if nobody says.
const TOTAL: Duration = Duration::from_secs(120);

/// Everything that can be set, beside what every service has.
#[derive(Clone, Debug)]
pub struct Config {
    /// `LLM_BASE_URL`, `LLM_API_KEY` (or `LLM_API_KEY_FILE`), `LLM_MODEL` and the times: where to ask; the built-in model answers
    /// without them.
    pub upstream: Option<upstream::Config>,
    /// `LLM_PRICE_PROMPT` and `LLM_PRICE_COMPLETION`: what tokens cost; 0 if nobody says.
    pub prices: Prices,
    /// `LLM_CONCURRENCY`: conversations that are answered at a time; 16.
    pub concurrency: usize,
    /// `LLM_QUEUE`: conversations that may wait for their turn; 64.
    pub queue: usize,
    /// `LLM_QUEUE_SECONDS`: how long they wait at most; 10.
    pub wait: Duration,
    /// `LLM_TRACES`: traces kept in memory; 256.
    pub traces: usize,
}

/// US dollars for a million tokens.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Prices {
    /// Of conversations.
    pub prompt: f64,
    /// Of answers.
    pub completion: f64,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            upstream: None,
            prices: Prices::default(),
            concurrency: 16,
            queue: 64,
            wait: Duration::from_secs(10),
            traces: 256,
        }
    }
}

impl Config {
    /// How long it may take until a conversation is answered: a turn, an endpoint with all retries, and a moment to say that it was
    /// in vain.
    pub fn longest(&self) -> Duration {
        let total = self.upstream.as_ref().map_or(TOTAL, |upstream| upstream.total);
        self.wait + total + Duration::from_secs(1)
    }

    /// Reads the environment.
    ///
    /// # Errors
    /// Everything that is wrong with it.
    pub fn from_env(env: &mut Env<'_>) -> Result<Self, ConfigError> {
        let default = Self::default();
        let upstream = upstream(env);
        let mut price = |name| {
            let dollars = env.or(name, 0.0);
            if !(0.0..=1_000_000.0).contains(&dollars) {
                env.refuse(name, "a price is from 0 to 1000000 US dollars for a million tokens");
            }
            dollars
        };
        let prices = Prices { prompt: price("LLM_PRICE_PROMPT"), completion: price("LLM_PRICE_COMPLETION") };
        let config = Self {
            upstream,
            prices,
            concurrency: env.within("LLM_CONCURRENCY", default.concurrency, 1..=10_000),
            queue: env.within("LLM_QUEUE", default.queue, 0..=100_000),
            wait: env.seconds("LLM_QUEUE_SECONDS", default.wait),
            traces: env.within("LLM_TRACES", default.traces, 1..=10_000),
        };
        env.done(|| Some(config))
    }
}

fn upstream(env: &mut Env<'_>) -> Option<upstream::Config> {
    let base: Option<Url> = env.optional("LLM_BASE_URL");
    let key = env.secret("LLM_API_KEY");
    let model: Option<String> = env.optional("LLM_MODEL");
    let config = upstream::Config {
        base: base.clone().or_else(|| Url::parse("http://unset.invalid").ok())?,
        key,
        model: model.clone().unwrap_or_default(),
        connect: env.seconds("LLM_CONNECT_SECONDS", Duration::from_secs(5)),
        silence: env.seconds("LLM_SILENCE_SECONDS", Duration::from_secs(30)),
        total: env.seconds("LLM_TOTAL_SECONDS", TOTAL),
        attempts: env.within("LLM_ATTEMPTS", 3, 1..=10),
    };
    match (base, model) {
        (None, None) if config.key.is_none() => None,
        (None, _) => {
            env.refuse("LLM_BASE_URL", "is not set, though LLM_API_KEY or LLM_MODEL is");
            None
        }
        (Some(_), None) => {
            env.refuse("LLM_MODEL", "is not set: the endpoint has to be asked for a model by name");
            None
        }
        (Some(url), Some(_)) => {
            if !matches!(url.scheme(), "http" | "https") || url.host().is_none() {
                env.refuse("LLM_BASE_URL", "is not an http or https address");
            }
            // A password in an address ends in logs; LLM_API_KEY does not.
            if !url.username().is_empty() || url.password().is_some() {
                env.refuse("LLM_BASE_URL", "has a user or password; use LLM_API_KEY");
            }
            Some(config)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(set: &'static [(&'static str, &'static str)]) -> Result<Config, ConfigError> {
        let mut env = Env::new(|name| set.iter().find(|(n, _)| *n == name).map(|(_, v)| (*v).to_owned()));
        Config::from_env(&mut env)
    }

    #[test]
    fn without_an_address_the_built_in_model_answers() {
        assert!(read(&[]).unwrap().upstream.is_none());
        let config =
            read(&[("LLM_BASE_URL", "https://api.example.com/v1"), ("LLM_MODEL", "m"), ("LLM_API_KEY", "k")]).unwrap();
        assert_eq!(config.upstream.unwrap().model, "m");
    }

    #[test]
    fn half_an_endpoint_and_prices_below_nothing_are_refused_together() {
        let told = read(&[("LLM_API_KEY", "k"), ("LLM_PRICE_PROMPT", "-1"), ("LLM_CONCURRENCY", "0")]).unwrap_err();
        assert_eq!(told.problems().len(), 3, "{told}");
        assert!(read(&[("LLM_BASE_URL", "ftp://x"), ("LLM_MODEL", "m")]).is_err());
        assert!(read(&[("LLM_BASE_URL", "https://u:p@x"), ("LLM_MODEL", "m")]).is_err());
    }
}
