//! Work that is done again whenever something changes that it depends on.

use std::{
    sync::{Arc, Weak},
    time::Duration,
};

use crate::{registry::Registry, status::Failure, store::Watcher};

/// How soon what the store refused is tried again: at first, doubled each time, and at most.
const AGAIN: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(30));

/// Does some work now, and again whenever one of the watchers tells of a change, until the registry is gone. What fails is tried again,
/// and said under the name of the work where it fails more than once in a row: a moment later most of it is possible.
pub(crate) async fn run<F>(
    registry: Weak<Registry>,
    name: &str,
    watchers: fn(&Registry) -> Vec<Watcher>,
    work: impl Fn(Arc<Registry>) -> F,
) where
    F: Future<Output = Result<(), Failure>>,
{
    let Some(closed) = registry.upgrade().map(|registry| registry.closed()) else { return };
    tokio::pin!(closed);
    let mut pause = AGAIN.0;
    loop {
        let Some(registry) = registry.upgrade() else { return };
        // Before looking, so that no change falls in between.
        let mut watchers = watchers(&registry);
        let again = match work(registry).await {
            Ok(()) => {
                pause = AGAIN.0;
                None
            }
            Err(failure) => {
                if pause > AGAIN.0 {
                    tracing::warn!("{name}: {}; trying again", failure.message);
                }
                let again = pause;
                pause = AGAIN.1.min(pause * 2);
                Some(again)
            }
        };
        let changes = watchers.iter_mut().map(|watcher| Box::pin(watcher.changed()));
        tokio::select! {
            _ = futures::future::select_all(changes) => {}
            () = tokio::time::sleep(again.unwrap_or_default()), if again.is_some() => {}
            () = &mut closed => return,
        }
    }
}
