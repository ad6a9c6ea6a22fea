//! The service as a process: what it says, what it exports, how it starts and ends.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a failed step of a test is its failure")]

use std::{process::Stdio, time::Duration};

use axum::{Router, body::Bytes, extract::State, routing::post};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use opentelemetry_proto::tonic::{
    collector::trace::v1::ExportTraceServiceRequest,
    common::v1::{KeyValue, any_value::Value as Any},
    trace::v1::span::SpanKind,
};
use prost::Message;
use serde_json::Value;
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, BufReader, Lines},
    net::TcpListener,
    process::{Child, ChildStdout, Command},
    sync::mpsc,
};

/// A running service and what it says, line by line.
struct Hello {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
    url: String,
}

fn command(environment: &[(&str, &str)]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_hello"));
    command.env_clear().env("HOST", "127.0.0.1").env("PORT", "0").envs(environment.iter().copied());
    command.stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    command
}

impl Hello {
    async fn start(environment: &[(&str, &str)]) -> Self {
        let mut child = command(environment).spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let first: Value = serde_json::from_str(&lines.next_line().await.unwrap().unwrap()).unwrap();
        assert_eq!(first["message"], "listening", "{first}");
        let url = format!("http://{}", first["address"].as_str().unwrap());
        Self { child, lines, url }
    }

    fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.child.id().unwrap().try_into().unwrap()), signal).unwrap();
    }

    /// Tells it to end: whether it ended well, and what it said meanwhile.
    async fn end(mut self) -> Vec<Value> {
        self.signal(Signal::SIGTERM);
        let mut said = Vec::new();
        while let Some(line) = self.lines.next_line().await.unwrap() {
            said.push(serde_json::from_str(&line).unwrap_or_else(|e| panic!("{e}: {line}")));
        }
        assert!(self.child.wait().await.unwrap().success());
        said
    }
}

#[tokio::test]
async fn every_line_is_json_with_the_requests_id_and_trace_and_without_its_secrets() {
    let hello = Hello::start(&[]).await;
    let client = reqwest::Client::new();
    let request =
        client.get(format!("{}/?token=hunter2", hello.url)).bearer_auth("hunter2").header("x-request-id", "mine-1");
    let parent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    let answer = request.header("traceparent", parent).header("user-agent", "a \"b\"\\").send().await.unwrap();
    assert_eq!(answer.headers()["x-request-id"], "mine-1");
    client.get(format!("{}/health", hello.url)).send().await.unwrap();
    let said = hello.end().await;
    assert!(said.iter().all(|line| line["service"] == "hello" && line["timestamp"].is_string()), "{said:?}");
    let access: Vec<&Value> = said.iter().filter(|line| line["stream"] == "access").collect();
    let [access] = access[..] else { panic!("probes are not logged: {said:?}") };
    assert_eq!(
        (&access["request_id"], &access["trace_id"]),
        (&"mine-1".into(), &"4bf92f3577b34da6a3ce929d0e0e4736".into())
    );
    assert_eq!((&access["method"], &access["path"], &access["status"]), (&"GET".into(), &"/".into(), &200.into()));
    assert!(access["duration_ms"].as_f64().unwrap() > 0.0);
    assert!(!format!("{said:?}").contains("hunter2"), "{said:?}");
    assert!(said.iter().any(|line| line["message"] == "draining" && line["stream"] == "application"), "{said:?}");
}

#[tokio::test]
async fn all_mistakes_in_the_environment_are_told_at_once() {
    let wrong = [("HOST", "here"), ("PORT", "http"), ("LOG_LEVEL", "loud"), ("MAX_IN_FLIGHT", "0")];
    let output = command(&wrong).output().await.unwrap();
    assert_eq!(output.status.code(), Some(1));
    let line: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((&line["level"], &line["message"]), (&"error".into(), &"the service ends".into()));
    for (name, _) in wrong {
        assert!(line["error"].as_str().unwrap().contains(name), "{line}");
    }
}

#[tokio::test]
async fn an_address_in_use_is_named() {
    let taken = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let output = command(&[("PORT", &port)]).output().await.unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(
        String::from_utf8_lossy(&output.stderr).contains(&format!("cannot listen on 127.0.0.1:{port}")),
        "{output:?}"
    );
}

/// A collector that decodes what it is sent.
async fn collector() -> (String, mpsc::Receiver<ExportTraceServiceRequest>) {
    let (sender, spans) = mpsc::channel(16);
    let take = |State(sender): State<mpsc::Sender<ExportTraceServiceRequest>>, body: Bytes| async move {
        sender.send(ExportTraceServiceRequest::decode(body).unwrap()).await.unwrap();
    };
    let app = Router::new().route("/v1/traces", post(take)).with_state(sender);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, app).await });
    (url, spans)
}

