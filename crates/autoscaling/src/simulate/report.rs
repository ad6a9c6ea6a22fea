//! What a simulation comes to: a row for each stretch of time, and a summary.

use serde::Serialize;

use super::{
    latency::Histogram,
    service::{Counts, Service, Sums},
};
use crate::time::words;

/// A stretch of the simulated time.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Row {
    /// Seconds since the start, at the end of the stretch.
    pub seconds: f64,
    /// Requests that arrived, per second.
    pub requests_per_second: f64,
    /// The count that was asked for at the end.
    pub desired: f64,
    /// The most pods there were, ready or not.
    pub replicas: f64,
    /// Pods that were ready, at the end.
    pub ready: f64,
    /// The replicas that a forecast asked for, if there was one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub forecast: Option<f64>,
    /// The mean share of the places for requests that were taken; `None` where nobody measured it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub utilisation: Option<f64>,
    /// The CPU that a ready pod used as a share of what it requests, where an autoscaler looks at that.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpu: Option<f64>,
    /// Requests that waited, at the end.
    pub waiting: f64,
    /// Requests that came while no pod was ready.
    pub held: f64,
    /// Requests that took longer than the objective.
    pub late: f64,
    /// Requests that were dropped.
    pub dropped: f64,
    /// The 99 % quantile of the latency, in seconds; `None` without requests.
    pub p99: Option<f64>,
}

/// The whole in numbers.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Summary {
    /// Simulated seconds.
    pub seconds: f64,
    /// What became of the requests.
    #[serde(flatten)]
    pub counts: Counts,
    /// Requests that waited or were being served at the end.
    pub unfinished: f64,
    /// Latency: half of the requests, 90 % and 99 % took at most so many seconds.
    pub latency: [Option<f64>; 3],
    /// The fewest and the most pods, and their mean over time.
    pub replicas: [f64; 3],
    /// How often the count was raised, and lowered.
    pub changes: [u32; 2],
    /// The mean share of the places for requests that were taken.
    pub utilisation: f64,
    /// What it costs: hours of pods, starting and terminating ones too.
    pub pod_hours: f64,
}

/// A simulation's outcome.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    /// Whose it is: `namespace/name` of the HorizontalPodAutoscaler, or its file where two have the same name.
    pub name: String,
    /// Seconds past which a request is late.
    pub objective: f64,
    /// The whole in numbers.
    pub summary: Summary,
    /// The course, in order.
    pub rows: Vec<Row>,
}

/// Writes down what happens.
#[derive(Debug)]
pub struct Recorder {
    every: f64,
    cpu_request: Option<f64>,
    row_end: f64,
    row: Row,
    counts: Counts,
    sums: Sums,
    row_latencies: Histogram,
    all_latencies: Histogram,
    fewest: f64,
    most: f64,
    changes: [u32; 2],
    rows: Vec<Row>,
}

impl Recorder {
    /// A row for each `every` seconds, with the CPU of pods that request so many cores if it is looked at.
    pub fn new(every: f64, cpu_request: Option<f64>) -> Self {
        Self {
            every,
            cpu_request: cpu_request.filter(|cores| *cores > 0.0),
            row_end: every,
            row: Row::default(),
            counts: Counts::default(),
            sums: Sums::default(),
            row_latencies: Histogram::default(),
            all_latencies: Histogram::default(),
            fewest: f64::INFINITY,
            most: 0.0,
            changes: [0, 0],
            rows: Vec::new(),
        }
    }

    /// When the row ends that is being written.
    pub fn next(&self) -> f64 {
        self.row_end
    }

    /// Counts latencies.
    pub fn latencies(&mut self, recent: &Histogram) {
        self.row_latencies.merge(recent);
        self.all_latencies.merge(recent);
    }

    /// Notes a decision: the count before and after, and what a forecast asked for.
    pub fn decided(&mut self, before: u32, desired: u32, forecast: Option<f64>) {
        let [up, down] = &mut self.changes;
        *up += u32::from(desired > before);
        *down += u32::from(desired < before);
        self.row.desired = f64::from(desired);
        self.row.forecast = forecast;
    }

    /// Notes the pods there are.
    pub fn pods(&mut self, service: &Service) {
        let pods = service.pods.len() as f64;
        self.fewest = self.fewest.min(pods);
        self.most = self.most.max(pods);
        self.row.replicas = self.row.replicas.max(pods);
    }

