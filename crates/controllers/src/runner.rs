//! Runs one controller: changes make keys due, and each due key is reconciled, one after the other.

use std::{panic::AssertUnwindSafe, sync::Arc, time::Duration};

use futures::FutureExt;
use tokio::{
    sync::broadcast::error::{RecvError, TryRecvError},
    time::Instant,
};

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
        loop {
            match changes.try_recv() {
                Ok(change) => add(&mut queue, &change),
                // Missed changes are no loss: everything is looked at again.
                Err(TryRecvError::Lagged(_)) => cache.everything().iter().for_each(|change| add(&mut queue, change)),
                Err(TryRecvError::Empty) => break,
                Err(TryRecvError::Closed) => return,
            }
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

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use k8s_openapi::api::core::v1::Namespace;
    use kube::runtime::{reflector, watcher::Event};
    use tokio::sync::mpsc;

    use super::*;
    use crate::cache::{BEHIND, tests::namespace};

    /// A controller to which more happens while it is busy for the first time than it can be told.
    struct Busy {
        cache: Arc<Cache>,
        namespaces: Mutex<reflector::store::Writer<Namespace>>,
        seen: mpsc::UnboundedSender<String>,
    }

    impl Busy {
        fn make(&self, name: &str) {
            let made = namespace(name, name);
            self.namespaces.lock().unwrap().apply_watcher_event(&Event::Apply(made.clone()));
            self.cache.announce(Changed::Namespace(Arc::new(made)));
        }
    }

    impl Controller for Busy {
        const NAME: &'static str = "busy";

        fn concerned(&self, change: &Changed) -> Vec<Key> {
            let Changed::Namespace(namespace) = change else { return Vec::new() };
            vec![Key::of(namespace.as_ref())]
        }

        async fn reconcile(&self, key: &Key) -> Result<Option<Duration>, Error> {
            if key.name == "first" && self.cache.namespaces.state().len() == 1 {
                self.make("a missed one");
                (0..BEHIND).for_each(|_| self.cache.announce(Changed::Node));
                self.make("the last one");
            }
            self.seen.send(key.name.clone())?;
            Ok(None)
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_controller_that_fell_behind_while_it_was_busy_looks_at_everything_again() {
        let (store, mut writer) = reflector::store();
        writer.apply_watcher_event(&Event::Apply(namespace("first", "first")));
        let mut cache = Cache::empty();
        cache.namespaces = store;
        let cache = Arc::new(cache);
        let (seen, mut reconciled) = mpsc::unbounded_channel();
        let controller = Busy { cache: cache.clone(), namespaces: Mutex::new(writer), seen };
        let looks = async {
            let mut looks = Vec::new();
            while looks.last().is_none_or(|name| name != "the last one") {
                looks.push(reconciled.recv().await.unwrap());
            }
            looks
        };
        let looks = tokio::select! {
            looks = looks => looks,
            () = run_controller(controller, cache) => Vec::new(),
        };
        // Keys that are due at one time are in the order of their names.
        assert_eq!(looks, ["first", "a missed one", "first", "the last one"]);
    }
}
