//! `exec` and `attach` over SPDY: the client opens a stream for each of the program's, one for how it ended, and one for the size of
//! its terminal.

use std::{io, time::Duration};

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use objects::session::{self, Streams};
use serde_json::Value;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::{
    handshake::Protocol,
    remote::{Client, Frame, Incoming, Outgoing, told},
    spdy::{Connection, Reader, Writer},
};

/// How long the client may take to open its streams.
const PATIENCE: Duration = Duration::from_secs(30);
/// What may wait to become the size of a terminal, in bytes.
const SIZES: usize = 1024;
/// The header that says what a stream is for.
const TYPE: &str = "streamtype";

/// The two directions of a client, once it has opened every stream that the session has.
///
/// # Errors
/// When it does not do so in time.
pub(super) async fn client(mut connection: Connection, protocol: Protocol, streams: Streams) -> io::Result<Client> {
    // Versions before the third cannot tell a terminal's size.
    let resizes = streams.tty && matches!(protocol.name, "v3.channel.k8s.io" | "v4.channel.k8s.io");
    let mut wanted = vec!["error"];
    for (name, on) in
        [("stdin", streams.stdin), ("stdout", streams.stdout), ("stderr", streams.stderr), ("resize", resizes)]
    {
        wanted.extend(on.then_some(name));
    }
    let (mut stdin, mut resize) = (None, None);
    let (mut stdout, mut stderr, mut error) = (None, None, None);
    let opened = async {
        while !wanted.is_empty() {
            let stream = connection.accept().await.ok_or(io::ErrorKind::UnexpectedEof)?;
            let kind = stream.header(TYPE).unwrap_or_default().to_ascii_lowercase();
            // One that is not wanted is dropped, and so reset.
            let Some(at) = wanted.iter().position(|name| *name == kind) else { continue };
            wanted.swap_remove(at);
            let (reader, writer) = stream.split();
            match kind.as_str() {
                "stdin" => stdin = Some((reader, writer)),
                "resize" => resize = Some((reader, writer)),
                "stdout" => stdout = Some((reader, writer)),
                "stderr" => stderr = Some((reader, writer)),
                _ => error = Some((reader, writer)),
            }
        }
        Ok::<_, io::Error>(())
    };
    timeout(PATIENCE, opened)
        .await
        .map_err(|_| io::Error::other("timed out waiting for client to create streams"))??;
    let from = From { stdin, resize, sizes: BytesMut::new(), gone: connection.closed() };
    Ok((Box::new(from), Box::new(To { stdout, stderr, error, protocol, connection: Some(connection) })))
}

/// A stream's two directions are kept together: a stream of which one is dropped would be reset.
type Both = (Reader, Writer);

struct From {
    stdin: Option<Both>,
    resize: Option<Both>,
    sizes: BytesMut,
    gone: CancellationToken,
}

async fn read(stream: &mut Option<Both>) -> Option<Bytes> {
    match stream {
        Some((reader, _)) => reader.next().await,
        None => std::future::pending().await,
    }
}

impl From {
    /// The next size that has come whole.
    fn size(&mut self) -> Option<Frame> {
        let mut values = serde_json::Deserializer::from_slice(&self.sizes).into_iter::<Value>();
        let size = values.next().and_then(Result::ok);
        let read = values.byte_offset();
        if size.is_none() && self.sizes.len() > SIZES {
            self.sizes.clear();
        }
        let size = size?;
        let _ = self.sizes.split_to(read);
        Some(Frame { channel: session::RESIZE, data: size.to_string().into() })
    }
}

#[async_trait]
impl Incoming for From {
    async fn next(&mut self) -> Option<Frame> {
        loop {
            if let Some(size) = self.size() {
                return Some(size);
            }
            tokio::select! {
                biased;
                data = read(&mut self.resize) => match data {
                    Some(data) => self.sizes.extend_from_slice(&data),
                    None => self.resize = None,
                },
                data = read(&mut self.stdin) => {
                    let Some(data) = data else {
                        self.stdin = None;
                        return Some(Frame { channel: session::CLOSE, data: Bytes::from_static(&[session::STDIN]) });
                    };
                    return Some(Frame { channel: session::STDIN, data });
                }
                () = self.gone.cancelled() => return None,
            }
        }
    }
}

struct To {
    stdout: Option<Both>,
    stderr: Option<Both>,
    error: Option<Both>,
    protocol: Protocol,
    connection: Option<Connection>,
}

#[async_trait]
impl Outgoing for To {
    async fn send(&mut self, frame: Frame) -> io::Result<()> {
        let Frame { channel, data } = frame;
        let (stream, data) = match channel {
            session::STDOUT => (&mut self.stdout, data),
            session::STDERR => (&mut self.stderr, data),
            session::STATUS if self.protocol.status => (&mut self.error, data),
            session::STATUS => (&mut self.error, told(&data)),
            _ => return Ok(()),
        };
        match stream {
            Some((_, writer)) => writer.send(data).await,
            None => Ok(()),
        }
    }

    async fn finish(&mut self) -> io::Result<()> {
        for (_, writer) in [&mut self.stdout, &mut self.stderr, &mut self.error].into_iter().flatten() {
            writer.finish().await?;
        }
        match self.connection.take() {
            Some(connection) => connection.finish().await,
            None => Ok(()),
        }
    }
}
