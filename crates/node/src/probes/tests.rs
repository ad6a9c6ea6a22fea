//! Asking real servers.

use std::{convert::Infallible, sync::Arc};

use ::http::{HeaderMap, Request, Response};
use bytes::Bytes;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::{
    body::{Frame, Incoming},
    service::service_fn,
};
use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    server::conn::auto::Builder,
};
use objects::session::Streams;
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpSocket, TcpStream, UnixStream};
use tokio_rustls::TlsAcceptor;

use super::*;
use crate::runtime::{
    ContainerSpec, ContainerStatus, ExecOutput, Exit, Features, Limits, RuntimeError, SandboxSpec, SandboxStatus,
    usage::Usage,
};

/// A runtime in which nothing runs.
struct Nothing;

#[async_trait::async_trait]
impl Runtime for Nothing {
    fn name(&self) -> &'static str {
        "nothing"
    }
    fn features(&self) -> Features {
        Features { isolation: false, limits: false, users: false, mounts: false }
    }
    async fn run_sandbox(&self, _: &SandboxSpec) -> Result<SandboxStatus, RuntimeError> {
        Err(RuntimeError::NotFound(String::new()))
    }
    async fn remove_sandbox(&self, _: &str) -> Result<(), RuntimeError> {
        Ok(())
    }
    async fn start(&self, _: &ContainerSpec) -> Result<ContainerStatus, RuntimeError> {
        Err(RuntimeError::NotFound(String::new()))
    }
    async fn signal(&self, _: &ContainerId, _: i32) -> Result<(), RuntimeError> {
        Ok(())
    }
    async fn kill(&self, _: &ContainerId) -> Result<(), RuntimeError> {
        Ok(())
    }
    async fn wait(&self, id: &ContainerId) -> Result<Exit, RuntimeError> {
        Err(RuntimeError::NotFound(id.name.clone()))
    }
    async fn exec(
        &self,
        _: &ContainerId,
        argv: &[String],
        deadline: Duration,
        _: usize,
    ) -> Result<ExecOutput, RuntimeError> {
        match argv.first().map(String::as_str) {
            Some("late") => Err(RuntimeError::Timeout(deadline)),
            Some("fails") => Ok(ExecOutput { code: 1, output: b"no".to_vec() }),
            _ => Err(RuntimeError::NotFound("program".to_owned())),
        }
    }
    async fn session(&self, id: &ContainerId, _: &[String], _: Streams) -> Result<UnixStream, RuntimeError> {
        Err(RuntimeError::NotFound(id.name.clone()))
    }
    async fn attach(&self, id: &ContainerId, _: Streams) -> Result<UnixStream, RuntimeError> {
        Err(RuntimeError::NotFound(id.name.clone()))
    }
    async fn dial(&self, pod_uid: &str, _: u16) -> Result<TcpStream, RuntimeError> {
        Err(RuntimeError::NotFound(pod_uid.to_owned()))
    }
    async fn resize(&self, _: &ContainerId, _: &Limits) -> Result<(), RuntimeError> {
        Ok(())
    }
    fn usage(&self, runs: &[ContainerId]) -> Vec<Option<Usage>> {
        vec![None; runs.len()]
    }
    fn processes(&self, runs: &[ContainerId]) -> Vec<u64> {
        vec![0; runs.len()]
    }

    fn files(&self, _: &str) -> Option<std::path::PathBuf> {
        None
    }

    async fn remove(&self, _: &ContainerId) -> Result<(), RuntimeError> {
        Ok(())
    }
    async fn recover(&self) -> Result<Vec<(SandboxStatus, Vec<ContainerStatus>)>, RuntimeError> {
        Ok(Vec::new())
    }
}

/// Answers by path, as a web server and as a health service.
async fn answer(
    request: Request<Incoming>,
) -> Result<Response<impl hyper::body::Body<Data = Bytes, Error = Infallible> + use<>>, Infallible> {
    let agent = request.headers().get("user-agent").and_then(|agent| agent.to_str().ok()).unwrap_or_default();
    let plain = |status: u16, location: &str| {
        let response = Response::builder().status(status).header("location", location);
        response.body(Full::new(Bytes::from_static(b"text")).boxed()).unwrap()
    };
    Ok(match request.uri().path() {
        "/ok" => plain(200, ""),
        "/agent" => plain(if agent.starts_with("kube-probe/") { 204 } else { 400 }, ""),
        "/named" => plain(if request.headers().get("x-name").is_some() { 200 } else { 400 }, ""),
        "/moved" => plain(302, "/broken"),
        "/away" => plain(302, "http://example.invalid/"),
        "/round" => plain(302, "/round"),
        "/grpc.health.v1.Health/Check" => {
            let asked = request.into_body().collect().await.map(|body| body.to_bytes()).unwrap_or_default();
            // The service `b` does not serve, the others do.
            let status = if asked.ends_with(b"b") { 2 } else { 1 };
            let ends = HeaderMap::from_iter([("grpc-status".parse().unwrap(), "0".parse().unwrap())]);
            let frames = [Frame::data(Bytes::from(vec![0, 0, 0, 0, 2, 8, status])), Frame::trailers(ends)];
            Response::new(StreamBody::new(futures::stream::iter(frames.map(Ok))).boxed())
        }
        _ => plain(500, ""),
    })
}

