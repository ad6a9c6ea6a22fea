//! `GET pods/NAME/log`: the options are checked here, and the text comes from the pod's node, over HTTPS with the API server's
//! own client certificate, from the address and port that the Node object names.

use std::{convert::Infallible, sync::Arc, time::Duration};

use bytes::Bytes;
use futures::stream;
use http::{HeaderValue, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Empty, Limited, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper_util::rt::TokioIo;
use jiff::Timestamp;
use objects::kinds;
use rustls::pki_types::ServerName;
use serde_json::Value;
use tokio::{net::TcpStream, time::timeout};
use tokio_rustls::TlsConnector;
use tokio_util::task::AbortOnDropHandle;

use super::{Answer, full, verbs::Call};
use crate::{
    registry::parse,
    request::{Query, Verb},
    status::Failure,
};

/// How long the node may take to accept the connection, and to begin its answer.
const PATIENCE: Duration = Duration::from_secs(30);
/// The most of a node's refusal that is passed on.
const REFUSAL: usize = 16 * 1024;

/// Answers with a container's log.
///
/// # Errors
/// 404 for a pod that is not there, 422 for wrong options, 400 for a container that has no log (in the kubelet's words), 500 when
/// the node does not answer.
pub(super) async fn run(call: &Call<'_>) -> Result<Answer, Failure> {
    if call.verb != Verb::Get {
        return Err(Failure::method_not_allowed());
    }
    let (namespace, name) = (&call.target.namespace, call.target.name.as_deref().unwrap_or_default());
    let pod = parse(&call.handler.registry.get(call.target.kind, namespace, name)?)?;
    let options = options(&call.query, Timestamp::now())?;
    let container = container(&pod, name, call.query.get("container"))?;
    let node = pod.pointer("/spec/nodeName").and_then(Value::as_str).unwrap_or_default();
    if node.is_empty() {
        // Upstream's answer for a pod that no node has: no lines, and no error.
        return Ok(text(full(Bytes::new())));
    }
    let node = parse(&call.handler.registry.get(node_kind()?, "", node)?)?;
    let (host, port) = endpoint(&node)?;
    let path = format!("/containerLogs/{namespace}/{name}/{container}{options}");
    fetch(call.handler.node_tls.clone(), &host, port, &path).await
}

fn node_kind() -> Result<&'static kinds::Kind, Failure> {
    kinds::by_kind("", "v1", "Node").ok_or_else(|| Failure::internal("there is no kind Node"))
}

fn text(body: super::Body) -> Answer {
    let mut response = Response::new(body);
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain"));
    response
}

fn invalid(field: &str, value: &str, why: &str) -> Failure {
    let message = format!("PodLogOptions \"\" is invalid: {field}: Invalid value: {value:?}: {why}");
    Failure::unprocessable(message)
}

/// The query for the node: what `v1.PodLogOptions` asks for, checked as upstream does.
fn options(query: &Query, now: Timestamp) -> Result<String, Failure> {
    let mut parts: Vec<String> = Vec::new();
    for name in ["follow", "previous", "timestamps"] {
        if query.is_on(name) {
            parts.push(format!("{name}=true"));
        }
    }
    for (name, least, why) in [
        ("tailLines", 0, "must be greater than or equal to 0"),
        ("limitBytes", 1, "must be greater than 0"),
        ("sinceSeconds", 1, "must be greater than 0"),
    ] {
        if let Some(number) = query.number::<i64>(name)? {
            if number < least {
                return Err(invalid(name, &number.to_string(), why));
            }
            parts.push(format!("{name}={number}"));
        }
    }
    if let Some(time) = query.get("sinceTime") {
        if query.get("sinceSeconds").is_some() {
            return Err(invalid("sinceTime", time, "at most one of `sinceTime` or `sinceSeconds` may be specified"));
        }
        let at: Timestamp =
            time.parse().map_err(|e| Failure::bad_request(format!("sinceTime: {time:?} is not a time: {e}")))?;
        // Without its sign a zone is a space once it has been decoded, so it goes on in UTC.
        parts.push(format!("sinceTime={}", at.min(now)));
    }
    match query.get("stream") {
        None | Some("All") => {}
        Some("Stdout" | "Stderr") if query.get("tailLines").is_some() => {
            return Err(invalid(
                "tailLines",
                query.get("tailLines").unwrap_or_default(),
                "`tailLines` and specific `stream` are mutually exclusive for now",
            ));
        }
        Some(stream @ ("Stdout" | "Stderr")) => parts.push(format!("stream={stream}")),
        Some(other) => return Err(invalid("stream", other, "supported values: \"All\", \"Stdout\", \"Stderr\"")),
    }
    Ok(if parts.is_empty() { String::new() } else { format!("?{}", parts.join("&")) })
}

