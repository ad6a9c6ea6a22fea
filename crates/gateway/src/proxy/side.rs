//! One end of an exchange: a connection and the bytes that arrived on it.

use std::{
    io::{self, IoSlice},
    pin::Pin,
    task::{Context, Poll, ready},
};

use futures::FutureExt;
use tokio::{
    io::{AsyncRead, AsyncWrite, Interest, ReadBuf, Ready},
    net::TcpStream,
};
use tokio_rustls::TlsStream;

use super::{
    buffer::{Buffer, Buffers},
    worker::Worker,
};

/// Pieces of a message are joined up to this size.
const SMALL: usize = 2048;

/// What bytes travel over.
#[derive(Debug)]
pub(super) enum Stream {
    /// As they are.
    Plain(TcpStream),
    /// Encrypted; boxed, because it is large and plain connections are many.
    Tls(Box<TlsStream<TcpStream>>),
}

impl Stream {
    /// Whether client and server have agreed on HTTP/2 (RFC 7301).
    pub fn is_http2(&self) -> bool {
        matches!(self, Self::Tls(tls) if tls.get_ref().1.alpn_protocol() == Some(b"h2"))
    }

    /// What the client called the server when it asked for encryption: lower case, empty if it did not say; `None` if it asked
    /// for none, or if this is no client's.
    pub fn server_name(&self) -> Option<Box<str>> {
        match self {
            Self::Plain(_) => None,
            Self::Tls(tls) => match &**tls {
                TlsStream::Server(tls) => {
                    let name = tls.get_ref().1.server_name().unwrap_or_default();
                    Some(name.trim_end_matches('.').to_ascii_lowercase().into())
                }
                TlsStream::Client(_) => None,
            },
        }
    }
}

/// A connection to a client or an endpoint.
#[derive(Debug)]
pub(super) struct Side {
    stream: Stream,
    buffer: Option<Buffer>,
    /// Large reads are worth it.
    pub large: bool,
    /// Reads and writes that moved something, so that a stalled exchange is told from a slow one.
    pub moved: u64,
}

impl Side {
    pub fn new(stream: Stream) -> Self {
        Self { stream, buffer: None, large: false, moved: 0 }
    }

    /// The connection underneath.
    pub fn tcp(&self) -> &TcpStream {
        match &self.stream {
            Stream::Plain(tcp) => tcp,
            Stream::Tls(tls) => tls.get_ref().0,
        }
    }

    /// What has arrived and is not done with.
    pub fn filled(&self) -> &[u8] {
        self.buffer.as_ref().map(Buffer::filled).unwrap_or_default()
    }

    pub fn filled_mut(&mut self) -> &mut [u8] {
        self.buffer.as_mut().map(Buffer::filled_mut).unwrap_or_default()
    }

    pub fn consume(&mut self, bytes: usize) {
        if let Some(buffer) = &mut self.buffer {
            buffer.consume(bytes);
        }
    }

    /// Gives the buffer back if nothing is in it.
    pub fn release(&mut self, buffers: &mut Buffers) {
        if let Some(buffer) = self.buffer.take_if(|buffer| buffer.is_empty()) {
            buffers.give_back(buffer);
        }
    }

    /// What is underneath; bytes that have arrived are gone.
    pub fn into_stream(mut self, buffers: &mut Buffers) -> Stream {
        if let Some(buffer) = self.buffer.take() {
            buffers.give_back(buffer);
        }
        self.stream
    }

    /// Closes the connection.
    pub fn close(self, buffers: &mut Buffers) {
        drop(self.into_stream(buffers));
    }

    /// Reads once, after what is there already; 0 is the end. While nothing arrives, an empty buffer is not held.
    pub fn poll_fill(&mut self, cx: &mut Context<'_>, worker: &Worker) -> Poll<io::Result<usize>> {
        if self.buffer.as_ref().is_none_or(Buffer::is_empty) {
            self.release(&mut worker.buffers.borrow_mut());
            // Of an encrypted stream only reading tells whether there is anything.
            if let Stream::Plain(tcp) = &self.stream {
                ready!(tcp.poll_read_ready(cx))?;
            }
        }
        let large = self.large;
        let buffer = self.buffer.get_or_insert_with(|| worker.buffers.borrow_mut().take(large));
        let mut room = ReadBuf::new(buffer.room());
        let polled = match &mut self.stream {
            Stream::Plain(tcp) => Pin::new(tcp).poll_read(cx, &mut room),
            Stream::Tls(tls) => Pin::new(tls).poll_read(cx, &mut room),
        };
        let read = room.filled().len();
        if polled.is_pending() {
            self.release(&mut worker.buffers.borrow_mut());
            return Poll::Pending;
        }
        ready!(polled)?;
        buffer.added(read);
        self.moved += 1;
        Poll::Ready(Ok(read))
    }

