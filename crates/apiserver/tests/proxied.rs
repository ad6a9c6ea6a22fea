//! Requests that are passed on to a pod: their answers, what of their headers goes on, and connections that become WebSockets.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a failed step of a test is its failure")]

use std::sync::Arc;

use apiserver::{ApiServer, Options};
use futures::{SinkExt, StreamExt};
use http::{Request, StatusCode};
use kube::Client;
use rustls::pki_types::ServerName;
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};
use tokio_rustls::client::TlsStream;
use tokio_tungstenite::{accept_async, client_async, tungstenite::Message};
use tokio_util::sync::CancellationToken;

const PODS: &str = "/api/v1/namespaces/default/pods";

struct Api {
    server: ApiServer,
    client: Client,
    _dir: tempfile::TempDir,
}

impl Api {
    /// With a pod whose address is this machine's.
    async fn start() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let options =
            Options { data_dir: dir.path().to_owned(), service_cidr: "10.43.0.0/16".to_owned(), names: Vec::new() };
        let server = ApiServer::open(options).await.unwrap();
        let this = Self { client: server.client("tester"), server, _dir: dir };
        let pod = json!({"metadata": {"name": "p"}, "spec": {"containers": [{"name": "c", "image": "i"}]}});
        assert_eq!(this.ask("POST", PODS, "application/json", &pod).await.0, StatusCode::CREATED);
        let status = json!({"status": {"podIP": "127.0.0.1", "podIPs": [{"ip": "127.0.0.1"}]}});
        let path = format!("{PODS}/p/status");
        assert_eq!(this.ask("PATCH", &path, "application/merge-patch+json", &status).await.0, StatusCode::OK);
        this
    }

    /// A connection to it over TLS, and what serves that.
    async fn connect(&self) -> (TlsStream<TcpStream>, Served) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let stop = CancellationToken::new();
        let serving = tokio::spawn({
            let (server, stop) = (self.server.clone(), stop.clone());
            async move { server.serve(listener, stop).await.unwrap() }
        });
        let config = self.server.pki().client_config("tester", &["system:masters"]).unwrap();
        let stream = TcpStream::connect(address).await.unwrap();
        let name = ServerName::try_from("localhost").unwrap();
        let stream = tokio_rustls::TlsConnector::from(Arc::new(config)).connect(name, stream).await.unwrap();
        (stream, Served { stop, serving })
    }

    async fn ask(&self, method: &str, path: &str, media: &str, body: &Value) -> (StatusCode, String) {
        let request = Request::builder().method(method).uri(path).header("content-type", media);
        let request = request.header("authorization", "Bearer secret").header("x-kept", "1");
        let body = if body.is_null() { Vec::new() } else { body.to_string().into_bytes() };
        let answer = self.client.send(request.body(kube::client::Body::from(body)).unwrap()).await.unwrap();
        let status = answer.status();
        let bytes = answer.into_body().collect_bytes().await.unwrap();
        (status, String::from_utf8_lossy(&bytes).into_owned())
    }
}

struct Served {
    stop: CancellationToken,
    serving: tokio::task::JoinHandle<()>,
}

impl Served {
    async fn end(self) {
        self.stop.cancel();
        self.serving.await.unwrap();
    }
}

/// Takes one request, and answers with this head and with what it was sent.
async fn echo(listener: TcpListener, head: &'static str) {
    let (mut stream, _) = listener.accept().await.unwrap();
    let mut sent = Vec::new();
    while !sent.windows(4).any(|end| end == b"\r\n\r\n") {
        sent.push(stream.read_u8().await.unwrap());
    }
    let length = sent.len();
    let answer = format!("HTTP/1.1 {head}\r\nContent-Length: {length}\r\nX-Own: 2\r\n\r\n");
    stream.write_all(answer.as_bytes()).await.unwrap();
    stream.write_all(&sent).await.unwrap();
}

#[tokio::test]
async fn a_request_goes_to_the_pod_without_what_proves_who_asks() {
    let api = Api::start().await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let echoing = tokio::spawn(echo(listener, "201 Made"));
    let path = format!("{PODS}/http:p:{port}/proxy/a%2Fb?c=d");
    let (status, said) = api.ask("POST", &path, "text/plain", &Value::Null).await;
    echoing.await.unwrap();
    assert_eq!(status, StatusCode::CREATED);
    let said = said.to_lowercase();
    assert!(said.starts_with("post /a%2fb?c=d http/1.1\r\n"), "{said}");
    assert!(said.contains("x-kept: 1\r\n") && !said.contains("secret"), "{said}");
}

