//! Scales what HorizontalPodAutoscalers are for. The decisions are the crate `autoscaling`'s; here they are fed and carried out.
//!
//! A round looks at every autoscaler: it reads the scales of their targets (again only when the target has changed), asks the
//! metrics APIs each question once, decides for each, and writes what changed. A round keeps nothing that the next one needs,
//! but for what upstream keeps in memory, too; `autoscaling::history` says what stands in for that after a restart. Between two
//! rounds those that could rise are looked at early (`autoscaling::early`), and decided for only if they would.

mod demand;
pub(crate) mod figures;
mod forecast;
mod round;
pub(crate) mod target;

use std::{
    collections::HashMap,
    panic::AssertUnwindSafe,
    sync::Arc,
    time::{Duration, Instant},
};

use autoscaling::{
    Moment, Settings,
    conditions::Event,
    decide::{Autoscaler, Decision},
    early,
    history::History,
};
use futures::{FutureExt, StreamExt};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::autoscaling::v2::{HorizontalPodAutoscaler, HorizontalPodAutoscalerStatus as Status};
use kube::{
    Api, Client, ResourceExt,
    api::{Patch, PatchParams},
    runtime::{
        WatchStreamExt,
        reflector::{self, Store},
        watcher::{self, watcher},
    },
};
use serde_json::{Value, json};
use tokio::time::MissedTickBehavior;

use crate::{
    cache::{Cache, Key},
    events::{EventKind, Recorder},
    runner::gone_is_fine,
    served::Served,
};
pub use forecast::Published;

use forecast::Forecasts;
use target::Target;

/// Writes under way at a time.
const AT_ONCE: usize = 16;
/// A status in which only the figures changed is written this often at most: upstream's default period, however short ours is.
const FIGURES_EVERY: Duration = Duration::from_secs(15);

/// The settings of the autoscaler.
#[derive(Clone, Debug, PartialEq)]
pub struct Options {
    /// From one look at everything to the next.
    pub sync_period: Duration,
    /// Whether autoscalers whose count would rise are decided for between two rounds, too.
    pub early_look: bool,
    /// From one look at every VerticalPodAutoscaler to the next.
    pub recommender_interval: Duration,
    /// What holds for all autoscalers.
    pub settings: Settings,
}

impl Default for Options {
    fn default() -> Self {
        let (sync_period, recommender_interval) = (Duration::from_secs(15), Duration::from_secs(60));
        Self { sync_period, early_look: true, recommender_interval, settings: Settings::default() }
    }
}

/// What is remembered of an autoscaler from one round to the next.
#[derive(Debug)]
struct Memory {
    uid: Option<String>,
    history: Option<History>,
    target: Option<Target>,
    /// The status as it was written last, which the watch may not have brought yet.
    status: Option<Status>,
    written: Option<Instant>,
    /// What was warned of lately, and when: as often as upstream's default period has it, however short ours is.
    warned: Vec<(Event, Instant)>,
}

/// Why autoscalers are looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Pass {
    /// Their round is due.
    Round,
    /// Between two rounds: for those that would rise.
    Early,
}

/// Something to write for one autoscaler.
struct Act {
    key: Key,
    object: Arc<HorizontalPodAutoscaler>,
    autoscaler: Autoscaler,
    old: Status,
    todo: Todo,
}

enum Todo {
    /// A decision, for this target.
    Decided(Box<Decision>, Target),
    /// A status and an event, for there is no scale.
    Unreadable(Box<Status>, Event),
}

/// What was written.
struct Done {
    key: Key,
    autoscaler: Autoscaler,
    status: Option<Status>,
    /// From which count to which.
    scaled: Option<(i32, i32)>,
    warned: Vec<Event>,
}

struct Loop {
    client: Client,
    cache: Arc<Cache>,
    served: Served,
    options: Options,
    recorder: Recorder,
    objects: Store<HorizontalPodAutoscaler>,
    memory: HashMap<Key, Memory>,
    forecasts: Forecasts,
    start: Instant,
    /// When this round was due.
    due: Instant,
}

