//! Memory that only the start needed, or only the load of a moment.

use std::time::Duration;

use futures::FutureExt as _;
use tokio::sync::Notify;

/// How long nobody must have asked for anything before memory is given back: what a request freed, the next one takes again, and an
/// answer in somebody's cache may live for a second.
const QUIET: Duration = Duration::from_secs(2);

/// Gives back to the system what was used and freed. Describing the routes for the OpenAPI document takes several times as much
/// memory as all that stays, and the C library keeps what lies between things that are still used, for it cannot know that the
/// process will never need so much again. Another allocator than the C library's has nothing there, and gives back by itself.
pub(crate) fn give_back() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    // SAFETY: it takes no pointer, and touches only memory that is free, under the allocator's own locks.
    unsafe {
        libc::malloc_trim(0);
    }
}

/// Knows when requests come, and gives memory back when there were some and then none for a while: it lies between what still is
/// used, and a load leaves as much of it as the service needs at all. Never while requests come, which would have to wait; and a
/// service that nobody asks anything sleeps.
#[derive(Default)]
pub(crate) struct Quiet(Notify);

impl Quiet {
    /// A request has come. It costs next to nothing.
    pub(crate) fn disturb(&self) {
        self.0.notify_one();
    }

    /// Gives back, and never ends.
    pub(crate) async fn keep(&self) {
        self.keep_with(QUIET, give_back).await;
    }

    async fn keep_with(&self, quiet: Duration, mut give_back: impl FnMut()) {
        loop {
            self.0.notified().await;
            loop {
                tokio::time::sleep(quiet).await;
                // Many disturbances are one, which waits here to be noticed.
                if self.0.notified().now_or_never().is_none() {
                    break;
                }
            }
            give_back();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn memory_is_given_back_once_after_each_load() {
        let quiet = Quiet::default();
        let (given, mut seen) = tokio::sync::mpsc::unbounded_channel();
        let keep = quiet.keep_with(Duration::from_millis(1), || given.send(()).unwrap());
        let load = async {
            for _ in 0..3 {
                quiet.disturb();
                quiet.disturb();
                seen.recv().await.unwrap();
            }
            seen.try_recv().is_err()
        };
        tokio::select! {
            () = keep => unreachable!(),
            once = load => assert!(once, "it was given back without a request"),
        }
    }
}
