//! Coarse time-outs. A timer per wait costs more than the rest of a request's bookkeeping, so each connection has one
//! deadline in a cell, and one task per worker looks at all of them four times a second, if there are any.

use std::{
    cell::{Cell, Ref, RefCell},
    rc::{Rc, Weak},
    task::{Context, Waker},
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use jiff::{Timestamp, fmt::rfc2822::DateTimePrinter};
use tokio::sync::Notify;

const TICK: Duration = Duration::from_millis(250);
const NEVER: u64 = u64::MAX;

/// A worker's coarse clock.
#[derive(Debug)]
pub(super) struct Clock {
    started: Instant,
    /// In ticks since `started`.
    now: Cell<u64>,
    watches: RefCell<Vec<Weak<Inner>>>,
    first: Notify,
    /// The tick it was made in, and its text.
    date: RefCell<(u64, String)>,
}

#[derive(Debug)]
struct Inner {
    deadline: Cell<u64>,
    waker: RefCell<Option<Waker>>,
}

/// One connection's deadline.
#[derive(Debug)]
pub(super) struct Watch(Rc<Inner>);

impl Clock {
    pub fn new() -> Self {
        Self {
            started: Instant::now(),
            now: Cell::new(0),
            watches: RefCell::default(),
            first: Notify::new(),
            date: RefCell::new((NEVER, String::new())),
        }
    }

    /// A deadline of its own for one connection's task.
    pub fn watch(&self) -> Watch {
        let inner = Rc::new(Inner { deadline: Cell::new(NEVER), waker: RefCell::new(None) });
        let mut watches = self.watches.borrow_mut();
        if watches.is_empty() {
            self.update();
            self.first.notify_one();
        }
        watches.push(Rc::downgrade(&inner));
        Watch(inner)
    }

    fn update(&self) {
        self.now.set(u64::try_from(self.started.elapsed().as_millis() / TICK.as_millis()).unwrap_or(NEVER - 1));
    }

    /// Wakes every connection, so that it looks at what has changed.
    pub fn wake_all(&self) {
        self.watches.borrow().iter().filter_map(Weak::upgrade).for_each(|watch| watch.wake());
    }

    /// The time of the last tick.
    pub fn instant(&self) -> Instant {
        self.started + TICK.saturating_mul(u32::try_from(self.now.get()).unwrap_or(u32::MAX))
    }

    /// The wall clock's time for a `Date` field (RFC 9110, 5.6.7), as of the last tick: to ask for it in each response costs more
    /// than to write it.
    pub fn date(&self) -> Ref<'_, str> {
        let now = self.now.get();
        if self.date.borrow().0 != now {
            let seconds = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
            let seconds = i64::try_from(seconds).ok().and_then(|now| Timestamp::from_second(now).ok());
            let text = DateTimePrinter::new().timestamp_to_rfc9110_string(&seconds.unwrap_or_default());
            self.date.replace((now, text.unwrap_or_default()));
        }
        Ref::map(self.date.borrow(), |(_, text)| text.as_str())
    }

    /// Runs for as long as the worker does; sleeps while there are no connections and `each_tick` says that it has nothing
    /// left to do.
    pub async fn run(&self, each_tick: impl Fn(Instant) -> bool) {
        let mut needed = false;
        loop {
            if !needed && self.watches.borrow().is_empty() {
                self.first.notified().await;
            }
            tokio::time::sleep(TICK).await;
            self.update();
            needed = each_tick(self.instant());
            let now = self.now.get();
            self.watches.borrow_mut().retain(|watch| match watch.upgrade() {
                Some(watch) => {
                    if watch.deadline.get() <= now {
                        watch.wake();
                    }
                    true
                }
                None => false,
            });
        }
    }

    /// Sets the deadline, rounded up to the next tick but one.
    pub fn set(&self, watch: &Watch, after: Duration) {
        let ticks = after.as_millis().div_ceil(TICK.as_millis()) + 1;
        watch.0.deadline.set(self.now.get().saturating_add(u64::try_from(ticks).unwrap_or(NEVER)));
    }

    /// Whether the deadline has passed.
    pub fn expired(&self, watch: &Watch) -> bool {
        watch.0.deadline.get() <= self.now.get()
    }
}

impl Watch {
    /// Remembers whom to wake.
    pub fn arm(&self, cx: &Context<'_>) {
        let mut waker = self.0.waker.borrow_mut();
        match &mut *waker {
            Some(waker) => waker.clone_from(cx.waker()),
            None => *waker = Some(cx.waker().clone()),
        }
    }

    /// Wakes whoever is remembered.
    pub fn wake(&self) {
        self.0.wake();
    }

    /// There is no deadline.
    pub fn clear(&self) {
        self.0.deadline.set(NEVER);
    }
}

impl Inner {
    fn wake(&self) {
        if let Some(waker) = &*self.waker.borrow() {
            waker.wake_by_ref();
        }
    }
}