/// Runs until it is dropped.
pub(crate) async fn run(client: Client, cache: Arc<Cache>, served: Served, options: Options, published: Published) {
    let (objects, writer) = reflector::store();
    let api = Api::<HorizontalPodAutoscaler>::all(client.clone());
    let watch = watcher(api, watcher::Config::default()).default_backoff().reflect(writer);
    let watch = watch.for_each(|event| async move {
        if let Err(error) = event {
            tracing::warn!("watch horizontalpodautoscalers: {error}");
        }
    });
    let recorder = Recorder::new(client.clone(), "horizontal-pod-autoscaler");
    let (memory, start) = (HashMap::new(), Instant::now());
    let (period, early_look) = (options.sync_period, options.early_look);
    let forecasts = Forecasts::new(client.clone(), period, published);
    let mut work = Loop { client, cache, served, options, recorder, objects, memory, forecasts, start, due: start };
    let rounds = async {
        let mut ticks = tokio::time::interval(period);
        // A round that takes longer than the period is followed by a whole period of rest.
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let round = ticks.tick().await.into_std();
            work.contained(Pass::Round, round).await;
            for after in early::times(period).filter(|_| early_look) {
                let due = round + after;
                // Where nothing can rise, nothing is waited for but the next round.
                if Instant::now() > due || !work.may_any_rise() {
                    continue;
                }
                tokio::time::sleep_until(due.into()).await;
                work.contained(Pass::Early, due).await;
            }
        }
    };
    tokio::join!(watch, rounds);
}

impl Loop {
    /// Now. Periods and windows are counted from when rounds were due: a step that took a moment to be written would otherwise
    /// still be within its period when the next round comes a period later, and each step would take two rounds.
    fn now(&self) -> Moment {
        let since = self.due.saturating_duration_since(self.start);
        let steady = SignedDuration::try_from(since).unwrap_or(SignedDuration::MAX);
        Moment { wall: Timestamp::now(), steady }
    }

    /// One pass, which was due at this time. A panic ends the pass and nothing else.
    async fn contained(&mut self, pass: Pass, due: Instant) {
        self.due = due;
        if AssertUnwindSafe(self.round(pass)).catch_unwind().await.is_err() {
            tracing::error!("horizontal-pod-autoscaler: a round panicked; the next one looks at everything again");
        }
    }

    /// Whether there is an autoscaler that an early look may raise.
    fn may_any_rise(&self) -> bool {
        self.objects.state().iter().any(|object| self.may_rise(object))
    }

    /// Whether it had its first round, and its count is below the most that it may be as far as is known.
    fn may_rise(&self, object: &HorizontalPodAutoscaler) -> bool {
        let most = object.spec.as_ref().map_or(0, |spec| spec.max_replicas);
        let below = |memory: &Memory| memory.target.as_ref().is_none_or(|target| target.scale.replicas < most);
        let known = self.memory.get(&Key::of(object)).filter(|memory| memory.history.is_some());
        object.metadata.deletion_timestamp.is_none() && known.is_some_and(below)
    }

    /// Looks at every autoscaler once.
    async fn round(&mut self, pass: Pass) {
        let objects = self.objects.state();
        let here: HashMap<Key, Option<String>> =
            objects.iter().map(|object| (Key::of(object.as_ref()), object.uid())).collect();
        self.memory.retain(|key, memory| here.get(key).is_some_and(|uid| *uid == memory.uid));
        if pass == Pass::Round {
            self.forecasts.begin(&here);
        }
        let acts = if objects.is_empty() { Vec::new() } else { self.decide(objects.clone(), pass).await };
        if pass == Pass::Round {
            self.forecasts.publish();
        }
        let this = &*self;
        let done: Vec<Done> =
            futures::stream::iter(acts).map(|act| this.act(act)).buffer_unordered(AT_ONCE).collect().await;
        let now = self.now();
        for done in done {
            let Some(memory) = self.memory.get_mut(&done.key) else { continue };
            if let (Some((from, to)), Some(history)) = (done.scaled, &mut memory.history) {
                done.autoscaler.scaled(history, from, to, now);
                memory.target = None;
            }
            memory.warned.retain(|(_, at)| at.elapsed() < FIGURES_EVERY);
            memory.warned.extend(done.warned.into_iter().map(|event| (event, Instant::now())));
            if done.status.is_some() {
                memory.status = done.status;
                memory.written = Some(Instant::now());
            }
        }
        for object in objects.iter().filter(|_| pass == Pass::Round) {
            self.forecasts.keep(object).await;
        }
    }

