//! What one autoscaler does now (`horizontal.go`, `reconcileAutoscaler`), in two halves: the decision, and what its status says
//! once the target's scale was written, or could not be.

use jiff::SignedDuration;
pub use k8s_openapi::api::autoscaling::v2::HorizontalPodAutoscalerStatus as Status;
use k8s_openapi::api::{
    autoscaling::v2::{HorizontalPodAutoscaler, HorizontalPodAutoscalerSpec, MetricStatus},
    core::v1::Pod,
};
use kube::ResourceExt;

use crate::{
    Moment, Settings, Tolerances,
    behavior::{self, Behavior, Bounds, Limited},
    conditions::{ABLE, ACTIVE, Event, LIMITED, PREDICTING, set, whole_seconds},
    count::highest,
    history::History,
    metrics::{Metric, Source, Wanted},
    pods::{Sample, State, request},
    predict::{self, Forecast, Outlook},
    replicas::{CannotTell, Current, Measured, Proposal, by_average, by_pods, by_value},
};

/// An autoscaler, read once.
#[derive(Clone, Debug)]
pub struct Autoscaler {
    /// Its namespace.
    pub namespace: String,
    /// Its metrics.
    pub metrics: Vec<Metric>,
    /// Its behavior, if it says anything about it.
    pub behavior: Option<Behavior>,
    /// Its tolerances.
    pub tolerances: Tolerances,
    /// Its bounds.
    pub bounds: Bounds,
    /// What holds for all.
    pub settings: Settings,
    generation: Option<i64>,
}

/// The target's scale.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Scale {
    /// How many pods are wanted.
    pub replicas: i32,
    /// How many there are.
    pub observed: i32,
    /// Which pods they are.
    pub selector: String,
}

/// What a metrics API said about one metric.
#[derive(Clone, Debug, PartialEq)]
pub enum Reading {
    /// A sample for each pod that has one, in the order of the pods.
    Pods {
        /// The samples.
        samples: Vec<Option<Sample>>,
        /// Samples that belong to no such pod.
        strangers: usize,
    },
    /// The value of an object, or the sum of what is outside.
    Value(Sample),
}

/// Whether somebody wants something of the target, as the gateway sees it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Demand {
    /// Nobody can say: nothing leads to its pods that is watched.
    #[default]
    Unknown,
    /// Nobody does: no request is held or in flight, and none came lately.
    Idle,
    /// Somebody does.
    Busy,
}

/// What is seen of a target.
#[derive(Clone, Copy, Debug)]
pub struct Seen<'a> {
    /// Its scale.
    pub scale: &'a Scale,
    /// The pods that its selector finds, or why it finds none that may be scaled by.
    pub pods: Result<&'a [&'a Pod], &'a Unselected>,
    /// What the metrics APIs said, in the order of the metrics.
    pub readings: &'a [Result<Reading, String>],
    /// Whether it is in demand; asked only for where `minReplicas` is 0.
    pub demand: Demand,
}

/// Why a selector is good for nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unselected {
    /// There is none.
    Absent,
    /// It cannot be read.
    Unreadable(String),
    /// Others count its pods.
    Ambiguous(String),
}

/// What to do.
#[derive(Clone, Debug, PartialEq)]
pub struct Decision {
    /// The count to set and why; `None`: it stays.
    pub scale: Option<(i32, String)>,
    /// What to tell.
    pub events: Vec<Event>,
    /// How many replicas the demand needs now, before rounding: what a predictor learns from.
    pub needed: Option<f64>,
    current: i32,
    /// Whether the status says that the present count is the wanted one.
    settled: bool,
    draft: Status,
}

/// A count after windows, policies and bounds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Normalized {
    /// Why the window changed the recommendation, if it did.
    pub stabilized: Option<Limited>,
    /// The count, and what limits it.
    pub limited: Limited,
    /// Whether a limit changed it.
    pub is_limited: bool,
}

impl Autoscaler {
    /// Reads an autoscaler.
    pub fn of(object: &HorizontalPodAutoscaler, settings: &Settings) -> Self {
        let empty = HorizontalPodAutoscalerSpec::default();
        let spec = object.spec.as_ref().unwrap_or(&empty);
        Self {
            namespace: object.namespace().unwrap_or_default(),
            metrics: spec.metrics.iter().flatten().map(Metric::of).collect(),
            behavior: Behavior::of(spec, settings),
            tolerances: behavior::tolerances(spec, settings),
            bounds: Bounds { min: spec.min_replicas.unwrap_or(1), max: spec.max_replicas },
            settings: settings.clone(),
            generation: object.metadata.generation,
        }
    }

    /// Decides, noting in `history` what is recommended. `old` is the status as it was written last.
    pub fn decide(&self, old: &Status, seen: Seen<'_>, history: &mut History, now: Moment) -> Decision {
        self.decide_ahead(old, seen, None, history, now)
    }