/// The container that is meant: the one named, or the only one.
fn container(pod: &Value, name: &str, asked: Option<&str>) -> Result<String, Failure> {
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

/// Asks the node and passes its answer on as it comes.
async fn fetch(tls: Arc<rustls::ClientConfig>, host: &str, port: u16, path: &str) -> Result<Answer, Failure> {
    let failed = |e: &dyn std::fmt::Display| Failure::internal(format!("Get \"https://{host}:{port}{path}\": {e}"));
    let ask = async {
        let stream = TcpStream::connect((host, port)).await.map_err(|e| failed(&e))?;
        let server = ServerName::try_from(host.to_owned()).map_err(|e| failed(&e))?;
        let stream = TlsConnector::from(tls).connect(server, stream).await.map_err(|e| failed(&e))?;
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(|e| failed(&e))?;
        let connection = AbortOnDropHandle::new(tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!("log of a container: {error}");
            }
        }));
        let request = Request::get(path).header(header::HOST, format!("{host}:{port}")).body(Empty::<Bytes>::new());
        let answer = sender.send_request(request.map_err(|e| failed(&e))?).await.map_err(|e| failed(&e))?;
        Ok((answer, connection))
    };
    let (answer, connection) =
        timeout(PATIENCE, ask).await.map_err(|_| failed(&"the node did not answer in time"))??;
    let status = answer.status();
    if status == StatusCode::OK {
        return Ok(text(pass(answer.into_body(), connection)));
    }
    let message = Limited::new(answer.into_body(), REFUSAL).collect().await.map_err(|e| failed(&e))?.to_bytes();
    let message = String::from_utf8_lossy(&message).trim().to_owned();
    Err(match status {
        StatusCode::BAD_REQUEST => Failure::bad_request(message),
        StatusCode::NOT_FOUND => Failure { code: status, reason: "NotFound", message, details: None, go_on: None },
        _ => Failure::internal(message),
    })
}

/// The node's body as ours. The connection to the node lives as long as somebody reads: dropping the one ends the other.
fn pass(body: Incoming, connection: AbortOnDropHandle<()>) -> super::Body {
    let frames = stream::unfold((body, connection), |(mut body, connection)| async move {
        let frame = loop {
            match body.frame().await? {
                Ok(frame) => match frame.into_data() {
                    Ok(data) => break data,
                    Err(_) => continue,
                },
                Err(error) => {
                    tracing::debug!("log of a container: {error}");
                    return None;
                }
            }
        };
        Some((Ok::<_, Infallible>(Frame::data(frame)), (body, connection)))
    });
    StreamBody::new(frames).boxed_unsync()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn options_are_checked_and_sent_on() {
        let now: Timestamp = "2026-01-02T00:00:00Z".parse().unwrap();
        let sent = |query: &str| options(&Query::parse(Some(query)), now);
        assert_eq!(sent("").unwrap(), "");
        assert_eq!(
            sent("follow=true&tailLines=0&sinceTime=2026-01-01T00%3A00%3A00%2B01%3A00").unwrap(),
            "?follow=true&tailLines=0&sinceTime=2025-12-31T23:00:00Z"
        );
        assert_eq!(sent("stream=Stderr&limitBytes=5").unwrap(), "?limitBytes=5&stream=Stderr");
        for (wrong, word) in [
            ("tailLines=-1", "tailLines"),
            ("limitBytes=0", "limitBytes"),
            ("sinceSeconds=0", "sinceSeconds"),
            ("sinceSeconds=1&sinceTime=2026-01-01T00:00:00Z", "at most one"),
            ("stream=Stdout&tailLines=1", "mutually exclusive"),
            ("stream=Sideways", "supported values"),
            ("tailLines=x", "not a number"),
        ] {
            let failure = sent(wrong).unwrap_err();
            assert!(failure.message.contains(word), "{wrong}: {}", failure.message);
        }
    }

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