    /// Carries out what was decided for one autoscaler.
    async fn act(&self, act: Act) -> Done {
        let Act { key, object, autoscaler, old, todo } = act;
        let (mut scaled, mut warned) = (None, Vec::new());
        let memory = self.memory.get(&key);
        let (status, event) = match todo {
            Todo::Unreadable(status, event) => (*status, Some(event)),
            Todo::Decided(decision, target) => {
                let known =
                    |event: &Event| memory.is_some_and(|memory| memory.warned.iter().any(|(one, _)| one == event));
                for event in decision.events.iter().filter(|event| !known(event)) {
                    self.tell(&object, event).await;
                    warned.push(event.clone());
                }
                match decision.scale.as_ref().map(|(to, _)| *to) {
                    None => (decision.held(), None),
                    Some(to) => match self.step(&object, &old, &decision, &target, to).await {
                        Ok(()) => {
                            scaled = Some((target.scale.replicas, to));
                            let (status, event) = decision.done(self.now());
                            tracing::info!("{}/{}: {}", key.namespace, key.name, event.message);
                            (status, Some(event))
                        }
                        Err(error) => {
                            let (status, event) = decision.failed(&error, self.now());
                            (status, Some(event))
                        }
                    },
                }
            }
        };
        if let Some(event) = &event {
            self.tell(&object, event).await;
        }
        let fresh = memory.and_then(|memory| memory.written).is_some_and(|at| at.elapsed() < FIGURES_EVERY);
        let status = if status == old || (fresh && same_but_figures(&status, &old)) {
            None
        } else {
            self.write(&object, &status).await.then_some(status)
        };
        Done { key, autoscaler, status, scaled, warned }
    }

    /// Sets the count of a target.
    async fn step(
        &self,
        object: &HorizontalPodAutoscaler,
        old: &Status,
        decision: &Decision,
        target: &Target,
        to: i32,
    ) -> Result<(), String> {
        let is_new = old.conditions.as_ref().is_none_or(Vec::is_empty);
        if is_new && !self.write(object, &decision.begun()).await {
            return Err("its status cannot be written".to_owned());
        }
        target::write(&self.client, target, target.scale.replicas, to).await
    }

    async fn tell(&self, object: &HorizontalPodAutoscaler, event: &Event) {
        let kind = if event.warning { EventKind::Warning } else { EventKind::Normal };
        self.recorder.record(object, kind, event.reason, &event.message).await;
    }

    /// Writes a status; what could not be written is written the next time.
    async fn write(&self, object: &HorizontalPodAutoscaler, status: &Status) -> bool {
        let api: Api<HorizontalPodAutoscaler> =
            Api::namespaced(self.client.clone(), &object.namespace().unwrap_or_default());
        let patch = Patch::Merge(json!({"status": whole(status)}));
        let written = api.patch_status(&object.name_any(), &PatchParams::default(), &patch).await;
        if let Err(error) = gone_is_fine(written) {
            tracing::warn!("horizontal-pod-autoscaler: status of {}: {error}", object.name_any());
            return false;
        }
        true
    }
}

/// A status as a merge patch that leaves nothing of another one.
fn whole(status: &Status) -> Value {
    let mut value = serde_json::to_value(status).unwrap_or_default();
    for field in ["conditions", "currentMetrics", "lastScaleTime", "observedGeneration"] {
        if let Some(map) = value.as_object_mut() {
            map.entry(field).or_insert(Value::Null);
        }
    }
    value
}

/// Whether two statuses differ in nothing but what was measured.
fn same_but_figures(one: &Status, other: &Status) -> bool {
    let figures = |status: &Status| status.current_metrics.as_ref().map(Vec::len);
    figures(one) == figures(other) && Status { current_metrics: other.current_metrics.clone(), ..one.clone() } == *other
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_patch_takes_away_what_the_status_has_not() {
        let status = Status { desired_replicas: 2, ..Status::default() };
        let patch = whole(&status);
        assert_eq!(patch["desiredReplicas"], 2);
        assert!(
            patch["currentMetrics"].is_null() && patch.as_object().is_some_and(|map| map.contains_key("lastScaleTime"))
        );
    }

    #[test]
    fn figures_alone_do_not_make_another_status() {
        let of = |share: i32, desired_replicas: i32| -> Status {
            let current = json!({"averageUtilization": share});
            let metric = json!({"type": "Resource", "resource": {"name": "cpu", "current": current}});
            serde_json::from_value(json!({"desiredReplicas": desired_replicas, "currentMetrics": [metric]})).unwrap()
        };
        assert!(same_but_figures(&of(1, 2), &of(3, 2)));
        assert!(!same_but_figures(&of(1, 2), &of(3, 4)));
    }
}
