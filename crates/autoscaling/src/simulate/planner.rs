//! The autoscaler in the simulation: the same decisions as in production, fed with what the simulated pipeline sees.

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::autoscaling::v2::HorizontalPodAutoscaler;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use kube::ResourceExt;

use super::{
    figures::{FIGURES, Figure, Scraper, by_name},
    service::{Service, SimulatedPod},
};
use crate::{
    Moment, Settings, Tolerances,
    decide::{Autoscaler, Demand, Scale},
    history::History,
    metrics::{Metric, Source, Wanted},
    pods::{Phase, Ready, Sample, State},
    predict::{self, Forecast, Predictor},
    replicas::{CannotTell, Current, Measured, Proposal, by_average, by_pods, by_value},
    time::{TimeError, seconds},
};

/// Seconds that a figure of requests is the mean of when its selector has no label `window`.
const WINDOW: f64 = 30.0;

/// Why an autoscaler cannot be simulated.
#[derive(Debug, thiserror::Error)]
pub enum Unsimulated {
    /// There is no model of what it looks at.
    #[error("metric {index}: {what} is not simulated; simulated are the resources cpu and memory, and {known}", known = known())]
    Metric {
        /// The place in `spec.metrics`, counted from 0.
        index: usize,
        /// What it looks at.
        what: String,
    },
    /// The metric's target is missing or no number.
    #[error("metric {index}: {source}")]
    Target {
        /// The place in `spec.metrics`, counted from 0.
        index: usize,
        /// What is missing.
        source: CannotTell,
    },
    /// It has no metric, so that nothing changes its count.
    #[error("the HorizontalPodAutoscaler has no metric")]
    NoMetric,
    /// The annotation with the start-up time says none.
    #[error("annotation {}", predict::START_UP_ANNOTATION)]
    StartUp(#[source] TimeError),
}

fn known() -> String {
    FIGURES.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(", ")
}

/// What a metric looks at.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Look {
    Cpu,
    Memory,
    /// A figure of requests and the seconds of its window.
    Traffic(Figure, f64),
}

/// What is seen of the service.
#[derive(Clone, Copy, Debug)]
pub struct Sight<'a> {
    /// The service itself, for what the API says of its pods.
    pub service: &'a Service,
    /// The figures of pods.
    pub pods: &'a Scraper,
    /// The figures of requests.
    pub traffic: &'a Scraper,
    /// Whether requests came since the last look.
    pub demand: Demand,
}

/// What was decided.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Decided {
    /// The count.
    pub replicas: u32,
    /// What the forecast said that is needed, if it was used.
    pub forecast: Option<f64>,
}

/// One autoscaler through simulated time.
#[derive(Debug)]
pub struct Planner {
    autoscaler: Autoscaler,
    looks: Vec<(Look, Wanted)>,
    history: History,
    start: Timestamp,
    predictor: Option<Predictor>,
    /// How far ahead forecasts look.
    ahead: SignedDuration,
    proposals: Vec<Result<Proposal, CannotTell>>,
}

impl Planner {
    /// Reads an autoscaler whose pods need `start_up` seconds to start, and which looks each `sync` seconds.
    ///
    /// # Errors
    /// When it looks at something that is not simulated.
    pub fn new(
        object: &HorizontalPodAutoscaler,
        settings: &Settings,
        start: Timestamp,
        (sync, start_up): (f64, f64),
    ) -> Result<Self, Unsimulated> {
        let autoscaler = Autoscaler::of(object, settings);
        let looks: Vec<_> = autoscaler
            .metrics
            .iter()
            .enumerate()
            .map(|(index, metric)| look(index, metric))
            .collect::<Result<_, _>>()?;
        if looks.is_empty() {
            return Err(Unsimulated::NoMetric);
        }
        let predictor = predict::is_enabled(object.annotations()).then(Predictor::default);
        let own = object.annotations().get(predict::START_UP_ANNOTATION);
        let start_up = own.map_or(Ok(start_up), |text| seconds(text)).map_err(Unsimulated::StartUp)?;
        let window = autoscaler.behavior.as_ref().map_or(SignedDuration::ZERO, |behavior| behavior.up.window);
        let ahead = SignedDuration::try_from_secs_f64(sync + start_up).unwrap_or(SignedDuration::MAX);
        Ok(Self {
            autoscaler,
            looks,
            history: History::default(),
            start,
            predictor,
            ahead: ahead.saturating_add(window),
            proposals: Vec::new(),
        })
    }

