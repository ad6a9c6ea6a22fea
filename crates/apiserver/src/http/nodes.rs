//! Asking the node of a pod, over HTTPS with the API server's own client certificate, at the address and port that the Node object
//! names; and which container of a pod is meant.

use std::{fmt::Display, io, sync::Arc, time::Duration};

use bytes::Bytes;
use http::{HeaderValue, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Empty, Limited};
use hyper::{body::Incoming, upgrade::Upgraded};
use hyper_util::rt::TokioIo;
use objects::kinds;
use rustls::pki_types::ServerName;
use serde_json::Value;
use tokio::{net::TcpStream, time::timeout};
use tokio_rustls::{TlsConnector, client::TlsStream};
use tokio_util::task::AbortOnDropHandle;

use super::Handler;
use crate::{registry::parse, status::Failure};

/// How long the node may take to accept the connection, and to begin its answer.
const PATIENCE: Duration = Duration::from_secs(30);
/// The most of a node's refusal that is passed on.
const REFUSAL: usize = 16 * 1024;

/// A node's endpoint.
#[derive(Clone)]
pub(super) struct Node {
    tls: Arc<rustls::ClientConfig>,
    host: String,
    port: u16,
}

impl Node {
    /// The node that has the pod; `None` if none has it yet.
    ///
    /// # Errors
    /// When the node is not there, or does not say where its endpoint is.
    pub fn of(handler: &Handler, pod: &Value) -> Result<Option<Self>, Failure> {
        let name = pod.pointer("/spec/nodeName").and_then(Value::as_str).unwrap_or_default();
        if name.is_empty() { Ok(None) } else { Self::named(handler, name).map(Some) }
    }

    /// The node of this name.
    ///
    /// # Errors
    /// When it is not there, or does not say where its endpoint is.
    pub fn named(handler: &Handler, name: &str) -> Result<Self, Failure> {
        let kind = kinds::by_kind("", "v1", "Node").ok_or_else(|| Failure::internal("there is no kind Node"))?;
        let (host, port) = endpoint(&parse(&handler.registry.get(kind, "", name)?)?)?;
        Ok(Self { tls: handler.node_tls.clone(), host, port })
    }

    /// The endpoint's port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The endpoint's host and port.
    pub fn authority(&self) -> String {
        format!("{}:{}", self.host, self.port)
    }

    /// A connection to the endpoint.
    ///
    /// # Errors
    /// When it cannot be reached, or has no certificate of the authority.
    pub async fn connect(&self) -> io::Result<TlsStream<TcpStream>> {
        let stream = TcpStream::connect((self.host.as_str(), self.port)).await?;
        stream.set_nodelay(true)?;
        let server = ServerName::try_from(self.host.clone()).map_err(io::Error::other)?;
        TlsConnector::from(self.tls.clone()).connect(server, stream).await
    }

    /// 500: asking for a path did not work.
    pub fn failed(&self, path: &str, why: &dyn Display) -> Failure {
        Failure::internal(format!("Get \"https://{}{path}\": {why}", self.authority()))
    }

    /// Asks on a connection of its own, which lives for as long as its handle or what it is upgraded to.
    ///
    /// # Errors
    /// 500 when the node does not answer, or not in time.
    pub async fn ask(
        &self,
        mut request: Request<Empty<Bytes>>,
    ) -> Result<(Response<Incoming>, AbortOnDropHandle<()>), Failure> {
        let path = request.uri().path().to_owned();
        let failed = |why: &dyn Display| self.failed(&path, why);
        let ask = async {
            let stream = self.connect().await.map_err(|e| failed(&e))?;
            let (mut sender, connection) =
                hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(|e| failed(&e))?;
            let connection = AbortOnDropHandle::new(tokio::spawn(async move {
                if let Err(error) = connection.with_upgrades().await {
                    tracing::debug!("connection to a node: {error}");
                }
            }));
            let authority = HeaderValue::try_from(self.authority()).map_err(|e| failed(&e))?;
            request.headers_mut().insert(header::HOST, authority);
            let answer = sender.send_request(request).await.map_err(|e| failed(&e))?;
            Ok((answer, connection))
        };
        timeout(PATIENCE, ask).await.map_err(|_| failed(&"the node did not answer in time"))?
    }
}