/// Takes one request, answers with these bytes, and goes.
async fn say(listener: TcpListener, bytes: &'static str) {
    let (mut stream, _) = listener.accept().await.unwrap();
    let mut sent = Vec::new();
    while !sent.ends_with(b"\r\n\r\n") {
        sent.push(stream.read_u8().await.unwrap());
    }
    stream.write_all(bytes.as_bytes()).await.unwrap();
}

#[tokio::test]
async fn links_of_a_page_lead_through_the_proxy_and_what_is_no_page_stays_as_it_is() {
    let api = Api::start().await;
    let page = r#"<a href="/a">a</a> <a href="b">b</a>"#;
    for (media, wanted) in
        [("text/html; charset=utf-8", r#"<a href="PREFIX/a">a</a> <a href="b">b</a>"#), ("text/plain", page)]
    {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let prefix = format!("{PODS}/p:{}/proxy", listener.local_addr().unwrap().port());
        let answer =
            format!("HTTP/1.1 200 OK\r\nContent-Type: {media}\r\nContent-Length: {}\r\n\r\n{page}", page.len());
        let saying = tokio::spawn(say(listener, answer.leak()));
        let (status, said) = api.ask("GET", &format!("{prefix}/"), "text/plain", &Value::Null).await;
        saying.await.unwrap();
        assert_eq!((status, said), (StatusCode::OK, wanted.replace("PREFIX", &prefix)));
    }
}

#[tokio::test]
async fn an_answer_that_breaks_off_does_not_look_whole() {
    let api = Api::start().await;
    let pod = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = pod.local_addr().unwrap().port();
    let broken = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n";
    let saying = tokio::spawn(say(pod, broken));
    let (mut stream, served) = api.connect().await;
    let request = format!("GET {PODS}/p:{port}/proxy/ HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut said = Vec::new();
    // Whether TLS was ended as it should be does not matter here.
    let _ = stream.read_to_end(&mut said).await;
    let said = String::from_utf8(said).unwrap();
    assert!(said.contains("chunked") && said.contains("hello"), "{said}");
    assert!(!said.contains("\r\n0\r\n"), "{said}");
    saying.await.unwrap();
    drop(stream);
    served.end().await;
}

#[tokio::test]
async fn what_cannot_be_reached_is_said() {
    let api = Api::start().await;
    let get = async |path: &str| api.ask("GET", path, "text/plain", &Value::Null).await;
    // The port is free: the listener that had it is gone.
    let port = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().port();
    let (status, said) = get(&format!("{PODS}/p:{port}/proxy/")).await;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
    assert!(said.contains("error trying to reach service: "), "{said}");
    assert_eq!(get(&format!("{PODS}/none/proxy/")).await.0, StatusCode::NOT_FOUND);
    assert_eq!(get(&format!("{PODS}/ftp:p:1/proxy/")).await.0, StatusCode::BAD_REQUEST);
    assert_eq!(
        get("/api/v1/namespaces/default/services/kubernetes:81/proxy/").await.0,
        StatusCode::SERVICE_UNAVAILABLE
    );
    assert_eq!(get(&format!("{PODS}/p/proxy")).await.0, StatusCode::MOVED_PERMANENTLY, "relative links need a slash");
}

#[tokio::test]
async fn a_connection_may_become_a_web_socket() {
    let api = Api::start().await;
    let pod = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = pod.local_addr().unwrap().port();
    let echoing = tokio::spawn(async move {
        let mut socket = accept_async(pod.accept().await.unwrap().0).await.unwrap();
        while let Some(Ok(Message::Text(text))) = socket.next().await {
            socket.send(Message::Text(text)).await.unwrap();
        }
    });
    let (stream, served) = api.connect().await;
    let (mut socket, answer) =
        client_async(format!("wss://localhost{PODS}/p:{port}/proxy/chat"), stream).await.unwrap();
    assert_eq!(answer.status(), StatusCode::SWITCHING_PROTOCOLS);
    socket.send(Message::text("there and back")).await.unwrap();
    assert_eq!(socket.next().await.unwrap().unwrap(), Message::text("there and back"));
    socket.close(None).await.unwrap();
    echoing.await.unwrap();
    served.end().await;
}
