//! Answers on their way out: whoever asks for one and then does not take it does not hold what it is made of.
//!
//! What counts is what the other side takes, not how long an answer lasts: a stream that has nothing to say for an hour waits for
//! nobody, and a large answer over a slow line goes on. Only a connection whose system buffer is full and stays full is closed.

use std::{
    io::{self, IoSlice},
    os::fd::AsRawFd,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use prometheus::IntCounter;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
    time::{Instant, Sleep},
};

/// Bytes that whoever lets an answer wait has to take in a second: hardly any line is slower, and who takes one segment in a while
/// would hold an answer of a mebibyte for hours.
const LEAST: f64 = 256.0;

/// A connection that fails when what is written to it is not taken: less than 256 bytes a second over `time`, while there is more.
pub(crate) struct Paced {
    stream: TcpStream,
    time: Duration,
    wait: Option<Wait>,
    given_up: IntCounter,
}

/// A write that waits for room in the system's buffer.
struct Wait {
    look: Pin<Box<Sleep>>,
    /// Bytes in the buffer that the other side had not acknowledged at the last look; `None` if that cannot be known.
    unsent: Option<u64>,
}

impl Paced {
    /// `stream`, given up (and counted) when its other side takes too little of what waits in `time`.
    pub(crate) fn new(stream: TcpStream, time: Duration, given_up: IntCounter) -> Self {
        Self { stream, time, wait: None, given_up }
    }

    /// The outcome of a write; while it waits, an alarm looks after it.
    fn watched<T>(&mut self, outcome: Poll<io::Result<T>>, cx: &mut Context<'_>) -> Poll<io::Result<T>> {
        if outcome.is_ready() {
            self.wait = None;
            return outcome;
        }
        let Self { stream, time, wait, given_up } = self;
        let wait = wait
            .get_or_insert_with(|| Wait { look: Box::pin(tokio::time::sleep(*time)), unsent: unacknowledged(stream) });
        loop {
            ready!(wait.look.as_mut().poll(cx));
            // The system asks for more only when a third of its buffer is free, which takes a slow line longer than this.
            let left = unacknowledged(stream);
            if !moves(wait.unsent, left, *time) {
                given_up.inc();
                // What is in the buffer would be kept until the other side takes it, or is gone.
                let _ = stream.set_zero_linger();
                return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
            }
            wait.unsent = left;
            wait.look.as_mut().reset(Instant::now() + *time);
        }
    }
}

/// Whether enough was taken in `time`, by what was in the buffer before and what is left.
fn moves(before: Option<u64>, left: Option<u64>, time: Duration) -> bool {
    let taken = before.zip(left).map_or(0, |(before, left)| before.saturating_sub(left));
    taken > 0 && taken as f64 >= LEAST * time.as_secs_f64()
}

/// Bytes that were written to the connection and that the other side has not acknowledged.
fn unacknowledged(stream: &TcpStream) -> Option<u64> {
    let mut bytes: libc::c_int = 0;
    // SAFETY: the descriptor is open as long as the stream is, and this request (SIOCOUTQ of tcp(7)) writes one int.
    let outcome = unsafe { libc::ioctl(stream.as_raw_fd(), libc::TIOCOUTQ, &raw mut bytes) };
    (outcome == 0).then(|| u64::try_from(bytes).ok()).flatten()
}

impl AsyncRead for Paced {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buffer)
    }
}

impl AsyncWrite for Paced {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let outcome = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.watched(outcome, cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let outcome = Pin::new(&mut self.stream).poll_write_vectored(cx, slices);
        self.watched(outcome, cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_moves_slowly_moves_and_what_drips_does_not() {
        let time = Duration::from_secs(20);
        assert!(moves(Some(100_000), Some(90_000), time));
        assert!(!moves(Some(100_000), Some(100_000), time));
        assert!(!moves(Some(100_000), Some(98_540), time), "a segment");
        assert!(!moves(None, None, time), "what cannot be known counts as nothing");
    }

    #[tokio::test]
    async fn what_the_other_side_has_not_taken_is_known() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (ours, theirs) = tokio::join!(TcpStream::connect(listener.local_addr().unwrap()), listener.accept());
        let (ours, (theirs, _)) = (ours.unwrap(), theirs.unwrap());
        assert_eq!(unacknowledged(&ours), Some(0));
        let mut written = 0;
        // Nobody reads, so there is an end to what the other side acknowledges.
        let left = loop {
            written += ours.try_write(&[0; 65_536]).unwrap_or_default() as u64;
            match unacknowledged(&ours).unwrap() {
                0 => tokio::task::yield_now().await,
                left => break left,
            }
        };
        assert!(left <= written, "{left} of {written}");
        drop(theirs);
    }
}