fn attribute(attributes: &[KeyValue], key: &str) -> String {
    let value = attributes.iter().find(|a| a.key == key).and_then(|a| a.value.clone()?.value);
    match value {
        Some(Any::StringValue(text)) => text,
        Some(Any::IntValue(number)) => number.to_string(),
        other => panic!("{key}: {other:?} of {attributes:?}"),
    }
}

#[tokio::test]
async fn spans_go_to_the_collector_with_the_clients_trace() {
    let (url, mut exported) = collector().await;
    let hello = Hello::start(&[("OTEL_EXPORTER_OTLP_ENDPOINT", &url)]).await;
    let request = reqwest::Client::new().get(&hello.url);
    let parent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    request.header("traceparent", parent).header("x-request-id", "mine-1").send().await.unwrap();
    // What has not been sent yet is sent at the end.
    let said = hello.end().await;
    let exported = exported.recv().await.unwrap();
    let [of_resource] = &exported.resource_spans[..] else { panic!("{exported:?}") };
    let resource = of_resource.resource.as_ref().unwrap();
    assert_eq!(attribute(&resource.attributes, "service.name"), "hello");
    assert_eq!(attribute(&resource.attributes, "service.version"), env!("CARGO_PKG_VERSION"));
    let [span] = &of_resource.scope_spans[0].spans[..] else { panic!("{exported:?}") };
    assert_eq!((span.name.as_str(), span.kind), ("GET /", i32::from(SpanKind::Server)));
    assert_eq!(span.trace_id, 0x4bf9_2f35_77b3_4da6_a3ce_929d_0e0e_4736_u128.to_be_bytes());
    assert_eq!(span.parent_span_id, 0x00f0_67aa_0ba9_02b7_u64.to_be_bytes());
    assert_eq!(attribute(&span.attributes, "http.response.status_code"), "200");
    assert_eq!(attribute(&span.attributes, "request_id"), "mine-1");
    let access = said.iter().find(|line| line["stream"] == "access").unwrap();
    assert_eq!(access["trace_id"], "4bf92f3577b34da6a3ce929d0e0e4736");
    let id: String = span.span_id.iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(access["span_id"], id);
}

#[tokio::test]
async fn a_dead_collector_holds_nobody_up_and_what_is_lost_is_counted() {
    // It accepts connections, and never answers.
    let dead = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", dead.local_addr().unwrap());
    let hello = Hello::start(&[("OTEL_EXPORTER_OTLP_ENDPOINT", &url), ("ACCESS_LOG", "false")]).await;
    let client = reqwest::Client::new();
    for _ in 0..3000 {
        assert_eq!(client.get(&hello.url).send().await.unwrap().status(), 200);
    }
    let metrics = client.get(format!("{}/metrics", hello.url)).send().await.unwrap().text().await.unwrap();
    let lost = metrics.lines().find_map(|line| line.strip_prefix("trace_spans_lost_total ")).unwrap();
    assert!(lost.parse::<u64>().unwrap() > 0, "{lost}");
    let ended = tokio::time::timeout(Duration::from_secs(20), hello.end()).await.unwrap();
    assert!(ended.iter().any(|line| line["message"] == "draining"));
}

#[tokio::test]
async fn a_reader_of_the_log_that_does_not_read_holds_nobody_up() {
    let hello = Hello::start(&[]).await;
    let client = reqwest::Client::new();
    let agent = "x".repeat(7000);
    for _ in 0..400 {
        let request = client.get(&hello.url).header("user-agent", &agent);
        assert_eq!(request.send().await.unwrap().status(), 200);
    }
    let metrics = client.get(format!("{}/metrics", hello.url)).send().await.unwrap().text().await.unwrap();
    let lost = metrics.lines().find_map(|line| line.strip_prefix("log_lines_lost_total ")).unwrap();
    assert!(lost.parse::<u64>().unwrap() > 0, "{lost}");
    let mut hello = hello;
    let mut said = String::new();
    hello.signal(Signal::SIGTERM);
    hello.lines.into_inner().read_to_string(&mut said).await.unwrap();
    assert!(said.lines().all(|line| serde_json::from_str::<Value>(line).is_ok()));
    assert!(said.contains("log lines were lost"), "the log says that it is not whole");
    assert!(hello.child.wait().await.unwrap().success());
}
