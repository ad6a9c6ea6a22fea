//! Runs one controller: changes make keys due, and each due key is reconciled, one after the other.

use std::{panic::AssertUnwindSafe, sync::Arc, time::Duration};

use futures::FutureExt;
use tokio::{sync::broadcast::error::RecvError, time::Instant};

use crate::{
    cache::{Cache, Changed, Key},
    queue::Queue,
};

/// What a reconciliation could not do; it is tried again later.
pub type Error = Box<dyn std::error::Error + Send + Sync>;

/// A controller.
pub trait Controller: Send + Sync + 'static {
    /// For logs.
    const NAME: &'static str;

    /// The keys that a change may concern.
    fn concerned(&self, change: &Changed) -> Vec<Key>;

    /// Brings what there is nearer to what is wanted. Returns when to look again by itself, if it must.
    fn reconcile(&self, key: &Key) -> impl Future<Output = Result<Option<Duration>, Error>> + Send;
}

/// Runs until it is dropped. A failure or a panic concerns its key alone, which is tried again with growing waits.
pub async fn run_controller<C: Controller>(controller: C, cache: Arc<Cache>) {
    let mut changes = cache.changes();
    let mut queue: Queue<Key, Instant> = Queue::new();
    let add = |queue: &mut Queue<Key, Instant>, change: &Changed| {
        let now = Instant::now();
        controller.concerned(change).into_iter().for_each(|key| queue.add(key, now));
    };
    cache.everything().iter().for_each(|change| add(&mut queue, change));
    loop {
        while let Ok(change) = changes.try_recv() {
            add(&mut queue, &change);
        }
        if let Some(key) = queue.next(Instant::now()) {
            let wait = reconcile(&controller, &key, &mut queue).await;
            if let Some(wait) = wait {
                queue.add(key, Instant::now() + wait);
            }
            continue;
        }
        let due = queue.next_time();
        tokio::select! {
            change = changes.recv() => match change {
                Ok(change) => add(&mut queue, &change),
                // Missed changes are no loss: everything is looked at again.
                Err(RecvError::Lagged(_)) => cache.everything().iter().for_each(|change| add(&mut queue, change)),
                Err(RecvError::Closed) => return,
            },
            () = async { tokio::time::sleep_until(due.unwrap_or_else(Instant::now)).await }, if due.is_some() => {}
        }
    }
}

async fn reconcile<C: Controller>(controller: &C, key: &Key, queue: &mut Queue<Key, Instant>) -> Option<Duration> {
    let error: Error = match AssertUnwindSafe(controller.reconcile(key)).catch_unwind().await {
        Ok(Ok(again)) => {
            queue.succeeded(key);
            return again;
        }
        Ok(Err(error)) => error,
        Err(_) => "it panicked".into(),
    };
    // A conflict only means that the copy was a moment old: the change that made it so is on its way.
    let routine = error.downcast_ref::<kube::Error>().is_some_and(is_conflict);
    if !routine {
        tracing::warn!("{} controller: {}/{}: {error}", C::NAME, key.namespace, key.name);
    }
    Some(queue.failed(key))
}

/// Whether the API said 409.
pub fn is_conflict(error: &kube::Error) -> bool {
    matches!(error, kube::Error::Api(status) if status.code == 409)
}

/// Success if the object is gone already.
pub fn gone_is_fine<T>(result: Result<T, kube::Error>) -> Result<(), kube::Error> {
    match result {
        Err(kube::Error::Api(status)) if status.code == 404 => Ok(()),
        Err(error) => Err(error),
        Ok(_) => Ok(()),
    }
}
