//! The access log, read back from the file that the proxy wrote.

use std::{
    fs,
    io::Read,
    path::{Path, PathBuf},
    process::Command,
    time::{Duration, Instant},
};

use gateway::{
    observe::{AccessLog, Destination, Format},
    proxy::{Options, Proxy},
    table::Action,
};
use proptest::prelude::*;
use serde_json::{Value, json};

use super::http2;
use super::support::{Endpoint, Gateway, cluster, everything, field, forward, rule};

/// A directory that goes with its test.
struct Directory(PathBuf);

impl Directory {
    fn new() -> Self {
        let path = std::env::temp_dir().join(format!("gateway-{}", uuid::Uuid::new_v4()));
        fs::create_dir(&path).unwrap();
        Self(path)
    }

    fn file(&self) -> PathBuf {
        self.0.join("access.log")
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        _ = fs::remove_dir_all(&self.0);
    }
}

fn gateway(file: &Path, format: &str) -> Gateway {
    let log = AccessLog { to: Destination::File(file.to_owned()), format: Format::parse(format).unwrap() };
    let proxy = Proxy::start(Options { workers: 1, access_log: Some(log), ..Options::default() }).unwrap();
    Gateway::of(proxy)
}

/// What the file holds when it has so many lines.
fn lines(file: &Path, count: usize) -> Vec<String> {
    let until = Instant::now() + Duration::from_secs(20);
    loop {
        let text = fs::read_to_string(file).unwrap_or_default();
        let found: Vec<_> = text.lines().map(str::to_owned).collect();
        if found.len() >= count && text.ends_with('\n') {
            assert_eq!(found.len(), count, "{text}");
            return found;
        }
        assert!(Instant::now() < until, "there are not {count} lines in\n{text}");
        std::thread::yield_now();
    }
}

