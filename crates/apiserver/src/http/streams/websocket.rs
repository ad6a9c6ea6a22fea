//! WebSockets: opening one, and its messages of a channel each.

use std::io;

use base64::{Engine, engine::general_purpose::STANDARD};
use bytes::Bytes;
use futures::stream::{SplitSink, SplitStream};
use hyper::upgrade::OnUpgrade;
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{
        Error, Message,
        protocol::{CloseFrame, Role, WebSocketConfig, frame::coding::CloseCode},
    },
};

use super::{Upgrade, handshake::Protocol, upgraded};

/// The largest message taken; clients send tens of kilobytes.
const LARGEST: usize = 4 * 1024 * 1024;

pub(super) type Socket = WebSocketStream<Upgrade>;
pub(super) type Sender = SplitSink<Socket, Message>;
pub(super) type Receiver = SplitStream<Socket>;

/// The socket, once the handshake's answer is sent.
pub(super) async fn open(upgrade: OnUpgrade) -> io::Result<Socket> {
    let upgraded = upgraded(upgrade).await?;
    let config = WebSocketConfig::default().max_message_size(Some(LARGEST)).max_frame_size(Some(LARGEST));
    Ok(WebSocketStream::from_raw_socket(upgraded, Role::Server, Some(config)).await)
}

/// A transport's error as one of input and output.
pub(super) fn failed(error: Error) -> io::Error {
    match error {
        Error::Io(error) => error,
        other => io::Error::other(other),
    }
}

/// A message of one channel.
pub(super) fn message(protocol: Protocol, channel: u8, data: &[u8]) -> Message {
    if protocol.base64 {
        let text = format!("{}{}", char::from(b'0'.saturating_add(channel)), STANDARD.encode(data));
        return Message::text(text);
    }
    Message::binary([&[channel], data].concat())
}

/// The channel and the data of a message; `None` if it has neither.
pub(super) fn parsed(protocol: Protocol, message: Message) -> Option<(u8, Bytes)> {
    let mut data = match message {
        Message::Binary(data) => data,
        Message::Text(text) => Bytes::from(text),
        _ => return None,
    };
    if data.is_empty() {
        return None;
    }
    let first = data.split_to(1).first().copied()?;
    if protocol.base64 {
        let channel = first.checked_sub(b'0')?;
        return Some((channel, STANDARD.decode(&data).ok()?.into()));
    }
    Some((first, data))
}

/// The end of a session.
pub(super) fn close() -> Message {
    Message::Close(Some(CloseFrame { code: CloseCode::Normal, reason: "".into() }))
}
