//! The gateway's own figures as the metrics APIs `custom.metrics.k8s.io` and `external.metrics.k8s.io`, which autoscalers ask: how
//! much is asked of Services, routes, Gateways and pods, without an adapter in between.
//!
//! The workers count (`observe`); here their counters are compared with what they were some time ago. Samples of the past are
//! taken while somebody has asked in the last minutes, and cost nothing otherwise; who asks after a pause hears at first that
//! nothing is known, which an autoscaler takes as a reason to change nothing.

mod answer;
mod directory;
mod history;
mod measure;

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use arc_swap::ArcSwapOption;
use jiff::Timestamp;
use tokio::{
    sync::{Mutex, Notify},
    time::sleep,
};
use tokio_util::sync::CancellationToken;

use crate::{control::Snapshot, proxy::Proxy};
use history::{History, Sample};

/// The groups and versions that [`Demand::answer`] answers for, the preferred version of each group first.
pub const SERVED: [(&str, &str); 3] =
    [(answer::CUSTOM, "v1beta2"), (answer::CUSTOM, "v1beta1"), (answer::EXTERNAL, answer::EXTERNAL_VERSION)];

/// Between two samples while somebody asks.
const TICK: Duration = Duration::from_secs(2);
/// An answer may be this old: many ask at the same time.
const FRESH: Duration = Duration::from_millis(500);
/// Samples are taken for so long after the last question.
const PATIENCE: Duration = Duration::from_secs(300);

/// What is asked of whom, by a proxy's counters.
pub struct Demand {
    proxy: Arc<Proxy>,
    clock: Box<dyn Fn() -> Instant + Send + Sync>,
    /// What there is that figures can be of.
    objects: ArcSwapOption<Snapshot>,
    state: Mutex<State>,
    asked: Notify,
}

#[derive(Debug)]
struct State {
    history: History,
    /// When the newest sample was taken, by the wall clock.
    taken: Timestamp,
    /// When somebody last asked.
    asked: Option<Instant>,
}

impl Demand {
    /// Of a proxy that has just been started, by a clock that windows are measured with.
    pub fn new(proxy: Arc<Proxy>, clock: impl Fn() -> Instant + Send + Sync + 'static) -> Self {
        let state = State { history: History::new(clock()), taken: Timestamp::now(), asked: None };
        let (clock, objects) = (Box::new(clock), ArcSwapOption::empty());
        Self { proxy, clock, objects, state: Mutex::new(state), asked: Notify::new() }
    }

    /// From now on there are these objects. Before the first time, every question is answered with 503.
    pub fn objects(&self, snapshot: &Arc<Snapshot>) {
        self.objects.store(Some(snapshot.clone()));
    }

    /// Takes samples while they are asked for, until `stop`.
    pub async fn run(&self, stop: CancellationToken) {
        while stop.run_until_cancelled(self.asked.notified()).await.is_some() {
            while stop.run_until_cancelled(sleep(TICK)).await.is_some() {
                if !self.tick().await {
                    break;
                }
            }
        }
    }

    /// Takes a sample for whoever asks next; `false` if nobody has asked for long.
    async fn tick(&self) -> bool {
        let mut state = self.state.lock().await;
        let now = (self.clock)();
        let is_asked = state.asked.is_some_and(|asked| now.saturating_duration_since(asked) <= PATIENCE);
        if is_asked {
            self.refresh(&mut state, TICK / 2).await;
        }
        is_asked
    }

    /// Takes a sample unless the newest is younger than this.
    async fn refresh(&self, state: &mut State, fresh: Duration) {
        if state.history.age((self.clock)()) >= fresh {
            let figures = self.proxy.figures().await;
            state.history.push(Sample::of(&figures, (self.clock)()));
            state.taken = Timestamp::now();
        }
    }

    /// Says what the newest sample comes to.
    async fn look<R>(&self, read: impl FnOnce(&History, Timestamp) -> R) -> R {
        let mut state = self.state.lock().await;
        state.asked = Some((self.clock)());
        self.asked.notify_one();
        self.refresh(&mut state, FRESH).await;
        read(&state.history, state.taken)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::*;
    use crate::proxy::Options;
    use history::{Unknown, Whose};

    #[tokio::test]
    async fn samples_are_taken_until_nobody_has_asked_for_long() {
        let proxy = Arc::new(Proxy::start(Options { workers: 1, ..Options::default() }).unwrap());
        let (seconds, start) = (Arc::<AtomicU64>::default(), Instant::now());
        let passed = seconds.clone();
        let demand = Demand::new(proxy, move || start + Duration::from_secs(passed.load(Ordering::SeqCst)));
        let pass = |time| _ = seconds.fetch_add(time, Ordering::SeqCst);
        let minute = async || {
            let change = |history: &History, _| history.change(Duration::from_secs(60), &Whose::Namespace("a"), true);
            demand.look(change).await.map(|change| change.elapsed / 1_000_000_000)
        };
        assert!(!demand.tick().await, "nobody has asked");
        pass(3_600);
        assert_eq!(minute().await, Err(Unknown::TooEarly));
        let is_known = |elapsed: Result<u64, Unknown>| elapsed.is_ok_and(|seconds| seconds.abs_diff(60) <= 6);
        let mut ticks = 0;
        while demand.tick().await {
            pass(TICK.as_secs());
            ticks += 1;
            if ticks == 60 {
                assert!(is_known(minute().await));
            }
        }
        // From the second question on.
        assert_eq!(ticks, 60 + PATIENCE.as_secs() / TICK.as_secs() + 1);
        assert!(is_known(minute().await), "the last sample is not old yet");
        pass(3_600);
        assert_eq!(minute().await, Err(Unknown::TooEarly));
    }
}