fn objects(file: &Path, count: usize) -> Vec<Value> {
    lines(file, count).iter().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn a_line_says_of_a_request_what_envoy_gateway_says() {
    let (endpoint, directory) = (Endpoint::mirror(), Directory::new());
    let gateway = gateway(&directory.file(), "json");
    gateway.serve(everything(forward(cluster(&[endpoint.address]))));
    let mut client = gateway.client();
    client.send(
        "POST /a/%62?c=%64 HTTP/1.1\r\nHost: example.com\r\nUser-Agent: \"me\"\r\nX-Forwarded-For: 192.0.2.1\r\n\
         X-Request-Id: mine\r\nContent-Length: 4\r\n\r\nbody",
    );
    let (head, seen) = client.message();
    let [line] = objects(&directory.file(), 1).try_into().unwrap();
    let start: jiff::Timestamp = line["start_time"].as_str().unwrap().parse().unwrap();
    assert!(jiff::Timestamp::now().duration_since(start).abs() < jiff::SignedDuration::from_secs(60), "{line}");
    assert!(line["duration"].as_u64().unwrap() < 20_000, "{line}");
    assert!(line["downstream_remote_address"].as_str().unwrap().starts_with("127.0.0.1:"), "{line}");
    let mut expected = json!({
        "method": "POST", "x-envoy-origin-path": "/a/b?c=%64", "protocol": "HTTP/1.1", "response_code": 200,
        "response_flags": "-", "response_code_details": "via_upstream", "connection_termination_details": null,
        "upstream_transport_failure_reason": null, "bytes_received": 4,
        "bytes_sent": field(&head, "content-length").unwrap().parse::<u64>().unwrap(),
        "x-envoy-upstream-service-time": null, "x-forwarded-for": field(&seen, "x-forwarded-for").unwrap(),
        "user-agent": "\"me\"", "x-request-id": field(&seen, "x-request-id").unwrap(), ":authority": "example.com",
        "upstream_host": endpoint.address.to_string(), "upstream_cluster": "default/test:80",
        "upstream_local_address": null, "downstream_local_address": gateway.address.to_string(),
        "requested_server_name": null, "route_name": "default/test/0",
    });
    for key in ["start_time", "duration", "downstream_remote_address"] {
        expected[key] = line[key].clone();
    }
    assert_eq!(line, expected);
}

#[test]
fn a_format_of_ones_own_is_followed() {
    let (endpoint, directory) = (Endpoint::answering("HTTP/1.1 201 Yes\r\nServer: it\r\n\r\nhello"), Directory::new());
    let format = "%REQ(:METHOD)% %REQ(X-None?Accept):3% %RESP(Server)% %RESPONSE_CODE% %BYTES_SENT% %FAULT% \
                  %LISTENER% %REQ(:SCHEME)% %UPSTREAM_REQUEST_ATTEMPT_COUNT% %TRACE_ID% 100%%";
    let gateway = gateway(&directory.file(), format);
    gateway.serve(everything(forward(cluster(&[endpoint.address]))));
    let mut client = gateway.client();
    let trace = "4bf92f3577b34da6a3ce929d0e0e4736";
    client.send(format!(
        "GET / HTTP/1.1\r\nHost: a\r\nAccept: text/html\r\nTraceparent: 00-{trace}-00f067aa0ba902b7-01\r\n\r\n"
    ));
    client.head();
    assert_eq!(lines(&directory.file(), 1), [format!("GET tex it 201 5 none default/test http 1 {trace} 100%")]);
}

#[test]
fn requests_that_go_wrong_have_their_lines_too() {
    let directory = Directory::new();
    let gateway = gateway(&directory.file(), "%RESPONSE_CODE% %RESPONSE_FLAGS% %RESPONSE_CODE_DETAILS% %REQ(:PATH)%");
    gateway.client().get("/a");
    gateway.client().send("nonsense\r\n\r\n");
    lines(&directory.file(), 2);
    gateway.serve(everything(rule(Action::Respond(http::StatusCode::INTERNAL_SERVER_ERROR))));
    gateway.client().get("/c");
    let mut found = lines(&directory.file(), 3);
    found[..2].sort();
    assert_eq!(
        found,
        ["400 DPE downstream_protocol_error -", "404 NR route_not_found /a", "500 NC cluster_not_found /c"]
    );
}

#[test]
fn a_file_that_is_moved_away_is_made_again() {
    let (endpoint, directory) = (Endpoint::saying("hello"), Directory::new());
    let gateway = gateway(&directory.file(), "%REQ(:PATH)%");
    gateway.serve(everything(forward(cluster(&[endpoint.address]))));
    gateway.client().get("/1");
    lines(&directory.file(), 1);
    let old = directory.0.join("access.log.1");
    fs::rename(directory.file(), &old).unwrap();
    gateway.client().get("/2");
    assert_eq!(lines(&directory.file(), 1), ["/2"]);
    assert_eq!(lines(&old, 1), ["/1"]);
    fs::remove_file(directory.file()).unwrap();
    gateway.proxy.reopen_access_log();
    let until = Instant::now() + Duration::from_secs(20);
    while !directory.file().exists() {
        assert!(Instant::now() < until, "the file was not opened again");
        std::thread::yield_now();
    }
}

#[test]
fn a_stream_of_http_2_has_a_line_as_any_request_has() {
    let (endpoint, directory) = (Endpoint::saying("hello"), Directory::new());
    let gateway = gateway(
        &directory.file(),
        "%PROTOCOL% %REQ(:METHOD)% %REQ(:AUTHORITY)% %REQ(:PATH)% %RESPONSE_CODE% %BYTES_SENT%",
    );
    gateway.serve(everything(forward(cluster(&[endpoint.address]))));
    http2::run(async {
        let client = http2::connect(gateway.address).await;
        let request = http::Request::get("http://example.com/a?b").body(()).unwrap();
        assert_eq!(http2::ask(&client, request).await.unwrap().text(), "hello");
    });
    assert_eq!(lines(&directory.file(), 1), ["HTTP/2 GET example.com /a?b 200 5"]);
}

#[test]
fn a_reader_that_does_not_read_costs_lines_and_delays_no_request() {
    let (endpoint, directory) = (Endpoint::saying("hello"), Directory::new());
    assert!(Command::new("mkfifo").arg(directory.file()).status().unwrap().success());
    // Both ends: opening one alone would wait for the other.
    let mut reader = fs::OpenOptions::new().read(true).write(true).open(directory.file()).unwrap();
    let gateway = gateway(&directory.file(), "%REQ(User-Agent)%");
    gateway.serve(everything(forward(cluster(&[endpoint.address]))));
    let mut client = gateway.client();
    let request = format!("GET / HTTP/1.1\r\nHost: a\r\nUser-Agent: {}\r\n\r\n", "a".repeat(15_000));
    // Twice as much as may wait.
    for _ in 0..1_200 {
        client.send(&request);
        assert_eq!(client.message().1, "hello");
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let count = |result: &str| {
        let text = runtime.block_on(gateway.proxy.metrics()).prometheus();
        let name = format!("coracle_gateway_access_log_lines_total{{result=\"{result}\"}} ");
        text.lines().find_map(|line| line.strip_prefix(&name)).unwrap().parse::<u64>().unwrap()
    };
    assert!(count("dropped") > 0);
    let mut some = [0; 15_001];
    reader.read_exact(&mut some).unwrap();
    assert!(some.ends_with(b"a\n"));
}

#[test]
fn at_the_end_every_line_is_written() {
    let (endpoint, directory) = (Endpoint::saying("hello"), Directory::new());
    let gateway = gateway(&directory.file(), "json");
    gateway.serve(everything(forward(cluster(&[endpoint.address]))));
    let mut client = gateway.client();
    for _ in 0..500 {
        client.get("/");
    }
    drop(client);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(gateway.proxy.shutdown(Duration::from_secs(10)));
    assert_eq!(fs::read_to_string(directory.file()).unwrap().lines().count(), 500);
}

#[test]
fn a_file_that_cannot_be_opened_is_said_at_once() {
    let directory = Directory::new();
    fs::write(directory.file(), "").unwrap();
    // A file has no files in it.
    let to = Destination::File(directory.file().join("log"));
    let log = AccessLog { to, format: Format::parse("json").unwrap() };
    assert!(Proxy::start(Options { workers: 1, access_log: Some(log), ..Options::default() }).is_err());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(8))]

    /// Whatever a stranger writes into his head, the log has one line for it, and every line is JSON.
    #[test]
    fn every_line_is_json(agents in proptest::collection::vec(proptest::collection::vec(0x20_u8..=0xff, 0..60), 20)) {
        let (endpoint, directory) = (Endpoint::saying("hello"), Directory::new());
        let gateway = gateway(&directory.file(), "json");
        gateway.serve(everything(forward(cluster(&[endpoint.address]))));
        for agent in &agents {
            let mut client = gateway.client();
            let (head, end) = (b"GET /\" HTTP/1.1\r\nHost: a\r\nConnection: close\r\nUser-Agent: ", b"\r\n\r\n");
            client.send([head, agent.as_slice(), end].concat());
            client.rest();
        }
        let found = objects(&directory.file(), agents.len());
        for (line, agent) in found.iter().zip(&agents) {
            if line["response_code"] == 200 {
                prop_assert_eq!(line["user-agent"].as_str().unwrap(), String::from_utf8_lossy(agent.trim_ascii()));
            }
        }
    }
}
