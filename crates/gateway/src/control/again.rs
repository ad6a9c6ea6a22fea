//! When something that failed is tried again: ever more seldom.

use std::time::Duration;

use tokio::time::Instant;

/// The next time, if there is to be one, however often whoever waits for it is woken until then.
#[derive(Debug)]
pub(super) struct Again {
    /// The first pause and the longest.
    limits: (Duration, Duration),
    pause: Duration,
    at: Option<Instant>,
}

impl Again {
    /// Nothing has failed; after it has, the first pause and the longest are these.
    pub fn new(limits: (Duration, Duration)) -> Self {
        Self { limits, pause: limits.0, at: None }
    }

    /// Something else than before has failed: it is tried again after the first pause.
    pub fn first(&mut self, now: Instant) {
        self.pause = self.limits.0;
        self.at = Some(now + self.pause);
    }

    /// The same has failed again: if it was due, the next pause is twice as long.
    pub fn later(&mut self, now: Instant) {
        match self.at {
            None => self.first(now),
            Some(at) if at <= now => {
                self.pause = self.limits.1.min(self.pause * 2);
                self.at = Some(now + self.pause);
            }
            Some(_) => {}
        }
    }

    /// All is well.
    pub fn never(&mut self) {
        self.at = None;
    }

    /// Whether it is time.
    pub fn is_due(&self, now: Instant) -> bool {
        self.at.is_some_and(|at| at <= now)
    }

    /// Resolves when it is.
    pub async fn due(&self) {
        match self.at {
            Some(at) => tokio::time::sleep_until(at).await,
            None => std::future::pending().await,
        }
    }
}