    /// Reads into a buffer of the caller's, what has arrived already first.
    pub fn poll_read(&mut self, cx: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if let Some(buffer) = self.buffer.as_mut().filter(|buffer| !buffer.is_empty()) {
            let here = buffer.filled().len().min(into.remaining());
            into.put_slice(buffer.filled().get(..here).unwrap_or_default());
            buffer.consume(here);
            return Poll::Ready(Ok(()));
        }
        match &mut self.stream {
            Stream::Plain(tcp) => Pin::new(tcp).poll_read(cx, into),
            Stream::Tls(tls) => Pin::new(tls).poll_read(cx, into),
        }
    }

    /// Whether more can be read without `grow`.
    pub fn has_room(&mut self) -> bool {
        self.buffer.as_mut().is_none_or(|buffer| !buffer.room().is_empty())
    }

    /// Makes room for a long head.
    pub fn grow(&mut self, worker: &Worker) {
        if let Some(buffer) = self.buffer.take() {
            let grow = !buffer.is_large();
            self.buffer = Some(if grow { worker.buffers.borrow_mut().grow(buffer) } else { buffer });
        }
    }

    /// Writes as much as possible of `parts`, less the first `skip` bytes of them.
    pub fn poll_write(&mut self, cx: &mut Context<'_>, parts: [&[u8]; 4], skip: usize) -> Poll<io::Result<usize>> {
        let (mut skip, mut slices, mut count) = (skip, [IoSlice::new(&[]); 4], 0);
        for part in parts {
            let here = part.get(skip.min(part.len())..).unwrap_or_default();
            skip = skip.saturating_sub(part.len());
            if let Some(slot) = slices.get_mut(count).filter(|_| !here.is_empty()) {
                *slot = IoSlice::new(here);
                count += 1;
            }
        }
        let written = match (&mut self.stream, slices.get(..count)) {
            (Stream::Plain(tcp), Some([one])) => Pin::new(tcp).poll_write(cx, one),
            // One piece of a small message is cheaper for the kernel than several, by more than the copy costs.
            (Stream::Plain(tcp), Some(several)) if several.iter().map(|part| part.len()).sum::<usize>() <= SMALL => {
                let (mut whole, mut end) = ([0; SMALL], 0);
                for part in several {
                    if let Some(room) = whole.get_mut(end..end + part.len()) {
                        room.copy_from_slice(part);
                        end += part.len();
                    }
                }
                Pin::new(tcp).poll_write(cx, whole.get(..end).unwrap_or_default())
            }
            (Stream::Plain(tcp), Some(several)) => Pin::new(tcp).poll_write_vectored(cx, several),
            (Stream::Tls(tls), Some(parts)) => Pin::new(tls).poll_write_vectored(cx, parts),
            (_, None) => Poll::Ready(Ok(0)),
        };
        let written = ready!(written)?;
        self.moved += 1;
        Poll::Ready(Ok(written))
    }

    /// Sends what has been written and encrypted, but not taken by the kernel.
    pub fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.stream {
            Stream::Plain(_) => Poll::Ready(Ok(())),
            Stream::Tls(tls) => Pin::new(tls).poll_flush(cx),
        }
    }

    /// Says that nothing more will be sent.
    pub fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.stream {
            Stream::Plain(tcp) => Pin::new(tcp).poll_shutdown(cx),
            Stream::Tls(tls) => Pin::new(tls).poll_shutdown(cx),
        }
    }

    /// Whether the other party is known to have closed, whatever is unread; with `halves`, in both directions.
    pub fn has_left(&self, halves: bool) -> bool {
        let ready = self.tcp().ready(Interest::READABLE | Interest::WRITABLE).now_or_never();
        let left = |ready: Ready| if halves { ready.is_write_closed() } else { ready.is_read_closed() };
        ready.is_some_and(|ready| ready.is_ok_and(left))
    }

    /// Whether the other party has closed; costs nothing while nothing arrives. Bytes that arrived do not count.
    pub fn poll_closed(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        match self.poll_arrived(cx) {
            Poll::Ready(Ok(0) | Err(_)) => Poll::Ready(()),
            Poll::Ready(Ok(_)) | Poll::Pending => Poll::Pending,
        }
    }

    /// The same, but what arrives on an encrypted stream is read: it may be the word that ends it (RFC 8446, 6.1), behind which
    /// the end of the connection is not seen. What was sent in advance stays in the buffer.
    pub fn poll_left(&mut self, cx: &mut Context<'_>, worker: &Worker) -> Poll<()> {
        let arrived = match ready!(self.poll_arrived(cx)) {
            Ok(1..) if matches!(self.stream, Stream::Tls(_)) => ready!(self.poll_fill(cx, worker)),
            arrived => arrived,
        };
        if matches!(arrived, Ok(0) | Err(_)) { Poll::Ready(()) } else { Poll::Pending }
    }

    /// Whether anything arrives, unless something has that is not done with; nothing is read.
    fn poll_arrived(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        if !self.filled().is_empty() {
            return Poll::Pending;
        }
        self.tcp().poll_peek(cx, &mut ReadBuf::new(&mut [0]))
    }
}
