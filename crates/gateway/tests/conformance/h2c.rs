//! Both ends of HTTP/2 by prior knowledge: calls, and backends that say what reached them.

use std::{future::Future, net::SocketAddr, thread, time::Duration};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request, Response};
use tokio::{net::TcpStream, runtime, task::LocalSet, time::timeout};

/// Far more than anything takes.
const PATIENCE: Duration = Duration::from_secs(20);

fn run<T>(work: impl Future<Output = T>) -> T {
    let runtime = runtime::Builder::new_current_thread().enable_all().build().unwrap();
    LocalSet::new().block_on(&runtime, async { timeout(PATIENCE, work).await.unwrap() })
}

/// A backend that answers every call with its name in `x-backend`, the request's fields as lines of its body, and status 0.
pub fn backend(name: &'static str) -> SocketAddr {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let address = listener.local_addr().unwrap();
    let serve = async move {
        let listener = tokio::net::TcpListener::from_std(listener).unwrap();
        while let Ok((tcp, _)) = listener.accept().await {
            tokio::task::spawn_local(async move {
                let Ok(mut connection) = h2::server::handshake(tcp).await else { return };
                while let Some(Ok((request, mut respond))) = connection.accept().await {
                    let lines = request.headers().iter().map(|(n, v)| format!("{n}: {}\n", v.to_str().unwrap_or("?")));
                    let body = format!("{}\n{}", request.uri().path(), lines.collect::<String>());
                    let head = Response::builder().header("x-backend", name).header("content-type", "application/grpc");
                    let Ok(mut stream) = respond.send_response(head.body(()).unwrap(), false) else { return };
                    _ = stream.send_data(body.into(), false);
                    _ = stream.send_trailers([("grpc-status", "0")].into_iter().map(trailer).collect());
                }
            });
        }
    };
    thread::spawn(move || {
        let runtime = runtime::Builder::new_current_thread().enable_all().build().unwrap();
        LocalSet::new().block_on(&runtime, serve);
    });
    address
}

fn trailer((name, value): (&'static str, &'static str)) -> (http::HeaderName, HeaderValue) {
    (http::HeaderName::from_static(name), HeaderValue::from_static(value))
}

/// What came of a call.
#[derive(Debug)]
pub struct Called {
    pub backend: Option<String>,
    /// `grpc-status`, from the trailers or the head.
    pub grpc: Option<String>,
    /// What the backend got.
    pub body: String,
}

/// Calls `service/method` at a host, as a gRPC client.
pub fn call(address: SocketAddr, host: &str, path: &str, headers: &[(&'static str, &str)]) -> Called {
    let mut request = Request::post(format!("http://{host}/{path}"));
    for (name, value) in [("content-type", "application/grpc"), ("te", "trailers")].iter().chain(headers) {
        request = request.header(*name, *value);
    }
    let request = request.body(()).unwrap();
    run(async {
        let tcp = TcpStream::connect(address).await.unwrap();
        let (mut send, connection) = h2::client::handshake(tcp).await.unwrap();
        tokio::task::spawn_local(async move { _ = connection.await });
        send = send.ready().await.unwrap();
        let (response, mut stream) = send.send_request(request, false).unwrap();
        stream.send_data(Bytes::from_static(b"\0\0\0\0\0"), true).unwrap();
        let (head, mut received) = response.await.unwrap().into_parts();
        let mut body = Vec::new();
        while let Some(data) = received.data().await {
            let data = data.unwrap();
            body.extend_from_slice(&data);
            received.flow_control().release_capacity(data.len()).unwrap();
        }
        let trailers = received.trailers().await.unwrap().unwrap_or_default();
        let field = |map: &HeaderMap, name: &str| map.get(name).map(|value| value.to_str().unwrap().to_owned());
        let grpc = field(&trailers, "grpc-status").or_else(|| field(&head.headers, "grpc-status"));
        Called { backend: field(&head.headers, "x-backend"), grpc, body: String::from_utf8(body).unwrap() }
    })
}
