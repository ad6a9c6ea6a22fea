//! One end of an exchange, whichever version of HTTP is spoken there.

use std::task::{Context, Poll};

use super::{
    http2::{STREAM_WINDOW, Stream},
    side::Side,
    worker::Worker,
};

/// The client or the endpoint.
#[derive(Debug)]
pub(super) enum End<'a> {
    /// A connection that this exchange has for itself.
    Http1(&'a mut Side),
    /// One stream of a connection that others use as well.
    Http2(&'a mut Stream),
}

impl End<'_> {
    /// The same end for a shorter time.
    pub fn reborrow(&mut self) -> End<'_> {
        match self {
            Self::Http1(side) => End::Http1(side),
            Self::Http2(stream) => End::Http2(stream),
        }
    }

    /// Counts what was read and written, so that a stalled exchange is told from a slow one.
    pub fn moved(&self) -> u64 {
        match self {
            Self::Http1(side) => side.moved,
            Self::Http2(stream) => stream.moved,
        }
    }

    /// Whether the other party has gone away; costs nothing while nothing arrives.
    pub fn poll_closed(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        match self {
            Self::Http1(side) => side.poll_closed(cx),
            Self::Http2(stream) => stream.poll_reset(cx),
        }
    }

    /// The same of a client whose request is here: what it sends now may be read.
    pub fn poll_left(&mut self, cx: &mut Context<'_>, worker: &Worker) -> Poll<()> {
        match self {
            Self::Http1(side) => side.poll_left(cx, worker),
            Self::Http2(stream) => stream.poll_reset(cx),
        }
    }

    /// Whether the other party is seen to have gone away although it has sent what is not read yet; with `halves`, only when it
    /// takes nothing more either. Nothing is read.
    pub fn has_left(&self, halves: bool) -> bool {
        match self {
            Self::Http1(side) => side.has_left(halves),
            // A stream says so however much of it is unread.
            Self::Http2(_) => false,
        }
    }

    /// How much of what the other party has sent, or may send now, is kept in memory until it is read.
    pub fn unread(&self, has_body: bool) -> usize {
        match self {
            Self::Http1(side) => side.filled().len(),
            Self::Http2(_) if has_body => STREAM_WINDOW as usize,
            Self::Http2(_) => 0,
        }
    }

    /// Says that nothing more will be sent. A stream of HTTP/2 said so with its last frame.
    pub fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        match self {
            Self::Http1(side) => side.poll_shutdown(cx),
            Self::Http2(_) => Poll::Ready(Ok(())),
        }
    }
}
