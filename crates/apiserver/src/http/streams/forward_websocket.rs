//! Forwarded ports as channels of a WebSocket, as the Python and JavaScript clients have them: the n-th port's bytes are on channel
//! 2n, what went wrong is on 2n + 1, and the first message of each is the port's number. A channel cannot be closed by itself.

use std::io;

use async_trait::async_trait;
use bytes::Bytes;
use futures::{SinkExt, StreamExt};
use tokio::{sync::mpsc, task::JoinSet};
use tokio_tungstenite::tungstenite::Message;
use tokio_util::sync::CancellationToken;

use super::{
    forward::{Line, Outlet, Ports, Source},
    handshake::Protocol,
    websocket::{self, Receiver, Sender, Socket, close, message},
};

/// The most ports of one socket: two channels each, of one byte.
pub(super) const PORTS: usize = 127;
/// Messages that wait in each direction; whoever has more waits itself.
const WAITING: usize = 8;

/// Serves every port until all have ended, or the client is gone.
pub(super) async fn serve(socket: Socket, protocol: Protocol, numbers: &[u16], ports: &Ports) {
    let (sender, receiver) = socket.split();
    let (outward, waiting) = mpsc::channel(WAITING);
    let (mut inward, mut lines, gone) = (Vec::new(), JoinSet::new(), CancellationToken::new());
    for (index, port) in numbers.iter().copied().enumerate() {
        let (to_line, from_client) = mpsc::channel(WAITING);
        inward.push(to_line);
        let channel = u8::try_from(2 * index).unwrap_or(u8::MAX);
        let outlet = |channel| Channel { protocol, channel, to: outward.clone() };
        let (outlet, error) = (outlet(channel), outlet(channel.saturating_add(1)));
        let line = Line { port, source: Queue(from_client), outlet, error, gone: gone.clone() };
        let ports = ports.clone();
        lines.spawn(async move {
            let number = Bytes::copy_from_slice(&port.to_le_bytes());
            let mut line = line;
            if line.outlet.send(number.clone()).await.is_ok() && line.error.send(number).await.is_ok() {
                ports.serve(line).await;
            }
        });
    }
    drop(outward);
    tokio::select! {
        () = read(receiver, protocol, &inward) => {}
        // It ends when no line has anything to write any more.
        () = write(sender, waiting) => {}
    }
    gone.cancel();
    while lines.join_next().await.is_some() {}
}

/// Gives each line its messages, until the client is gone. A line that does not take them stops them all.
async fn read(mut receiver: Receiver, protocol: Protocol, lines: &[mpsc::Sender<Bytes>]) {
    while let Some(Ok(message)) = receiver.next().await {
        if message.is_close() {
            return;
        }
        let Some((channel, data)) = websocket::parsed(protocol, message) else { continue };
        if let Some(line) = lines.get(usize::from(channel / 2)).filter(|_| channel.is_multiple_of(2)) {
            // A line that has ended takes nothing.
            let _ = line.send(data).await;
        }
    }
}

async fn write(mut sender: Sender, mut waiting: mpsc::Receiver<Message>) {
    while let Some(message) = waiting.recv().await {
        if sender.send(message).await.is_err() {
            return;
        }
    }
    let _ = sender.send(close()).await;
}

struct Queue(mpsc::Receiver<Bytes>);

#[async_trait]
impl Source for Queue {
    async fn next(&mut self) -> Option<Bytes> {
        self.0.recv().await
    }
}

struct Channel {
    protocol: Protocol,
    channel: u8,
    to: mpsc::Sender<Message>,
}

#[async_trait]
impl Outlet for Channel {
    async fn send(&mut self, bytes: Bytes) -> io::Result<()> {
        let message = message(self.protocol, self.channel, &bytes);
        self.to.send(message).await.map_err(|_| io::ErrorKind::BrokenPipe.into())
    }

    async fn finish(&mut self) -> io::Result<()> {
        Ok(())
    }
}
