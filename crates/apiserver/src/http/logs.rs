//! `GET pods/NAME/log`: the options are checked here, and the text comes from the pod's node, over HTTPS with the API server's
//! own client certificate, from the address and port that the Node object names.

use bytes::Bytes;
use futures::stream;
use http::{HeaderValue, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Empty, StreamBody};
use hyper::body::{Frame, Incoming};
use jiff::Timestamp;

use super::{
    Answer, BrokenOff, full,
    nodes::{Node, container, refusal},
    verbs::Call,
};
use crate::{
    registry::parse,
    request::{Query, Verb},
    status::Failure,
};

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
    let pod = parse(&call.handler.registry.get(&call.target.kind, namespace, name)?)?;
    // `insecureSkipTLSVerifyBackend` has nothing to skip: nodes have certificates of the API server's own authority.
    let options = options(&call.query, Timestamp::now())?;
    let container = container(&pod, name, call.query.get("container"))?;
    let Some(node) = Node::of(call.handler, &pod)? else {
        // Upstream's answer for a pod that no node has: no lines, and no error.
        return Ok(text(full(Bytes::new())));
    };
    fetch(&node, &format!("/containerLogs/{namespace}/{name}/{container}{options}")).await
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

/// Asks the node and passes its answer on as it comes.
async fn fetch(node: &Node, path: &str) -> Result<Answer, Failure> {
    let request = Request::get(path).body(Empty::<Bytes>::new());
    let request = request.map_err(|error| node.failed(path, &error))?;
    let (answer, connection) = node.ask(request).await?;
    let status = answer.status();
    if status == StatusCode::OK {
        return Ok(text(pass(answer.into_body(), connection)));
    }
    let message = refusal(answer.into_body()).await;
    Err(match status {
        StatusCode::BAD_REQUEST => Failure::bad_request(message),
        StatusCode::NOT_FOUND => Failure { code: status, reason: "NotFound", message, details: None, go_on: None },
        _ => Failure::internal(message),
    })
}

/// Somebody else's body as ours; if it breaks off, so does ours. The connection that it comes by lives as long as somebody reads: dropping the one ends the other.
pub(super) fn pass(body: Incoming, connection: impl Send + 'static) -> super::Body {
    let frames = stream::unfold(Some((body, connection)), |state| async move {
        let (mut body, connection) = state?;
        loop {
            match body.frame().await? {
                Ok(frame) => match frame.into_data() {
                    Ok(data) => return Some((Ok(Frame::data(data)), Some((body, connection)))),
                    Err(_) => continue,
                },
                Err(error) => return Some((Err(BrokenOff(error.to_string())), None)),
            }
        }
    });
    StreamBody::new(frames).boxed_unsync()
}

#[cfg(test)]
mod tests {
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
}