    /// Ends a row.
    pub fn end_row(&mut self, service: &Service) {
        let span = (self.every - (self.row_end - service.now())).max(1e-9);
        let (counts, sums) = (service.counts, service.sums);
        let row = Row {
            seconds: service.now(),
            requests_per_second: (counts.arrived - self.counts.arrived) / span,
            ready: service.ready(),
            utilisation: Some((sums.utilisation - self.sums.utilisation) / span),
            cpu: self.cpu_request.map(|request| {
                let requests = (sums.cpu_per_pod - self.sums.cpu_per_pod) / span;
                (requests + service.capacity.idle_cpu) / request
            }),
            waiting: service.waiting(),
            held: counts.held - self.counts.held,
            late: counts.late - self.counts.late,
            dropped: counts.dropped() - self.counts.dropped(),
            p99: self.row_latencies.quantile(0.99),
            ..self.row.clone()
        };
        self.row.replicas = service.pods.len() as f64;
        self.rows.push(row);
        self.row_latencies.clear();
        (self.counts, self.sums) = (counts, sums);
        self.row_end += self.every;
    }

    /// Ends the whole.
    pub fn finish(self, service: &Service, name: String, objective: f64) -> Report {
        let seconds = service.now().max(1e-9);
        let summary = Summary {
            seconds: service.now(),
            counts: service.counts,
            unfinished: service.in_flight(),
            latency: [0.5, 0.9, 0.99].map(|share| self.all_latencies.quantile(share)),
            replicas: [self.fewest.min(self.most), self.most, service.sums.pods / seconds],
            changes: self.changes,
            utilisation: service.sums.utilisation / seconds,
            pod_hours: service.sums.pods / 3600.0,
        };
        Report { name, objective, summary, rows: self.rows }
    }
}

/// The summaries of one simulation or of several, side by side.
pub fn table(reports: &[Report]) -> String {
    let lines = reports.iter().map(|report| (report.name.clone(), lines(report))).collect::<Vec<_>>();
    let Some((_, first)) = lines.first() else { return String::new() };
    let label = first.iter().map(|(label, _)| label.chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = lines
        .iter()
        .map(|(name, lines)| lines.iter().map(|(_, value)| value.chars().count()).chain([name.chars().count()]).max())
        .map(|width| width.unwrap_or(0))
        .collect();
    let mut text = String::new();
    let mut write = |label_text: &str, cells: Vec<&str>| {
        text.push_str(&format!("{label_text:label$}"));
        for (cell, width) in cells.iter().zip(&widths) {
            text.push_str(&format!("  {cell:>width$}"));
        }
        text.truncate(text.trim_end().len());
        text.push('\n');
    };
    if lines.len() > 1 {
        write("", lines.iter().map(|(name, _)| name.as_str()).collect());
    }
    for (index, (label, _)) in first.iter().enumerate() {
        let cell = |lines: &'_ [(String, String)]| lines.get(index).map(|(_, value)| value.clone()).unwrap_or_default();
        let cells: Vec<String> = lines.iter().map(|(_, lines)| cell(lines)).collect();
        write(label, cells.iter().map(String::as_str).collect());
    }
    text
}

fn lines(report: &Report) -> Vec<(String, String)> {
    let summary = &report.summary;
    let counts = &summary.counts;
    let of_all = |count: f64| match count.round() {
        0.0 => "0".to_owned(),
        whole => format!("{whole} ({})", percent(count / counts.arrived.max(1.0))),
    };
    let latency = summary.latency.map(|time| time.map_or_else(|| "-".to_owned(), words)).join(" / ");
    let [fewest, most, mean] = summary.replicas;
    let [ups, downs] = summary.changes;
    [
        ("requests", format!("{}", counts.arrived.round())),
        ("served", of_all(counts.served)),
        ("held for want of a pod", of_all(counts.held)),
        (&format!("late (over {})", words(report.objective)), of_all(counts.late)),
        ("dropped", of_all(counts.dropped())),
        ("unfinished at the end", format!("{}", summary.unfinished.round())),
        ("latency p50 / p90 / p99", latency),
        ("replicas min / mean / max", format!("{fewest} / {mean:.1} / {most}")),
        ("changes up / down", format!("{ups} / {downs}")),
        ("utilisation", percent(summary.utilisation)),
        ("pod-hours", format!("{:.2}", summary.pod_hours)),
    ]
    .map(|(label, value)| (label.to_owned(), value))
    .into()
}

/// A share as people read it: small ones with as many digits as they need.
fn percent(share: f64) -> String {
    match share * 100.0 {
        small if small < 0.01 => "< 0.01 %".to_owned(),
        small if small < 1.0 => format!("{small:.2} %"),
        some => format!("{some:.1} %"),
    }
}
