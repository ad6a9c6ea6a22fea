//! A stream of HTTP/2 whose client does not take what it is sent is reset, and the connection goes on.
//!
//! Flow control is each stream's own: a client may read the others of a connection and leave one. The HTTP library then waits for its
//! window, for ever, and asks the answer for nothing more. So the answer notes when it gave something, and forgets it when it is asked
//! for more: what it gave before has gone out then. Each stream has a task of its own, which looks at that note and ends when it is too
//! old; to drop a stream is to reset it.

use std::{
    future::poll_fn,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt;
use tokio::time::Instant;

use super::{Patience, Stalled};
use crate::http::{Answer, BrokenOff};

/// What is given to the HTTP library at once, which is what a stream that is left can hold there twice: a frame of the usual size.
const FRAME: usize = 16 * 1024;

tokio::task_local! {
    static CURRENT: Arc<Given>;
}

/// When what was given last and not taken was given.
#[derive(Debug)]
struct Given {
    start: Instant,
    /// Milliseconds after the start, and one more; 0 is that everything was taken.
    since: AtomicU64,
}

impl Given {
    fn note(&self, taken: bool) {
        let now = u64::try_from(self.start.elapsed().as_millis()).unwrap_or(u64::MAX - 1) + 1;
        self.since.store(if taken { 0 } else { now }, Ordering::Relaxed);
    }

    fn since(&self) -> Option<Instant> {
        let since = self.since.load(Ordering::Relaxed).checked_sub(1)?;
        self.start.checked_add(Duration::from_millis(since))
    }
}

/// Runs the streams of a connection, each as a task.
#[derive(Clone, Debug)]
pub(crate) struct Streams {
    patience: Duration,
    stalled: Arc<Stalled>,
}

impl Streams {
    /// Streams that are reset when for some time nothing was taken of what they gave; that is counted.
    pub(crate) fn new(patience: Duration, stalled: Arc<Stalled>) -> Self {
        Self { patience, stalled }
    }
}

impl<F: Future<Output: Send> + Send + 'static> hyper::rt::Executor<F> for Streams {
    fn execute(&self, stream: F) {
        let Self { patience, stalled } = self.clone();
        tokio::spawn(async move {
            let given = Arc::new(Given { start: Instant::now(), since: AtomicU64::new(0) });
            let mut patience = Patience::new(patience);
            tokio::select! {
                biased;
                _ = CURRENT.scope(given.clone(), stream) => {}
                () = poll_fn(|cx| patience.poll(cx, || given.since())) => {
                    stalled.streams.fetch_add(1, Ordering::Relaxed);
                }
            }
        });
    }
}

/// An answer that notes what its client takes, where it is one of several streams.
pub(crate) fn tracked(answer: Answer) -> Answer {
    let Ok(given) = CURRENT.try_with(Arc::clone) else { return answer };
    answer.map(|body| match body.size_hint().exact() {
        Some(..=LITTLE) => body,
        _ => Tracked { inner: body, rest: Bytes::new(), given }.boxed_unsync(),
    })
}

/// What fits into a frame is given whole.
const LITTLE: u64 = FRAME as u64;

struct Tracked {
    inner: crate::http::Body,
    /// What has been made and not given.
    rest: Bytes,
    given: Arc<Given>,
}

impl Body for Tracked {
    type Data = Bytes;
    type Error = BrokenOff;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BrokenOff>>> {
        self.given.note(true);
        while self.rest.is_empty() {
            let frame = match ready!(Pin::new(&mut self.inner).poll_frame(cx)) {
                None => return Poll::Ready(None),
                Some(Err(error)) => return Poll::Ready(Some(Err(error))),
                Some(Ok(frame)) => frame,
            };
            match frame.into_data() {
                Ok(data) => self.rest = data,
                Err(trailers) => return Poll::Ready(Some(Ok(trailers))),
            }
        }
        let length = self.rest.len().min(FRAME);
        let data = self.rest.split_to(length);
        self.given.note(false);
        Poll::Ready(Some(Ok(Frame::data(data))))
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty() && self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let (inner, rest) = (self.inner.size_hint(), self.rest.len() as u64);
        let mut hint = SizeHint::new();
        if let Some(upper) = inner.upper() {
            hint.set_upper(upper.saturating_add(rest));
        }
        hint.set_lower(inner.lower().saturating_add(rest));
        hint
    }
}
