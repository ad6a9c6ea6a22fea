//! SPDY/3.1 as Kubernetes' clients speak it: a connection on which the client opens streams. `frame` and `headers` are the format,
//! `stream` is one of its streams; here is the connection.
//!
//! The clients' own library knows no flow control: it neither waits for windows nor says that it has taken something. So it is held
//! to its windows only once it speaks of them. What a stream's reader does not take stops the whole connection, after
//! [`stream::WAITING`] pieces: that is how slow readers push back.

mod frame;
mod headers;
mod stream;

use std::{io, sync::Arc, time::Duration};

use bytes::{Bytes, BytesMut};
use futures::StreamExt;
use hyper::upgrade::OnUpgrade;
use tokio::{
    io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadHalf},
    sync::mpsc,
    time::timeout,
};
use tokio_util::{
    codec::{Decoder, FramedRead},
    sync::CancellationToken,
    task::AbortOnDropHandle,
};

pub(super) use self::stream::{Reader, Stream, Writer};
use self::{
    frame::{Frame, Frames, PIECE, Status, go_away, ping, reply, reset},
    headers::Packer,
    stream::Streams,
};

/// Frames that wait to be written; whoever has more waits itself.
const OUTWARD: usize = 16;
/// Streams that wait to be taken.
const OPENED: usize = 16;
/// Streams at a time; another one is refused.
const STREAMS: usize = 1024;
/// How long the client may take to close its connection after the end.
const LINGER: Duration = Duration::from_secs(5);

/// What is wrong with what a client sends.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Error {
    #[error("SPDY/{0} is not spoken here")]
    Version(u32),
    #[error("a control frame of {0} bytes is too large")]
    Large(usize),
    #[error("a control frame is cut off")]
    Short,
    #[error("headers: {0}")]
    Headers(&'static str),
    #[error("{0}")]
    Io(String),
}

impl From<io::Error> for Error {
    fn from(error: io::Error) -> Self {
        Self::Io(error.to_string())
    }
}

/// A connection to a client.
pub(super) struct Connection {
    opened: mpsc::Receiver<Stream>,
    streams: Arc<Streams>,
    reader: AbortOnDropHandle<()>,
    writer: AbortOnDropHandle<io::Result<()>>,
    closed: CancellationToken,
}

/// The connection, once the handshake's answer is sent.
pub(super) async fn open(upgrade: OnUpgrade) -> io::Result<Connection> {
    Ok(Connection::new(super::upgraded(upgrade).await?))
}

impl Connection {
    /// Serves a connection on which the handshake is over.
    pub fn new(io: impl AsyncRead + AsyncWrite + Send + 'static) -> Self {
        let (from, to) = tokio::io::split(io);
        let (outward, waiting) = mpsc::channel(OUTWARD);
        let (taken, opened) = mpsc::channel(OPENED);
        let (streams, closed) = (Arc::new(Streams::new(outward)), CancellationToken::new());
        let reading = Reading { streams: streams.clone(), packer: Packer::new(), taken, last: 0 };
        let gone = closed.clone();
        let reader = tokio::spawn(async move {
            reading.run(from).await;
            gone.cancel();
        });
        let writer = tokio::spawn(write(waiting, to));
        let (reader, writer) = (AbortOnDropHandle::new(reader), AbortOnDropHandle::new(writer));
        Self { opened, streams, reader, writer, closed }
    }

    /// The next stream that the client opens; `None` when it is gone.
    pub async fn accept(&mut self) -> Option<Stream> {
        self.opened.recv().await
    }

    /// Cancelled when the client is gone.
    pub fn closed(&self) -> CancellationToken {
        self.closed.clone()
    }

    /// Ends the connection, once everything has been written.
    ///
    /// # Errors
    /// When the client does not take it.
    pub async fn finish(self) -> io::Result<()> {
        self.streams.send(go_away(self.streams.last(), false)).await?;
        self.streams.close();
        self.writer.await.map_err(io::Error::other)??;
        // To close a connection on which something comes in would take back what is on its way out.
        let mut opened = self.opened;
        opened.close();
        let _ = timeout(LINGER, self.reader).await;
        Ok(())
    }
}

/// Writes frames until there are no more.
async fn write(mut waiting: mpsc::Receiver<Option<Bytes>>, mut to: impl AsyncWrite + Unpin) -> io::Result<()> {
    while let Some(Some(frame)) = waiting.recv().await {
        to.write_all(&frame).await?;
        if waiting.is_empty() {
            to.flush().await?;
        }
    }
    to.shutdown().await
}

/// The reading side of a connection.
struct Reading {
    streams: Arc<Streams>,
    packer: Packer,
    taken: mpsc::Sender<Stream>,
    last: u32,
}

impl Reading {
    /// Reads until the client is gone or sends what cannot be read.
    async fn run<T: AsyncRead>(mut self, from: ReadHalf<T>) {
        let mut frames = FramedRead::with_capacity(from, Frames::new(), PIECE);
        while let Some(frame) = frames.next().await {
            let done = match frame {
                Ok(frame) => self.take(frame).await,
                Err(error) => {
                    tracing::debug!("SPDY: {error}");
                    let _ = self.streams.send(go_away(self.last, true)).await;
                    break;
                }
            };
            if done.is_err() {
                break;
            }
        }
        self.streams.end();
    }

    async fn take(&mut self, frame: Frame) -> io::Result<()> {
        match frame {
            Frame::Open { id, headers, fin } => {
                // A client's streams are odd and rise.
                if id.is_multiple_of(2) || id <= self.last {
                    return self.streams.send(reset(id, Status::ProtocolError)).await;
                }
                self.last = id;
                if self.streams.len() >= STREAMS {
                    return self.streams.send(reset(id, Status::RefusedStream)).await;
                }
                let stream = self.streams.open(id, headers);
                if fin {
                    self.streams.fin(id);
                }
                self.streams.send(reply(id, &mut self.packer)).await?;
                // Nobody takes streams any more: it is reset when it is dropped.
                let _ = self.taken.send(stream).await;
            }
            Frame::Data { id, data, fin } => {
                self.streams.give(id, data).await;
                if fin {
                    self.streams.fin(id);
                }
            }
            Frame::Headers { id, fin: true } => self.streams.fin(id),
            Frame::Reset { id } => self.streams.reset(id),
            Frame::Window(first) => self.streams.first_window(first),
            Frame::Update { id, more } => self.streams.update(id, more),
            // An even one would be the answer to one of ours.
            Frame::Ping(id) if !id.is_multiple_of(2) => self.streams.send(ping(id)).await?,
            Frame::Headers { .. } | Frame::Ping(_) | Frame::GoAway | Frame::Other => {}
        }
        Ok(())
    }
}

/// Reads bytes as a connection's, whole and in pieces: both end, and the same way.
pub(super) fn fuzz(data: &[u8]) {
    let read = |size: usize| {
        let (mut frames, mut buffer, mut bytes) = (Frames::new(), BytesMut::new(), 0);
        for piece in data.chunks(size.max(1)) {
            buffer.extend_from_slice(piece);
            loop {
                match frames.decode(&mut buffer) {
                    Ok(Some(Frame::Data { data, .. })) => bytes += data.len(),
                    Ok(Some(_)) => {}
                    Ok(None) => break,
                    Err(error) => return (bytes, Some(error)),
                }
            }
        }
        (bytes, None)
    };
    assert_eq!(read(data.len()), read(7), "what is read depends on how it is cut");
}

#[cfg(test)]
mod tests;