    /// The fewest replicas it allows.
    pub fn min(&self) -> u32 {
        u32::try_from(self.autoscaler.bounds.min).unwrap_or(0)
    }

    /// Whether it looks at the CPU of pods.
    pub fn wants_cpu(&self) -> bool {
        self.looks.iter().any(|(look, _)| *look == Look::Cpu)
    }

    /// Whether it looks at latencies.
    pub fn wants_latencies(&self) -> bool {
        self.looks.iter().any(|(look, _)| matches!(look, Look::Traffic(Figure::Latency(_), _)))
    }

    /// The longest window of its figures of requests; `None` if it looks at none.
    pub fn longest_window(&self) -> Option<f64> {
        let windows = self.looks.iter().filter_map(|(look, _)| match look {
            Look::Traffic(_, window) => Some(*window),
            _ => None,
        });
        windows.reduce(f64::max)
    }

    fn timestamp(&self, seconds: f64) -> Timestamp {
        let after = SignedDuration::from_millis((seconds * 1000.0).round() as i64);
        self.start.checked_add(after).unwrap_or(self.start)
    }

    fn moment(&self, sight: Sight<'_>) -> Moment {
        let seconds = sight.service.now();
        let steady = SignedDuration::from_millis((seconds * 1000.0).round() as i64);
        Moment { wall: self.timestamp(seconds), steady }
    }

    /// Whether an early look would raise the count.
    pub fn rises_early(&self, sight: Sight<'_>) -> bool {
        let (replicas, now) = (wanted(sight), self.moment(sight));
        let scale = Scale { replicas, observed: replicas, selector: String::new() };
        if !self.autoscaler.may_rise_early(&scale, &self.history, now) {
            return false;
        }
        let when = (self.autoscaler.early_tolerances(), now);
        let proposals: Vec<_> = self.looks.iter().map(|look| self.propose(look, sight, replicas, when)).collect();
        self.autoscaler.raises(&proposals, replicas, &self.history, now)
    }

    /// Looks, decides, and notes what it decided as done.
    pub fn sync(&mut self, sight: Sight<'_>) -> Decided {
        let (replicas, now) = (wanted(sight), self.moment(sight));
        let tolerances = self.autoscaler.tolerances;
        let mut proposals = std::mem::take(&mut self.proposals);
        proposals.clear();
        proposals.extend(self.looks.iter().map(|look| self.propose(look, sight, replicas, (tolerances, now))));
        let forecast = self.learn(&proposals, sight.service.ready(), replicas, now);
        let outcome = self.autoscaler.count(&proposals, replicas, (sight.demand, &forecast), &mut self.history, now);
        self.proposals = proposals;
        if outcome != replicas {
            self.autoscaler.scaled(&mut self.history, replicas, outcome, now);
        }
        let forecast = match forecast {
            Forecast::Known { needed, .. } => Some(needed),
            _ => None,
        };
        Decided { replicas: u32::try_from(outcome).unwrap_or(0), forecast }
    }

    /// Notes what is needed now, and says what will be.
    fn learn(
        &mut self,
        proposals: &[Result<Proposal, CannotTell>],
        ready: f64,
        replicas: i32,
        now: Moment,
    ) -> Forecast {
        let Some(predictor) = &mut self.predictor else { return Forecast::Learning };
        let wanted = self.looks.iter().map(|(_, wanted)| wanted);
        if let Some(needed) = predict::needed(wanted.zip(proposals), ready, replicas) {
            predictor.observe(now.wall, needed);
        }
        predictor.forecast(now.wall, self.ahead)
    }

    fn propose(
        &self,
        (look, wanted): &(Look, Wanted),
        sight: Sight<'_>,
        replicas: i32,
        (tolerances, now): (Tolerances, Moment),
    ) -> Result<Proposal, CannotTell> {
        let current = Current { replicas, tolerances, settings: &self.autoscaler.settings, now: now.wall };
        let service = sight.service;
        match wanted {
            Wanted::Pods(target) => {
                let measured = self.measured(*look, sight);
                let request = match look {
                    Look::Cpu => service.capacity.cpu_request,
                    _ => service.capacity.memory_request,
                };
                let requests = || {
                    let request =
                        request.ok_or_else(|| CannotTell("the pods request none of the resource".to_owned()))?;
                    Ok(vec![millis(request); measured.len()])
                };
                by_pods(&measured, 0, *target, *look == Look::Cpu, &current, requests)
            }
            Wanted::Value(target) => {
                let ready = service.pods.iter().filter(|pod| pod.ready).count();
                by_value(self.value(*look, sight)?, *target, (service.pods.len(), ready), &current)
            }
            Wanted::PerPod(target) => by_average(self.value(*look, sight)?, *target, replicas, &current),
        }
    }

