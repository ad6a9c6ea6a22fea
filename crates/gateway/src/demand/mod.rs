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
                let mut state = self.state.lock().await;
                let now = (self.clock)();
                if state.asked.is_none_or(|asked| now.saturating_duration_since(asked) > PATIENCE) {
                    break;
                }
                self.refresh(&mut state, TICK / 2).await;
            }
        }
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