    /// Decides in view of what is ahead, where it is to be foreseen: more replicas than the metrics ask for, never fewer, and
    /// within the same windows, policies and bounds.
    pub fn decide_ahead(
        &self,
        old: &Status,
        seen: Seen<'_>,
        outlook: Option<Outlook>,
        history: &mut History,
        now: Moment,
    ) -> Decision {
        let current = seen.scale.replicas;
        history.observe(current, now);
        let mut draft = Draft { status: self.draft(old, current), events: Vec::new(), needed: None, now };
        draft.outlook(outlook);
        let got = "the HPA controller was able to get the target's current scale";
        draft.set(ABLE, true, "SucceededGetScale", got.to_owned());
        let Bounds { min, max } = self.bounds;
        if current == 0 && min != 0 {
            let why = "scaling is disabled since the replica count of the target is zero";
            draft.set(ACTIVE, false, "ScalingDisabled", why.to_owned());
            return draft.hold(current, true);
        }
        if current > max {
            return draft.scale(current, max, "Current number of replicas above Spec.MaxReplicas".to_owned());
        }
        if current < min {
            return draft.scale(current, min, "Current number of replicas below Spec.MinReplicas".to_owned());
        }
        self.by_metrics(seen, &outlook.map_or(Forecast::Learning, |outlook| outlook.forecast), history, draft)
    }

    fn by_metrics(&self, seen: Seen<'_>, forecast: &Forecast, history: &mut History, mut draft: Draft) -> Decision {
        let (current, now) = (seen.scale.replicas, draft.now);
        let pods = match seen.pods {
            Ok(pods) => pods,
            Err(why) => return draft.unselected(current, why),
        };
        if current == 0 && pods.is_empty() && !self.metrics.is_empty() && self.metrics.iter().all(Metric::is_of_pods) {
            let why = "the target has no pods to measure: a request to one of its Services starts the first";
            draft.set(ACTIVE, false, "ScaledToZero", why.to_owned());
            return draft.hold(current, true);
        }
        let (by_metrics, title) = self.proposals(seen, pods, &mut draft).unzip();
        let Some(wanted) = self.wanted(by_metrics, current, seen.demand, forecast) else {
            return draft.hold(current, false);
        };
        let normalized = self.normalize(history, current, wanted, now.steady);
        draft.normalized(&normalized);
        let desired = normalized.limited.replicas;
        if desired == current {
            return draft.hold(current, true);
        }
        let is_ahead = by_metrics.is_none_or(|by_metrics| by_metrics.max(current) < wanted);
        let why = match wanted.cmp(&current) {
            std::cmp::Ordering::Greater if is_ahead && current > 0 => format!("{wanted} are needed ahead"),
            std::cmp::Ordering::Greater => format!("{} above target", title.unwrap_or_default()),
            std::cmp::Ordering::Less => "All metrics below target".to_owned(),
            std::cmp::Ordering::Equal => String::new(),
        };
        draft.scale(current, desired, why)
    }

