//! Services whose last pod may be gone until somebody asks for one.

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicUsize, Ordering},
};

use tokio::sync::{Notify, futures::Notified};

/// How many of those who have waited may be on their way to each endpoint before it has begun to answer them: a pod that has
/// just started is not buried under everything at once.
const AT_ONCE: usize = 64;

/// A Service whose autoscaler may take the last pod away (`minReplicas: 0`). Who asks for it then waits here, and whoever
/// scales it is told. Shared by all workers, and by all clusters of the Service; nobody looks at it while there are endpoints.
#[derive(Debug)]
pub struct Sleeper {
    service: Arc<str>,
    waiting: AtomicUsize,
    /// Those who had their turn and have not been answered yet.
    released: AtomicUsize,
    /// Somebody asked who cannot wait.
    knocked: AtomicBool,
    /// How often it has come to be wanted.
    times: AtomicUsize,
    /// There are other endpoints, or the Service does not sleep any more.
    changed: Notify,
    /// Somebody's turn is over.
    free: Notify,
    /// Tells whoever scales.
    asked: Arc<Notify>,
}

impl Sleeper {
    /// The Service `namespace/name`; `asked` is notified when somebody wants it.
    pub fn new(service: Arc<str>, asked: Arc<Notify>) -> Self {
        let [waiting, released, times] = [(); 3].map(|()| AtomicUsize::new(0));
        let (changed, free) = (Notify::new(), Notify::new());
        Self { service, waiting, released, knocked: AtomicBool::new(false), times, changed, free, asked }
    }

    /// `namespace/name`.
    pub fn service(&self) -> &Arc<str> {
        &self.service
    }

    /// Whether somebody waits, or has asked and could not wait.
    pub fn is_wanted(&self) -> bool {
        self.waiting.load(Ordering::Relaxed) > 0 || self.knocked.load(Ordering::Relaxed)
    }

    /// How often it has come to be wanted: another number is another time.
    pub fn times(&self) -> usize {
        self.times.load(Ordering::Relaxed)
    }

    fn ask(&self) {
        self.times.fetch_add(1, Ordering::Relaxed);
        self.asked.notify_one();
    }

    /// Pods are on their way: who could not wait has to ask again.
    pub fn heard(&self) {
        self.knocked.store(false, Ordering::Relaxed);
    }

    /// Somebody asks who will not wait: a datagram.
    pub(crate) fn knock(&self) {
        if !self.knocked.swap(true, Ordering::Relaxed) {
            self.ask();
        }
    }

    /// Takes one of `limit` places for those who wait; [`Sleeper::leave`] gives it back.
    pub(crate) fn enter(&self, limit: usize) -> bool {
        let more = |now| (now < limit).then_some(now + 1);
        let before = self.waiting.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more);
        if before == Ok(0) {
            self.ask();
        }
        before.is_ok()
    }

    /// Gives a place back.
    pub(crate) fn leave(&self) {
        self.waiting.fetch_sub(1, Ordering::Relaxed);
    }

    /// A turn to ask one of so many endpoints, if one is free.
    pub(crate) fn turn(self: &Arc<Self>, endpoints: usize) -> Option<Turn> {
        let most = AT_ONCE.saturating_mul(endpoints);
        let taken =
            self.released.fetch_update(Ordering::AcqRel, Ordering::Acquire, |now| (now < most).then_some(now + 1));
        taken.is_ok().then(|| Turn(self.clone()))
    }

    /// Waits for other endpoints.
    pub(crate) fn changed(&self) -> Notified<'_> {
        self.changed.notified()
    }

    /// Waits for a turn to be over.
    pub(crate) fn free(&self) -> Notified<'_> {
        self.free.notified()
    }

    /// Everybody who waits looks again.
    pub(crate) fn wake(&self) {
        self.changed.notify_waiters();
    }
}

/// Of those who have waited, one that may ask an endpoint; its end is the next one's turn.
#[derive(Debug)]
pub(crate) struct Turn(Arc<Sleeper>);

impl Drop for Turn {
    fn drop(&mut self) {
        self.0.released.fetch_sub(1, Ordering::AcqRel);
        self.0.free.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sleeper() -> Arc<Sleeper> {
        Arc::new(Sleeper::new("shop/web".into(), Arc::default()))
    }

    #[test]
    fn as_many_wait_as_may_and_whoever_leaves_makes_room() {
        let sleeper = sleeper();
        assert!(!sleeper.is_wanted());
        assert!(sleeper.enter(2) && sleeper.enter(2) && !sleeper.enter(2));
        sleeper.leave();
        assert!(sleeper.is_wanted() && sleeper.enter(2));
    }

    #[test]
    fn who_knocks_is_heard_once() {
        let sleeper = sleeper();
        sleeper.knock();
        assert!(sleeper.is_wanted());
        sleeper.heard();
        assert!(!sleeper.is_wanted());
    }

    #[test]
    fn each_endpoint_is_asked_by_so_many_at_once_and_no_endpoint_by_nobody() {
        let sleeper = sleeper();
        assert!(sleeper.turn(0).is_none());
        let mut turns: Vec<_> = std::iter::from_fn(|| sleeper.turn(2)).collect();
        assert_eq!(turns.len(), 2 * AT_ONCE);
        turns.pop();
        assert!(sleeper.turn(2).is_some());
    }
}