    /// The figure of the whole service, in thousandths.
    fn value(&self, look: Look, sight: Sight<'_>) -> Result<i64, CannotTell> {
        let Look::Traffic(figure, window) = look else { return Err(CannotTell("the resource is of pods".to_owned())) };
        let value = sight.traffic.figure(figure, window, sight.service.now());
        value.map(millis).ok_or_else(|| CannotTell("there is no figure yet".to_owned()))
    }

    /// What was measured of the pods. Those past their start are alike, and stand together.
    fn measured(&self, look: Look, sight: Sight<'_>) -> Vec<Measured> {
        let service = sight.service;
        let settled = service.now() - self.autoscaler.settings.cpu_initialization_period.as_secs_f64() - 60.0;
        let mut measured: Vec<Measured> = Vec::new();
        let mut alike: Option<usize> = None;
        for pod in &service.pods {
            let is_settled = pod.ready && pod.ready_at < settled;
            if let Some(first) = alike.filter(|_| is_settled).and_then(|index| measured.get_mut(index)) {
                first.pods += 1;
                continue;
            }
            if is_settled {
                alike = Some(measured.len());
            }
            measured.push(Measured {
                state: self.state(pod, service.now()),
                sample: self.sample(look, sight, pod),
                pods: 1,
            });
        }
        measured
    }

    fn state(&self, pod: &SimulatedPod, now: f64) -> State {
        let since = if pod.ready_at <= now { pod.ready_at } else { pod.created };
        let ready = Ready { status: Some(pod.ready), since: self.timestamp(since) };
        State { phase: Phase::Running, deleting: false, started: Some(self.timestamp(pod.created)), ready: Some(ready) }
    }

    fn sample(&self, look: Look, sight: Sight<'_>, pod: &SimulatedPod) -> Option<Sample> {
        let service = sight.service;
        let fresh = |value: f64, window: f64| Sample {
            millis: millis(value),
            at: self.timestamp(service.now()),
            window: SignedDuration::from_millis((window * 1000.0) as i64),
        };
        match look {
            Look::Cpu => {
                let cpu = sight.pods.cpu(service, pod, service.now())?;
                Some(Sample { at: self.timestamp(cpu.at), ..fresh(cpu.cores, cpu.window) })
            }
            Look::Memory => {
                let busy = if pod.ready { service.busy_per_pod() } else { 0.0 };
                Some(fresh(service.capacity.memory + busy * service.capacity.request_memory, 0.0))
            }
            Look::Traffic(figure, window) => {
                let value = sight.traffic.figure(figure, window, service.now()).filter(|_| pod.ready)?;
                let shared = matches!(figure, Figure::Rate | Figure::InFlight);
                Some(fresh(if shared { value / service.ready() } else { value }, window))
            }
        }
    }
}

/// The count that is wanted now.
fn wanted(sight: Sight<'_>) -> i32 {
    i32::try_from(sight.service.pods.len()).unwrap_or(i32::MAX)
}

/// Thousandths; what is too large becomes the largest.
fn millis(value: f64) -> i64 {
    (value * 1000.0).round() as i64
}

fn look(index: usize, metric: &Metric) -> Result<(Look, Wanted), Unsimulated> {
    let unknown = |what: String| Unsimulated::Metric { index, what };
    let look = match &metric.source {
        Source::Resource { name, .. } if name == "cpu" => Look::Cpu,
        Source::Resource { name, .. } if name == "memory" => Look::Memory,
        Source::Resource { name, .. } => return Err(unknown(format!("the resource {name}"))),
        Source::Pods(of) | Source::Object(_, of) | Source::External(of) => {
            let figure = by_name(&of.name).ok_or_else(|| unknown(format!("the metric {}", of.name)))?;
            Look::Traffic(figure, window(of.selector.as_ref()).map_err(|text| unknown(format!("the window {text}")))?)
        }
        Source::Unknown(type_) => return Err(unknown(format!("the source {type_}"))),
    };
    let wanted = metric.wanted.clone().map_err(|source| Unsimulated::Target { index, source })?;
    Ok((look, wanted))
}

/// The window that a selector asks for by its label, as the gateway has it.
fn window(selector: Option<&LabelSelector>) -> Result<f64, String> {
    let label = selector.and_then(|selector| selector.match_labels.as_ref()?.get("window"));
    label.map_or(Ok(WINDOW), |text| seconds(text).map_err(|_| text.clone()))
}
