//! Watches over WebSocket, as browsers ask for them: a message an event.

use futures::{SinkExt, StreamExt};
use http::{HeaderMap, HeaderValue, Response, StatusCode, header};
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{
        Message,
        handshake::derive_accept_key,
        protocol::{Role, WebSocketConfig},
    },
};

use super::Watch;
use crate::{
    http::{Answer, full},
    status::Failure,
};

/// What a client of a watch has to say fits in this: nothing but the closing of the connection.
const MOST: usize = 4096;
/// A protocol that is no protocol, but how browsers send a token.
const TOKEN: &str = "base64url.bearer.authorization.k8s.io.";

/// Whether a request asks for a WebSocket.
pub(in crate::http) fn is_asked(headers: &HeaderMap) -> bool {
    let has = |name: header::HeaderName, wanted: &str| {
        let values = headers.get_all(name).into_iter().filter_map(|value| value.to_str().ok());
        values.flat_map(|value| value.split(',')).any(|value| value.trim().eq_ignore_ascii_case(wanted))
    };
    has(header::CONNECTION, "upgrade") && has(header::UPGRADE, "websocket")
}

/// The answer that a watch is on a connection that becomes a WebSocket.
///
/// # Errors
/// 400 for a handshake that is none.
pub(in crate::http) fn answer(
    watch: Watch,
    headers: &HeaderMap,
    upgrade: Option<OnUpgrade>,
) -> Result<Answer, Failure> {
    let key = headers.get(header::SEC_WEBSOCKET_KEY);
    let (Some(key), Some(upgrade)) = (key, upgrade) else {
        return Err(Failure::bad_request(
            "the request asks for a WebSocket without a key, or on a connection that cannot be one",
        ));
    };
    let mut response = Response::new(full(""));
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let fields = response.headers_mut();
    fields.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
    fields.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
    let accept = HeaderValue::try_from(derive_accept_key(key.as_bytes())).map_err(Failure::internal)?;
    fields.insert(header::SEC_WEBSOCKET_ACCEPT, accept);
    // A browser that offers protocols wants one of them.
    let offered = headers.get(header::SEC_WEBSOCKET_PROTOCOL).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let protocol = offered.split(',').map(str::trim).find(|name| !name.is_empty() && !name.starts_with(TOKEN));
    if let Some(protocol) = protocol.and_then(|name| HeaderValue::try_from(name).ok()) {
        fields.insert(header::SEC_WEBSOCKET_PROTOCOL, protocol);
    }
    tokio::spawn(run(watch, upgrade));
    Ok(response)
}

async fn run(mut watch: Watch, upgrade: OnUpgrade) {
    let Ok(connection) = upgrade.await else { return };
    let config = WebSocketConfig::default().max_message_size(Some(MOST)).max_frame_size(Some(MOST));
    let socket = WebSocketStream::from_raw_socket(TokioIo::new(connection), Role::Server, Some(config)).await;
    let (mut to, mut from) = socket.split();
    loop {
        tokio::select! {
            piece = watch.next() => {
                let Some(piece) = piece else {
                    // Whether or not the client hears it, this is the end.
                    let _ = to.close().await;
                    return;
                };
                for line in piece.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
                    let text = String::from_utf8_lossy(line).into_owned();
                    if to.send(Message::text(text)).await.is_err() {
                        return;
                    }
                }
            }
            said = from.next() => match said {
                None | Some(Err(_) | Ok(Message::Close(_))) => return,
                Some(Ok(_)) => {}
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_upgrade_is_asked_for_in_any_spelling() {
        let asked = |connection: &'static str, upgrade: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::CONNECTION, HeaderValue::from_static(connection));
            headers.insert(header::UPGRADE, HeaderValue::from_static(upgrade));
            is_asked(&headers)
        };
        assert!(asked("keep-alive, Upgrade", "WebSocket"));
        assert!(!asked("Upgrade", "SPDY/3.1") && !asked("keep-alive", "websocket"));
    }
}
