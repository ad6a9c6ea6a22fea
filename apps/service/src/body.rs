//! Bodies on their way in: bounded in size and time.

use std::{
    error::Error,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use axum::body::Body;
use bytes::Bytes;
use http::StatusCode;
use http_body::{Frame, SizeHint};
use tokio::time::{Instant, Sleep};

use crate::problem::Problem;

/// Why a request's body could not be read to its end.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BodyError {
    /// It has more bytes than this.
    #[error("the body has more than {0} bytes")]
    TooLarge(u64),
    /// It did not arrive in the time that a request may take.
    #[error("the body did not arrive in time")]
    TooSlow,
    /// The client broke off, or its chunks are malformed.
    #[error("the body ended before it was complete")]
    Broken,
}

impl BodyError {
    /// The body's error in `error` or in its causes.
    pub fn find<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a Self> {
        let mut next = Some(error);
        while let Some(error) = next {
            if let Some(found) = error.downcast_ref() {
                return Some(found);
            }
            next = error.source();
        }
        None
    }
}

impl From<BodyError> for Problem {
    fn from(error: BodyError) -> Self {
        match error {
            BodyError::TooLarge(_) => Self::too_large(error.to_string()),
            BodyError::TooSlow => Self::of(StatusCode::REQUEST_TIMEOUT).detail(error.to_string()),
            BodyError::Broken => Self::bad_request(error.to_string()),
        }
    }
}

/// A request's body, which fails with a [`BodyError`] past its bounds.
pub(crate) struct Bounded {
    body: Body,
    limit: u64,
    left: u64,
    time: Duration,
    /// Made when the body first makes its reader wait: most bodies arrive with their head.
    deadline: Option<Pin<Box<Sleep>>>,
}

impl Bounded {
    pub(crate) fn new(body: Body, limit: u64, time: Duration) -> Self {
        Self { body, limit, left: limit, time, deadline: None }
    }
}

impl http_body::Body for Bounded {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let this = &mut *self;
        let Poll::Ready(frame) = Pin::new(&mut this.body).poll_frame(cx) else {
            let time = this.time;
            let deadline =
                this.deadline.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(Instant::now() + time)));
            ready!(deadline.as_mut().poll(cx));
            return Poll::Ready(Some(Err(BodyError::TooSlow)));
        };
        let Some(frame) = frame else { return Poll::Ready(None) };
        let Ok(frame) = frame else { return Poll::Ready(Some(Err(BodyError::Broken))) };
        let bytes = frame.data_ref().map_or(0, |data| data.len() as u64);
        match this.left.checked_sub(bytes) {
            Some(left) => this.left = left,
            None => return Poll::Ready(Some(Err(BodyError::TooLarge(this.limit)))),
        }
        Poll::Ready(Some(Ok(frame)))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
