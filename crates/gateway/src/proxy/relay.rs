//! One direction of an exchange in which at least one end speaks HTTP/2: pieces of the body are taken from one end and given
//! to the other as it takes them.

use std::{
    io::{self, Write},
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http::HeaderMap;

use super::{
    end::End,
    head::Body,
    http1::body::Decoder,
    http2::Piece,
    kept::Kept,
    message,
    pump::{Broken, LARGE_BODY},
    side::Side,
    worker::Worker,
};

/// Moves one message from a source to a sink.
#[derive(Debug)]
pub(super) struct Relay {
    /// Reads a body of HTTP/1.
    decoder: Decoder,
    /// Whether a sink of HTTP/1 gets chunks.
    chunked: bool,
    /// Lines for a sink of HTTP/1; kept until the end, so that they can be sent once more.
    pub head: Vec<u8>,
    head_sent: bool,
    /// A chunk's size line.
    line: Vec<u8>,
    payload: Bytes,
    /// What follows the payload for a sink of HTTP/1.
    tail: Vec<u8>,
    /// Bytes sent of all that is staged.
    sent: usize,
    /// What follows the payload for a sink of HTTP/2.
    trailers: Option<HeaderMap>,
    /// Everything has been taken from the source.
    ended: bool,
    /// The sink of HTTP/2 knows that nothing follows.
    told: bool,
    /// Something of the body has been taken from the source.
    touched: bool,
    without_body: bool,
    /// What has been taken, to be sent once more.
    kept: Option<Box<Kept>>,
    /// Bytes of the body that were taken from the source.
    moved: u64,
}

impl Relay {
    /// Sends `head` (if the sink takes lines), then a body that arrives as `body`, in chunks if `chunked`.
    pub fn new(head: Vec<u8>, body: Body, chunked: bool) -> Self {
        let without_body = body == Body::None;
        Self {
            decoder: Decoder::new(body),
            chunked,
            head,
            head_sent: false,
            line: Vec::new(),
            payload: Bytes::new(),
            tail: Vec::new(),
            sent: 0,
            trailers: None,
            ended: without_body,
            told: without_body,
            touched: false,
            without_body,
            kept: None,
            moved: 0,
        }
    }

    /// Prepares to send the same message once more, to another sink; `false` if some of the body is gone.
    pub fn rewind(&mut self) -> bool {
        (self.head_sent, self.sent, self.ended, self.told) = (false, 0, self.without_body, self.without_body);
        (self.payload, self.trailers) = (Bytes::new(), None);
        self.line.clear();
        self.tail.clear();
        if let Some(kept) = &mut self.kept {
            kept.rewind();
        }
        self.is_here()
    }

    /// Whether nothing of the message is gone.
    pub fn is_here(&self) -> bool {
        !self.touched || self.kept.as_ref().is_some_and(|kept| kept.is_here())
    }

    /// It will not be sent again: keeps nothing from now on.
    pub fn forget(&mut self) {
        self.kept.take_if(|kept| kept.is_caught_up());
    }

    /// The whole body, if it has arrived and was kept, or there is none.
    pub fn whole(&self) -> Option<&[Bytes]> {
        if self.without_body { Some(&[]) } else { self.kept.as_ref()?.whole() }
    }

    /// From now on keeps what it takes.
    pub fn keep(&mut self, kept: Option<Kept>) {
        self.kept = kept.map(Box::new);
    }

    /// Whether everything has arrived at the proxy.
    pub fn source_done(&self) -> bool {
        self.ended
    }

    /// How many bytes of the body have been taken from the source, without what frames them.
    pub fn moved(&self) -> u64 {
        self.moved
    }

    /// Whether it is the source that is waited for.
    pub fn is_starved(&self) -> bool {
        !self.ended && self.payload.is_empty() && self.tail.is_empty()
    }

    /// Whether the body may pause for as long as its sender likes: it does not say how long it is.
    pub fn is_open_ended(&self) -> bool {
        !matches!(self.decoder, Decoder::Length(_))
    }

    /// Moves what can be moved; ready when the sink has all of the message.
    pub fn poll(
        &mut self,
        cx: &mut Context<'_>,
        worker: &Worker,
        source: &mut End<'_>,
        sink: &mut End<'_>,
    ) -> Poll<Result<(), Broken>> {
        loop {
            ready!(self.poll_flush(cx, sink)).map_err(Broken::Sink)?;
            if let End::Http2(stream) = source {
                stream.passed_on();
            }
            if self.ended {
                return Poll::Ready(Ok(()));
            }
            match self.poll_piece(cx, worker, source) {
                Poll::Ready(piece) => self.stage(piece?),
                // The stream is all that would tell that nobody waits for the rest.
                Poll::Pending => {
                    let End::Http2(stream) = sink else { return Poll::Pending };
                    return stream.poll_reset(cx).map(|()| Err(Broken::Sink(io::ErrorKind::ConnectionReset.into())));
                }
            }
        }
    }

    fn poll_piece(
        &mut self,
        cx: &mut Context<'_>,
        worker: &Worker,
        source: &mut End<'_>,
    ) -> Poll<Result<Piece, Broken>> {
        if let Some(piece) = self.kept.as_mut().and_then(|kept| kept.replay()) {
            return Poll::Ready(Ok(piece));
        }
        let piece = ready!(match source {
            End::Http1(side) => self.poll_decoded(cx, worker, side),
            End::Http2(stream) => stream.poll_piece(cx).map_err(|_| Broken::Source),
        })?;
        self.touched = true;
        if let Piece::Data(data, _) = &piece {
            self.moved += data.len() as u64;
        }
        if let Some(kept) = &mut self.kept {
            kept.add(&piece);
        }
        Poll::Ready(Ok(piece))
    }

    /// The next piece of a body of HTTP/1.
    fn poll_decoded(&mut self, cx: &mut Context<'_>, worker: &Worker, side: &mut Side) -> Poll<Result<Piece, Broken>> {
        loop {
            if !self.decoder.is_done() && !side.filled().is_empty() {
                let taken = self.decoder.decode(side.filled_mut()).map_err(Broken::Malformed)?;
                let data = Bytes::copy_from_slice(side.filled().get(..taken.payload).unwrap_or_default());
                side.consume(taken.consumed);
                if !data.is_empty() {
                    let last = self.decoder.is_done() && !self.decoder.has_trailers();
                    side.large &= !last;
                    return Poll::Ready(Ok(Piece::Data(data, last)));
                }
            }
            if self.decoder.is_done() {
                side.large = false;
                let lines = self.decoder.take_trailers();
                let trailers = (!lines.is_empty()).then(|| message::http2_trailers(&lines));
                return Poll::Ready(Ok(Piece::End(trailers)));
            }
            side.large = self.decoder.left() > LARGE_BODY || self.decoder.may_end();
            match ready!(side.poll_fill(cx, worker)) {
                Ok(0) if self.decoder.may_end() => return Poll::Ready(Ok(Piece::End(None))),
                Ok(0) | Err(_) => return Poll::Ready(Err(Broken::Source)),
                Ok(_) => {}
            }
        }
    }

    fn stage(&mut self, piece: Piece) {
        let (data, end) = match piece {
            Piece::Data(data, last) => (data, last.then_some(None)),
            Piece::End(trailers) => (Bytes::new(), Some(trailers)),
        };
        if self.chunked && !data.is_empty() {
            // Writing to a vector cannot fail.
            _ = write!(self.line, "{:x}\r\n", data.len());
            self.tail.extend_from_slice(b"\r\n");
        }
        self.payload = data;
        let Some(trailers) = end else { return };
        self.ended = true;
        if self.chunked {
            self.tail.extend_from_slice(b"0\r\n");
            self.tail.append(&mut trailers.as_ref().map(message::http1_trailers).unwrap_or_default());
            self.tail.extend_from_slice(b"\r\n");
        }
        self.trailers = trailers;
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>, sink: &mut End<'_>) -> Poll<io::Result<()>> {
        match sink {
            End::Http1(side) => self.poll_flush_lines(cx, side),
            End::Http2(stream) => {
                let last = self.ended && self.trailers.is_none();
                let some = !self.payload.is_empty();
                ready!(stream.poll_send(cx, &mut self.payload, last))?;
                self.told |= some && last;
                if self.ended && !self.told {
                    self.told = true;
                    stream.end(self.trailers.take())?;
                }
                Poll::Ready(Ok(()))
            }
        }
    }

    fn poll_flush_lines(&mut self, cx: &mut Context<'_>, side: &mut Side) -> Poll<io::Result<()>> {
        let head = if self.head_sent { &[] } else { self.head.as_slice() };
        let parts = [head, &self.line, &self.payload, &self.tail];
        let total: usize = parts.iter().map(|part| part.len()).sum();
        while self.sent < total {
            match ready!(side.poll_write(cx, parts, self.sent))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                sent => self.sent += sent,
            }
        }
        if total > 0 {
            ready!(side.poll_flush(cx))?;
        }
        self.head_sent = true;
        self.sent = 0;
        self.payload = Bytes::new();
        self.line.clear();
        self.tail.clear();
        Poll::Ready(Ok(()))
    }
}