    /// The highest proposal of the metrics and which metric made it; `None` if they do not suffice to change anything.
    fn proposals(&self, seen: Seen<'_>, pods: &[&Pod], draft: &mut Draft) -> Option<(i32, String)> {
        let unread = Err("nothing was asked for".to_owned());
        let reading = |index: usize| seen.readings.get(index).unwrap_or(&unread);
        let metrics = self.metrics.iter().enumerate();
        let proposals: Vec<_> =
            metrics.map(|(index, metric)| self.propose(metric, reading(index), seen.scale, pods, draft.now)).collect();
        let mut first: Option<(&'static str, String, String)> = None;
        let mut statuses = Vec::new();
        for (metric, proposal) in self.metrics.iter().zip(&proposals) {
            statuses
                .push(proposal.as_ref().map_or_else(|_| MetricStatus::default(), |proposal| metric.status(proposal)));
            if let Err(error) = proposal {
                let error = metric.failed(&error.0);
                draft.events.push(Event::warning(metric.failure(), error.clone()));
                let whole = metric.failed_wholly(&error);
                first.get_or_insert((metric.failure(), error, whole));
            }
        }
        draft.status.current_metrics = Some(statuses);
        let wanted = self.metrics.iter().zip(&proposals);
        let wanted = wanted.filter_map(|(metric, proposal)| Some((metric.wanted.as_ref().ok()?, proposal)));
        let ready = pods.iter().filter(|pod| State::of(pod).is_ready()).count();
        draft.needed = predict::needed(wanted, ready as f64, seen.scale.observed);
        let highest = highest(&proposals, seen.scale.replicas);
        if let (None, Some((reason, error, whole))) = (highest, first) {
            let message = format!("the HPA was unable to compute the replica count: {error}");
            draft.set(ACTIVE, false, reason, message);
            let (count, invalid) = (proposals.len(), proposals.iter().filter(|proposal| proposal.is_err()).count());
            let message = format!("invalid metrics ({invalid} invalid out of {count}), first error is: {whole}");
            draft.events.push(Event::warning("FailedComputeMetricsReplicas", message));
            return None;
        }
        let (index, best) = highest.unwrap_or_default();
        let title = self.metrics.get(index).map_or_else(String::new, Metric::title);
        let message = format!("the HPA was able to successfully calculate a replica count from {title}");
        draft.set(ACTIVE, true, "ValidMetricFound", message);
        Some((best, title))
    }

    /// What one metric asks for.
    ///
    /// # Errors
    /// Why it says nothing.
    pub fn propose(
        &self,
        metric: &Metric,
        reading: &Result<Reading, String>,
        scale: &Scale,
        pods: &[&Pod],
        now: Moment,
    ) -> Result<Proposal, CannotTell> {
        let wanted = metric.wanted.clone()?;
        let reading = reading.as_ref().map_err(|error| CannotTell(metric.unfetched(error, &self.namespace)))?;
        let current =
            Current { replicas: scale.replicas, tolerances: self.tolerances, settings: &self.settings, now: now.wall };
        match (wanted, reading) {
            (Wanted::Pods(target), Reading::Pods { samples, strangers }) => {
                let sample = |index: usize| samples.get(index).copied().flatten();
                let measured: Vec<Measured> = (pods.iter().enumerate())
                    .map(|(index, pod)| Measured { state: State::of(pod), sample: sample(index), pods: 1 })
                    .collect();
                let (name, container) = match &metric.source {
                    Source::Resource { name, container } => (name.as_str(), container.as_deref()),
                    _ => ("", None),
                };
                let requests = || pods.iter().map(|pod| request(pod, container, name)).collect();
                by_pods(&measured, *strangers, target, name == "cpu", &current, requests)
            }
            (Wanted::Value(target), Reading::Value(sample)) => {
                let ready = pods.iter().filter(|pod| State::of(pod).is_ready()).count();
                by_value(self.fresh(sample, metric, now)?, target, (pods.len(), ready), &current)
            }
            (Wanted::PerPod(target), Reading::Value(sample)) => {
                by_average(self.fresh(sample, metric, now)?, target, scale.observed, &current)
            }
            _ => Err(CannotTell(metric.unfetched("the answer is about something else", &self.namespace))),
        }
    }

    /// The value of a sample that is recent enough to act on.
    fn fresh(&self, sample: &Sample, metric: &Metric, now: Moment) -> Result<i64, CannotTell> {
        let old = self.settings.stale_after.is_some_and(|age| now.wall.duration_since(sample.at) > age);
        let error = || CannotTell(metric.unfetched(&format!("its value is of {}", sample.at), &self.namespace));
        if old { Err(error()) } else { Ok(sample.millis) }
    }

    /// Where the count may be 0: metrics of pods never ask for none while a pod idles, and no metric may ask for none while
    /// somebody waits.
    pub(crate) fn by_demand(&self, wanted: i32, current: i32, demand: Demand) -> i32 {
        match demand {
            _ if self.bounds.min != 0 || current == 0 => wanted,
            Demand::Busy => wanted.max(1),
            Demand::Idle if wanted <= 1 && self.metrics.iter().all(Metric::is_of_pods) => 0,
            Demand::Idle | Demand::Unknown => wanted,
        }
    }

    /// Takes a recommendation through windows, policies and bounds, and notes it.
    pub fn normalize(&self, history: &mut History, current: i32, wanted: i32, now: SignedDuration) -> Normalized {
        let (stable, limited, why) = match &self.behavior {
            None => {
                let window = self.settings.downscale_stabilization;
                let stable = behavior::stabilize(history, wanted, now, window);
                (stable, behavior::limit(current, stable, self.bounds), behavior::stabilized())
            }
            Some(rules) => {
                let stable = behavior::stabilize_with(history, rules, current, wanted, now);
                let limited = behavior::limit_with(history, rules, current, stable.replicas, self.bounds, now);
                (stable.replicas, limited, stable)
            }
        };
        let stabilized = (stable != wanted).then_some(Limited { replicas: stable, ..why });
        Normalized { stabilized, limited, is_limited: limited.replicas != stable }
    }

    /// Notes in `history` that the count was changed.
    pub fn scaled(&self, history: &mut History, from: i32, to: i32, now: Moment) {
        if let Some(behavior) = &self.behavior {
            behavior.scaled(history, from, to, now.steady);
        }
        (history.seen, history.changed) = (Some(to), Some(now.steady));
    }

    /// The status and the event when the target's scale could not be read.
    pub fn unreadable(&self, old: &Status, error: &str, now: Moment) -> (Status, Event) {
        let mut status = old.clone();
        let message = format!("the HPA controller was unable to get the target's current scale: {error}");
        set(status.conditions.get_or_insert_default(), ABLE, false, "FailedGetScale", message, now.wall);
        status.observed_generation = self.generation;
        (status, Event::warning("FailedGetScale", error.to_owned()))
    }

    fn draft(&self, old: &Status, current: i32) -> Status {
        Status {
            conditions: old.conditions.clone(),
            current_metrics: None,
            current_replicas: Some(current),
            desired_replicas: old.desired_replicas,
            last_scale_time: old.last_scale_time.clone(),
            observed_generation: self.generation,
        }
    }
}

/// A status in the making.
struct Draft {
    status: Status,
    events: Vec<Event>,
    needed: Option<f64>,
    now: Moment,
}

impl Draft {
    fn set(&mut self, type_: &str, holds: bool, reason: &str, message: String) {
        set(self.status.conditions.get_or_insert_default(), type_, holds, reason, message, self.now.wall);
    }

