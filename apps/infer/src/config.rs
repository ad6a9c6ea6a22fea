//! Settings, from the environment.

use std::{path::PathBuf, time::Duration};

use service::config::{ConfigError, Env, Secret};

use crate::{
    jobs::{Bounds, Retries},
    keys::Keys,
    rules::Ruleset,
};

/// Everything that can be set, beside `RULES_FILE` and what every service has.
#[derive(Clone, Debug)]
pub struct Config {
    /// `API_KEYS` (or `API_KEYS_FILE`), as `name:sha256,…`: whose keys are taken; without it none is asked for.
    pub keys: Keys,
    /// `DATA_DIR`: where jobs are kept; in memory without it.
    pub directory: Option<PathBuf>,
    /// `REDIS_URL` (or `REDIS_URL_FILE`): where jobs are kept instead, so that all replicas have the same ones.
    pub redis: Option<Secret>,
    /// `JOB_LEASE_SECONDS`: how long a worker that says nothing keeps its job in Redis; 30.
    pub lease: Duration,
    /// `JOB_WORKERS`: jobs done at a time; 2.
    pub workers: usize,
    /// `JOB_ATTEMPTS` (5), `JOB_BACKOFF_SECONDS` (1) and `JOB_BACKOFF_MAX_SECONDS` (60): how often and how soon jobs are tried.
    pub retries: Retries,
    /// `JOB_QUEUE` (1000), `JOB_KEPT` (10000) and `JOB_RETENTION_SECONDS` (3600): how many jobs there may be, and for how long.
    pub bounds: Bounds,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            keys: Keys::default(),
            directory: None,
            redis: None,
            lease: Duration::from_secs(30),
            workers: 2,
            retries: Retries { attempts: 5, first: Duration::from_secs(1), longest: Duration::from_secs(60) },
            bounds: Bounds { queued: 1_000, kept: 10_000, retention: Duration::from_secs(3600) },
        }
    }
}

impl Config {
    /// Reads the environment, and the rules that it names.
    ///
    /// # Errors
    /// Everything that is wrong with them.
    pub fn from_env(env: &mut Env<'_>) -> Result<(Self, Ruleset), ConfigError> {
        let default = Self::default();
        // Digests of keys are no secrets, but a list of them may be mounted like one.
        let keys = env.secret("API_KEYS").map(|keys| keys.expose().trim().parse::<Keys>());
        let keys = match keys {
            None => Keys::default(),
            Some(Ok(keys)) => keys,
            Some(Err(why)) => {
                env.refuse("API_KEYS", why);
                Keys::default()
            }
        };
        let rules = rules(env);
        let bounds = Bounds {
            queued: env.within("JOB_QUEUE", default.bounds.queued, 1..=100_000),
            kept: env.within("JOB_KEPT", default.bounds.kept, 1..=1_000_000),
            retention: env.seconds("JOB_RETENTION_SECONDS", default.bounds.retention),
        };
        if bounds.kept < bounds.queued {
            env.refuse("JOB_KEPT", "is less than JOB_QUEUE");
        }
        let retries = Retries {
            attempts: env.within("JOB_ATTEMPTS", 5, 1..=100),
            first: env.seconds("JOB_BACKOFF_SECONDS", default.retries.first),
            longest: env.seconds("JOB_BACKOFF_MAX_SECONDS", default.retries.longest),
        };
        let workers = env.within("JOB_WORKERS", default.workers, 1..=64);
        let (directory, redis) = (env.optional("DATA_DIR"), service::redis::url(env, "REDIS_URL"));
        if directory.is_some() && redis.is_some() {
            env.refuse("REDIS_URL", "DATA_DIR is set too; jobs are kept in one place");
        }
        let lease = env.seconds("JOB_LEASE_SECONDS", default.lease);
        let config = Self { keys, directory, redis, lease, workers, retries, bounds };
        env.done(|| Some((config, rules?)))
    }
}

fn rules(env: &mut Env<'_>) -> Option<Ruleset> {
    let path: Option<String> = env.optional("RULES_FILE");
    let rules = match &path {
        None => Ruleset::built_in(),
        Some(path) => match std::fs::read_to_string(path) {
            Ok(text) => Ruleset::read(&text),
            Err(e) => {
                env.refuse("RULES_FILE", format_args!("{path:?}: {e}"));
                return None;
            }
        },
    };
    rules.map_err(|wrong| wrong.0.iter().for_each(|why| env.refuse("RULES_FILE", why))).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_wrong_is_told_at_once_with_the_rules_mistakes() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("rules.json");
        let rule = r#"{"name":"t","version":"1","input":{},"rules":[{"id":"","when":{},"then":[]}]}"#;
        std::fs::write(&path, rule).unwrap();
        let path = path.to_str().unwrap().to_owned();
        let mut env = Env::new(|name| match name {
            "RULES_FILE" => Some(path.clone()),
            "API_KEYS" => Some("x".to_owned()),
            "JOB_WORKERS" => Some("0".to_owned()),
            _ => None,
        });
        let told = Config::from_env(&mut env).err().unwrap();
        assert_eq!(told.problems().len(), 4, "{told}");
        assert!(told.to_string().contains("rules[0].when"), "{told}");
        assert!(Config::from_env(&mut Env::new(|_| None)).is_ok());
    }
}
