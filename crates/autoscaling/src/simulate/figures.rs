//! What the metrics pipeline sees of the simulated service: figures of a window that ended at the last scrape, and late.

use std::collections::VecDeque;

use super::{
    latency::Histogram,
    service::{Counts, Service, SimulatedPod, Sums},
};

/// How figures of pods come about; those of requests are the gateway's own, and as fresh as the question.
#[derive(Clone, Debug, PartialEq)]
pub struct Pipeline {
    /// Seconds between two looks at the pods.
    pub interval: f64,
    /// Seconds that a figure is the mean of.
    pub window: f64,
    /// Seconds from a look until the autoscaler can see it.
    pub lag: f64,
}

impl Default for Pipeline {
    /// Figures of the last 15 s, seen at once.
    fn default() -> Self {
        Self { interval: 15.0, window: 15.0, lag: 0.0 }
    }
}

/// A figure of a whole service.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Figure {
    /// Requests per second.
    Rate,
    /// Requests that wait or are being served.
    InFlight,
    /// Seconds that this share of the requests stayed within.
    Latency(f64),
    /// The share of the requests that were dropped.
    Errors,
}

/// The names of the gateway's own metrics, for Pods, Object and External metrics.
pub const FIGURES: &[(&str, Figure)] = &[
    ("http_requests_per_second", Figure::Rate),
    ("http_requests_in_flight", Figure::InFlight),
    ("http_request_duration_p50", Figure::Latency(0.5)),
    ("http_request_duration_p90", Figure::Latency(0.9)),
    ("http_request_duration_p95", Figure::Latency(0.95)),
    ("http_request_duration_p99", Figure::Latency(0.99)),
    ("http_request_error_ratio", Figure::Errors),
    ("tcp_connections_per_second", Figure::Rate),
    ("tcp_connections_open", Figure::InFlight),
];

/// The figure of this name.
pub fn by_name(name: &str) -> Option<Figure> {
    FIGURES.iter().find(|(known, _)| *known == name).map(|(_, figure)| *figure)
}

/// A look at the service.
#[derive(Clone, Debug)]
struct Scrape {
    at: f64,
    sums: Sums,
    counts: Counts,
    /// Of the requests since the look before.
    latencies: Option<Histogram>,
}

/// A pod's CPU.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PodCpu {
    /// Cores, as a mean over the window.
    pub cores: f64,
    /// When the window ended, in seconds since the start.
    pub at: f64,
    /// Seconds of the window.
    pub window: f64,
}

/// Looks at the service again and again, and remembers as much as its longest window needs.
#[derive(Debug)]
pub struct Scraper {
    pipeline: Pipeline,
    longest: f64,
    latencies: bool,
    /// The oldest first.
    scrapes: VecDeque<Scrape>,
    next: f64,
    /// Latencies that were taken between two looks.
    kept: Histogram,
}

impl Scraper {
    /// Nothing has been seen yet. `longest` is the longest window that will be asked for, in seconds; `latencies`: whether
    /// anybody asks for them.
    pub fn new(pipeline: Pipeline, longest: f64, latencies: bool) -> Self {
        Self { pipeline, longest, latencies, scrapes: VecDeque::new(), next: 0.0, kept: Histogram::default() }
    }

    /// When it looks next.
    pub fn next(&self) -> f64 {
        self.next
    }

    /// Whether latencies are asked for.
    pub fn wants_latencies(&self) -> bool {
        self.latencies
    }

    /// Keeps latencies for the next look.
    pub fn keep(&mut self, latencies: &Histogram) {
        self.kept.merge(latencies);
    }

    /// Looks, with the latencies since it looked last or was given some.
    pub fn scrape(&mut self, service: &Service, mut latencies: Option<Histogram>) {
        let at = service.now();
        if let Some(latencies) = &mut latencies {
            latencies.merge(&self.kept);
            self.kept.clear();
        }
        self.scrapes.push_back(Scrape { at, sums: service.sums, counts: service.counts, latencies });
        self.next = at + self.pipeline.interval;
        let unseen = at - self.pipeline.lag - self.longest - 2.0 * self.pipeline.interval;
        while self.scrapes.front().is_some_and(|scrape| scrape.at < unseen) {
            self.scrapes.pop_front();
        }
    }

