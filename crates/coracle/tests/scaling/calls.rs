//! A service over HTTP/2, whose pods are this very program, and a client of it.

use std::{env, net::SocketAddr, time::Duration};

use bytes::Bytes;
use h2::{RecvStream, client, server, server::SendResponse};
use http::{HeaderMap, HeaderValue, Request, Response};
use tokio::{
    net::{TcpListener, TcpStream},
    runtime::Builder,
    signal::unix::{SignalKind, signal},
    task::JoinSet,
};

/// Set in a pod: where it serves.
const SERVES: &str = "CORACLE_TEST_SERVES";
/// Pieces of a long response, and the time between them.
const PIECES: usize = 20;
const PAUSE: Duration = Duration::from_millis(50);

/// A Deployment `calls` of so many pods, and its Service.
pub fn manifest(replicas: u32) -> String {
    let program = env::current_exe().unwrap();
    format!(
        "---
apiVersion: v1
kind: Service
metadata: {{name: calls}}
spec:
  selector: {{app: calls}}
  ports: [{{name: grpc, port: 8080, targetPort: 8000, appProtocol: kubernetes.io/h2c}}]
---
apiVersion: apps/v1
kind: Deployment
metadata: {{name: calls}}
spec:
  replicas: {replicas}
  selector: {{matchLabels: {{app: calls}}}}
  template:
    metadata: {{labels: {{app: calls}}}}
    spec:
      containers:
      - name: calls
        image: tools
        command: [{}, --exact, 'calls::a_pod_serves_until_it_is_told_to_end']
        env:
        - {{name: IP, valueFrom: {{fieldRef: {{fieldPath: status.podIP}}}}}}
        - {{name: {SERVES}, value: '$(IP):8000'}}
        readinessProbe: {{tcpSocket: {{port: 8000}}, periodSeconds: 1}}
",
        program.display()
    )
}

/// What runs in the pods; outside of them it has nothing to do.
#[test]
fn a_pod_serves_until_it_is_told_to_end() {
    let Ok(address) = env::var(SERVES) else { return };
    Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
        let listener = TcpListener::bind(address).await.unwrap();
        let mut terminate = signal(SignalKind::terminate()).unwrap();
        let (ending, ended) = tokio::sync::watch::channel(false);
        let mut connections = JoinSet::new();
        loop {
            tokio::select! {
                accepted = listener.accept() => drop(connections.spawn(serve(accepted.unwrap().0, ended.clone()))),
                _ = terminate.recv() => break,
            }
        }
        drop(listener);
        ending.send_replace(true);
        while connections.join_next().await.is_some() {}
    });
}

async fn serve(stream: TcpStream, mut ended: tokio::sync::watch::Receiver<bool>) {
    let Ok(mut connection) = server::handshake(stream).await else { return };
    let mut streams = JoinSet::new();
    let mut told = false;
    loop {
        tokio::select! {
            accepted = connection.accept() => match accepted {
                Some(Ok((request, respond))) => drop(streams.spawn(answer(request, respond))),
                _ => break,
            },
            _ = ended.wait_for(|ended| *ended), if !told => {
                told = true;
                connection.graceful_shutdown();
            }
        }
    }
    while streams.join_next().await.is_some() {}
}

/// Sends back what came, or something long.
async fn answer(request: Request<RecvStream>, mut respond: SendResponse<Bytes>) {
    let (head, body) = request.into_parts();
    let body = receive(body).await.unwrap_or_default();
    let Ok(mut stream) = respond.send_response(Response::new(()), false) else { return };
    if head.uri.path() == "/long" {
        let mut ticks = tokio::time::interval(PAUSE);
        for _ in 0..PIECES {
            ticks.tick().await;
            if stream.send_data(Bytes::from_static(b"piece"), false).is_err() {
                return;
            }
        }
    } else if stream.send_data(body.into(), false).is_err() {
        return;
    }
    let trailers = [(http::HeaderName::from_static("grpc-status"), HeaderValue::from_static("0"))];
    // The client may have gone.
    _ = stream.send_trailers(HeaderMap::from_iter(trailers));
}

async fn receive(mut body: RecvStream) -> Result<Vec<u8>, h2::Error> {
    let mut all = Vec::new();
    while let Some(data) = body.data().await {
        let data = data?;
        body.flow_control().release_capacity(data.len())?;
        all.extend_from_slice(&data);
    }
    Ok(all)
}

/// What a long response is.
pub fn long() -> String {
    "piece".repeat(PIECES)
}

/// An answer over HTTP/2: its status, its body, and the status of gRPC in its trailers.
#[derive(Debug, PartialEq, Eq)]
pub struct Answer {
    pub status: u16,
    pub body: String,
    pub grpc: Option<String>,
}

/// Sends a request on a connection.
pub async fn send(
    client: &client::SendRequest<Bytes>,
    request: Request<()>,
    body: &'static str,
) -> Result<Answer, h2::Error> {
    let (response, mut stream) = client.clone().ready().await?.send_request(request, false)?;
    stream.send_data(Bytes::from_static(body.as_bytes()), true)?;
    let (head, mut received) = response.await?.into_parts();
    let mut all = Vec::new();
    while let Some(data) = received.data().await {
        let data = data?;
        received.flow_control().release_capacity(data.len())?;
        all.extend_from_slice(&data);
    }
    let trailers = received.trailers().await?.unwrap_or_default();
    let grpc = trailers.get("grpc-status").and_then(|status| Some(status.to_str().ok()?.to_owned()));
    Ok(Answer { status: head.status.as_u16(), body: String::from_utf8_lossy(&all).into_owned(), grpc })
}

/// Opens a connection.
pub async fn connect(address: SocketAddr) -> client::SendRequest<Bytes> {
    let (client, connection) = client::handshake(TcpStream::connect(address).await.unwrap()).await.unwrap();
    tokio::spawn(async move { _ = connection.await });
    client
}

/// Runs what awaits.
pub fn block_on<T>(future: impl Future<Output = T>) -> T {
    Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}

/// Asks once, on a connection of its own.
pub fn ask(address: SocketAddr, request: Request<()>, body: &'static str) -> Answer {
    block_on(async { send(&connect(address).await, request, body).await.unwrap() })
}
