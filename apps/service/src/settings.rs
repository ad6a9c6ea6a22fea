//! The settings that every service has, and what they are if nobody sets them.

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    time::Duration,
};

use tracing_subscriber::filter::{LevelFilter, Targets};

use crate::{config::Env, log::Format};

/// The settings that every service has; `docs/services.md` has the table.
#[derive(Clone, Debug)]
pub struct Settings {
    /// `HOST` (default all IPv4 addresses) and `PORT` (default 8000, or what the program says).
    pub listen: SocketAddr,
    /// `WORKERS`: threads that handle requests; default one.
    pub workers: usize,
    /// `LOG_LEVEL`: what the application stream has, as `info` or `info,sqlx=warn`.
    pub log_level: Targets,
    /// `LOG_FORMAT`: `json` or `text`.
    pub log_format: Format,
    /// `ACCESS_LOG`: whether requests are logged.
    pub access_log: bool,
    /// `OTEL_EXPORTER_OTLP_ENDPOINT`: the base of the collector's address; without it no traces are exported.
    pub otlp_endpoint: Option<String>,
    /// `OTEL_SERVICE_NAME`: the service's name in traces, if it is to be another.
    pub otel_name: Option<String>,
    /// Bounds on requests and connections.
    pub limits: Limits,
}

/// Bounds on requests and connections.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// `MAX_BODY_BYTES`: bytes that a request's body may have; default 1 MiB, or what the service says.
    pub body_bytes: u64,
    /// `BODY_TIMEOUT_SECONDS`: how long a body may take to arrive, once its handler waits for it.
    pub body_time: Duration,
    /// `HEAD_TIMEOUT_SECONDS`: how long a request's head may take, and so how long a connection may be idle.
    pub head_time: Duration,
    /// `REQUEST_TIMEOUT_SECONDS`: how long a handler may take until it begins to answer.
    pub request_time: Duration,
    /// `WRITE_TIMEOUT_SECONDS`: how long a client may take nothing to speak of (256 bytes a second) of an answer that waits for it.
    pub write_time: Duration,
    /// `MAX_IN_FLIGHT`: requests handled at once; more are answered with 503.
    pub in_flight: i64,
    /// `MAX_CONNECTIONS`: open connections; more wait in the kernel's queue.
    pub connections: usize,
    /// `TRUSTED_PROXIES`: proxies in front whose `X-Forwarded-For` is believed.
    pub trusted_proxies: usize,
    /// `DRAIN_DELAY_SECONDS`: how long a service that is told to stop still takes new connections.
    pub drain_delay: Duration,
    /// `DRAIN_SECONDS`: how long what has begun may still take after that.
    pub drain: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            body_bytes: 1024 * 1024,
            body_time: Duration::from_secs(15),
            head_time: Duration::from_secs(60),
            request_time: Duration::from_secs(30),
            write_time: Duration::from_secs(20),
            in_flight: 512,
            connections: 10_000,
            trusted_proxies: 0,
            drain_delay: Duration::from_millis(100),
            drain: Duration::from_secs(25),
        }
    }
}

impl Limits {
    /// Reads the bounds. The service's own limit on bodies holds if the environment does not set one.
    fn read(env: &mut Env<'_>) -> (Self, Option<u64>) {
        let own = Self::default();
        let body_bytes = env.optional("MAX_BODY_BYTES");
        let limits = Self {
            body_bytes: body_bytes.unwrap_or(own.body_bytes),
            body_time: env.seconds("BODY_TIMEOUT_SECONDS", own.body_time),
            head_time: env.seconds("HEAD_TIMEOUT_SECONDS", own.head_time),
            request_time: env.seconds("REQUEST_TIMEOUT_SECONDS", own.request_time),
            write_time: env.seconds("WRITE_TIMEOUT_SECONDS", own.write_time),
            in_flight: at_least_one(env, "MAX_IN_FLIGHT", 512_u32).into(),
            connections: at_least_one(env, "MAX_CONNECTIONS", 10_000_u32) as usize,
            trusted_proxies: env.or("TRUSTED_PROXIES", 0_u8).into(),
            drain_delay: env.seconds("DRAIN_DELAY_SECONDS", own.drain_delay),
            drain: env.seconds("DRAIN_SECONDS", own.drain),
        };
        (limits, body_bytes)
    }
}

fn at_least_one(env: &mut Env<'_>, name: &'static str, default: u32) -> u32 {
    let value = env.or(name, default);
    if value == 0 {
        env.refuse(name, "0 would let nothing in");
    }
    value.max(1)
}

/// A level, or a level and others for parts of the program. A level is required: a word that is none would be taken for a part's name.
fn log_level(env: &mut Env<'_>) -> Targets {
    let level = env.or("LOG_LEVEL", Targets::new().with_default(LevelFilter::INFO));
    if level.default_level().is_some() {
        return level;
    }
    env.refuse("LOG_LEVEL", "no level for the whole, as in `info` or `info,sqlx=warn`");
    Targets::new().with_default(LevelFilter::INFO)
}

impl Settings {
    /// Reads the settings; what is wrong with them is recorded in `env`. Also says whether `MAX_BODY_BYTES` is set.
    pub(crate) fn read(env: &mut Env<'_>, port: u16) -> (Self, bool) {
        let host = env.or("HOST", IpAddr::V4(Ipv4Addr::UNSPECIFIED));
        let listen = SocketAddr::new(host, env.or("PORT", port));
        let workers = at_least_one(env, "WORKERS", 1);
        if workers > 256 {
            env.refuse("WORKERS", "more than 256 threads");
        }
        let (limits, body_bytes) = Limits::read(env);
        let otlp_endpoint: Option<String> = env.optional("OTEL_EXPORTER_OTLP_ENDPOINT");
        if otlp_endpoint.as_ref().is_some_and(|url| !url.starts_with("http://") && !url.starts_with("https://")) {
            env.refuse("OTEL_EXPORTER_OTLP_ENDPOINT", "not an http:// or https:// address");
        }
        let settings = Self {
            listen,
            workers: workers as usize,
            log_level: log_level(env),
            log_format: env.or("LOG_FORMAT", Format::Json),
            access_log: env.or("ACCESS_LOG", true),
            otlp_endpoint,
            otel_name: env.optional("OTEL_SERVICE_NAME"),
            limits,
        };
        (settings, body_bytes.is_some())
    }
}

#[cfg(test)]
#[path = "../tests/support/table.rs"]
mod table;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_documentation_has_every_setting_and_no_other() {
        let asked = crate::config::asked(&[], |env| _ = Settings::read(env, 8000));
        assert_eq!(asked, table::variables(include_str!("../../../docs/services.md"), "## Settings"));
    }
}