    /// The newest look that can be seen, and the one so many seconds before it, or as near to that as there is.
    fn window(&self, now: f64, length: f64) -> Option<(&Scrape, &Scrape)> {
        let seen = now - self.pipeline.lag + 1e-9;
        let newest = self.scrapes.iter().rev().find(|scrape| scrape.at <= seen)?;
        let begin = newest.at - length + 1e-9;
        let before = self.scrapes.iter().rev().find(|scrape| scrape.at < newest.at && scrape.at <= begin);
        // At the start less than a window is known.
        let before = before.or_else(|| self.scrapes.iter().find(|scrape| scrape.at < newest.at))?;
        Some((before, newest))
    }

    /// A pod's CPU; `None` before it was seen twice.
    pub fn cpu(&self, service: &Service, pod: &SimulatedPod, now: f64) -> Option<PodCpu> {
        let (before, newest) = self.window(now, self.pipeline.window)?;
        if pod.created > before.at {
            return None;
        }
        let used = |scrape: &Scrape| service.cpu_used(pod, scrape.at, scrape.sums.cpu_per_pod);
        let window = newest.at - before.at;
        Some(PodCpu { cores: (used(newest) - used(before)).max(0.0) / window, at: newest.at, window })
    }

    /// A figure of the whole service over so many seconds; `None` before there is one, and for latencies and errors without
    /// requests.
    pub fn figure(&self, figure: Figure, length: f64, now: f64) -> Option<f64> {
        let (before, newest) = self.window(now, length)?;
        let window = newest.at - before.at;
        let arrived = newest.counts.arrived - before.counts.arrived;
        match figure {
            Figure::Rate => Some(arrived / window),
            Figure::InFlight => Some((newest.sums.in_flight - before.sums.in_flight) / window),
            Figure::Errors => (arrived > 0.0).then(|| (newest.counts.dropped() - before.counts.dropped()) / arrived),
            Figure::Latency(share) => {
                let within = self.scrapes.iter().filter(|scrape| scrape.at > before.at && scrape.at <= newest.at);
                let mut all = Histogram::default();
                within.filter_map(|scrape| scrape.latencies.as_ref()).for_each(|latencies| all.merge(latencies));
                all.quantile(share)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simulate::service::Capacity;

    fn run(service: &mut Service, scraper: &mut Scraper, seconds: u32, rate: f64) {
        for _ in 0..seconds {
            if service.now() >= scraper.next() {
                let recent = service.recent.clone();
                service.recent.clear();
                scraper.scrape(service, Some(recent));
            }
            service.step(1.0, rate);
        }
    }

    #[test]
    fn figures_are_means_of_a_window_and_late() {
        let mut service = Service::new(Capacity { idle_cpu: 0.0, ..Capacity::default() }, 2, 1.0);
        let mut scraper = Scraper::new(Pipeline { lag: 10.0, ..Pipeline::default() }, 30.0, true);
        assert_eq!(scraper.figure(Figure::Rate, 30.0, 0.0), None);
        run(&mut service, &mut scraper, 61, 40.0);
        let figure = |figure| scraper.figure(figure, 30.0, 61.0).unwrap();
        assert_eq!(figure(Figure::Rate), 40.0);
        assert!((figure(Figure::InFlight) - 2.0).abs() < 0.1);
        assert!((figure(Figure::Latency(0.5)) - 0.045).abs() < 0.01);
        assert_eq!(figure(Figure::Errors), 0.0);
        let cpu = scraper.cpu(&service, &service.pods[0], 61.0).unwrap();
        assert_eq!((cpu.at, cpu.window), (45.0, 15.0), "the look at 60 s is not seen before 70 s");
        assert!((cpu.cores - 0.2).abs() < 0.01);
    }

    #[test]
    fn a_pod_that_starts_uses_what_starting_takes_and_is_seen_when_it_was_seen_twice() {
        let capacity = Capacity { start_cpu: 0.8, idle_cpu: 0.1, start_up: 40.0, ..Capacity::default() };
        let mut service = Service::new(capacity, 1, 1.0);
        let mut scraper = Scraper::new(Pipeline::default(), 15.0, false);
        run(&mut service, &mut scraper, 1, 0.0);
        service.scale(2);
        run(&mut service, &mut scraper, 20, 0.0);
        assert_eq!(scraper.cpu(&service, &service.pods[1], 21.0), None);
        run(&mut service, &mut scraper, 15, 0.0);
        assert!((scraper.cpu(&service, &service.pods[1], 36.0).unwrap().cores - 0.8).abs() < 1e-6);
        run(&mut service, &mut scraper, 60, 0.0);
        assert!((scraper.cpu(&service, &service.pods[1], 96.0).unwrap().cores - 0.1).abs() < 1e-6);
    }
}
