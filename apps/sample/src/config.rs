//! Settings, from the environment.

use std::time::Duration;

use garde::Validate;
use service::config::{ConfigError, Env, Secret};

use crate::http::Credentials;

/// Everything that can be set, beside what every service has. Secrets may be in the file that `NAME_FILE` names.
#[derive(Clone, Debug)]
pub struct Config {
    /// `DATABASE_URL`: `postgres://…` or `sqlite:…`; SQLite in memory if nobody says.
    pub database: Secret,
    /// `DATABASE_CONNECTIONS`: connections to PostgreSQL; 10.
    pub connections: u32,
    /// `REDIS_URL`, as `redis://…`; the cache is in the process without it, and logins are counted there.
    pub redis: Option<Secret>,
    /// `JWT_KEYS`, as `id:secret,…`: what signs tokens; made anew at each start without it.
    pub jwt_keys: Option<Secret>,
    /// `TOKEN_SECONDS`: how long a token is good; 900.
    pub token_life: Duration,
    /// `ADMIN_USERNAME` (`admin`) and `ADMIN_PASSWORD`: the admin who is there from the start; nobody without a password.
    pub admin: Option<(String, Secret)>,
    /// `BCRYPT_COST`: 12; each more doubles the time that a login takes.
    pub cost: u32,
    /// `RATE_LIMIT_PER_MINUTE`: requests in a minute from one address; 6000.
    pub requests: u32,
    /// `LOGIN_LIMIT_PER_MINUTE`: attempts to log in or register in a minute, for one name and from one address; 10.
    pub logins: u32,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            database: Secret::new("sqlite::memory:"),
            connections: 10,
            redis: None,
            jwt_keys: None,
            token_life: Duration::from_secs(900),
            admin: None,
            cost: 12,
            requests: 6_000,
            logins: 10,
        }
    }
}

impl Config {
    /// Reads the environment.
    ///
    /// # Errors
    /// Everything that is wrong with it.
    pub fn from_env(env: &mut Env<'_>) -> Result<Self, ConfigError> {
        let default = Self::default();
        let name: String = env.or("ADMIN_USERNAME", "admin".to_owned());
        let password = env.secret("ADMIN_PASSWORD");
        if let Some(password) = &password {
            admin(env, &name, password);
        }
        let config = Self {
            database: env.secret("DATABASE_URL").unwrap_or(default.database),
            connections: env.within("DATABASE_CONNECTIONS", default.connections, 1..=1_000),
            redis: service::redis::url(env, "REDIS_URL"),
            jwt_keys: env.secret("JWT_KEYS"),
            token_life: env.seconds("TOKEN_SECONDS", default.token_life),
            admin: password.map(|password| (name, password)),
            cost: env.within("BCRYPT_COST", default.cost, 4..=16),
            requests: env.within("RATE_LIMIT_PER_MINUTE", default.requests, 1..=10_000_000),
            logins: env.within("LOGIN_LIMIT_PER_MINUTE", default.logins, 1..=10_000_000),
        };
        env.done(|| Some(config))
    }
}

/// Refuses an admin who could not log in.
fn admin(env: &mut Env<'_>, name: &str, password: &Secret) {
    let credentials = Credentials { username: name.to_owned(), password: password.expose().to_owned() };
    for (field, error) in credentials.validate().err().iter().flat_map(garde::Report::iter) {
        let of_name = field.to_string() == "username";
        env.refuse(if of_name { "ADMIN_USERNAME" } else { "ADMIN_PASSWORD" }, error.message());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mistakes_are_told_together_and_secrets_are_not_shown() {
        let mut env = Env::new(|name| match name {
            "ADMIN_PASSWORD" => Some("short".to_owned()),
            "BCRYPT_COST" => Some("99".to_owned()),
            _ => None,
        });
        let told = Config::from_env(&mut env).unwrap_err();
        assert_eq!(told.problems().len(), 2, "{told}");
        let mut env = Env::new(|name| (name == "DATABASE_URL").then(|| "postgres://u:hunter2@db/x".to_owned()));
        assert!(!format!("{:?}", Config::from_env(&mut env).unwrap()).contains("hunter2"));
    }
}
