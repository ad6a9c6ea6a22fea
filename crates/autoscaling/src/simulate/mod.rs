//! A simulator: any HorizontalPodAutoscaler against any demand, in simulated time.
//!
//! Time goes on in slots of a second (of five in simulations of more than two days), in each of which a whole number of requests
//! arrives. Within a slot there are shorter steps while somebody waits, a pod is about to be ready, or there is little room, and
//! whenever the autoscaler or its metrics look. What the service does with requests is in `service`, what the metrics pipeline
//! makes of it in `figures`; the decisions are production's own (`planner`). Nothing depends on anything but the scenario and
//! its seed.
//!
//! What it does not know: requests that wait longer in one pod than in another, pods that differ, caches that are cold, machines
//! that are full, and deployments that are rolled out meanwhile.

pub mod capacity;
pub mod demand;
pub mod figures;
pub mod latency;
pub mod pattern;
mod planner;
pub mod plot;
pub mod recorded;
pub mod report;
pub mod service;

use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::autoscaling::v2::HorizontalPodAutoscaler;
use kube::ResourceExt;

use crate::{Settings, decide, early};
use demand::{Arrivals, Demand};
use figures::{Pipeline, Scraper};
pub use planner::Unsimulated;
use planner::{Planner, Sight};
use report::{Recorder, Report};
use service::{Capacity, Service};

/// Rows of a report, at most.
pub(crate) const ROWS: f64 = 600.0;
/// Seconds past which slots are longer.
const LONG: f64 = 2.0 * 86_400.0;
/// A Monday, at midnight: when patterns begin.
const MONDAY: i64 = 1_704_067_200;
/// The longest simulation: a year.
pub const LONGEST: f64 = 366.0 * 86_400.0;

/// What an autoscaler is put into.
#[derive(Clone, Debug)]
pub struct Scenario {
    /// What clients ask for.
    pub demand: Demand,
    /// What the service can do.
    pub capacity: Capacity,
    /// How figures of pods come about.
    pub pipeline: Pipeline,
    /// What holds for all autoscalers.
    pub settings: Settings,
    /// Seconds between two looks of the autoscaler.
    pub sync: f64,
    /// Whether it looks in between, too (`early`). In simulations of more than two days it does not.
    pub early: bool,
    /// Seconds to simulate.
    pub duration: f64,
    /// Pods at the start, if it is not the least that the autoscaler allows.
    pub replicas: Option<u32>,
    /// Seconds past which a request is late.
    pub objective: f64,
    /// Whether requests arrive at random, or evenly.
    pub random: bool,
    /// What chance depends on.
    pub seed: u64,
}

impl Scenario {
    /// A demand for an hour (a recorded one: as long as it is), everything else as it usually is.
    pub fn new(demand: Demand) -> Self {
        Self {
            duration: demand.length().unwrap_or(3600.0).min(LONGEST),
            demand,
            capacity: Capacity::default(),
            pipeline: Pipeline::default(),
            settings: Settings::default(),
            sync: 15.0,
            early: true,
            replicas: None,
            objective: 0.5,
            random: true,
            seed: 1,
        }
    }
}

/// Simulates an autoscaler.
///
/// # Errors
/// When it looks at something that is not simulated.
pub fn simulate(object: &HorizontalPodAutoscaler, scenario: &Scenario) -> Result<Report, Unsimulated> {
    let start = scenario.demand.start().or_else(|| Timestamp::from_second(MONDAY).ok()).unwrap_or_default();
    let looks = (scenario.sync, scenario.capacity.start_up);
    let planner = Planner::new(object, &scenario.settings, start, looks)?;
    let pods = scenario.replicas.unwrap_or(planner.min());
    let duration = scenario.duration.clamp(1.0, LONGEST);
    let slot = if duration > LONG { 5.0 } else { 1.0 };
    let early: Vec<f64> = match Duration::try_from_secs_f64(scenario.sync) {
        Ok(sync) if scenario.early && duration <= LONG => early::times(sync).map(|after| after.as_secs_f64()).collect(),
        _ => Vec::new(),
    };
    let mut pipeline = scenario.pipeline.clone();
    if !early.is_empty() {
        pipeline.interval = pipeline.interval.min(early::EVERY.as_secs_f64());
        pipeline.window = pipeline.window.min(early::WINDOW.as_secs_f64());
    }
    let mut run = Run {
        service: Service::new(scenario.capacity.clone(), pods, scenario.objective),
        pods: Scraper::new(pipeline.clone(), pipeline.window, false),
        traffic: traffic(&planner, scenario.sync.min(early.first().copied().unwrap_or(scenario.sync))),
        looks_at_traffic: planner.longest_window().is_some(),
        recorder: Recorder::new(
            ((duration / ROWS / slot).ceil() * slot).max(slot),
            scenario.capacity.cpu_request.filter(|_| planner.wants_cpu()),
        ),
        sync: scenario.sync.max(0.1),
        next_sync: 0.0,
        early,
        next_early: None,
        arrived: 0.0,
        finest: (scenario.sync / 8.0).min(0.25),
        desired: pods,
        planner,
    };
    let mut arrivals = Arrivals::new(&scenario.demand, slot, scenario.seed, scenario.random);
    for number in 0..(duration / slot).ceil() as u64 {
        let count = arrivals.next(number);
        run.slot((number + 1) as f64 * slot, count / slot);
    }
    let name = format!("{}/{}", object.namespace().unwrap_or_else(|| "default".to_owned()), object.name_any());
    Ok(run.recorder.finish(&run.service, name, scenario.objective))
}

