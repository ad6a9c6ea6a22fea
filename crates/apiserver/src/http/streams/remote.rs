//! `exec` and `attach`: frames between a client, whatever it speaks, and a node.

use std::{io, time::Duration};

use async_trait::async_trait;
use bytes::{Buf, BufMut, Bytes, BytesMut};
use futures::{SinkExt, StreamExt};
use http::HeaderMap;
use objects::session::{self, Streams};
use serde_json::Value;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    pin,
    time::timeout,
};
use tokio_util::codec::{Decoder, Encoder, Framed};

use super::{
    Session,
    handshake::{self, Transport, refused},
    remote_spdy, remote_websocket, spdy, websocket,
};
use crate::{http::Answer, status::Failure};

/// How long a client may take to close its connection after the end.
const LINGER: Duration = Duration::from_secs(5);

/// A frame of a session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Frame {
    pub channel: u8,
    /// At most [`session::LARGEST`] bytes.
    pub data: Bytes,
}

/// What comes from a client.
#[async_trait]
pub(super) trait Incoming: Send {
    /// The next frame; `None` when the client is gone.
    async fn next(&mut self) -> Option<Frame>;
}

/// What goes to a client.
#[async_trait]
pub(super) trait Outgoing: Send {
    /// Sends a frame; waits while the client is slow.
    async fn send(&mut self, frame: Frame) -> io::Result<()>;

    /// Says that this was all.
    async fn finish(&mut self) -> io::Result<()>;
}

/// A client's two directions.
pub(super) type Client = (Box<dyn Incoming>, Box<dyn Outgoing>);

/// Answers with an upgrade, once the node has agreed to the session.
pub(super) async fn open(
    session: Session,
    streams: Streams,
    transport: Transport,
    headers: &HeaderMap,
) -> Result<Answer, Failure> {
    let protocols = match transport {
        Transport::WebSocket => handshake::REMOTE_WEBSOCKET,
        Transport::Spdy => handshake::REMOTE_SPDY,
    };
    let (protocol, answer) = match handshake::agree(transport, headers, protocols) {
        Ok(agreed) => agreed,
        Err(refusal) => return Ok(*refusal),
    };
    let Session { node, path, upgrade, place } = session;
    let node = match node.upgrade(&path, session::PROTOCOL).await? {
        Ok(node) => node,
        Err((status, why)) => return Ok(refused(status, why)),
    };
    tokio::spawn(async move {
        let _place = place;
        let opened = match transport {
            Transport::WebSocket => match websocket::open(upgrade).await {
                Ok(socket) => Ok(remote_websocket::client(socket, protocol, streams).await),
                Err(error) => Err(error),
            },
            Transport::Spdy => match spdy::open(upgrade).await {
                Ok(connection) => remote_spdy::client(connection, protocol, streams).await,
                Err(error) => Err(error),
            },
        };
        match opened {
            Ok(client) => pass(client, node).await,
            Err(error) => tracing::debug!("session: {error}"),
        }
    });
    Ok(answer)
}

/// Passes frames both ways until the session ends, or the client is gone.
async fn pass((mut from, mut to): Client, node: impl AsyncRead + AsyncWrite) {
    let (mut to_node, mut from_node) = Framed::new(node, Frames).split();
    let inward = async {
        let mut listens = true;
        while let Some(frame) = from.next().await {
            // A node that listens no more may still speak; the client's end must be seen all the same.
            listens = listens && to_node.send(frame).await.is_ok();
        }
    };
    pin!(inward);
    let outward = async {
        let mut ended = false;
        while let Some(Ok(frame)) = from_node.next().await {
            ended = frame.channel == session::STATUS;
            if to.send(frame).await.is_err() {
                return;
            }
        }
        if !ended {
            let status = session::failed("the node broke the session off").to_string();
            let _ = to.send(Frame { channel: session::STATUS, data: status.into() }).await;
        }
        let _ = to.finish().await;
    };
    let ended = tokio::select! {
        () = &mut inward => false,
        () = outward => true,
    };
    if ended {
        // To close a connection on which something comes in would take back what is on its way out.
        let _ = timeout(LINGER, inward).await;
    }
}

/// The frames of `objects::session`.
struct Frames;

impl Decoder for Frames {
    type Item = Frame;
    type Error = io::Error;

    fn decode(&mut self, from: &mut BytesMut) -> io::Result<Option<Frame>> {
        let Some(head) = from.first_chunk().copied() else { return Ok(None) };
        let (channel, length) = session::parse_head(head).ok_or_else(|| io::Error::from(io::ErrorKind::InvalidData))?;
        if from.len() < session::HEAD + length {
            from.reserve(session::HEAD + length - from.len());
            return Ok(None);
        }
        from.advance(session::HEAD);
        Ok(Some(Frame { channel, data: from.split_to(length).freeze() }))
    }
}

impl Encoder<Frame> for Frames {
    type Error = io::Error;

    fn encode(&mut self, frame: Frame, to: &mut BytesMut) -> io::Result<()> {
        to.reserve(session::HEAD + frame.data.len());
        to.put_slice(&session::head(frame.channel, frame.data.len()));
        to.put_slice(&frame.data);
        Ok(())
    }
}

/// How a session's end is told to clients that know no `Status`: the message of a failure, and nothing else.
pub(super) fn told(status: &Bytes) -> Bytes {
    let status: Value = serde_json::from_slice(status).unwrap_or_default();
    let failed = status.get("status").and_then(Value::as_str) == Some("Failure");
    let message = status.get("message").and_then(Value::as_str).filter(|_| failed).unwrap_or_default();
    Bytes::copy_from_slice(message.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_are_read_as_they_are_written_however_they_are_cut() {
        let frames = [(0, "abc"), (255, "\0"), (1, "")];
        let frames = frames.map(|(channel, data)| Frame { channel, data: Bytes::from(data) });
        let mut bytes = BytesMut::new();
        for frame in &frames {
            Frames.encode(frame.clone(), &mut bytes).unwrap();
        }
        let (mut read, mut buffer) = (Vec::new(), BytesMut::new());
        for byte in bytes {
            buffer.put_u8(byte);
            read.extend(Frames.decode(&mut buffer).unwrap());
        }
        assert_eq!(read, frames);
        let mut too_long = BytesMut::from(&session::head(1, session::LARGEST + 1)[..]);
        assert!(Frames.decode(&mut too_long).is_err());
    }

    #[test]
    fn only_a_failure_is_told_to_old_clients() {
        assert_eq!(told(&session::success().to_string().into()), "");
        assert_eq!(told(&session::failed("no").to_string().into()), "Internal error occurred: no");
    }
}
