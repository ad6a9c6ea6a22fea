//! The bytes under an HTTP/2 connection. Its library writes every frame for itself and flushes after each; here they are
//! collected, and written once for all that was said in one turn: with many small responses that is most of the cost.

use std::{
    cell::{RefCell, RefMut},
    io::{self, IoSlice},
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, ready},
};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::proxy::side::Side;

/// More than this is not collected.
const COLLECT: usize = 64 * 1024;
/// A write of this size is not worth copying.
const LARGE: usize = 16 * 1024;
/// Vectors that a worker keeps.
const KEEP: usize = 16;

/// Memory for what is collected. A connection has some only while the kernel has not taken what it has to say: it need not grow for
/// each burst, an idle one holds none, and what all connections use is in the processor's cache.
#[derive(Debug, Clone, Default)]
pub(in crate::proxy) struct Outs(Rc<RefCell<Vec<Vec<u8>>>>);

impl Outs {
    fn take(&self) -> Vec<u8> {
        self.0.borrow_mut().pop().unwrap_or_else(|| Vec::with_capacity(LARGE))
    }

    fn give_back(&self, mut out: Vec<u8>) {
        let mut kept = self.0.borrow_mut();
        if kept.len() < KEEP && out.capacity() <= 2 * COLLECT {
            out.clear();
            kept.push(out);
        }
    }
}

/// A connection whose writes wait for [`Io::poll_write_out`].
#[derive(Debug, Clone)]
pub(super) struct Io(Rc<RefCell<Inner>>);

#[derive(Debug)]
struct Inner {
    side: Side,
    /// Without any capacity while nothing is collected.
    out: Vec<u8>,
    /// Of `out`.
    written: usize,
    outs: Outs,
}

impl Io {
    /// What has arrived on `side` already is read first.
    pub fn new(side: Side, outs: Outs) -> Self {
        Self(Rc::new(RefCell::new(Inner { side, out: Vec::new(), written: 0, outs })))
    }

    fn inner(&self) -> RefMut<'_, Inner> {
        self.0.borrow_mut()
    }

    /// Writes what was collected.
    pub fn poll_write_out(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.inner().poll_write_out(cx)
    }
}

impl Inner {
    fn poll_write_out(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.written < self.out.len() {
            match ready!(self.side.poll_write(cx, [&self.out, &[], &[], &[]], self.written))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                written => self.written += written,
            }
        }
        if self.written > 0 {
            self.written = 0;
            self.outs.give_back(std::mem::take(&mut self.out));
        }
        self.side.poll_flush(cx)
    }
}

impl AsyncRead for Io {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        self.inner().side.poll_read(cx, buffer)
    }
}

impl AsyncWrite for Io {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(cx, &[IoSlice::new(bytes)])
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let mut inner = self.inner();
        let total: usize = parts.iter().map(|part| part.len()).sum();
        if inner.out.len() + total > COLLECT {
            ready!(inner.poll_write_out(cx))?;
        }
        if total >= LARGE && inner.out.is_empty() {
            let part = |index: usize| parts.get(index).map_or(&[][..], |part| part);
            return inner.side.poll_write(cx, [part(0), part(1), part(2), part(3)], 0);
        }
        if inner.out.capacity() == 0 {
            inner.out = inner.outs.take();
        }
        parts.iter().for_each(|part| inner.out.extend_from_slice(part));
        Poll::Ready(Ok(total))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        // The task that drives the connection writes when it has nothing else to do.
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut inner = self.inner();
        ready!(inner.poll_write_out(cx))?;
        inner.side.poll_shutdown(cx)
    }
}