/// The gateway's figures are looked at often enough for a window of the shortest length. The autoscaler looks each `looks` seconds.
fn traffic(planner: &Planner, looks: f64) -> Scraper {
    let interval = looks.clamp(0.5, 5.0);
    let longest = planner.longest_window().unwrap_or(interval);
    Scraper::new(Pipeline { interval, window: interval, lag: 0.0 }, longest, planner.wants_latencies())
}

/// A simulation on its way.
struct Run {
    service: Service,
    planner: Planner,
    pods: Scraper,
    traffic: Scraper,
    looks_at_traffic: bool,
    recorder: Recorder,
    sync: f64,
    next_sync: f64,
    /// Seconds after each round at which it looks early.
    early: Vec<f64>,
    /// When it looks early next, and which of these that is.
    next_early: Option<(f64, usize)>,
    /// Requests that had arrived when the autoscaler looked last.
    arrived: f64,
    finest: f64,
    desired: u32,
}

/// Moments that are nearer than this are one.
const SAME: f64 = 1e-6;

impl Run {
    /// Lets time pass until `end`, with so many requests per second.
    fn slot(&mut self, end: f64, rate: f64) {
        while self.service.now() < end - SAME {
            self.events();
            let now = self.service.now();
            let mut until = end.min(self.next_sync).min(self.pods.next());
            if self.looks_at_traffic {
                until = until.min(self.traffic.next());
            }
            if let Some((early, _)) = self.next_early {
                until = until.min(early);
            }
            if !self.service.is_calm(rate) {
                until = until.min(now + self.finest);
            }
            let step = (until - now).max(SAME);
            self.service.step(step, rate * step);
        }
        if self.service.now() >= self.recorder.next() - SAME {
            self.row();
        }
    }

    /// What happens at this moment.
    fn events(&mut self) {
        let now = self.service.now() + SAME;
        if now >= self.pods.next() {
            self.pods.scrape(&self.service, None);
        }
        if self.looks_at_traffic && now >= self.traffic.next() {
            let latencies = self.traffic.wants_latencies().then(|| self.take_latencies());
            self.traffic.scrape(&self.service, latencies);
        }
        if self.service.pods.is_empty() && self.service.waiting() > 0.0 && self.planner.min() == 0 {
            self.scale(1, None);
        }
        if now >= self.next_sync {
            self.decide(false);
            self.next_early = self.early.first().map(|after| (self.next_sync + after, 0));
            self.next_sync += self.sync;
        } else if let Some((early, number)) = self.next_early.filter(|(early, _)| now >= *early) {
            self.decide(true);
            let here = self.early.get(number).copied().unwrap_or_default();
            self.next_early = self.early.get(number + 1).map(|after| (early + after - here, number + 1));
        }
    }

    fn decide(&mut self, early: bool) {
        let arrived = self.service.counts.arrived;
        let idle = self.service.in_flight() < 0.01 && arrived <= self.arrived;
        if !early {
            self.arrived = arrived;
        }
        let demand = if idle { decide::Demand::Idle } else { decide::Demand::Busy };
        let sight = Sight { service: &self.service, pods: &self.pods, traffic: &self.traffic, demand };
        if early && !self.planner.rises_early(sight) {
            return;
        }
        let decided = self.planner.sync(sight);
        self.scale(decided.replicas, decided.forecast);
    }

    fn scale(&mut self, replicas: u32, forecast: Option<f64>) {
        self.recorder.decided(self.desired, replicas, forecast);
        self.desired = replicas;
        self.service.scale(replicas);
        self.recorder.pods(&self.service);
    }

    /// The latencies since they were taken last, which the report gets too.
    fn take_latencies(&mut self) -> latency::Histogram {
        let recent = self.service.recent.clone();
        self.recorder.latencies(&recent);
        self.service.recent.clear();
        recent
    }

    fn row(&mut self) {
        // Those of the last moments are of the next look too, which is at another moment.
        let recent = self.take_latencies();
        self.recorder.end_row(&self.service);
        if self.traffic.wants_latencies() {
            self.traffic.keep(&recent);
        }
    }
}

#[cfg(test)]
mod tests;
