//! Who does not take what it is sent is cut: it would hold what is being sent for as long as it likes. Over a connection that is
//! here; `streams` does it for one stream among others of HTTP/2.

mod idle;
mod streams;

use std::{
    io,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll, ready},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::{Instant, Sleep, sleep},
};

pub(crate) use self::{
    idle::Idle,
    streams::{Streams, tracked},
};

/// What was cut because its client took nothing.
#[derive(Debug, Default)]
pub struct Stalled {
    /// Connections.
    pub connections: AtomicU64,
    /// Streams of connections that went on.
    pub streams: AtomicU64,
}

/// Runs out when something has lasted for so long. Nothing is done when it begins or ends, only when a time has passed.
struct Patience {
    length: Duration,
    sleep: Pin<Box<Sleep>>,
}

impl Patience {
    fn new(length: Duration) -> Self {
        Self { length, sleep: Box::pin(sleep(length)) }
    }

    /// Ready when it has lasted too long; `since` says since when it does, if it does.
    fn poll(&mut self, cx: &mut Context<'_>, since: impl Fn() -> Option<Instant>) -> Poll<()> {
        loop {
            ready!(self.sleep.as_mut().poll(cx));
            let now = Instant::now();
            let until = since().unwrap_or(now) + self.length;
            if until <= now {
                return Poll::Ready(());
            }
            self.sleep.as_mut().reset(until);
        }
    }
}

/// A stream whose writes end with an error when nothing could be written for some time.
pub(crate) struct Unstalled<S> {
    inner: S,
    patience: Duration,
    /// Runs while a write waits.
    waits: Option<Pin<Box<Sleep>>>,
    cut: bool,
    stalled: Arc<Stalled>,
}

impl<S> Unstalled<S> {
    /// Over another stream; one that is cut is counted.
    pub(crate) fn new(inner: S, patience: Duration, stalled: Arc<Stalled>) -> Self {
        Self { inner, patience, waits: None, cut: false, stalled }
    }

    /// What a write came to, or that it waits for too long.
    fn judge<T>(&mut self, cx: &mut Context<'_>, written: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if written.is_ready() {
            self.waits = None;
            return written;
        }
        let waits = self.waits.get_or_insert_with(|| Box::pin(sleep(self.patience)));
        if !self.cut {
            ready!(waits.as_mut().poll(cx));
            // From now on nothing waits, not even for a farewell.
            self.cut = true;
            self.stalled.connections.fetch_add(1, Ordering::Relaxed);
        }
        Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, "the client does not take what it is sent")))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Unstalled<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_read(cx, buffer)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Unstalled<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.inner).poll_write(cx, bytes);
        self.judge(cx, written)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.inner).poll_flush(cx);
        self.judge(cx, flushed)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let closed = Pin::new(&mut self.inner).poll_shutdown(cx);
        self.judge(cx, closed)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.inner).poll_write_vectored(cx, parts);
        self.judge(cx, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_peer_that_reads_nothing_is_cut_and_one_that_reads_slowly_is_not() {
        let (near, mut far) = tokio::io::duplex(10);
        let mut near = Unstalled::new(near, Duration::from_secs(30), Arc::default());
        let reads = async {
            let mut byte = [0];
            for _ in 0..20 {
                sleep(Duration::from_secs(20)).await;
                far.read_exact(&mut byte).await.unwrap();
            }
            far
        };
        let (written, far) = tokio::join!(near.write_all(&[0; 30]), reads);
        written.unwrap();
        let started = Instant::now();
        assert_eq!(near.write_all(&[0; 30]).await.unwrap_err().kind(), io::ErrorKind::TimedOut);
        assert_eq!(started.elapsed().as_secs(), 30);
        assert!(near.shutdown().await.is_ok() || near.flush().await.is_err(), "nothing waits for it again");
        assert_eq!((started.elapsed().as_secs(), near.stalled.connections.load(Ordering::Relaxed)), (30, 1));
        drop(far);
    }
}