impl Node {
    /// Asks for an upgrade of the connection; inside, the node's refusal.
    ///
    /// # Errors
    /// 500 when the node does not answer.
    pub async fn upgrade(
        &self,
        path: &str,
        protocol: &'static str,
    ) -> Result<Result<TokioIo<Upgraded>, (StatusCode, String)>, Failure> {
        let failed = |why: &dyn Display| self.failed(path, why);
        let request = Request::post(path).header(header::CONNECTION, "Upgrade").header(header::UPGRADE, protocol);
        let request = request.body(Empty::new()).map_err(|e| failed(&e))?;
        let (answer, connection) = self.ask(request).await?;
        if answer.status() != StatusCode::SWITCHING_PROTOCOLS {
            return Ok(Err((answer.status(), refusal(answer.into_body()).await)));
        }
        let upgraded = hyper::upgrade::on(answer).await.map_err(|e| failed(&e))?;
        // It has given its socket away, and ends.
        drop(connection);
        Ok(Ok(TokioIo::new(upgraded)))
    }
}

/// What a node says to why it refuses.
pub(super) async fn refusal(body: Incoming) -> String {
    let read = Limited::new(body, REFUSAL).collect().await;
    let bytes = read.map(http_body_util::Collected::to_bytes).unwrap_or_default();
    String::from_utf8_lossy(&bytes).trim().to_owned()
}

/// The container that is meant: the one named, or the only one.
pub(super) fn container(pod: &Value, name: &str, asked: Option<&str>) -> Result<String, Failure> {
    let names = |list: &str| -> Vec<String> {
        let list = pod.pointer(&format!("/spec/{list}")).and_then(Value::as_array).into_iter().flatten();
        list.filter_map(|c| c.get("name")?.as_str().map(str::to_owned)).collect()
    };
    let (own, init, ephemeral) = (names("containers"), names("initContainers"), names("ephemeralContainers"));
    if let Some(asked) = asked {
        let known = own.iter().chain(&init).chain(&ephemeral).any(|c| c == asked);
        let wrong = || Failure::bad_request(format!("container {asked} is not valid for pod {name}"));
        return known.then(|| asked.to_owned()).ok_or_else(wrong);
    }
    match own.as_slice() {
        [one] => Ok(one.clone()),
        [] => Err(Failure::bad_request(format!("a container name must be specified for pod {name}"))),
        many => {
            let mut message =
                format!("a container name must be specified for pod {name}, choose one of: [{}]", many.join(" "));
            if !init.is_empty() {
                message += &format!(" or one of the init containers: [{}]", init.join(" "));
            }
            Err(Failure::bad_request(message))
        }
    }
}

/// Where the node's endpoint is, by its object.
fn endpoint(node: &Value) -> Result<(String, u16), Failure> {
    let name = node.pointer("/metadata/name").and_then(Value::as_str).unwrap_or_default();
    let addresses = node.pointer("/status/addresses").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    let of_type = |wanted: &str| {
        let found = addresses.iter().find(|a| a.get("type").and_then(Value::as_str) == Some(wanted));
        found.and_then(|a| a.get("address")).and_then(Value::as_str)
    };
    let host = ["InternalIP", "ExternalIP", "Hostname"].iter().find_map(|wanted| of_type(wanted));
    let port = node.pointer("/status/daemonEndpoints/kubeletEndpoint/Port").and_then(Value::as_u64);
    match (host, port.and_then(|port| u16::try_from(port).ok()).filter(|port| *port > 0)) {
        (Some(host), Some(port)) => Ok((host.to_owned(), port)),
        _ => Err(Failure::internal(format!("node {name:?} does not say where its endpoint is"))),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_only_container_needs_no_name_and_a_wrong_name_is_refused() {
        let one = json!({"spec": {"containers": [{"name": "a"}]}});
        let two = json!({"spec": {"containers": [{"name": "a"}, {"name": "b"}], "initContainers": [{"name": "i"}]}});
        assert_eq!(container(&one, "p", None).unwrap(), "a");
        assert_eq!(container(&two, "p", Some("i")).unwrap(), "i");
        assert_eq!(
            container(&two, "p", None).unwrap_err().message,
            "a container name must be specified for pod p, choose one of: [a b] or one of the init containers: [i]"
        );
        assert_eq!(container(&one, "p", Some("x")).unwrap_err().message, "container x is not valid for pod p");
    }

    #[test]
    fn the_node_says_where_it_answers() {
        let node = json!({"metadata": {"name": "n"}, "status": {
            "addresses": [{"type": "Hostname", "address": "h"}, {"type": "InternalIP", "address": "10.0.0.1"}],
            "daemonEndpoints": {"kubeletEndpoint": {"Port": 1234}}}});
        assert_eq!(endpoint(&node).unwrap(), ("10.0.0.1".to_owned(), 1234));
        assert!(endpoint(&json!({"metadata": {"name": "n"}})).unwrap_err().message.contains("\"n\""));
    }
}
