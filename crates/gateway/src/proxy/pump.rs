//! One direction of an exchange: a head, then a body that is sent on as it arrives.

use std::{
    io,
    io::Write,
    task::{Context, Poll, ready},
};

use super::{head::Body, http1::body::Decoder, side::Side, worker::Worker};

/// Bodies with more than this to come are read in large pieces.
pub(super) const LARGE_BODY: u64 = 16 * 1024;

/// Why a direction ended early.
#[derive(Debug)]
pub(super) enum Broken {
    /// The sender failed or closed too early.
    Source,
    /// The sender's body is not coded as it should be.
    Malformed(&'static str),
    /// The receiver failed.
    Sink(io::Error),
}

/// Moves one message from a source to a sink.
#[derive(Debug)]
pub(super) struct Pump {
    decoder: Decoder,
    /// Whether the sink gets chunks.
    chunked: bool,
    /// Kept until the end, so that it can be sent once more.
    pub head: Vec<u8>,
    head_sent: bool,
    /// A chunk's size line.
    line: Vec<u8>,
    /// Body bytes at the front of the source's buffer that are being sent.
    payload: usize,
    /// Bytes of the source's buffer that are done with when they are.
    consumed: usize,
    /// What follows the payload.
    tail: Vec<u8>,
    /// Bytes sent of all that is staged.
    sent: usize,
    ended: bool,
    /// Something of the body has been taken from the source.
    touched: bool,
    /// Bytes of the body that the sink has.
    moved: u64,
}

impl Pump {
    /// Sends `head`, then a body that arrives as `body`, in chunks if `chunked`.
    pub fn new(head: Vec<u8>, body: Body, chunked: bool) -> Self {
        Self {
            decoder: Decoder::new(body),
            chunked,
            head,
            head_sent: false,
            line: Vec::new(),
            payload: 0,
            consumed: 0,
            tail: Vec::new(),
            sent: 0,
            ended: false,
            touched: false,
            moved: 0,
        }
    }

    /// Prepares to send the same message once more, to another sink; `false` if some of the body is gone.
    pub fn rewind(&mut self) -> bool {
        (self.head_sent, self.sent, self.ended) = (false, 0, false);
        self.is_here()
    }

    /// Whether nothing of the message is gone.
    pub fn is_here(&self) -> bool {
        !self.touched
    }

    /// How many bytes of the body the sink has, without what frames them.
    pub fn moved(&self) -> u64 {
        self.moved
    }

    /// Whether everything has arrived at the proxy, and nothing of it is in the source's buffer any more, where it would be
    /// taken for another message.
    pub fn source_done(&self) -> bool {
        self.decoder.is_done() && self.consumed == 0
    }

    /// Whether it is the source that is waited for.
    pub fn is_starved(&self) -> bool {
        !self.ended && self.consumed == 0
    }

    /// Whether the body may pause for as long as its sender likes: it does not say how long it is.
    pub fn is_open_ended(&self) -> bool {
        !matches!(self.decoder, Decoder::Length(_))
    }

    /// Whether the body ends with its connection.
    fn until_close(&self) -> bool {
        matches!(self.decoder, Decoder::UntilClose)
    }

    /// Moves what can be moved; ready when the sink has all of the message.
    pub fn poll(
        &mut self,
        cx: &mut Context<'_>,
        worker: &Worker,
        source: &mut Side,
        sink: &mut Side,
    ) -> Poll<Result<(), Broken>> {
        loop {
            if self.consumed == 0 && !self.ended {
                self.stage(source)?;
            }
            ready!(self.poll_flush(cx, source, sink)).map_err(Broken::Sink)?;
            if self.ended {
                source.large = false;
                return Poll::Ready(Ok(()));
            }
            if !source.filled().is_empty() {
                continue;
            }
            source.large = self.decoder.left() > LARGE_BODY || self.until_close();
            match ready!(source.poll_fill(cx, worker)) {
                Ok(0) if self.decoder.may_end() => self.finish(),
                Ok(0) | Err(_) => return Poll::Ready(Err(Broken::Source)),
                Ok(_) => {}
            }
        }
    }

    /// Takes in what has arrived.
    fn stage(&mut self, source: &mut Side) -> Result<(), Broken> {
        if !self.decoder.is_done() && !source.filled().is_empty() {
            let taken = self.decoder.decode(source.filled_mut()).map_err(Broken::Malformed)?;
            (self.payload, self.consumed, self.touched) = (taken.payload, taken.consumed, true);
            if self.chunked && taken.payload > 0 {
                // Writing to a vector cannot fail.
                _ = write!(self.line, "{:x}\r\n", taken.payload);
                self.tail.extend_from_slice(b"\r\n");
            }
        }
        if self.decoder.is_done() {
            self.finish();
        }
        Ok(())
    }

    fn finish(&mut self) {
        self.ended = true;
        if self.chunked {
            self.tail.extend_from_slice(b"0\r\n");
            self.tail.append(&mut self.decoder.take_trailers());
            self.tail.extend_from_slice(b"\r\n");
        }
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>, source: &mut Side, sink: &mut Side) -> Poll<io::Result<()>> {
        let payload = source.filled().get(..self.payload).unwrap_or_default();
        let head = if self.head_sent { &[] } else { self.head.as_slice() };
        let parts = [head, &self.line, payload, &self.tail];
        let total: usize = parts.iter().map(|part| part.len()).sum();
        while self.sent < total {
            match ready!(sink.poll_write(cx, parts, self.sent))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                sent => self.sent += sent,
            }
        }
        if total > 0 {
            ready!(sink.poll_flush(cx))?;
        }
        source.consume(self.consumed);
        self.head_sent = true;
        self.moved += self.payload as u64;
        (self.payload, self.consumed, self.sent) = (0, 0, 0);
        self.line.clear();
        self.tail.clear();
        Poll::Ready(Ok(()))
    }
}
