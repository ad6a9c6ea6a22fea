//! Asking over gRPC: `grpc.health.v1.Health/Check`, one unary call on a connection of its own. Its two messages are a string and
//! a number, so they are read and written by hand.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Request};
use http_body_util::{BodyExt, Full, Limited};
use hyper_util::rt::{TokioExecutor, TokioIo};
use k8s_openapi::api::core::v1::GRPCAction;
use tokio::net::TcpStream;
use tokio_util::task::AbortOnDropHandle;

use super::{MAX_ANSWER, Target};

/// `ServingStatus` by number.
const STATUSES: [&str; 4] = ["UNKNOWN", "SERVING", "NOT_SERVING", "SERVICE_UNKNOWN"];
const SERVING: u64 = 1;
/// The code of a method that the server does not have.
const UNIMPLEMENTED: &str = "12";

impl Target<'_> {
    /// Asks the container's health service; `SERVING` is success.
    ///
    /// # Errors
    /// When there is no answer in time, or another one, in the kubelet's words.
    pub async fn grpc(&self, grpc: &GRPCAction) -> Result<(), String> {
        let port = u16::try_from(grpc.port).map_err(|_| format!("couldn't find port: {}", grpc.port))?;
        let address = if self.ip.is_ipv6() { format!("[{}]:{port}", self.ip) } else { format!("{}:{port}", self.ip) };
        let service = grpc.service.as_deref().unwrap_or_default();
        let late = |what: &str, after: Duration| format!("timeout: {what} within {after:?}");
        let begun = tokio::time::Instant::now();
        let connect = tokio::time::timeout(self.timeout, TcpStream::connect((self.ip, port)));
        let stream = match connect.await {
            Ok(Ok(stream)) => stream,
            Ok(Err(error)) => return Err(format!("error: failed to connect to {address}: {error}")),
            Err(_) => return Err(late(&format!("failed to connect service {address:?}"), self.timeout)),
        };
        let left = self.timeout.saturating_sub(begun.elapsed());
        match tokio::time::timeout(left, check(stream, &address, service)).await {
            Ok(result) => result,
            Err(_) => Err(late("health rpc did not complete", self.timeout)),
        }
    }
}

async fn check(stream: TcpStream, address: &str, service: &str) -> Result<(), String> {
    let failed = |e: &dyn std::fmt::Display| format!("error: health rpc probe failed: {e}");
    let (mut sender, connection) = hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream))
        .await
        .map_err(|e| failed(&e))?;
    // How the connection ends does not matter: the answer says it.
    let _connection = AbortOnDropHandle::new(tokio::spawn(async move { drop(connection.await) }));
    let request = Request::post(format!("http://{address}/grpc.health.v1.Health/Check"))
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .header("user-agent", "kube-probe/1.33")
        .body(Full::new(Bytes::from(question(service))));
    let answer = sender.send_request(request.map_err(|e| failed(&e))?).await.map_err(|e| failed(&e))?;
    let (head, body) = answer.into_parts();
    if !head.status.is_success() {
        return Err(failed(&format!("the server answered with HTTP status {}", head.status.as_u16())));
    }
    let body = Limited::new(body, MAX_ANSWER).collect().await.map_err(|e| failed(&e))?;
    // An answer without a message has its status in front.
    let trailers = body.trailers().cloned().unwrap_or_default();
    let ends = if trailers.contains_key("grpc-status") { &trailers } else { &head.headers };
    verdict(ends, &body.to_bytes())
}

fn verdict(ends: &HeaderMap, body: &[u8]) -> Result<(), String> {
    let text = |name: &str| ends.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
    match text("grpc-status") {
        "0" => {}
        UNIMPLEMENTED => {
            let message = text("grpc-message");
            return Err(format!(
                "error: this server does not implement the grpc health protocol (grpc.health.v1.Health): {message}"
            ));
        }
        code => return Err(format!("error: health rpc probe failed: code {code}: {}", text("grpc-message"))),
    }
    match status(body) {
        Some(SERVING) => Ok(()),
        Some(other) => {
            let name = usize::try_from(other).ok().and_then(|at| STATUSES.get(at)).unwrap_or(&"UNKNOWN");
            Err(format!("service unhealthy (responded with {name:?})"))
        }
        None => Err("error: health rpc probe failed: the answer is not a HealthCheckResponse".to_owned()),
    }
}

/// A framed `HealthCheckRequest { string service = 1; }`.
fn question(service: &str) -> Vec<u8> {
    let mut message = Vec::new();
    if !service.is_empty() {
        message.push(0x0a);
        let mut length = service.len();
        while length >= 0x80 {
            message.push(u8::try_from(length & 0x7f).unwrap_or(0) | 0x80);
            length >>= 7;
        }
        message.push(u8::try_from(length).unwrap_or(0));
        message.extend_from_slice(service.as_bytes());
    }
    let length = u32::try_from(message.len()).unwrap_or(u32::MAX);
    [&[0][..], &length.to_be_bytes(), &message].concat()
}

/// The `status` (field 1) of a framed `HealthCheckResponse`; `UNKNOWN` when it is left out, `None` if this is no such message.
fn status(frame: &[u8]) -> Option<u64> {
    let (head, message) = frame.split_at_checked(5)?;
    let length = u32::from_be_bytes(head.get(1..)?.try_into().ok()?);
    if head.first() != Some(&0) || usize::try_from(length) != Ok(message.len()) {
        return None;
    }
    let Some((tag, number)) = message.split_first() else { return Some(0) };
    if *tag != 0x08 || number.len() > 9 {
        return None;
    }
    Some(number.iter().rev().fold(0, |sum, byte| sum << 7 | u64::from(byte & 0x7f)))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn ends(code: &'static str) -> HeaderMap {
        HeaderMap::from_iter([("grpc-status".parse().unwrap(), code.parse().unwrap())])
    }

    #[test]
    fn only_serving_is_success() {
        assert_eq!(question(""), [0, 0, 0, 0, 0]);
        assert_eq!(question("ab"), [0, 0, 0, 0, 4, 0x0a, 2, b'a', b'b']);
        let answer = |status: u8| [0, 0, 0, 0, 2, 8, status];
        assert_eq!(verdict(&ends("0"), &answer(1)), Ok(()));
        assert!(verdict(&ends("0"), &answer(2)).unwrap_err().contains("NOT_SERVING"));
        assert!(verdict(&ends("0"), &[0, 0, 0, 0, 0]).unwrap_err().contains("UNKNOWN"));
        assert!(verdict(&ends("12"), &[]).unwrap_err().contains("does not implement"));
        assert!(verdict(&ends("5"), &[]).unwrap_err().contains("code 5"));
        assert!(verdict(&ends("0"), &[1, 2]).unwrap_err().contains("not a HealthCheckResponse"));
    }

    proptest! {
        #[test]
        fn no_answer_of_a_server_is_a_panic(frame in prop::collection::vec(any::<u8>(), 0..40)) {
            let _ = verdict(&ends("0"), &frame);
        }
    }
}