/// A server on a free port, over TLS if a certificate is given.
async fn server(tls: Option<TlsAcceptor>) -> u16 {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let tls = tls.clone();
            tokio::spawn(async move {
                let builder = Builder::new(TokioExecutor::new());
                match tls {
                    Some(tls) => {
                        let stream = TokioIo::new(tls.accept(stream).await.unwrap());
                        drop(builder.serve_connection(stream, service_fn(answer)).await);
                    }
                    None => drop(builder.serve_connection(TokioIo::new(stream), service_fn(answer)).await),
                }
            });
        }
    });
    port
}

async fn ask(port: u16, probe: Value) -> Result<(), Failed> {
    let container = json!({"name": "c", "ports": [{"name": "web", "containerPort": port}]});
    let container = serde_json::from_value(container).unwrap();
    let id = ContainerId { pod_uid: "u".to_owned(), name: "c".to_owned(), attempt: 0 };
    let timeout = Duration::from_secs(10);
    let target = Target { container: &container, id: &id, ip: [127, 0, 0, 1].into(), runtime: &Nothing, timeout };
    target.probe(&serde_json::from_value(probe).unwrap()).await
}

fn get(path: &str) -> Value {
    json!({"httpGet": {"path": path, "port": "web"}})
}

fn unhealthy(text: &str) -> Result<(), Failed> {
    Err(Failed::Unhealthy(text.to_owned()))
}

#[test]
fn a_verdict_needs_as_many_results_in_a_row_as_its_threshold() {
    let probe = Probe { failure_threshold: Some(2), success_threshold: Some(2), ..Probe::default() };
    let mut counter = Counter::new(&probe);
    let verdicts: Vec<_> = [false, true, true, false, true, false, false, false].map(|ok| counter.count(ok)).into();
    assert_eq!(verdicts, [None, None, Some(true), None, None, None, Some(false), Some(false)]);
}

#[tokio::test]
async fn an_http_probe_takes_200_to_399_and_follows_redirects_on_the_same_host() {
    let port = server(None).await;
    for path in ["/ok", "/agent", "/away"] {
        assert_eq!(ask(port, get(path)).await, Ok(()), "{path}");
    }
    assert_eq!(ask(port, get("/broken")).await, unhealthy("HTTP probe failed with statuscode: 500"));
    assert_eq!(ask(port, get("/moved")).await, unhealthy("HTTP probe failed with statuscode: 500"));
    let round = ask(port, get("/round")).await;
    assert!(
        matches!(&round, Err(Failed::Unhealthy(text)) if text.ends_with("stopped after 10 redirects")),
        "{round:?}"
    );
    let headers = json!([{"name": "X-Name", "value": "x"}, {"name": "User-Agent", "value": ""}]);
    let named = json!({"httpGet": {"path": "/named", "port": port, "httpHeaders": headers}});
    assert_eq!(ask(port, named).await, Ok(()));
}

#[tokio::test]
async fn an_https_probe_does_not_ask_who_the_server_is() {
    let made = rcgen::generate_simple_self_signed(["nobody".to_owned()]).unwrap();
    let key = rustls::pki_types::PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let config = config.with_no_client_auth().with_single_cert(vec![made.cert.der().clone()], key).unwrap();
    let port = server(Some(TlsAcceptor::from(Arc::new(config)))).await;
    let probe = |path| json!({"httpGet": {"path": path, "port": "web", "scheme": "HTTPS"}});
    assert_eq!(ask(port, probe("/ok")).await, Ok(()));
    assert_eq!(ask(port, probe("/broken")).await, unhealthy("HTTP probe failed with statuscode: 500"));
}

#[tokio::test]
async fn a_grpc_probe_asks_the_health_service_for_its_service() {
    let port = server(None).await;
    assert_eq!(ask(port, json!({"grpc": {"port": port}})).await, Ok(()));
    assert_eq!(ask(port, json!({"grpc": {"port": port, "service": "a"}})).await, Ok(()));
    let sick = ask(port, json!({"grpc": {"port": port, "service": "b"}})).await;
    assert_eq!(sick, unhealthy("service unhealthy (responded with \"NOT_SERVING\")"));
}

#[tokio::test]
async fn a_port_that_nobody_listens_on_is_unhealthy() {
    let port = server(None).await;
    assert_eq!(ask(port, json!({"tcpSocket": {"port": "web"}})).await, Ok(()));
    // Bound, so that it stays nobody else's, and not listening.
    let bound = TcpSocket::new_v4().unwrap();
    bound.bind(([127, 0, 0, 1], 0).into()).unwrap();
    let closed = bound.local_addr().unwrap().port();
    for probe in [
        json!({"tcpSocket": {"port": closed}}),
        json!({"httpGet": {"port": closed}}),
        json!({"grpc": {"port": closed}}),
    ] {
        let result = ask(port, probe).await;
        assert!(matches!(result, Err(Failed::Unhealthy(_))), "{result:?}");
    }
}

#[tokio::test]
async fn a_command_that_cannot_be_run_says_nothing_about_the_container() {
    let exec = |command: &str| json!({"exec": {"command": [command]}});
    assert_eq!(ask(1, exec("fails")).await, unhealthy("no"));
    assert_eq!(ask(1, exec("late")).await, unhealthy("command timed out: \"late\" timed out after 10s"));
    assert!(matches!(ask(1, exec("missing")).await, Err(Failed::Unknown(_))));
}

#[tokio::test]
async fn a_port_without_a_number_says_nothing_about_the_container() {
    for probe in [json!({"httpGet": {"port": "nowhere"}}), json!({"tcpSocket": {"port": "nowhere"}})] {
        assert!(matches!(ask(1, probe).await, Err(Failed::Unknown(_))));
    }
    let port = server(None).await;
    assert_eq!(ask(port, json!({"tcpSocket": {"host": "", "port": "web"}})).await, Ok(()));
}
