//! A connection on which nothing has come or gone for a long time is given up: whoever held it has forgotten it, or is gone without a
//! word.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::Instant,
};

use super::Patience;

/// A stream whose reads end with an error when for some time nothing was read and nothing was written.
pub(crate) struct Idle<S> {
    inner: S,
    patience: Patience,
    used: Instant,
}

impl<S> Idle<S> {
    /// Over another stream.
    pub(crate) fn new(inner: S, patience: Duration) -> Self {
        Self { inner, patience: Patience::new(patience), used: Instant::now() }
    }

    fn wrote(&mut self, written: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        if written.is_ready() {
            self.used = Instant::now();
        }
        written
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Idle<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let read = Pin::new(&mut self.inner).poll_read(cx, buffer);
        if read.is_ready() {
            self.used = Instant::now();
            return read;
        }
        let used = self.used;
        self.patience
            .poll(cx, || Some(used))
            .map(|()| Err(io::Error::new(io::ErrorKind::TimedOut, "nothing has come or gone for a long time")))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Idle<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.inner).poll_write(cx, bytes);
        self.wrote(written)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.inner).poll_write_vectored(cx, parts);
        self.wrote(written)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }
}

#[cfg(test)]
mod tests {
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        time::sleep,
    };

    use super::*;

    const HOUR: Duration = Duration::from_secs(60 * 60);

    #[tokio::test(start_paused = true)]
    async fn a_connection_lasts_while_anything_comes_or_goes() {
        let (near, mut far) = tokio::io::duplex(10);
        let (mut from, mut to) = tokio::io::split(Idle::new(near, 4 * HOUR));
        let started = Instant::now();
        let uses = async {
            let mut byte = [0];
            for _ in 0..3 {
                sleep(3 * HOUR).await;
                far.write_all(b"x").await.unwrap();
                sleep(3 * HOUR).await;
                to.write_all(b"y").await.unwrap();
                far.read_exact(&mut byte).await.unwrap();
            }
        };
        let reads = async {
            let mut byte = [0];
            for _ in 0..3 {
                from.read_exact(&mut byte).await.unwrap();
            }
            from.read_exact(&mut byte).await.unwrap_err().kind()
        };
        let (kind, ()) = tokio::join!(reads, uses);
        assert_eq!((kind, started.elapsed()), (io::ErrorKind::TimedOut, (6 * 3 + 4) * HOUR));
    }
}
