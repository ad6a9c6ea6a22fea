//! `exec` and `attach` over WebSocket: a message is a channel and its data.

use std::io;

use async_trait::async_trait;
use bytes::Bytes;
use futures::{SinkExt, StreamExt};
use objects::session::{self, Streams};

use super::{
    handshake::Protocol,
    remote::{Client, Frame, Incoming, Outgoing, told},
    websocket::{self, Receiver, Sender, Socket, close, failed, message},
};

/// The two directions of a client.
pub(super) async fn client(socket: Socket, protocol: Protocol, streams: Streams) -> Client {
    let (sender, receiver) = socket.split();
    let mut to = To { sender, protocol };
    // As upstream, an empty message tells that the session is there.
    let channel = match streams {
        Streams { stdout: true, .. } => session::STDOUT,
        Streams { stderr: true, .. } => session::STDERR,
        _ => session::STATUS,
    };
    // A client that is gone already is found out by the first read.
    let _ = to.sender.send(message(protocol, channel, &[])).await;
    (Box::new(From { receiver, protocol, channel: 0, rest: Bytes::new() }), Box::new(to))
}

struct From {
    receiver: Receiver,
    protocol: Protocol,
    /// What is left of a message that is larger than a frame.
    channel: u8,
    rest: Bytes,
}

#[async_trait]
impl Incoming for From {
    async fn next(&mut self) -> Option<Frame> {
        loop {
            if !self.rest.is_empty() {
                let data = self.rest.split_to(self.rest.len().min(session::LARGEST));
                return Some(Frame { channel: self.channel, data });
            }
            let message = self.receiver.next().await?.ok()?;
            if message.is_close() {
                return None;
            }
            match websocket::parsed(self.protocol, message) {
                Some((channel @ (session::STDIN | session::RESIZE), data)) => {
                    (self.channel, self.rest) = (channel, data);
                }
                Some((session::CLOSE, data)) if self.protocol.closes => {
                    return Some(Frame { channel: session::CLOSE, data: data.slice(..data.len().min(1)) });
                }
                _ => {}
            }
        }
    }
}

struct To {
    sender: Sender,
    protocol: Protocol,
}

#[async_trait]
impl Outgoing for To {
    async fn send(&mut self, frame: Frame) -> io::Result<()> {
        let Frame { channel, mut data } = frame;
        if channel == session::STATUS && !self.protocol.status {
            data = told(&data);
            if data.is_empty() {
                return Ok(());
            }
        }
        self.sender.send(message(self.protocol, channel, &data)).await.map_err(failed)
    }

    async fn finish(&mut self) -> io::Result<()> {
        self.sender.send(close()).await.map_err(failed)
    }
}