    /// Says what is known of the time ahead, where that is wanted.
    fn outlook(&mut self, outlook: Option<Outlook>) {
        match outlook {
            Some(Outlook { forecast, ahead }) => {
                let (holds, reason, message) = forecast.condition(ahead);
                self.set(PREDICTING, holds, reason, message);
            }
            None => self.status.conditions.iter_mut().for_each(|all| all.retain(|one| one.type_ != PREDICTING)),
        }
    }

    fn unselected(mut self, current: i32, why: &Unselected) -> Decision {
        let (event, reason, message, said) = match why {
            Unselected::Absent => {
                let said = "the HPA target's scale is missing a selector";
                ("SelectorRequired", "InvalidSelector", "selector is required".to_owned(), said.to_owned())
            }
            Unselected::Unreadable(error) => {
                let message =
                    format!("couldn't convert selector into a corresponding internal selector object: {error}");
                ("InvalidSelector", "InvalidSelector", message.clone(), message)
            }
            Unselected::Ambiguous(message) => {
                ("AmbiguousSelector", "AmbiguousSelector", message.clone(), message.clone())
            }
        };
        self.events.push(Event::warning(event, message.clone()));
        self.events.push(Event::warning("FailedComputeMetricsReplicas", message));
        self.set(ACTIVE, false, reason, said);
        self.hold(current, false)
    }

    fn normalized(&mut self, normalized: &Normalized) {
        match &normalized.stabilized {
            Some(why) => self.set(ABLE, true, why.reason, why.message.to_owned()),
            None => self.set(ABLE, true, "ReadyForNewScale", "recommended size matches current size".to_owned()),
        }
        let Limited { reason, message, .. } = normalized.limited;
        self.set(LIMITED, normalized.is_limited, reason, message.to_owned());
    }

    fn hold(self, current: i32, settled: bool) -> Decision {
        Decision { scale: None, events: self.events, needed: self.needed, current, settled, draft: self.status }
    }

    fn scale(self, current: i32, to: i32, reason: String) -> Decision {
        let scale = Some((to, reason));
        Decision { scale, events: self.events, needed: self.needed, current, settled: true, draft: self.status }
    }
}

impl Decision {
    /// The status when nothing was to be scaled.
    pub fn held(self) -> Status {
        let desired_replicas = if self.settled { self.current } else { self.draft.desired_replicas };
        Status { desired_replicas, ..self.draft }
    }

    /// The status of an autoscaler that never had one, for before its first step: a restart finds out by it that the count was
    /// changed and nobody got to write that down.
    pub fn begun(&self) -> Status {
        Status { desired_replicas: self.current, ..self.draft.clone() }
    }

    /// The status and the event when the target's scale was written.
    pub fn done(mut self, now: Moment) -> (Status, Event) {
        let (to, reason) = self.scale.take().unwrap_or((self.current, String::new()));
        let message = format!("the HPA controller was able to update the target scale to {to}");
        set(self.draft.conditions.get_or_insert_default(), ABLE, true, "SucceededRescale", message, now.wall);
        let event = Event::normal("SuccessfulRescale", format!("New size: {to}; reason: {reason}"));
        let last_scale_time = Some(whole_seconds(now.wall));
        (Status { desired_replicas: to, last_scale_time, ..self.draft }, event)
    }

    /// The status and the event when it could not be written.
    pub fn failed(mut self, error: &str, now: Moment) -> (Status, Event) {
        let (to, reason) = self.scale.take().unwrap_or((self.current, String::new()));
        let message = format!("the HPA controller was unable to update the target scale: {error}");
        set(self.draft.conditions.get_or_insert_default(), ABLE, false, "FailedUpdateScale", message, now.wall);
        let message = format!("New size: {to}; reason: {reason}; error: {error}");
        (self.draft, Event::warning("FailedRescale", message))
    }
}
