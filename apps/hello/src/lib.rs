//! The `hello` reference service: `GET /` answers a greeting with the time. It knows nothing of Coracle: it runs alone, in a
//! container, or on any cluster. On SIGTERM (or Ctrl-C) it stops accepting, finishes what it has begun, and ends.

use std::{convert::Infallible, io, net::SocketAddr, time::Duration};

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode, header};
use http_body_util::Full;
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    server::graceful::GracefulShutdown,
};
use tokio::net::TcpListener;

/// How long requests that have begun may still take after SIGTERM; below Kubernetes' default grace period of 30 s.
const DRAIN: Duration = Duration::from_secs(25);

/// Where to listen, from the environment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// `HOST` (default `0.0.0.0`) and `PORT` (default 8000).
    pub listen: SocketAddr,
}

impl Config {
    /// Reads the configuration through `lookup`, which is `std::env::var` outside tests.
    ///
    /// # Errors
    /// Says which variable holds what cannot be used.
    pub fn from_env(lookup: impl Fn(&str) -> Option<String>) -> Result<Self, String> {
        let set = |name: &str| lookup(name).filter(|value| !value.is_empty());
        let host = set("HOST").unwrap_or_else(|| "0.0.0.0".to_owned());
        let ip = host.parse().map_err(|e| format!("HOST={host:?} is not an IP address: {e}"))?;
        let port = set("PORT").unwrap_or_else(|| "8000".to_owned());
        let port = port.parse().map_err(|e| format!("PORT={port:?} is not a port number: {e}"))?;
        Ok(Self { listen: SocketAddr::new(ip, port) })
    }
}

/// Answers one request.
pub fn respond(method: &Method, path: &str, now: jiff::Timestamp) -> Response<Full<Bytes>> {
    let (status, body) = match (path, method) {
        // A timestamp has no character that JSON escapes.
        ("/", &Method::GET | &Method::HEAD) => {
            (StatusCode::OK, format!(r#"{{"status":"ok","message":"Hello World","timestamp":"{now}"}}"#))
        }
        ("/", _) => (StatusCode::METHOD_NOT_ALLOWED, r#"{"detail":"Method Not Allowed"}"#.to_owned()),
        _ => (StatusCode::NOT_FOUND, r#"{"detail":"Not Found"}"#.to_owned()),
    };
    let mut response = Response::new(Full::new(Bytes::from(body)));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, header::HeaderValue::from_static("application/json"));
    if status == StatusCode::METHOD_NOT_ALLOWED {
        response.headers_mut().insert(header::ALLOW, header::HeaderValue::from_static("GET, HEAD"));
    }
    response
}

/// Serves until `stop` resolves, then drains.
///
/// # Errors
/// None once it listens: a failed accept is retried, a failed connection is that client's alone.
pub async fn serve(listener: TcpListener, stop: impl Future<Output = ()>) {
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(Duration::from_secs(60));
    let connections = GracefulShutdown::new();
    tokio::pin!(stop);
    loop {
        let stream = tokio::select! {
            () = &mut stop => break,
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => stream,
                Err(e) => {
                    eprintln!("hello: accept: {e}");
                    // Out of descriptors is the usual cause; it passes when a connection closes.
                    tokio::time::sleep(Duration::from_millis(50)).await;
                    continue;
                }
            },
        };
        let service = service_fn(|request: Request<Incoming>| async move {
            Ok::<_, Infallible>(respond(request.method(), request.uri().path(), jiff::Timestamp::now()))
        });
        let connection = connections.watch(http.serve_connection(TokioIo::new(stream), service));
        tokio::spawn(async move {
            // An error here is the client's: it went away or did not speak HTTP.
            let _ = connection.await;
        });
    }
    drop(listener);
    if tokio::time::timeout(DRAIN, connections.shutdown()).await.is_err() {
        eprintln!("hello: requests still ran after {DRAIN:?}; giving up on them");
    }
}

/// The whole program: configuration from the environment, then [`serve`] until SIGTERM or SIGINT.
///
/// # Errors
/// Says what in the environment is wrong, or why it cannot listen.
pub fn run() -> io::Result<()> {
    let config = Config::from_env(|name| std::env::var(name).ok()).map_err(io::Error::other)?;
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
        let mut terminate = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())?;
        let listener = TcpListener::bind(config.listen)
            .await
            .map_err(|e| io::Error::new(e.kind(), format!("cannot listen on {}: {e}", config.listen)))?;
        println!(
            "{}",
            serde_json::json!({"level": "info", "message": "listening", "address": listener.local_addr()?.to_string()})
        );
        serve(listener, async move {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = tokio::signal::ctrl_c() => {}
            }
        })
        .await;
        Ok(())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_greeting_carries_the_time_it_was_made() {
        let response = respond(&Method::GET, "/", "2026-01-02T03:04:05Z".parse().unwrap());
        assert_eq!(response.status(), StatusCode::OK);
        assert_eq!(response.headers()[header::CONTENT_TYPE], "application/json");
    }

    #[test]
    fn other_paths_and_methods_are_refused() {
        let now = jiff::Timestamp::UNIX_EPOCH;
        assert_eq!(respond(&Method::GET, "/x", now).status(), StatusCode::NOT_FOUND);
        assert_eq!(respond(&Method::POST, "/", now).status(), StatusCode::METHOD_NOT_ALLOWED);
    }

    #[test]
    fn a_bad_port_is_named() {
        let error = Config::from_env(|name| (name == "PORT").then(|| "http".to_owned())).unwrap_err();
        assert!(error.contains("PORT=\"http\""), "{error}");
    }
}
