//! Redis, for services that share something through it: one way to read its address, and one to connect.
//!
//! What a service keeps there differs from service to service, and so does what it does while Redis is away; how it finds Redis and
//! how long it waits do not.

use std::time::Duration;

use redis::{
    Client, ConnectionAddr, RedisResult,
    aio::{ConnectionManager, ConnectionManagerConfig},
};

use crate::config::{Env, Secret};

/// How long connecting may take.
const CONNECT: Duration = Duration::from_secs(1);

/// The address of a Redis from the variable `name` or the file of `NAME_FILE`: `redis://` or `rediss://` (TLS, with the authorities
/// that the machine trusts), as in `redis://:password@host:6379/0`, or `unix:///path`. One that cannot be used is recorded, without
/// quoting it: it may hold a password.
pub fn url(env: &mut Env<'_>, name: &'static str) -> Option<Secret> {
    let url = env.secret(name)?;
    let known = ["redis://", "rediss://", "unix://"].iter().any(|scheme| url.expose().starts_with(scheme));
    let why = match Client::open(url.expose()) {
        _ if !known => "it does not begin with redis://, rediss:// or unix://",
        Err(error) => return refused(env, name, error.category()),
        Ok(client) => match client.get_connection_info().addr() {
            ConnectionAddr::TcpTls { insecure: true, .. } => "#insecure is TLS with anybody, which nobody should trust",
            _ => return Some(url),
        },
    };
    refused(env, name, why)
}

fn refused(env: &mut Env<'_>, name: &str, why: &str) -> Option<Secret> {
    env.refuse(name, why);
    None
}

/// A connection to the Redis at `url`. It is made when it is first needed and again whenever it is lost, so Redis need not be there
/// yet. What takes longer than `response` fails; so must whatever waits in Redis itself (`BLOCK`) take less.
///
/// # Errors
/// The address cannot be used, or the authorities that the machine trusts cannot be read.
pub fn connection(url: &Secret, response: Duration) -> RedisResult<ConnectionManager> {
    let config = ConnectionManagerConfig::new()
        .set_number_of_retries(1)
        .set_connection_timeout(Some(CONNECT))
        .set_response_timeout(Some(response));
    ConnectionManager::new_lazy_with_config(Client::open(url.expose())?, config)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_that_cannot_be_used_is_told_without_its_password() {
        let read = |address: &'static str| {
            let mut env = Env::new(move |name| (name == "REDIS_URL").then(|| address.to_owned()));
            let url = url(&mut env, "REDIS_URL");
            env.done(|| url).map(|_| ()).map_err(|e| e.to_string())
        };
        for good in ["redis://:hunter2@redis:6379/1", "rediss://redis", "unix:///run/redis.sock"] {
            assert_eq!(read(good), Ok(()), "{good}");
        }
        for bad in ["http://u:hunter2@redis", "redis:6379", "hunter2", "rediss://:hunter2@redis/#insecure"] {
            let told = read(bad).unwrap_err();
            assert!(told.starts_with("REDIS_URL: ") && !told.contains("hunter2"), "{told}");
        }
    }
}
